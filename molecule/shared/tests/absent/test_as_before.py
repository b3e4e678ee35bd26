# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The gateway is as it was before the first run."""

from __future__ import annotations

import json
import typing as t

import labtalk
import pytest
import snapshot

LAB = labtalk.load()
VIEWS = ["nft", "iptables", "ip6tables", "sysctl", "files in /etc", "enabled units", "routes"]


@pytest.fixture(scope="module", params=LAB.gateways, ids=lambda gateway: gateway.name)
def pair(request: pytest.FixtureRequest) -> tuple[dict[str, t.Any], dict[str, t.Any]]:
    gateway = request.param
    return json.loads(snapshot.path(gateway).read_text()), snapshot.take(gateway)


@pytest.mark.parametrize("view", VIEWS)
def test_as_before(pair: tuple[dict[str, t.Any], dict[str, t.Any]], view: str) -> None:
    before, after = pair
    assert after[view] == before[view]


@pytest.mark.parametrize("client", LAB.clients, ids=lambda client: client.name)
def test_no_client_gets_out(client: labtalk.Node) -> None:
    assert not client.connects(LAB.reflectors(4)[0], 80)
