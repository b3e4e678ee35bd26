# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""NAT and outbound items on a host."""

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.read import gateway_from_params
from ansible_collections.ipmasq.linux.plugins.module_utils._resolve.resolve import resolve
from ansible_collections.ipmasq.linux.tests.unit.intents import forward, nat
from ansible_collections.ipmasq.linux.tests.unit.params import gateway_params
from ansible_collections.ipmasq.linux.tests.unit.resolving import (
    GUESTS,
    MANY,
    NOBODY_HERE,
    OFFICE,
    ROUTED,
    problems,
    resolved,
)

NOBODY = "nat[0] 'x': to {0}: no interface of this host has {1}; set to_address to add (or to routed, if a "
NOBODY += "router sends it here), or use action masquerade"
NO_PREFIX = "lans[{0}] '{1}': network {2} has no outside prefix on {3}; add a NAT item with action prefix"
#: LANs, options, problems
TEST_PROBLEMS = [
    ([OFFICE], nat("snat", to=["203.0.113.9"]), [NOBODY.format("203.0.113.9", "203.0.113.9")]),
    ([OFFICE], nat("snat", to=["203.0.113.5-203.0.113.8"]), [NOBODY.format("203.0.113.5-203.0.113.8", "203.0.113.7")]),
    (
        [OFFICE],
        nat("snat", to=["203.0.113.5", "203.0.113.7", "203.0.113.8"]),
        [NOBODY.format(to, to) for to in ("203.0.113.7", "203.0.113.8")],
    ),
    ([OFFICE], nat("snat", to=["203.0.113.9"], to_address="existing"), [NOBODY.format("203.0.113.9", "203.0.113.9")]),
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


@pytest.mark.parametrize(("lans", "given", "wanted"), TEST_PROBLEMS)
def test_problems(lans, given, wanted):
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
]


@pytest.mark.parametrize(("lans", "given"), TEST_RIGHT)
def test_right(lans, given):
    assert resolved(MANY, lans=lans, **given)


def test_prefix_shorter_than_the_lan_covers_only_a_part():
    """Without this sentence the LAN has no IPv6 outside, and nothing says so."""
    wide = dict(GUESTS, networks=["fd00::/40"])
    given = dict(nat("prefix", source=["fd00:0:1::/48"], to=["2001:db8:7::/48"]), ipv6="prefix")
    assert problems(MANY, lans=[wide], **given)


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
