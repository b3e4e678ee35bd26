# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bad input that can be judged without a host: one clear sentence each, and all problems of a call together."""

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._conflicts import ONE_CARD
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
    (dict(lans=[lan("a"), lan("a", ["lan1"], ["10.0.0.0/8"])]), "lans: 'a' is defined twice; give each its own name"),
    # a WAN that is also a LAN
    (
        dict(wans=[WAN], lans=[lan(interfaces=["lan0", "ppp0"])]),
        "lans[0] 'a': interface ppp0 is also WAN ppp0; " + ONE_CARD,
    ),
    (
        dict(wans=[{"interface": "ppp*"}], lans=[lan(interfaces=["ppp3"])]),
        "lans[0] 'a': interface ppp3 is also WAN ppp*; " + ONE_CARD,
    ),
    (dict(wans=[WAN, WAN]), "wans: 'ppp0' is defined twice; give each its own name"),
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
        "wans[0]: interface 'eth/0' contains a slash, which interface names cannot",
    ),
    (
        dict(lans=[lan(interfaces=["lan 0"])]),
        "lans[0] 'a': interface 'lan 0' is not a valid interface name; '*' is allowed only at the end",
    ),
    (
        dict(wans=[{"interface": "p*p"}]),
        "wans[0]: interface 'p*p' is not a valid interface name; '*' is allowed only at the end",
    ),
    (
        dict(wans=[{"interface": "*"}]),
        "wans[0]: '*' would match every interface, loopback included; put a prefix before it, as in ppp*",
    ),
    (dict(wans=[{"interface": "tun+"}]), "wans[0]: interface 'tun+' is an iptables pattern; write tun*"),
    (
        dict(lans=[lan(networks=["0.0.0.0/0"])]),
        "lans[0] 'a': networks: 0.0.0.0/0 covers most of the Internet; name the networks behind the LAN",
    ),
    (
        dict(lans=[lan(networks=["2000::/3"])]),
        "lans[0] 'a': networks: 2000::/3 covers most of the Internet; name the networks behind the LAN",
    ),
    (
        dict(wans=[{"interface": ""}]),
        "wans[0]: interface '' is not a valid interface name; '*' is allowed only at the end",
    ),
    (
        dict(lans=[lan(interfaces=["all"])]),
        "lans[0] 'a': interface 'all' is the kernel's name for a group; name one interface",
    ),
    (
        dict(wans=[{"interface": "default"}]),
        "wans[0]: interface 'default' is the kernel's name for a group; name one interface",
    ),
    # names
    (
        dict(instance="Lab-1"),
        "instance: 'Lab-1' must be 1 to 10 characters from a-z, 0-9 and _, starting with a letter",
    ),
    (
        dict(lans=[lan("my lan")]),
        "lans[0] 'my lan': name 'my lan' must be 1 to 63 letters, digits, '_', '.' or '-', starting with a letter or "
        "digit",
    ),
    (
        dict(lans=[lan("10.0.0.1")]),
        "lans[0] '10.0.0.1': name '10.0.0.1' looks like an address; give the LAN another name",
    ),
    (
        dict(nat=[{"name": "-x"}]),
        "nat[0] '-x': name '-x' must be 1 to 63 letters, digits, '_', '.' or '-', starting with a letter or digit",
    ),
    (dict(nat=[{"name": "x"}, {"name": "x"}]), "nat: 'x' is defined twice; give each its own name"),
    # references
    (
        dict(lans=[lan("a", reaches=["b"])]),
        "lans[0] 'a': reaches 'b', which is not a LAN; known LANs: a",
    ),
    (
        dict(lans=[lan("a", reaches=["a"])]),
        "lans[0] 'a': reaches 'a', which is the LAN itself; known LANs: a",
    ),
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
     ["out_interface: interface 'a/b' contains a slash, which interface names cannot"]),
    (dict(source=["10.0.0.0/8"], destination=["fd00::/64"], out_interface="ppp0"),
     ["source and destination: have no address family in common; give both in IPv4 or both in IPv6"]),
    (dict(source=["10.0.0.0/8"], out_interface="ppp0", instance="ABC"),
     ["instance: 'ABC' must be 1 to 10 characters from a-z, 0-9 and _, starting with a letter"]),
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
     ["out_interface: interface 'c d' is not a valid interface name; '*' is allowed only at the end",
      "in_interface: interface 'a/b' contains a slash, which interface names cannot"]),
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
     ["interfaces[1]: 'ppp*' is a pattern; name single interfaces"]),
    (dict(ipv4=True, interfaces=["../../kernel"]),
     ["interfaces[0]: interface '../../kernel' contains a slash, which interface names cannot"]),
    (dict(ipv4=True, interfaces=[".."]),
     ["interfaces[0]: interface '..' is not a valid interface name; '*' is allowed only at the end"]),
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


