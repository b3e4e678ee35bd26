# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Clients, a gateway and a WAN as network namespaces; the gateway is the namespace of the test itself.

Everything runs in one process: a socket belongs to the namespace in which it was opened, wherever it is used.
"""

from __future__ import annotations

import contextlib
import ipaddress
import pathlib
import random
import select
import socket
import struct
import time
import typing as t

from sandbox import Namespace, ip_batch, raise_loopback, require_namespace, sh
from unhurried import patience

WAN4, WAN6 = "203.0.113.1", "2001:db8:ff::1"
GATE4, GATE6 = "203.0.113.2", "2001:db8:ff::2"
#: name: (LAN interface of the gateway, IPv4, IPv6)
CLIENTS = {
    "office": ("lan0", "192.168.1.10", "fd00:1::10"),
    "guest": ("guest0", "192.168.2.10", "fd00:2::10"),
}
#: A second host in the office LAN, and a second WAN.
SERVER4, SERVER6 = "192.168.1.20", "fd00:1::20"
ISP4, ISP6 = "198.51.100.1", "2001:db8:ee::1"
SECOND4, SECOND6 = "198.51.100.2", "2001:db8:ee::2"
PRIVATE = [ipaddress.ip_network(net) for net in ("192.168.0.0/16", "fd00::/8", "10.0.0.0/8")]
ETH_P_ALL = 3


class Topology:
    def __init__(self, wan: str = "wan0") -> None:
        self.wan_name = wan
        self.nodes: dict = {}
        quieten()
        for name in ("office", "guest", "wan"):
            self._node(name)
        for name, (link, v4, v6) in CLIENTS.items():
            net4, net6 = v4.rpartition(".")[0], v6.rpartition("::")[0]
            self._link(link, name, "{0}.1/24".format(net4), "{0}::1/64".format(net6), v4 + "/24", v6 + "/64")
            self.nodes[name].ip_batch(*default(net4 + ".1", net6 + "::1"))
            self._awake(name, net4 + ".1", net6 + "::1")
        self.wire_wan()

    def wire_wan(self, v4: str = GATE4, v6: str = GATE6) -> None:
        self._link(self.wan_name, "wan", v4 + "/24", v6 + "/64", WAN4 + "/24", WAN6 + "/64")
        ip_batch(*default(WAN4, WAN6, "replace"))
        # A hostile neighbour: it knows the way to the private networks.
        self.nodes["wan"].ip_batch("route add 192.168.0.0/16 via " + v4, "route add fd00::/8 via " + v6)
        self._awake("wan", v4, v6)

    def wire_second_wan(self) -> None:
        """wan1, with a node of its own behind it; the default route stays with the first."""
        self._node("isp")
        self._link("wan1", "isp", SECOND4 + "/24", SECOND6 + "/64", ISP4 + "/24", ISP6 + "/64")
        self._awake("isp", SECOND4, SECOND6)

    def wire_server(self) -> None:
        """A second host in the office LAN: both sit at a switch, and lan0 is its third port."""
        self._node("server")
        switch = self.nodes["switch"] = Namespace()
        switch.ip_batch("link add br0 type bridge", "link set br0 up")
        ip_batch("link del lan0")
        for name, v4, v6 in (("office",) + CLIENTS["office"][1:], ("server", SERVER4, SERVER6)):
            switch.ip_batch("link add {0} type veth peer name up0 netns {1}".format(name, self.nodes[name].path))
            self._address(name, v4 + "/24", v6 + "/64")
            self.nodes[name].ip_batch(*default("192.168.1.1", "fd00:1::1"))
        plug = "link add lan0 type veth peer name gate netns {0}".format(switch.path)
        ip_batch(plug, *addressed("lan0", "192.168.1.1/24", "fd00:1::1/64"))
        ports = ("office", "server", "gate")
        switch.ip_batch(*("link set {0} master br0 up".format(port) for port in ports))
        for name in ("office", "server"):
            self._awake(name, "192.168.1.1", "fd00:1::1")

    def crowd(self, count: int, node: str = "office") -> list:
        """More clients: addresses of a node, from .100 up, to send from."""
        net = CLIENTS[node][1].rpartition(".")[0]
        addresses = ["{0}.{1}".format(net, 100 + index) for index in range(count)]
        self.nodes[node].sh("; ".join("ip addr add {0}/24 dev up0".format(address) for address in addresses))
        return addresses

    def _node(self, name: str) -> None:
        self.nodes[name] = Namespace()
        with self.nodes[name].inside():
            raise_loopback()
            quieten()

    def unwire_wan(self) -> None:
        sh("ip link del {0}".format(self.wan_name))

    def _link(self, ours: str, node: str, ours4: str, ours6: str, theirs4: str, theirs6: str) -> None:
        plug = "link add {0} type veth peer name up0 netns {1}".format(ours, self.nodes[node].path)
        ip_batch(plug, *addressed(ours, ours4, ours6))
        self._address(node, theirs4, theirs6)

    def _awake(self, node: str, *addresses: str) -> None:
        """Wait for a link: the kernel gets round to a new carrier up to a second later, on a bridge above all."""
        for address in addresses:
            assert any(self.ping(node, address) for _attempt in range(10)), "{0} never met {1}".format(node, address)

    def _address(self, node: str, v4: str, v6: str) -> None:
        self.nodes[node].ip_batch(*addressed("up0", v4, v6))

    def close(self) -> None:
        for node in self.nodes.values():
            node.close()

    # --- sockets -------------------------------------------------------------------------------------------------

    def socket(self, node: str, *args) -> socket.socket:
        with self.inside(node):
            return socket.socket(*args)

    def inside(self, node: str):
        return contextlib.nullcontext() if node == "gate" else self.nodes[node].inside()

    def tcp(self, source: str, target: str, address: str, port: int = 8080, timeout: float = 0) -> str:
        """Connect from one node to another; the address that the far side saw, or why there is no connection."""
        family, timeout = socket.AF_INET6 if ":" in address else socket.AF_INET, timeout or patience()
        with (
            self.socket(target, family, socket.SOCK_STREAM) as server,
            self.socket(source, family, socket.SOCK_STREAM) as client,
        ):
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            server.bind(("::" if family == socket.AF_INET6 else "0.0.0.0", port))
            server.listen(4)
            client.settimeout(timeout)
            try:
                client.connect((address, port))
            except TimeoutError:
                return "timeout"
            except OSError as error:
                return "refused: {0}".format(error.strerror)
            server.settimeout(timeout)
            accepted, peer = server.accept()
            with accepted:
                client.sendall(b"ping")
                assert accepted.recv(4) == b"ping"
                accepted.sendall(b"pong")
                assert client.recv(4) == b"pong"
            return peer[0]

    def udp(self, source: str, target: str, address: str, port: int = 5353, timeout: float = 0) -> str:
        family, timeout = socket.AF_INET6 if ":" in address else socket.AF_INET, timeout or patience()
        with (
            self.socket(target, family, socket.SOCK_DGRAM) as server,
            self.socket(source, family, socket.SOCK_DGRAM) as client,
        ):
            server.bind(("::" if family == socket.AF_INET6 else "0.0.0.0", port))
            client.connect((address, port))
            server.settimeout(timeout)
            client.settimeout(timeout)
            try:
                client.send(b"ping")
                seen = server.recvfrom(10)[1]
                server.sendto(b"pong", seen)
                assert client.recv(10) == b"pong"
            except TimeoutError:
                return "timeout"
            except OSError as error:
                return "refused: {0}".format(error.strerror)
            return seen[0]

    def told(self, source: str, address: str) -> str:
        """What the kernel tells a sender of UDP: the ICMP error that came back, or "timeout"."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with self.socket(source, family, socket.SOCK_DGRAM) as client:
            client.connect((address, 9))
            client.settimeout(patience())
            try:
                client.send(b"x")
                client.recv(1)
            except TimeoutError:
                return "timeout"
            except OSError as error:
                return error.strerror
        return "answered"

    def asks(self, kind: str, source: str, target: str, address: str, port: int, **options) -> t.Any:
        """One question to one server: what it saw of the client, or why nothing came."""
        with Servers(self, kind, (target, options.pop("at", port))) as servers:
            return servers.asked(source, address, port, **options)

    def ping(self, source: str, address: str) -> bool:
        """Whether an echo request is answered; an ICMP error ends the wait."""
        version = 6 if ":" in address else 4
        family, proto, request, answers = ECHO[version]
        mark, deadline = random.randbytes(4), time.monotonic() + patience()  # noqa: S311 - identifier and sequence
        body = struct.pack("!BBH", request, 0, 0) + mark + bytes(8)
        body = body[:2] + struct.pack("!H", checksum(body)) + body[4:]  # for IPv6 the kernel does it
        with self.socket(source, family, socket.SOCK_RAW, proto) as raw, contextlib.suppress(OSError):
            raw.connect((address, 0))
            raw.send(body)
            while select.select([raw], [], [], max(0, deadline - time.monotonic()))[0]:
                answer = raw.recv(2000)[20 if version == 4 else 0 :]
                if answer[0] in answers and mark in answer:
                    return answer[0] == answers[0]
        return False


