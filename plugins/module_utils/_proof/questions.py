# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""What a client in a LAN asks the gateway itself, and what the answer says: DHCP, DNS, IPv6 routes, DHCPv6. No I/O.

None of these takes a lease, as nobody requests what is offered (RFC 2131 section 3.1, RFC 8415 section 18).
"""

from __future__ import annotations

import ipaddress
import struct
import typing as t
from dataclasses import dataclass, replace

from .._services import dhcp
from .packets import FIRST_PORT, Packet

#: What an answer tells, by the word for it.
Told = t.Mapping[str, t.Tuple[str, ...]]
ADDRESS, ROUTER, DNS, DOMAIN, ANSWER = "address", "router", "DNS server", "domain", "answer"
FLAGS, NETWORKS = "flags", "networks"


class Question:
    """``at``: the interface on which it arrives; ``port``: where the service listens, 0 if it has none."""

    at: str
    port = 0

    def packet(self, number: int, magic: int) -> Packet:
        """``number``: of the conversation; ``magic``: of the proof."""
        raise NotImplementedError

    def told(self, sent: Packet, packet: Packet) -> t.Optional[Told]:
        """None if the packet does not answer what was sent."""
        raise NotImplementedError

    def mark(self) -> str:
        """What dnsmasq's configuration has where it answers such questions on this link."""
        raise NotImplementedError


# --- DHCP -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Offer(Question):
    at: str
    mac: str
    port = dhcp.SERVER_PORT

    def packet(self, number: int, magic: int) -> Packet:
        wishes = (dhcp.ROUTER, dhcp.SERVERS, dhcp.DOMAIN)
        body = dhcp.request(_octets(self.mac), dhcp.DISCOVER, magic, wishes=wishes)
        ports = dhcp.CLIENT_PORT, dhcp.SERVER_PORT
        return Packet(dhcp.ANY, dhcp.ALL, "udp", *ports, flags=0, mark=number, magic=magic, payload=body)

    def told(self, sent: Packet, packet: Packet) -> t.Optional[Told]:
        if (packet.protocol, packet.sport, packet.dport) != ("udp", sent.dport, sent.sport):
            return None
        reply = dhcp.reply(packet.payload)
        if not reply or (reply.number, reply.mac) != (sent.magic, _octets(self.mac)):
            return None
        name = reply.options.get(dhcp.DOMAIN, b"").rstrip(b"\0").decode("ascii", "replace")
        return {
            ADDRESS: (reply.address,),
            ROUTER: _addresses(reply.options.get(dhcp.ROUTER, b"")),
            DNS: _addresses(reply.options.get(dhcp.SERVERS, b"")),
            DOMAIN: (name,) if name else (),
        }

    def mark(self) -> str:
        return "dhcp-range=tag:{0},set:".format(self.at)


