# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Intent and host: what is found, what is followed, what is refused."""

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._conflicts import ONE_CARD
from ansible_collections.ipmasq.linux.plugins.module_utils._errors import GatewayError
from ansible_collections.ipmasq.linux.plugins.module_utils._facts import Facts, Interface, Route
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.items import (
    forward_from_params,
    masquerade_from_params,
)
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.read import gateway_from_params
from ansible_collections.ipmasq.linux.plugins.module_utils._resolve import (
    forwarded_families,
    nat_networks,
    resolve,
    resolve_item,
    sources_of,
)
from ansible_collections.ipmasq.linux.tests.unit.params import forward_params, gateway_params, masquerade_params

WAN = Interface("eth0", ("wan-port",), networks=("203.0.113.0/24",), addresses=("203.0.113.5",))
LAN = Interface("eth1", ("a-long-alternative-name",), networks=("192.168.1.0/24", "fd00:1::/64"))
DOCKER = Interface("docker0", networks=("172.17.0.0/16",))
PUBLIC = Interface("eth2", networks=("198.51.100.0/24",))
BARE = Interface("eth3")
VPN = Interface("wg0", kind="wireguard", networks=("10.9.0.0/24",))
PORTS = Facts((WAN, Interface("eth1", master="bond0", port_of="bond", networks=("10.1.0.0/24",))), (Route("eth0"),))
HOST = Facts((Interface("lo"), WAN, LAN, DOCKER, PUBLIC, BARE, VPN), (Route("eth0"),))


def resolved(facts=HOST, **given):
    return resolve(gateway_from_params(gateway_params(**given)), facts)


def problems(facts=HOST, **given):
    with pytest.raises(GatewayError) as caught:
        resolved(facts, **given)
    return list(caught.value.problems)


def test_nothing_given():
    found = resolved()
    assert [wan.interface for wan in found.gateway.wans] == ["eth0"]
    assert [(lan.name, lan.interfaces, lan.networks) for lan in found.gateway.lans] == [
        ("eth1", ("eth1",), ("192.168.1.0/24", "fd00:1::/64"))
    ]
    assert found.notes == (
        "WAN eth0: chosen because it has the default route",
        "LAN eth1: chosen because it has 192.168.1.0/24, fd00:1::/64",
        "docker0: not used as a LAN: it belongs to Docker",
        "wg0: not used as a LAN: it belongs to a tunnel (wireguard)",
        "to write this choice down: {gateway_wans: [{interface: eth0}], gateway_lans: [{name: eth1, interfaces: "
        "[eth1]}]}",
    )


def test_private_wan_is_no_lan():
    wan = Interface("eth0", networks=("192.168.178.0/24",))
    found = resolved(Facts((wan, LAN), (Route("eth0"),)))
    assert [lan.name for lan in found.gateway.lans] == ["eth1"]


def test_found_lan_keeps_its_global_ipv6():
    lan = Interface("eth1", networks=("192.168.1.0/24", "2001:db8:1::/64"))
    gateway = resolved(Facts((WAN, lan), (Route("eth0"),))).gateway
    assert gateway.lans[0].networks == ("192.168.1.0/24", "2001:db8:1::/64")
    assert nat_networks(gateway, gateway.lans[0]) == ("192.168.1.0/24",)


def test_wans_may_be_absent_or_patterns():
    found = resolved(wans=[{"interface": "ppp*"}, {"interface": "wwan7"}])
    assert [wan.interface for wan in found.gateway.wans] == ["ppp*", "wwan7"]


def test_wan_pattern_takes_its_interfaces_out_of_the_lans():
    assert problems(wans=[{"interface": "eth*"}])[0].startswith("lans: no other interface has a private network; ")


def test_two_default_routes_are_two_wans():
    facts = Facts((WAN, LAN, Interface("wwan0")), (Route("eth0"), Route("wwan0")))
    assert [wan.interface for wan in resolved(facts).gateway.wans] == ["eth0", "wwan0"]


