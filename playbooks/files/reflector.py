# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tell each client which address and port it has outside of its NAT: STUN over UDP and TCP (RFC 8489).

With two addresses of one family, it also answers from the other address or port (RFC 5780), so that clients can find
out how their NAT maps and filters. On request it answers with a packet of a certain size, never larger than the
question.

reflector.py [--port N] [--seconds N] [--background | --stop] [ADDRESS …]

Without addresses: those of the interfaces with a default route, two of each family. Needs no privileges. In the
background, it is a transient unit if root starts it beside systemd, otherwise a process; its addresses are shown.
"""

from __future__ import annotations

import argparse
import array
import contextlib
import errno
import fcntl
import ipaddress
import os
import pathlib
import selectors
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
import typing as t

COOKIE = 0x2112A442
HEADER = struct.Struct("!HHI12s")
REQUEST, SUCCESS, FAILURE = 0x0001, 0x0101, 0x0111
CHANGE_REQUEST, ERROR_CODE, UNKNOWN, XOR_MAPPED_ADDRESS = 0x0003, 0x0009, 0x000A, 0x0020
PADDING, RESPONSE_PORT, SOFTWARE, RESPONSE_ORIGIN, OTHER_ADDRESS = 0x0026, 0x0027, 0x8022, 0x802B, 0x802C
#: Our own: filling without meaning, the wanted size of the answer's IP packet, the path MTU if that does not fit.
FILL, ANSWER_SIZE, PATH_MTU = 0xC0F0, 0xC0F1, 0xC0F2
#: Attributes below 0x8000 that a client may send us; we have to refuse all others.
KNOWN = {CHANGE_REQUEST, PADDING, RESPONSE_PORT, 0x0006, 0x0008, 0x0014, 0x0015}
CHANGE_ADDRESS, CHANGE_PORT = 4, 2
HEADERS: t.Dict[int, int] = {socket.AF_INET: 28, socket.AF_INET6: 48}
#: IP_MTU_DISCOVER and IP_MTU, and the same for IPv6, from linux/in.h and linux/in6.h.
DISCOVER: t.Dict[int, t.Tuple[int, int]] = {
    socket.AF_INET: (socket.IPPROTO_IP, 10),
    socket.AF_INET6: (socket.IPPROTO_IPV6, 23),
}
MTU: t.Dict[int, t.Tuple[int, int]] = {
    socket.AF_INET: (socket.IPPROTO_IP, 14),
    socket.AF_INET6: (socket.IPPROTO_IPV6, 24),
}
FRAGMENTED, WHOLE = 0, 2
NAME = b"ipmasq.linux reflector"
#: TCP clients at one time, and the seconds that each may take.
MOST_STREAMS, STREAM_SECONDS = 64, 10

Place = t.Tuple[str, int]


class Message(t.NamedTuple):
    transaction: bytes
    attributes: t.Dict[int, bytes]

    def number(self, kind: int, size: int = 4) -> int:
        value = self.attributes.get(kind, b"")
        return int.from_bytes(value[:size], "big") if len(value) >= size else 0


def decode(data: bytes) -> t.Optional[Message]:
    """A binding request; None for anything else, which gets no answer."""
    if len(data) < HEADER.size:
        return None
    kind, length, cookie, transaction = HEADER.unpack_from(data)
    if (kind, cookie) != (REQUEST, COOKIE) or length % 4 or len(data) != HEADER.size + length:
        return None
    found: t.Dict[int, bytes] = {}
    rest = data[HEADER.size :]
    while rest:
        name, size = struct.unpack_from("!HH", rest)
        if len(rest) < 4 + size:
            return None
        found.setdefault(name, rest[4 : 4 + size])
        rest = rest[4 + size + -size % 4 :]
    return Message(transaction, found)


def attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("!HH", kind, len(value)) + value + bytes(-len(value) % 4)


def message(kind: int, transaction: bytes, *attributes: bytes) -> bytes:
    body = b"".join(attributes)
    return HEADER.pack(kind, len(body), COOKIE, transaction) + body


def address(kind: int, place: Place, transaction: t.Optional[bytes] = None) -> bytes:
    """An address attribute. With a transaction, it is hidden from NATs that rewrite addresses in payload."""
    host = ipaddress.ip_address(place[0])
    plain = struct.pack("!H", place[1]) + host.packed
    key = bytes(18) if transaction is None else struct.pack("!HI", COOKIE >> 16, COOKIE) + transaction
    hidden = bytes(one ^ other for one, other in zip(plain, key))
    return attribute(kind, struct.pack("!BB", 0, 1 if host.version == 4 else 2) + hidden)


class Reflector:
    def __init__(self, addresses: t.Sequence[str], ports: t.Tuple[int, int]) -> None:
        self._selector = selectors.DefaultSelector()
        self._ports = ports
        self._sockets: t.Dict[Place, socket.socket] = {}
        #: TCP clients: whom we see, where we are, and until when.
        self._streams: t.Dict[socket.socket, t.Tuple[Place, Place, float]] = {}
        self._pairs = pairs(addresses)
        for each in addresses:
            for port in ports:
                self._listen(each, port)

    def _listen(self, host: str, port: int) -> None:
        """UDP on every place, because answers leave from where the client wants; TCP, too."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
            made = socket.socket(family, kind)
            if kind == socket.SOCK_STREAM:
                made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.setblocking(False)
            made.bind((host, port))
            if kind == socket.SOCK_DGRAM:
                self._sockets[host, port] = made
            else:
                made.listen(MOST_STREAMS)
            self._selector.register(made, selectors.EVENT_READ, (kind, (host, port)))

    def close(self) -> None:
        for key in list(self._selector.get_map().values()):
            t.cast("socket.socket", key.fileobj).close()
        self._selector.close()

    def serve(self, seconds: float) -> None:
        end = time.monotonic() + seconds if seconds else None
        while end is None or time.monotonic() < end:
            for key, _events in self._selector.select(1):
                # Nothing that one client does, or that happens to its packets, may concern the others.
                with contextlib.suppress(OSError):
                    self._take(key)
            self._forget()

    def _take(self, key: selectors.SelectorKey) -> None:
        kind, here = key.data
        if kind == socket.SOCK_DGRAM:
            data, client = key.fileobj.recvfrom(65535)  # type: ignore[union-attr]
            self._datagram(data, client[:2], here)
        elif key.fileobj in self._streams:
            self._stream(key.fileobj)
        else:
            self._accept(t.cast("socket.socket", key.fileobj), here)

    # --- UDP -----------------------------------------------------------------------------------------------------

    def _datagram(self, data: bytes, client: Place, here: Place) -> None:
        asked = decode(data)
        if asked is None:
            return
        unknown = self._unknown(asked, here)
        if unknown:
            self._sockets[here].sendto(self._refusal(asked, unknown), client)
            return
        origin = self._origin(asked, here)
        to = (client[0], asked.number(RESPONSE_PORT, 2) or client[1])
        answer = self._answer(asked, client, here, origin)
        wanted = asked.number(ANSWER_SIZE)
        if wanted:
            self._send_whole(asked, answer, origin, to, min(wanted - HEADERS[family_of(to)], len(data)))
        else:
            self._sockets[origin].sendto(answer, to)

    def _unknown(self, asked: Message, here: Place) -> t.List[int]:
        """What we do not know; without a second address, how to answer from there, either (RFC 5780 section 7.2)."""
        alone = {CHANGE_REQUEST} if here[0] not in self._pairs else set()
        return sorted(kind for kind in asked.attributes if kind < 0x8000 and kind not in KNOWN - alone)

    def _refusal(self, asked: Message, unknown: t.Sequence[int]) -> bytes:
        names = b"".join(struct.pack("!H", kind) for kind in unknown)
        code = attribute(ERROR_CODE, struct.pack("!HBB", 0, 4, 20) + b"Unknown Attribute")
        return message(FAILURE, asked.transaction, code, attribute(UNKNOWN, names), attribute(SOFTWARE, NAME))

    def _origin(self, asked: Message, here: Place) -> Place:
        """Where the answer leaves."""
        flags = asked.number(CHANGE_REQUEST)
        return (
            self._pairs[here[0]] if flags & CHANGE_ADDRESS else here[0],
            self._other_port(here[1]) if flags & CHANGE_PORT else here[1],
        )

    def _other_port(self, port: int) -> int:
        return self._ports[1 - self._ports.index(port)]

    def _answer(self, asked: Message, client: Place, here: Place, origin: Place) -> bytes:
        parts = [
            address(XOR_MAPPED_ADDRESS, client, asked.transaction),
            address(RESPONSE_ORIGIN, origin),
            attribute(SOFTWARE, NAME),
        ]
        if here[0] in self._pairs:
            parts.append(address(OTHER_ADDRESS, (self._pairs[here[0]], self._other_port(here[1]))))
        return message(SUCCESS, asked.transaction, *parts)

    def _send_whole(self, asked: Message, answer: bytes, origin: Place, to: Place, size: int) -> None:
        """An answer of this size that no router may fragment; a short one with the path MTU if it does not fit."""
        made, family = self._sockets[origin], family_of(to)
        room = (size - len(answer)) // 4 * 4 - 4
        parts = answer[HEADER.size :]
        filled = message(SUCCESS, asked.transaction, parts, attribute(FILL, bytes(room))) if room >= 0 else answer
        made.setsockopt(*DISCOVER[family], WHOLE)
        try:
            made.sendto(filled, to)
        except OSError as error:
            if error.errno != errno.EMSGSIZE:
                raise
            known = attribute(PATH_MTU, struct.pack("!I", self._path_mtu(family, origin, to)))
            made.sendto(message(SUCCESS, asked.transaction, parts, known), to)
        finally:
            made.setsockopt(*DISCOVER[family], FRAGMENTED)

    def _path_mtu(self, family: int, origin: Place, to: Place) -> int:
        with socket.socket(family, socket.SOCK_DGRAM) as guide:
            guide.bind((origin[0], 0))
            guide.connect(to)
            return guide.getsockopt(*MTU[family])

    # --- TCP -----------------------------------------------------------------------------------------------------

    def _accept(self, server: socket.socket, here: Place) -> None:
        made, client = server.accept()
        if len(self._streams) >= MOST_STREAMS:
            made.close()
            return
        made.setblocking(False)
        self._streams[made] = (client[:2], here, time.monotonic() + STREAM_SECONDS)
        self._selector.register(made, selectors.EVENT_READ, (socket.SOCK_STREAM, here))

    def _stream(self, made: socket.socket) -> None:
        """One question, one answer, and the end. A question that comes in pieces is not from one of our clients."""
        client, here, _until = self._streams[made]
        try:
            asked = decode(made.recv(65535))
            if asked is not None:
                made.send(self._answer(asked, client, here, here))
        finally:
            self._end(made)

    def _end(self, made: socket.socket) -> None:
        self._selector.unregister(made)
        del self._streams[made]
        made.close()

    def _forget(self) -> None:
        now = time.monotonic()
        for made in [made for made, known in self._streams.items() if known[2] < now]:
            self._end(made)


