# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""The sockets of nat_probe: the only file of this folder that sends packets.

Several questions are asked at once, because most of what a NAT does shows in answers that do not come.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import struct
import threading
import time
import typing as t

from .stun import Endpoint

#: linux/in.h, linux/in6.h: errors of routers are queued at the socket, with the router's address.
RECVERR = {4: (socket.IPPROTO_IP, 11), 6: (socket.IPPROTO_IPV6, 25)}
#: "Do not fragment, and believe no router": the size of each packet is ours to choose.
MTU_DISCOVER = {4: (socket.IPPROTO_IP, 10), 6: (socket.IPPROTO_IPV6, 23)}
WHOLE, IN_PIECES = 3, 0
FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}
#: struct sock_extended_err: errno, origin, type, code, info. The address of the router follows.
EXTENDED = struct.Struct("=IBBBxII")
LOCAL = 1
PING = {4: (socket.IPPROTO_ICMP, 8, 0), 6: (socket.IPPROTO_ICMPV6, 128, 129)}
#: When a question is repeated, in seconds; UDP may lose packets.
REPEATS = (0.0, 0.25, 0.75, 1.5)
LARGEST = 65535
#: An Ethernet frame may be larger; no path through the Internet is.
LARGEST_FRAME = 9216


class Port(t.NamedTuple):
    """A UDP socket and the endpoint that the client itself believes to be."""

    version: int
    socket: socket.socket
    local: Endpoint


class Ask(t.NamedTuple):
    """A datagram from a port to a server; ``mine`` knows the answer by its content, wherever it comes from."""

    port: Port
    to: Endpoint
    data: bytes
    mine: t.Callable[[bytes], bool]
    hears: t.Optional[Port] = None  # where the answer arrives, if not where the question left


class Told(t.NamedTuple):
    """What a router, or this host, says about a packet: the errno, who, and the MTU if the packet was too large."""

    number: int
    by: str
    mtu: int

    @property
    def words(self) -> str:
        said = os.strerror(self.number)
        return "{0}, says {1}".format(said, self.by) if self.by else "{0}, says this client itself".format(said)


class Heard(t.NamedTuple):
    """What came back. ``strangers``: datagrams that answered none of the questions."""

    data: bytes = b""
    source: t.Optional[Endpoint] = None
    told: t.Optional[Told] = None
    strangers: int = 0


class Stream(t.NamedTuple):
    """A TCP connection: whether it was made, from where, what came, and what went wrong."""

    connected: bool
    local: t.Optional[Endpoint] = None
    data: bytes = b""
    problem: str = ""


class Found(t.NamedTuple):
    """The addresses of a name, or why it has none."""

    addresses: t.Tuple[str, ...] = ()
    problem: str = ""


class NotAllowed(Exception):  # noqa: N818 - reads as what it is
    """This user may not open such a socket."""


