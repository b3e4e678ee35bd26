# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What clients ask, as packets, and what counts as an answer."""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import replace

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._proof.packets import Packet, build, parse
from ansible_collections.ipmasq.linux.plugins.module_utils._proof.questions import Advertisement, Name, Offer, Solicit
from ansible_collections.ipmasq.linux.plugins.module_utils._services import dhcp

MAGIC = 0x12345678
OFFER = Offer("lan0", "52:54:00:00:00:09")
NAME = Name("lan0", "192.168.1.253", "192.168.1.1", "nas.home.arpa")
ROUTES = Advertisement("lan0", "fd00:1::fafa")
SOLICIT = Solicit("lan0", "fd00:1::fafa", "52:54:00:00:00:09")


def address(text):
    return ipaddress.ip_address(text).packed


def offered(sent):
    body = bytearray(sent.payload[:240])
    body[0], body[16:20] = 2, address("192.168.1.20")
    options = bytes([53, 1, dhcp.OFFER, 3, 4]) + address("192.168.1.1") + bytes([6, 4]) + address("192.168.1.1")
    options += bytes([15, 9]) + b"home.arpa" + b"\xff"
    return Packet("192.168.1.1", "255.255.255.255", "udp", 67, 68, 0, payload=bytes(body) + options)


def named(sent):
    head = sent.payload[:2] + struct.pack("!HHHHH", 0x8180, 1, 2, 0, 0) + sent.payload[12:]
    alias = b"\xc0\x0c" + struct.pack("!HHIH", 5, 1, 60, 2) + b"\xc0\x0c"
    record = b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 60, 4) + address("192.168.1.20")
    return Packet(sent.target, sent.source, "udp", 53, sent.sport, 0, payload=head + alias + record)


def prefix(flags, preferred, net):
    return struct.pack("!BBBBIII", 3, 4, 64, flags, 5400, preferred, 0) + address(net)


def announced(sent):
    options = prefix(0xC0, 2700, "fd00:1::") + prefix(0xC0, 0, "fd00:9::")
    options += struct.pack("!BBHI", 25, 3, 0, 60) + address("fe80::1")
    payload = struct.pack("!BBHII", 64, 0x40, 1800, 0, 0) + options
    return Packet("fe80::1", sent.source, "icmp", flags=0, kind=134, payload=payload)


def given(sent):
    one = struct.pack("!HH", 5, 24) + address("fd00:1::1234") + bytes(8)
    group = struct.pack("!HHIII", 3, 12 + len(one), 1, 0, 0) + one
    names = struct.pack("!HH", 23, 16) + address("fd00:1::1")
    return Packet("fd00:1::1", sent.source, "udp", 547, 546, 0, payload=b"\x02" + sent.payload[1:4] + group + names)


ANSWERS = [
    (OFFER, offered, {"address": ("192.168.1.20",), "router": ("192.168.1.1",), "DNS server": ("192.168.1.1",),
                      "domain": ("home.arpa",)}),
    (NAME, named, {"answer": ("NOERROR",), "address": ("192.168.1.20",)}),
    (ROUTES, announced, {"flags": ("other", "autonomous"), "networks": ("fd00:1::/64",), "DNS server": ("fe80::1",)}),
    (SOLICIT, given, {"address": ("fd00:1::1234",), "DNS server": ("fd00:1::1",)}),
]  # fmt: skip
EACH = pytest.mark.parametrize(("question", "answer", "told"), ANSWERS)


@EACH
def test_an_answer_comes_over_the_wire_as_it_was(question, answer, told):
    sent = question.packet(7, MAGIC)
    assert sent.mark == 7
    came = parse(build(answer(sent)))
    assert question.told(sent, came) == told


@EACH
def test_what_is_no_answer(question, answer, told):
    sent = question.packet(7, MAGIC)
    right = answer(sent)
    other = question.packet(7, MAGIC + 1)
    assert question.told(sent, sent) is None
    assert question.told(sent, replace(right, protocol="tcp")) is None
    assert question is ROUTES or question.told(other, right) is None
    for size in range(len(right.payload)):
        question.told(sent, replace(right, payload=right.payload[:size]))
        question.told(sent, replace(right, payload=right.payload[:size] + b"\xff" * 40))


def test_errors_have_names():
    sent = NAME.packet(7, MAGIC)
    right = named(sent)
    refused = right.payload[:3] + b"\x85" + right.payload[4:6] + bytes(6) + right.payload[12:]
    assert NAME.told(sent, replace(right, payload=refused)) == {"answer": ("REFUSED",), "address": ()}


def test_a_solicitation_comes_from_the_link():
    data = build(ROUTES.packet(7, MAGIC))
    assert (data[7], data[40:42]) == (255, b"\x85\0")


def test_what_has_no_flags_is_told():
    sent = ROUTES.packet(7, MAGIC)
    bare = Packet("fe80::1", sent.source, "icmp", flags=0, kind=134, payload=bytes(12))
    assert ROUTES.told(sent, bare) == {"flags": ("no router",), "networks": (), "DNS server": ()}


def test_each_knows_its_line_of_the_configuration():
    found = {type(each).__name__: each.mark() for each in (OFFER, NAME, ROUTES, SOLICIT)}
    assert found == {
        "Offer": "dhcp-range=tag:lan0,set:", "Name": "interface=lan0\n", "Advertisement": "constructor:lan0,",
        "Solicit": "constructor:lan0,",
    }  # fmt: skip
