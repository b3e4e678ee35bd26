# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible_collections.ipmasq.linux.plugins.module_utils._proof import counters
from ansible_collections.ipmasq.linux.plugins.module_utils._proof.packets import Packet

BEFORE = """# Generated
*nat
:POSTROUTING ACCEPT [5:300]
[0:0] -A POSTROUTING -s 10.0.0.0/8 -j SNAT --to-source 1.2.3.4
COMMIT
*filter
:FORWARD DROP [7:9]
:MINE - [0:0]
[1:50] -A FORWARD -p icmp -j DROP
[1:50] -A FORWARD -p tcp -m comment --comment "a -j b" -j REJECT --reject-with tcp-reset
[1:50] -A FORWARD -s 9.9.9.0/24 -j DROP
[1:50] -A FORWARD -g MINE
[1:50] -A FORWARD -g MINE
COMMIT
"""
AFTER = BEFORE.replace("[1:50]", "[2:90]").replace("[7:9]", "[8:60]")
TCP = Packet("192.168.1.9", "192.31.196.129", "tcp")


def test_what_rose():
    before, after = counters.read(BEFORE), counters.read(AFTER)
    found = counters.rose(before, after, TCP)
    assert [(each.chain, each.target, bool(each.text)) for each in found] == [
        ("FORWARD", "DROP", False), ("FORWARD", "REJECT", True), ("FORWARD", "MINE", True), ("FORWARD", "MINE", True),
    ]  # fmt: skip
    assert found[1].text.startswith("-A FORWARD -p tcp")
    assert counters.rose(after, after, TCP) == []


def test_a_packet_of_others_is_left_out():
    found = counters.rose(counters.read(BEFORE), counters.read(AFTER), Packet("9.9.9.9", "1.1.1.1", "udp"))
    assert [each.text for each in found if each.text] == ["-A FORWARD -s 9.9.9.0/24 -j DROP"] + [
        "-A FORWARD -g MINE"
    ] * 2
    negated = BEFORE.replace("-p icmp", "! -p tcp")
    found = counters.rose(counters.read(negated), counters.read(negated.replace("[1:50]", "[2:1]")), TCP)
    assert "-A FORWARD ! -p tcp -j DROP" in [each.text for each in found], "rather too many than too few"


def test_only_what_one_packet_has_moved():
    """Not what others move as well, nor what has come since."""
    listing = "*filter\n:FORWARD DROP [{0}:0]\n[{1}:0] -A FORWARD -i lan0 -j DROP\n[{2}:0] -A FORWARD -j DROP\n"
    rest, before = counters.read(listing.format(1, 4, 7)), counters.read(listing.format(1, 4, 8))
    after = counters.read(listing.format(3, 5, 9) + "[1:0] -A FORWARD -p udp -j DROP\n")
    found = counters.moved_once(rest, before, after)
    assert [each.text for _count, each in found.values()] == ["-A FORWARD -i lan0 -j DROP"]
