# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.tests.unit.explained import ROADS, planner, trip


@pytest.mark.parametrize(
    ("asked", "inn", "out"),
    [
        (("192.168.1.5", "9.9.9.9", "80"), "lan0 (LAN office)", "wan0 (a WAN)"),
        (("192.168.1.5", "192.168.2.5", "80"), "lan0 (LAN office)", "guest0 (LAN guests)"),
        (("192.168.1.5", "192.168.1.1", "80"), "lan0 (LAN office)", "this gateway itself"),
        (("192.168.1.5", "172.18.0.5", "80"), "lan0 (LAN office)", "dmz0 (not declared)"),
        (("172.18.0.5", "9.9.9.9", "80"), "dmz0 (not declared)", "wan0 (a WAN)"),
        (("9.9.9.9", "203.0.113.2", "80"), "wan0 (a WAN)", "this gateway itself"),
        (("203.0.113.77", "192.168.1.5", "80"), "wan0 (a WAN)", "lan0 (LAN office)"),
    ],
)
def test_where_a_packet_comes_in_and_goes(asked, inn, out):
    found, problems = trip(planner(), *asked)
    assert (str(found.inn), str(found.out), problems) == (inn, out, [])


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        (
            ("192.168.1.1", "9.9.9.9"),
            "from: 192.168.1.1 is an address of this gateway; give the address of a host that sends through it",
        ),
        (
            ("192.168.1.255", "9.9.9.9"),
            "from: 192.168.1.255 is a broadcast address; give the address of a single host",
        ),
        (
            ("10.9.9.9", "9.9.9.9"),
            "from: 10.9.9.9 is in no LAN (office: 192.168.1.0/24, fd00:1::/64; guests: 192.168.2.0/24); give an "
            "address that is in one, or add its network to the networks of a LAN",
        ),
        (
            ("192.168.1.5", "192.168.1.6"),
            "to: 192.168.1.6 and 192.168.1.5 are both on lan0, so they talk to each other directly; give an address "
            "elsewhere",
        ),
    ],
)
def test_what_cannot_be_asked(asked, problem):
    assert trip(planner(), *asked)[1] == [problem]


@pytest.mark.parametrize(
    ("refusal", "told"),
    [
        ("Network is unreachable", "no IPv4 route leads to 9.9.9.9"),
        ("Invalid argument", "a route or a rule of type blackhole drops packets to 9.9.9.9"),
        ("Permission denied", "a route or a rule of type prohibit keeps packets from 9.9.9.9"),
        ("No route to host", "a route of type unreachable keeps packets from 9.9.9.9"),
        ("Strange", "the kernel has no route to 9.9.9.9 (RTNETLINK answers: Strange)"),
    ],
)
def test_what_the_kernel_refuses_to_route(refusal, told):
    found, _problems = trip(planner({**ROADS, "9.9.9.0/24": refusal}), "192.168.1.5", "9.9.9.9")
    assert (str(found.out), found.out.kind) == (told, "nowhere")


def test_a_wan_that_is_down_is_named():
    roads = {net: road for net, road in ROADS.items() if not net.endswith("/0")}
    found, _problems = trip(planner(roads, down=("wan0",)), "192.168.1.5", "9.9.9.9")
    told = "no IPv4 route leads to 9.9.9.9; wan0 is down, so bring it up first (ip link set wan0 up)"
    assert found.out.why == told


def test_a_client_behind_another_router_that_no_route_leads_to():
    found, _problems = trip(planner({**ROADS, "192.168.1.0/24": {"dev": "dmz0"}}), "192.168.1.5", "9.9.9.9")
    assert found.inn.link == "lan0"
    note = "the route to 192.168.1.5 leads to dmz0, not to lan0, so nothing gets back to it through lan0"
    assert found.notes == (note,)


def test_the_wan_that_an_item_names():
    item = {"name": "one", "action": "static", "source": ["192.168.1.9/32"], "to": ["198.51.100.9/32"], "wan": "wan1"}
    made = planner(wans=[{"interface": "wan0"}, {"interface": "wan1"}], nat=[item])
    assert trip(made, "9.9.9.9", "198.51.100.9", "80")[0].inn.link == "wan1"