class Wire:
    """Everything that nat_probe does on the network."""

    def __init__(self, patience: float) -> None:
        self.patience = patience
        self._ports: t.List[socket.socket] = []

    def close(self) -> None:
        for each in self._ports:
            each.close()

    def open(self, version: int, towards: Endpoint) -> Port:
        """A port of this client. Raises OSError if there is no route to the server."""
        with socket.socket(FAMILY[version], socket.SOCK_DGRAM) as guide:
            guide.connect(tuple(towards))
            here = guide.getsockname()[0]
        made = socket.socket(FAMILY[version], socket.SOCK_DGRAM)
        self._ports.append(made)
        made.setsockopt(*RECVERR[version], 1)
        made.bind((here, 0))
        made.setblocking(False)
        return Port(version, made, Endpoint(here, made.getsockname()[1]))

    def fragment(self, port: Port, allowed: bool) -> None:
        port.socket.setsockopt(*MTU_DISCOVER[port.version], IN_PIECES if allowed else WHOLE)

    def mtu(self, port: Port, to: Endpoint) -> int:
        """The MTU of the link towards the server, whatever routers have said: a packet that is too large tells."""
        self.fragment(port, allowed=False)
        with contextlib.suppress(OSError):
            port.socket.sendto(bytes(LARGEST_FRAME), tuple(to))
            return LARGEST_FRAME
        return max([told.mtu for _data, _to, told in _queued(port)] + [0]) or 1500

    # --- UDP -----------------------------------------------------------------------------------------------------

    def ask(self, asks: t.Sequence[Ask], patience: float = 0) -> t.List[Heard]:
        """Ask all at once, again and again, until each has its answer or the time is over."""
        heard = [Heard() for _each in asks]
        start = time.monotonic()
        end = start + (patience or self.patience)
        repeats = list(REPEATS)
        while any(each.source is None for each in heard) and time.monotonic() < end:
            while repeats and time.monotonic() >= start + repeats[0]:
                repeats.pop(0)
                self._send(asks, heard)
            until = min([end] + [start + each for each in repeats[:1]])
            self._receive(asks, heard, max(0.0, until - time.monotonic()))
        return heard

    def _send(self, asks: t.Sequence[Ask], heard: t.List[Heard]) -> None:
        for index, each in enumerate(asks):
            if heard[index].source is None:
                try:
                    each.port.socket.sendto(each.data, tuple(each.to))
                except OSError as error:
                    heard[index] = heard[index]._replace(told=self._refused(each, error))

    def _refused(self, ask: Ask, error: OSError) -> Told:
        """sendto() also raises what a router said about an earlier packet."""
        queued = [told for data, to, told in _queued(ask.port) if _about(ask, data, to)]
        return queued[-1] if queued else Told(error.errno or 0, "", 0)

    def _receive(self, asks: t.Sequence[Ask], heard: t.List[Heard], seconds: float) -> None:
        ports = {(each.hears or each.port).socket: each.hears or each.port for each in asks}
        ports.update({each.port.socket: each.port for each in asks})
        ready = select.select(list(ports), [], [], seconds)[0]
        for each in ready:
            for about, to, told in _queued(ports[each]):
                for index, ask in enumerate(asks):
                    if _about(ask, about, to):
                        heard[index] = heard[index]._replace(told=told)
            with contextlib.suppress(OSError):
                data, source = each.recvfrom(LARGEST)
                self._note(asks, heard, ports[each], data, Endpoint(source[0], source[1]))

    def _note(self, asks: t.Sequence[Ask], heard: t.List[Heard], port: Port, data: bytes, source: Endpoint) -> None:
        listening = [index for index, each in enumerate(asks) if (each.hears or each.port) is port]
        for index in listening:
            if asks[index].mine(data):
                if heard[index].source is None:
                    heard[index] = heard[index]._replace(data=data, source=source)
                return
        for index in listening:
            heard[index] = heard[index]._replace(strangers=heard[index].strangers + 1)

    # --- TCP, ping, names ------------------------------------------------------------------------------------------

    def stream(self, to: Endpoint, data: bytes = b"", whole: t.Callable[[bytes], bool] = bool) -> Stream:
        """Connect; with data, send it and wait for a whole answer."""
        version = 6 if ":" in to.address else 4
        with socket.socket(FAMILY[version], socket.SOCK_STREAM) as made:
            made.settimeout(self.patience)
            try:
                made.connect(tuple(to))
            except OSError as error:
                return Stream(False, problem=_words(error))
            local = Endpoint(*made.getsockname()[:2])
            if not data:
                return Stream(True, local)
            return self._talk(made, Stream(True, local), data, whole)

    def _talk(self, made: socket.socket, stream: Stream, data: bytes, whole: t.Callable[[bytes], bool]) -> Stream:
        got = b""
        try:
            made.sendall(data)
            while not whole(got):
                part = made.recv(LARGEST)
                if not part:
                    return stream._replace(data=got, problem="the server closed the connection")
                got += part
        except OSError as error:
            return stream._replace(data=got, problem=_words(error))
        return stream._replace(data=got)

    def ping(self, address: str) -> str:
        """Why no answer came, empty if it did. Raises NotAllowed."""
        version = 6 if ":" in address else 4
        token = os.urandom(16)
        with _ping_socket(version) as made:
            kind = PING[version][1]
            body = struct.pack("!BBHHH", kind, 0, 0, os.getpid() & 0xFFFF, 1) + token
            checked = body[:2] + struct.pack("!H", checksum(body) if version == 4 else 0) + body[4:]
            return self._pinged(made, checked, address, token)

    def _pinged(self, made: socket.socket, packet: bytes, address: str, token: bytes) -> str:
        version = 6 if ":" in address else 4
        end = time.monotonic() + self.patience
        try:
            made.sendto(packet, (address, 0))
            while time.monotonic() < end:
                made.settimeout(max(0.01, end - time.monotonic()))
                data = made.recv(LARGEST)
                answer = data[-len(token) - 8 :]
                if answer[8:] == token and answer[0] == PING[version][2]:
                    return ""
        except OSError as error:
            return _words(error)
        return _words(socket.timeout())

    def resolve(self, names: t.Sequence[str]) -> t.List[Found]:
        """The addresses of names. The system's resolver may take longer than anybody wants to wait."""
        late = Found((), "the resolver did not answer in time")
        return _at_once(_resolved, names, late, max(self.patience, 5.0))

    def streams(self, asks: t.Sequence[t.Tuple[Endpoint, bytes, t.Callable[[bytes], bool]]]) -> t.List[Stream]:
        """stream() for all at once."""
        late = Stream(False, problem="no answer")
        return _at_once(lambda each: self.stream(*each), asks, late, 2 * self.patience + 1)

    def pings(self, addresses: t.Sequence[str]) -> t.List[t.Optional[str]]:
        """ping() for all at once; None if this user may not ping."""

        def one(address: str) -> t.Optional[str]:
            try:
                return self.ping(address)
            except NotAllowed:
                return None

        return _at_once(one, addresses, "no answer", self.patience + 1)

    def wait(self, seconds: float) -> None:
        time.sleep(max(0.0, seconds))

    def clock(self) -> float:
        return time.monotonic()

    def token(self, size: int) -> bytes:
        return os.urandom(size)


