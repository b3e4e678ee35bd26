# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Timers by the first item that matches, and offload of what comes back through a WAN."""

from __future__ import annotations

from ansible_collections.ipmasq.linux.plugins.module_utils._intent.forward import PortForward
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.nat import NatItem
from ansible_collections.ipmasq.linux.plugins.module_utils._resolve.resolved import Resolved, ResolvedLan, ResolvedWan
from ansible_collections.ipmasq.linux.plugins.module_utils._rules.late import offload, timers

LANS = (ResolvedLan("office", ("lan0",), ("192.168.1.0/24",)),)
WANS = (ResolvedWan("wan0"),)


def gateway(*nat, **more):
    return Resolved(wans=WANS, lans=LANS, nat=nat, **more)


def said(rules):
    return [(rule.key, rule.match.protocol, rule.action.kind, rule.action.timers) for rule in rules]


def test_items_without_timers_need_no_rules():
    assert timers(gateway(NatItem("a"), NatItem("b"))) == []


def test_an_item_before_one_with_timers_keeps_its_connections_out_of_it():
    first, second = NatItem("a", protocol=("udp",)), NatItem("b", timeouts=(("tcp_established", 60),))
    assert said(timers(gateway(first, second, NatItem("c"), timeouts=()))) == [
        ("nat/a", "udp", "accept", ()),
        ("nat/b", "tcp", "timers", (("established", 60),)),
    ]


def test_timers_of_the_gateway_fill_in():
    item = NatItem("a", protocol=("udp",), timeouts=(("udp_stream", 3600),))
    wanted = (("replied", 3600), ("unreplied", 300))
    assert said(timers(gateway(item))) == [("nat/a", "udp", "timers", wanted)]


def test_port_forwards_come_first_as_their_translation_does():
    forward = PortForward("pbx", protocol=("udp",), port=((5060, 5060),), to=("192.168.1.9",), timeouts=(("udp", 30),))
    rules = timers(gateway(NatItem("a"), port_forwards=(forward,), timeouts=()))
    assert said(rules) == [("port_forward/pbx", "udp", "timers", (("unreplied", 30),))]
    assert rules[0].match.ct_state == ("new",)
    assert rules[0].match.iif == ("wan0",)


def test_a_static_item_has_its_timers_both_ways():
    item = NatItem(
        "s", ("192.168.1.9/32",), action="static", to=("203.0.113.9/32",), inbound=True, timeouts=(("udp", 30),)
    )
    rules = [rule for rule in timers(gateway(item, timeouts=())) if rule.action.kind == "timers"]
    assert [(rule.match.iif, rule.match.oif) for rule in rules] == [((), ("wan0",)), (("wan0",), ("lan0",))]


def test_offload_sees_answers_from_the_wan():
    assert offload(gateway()) == []
    rules = offload(gateway(offload="software"))
    assert [(rule.match.iif, rule.match.oif, rule.match.ct_state) for rule in rules] == [
        (("wan0",), ("lan0",), ("established",))
    ] * 2
    assert [rule.match.protocol for rule in rules] == ["tcp", "udp"]