# --- NAT items, port forwards, outbound items -----------------------------------------------------------------------

LANS = [lan(), lan("b", ["lan1"], ["192.168.2.0/24", "fd00:2::/64"])]


def nat(action="masquerade", **more):
    return dict(nat=[dict(more, name="x", action=action)])


def forward(**more):
    return dict(port_forwards=[dict(dict(name="web", port=["443"], to=["192.168.1.20"]), **more)])


def multicast(**given):
    return {"multicast": [dict({"name": "tv", "group": ["239.0.0.0/8"]}, **given)]}


def outbound(**more):
    return dict(outbound=[dict(more, name="o")])


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
#: What each action cannot do without.
NEEDED = {
    "masquerade": {},
    "snat": {"to": ["203.0.113.9"]},
    "static": {"source": ["192.168.1.0/28"], "to": ["203.0.113.0/28"]},
    "prefix": {"source": ["fd00:1::/64"], "to": ["2001:db8:1::/64"]},
    "exempt": {},
}


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


SPEC = "write it as 192.168.1.0/24 or fd00:1::/64"
ADDRESS = "write 203.0.113.9, or 203.0.113.9-203.0.113.12"
#: options of gateway, its one problem
TEST_VOCABULARY = [
    # to
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
    # one to one
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
    # ports
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
    # port forwards
    (forward(port=[]), "port_forwards[0] 'web': port is empty; name the ports to forward, such as 443"),
    (forward(to=[]), "port_forwards[0] 'web': to is empty; name the server to forward to"),
    (forward(to=["web.example.org"]), "port_forwards[0] 'web': to: 'web.example.org' is not an address; " + ADDRESS),
    (
        forward(to=["192.168.1.20-192.168.1.22"]),
        "port_forwards[0] 'web': to 192.168.1.20-192.168.1.22 is a range; list the servers",
    ),
    (
        forward(to=["192.168.1.20", "fd00:1::20"]),
        "port_forwards[0] 'web': to mixes IPv4 and IPv6 servers; write two forwards",
    ),
    (forward(port=["65536"]), "port_forwards[0] 'web': port: 65536 is not in the port range 1-65535"),
    (
        forward(port=["80", "443"], to_port=8080),
        "port_forwards[0] 'web': to_port allows one port range only; write one forward for each range",
    ),
    (forward(to_port=0), "port_forwards[0] 'web': to_port 0 leaves the port range 1-65535"),
    (forward(to_port=-5), "port_forwards[0] 'web': to_port -5 leaves the port range 1-65535"),
    (forward(to_port=65536), "port_forwards[0] 'web': to_port 65536 leaves the port range 1-65535"),
    (forward(port=["8000-8010"], to_port=65530), "port_forwards[0] 'web': to_port 65530 leaves the port range 1-65535"),
    (
        forward(source=["fd00:9::/64"]),
        "port_forwards[0] 'web': to 192.168.1.20 has no address family in common with fd00:9::/64",
    ),
    (
        forward(destination=["2001:db8::1"]),
        "port_forwards[0] 'web': to 192.168.1.20 has no address family in common with 2001:db8::1/128",
    ),
    (
        forward(source=["office"]),
        "port_forwards[0] 'web': source 'office' is not a network; LAN names do not apply outside",
    ),
    (dict(forward(wan="ppp1"), wans=[WAN]), "port_forwards[0] 'web': wan ppp1 is not in wans (ppp0)"),
    (
        dict(port_forwards=[dict(name="a", port=[port], to=["192.168.1.20"]) for port in ("80", "443")]),
        "port_forwards: 'a' is defined twice; give each its own name",
    ),
    (
        dict(port_forwards=[dict(name=name, port=["80-90"], to=["192.168.1.20"]) for name in "ab"]),
        "port_forwards[0] 'a' and port_forwards[1] 'b': both forward tcp port 80; "
        "give them different ports, WANs, sources or destinations",
    ),
    # multicast, and what is said about the gateway itself
    (multicast(group=[]), "multicast[0] 'tv': group is empty; name the groups to let in, such as 239.0.0.0/8"),
    (
        multicast(group=["10.0.0.0/8"]),
        "multicast[0] 'tv': group 10.0.0.0/8 is not a multicast network; groups are in 224.0.0.0/4 and ff00::/8",
    ),
    (
        multicast(group=["224.0.0.0/3"]),
        "multicast[0] 'tv': group 224.0.0.0/3 is not a multicast network; groups are in 224.0.0.0/4 and ff00::/8",
    ),
    (
        multicast(group=["224.0.0.1"]),
        "multicast[0] 'tv': group 224.0.0.1/32 is in 224.0.0.0/24, which routers do not forward",
    ),
    (
        multicast(group=["ff32::/32"]),
        "multicast[0] 'tv': group ff32::/32 is in ff32::/16, which routers do not forward",
    ),
    (
        multicast(source=["2001:db8::/32"]),
        "multicast[0] 'tv': source and group have no address family in common; give both in IPv4 or both in IPv6",
    ),
    (
        multicast(source=["office"]),
        "multicast[0] 'tv': source 'office' is not a network; LAN names do not apply outside",
    ),
    (dict(multicast(lan=["x"]), lans=LANS), "multicast[0] 'tv': lan 'x' is not a LAN; known LANs: a, b"),
    (dict(multicast(wan="ppp1"), wans=[WAN]), "multicast[0] 'tv': wan ppp1 is not in wans (ppp0)"),
    (
        dict(input_controller_ports=[22]),
        "input_controller_ports: has no effect while input is open; set input to protect",
    ),
    (
        dict(input="protect", input_controller_ports=[0]),
        "input_controller_ports: 0 is not in the port range 1-65535",
    ),
    (
        dict(input="protect", input_allow=[{"name": "x", "protocol": ["igmp"], "source": ["2001:db8::/32"]}]),
        "input_allow[0] 'x': protocol igmp is IPv4 only; IPv6 uses MLD, which is part of icmp",
    ),
    # outbound
    (outbound(port=["25"]), "outbound[0] 'o': port requires protocol tcp, udp, sctp or both"),
    (
        outbound(rate="10 each s"),
        "outbound[0] 'o': rate: '10 each s' is not a rate; write it as 10/second, /minute, /hour or /day, up to 10000",
    ),
    (
        outbound(rate="0/second"),
        "outbound[0] 'o': rate: '0/second' is not a rate; write it as 10/second, /minute, /hour or /day, up to 10000",
    ),
    (
        outbound(rate="10001/day"),
        "outbound[0] 'o': rate: '10001/day' is not a rate; write it as 10/second, /minute, /hour or /day, up to 10000",
    ),
    (
        outbound(rate="10/second", action="drop"),
        "outbound[0] 'o': rate is valid only with action accept, not drop; what exceeds it is rejected",
    ),
    (
        dict(outbound(source=["guests"]), lans=LANS),
        "outbound[0] 'o': source 'guests' is neither a LAN nor a network; known LANs: a, b",
    ),
    (dict(outbound(wan="ppp1"), wans=[WAN]), "outbound[0] 'o': wan ppp1 is not in wans (ppp0)"),
    (dict(outbound=[{"name": "o"}, {"name": "o"}]), "outbound: 'o' is defined twice; give each its own name"),
    # MSS
    (dict(mss="1452 bytes"), "mss: '1452 bytes' is not pmtu, keep or a number of bytes from 88 to 65495"),
    (dict(mss="87"), "mss: '87' is not pmtu, keep or a number of bytes from 88 to 65495"),
    (dict(mss="65496"), "mss: '65496' is not pmtu, keep or a number of bytes from 88 to 65495"),
    (dict(mss="-1452"), "mss: '-1452' is not pmtu, keep or a number of bytes from 88 to 65495"),
    (dict(mss=""), "mss: '' is not pmtu, keep or a number of bytes from 88 to 65495"),
    (
        dict(wans=[WAN, {"interface": "ppp1", "mss": "max"}]),
        "wans[1]: mss: 'max' is not pmtu, keep or a number of bytes from 88 to 65495",
    ),
]


