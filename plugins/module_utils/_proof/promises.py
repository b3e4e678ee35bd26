# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.
"""From a resolved gateway and its ground to promises: an oracle that never reads a rule."""

from __future__ import annotations

import typing as t

from .._rules import family_of, network
from .model import FAMILY_NAMES, Come, Promise, Step
from .oracle import leaves
from .packets import ECHO, Packet

if t.TYPE_CHECKING:  # pragma: no cover
    from .._intent import Gateway, Lan
    from .model import Ground

FAMILIES = ("ip", "ip6")
PROTOCOLS = ("tcp", "udp", "icmp")
#: Where a packet goes if no item says otherwise; then what most outbound rules open.
PORTS = {"tcp": (49443, 443, 80, 22), "udp": (49443, 443, 123, 53), "icmp": (0,)}
#: A port on which nothing listens, unless a declaration opens it.
CLOSED = (49151, 47293, 45737, 41843)


def promises(gateway: Gateway, ground: Ground) -> t.List[Promise]:
    return [
        promise
        for family in families(gateway)
        for promise in (*_reaching(gateway, ground, family), *_closed(gateway, ground, family))
    ]


def families(gateway: Gateway) -> t.List[str]:
    present = {family_of(net) for lan in gateway.lans or () for net in lan.networks or ()}
    return [family for family in FAMILIES if family in present]


def inside(gateway: Gateway, ground: Ground) -> t.List[t.Tuple[Lan, str]]:
    """Every LAN with each of its interfaces on this host; with its pattern, if there is none."""
    return [(lan, name) for lan in gateway.lans or () for pattern in lan.interfaces for name in meant(ground, pattern)]


def outside(gateway: Gateway, ground: Ground) -> t.List[str]:
    return [name for wan in gateway.wans or () for name in meant(ground, wan.interface)]


def meant(ground: Ground, pattern: str) -> t.List[str]:
    if not pattern.endswith("*"):
        return [pattern]
    return [name for name in ground.links if name.startswith(pattern[:-1])] or [pattern]


def called(lan: Lan, interface: str) -> str:
    """A LAN in the user's words; with its interface if it has several."""
    single = len(lan.interfaces) == 1 and not lan.interfaces[0].endswith("*")
    return lan.name if single else "{0} ({1})".format(lan.name, interface)


def sort_of(protocol: str, family: str) -> str:
    return "({0}, {1})".format(protocol, FAMILY_NAMES[family])


def host_outside(ground: Ground, family: str, number: int = 0) -> str:
    """One of the hosts outside that the probe plays."""
    return str(network(ground.outside[family])[1 + number])


def request(source: str, target: str, protocol: str, dport: int = 0) -> Packet:
    packet = Packet(source, target, protocol, dport=dport)
    if protocol == "icmp":
        return Packet(source, target, protocol, flags=0, kind=ECHO[packet.version][0])
    return packet


def _reaching(gateway: Gateway, ground: Ground, family: str) -> t.Iterator[Promise]:
    for lan, interface in inside(gateway, ground):
        if any(family_of(net) == family for net in lan.networks or ()):
            for wan in outside(gateway, ground):
                for protocol in PROTOCOLS:
                    yield _reach(gateway, ground, (lan, interface, wan), (family, protocol))


def _reach(gateway: Gateway, ground: Ground, ends: t.Tuple[Lan, str, str], sort: t.Tuple[str, str]) -> Promise:
    (lan, interface, wan), (family, protocol) = ends, sort
    name = "{0} reaches the Internet by {1} {2}".format(called(lan, interface), wan, sort_of(protocol, family))
    lacks = lack_inside(ground, interface, family) or lack_outside(ground, interface, wan, family)
    if lacks:
        return Promise("reach", name, lacks=lacks)
    packet = _out(gateway, ground, (interface, wan), sort)
    verdict = leaves(gateway, ground, packet, wan)
    if not verdict.sources:
        name = "{0} does not leave through {1} {2}".format(called(lan, interface), wan, sort_of(protocol, family))
        out = Come(tuple(outside(gateway, ground)))
        return Promise("reach", name, verdict.items, (Step(interface, packet),), (out,), (interface,))
    steps = [Step(interface, packet, Come((wan,), verdict.sources, (packet.target,), packet.dport)), Step()]
    return Promise(
        "reach", name, verdict.items, tuple(steps), hops=hops(ground, interface, family), excuse=verdict.excuse
    )


