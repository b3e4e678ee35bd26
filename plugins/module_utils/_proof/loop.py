# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.
"""The closed loop: TUN devices in place of the hosts around a gateway. The only I/O of a proof.

What is written into a TUN device arrives at the real interface (u32, mirred). What would leave the real interface and
is the probe's own comes out of the TUN device, before it is on the wire. The devices end with the process that opened
them; a second process takes away the filters and neighbours when the first one dies.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import select
import socket
import struct
import time
import typing as t

from .._base import netlink
from .._base.errors import GatewayError
from . import packets, setting, trace
from .flows import forget

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.host import Host
    from .._base.sockets import Netlink
    from .ground import Place
    from .model import Ground

CLONE = "/dev/net/tun"
IFF_TUN, IFF_NO_PI, TUNSETIFF = 1, 0x1000, 0x400454CA
#: A device that only one process can have, in each network namespace; the kernel frees it.
LOCK = setting.DEVICE
#: Seconds to wait for another proof, and for the owners of addresses to answer.
WAIT, ANSWERS = 60.0, 0.2
BUSY = 16  # EBUSY
#: The MTU of most links.
MTU = 1500
IPV6, DEVICES = "/proc/sys/net/ipv6", "/proc/net/dev"


class NoLoop(Exception):  # noqa: N818 - nothing failed, nothing can be measured
    """This host cannot have a loop, and why."""


class Busy(NoLoop):
    """Another proof has it."""


def open_tun(name: str) -> int:
    handle = os.open(CLONE, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        fcntl.ioctl(handle, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    except OSError:
        os.close(handle)
        raise
    return handle


def is_free(host: Host) -> bool:
    """Whether no other proof runs now."""
    return not re.search(r"^\s*{0}:".format(LOCK), host.read(DEVICES) or "", re.MULTILINE)


def _locked(wait: float) -> int:
    """Wait for the proof of another process."""
    until = time.monotonic() + wait
    while True:
        try:
            return open_tun(LOCK)
        except OSError as error:
            if error.errno != BUSY:
                raise NoLoop("TUN devices are not available here ({0}: {1})".format(CLONE, error.strerror)) from None
        if time.monotonic() > until:
            raise Busy("another proof has been running for {0:g} s".format(round(wait, 1)))
        time.sleep(0.05)


def _until_the_end(pipe: int) -> t.Tuple[t.List[packets.Packet], bool]:
    """What the other process has sent, once it has closed the pipe or died; and whether it has traced packets."""
    told = b""
    while True:
        part = os.read(pipe, 1 << 16)
        if not part:
            break
        told += part
    found, traced = [], False
    while len(told) >= 2:
        (length,) = struct.unpack_from("!H", told)
        found.append(packets.parse(told[2 : 2 + length]))
        traced = traced or not length
        told = told[2 + length :]
    return [packet for packet in found if packet], traced


class Loop:
    """Use as a context. Raises NoLoop if the host lacks something."""

    def __init__(self, host: Host, wait: float = WAIT) -> None:
        """``wait``: seconds to wait for another proof."""
        self._host, self._wait = host, wait
        self.places: t.Tuple[str, ...] = ()
        self._tuns: t.Dict[str, int] = {}
        self._names: t.Dict[int, str] = {}
        self._poll = select.poll()
        self._headers: t.Dict[str, int] = {}
        self._mtus: t.Dict[str, int] = {}
        self._lock = self._pipe = -1
        self._guard = 0

    def __enter__(self) -> Loop:  # noqa: PYI034 - Self is newer than the Python of managed hosts
        if not self._host.which("tc"):
            raise NoLoop("tc is not installed; install the package iproute2 (iproute-tc, iproute2-tc)")
        self._lock = _locked(self._wait)
        return self

    def __exit__(self, *_error: object) -> None:
        try:
            self._end_guard()
        finally:
            for handle in (*self._tuns.values(), self._lock):
                os.close(handle)

    # --- Building up and taking away ---------------------------------------------------------------------------------

    def build(self, ground: Ground, places: t.Mapping[str, Place]) -> None:
        """Open a device for each interface, and put the filters in place. The guard knows first how to undo them."""
        self._start_guard(setting.undo(ground, places))
        self.places = tuple(places)
        self._mtus = {name: ground.links[name].mtu for name in places}
        for number, name in enumerate(places):
            self._tuns[name] = open_tun("{0}{1}".format(setting.DEVICE, number))
            self._names[self._tuns[name]] = name
            self._poll.register(self._tuns[name], select.POLLIN)
        self._batch("ip", setting.links(places, self._host.exists(IPV6)))
        self._batch("tc", setting.filters(ground, places))
        self._batch("ip", setting.neighbours(ground))
        table = setting.table(ground, places)
        done = self._host.run(["nft", "-f", "-"], "".join(line + "\n" for line in table)) if table else None
        if done and done.rc != 0:
            raise NoLoop("nft refused what the loop needs: {0}".format(" ".join(done.err.split("\n")[:1])))
        self._headers = {name: ground.links[name].header for name, place in places.items() if place.nft}

    def _batch(self, program: str, lines: t.Sequence[str]) -> None:
        if not lines:
            return
        done = self._host.run([program, "-batch", "-"], "".join(line + "\n" for line in lines))
        if done.rc != 0:
            told = " ".join(done.err.split()) or "exit code {0}".format(done.rc)
            parts = " (u32, mirred, clsact)" * (program == "tc")
            raise NoLoop("the kernel refused what the loop needs{0}: {1}: {2}".format(parts, program, told))

    def _start_guard(self, undo: setting.Undo) -> None:
        """A process that waits for the end of this one, and then takes away what it has added."""
        reading, self._pipe = os.pipe()
        self._guard = os.fork()
        if self._guard == 0:  # pragma: no cover - in another process
            with contextlib.suppress(BaseException):
                os.close(self._pipe)
                os.setsid()
                nowhere = os.open(os.devnull, os.O_RDWR)
                for each in (0, 1, 2):
                    os.dup2(nowhere, each)
                self._undo(undo, *_until_the_end(reading))
            os._exit(0)
        os.close(reading)

    def _end_guard(self) -> None:
        """The guard undoes in every case, so that there is one way only."""
        if self._guard:
            os.close(self._pipe)
            os.waitpid(self._guard, 0)
            self._guard = 0

    def _undo(self, undo: setting.Undo, sent: t.Iterable[packets.Packet], traced: bool) -> None:
        for family in ("inet", "netdev") if traced else ():
            self._host.run(["nft", "delete", "table", family, setting.TRACE])
        if undo.filters:
            self._host.run(["tc", "-force", "-batch", "-"], "".join(line + "\n" for line in undo.filters))
        if undo.table:
            self._host.run(["nft", "delete", "table", *setting.TABLE.split()])
        for name in undo.added:
            # Unless somebody else has come to use it meanwhile.
            listed = [self._host.run(["tc", "filter", "show", "dev", name, way]).out for way in ("ingress", "egress")]
            if not any(listed):
                self._host.run(["tc", "qdisc", "del", "dev", name, "clsact"])
        if undo.neighbours:
            self._host.run(["ip", "-force", "-batch", "-"], "".join(line + "\n" for line in undo.neighbours))
        forget(sent, self._host)

    def trace(self, lines: t.Sequence[str]) -> t.Optional[Netlink]:
        """Have the kernel report the way of the packets that follow; None if it cannot."""
        if not self._host.which("nft"):
            return None
        with contextlib.suppress(OSError):
            kernel = self._host.kernel(netlink.NETFILTER)
            kernel.join(trace.GROUP)
            os.write(self._pipe, struct.pack("!H", 0))
            if self._host.run(["nft", "-f", "-"], "".join(line + "\n" for line in lines)).rc == 0:
                return kernel
            kernel.__exit__()
        return None

    # --- Packets -----------------------------------------------------------------------------------------------------

    def send(self, place: str, packet: packets.Packet) -> None:
        packet = packets.fitted(packet, self._mtus.get(place, MTU))
        try:
            self.forget(packet)
            os.write(self._tuns[place], packets.build(packet))
        except OSError as error:
            raise GatewayError("{0}: a probe's packet cannot be sent: {1}".format(place, error.strerror)) from None

    def forget(self, packet: packets.Packet) -> None:
        """When the proof ends: the connection that a packet began."""
        data = packets.build(packet)
        os.write(self._pipe, struct.pack("!H", len(data)) + data)

    def let_go(self, sent: t.Sequence[packets.Packet]) -> None:
        """At once: the connections that packets began."""
        forget(sent, self._host)

    def receive(self, seconds: float) -> t.List[t.Tuple[str, packets.Packet]]:
        """Everything that has come out, by interface; waits only if there is nothing."""
        found = []
        for handle, _event in self._poll.poll(seconds * 1000):
            with contextlib.suppress(BlockingIOError):
                while True:
                    name = self._names[handle]
                    packet = packets.parse(os.read(handle, 65536)[self._headers.get(name, 0) :])
                    if packet:
                        found.append((name, packet))
        return found

    # --- Whose address is this ---------------------------------------------------------------------------------------

    def taken(self, candidates: t.Mapping[t.Tuple[str, str], t.Sequence[str]]) -> t.Set[str]:
        """The addresses that somebody answers for. Links without ARP and NDP are not asked."""
        sockets: t.Dict[socket.socket, str] = {}
        found: t.Set[str] = set()
        try:
            for (name, _family), addresses in candidates.items():
                with contextlib.suppress(OSError):
                    sockets[self._ask(name, addresses)] = name
            until = time.monotonic() + ANSWERS
            while sockets and time.monotonic() < until:
                for ready in select.select(list(sockets), [], [], max(0, until - time.monotonic()))[0]:
                    with contextlib.suppress(OSError):
                        found.update(filter(None, [setting.answered(ready.recv(2048))]))
        finally:
            for each in sockets:
                each.close()
        return found

    @staticmethod
    def _ask(name: str, addresses: t.Sequence[str]) -> socket.socket:
        asking = socket.socket(getattr(socket, "AF_PACKET", 17), socket.SOCK_RAW, socket.htons(3))
        try:
            asking.bind((name, 0))
            asking.setblocking(False)
            own = asking.getsockname()[4]
            for address in addresses:
                asking.send(setting.question(own, address))
        except OSError:
            asking.close()
            raise
        return asking