def family_of(place: Place) -> int:
    return socket.AF_INET6 if ":" in place[0] else socket.AF_INET


def pairs(addresses: t.Sequence[str]) -> t.Dict[str, str]:
    """Each address of a family that has two or more, and its other one."""
    found: t.Dict[str, str] = {}
    for colon in (False, True):
        one = [each for each in addresses if (":" in each) == colon]
        if len(one) > 1:
            found.update(zip(one, one[1:] + one[:1]))
    return found


# --- Addresses of this host ------------------------------------------------------------------------------------------

#: Sinks of AS112, which no network at hand has: nothing is sent there, the kernel only says which way it would go.
SOMEWHERE = {socket.AF_INET: "192.31.196.1", socket.AF_INET6: "2620:4f:8000::1"}


def own_addresses() -> t.List[str]:
    """Two addresses of each family, of the interface of the default route."""
    found: t.List[str] = []
    for family, target in SOMEWHERE.items():
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as guide:
            guide.connect((target, 9))
            first = guide.getsockname()[0]
            found += [first] + [each for each in _beside(first) if each != first][:1]
    return found


def _beside(first: str) -> t.List[str]:
    """All addresses of the interface that has this one; link-local ones are no use to anybody outside."""
    of_links = _of_links_6() if ":" in first else _of_links_4()
    return next((each for each in of_links.values() if first in each), [])


