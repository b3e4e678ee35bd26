# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Encode and decode STUN messages (RFC 8489), with the attributes that show how a NAT behaves (RFC 5780)."""

from __future__ import annotations

import ipaddress
import struct
import typing as t

COOKIE = 0x2112A442
HEADER = struct.Struct("!HHI12s")
ATTRIBUTE = struct.Struct("!HH")
#: Binding, as a request, a success response and an error response.
REQUEST, SUCCESS, ERROR = 0x0001, 0x0101, 0x0111
MAPPED_ADDRESS, CHANGE_REQUEST, ERROR_CODE = 0x0001, 0x0003, 0x0009
XOR_MAPPED_ADDRESS, RESPONSE_PORT, SOFTWARE = 0x0020, 0x0027, 0x8022
RESPONSE_ORIGIN, OTHER_ADDRESS = 0x802B, 0x802C
#: Attributes of our own. A server ignores attributes above 0x7fff that it does not know.
FILL, ANSWER_SIZE, PATH_MTU = 0xC0F0, 0xC0F1, 0xC0F2
CHANGE_ADDRESS, CHANGE_PORT = 4, 2
FAMILIES = {1: 4, 2: 16}
#: Bytes of IP and UDP headers, by family.
HEADERS = {4: 28, 6: 48}
#: What our own reflector calls itself: it also speaks TCP, and sends answers of a wanted size.
OURS = "ipmasq.linux"


class Endpoint(t.NamedTuple):
    """An address and a port."""

    address: str
    port: int

    def __str__(self) -> str:
        return "{0}:{1}".format("[{0}]".format(self.address) if ":" in self.address else self.address, self.port)


class Message(t.NamedTuple):
    """A STUN message. Of several attributes of one type, the first counts (RFC 8489 section 14)."""

    kind: int
    transaction: bytes
    attributes: t.Mapping[int, bytes]

    @property
    def mapped(self) -> t.Optional[Endpoint]:
        """Whom the server saw. Servers of RFC 3489 send the address as it is, which some NATs rewrite."""
        found = self.attributes.get(XOR_MAPPED_ADDRESS)
        if found is not None:
            return _address(found, struct.pack("!I", COOKIE) + self.transaction)
        return _address(self.attributes.get(MAPPED_ADDRESS, b""))

    @property
    def other(self) -> t.Optional[Endpoint]:
        """The server's other address with its other port."""
        return _address(self.attributes.get(OTHER_ADDRESS, b""))

    @property
    def origin(self) -> t.Optional[Endpoint]:
        """Where the server says that it sent this from."""
        return _address(self.attributes.get(RESPONSE_ORIGIN, b""))

    @property
    def software(self) -> str:
        return self.attributes.get(SOFTWARE, b"").decode("utf-8", "replace")

    @property
    def is_ours(self) -> bool:
        return self.software.startswith(OURS)

    @property
    def path_mtu(self) -> int:
        """The path MTU that our reflector knows, if an answer of the wanted size does not fit; 0 if it was sent."""
        found = self.attributes.get(PATH_MTU, b"")
        return int(struct.unpack("!I", found)[0]) if len(found) == 4 else 0

    @property
    def error(self) -> str:
        """Code and reason of an error response; empty for other messages."""
        found = self.attributes.get(ERROR_CODE, b"")
        if self.kind != ERROR or len(found) < 4:
            return "no code" if self.kind == ERROR else ""
        return "{0} {1}".format((found[2] & 7) * 100 + found[3], found[4:].decode("utf-8", "replace")).strip()


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute, padded to a multiple of 4 bytes."""
    return ATTRIBUTE.pack(kind, len(value)) + value + bytes(-len(value) % 4)


def change(address: bool, port: bool) -> bytes:
    """Ask for an answer from the server's other address, other port, or both."""
    return attribute(CHANGE_REQUEST, struct.pack("!I", CHANGE_ADDRESS * address + CHANGE_PORT * port))


def response_port(port: int) -> bytes:
    """Ask for an answer to another port of the same outside address."""
    return attribute(RESPONSE_PORT, struct.pack("!HH", port, 0))


def answer_size(size: int) -> bytes:
    """Ask our reflector for an answer whose IP packet has this size, unfragmented."""
    return attribute(ANSWER_SIZE, struct.pack("!I", size))


def request(transaction: bytes, *attributes: bytes) -> bytes:
    body = b"".join(attributes)
    return HEADER.pack(REQUEST, len(body), COOKIE, transaction) + body


def filled(transaction: bytes, size: int, *attributes: bytes) -> bytes:
    """A request of this size, which has to be a multiple of 4."""
    short = request(transaction, *attributes)
    room = size - len(short) - ATTRIBUTE.size
    return request(transaction, *attributes, attribute(FILL, bytes(room))) if room >= 0 else short


def payload(mtu: int, version: int) -> int:
    """The largest STUN message that an IP packet of this size can carry over UDP."""
    return (mtu - HEADERS[version]) // 4 * 4


def decode(data: bytes) -> t.Optional[Message]:
    """The message in a datagram; None if this is not STUN."""
    if len(data) < HEADER.size:
        return None
    kind, length, cookie, transaction = HEADER.unpack_from(data)
    if kind >> 14 or length % 4 or cookie != COOKIE or len(data) < HEADER.size + length:
        return None
    attributes = _attributes(data[HEADER.size : HEADER.size + length])
    return None if attributes is None else Message(kind, transaction, attributes)


def whole(data: bytes) -> bool:
    """Whether a stream has brought a whole message."""
    return len(data) >= HEADER.size and len(data) >= HEADER.size + int(HEADER.unpack_from(data)[1])


def _attributes(data: bytes) -> t.Optional[t.Dict[int, bytes]]:
    found: t.Dict[int, bytes] = {}
    place = 0
    while place < len(data):
        kind, length = ATTRIBUTE.unpack_from(data, place)
        place += ATTRIBUTE.size
        if place + length > len(data):
            return None
        found.setdefault(kind, data[place : place + length])
        place += length + -length % 4
    return found


def _address(data: bytes, key: bytes = bytes(16)) -> t.Optional[Endpoint]:
    """An address attribute. ``key`` is what hides it from NATs that rewrite addresses in payload."""
    if len(data) < 4 or FAMILIES.get(data[1]) != len(data) - 4:
        return None
    plain = bytes(one ^ other for one, other in zip(data[2:], key[:2] + key))
    return Endpoint(str(ipaddress.ip_address(plain[2:])), int.from_bytes(plain[:2], "big"))