@pytest.mark.parametrize(
    ("given", "problem"),
    TEST_VOCABULARY,
    ids=["{0} {1}".format(number, each[1][:50]) for number, each in enumerate(TEST_VOCABULARY)],
)
def test_vocabulary_problem(given, problem):
    # The table above names a LAN in its own way where that matters.
    assert problems_of(gateway_from_params, gateway_params(**given)) == [problem]


def test_forward_without_a_protocol():
    problem = "port_forwards[0] 'web': protocol is empty; name tcp, udp, sctp or both"
    assert problem in problems_of(gateway_from_params, gateway_params(**forward(protocol=[])))


def test_all_problems_of_all_items_together():
    found = problems_of(
        gateway_from_params,
        gateway_params(
            wans=[dict(WAN, mss="big")],
            lans=LANS,
            mss="x",
            nat=[
                {"name": "a", "action": "snat", "to": ["x"], "ipsec": True},
                {"name": "b", "action": "static", "source": ["192.168.1.0/28"], "to": ["203.0.113.0/27"], "wan": "no"},
            ],
            port_forwards=[{"name": "c", "port": ["x", "0"], "protocol": ["udp"], "to": ["192.168.1.1-192.168.1.2"]}],
            outbound=[{"name": "d", "action": "drop", "rate": "1/x", "source": ["nobody"], "port": ["1"]}],
        ),
    )
    assert [problem.split(":")[0] for problem in found] == [
        "mss",
        "wans[0]",
        "nat[0] 'a'",
        "nat[0] 'a'",
        "nat[1] 'b'",
        "port_forwards[0] 'c'",
        "port_forwards[0] 'c'",
        "port_forwards[0] 'c'",
        "outbound[0] 'd'",
        "outbound[0] 'd'",
        "outbound[0] 'd'",
        "outbound[0] 'd'",
        "nat[1] 'b'",
    ]


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


