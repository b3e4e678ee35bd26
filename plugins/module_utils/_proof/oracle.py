# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.
"""What a declaration says about one packet: whether it may leave, and as what. It never reads a rule."""

from __future__ import annotations

import typing as t

from .._base.net import family_of, matches_name, network
from .._base.prefix import neutral_pairs
from .._base.values import networks_of
from .._resolve.inside import nat_networks
from .model import within

if t.TYPE_CHECKING:  # pragma: no cover
    from .._intent.nat import NatItem
    from .._intent.outbound import Outbound
    from .._intent.traffic import Traffic
    from .._resolve.resolved import Resolved, ResolvedWan
    from .model import Ground
    from .packets import Packet


#: With at most this many ports, clients may use up all of them.
FEW_PORTS = 64
#: Hosts outside that the probe plays.
MOST_HOSTS = 4096


class Verdict(t.NamedTuple):
    """The sources that a packet may leave with; none: it must not leave."""

    sources: t.Tuple[str, ...]
    items: t.Tuple[str, ...] = ()
    shortage: str = ""  # what clients may have used up, of what the declaration gives them
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


class Lookup:
    """The numbers of the items that name a network with an address, as there may be 10,000 of them."""

    def __init__(self, listed: t.Sequence[t.Tuple[str, ...]], whole: bool) -> None:
        """``whole``: an item without networks is for every address."""
        groups: t.Dict[t.Tuple[str, ...], t.List[int]] = {}
        for number, networks in enumerate(listed):
            groups.setdefault(networks, []).append(number)
        self._every = frozenset(groups.pop((), ())) if whole else frozenset()
        self._named: t.Dict[t.Tuple[int, int, int], t.List[t.List[int]]] = {}
        for networks, numbers in groups.items():
            for key in map(_key, networks):
                self._named.setdefault(key, []).append(numbers)
        self._lengths = {key[:2] for key in self._named}
        self._found: t.Dict[str, t.FrozenSet[int]] = {}

    def find(self, address: str) -> t.FrozenSet[int]:
        if address not in self._found:
            version, longest, number = _key(address)
            keys = [(of, size, number >> longest - size) for of, size in self._lengths if of == version]
            named = (number for key in keys for numbers in self._named.get(key, ()) for number in numbers)
            self._found[address] = self._every.union(named)
        return self._found[address]


def _key(text: str) -> t.Tuple[int, int, int]:
    """Version, length and leading bits."""
    parsed = network(text)
    return (
        parsed.version,
        parsed.prefixlen,
        int(parsed.network_address) >> parsed.max_prefixlen - parsed.prefixlen,
    )