def test_networks_are_read_from_the_interfaces():
    lan = {"name": "a", "interfaces": ["eth1", "eth3", "absent0"]}
    assert resolved(lans=[lan]).gateway.lans[0].networks == ("192.168.1.0/24", "fd00:1::/64")
    assert resolved(lans=[dict(lan, interfaces=["eth1*"])]).gateway.lans[0].networks == LAN.networks


def test_alternative_names_are_followed_and_told():
    found = resolved(
        wans=[{"interface": "wan-port"}],
        lans=[{"name": "a", "interfaces": ["a-long-alternative-name"]}],
        nat=[{"name": "x", "wan": "wan-port"}],
    )
    assert found.gateway.wans[0].interface == found.gateway.nat[0].wan == "eth0"
    assert found.gateway.lans[0].interfaces == ("eth1",)
    assert found.notes == (
        "wan-port is an alternative name of eth0; the rules use eth0",
        "a-long-alternative-name is an alternative name of eth1; the rules use eth1",
    )


LONG = "sixteen-letters-"
TEST_PROBLEMS = [
    (Facts((LAN,), ()), dict(),
     ["wans: there is no default route to find the WAN by; name the WAN, such as [{interface: ppp0}]"]),
    (Facts((WAN,), (Route("eth0"),)), dict(),
     ["lans: no other interface has a private network; name the LAN, its interfaces and networks"]),
    (Facts((), ()), dict(),
     ["wans: there is no default route to find the WAN by; name the WAN, such as [{interface: ppp0}]",
      "lans: no other interface has a private network; name the LAN, its interfaces and networks"]),
    (HOST, dict(lans=[{"name": "a", "interfaces": ["eth0"], "networks": ["10.0.0.0/8"]}]),
     ["wans: the default route uses eth0, an interface of a LAN; name the WAN, "
      "such as [{interface: ppp0}]; " + ONE_CARD]),
    (HOST, dict(lans=[{"name": "a", "interfaces": ["absent0"]}]),
     ["lans[0] 'a': absent0 does not exist, so its networks cannot be read; list them in networks"]),
    (HOST, dict(lans=[{"name": "a", "interfaces": ["eth3"]}]),
     ["lans[0] 'a': eth3 has no address, so its networks cannot be read; list them in networks"]),
    (HOST, dict(wans=[{"interface": LONG}]),
     ["wans[0]: interface 'sixteen-letters-' is longer than 15 characters and is not an alternative name on this host; "
      "use the name that 'ip link' shows"]),
    (HOST, dict(lans=[{"name": "a", "interfaces": ["eth1"], "networks": ["203.0.113.128/25"]}]),
     ["lans[0] 'a': network 203.0.113.128/25 overlaps 203.0.113.0/24 of WAN eth0; renumber the LAN"]),
    # "all of it is behind me": what is left of it works
    (HOST, dict(lans=[{"name": "a", "interfaces": ["eth1"], "networks": ["203.0.112.0/22"]}]),
     ["lans[0] 'a': network 203.0.112.0/22 overlaps 203.0.113.0/24 of WAN eth0; name the networks behind the LAN "
      "without that range, such as 203.0.114.0/23, 203.0.112.0/24"]),
    # links that no packet arrives by
    (PORTS, dict(wans=[{"interface": "eth0"}], lans=[{"name": "a", "interfaces": ["eth1", "eth2@eth1"]}]),
     ["lans[0] 'a': eth1 is a port of bond bond0, where its packets arrive; name bond0",
      "lans[0] 'a': interface 'eth2@eth1' does not exist; in 'ip link', the parent link follows the '@'; "
      "write eth2"]),
    (PORTS, dict(wans=[{"interface": "eth1*"}], lans=[{"name": "a", "interfaces": ["x"], "networks": ["10.9.0.0/16"]}]),
     ["wans[0]: eth1 is a port of bond bond0, where its packets arrive; name bond0"]),
    (Facts((WAN, Interface("eth1", addresses=("10.0.0.2",))), (Route("eth0"),)),
     dict(lans=[{"name": "a", "interfaces": ["eth1"]}]),
     ["lans[0] 'a': eth1 has only a /32 address and no routes, so its networks cannot be read; "
      "list them in networks"]),
    # the same interface under two names
    (HOST, dict(wans=[{"interface": "eth0"}, {"interface": "wan-port"}]),
     ["wans: 'eth0' is defined twice; give each its own name"]),
    (HOST, dict(wans=[{"interface": "wan-port"}],
                lans=[{"name": "a", "interfaces": ["eth0"], "networks": ["10.0.0.0/8"]}]),
     ["lans[0] 'a': interface eth0 is also WAN eth0; " + ONE_CARD]),
    # networks that only the host knows
    (HOST, dict(lans=[{"name": "a", "interfaces": ["eth1"]},
                      {"name": "b", "interfaces": ["eth9"], "networks": ["192.168.0.0/16"]}]),
     ["lans[0] 'a' and lans[1] 'b': networks 192.168.1.0/24 and 192.168.0.0/16 overlap; "
      "each address belongs to one LAN"]),
    (HOST, dict(nat=[{"name": "x", "source": ["office"]}]),
     ["nat[0] 'x': source 'office' is neither a LAN nor a network; known LANs: eth1"]),
    # NAT items that could never match
    (HOST, dict(nat=[{"name": "x", "source": ["10.5.0.0/16"]}]),
     ["nat[0] 'x': source 10.5.0.0/16 is not in any LAN (eth1 192.168.1.0/24 fd00:1::/64)"]),
    (HOST, dict(nat=[{"name": "x", "source": ["192.168.1.0/24"], "destination": ["fd00:9::/64"]}]),
     ["nat[0] 'x': source and destination have no address family in common; give both in IPv4 or both in IPv6"]),
    (HOST, dict(nat=[{"name": "x", "wan": "eth9"}]), ["nat[0] 'x': wan eth9 is not in wans (eth0)"]),
]  # fmt: skip