def _octets(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


def _addresses(data: bytes, size: int = 4) -> t.Tuple[str, ...]:
    whole = range(0, len(data) - size + 1, size)
    return tuple(str(ipaddress.ip_address(data[at : at + size])) for at in whole)


# --- DNS ------------------------------------------------------------------------------------------------------------

CODES = {0: "NOERROR", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED"}
RECURSION, RESPONSE, A = 0x0100, 0x8000, 1


@dataclass(frozen=True)
class Name(Question):
    """``name`` consists of labels as dns_domain and reservations have them."""

    at: str
    client: str
    server: str
    name: str
    port = 53

    def packet(self, number: int, magic: int) -> Packet:
        body = struct.pack("!HHHHHH", magic & 0xFFFF, RECURSION, 1, 0, 0, 0) + self._asked()
        return Packet(self.client, self.server, "udp", number + FIRST_PORT, 53, 0, mark=number, payload=body)

    def _asked(self) -> bytes:
        labels = (each.encode("ascii") for each in self.name.split("."))
        return b"".join(bytes([len(each)]) + each for each in labels) + struct.pack("!BHH", 0, A, 1)

    def told(self, sent: Packet, packet: Packet) -> t.Optional[Told]:
        ends = (packet.source, packet.target, packet.sport, packet.dport)
        if packet.protocol != "udp" or ends != (sent.target, sent.source, sent.dport, sent.sport):
            return None
        body, asked = packet.payload, self._asked()
        if len(body) < 12 or body[:2] != sent.payload[:2] or not body[2] & RESPONSE >> 8:
            return None
        count = struct.unpack_from("!H", body, 6)[0]
        return {ANSWER: (CODES.get(body[3] & 15, "an error"),), ADDRESS: _records(body[12 + len(asked) :], count)}

    def mark(self) -> str:
        return "interface={0}\n".format(self.at)


def _records(data: bytes, count: int) -> t.Tuple[str, ...]:
    """The addresses of an answer whose records name what was asked for by a pointer, as dnsmasq writes them."""
    found = []
    for _each in range(count):
        if len(data) < 12 or data[0] < 0xC0:
            break
        kind, _class, _lifetime, length = struct.unpack_from("!HHIH", data, 2)
        if kind == A and length == 4 and len(data) >= 16:
            found.append(str(ipaddress.IPv4Address(data[12:16])))
        data = data[12 + length :]
    return tuple(found)


# --- IPv6 routes ----------------------------------------------------------------------------------------------------

SOLICITATION, ADVERTISEMENT = 133, 134
ALL_ROUTERS = "ff02::2"
#: RFC 4861 section 4.2, RFC 4862 and RFC 8106: an advertisement's flags, and the options in it.
MANAGED, OTHER = 0x80, 0x40
PREFIX, SERVERS = 3, 25
AUTONOMOUS = 0x40


@dataclass(frozen=True)
class Advertisement(Question):
    at: str
    client: str

    def packet(self, number: int, magic: int) -> Packet:
        asks = Packet(self.client, ALL_ROUTERS, "icmp", flags=0, mark=number, kind=SOLICITATION)
        return replace(asks, payload=bytes(4), hops=255)

    def told(self, sent: Packet, packet: Packet) -> t.Optional[Told]:
        if (packet.protocol, packet.kind, packet.target) != ("icmp", ADVERTISEMENT, sent.source):
            return None
        if packet.version != 6 or len(packet.payload) < 12:
            return None
        flags, lifetime = packet.payload[1], struct.unpack_from("!H", packet.payload, 2)[0]
        found = {MANAGED: "managed", OTHER: "other"}
        words = [word for bit, word in found.items() if flags & bit]
        networks, alone, servers = _options(packet.payload[12:])
        words += ["autonomous"] * alone + ["no router"] * (not lifetime)
        return {FLAGS: tuple(words) or ("none",), NETWORKS: networks, DNS: servers}

    def mark(self) -> str:
        return "constructor:{0},".format(self.at)


def _options(data: bytes) -> t.Tuple[t.Tuple[str, ...], bool, t.Tuple[str, ...]]:
    """The networks that are not deprecated, whether clients make addresses from any of them, and the DNS servers."""
    networks: t.List[str] = []
    servers: t.List[str] = []
    alone = False
    while len(data) >= 8 and data[1]:
        kind, option = data[0], data[: data[1] * 8]
        if kind == PREFIX and len(option) == 32 and struct.unpack_from("!I", option, 8)[0]:
            networks.append("{0}/{1}".format(ipaddress.IPv6Address(option[16:32]), option[2]))
            alone = alone or bool(option[3] & AUTONOMOUS)
        if kind == SERVERS:
            servers += _addresses(option[8:], 16)
        data = data[len(option) :]
    return tuple(networks), alone, tuple(servers)


# --- DHCPv6 ---------------------------------------------------------------------------------------------------------

SOLICIT, ADVERTISE = 1, 2
CLIENT_ID, SERVER_ID, ADDRESSES, ONE, WISHED, ELAPSED, NAMES = 1, 2, 3, 5, 6, 8, 23
ALL_SERVERS = "ff02::1:2"


@dataclass(frozen=True)
class Solicit(Question):
    at: str
    client: str
    mac: str
    port = 547

    def packet(self, number: int, magic: int) -> Packet:
        options = (
            (CLIENT_ID, struct.pack("!HH", 3, 1) + _octets(self.mac)),
            (ADDRESSES, struct.pack("!III", 1, 0, 0)),
            (WISHED, struct.pack("!H", NAMES)),
            (ELAPSED, bytes(2)),
        )
        body = struct.pack("!I", SOLICIT << 24 | magic & 0xFFFFFF)
        body += b"".join(struct.pack("!HH", kind, len(value)) + value for kind, value in options)
        return Packet(self.client, ALL_SERVERS, "udp", 546, 547, 0, mark=number, payload=body)

    def told(self, sent: Packet, packet: Packet) -> t.Optional[Told]:
        if (packet.protocol, packet.sport, packet.target) != ("udp", 547, sent.source):
            return None
        if packet.payload[:4] != bytes([ADVERTISE]) + sent.payload[1:4]:
            return None
        options = _options6(packet.payload[4:])
        given = (_options6(value[12:]) for kind, value in options if kind == ADDRESSES)
        found = [_addresses(value[:16], 16) for each in given for kind, value in each if kind == ONE]
        servers = [_addresses(value, 16) for kind, value in options if kind == NAMES]
        return {ADDRESS: sum(found, ()), DNS: sum(servers, ())}

    def mark(self) -> str:
        return "constructor:{0},".format(self.at)


def _options6(data: bytes) -> t.List[t.Tuple[int, bytes]]:
    found = []
    while len(data) >= 4:
        kind, length = struct.unpack_from("!HH", data)
        found.append((kind, data[4 : 4 + length]))
        data = data[4 + length :]
    return found
