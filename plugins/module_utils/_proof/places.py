# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Where a probe can be sent from and to, and the words for it."""

from __future__ import annotations

import ipaddress
import typing as t

from .._base.net import family_of, network
from .model import FAMILY_NAMES, Come, within
from .packets import ECHO, Packet

if t.TYPE_CHECKING:  # pragma: no cover
    from .._resolve.resolved import Resolved, ResolvedLan
    from .model import Ground
    from .oracle import Oracle

FAMILIES = ("ip", "ip6")
PROTOCOLS = ("tcp", "udp", "icmp")
#: Where a packet goes if no item says otherwise; then what most outbound rules open.
PORTS = {"tcp": (49443, 443, 80, 22), "udp": (49443, 443, 123, 53), "icmp": (0,)}
#: Ports on which nothing listens, unless a declaration opens them.
CLOSED = (49151, 47293, 45737, 41843)


def families(gateway: Resolved) -> t.List[str]:
    return [family for family in FAMILIES if any(has(lan, family) for lan in gateway.lans)]


def has(lan: ResolvedLan, family: str) -> bool:
    return any(family_of(net) == family for net in lan.networks)


def inside(gateway: Resolved, ground: Ground, family: str = "") -> t.List[t.Tuple[ResolvedLan, str]]:
    """Every LAN with each of its interfaces on this host; with its pattern, if there is none.

    For one family, without those that have no such network, unless no interface of that LAN has one.
    """
    found = []
    for lan in gateway.lans:
        names = [name for pattern in lan.interfaces for name in meant(ground, pattern)]
        if family:
            names = [name for name in names if (name, family) in ground.clients] or names[:1]
            names = names if has(lan, family) else []
        found += [(lan, name) for name in names]
    return found


def outside(gateway: Resolved, ground: Ground, only: str = "") -> t.List[str]:
    """The interfaces of all WANs, or of an item's WAN."""
    return [name for wan in gateway.wans if only in ("", wan.interface) for name in meant(ground, wan.interface)]


def meant(ground: Ground, pattern: str) -> t.List[str]:
    if not pattern.endswith("*"):
        return [pattern]
    return [name for name in ground.links if name.startswith(pattern[:-1])] or [pattern]


def everywhere(gateway: Resolved, ground: Ground) -> t.Tuple[str, ...]:
    return (*(name for _lan, name in inside(gateway, ground)), *outside(gateway, ground))


def anywhere_outside(
    gateway: Resolved, ground: Ground, target: str, sources: t.Tuple[str, ...] = ()
) -> t.Tuple[Come, ...]:
    """Where a packet to that target leaves. On a LAN's own link with a default route, its client is refused, too."""
    lans = {name for _lan, name in inside(gateway, ground)} & set(ground.exits)
    links = dict.fromkeys((*outside(gateway, ground), *(each for each in ground.exits if each not in lans)))
    found = (Come(tuple(links), sources),)
    return found + (Come(tuple(sorted(lans)), sources, (target,)),) if lans else found


def astray(oracle: Oracle, packet: Packet, place: str, *more: str) -> t.Tuple[Come, ...]:
    """Where a LAN's packet for a network that it does not reach must not come out: at any LAN, and at ``more`` links.

    A rule such as ``from 192.168.2.0/24 lookup 200``, whose table has only a default route, leads it to a WAN, through
    which it leaves as declared.
    """
    links = (*(name for _lan, name in inside(oracle.gateway, oracle.ground)), *more)
    return (Come(tuple(name for name in links if name != place)), *at_wans(oracle, packet))


def at_wans(oracle: Oracle, packet: Packet) -> t.Tuple[Come, ...]:
    """What must not come out of a WAN: its own source if it is to be translated; anything if it may not leave."""
    found = []
    for wan in outside(oracle.gateway, oracle.ground):
        declared = oracle.leaves(packet, wan).sources
        if not within(packet.source, declared) or not declared:
            found.append(Come((wan,), (packet.source,) if declared else ()))
    return tuple(found)


# --- Words ----------------------------------------------------------------------------------------------------------


def called(lan: ResolvedLan, interface: str) -> str:
    """A LAN in the user's words; with its interface if it has several."""
    single = len(lan.interfaces) == 1 and not lan.interfaces[0].endswith("*")
    return lan.name if single else "{0} ({1})".format(lan.name, interface)


def sort_of(protocol: str, family: str) -> str:
    return "({0}, {1})".format(protocol, FAMILY_NAMES[family])


