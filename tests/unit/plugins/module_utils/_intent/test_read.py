# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""All problems of a call together, and the defaults."""

from __future__ import annotations

from ansible_collections.ipmasq.linux.plugins.module_utils._intent.gateway import Gateway
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.nat import NatItem
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.read import gateway_from_params
from ansible_collections.ipmasq.linux.tests.unit.intents import LANS, WAN, each_problem, lan, problems_of
from ansible_collections.ipmasq.linux.tests.unit.params import gateway_params

#: options of gateway, its one problem
TEST_PROBLEMS = [
    (
        dict(instance="Lab-1"),
        "instance: 'Lab-1' must be 1 to 10 characters from a-z, 0-9 and _, starting with a letter",
    ),
    (
        dict(managed_links=["hassio", "l*"]),
        "managed_links: 'l*' matches lo, which is this host itself; name links of a manager",
    ),
    (
        dict(managed_links=["web+"]),
        "managed_links: interface 'web+' is an iptables pattern; write web*",
    ),
]


@each_problem(TEST_PROBLEMS)
def test_problem(given, problem):
    assert problems_of(gateway_from_params, gateway_params(**given)) == [problem]


def test_all_problems_of_a_call_together():
    found = problems_of(
        gateway_from_params,
        gateway_params(
            instance="0",
            wans=[{"interface": "a/b"}],
            lans=[lan("a b", ["lan0"], ["10.0.0.1/8"], reaches=["nobody"])],
            nat=[{"name": "x", "source": ["nowhere"], "destination": ["bad"], "wan": "eth9"}],
        ),
    )
    assert len(found) == 8
    assert [problem.split(":")[0] for problem in found] == [
        "instance",
        "wans[0]",
        "lans[0] 'a b'",
        "lans[0] 'a b'",
        "nat[0] 'x'",
        "lans[0] 'a b'",
        "nat[0] 'x'",
        "nat[0] 'x'",
    ]


def test_all_problems_of_all_items_together():
    found = problems_of(
        gateway_from_params,
        gateway_params(
            wans=[dict(WAN, mss="big")],
            lans=LANS,
            mss="x",
            nat=[
                {"name": "a", "action": "snat", "to": ["x"], "ipsec": True},
                {"name": "b", "action": "static", "source": ["192.168.1.0/28"], "to": ["203.0.113.0/27"], "wan": "no"},
            ],
            port_forwards=[{"name": "c", "port": ["x", "0"], "protocol": ["udp"], "to": ["192.168.1.1-192.168.1.2"]}],
            outbound=[{"name": "d", "action": "drop", "rate": "1/x", "source": ["nobody"], "port": ["1"]}],
        ),
    )
    assert [problem.split(":")[0] for problem in found] == [
        "mss",
        "wans[0]",
        "nat[0] 'a'",
        "nat[0] 'a'",
        "nat[1] 'b'",
        "port_forwards[0] 'c'",
        "port_forwards[0] 'c'",
        "port_forwards[0] 'c'",
        "outbound[0] 'd'",
        "outbound[0] 'd'",
        "outbound[0] 'd'",
        "outbound[0] 'd'",
        "nat[1] 'b'",
    ]


def test_gateway_defaults():
    assert gateway_from_params(gateway_params()) == Gateway()
    assert Gateway().nat == (NatItem("default"),)


def test_gateway_values():
    gateway = gateway_from_params(
        gateway_params(
            wans=[WAN],
            lans=[lan("a", ["lan0"], [" 10.0.0.1", "FD00:0::/64"]), lan("b", ["lan1"], None, reaches=["a"])],
            nat=[{"name": "x", "action": "exempt", "source": ["b", "10.0.0.0/24", "10.1.0.0/24"], "wan": "ppp0"}],
        )
    )
    assert gateway.lans[0].networks == ("10.0.0.1/32", "fd00::/64")
    assert (gateway.lans[1].networks, gateway.lans[1].reaches) == (None, ("a",))
    assert gateway.nat == (NatItem("x", ("b", "10.0.0.0/24", "10.1.0.0/24"), wan="ppp0", action="exempt"),)
