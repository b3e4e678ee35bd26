# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError
from ansible_collections.ipmasq.linux.plugins.module_utils._facts.links import Facts, Interface, Route
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.read import gateway_from_params
from ansible_collections.ipmasq.linux.plugins.module_utils._resolve.pairs import answers
from ansible_collections.ipmasq.linux.plugins.module_utils._resolve.resolve import resolve
from ansible_collections.ipmasq.linux.tests.unit.params import gateway_params

LAN = Interface("lan0", networks=("192.168.1.0/24",), addresses=("192.168.1.1",))
WAN = Interface("wan0", networks=("203.0.113.0/24",), addresses=("203.0.113.2",))
OTHER = Interface("wan1", networks=("198.51.100.0/24",), addresses=("198.51.100.2",))
DOCKER = Interface("docker0", networks=("172.17.0.0/16",), addresses=("172.17.0.1",))
FORWARD = {"name": "web", "port": ["443"], "to": ["192.168.1.20"], "hairpin": True}
STATIC = {"name": "one", "action": "static", "source": ["192.168.1.20"], "to": ["203.0.113.2"]}
PRIVATE = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")
ALL_PRIVATE = (*PRIVATE, "fc00::/7")


def resolved(*interfaces, wans=("wan0",), **params):
    options = {
        "wans": [{"interface": name} for name in wans],
        "lans": [{"name": "office", "interfaces": ["lan0"], "networks": ["192.168.1.0/24"]}],
        "port_forwards": [FORWARD],
    }
    return resolve(gateway_from_params(gateway_params(**dict(options, **params))), Facts((LAN, *interfaces)))


def elsewhere(*interfaces, **params):
    return dict(resolved(*interfaces, **params).gateway.elsewhere)


def test_what_else_is_known_is_none_of_the_wan():
    assert elsewhere(Interface("mgmt0", addresses=("192.0.2.9",))) == {
        "": ALL_PRIVATE[:2] + ("192.0.2.9/32",) + ALL_PRIVATE[2:]
    }


def test_private_addresses_are_none_of_a_public_wan():
    """Networks of containers come and go, and change nothing."""
    assert elsewhere() == elsewhere(WAN) == elsewhere(WAN, DOCKER) == {"": ALL_PRIVATE}


def test_single_addresses_of_containers_and_vpns_are_none_of_the_wan():
    """Their networks may be anywhere."""
    links = [
        Interface("tailscale0", kind="tun", networks=("100.64.0.0/10",), addresses=("100.100.7.7",)),
        Interface("docker0", networks=("198.51.100.0/24",), addresses=("198.51.100.1", "2001:db8:7a::1")),
        Interface("lo", addresses=("192.0.2.7",)),
    ]
    found = elsewhere(WAN, DOCKER, *links)[""]
    assert set(found) == {*ALL_PRIVATE, "100.100.7.7/32", "198.51.100.1/32", "192.0.2.7/32", "2001:db8:7a::1/128"}
    # One that is a WAN has its own.
    alone = elsewhere(WAN, *links, wans=("wan0", "tailscale0"))[""]
    assert set(found) - set(alone) == {"100.100.7.7/32"}