#: For ping: family, protocol, type of a request; types of the reply and of errors.
ECHO = {
    4: (socket.AF_INET, socket.IPPROTO_ICMP, 8, (0, 3, 11)),
    6: (socket.AF_INET6, socket.IPPROTO_ICMPV6, 128, (129, 1, 3)),
}


def quieten() -> None:
    """No waiting for duplicates, routers or the next ICMP error, in this namespace."""
    require_namespace()
    for scope in ("all", "default"):
        for name in ("accept_dad", "router_solicitations"):
            pathlib.Path("/proc/sys/net/ipv6/conf", scope, name).write_text("0", encoding="ascii")
    pathlib.Path("/proc/sys/net/ipv4/icmp_ratelimit").write_text("0", encoding="ascii")


def addressed(link: str, v4: str, v6: str) -> list:
    return ["addr add {1} dev {0}".format(link, v4), "addr add {1} dev {0} nodad".format(link, v6)] + [
        "link set {0} up".format(link)
    ]


def default(v4: str, v6: str, verb: str = "add") -> list:
    return ["route {0} 0.0.0.0/0 via {1}".format(verb, v4), "route {0} ::/0 via {1}".format(verb, v6)]


class Seen(t.NamedTuple):
    """The server that was reached, by node and port, and the client as that server saw it."""

    node: str
    port: int
    peer: str
    peer_port: int


