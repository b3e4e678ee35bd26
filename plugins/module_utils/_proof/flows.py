# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.
"""Take the connections of a proof out of the kernel's table."""

from __future__ import annotations

import struct
import typing as t

from .._base import netlink
from .packets import packed

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.host import Host
    from .packets import Packet

NUMBERS = {"tcp": 6, "udp": 17}
NEST = netlink.NESTED


def forget(sent: t.Iterable[Packet], host: Host) -> None:
    """By their first packet, one look-up each. Without access they end by their timers."""
    messages = list(dict.fromkeys(filter(None, map(deletion, sent))))
    try:
        with host.kernel(netlink.NETFILTER) as kernel:
            for number, batch in enumerate(netlink.batches(messages), 1):
                kernel.send(batch)
                _wait(kernel, number)
    except OSError:
        return


def _wait(kernel: t.Any, number: int) -> None:
    while True:
        data = kernel.receive()
        for kind, at, _end in netlink.messages(data):
            if kind == netlink.ERROR and netlink.sequence_of(data, at) == number:
                return


def deletion(packet: Packet) -> bytes:
    """The message that deletes the connection that a packet began; nothing for one that began none."""
    wide = packet.version == 6
    number = NUMBERS.get(packet.protocol, (58 if wide else 1) if packet.protocol == "icmp" else 0)
    if not number or packet.quoted:
        return b""
    first = 3 if wide else 1
    ends = _attribute(first, packed(packet.source)) + _attribute(first + 1, packed(packet.target))
    ports = _attribute(1, bytes([number]))
    if packet.protocol == "icmp":
        start = 7 if wide else 4
        ports += _attribute(start, struct.pack("!H", packet.sport))
        ports += _attribute(start + 1, bytes([packet.kind])) + _attribute(start + 2, bytes([packet.code]))
    else:
        ports += _attribute(2, struct.pack("!H", packet.sport)) + _attribute(3, struct.pack("!H", packet.dport))
    body = _attribute(NEST | netlink.TUPLE_ORIG, _attribute(NEST | 1, ends) + _attribute(NEST | 2, ports))
    return netlink.message(netlink.DELETE, netlink.REQUEST, 10 if wide else 2, body)


def _attribute(kind: int, value: bytes) -> bytes:
    return netlink.attribute(kind, value)
