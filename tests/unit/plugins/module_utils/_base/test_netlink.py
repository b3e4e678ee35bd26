# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Messages about connections, as bytes. The kernel's own are in tests/integration/test_connections.py."""

from __future__ import annotations

import ipaddress

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._base import netlink

#: A connection in a dump of Linux 6.18: 192.168.1.12:39124 to 8.8.8.2:9 by UDP, seen as 203.0.113.2.
CAPTURED = bytes.fromhex(
    "c00000000001020001000000937c000002000000340001801400018008000100c0a8010c08000200080808021c00028005000100110000"
    "000600020098d4000006000300000900003400028014000180080001000808080208000200cb0071021c00028005000100110000000600"
    "0200000900000600030098d400000800030000000198080008000000000008000c00771cebc608000b000000000108000700000002561c"
    "001880080001000000000008000200000000000800030000000000"
)


def address(text):
    return ipaddress.ip_address(text).packed


def half(kind, source, destination, protocol, *ports, more=b""):
    first = 1 if "." in source else 3
    ends = netlink.attribute(first, address(source)) + netlink.attribute(first + 1, address(destination))
    proto = netlink.attribute(1, bytes([protocol]))
    proto += b"".join(netlink.attribute(2 + number, port.to_bytes(2, "big")) for number, port in enumerate(ports))
    return netlink.attribute(
        netlink.NESTED | kind, netlink.attribute(0x8001, ends) + netlink.attribute(0x8002, proto) + more
    )


def told(orig, reply, *parts, family=2):
    return netlink.message(netlink.NEW, 2, family, orig + reply + b"".join(parts))


UDP = (half(1, "192.168.1.10", "8.8.8.8", 17, 4000, 53), half(2, "8.8.8.8", "203.0.113.2", 17, 53, 4001))
UDP6 = (half(1, "fd00::1", "2001:db8::1", 6, 1, 2), half(2, "2001:db8::1", "fd00::1", 6, 2, 1))
ESP = (half(1, "192.168.1.10", "8.8.8.8", 50), half(2, "8.8.8.8", "203.0.113.2", 50))
GRE = (half(1, "192.168.1.10", "8.8.8.8", 47, 5, 6), half(2, "8.8.8.8", "203.0.113.2", 47, 6, 5))
#: A zone of one direction is inside the tuple.
ZONED = (half(1, "192.168.1.10", "8.8.8.8", 17, 4000, 53, more=netlink.attribute(3, b"\0\7")), UDP[1])
STATUS = netlink.attribute(netlink.STATUS, (8).to_bytes(4, "big"))
EXPECTED = netlink.attribute(netlink.STATUS, (9).to_bytes(4, "big"))
NUMBER = netlink.attribute(netlink.ID, b"\1\2\3\4")


def entry(data):
    return netlink.entry(data, 0, len(data))


def test_what_a_kernel_has_said():
    ((kind, at, end),) = netlink.messages(CAPTURED)
    known = netlink.entry(CAPTURED, at, end)
    assert (kind, end) == (netlink.NEW, len(CAPTURED))
    assert known == (
        17, address("192.168.1.12"), address("8.8.8.2"), 39124, 9, address("8.8.8.2"), address("203.0.113.2"), 9, 39124,
    )  # fmt: skip
    assert netlink.details(CAPTURED, at, end) == ("", False, b"", 0)
    assert not netlink.is_expected(CAPTURED, at, end)


@pytest.mark.parametrize(
    ("halves", "family", "ports"),
    [(UDP, 2, (4000, 53, 53, 4001)), (UDP6, 10, (1, 2, 2, 1)), (ESP, 2, (0,) * 4), (GRE, 2, (0,) * 4),
     (ZONED, 2, (4000, 53, 53, 4001))],
    ids=["udp", "tcp6", "esp", "gre", "zoned"],
)  # fmt: skip
def test_entry(halves, family, ports):
    known = entry(told(*halves, STATUS, family=family))
    assert (known[3], known[4], known[7], known[8]) == ports
    assert known.source in (address("192.168.1.10"), address("fd00::1"))


@pytest.mark.parametrize("data", [told(b"", b""), told(*UDP, family=7), told(UDP[0], b""), told(*UDP)[:60]])
def test_what_is_no_connection(data):
    assert entry(data) is None


def test_the_slow_way_reads_the_same_as_the_quick_one():
    for halves, family in ((UDP, 2), (UDP6, 10)):
        quick = told(*halves, STATUS, family=family)
        slow = told(*halves[::-1], STATUS, family=family)
        assert entry(quick) == entry(slow)


def test_details():
    helper = netlink.attribute(netlink.NESTED | netlink.HELPER, netlink.attribute(1, b"ftp\0"))
    master = netlink.attribute(netlink.NESTED | netlink.TUPLE_MASTER, UDP[0][4:])
    zone = netlink.attribute(netlink.ZONE, b"\0\7")
    data = told(*UDP, zone, EXPECTED, helper, master)
    assert netlink.details(data, 0, len(data)) == ("ftp", True, netlink.tuple_of(data, 0), 7)
    for each in (data, told(*UDP, EXPECTED)):
        assert netlink.is_expected(each, 0, len(each))


@pytest.mark.parametrize("halves", [UDP, ESP, GRE, ZONED])
def test_a_deletion_repeats_what_names_the_connection(halves):
    zone = netlink.attribute(netlink.ZONE, b"\0\7")
    data = told(*halves, zone, STATUS, NUMBER)
    deletion = netlink.deletion(data, 0, len(data))
    assert deletion == netlink.message(netlink.DELETE, netlink.REQUEST, 2, halves[0] + zone + NUMBER)


def test_batches_are_answered_at_their_end():
    one = netlink.message(netlink.DELETE, netlink.REQUEST, 2, UDP[0])
    packets = list(netlink.batches([one] * (netlink.BATCH + 2)))
    listed = [list(netlink.messages(packet)) for packet in packets]
    assert [len(each) for each in listed] == [netlink.BATCH, 2]
    for number, (packet, each) in enumerate(zip(packets, listed), 1):
        flags = [netlink.HEADER.unpack_from(packet, at)[2] & netlink.ACK for _kind, at, _end in each]
        assert flags == [0] * (len(each) - 1) + [netlink.ACK]
        assert netlink.sequence_of(packet, each[-1][1]) == number


def test_a_message_without_length_ends_the_packet():
    assert list(netlink.messages(bytes(64))) == []
    assert list(netlink.attributes(bytes(8))) == []