def test_a_private_wan_is_where_it_is():
    apart = elsewhere(Interface("wan0", networks=("10.0.0.0/9",), addresses=("10.1.1.1",)))
    assert list(apart.values()) == [("10.128.0.0/9", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")]


def test_each_wan_is_none_of_the_other():
    pair = [dict(FORWARD, wan="wan0"), dict(FORWARD, name="b", wan="wan1"), dict(FORWARD, name="c", port=["1"])]
    assert elsewhere(WAN, OTHER, wans=("wan0", "wan1"), port_forwards=pair) == {
        "wan0": (*PRIVATE, "198.51.100.0/24", "fc00::/7"),
        "wan1": (*PRIVATE, "203.0.113.0/24", "fc00::/7"),
        "": ALL_PRIVATE,
    }


def test_two_wans_of_one_network_are_told_apart_by_address():
    beside = Interface("wan1", networks=("203.0.113.0/24",), addresses=("203.0.113.7",))
    pair = [dict(FORWARD, wan="wan0")]
    assert elsewhere(WAN, beside, wans=("wan0", "wan1"), port_forwards=pair) == {
        "wan0": (*PRIVATE, "203.0.113.7/32", "fc00::/7")
    }


def test_nothing_is_looked_up_without_a_hairpin():
    assert elsewhere(WAN, port_forwards=[dict(FORWARD, hairpin=False)]) == {}


def test_a_forward_that_is_left_no_address_is_refused():
    with pytest.raises(GatewayError) as raised:
        resolved(WAN, nat=[STATIC, {"name": "rest"}])
    (problem,) = raised.value.problems
    assert problem.startswith("port_forwards[0] 'web': can never match: nat items map every address of wan0;")
    # With another address, or no known one, it is as the user declares.
    resolved(Interface("wan0", addresses=("203.0.113.2", "203.0.113.3")), nat=[STATIC, {"name": "rest"}])


def test_a_forward_that_takes_a_port_of_a_mapped_address_is_told():
    named = dict(FORWARD, destination=["203.0.113.2"])
    (note,) = resolved(WAN, nat=[STATIC, {"name": "rest"}], port_forwards=[named]).notes
    assert note == (
        "port_forwards[0] 'web' takes its ports on 203.0.113.2/32 before nat[0] 'one' maps that address to "
        "192.168.1.20/32"
    )
    other = resolved(WAN, OTHER, wans=("wan0", "wan1"), nat=[STATIC], port_forwards=[dict(named, wan="wan1")])
    assert len(other.notes) == 1


def sentences(*routes, **params):
    options = {
        "wans": [{"interface": "wan0"}, {"interface": "wan1"}],
        "lans": [{"name": "office", "interfaces": ["lan0"], "networks": ["192.168.1.0/24"]}],
        "port_forwards": [FORWARD],
    }
    made = gateway_from_params(gateway_params(**dict(options, **params)))
    return answers(made, Facts((LAN, WAN, OTHER), routes))


@pytest.mark.parametrize(
    ("routes", "params", "by"),
    [
        ([Route("wan0")], {}, ("wan1", "wan0")),
        ([Route("wan0", metric=200), Route("wan1", metric=100)], {}, ("wan0", "wan1")),
        ([Route("wan0"), Route("wan1", table="101")], {}, None),
        ([Route("wan0")], {"port_forwards": [dict(FORWARD, wan="wan0")]}, None),
        ([Route("wan0", family="ip6")], {}, None),
        ([], {}, None),
        ([Route("wan0"), Route("wan1", source="198.51.100.0/24")], {}, None),
        ([Route("wan0", source="203.0.113.0/24")], {}, None),
        ([Route("wan0")], {"port_forwards": []}, None),
        ([Route("wan0")], {"wans": [{"interface": "wan0"}, {"interface": "ppp0"}]}, None),
    ],
)
def test_answers_that_leave_by_another_wan(routes, params, by):
    found = sentences(*routes, **params)
    assert len(found) == bool(by)
    assert not by or "clients on {0} leave through {1},".format(*by) in found[0]


@pytest.mark.parametrize("source", ["192.168.1.0/28", "office"])
def test_an_address_of_the_gateway_in_a_network_that_is_mapped_is_told(source):
    office = {"name": "office", "interfaces": ["lan0"], "networks": ["192.168.1.0/28", "fd00:1::/64"]}
    item = {"name": "servers", "action": "static", "source": [source], "to": ["203.0.113.32/28"]}
    found = resolved(WAN, lans=[office], nat=[dict(item, to_address="routed")], port_forwards=[])
    assert (
        "nat[0] 'servers': 192.168.1.1 in source 192.168.1.0/28 is an address of this gateway (lan0), so its outside "
        "address 203.0.113.33 leads nowhere"
    ) in found.notes
    away = dict(item, source=["192.168.1.8/29"], to=["203.0.113.32/29"], to_address="routed")
    away = resolved(WAN, lans=[office], nat=[away], port_forwards=[])
    assert not [note for note in away.notes if "leads nowhere" in note]


def test_an_address_of_the_gateway_alone_is_not_mapped():
    item = {"name": "one", "action": "static", "source": ["192.168.1.1"], "to": ["203.0.113.33"]}
    with pytest.raises(GatewayError, match=r"nat\[0\] 'one'.*192\.168\.1\.1 is an address of this gateway \(lan0\)"):
        resolved(WAN, nat=[item], port_forwards=[])


SIX = {
    "lans": [{"name": "six", "interfaces": ["lan0"], "networks": ["2001:db8:2::/56"]}],
    "port_forwards": [{"name": "web", "port": ["443"], "to": ["2001:db8:2::12b"]}],
}


@pytest.mark.parametrize(
    ("more", "how"), [({}, "its ports are open there"), ({"inbound": False}, "nothing is let in there")]
)
def test_a_server_that_is_mapped_cannot_be_opened_at_its_own_address(more, how):
    """Its answers would be dropped: the proof of a random gateway has found it."""
    mapping = {"name": "map", "action": "static", "source": ["2001:db8:2::/56"], "to": ["2001:db8:c02::/56"]}
    with pytest.raises(GatewayError) as caught:
        resolved(WAN, nat=[dict(mapping, to_address="routed", **more)], **SIX)
    assert caught.value.problems == (
        "port_forwards[0] 'web': hosts outside do not reach 2001:db8:2::12b at its own address: nat[0] 'map' maps it "
        "1:1 to 2001:db8:c02::/56, and " + how + "; remove the forward or the mapping, or limit one of them to another "
        "wan",
    )


@pytest.mark.parametrize(
    "nat",
    [
        [{"source": ["2001:db8:2::200/120"], "to": ["2001:db8:c02::200/120"]}],
        [{"source": ["2001:db8:2::/56"], "to": ["2001:db8:c02::/56"], "wan": "wan1"}],
    ],
)
def test_a_server_beside_a_mapping_can_be_opened(nat):
    forward = dict(SIX["port_forwards"][0], to=["2001:db8:2::12b"], wan="wan0")
    nat = [dict(each, name="map", action="static", to_address="routed") for each in nat]
    found = resolved(WAN, OTHER, wans=("wan0", "wan1"), lans=SIX["lans"], nat=nat, port_forwards=[forward])
    assert found.gateway.port_forwards[0].to == ("2001:db8:2::12b",)
