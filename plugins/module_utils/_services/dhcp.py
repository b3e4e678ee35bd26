# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""The messages of DHCP as values: RFC 2131. No I/O."""

from __future__ import annotations

import ipaddress
import struct
import typing as t

COOKIE = b"\x63\x82\x53\x63"
DISCOVER, OFFER, ACK, INFORM = 1, 2, 5, 8
ROUTER, SERVERS, DOMAIN, KIND, SERVER, WISHES = 3, 6, 15, 53, 54, 55
CLIENT_PORT, SERVER_PORT = 68, 67
ANY, ALL = "0.0.0.0", "255.255.255.255"
#: So that the answer to a client without an address goes to everybody.
BROADCAST = 0x8000
BOOTP = "!BBBBIHH4s4s4s4s16s192x"


class Reply(t.NamedTuple):
    number: int
    mac: bytes
    address: str  # the client's
    options: t.Mapping[int, bytes]


def request(mac: bytes, kind: int, number: int, source: str = ANY, wishes: t.Sequence[int] = (1, 3)) -> bytes:
    """What a client sends, without IP and UDP headers."""
    flags = BROADCAST if kind == DISCOVER else 0
    here, nobody = ipaddress.IPv4Address(source).packed, bytes(4)
    head = struct.pack(BOOTP, 1, 1, 6, 0, number, 0, flags, here, nobody, nobody, nobody, mac)
    options = bytes([KIND, 1, kind, WISHES, len(wishes), *wishes, 255])
    return head + COOKIE + options + bytes(max(0, 60 - len(options)))


def reply(body: bytes) -> t.Optional[Reply]:
    """What a server offers or tells; None if it is anything else."""
    if len(body) < 240 or body[0] != 2 or body[236:240] != COOKIE:
        return None
    options = _options(body[240:])
    if options.get(KIND) not in (bytes([OFFER]), bytes([ACK])):
        return None
    (number,) = struct.unpack_from("!I", body, 4)
    return Reply(number, body[28:34], str(ipaddress.IPv4Address(body[16:20])), options)


def _options(data: bytes) -> t.Dict[int, bytes]:
    found: t.Dict[int, bytes] = {}
    while len(data) > 1 and data[0] != 255:
        if data[0] == 0:
            data = data[1:]
            continue
        found[data[0]] = data[2 : 2 + data[1]]
        data = data[2 + data[1] :]
    return found
