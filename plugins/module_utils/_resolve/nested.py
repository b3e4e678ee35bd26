# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""LANs of several instances, with networks of the one inside those of the other, or with the same link.

Where sources are translated, rules cannot match the link that a packet came from, so each network belongs to one
instance. As with routes, the narrower network wins: the other LAN has the rest, and what its link sends with such a
source is dropped as spoofed. If the other instance was applied first, its rules do not leave the network out, and no
run of this one can correct them, so it is refused.
"""

from __future__ import annotations

import ipaddress
import typing as t
from dataclasses import replace

from .._base.net import common_links, matches_any, network as parsed_network
from .._base.values import is_network, overlaps, shorten

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.errors import Problems
    from .._facts.links import Facts
    from .._intent.nat import NatItem
    from .._intent.neighbour import Neighbour
    from .resolved import Around, ResolvedLan

#: Instance and network.
LeftOut = t.Tuple[t.Tuple[str, str], ...]


class _Theirs(t.NamedTuple):
    """A network of another instance's LAN."""

    instance: str
    lan: str
    network: str

    def __str__(self) -> str:
        return "{0} of LAN {1} of instance {2}".format(self.network, shorten(self.lan), self.instance)


def set_apart(
    lans: t.Sequence[ResolvedLan],
    facts: Facts,
    neighbours: t.Sequence[Neighbour],
    problems: Problems,
    beside: Around,
) -> t.Tuple[t.Tuple[ResolvedLan, ...], LeftOut]:
    """The LANs without the narrower networks of other instances' LANs, and these networks."""
    left: t.List[t.Tuple[str, str]] = []
    found = []
    for index, lan in enumerate(lans):
        where = _where(index, lan)
        links = [net for name in lan.interfaces for each in facts.meant_by(name) for net in each.networks]
        own_links = lan.interfaces + beside.twins_of(lan.interfaces)
        holes: t.Dict[str, t.List[str]] = {}
        for ours, theirs in _nested(lan.networks, own_links, neighbours):
            if ours == theirs.network:
                told = (
                    "network {0} is also that of LAN {1} of instance {2}, or what its rules have left of a wider one; "
                )
                told += "name the networks behind that LAN without it"
                problems.add(where, told.format(ours, shorten(theirs.lan), theirs.instance))
                continue
            if _length(theirs.network) < _length(ours):
                told = "network {0} is in {1}, whose rules do not leave it out".format(ours, theirs)
                problems.add(where, told + _remedy("that LAN", theirs.network, ours))
                continue
            told = "network {0} contains {1}".format(ours, theirs)
            own = [net for net, _hole in overlaps(links, [theirs.network]) if _length(net) >= _length(theirs.network)]
            if own:
                problems.add(where, "{0}, which overlaps {1} of this LAN's links; renumber one".format(told, own[0]))
            elif not lan.spoof_check:
                problems.add(where, told + ", and sources are not checked" + _remedy("the LAN", ours, theirs.network))
            holes.setdefault(ours, []).append(theirs.network)
            left.append((theirs.instance, theirs.network))
        rest = {net: without(net, holes.get(net, ())) for net in lan.networks}
        for net in (net for net, pieces in rest.items() if not pieces):
            problems.add(where, "network {0} consists of networks of other instances' LANs; remove it".format(net))
        found.append(replace(lan, networks=tuple(piece for net in lan.networks for piece in rest[net])))
    return tuple(found), tuple(sorted(set(left)))


def shared(
    lans: t.Iterable[ResolvedLan], facts: Facts, neighbours: t.Sequence[Neighbour], beside: Around
) -> t.List[t.Tuple[str, str]]:
    """Where a LAN has a link that is in one of another instance, and a sentence about it."""
    return [
        (_where(index, lan), told)
        for index, lan in enumerate(lans)
        for told in _shared(lan.interfaces + beside.twins_of(lan.interfaces), neighbours, facts)
    ]


def _where(index: int, lan: ResolvedLan) -> str:
    return "lans[{0}] '{1}'".format(index, shorten(lan.name))


def narrowed(items: t.Tuple[NatItem, ...], left_out: LeftOut) -> t.Tuple[NatItem, ...]:
    """NAT items without these networks, where their sources are listed as networks.

    A source of which nothing would remain stays, and is refused because it is in no LAN.
    """
    if not left_out:
        return items
    found = []
    for item in items:
        holes: t.Dict[str, t.List[str]] = {}
        for ours, net in overlaps(filter(is_network, item.source), [net for _instance, net in left_out]):
            holes.setdefault(ours, []).append(net)
        pieces = (piece for net in item.source for piece in without(net, holes.get(net, ())) or (net,))
        found.append(replace(item, source=tuple(pieces)))
    return tuple(found)


def _nested(
    networks: t.Sequence[str], links: t.Sequence[str], neighbours: t.Iterable[Neighbour]
) -> t.List[t.Tuple[str, _Theirs]]:
    """Networks of a LAN that contain one of a LAN elsewhere, or that are inside or the same as one."""
    theirs = {
        net: _Theirs(each.instance, name, net)
        for each in neighbours
        for name, found in each.networks
        if not common_links(links, dict(each.lans).get(name, ()))
        for net in found
    }
    return [(ours, theirs[net]) for ours, net in overlaps(networks, theirs)]


def _shared(links: t.Sequence[str], neighbours: t.Iterable[Neighbour], facts: Facts) -> t.List[str]:
    """Other instances' LANs with one of these links.

    Each instance drops what its LANs send through WANs that it does not declare, and connections to them.
    """
    words = (
        "{0} is a link of LAN {1} of instance {2}, and a LAN belongs to one instance; declare all of its WANs there, "
        "or, to move the LAN, first remove it from instance {2} (state=absent if it has no other LAN)"
    )
    taken = (
        "{0} is on the wire of {3} of LAN {1} of instance {2}, which took it for the link of a shared address while it "
        "had none of its own; give it its address, and run instance {2} again"
    )
    found = []
    for each in neighbours:
        for name, theirs in each.lans:
            for link in common_links(links, theirs)[:1]:
                interface = facts.named(link)
                below = interface.parent if interface else ""
                sentence = taken if below and matches_any(theirs, below) else words
                found.append(sentence.format(shorten(link), shorten(name), each.instance, below))
    return found


def _length(network: str) -> int:
    return int(parsed_network(network).prefixlen)


def _remedy(lan: str, outer: str, inner: str) -> str:
    pieces = sorted(map(parsed_network, without(outer, [inner])), key=lambda net: net.prefixlen)
    more = " and more" if len(pieces) > 4 else ""
    named = ", ".join(str(net) for net in pieces[:4])
    return "; name the networks behind {0} without that range, such as {1}{2}".format(lan, named, more)


def without(network: str, holes: t.Sequence[str]) -> t.Tuple[str, ...]:
    """The rest of a network, in one pass over the holes, as there may be 10,000."""
    if not holes:
        return (network,)
    outer = parsed_network(network)
    kind = type(outer.network_address)
    left: t.List[t.Any] = []
    first = int(outer.network_address)
    ends = sorted((int(net[0]), int(net[-1])) for net in map(parsed_network, holes))
    for start, end in [*ends, (int(outer[-1]) + 1, 0)]:
        if first < start:
            left += ipaddress.summarize_address_range(kind(first), kind(start - 1))
        first = max(first, end + 1)
    return tuple(str(net) for net in left)
