# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Ask a link whether somebody else gives out addresses there: RFC 2131.

A discovery is what a client without an address sends, but many servers try the address with a ping before they answer,
for up to three seconds. An inform is answered at once. Neither takes an address.
"""

from __future__ import annotations

import contextlib
import ipaddress
import struct
import typing as t

from . import dhcp

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.host import Host
    from .._base.sockets import Frames

SECONDS = 4.0
NUMBER = 0x69706D71  # of our messages: "ipmq"
IPV4, UDP = 0x0800, 17


def servers(links: t.Mapping[str, t.Collection[str]], host: Host) -> t.Dict[str, t.List[str]]:
    """The addresses of servers that answer, by link. ``links`` has the gateway's own addresses on each of them.

    A link that cannot be asked is left out.
    """
    asking = []
    for link, own in links.items():
        try:
            frames = host.frames(link)
        except OSError:
            continue
        asking.append((link, own, frames))
        _ask(frames, [each for each in own if ":" not in each])
    found: t.Dict[str, t.List[str]] = {}
    deadline = host.clock() + SECONDS
    while asking and host.clock() < deadline:
        for link, own, frames in asking:
            server = answered(_heard(frames))
            if server and server not in own and server not in found.get(link, ()):
                found.setdefault(link, []).append(server)
    for _link, _own, frames in asking:
        frames.close()
    return found


def _ask(frames: Frames, own: t.Sequence[str]) -> None:
    """Nobody hears it on a link that is down."""
    with contextlib.suppress(OSError):
        frames.send(message(frames.mac, dhcp.DISCOVER, dhcp.ANY))
        for address in own:
            frames.send(message(frames.mac, dhcp.INFORM, address))


def _heard(frames: Frames) -> bytes:
    try:
        return frames.heard(0.1)
    except OSError:
        return b""


def message(mac: bytes, kind: int, source: str) -> bytes:
    """A whole frame to everybody."""
    body = dhcp.request(mac, kind, NUMBER, source)
    datagram = struct.pack("!HHHH", dhcp.CLIENT_PORT, dhcp.SERVER_PORT, 8 + len(body), 0) + body
    start = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(datagram), 0, 0, 64, UDP, 0) + _packed(source)
    start += _packed(dhcp.ALL)
    start = start[:10] + struct.pack("!H", _checksum(start)) + start[12:]
    return b"\xff" * 6 + mac + struct.pack("!H", IPV4) + start + datagram


def answered(frame: bytes) -> str:
    """The server that has sent this, if it is an answer to us; otherwise empty."""
    packet = frame[14:]
    if len(packet) < 20 or packet[0] >> 4 != 4 or packet[9] != UDP:
        return ""
    datagram = packet[(packet[0] & 15) * 4 :]
    ports = struct.pack("!HH", dhcp.SERVER_PORT, dhcp.CLIENT_PORT)
    reply = dhcp.reply(datagram[8:]) if datagram[:4] == ports else None
    if not reply or reply.number != NUMBER:
        return ""
    server = reply.options.get(dhcp.SERVER, b"")
    return str(ipaddress.IPv4Address(server if len(server) == 4 else packet[12:16]))


def _packed(address: str) -> bytes:
    return ipaddress.IPv4Address(address).packed


def _checksum(data: bytes) -> int:
    total: int = sum(struct.unpack("!10H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
