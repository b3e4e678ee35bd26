# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""What is inside: which LAN has an address, and which networks a gateway or an item means."""

from __future__ import annotations

import ipaddress
import typing as t

from .._rules import family_of, is_suffix, network as parsed_network
from .._values import PRIVATE, UNIQUE_LOCAL, is_private, may_have, overlaps

if t.TYPE_CHECKING:
    from .._intent.gateway import Gateway
    from .._intent.nat import NatItem
    from .._intent.sides import Lan
    from .._intent.traffic import Traffic


def nat_networks(gateway: Gateway, lan: Lan) -> t.Tuple[str, ...]:
    """The networks of a LAN that must never appear on a WAN.

    With ``ipv6: route`` (RFC 6296 section 1: translation is a last resort for IPv6), global addresses are routed
    unchanged. Unique local addresses are translated, because no outside router has a route to them.
    """
    networks = lan.networks or ()
    if gateway.ipv6 == "route":
        networks = tuple(net for net in networks if family_of(net) == "ip" or is_private(net))
    return networks


def followed(gateway: Gateway) -> t.Tuple[str, ...]:
    """The blocks in which a LAN may get other networks without a run: by DHCP, prefix delegation or by hand.

    Only blocks from which nothing can leave without the declared translation: private IPv4; for routed IPv6, unique
    local and global addresses; for masqueraded IPv6, unique local addresses; for NPTv6 none, because each network needs
    an outside prefix.
    """
    if not any(lan.follows for lan in gateway.lans or ()):
        return ()
    blocks = [str(net) for net in PRIVATE]
    blocks += {"route": [str(UNIQUE_LOCAL), "2000::/3"], "masquerade": [str(UNIQUE_LOCAL)], "prefix": []}[gateway.ipv6]
    families = forwarded_families(gateway)
    return tuple(net for net in blocks if family_of(net) in families)


def sources_of(gateway: Gateway, item: NatItem) -> t.Tuple[str, ...]:
    """The networks that a NAT item translates: those of the LANs it names, or those it lists."""
    networks = _networks_of(item, {lan.name: nat_networks(gateway, lan) for lan in gateway.lans or ()})
    if gateway.ipv6 == "prefix" and item.action in ("masquerade", "snat"):
        return tuple(net for net in networks if family_of(net) == "ip")
    return networks


def inside_of(gateway: Gateway, item: Traffic) -> t.Tuple[str, ...]:
    """The networks that a filter item matches: all of the LANs it names, or those it lists."""
    return _networks_of(item, {lan.name: lan.networks or () for lan in gateway.lans or ()})


def _networks_of(item: Traffic, lans: t.Mapping[str, t.Tuple[str, ...]]) -> t.Tuple[str, ...]:
    named = [lans.get(entry, (entry,)) for entry in item.source] if item.source else list(lans.values())
    return tuple(net for networks in named for net in networks)


def forwarded_families(gateway: Gateway) -> t.Tuple[str, ...]:
    """``ip`` and ``ip6``, each if a LAN has such a network."""
    present = {family_of(net) for lan in gateway.lans or () for net in lan.networks or ()}
    return tuple(family for family in ("ip", "ip6") if family in present)


def lan_of(gateway: Gateway, address: str) -> t.Optional[Lan]:
    """The LAN whose networks contain the address."""
    found = Inside.of(gateway).find(address)
    return found[0] if found else None


class Inside:
    """Finds the LAN of an address without a scan of up to 10,000 networks."""

    def __init__(self, lans: t.Iterable[Lan]) -> None:
        self._lans: t.Dict[t.Tuple[int, int, int], t.Tuple[Lan, str]] = {}
        for lan in lans:
            for net in lan.networks or ():
                parsed = parsed_network(net)
                key = (parsed.version, parsed.prefixlen, int(parsed.network_address))
                self._lans.setdefault(key, (lan, net))
        self._lengths = sorted({key[:2] for key in self._lans}, reverse=True)

    @classmethod
    def of(cls, gateway: Gateway) -> Inside:
        """The cached index of a gateway, which is immutable."""
        found = gateway.__dict__.get("_networks_of")
        if not found:
            found = gateway.__dict__["_networks_of"] = cls(gateway.lans or ())
        return t.cast("Inside", found)

    def find(self, address: str) -> t.Optional[t.Tuple[Lan, str]]:
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

    def ending_in(self, suffix: str) -> t.List[t.Tuple[Lan, str]]:
        """The LANs and networks that may have a routed address with this suffix."""
        return [(lan, net) for lan, net in self._lans.values() if may_have(net, suffix) and not is_private(net)]


def home_of(gateway: Gateway, address: str) -> t.Tuple[str, ...]:
    """The interfaces of the LANs that contain the address, or else of those that may get it again."""
    lans = lans_with(gateway, [address]) or [lan for lan in gateway.lans or () if lan.follows]
    return tuple(name for lan in lans for name in lan.interfaces)


def lans_with(gateway: Gateway, networks: t.Sequence[str]) -> t.List[Lan]:
    """The LANs that overlap these networks."""
    return [lan for lan in gateway.lans or () if overlaps(networks, lan.networks or ())]