class Servers:
    """Sockets that wait in several places at once: which one is reached, and by whom.

    ``kind`` is tcp or udp; a place is a node and a port, for tcp also an IPv4 address if not all of the node are meant.
    """

    def __init__(self, topology: Topology, kind: str, *places: tuple) -> None:
        self.topology, self.kind = topology, kind
        self.waiting: dict = {}
        for node, port, *address in places:
            family, bind = (socket.AF_INET, address[0]) if address else (socket.AF_INET6, "::")
            self.waiting[self._open(node, family, (bind, port))] = (node, port)

    def __enter__(self):
        return self

    def __exit__(self, *_error) -> None:
        for each in self.waiting:
            each.close()

    def _open(self, node: str, family: int, bind: tuple) -> socket.socket:
        made = self.topology.socket(node, family, socket.SOCK_STREAM if self.kind == "tcp" else socket.SOCK_DGRAM)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(bind)
        if self.kind == "tcp":
            made.listen(64)
        return made

    def asked(self, source: str, address: str, port: int, bind: tuple = ("", 0), timeout: float = 0) -> t.Any:
        """A question and its answer; Seen, or the words "timeout" or "refused: …"."""
        client = self.client(source, address, bind)
        with client:
            return self.ask(client, address, port, timeout)

    def client(self, source: str, address: str, bind: tuple = ("", 0)) -> socket.socket:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        made = self.topology.socket(source, family, socket.SOCK_STREAM if self.kind == "tcp" else socket.SOCK_DGRAM)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(bind)
        return made

    def ask(self, client: socket.socket, address: str, port: int, timeout: float = 0) -> t.Any:
        timeout = timeout or patience()
        client.settimeout(timeout)
        try:
            client.connect((address, port))
            client.send(b"ping")
            ready = select.select([*self.waiting, client], [], [], timeout)[0]
            if not ready:
                return "timeout"
            if ready == [client]:
                client.recv(1)  # raises what an ICMP error said
                return "answered by nobody here"
            seen = self._answer(ready[0], timeout)
            # A connected socket takes answers from the address that it asked only.
            assert client.recv(10) == b"pong"
        except TimeoutError:
            return "timeout"
        except OSError as error:
            return "refused: {0}".format(error.strerror)
        return seen

    def _answer(self, server: socket.socket, timeout: float) -> Seen:
        if self.kind == "udp":
            data, (asked,), _flags, peer = server.recvmsg(10, 64)
            # From the address that was asked, of which a node has many: struct in6_pktinfo, with any interface.
            server.sendmsg([b"pong"], [(*asked[:2], asked[2][:16] + bytes(4))], 0, peer)
        else:
            accepted, peer = server.accept()
            with accepted:
                accepted.settimeout(timeout)
                data = accepted.recv(10)
                accepted.sendall(b"pong")
        assert data == b"ping"
        return Seen(*self.waiting[server], peer[0].replace("::ffff:", ""), peer[1])


