# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError
from ansible_collections.ipmasq.linux.plugins.module_utils._base.host import Done
from ansible_collections.ipmasq.linux.plugins.module_utils._managers.seen import Address, Route, read_seen
from ansible_collections.ipmasq.linux.tests.unit.lan_clients import Client

KIND = "unreachable"
TEXTS = [
    "default via 192.168.1.1 dev lan0 proto static",
    "default via fd00:1::1 dev lan0 proto static metric 1024 onlink",
    "default dev ppp0 proto dhcp src 192.168.1.11 metric 100",
    "default via inet6 fe80::1 dev lan0 proto static mtu lock 1400 advmss 1300 initcwnd 20",
    "unreachable default proto static metric 4278198272",
]


@pytest.mark.parametrize("text", TEXTS)
def test_a_route_as_text(text):
    assert str(Route.parse(text, 6 if "fd00" in text else 4)) == text


def test_what_passes_is_not_part_of_a_route():
    text = "default via fe80::1 dev lan0 proto ra metric 1024 expires 17sec hoplimit 64 rto_min lock 300ms pref medium"
    route = Route.parse(text + " linkdown", 6)
    assert str(route) == "default via fe80::1 dev lan0 proto ra metric 1024 hoplimit 64 rto_min 300ms"
    assert Route.parse(text.replace("medium", "high"), 6).beside[-2:] == ("pref", "high")


def test_a_route_without_a_gateway_has_the_family_that_was_asked_for():
    found = [Route.parse("default dev wg0 metric 1024", version) for version in (4, 6)]
    assert [route.version for route in found] == [4, 6] and found[0].key != found[1].key
    assert found[1].line("replace") == "ip -6 route replace default dev wg0 metric 1024"
    # One whose gateway says it is the same as one that was remembered without it.
    assert Route.parse(TEXTS[0], 4) == Route("192.168.1.1", "lan0")
    assert Route.parse(TEXTS[1], 6) == Route.parse(TEXTS[1])


def test_routes_of_no_use_to_anybody_are_none_of_the_others():
    """The kernel's own, a next hop by itself, and one that is there for want of any other."""
    lines = "unreachable default dev lo proto kernel metric 4294967295 error -101\n"
    lines += "default proto static metric 99 pref medium\n\tnexthop via fd00::3 dev lan0 weight 1 linkdown \n"
    lines += "unreachable default dev lo metric 9999 pref medium\nunreachable default dev lo metric 1024 pref medium\n"
    client = Client()
    asked, client.run = client.run, lambda argv, _stdin=None: Done(0, lines, "") if argv[1] == "-6" else asked(argv)
    seen = read_seen(client)
    assert str(seen.routes[0]) == "default proto static metric 99 nexthop via fd00::3 dev lan0 weight 1"
    assert seen.routes[0].links == ("", "lan0")
    assert [(each.kind, each.metric) for each in seen.routes] == [
        ("", 99),
        ("unreachable", 9999),
        ("unreachable", 1024),
    ]
    assert [route.metric for route in seen.others(6, ())] == [99, 1024]


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
