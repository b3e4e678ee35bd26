# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Clients, a gateway and a WAN as network namespaces; the gateway is the namespace of the test itself.

Everything runs in one process: a socket belongs to the namespace in which it was opened, wherever it is used.
"""

from __future__ import annotations

import contextlib
import ipaddress
import select
import socket
import struct
import time

from sandbox import Namespace, sh

WAN4, WAN6 = "203.0.113.1", "2001:db8:ff::1"
GATE4, GATE6 = "203.0.113.2", "2001:db8:ff::2"
#: name: (LAN interface of the gateway, IPv4, IPv6)
CLIENTS = {
    "office": ("lan0", "192.168.1.10", "fd00:1::10"),
    "guest": ("guest0", "192.168.2.10", "fd00:2::10"),
}
PRIVATE = [ipaddress.ip_network(net) for net in ("192.168.0.0/16", "fd00::/8", "10.0.0.0/8")]
ETH_P_ALL = 3


class Topology:
    def __init__(self, wan: str = "wan0") -> None:
        self.wan_name = wan
        self.nodes = {name: Namespace() for name in ("office", "guest", "wan")}
        sh(QUIET)
        for node in self.nodes.values():
            node.sh("ip link set lo up; " + QUIET)
        for name, (link, v4, v6) in CLIENTS.items():
            net4, net6 = v4.rpartition(".")[0], v6.rpartition("::")[0]
            self._link(link, name, "{0}.1/24".format(net4), "{0}::1/64".format(net6), v4 + "/24", v6 + "/64")
            route = "ip route add default via {0}.1; ip -6 route add default via {1}::1".format(net4, net6)
            self.nodes[name].sh(route)
        self.wire_wan()

    def wire_wan(self, v4: str = GATE4, v6: str = GATE6) -> None:
        self._link(self.wan_name, "wan", v4 + "/24", v6 + "/64", WAN4 + "/24", WAN6 + "/64")
        sh("ip route replace default via {0}; ip -6 route replace default via {1}".format(WAN4, WAN6))
        # A hostile neighbour: it knows the way to the private networks.
        self.nodes["wan"].sh("ip route add 192.168.0.0/16 via {0}; ip -6 route add fd00::/8 via {1}".format(v4, v6))

    def unwire_wan(self) -> None:
        sh("ip link del {0}".format(self.wan_name))

    def _link(self, ours: str, node: str, ours4: str, ours6: str, theirs4: str, theirs6: str) -> None:
        sh("ip link add {0} type veth peer name up0 netns {1}".format(ours, self.nodes[node].path))
        sh("ip addr add {1} dev {0}; ip addr add {2} dev {0} nodad; ip link set {0} up".format(ours, ours4, ours6))
        self.nodes[node].sh(
            "ip addr add {0} dev up0; ip addr add {1} dev up0 nodad; ip link set up0 up".format(theirs4, theirs6)
        )

    def close(self) -> None:
        for node in self.nodes.values():
            node.close()

    # --- sockets -------------------------------------------------------------------------------------------------

    def socket(self, node: str, *args) -> socket.socket:
        with self.inside(node):
            return socket.socket(*args)

    def inside(self, node: str):
        return contextlib.nullcontext() if node == "gate" else self.nodes[node].inside()

    def tcp(self, source: str, target: str, address: str, port: int = 8080, timeout: float = 0.4) -> str:
        """Connect from one node to another; the address that the far side saw, or why there is no connection."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
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

    def udp(self, source: str, target: str, address: str, port: int = 5353, timeout: float = 0.4) -> str:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
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
            client.settimeout(0.4)
            try:
                client.send(b"x")
                client.recv(1)
            except TimeoutError:
                return "timeout"
            except OSError as error:
                return error.strerror
        return "answered"

    def ping(self, source: str, address: str) -> bool:
        with self.inside(source):
            return sh("ping -n -c1 -W0.4 {0} >/dev/null && echo yes || echo no".format(address)).strip() == "yes"


QUIET = """
for d in all default; do
  echo 0 > /proc/sys/net/ipv6/conf/$d/accept_dad
  echo 0 > /proc/sys/net/ipv6/conf/$d/router_solicitations
done
echo 0 > /proc/sys/net/ipv4/icmp_ratelimit
"""


class Sniffer:
    """Every IP packet that reaches the WAN's interface."""

    def __init__(self, topology: Topology) -> None:
        self.socket = topology.socket("wan", socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL))
        self.socket.setblocking(False)

    def __enter__(self):
        return self

    def __exit__(self, *_error) -> None:
        self.socket.close()

    def sources(self, wait: float = 0.05) -> list:
        """Source, protocol of the packets that came in since the last call, of those that other hosts sent."""
        found = []
        time.sleep(wait)
        while select.select([self.socket], [], [], 0)[0]:
            data, (_name, proto, kind, _hatype, _addr) = self.socket.recvfrom(4096)
            if kind == socket.PACKET_OUTGOING:
                continue
            if proto == 0x0800:
                found.append((ipaddress.ip_address(data[12:16]), data[9]))
            elif proto == 0x86DD:
                found.append((ipaddress.ip_address(data[8:24]), data[6]))
        return found

    def leaks(self, wait: float = 0.05) -> list:
        return [
            (str(source), proto)
            for source, proto in self.sources(wait)
            if any(source in net for net in PRIVATE if net.version == source.version)
        ]


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
    """What conntrack knows nothing about and NAT therefore does not touch: pitfall 6 of the survey, and more."""
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


def send(topology: Topology, node: str, packets: list) -> None:
    """Past the node's own IP stack: an odd packet is to leave as it is."""
    with topology.inside(node), socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
        raw.bind(("up0", 0))
        ours = _mac(sh("ip -o link show dev up0"), "link/ether ")
        macs = {family: gateway_mac(node, family) for family in {packet[0] >> 4 for packet in packets}}
        for packet in packets:
            family = packet[0] >> 4
            raw.send(macs[family] + ours + struct.pack("!H", 0x86DD if family == 6 else 0x0800) + packet)


def gateway_mac(node: str, family: int) -> bytes:
    _link, v4, v6 = CLIENTS[node]
    net = v4.rpartition(".")[0] + ".1" if family == 4 else v6.rpartition("::")[0] + "::1"
    for _attempt in range(3):
        out = sh("ip neigh show {0} dev up0".format(net))
        if "lladdr" in out:
            return _mac(out, "lladdr ")
        sh("ping -n -c1 -W0.5 {0} >/dev/null || true".format(net))
    raise AssertionError("the gateway {0} does not answer {1}".format(net, node))


def _mac(text: str, before: str) -> bytes:
    return bytes.fromhex(text.split(before)[1].split(maxsplit=1)[0].replace(":", ""))
