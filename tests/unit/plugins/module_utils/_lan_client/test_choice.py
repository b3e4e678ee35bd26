# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which gateway, through which interface, and every obstacle."""

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError
from ansible_collections.ipmasq.linux.plugins.module_utils._managers.seen import Route
from ansible_collections.ipmasq.linux.tests.unit.lan_clients import TWO_NETWORKS, Client


def gateways(*addresses, **more):
    return [{"name": "gw", "addresses": list(addresses), **more}]


def test_the_gateway_is_the_address_in_the_clients_network():
    done = Client().apply(check_mode=True)
    assert (done["gateway"], done["gateway6"], done["interface"]) == ("192.168.1.1", "fd00:1::1", "lan0")
    assert done["manager"] == "systemd-networkd"


@pytest.mark.parametrize(
    "options",
    [
        {"gateways": gateways("10.0.0.1/8", "192.168.1.1/24")},
        {"gateways": gateways(declared=["192.168.1.1"])},
        # Who declares one address of several means it.
        {"gateways": gateways("192.168.1.2", "192.168.1.3", declared=["192.168.1.1"])},
        {"gateways": [], "gateway": "192.168.1.1"},
    ],
)
def test_sources_of_addresses(options):
    done = Client().apply(check_mode=True, **options)
    assert (done["gateway"], done["gateway6"]) == ("192.168.1.1", "")


def test_gateways_are_named_that_have_to_be_asked():
    client = Client()
    before = client.state()
    options = {"gateways": [*gateways("10.0.0.1", asked=False), {"name": "b"}]}
    done = client.apply(**options)
    assert (done["changed"], done["ask"]) == (False, ["gw"])
    assert client.state() == before
    assert done["addresses"] == ["192.168.1.11", "fd00:1::11"]
    assert not client.apply(**options, state="absent")["ask"]
    assert not client.apply(gateways=gateways("192.168.1.1", asked=False))["ask"]


def test_bridges_that_both_hosts_have_are_no_gateway():
    client = Client({"docker0": ["172.17.0.1/16"], "lan0": ["192.168.1.11/24"]})
    done = client.apply(check_mode=True, gateways=gateways("172.17.0.1", "192.168.1.1"))
    assert done["gateway"] == "192.168.1.1"


TEST_PROBLEMS = [
    ({}, {"gateway": "10.9.9.9"}, "gateway: 10.9.9.9 is in none of this host's networks (lan0 192.168.1.11/24)"),
    ({}, {"gateway": "fd00:1::1"}, "gateway: 'fd00:1::1' is not an IPv4 address"),
    ({}, {"gateway6": "fd00:1::zz"}, "gateway6: 'fd00:1::zz' is not an IPv6 address"),
    ({"addresses": {"lan0": ["192.168.1.11/24"]}}, {"gateway6": "fd00:1::1"}, "(it has no IPv6 address)"),
    ({}, {"gateway": "192.168.1.11"}, "gateway: 192.168.1.11 is an address of this host itself"),
    ({}, {"gateway": "none", "gateway6": "none"}, "set state=absent to remove all"),
    ({}, {"interface": "lan7"}, "interface: there is no interface 'lan7' on this host (it has lan0)"),
    ({}, {"gateways": []}, "gateways: there is no gateway to choose from; set gateway to its address"),
    (
        {},
        {"gateways": gateways("10.0.0.1")},
        "gateways: none of them has an address in a network of this host; set gateway to its address "
        "(own addresses: lan0 192.168.1.11/24, lan0 fd00:1::11/64; gateways: 10.0.0.1 of gw)",
    ),
    (
        {},
        {"gateways": [{"name": "a", "addresses": ["192.168.1.1"]}, {"name": "b", "addresses": ["192.168.1.2"]}]},
        "(192.168.1.1 of a, 192.168.1.2 of b); set gateway to one of them",
    ),
    ({"addresses": TWO_NETWORKS}, {"gateways": gateways("192.168.1.1", "192.168.9.1")}, "set gateway to one of them"),
    (
        {"addresses": {"lan0": ["192.168.1.11/24"], "lan1": ["192.168.1.12/24"]}},
        {},
        "interface: 192.168.1.1 is in the networks of lan0 and lan1; set interface to one of them",
    ),
    (
        {"addresses": {"lan0": ["192.168.1.11/24"], "lan1": ["fd00:1::11/64"]}},
        {"gateway6": "fd00:1::1"},
        "gateway6: fd00:1::1 is reached through lan1, the IPv4 gateway through lan0; only one interface can be set up",
    ),
    (
        {},
        {"gateways": gateways(mirrored=True)},
        "asked gw, but the client that asked reached itself: a variable of their connection is a template of "
        "inventory_hostname; write it for each host, or set gateway_addresses for them",
    ),
    ({}, {"gateways": gateways("192.168.1.300")}, "gateway_addresses of gw: '192.168.1.300' is not an IP address"),
    ({}, {"dns": ["dns.example.org"]}, "dns: 'dns.example.org' is not an IP address"),
    ({}, {"dns": ["fd00::53%x\nnameserver 6.6.6.6"]}, "dns: 'fd00::53%x\\nnameserver 6.6.6.6' is not an IP address"),
    ({}, {"gateways": gateways("fd00::1%x\ny")}, "gateway_addresses of gw: 'fd00::1%x\\ny' is not an IP address"),
]


@pytest.mark.parametrize(("seen", "options", "said"), TEST_PROBLEMS, ids=[case[2][:60] for case in TEST_PROBLEMS])
def test_problem(seen, options, said):
    client = Client(**seen)
    before = client.state()
    with pytest.raises(GatewayError) as caught:
        client.apply(**options)
    assert [said in problem for problem in caught.value.problems] == [True]
    assert client.state() == before


def test_problems_come_together():
    with pytest.raises(GatewayError) as caught:
        Client().apply(gateway="10.9.9.9", gateway6="x", dns=["y"])
    assert len(caught.value.problems) == 3


TWO_ROUTERS = "default proto ra metric 1024 nexthop via fe80::1 dev lan0 weight 1 nexthop via fe80::2 dev lan0 weight 1"


@pytest.mark.parametrize("route", ["default via fe80::9 dev lan0 proto ra metric 1024", TWO_ROUTERS])
def test_router_advertisements_are_kept(route):
    client = Client(routes=[Route.parse(route, 6)])
    done = client.apply(check_mode=True)
    assert done["gateway6"] == ""
    assert done["notes"] == ["IPv6 is left unchanged: lan0 learns its default route from router advertisements"]
