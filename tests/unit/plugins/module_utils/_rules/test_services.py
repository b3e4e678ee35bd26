# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who may ask the gateway for addresses and names."""

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._facts.links import Facts, Interface
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.read import gateway_from_params
from ansible_collections.ipmasq.linux.plugins.module_utils._resolve.resolve import resolve
from ansible_collections.ipmasq.linux.plugins.module_utils._rules.compile import compile_gateway
from ansible_collections.ipmasq.linux.plugins.module_utils._rules.services import services
from ansible_collections.ipmasq.linux.tests.unit.packet import Packet, trace
from ansible_collections.ipmasq.linux.tests.unit.params import gateway_params

HOST = Facts(
    (
        Interface("wan0", networks=("203.0.113.0/24",), addresses=("203.0.113.2",)),
        Interface("lan0", networks=("192.168.1.0/24", "fd00:1::/64"), addresses=("192.168.1.1", "fd00:1::1")),
        Interface("guest0", networks=("192.168.2.0/24",), addresses=("192.168.2.1",)),
    )
)


def resolved(office, guests, **more):
    lans = [
        {"name": "office", "interfaces": ["lan0"], **office},
        {"name": "guests", "interfaces": ["guest0"], **guests},
    ]
    params = gateway_params(wans=[{"interface": "wan0"}], lans=lans, **more)
    return resolve(gateway_from_params(params), HOST).gateway


def test_a_gateway_without_services_has_no_rule_for_them():
    assert services(resolved({}, {})) == []


@pytest.mark.parametrize("door", ["open", "protect"])
def test_who_is_let_in(door):
    rules = compile_gateway(resolved({"dhcp": True}, {"dhcp": True, "dns": False}, input=door))
    for iif, source, to, protocol, port, verdict in (
        ("lan0", "0.0.0.0", "255.255.255.255", "udp", 67, "accept"),
        ("lan0", "192.168.1.5", "192.168.1.1", "udp", 53, "accept"),
        ("lan0", "192.168.1.5", "192.168.1.1", "tcp", 53, "accept"),
        ("lan0", "fe80::5", "ff02::1:2", "udp", 547, "accept"),
        ("guest0", "0.0.0.0", "255.255.255.255", "udp", 67, "accept"),
        ("guest0", "192.168.2.5", "192.168.2.1", "udp", 53, "reject"),
        ("wan0", "0.0.0.0", "255.255.255.255", "udp", 67, "drop"),
        ("wan0", "fe80::5", "ff02::1:2", "udp", 547, "drop"),
    ):
        packet = Packet(iif, "", source, to, protocol=protocol, port=port)
        assert trace(rules, packet).verdict == verdict, packet


def test_a_server_of_the_users_own_on_the_wan_stays_reachable():
    """Only other addresses of the host are closed to WANs."""
    asked = [rule for rule in services(resolved({"dns": True}, {})) if rule.match.iif == ("wan0",) and
             rule.match.port == ((53, 53),)]  # fmt: skip
    assert len(asked) == 2 and all(rule.match.elsewhere for rule in asked)
