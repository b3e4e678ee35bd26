# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""The switches of the module forwarding."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from .._base.errors import Problems
from .._base.values import check_instance, check_interface


@dataclass(frozen=True)
class Forwarding:
    """The forwarding switches; None leaves a family unchanged. Without ``interfaces``, the global switches."""

    ipv4: t.Optional[bool] = None
    ipv6: t.Optional[bool] = None
    interfaces: t.Optional[t.Tuple[str, ...]] = None

    @property
    def values(self) -> t.Dict[str, str]:
        """Address family to value, for the families that are set."""
        given = {"ip": self.ipv4, "ip6": self.ipv6}
        return {family: "1" if wanted else "0" for family, wanted in given.items() if wanted is not None}


def forwarding_from_params(params: t.Mapping[str, t.Any]) -> Forwarding:
    problems = Problems()
    check_instance(params["instance"], problems)
    names = params["interfaces"]
    for index, name in enumerate(names or ()):
        where = "interfaces[{0}]".format(index)
        check_interface(where, name, problems)
        if name.endswith("*"):
            problems.add(where, "'{0}' is a pattern; name single interfaces".format(name))
    if names is not None and not names:
        problems.add("interfaces", "is empty; leave it out to set the global switch")
    problems.raise_if_any()
    return Forwarding(params["ipv4"], params["ipv6"], None if names is None else tuple(names))
