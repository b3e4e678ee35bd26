# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""What leaves: LANs to the Internet, NAT items, outbound rules, MSS, ICMP errors about a flow."""

from __future__ import annotations

import typing as t
from dataclasses import replace

from .._base.net import family_of
from .model import FAMILY_NAMES, Come, Promise, Step, within
from .oracle import wan_of
from .places import (
    PORTS,
    PROTOCOLS,
    anywhere_outside,
    at_wans,
    called,
    client_in,
    families,
    hops,
    host_outside,
    inside,
    is_public,
    lack_inside,
    lack_of,
    lack_outside,
    of_family,
    one_of,
    outside,
    request,
    sort_of,
)

if t.TYPE_CHECKING:  # pragma: no cover
    from .._intent.traffic import Traffic
    from .._resolve.resolved import ResolvedLan
    from .oracle import Oracle
    from .packets import Packet

#: LAN, its interface, a WAN's interface, family.
Pair = t.Tuple["ResolvedLan", str, str, str]
#: Larger than any MTU that a clamp would leave alone.
LARGE = 8960
#: An ICMP error by family: type, code, MTU. Path MTU discovery depends on these.
TOO_BIG = {"ip": (3, 4, 1280), "ip6": (2, 0, 1280)}
HEADERS = {"ip": 40, "ip6": 60}


def pairs(oracle: Oracle) -> t.List[Pair]:
    return [
        (lan, name, wan, family)
        for family in families(oracle.gateway)
        for lan, name in inside(oracle.gateway, oracle.ground, family)
        for wan in outside(oracle.gateway, oracle.ground)
    ]


def reaching(oracle: Oracle, pair: Pair) -> t.List[Promise]:
    return [_reach(oracle, pair, protocol) for protocol in PROTOCOLS]


def _reach(oracle: Oracle, pair: Pair, protocol: str) -> Promise:
    lan, interface, wan, family = pair
    name = "{0} reaches the Internet through {1} {2}".format(called(lan, interface), wan, sort_of(protocol, family))
    lacks = _lacks(oracle, pair)
    if lacks:
        return Promise("reach", name, lacks=lacks)
    packet = _out(oracle, pair, protocol)
    verdict = oracle.leaves(packet, wan)
    if not verdict.sources:
        name = "{0} does not leave through {1} {2}".format(called(lan, interface), wan, sort_of(protocol, family))
        never = _nowhere(oracle, packet)
        return Promise("reach", name, verdict.items, (Step(interface, packet),), never, (interface,))
    steps = (_gone(oracle, interface, packet, wan, verdict.sources), Step())
    mute = hops(oracle.ground, interface, packet.target)
    return Promise("reach", name, verdict.items, steps, hops=mute, shortage=verdict.shortage)


def _gone(oracle: Oracle, interface: str, packet: Packet, wan: str, sources: t.Tuple[str, ...]) -> Step:
    """Marks, ports and several next hops may lead a packet to another WAN than the route that was asked for."""
    come = Come((wan,), sources, (packet.target,), packet.dport)
    others = ((name, oracle.leaves(packet, name).sources) for name in outside(oracle.gateway, oracle.ground))
    elsewhere = (replace(come, places=(name,), sources=found) for name, found in others if found and name != wan)
    return Step(interface, packet, come, elsewhere=tuple(elsewhere))


def _nowhere(oracle: Oracle, packet: Packet) -> t.Tuple[Come, ...]:
    """Where a packet that one WAN may not let out must not leave: wherever no other WAN may."""
    gateway, ground = oracle.gateway, oracle.ground
    wans, found = outside(gateway, ground), anywhere_outside(gateway, ground, packet.target)
    others = (replace(each, places=tuple(name for name in each.places if name not in wans)) for each in found)
    return (*others, *at_wans(oracle, packet))


def _lacks(oracle: Oracle, pair: Pair) -> str:
    _lan, interface, wan, family = pair
    ground = oracle.ground
    return lack_inside(ground, interface, family) or lack_outside(ground, interface, wan, host_outside(ground, family))


