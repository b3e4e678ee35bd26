# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A fail-over as LANs and providers see it. Who notices that a WAN is dead, and how soon, is not measured: others do
that, and move the default route. What is measured is ours: what happens to flows from that moment on.
"""

from __future__ import annotations

import contextlib
import ipaddress
import multiprocessing
import os
import select
import socket
import struct
import time
import typing as t

from . import digits, measure

if t.TYPE_CHECKING:
    from collections.abc import Iterator

    from .job import Found

    Kind = tuple[int, int]  # version, port of the destination

#: A host that both providers lead to.
FAR = {4: "192.0.2.7", 6: "2001:db8:77::7"}
FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
OPEN, NEW, TCP, OPEN_TCP = 7000, 7001, 7002, 7003
#: What has to leave through the other WAN. An open TCP connection cannot move to another address; only its sources
#: count.
MOVES: tuple[Kind, ...] = tuple((version, port) for version in FAR for port in (OPEN, NEW, TCP))
#: Seconds after which a flow that has not moved counts as one that never does.
NEVER = 2.0
#: Seconds for which a wire is watched after all flows have moved.
AFTER = 0.1
#: Which routes others have set: wan1 takes over when wan0 goes, or somebody moves the route.
ROUTES = (
    "route replace 0.0.0.0/0 via {near4} dev wan0 metric 100",
    "route replace ::/0 via {near6} dev wan0 metric 100",
    "route replace 0.0.0.0/0 via {next4} dev wan1 metric 200",
    "route replace ::/0 via {next6} dev wan1 metric 200",
)
CUTS = {
    "the link goes down": ("link set wan0 down",),
    "the route is replaced": (
        "route replace 0.0.0.0/0 via {next4} dev wan1 metric 100",
        "route replace ::/0 via {next6} dev wan1 metric 100",
    ),
}
#: How the LAN's sources are translated → what the rows call it. The kernel itself ends flows that are masqueraded.
MASQUERADE, SNAT = "masquerade", "snat"
HOW = {MASQUERADE: "masqueraded", SNAT: "with `snat`"}
#: Name of a backend, as in other rows → its programs.
BACKENDS = {"nftables": "nft", "iptables": "iptables-nft"}
#: Rounds with masquerade for each with snat, which may have to wait for what never comes.
FEWER = 5
#: Of linux/if_packet.h and asm/socket.h.
SOL_PACKET, PACKET_STATISTICS, SO_TIMESTAMPNS, SO_RCVBUFFORCE, ETH_P_ALL = 263, 6, 35, 33, 3


class Packet(t.NamedTuple):
    at: float
    source: str
    kind: Kind
    is_error: bool = False


class Wire:
    """What reaches the provider of one WAN, with the kernel's time of each packet; and whether its source is ours."""

    def __init__(self, net: t.Any, node: str, own: tuple[str, ...]) -> None:
        self.own = {*own, "::"}
        self.wrong: list[Packet] = []
        self.count = 0
        self.socket = net.socket(node, socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL))
        self.socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
        self.socket.setblocking(False)

    def read(self) -> list[Packet]:
        """The packets since the last call whose sources are right; the others are kept."""
        right = []
        with contextlib.suppress(BlockingIOError):
            while True:
                data, told, _flags, (_name, proto, how, *_more) = self.socket.recvmsg(128, 64)
                if how == socket.PACKET_OUTGOING or proto not in (0x0800, 0x86DD):
                    continue
                seconds, nanoseconds = struct.unpack("qq", told[0][2][:16])
                packet = Packet(seconds + nanoseconds / 1e9, *read(data))
                self.count += 1
                # Link-local packets are those of the link itself, such as neighbour discovery.
                if packet.source in self.own or packet.source.startswith("fe80:"):
                    right.append(packet)
                else:
                    self.wrong.append(packet)
        return right

    def close(self) -> None:
        _packets, dropped = struct.unpack("II", self.socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))
        self.socket.close()
        if dropped:
            raise RuntimeError(f"{dropped} packets on a wire were not seen")


def read(data: bytes) -> tuple[str, Kind, bool]:
    """Source, kind, and whether it is ICMP: nobody here sends echo requests, so that is an error."""
    version = data[0] >> 4
    if version == 4:
        head, source, proto = (data[0] & 15) * 4, data[12:16], data[9]
    else:
        head, source, proto = 40, data[8:24], data[6]
    is_error = proto in (socket.IPPROTO_ICMP, socket.IPPROTO_ICMPV6)
    port = 0 if is_error else int.from_bytes(data[head + 2 : head + 4], "big")
    return str(ipaddress.ip_address(source)), (version, port), is_error


