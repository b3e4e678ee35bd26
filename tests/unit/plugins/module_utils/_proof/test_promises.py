# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from dataclasses import replace

from ansible_collections.ipmasq.linux.plugins.module_utils._proof.model import ALIVE, Ground, Link
from ansible_collections.ipmasq.linux.plugins.module_utils._proof.oracle import Oracle
from ansible_collections.ipmasq.linux.plugins.module_utils._proof.promises import promises, sample, targets
from ansible_collections.ipmasq.linux.tests.unit.params import gateway_params
from ansible_collections.ipmasq.linux.tests.unit.resolving import read_resolved

LANS = [
    {"name": "office", "interfaces": ["lan0"], "networks": ["192.168.1.0/24", "fd00:1::/64"]},
    {"name": "guests", "interfaces": ["guest0"], "networks": ["192.168.2.0/24"]},
]
GROUND = Ground(
    links={name: Link(name, up=True) for name in ("lan0", "guest0", "wan0", "wan1")},
    addresses={"wan0": ("203.0.113.2", "2001:db8:ff::2"), "wan1": ("198.51.100.2",)},
    networks={"lan0": ("192.168.1.0/24", "fd00:1::/64"), "guest0": ("192.168.2.0/24",)},
    clients={("lan0", "ip"): "192.168.1.253", ("lan0", "ip6"): "fd00:1::fafa", ("guest0", "ip"): "192.168.2.253"},
    outside={"ip": "192.31.196.128/25", "ip6": "2620:4f:8000:fafa::/64"},
    ways={("lan0", "ip"): ("wan0", "203.0.113.1"), ("lan0", "ip6"): ("wan0", ""), ("guest0", "ip"): ("wan0", "")},
)


def promised(ground=GROUND, **params):
    gateway, problems = read_resolved(gateway_params(**{"wans": [{"interface": "wan0"}], "lans": LANS, **params}))
    assert not problems
    found, _notes = promises(Oracle(gateway, ground))
    found = [promise for promise in found if promise.kind != ALIVE]
    assert len({promise.name for promise in found}) == len(found)
    return {promise.name: promise for promise in found}


def test_every_lan_by_every_wan():
    found = promised()
    kinds = [promise.kind for promise in found.values()]
    assert {kind: kinds.count(kind) for kind in kinds} == {
        "reach": 9, "mss": 3, "icmp_error": 3, "closed": 9, "between_lans": 2, "spoofed": 6, "invalid": 39, "nat": 2,
    }  # fmt: skip
    reach = found["office reaches the Internet through wan0 (tcp, IPv4)"]
    assert reach.items == ("nat/default",)
    assert reach.hops == (("wan0", "203.0.113.1"),)
    assert reach.steps[0].come.sources == ("203.0.113.2",)
    assert found["guests is closed from wan0 (udp, IPv4)"].never
    assert not any(promise.lacks for promise in found.values())


def test_this_host_is_closed_only_where_its_input_is_protected():
    assert "this host is closed from wan0 (tcp, IPv6)" in promised(input="protect")
    assert "this host is closed from wan0 (tcp, IPv6)" not in promised()
    everything = [{"name": "all"}]
    assert (
        "opens every port"
        in promised(input="protect", input_allow=everything)["this host is closed from wan0 (tcp, IPv4)"].lacks
    )


def test_what_is_not_there_is_no_fault():
    two = {"wans": [{"interface": "wan0"}, {"interface": "wan1"}]}
    by_second = promised(**two)["office reaches the Internet through wan1 (tcp, IPv4)"]
    assert by_second.lacks == "no IPv4 route leaves through wan1; the route to 192.31.196.129 leaves through wan0"
    assert promised(replace(GROUND, ways={}))["office reaches the Internet through wan0 (tcp, IPv4)"].lacks
    gone = replace(GROUND, links={"wan0": Link("wan0", up=False)})
    assert promised(gone)["office reaches the Internet through wan0 (tcp, IPv4)"].lacks == "lan0 does not exist"
    down = replace(GROUND, links=dict(GROUND.links, wan0=Link("wan0", up=False)))
    assert promised(down)["office reaches the Internet through wan0 (tcp, IPv4)"].lacks == "wan0 is down"
    full = replace(GROUND, clients={})
    assert "free address" in promised(full)["office is closed from wan0 (tcp, IPv4)"].lacks


def test_a_port_that_outbound_opens_is_used():
    rules = [{"name": "web", "protocol": ["tcp"], "port": ["8443"]}, {"name": "rest", "action": "reject"}]
    found = promised(outbound=rules)
    reach = found["office reaches the Internet through wan0 (tcp, IPv4)"]
    assert (reach.steps[0].packet.dport, reach.items) == (8443, ("outbound/web", "nat/default"))
    assert found["office does not leave through wan0 (icmp, IPv4)"].never


def test_several_links_of_a_lan_are_told_apart():
    lan = dict(LANS[0], interfaces=["lan0", "guest0"])
    assert "office (guest0) reaches the Internet through wan0 (tcp, IPv4)" in promised(lans=[lan])
    patterns = dict(LANS[0], interfaces=["lan*"])
    assert "office (lan0) reaches the Internet through wan0 (tcp, IPv4)" in promised(lans=[patterns])


def test_the_rest_is_sampled_and_told():
    assert sample(range(10)) == list(range(10))
    many = sample(range(10000))
    assert (many[:64], len(many), many[64], many[-1] < 10000) == (list(range(64)), 80, 64, True)
    forwards = [{"name": "f{0}".format(n), "port": [str(1000 + n)], "to": ["192.168.1.20"]} for n in range(500)]
    gateway, _problems = read_resolved(gateway_params(wans=[{"interface": "wan0"}], lans=LANS, port_forwards=forwards))
    found, notes = promises(Oracle(gateway, GROUND))
    assert sum(promise.kind == "port_forward" for promise in found) == 80
    assert notes == ["port_forwards: 80 of 500 are proven, the first 64 and a sample of the others"]


def test_routes_of_other_targets_are_asked_for():
    nat = [{"name": "vpn", "action": "exempt", "destination": ["10.9.0.0/16"]}, {"name": "rest"}]
    forward = {"name": "f", "port": ["22"], "to": ["192.168.1.20"], "source": ["198.51.100.0/24"]}
    gateway, _problems = read_resolved(
        gateway_params(wans=[{"interface": "wan0"}], lans=LANS, nat=nat, port_forwards=[forward])
    )
    assert targets(Oracle(gateway, GROUND)) == [
        ("lan0", "192.168.1.253", "10.9.255.254"),
        ("wan0", "", "198.51.100.254"),
    ]