@pytest.mark.parametrize(("facts", "given", "wanted"), TEST_PROBLEMS)
def test_problems(facts, given, wanted):
    assert problems(facts, **given) == wanted


def test_a_pattern_may_mean_ports_too():
    lans = [{"name": "a", "interfaces": ["x"], "networks": ["10.9.0.0/16"]}]
    assert resolve(gateway_from_params(gateway_params(wans=[{"interface": "eth*"}], lans=lans)), PORTS)


def test_fifteen_characters_are_enough():
    assert resolved(wans=[{"interface": "fifteen-letters"}]).gateway.wans[0].interface == "fifteen-letters"
    assert resolved(wans=[{"interface": "fourteen-lette*"}])
    # nft 1.0.6: "String exceeds maximum length of 16", counting the star and the end.
    assert problems(HOST, wans=[{"interface": "fifteen-letters*"}]) == [
        "wans[0]: pattern 'fifteen-letters*' is longer than 15 characters; shorten the part before the '*'"
    ]


def test_items_follow_alternative_names_and_need_no_interface():
    item = forward_from_params(forward_params(name="x", in_interface="wan-port", out_interface="ppp*"))
    found, notes = resolve_item(item, HOST)
    assert (found.in_interface, found.out_interface) == ("eth0", "ppp*")
    assert notes == ("wan-port is an alternative name of eth0; the rules use eth0",)
    item = masquerade_from_params(masquerade_params(name="x", source=["10.0.0.0/8"], out_interface="y" * 16))
    with pytest.raises(GatewayError) as caught:
        resolve_item(item, HOST)
    assert caught.value.problems[0].startswith("out_interface: interface 'yyyyyyyyyyyyyyyy' is longer than 15")


