# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""What stays: other LANs, sources that are not the sender's, packets that belong to no flow, bogons."""

from __future__ import annotations

import typing as t

from .model import ALIVE, FAMILY_NAMES, Come, Promise, Step, within
from .packets import ACK, FIN, PSH, RST, SYN, URG, Packet
from .places import (
    CLOSED,
    anywhere_outside,
    astray,
    called,
    everywhere,
    families,
    host_outside,
    inside,
    lack_inside,
    lack_of,
    lack_on_the_way,
    of_family,
    outside,
    request,
    sort_of,
)

if t.TYPE_CHECKING:  # pragma: no cover
    from .._resolve.resolved import ResolvedLan
    from .oracle import Oracle

#: Two LANs with an interface each, and a family.
Couple = t.Tuple["ResolvedLan", str, "ResolvedLan", str, str]
#: A LAN with its interface, and a family.
Side = t.Tuple["ResolvedLan", str, str]
#: Sources and destinations that are nobody's: for documentation, and for benchmarks.
NOBODYS = {"ip": "198.18.77.77", "ip6": "2001:db8:7777::77"}


def couples(oracle: Oracle) -> t.List[Couple]:
    return [
        (*one, *other, family)
        for family in families(oracle.gateway)
        for listed in [inside(oracle.gateway, oracle.ground, family)]
        for one in listed
        for other in listed
        if one[0].name != other[0].name
    ]


def sides(oracle: Oracle) -> t.List[Side]:
    return [
        (lan, name, family)
        for family in families(oracle.gateway)
        for lan, name in inside(oracle.gateway, oracle.ground, family)
    ]


def between(oracle: Oracle, couple: Couple) -> t.List[Promise]:
    lan, name, other, link, family = couple
    ground, reaches = oracle.ground, other.name in lan.reaches
    words = "{0} reaches {1} {2}" if reaches else "{0} does not reach {1} {2}"
    told = words.format(called(lan, name), called(other, link), sort_of("tcp", family))
    lacks = lack_inside(ground, name, family) or lack_inside(ground, link, family)
    if lacks:
        return [Promise("between_lans", told, lacks=lacks)]
    packet = request(ground.clients[name, family], ground.clients[link, family], "tcp", CLOSED[0])
    if reaches:
        come = Come((link,), (packet.source,), (packet.target,), packet.dport)
        return [Promise("between_lans", told, (), (Step(name, packet, come), Step()))]
    return [Promise("between_lans", told, (), (Step(name, packet),), astray(oracle, packet, name), (name,))]


# --- Sources --------------------------------------------------------------------------------------------------------


def spoofed(oracle: Oracle, side: Side) -> t.List[Promise]:
    lan, name, family = side
    gateway, ground = oracle.gateway, oracle.ground
    lacks = lack_inside(ground, name, family)
    unseen = lacks or lack_on_the_way(ground, name, host_outside(ground, family))
    found = []
    if lan.spoof_check and not within(NOBODYS[family], lan.networks):
        told = "a source that is not in {0} stays in {1}".format(called(lan, name), sort_of("udp", family))
        packet = request(NOBODYS[family], host_outside(ground, family), "udp", CLOSED[0])
        never = (Come(tuple(each for each in (*everywhere(gateway, ground), *ground.exits) if each != name)),)
        found.append(Promise("spoofed", told, (), (Step(name, packet),), never, (name,), lacks=unseen))
    for wan in outside(gateway, ground):
        told = "{0} does not use a source of {1} {2}".format(wan, called(lan, name), sort_of("udp", family))
        if lacks or lack_of(ground, wan):
            found.append(Promise("spoofed", told, lacks=lacks or lack_of(ground, wan)))
            continue
        client = ground.clients[name, family]
        packet = request(client, _other(oracle, side), "udp", CLOSED[0])
        found.append(Promise("spoofed", told, (), (Step(wan, packet),), (Come(everywhere(gateway, ground)),), (wan,)))
    return found


def _other(oracle: Oracle, side: Side) -> str:
    """A client in another LAN, or else in the same one."""
    _lan, name, family = side
    others = [client for (link, of), client in oracle.ground.clients.items() if of == family and link != name]
    return others[0] if others else oracle.ground.clients[name, family]


