# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""IPv4 and IPv6 packets as values: TCP, UDP, ICMP echo, and ICMP errors that quote a packet. No I/O.

A probe's packets carry two marks that survive translation: the run's ``magic`` (TCP sequence number, or the first four
bytes of the payload), by which filters find them, and the promise's ``mark`` (IPv4 identification, IPv6 flow label).
"""

from __future__ import annotations

import ipaddress
import struct
import typing as t
from dataclasses import dataclass, replace

FIN, SYN, RST, PSH, ACK, URG = 1, 2, 4, 8, 16, 32
NUMBERS = {"tcp": 6, "udp": 17}
ECHO = {4: (8, 0), 6: (128, 129)}  # request, reply
#: ICMP errors that quote a packet: unreachable, too big, time exceeded, parameter problem.
ERRORS = {4: (3, 11, 12, 5), 6: (1, 2, 3, 4)}
IP4_LENGTH, IP6_LENGTH, TCP_LENGTH = 20, 40, 20
#: Where the gateway's own services answer: ports of DNS, DHCP and DHCPv6, and the type of router advertisements.
SERVICES, ADVERTISEMENT = (53, 67, 547), (6, 134)
#: The probe's own ports, one for each promise.
FIRST_PORT = 50000
#: What follows the magic in a payload, and what ping fills it with.
TEXT, FILLING = b"ipmasq.linux probe", bytes(range(0x10, 0x38))
#: Bytes of a payload: those of ping, and those that belong to a UDP port. Published rules drop what has another length.
PING, LENGTHS = 56, {123: 48}
#: What every host accepts (RFC 9293), and what the option has room for.
LEAST_MSS, MOST_MSS = 536, 0xFFFF
#: How many bits TCP's window is shifted.
SCALE = 7


@dataclass(frozen=True)
class Packet:
    source: str
    target: str
    protocol: str = "udp"  # tcp, udp, icmp, or a number
    sport: int = 0  # of an ICMP echo: its identifier
    dport: int = 0
    flags: int = SYN  # of TCP
    mss: int = 0  # of a SYN; with it, the other options that hosts send
    mark: int = 0
    magic: int = 0
    acked: int = 0  # of TCP with ACK
    kind: int = 0  # of ICMP
    code: int = 0
    rest: int = 0  # of an ICMP error: the next hop's MTU, or another pointer
    quoted: t.Optional[Packet] = None
    broken: bool = False  # with a wrong checksum
    body: t.Optional[bytes] = None  # instead of what the protocol would have
    payload: bytes = b""  # of UDP, or of ICMP after its checksum, where it is not the probe's own text
    hops: int = 64

    @property
    def version(self) -> int:
        return 6 if ":" in self.source else 4

    @property
    def family(self) -> str:
        return "ip6" if self.version == 6 else "ip"


def fitted(packet: Packet, mtu: int) -> Packet:
    """A SYN with the MSS that a host at a link with this MTU announces; any other packet as it is.

    Hosts send no SYN without it, so published rules against floods drop these.
    """
    if packet.protocol != "tcp" or not packet.flags & SYN or packet.mss or packet.body is not None:
        return packet
    room = mtu - TCP_LENGTH - (IP6_LENGTH if packet.version == 6 else IP4_LENGTH)
    return replace(packet, mss=min(max(room, LEAST_MSS), MOST_MSS))


def checksum(data: bytes) -> int:
    data += bytes(len(data) % 2)
    total = sum(struct.unpack("!{0}H".format(len(data) // 2), data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return int(~total & 0xFFFF)


def packed(address: str) -> bytes:
    return bytes(ipaddress.ip_address(address).packed)


def build(packet: Packet) -> bytes:
    number, body = _body(packet)
    ends = packed(packet.source) + packed(packet.target)
    if packet.version == 6:
        return struct.pack("!IHBB", 6 << 28 | packet.mark, len(body), number, packet.hops) + ends + body
    head = struct.pack("!BBHHHBBH", 0x45, 0, IP4_LENGTH + len(body), packet.mark, 0x4000, 64, number, 0) + ends
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + body


def _body(packet: Packet) -> t.Tuple[int, bytes]:
    """The protocol's number, and what follows the IP header."""
    if packet.protocol == "icmp":
        number, body, place = (58 if packet.version == 6 else 1), _icmp(packet), 2
    elif packet.protocol == "tcp":
        number, body, place = 6, _tcp(packet), 16
    elif packet.protocol == "udp":
        number, body, place = 17, _udp(packet), 6
    else:
        return int(packet.protocol), packet.body or _payload(packet)
    if packet.body is not None:
        return number, packet.body
    total = checksum((b"" if number == 1 else _pseudo(packet, number, len(body))) + body) or 0xFFFF
    total ^= 0x5555 if packet.broken else 0
    return number, body[:place] + struct.pack("!H", total) + body[place + 2 :]


