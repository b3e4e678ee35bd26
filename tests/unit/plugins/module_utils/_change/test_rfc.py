# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What options do to the requirements of the NAT RFCs."""

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._change.rfc import given_up
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.read import gateway_from_params
from ansible_collections.ipmasq.linux.tests.unit.params import gateway_params

WEB = {"name": "web", "port": ["443"], "to": ["192.168.1.20"]}
POOL = {"name": "pool", "action": "snat", "to": ["203.0.113.9-203.0.113.12"], "to_address": "routed"}


def told(**params):
    return {each.name: each.why for each in given_up(gateway_from_params(gateway_params(**params)))}


def test_nothing_is_told_of_what_nobody_has_asked_for():
    assert told() == {}
    assert told(port_forwards=[WEB], lans=[{"name": "lan", "interfaces": ["lan0"]}], input="protect") == {}


@pytest.mark.parametrize(
    ("params", "name", "holds"),
    [
        ({"profile": "server_egress"}, "RFC 4787 REQ-1", False),
        ({"nat": [{"name": "x", "random": True}]}, "RFC 4787 REQ-1", False),
        ({"profile": "server_egress", "nat": [{"name": "x", "random": False}]}, "RFC 4787 REQ-1", True),
        ({"nat": [POOL]}, "RFC 4787 REQ-2", True),
        ({"nat": [dict(POOL, persistent=False)]}, "RFC 4787 REQ-2", False),
        ({"timeouts": {"udp": 60}}, "RFC 4787 REQ-5", False),
        ({"timeouts": {"udp": 0}}, "RFC 4787 REQ-5", False),
        ({"timeouts": {"icmp": 30}}, "RFC 5508 REQ-2", False),
        ({"timeouts": {"tcp_established": 600}}, "RFC 5382 REQ-5", False),
        ({"port_forwards": [dict(WEB, hairpin=True)]}, "RFC 4787 REQ-9", True),
        ({"port_forwards": [dict(WEB, hairpin=True, hairpin_source="gateway")]}, "RFC 4787 REQ-9", False),
        ({"helpers": [{"name": "sip"}]}, "RFC 4787 REQ-10", False),
        (
            {
                "ipv6": "prefix",
                "nat": [{"name": "x", "action": "prefix", "source": ["fd00::/48"], "to": ["2001:db8::/48"]}],
            },
            "RFC 6296 3.1",
            True,
        ),
        (
            {
                "ipv6": "prefix",
                "nat": [{"name": "x", "action": "prefix", "source": ["fd00::/64"], "to": ["2001:db8::/64"]}],
            },
            "RFC 6296 3.1",
            False,
        ),
    ],
)
def test_an_option_and_what_it_does(params, name, holds):
    assert set(told(**params)) == (set() if holds else {name})


def test_the_reason_names_option_and_items_and_what_does_not_work():
    bulk = [{"name": "n{0}".format(number), "random": True} for number in range(12)]
    assert told(nat=bulk)["RFC 4787 REQ-1"] == (
        "nat n0, n1, n2, n3, n4, n5, n6, n7, n8, n9, and 2 more: random ports (random, or profile server_egress): a "
        "client gets a different port for each destination, so calls, games and other direct "
        "connections between clients may fail"
    )
    assert told(timeouts={"udp": 60, "icmp": 0}) == {
        "RFC 4787 REQ-5": "timeouts udp 60: UDP no longer reaches a client that was silent for longer; the RFC "
        "requires at least 120 seconds",
        "RFC 5508 REQ-2": "timeouts icmp 30: the answer to a ping does not reach a client that was silent for longer; "
        "the RFC requires at least 60 seconds",
    }
