# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""firewalld beside a gateway: one of its policies lets the LAN out, and what it refuses stays refused."""

from __future__ import annotations

import typing as t

import labtalk
import pytest

LAB = labtalk.load()
GATEWAY = LAB.gateways[0]
DENIED, ALLOWED, DNS = 8081, 8082, 53


@pytest.fixture(scope="module", autouse=True)
def servers() -> t.Iterator[None]:
    with labtalk.serving(GATEWAY, DENIED, ALLOWED):
        yield


@pytest.mark.parametrize("when", [[], ["--permanent"]])
def test_the_policy_is_there_at_run_time_and_for_good(when: list[str]) -> None:
    shown = GATEWAY.must("firewall-cmd", *when, "--info-policy=ipmasq-default")
    own_zone = "wan0" in GATEWAY.must("firewall-cmd", "--get-active-zones")
    assert "ingress-zones: internal" in shown
    assert "egress-zones: {0}".format("external" if own_zone else "ANY") in shown
    assert 'rule family="ipv4" source address="192.168.1.0/24" accept' in shown


@pytest.mark.parametrize("when", [[], ["--permanent"]])
def test_what_the_gateway_serves_is_let_in_from_its_lan(when: list[str]) -> None:
    shown = GATEWAY.must("firewall-cmd", *when, "--info-policy=serves-default")
    assert "ingress-zones: internal" in shown and "egress-zones: HOST" in shown
    assert "services: dhcp dhcpv6 dns" in shown
    assert LAB.clients[0].connects(GATEWAY.links["office"][0], DNS)
    assert not LAB.wan.connects(GATEWAY.links[LAB.wan_network][0], DNS)


@pytest.mark.parametrize("address", GATEWAY.links[LAB.wan_network])
def test_the_wan_reaches_only_what_firewalld_allows(address: str) -> None:
    assert LAB.wan.connects(address, ALLOWED)
    assert not LAB.wan.connects(address, DENIED)


@pytest.mark.parametrize("address", GATEWAY.links["office"])
def test_a_lan_reaches_only_what_firewalld_allows(address: str) -> None:
    assert LAB.clients[0].connects(address, ALLOWED)
    assert not LAB.clients[0].connects(address, DENIED)
