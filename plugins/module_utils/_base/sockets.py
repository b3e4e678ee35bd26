# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Sockets to the kernel and to links; ``host`` loads this file only if somebody asks for one."""

from __future__ import annotations

import select
import socket
import struct

from .netlink import BY_FAMILY, GET, NETFILTER, SOCK_DIAG

#: From linux/netlink.h, for multicast groups.
SOL_NETLINK, ADD_MEMBERSHIP = 270, 1
#: SO_RCVBUFFORCE, and bytes: what the kernel sends to a group comes unasked.
FORCED_BUFFER, ROOM = 33, 1 << 24
#: By protocol, the type of the message that lists connections or sockets.
LISTS = {NETFILTER: struct.pack("=H", GET), SOCK_DIAG: struct.pack("=H", BY_FAMILY)}


class Netlink:
    """A netlink socket to the kernel. Every method may raise OSError, as access may be refused."""

    #: Larger than any packet of a dump.
    PACKET = 1 << 17
    #: Seconds to wait for an answer.
    PATIENCE = 10

    def __init__(self, protocol: int) -> None:
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC
        self._socket = socket.socket(getattr(socket, "AF_NETLINK", 16), kind, protocol)
        self._socket.settimeout(self.PATIENCE)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)

    def __enter__(self) -> Netlink:  # noqa: PYI034 - Self is newer than the Python of managed hosts
        return self

    def __exit__(self, *_error: object) -> None:
        self._socket.close()

    def send(self, data: bytes) -> None:
        self._socket.send(data)

    def receive(self) -> bytes:
        return self._socket.recv(self.PACKET)

    def join(self, group: int) -> None:
        """Receive what the kernel sends to everybody in a multicast group."""
        self._socket.bind((0, 0))  # without a number of its own, it would hear nothing
        self._socket.setsockopt(socket.SOL_SOCKET, FORCED_BUFFER, ROOM)
        self._socket.setsockopt(SOL_NETLINK, ADD_MEMBERSHIP, group)

    def heard(self) -> bytes:
        """What the kernel has sent and nobody has read yet; empty if there is nothing."""
        ready = select.select([self._socket], [], [], 0)[0]
        return self._socket.recv(self.PACKET) if ready else b""


class Listing(Netlink):
    """A netlink socket that only lists."""

    def __init__(self, kernel: Netlink, protocol: int) -> None:  # pylint: disable=super-init-not-called
        self._kernel, self._list = kernel, LISTS.get(protocol)

    def __exit__(self, *_error: object) -> None:
        self._kernel.__exit__()

    def send(self, data: bytes) -> None:
        if data[4:6] != self._list:
            raise ValueError("this message does not only list")
        self._kernel.send(data)

    def receive(self) -> bytes:
        return self._kernel.receive()


class Frames:
    """All IPv4 frames of a link, before any filter. Every method may raise OSError."""

    KIND = 0x0800

    def __init__(self, link: str) -> None:
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC
        self._socket = socket.socket(getattr(socket, "AF_PACKET", 17), kind, socket.htons(self.KIND))
        self._socket.bind((link, self.KIND))
        self.mac: bytes = self._socket.getsockname()[4]

    def send(self, frame: bytes) -> None:
        self._socket.send(frame)

    def heard(self, seconds: float) -> bytes:
        """A frame; empty if none has come in that time."""
        ready = select.select([self._socket], [], [], seconds)[0]
        return self._socket.recv(1 << 16) if ready else b""

    def close(self) -> None:
        self._socket.close()
