# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError
from ansible_collections.ipmasq.linux.plugins.module_utils._base.host import Done
from ansible_collections.ipmasq.linux.plugins.module_utils._managers.seen import Address, Route, read_seen
from ansible_collections.ipmasq.linux.tests.unit.lan_clients import Client

TEXTS = [
    "default via 192.168.1.1 dev lan0 proto static",
    "default via fd00:1::1 dev lan0 proto static metric 1024 onlink",
    "default dev ppp0 proto dhcp src 192.168.1.11 metric 100",
]


@pytest.mark.parametrize("text", TEXTS)
def test_a_route_as_text(text):
    assert str(Route.parse(text)) == text


def test_the_name_of_a_link_is_one_word():
    assert Route("192.168.1.1", "l;reboot").line("del").endswith("dev 'l;reboot' proto static")


def test_what_is_seen():
    seen = read_seen(Client(routes=TEXTS[:2]))
    assert [str(each) for each in seen.addresses] == ["lan0 192.168.1.11/24", "lan0 fd00:1::11/64"]
    assert seen.interfaces == ("lan0",)
    assert [str(route) for route in seen.routes] == TEXTS[:2]
    assert seen.others(4, {("192.168.1.1", "lan0")}) == []
    assert [str(route) for route in seen.others(6, ())] == TEXTS[1:2]


def test_networks():
    own = Address("lan0", "192.168.1.11", 24)
    assert (own.holds("192.168.1.254"), own.holds("192.168.2.1"), own.holds("fd00::1")) == (True, False, False)
    assert own.netmask == "255.255.255.0"


def test_no_json():
    client = Client()
    client.run = lambda *_words: Done(255, "", "")
    with pytest.raises(GatewayError, match="iproute2 is missing there"):
        read_seen(client)
