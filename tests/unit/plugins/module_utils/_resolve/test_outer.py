# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""WANs whose address or router is in a LAN's networks: in clouds, and with PPP and LTE."""

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._base.values import overlaps
from ansible_collections.ipmasq.linux.plugins.module_utils._facts.links import Facts, Interface, Route
from ansible_collections.ipmasq.linux.plugins.module_utils._resolve import outer
from ansible_collections.ipmasq.linux.tests.unit.resolving import problems, resolved


def alone(name, *addresses, **more):
    """A link with single addresses."""
    return Interface(name, addresses=addresses, sources=addresses, **more)


LAN0 = Interface("lan0", networks=("192.168.1.0/24",), addresses=("192.168.1.1",), sources=("192.168.1.1",))
PPP = alone("ppp0", "10.20.30.40", kind="ppp", peers=("10.64.64.64",))
#: Google's clouds: every address is a /32, and a NAT gateway has a route to all of 10.0.0.0/8 by its inner card.
CLOUD = Facts(
    (alone("wan0", "10.128.0.5"), alone("lan0", "10.200.0.5", routed=("10.0.0.0/8", "10.200.0.1/32"))),
    (Route("wan0", via="10.128.0.1"),),
)


def office(*networks, **more):
    return dict({"name": "office", "interfaces": ["lan0"], "networks": ["192.168.1.0/24", *networks]}, **more)


def test_an_address_in_a_listed_network_is_refused():
    facts = Facts((PPP, LAN0), (Route("ppp0"),))
    assert problems(facts, lans=[office("10.0.0.0/8")]) == [
        "lans[0] 'office': network 10.0.0.0/8 overlaps 10.20.30.40/32 of WAN ppp0; name the networks behind the LAN "
        "without that range, such as 10.128.0.0/9, 10.64.0.0/10, 10.32.0.0/11, 10.0.0.0/12 and more"
    ]
    assert problems(facts, lans=[office("10.20.30.40/32")])[0].endswith("; renumber the LAN")
    # Without it, all is well, and so it is with what was refused before.
    assert not resolved(facts, lans=[office("10.128.0.0/9")]).remarks


def test_an_address_in_the_network_of_a_lans_link_is_refused():
    broad = Interface("lan0", networks=("10.0.0.0/8",), addresses=("10.0.0.1",))
    facts = Facts((PPP, broad), (Route("ppp0"),))
    assert problems(facts)[0].startswith("lans[0] 'lan0': network 10.0.0.0/8 overlaps 10.20.30.40/32 of WAN ppp0; ")


@pytest.mark.parametrize(
    ("wan", "lan", "more"),
    [
        (alone("ppp0", "100.64.1.2"), office("10.0.0.0/8"), {}),
        # Of a WAN with a network, its addresses are in it.
        (Interface("ppp0", networks=("10.9.0.0/24",), sources=("10.9.0.5",)), office("10.8.0.0/16"), {}),
        # What NAT items have added is checked with these; they may go with this run.
        (Interface("ppp0", addresses=("10.20.30.40",)), office("10.0.0.0/8"), {}),
        # Global IPv6 is routed, and a WAN's address may be part of the prefix that was delegated.
        (alone("ppp0", "2001:db8:1:ff::1"), office("2001:db8:1::/48"), {}),
        # A WAN without an address of its own, as on routed lines.
        (alone("ppp0", "192.168.1.1"), office(), {}),
        # Not translated.
        (alone("ppp0", "203.0.113.1"), office("203.0.113.0/29"),
         {"nat": [{"name": "own", "source": ["203.0.113.0/29"], "action": "exempt"}, {"name": "rest"}]}),
    ],
)  # fmt: skip
def test_what_works_is_not_refused(wan, lan, more):
    assert resolved(Facts((wan, LAN0), (Route("ppp0"),)), lans=[lan], **more).gateway.lans[0].networks


@pytest.mark.parametrize("named", [True, False])
def test_routes_leave_out_the_addresses_and_routers_of_wans(named):
    lan = [{"name": "lan0", "interfaces": ["lan0"]}]
    found = resolved(CLOUD, **({"wans": [{"interface": "wan0"}], "lans": lan} if named else {}))
    networks = found.gateway.lans[0].networks
    assert not overlaps(networks, ["10.128.0.5/32", "10.128.0.1/32"])
    for address in ("10.128.0.4/32", "10.128.0.0/32", "10.200.0.10/32", "10.255.255.255/32"):
        assert overlaps(networks, [address])
    assert not found.remarks and not found.warnings
    assert dict(found.chosen.networks)["lan0"] == ("10.0.0.0/8", "10.200.0.1/32"), "they may change"


def test_a_route_to_nothing_else_is_refused():
    only = Facts((CLOUD.interfaces[0], alone("lan0", "10.200.0.5", routed=("10.128.0.5/32",))), CLOUD.routes)
    assert problems(only)[0].endswith("network 10.128.0.5/32 overlaps 10.128.0.5/32 of WAN wan0; renumber the LAN")


def test_a_router_in_a_listed_network_gets_a_remark():
    """Clients reach the Internet through it, so this is not refused: pppd invents 10.64.64.64."""
    there = alone("ppp0", "203.0.113.5", peers=("10.64.64.64",))
    facts = Facts((there, LAN0), (Route("ppp0", via="172.31.1.1"),))
    found = resolved(facts, lans=[office("10.0.0.0/8", "172.16.0.0/12")]).remarks
    assert [each.partition(", so ")[0] for each in found] == [
        "LAN office: network 10.0.0.0/8 contains 10.64.64.64, a router of WAN ppp0",
        "LAN office: network 172.16.0.0/12 contains 172.31.1.1, a router of WAN ppp0",
    ]
    assert not resolved(facts, lans=[office("10.0.0.0/8", spoof_check=False)]).remarks
    assert not resolved(facts, lans=[office("10.128.0.0/9")]).remarks


def test_what_appears_later_is_found():
    gateway = resolved(Facts((LAN0,)), wans=[{"interface": "ppp0"}], lans=[office("10.0.0.0/8")]).gateway
    assert outer.overlapping(gateway, Facts((LAN0,))) == []
    (found,) = outer.overlapping(gateway, Facts((LAN0, PPP)))
    assert (found.lan, str(found)) == ("office", "network 10.0.0.0/8 overlaps 10.20.30.40/32 of WAN ppp0")
    other = Facts((alone("wan0", "10.128.0.7"), *CLOUD.interfaces[1:]), CLOUD.routes)
    gateway = resolved(CLOUD).gateway
    assert not outer.overlapping(gateway, CLOUD)
    assert [each.outer for each in outer.overlapping(gateway, other)] == ["10.128.0.7/32"]