def test_an_item_on_a_link_that_no_packet_arrives_by_is_refused():
    item = forward_from_params(forward_params(name="x", in_interface="eth1", out_interface="eth0.7@eth0"))
    with pytest.raises(GatewayError) as caught:
        resolve_item(item, PORTS)
    assert caught.value.problems == (
        "in_interface: eth1 is a port of bond bond0, where its packets arrive; name bond0",
        "out_interface: interface 'eth0.7@eth0' does not exist; in 'ip link', the parent link follows the '@'; "
        "write eth0.7",
    )


#: ipv6, item source, networks translated
TEST_SOURCES = [
    ("route", None, ("10.0.0.0/24", "fd00:1::/64", "10.1.0.0/24")),
    ("masquerade", None, ("10.0.0.0/24", "fd00:1::/64", "2001:db8::/64", "10.1.0.0/24")),
    ("route", ["a"], ("10.0.0.0/24", "fd00:1::/64")),
    ("route", ["b", "10.0.0.128/25"], ("10.1.0.0/24", "10.0.0.128/25")),
    ("route", ["2001:db8::/64"], ("2001:db8::/64",)),
]


@pytest.mark.parametrize(("ipv6", "source", "wanted"), TEST_SOURCES)
def test_sources_of(ipv6, source, wanted):
    gateway = resolved(
        ipv6=ipv6,
        wans=[{"interface": "ppp0"}],
        lans=[
            {"name": "a", "interfaces": ["x"], "networks": ["10.0.0.0/24", "fd00:1::/64", "2001:db8::/64"]},
            {"name": "b", "interfaces": ["y"], "networks": ["10.1.0.0/24"]},
        ],
        nat=[{"name": "n", "source": source}],
    ).gateway
    assert sources_of(gateway, gateway.nat[0]) == wanted
    assert forwarded_families(gateway) == ("ip", "ip6")


@pytest.mark.parametrize(
    ("networks", "wanted"),
    [(["10.0.0.0/8"], ("ip",)), (["fd00::/64"], ("ip6",)), (["fd00::/64", "10.0.0.0/8"], ("ip", "ip6"))],
)
def test_forwarded_families(networks, wanted):
    lans = [{"name": "a", "interfaces": ["x"], "networks": networks}]
    assert forwarded_families(resolved(wans=[{"interface": "p"}], lans=lans).gateway) == wanted


# --- NAT items, port forwards, outbound items -----------------------------------------------------------------------

MANY = Facts(
    (
        Interface("eth0", networks=("203.0.113.0/24",), addresses=("203.0.113.5", "203.0.113.6", "2001:db8:ff::5")),
        Interface("eth1", networks=("192.168.1.0/24",), addresses=("192.168.1.1",)),
    ),
    (Route("eth0"),),
)
OFFICE = {"name": "office", "interfaces": ["eth1"], "networks": ["192.168.1.0/24"]}
GUESTS = {"name": "guests", "interfaces": ["eth2"], "networks": ["192.168.2.0/24", "fd00:2::/64"]}
ROUTED = {"name": "routed", "interfaces": ["eth3"], "networks": ["192.168.3.0/24", "2001:db8:3::/64"]}


def nat(action="masquerade", **more):
    return dict(nat=[dict(more, name="x", action=action)])


def forward(**more):
    return dict(port_forwards=[dict(dict(name="web", port=["443"], to=["192.168.1.20"]), **more)])


