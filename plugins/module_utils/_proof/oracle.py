# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.
"""What a declaration says about one packet: whether it may leave, and as what. It never reads a rule."""

from __future__ import annotations

import typing as t

from .._prefix import neutral_pairs
from .._resolve import inside_of, nat_networks, sources_of
from .._rules import family_of, matches_name, network
from .._values import networks_of
from .model import within

if t.TYPE_CHECKING:  # pragma: no cover
    from .._intent import Gateway, NatItem, Outbound, Traffic, Wan
    from .model import Ground
    from .packets import Packet


class Verdict(t.NamedTuple):
    """The sources that a packet may leave with; none: it must not leave."""

    sources: t.Tuple[str, ...]
    items: t.Tuple[str, ...] = ()
    excuse: str = ""
    persistent: bool = False


def matches(item: Traffic, packet: Packet, wan: str, sources: t.Sequence[str]) -> bool:
    return (
        (not item.wan or matches_name(item.wan, wan))
        and bool(sources)
        and within(packet.source, sources)
        and _family_fits(item, packet)
        and within(packet.target, item.destination)
        and (not item.protocol or packet.protocol in item.protocol)
        and (not item.port or any(first <= packet.dport <= last for first, last in item.port))
    )


def _family_fits(item: Traffic, packet: Packet) -> bool:
    return not item.destination or packet.family in {family_of(net) for net in item.destination}


def filtered(gateway: Gateway, packet: Packet, wan: str) -> t.Optional[Outbound]:
    """The outbound rule that decides about a packet; None: it may leave."""
    for item in gateway.outbound:
        if matches(item, packet, wan, inside_of(gateway, item)):
            return item
    return None


def translated(gateway: Gateway, packet: Packet, wan: str) -> t.Optional[NatItem]:
    for item in gateway.nat:
        plain = not (item.action == "exempt" and item.ipsec) and _has_target(item, packet)
        if plain and matches(item, packet, wan, sources_of(gateway, item)):
            return item
    return None


def _has_target(item: NatItem, packet: Packet) -> bool:
    """An item with addresses of the other family only does not translate."""
    return not item.to or packet.family in {family_of(entry) for entry in item.to}


def leaves(gateway: Gateway, ground: Ground, packet: Packet, wan: str) -> Verdict:
    """What the declaration says about a new packet from a LAN by a WAN's interface."""
    rule = filtered(gateway, packet, wan)
    named = ("outbound/" + rule.name,) if rule else ()
    if rule and rule.action != "accept":
        return Verdict((), named)
    excuse = "rate {0} of outbound '{1}' may be used up".format(rule.rate, rule.name) if rule and rule.rate else ""
    item = translated(gateway, packet, wan)
    if item:
        sources = sources_by(gateway, ground, item, packet, wan)
        return Verdict(sources, (*named, "nat/" + item.name), excuse, item.persistent or item.action != "snat")
    guarded = [net for lan in gateway.lans or () for net in nat_networks(gateway, lan)]
    return (
        Verdict((), named) if guarded and within(packet.source, guarded) else Verdict((packet.source,), named, excuse)
    )


def sources_by(gateway: Gateway, ground: Ground, item: NatItem, packet: Packet, wan: str) -> t.Tuple[str, ...]:
    if item.action == "exempt":
        return (packet.source,)
    if item.action == "masquerade":
        here = ground.addresses.get(wan, ())
        return tuple(address for address in here if family_of(address) == packet.family)
    if item.action == "snat":
        return tuple(net for entry in item.to if family_of(entry) == packet.family for net in _as_networks(entry))
    return (mapped(gateway, item, packet.source),)


def _as_networks(entry: str) -> t.Tuple[str, ...]:
    return (entry,) if "/" in entry else networks_of(entry)


def mapped(gateway: Gateway, item: NatItem, address: str) -> str:
    """The address outside that stands for one inside, by a 1:1 or prefix item."""
    inside, outside = sources_of(gateway, item), item.to[0]
    if item.action == "prefix":
        lans = [net for lan in gateway.lans or () for net in lan.networks or ()]
        pairs = neutral_pairs(next(net for net in inside if family_of(net) == "ip6"), outside, lans)
        return next((moved(address, one, other) for one, other in pairs if within(address, (one,))), outside)
    own = next(net for net in inside if family_of(net) == family_of(outside))
    return moved(address, own, outside)


def moved(address: str, inside: str, outside: str) -> str:
    """The address with the same place in the other network."""
    single = network(address).network_address
    offset = int(single) - int(network(inside).network_address)
    return str(type(single)(int(network(outside).network_address) + offset))


def wan_of(gateway: Gateway, interface: str) -> t.Optional[Wan]:
    return next((wan for wan in gateway.wans or () if matches_name(wan.interface, interface)), None)