def test_forward_values():
    (found,) = gateway_from_params(
        gateway_params(**forward(protocol=["both"], port=["443", "8000-8010"]))
    ).port_forwards
    assert (found.protocol, found.port, found.to_port) == (("tcp", "udp"), ((443, 443), (8000, 8010)), None)
    assert (found.hairpin, found.hairpin_source, found.balance) == (False, "external", "round_robin")
    # Ports side by side are one range, which may have one port inside.
    (found,) = gateway_from_params(gateway_params(**forward(port=["81", "80"], to_port=8080))).port_forwards
    assert (found.port, found.to_port) == (((80, 81),), 8080)
    assert gateway_from_params(gateway_params(**forward(port=["1-65535"], to_port=1)))


def test_outbound_values():
    (found,) = gateway_from_params(gateway_params(**outbound(rate=" 010/minute "))).outbound
    assert (found.action, found.rate) == ("accept", "10/minute")


def test_mss_values():
    gateway = gateway_from_params(
        gateway_params(mss="01452", wans=[WAN, {"interface": "a", "mss": "keep"}, {"interface": "b", "mss": "88"}])
    )
    assert [wan.mss for wan in gateway.wans] == ["1452", "keep", "88"]


def test_forward_to_a_range_of_ipv6_addresses():
    assert problems_of(gateway_from_params, gateway_params(**forward(to=["fd00:1::20-fd00:1::22"]))) == [
        "port_forwards[0] 'web': to fd00:1::20-fd00:1::22 is a range; list the servers"
    ]


@pytest.mark.parametrize(
    "given",
    [
        nat(destination=["fe80::1%eth0"]),
        nat("snat", to=["2001:db8::9%eth0"], to_address="routed"),
        dict(lans=[lan(networks=["fd00::%eth0/64"])]),
    ],
    ids=["destination", "to", "networks"],
)
def test_a_zone_is_no_part_of_a_network(given):
    assert len(problems_of(gateway_from_params, gateway_params(**given))) == 1
