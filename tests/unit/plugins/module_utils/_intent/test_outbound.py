# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Outbound items: what is refused, their values, and their words."""

from __future__ import annotations

from ansible_collections.ipmasq.linux.plugins.module_utils._intent.read import gateway_from_params
from ansible_collections.ipmasq.linux.tests.unit.intents import LANS, WAN, each_problem, outbound, problems_of
from ansible_collections.ipmasq.linux.tests.unit.params import gateway_params

#: options of gateway, its one problem
TEST_PROBLEMS = [
    (outbound(port=["25"]), "outbound[0] 'o': port requires protocol tcp, udp, sctp or both"),
    (
        outbound(rate="10 each s"),
        "outbound[0] 'o': rate: '10 each s' is not a rate; write it as 10/second, /minute, /hour or /day, up to 10000",
    ),
    (
        outbound(rate="0/second"),
        "outbound[0] 'o': rate: '0/second' is not a rate; write it as 10/second, /minute, /hour or /day, up to 10000",
    ),
    (
        outbound(rate="10001/day"),
        "outbound[0] 'o': rate: '10001/day' is not a rate; write it as 10/second, /minute, /hour or /day, up to 10000",
    ),
    (
        outbound(rate="10/second", action="drop"),
        "outbound[0] 'o': rate is valid only with action accept, not drop; what exceeds it is rejected",
    ),
    (
        dict(outbound(source=["guests"]), lans=LANS),
        "outbound[0] 'o': source 'guests' is neither a LAN nor a network; known LANs: a, b",
    ),
    (dict(outbound(wan="ppp1"), wans=[WAN]), "outbound[0] 'o': wan ppp1 is not in wans (ppp0)"),
    (dict(outbound=[{"name": "o"}, {"name": "o"}]), "outbound: 'o' is defined twice; give each its own name"),
]


@each_problem(TEST_PROBLEMS)
def test_problem(given, problem):
    assert problems_of(gateway_from_params, gateway_params(**given)) == [problem]


def test_outbound_values():
    (found,) = gateway_from_params(gateway_params(**outbound(rate=" 010/minute "))).outbound
    assert (found.action, found.rate) == ("accept", "10/minute")
