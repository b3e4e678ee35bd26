# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What may reach the gateway itself, and protocols in their details: a gateway is no wiser than their authors."""

from __future__ import annotations

import contextlib
import select
import shutil
import socket
import struct

import pytest
from helpers import TWO_LANS
from sandbox import sh
from topology import CLIENTS, GATE4, GATE6, WAN4, WAN6, Sniffer, ip, mac

OFFICE4, OFFICE6 = CLIENTS["office"][1:]
pytestmark = pytest.mark.skipif(not shutil.which("ping"), reason="ping is not installed")

#: Name to number and payload: what is no more than a header of its protocol.
HEADERS = {
    "ah": (51, struct.pack("!BBHII12x", 17, 4, 0, 0x100, 1) + struct.pack("!HHHH", 500, 500, 8, 0)),
    "esp": (50, struct.pack("!II16x", 0x100, 1)),
    "gre": (47, struct.pack("!HH4x", 0x2000, 0x0800)),
    "ipv6": (41, bytes(40)),
    "vrrp": (112, struct.pack("!BBBBHH4x", 0x21, 1, 100, 1, 1, 0)),
}
IGMP = (2, b"\x11\x64\xee\x9b" + bytes(4))  # a general query, with its checksum


@contextlib.contextmanager
def listening(protocol):
    """Raw sockets of the gateway that take this protocol, once the filter has let it in; asked for what has come."""
    with contextlib.ExitStack() as stack:
        found = [
            stack.enter_context(socket.socket(family, socket.SOCK_RAW, protocol))
            for family in (socket.AF_INET, socket.AF_INET6)
        ]

        def came():
            """Families of what has come since the last question."""
            seen = set()
            while True:
                ready = select.select(found, [], [], 0.05)[0]
                if not ready:
                    return seen
                for each in ready:
                    each.recv(2000)
                    seen.add("ip" if each.family == socket.AF_INET else "ip6")

        yield came


def from_outside(net, *packets, node="wan", link="wan0"):
    """Past the IP stack of a node, straight to the gateway."""
    with net.inside(node), socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
        raw.bind(("up0", 0))
        ours = mac(sh("ip -o link show dev up0"), "link/ether ")
        for packet in packets:
            kind = 0x86DD if packet[0] >> 4 == 6 else 0x0800
            raw.send(net.macs[link] + ours + struct.pack("!H", kind) + packet)


@pytest.fixture
def gateway(gate, net):
    """The gateway with its hardware addresses known to whoever writes frames."""
    net.macs = {link: mac(sh("ip -o link show dev " + link), "link/ether ") for link in ("wan0", "lan0", "guest0")}
    return gate


def test_every_protocol_that_can_be_named_is_let_in(gateway, net):
    for allowed in (False, True):
        items = [{"name": each, "protocol": [each]} for each in HEADERS] if allowed else []
        gateway.apply(**TWO_LANS, input="protect", input_allow=items)
        for name, (number, payload) in HEADERS.items():
            with listening(number) as came:
                from_outside(net, ip(WAN4, GATE4, number, payload), ip(WAN6, GATE6, number, payload))
                assert came() == ({"ip", "ip6"} if allowed else set()), name


def test_every_protocol_that_can_be_named_is_kept_in(gateway, net):
    for refused in (False, True):
        items = [{"name": each, "protocol": [each], "action": "drop"} for each in HEADERS] if refused else []
        gateway.apply(**TWO_LANS, outbound=items)
        with Sniffer(net) as outside:
            for name, (number, payload) in HEADERS.items():
                packets = [ip(source, to, number, payload) for source, to in ((OFFICE4, WAN4), (OFFICE6, WAN6))]
                from_outside(net, *packets, node="office", link="lan0")
                seen = {"ip" if packet[0] >> 4 == 4 else "ip6" for packet in outside.packets()}
                assert seen == (set() if refused else {"ip", "ip6"}), name
