# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Few of many rules and networks concern one packet."""

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._flows.flow import End, Flow
from ansible_collections.ipmasq.linux.plugins.module_utils._flows.index import Packet, Places, RuleIndex
from ansible_collections.ipmasq.linux.plugins.module_utils._rules.model import Action, Match, Rule

FLOW = Flow("tcp", End("198.51.100.1", "203.0.113.2", 50000, 1001), End("192.168.1.20", "198.51.100.1", 9, 50000))


def packet(port=1001, iif="wan0"):
    return Packet(FLOW, iif, "", "203.0.113.2", port)


def index(*matches):
    found = RuleIndex()
    for number, match in enumerate(matches):
        found.add(Rule("chain", match, Action("accept"), key=str(number)))
    return found


def keys(found):
    return [rule.key for rule in found]


def test_many_rules_are_not_walked_through():
    many = index(*[Match(protocol="tcp", port=((1000 + number,) * 2,)) for number in range(200)])
    assert keys(many.about(packet())) == ["1"]


def test_forwards_to_one_server_are_told_apart_by_their_port():
    servers = ("203.0.113.2/32",)
    many = index(*[Match(destination=servers, protocol="tcp", port=((1000 + number,) * 2,)) for number in range(200)])
    assert keys(many.about(packet())) == ["1"]
    several = index(Match(destination=servers, port=((1001, 1001), (1003, 1003))), Match(destination=servers))
    assert keys(several.about(packet())) == ["0", "1"]


def test_rules_keep_their_order():
    mixed = index(Match(), Match(port=((1001, 1001),)), Match(), Match(destination=("203.0.113.2/32",)))
    assert keys(mixed.about(packet())) == ["0", "1", "2", "3"]


@pytest.mark.parametrize(
    ("match", "concerned"),
    [
        (Match(iif=("wan0",)), True),
        (Match(iif=("wan*",)), True),
        (Match(iif=("lan0",)), False),
        (Match(family="ip6"), False),
        (Match(protocol="udp"), False),
        (Match(ct_state=("established",)), False),
        (Match(ct_state=("new", "established")), True),
    ],
)
def test_rules_that_do_not_suit_the_path_are_left_out(match, concerned):
    assert bool(index(match).about(packet())) is concerned


def test_the_longest_prefix_wins():
    places = Places([("10.0.0.0/8", ("lan0",)), ("10.1.0.0/16", ("lan1",)), ("fd00::/8", ("lan2",))])
    assert [places.find(each) for each in ("10.2.0.1", "10.1.0.1", "fd00::1", "192.0.2.1")] == [
        ("lan0",),
        ("lan1",),
        ("lan2",),
        (),
    ]