# --- those who send ---------------------------------------------------------------------------------------------------


def send(net: t.Any, parent: int) -> None:
    """From the LAN, in a process of its own: each millisecond a packet of an open flow, and one of a new flow."""
    with net.inside("office"):
        flows = {version: socket.socket(family, socket.SOCK_DGRAM) for version, family in FAMILIES.items()}
        for version, flow in flows.items():
            flow.connect((FAR[version], OPEN))
        lasting: dict[int, socket.socket] = {}
        tick = 0
        while os.getppid() == parent:
            tick += 1
            for version, family in FAMILIES.items():
                # The answer to one before may have been an ICMP error.
                with contextlib.suppress(OSError):
                    flows[version].send(b"open")
                with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as one:
                    one.sendto(b"new", (FAR[version], NEW))
                if tick % 10 == 0:
                    begun(family, version, TCP).close()
                    talk(lasting, family, version)
            time.sleep(0.001)


def begun(family: int, version: int, port: int) -> socket.socket:
    """A connection on its way."""
    one = socket.socket(family, socket.SOCK_STREAM)
    one.setblocking(False)
    one.connect_ex((FAR[version], port))
    return one


def talk(lasting: dict[int, socket.socket], family: int, version: int) -> None:
    """One byte more over an open TCP connection; a new one if that has ended."""
    try:
        lasting[version].send(b"x")
    except BlockingIOError:
        pass
    except (KeyError, OSError):
        if version in lasting:
            lasting[version].close()
        lasting[version] = begun(family, version, OPEN_TCP)


def answer(net: t.Any, nodes: tuple[str, ...], parent: int) -> None:
    """At the far host, in a process of its own: only flows with answers are established."""
    waiting, listeners = [], []
    for node in nodes:
        for version, address in FAR.items():
            family = FAMILIES[version]
            # It accepts nothing, but the kernel answers for it.
            listeners.append(net.socket(node, family, socket.SOCK_STREAM))
            listeners[-1].bind((address, OPEN_TCP))
            listeners[-1].listen(4096)
            for port in (OPEN, NEW):
                waiting.append(net.socket(node, family, socket.SOCK_DGRAM))
                waiting[-1].bind((address, port))
    while os.getppid() == parent:
        for each in select.select(waiting, [], [], 1)[0]:
            with contextlib.suppress(OSError):
                each.sendto(b"answer", each.recvfrom(10)[1])


# --- the rounds -------------------------------------------------------------------------------------------------------


class Rounds:
    """A gateway with two WANs, and a LAN that sends."""

    def __init__(self, net: t.Any, topology: t.Any, ip: t.Callable[..., None]) -> None:
        self.net, self.topology, self._ip = net, topology, ip
        net.wire_second_wan()
        for node in ("wan", "isp"):
            net.nodes[node].ip_batch(f"addr add {FAR[4]}/32 dev lo", f"addr add {FAR[6]}/128 dev lo nodad")
        self.ip("route del 0.0.0.0/0", "route del ::/0", *ROUTES)
        self.first = Wire(net, "wan", (topology.GATE4, topology.GATE6))
        self.second = Wire(net, "isp", (topology.SECOND4, topology.SECOND6))

    def ip(self, *commands: str) -> None:
        near = self.topology
        names = {"near4": near.WAN4, "near6": near.WAN6, "next4": near.ISP4, "next6": near.ISP6}
        self._ip(*(each.format(**names) for each in commands))

    @contextlib.contextmanager
    def traffic(self) -> Iterator[None]:
        fork, parent = multiprocessing.get_context("fork"), os.getpid()
        far = fork.Process(target=answer, args=(self.net, ("wan", "isp"), parent), daemon=True)
        near = fork.Process(target=send, args=(self.net, parent), daemon=True)
        far.start()
        near.start()
        try:
            yield
        finally:
            for each in (near, far):
                each.kill()
                each.join()

    def moved(self, wire: Wire, start: float) -> float:
        """Seconds from then until something of every kind has left through this WAN, with its own source."""
        seen: dict[Kind, float] = {}
        deadline = start + NEVER
        while set(MOVES) - set(seen) and time.time() < deadline:
            time.sleep(0.005)
            for packet in wire.read():
                if packet.at >= start and packet.kind in MOVES:
                    seen.setdefault(packet.kind, packet.at - start)
        return max(seen.values()) if set(MOVES) == set(seen) else NEVER

    def cut(self, how: str) -> float:
        """One fail-over, and back. The first WAN has to be in use before."""
        self.settle()
        start = time.time()
        self.ip(*CUTS[how])
        seconds = self.moved(self.second, start)
        time.sleep(AFTER)
        # The kernel has removed what the link had.
        self.ip("link set wan0 up", f"addr replace {self.topology.GATE6}/64 dev wan0 nodad", *ROUTES)
        self.settle()
        time.sleep(AFTER)
        return seconds

    def settle(self) -> None:
        for _attempt in range(5):
            if self.moved(self.first, time.time()) < NEVER:
                self.second.read()
                return
        raise RuntimeError("not everything leaves through the first WAN")