NOBODY = "nat[0] 'x': to {0}: no interface of this host has {1}; set to_address to add (or to routed, if a "
NOBODY += "router sends it here), or use action masquerade"
NO_PREFIX = "lans[{0}] '{1}': network {2} has no outside prefix on {3}; add a NAT item with action prefix"
#: LANs, options, problems
TEST_VOCABULARY = [
    # addresses that nobody has
    ([OFFICE], nat("snat", to=["203.0.113.9"]), [NOBODY.format("203.0.113.9", "203.0.113.9")]),
    ([OFFICE], nat("snat", to=["203.0.113.5-203.0.113.8"]), [NOBODY.format("203.0.113.5-203.0.113.8", "203.0.113.7")]),
    (
        [OFFICE],
        nat("snat", to=["203.0.113.5", "203.0.113.7", "203.0.113.8"]),
        [NOBODY.format(to, to) for to in ("203.0.113.7", "203.0.113.8")],
    ),
    ([OFFICE], nat("snat", to=["203.0.113.9"], to_address="existing"), [NOBODY.format("203.0.113.9", "203.0.113.9")]),
    # families
    (
        [OFFICE],
        nat("snat", to=["2001:db8:ff::5"]),
        ["nat[0] 'x': source and to have no address family in common; give both in IPv4 or both in IPv6"],
    ),
    (
        [GUESTS],
        dict(nat("snat", to=["2001:db8:ff::5"]), ipv6="prefix"),
        [
            "nat[0] 'x': source and to have no address family in common; give both in IPv4 or both in IPv6",
            NO_PREFIX.format(0, "guests", "fd00:2::/64", "eth0"),
        ],
    ),
    # one to one
    (
        [GUESTS],
        nat("static", source=["guests"], to=["203.0.113.0/25"], to_address="routed"),
        [
            "nat[0] 'x': source 192.168.2.0/24 and to 203.0.113.0/25 have different lengths; action static maps one "
            "address to one"
        ],
    ),
    (
        [dict(OFFICE, networks=["192.168.1.0/25", "192.168.1.128/25"])],
        nat("static", source=["office"], to=["198.51.100.0/25"]),
        ["nat[0] 'x': source office has 2 networks in the address family of to 198.51.100.0/25; name the one to map"],
    ),
    (
        [OFFICE],
        nat("static", source=["office"], to=["2001:db8:7::/64"]),
        [
            "nat[0] 'x': source and to have no address family in common; give both in IPv4 or both in IPv6",
            "nat[0] 'x': source office has 0 networks in the address family of to 2001:db8:7::/64; name the one to map",
        ],
    ),
    (
        [OFFICE],
        nat("static", source=["10.5.0.0/28"], to=["198.51.100.0/28"]),
        ["nat[0] 'x': source 10.5.0.0/28 is not in any LAN (office 192.168.1.0/24)"],
    ),
    (
        [GUESTS],
        dict(nat("prefix", source=["guests"], to=["2001:db8:7::/48"]), ipv6="prefix"),
        [
            "nat[0] 'x': source fd00:2::/64 and to 2001:db8:7::/48 have different lengths; action prefix maps one "
            "address to one"
        ],
    ),
    (
        [dict(GUESTS, networks=["fd00:2::/80"])],
        dict(nat("prefix", source=["guests"], to=["2001:db8:7::/80"]), ipv6="prefix"),
        ["nat[0] 'x': fd00:2::/80 is longer than /64, the longest that RFC 6296 translates"],
    ),
    # prefixes
    (
        [GUESTS],
        nat("prefix", source=["fd00:2::/64"], to=["2001:db8:7::/64"]),
        ["nat[0] 'x': action prefix requires ipv6 mode prefix; set ipv6 to prefix"],
    ),
    ([GUESTS], dict(ipv6="prefix"), [NO_PREFIX.format(0, "guests", "fd00:2::/64", "eth0")]),
    (
        [OFFICE, GUESTS, dict(ROUTED, networks=["fd00:3::/64"])],
        dict(nat("prefix", source=["guests"], to=["2001:db8:7::/64"]), ipv6="prefix"),
        [NO_PREFIX.format(2, "routed", "fd00:3::/64", "eth0")],
    ),
    (
        [GUESTS],
        dict(
            nat("prefix", source=["guests"], to=["2001:db8:7::/64"], wan="eth0"),
            ipv6="prefix",
            wans=[{"interface": "eth0"}, {"interface": "ppp0"}],
        ),
        [NO_PREFIX.format(0, "guests", "fd00:2::/64", "ppp0")],
    ),
    # port forwards
    (
        [OFFICE],
        dict(
            port_forwards=[
                {"name": "a", "port": ["1"], "to": ["192.168.1.1"]},
                {"name": "b", "port": ["2"], "to": ["192.168.1.1"]},
                {"name": "web", "port": ["443"], "to": ["10.9.9.9"]},
            ]
        ),
        ["port_forwards[2] 'web': to 10.9.9.9 is not in any LAN (office 192.168.1.0/24)"],
    ),
    (
        [OFFICE, GUESTS],
        forward(to=["10.9.9.9", "192.168.1.20", "10.9.9.8"]),
        [
            "port_forwards[0] 'web': to {0} is not in any LAN "
            "(office 192.168.1.0/24, guests 192.168.2.0/24 fd00:2::/64)".format(to)
            for to in ("10.9.9.9", "10.9.9.8")
        ],
    ),
    (
        [OFFICE, GUESTS],
        forward(to=["192.168.1.20", "192.168.2.20"]),
        ["port_forwards[0] 'web': to lists servers in different LANs; they must share one LAN"],
    ),
    (
        [ROUTED],
        forward(to=["2001:db8:3::20"], to_port=8443),
        ["port_forwards[0] 'web': to 2001:db8:3::20 is routed, not translated, so to_port cannot differ from port"],
    ),
    # outbound
    (
        [OFFICE],
        dict(outbound=[{"name": "o", "source": ["10.5.0.0/16"], "action": "drop"}]),
        ["outbound[0] 'o': source 10.5.0.0/16 is not in any LAN (office 192.168.1.0/24)"],
    ),
    (
        [OFFICE],
        dict(outbound=[{"name": "o", "source": ["office"], "destination": ["fd00:9::/64"], "action": "drop"}]),
        ["outbound[0] 'o': source and destination have no address family in common; give both in IPv4 or both in IPv6"],
    ),
    # together
    (
        [OFFICE],
        dict(
            nat("snat", to=["203.0.113.9"], source=["10.5.0.0/16"]),
            **forward(to=["10.9.9.9"]),
            outbound=[{"name": "o", "source": ["10.6.0.0/16"]}],
        ),
        [
            "nat[0] 'x': source 10.5.0.0/16 is not in any LAN (office 192.168.1.0/24)",
            "outbound[0] 'o': source 10.6.0.0/16 is not in any LAN (office 192.168.1.0/24)",
            "port_forwards[0] 'web': to 10.9.9.9 is not in any LAN (office 192.168.1.0/24)",
            NOBODY.format("203.0.113.9", "203.0.113.9"),
        ],
    ),
]


