# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.
"""What the loop writes: lines for ip and tc, questions for the owner of an address, and how to undo it. No I/O."""

from __future__ import annotations

import ipaddress
import struct
import typing as t
from dataclasses import dataclass

from .._facts.links import PROBES
from .packets import checksum, packed

if t.TYPE_CHECKING:  # pragma: no cover
    from .ground import Place
    from .model import Ground

#: Devices are called like this, with a number.
DEVICE = PROBES
#: The lladdr of the hosts that the probe plays: locally administered, and nobody's.
LLADDR = "02:69:70:6d:71:01"
EVERY = 0xFFFFFFFF
NUMBERS = {"ip": ("ip", "ip", 1), "ip6": ("ipv6", "ip6", 58)}
PORTED = {"tcp": 6, "udp": 17}


@dataclass(frozen=True)
class Undo:
    filters: t.Tuple[str, ...] = ()
    added: t.Tuple[str, ...] = ()  # interfaces that had no clsact
    table: bool = False  # of nft
    neighbours: t.Tuple[str, ...] = ()


def links(places: t.Iterable[str], six: bool) -> t.List[str]:
    """Without addresses of their own, so that the kernel sends nothing through them.

    ``six``: whether this kernel has IPv6; without it (ipv6.disable=1), it refuses the whole line.
    """
    names = ["{0}{1}".format(DEVICE, number) for number, _name in enumerate(places)]
    return ["link set dev {0} {1}up".format(name, "addrgenmode none " * six) for name in names]


def filters(ground: Ground, places: t.Mapping[str, Place]) -> t.List[str]:
    found = []
    for number, (name, place) in enumerate(places.items()):
        device = "{0}{1}".format(DEVICE, number)
        found += [
            "qdisc add dev {0} clsact".format(device),
            "filter add dev {0} ingress pref 1 protocol all u32 match u32 0 0 "
            "action mirred ingress redirect dev {1}".format(device, name),
        ]
        if place.nft:
            continue
        found += [] if place.clsact else ["qdisc add dev {0} clsact".format(name)]
        for step, family in enumerate(sorted(ground.outside)):
            protocol = NUMBERS[family][0]
            start = "filter add dev {0} egress pref {1} protocol {2} u32".format(name, place.pref + step, protocol)
            end = "action mirred egress redirect dev {0}".format(device)
            found += ["{0} {1} {2}".format(start, match, end) for match in _matches(ground, name, family)]
    return found


def _matches(ground: Ground, name: str, family: str) -> t.List[str]:
    """What is the probe's own: by address, and by its number, wherever translation leaves it."""
    word = NUMBERS[family][1]
    found = ["match {0} dst {1}".format(word, address) for address in _addresses(ground, name, family)]
    answer = "match {0} dst {1} match {0} protocol {2} 0xff match {0} dport {3} 0xffff"
    found += [answer.format(word, *each) for each in _answers(ground, family)]
    return found + [
        "match {0} protocol {1} 0xff match u32 {2:#010x} 0xffffffff at {3}".format(word, number, magic, at)
        for number, at, magic in _numbers(ground, family)
    ]


def _addresses(ground: Ground, name: str, family: str) -> t.List[str]:
    client = ground.everybody.get((name, family))
    length = 128 if family == "ip6" else 32
    return [ground.outside[family]] + (["{0}/{1}".format(client, length)] if client else [])


def _answers(ground: Ground, family: str) -> t.List[t.Tuple[str, int, int]]:
    """What comes back to the sender of a flow's packet, from any host: address, protocol and port. The next port is for
    a second attempt.
    """
    flow = ground.flow
    if not flow or flow.family != family or flow.protocol not in PORTED:
        return []
    return [(flow.source, PORTED[flow.protocol], port) for port in (flow.sport, flow.sport + 1)]


def _numbers(ground: Ground, family: str) -> t.Tuple[t.Tuple[int, int, int], ...]:
    """Protocol, offset and value."""
    icmp, head = NUMBERS[family][2], 40 if family == "ip6" else 20
    offers = ((17, head + 12, ground.magic),) if family == "ip" else ()
    return (
        *offers,  # the transaction of DHCP
        (6, head + 4, ground.magic),  # sequence number
        (6, head + 8, ground.magic + 1 & EVERY),  # acknowledged
        (17, head + 8, ground.magic),
        (icmp, head + 8, ground.magic),
        (icmp, head + 8 + head + 4, ground.magic),  # quoted TCP
        (icmp, head + 8 + head + 8, ground.magic),  # quoted UDP and echo
    )


TABLE = "netdev ipmasq_probe"


def table(ground: Ground, places: t.Mapping[str, Place]) -> t.List[str]:
    """The same filters for nft."""
    found = []
    for number, (name, place) in enumerate(places.items()):
        if place.nft:
            chain = "{0} e{1}".format(TABLE, number)
            hook = 'add chain {0} {{ type filter hook egress device "{1}" priority -500; }}'
            found.append(hook.format(chain, name))
            found += [
                'add rule {0} {1} fwd to "{2}{3}"'.format(chain, match, DEVICE, number)
                for family in sorted(ground.outside)
                for match in _nft_matches(ground, name, family)
            ]
    return ["add table " + TABLE, *found] if found else []