def _out(gateway: Gateway, ground: Ground, ways: t.Tuple[str, str], sort: t.Tuple[str, str]) -> Packet:
    """A packet that the outbound rules let out, if there is one."""
    (interface, wan), (family, protocol) = ways, sort
    opened = [port[0] for item in gateway.outbound if item.action == "accept" for port in item.port]
    ports = PORTS[protocol] + (tuple(opened) if protocol != "icmp" else ())
    tries = [request(ground.clients[interface, family], host_outside(ground, family), protocol, port) for port in ports]
    return next((packet for packet in tries if leaves(gateway, ground, packet, wan).sources), tries[0])


def lack_inside(ground: Ground, interface: str, family: str) -> str:
    """Why nothing can be sent from a LAN."""
    lacks = lack_of(ground, interface)
    if not lacks and (interface, family) not in ground.clients:
        lacks = "{0} has no {1} network with a free address for the probe".format(interface, FAMILY_NAMES[family])
    return lacks


def lack_of(ground: Ground, interface: str) -> str:
    link = ground.links.get(interface)
    if not link:
        return "{0} does not exist".format(interface)
    return link.lacks or ("" if link.up else "{0} is down".format(interface))


def lack_outside(ground: Ground, interface: str, wan: str, family: str) -> str:
    """Why what a LAN sends does not leave through this WAN."""
    lacks = lack_of(ground, wan)
    if lacks:
        return lacks
    way = ground.ways.get((interface, family), ("", ""))[0]
    if not way:
        return "no {0} route leaves through {1}".format(FAMILY_NAMES[family], wan)
    return (
        ""
        if way == wan
        else "no {0} route leaves through {1}; the default route leaves through {2}".format(
            FAMILY_NAMES[family], wan, way
        )
    )


def hops(ground: Ground, interface: str, family: str) -> t.Tuple[t.Tuple[str, str], ...]:
    way, hop = ground.ways.get((interface, family), ("", ""))
    return ((way, hop),) if hop else ()


# --- Closed from outside --------------------------------------------------------------------------------------------


def _closed(gateway: Gateway, ground: Ground, family: str) -> t.Iterator[Promise]:
    for wan in outside(gateway, ground):
        for lan, interface in inside(gateway, ground):
            if any(family_of(net) == family for net in lan.networks or ()):
                for protocol in PROTOCOLS:
                    yield _shut(gateway, ground, (lan, interface, wan), (family, protocol))
        if gateway.input == "protect":
            for protocol in ("tcp", "udp"):
                yield _shut_here(gateway, ground, wan, (family, protocol))


def _shut(gateway: Gateway, ground: Ground, ends: t.Tuple[Lan, str, str], sort: t.Tuple[str, str]) -> Promise:
    (lan, interface, wan), (family, protocol) = ends, sort
    name = "{0} is closed from {1} {2}".format(called(lan, interface), wan, sort_of(protocol, family))
    lacks = lack_of(ground, wan) or lack_inside(ground, interface, family)
    if lacks:
        return Promise("closed", name, lacks=lacks)
    packet = request(host_outside(ground, family), ground.clients[interface, family], protocol, CLOSED[0])
    return Promise("closed", name, (), (Step(wan, packet),), (Come(everywhere(gateway, ground)),), (wan,))


def _shut_here(gateway: Gateway, ground: Ground, wan: str, sort: t.Tuple[str, str]) -> Promise:
    family, protocol = sort
    name = "this host is closed from {0} {1}".format(wan, sort_of(protocol, family))
    here = [address for address in ground.addresses.get(wan, ()) if family_of(address) == family]
    lacks = lack_of(ground, wan) or ("" if here else "{0} has no {1} address".format(wan, FAMILY_NAMES[family]))
    port = next((port for port in CLOSED if not _opened(gateway, protocol, port)), 0)
    if not lacks and not port:
        lacks = "the declaration opens every port that the probe would use"
    if lacks:
        return Promise("closed", name, lacks=lacks)
    packet = request(host_outside(ground, family), here[0], protocol, port)
    return Promise("closed", name, (), (Step(wan, packet),), (Come(everywhere(gateway, ground)),), (wan,))


def _opened(gateway: Gateway, protocol: str, port: int) -> bool:
    """Whether an item may open a port from outside, for whichever client."""
    return port in gateway.controller_ports or any(
        (not item.protocol or protocol in item.protocol)
        and (not item.port or any(first <= port <= last for first, last in item.port))
        for item in (*gateway.input_allow, *gateway.port_forwards)
    )


def everywhere(gateway: Gateway, ground: Ground) -> t.Tuple[str, ...]:
    return (*(name for _lan, name in inside(gateway, ground)), *outside(gateway, ground))