class Sniffer:
    """Every IP packet that reaches the WAN's interface, or that of another node."""

    def __init__(self, topology: Topology, node: str = "wan") -> None:
        self.socket = topology.socket(node, socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL))
        self.socket.setblocking(False)

    def __enter__(self):
        return self

    def __exit__(self, *_error) -> None:
        self.socket.close()

    def packets(self, wait: float = 0.05) -> list:
        """The IP packets that came in since the last call, of those that other hosts sent."""
        found = []
        time.sleep(wait)
        while select.select([self.socket], [], [], 0)[0]:
            data, (_name, proto, kind, _hatype, _addr) = self.socket.recvfrom(4096)
            if kind != socket.PACKET_OUTGOING and proto in (0x0800, 0x86DD):
                found.append(data)
        return found

    def sources(self, wait: float = 0.05) -> list:
        """Source and protocol of these packets."""
        return [
            (ipaddress.ip_address(data[12:16]), data[9])
            if data[0] >> 4 == 4
            else (ipaddress.ip_address(data[8:24]), data[6])
            for data in self.packets(wait)
        ]

    def refusals(self, wait: float = 0.05) -> int:
        """How many of these packets are ICMP "administratively prohibited", or its IPv6 sister."""
        icmp4, icmp6 = (socket.IPPROTO_ICMP, b"\3\15"), (socket.IPPROTO_ICMPV6, b"\1\1")
        kinds = [
            (data[9], data[20:22]) == icmp4 if data[0] >> 4 == 4 else (data[6], data[40:42]) == icmp6
            for data in self.packets(wait)
        ]
        return kinds.count(True)

    def announced(self, wait: float = 0.05) -> list:
        """The MSS of every SYN and SYN/ACK among these packets."""
        return [size for size in (_mss(data) for data in self.packets(wait)) if size]

    def leaks(self, wait: float = 0.05) -> list:
        return [
            (str(source), proto)
            for source, proto in self.sources(wait)
            if any(source in net for net in PRIVATE if net.version == source.version)
        ]


def _mss(packet: bytes) -> int:
    """What a SYN announces: TCP option 2. 0 for every other packet."""
    head, proto = ((packet[0] & 15) * 4, packet[9]) if packet[0] >> 4 == 4 else (40, packet[6])
    if proto != socket.IPPROTO_TCP or not packet[head + 13] & SYN:
        return 0
    options = packet[head + 20 : head + (packet[head + 12] >> 4) * 4]
    while options and options[0] != 2:
        options = options[1 if options[0] < 2 else max(options[1], 2) :]
    return struct.unpack("!H", options[2:4])[0] if options else 0


# --- raw packets -------------------------------------------------------------------------------------------------


