# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._proof import leaving
from ansible_collections.ipmasq.linux.tests.unit.plugins.module_utils._proof.test_promises import promised

MSS = "the MSS between office and wan0 {0} (IPv4)"


@pytest.mark.parametrize(
    ("mss", "words", "limit"),
    [("pmtu", "fits the MTU", 1460), ("1300", "is at most 1300", 1300), ("keep", "stays unchanged", -8960)],
)
def test_mss(mss, words, limit):
    out, back = promised(mss=mss)[MSS.format(words)].steps
    assert (out.packet.mss, out.come.mss, back.mss, back.most) == (leaving.LARGE, limit, leaving.LARGE, limit)


def test_errors_get_back():
    found = promised()
    assert found["ICMP errors about a flow get from wan0 to office (udp, IPv6)"].steps[1].error == (2, 0, 1280)


def test_a_pool_is_persistent_unless_it_is_not():
    pool = {"name": "pool", "action": "snat", "to": ["203.0.113.16-203.0.113.19"]}
    steps = promised(nat=[pool])["nat 'pool' translates what comes from lan0 through wan0 (udp 49443, IPv4)"].steps
    assert [step.same_source for step in steps] == [False, False, True]
    assert steps[0].packet.target != steps[2].packet.target
    loose = dict(pool, persistent=False)
    steps = promised(nat=[loose])["nat 'pool' translates what comes from lan0 through wan0 (udp 49443, IPv4)"].steps
    assert len(steps) == 2


def test_a_server_is_not_waited_for():
    """Only what it sends is shown, as the answer would be for a real host."""
    one = {"name": "one", "action": "static", "source": ["192.168.1.20/32"], "to": ["203.0.113.20/32"]}
    (out, again) = promised(nat=[one, {"name": "rest"}])[
        "nat 'one' translates what comes from lan0 through wan0 (udp 49443, IPv4)"
    ].steps
    assert out.come.sources == ("203.0.113.20",) and again.same_source


def test_outbound_rules():
    rules = [
        {"name": "mail", "action": "reject", "protocol": ["tcp"], "port": ["25"]},
        {"name": "slow", "protocol": ["udp"], "port": ["500"], "rate": "5/second"},
        {"name": "never", "action": "drop", "protocol": ["tcp"], "port": ["25"]},
    ]
    found = {promise.name: promise for promise in promised(outbound=rules).values() if promise.kind == "outbound"}
    assert found["outbound 'mail' keeps lan0 from wan0 (tcp 25, IPv4)"].never
    assert found["outbound 'slow' lets out from lan0 through wan0 (udp 500, IPv4)"].shortage
    assert not any("'never'" in name for name in found)


def test_destinations_that_are_bogons_are_left_out():
    rule = {"name": "lab", "destination": ["198.51.100.0/24"]}
    assert any(promise.kind == "outbound" for promise in promised(outbound=[rule]).values())
    assert not any(promise.kind == "outbound" for promise in promised(outbound=[rule], drop_bogons=True).values())