def _of_links_6() -> t.Dict[str, t.List[str]]:
    found: t.Dict[str, t.List[str]] = {}
    for line in pathlib.Path("/proc/net/if_inet6").read_text(encoding="ascii").splitlines():
        raw, _index, _length, scope, flags, link = line.split()
        if scope == "00" and not int(flags, 16) & 0x01:  # neither link-local nor temporary
            found.setdefault(link, []).append(str(ipaddress.IPv6Address(bytes.fromhex(raw))))
    return found


def _of_links_4() -> t.Dict[str, t.List[str]]:
    """SIOCGIFCONF: name and address of each, 40 bytes on 64 bits and 32 on 32."""
    room = array.array("B", bytes(40 * 256))
    found: t.Dict[str, t.List[str]] = {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as guide:
        asked = struct.pack("iP", len(room), room.buffer_info()[0])
        used = struct.unpack("iP", fcntl.ioctl(guide, 0x8912, asked))[0]
    size = 40 if struct.calcsize("P") == 8 else 32
    data = room.tobytes()[:used]
    for place in range(0, used, size):
        link = data[place : place + 16].partition(b"\0")[0].partition(b":")[0].decode("ascii", "replace")
        found.setdefault(link, []).append(socket.inet_ntoa(data[place + 20 : place + 24]))
    return found


def read_arguments(words: t.Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("addresses", nargs="*", metavar="ADDRESS", type=lambda text: str(ipaddress.ip_address(text)))
    parser.add_argument("--port", type=int, default=3478, help="its other port is the next one")
    parser.add_argument("--seconds", type=float, default=0, help="end after this time; 0: never")
    parser.add_argument("--coturn", action="store_true", help="let coturn answer, which must be installed here")
    way = parser.add_mutually_exclusive_group()
    way.add_argument("--background", action="store_true", help="go on in the background, and show the addresses")
    way.add_argument("--stop", action="store_true", help="end the one in the background")
    return parser.parse_args(words)


def main(words: t.Sequence[str]) -> str:
    """Why it ended; empty after the seconds that it was to run."""
    options = read_arguments(words)
    if options.stop:
        return stop()
    addresses = list(dict.fromkeys(options.addresses or own_addresses()))
    if not addresses:
        return "this host has no default route, so its addresses must be named: reflector.py ADDRESS …"
    if options.coturn and not shutil.which("turnserver"):
        return "coturn is to answer, but this host has no program turnserver; install the package coturn"
    if options.background:
        stop()
    try:
        reflector = Reflector(addresses, (options.port, options.port + 1))
    except OSError as error:
        words = "cannot listen on {0}, ports {1} and {2}: {3}"
        return words.format(", ".join(addresses), options.port, options.port + 1, error.strerror)
    return answer(reflector, addresses, options)


def answer(reflector: Reflector, addresses: t.Sequence[str], options: argparse.Namespace) -> str:
    """Here or in the background, ours or coturn."""
    if options.background or options.coturn:
        reflector.close()
        return (start if options.background else coturn)(options, addresses)
    reflector.serve(options.seconds)
    return ""


def coturn(options: argparse.Namespace, addresses: t.Sequence[str]) -> str:
    """The same addresses and ports, served by coturn as long as this process lives: STUN, and nothing else of it."""
    words = ["turnserver", "-n", "--stun-only", "--no-cli", "--no-tls", "--no-dtls", "--log-file=stdout"]
    words += ["--pidfile=/dev/null", "--listening-port={0}".format(options.port)]
    words += ["--alt-listening-port={0}".format(options.port + 1)]
    with subprocess.Popen(words + ["--listening-ip=" + address for address in addresses]) as server:
        signal.signal(signal.SIGTERM, lambda *_signal: server.terminate())
        try:
            server.wait(options.seconds or None)
        except subprocess.TimeoutExpired:
            server.terminate()
            return ""
    return "" if server.returncode in (0, -signal.SIGTERM) else "turnserver ended with {0}".format(server.returncode)


# --- In the background -----------------------------------------------------------------------------------------------

UNIT = "ipmasq-reflector.service"
PID = pathlib.Path(__file__).with_suffix(".pid")


def start(options: argparse.Namespace, addresses: t.Sequence[str]) -> str:
    own = [sys.executable, os.path.abspath(__file__), *addresses]
    own += ["--port={0}".format(options.port), "--seconds={0}".format(options.seconds)]
    own += ["--coturn"] * options.coturn
    if _is_unit():
        unit = ["systemd-run", "--quiet", "--collect", "--unit=" + UNIT, "--property=DynamicUser=yes", "--"]
        if subprocess.run(unit + own, check=False).returncode:
            return "systemd-run failed"
    else:
        null = subprocess.DEVNULL
        process = subprocess.Popen(own, stdin=null, stdout=null, stderr=null, start_new_session=True)
        PID.write_text(str(process.pid), encoding="ascii")
    print("\n".join(addresses))
    return ""


def stop() -> str:
    if _is_unit():
        subprocess.run(["systemctl", "--quiet", "stop", UNIT], check=False, stderr=subprocess.DEVNULL)
    elif PID.exists():
        pid = int(PID.read_text(encoding="ascii"))
        if _is_ours(pid):
            os.kill(pid, signal.SIGTERM)
            while _has_sockets(pid):
                time.sleep(0.02)
        PID.unlink()
    return ""


def _has_sockets(pid: int) -> bool:
    """A process that ends loses its words first, then its sockets, and is a zombie last (do_exit of the kernel)."""
    with contextlib.suppress(OSError):
        text = pathlib.Path("/proc/{0}/stat".format(pid)).read_text(encoding="ascii", errors="replace")
        return text.rpartition(")")[2].split()[0] not in ("Z", "X")
    return False


def _is_ours(pid: int) -> bool:
    """Numbers of processes come back; a process that has ended, but is not yet buried, has no words."""
    with contextlib.suppress(OSError):
        return os.path.basename(__file__).encode() in pathlib.Path("/proc/{0}/cmdline".format(pid)).read_bytes()
    return False


def _is_unit() -> bool:
    return os.geteuid() == 0 and os.path.isdir("/run/systemd/system")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]) or 0)
