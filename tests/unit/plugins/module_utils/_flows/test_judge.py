# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One connection, judged by one set of rules."""

from __future__ import annotations

from ansible_collections.ipmasq.linux.plugins.module_utils._facts.links import Facts
from ansible_collections.ipmasq.linux.plugins.module_utils._flows.flow import End, Flow
from ansible_collections.ipmasq.linux.plugins.module_utils._flows.judge import Judge, Rules
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.read import gateway_from_params
from ansible_collections.ipmasq.linux.plugins.module_utils._resolve.resolve import resolve
from ansible_collections.ipmasq.linux.plugins.module_utils._rules.compile import compile_gateway
from ansible_collections.ipmasq.linux.tests.unit.params import gateway_params

PC, FAR, WAN = "192.168.1.10", "198.51.100.1", "203.0.113.2"
MASQUERADED = Flow("tcp", End(PC, FAR, 40000, 443), End(FAR, WAN, 443, 40000))
PLAIN = Flow("tcp", End(PC, FAR, 40000, 443), End(FAR, PC, 443, 40000))


def judge(**given):
    lans = [{"name": "office", "interfaces": ["lan0"], "networks": ["192.168.1.0/24"]}]
    params = gateway_params(wans=[{"interface": "wan0"}], lans=lans, **given)
    gateway = resolve(gateway_from_params(params), Facts((), ())).gateway
    return Judge(Rules(compile_gateway(gateway), gateway, frozenset((WAN,))))


def test_what_the_rules_translate_is_right():
    assert judge().right(MASQUERADED, "", certain=True)
    assert not judge().right(PLAIN, "", certain=False)


def test_what_they_exempt_is_right_untranslated():
    exempt = judge(nat=[{"name": "x", "action": "exempt"}])
    assert exempt.right(PLAIN, "", certain=True)
    assert not exempt.right(MASQUERADED, "", certain=False)


def test_what_the_rules_cannot_tell_is_possible_but_not_certain():
    """A connection does not show whether IPsec has encrypted it."""
    doubtful = judge(nat=[{"name": "vpn", "action": "exempt", "ipsec": True}, {"name": "rest"}])
    for flow in (PLAIN, MASQUERADED):
        assert doubtful.right(flow, "", certain=False)
        assert not doubtful.right(flow, "", certain=True)


def test_where_an_address_is():
    found = judge()
    assert found.links_of(PC) == ("lan0",)
    assert found.is_wan("wan0") and not found.is_wan("lan0")
