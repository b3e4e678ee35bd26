# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A gateway in words: what a diff compares."""

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._describe import describe_gateway, describe_item
from ansible_collections.ipmasq.linux.plugins.module_utils._intent import (
    Forward,
    Gateway,
    Lan,
    Masquerade,
    NatItem,
    Wan,
)


def test_gateway():
    lans = (Lan("a", ("lan0", "lan1"), ("10.0.0.0/8",), ("b",)), Lan("b", ("lan2",), ("192.168.1.0/24",)))
    nat = (NatItem("vpn", ("a",), ("172.16.0.0/12",), "ppp0", action="exempt"), NatItem("default"))
    assert describe_gateway(Gateway(wans=(Wan("ppp0", "keep"),), lans=lans, nat=nat)) == [
        "wan ppp0",
        "lan a: 10.0.0.0/8 on lan0 lan1, reaches b",
        "lan b: 192.168.1.0/24 on lan2, reaches no other LAN",
        "nat vpn: exempt a to 172.16.0.0/12 on ppp0",
        "nat default: masquerade every LAN on every WAN",
        "ipv6: route",
        "mss on ppp0: left alone",
    ]


TEST_ITEMS = [
    (Masquerade("x", ("10.0.0.0/8",), "ppp0"), "from 10.0.0.0/8 on ppp0"),
    (Masquerade("x", ("10.0.0.0/8",), "ppp0", ("1.0.0.0/8",)), "from 10.0.0.0/8 to 1.0.0.0/8 on ppp0"),
    (Forward("x", in_interface="a", out_interface="b", ct_state=("new",)), "accept in a out b if new"),
    (Forward("x", "drop", source=("10.0.0.0/8",)), "drop from 10.0.0.0/8"),
]


@pytest.mark.parametrize(("item", "wanted"), TEST_ITEMS)
def test_items(item, wanted):
    assert describe_item(item) == wanted


def test_long_lists_are_cut():
    lan = Lan("a", ("lan0",), tuple("10.0.{0}.0/24".format(number) for number in range(25)))
    assert "10.0.19.0/24 and 5 more on lan0" in describe_gateway(Gateway(lans=(lan,)))[0]