def _pseudo(packet: Packet, number: int, length: int) -> bytes:
    ends = packed(packet.source) + packed(packet.target)
    return ends + struct.pack("!II" if packet.version == 6 else "!HH", *_turned(packet.version, length, number))


def _turned(version: int, length: int, number: int) -> t.Tuple[int, int]:
    return (length, number) if version == 6 else (number, length)


def _tcp(packet: Packet) -> bytes:
    options = _options(packet) if packet.mss else b""
    offset = (TCP_LENGTH + len(options)) // 4 << 4
    window = MOST_MSS // packet.mss * packet.mss if packet.mss else 64000
    head = (packet.sport, packet.dport, packet.magic, packet.acked, offset, packet.flags, window, 0, 0)
    return struct.pack("!HHIIBBHHH", *head) + options


def _options(packet: Packet) -> bytes:
    """As Linux sends them: MSS, SACK permitted, timestamps, a NOP, window scale."""
    echoed = packet.acked - 1 & 0xFFFFFFFF if packet.flags & ACK else 0
    return struct.pack("!BBHBBBBIIBBBB", 2, 4, packet.mss, 4, 2, 8, 10, packet.magic, echoed, 1, 3, 3, SCALE)


def _udp(packet: Packet) -> bytes:
    own = {LENGTHS[port] for port in (packet.sport, packet.dport) if port in LENGTHS}
    payload = _payload(packet, max(own, default=0))
    return struct.pack("!HHHH", packet.sport, packet.dport, 8 + len(payload), 0) + payload


def _icmp(packet: Packet) -> bytes:
    if packet.quoted:
        return struct.pack("!BBHI", packet.kind, packet.code, 0, packet.rest) + build(packet.quoted)
    if packet.payload:
        return struct.pack("!BBH", packet.kind, packet.code, 0) + packet.payload
    return struct.pack("!BBHHH", packet.kind, packet.code, 0, packet.sport, 1) + _payload(packet, PING)


def _payload(packet: Packet, length: int = 0) -> bytes:
    own = struct.pack("!I", packet.magic) + TEXT
    return packet.payload or (own + FILLING)[: length or len(own)].ljust(length, b"\0")


def parse(data: bytes) -> t.Optional[Packet]:
    """None for what no probe sends and no answer to it can be."""
    try:
        return _parse(data)
    except (struct.error, IndexError, ValueError):
        return None


def _parse(data: bytes) -> t.Optional[Packet]:
    if data[0] >> 4 == 6:
        first, _length, number = struct.unpack_from("!IHB", data)
        ends = str(ipaddress.IPv6Address(data[8:24])), str(ipaddress.IPv6Address(data[24:40]))
        return _inner(ends, first & 0xFFFFF, number, data[IP6_LENGTH:])
    length = (data[0] & 15) * 4
    if data[0] >> 4 != 4 or length < IP4_LENGTH:
        return None  # what the kernel itself sends into a TUN device has no link header to be cut off
    (mark,) = struct.unpack_from("!H", data, 4)
    ends = str(ipaddress.IPv4Address(data[12:16])), str(ipaddress.IPv4Address(data[16:20]))
    return _inner(ends, mark, data[9], data[length:])


