# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Services of LANs on a host: what is chosen, and what cannot be."""

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError
from ansible_collections.ipmasq.linux.plugins.module_utils._facts.links import Facts, Interface, Route
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.read import read_gateway
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.services import NO_SERVICES
from ansible_collections.ipmasq.linux.plugins.module_utils._resolve.resolve import resolve
from ansible_collections.ipmasq.linux.tests.unit.params import gateway_params

WAN = Interface("wan0", networks=("203.0.113.0/24",), addresses=("203.0.113.2",))


def facts(*addresses, resolvers=(), networks=None):
    nets = networks or ("192.168.1.0/24", "fd00:1::/64")
    lan = Interface("lan0", networks=nets, addresses=addresses or ("192.168.1.1", "fd00:1::1"))
    return Facts((WAN, lan), (Route("wan0"),), resolvers=resolvers)


def resolved(host=None, options=None, **lan):
    """The LAN, and all problems."""
    given = dict({"name": "office", "interfaces": ["lan0"]}, **lan)
    params = gateway_params(wans=[{"interface": "wan0"}], lans=[given], **(options or {}))
    gateway, found = read_gateway(params)
    try:
        return resolve(gateway, host or facts()).gateway.lans[0].services, list(found)
    except GatewayError as error:
        return NO_SERVICES, list(found) + list(error.problems)


def test_another_router_of_the_lan_is_a_question():
    there = facts()
    there = Facts(there.interfaces, (*there.routes, Route("lan0", "ip6", "ra")))
    _services, problems = resolved(there, dhcp=True)
    assert [each.partition(",")[0] for each in problems] == [
        "lans[0] 'office': ra: another host sends router advertisements on lan0 (there is an IPv6 default route "
        "through it)"
    ]
    for said in ("off", "slaac"):
        services, problems = resolved(there, dhcp=True, ra=said)
        assert (services.ra, problems) == (said.replace("off", ""), [])
    # Nothing would be announced.
    assert resolved(there, dhcp=True, networks=["192.168.1.0/24"])[1] == []


@pytest.mark.parametrize(
    ("network", "own", "chosen"),
    [
        ("192.168.1.0/24", "192.168.1.1", "192.168.1.100-192.168.1.250"),
        ("192.168.1.0/24", "192.168.1.254", "192.168.1.100-192.168.1.250"),
        ("192.168.1.0/24", "192.168.1.250", "192.168.1.100-192.168.1.249"),
        ("10.0.0.0/16", "10.0.0.1", "10.0.0.100-10.0.4.75"),
        ("10.0.0.0/28", "10.0.0.1", "10.0.0.6-10.0.0.14"),
        ("10.0.0.0/30", "10.0.0.1", "10.0.0.2-10.0.0.2"),
        ("10.0.0.0/30", "10.0.0.2", "10.0.0.1-10.0.0.1"),
    ],
)
def test_a_range_is_chosen_from_the_network(network, own, chosen):
    services, problems = resolved(facts(own, networks=(network,)), dhcp=True)
    assert (services.dhcp.range, services.ra, services.dns, problems) == ((chosen,), "", True, [])


def test_own_addresses_are_left_out_of_ranges():
    """Reserved ones by dnsmasq itself, as another reservation needs no other range then."""
    reserve = [{"mac": "52:54:00:00:00:01", "address": "192.168.1.51"}]
    dhcp = {"range": "192.168.1.48-192.168.1.55", "reserve": reserve}
    services, problems = resolved(facts("192.168.1.53"), dhcp=dhcp)
    assert problems == []
    assert services.dhcp.range == ("192.168.1.48-192.168.1.52", "192.168.1.54-192.168.1.55")


@pytest.mark.parametrize(
    ("given", "ra", "dns"),
    [
        ({"dhcp": True}, "slaac", True),
        ({"dhcp": True, "ra": "off"}, "", True),
        ({"dhcp": True, "ra": "managed", "dns": False}, "managed", None),
        ({"dhcp": {"options": {"dns-server": "9.9.9.9"}}}, "slaac", None),
        ({"dhcp": {"options": {"6": "9.9.9.9"}}, "dns": True}, "slaac", True),
        ({"ra": "slaac"}, "slaac", None),
        ({"dns": True}, "", True),
        ({"ra": "off", "dns": False}, "", None),
        ({"dhcp": True, "networks": ["192.168.1.0/24"]}, "", True),
    ],
)
def test_what_follows_from_dhcp(given, ra, dns):
    services, problems = resolved(**given)
    assert (services.ra, services.dns, problems) == (ra, dns, [])


def test_a_link_that_is_not_there_yet_has_the_declared_networks():
    services, problems = resolved(interfaces=["lan7"], networks=["192.168.7.0/24", "fd00:7::/64"], dhcp=True)
    assert (services.dhcp.range, services.ra, problems) == (("192.168.7.100-192.168.7.250",), "slaac", [])


