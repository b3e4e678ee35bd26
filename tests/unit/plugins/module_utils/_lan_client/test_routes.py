# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Default routes: what comes, what goes, and what a rollback restores."""

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError
from ansible_collections.ipmasq.linux.plugins.module_utils._lan_client.routes import ROUTES, Sent, steps
from ansible_collections.ipmasq.linux.plugins.module_utils._managers.seen import Route
from ansible_collections.ipmasq.linux.plugins.module_utils._parts.part import Delta, Scene
from ansible_collections.ipmasq.linux.tests.unit.lan_clients import TWO_NETWORKS, Client

OURS = ["default via 192.168.1.1 dev lan0 proto static", "default via fd00:1::1 dev lan0 proto static metric 1024"]
ELSEWHERE = "default via 192.168.9.1 dev lan1 proto dhcp metric 100"


def routes(*texts):
    return tuple(Route.parse(text) for text in texts)


def test_both_families_and_back():
    client = Client()
    before = client.state()
    done = client.apply()
    assert client.routes() == OURS
    assert done["differences"][:2] == ["+ " + each for each in OURS]
    assert not client.apply()["changed"]
    assert client.apply(state="absent")["changed"]
    assert client.state() == before
    assert not client.apply(state="absent")["changed"]


def test_check_mode_says_the_same_and_changes_nothing():
    client = Client()
    before = client.state()
    foretold = client.apply(check_mode=True)
    assert client.state() == before
    assert foretold["differences"] == client.apply()["differences"]


def test_a_route_lost_at_run_time_comes_back():
    client = Client()
    client.apply()
    client.live = []
    assert client.apply()["differences"] == ["+ " + each for each in OURS]
    assert client.routes() == OURS


def test_another_default_route_is_refused_or_outranked():
    client = Client(TWO_NETWORKS, [ELSEWHERE])
    with pytest.raises(GatewayError, match="already has the IPv4 default route `{0}`".format(ELSEWHERE)):
        client.apply()
    done = client.apply(replace_default=True)
    assert client.routes() == [ELSEWHERE, OURS[0]]
    assert done["notes"] == ["IPv4 goes through 192.168.1.1 on lan0 instead of " + ELSEWHERE]


@pytest.mark.parametrize("manager", ["networkd", "NetworkManager"])
def test_a_route_of_the_highest_priority_is_refused(manager):
    client = Client(routes=["default via 192.168.1.254 dev lan0 proto static"], manager=manager)
    with pytest.raises(GatewayError, match="has the highest priority there is; remove it where it is configured"):
        client.apply(replace_default=True)


def test_ipv6_is_outranked_by_its_metric():
    client = Client(routes=["default via fe80::9 dev lan0 proto ra metric 1024"])
    with pytest.raises(GatewayError, match="already has the IPv6 default route"):
        client.apply(gateway6="fd00:1::1")
    client.apply(gateway6="fd00:1::1", replace_default=True)
    assert "default via fd00:1::1 dev lan0 proto static metric 1023" in client.routes()


TUNNEL = {"addresses": {"lan0": ["192.168.1.11/24", "fd00:1::11/64"], "wg0": ["fd00:9::1/64"]}}


@pytest.mark.parametrize(("metric", "ours"), [(1024, 1023), (50, 49)])
def test_an_ipv6_route_without_a_gateway_is_refused_or_outranked(metric, ours):
    """As of a tunnel. It is none of IPv4."""
    other = Route.parse("default dev wg0 metric {0}".format(metric), 6)
    client = Client(routes=[other], **TUNNEL)
    with pytest.raises(GatewayError, match="already has the IPv6 default route `{0}`".format(other)):
        client.apply(gateway="none", gateway6="fd00:1::254")
    client.apply(gateway="none", gateway6="fd00:1::254", replace_default=True)
    won = "default via fd00:1::254 dev lan0 proto static metric {0}".format(ours)
    assert client.routes() == [str(other), won]
    client.apply(state="absent")
    client.apply(gateway="192.168.1.1", gateway6="none")
    assert client.routes() == [str(other), OURS[0]]


def test_a_replaced_route_comes_back_with_all_its_words():
    before = "default via 192.168.1.254 dev lan0 mtu lock 1400 advmss 1300 initcwnd 20"
    client = Client(routes=[before], manager="ifupdown")
    client.apply(replace_default=True, gateway6="none")
    assert client.routes() == OURS[:1]
    client.apply(state="absent")
    assert client.routes() == [before]


def test_a_replaced_route_without_a_gateway_comes_back():
    before = "default dev lan0 scope link"
    client = Client(routes=[before], manager="ifupdown")
    done = client.apply(replace_default=True, gateway6="none")
    assert done["differences"][:2] == ["- " + before, "+ " + OURS[0]]
    client.apply(state="absent")
    assert client.routes() == [before]


def test_another_gateway_than_last_time():
    client = Client()
    client.apply()
    done = client.apply(gateway="192.168.1.2", gateways=[])
    assert client.routes() == ["default via 192.168.1.2 dev lan0 proto static"]
    lines = {line for line in done["differences"] if "default" in line}
    assert lines == {"- " + OURS[0], "- " + OURS[1], "+ default via 192.168.1.2 dev lan0 proto static"}


def test_ifupdown_replaces_and_restores():
    before = "default via 192.168.1.254 dev lan0 proto boot onlink"
    client = Client(routes=[before], manager="ifupdown")
    first = client.state()
    client.apply(replace_default=True)
    assert client.routes() == OURS
    # The second run finds its own route in place of the earlier one, and still knows that.
    assert not client.apply(replace_default=True)["changed"]
    client.apply(state="absent")
    assert client.state() == first


def test_another_route_by_the_same_gateway_stays():
    """Of a higher metric. To delete a route without metric is to delete any."""
    other = "default via 192.168.1.1 dev lan0 proto static metric 100"
    client = Client(routes=[other])
    client.apply(gateway6="none")
    assert client.routes() == [other, OURS[0]]
    client.apply(state="absent")
    assert client.routes() == [other]


def test_a_route_that_was_there_before_stays():
    client = Client(routes=["default via 192.168.1.1 dev lan0 proto dhcp src 192.168.1.11"], manager="ifupdown")
    first = client.state()
    client.apply(gateway6="none")
    client.apply(state="absent")
    assert client.state() == first


def test_the_rollback_is_the_way_of_the_timer():
    live = routes("default via 192.168.1.254 dev lan0 proto boot onlink", ELSEWHERE)
    client = Client(routes=[str(route) for route in live])
    want = Sent("ifupdown", "lan0", routes(*OURS), live[:1])
    delta = Delta(do=steps(Sent(), want, live), cuts=True)
    shell = ROUTES.restore(delta, Sent(), want, Scene(""), client)
    assert shell.lines == (
        "ip -4 route replace default via 192.168.1.254 dev lan0 proto boot onlink",
        "! ip -4 route show default via 192.168.1.1 dev lan0 | grep -qv ' metric ' || "
        "ip -4 route del default via 192.168.1.1 dev lan0 proto static 2> /dev/null || true",
        "! ip -6 route show default via fd00:1::1 dev lan0 metric 1024 | grep -q . || "
        "ip -6 route del default via fd00:1::1 dev lan0 proto static metric 1024 2> /dev/null || true",
    )


def test_addresses_by_dhcp_come_after_the_route():
    client = Client(dynamic=True)
    client.apply()
    assert client.routes()[0] == OURS[0] + " onlink"
