# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Frames between ports of one bridge: what is not routed passes, and nothing whose answers could reach another link."""

from __future__ import annotations

from dataclasses import replace

from ansible_collections.ipmasq.linux.plugins.module_utils._resolve.resolved import (
    Around,
    Resolved,
    ResolvedLan,
    ResolvedWan,
)
from ansible_collections.ipmasq.linux.plugins.module_utils._rules.bridged import (
    ON_ONE_LINK,
    SWITCHED,
    bridged,
    forged,
    own_networks,
)
from ansible_collections.ipmasq.linux.plugins.module_utils._rules.model import Match

AROUND = Around(
    bridges=(("br-lan", ("192.168.1.0/24",)), ("br0", ("203.0.113.0/24", "10.0.0.0/24"))), beside=("2001:db8:9::/64",)
)
GATEWAY = Resolved(
    lans=(ResolvedLan("office", ("br-*",), ("192.168.1.0/24", "10.0.0.0/25")),),
    wans=(ResolvedWan("br0"),),
    around=AROUND,
)


def through(link):
    return [rule for rule in bridged(GATEWAY) if rule.match.iif == rule.match.oif == (link,)]


def test_in_a_lan_only_what_is_never_routed():
    """What has the LAN's own source passes later, and any other unicast packet is checked as if it was routed."""
    found = through("br-lan")
    assert {rule.action.kind for rule in found} == {"accept"}
    for rule in found:
        ends = (*rule.match.source, *rule.match.destination)
        assert ends and all(net.startswith(("255.", "224.", "169.254.", "ff00:", "fe80:")) for net in ends)


def test_at_a_wan_its_own_networks_and_what_comes_to_them_from_the_internet():
    found = through("br0")[len(ON_ONE_LINK) :]
    assert [(rule.match.source, rule.match.destination, rule.action.kind) for rule in found] == [
        # A LAN's network is never one of the WAN's.
        (("10.0.0.128/25", "203.0.113.0/24"), (), "return"),
        ((), ("10.0.0.0/24", "203.0.113.0/24"), "goto"),
    ]
    closed = [net for rule in bridged(GATEWAY) if rule.chain == SWITCHED.name for net in rule.match.source]
    assert {"192.168.0.0/16", "10.0.0.0/8", "fc00::/7", "100.64.0.0/10", "2001:db8:9::/64"} <= set(closed)
    asked = [(rule.match.source, rule.match.destination, rule.match.elsewhere) for rule in forged(GATEWAY)]
    nets = ("10.0.0.0/24", "203.0.113.0/24")
    assert asked == [((), nets, True), (nets, (), False)]
    (*rest, last) = forged(replace(GATEWAY, input="protect"))
    assert rest == forged(GATEWAY) and last.match == Match(iif=("br0",), martian=True)
    assert [match.source for match in own_networks(GATEWAY)] == [("10.0.0.128/25", "203.0.113.0/24")]


def test_without_a_bridge_there_is_nothing():
    assert bridged(Resolved(lans=GATEWAY.lans, wans=GATEWAY.wans)) == []