def _about(ask: Ask, data: bytes, to: Endpoint) -> bool:
    """Whether an error is about this question: routers return the packet's beginning, some only its header."""
    return to == ask.to and (len(data) < 20 or data[:20] == ask.data[:20])


def _queued(port: Port) -> t.List[t.Tuple[bytes, Endpoint, Told]]:
    """The errors that wait at a port, each with the packet that it is about, and where that was sent."""
    found: t.List[t.Tuple[bytes, Endpoint, Told]] = []
    while True:
        try:
            data, extra, _flags, to = port.socket.recvmsg(LARGEST, 512, socket.MSG_ERRQUEUE)
        except OSError:
            return found
        for level, kind, value in extra:
            if (level, kind) == RECVERR[port.version] and len(value) >= EXTENDED.size:
                found.append((data, Endpoint(to[0], to[1]), _told(value)))


def _told(value: bytes) -> Told:
    number, origin, _type, _code, info, _data = EXTENDED.unpack_from(value)
    place = value[EXTENDED.size :]
    by = ""
    if origin != LOCAL and len(place) >= 8:
        family = struct.unpack_from("=H", place)[0]
        raw = place[8:24] if family == socket.AF_INET6 else place[4:8]
        by = socket.inet_ntop(family, raw) if family in FAMILY.values() else ""
    return Told(number, by, info if number == errno.EMSGSIZE else 0)


def _ping_socket(version: int) -> socket.socket:
    """A ping socket if net.ipv4.ping_group_range has this group, otherwise a raw one."""
    for kind in (socket.SOCK_DGRAM, socket.SOCK_RAW):
        with contextlib.suppress(OSError):
            return socket.socket(FAMILY[version], kind, PING[version][0])
    raise NotAllowed


def _words(error: OSError) -> str:
    if isinstance(error, socket.timeout):
        return "no answer"
    return os.strerror(error.errno) if error.errno else str(error)


def _resolved(name: str) -> Found:
    try:
        listed = socket.getaddrinfo(name, None, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError) as error:
        return Found((), str(getattr(error, "strerror", None) or error))
    return Found(tuple(dict.fromkeys(str(each[4][0]) for each in listed)))


def _at_once(
    function: t.Callable[[t.Any], t.Any], arguments: t.Sequence[t.Any], late: t.Any, seconds: float
) -> t.List[t.Any]:
    """What a function returns for each argument, all at the same time; ``late`` for what takes too long."""
    found = [late] * len(arguments)

    def run(index: int) -> None:
        found[index] = function(arguments[index])

    threads = [threading.Thread(target=run, args=(index,), daemon=True) for index in range(len(arguments))]
    for each in threads:
        each.start()
    end = time.monotonic() + seconds
    for each in threads:
        each.join(max(0.0, end - time.monotonic()))
    return list(found)


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    data += bytes(len(data) % 2)
    total = int(sum(struct.unpack("!{0}H".format(len(data) // 2), data)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