def declared(how: str, topology: t.Any) -> dict[str, t.Any]:
    wans = [{"interface": "wan0"}, {"interface": "wan1"}]
    if how == MASQUERADE:
        return {"wans": wans}
    own = {"wan0": [topology.GATE4, topology.GATE6], "wan1": [topology.SECOND4, topology.SECOND6]}
    return {"wans": wans, "nat": [{"name": wan, "wan": wan, "action": SNAT, "to": to} for wan, to in own.items()]}


def fail_over(rounds: Rounds, count: int) -> Found:
    """Cut after cut, while a LAN sends: seconds of each, and the sources of all packets on both wires."""
    with rounds.traffic():
        seconds = {how: [rounds.cut(how) for _round in range(count)] for how in CUTS}
    wires = (rounds.first, rounds.second)
    for wire in wires:
        wire.read()
        wire.close()
        if not wire.count:
            raise RuntimeError("a WAN was never used")
    wrong = [packet for wire in wires for packet in wire.wrong]
    return {
        "seconds": seconds,
        "packets": sum(wire.count for wire in wires),
        "wrong": sum(not each.is_error for each in wrong),
        "errors": sum(each.is_error for each in wrong),
        "sources": sorted({each.source for each in wrong}),
    }


# --- what came of it --------------------------------------------------------------------------------------------------


def rows(found: Found) -> list[list[t.Any]]:
    told: list[list[t.Any]] = []
    for name, each in by_name(found):
        for how, values in each["seconds"].items():
            middle, ends = measure.median(values), f"{digits.number(min(values))} – {digits.number(max(values))}"
            told.append([f"fail-over, {name}: seconds until all leave through the other WAN, when {how}", middle, ends])
        told += [
            [f"fail-over, {name}: packets on both wires", each["packets"], ""],
            [f"fail-over, {name}: TCP and UDP packets with the source of another link", each["wrong"], ""],
            [f"fail-over, {name}: ICMP errors with the source of another link", each["errors"], ""],
        ]
    return told


def by_name(found: Found) -> list[tuple[str, Found]]:
    return [
        (f"{backend}, {words}", found[how][backend])
        for how, words in HOW.items()
        for backend in BACKENDS
        if backend in found.get(how, {})
    ]


def budgets(found: Found, why: str) -> list[dict[str, t.Any]]:
    """The slowest round, and all packets, of both backends."""
    lines = []
    for how, words in HOW.items():
        each = found.get(how, {}).values()
        seconds = [value for one in each for values in one["seconds"].values() for value in values]
        slowest = measure.Ratio(max(seconds), min(seconds), max(seconds)) if seconds else None
        never = f"some flows had not moved after {NEVER:g} s" if seconds and max(seconds) >= NEVER else ""
        wrong = measure.exactly(sum(one["wrong"] for one in each)) if each else None
        lines += [
            measure.budget(f"fail-over, {words}: from a link set down or a new route until all leave through the other "
                           "WAN", slowest, at_most=1, unit="s", why=never if seconds else why),
            measure.budget(f"fail-over, {words}: TCP and UDP packets with the source of another link", wrong, at_most=0,
                           unit="packets", why="" if each else why),
        ]  # fmt: skip
    return lines


NOTES = [
    "A fail-over begins when the first WAN's link is set down, or when the default route is replaced. What notices a "
    "dead provider, and how soon, is not part of this collection, and not in these figures. It ends when open and new "
    "UDP flows and new TCP connections, IPv4 and IPv6, have left through the other WAN with its address; a budget is "
    f"about the slowest. What has not left after {NEVER:g} s counts as {NEVER:g} s.",
    "ICMP errors about answers that were on their way during a fail-over leave on the new route with the address that "
    "these answers had been sent to. Some are the gateway's own, others come from clients; Linux lets both through.",
]
