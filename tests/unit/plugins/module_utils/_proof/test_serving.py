# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is promised about services follows from the declaration alone."""

from __future__ import annotations

from dataclasses import replace

from ansible_collections.ipmasq.linux.plugins.module_utils._proof.model import Want
from ansible_collections.ipmasq.linux.plugins.module_utils._proof.oracle import Oracle
from ansible_collections.ipmasq.linux.plugins.module_utils._proof.promises import promises
from ansible_collections.ipmasq.linux.tests.unit.plugins.module_utils._proof.test_promises import GROUND
from ansible_collections.ipmasq.linux.tests.unit.plugins.module_utils._rules.test_services import resolved

ADDRESSES = {
    "lan0": ("192.168.1.1", "fd00:1::1"), "guest0": ("192.168.2.1",), "wan0": ("203.0.113.2", "2001:db8:ff::2"),
}  # fmt: skip
SERVED = replace(GROUND, addresses=ADDRESSES)
NAS = {"mac": "52:54:00:00:00:09", "address": "192.168.1.20", "name": "nas"}


def promised(office, guests, ground=SERVED, **more):
    found, _notes = promises(Oracle(resolved(office, guests, **more), ground), services=True)
    return {each.name: each for each in found if each.kind == "services"}


def wants(promise):
    return {each.word: each.values or each.networks for each in promise.wants}


def test_without_services_nothing_is_promised():
    assert promised({}, {}) == {}
    assert [each for each in promises(Oracle(resolved({"dhcp": True}, {}), SERVED))[0] if each.kind == "services"] == []


def test_a_lan_and_its_neighbours():
    found = promised({"dhcp": {"reserve": [NAS]}, "ra": "managed"}, {})
    assert list(found) == [
        "office gets addresses (DHCP)",
        "office gives 52:54:00:00:00:09 its address 192.168.1.20 (DHCP)",
        "office knows the name nas.home.arpa (DNS, IPv4)",
        "office gets answers about names (DNS, IPv4)",
        "office gets answers about names (DNS, IPv6)",
        "office gets answers from upstream (DNS, IPv4)",
        "office learns its IPv6 networks (router advertisements)",
        "office gets IPv6 addresses (DHCPv6)",
        "guests gets no addresses (DHCP)",
        "guests gets no answers about names (DNS, IPv4)",
        "wan0 gets no addresses (DHCP)",
        "wan0 gets no answers about names at an address of wan0 (DNS, IPv4)",
        "wan0 gets no answers about names at an address of lan0 (DNS, IPv4)",
        "wan0 gets no answers about names at an address of wan0 (DNS, IPv6)",
        "wan0 gets no answers about names at an address of lan0 (DNS, IPv6)",
        "wan0 learns no IPv6 networks (router advertisements)",
    ]
    offer = found["office gets addresses (DHCP)"]
    assert wants(offer)["address"][0] == "192.168.1.100/30" and offer.slow
    assert {word: wants(offer)[word] for word in ("router", "DNS server", "domain")} == {
        "router": ("192.168.1.1",), "DNS server": ("192.168.1.1",), "domain": ("home.arpa",)
    }  # fmt: skip
    routes = found["office learns its IPv6 networks (router advertisements)"]
    assert wants(routes)["flags"] == ("managed", "other") and wants(routes)["networks"] == ("fd00:1::/64",)
    assert wants(found["office gets IPv6 addresses (DHCPv6)"])["address"][0] == "fd00:1::1000/116"
    never = found["wan0 gets no addresses (DHCP)"]
    assert never.never and never.into == ("wan0",) and never.yields.startswith("others answer on wan0")


def test_options_replace_what_dnsmasq_says():
    given = {"router": "192.168.1.9", "6": "9.9.9.9,1.1.1.1", "domain-name": "x.example"}
    offer = promised({"dhcp": {"options": given}, "dns": False}, {})["office gets addresses (DHCP)"]
    assert list(wants(offer).values())[1:] == [("192.168.1.9",), ("9.9.9.9", "1.1.1.1"), ("x.example",)]
    itself = promised({"dhcp": {"options": {"router": "0.0.0.0"}}}, {})["office gets addresses (DHCP)"]
    assert "router" not in wants(itself)


