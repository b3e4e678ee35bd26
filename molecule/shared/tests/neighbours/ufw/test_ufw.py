# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""ufw beside a gateway: what it denies stays denied, what it allows stays open."""

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


def test_ufw_is_active() -> None:
    assert "Default: deny (incoming), allow (outgoing), deny (routed)" in GATEWAY.must("ufw", "status", "verbose")


@pytest.mark.parametrize("address", GATEWAY.links[LAB.wan_network])
def test_the_wan_reaches_only_what_ufw_allows(address: str) -> None:
    assert LAB.wan.connects(address, ALLOWED)
    assert not LAB.wan.connects(address, DENIED)


@pytest.mark.parametrize("address", GATEWAY.links["office"])
def test_a_lan_reaches_only_what_ufw_allows(address: str) -> None:
    assert LAB.clients[0].connects(address, ALLOWED)
    assert not LAB.clients[0].connects(address, DENIED)


def test_what_the_gateway_serves_is_let_in_from_its_lan() -> None:
    for address in GATEWAY.links["office"]:
        assert LAB.clients[0].connects(address, DNS)
    for address in GATEWAY.links[LAB.wan_network]:
        assert not LAB.wan.connects(address, DNS)
