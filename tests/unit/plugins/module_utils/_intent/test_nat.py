# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""NAT items: what is refused, what is left out, and their words."""

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._intent.read import gateway_from_params
from ansible_collections.ipmasq.linux.tests.unit.intents import (
    ADDRESS,
    NEEDED,
    SPEC,
    WAN,
    each_problem,
    lan,
    nat,
    problems_of,
)
from ansible_collections.ipmasq.linux.tests.unit.params import gateway_params

#: options of gateway, its one problem
TEST_PROBLEMS = [
    (dict(nat=[]), "nat: is empty; leave it out to masquerade every LAN, or name what to exempt"),
    (
        dict(nat=[{"name": "-x"}]),
        "nat[0] '-x': name '-x' must be 1 to 63 letters, digits, '_', '.' or '-', starting with a letter or digit",
    ),
    (dict(nat=[{"name": "x"}, {"name": "x"}]), "nat: 'x' is defined twice; give each its own name"),
    (
        dict(lans=[lan("a")], nat=[{"name": "x", "source": ["b"]}]),
        "nat[0] 'x': source 'b' is neither a LAN nor a network; known LANs: a",
    ),
    (
        dict(wans=[WAN], nat=[{"name": "x", "wan": "ppp1"}]),
        "nat[0] 'x': wan ppp1 is not in wans (ppp0)",
    ),
    (
        dict(nat=[{"name": "x", "source": ["10.0.0.1/8"]}]),
        "nat[0] 'x': source: 10.0.0.1/8 has host bits set; did you mean 10.0.0.0/8?",
    ),
    (
        dict(nat=[{"name": "x", "destination": ["example.org"]}]),
        "nat[0] 'x': destination: 'example.org' is neither an IPv4 nor an IPv6 network; "
        "write it as 192.168.1.0/24 or fd00:1::/64",
    ),
    (nat("snat"), "nat[0] 'x': option to is missing; name the addresses to translate to"),
    (nat("snat", to=[]), "nat[0] 'x': option to is missing; name the addresses to translate to"),
    (nat("static", source=["192.168.1.0/28"]), "nat[0] 'x': option to is missing; name the network to translate to"),
    (nat("prefix", source=["fd00:1::/64"]), "nat[0] 'x': option to is missing; name the network to translate to"),
    (nat("snat", to=["203.0.113.0/28"]), "nat[0] 'x': to: '203.0.113.0/28' is not an address; " + ADDRESS),
    (nat("snat", to=["example.org"]), "nat[0] 'x': to: 'example.org' is not an address; " + ADDRESS),
    (nat("snat", to=["::ffff:203.0.113.9"]), "nat[0] 'x': to: '::ffff:203.0.113.9' is not an address; " + ADDRESS),
    (nat("snat", to=["203.0.113.9-"]), "nat[0] 'x': to: '203.0.113.9-' is not an address; " + ADDRESS),
    (nat("snat", to=["203.0.113.9-.12"]), "nat[0] 'x': to: '203.0.113.9-.12' is not an address; " + ADDRESS),
    (
        nat("snat", to=["203.0.113.12-203.0.113.9"]),
        "nat[0] 'x': to: 203.0.113.12-203.0.113.9 is reversed; did you mean 203.0.113.9-203.0.113.12?",
    ),
    (
        nat("snat", to=["203.0.113.12-2001:db8::1"]),
        "nat[0] 'x': to: 203.0.113.12-2001:db8::1 starts in one address family and ends in the other",
    ),
    (
        nat("static", source=["192.168.1.0/28"], to=["203.0.113.1-203.0.113.16"]),
        "nat[0] 'x': to: '203.0.113.1-203.0.113.16' is neither an IPv4 nor an IPv6 network; " + SPEC,
    ),
    (
        nat("static", source=["192.168.1.0/28"], to=["203.0.113.1/28"]),
        "nat[0] 'x': to: 203.0.113.1/28 has host bits set; did you mean 203.0.113.0/28?",
    ),
    (
        nat("static", source=["192.168.1.0/28"], to=["203.0.113.0/29"]),
        "nat[0] 'x': source 192.168.1.0/28 and to 203.0.113.0/29 have different lengths; action static maps one "
        "address to one",
    ),
    (
        nat("prefix", source=["fd00:1::/48"], to=["2001:db8:1::/56"]),
        "nat[0] 'x': source fd00:1::/48 and to 2001:db8:1::/56 have different lengths; action prefix maps one address "
        "to one",
    ),
    (
        nat("static", source=["192.168.1.0/28"], to=["2001:db0::/28"]),
        "nat[0] 'x': source 192.168.1.0/28 and to 2001:db0::/28 have different address families",
    ),
    (
        nat("static", source=["192.168.1.0/29"], to=["203.0.113.0/29", "203.0.113.8/29"]),
        "nat[0] 'x': to lists 2 networks; action static maps to exactly one",
    ),
    (
        nat("static", source=["192.168.1.0/29", "192.168.1.8/29"], to=["203.0.113.0/29"]),
        "nat[0] 'x': source must be exactly one network or LAN, the one that to represents outside",
    ),
    (
        nat("static", to=["203.0.113.0/29"]),
        "nat[0] 'x': source must be exactly one network or LAN, the one that to represents outside",
    ),
    (
        nat("prefix", source=["192.168.1.0/28"], to=["203.0.113.0/28"]),
        "nat[0] 'x': action prefix is for IPv6 (RFC 6296); use action static for IPv4",
    ),
    (
        nat("prefix", source=["fd00:1::/65"], to=["2001:db8:1::/65"]),
        "nat[0] 'x': fd00:1::/65 is longer than /64, the longest that RFC 6296 translates",
    ),
    (
        dict(
            nat=[
                dict(name="x", action="static", source=["192.168.1.0/28"], to=["203.0.113.0/28"]),
                dict(name="y", action="static", source=["192.168.1.16/28"], to=["203.0.113.0/28"]),
            ]
        ),
        "nat[0] 'x' and nat[1] 'y': both map to 203.0.113.0/28; an outside address can stand for only one inside",
    ),
    (nat(to_port="0"), "nat[0] 'x': to_port: 0 is not in the port range 1-65535"),
    (nat(to_port="1024-65536"), "nat[0] 'x': to_port: 1024-65536 is not in the port range 1-65535"),
    (nat(to_port="2000-1000"), "nat[0] 'x': to_port: 2000-1000 is reversed; did you mean 1000-2000?"),
    (nat(to_port="high"), "nat[0] 'x': to_port: 'high' is not a port; write it as 443 or 8000-8010"),
    (nat(to_port=""), "nat[0] 'x': to_port: '' is not a port; write it as 443 or 8000-8010"),
    (nat(port=["443"]), "nat[0] 'x': port requires protocol tcp, udp, sctp or both"),
    (nat(port=["443"], protocol=["icmp"]), "nat[0] 'x': port requires protocol tcp, udp, sctp or both"),
    (nat(port=["443"], protocol=["tcp", "esp"]), "nat[0] 'x': port requires protocol tcp, udp, sctp or both"),
    (nat(port=["https"], protocol=["tcp"]), "nat[0] 'x': port: 'https' is not a port; write it as 443 or 8000-8010"),
    (nat(port=["99-1"], protocol=["tcp"]), "nat[0] 'x': port: 99-1 is reversed; did you mean 1-99?"),
    (nat(wan="a/b"), "nat[0] 'x': interface 'a/b' contains a slash, which interface names cannot"),
]