def test_options_without_a_value_are_left_out():
    offer = promised({"dhcp": {"options": {"router": "", "domain-name": ""}}}, {})["office gets addresses (DHCP)"]
    assert wants(offer)["router"] == wants(offer)["domain"] == ()


def test_a_range_that_is_used_up_or_elsewhere():
    few = {"dhcp": {"range": "192.168.1.100-192.168.1.102", "reserve": [dict(NAS, address="192.168.1.101")]}}
    for leased, lacks in (
        ((), ""),
        (("192.168.1.100",), ""),
        (("192.168.1.100", "192.168.1.9", "192.168.1.101"), ""),
        (("192.168.1.100", "192.168.1.102"), "every address of its range is leased or reserved"),
    ):
        found = promised(few, {}, replace(SERVED, leased=frozenset(leased)))
        assert found["office gets addresses (DHCP)"].lacks == lacks
    elsewhere = replace(SERVED, networks={**SERVED.networks, "lan0": ("10.0.0.0/8",)})
    found = promised(few, {}, elsewhere)["office gets addresses (DHCP)"]
    assert found.lacks == "no range of its DHCP is in a network of lan0"


def test_old_ipv6_networks_are_not_announced():
    told = "office learns its IPv6 networks (router advertisements)"
    both = replace(SERVED, networks={**SERVED.networks, "lan0": ("192.168.1.0/24", "fd00:1::/64", "fd00:7::/64")})
    old = replace(both, deprecated={"lan0": frozenset({"fd00:7::/64"})})
    assert wants(promised({"ra": "slaac"}, {}, both)[told])["networks"] == ("fd00:1::/64", "fd00:7::/64")
    assert wants(promised({"ra": "slaac"}, {}, old)[told])["networks"] == ("fd00:1::/64",)
    only = replace(SERVED, deprecated={"lan0": frozenset({"fd00:1::/64"})})
    found = promised({"ra": "managed"}, {}, only)
    assert found[told].lacks == found["office gets IPv6 addresses (DHCPv6)"].lacks
    assert found[told].lacks == "lan0 has only IPv6 networks that are deprecated"


def test_a_name_that_is_reserved_is_not_one_that_nobody_has():
    named = dict(NAS, name="IPMASQ-probe")
    asked = promised({"dhcp": {"reserve": [named]}}, {})["office gets answers about names (DNS, IPv4)"].asks
    assert asked.name == "ipmasq-probe-x.home.arpa"


def test_what_cannot_be_asked():
    without = {("guest0", "ip"): "192.168.2.253"}
    found = promised({"dhcp": {"reserve": [NAS]}}, {"dns": True}, replace(SERVED, clients=without))
    assert found["office gets answers about names (DNS, IPv4)"].lacks.startswith("lan0 has no IPv4 network with a free")
    assert not found["office gets addresses (DHCP)"].lacks
    bare = promised({"dhcp": {"reserve": [NAS]}, "ra": "managed"}, {}, replace(SERVED, addresses={"wan0": ()}))
    assert bare["office gets addresses (DHCP)"].lacks == "lan0 has no IPv4 address"
    assert bare["office gives 52:54:00:00:00:09 its address 192.168.1.20 (DHCP)"].lacks
    assert bare["office gets IPv6 addresses (DHCPv6)"].lacks
    narrow = replace(SERVED, networks={"lan0": ("192.168.1.0/24",)})
    routes = promised({"dhcp": True}, {}, narrow)["office learns its IPv6 networks (router advertisements)"]
    assert routes.lacks == "lan0 has no IPv6 network of 64 bits"
    assert promised({"dhcp": True}, {}, replace(SERVED, links={}))["office gets addresses (DHCP)"].lacks


def test_what_an_answer_has_to_tell():
    assert Want("x", ("a", "b")).fits(["a"]) and not Want("x", ("a", "b")).fits(["a", "c"])
    assert Want("x").fits([]) and not Want("x").fits(["a"]) and not Want("x", ("a",)).fits([])
    assert Want("x", (), ("10.0.0.0/8",)).fits(["10.1.1.1"]) and not Want("x", (), ("10.0.0.0/8",)).fits(["11.0.0.1"])
    assert Want("x", ("a", "b"), every=True).fits(["b", "a"]) and not Want("x", ("a", "b"), every=True).fits(["a"])