@pytest.mark.parametrize(("lans", "given", "wanted"), TEST_VOCABULARY)
def test_vocabulary_problems(lans, given, wanted):
    assert problems(MANY, lans=lans, **given) == wanted


#: LANs and options that are right
TEST_RIGHT = [
    ([OFFICE], nat("snat", to=["203.0.113.5-203.0.113.6"])),
    ([OFFICE], nat("snat", to=["203.0.113.5", "203.0.113.6"])),
    ([OFFICE], nat("snat", to=["203.0.113.9-203.0.113.12"], to_address="routed")),
    ([GUESTS], nat("snat", to=["203.0.113.5", "2001:db8:ff::5"])),
    ([GUESTS], nat("static", source=["guests"], to=["2001:db8:7::/64"])),
    ([GUESTS], nat("static", source=["guests"], to=["203.0.113.0/24"], to_address="routed")),
    ([GUESTS], dict(nat("prefix", source=["guests"], to=["2001:db8:7::/64"]), ipv6="prefix")),
    ([GUESTS], dict(nat("prefix", source=["fd00:2::/48"], to=["2001:db8:7::/48"]), ipv6="prefix")),
    ([OFFICE], dict(ipv6="prefix")),
    ([ROUTED], forward(to=["2001:db8:3::20"], to_port=443)),
    ([ROUTED], dict(forward(to=["2001:db8:3::20"], to_port=8443), ipv6="masquerade")),
    ([OFFICE, GUESTS], forward(to=["192.168.1.20", "192.168.1.21"], to_port=8443)),
]