TRACE = "ipmasq_trace"
OWN_TABLES = (TRACE, TABLE.split()[1])
#: The chains that only show how far a packet gets: none comes before the first, or after the others.
SEEN = {"prerouting": "prerouting", "input": "input", "forward": "forward", "postrouting": "postrouting"}
EARLIEST, LATEST = -2000000000, 2000000000


def trace(ground: Ground, places: t.Iterable[str]) -> t.List[str]:
    """Tables from which on the kernel reports the way of the probe's packets, and which show how far they get."""
    start = "add chain {0} {1} {{ type filter hook {2} priority {3}; }}"
    inet = "inet " + TRACE
    found = ["add table " + inet, start.format(inet, "arrived", "prerouting", EARLIEST)]
    found += [start.format(inet, name, hook, LATEST) for name, hook in SEEN.items()]
    matches = [match for family in sorted(ground.outside) for match in _traced(ground, family)]
    found += ["add rule {0} arrived {1} meta nftrace set 1".format(inet, match) for match in matches]
    netdev = ["add table netdev " + TRACE]
    for number, name in enumerate(places):
        hook = 'add chain netdev {0} i{1} {{ type filter hook ingress device "{2}" priority {3}; }}'
        netdev.append(hook.format(TRACE, number, name, EARLIEST))
        netdev += ["add rule netdev {0} i{1} {2} meta nftrace set 1".format(TRACE, number, each) for each in matches]
    return [*netdev, *found]


def _traced(ground: Ground, family: str) -> t.List[str]:
    """The probe's own, from wherever to wherever."""
    own = [client for (_name, of), client in ground.everybody.items() if of == family]
    ends = "{{ {0} }}".format(", ".join(sorted({ground.outside[family], *own})))
    numbers = _nft_numbers(ground, family)
    return ["{0} {1} {2}".format(family, end, ends) for end in ("saddr", "daddr")] + numbers


def _nft_matches(ground: Ground, name: str, family: str) -> t.List[str]:
    by_address = ["{0} daddr {1}".format(family, address) for address in _addresses(ground, name, family)]
    answer = "{0} daddr {1} meta l4proto {2} @th,16,16 {3}"
    by_address += [answer.format(family, *each) for each in _answers(ground, family)]
    return by_address + _nft_numbers(ground, family)


def _nft_numbers(ground: Ground, family: str) -> t.List[str]:
    head = 40 if family == "ip6" else 20
    return [
        "meta protocol {0} meta l4proto {1} @th,{2},32 {3:#010x}".format(family, number, (at - head) * 8, magic)
        for number, at, magic in _numbers(ground, family)
    ]


def neighbours(ground: Ground) -> t.List[str]:
    return [
        "neigh replace {0} lladdr {1} dev {2} nud permanent".format(address, LLADDR, name)
        for name, address in _played(ground)
    ]


def _played(ground: Ground) -> t.List[t.Tuple[str, str]]:
    clients = [(name, address) for (name, _family), address in ground.everybody.items()]
    return [each for each in (*clients, *ground.played) if ground.links[each[0]].ethernet]


def undo(ground: Ground, places: t.Mapping[str, Place]) -> Undo:
    return Undo(
        tuple(
            "filter del dev {0} egress pref {1} protocol {2}".format(name, place.pref + step, NUMBERS[family][0])
            for name, place in places.items()
            if not place.nft
            for step, family in enumerate(sorted(ground.outside))
        ),
        tuple(name for name, place in places.items() if not place.clsact and not place.nft),
        any(place.nft for place in places.values()),
        tuple("neigh del {0} dev {1}".format(address, name) for name, address in _played(ground)),
    )


# --- ARP and NDP ----------------------------------------------------------------------------------------------------

ETHERNET = 14
NOBODY = bytes(6)


def question(own: bytes, address: str) -> bytes:
    """Who has this address? Asked without a source, as RFC 5227 and RFC 4862 (DAD) do."""
    target = packed(address)
    if len(target) == 4:
        body = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + own + bytes(4) + NOBODY + target
        return b"\xff" * 6 + own + b"\x08\x06" + body
    group = bytes.fromhex("ff0200000000000000000001ff") + target[13:]
    body = struct.pack("!BBHI", 135, 0, 0, 0) + target
    total = checksum(bytes(16) + group + struct.pack("!II", len(body), 58) + body)
    body = body[:2] + struct.pack("!H", total) + body[4:]
    head = struct.pack("!IHBB", 6 << 28, len(body), 58, 255) + bytes(16) + group
    return b"\x33\x33\xff" + target[13:] + own + b"\x86\xdd" + head + body


def answered(frame: bytes) -> str:
    """The address that somebody answers for, or asks for, in a frame of ARP or NDP."""
    kind, body = frame[12:14], frame[ETHERNET:]
    if kind == b"\x08\x06" and len(body) >= 28:
        return ".".join(str(each) for each in body[14:18])
    if kind == b"\x86\xdd" and len(body) >= 64 and body[6] == 58 and body[40] == 136:
        return str(ipaddress.IPv6Address(body[48:64]))
    return ""