class Oracle:
    """A gateway's declaration on its ground."""

    def __init__(self, gateway: Resolved, ground: Ground) -> None:
        self.gateway, self.ground = gateway, ground
        self._hosts = 0
        self._never: t.Tuple[str, ...] = ()
        self._networks: t.Dict[str, t.Dict[str, t.Tuple[str, ...]]] = {}
        self._lookups: t.Dict[str, t.Tuple[Lookup, Lookup]] = {}
        self._sources: t.Dict[t.Tuple[t.Any, ...], t.Tuple[str, ...]] = {}

    def host_outside(self, family: str) -> str:
        """Another one each time, as two flows to one host may not share the only port of a NAT item."""
        net = network(self.ground.outside[family])
        self._hosts += 1
        return str(net[1 + self._hosts % min(net.num_addresses - 4, MOST_HOSTS)])

    def sources_of(self, item: NatItem) -> t.Tuple[str, ...]:
        """The networks that a NAT item translates; with ``ipv6: prefix``, only prefixes are for IPv6."""
        only = "ip" if self.gateway.ipv6 == "prefix" and item.action in ("masquerade", "snat") else ""
        return self._of("nat", item, only)

    def inside_of(self, item: Traffic) -> t.Tuple[str, ...]:
        return self._of("all", item, "")

    def _of(self, kind: str, item: Traffic, only: str) -> t.Tuple[str, ...]:
        """Most items have the same sources, and a LAN may have 10,000 networks."""
        key = (kind, item.source, only)
        if key not in self._sources:
            lans = self._lans(kind)
            listed = [lans.get(entry, (entry,)) for entry in item.source] if item.source else list(lans.values())
            found = (net for networks in listed for net in networks)
            self._sources[key] = tuple(net for net in found if not only or family_of(net) == only)
        return self._sources[key]

    def _lans(self, kind: str) -> t.Dict[str, t.Tuple[str, ...]]:
        if kind not in self._networks:
            lans = self.gateway.lans
            known = {lan.name: nat_networks(self.gateway, lan) if kind == "nat" else lan.networks for lan in lans}
            self._networks[kind] = known
        return self._networks[kind]

    def filtered(self, packet: Packet, wan: str) -> t.Optional[Outbound]:
        """The outbound rule that decides about a packet; None: it may leave."""
        rules = self._candidates("outbound", packet, self.inside_of)
        return next((item for item in rules if matches(item, packet, wan, self.inside_of(item))), None)

    def translated(self, packet: Packet, wan: str) -> t.Optional[NatItem]:
        candidates: t.List[NatItem] = self._candidates("nat", packet, self.sources_of)
        for item in candidates:
            plain = not (item.action == "exempt" and item.ipsec) and _has_target(item, packet)
            if plain and matches(item, packet, wan, self.sources_of(item)):
                return item
        return None

    def _candidates(self, kind: str, packet: Packet, sources: t.Callable[[t.Any], t.Tuple[str, ...]]) -> t.List[t.Any]:
        """The items that name both ends of a packet, in their order."""
        items = getattr(self.gateway, kind)
        if kind not in self._lookups:
            by_target = Lookup([item.destination for item in items], whole=True)
            self._lookups[kind] = (Lookup([sources(item) for item in items], whole=False), by_target)
        by_source, by_target = self._lookups[kind]
        return [items[number] for number in sorted(by_source.find(packet.source) & by_target.find(packet.target))]

    def leaves(self, packet: Packet, wan: str) -> Verdict:
        """What the declaration says about a new packet from a LAN through a WAN's interface."""
        rule = self.filtered(packet, wan)
        named = ("outbound/" + rule.name,) if rule else ()
        if rule and rule.action != "accept":
            return Verdict((), named)
        shortage = (
            "rate {0} of outbound '{1}' may be used up".format(rule.rate, rule.name) if rule and rule.rate else ""
        )
        item = self.translated(packet, wan)
        if item:
            kept = item.persistent or item.action != "snat"
            if item.to_port and item.to_port[1] - item.to_port[0] < FEW_PORTS:
                shortage = "the few ports of nat '{0}' may all be in use".format(item.name)
            return Verdict(self._sources_by(item, packet, wan), (*named, "nat/" + item.name), shortage, kept)
        guarded = self._guarded()
        if guarded and within(packet.source, guarded):
            return Verdict((), named)
        return Verdict((packet.source,), named, shortage)

    def _guarded(self) -> t.Tuple[str, ...]:
        """What never leaves untranslated."""
        if not self._never:
            self._never = tuple(net for networks in self._lans("nat").values() for net in networks)
        return self._never

    def _sources_by(self, item: NatItem, packet: Packet, wan: str) -> t.Tuple[str, ...]:
        if item.action == "exempt":
            return (packet.source,)
        if item.action == "masquerade":
            return self.ground.masquerading(wan, packet.family)
        if item.action == "snat":
            return tuple(net for entry in item.to if family_of(entry) == packet.family for net in _as_networks(entry))
        return (self.mapped(item, packet.source),)

    def mapped(self, item: NatItem, address: str) -> str:
        """The address outside that stands for one inside, by a 1:1 or prefix item."""
        inside, outside = self.sources_of(item), item.to[0]
        own = next((net for net in inside if family_of(net) == family_of(outside)), outside)
        if item.action != "prefix":
            return moved(address, own, outside)
        lans = [net for lan in self.gateway.lans for net in lan.networks]
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


def wan_of(gateway: Resolved, interface: str) -> t.Optional[ResolvedWan]:
    return next((wan for wan in gateway.wans if matches_name(wan.interface, interface)), None)
