# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The shape of the NAT rules; test_compile.py traces packets."""

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._facts.links import Facts
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.read import gateway_from_params
from ansible_collections.ipmasq.linux.plugins.module_utils._resolve.resolve import resolve
from ansible_collections.ipmasq.linux.plugins.module_utils._rules.nat import dstnat, egress, srcnat
from ansible_collections.ipmasq.linux.tests.unit.params import gateway_params

NOBODY = Facts((), ())


def gateway(**params):
    lan = {"name": "office", "interfaces": ["lan0"], "networks": ["192.168.1.0/24"]}
    known = dict({"wans": [{"interface": "wan0"}], "lans": [lan]}, **params)
    return resolve(gateway_from_params(gateway_params(**known)), NOBODY).gateway


def kinds(rules):
    return [(rule.action.kind, rule.key) for rule in rules]


def test_without_anything_said():
    assert kinds(srcnat(gateway())) == [("masquerade", "nat/default")]
    assert kinds(egress(gateway(), ("wan0",))) == [("expect_nat", "guard"), ("guard", "guard")]
    assert dstnat(gateway()) == []


@pytest.mark.parametrize("exempt_first", [True, False])
def test_the_guard_closes_what_stands_before_an_exempt_item(exempt_first):
    items = [{"name": "vpn", "action": "exempt", "destination": ["10.0.0.0/8"]}]
    items.append({"name": "rest", "destination": ["0.0.0.0/1"]})
    rules = egress(gateway(nat=items if exempt_first else items[::-1]), ("wan0",))
    if exempt_first:
        wanted = [("return", "nat/vpn"), ("expect_nat", "guard"), ("guard", "guard")]
    else:
        wanted = [("expect_nat", "guard"), ("guard", "guard"), ("return", "nat/vpn"), ("guard", "guard")]
        # What ICMP has to say about exempt flows, before an item that may be about ICMP.
        assert (kinds(rules)[0], rules[0].match.ct_state) == (("return", "nat/vpn"), ("related",))
        rules = rules[1:]
    assert kinds(rules) == wanted


def test_ports_are_for_protocols_that_have_them():
    rules = srcnat(gateway(nat=[{"name": "x", "to_port": "1024-65535"}]))
    assert [(rule.match.protocol, rule.action.ports) for rule in rules] == [
        ("tcp", (1024, 65535)),
        ("udp", (1024, 65535)),
        ("sctp", (1024, 65535)),
        ("", None),
    ]


def test_both_directions_of_a_mapping():
    mapped = gateway(nat=[{"name": "x", "action": "static", "source": ["192.168.1.0/28"], "to": ["203.0.113.0/28"]}])
    ((around, out), (back, inside)) = srcnat(mapped), dstnat(mapped)
    assert (inside.match.iif, inside.action) == (("lan0",), back.action)
    assert (around.match.asked, around.match.destination) == (("203.0.113.0/28",), ("192.168.1.0/28",))
    assert (around.action.kind, len(around.action.to)) == ("hairpin", 16)
    assert (out.match.source, out.match.oif, out.action.to) == (("192.168.1.0/28",), ("wan0",), ("203.0.113.0/28",))
    assert (back.match.destination, back.match.iif, back.action.to) == (
        ("203.0.113.0/28",),
        ("wan0",),
        ("192.168.1.0/28",),
    )