def _inner(ends: t.Tuple[str, str], mark: int, number: int, body: bytes) -> Packet:
    version = 6 if ":" in ends[0] else 4
    if number == 6 and len(body) < TCP_LENGTH:
        return Packet(*ends, "tcp", flags=0, mark=mark, body=body)
    if number == 6:
        sport, dport, magic, acked, offset, flags = struct.unpack_from("!HHIIBB", body)
        mss = _mss(body[20 : (offset >> 4) * 4]) if flags & SYN else 0
        return Packet(*ends, "tcp", sport, dport, flags, mss, mark, magic, acked)
    if number == 17:
        sport, dport = struct.unpack_from("!HH", body)
        payload = body[8:] if sport in SERVICES else b""
        return Packet(*ends, "udp", sport, dport, 0, 0, mark, _magic(body), payload=payload)
    if number == (58 if version == 6 else 1):
        return _parse_icmp(ends, mark, version, body)
    return Packet(*ends, str(number), mark=mark, magic=_magic(bytes(8) + body))


def _parse_icmp(ends: t.Tuple[str, str], mark: int, version: int, body: bytes) -> Packet:
    kind, code, _sum, identifier = struct.unpack_from("!BBHH", body)
    if kind in ERRORS[version]:
        (rest,) = struct.unpack_from("!I", body, 4)
        return Packet(*ends, "icmp", flags=0, mark=mark, kind=kind, code=code, rest=rest, quoted=parse(body[8:]))
    payload = body[4:] if (version, kind) == ADVERTISEMENT else b""
    return Packet(*ends, "icmp", identifier, 0, 0, 0, mark, _magic(body), kind=kind, code=code, payload=payload)


def _magic(body: bytes) -> int:
    return int(struct.unpack_from("!I", body, 8)[0]) if len(body) >= 12 else 0


def _mss(options: bytes) -> int:
    while options and options[0] != 2:
        options = options[1 if options[0] < 2 else max(options[1], 2) :]
    return int(struct.unpack("!H", options[2:4])[0]) if options else 0


def answer(packet: Packet, mss: int = 0) -> Packet:
    """What the far side sends back: SYN/ACK, the same by UDP, the echo's reply."""
    flags, kind = (SYN | ACK, 0) if packet.protocol == "tcp" else (0, 0)
    if packet.protocol == "icmp":
        kind = ECHO[packet.version][1]
    ports = (packet.sport, packet.dport) if packet.protocol == "icmp" else (packet.dport, packet.sport)
    acked = (packet.magic + 1) & 0xFFFFFFFF if packet.protocol == "tcp" else 0
    return Packet(
        packet.target, packet.source, packet.protocol, *ports, flags, mss, packet.mark, packet.magic, acked, kind
    )


def in_words(packet: Packet) -> str:
    """A packet for people: tcp 192.168.1.250:50001 > 192.0.2.1:443 SYN."""
    if packet.quoted:
        return "icmp {0} > {1} type {2} code {3} about [{4}]".format(
            packet.source, packet.target, packet.kind, packet.code, in_words(packet.quoted)
        )
    if packet.protocol == "icmp":
        echo = dict(zip(ECHO[packet.version], ("echo request", "echo reply")))
        told = echo.get(packet.kind, "type {0} code {1}".format(packet.kind, packet.code))
        return "icmp {0} > {1} {2}".format(packet.source, packet.target, told)
    if packet.body is not None and packet.protocol in NUMBERS:
        return "{0} {1} > {2}, {3} bytes".format(packet.protocol, packet.source, packet.target, len(packet.body))
    if packet.protocol not in NUMBERS:
        return "protocol {0} {1} > {2}".format(packet.protocol, packet.source, packet.target)
    ends = "{0} > {1}".format(_end(packet.source, packet.sport), _end(packet.target, packet.dport))
    return "{0} {1}{2}{3}".format(
        packet.protocol, ends, _flags(packet), " MSS {0}".format(packet.mss) * bool(packet.mss)
    )


def _end(address: str, port: int) -> str:
    return ("[{0}]:{1}" if ":" in address else "{0}:{1}").format(address, port)


def _flags(packet: Packet) -> str:
    if packet.protocol != "tcp":
        return ""
    names = ("FIN", "SYN", "RST", "PSH", "ACK", "URG")
    return " " + ("/".join(name for bit, name in enumerate(names) if packet.flags & 1 << bit) or "no flags")
