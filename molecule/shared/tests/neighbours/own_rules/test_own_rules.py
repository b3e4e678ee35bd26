# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rules of the administrator beside a gateway: what they drop stays dropped."""

from __future__ import annotations

import typing as t

import labtalk
import pytest

LAB = labtalk.load()
GATEWAY = LAB.gateways[0]
DENIED, ALLOWED = 8081, 8082


@pytest.fixture(scope="module", autouse=True)
def servers() -> t.Iterator[None]:
    with labtalk.serving(GATEWAY, DENIED, ALLOWED):
        yield


@pytest.mark.parametrize("address", GATEWAY.links[LAB.wan_network])
def test_the_wan_reaches_only_what_the_administrator_allows(address: str) -> None:
    assert LAB.wan.connects(address, ALLOWED)
    assert not LAB.wan.connects(address, DENIED)
