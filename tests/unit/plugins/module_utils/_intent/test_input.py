# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is said about the gateway itself: what is refused, and its words."""

from __future__ import annotations

from ansible_collections.ipmasq.linux.plugins.module_utils._intent.read import gateway_from_params
from ansible_collections.ipmasq.linux.tests.unit.intents import each_problem, problems_of
from ansible_collections.ipmasq.linux.tests.unit.params import gateway_params

#: options of gateway, its one problem
TEST_PROBLEMS = [
    (
        dict(input_controller_ports=[22]),
        "input_controller_ports: has no effect while input is open; set input to protect",
    ),
    (
        dict(input="protect", input_controller_ports=[0]),
        "input_controller_ports: 0 is not in the port range 1-65535",
    ),
    (
        dict(input="protect", input_allow=[{"name": "x", "protocol": ["igmp"], "source": ["2001:db8::/32"]}]),
        "input_allow[0] 'x': protocol igmp is IPv4 only; IPv6 uses MLD, which is part of icmp",
    ),
]


@each_problem(TEST_PROBLEMS)
def test_problem(given, problem):
    assert problems_of(gateway_from_params, gateway_params(**given)) == [problem]
