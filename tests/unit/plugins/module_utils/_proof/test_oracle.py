# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._proof.model import Ground
from ansible_collections.ipmasq.linux.plugins.module_utils._proof.oracle import Oracle
from ansible_collections.ipmasq.linux.plugins.module_utils._proof.packets import Packet
from ansible_collections.ipmasq.linux.tests.unit.params import gateway_params
from ansible_collections.ipmasq.linux.tests.unit.resolving import read_resolved

LAN = {"name": "office", "interfaces": ["lan0"], "networks": ["192.168.1.0/24", "fd00:1::/64", "2001:db8:1::/64"]}
GROUND = Ground(addresses={"wan0": ("203.0.113.2", "2001:db8:ff::2")})


def verdict(source, target, protocol="tcp", port=443, ground=GROUND, **params):
    gateway, problems = read_resolved(gateway_params(wans=[{"interface": "wan0"}], lans=[LAN], **params))
    assert not problems
    return Oracle(gateway, ground).leaves(Packet(source, target, protocol, 1, port), "wan0")


POOL = {"name": "pool", "action": "snat", "to": ["203.0.113.16-203.0.113.19"], "source": ["192.168.1.0/25"]}
ONE = {"name": "one", "action": "static", "source": ["192.168.1.32/28"], "to": ["203.0.113.32/28"]}


@pytest.mark.parametrize(
    ("source", "params", "sources"),
    [
        ("192.168.1.9", {}, ("203.0.113.2",)),
        ("fd00:1::9", {}, ("2001:db8:ff::2",)),
        ("2001:db8:1::9", {}, ("2001:db8:1::9",)),
        ("2001:db8:1::9", {"ipv6": "masquerade"}, ("2001:db8:ff::2",)),
        ("192.168.1.9", {"nat": [POOL]}, ("203.0.113.16/30",)),
        ("192.168.1.200", {"nat": [POOL]}, ()),
        ("192.168.1.37", {"nat": [ONE]}, ("203.0.113.37",)),
        ("192.168.1.9", {"nat": [{"name": "vpn", "action": "exempt", "destination": ["198.51.100.0/24"]}]}, ()),
        ("192.168.1.9", {"nat": [{"name": "vpn", "action": "exempt"}]}, ("192.168.1.9",)),
        ("192.168.1.9", {"outbound": [{"name": "no", "action": "reject", "port": ["443"], "protocol": ["tcp"]}]}, ()),
        ("192.168.1.9", {"outbound": [{"name": "no", "action": "drop", "source": ["office"]}]}, ()),
    ],
)
def test_what_the_declaration_says(source, params, sources):
    assert verdict(source, "2620:4f::1" if ":" in source else "192.31.196.129", **params).sources == sources


LAN0 = ("192.168.1.1", "fd00:1::1", "2001:db8:1::1")
OLD = "2001:db8:ff::2"


@pytest.mark.parametrize(
    ("source", "addresses", "unchosen", "sources"),
    [
        ("192.168.1.9", {"wan0": (), "lan0": LAN0, "lo": ("203.0.113.9",)}, (), ("203.0.113.9",)),
        ("192.168.1.9", {"wan0": (), "lan0": LAN0, "lo": ("10.255.0.9",)}, (), ("10.255.0.9",)),
        ("192.168.1.9", {"wan0": (), "lan0": LAN0}, (), ()),
        ("fd00:1::9", {"wan0": (), "lan0": LAN0}, (), ("2001:db8:1::1",)),
        ("fd00:1::9", {"wan0": (OLD,), "lan0": LAN0}, (("wan0", OLD),), (OLD, "2001:db8:1::1")),
        ("fd00:1::9", {"wan0": (OLD,), "lan0": LAN0}, (("lan0", "2001:db8:1::1"),), (OLD,)),
    ],
)
def test_for_a_wan_without_an_address_the_kernel_takes_that_of_another_link(source, addresses, unchosen, sources):
    ground = Ground(addresses=addresses, unchosen=frozenset(unchosen))
    target = "2620:4f::1" if ":" in source else "192.31.196.129"
    assert verdict(source, target, ground=ground).sources == sources


def test_a_rate_may_be_used_up():
    rule = {"name": "slow", "rate": "5/second"}
    assert verdict("192.168.1.9", "192.31.196.129", outbound=[rule]).shortage


def test_prefixes_are_mapped_as_rfc_6296_says():
    nat = [{"name": "npt", "action": "prefix", "source": ["fd01:203:405::/48"], "to": ["2001:db8:1::/48"]}]
    lan = dict(LAN, networks=["fd01:203:405:1::/64"])
    gateway, problems = read_resolved(gateway_params(wans=[{"interface": "wan0"}], lans=[lan], nat=nat, ipv6="prefix"))
    assert not problems
    seen = Oracle(gateway, GROUND).leaves(Packet("fd01:203:405:1::1234", "2620:4f::1", "udp", 1, 2), "wan0").sources
    assert seen == ("2001:db8:1:d550::1234",)  # the example of RFC 6296, section 2.5.1
