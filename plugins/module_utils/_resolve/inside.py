# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""What is inside: which LAN has an address, and which networks a gateway or an item means."""

from __future__ import annotations

import ipaddress
import typing as t

from .._base.net import by_family, collapse, family_of, is_suffix, network as parsed_network
from .._base.once import once
from .._base.values import PRIVATE, UNIQUE_LOCAL, is_private, may_have, networks_of, overlaps

if t.TYPE_CHECKING:
    from .._intent.forward import PortForward
    from .._intent.gateway import Gateway
    from .._intent.nat import NatItem
    from .._intent.traffic import Traffic
    from .resolved import Resolved, ResolvedLan


def nat_networks(gateway: Resolved, lan: ResolvedLan) -> t.Tuple[str, ...]:
    """The networks of a LAN that must never appear on a WAN.

    With ``ipv6: route`` (RFC 6296 section 1: translation is a last resort for IPv6), global addresses are routed
    unchanged. Unique local addresses are translated, because no outside router has a route to them.
    """
    networks = lan.networks
    if gateway.ipv6 == "route":
        networks = tuple(net for net in networks if family_of(net) == "ip" or is_private(net))
    return networks


def followed(gateway: Resolved) -> t.Tuple[str, ...]:
    """The blocks in which a LAN may get other networks without a run: by DHCP, prefix delegation or by hand.

    Only blocks from which nothing can leave without the declared translation: private IPv4; for routed IPv6, unique
    local and global addresses; for masqueraded IPv6, unique local addresses; for NPTv6 none, because each network needs
    an outside prefix.
    """
    if not any(lan.follows for lan in gateway.lans):
        return ()
    blocks = [str(net) for net in PRIVATE]
    blocks += {"route": [str(UNIQUE_LOCAL), "2000::/3"], "masquerade": [str(UNIQUE_LOCAL)], "prefix": []}[gateway.ipv6]
    families = forwarded_families(gateway)
    return tuple(net for net in blocks if family_of(net) in families)


def sources_of(gateway: Resolved, item: NatItem) -> t.Tuple[str, ...]:
    """The networks that a NAT item translates: those of the LANs it names, or those it lists."""
    networks = _networks_of(item, {lan.name: nat_networks(gateway, lan) for lan in gateway.lans})
    if gateway.ipv6 == "prefix" and item.action in ("masquerade", "snat"):
        return tuple(net for net in networks if family_of(net) == "ip")
    return networks


def private_to(item: NatItem) -> t.Tuple[str, ...]:
    """The private ones of the addresses and networks that a NAT item translates to."""
    return tuple(net for to in item.to for net in ([to] if "/" in to else networks_of(to)) if is_private(net))


def inside_of(gateway: Resolved, item: Traffic) -> t.Tuple[str, ...]:
    """The networks that a filter item matches: all of the LANs it names, or those it lists."""
    return _networks_of(item, {lan.name: lan.networks for lan in gateway.lans})


def _networks_of(item: Traffic, lans: t.Mapping[str, t.Tuple[str, ...]]) -> t.Tuple[str, ...]:
    named = [lans.get(entry, (entry,)) for entry in item.source] if item.source else list(lans.values())
    return tuple(net for networks in named for net in networks)


def forwarded_families(gateway: Gateway) -> t.Tuple[str, ...]:
    """``ip`` and ``ip6``, each if a LAN has such a network."""
    present = {family_of(net) for lan in gateway.named_lans for net in lan.named_networks}
    return tuple(family for family in ("ip", "ip6") if family in present)


def lan_of(gateway: Resolved, address: str) -> t.Optional[ResolvedLan]:
    """The LAN whose networks contain the address."""
    found = inside(gateway).find(address)
    return found[0] if found else None


class Inside:
    """Finds the LAN of an address without a scan of up to 10,000 networks."""

    def __init__(self, lans: t.Iterable[ResolvedLan]) -> None:
        self._lans: t.Dict[t.Tuple[int, int, int], t.Tuple[ResolvedLan, str]] = {}
        for lan in lans:
            for net in lan.networks:
                parsed = parsed_network(net)
                key = (parsed.version, parsed.prefixlen, int(parsed.network_address))
                self._lans.setdefault(key, (lan, net))
        self._lengths = sorted({key[:2] for key in self._lans}, reverse=True)

    def find(self, address: str) -> t.Optional[t.Tuple[ResolvedLan, str]]:
        """The LAN and its network; for a suffix, only if exactly one LAN matches."""
        if is_suffix(address):
            ending = self.ending_in(address)
            return ending[0] if len({lan.name for lan, _net in ending}) == 1 else None
        parsed = ipaddress.ip_address(address)
        for version, length in self._lengths:
            if version == parsed.version:
                rest = parsed.max_prefixlen - length
                found = self._lans.get((version, length, int(parsed) >> rest << rest))
                if found:
                    return found
        return None

    def ending_in(self, suffix: str) -> t.List[t.Tuple[ResolvedLan, str]]:
        """The LANs and networks that may have a routed address with this suffix."""
        return [(lan, net) for lan, net in self._lans.values() if may_have(net, suffix) and not is_private(net)]


@once
def inside(gateway: Resolved) -> Inside:
    """The index of a gateway's LANs."""
    return Inside(gateway.lans)


def home_of(gateway: Resolved, address: str) -> t.Tuple[str, ...]:
    """The interfaces of the LANs that contain the address, or else of those that may get it again."""
    lans = lans_with(gateway, [address]) or [lan for lan in gateway.lans if lan.follows]
    return tuple(name for lan in lans for name in lan.interfaces)


def lans_with(gateway: Resolved, networks: t.Sequence[str]) -> t.List[ResolvedLan]:
    """The LANs that overlap these networks."""
    return [lan for lan in gateway.lans if overlaps(networks, lan.networks)]


def within(networks: t.Iterable[str], lan: t.Iterable[str]) -> t.Tuple[str, ...]:
    """The part of some networks that lies in a LAN: two networks are apart, or one holds the other."""
    pairs = overlaps(networks, lan)
    return tuple(dict.fromkeys(max(pair, key=lambda net: int(parsed_network(net).prefixlen)) for pair in pairs))


def lan_networks(gateway: Resolved, family: str) -> t.Tuple[str, ...]:
    return by_family(net for lan in gateway.lans for net in lan.networks).get(family, ())


def outside_sources(gateway: Resolved, forward: PortForward, family: str) -> t.Optional[t.Tuple[str, ...]]:
    """The clients outside that a forward is for; empty: all; None: nobody, as it names clients inside only."""
    named = by_family(forward.source).get(family, ())
    if not named:
        return ()
    inside = lan_networks(gateway, family)
    found = tuple(net for net in named if not any(parsed_network(net).subnet_of(parsed_network(lan)) for lan in inside))
    return found or None


def inside_sources(gateway: Resolved, forward: PortForward, family: str) -> t.Optional[t.Tuple[str, ...]]:
    """The same for clients inside, who are asked for by a hairpin."""
    if not forward.hairpin:
        return None
    named = by_family(forward.source).get(family, ())
    return collapse(within(named, lan_networks(gateway, family))) or None if named else ()