@pytest.mark.parametrize(("lans", "given"), TEST_RIGHT)
def test_vocabulary_that_is_right(lans, given):
    assert resolved(MANY, lans=lans, **given)


def test_alternative_names_of_every_kind_of_item():
    found = resolved(
        wans=[{"interface": "wan-port"}],
        lans=[dict(OFFICE, interfaces=["eth1"])],
        port_forwards=[{"name": "web", "port": ["443"], "to": ["192.168.1.20"], "wan": "wan-port"}],
        outbound=[{"name": "o", "wan": "wan-port"}],
    ).gateway
    assert found.port_forwards[0].wan == found.outbound[0].wan == "eth0"
    given = [{"name": "web", "port": ["443"], "to": ["192.168.1.20"], "wan": LONG}]
    assert problems(wans=[{"interface": "eth0"}, {"interface": LONG}], lans=[OFFICE], port_forwards=given)[-1] == (
        "port_forwards[0] 'web': interface 'sixteen-letters-' is longer than 15 characters and is not an alternative "
        "name on this host; use the name that 'ip link' shows"
    )


def test_found_wans_have_the_mss_for_all():
    assert [wan.mss for wan in resolved(mss="1400").gateway.wans] == ["1400"]


def test_prefix_mode_leaves_ipv6_to_prefix_items():
    gateway = resolved(
        MANY,
        lans=[GUESTS],
        ipv6="prefix",
        nat=[
            {"name": "most", "destination": ["0.0.0.0/1", "8000::/1"]},
            {"name": "vpn", "action": "exempt", "destination": ["10.0.0.0/8", "fd00:9::/64"]},
            {"name": "six", "action": "prefix", "source": ["guests"], "to": ["2001:db8:7::/64"]},
        ],
    ).gateway
    assert [sources_of(gateway, item) for item in gateway.nat] == [
        ("192.168.2.0/24",),
        ("192.168.2.0/24", "fd00:2::/64"),
        ("192.168.2.0/24", "fd00:2::/64"),
    ]


def test_prefix_shorter_than_the_lan_covers_only_a_part():
    """Without this sentence the LAN has no IPv6 outside, and nothing says so."""
    wide = dict(GUESTS, networks=["fd00::/40"])
    given = dict(nat("prefix", source=["fd00:0:1::/48"], to=["2001:db8:7::/48"]), ipv6="prefix")
    assert problems(MANY, lans=[wide], **given)


def test_pinhole_to_another_destination():
    """The server is asked by its own address; a destination that is another can never be asked for."""
    assert problems(MANY, lans=[ROUTED], **forward(to=["2001:db8:3::20"], destination=["2001:db8:ff::5"]))


@pytest.mark.parametrize(
    ("to", "to_address", "wanted"),
    [
        ("203.0.113.9", None, [NOBODY.format("203.0.113.9/32", "203.0.113.9")]),
        ("203.0.113.9", "routed", []),
        ("198.18.7.9", None, []),
        ("198.18.7.9", "existing", [NOBODY.format("198.18.7.9/32", "198.18.7.9")]),
    ],
)
def test_a_mapped_address_on_the_link_has_to_be_here(to, to_address, wanted):
    """Nobody else would answer for it; one from elsewhere can only be routed here."""
    given = nat("static", source=["192.168.1.25"], to=[to], to_address=to_address)
    gateway = gateway_from_params(gateway_params(lans=[OFFICE], **given))
    try:
        resolve(gateway, MANY)
    except GatewayError as error:
        assert list(error.problems) == wanted
    else:
        assert wanted == []


NOBODY_HERE = Facts((), ())
SHADOWED = "nat[1] 'second': can never match: nat[0] 'first' already takes these packets; put this one first"