@pytest.mark.parametrize(
    ("host", "given", "said"),
    [
        (None, {"networks": ["fd00:1::/64"], "dhcp": True}, "dhcp: the LAN has no IPv4 network; add one to "),
        (None, {"networks": ["192.168.9.0/24"], "dhcp": True},
         "dhcp: no interface of the LAN has an address in 192.168.9.0/24, so nobody there can be served; give lan0 "),
        (facts("10.0.0.0", networks=("10.0.0.0/31",)), {"dhcp": True},
         "dhcp: 10.0.0.0/31 has no room for clients; use a network of /30 or larger, or remove dhcp"),
        (None, {"dhcp": {"range": "192.168.2.5-192.168.2.9"}},
         "dhcp: range: 192.168.2.5-192.168.2.9 is outside 192.168.1.0/24; choose addresses in it, such as "),
        (None, {"dhcp": {"range": "192.168.1.0-192.168.1.9"}}, "dhcp: range: 192.168.1.0-192.168.1.9 is outside"),
        (None, {"dhcp": {"range": "192.168.1.9-192.168.1.255"}}, "dhcp: range: 192.168.1.9-192.168.1.255 is outside"),
        (None, {"dhcp": {"range": ["192.168.1.9-192.168.1.20", "192.168.1.20-192.168.1.30"]}},
         "dhcp: range: 192.168.1.9-192.168.1.20 and 192.168.1.20-192.168.1.30 overlap; make one range of them"),
        (None, {"dhcp": {"range": "192.168.1.1"}}, "dhcp: every address of its range is the gateway's own or reserved"),
        (None, {"dhcp": {"reserve": [{"mac": "52:54:00:00:00:01", "address": "192.168.2.5"}]}},
         "dhcp: reserve: 192.168.2.5 is outside 192.168.1.0/24; reserve an address in it for 52:54:00:00:00:01"),
        (None, {"dhcp": {"reserve": [{"mac": "52:54:00:00:00:01", "address": "192.168.1.1"}]}},
         "dhcp: reserve: 192.168.1.1 is the gateway's own address; reserve another one for 52:54:00:00:00:01"),
        (None, {"networks": ["192.168.1.0/24"], "ra": "slaac"}, "ra: the LAN has no IPv6 network; add one"),
        (facts(networks=("192.168.1.0/24", "fd00:1::/56")), {"ra": "managed"},
         "ra: no interface of the LAN has an address in an IPv6 network of /64; give lan0 one, or set ra to off"),
    ],
)  # fmt: skip
def test_what_this_host_cannot_do(host, given, said):
    (problem,) = resolved(host, **given)[1]
    assert problem.startswith("lans[0] 'office': " + said)


@pytest.mark.parametrize(
    ("options", "resolvers", "lan", "said"),
    [
        ({"dns_upstream": ["192.168.1.1"]}, (), {"dns": True},
         "dns_upstream: 192.168.1.1 is this gateway, which would ask itself; name another server"),
        ({"dns_upstream": ["fd00:1::1#53"]}, (), {"dns": True}, "dns_upstream: fd00:1::1#53 is this gateway"),
        ({"dns_upstream": ["192.168.1.1#5335", "203.0.113.2", "127.0.0.1"]}, (), {"dns": True}, ""),
        ({}, ("192.168.1.1", "fd00:1::1"), {"dns": True},
         "dns_upstream: /etc/resolv.conf names only this gateway itself (192.168.1.1 fd00:1::1); name the s"),
        ({}, ("192.168.1.1", "9.9.9.9"), {"dns": True}, ""),
        ({}, (), {"dns": True}, ""),
        ({"dns_upstream": ["9.9.9.9"]}, (), {"dhcp": True, "dns": False},
         "dns_upstream: has no effect, because no LAN has DNS; set dns to true in a LAN"),
        ({"dns_domain": "a.example"}, (), {}, "dns_domain: has no effect, because no LAN has services"),
        ({"dns_domain": "a.example"}, (), {"dhcp": True, "dns": False}, ""),
    ],
)  # fmt: skip
def test_nobody_asks_in_a_circle(options, resolvers, lan, said):
    problems = resolved(facts(resolvers=resolvers), options, **lan)[1]
    assert [each[: len(said)] for each in problems] == [said] * bool(said)


def test_what_is_wrong_by_itself_and_here_comes_together():
    dhcp = {"range": "192.168.2.5-192.168.2.9", "lease": "x", "reserve": [{"mac": "x", "address": "192.168.1.5"}]}
    found = resolved(
        options={"dns_upstream": ["x", "192.168.1.1"]}, networks=["192.168.1.0/24"], dhcp=dhcp, ra="slaac"
    )[1]
    assert [each.partition("; ")[0].split(": ", 1)[1][:24] for each in found] == [
        "dhcp: lease: 'x' is not ", "dhcp: reserve[0]: mac 'x", "'x' is not a server",
        "dhcp: range: 192.168.2.5", "ra: the LAN has no IPv6 ", "192.168.1.1 is this gate",
    ]  # fmt: skip
