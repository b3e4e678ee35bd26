# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Encode and decode netlink messages: of ctnetlink about connections, and the request for a list of sockets.

conntrack(8) reads the whole table for each connection that it deletes (15 ms at 262,144 buckets, measured); a netlink
message is one look-up. A deletion repeats the kernel's own data: the tuple of any protocol, the zone and the ID, so
that it never hits another connection with the same tuple.

Source: include/uapi/linux/netfilter/nfnetlink_conntrack.h, net/netfilter/nf_conntrack_netlink.c
"""

from __future__ import annotations

import struct
import typing as t

#: struct nlmsghdr: length, type, flags, sequence, port.
HEADER = struct.Struct("=IHHII")
#: struct nlattr: length, type.
ATTRIBUTE = struct.Struct("=HH")
#: Protocols, from linux/netlink.h: of netfilter, and of the list of sockets.
NETFILTER, SOCK_DIAG = 12, 4
REQUEST, ACK, DUMP, CREATE_NEW = 1, 4, 0x300, 0x600
ERROR, DONE = 2, 3
#: Message types: NFNL_SUBSYS_CTNETLINK and IPCTNL_MSG_CT_*.
NEW, GET, DELETE = 0x100, 0x101, 0x102
#: The type of a message that lists sockets: SOCK_DIAG_BY_FAMILY.
BY_FAMILY = 20
#: The offset of a message's attributes, after struct nlmsghdr and struct nfgenmsg.
BODY = 20
FAMILIES = {2: 4, 10: 16}  # AF_INET, AF_INET6: bytes per address

TUPLE_ORIG, TUPLE_REPLY, STATUS, HELPER, ID, TUPLE_MASTER, ZONE = 1, 2, 3, 5, 12, 14, 18
NESTED, KIND = 0x8000, 0x3FFF
EXPECTED = 1  # status bit: announced by a helper
ENOENT = 2
#: Messages per packet; the answer to the last one shows that all were read.
BATCH = 400

NO_PORTS = (0, 0)


class Entry(t.NamedTuple):
    """A connection with its original and reply tuple. Ports are 0 if the protocol has none."""

    protocol: int
    source: bytes
    destination: bytes
    source_port: int
    destination_port: int
    answer_source: bytes
    answer_destination: bytes
    answer_source_port: int
    answer_destination_port: int


class Details(t.NamedTuple):
    """Attributes that few callers need."""

    helper: str
    expected: bool
    master: bytes  # the tuple of the connection that announced it
    zone: int


#: The fixed layout of a message about a connection with ports, by far the most common; this is twice as fast.
_HALF = "8s 4x {0}s 4x {0}s 4s 4x B 7x H 6x H 2x"
_PLAIN = {
    size: (
        struct.Struct("> 16x B 3x {0} {0}".format(_HALF.format(size))),
        ATTRIBUTE.pack(2 * size + 44, NESTED | TUPLE_ORIG) + ATTRIBUTE.pack(2 * size + 12, NESTED | 1),
        ATTRIBUTE.pack(2 * size + 44, NESTED | TUPLE_REPLY) + ATTRIBUTE.pack(2 * size + 12, NESTED | 1),
    )
    for size in FAMILIES.values()
}
_PORTS = ATTRIBUTE.pack(28, NESTED | 2)
#: tcp, udp, dccp, sctp, udplite; GRE has keys instead of ports.
WITH_PORTS = frozenset((6, 17, 33, 132, 136))


def message(kind: int, flags: int, family: int, body: bytes = b"", sequence: int = 0) -> bytes:
    return HEADER.pack(BODY + len(body), kind, flags, sequence, 0) + struct.pack("=BBH", family, 0, 0) + body


def attribute(kind: int, value: bytes) -> bytes:
    return ATTRIBUTE.pack(4 + len(value), kind) + value + bytes(-len(value) % 4)


def dump() -> bytes:
    """The request for all connections."""
    return message(GET, REQUEST | DUMP, 0)


def sockets(body: bytes) -> bytes:
    """The request for sockets, of which ``body`` says which ones."""
    return HEADER.pack(HEADER.size + len(body), BY_FAMILY, REQUEST | DUMP, 0, 0) + body


def messages(data: bytes) -> t.Iterator[t.Tuple[int, int, int]]:
    """Type, start and end of each message in a packet."""
    at = 0
    while at + HEADER.size <= len(data):
        length, kind = HEADER.unpack_from(data, at)[:2]
        if length < HEADER.size:
            return
        yield kind, at, at + length
        at += length + -length % 4


def error_of(data: bytes, at: int) -> int:
    """The error number of an ERROR message; 0 means success."""
    return -int(struct.unpack_from("=i", data, at + HEADER.size)[0])


def sequence_of(data: bytes, at: int) -> int:
    return int(HEADER.unpack_from(data, at)[3])


def entry(data: bytes, at: int, end: int) -> t.Optional[Entry]:
    """The connection in a message; None if its format is unknown."""
    size = FAMILIES.get(data[at + 16])
    if size is None:
        return None
    plain, orig, reply = _PLAIN[size]
    if end - at >= plain.size:
        # fmt: off
        (_family, head, src, dst, nest, number, sport, dport,
         other, answer_src, answer_dst, ports, _number, answer_sport, answer_dport) = plain.unpack_from(data, at)
        # fmt: on
        if number in WITH_PORTS and head == orig and other == reply and nest == ports == _PORTS:
            return Entry(number, src, dst, sport, dport, answer_src, answer_dst, answer_sport, answer_dport)
    parts = dict(attributes(data, at + BODY, end))
    try:
        asked, answer = (_tuple(parts[kind]) for kind in (TUPLE_ORIG, TUPLE_REPLY))
    except (KeyError, IndexError, struct.error):
        return None
    return Entry(asked[0], *asked[1:], *answer[1:])


def _tuple(nested: bytes) -> t.Tuple[int, bytes, bytes, int, int]:
    """The protocol, addresses and ports of a tuple."""
    parts = dict(attributes(nested))
    addresses, protocol = [dict(attributes(parts[kind])) for kind in (1, 2)]
    source, destination = (addresses[kind] if kind in addresses else addresses[kind + 2] for kind in (1, 2))
    number = protocol[1][0]
    ports = NO_PORTS
    if number in WITH_PORTS and 2 in protocol:  # Linux 6.17 has no DCCP.
        ports = struct.unpack("!H", protocol[2])[0], struct.unpack("!H", protocol[3])[0]
    return (number, source, destination) + ports


def attributes(data: bytes, at: int = 0, end: t.Optional[int] = None) -> t.Iterator[t.Tuple[int, bytes]]:
    """The type and value of each attribute."""
    last = len(data) if end is None else end
    while at + 4 <= last:
        length, kind = ATTRIBUTE.unpack_from(data, at)
        if length < 4:
            return
        yield kind & KIND, data[at + 4 : at + length]
        at += length + -length % 4


def tuple_of(data: bytes, at: int) -> bytes:
    """The identity of a connection: the value of its first attribute."""
    return data[at + BODY + 4 : at + BODY + int(ATTRIBUTE.unpack_from(data, at + BODY)[0])]


def details(data: bytes, at: int, end: int) -> Details:
    parts = dict(attributes(data, at + BODY, end))
    helper = dict(attributes(parts.get(HELPER, b""))).get(1, b"")
    status = int.from_bytes(parts.get(STATUS, b""), "big")
    return Details(
        helper.rstrip(b"\0").decode("ascii", "replace"),
        bool(status & EXPECTED),
        parts.get(TUPLE_MASTER, b""),
        int.from_bytes(parts.get(ZONE, b""), "big"),
    )


def is_expected(data: bytes, at: int, end: int) -> bool:
    """The result of ``details`` for all messages. The status follows both tuples if there is no zone."""
    place = at + BODY
    for _each in (TUPLE_ORIG, TUPLE_REPLY):
        place += ATTRIBUTE.unpack_from(data, place)[0]
    length, kind = ATTRIBUTE.unpack_from(data, place)
    if (length, kind) == (8, STATUS):
        return bool(data[place + 7] & EXPECTED)
    return details(data, at, end).expected


def deletion(data: bytes, at: int, end: int) -> bytes:
    """The message that deletes exactly the connection in another message."""
    kept = [
        attribute(kind | (NESTED if kind == TUPLE_ORIG else 0), value)
        for kind, value in attributes(data, at + BODY, end)
        if kind in (TUPLE_ORIG, ID, ZONE)
    ]
    return message(DELETE, REQUEST, data[at + 16], b"".join(kept))


def batches(listed: t.Sequence[bytes]) -> t.Iterator[bytes]:
    """Pack messages; the last one of each packet is acknowledged with the packet's number."""
    for number, first in enumerate(range(0, len(listed), BATCH), 1):
        some = list(listed[first : first + BATCH])
        length, kind, flags, _sequence, port = HEADER.unpack_from(some[-1])
        some[-1] = HEADER.pack(length, kind, flags | ACK, number, port) + some[-1][HEADER.size :]
        yield b"".join(some)
