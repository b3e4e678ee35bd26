# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Flows whose route has changed; with packets in tests/integration/test_undeclared.py."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._facts.links import Facts, Interface, Route
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.read import gateway_from_params
from ansible_collections.ipmasq.linux.plugins.module_utils._resolve.resolve import resolve
from ansible_collections.ipmasq.linux.plugins.module_utils._rules.compile import compile_gateway
from ansible_collections.ipmasq.linux.tests.unit.packet import Packet, trace
from ansible_collections.ipmasq.linux.tests.unit.params import gateway_params

LAN = {"name": "office", "interfaces": ["lan0"], "networks": ["192.168.1.0/24"]}
UPLINK = Interface("lte0", networks=("100.64.9.0/24",), addresses=("100.64.9.2",))


@pytest.mark.parametrize("state", ["established", "related", "invalid", "untracked"])
@pytest.mark.parametrize(("undeclared", "verdict"), [("drop", "drop"), ("leave", "accept")])
def test_a_private_source_of_an_undeclared_link_leaves_by_no_other_with_a_default_route(state, undeclared, verdict):
    params = gateway_params(wans=[{"interface": "wan0"}], lans=[LAN], undeclared=undeclared)
    ruleset = compile_gateway(resolve(gateway_from_params(params), Facts((UPLINK,), (Route("lte0"),))).gateway)
    assert trace(ruleset, Packet("eth9", "lte0", "10.9.9.9", "198.51.100.9", state)).verdict == verdict
    assert trace(ruleset, Packet("eth9", "eth8", "10.9.9.9", "198.51.100.9", state)).verdict == "accept"


@pytest.mark.parametrize("source", ["172.17.0.10", "fd17::10"])
@pytest.mark.parametrize("link", ["wan0", "lte0"])
@pytest.mark.parametrize(
    ("state", "again"),
    [("new", False), ("new", True), ("established", True), ("related", True), ("invalid", True), ("untracked", True)],
)
def test_a_private_source_of_an_undeclared_link_leaves_encrypted(source, link, state, again):
    """A policy of IPsec is the operator's word about these packets, and nobody outside sees their source."""
    params = gateway_params(wans=[{"interface": "wan0"}], lans=[LAN])
    ruleset = compile_gateway(resolve(gateway_from_params(params), Facts((UPLINK,), (Route("lte0"),))).gateway)
    there = "2001:db8:9::9" if ":" in source else "198.51.100.9"
    packet = Packet("docker0", link, source, there, state, again=again)
    assert trace(ruleset, replace(packet, ipsec=True)).verdict == "accept"
    assert trace(ruleset, packet).verdict == "drop"
