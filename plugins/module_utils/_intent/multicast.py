# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Multicast groups that pass from a WAN to LANs."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from .._base.net import family_of, network as parsed_network
from .._base.values import is_network, overlaps, read_networks, shorten
from .traffic import read_traffic
from .wording import listed

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.errors import Problems

#: What routers never forward: RFC 5771 section 4, and the scopes of RFC 4291 section 2.7 that end at the link.
STAYS_ON_LINK = ("224.0.0.0/24", *("ff{0:x}{1}::/16".format(flags, scope) for flags in range(16) for scope in "012"))
MULTICAST = ("224.0.0.0/4", "ff00::/8")


@dataclass(frozen=True)
class Multicast:
    """Multicast groups let in from a WAN, from these senders, to these LANs. An empty field means all."""

    name: str
    group: t.Tuple[str, ...]
    source: t.Tuple[str, ...] = ()
    wan: str = ""
    lan: t.Tuple[str, ...] = ()


def read_multicast(index: int, raw: t.Mapping[str, t.Any], problems: Problems) -> Multicast:
    where = "multicast[{0}] '{1}'".format(index, shorten(raw["name"]))
    if not raw["group"]:
        problems.add(where, "group is empty; name the groups to let in, such as 239.0.0.0/8")
    groups = read_networks(where + ": group", raw["group"], problems)
    for net in groups:
        if not any(parsed_network(net).subnet_of(parsed_network(each)) for each in MULTICAST if _alike(net, each)):
            problems.add(
                where, "group {0} is not a multicast network; groups are in {1}".format(net, " and ".join(MULTICAST))
            )
    for ours, theirs in overlaps(groups, STAYS_ON_LINK):
        if parsed_network(ours).subnet_of(parsed_network(theirs)):
            problems.add(where, "group {0} is in {1}, which routers do not forward".format(ours, theirs))
    for entry in raw.get("source") or ():
        if not is_network(entry):
            problems.add(where, "source '{0}' is not a network; LAN names do not apply outside".format(shorten(entry)))
    known = read_traffic(where, dict(raw, destination=None, protocol=None, port=None), problems)
    senders = {family_of(net) for net in known["source"] if is_network(net)}
    if senders and groups and not senders & {family_of(net) for net in groups}:
        problems.add(where, "source and group have no address family in common; give both in IPv4 or both in IPv6")
    return Multicast(raw["name"], groups, known["source"], known["wan"], tuple(raw.get("lan") or ()))


def _alike(one: str, other: str) -> bool:
    return family_of(one) == family_of(other)


def describe_multicast(item: Multicast) -> str:
    return "{0} from {1} on {2}, for {3}".format(
        listed(item.group), listed(item.source, "anybody"), item.wan or "every WAN", listed(item.lan, "every LAN")
    )
