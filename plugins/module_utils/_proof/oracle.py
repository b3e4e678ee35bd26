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


#: So few ports clients may use up.
FEW_PORTS = 64
#: Hosts outside that the probe plays.
MOST_HOSTS = 4096


class Verdict(t.NamedTuple):
    """The sources that a packet may leave with; none: it must not leave."""

    sources: t.Tuple[str, ...]
    items: t.Tuple[str, ...] = ()
    excuse: str = ""
    persistent: bool = False


def matches(item: Traffic, packet: Packet, wan: str, sources: t.Sequence[str]) -> bool:
    return (
        (not item.wan or matches_name(item.wan, wan))
        and (not item.protocol or packet.protocol in item.protocol)
        and (not item.port or any(first <= packet.dport <= last for first, last in item.port))
        and bool(sources)
        and _family_fits(item, packet)
        and within(packet.target, item.destination)
        and within(packet.source, sources)
    )


def _family_fits(item: Traffic, packet: Packet) -> bool:
    return not item.destination or packet.family in {family_of(net) for net in item.destination}


class Oracle:
    """A gateway's declaration on its ground."""

    def __init__(self, gateway: Gateway, ground: Ground) -> None:
        self.gateway, self.ground = gateway, ground
        self._hosts = 0
        self._sources: t.Dict[t.Tuple[t.Any, ...], t.Tuple[str, ...]] = {}

    def host_outside(self, family: str) -> str:
        """Another one each time, as two flows to one host may not share the only port of a NAT item."""
        net = network(self.ground.outside[family])
        self._hosts += 1
        return str(net[1 + self._hosts % min(net.num_addresses - 4, MOST_HOSTS)])

    def sources_of(self, item: NatItem) -> t.Tuple[str, ...]:
        return self._known(("nat", item.source, item.action), lambda: sources_of(self.gateway, item))

    def inside_of(self, item: Traffic) -> t.Tuple[str, ...]:
        return self._known(("all", item.source), lambda: inside_of(self.gateway, item))

    def _known(self, key: t.Tuple[t.Any, ...], find: t.Callable[[], t.Tuple[str, ...]]) -> t.Tuple[str, ...]:
        """Most items have the same sources."""
        if key not in self._sources:
            self._sources[key] = find()
        return self._sources[key]

    def filtered(self, packet: Packet, wan: str) -> t.Optional[Outbound]:
        """The outbound rule that decides about a packet; None: it may leave."""
        rules = self.gateway.outbound
        return next((item for item in rules if matches(item, packet, wan, self.inside_of(item))), None)

    def translated(self, packet: Packet, wan: str) -> t.Optional[NatItem]:
        for item in self.gateway.nat:
            plain = not (item.action == "exempt" and item.ipsec) and _has_target(item, packet)
            if plain and matches(item, packet, wan, self.sources_of(item)):
                return item
        return None

    def leaves(self, packet: Packet, wan: str) -> Verdict:
        """What the declaration says about a new packet from a LAN by a WAN's interface."""
        rule = self.filtered(packet, wan)
        named = ("outbound/" + rule.name,) if rule else ()
        if rule and rule.action != "accept":
            return Verdict((), named)
        excuse = "rate {0} of outbound '{1}' may be used up".format(rule.rate, rule.name) if rule and rule.rate else ""
        item = self.translated(packet, wan)
        if item:
            kept = item.persistent or item.action != "snat"
            if item.to_port and item.to_port[1] - item.to_port[0] < FEW_PORTS:
                excuse = "the few ports of nat '{0}' may all be in use".format(item.name)
            return Verdict(self._sources_by(item, packet, wan), (*named, "nat/" + item.name), excuse, kept)
        guarded = self._known(
            ("guarded",),
            lambda: tuple(net for lan in self.gateway.lans or () for net in nat_networks(self.gateway, lan)),
        )
        if guarded and within(packet.source, guarded):
            return Verdict((), named)
        return Verdict((packet.source,), named, excuse)

    def _sources_by(self, item: NatItem, packet: Packet, wan: str) -> t.Tuple[str, ...]:
        if item.action == "exempt":
            return (packet.source,)
        if item.action == "masquerade":
            here = self.ground.addresses.get(wan, ())
            return tuple(address for address in here if family_of(address) == packet.family)
        if item.action == "snat":
            return tuple(net for entry in item.to if family_of(entry) == packet.family for net in _as_networks(entry))
        return (self.mapped(item, packet.source),)

    def mapped(self, item: NatItem, address: str) -> str:
        """The address outside that stands for one inside, by a 1:1 or prefix item."""
        inside, outside = self.sources_of(item), item.to[0]
        own = next((net for net in inside if family_of(net) == family_of(outside)), outside)
        if item.action != "prefix":
            return moved(address, own, outside)
        lans = [net for lan in self.gateway.lans or () for net in lan.networks or ()]
        pairs = neutral_pairs(own, outside, lans)
        return next((moved(address, one, other) for one, other in pairs if within(address, (one,))), outside)


def _has_target(item: NatItem, packet: Packet) -> bool:
    """An item with addresses of the other family only does not translate."""
    return not item.to or packet.family in {family_of(entry) for entry in item.to}


def _as_networks(entry: str) -> t.Tuple[str, ...]:
    return (entry,) if "/" in entry else networks_of(entry)


def moved(address: str, inside: str, outside: str) -> str:
    """The address with the same place in the other network."""
    single = network(address).network_address
    offset = int(single) - int(network(inside).network_address)
    return str(type(single)(int(network(outside).network_address) + offset))


def wan_of(gateway: Gateway, interface: str) -> t.Optional[Wan]:
    return next((wan for wan in gateway.wans or () if matches_name(wan.interface, interface)), None)
