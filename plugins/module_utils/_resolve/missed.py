# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""What is missing now and may come back without a run."""

from __future__ import annotations

import typing as t

from .._base.net import network as parsed_network


class Missed:
    """Addresses that are in no LAN now but may be again without a run."""

    def __init__(self, followed_networks: t.Tuple[str, ...], lost: t.List[str]) -> None:
        self._networks, self._lost = followed_networks, lost

    def told(self, where: str, what: str, network: str, lans: str) -> bool:
        """Whether this is not an error; if so, adds a warning."""
        if not any(holds(each, network) for each in self._networks):
            return False
        self._lost.append(
            "{0}: {1} is not in any LAN now ({2}); it works again once a LAN has that network; if the address has "
            "changed, update it".format(where, what, lans)
        )
        return True


def holds(outer: str, inner: str) -> bool:
    ours, theirs = parsed_network(outer), parsed_network(inner)
    return ours.version == theirs.version and bool(theirs.subnet_of(ours))