def _out(oracle: Oracle, pair: Pair, protocol: str) -> Packet:
    """A packet that the outbound rules let out, if there is one."""
    _lan, interface, wan, family = pair
    opened = [port[0] for item in oracle.gateway.outbound[:64] if item.action == "accept" for port in item.port]
    ports = PORTS[protocol] + (tuple(opened) if protocol != "icmp" else ())
    client, target = oracle.ground.clients[interface, family], oracle.host_outside(family)
    tries = [request(client, target, protocol, port) for port in ports]
    return next((packet for packet in tries if oracle.leaves(packet, wan).sources), tries[0])


def _flow(oracle: Oracle, pair: Pair, protocol: str) -> t.Optional[t.Tuple[Packet, t.Tuple[str, ...], str]]:
    """A packet that gets out, the sources that it may have then, and what may be used up; None if none gets out."""
    if _lacks(oracle, pair):
        return None
    packet = _out(oracle, pair, protocol)
    verdict = oracle.leaves(packet, pair[2])
    return (packet, verdict.sources, verdict.shortage) if verdict.sources else None


def sizes(oracle: Oracle, pair: Pair) -> t.List[Promise]:
    """The MSS of a SYN and of its answer."""
    lan, interface, wan, family = pair
    flow, declared = _flow(oracle, pair, "tcp"), wan_of(oracle.gateway, wan)
    if not flow or not declared:
        return []
    packet, sources, shortage = flow
    links = oracle.ground.links
    limit = min(links[interface].mtu, links[wan].mtu) - HEADERS[family] if declared.mss == "pmtu" else 0
    limit = limit or (-LARGE if declared.mss == "keep" else int(declared.mss))
    words = {"pmtu": "fits the MTU", "keep": "stays unchanged"}.get(declared.mss, "is at most {0}".format(declared.mss))
    name = "the MSS between {0} and {1} {2} ({3})".format(called(lan, interface), wan, words, FAMILY_NAMES[family])
    out = _gone(oracle, interface, replace(packet, mss=LARGE), wan, sources)
    out = replace(out, come=replace(t.cast("Come", out.come), mss=limit))
    steps = (out, Step(mss=LARGE, most=limit))
    return [Promise("mss", name, (), steps, hops=hops(oracle.ground, interface, packet.target), shortage=shortage)]


def errors(oracle: Oracle, pair: Pair) -> t.List[Promise]:
    """ICMP errors about a flow get back to its sender."""
    lan, interface, wan, family = pair
    flow = _flow(oracle, pair, "udp")
    if not flow:
        return []
    packet, sources, shortage = flow
    name = "ICMP errors about a flow get from {0} to {1} {2}".format(
        wan, called(lan, interface), sort_of("udp", family)
    )
    steps = (_gone(oracle, interface, packet, wan, sources), Step(error=TOO_BIG[family]))
    return [
        Promise("icmp_error", name, (), steps, hops=hops(oracle.ground, interface, packet.target), shortage=shortage)
    ]


# --- Items ----------------------------------------------------------------------------------------------------------


class Example(t.NamedTuple):
    """A packet that an item is about."""

    interface: str
    wan: str
    packet: Packet

    @property
    def sort(self) -> str:
        port = " {0}".format(self.packet.dport) if self.packet.dport else ""
        return sort_of(self.packet.protocol + port, self.packet.family)


def example(oracle: Oracle, item: Traffic, sources: t.Sequence[str], family: str) -> t.Optional[Example]:
    """None if the probe has no such packet."""
    ground = oracle.ground
    protocol = next((each for each in ("udp", "tcp", "icmp") if not item.protocol or each in item.protocol), "")
    targets = of_family(item.destination, family)
    client = client_in(oracle.gateway, ground, sources, family)
    wans = outside(oracle.gateway, ground, item.wan)
    if not protocol or not client or not wans or (item.destination and not targets):
        return None
    target = one_of(targets[0]) if targets else oracle.host_outside(family)
    if oracle.gateway.drop_bogons and not is_public(target) and getattr(item, "action", "") != "exempt":
        return None  # whether it leaves depends on more than this item
    port = item.port[0][0] if item.port else PORTS[protocol][0]
    packet = request(client[1], target, protocol, 0 if protocol == "icmp" else port)
    wan = next((name for name in wans if not lack_outside(ground, client[0], name, target)), wans[0])
    return Example(client[0], wan, packet)