# --- Packets of no flow ---------------------------------------------------------------------------------------------


def strays(source: str, target: str) -> t.Dict[str, Packet]:
    """The 13 kinds of packets that NAT does not touch, because they belong to no flow. Eight of them leave
    untranslated through a gateway that does not stop them.
    """
    flags = {
        "stray RST": RST,
        "stray FIN": FIN,
        "stray SYN/ACK": SYN | ACK,
        "stray ACK": ACK,
        "TCP without flags": 0,
        "TCP with all flags": FIN | PSH | URG,
        "SYN with FIN": SYN | FIN,
    }
    found = {word: Packet(source, target, "tcp", dport=CLOSED[0], flags=each) for word, each in flags.items()}
    found["SYN with a wrong checksum"] = Packet(source, target, "tcp", dport=CLOSED[0], broken=True)
    found["TCP that is too short"] = Packet(source, target, "tcp", dport=CLOSED[0], body=b"1234")
    about = Packet(target, source, "udp", CLOSED[0], CLOSED[1], flags=0)
    kinds = {4: ((3, 3), (3, 4), (11, 0), 0), 6: ((1, 4), (2, 0), (3, 0), 129)}[about.version]
    words = ("unreachable about no flow", "too big about no flow", "time exceeded about no flow")
    for word, (kind, code) in zip(words, t.cast("t.Any", kinds[:3])):
        found[word] = Packet(source, target, "icmp", flags=0, kind=kind, code=code, quoted=about)
    found["echo reply without a request"] = Packet(source, target, "icmp", flags=0, kind=kinds[3])
    return found


def invalid(oracle: Oracle, side: Side) -> t.List[Promise]:
    """Whatever a client sends, its own address does not leave if it is to be translated."""
    lan, name, family = side
    ground = oracle.ground
    target = host_outside(ground, family)
    if lack_inside(ground, name, family) or lack_on_the_way(ground, name, target):
        return []  # told with what it reaches
    client = ground.clients[name, family]
    wans = outside(oracle.gateway, ground)
    if any(client in oracle.leaves(request(client, target, "tcp", CLOSED[0]), wan).sources for wan in wans):
        return []
    return [
        Promise(
            "invalid",
            "{0} does not leave {1} untranslated ({2})".format(word, called(lan, name), FAMILY_NAMES[family]),
            (),
            (Step(name, packet),),
            anywhere_outside(oracle.gateway, ground, packet.target, (client,)),
            (name,),
        )
        for word, packet in strays(client, target).items()
    ]


def bogons(oracle: Oracle, side: Side) -> t.List[Promise]:
    lan, name, family = side
    gateway, ground = oracle.gateway, oracle.ground
    exempt = [net for item in gateway.nat if item.action == "exempt" for net in item.destination]
    if not gateway.drop_bogons or (exempt and within(NOBODYS[family], exempt)):
        return []
    told = "nothing leaves {0} for a bogon {1}".format(called(lan, name), sort_of("udp", family))
    lacks = lack_inside(ground, name, family) or lack_on_the_way(ground, name, NOBODYS[family])
    if lacks:
        return [Promise("bogons", told, lacks=lacks)]
    packet = request(ground.clients[name, family], NOBODYS[family], "udp", CLOSED[0])
    never = anywhere_outside(gateway, ground, packet.target)
    return [Promise("bogons", told, (), (Step(name, packet),), never, (name,))]


def alive(oracle: Oracle, place: str) -> t.List[Promise]:
    """An echo request to this host, so that silence after other packets says something."""
    ground = oracle.ground
    found = []
    for family in families(oracle.gateway):
        own = of_family(ground.addresses.get(place, ()), family)
        known = place in outside(oracle.gateway, ground)
        source = host_outside(ground, family) if known else ground.everybody.get((place, family), "")
        if own and source and not lack_of(ground, place):
            packet = request(source, own[0], "icmp")
            found.append(Promise(ALIVE, "{0} is alive".format(place), (), (Step(place, packet, Come(())),)))
    return found
