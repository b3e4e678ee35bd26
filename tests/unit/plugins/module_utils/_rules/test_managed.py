# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Links that are left to their managers: packet by packet in test_compile.py, with packets in integration."""

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._facts.links import Facts, Interface
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.read import gateway_from_params
from ansible_collections.ipmasq.linux.plugins.module_utils._resolve.resolve import resolve
from ansible_collections.ipmasq.linux.plugins.module_utils._rules.compile import compile_gateway
from ansible_collections.ipmasq.linux.tests.unit.packet import Packet, trace
from ansible_collections.ipmasq.linux.tests.unit.params import gateway_params

LAN = {"name": "office", "interfaces": ["lan0"], "networks": ["192.168.1.0/24", "2001:db8:1::/64"]}


def compiled(*links):
    gateway = gateway_from_params(gateway_params(wans=[{"interface": "wan0"}], lans=[LAN], ipv6="route"))
    return compile_gateway(resolve(gateway, Facts(links)).gateway)


@pytest.mark.parametrize(
    ("site", "host"), [("2001:db8:9::9", "2001:db8:1::10"), ("198.51.100.9", "192.168.1.10")], ids=["IPv6", "IPv4"]
)
def test_a_public_network_behind_a_tunnel_passes_once_a_run_has_found_it(site, host):
    tunnel = Interface("wg0", kind="wireguard", routed=("2001:db8:9::/48", "198.51.100.0/24"), addresses=("10.8.0.1",))
    packets = Packet("lan0", "wg0", host, site), Packet("wg0", "lan0", site, host)
    for ruleset, verdict in ((compiled(), "drop"), (compiled(tunnel), "accept")):
        assert [trace(ruleset, packet).verdict for packet in packets] == [verdict, verdict]


def test_no_row_depends_on_links_with_private_networks():
    assert (
        compiled(Interface("wg0", kind="wireguard", networks=("10.8.0.0/24",), addresses=("10.8.0.1",))) == compiled()
    )
