# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A thousand echo requests a second. ping(8) never sleeps at such an interval, and takes a whole processor."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import struct
import time
import typing as t

from topology import checksum

if t.TYPE_CHECKING:
    from topology import Topology

SO_RCVBUFFORCE = 33
REQUEST, REPLY, MARK = 8, 0, 0x1DEA


class Pings:
    """From a node, by a process of its own."""

    def __init__(self, topology: Topology, node: str, address: str) -> None:
        told, tell = os.pipe()
        with topology.socket(node, socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as raw:
            # No answer is lost because this process had to wait.
            raw.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
            raw.connect((address, 0))
            self._pid = os.fork()
            if self._pid == 0:
                try:
                    with open(tell, "wb") as stream:
                        stream.write(b"".join(struct.pack("!I", each) for each in _ping(raw)))
                finally:
                    os._exit(0)
        os.close(tell)
        self._told = open(told, "rb")  # noqa: SIM115 - closed by end

    def end(self) -> set:
        """The numbers of the requests that were answered; the first one is 1."""
        os.kill(self._pid, signal.SIGTERM)
        with self._told as stream:
            found = stream.read()
        os.waitpid(self._pid, 0)
        return {number for (number,) in struct.iter_unpack("!I", found)}


def _ping(raw: socket.socket) -> set:
    going = [True]
    signal.signal(signal.SIGTERM, lambda *_args: going.clear())
    number, answered = 0, set()
    while going:
        number += 1
        # One that cannot be sent has no answer.
        with contextlib.suppress(OSError):
            raw.send(_request(number))
        while select.select([raw], [], [], 0)[0]:
            with contextlib.suppress(OSError):
                kind, mark, told = struct.unpack_from("!BxxxHxxI", raw.recv(2000), 20)
                if (kind, mark) == (REPLY, MARK):
                    answered.add(told)
        time.sleep(0.001)
    return answered


def _request(number: int) -> bytes:
    rest = struct.pack("!HHI", MARK, number & 0xFFFF, number)
    return struct.pack("!BBH", REQUEST, 0, checksum(struct.pack("!BBH", REQUEST, 0, 0) + rest)) + rest
