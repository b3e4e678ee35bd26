# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""fail2ban beside a gateway: banned addresses stay out, all others get an answer."""

from __future__ import annotations

import typing as t

import labtalk
import pytest

LAB = labtalk.load()
GATEWAY = LAB.gateways[0]
OUTSIDE = GATEWAY.address_on(LAB.wan_network, 4)
BANNED_FROM, OTHER = 22, 8080


@pytest.fixture(scope="module", autouse=True)
def servers() -> t.Iterator[None]:
    with labtalk.serving(GATEWAY, BANNED_FROM, OTHER):
        yield


def test_it_knows_whom_it_has_banned() -> None:
    assert LAB.wan.address_on(LAB.wan_network, 4) in GATEWAY.must("fail2ban-client", "status", "sshd")


def test_the_banned_one_is_not_answered() -> None:
    assert not LAB.wan.connects(OUTSIDE, BANNED_FROM)
    assert LAB.wan.connects(OUTSIDE, OTHER)


def test_others_are_answered() -> None:
    assert LAB.clients[0].connects(GATEWAY.address_on("office", 4), BANNED_FROM)


def test_it_can_be_lifted_and_set_again() -> None:
    address = LAB.wan.address_on(LAB.wan_network, 4)
    GATEWAY.must("fail2ban-client", "set", "sshd", "unbanip", address)
    assert LAB.wan.connects(OUTSIDE, BANNED_FROM)
    GATEWAY.must("fail2ban-client", "set", "sshd", "banip", address)
    assert labtalk.wait_until(lambda: not LAB.wan.connects(OUTSIDE, BANNED_FROM))
