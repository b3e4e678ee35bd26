# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which packets belong to which forward or item; integration/test_nat_pairs.py tests real ones."""

from __future__ import annotations

from ansible_collections.ipmasq.linux.plugins.module_utils._intent.read import gateway_from_params
from ansible_collections.ipmasq.linux.plugins.module_utils._resolve.resolved import resolved_from
from ansible_collections.ipmasq.linux.plugins.module_utils._rules import claims
from ansible_collections.ipmasq.linux.tests.unit.params import gateway_params

LANS = [
    {"name": "office", "interfaces": ["lan0"], "networks": ["192.168.1.0/24"]},
    {"name": "guests", "interfaces": ["guest0"], "networks": ["192.168.2.0/24"]},
]
STATIC = {"name": "one", "action": "static", "source": ["192.168.1.20"], "to": ["203.0.113.33"]}


def gateway(*forwards, **params):
    known = dict({"wans": [{"interface": "wan0"}, {"interface": "wan1"}], "lans": LANS}, **params)
    return resolved_from(gateway_from_params(gateway_params(port_forwards=list(forwards), **known)))


def forward(name, port, to="192.168.1.20", **options):
    return dict({"name": name, "port": [port], "to": [to]}, **options)


def apart(made):
    """Name of each forward to what it asks of packets on their way to its server."""
    return {
        each.name: [
            (match.asked, match.not_asked, match.asked_port)
            for match in (claims.told_apart(made, each, *pair) for pair in claims.arrivals(each))
        ]
        for each in made.port_forwards
    }


def test_forwards_that_share_no_server_ask_nothing():
    made = gateway(forward("a", "80"), forward("b", "81"), forward("c", "82", "192.168.1.21"))
    assert set(map(tuple, apart(made).values())) == {(((), (), None),)}


def test_forwards_that_share_a_server_ask_what_the_client_did():
    made = gateway(
        forward("a", "80", to_port=8080),
        forward("b", "8000-8100"),
        forward("c", "82", destination=["203.0.113.44"], to_port=8080),
        forward("d", "8080", protocol=["udp"]),
    )
    assert apart(made) == {
        "a": [((), (), (80, 80))],
        "b": [((), (), (8000, 8100))],
        "c": [(("203.0.113.44/32",), (), (82, 82))],
        "d": [((), (), None)],
    }


def test_a_forward_to_the_server_of_a_one_to_one_is_about_every_other_address():
    made = gateway(forward("a", "80"), forward("b", "81", destination=["203.0.113.33"]), nat=[STATIC, {"name": "rest"}])
    assert apart(made) == {
        "a": [((), ("203.0.113.33/32",), (80, 80))],
        "b": [(("203.0.113.33/32",), (), (81, 81))],
    }
    (match, _ports), *_more = claims.arrivals(made.port_forwards[0])
    assert claims.asked_address(made, "one", match, "203.0.113.33/32").asked == ("203.0.113.33/32",)
    assert claims.asked_address(made, "rest", match, "203.0.113.33/32") == match