# --- Packets --------------------------------------------------------------------------------------------------------


def host_outside(ground: Ground, family: str) -> str:
    """One of the hosts outside that the probe plays."""
    return str(network(ground.outside[family])[1])


def intruder(ground: Ground, family: str) -> str:
    """The host outside that tries what must not pass, and nothing else: rules of others may shut it out for an hour."""
    return str(network(ground.outside[family])[-2])


def request(source: str, target: str, protocol: str, dport: int = 0, mss: int = 0) -> Packet:
    packet = Packet(source, target, protocol, dport=dport, mss=mss)
    if protocol == "icmp":
        return Packet(source, target, protocol, flags=0, kind=ECHO[packet.version][0])
    return packet


def one_of(net: str) -> str:
    """A host of a network, far from both ends where there is room."""
    parsed = network(net)
    if parsed.num_addresses <= 2:
        return str(parsed[0])
    if isinstance(parsed, ipaddress.IPv6Network) and parsed.prefixlen <= 64:
        return str(parsed[0xFAFA])
    return str(parsed[-2])


def is_public(address: str) -> bool:
    return bool(ipaddress.ip_address(address).is_global)


def of_family(networks: t.Iterable[str], family: str) -> t.Tuple[str, ...]:
    return tuple(net for net in networks if family_of(net) == family)


# --- Where it can be sent -------------------------------------------------------------------------------------------


def client_in(
    gateway: Resolved, ground: Ground, sources: t.Sequence[str], family: str
) -> t.Optional[t.Tuple[str, str]]:
    """LAN interface and address of a client in one of these networks: a free address, or else any."""
    own = of_family(sources, family)
    if not own:
        return None
    for (name, of), client in ground.clients.items():
        if of == family and within(client, own):
            return name, client
    for address in (each for each in map(one_of, own[:8]) if each not in ground.own):
        for lan, name in inside(gateway, ground):
            if within(address, lan.networks or ("0.0.0.0/32",)) and within(address, ground.networks.get(name, ("::",))):
                return name, address
    return None


def lack_of(ground: Ground, interface: str) -> str:
    link = ground.links.get(interface)
    if not link:
        return "{0} does not exist".format(interface)
    return link.lacks if link.up else "{0} is down".format(interface)


def lack_inside(ground: Ground, interface: str, family: str) -> str:
    """Why nothing can be sent from a LAN."""
    lacks = lack_of(ground, interface)
    if not lacks and interface in ground.addresses and not of_family(ground.addresses[interface], family):
        return "{0} has no {1} address, so no client reaches this gateway there".format(interface, FAMILY_NAMES[family])
    if not lacks and (interface, family) not in ground.clients:
        lacks = "{0} has no {1} network with a free address for the probe".format(interface, FAMILY_NAMES[family])
    return lacks


def way_of(ground: Ground, interface: str, target: str) -> t.Tuple[str, str]:
    """Interface and next hop of what a LAN sends to a target; nothing, if no route is known."""
    family = family_of(target)
    default = within(target, (ground.outside.get(family, "0.0.0.0/32"),))
    return ground.ways.get((interface, family if default else target), ("", ""))


def lack_on_the_way(ground: Ground, interface: str, target: str) -> str:
    """Why nobody would see what a LAN sends to a target leave. It is not sent then, as it would be on a wire."""
    way, family = way_of(ground, interface, target)[0], FAMILY_NAMES[family_of(target)]
    return lack_of(ground, way) if way else "no {0} route leads from {1} to {2}".format(family, interface, target)


def lack_outside(ground: Ground, interface: str, wan: str, target: str) -> str:
    """Why what a LAN sends does not leave through this WAN."""
    lacks = lack_of(ground, wan)
    if lacks:
        return lacks
    way, family = way_of(ground, interface, target)[0], FAMILY_NAMES[family_of(target)]
    if not way:
        return "no {0} route leaves through {1}".format(family, wan)
    if way == wan:
        return ""
    return "no {0} route leaves through {1}; the route to {2} leaves through {3}".format(family, wan, target, way)


def hops(ground: Ground, interface: str, target: str) -> t.Tuple[t.Tuple[str, str], ...]:
    """The router that a packet takes, and those that it may take instead."""
    way, hop = way_of(ground, interface, target)
    return (((way, hop),) if hop else ()) + ground.siblings.get((way, family_of(target)), ())
