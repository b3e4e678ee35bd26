# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._proof.packets import build
from ansible_collections.ipmasq.linux.plugins.module_utils._proof.staying import strays
from ansible_collections.ipmasq.linux.tests.unit.plugins.module_utils._proof.test_promises import LANS, promised


def test_lans_reach_what_is_declared():
    lans = [dict(LANS[0], reaches=["guests"]), LANS[1]]
    found = promised(lans=lans)
    assert len(found["office reaches guests (tcp, IPv4)"].steps) == 2
    assert "lan0" in found["guests does not reach office (tcp, IPv4)"].never[0].places


def test_what_a_route_leads_to_a_wan_leaves_it_as_declared():
    """A LAN's packet for another LAN: translated like any other, or not at all."""
    name = "guests does not reach office (tcp, IPv4)"

    def fits(source, **options):
        promise = promised(**options)[name]
        packet = replace(promise.steps[0].packet, source=source or promise.steps[0].packet.source)
        return any(each.fits("wan0", packet) for each in promise.never)

    closed = [{"name": "no", "action": "drop"}]
    assert fits("") and not fits("203.0.113.2")
    assert fits("", outbound=closed) and fits("203.0.113.2", outbound=closed)
    assert not fits("", nat=[{"name": "off", "action": "exempt"}])


def test_spoofed_sources_only_where_they_are_checked():
    lans = [dict(LANS[0], spoof_check=False)]
    assert not any("is not in office" in name for name in promised(lans=lans))
    assert any("is not in office" in name for name in promised())


def test_bogons_only_where_they_are_dropped():
    assert any(promise.kind == "bogons" for promise in promised(drop_bogons=True).values())
    assert not any(promise.kind == "bogons" for promise in promised().values())


@pytest.mark.parametrize("ends", [("192.168.1.9", "192.0.2.1"), ("fd00::9", "2001:db8::1")])
def test_the_thirteen_kinds(ends):
    kinds = strays(*ends)
    assert len(kinds) == 13
    assert len({build(packet) for packet in kinds.values()}) == 13


def test_what_is_not_translated_may_leave_as_it_is():
    assert not any(
        promise.kind == "invalid" for promise in promised(nat=[{"name": "off", "action": "exempt"}]).values()
    )
