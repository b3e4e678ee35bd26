# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rates: which rules count. test_compile.py has what items decide."""

from __future__ import annotations

from dataclasses import replace

from ansible_collections.ipmasq.linux.plugins.module_utils._intent.outbound import Outbound
from ansible_collections.ipmasq.linux.plugins.module_utils._resolve.resolved import (
    Around,
    Resolved,
    ResolvedLan,
    ResolvedWan,
)
from ansible_collections.ipmasq.linux.plugins.module_utils._rules.outbound import limits, outbound

LAN = ResolvedLan("office", ("br0",), ("192.168.1.0/24", "fd00:1::/64"))
SLOW = Outbound("slow", protocol=("udp",), port=((53, 53), (123, 123)), rate="10/second")
GATEWAY = Resolved(lans=(LAN,), wans=(ResolvedWan("wan0"), ResolvedWan("wan1")), outbound=(SLOW,))


def said(gateway):
    return [(rule.chain, rule.match.family, rule.action.kind) for rule in outbound(gateway, LAN, "opens")]


def test_a_rate_counts_in_one_place_for_each_family_and_protocol():
    """Whatever a backend makes of ports, links and networks."""
    both = replace(GATEWAY, outbound=(replace(SLOW, protocol=("udp", "tcp")),))
    for gateway, count in ((GATEWAY, 2), (both, 4)):
        chains = [chain.name for chain in limits(gateway, LAN)]
        assert chains == ["limit-office/slow/{0}".format(number) for number in range(count)]
        rules = outbound(gateway, LAN, "opens")
        assert [rule.action.target for rule in rules if rule.action.kind == "jump"] == chains
        counting = [rule for rule in rules if rule.match.rate]
        assert [rule.chain for rule in counting] == chains
        assert not any(rule.match.port or rule.match.oif or rule.match.source for rule in counting)


def test_a_lan_and_an_item_never_count_in_the_chain_of_others():
    home, iot = replace(LAN, name="home"), replace(LAN, name="home-iot")
    items = (replace(SLOW, name="iot-mail"), replace(SLOW, name="mail"))
    gateway = replace(GATEWAY, lans=(home, iot), outbound=items)
    chains = [chain.name for lan in (home, iot) for chain in limits(gateway, lan)]
    assert len(set(chains)) == len(chains) == 8


def test_a_flow_that_nobody_answers_counts_once_unless_another_bridge_has_shown_it_before():
    once = [("opens", "ip", "accept"), ("opens", "ip", "jump")]
    assert said(GATEWAY)[:2] == once
    for shown, first in ((("br0",), once[1]), (("br9",), once[0])):
        assert said(replace(GATEWAY, around=Around(shown_twice=shown)))[0] == first


def test_what_has_no_rate_needs_no_chain():
    plain = replace(GATEWAY, outbound=(replace(SLOW, rate=""),))
    assert limits(plain, LAN) == []
    assert said(plain) == [("opens", "", "accept")]
