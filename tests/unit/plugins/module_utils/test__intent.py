# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bad input that needs no host: one clear sentence each, and all of a call together."""

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._errors import GatewayError
from ansible_collections.ipmasq.linux.plugins.module_utils._intent import (
    Gateway,
    NatItem,
    forward_from_params,
    forwarding_from_params,
    gateway_from_params,
    masquerade_from_params,
)
from ansible_collections.ipmasq.linux.plugins.module_utils._values import overlaps, shorten
from ansible_collections.ipmasq.linux.tests.unit.params import (
    forward_params,
    forwarding_params,
    gateway_params,
    masquerade_params,
)

WAN = {"interface": "ppp0"}


def lan(name="a", interfaces=("lan0",), networks=("192.168.1.0/24",), **more):
    found = dict(name=name, interfaces=list(interfaces), **more)
    if networks is not None:
        found["networks"] = list(networks)
    return found


def problems_of(function, params):
    with pytest.raises(GatewayError) as caught:
        function(params)
    return list(caught.value.problems)


#: options of gateway, its one problem
TEST_GATEWAY = [
    (dict(wans=[]), "wans: is empty; name the WAN interface, or leave it out to use the default route's"),
    (dict(lans=[]), "lans: is empty; name a LAN, or leave it out to use every private network found"),
    (dict(nat=[]), "nat: is empty; leave it out to masquerade every LAN, or name what to exempt"),
    (dict(lans=[lan(interfaces=())]), "lans[0] 'a': interfaces is empty; name at least one LAN interface"),
    (
        dict(lans=[lan(networks=())]),
        "lans[0] 'a': networks is empty; list networks, or leave it out to use the interfaces' own",
    ),
    # overlapping LANs
    (
        dict(lans=[lan("a"), lan("b", ["lan1"], ["192.168.0.0/16"])]),
        "lans[0] 'a' and lans[1] 'b': networks 192.168.1.0/24 and 192.168.0.0/16 overlap; "
        "each address belongs to one LAN",
    ),
    (
        dict(lans=[lan("a", networks=["fd00::/48"]), lan("b", ["lan1"], ["fd00:0:0:7::/64"])]),
        "lans[0] 'a' and lans[1] 'b': networks fd00::/48 and fd00:0:0:7::/64 overlap; each address belongs to one LAN",
    ),
    (
        dict(lans=[lan("a"), lan("b", networks=["10.0.0.0/8"])]),
        "lans[0] 'a' and lans[1] 'b': both have interface lan0; an interface belongs to one LAN",
    ),
    (
        dict(lans=[lan("a", ["wlan*"]), lan("b", ["wlan1"], ["10.0.0.0/8"])]),
        "lans[0] 'a' and lans[1] 'b': both have interface wlan1; an interface belongs to one LAN",
    ),
    (dict(lans=[lan("a"), lan("a", ["lan1"], ["10.0.0.0/8"])]), "lans: 'a' is there twice; give each its own name"),
    # a WAN that is also a LAN
    (
        dict(wans=[WAN], lans=[lan(interfaces=["lan0", "ppp0"])]),
        "lans[0] 'a': interface ppp0 is also WAN ppp0; an interface is one or the other",
    ),
    (
        dict(wans=[{"interface": "ppp*"}], lans=[lan(interfaces=["ppp3"])]),
        "lans[0] 'a': interface ppp3 is also WAN ppp*; an interface is one or the other",
    ),
    (dict(wans=[WAN, WAN]), "wans: 'ppp0' is there twice; give each its own name"),
    # an address in no family, a CIDR with host bits
    (
        dict(lans=[lan(networks=["192.168.1.0.0/24"])]),
        "lans[0] 'a': networks: '192.168.1.0.0/24' is neither an IPv4 nor an IPv6 network; "
        "write it as 192.168.1.0/24 or fd00:1::/64",
    ),
    (
        dict(lans=[lan(networks=["192.168.1.1/24"])]),
        "lans[0] 'a': networks: 192.168.1.1/24 has host bits set; did you mean 192.168.1.0/24?",
    ),
    (
        dict(lans=[lan(networks=["fd00::1/64"])]),
        "lans[0] 'a': networks: fd00::1/64 has host bits set; did you mean fd00::/64?",
    ),
    # interface names
    (
        dict(wans=[{"interface": "eth/0"}]),
        "wans[0]: interface 'eth/0' has a slash, which no interface name can have",
    ),
    (
        dict(lans=[lan(interfaces=["lan 0"])]),
        "lans[0] 'a': interface 'lan 0' is not a name that an interface can have; '*' may only stand at its end",
    ),
    (
        dict(wans=[{"interface": "p*p"}]),
        "wans[0]: interface 'p*p' is not a name that an interface can have; '*' may only stand at its end",
    ),
    (
        dict(wans=[{"interface": "*"}]),
        "wans[0]: interface '*' is not a name that an interface can have; '*' may only stand at its end",
    ),
    (
        dict(wans=[{"interface": ""}]),
        "wans[0]: interface '' is not a name that an interface can have; '*' may only stand at its end",
    ),
    (
        dict(lans=[lan(interfaces=["all"])]),
        "lans[0] 'a': interface 'all' is the kernel's word for a group, no interface has it as name",
    ),
    (
        dict(wans=[{"interface": "default"}]),
        "wans[0]: interface 'default' is the kernel's word for a group, no interface has it as name",
    ),
    # names
    (
        dict(instance="Lab-1"),
        "instance: 'Lab-1' has to be 1 to 10 of a-z, 0-9 and _, beginning with a letter",
    ),
    (
        dict(lans=[lan("my lan")]),
        "lans[0] 'my lan': name 'my lan' has to be 1 to 63 letters, digits, '_', '.' or '-', "
        "beginning with a letter or digit",
    ),
    (
        dict(lans=[lan("10.0.0.1")]),
        "lans[0] '10.0.0.1': name '10.0.0.1' looks like an address; give the LAN another one",
    ),
    (
        dict(nat=[{"name": "-x"}]),
        "nat[0] '-x': name '-x' has to be 1 to 63 letters, digits, '_', '.' or '-', beginning with a letter or digit",
    ),
    (dict(nat=[{"name": "x"}, {"name": "x"}]), "nat: 'x' is there twice; give each its own name"),
    # references
    (
        dict(lans=[lan("a", reaches=["b"])]),
        "lans[0] 'a': reaches 'b', which is no LAN; known are a",
    ),
    (
        dict(lans=[lan("a", reaches=["a"])]),
        "lans[0] 'a': reaches 'a', which is the LAN itself; known are a",
    ),
    (
        dict(lans=[lan("a")], nat=[{"name": "x", "source": ["b"]}]),
        "nat[0] 'x': source 'b' is neither a LAN nor a network; known LANs are a",
    ),
    (
        dict(wans=[WAN], nat=[{"name": "x", "wan": "ppp1"}]),
        "nat[0] 'x': wan ppp1 is none of wans (ppp0)",
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
]


@pytest.mark.parametrize(("given", "problem"), TEST_GATEWAY, ids=[each[1][:60] for each in TEST_GATEWAY])
def test_gateway_problem(given, problem):
    assert problems_of(gateway_from_params, gateway_params(**given)) == [problem]


def test_all_problems_of_a_call_together():
    found = problems_of(
        gateway_from_params,
        gateway_params(
            instance="0",
            wans=[{"interface": "a/b"}],
            lans=[lan("a b", ["lan0"], ["10.0.0.1/8"], reaches=["nobody"])],
            nat=[{"name": "x", "source": ["nowhere"], "destination": ["bad"], "wan": "eth9"}],
        ),
    )
    assert len(found) == 8
    assert [problem.split(":")[0] for problem in found] == [
        "instance",
        "wans[0]",
        "lans[0] 'a b'",
        "lans[0] 'a b'",
        "nat[0] 'x'",
        "lans[0] 'a b'",
        "nat[0] 'x'",
        "nat[0] 'x'",
    ]


def test_gateway_defaults():
    assert gateway_from_params(gateway_params()) == Gateway()
    assert Gateway().nat == (NatItem("default"),)


def test_gateway_values():
    gateway = gateway_from_params(
        gateway_params(
            wans=[WAN],
            lans=[lan("a", ["lan0"], [" 10.0.0.1", "FD00:0::/64"]), lan("b", ["lan1"], None, reaches=["a"])],
            nat=[{"name": "x", "action": "exempt", "source": ["b", "10.0.0.0/24", "10.1.0.0/24"], "wan": "ppp0"}],
        )
    )
    assert gateway.lans[0].networks == ("10.0.0.1/32", "fd00::/64")
    assert (gateway.lans[1].networks, gateway.lans[1].reaches) == (None, ("a",))
    assert gateway.nat == (NatItem("x", ("b", "10.0.0.0/24", "10.1.0.0/24"), wan="ppp0", action="exempt"),)


#: A name over 15 characters may be an alternative name: only the host knows.
def test_long_interface_names_wait_for_the_host():
    assert gateway_from_params(gateway_params(wans=[{"interface": "x" * 40}])).wans[0].interface == "x" * 40


def test_lan_with_a_number_as_name():
    gateway_from_params(gateway_params(lans=[lan("100")], nat=[{"name": "x", "source": ["100"]}]))


TEST_MASQUERADE = [
    (dict(), ["source: is empty; name the LAN networks to masquerade, such as 192.168.1.0/24",
              "out_interface: is missing; name the WAN interface, such as ppp0"]),
    (dict(source=["10.0.0.0/8"], out_interface="a/b"),
     ["out_interface: interface 'a/b' has a slash, which no interface name can have"]),
    (dict(source=["10.0.0.0/8"], destination=["fd00::/64"], out_interface="ppp0"),
     ["source and destination: have no address family in common; give both in IPv4 or both in IPv6"]),
    (dict(source=["10.0.0.0/8"], out_interface="ppp0", instance="ABC"),
     ["instance: 'ABC' has to be 1 to 10 of a-z, 0-9 and _, beginning with a letter"]),
]  # fmt: skip


@pytest.mark.parametrize(("given", "wanted"), TEST_MASQUERADE)
def test_masquerade_problems(given, wanted):
    assert problems_of(masquerade_from_params, masquerade_params(name="x", **given)) == wanted


def test_masquerade_absent_needs_only_its_name():
    assert masquerade_from_params(masquerade_params(name="x", state="absent")).key == "masquerade/x"


TEST_FORWARD = [
    (dict(), ["forward 'x': matches everything; give at least one of "
              "source, destination, in_interface, out_interface"]),
    (dict(ct_state=["new"]), ["forward 'x': matches everything; give at least one of "
                              "source, destination, in_interface, out_interface"]),
    (dict(in_interface="a/b", out_interface="c d"),
     ["out_interface: interface 'c d' is not a name that an interface can have; '*' may only stand at its end",
      "in_interface: interface 'a/b' has a slash, which no interface name can have"]),
    (dict(source=["1.2.3.4/8"], destination=["x"]),
     ["source: 1.2.3.4/8 has host bits set; did you mean 1.0.0.0/8?",
      "destination: 'x' is neither an IPv4 nor an IPv6 network; write it as 192.168.1.0/24 or fd00:1::/64"]),
]  # fmt: skip


@pytest.mark.parametrize(("given", "wanted"), TEST_FORWARD)
def test_forward_problems(given, wanted):
    found = problems_of(forward_from_params, forward_params(name="x", **given))
    assert found[: len(wanted)] == wanted


def test_forward_bad_source_is_one_problem():
    params = forward_params(name="x", source=["1.2.3.4/8"])
    assert problems_of(forward_from_params, params) == ["source: 1.2.3.4/8 has host bits set; did you mean 1.0.0.0/8?"]


def test_forward_states_are_in_the_order_of_the_tools():
    params = forward_params(name="x", source=["10.0.0.0/8"], ct_state=["established", "related", "invalid"])
    assert forward_from_params(params).ct_state == ("invalid", "related", "established")


TEST_FORWARDING = [
    (dict(ipv4=True, interfaces=[]), ["interfaces: is empty; leave it out to set the global switch"]),
    (dict(ipv4=True, interfaces=["lan0", "ppp*"]),
     ["interfaces[1]: 'ppp*' is a pattern; the kernel has a switch for each name only"]),
    (dict(ipv4=True, interfaces=["../../kernel"]),
     ["interfaces[0]: interface '../../kernel' has a slash, which no interface name can have"]),
    (dict(ipv4=True, interfaces=[".."]),
     ["interfaces[0]: interface '..' is not a name that an interface can have; '*' may only stand at its end"]),
]  # fmt: skip


@pytest.mark.parametrize(("given", "wanted"), TEST_FORWARDING)
def test_forwarding_problems(given, wanted):
    assert problems_of(forwarding_from_params, forwarding_params(**given)) == wanted


def test_forwarding_values():
    assert forwarding_from_params(forwarding_params(ipv4=True)).values == {"ip": "1"}
    assert forwarding_from_params(forwarding_params(ipv4=False, ipv6=True)).values == {"ip": "0", "ip6": "1"}


TEST_OVERLAPS = [
    ([], ["10.0.0.0/8"], []),
    (["10.0.0.0/8"], ["11.0.0.0/8"], []),
    (["10.0.0.0/8"], ["10.1.0.0/16", "10.2.0.0/16"], [("10.0.0.0/8", "10.1.0.0/16"), ("10.0.0.0/8", "10.2.0.0/16")]),
    (["10.1.0.0/16"], ["10.0.0.0/8"], [("10.1.0.0/16", "10.0.0.0/8")]),
    (["10.0.0.0/24"], ["10.0.0.0/24"], [("10.0.0.0/24", "10.0.0.0/24")]),
    (["10.0.0.0/24", "10.0.0.0/16"], ["fd00::/8"], []),
    (["0.0.0.0/0"], ["::/0", "255.255.255.255/32"], [("0.0.0.0/0", "255.255.255.255/32")]),
    (["10.0.0.0/25"], ["10.0.0.128/25"], []),
]


@pytest.mark.parametrize(("ours", "theirs", "wanted"), TEST_OVERLAPS)
def test_overlaps(ours, theirs, wanted):
    assert overlaps(ours, theirs) == wanted


def test_shorten():
    assert shorten("a\nb\u202ec\x1b[0m") == "a?b?c?[0m"
    assert shorten("x" * 61) == "x" * 60 + "…"
