# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""What the gateway itself accepts."""

from __future__ import annotations

import typing as t

from .._base.net import family_of
from .._base.values import is_network, shorten
from .traffic import Traffic, describe_traffic, read_traffic

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.errors import Problems


def read_allow(index: int, raw: t.Mapping[str, t.Any], problems: Problems) -> Traffic:
    where = "input_allow[{0}] '{1}'".format(index, shorten(raw["name"]))
    for entry in raw.get("source") or ():
        if not is_network(entry):
            problems.add(
                where, "source '{0}' is not a network; LANs may reach the gateway anyway".format(shorten(entry))
            )
    item = Traffic(**read_traffic(where, raw, problems))
    families = [{family_of(net) for net in nets if is_network(net)} for nets in (item.source, item.destination) if nets]
    if len(families) == 2 and not families[0] & families[1]:
        problems.add(
            where, "source and destination have no address family in common; give both in IPv4 or both in IPv6"
        )
    return item


def read_controller_ports(raw: t.Optional[t.Sequence[int]], problems: Problems) -> t.Optional[t.Tuple[int, ...]]:
    for port in raw or ():
        if not 1 <= port <= 65535:
            problems.add("input_controller_ports", "{0} is not in the port range 1-65535".format(port))
    return None if raw is None else tuple(sorted(set(raw)))


def describe_allow(item: Traffic) -> str:
    return describe_traffic(item, "anybody")