def nat_items(oracle: Oracle, index: int) -> t.List[Promise]:
    """Each NAT item translates what it is for; a second flow of a client keeps its address where that is declared."""
    item = oracle.gateway.nat[index]
    found = []
    for family in families(oracle.gateway):
        case = example(oracle, item, oracle.sources_of(item), family)
        if case and oracle.translated(case.packet, case.wan) is item:
            verdict = oracle.leaves(case.packet, case.wan)
            if verdict.sources:
                found.append(_nat_item(oracle, item.name, case))
    return found


def _nat_item(oracle: Oracle, item: str, case: Example) -> Promise:
    ground, (interface, wan, packet) = oracle.ground, case
    verdict = oracle.leaves(packet, wan)
    # Without the client's address, which may be another one next time.
    name = "nat '{0}' translates what comes from {1} through {2} {3}".format(item, interface, wan, case.sort)
    lacks = lack_of(ground, interface) or lack_outside(ground, interface, wan, packet.target)
    if lacks:
        return Promise("nat", name, verdict.items, lacks=lacks)
    steps = [_gone(oracle, interface, packet, wan, verdict.sources)]
    if packet.source in ground.clients.values():
        steps.append(Step())
    if verdict.persistent and within(packet.target, (ground.outside[packet.family],)):
        steps.append(_second(oracle, interface, packet, wan, verdict.sources))
    mute = hops(ground, interface, packet.target)
    return Promise("nat", name, verdict.items, tuple(steps), hops=mute, shortage=verdict.shortage)


def _second(oracle: Oracle, interface: str, packet: Packet, wan: str, sources: t.Tuple[str, ...]) -> Step:
    """Another flow of the same client, to another host."""
    other = replace(packet, target=oracle.host_outside(packet.family))
    return replace(_gone(oracle, interface, other, wan, sources), same_source=True)


def outbound_items(oracle: Oracle, index: int) -> t.List[Promise]:
    item = oracle.gateway.outbound[index]
    found = []
    for family in families(oracle.gateway):
        case = example(oracle, item, oracle.inside_of(item), family)
        if case and oracle.filtered(case.packet, case.wan) is item:
            found.append(_outbound_item(oracle, item, case))
    return found


def _outbound_item(oracle: Oracle, item: t.Any, case: Example) -> Promise:
    ground, (interface, wan, packet) = oracle.ground, case
    verdict = oracle.leaves(packet, wan)
    words = (
        "outbound '{0}' lets out from {1} through {2} {3}"
        if verdict.sources
        else "outbound '{0}' keeps {1} from {2} {3}"
    )
    name = words.format(item.name, interface, wan, case.sort)
    lacks = lack_of(ground, interface) or lack_outside(ground, interface, wan, packet.target)
    if lacks:
        return Promise("outbound", name, verdict.items, lacks=lacks)
    if verdict.sources:
        mute, steps = hops(ground, interface, packet.target), (_gone(oracle, interface, packet, wan, verdict.sources),)
        return Promise("outbound", name, verdict.items, steps, hops=mute, shortage=verdict.shortage)
    never = _nowhere(oracle, packet)
    return Promise("outbound", name, verdict.items, (Step(interface, packet),), never, (interface,))


def routed(oracle: Oracle, items: t.Iterable[t.Tuple[Traffic, t.Sequence[str]]]) -> t.List[t.Tuple[str, str, str]]:
    """Interface, client and target of each packet whose route differs from that of most others."""
    found = []
    for item, sources in items:
        for family in {family_of(net) for net in item.destination}:
            case = example(oracle, item, sources, family)
            if case:
                found.append((case.interface, case.packet.source, case.packet.target))
    return list(dict.fromkeys(found))
