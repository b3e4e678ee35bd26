# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hosts, LANs, and what resolving on them finds or refuses."""

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError
from ansible_collections.ipmasq.linux.plugins.module_utils._facts.links import Facts, Interface, Route
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.read import gateway_from_params, read_gateway
from ansible_collections.ipmasq.linux.plugins.module_utils._resolve.resolve import resolve
from ansible_collections.ipmasq.linux.plugins.module_utils._resolve.resolved import (
    ResolvedLan,
    ResolvedWan,
    resolved_from,
)
from ansible_collections.ipmasq.linux.tests.unit.params import gateway_params

WAN = Interface("eth0", ("wan-port",), networks=("203.0.113.0/24",), addresses=("203.0.113.5",))
LAN = Interface("eth1", ("a-long-alternative-name",), networks=("192.168.1.0/24", "fd00:1::/64"))
DOCKER = Interface("docker0", networks=("172.17.0.0/16",))
PUBLIC = Interface("eth2", networks=("198.51.100.0/24",))
BARE = Interface("eth3")
VPN = Interface("wg0", kind="wireguard", networks=("10.9.0.0/24",))
PORTS = Facts((WAN, Interface("eth1", master="bond0", port_of="bond", networks=("10.1.0.0/24",))), (Route("eth0"),))
HOST = Facts((Interface("lo"), WAN, LAN, DOCKER, PUBLIC, BARE, VPN), (Route("eth0"),))
MANY = Facts(
    (
        Interface("eth0", networks=("203.0.113.0/24",), addresses=("203.0.113.5", "203.0.113.6", "2001:db8:ff::5")),
        Interface("eth1", networks=("192.168.1.0/24",), addresses=("192.168.1.1",)),
    ),
    (Route("eth0"),),
)
OFFICE = {"name": "office", "interfaces": ["eth1"], "networks": ["192.168.1.0/24"]}
GUESTS = {"name": "guests", "interfaces": ["eth2"], "networks": ["192.168.2.0/24", "fd00:2::/64"]}
ROUTED = {"name": "routed", "interfaces": ["eth3"], "networks": ["192.168.3.0/24", "2001:db8:3::/64"]}
LONG = "sixteen-letters-"
NOBODY_HERE = Facts((), ())


def resolved(facts=HOST, **given):
    return resolve(gateway_from_params(gateway_params(**given)), facts)


def problems(facts=HOST, **given):
    with pytest.raises(GatewayError) as caught:
        resolved(facts, **given)
    return list(caught.value.problems)


def read_resolved(params):
    """Options without a host: nothing is looked up or checked, so WANs, LANs and networks must be named."""
    gateway, found = read_gateway(params)
    wans = tuple(ResolvedWan(wan.interface, wan.mss, wan.carried_from) for wan in gateway.named_wans)
    lans = tuple(
        ResolvedLan(lan.name, lan.interfaces, lan.named_networks, lan.reaches, lan.spoof_check, lan.services)
        for lan in gateway.named_lans
    )
    return resolved_from(gateway, wans=wans, lans=lans), found
