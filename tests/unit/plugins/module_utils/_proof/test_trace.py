# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import struct
from dataclasses import replace

from ansible_collections.ipmasq.linux.plugins.module_utils._base import netlink
from ansible_collections.ipmasq.linux.plugins.module_utils._proof import packets, trace

PACKET = packets.Packet("192.168.1.9", "192.31.196.129", "udp", 50007, 53, flags=0, mark=7, magic=0x1234)


def number(value, size=4):
    return value.to_bytes(size, "big")


def message(table, chain, kind=3, family=1, verdict=None, packet=None, **more):
    """As the kernel sends it; with the first 20 bytes of an IPv4 packet, and 20 more."""
    body = netlink.attribute(trace.TABLE, table.encode() + b"\0") + netlink.attribute(trace.CHAIN, chain.encode())
    body += netlink.attribute(trace.KIND, number(kind)) + netlink.attribute(trace.IDENT, number(more.get("ident", 1)))
    body += netlink.attribute(trace.HANDLE, number(more.get("handle", 0), 8))
    if verdict is not None:
        inner = netlink.attribute(1, struct.pack("!i", verdict))
        body += netlink.attribute(netlink.NESTED | trace.VERDICT, inner)
    if "policy" in more:
        body += netlink.attribute(trace.POLICY, number(more["policy"]))
    if packet:
        data = packets.build(packet)
        body += netlink.attribute(trace.NETWORK, data[:20]) + netlink.attribute(trace.TRANSPORT, data[20:40])
    return netlink.message(trace.MESSAGE, 0, family, body)


def test_what_the_kernel_says():
    data = message("other", "f", verdict=0, handle=9, packet=PACKET)
    data += message("filter", "FORWARD", kind=1, family=2, policy=0) + message("x", "y", verdict=-1, family=99)
    first, second, third = trace.events(data)
    assert (first.family, first.table, first.chain, first.verdict, first.handle) == ("inet", "other", "f", "drop", 9)
    assert (first.packet.mark, first.packet.magic, first.packet.dport) == (7, 0x1234, 53) and first.ends
    assert (second.family, second.kind, second.verdict, second.packet) == ("ip", "policy", "drop", None)
    assert (third.family, third.verdict, third.ends) == ("?", "continue", False)
    refused = message("other", "f", verdict=(113 << 16))
    assert trace.events(refused)[0].verdict == "drop", "a drop may bear an error number"


def test_what_is_cut_off_is_left_out():
    data = message("other", "f", verdict=0)
    assert trace.events(data[:-8]) == []
    assert trace.events(b"") == []


def test_each_packet_has_its_way():
    def at(chain, ident, table="ipmasq_trace", packet=None, verdict=1):
        return trace.events(message(table, chain, ident=ident, packet=packet, verdict=verdict))[0]

    other = replace(PACKET, mark=8)
    told = [
        at("arrived", 1, packet=PACKET), at("f", 1, "other", PACKET), at("g", 1, "other"),
        at("arrived", 2, packet=other), at("f", 3, "other", packet=replace(PACKET, mark=99)),
        at("arrived", 1, packet=PACKET), at("h", 1, "other", PACKET, 0), at("forward", 2, packet=other),
    ]  # fmt: skip
    first, second, third = trace.flights(told)
    assert [(each.mark, [event.chain for event in each.rules]) for each in (first, second, third)] == [
        (7, ["f", "g"]), (8, []), (7, ["h"]),
    ]  # fmt: skip
    assert second.reached("forward") and not first.reached("forward")
    assert third.rules[-1].ends
