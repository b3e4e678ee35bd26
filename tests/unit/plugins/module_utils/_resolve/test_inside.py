# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which networks a gateway or an item means."""

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._intent.read import gateway_from_params
from ansible_collections.ipmasq.linux.plugins.module_utils._resolve.inside import (
    forwarded_families,
    inside_sources,
    outside_sources,
    sources_of,
)
from ansible_collections.ipmasq.linux.tests.unit.params import gateway_params
from ansible_collections.ipmasq.linux.tests.unit.resolving import GUESTS, MANY, resolved

#: ipv6, item source, networks translated
TEST_SOURCES = [
    ("route", None, ("10.0.0.0/24", "fd00:1::/64", "10.1.0.0/24")),
    ("masquerade", None, ("10.0.0.0/24", "fd00:1::/64", "2001:db8::/64", "10.1.0.0/24")),
    ("route", ["a"], ("10.0.0.0/24", "fd00:1::/64")),
    ("route", ["b", "10.0.0.128/25"], ("10.1.0.0/24", "10.0.0.128/25")),
    ("route", ["2001:db8::/64"], ("2001:db8::/64",)),
]


@pytest.mark.parametrize(("ipv6", "source", "wanted"), TEST_SOURCES)
def test_sources_of(ipv6, source, wanted):
    gateway = resolved(
        ipv6=ipv6,
        wans=[{"interface": "ppp0"}],
        lans=[
            {"name": "a", "interfaces": ["x"], "networks": ["10.0.0.0/24", "fd00:1::/64", "2001:db8::/64"]},
            {"name": "b", "interfaces": ["y"], "networks": ["10.1.0.0/24"]},
        ],
        nat=[{"name": "n", "source": source}],
    ).gateway
    assert sources_of(gateway, gateway.nat[0]) == wanted
    assert forwarded_families(gateway) == ("ip", "ip6")


@pytest.mark.parametrize(
    ("networks", "wanted"),
    [(["10.0.0.0/8"], ("ip",)), (["fd00::/64"], ("ip6",)), (["fd00::/64", "10.0.0.0/8"], ("ip", "ip6"))],
)
def test_forwarded_families(networks, wanted):
    lans = [{"name": "a", "interfaces": ["x"], "networks": networks}]
    assert forwarded_families(resolved(wans=[{"interface": "p"}], lans=lans).gateway) == wanted


def test_prefix_mode_leaves_ipv6_to_prefix_items():
    gateway = resolved(
        MANY,
        lans=[GUESTS],
        ipv6="prefix",
        nat=[
            {"name": "most", "destination": ["0.0.0.0/1", "8000::/1"]},
            {"name": "vpn", "action": "exempt", "destination": ["10.0.0.0/8", "fd00:9::/64"]},
            {"name": "six", "action": "prefix", "source": ["guests"], "to": ["2001:db8:7::/64"]},
        ],
    ).gateway
    assert [sources_of(gateway, item) for item in gateway.nat] == [
        ("192.168.2.0/24",),
        ("192.168.2.0/24", "fd00:2::/64"),
        ("192.168.2.0/24", "fd00:2::/64"),
    ]


@pytest.mark.parametrize(
    ("source", "outside", "inside"),
    [
        (None, (), ()),
        (["198.51.100.0/24"], ("198.51.100.0/24",), None),
        (["192.168.2.0/25"], None, ("192.168.2.0/25",)),
        (["0.0.0.0/0"], ("0.0.0.0/0",), ("192.168.1.0/24", "192.168.2.0/24")),
        (["198.51.100.7", "192.168.1.0/24"], ("198.51.100.7/32",), ("192.168.1.0/24",)),
    ],
)
def test_the_clients_of_a_forward_are_outside_and_inside(source, outside, inside):
    lans = [
        {"name": "office", "interfaces": ["lan0"], "networks": ["192.168.1.0/24"]},
        {"name": "guests", "interfaces": ["guest0"], "networks": ["192.168.2.0/24"]},
    ]
    forward = {"name": "a", "port": ["80"], "to": ["192.168.1.20"], "hairpin": True}
    made = gateway_from_params(
        gateway_params(wans=[{"interface": "wan0"}], lans=lans, port_forwards=[dict(forward, source=source)])
    )
    assert outside_sources(made, made.port_forwards[0], "ip") == outside
    assert inside_sources(made, made.port_forwards[0], "ip") == inside