def checksum(data: bytes) -> int:
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack("!{0}H".format(len(data) // 2), data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def pseudo(source: str, target: str, proto: int, length: int) -> bytes:
    ends = ipaddress.ip_address(source).packed + ipaddress.ip_address(target).packed
    return ends + (struct.pack("!II", length, proto) if ":" in source else struct.pack("!HH", proto, length))


def ip(source: str, target: str, proto: int, payload: bytes) -> bytes:
    ends = ipaddress.ip_address(source).packed + ipaddress.ip_address(target).packed
    if ":" in source:
        return struct.pack("!IHBB", 6 << 28, len(payload), proto, 64) + ends + payload
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 0x1234, 0, 64, proto, 0) + ends
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload


def tcp(source: str, target: str, flags: int, sport: int = 40000, dport: int = 80, broken: bool = False) -> bytes:
    body = struct.pack("!HHIIBBHHH", sport, dport, 1000, 2000, 5 << 4, flags, 1024, 0, 0)
    total = checksum(pseudo(source, target, 6, len(body)) + body) ^ (0x5555 if broken else 0)
    return ip(source, target, 6, body[:16] + struct.pack("!H", total) + body[18:])


def udp(source: str, target: str, sport: int = 40000, dport: int = 5353) -> bytes:
    body = struct.pack("!HHHH", sport, dport, 8, 0)
    return ip(source, target, 17, body[:6] + struct.pack("!H", checksum(pseudo(source, target, 17, 8) + body)))


def icmp(source: str, target: str, kind: int, code: int, inner: bytes = b"", rest: int = 0) -> bytes:
    body = struct.pack("!BBHI", kind, code, 0, rest) + inner
    proto = 58 if ":" in source else 1
    total = checksum((pseudo(source, target, 58, len(body)) if proto == 58 else b"") + body)
    return ip(source, target, proto, body[:2] + struct.pack("!H", total) + body[4:])


FIN, SYN, RST, PSH, ACK, URG = 1, 2, 4, 8, 16, 32


def odd_packets(source: str, target: str) -> dict:
    """What conntrack knows nothing about, so that NAT does not touch it."""
    inner = udp(target, source, 5353, 40000)  # "your packet from TARGET to SOURCE had a problem"
    found = {
        "stray RST": tcp(source, target, RST),
        "stray RST/ACK": tcp(source, target, RST | ACK),
        "stray FIN": tcp(source, target, FIN),
        "stray FIN/ACK": tcp(source, target, FIN | ACK),
        "stray SYN/ACK": tcp(source, target, SYN | ACK),
        "stray ACK": tcp(source, target, ACK),
        "null": tcp(source, target, 0),
        "xmas": tcp(source, target, FIN | PSH | URG),
        "SYN/FIN": tcp(source, target, SYN | FIN),
        "SYN with a bad checksum": tcp(source, target, SYN, broken=True),
        "SYN": tcp(source, target, SYN, sport=40001),
        "unknown protocol 253": ip(source, target, 253, b"12345678"),
        "too short TCP": ip(source, target, 6, b"1234"),
        "too short UDP": ip(source, target, 17, b"12"),
        "UDP": udp(source, target),
    }
    if ":" in source:
        found["unreachable without mapping"] = icmp(source, target, 1, 4, inner)
        found["too big without mapping"] = icmp(source, target, 2, 0, inner, 1280)
        found["time exceeded without mapping"] = icmp(source, target, 3, 0, inner)
        found["echo reply without request"] = icmp(source, target, 129, 0, b"x" * 8)
    else:
        found["unreachable without mapping"] = icmp(source, target, 3, 3, inner)
        found["fragmentation needed without mapping"] = icmp(source, target, 3, 4, inner, 1280)
        found["time exceeded without mapping"] = icmp(source, target, 11, 0, inner)
        found["echo reply without request"] = icmp(source, target, 0, 0, b"x" * 8)
        found["redirect"] = icmp(source, target, 5, 1, inner)
        found["timestamp request"] = icmp(source, target, 13, 0, b"x" * 16)
    return found


def send(topology: Topology, node: str, packets: list, link: str = "") -> None:
    """Past the node's own IP stack: an odd packet is to leave as it is. ``link``: the gateway's, if not a LAN's."""
    gateway = hardware_address(topology, "gate", link or CLIENTS[node][0])
    with topology.inside(node), socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
        raw.bind(("up0", 0))
        ours = raw.getsockname()[4]
        for packet in packets:
            kind = struct.pack("!H", 0x86DD if packet[0] >> 4 == 6 else 0x0800)
            raw.send((gateway + ours + kind if gateway else b"") + packet)  # a TUN device has no addresses


def hardware_address(topology: Topology, node: str, link: str) -> bytes:
    with topology.inside(node), socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
        raw.bind((link, 0))
        return raw.getsockname()[4]


def mac(text: str, before: str) -> bytes:
    return bytes.fromhex(text.split(before)[1].split(maxsplit=1)[0].replace(":", ""))