@each_problem(TEST_PROBLEMS)
def test_problem(given, problem):
    assert problems_of(gateway_from_params, gateway_params(**given)) == [problem]


#: option, a value, the actions for which it means something
TEST_OPTION_OF_ACTIONS = [
    ("to", ["203.0.113.9"], ["snat", "static", "prefix"]),
    ("to_port", "1024-65535", ["masquerade", "snat"]),
    ("random", True, ["masquerade", "snat"]),
    ("persistent", True, ["snat"]),
    ("ipsec", True, ["exempt"]),
    ("inbound", True, ["static", "prefix"]),
    ("to_address", "routed", ["snat", "static"]),
    ("protocol", ["tcp"], ["masquerade", "snat", "exempt"]),
    ("port", ["443"], ["masquerade", "snat", "exempt"]),
]


@pytest.mark.parametrize("action", NEEDED)
@pytest.mark.parametrize(
    ("option", "value", "actions"), TEST_OPTION_OF_ACTIONS, ids=[o[0] for o in TEST_OPTION_OF_ACTIONS]
)
def test_option_that_means_nothing_for_an_action(option, value, actions, action):
    given = dict({option: value}, **NEEDED[action])
    if option == "port":
        given["protocol"] = ["tcp"]
    wanted = "nat[0] 'x': {0} is not valid with action {1}, only with {2}".format(option, action, " or ".join(actions))
    if action in actions:
        assert gateway_from_params(gateway_params(**nat(action, **given)))
    else:
        assert wanted in problems_of(gateway_from_params, gateway_params(**nat(action, **given)))


@pytest.mark.parametrize("option", ["random", "persistent", "ipsec", "inbound"])
@pytest.mark.parametrize("action", NEEDED)
def test_an_option_that_is_off_is_no_problem(option, action):
    assert gateway_from_params(gateway_params(**nat(action, **dict(NEEDED[action], **{option: False}))))


def only_nat(action="masquerade", **given):
    (found,) = gateway_from_params(gateway_params(**nat(action, **dict(NEEDED[action], **given)))).nat
    return found


def test_nat_values():
    pool = only_nat("snat", to=[" 203.0.113.16 - 203.0.113.19", "203.0.113.30/32", "203.0.113.31-203.0.113.31"])
    assert pool.to == ("203.0.113.16-203.0.113.19", "203.0.113.30", "203.0.113.31")
    assert (pool.persistent, pool.random, pool.to_address, pool.to_port) == (True, False, "", None)
    assert only_nat("snat", to=["2001:DB8::0009"]).to == ("2001:db8::9",)
    assert not only_nat("snat", persistent=False).persistent
    assert only_nat("snat", to_address="routed").to_address == "routed"
    assert [only_nat(action).inbound for action in ("static", "prefix")] == [True, False]
    assert [only_nat(action, inbound=given).inbound for action, given in (("static", False), ("prefix", True))] == [
        False,
        True,
    ]
    assert only_nat(protocol=["udp", "tcp", "both"]).protocol == ("tcp", "udp")
    assert only_nat(protocol=["both"], port=["8000-8010", "53", "54", "8005-8020"]).port == ((53, 54), (8000, 8020))
    assert only_nat(to_port="1024-65535").to_port == (1024, 65535)


def test_profile_fills_in_what_an_item_leaves_out():
    items = [
        {"name": "plain"},
        {"name": "kept", "random": False, "to_port": "5000-5999"},
        {"name": "fixed", "action": "snat", "to": ["203.0.113.9"]},
        {"name": "not", "action": "exempt"},
    ]
    found = gateway_from_params(gateway_params(nat=items, profile="server_egress")).nat
    assert [(item.random, item.to_port) for item in found] == [
        (True, (1024, 65535)),
        (False, (5000, 5999)),
        (True, (1024, 65535)),
        (False, None),
    ]
    found = gateway_from_params(gateway_params(profile="server_egress")).nat
    assert [(item.name, item.random) for item in found] == [("default", True)]