@pytest.mark.parametrize(
    ("first", "second", "refused"),
    [
        ({}, {}, True),
        ({}, {"source": ["192.168.1.9/32"], "protocol": ["tcp"]}, True),
        ({"source": ["192.168.0.0/22"]}, {"source": ["office"]}, False),  # the office has IPv6, too
        ({"source": ["192.168.0.0/22"]}, {"source": ["192.168.1.0/25"]}, True),
        ({"source": ["192.168.1.0/25"]}, {"source": ["192.168.1.0/24"]}, False),
        ({"wan": "ppp0"}, {}, False),
        ({}, {"wan": "ppp0"}, True),
        ({"protocol": ["tcp"]}, {}, False),
        ({"destination": ["10.0.0.0/8"]}, {}, False),
        ({"action": "exempt", "ipsec": True}, {}, False),
        ({"action": "snat", "to": ["203.0.113.9"], "to_address": "routed"}, {}, False),
        ({"action": "snat", "to": ["203.0.113.9"], "to_address": "routed"}, {"source": ["192.168.1.9/32"]}, True),
    ],
)
def test_an_item_that_never_gets_a_packet(first, second, refused):
    given = {
        "wans": [{"interface": "ppp0"}, {"interface": "wg0"}],
        "lans": [{"name": "office", "interfaces": ["lan0"], "networks": ["192.168.1.0/24", "fd00:1::/64"]}],
        "nat": [dict({"name": "first"}, **first), dict({"name": "second"}, **second)],
    }
    try:
        resolved(NOBODY_HERE, **given)
        found = ()
    except GatewayError as error:
        found = error.problems
    assert found == ((SHADOWED,) if refused else ())


@pytest.mark.parametrize(
    ("to", "problem"),
    [
        ("127.0.0.5", "to: 127.0.0.5 is in 127.0.0.0/8, which no host can use as its address"),
        ("0.0.0.0", "to: 0.0.0.0 is in 0.0.0.0/8, which no host can use as its address"),
        ("223.255.255.255-224.0.0.1", "to: 224.0.0.0/31 is in 224.0.0.0/4, which no host can use as its address"),
        ("fe80::5", "to: fe80::5 is in fe80::/10, which no host can use as its address"),
        ("192.168.1.77", "to 192.168.1.77 is in LAN office (192.168.1.0/24); name an address outside"),
    ],
)
def test_addresses_that_nobody_outside_could_answer(to, problem):
    given = {
        "wans": [{"interface": "ppp0"}],
        "lans": [{"name": "office", "interfaces": ["lan0"], "networks": ["192.168.1.0/24", "fd00:1::/64"]}],
        "nat": [{"name": "x", "action": "snat", "to": [to], "to_address": "routed"}],
    }
    with pytest.raises(GatewayError) as caught:
        resolved(NOBODY_HERE, **given)
    assert [each.partition("'x': ")[2] for each in caught.value.problems] == [problem]


@pytest.mark.parametrize(
    "name", ["a;reboot", "$(reboot)", 'a"b', "`x`", "-j", "wan*", "wan+", "a\\b", "\x1b[2J", "\udcff"]
)
def test_links_whose_names_are_more_than_names(name):
    """The kernel takes nearly any character; rules and scripts do not."""
    lan = Interface("lan0", networks=("192.168.1.0/24",), addresses=("192.168.1.1",))
    odd = Interface(name, altnames=("uplink",), networks=("10.0.0.0/24",), addresses=("10.0.0.1",))
    with pytest.raises(GatewayError) as caught:
        resolve(gateway_from_params(gateway_params()), Facts((lan, odd), (Route(name),)))
    assert [problem.split(": ")[0] for problem in caught.value.problems] == ["wans"]
    with pytest.raises(GatewayError, match=r"wans\[0\]: '.*' is a name that rules cannot contain; rename that link"):
        resolve(gateway_from_params(gateway_params(wans=[{"interface": "uplink"}])), Facts((lan, odd), ()))
    found = resolve(gateway_from_params(gateway_params(wans=[{"interface": "ppp0"}])), Facts((lan, odd), ()))
    assert [each.name for each in found.gateway.lans] == ["lan0"]
    assert any("not used as a LAN: rules cannot contain its name" in note for note in found.notes)
    assert all(note.isprintable() for note in found.notes)
