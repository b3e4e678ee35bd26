# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Facts of the host, from recorded output of ip and /proc."""

from __future__ import annotations

import json

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError, MissingProgram
from ansible_collections.ipmasq.linux.plugins.module_utils._base.host import Done
from ansible_collections.ipmasq.linux.plugins.module_utils._base.values import is_private
from ansible_collections.ipmasq.linux.plugins.module_utils._change.asked import is_steady
from ansible_collections.ipmasq.linux.plugins.module_utils._facts.links import (
    Facts,
    Interface,
    Route,
    advertised_routes,
    manager_of,
    read_facts,
)
from ansible_collections.ipmasq.linux.tests.unit import fakes

#: Recorded with iproute2 6.1 (ip -j -d addr show), shortened to what is read and a little around it.
RECORDED = json.loads(
    """
[{"ifindex":1,"ifname":"lo","flags":["LOOPBACK","UP","LOWER_UP"],"mtu":65536,"link_type":"loopback",
  "addr_info":[{"family":"inet","local":"127.0.0.1","prefixlen":8,"scope":"host","label":"lo"},
               {"family":"inet6","local":"::1","prefixlen":128,"scope":"host"}]},
 {"ifindex":2,"ifname":"enp0s31f6","altnames":["eno1","enx8c1645000000"],"link_type":"ether",
  "addr_info":[{"family":"inet","local":"192.168.1.7","prefixlen":24,"broadcast":"192.168.1.255","scope":"global"},
               {"family":"inet","local":"192.168.1.8","prefixlen":24,"scope":"global","secondary":true},
               {"family":"inet6","local":"2001:db8:1::7","prefixlen":64,"scope":"global","dynamic":true},
               {"family":"inet6","local":"2001:db8:1::8","prefixlen":64,"scope":"global","deprecated":true},
               {"family":"inet","local":"192.168.1.9","prefixlen":32,"scope":"host"},
               {"family":"inet6","local":"fe80::8e16:45ff:fe00:0","prefixlen":64,"scope":"link"}]},
 {"ifindex":3,"ifname":"ppp0","link_type":"ppp",
  "addr_info":[{"family":"inet","local":"203.0.113.7","address":"203.0.113.1","prefixlen":32,"scope":"global"}]},
 {"ifindex":4,"ifname":"wg0","link_type":"none","linkinfo":{"info_kind":"wireguard"},
  "addr_info":[{"family":"inet","local":"10.9.0.1","prefixlen":24,"scope":"global"}]},
 {"ifindex":5,"link":"enp0s31f6","ifname":"enp0s31f6.100","link_type":"ether",
  "linkinfo":{"info_kind":"vlan","info_data":{"protocol":"802.1Q","id":100}},
  "addr_info":[{"family":"inet","local":"10.100.0.1","prefixlen":16,"scope":"global"}]},
 {"ifindex":6,"ifname":"eth7","link_type":"ether","master":"br0","linkinfo":{"info_slave_kind":"bridge"},"addr_info":[]},
 {}]
"""
)
#: Recorded likewise: ip -j -4 route show table all match 0.0.0.0/1, with two next hops and a rule for wg-quick's table.
ROUTES4 = [
    {"dst": "default", "gateway": "10.0.0.4", "dev": "wg0", "table": "51820", "flags": []},
    {"dst": "default", "gateway": "192.168.1.1", "dev": "wlan0", "protocol": "dhcp", "metric": 600, "flags": []},
    {"dst": "default", "metric": 77, "flags": [], "nexthops": [
        {"gateway": "10.0.0.7", "dev": "eth1", "weight": 1, "flags": []},
        {"gateway": "10.0.0.8", "dev": "eth2", "weight": 1, "flags": ["linkdown"]}]},
    {"dst": "0.0.0.0/1", "dev": "tun0", "scope": "link", "metric": 3, "flags": []},
    {"type": "unreachable", "dst": "default", "metric": 9999, "flags": []},
    {"type": "local", "dst": "default", "dev": "lo", "table": "100", "flags": []},
]  # fmt: skip
ROUTES6 = [
    {"dst": "default", "gateway": "fe80::1", "dev": "ppp0", "protocol": "ra", "metric": 1024, "expires": 99},
    {"type": "unreachable", "dst": "default", "dev": "lo", "metric": 4294967295},
]
RULES4 = [
    {"priority": 0, "src": "all", "table": "local"},
    {"priority": 32765, "not": None, "src": "all", "fwmark": "0xca6c", "table": "51820"},
    {"priority": 32766, "src": "all", "table": "main"},
]


def test_read_facts():
    host = fakes.FakeHost(links=RECORDED[:-1])
    host.links.append({})
    facts = read_facts(host)
    assert facts.default_routes == ("ppp0",)
    assert [" ".join(call) for call in host.calls] == [
        "ip -j -d addr show",
        "ip -j -4 route show table all match 0.0.0.0/1",
        "ip -j -6 route show table all match 2000::/4",
        "ip -j -4 route show table all dev wg0",
        "ip -j -6 route show table all dev wg0",
    ]
    assert all(is_steady(call) for call in host.calls)
    assert [each.name for each in facts.interfaces] == ["lo", "enp0s31f6", "ppp0", "wg0", "enp0s31f6.100", "eth7"]
    lan, ppp, wg = facts.interfaces[1:4]
    assert lan.altnames == ("eno1", "enx8c1645000000")
    assert lan.networks == ("192.168.1.0/24", "2001:db8:1::/64")
    assert lan.addresses == ("192.168.1.7", "192.168.1.8", "2001:db8:1::7", "2001:db8:1::8", "192.168.1.9")
    assert lan.sources == lan.addresses[:3]
    assert (lan.dynamic, lan.routed, lan.parent, lan.master) == (("2001:db8:1::7",), (), "", "")
    assert (ppp.networks, ppp.kind, wg.kind) == ((), "ppp", "wireguard")
    vlan, port = facts.interfaces[4:6]
    assert (vlan.networks, vlan.parent) == (("10.100.0.0/16",), "enp0s31f6")
    assert (port.master, port.port_of) == ("br0", "bridge")
    assert facts.interfaces[0].networks == ()


def test_a_veth_link_whose_other_end_is_in_another_namespace():
    """As iproute2 6.1 prints it."""
    links = [
        fakes.link("vethd12f3a4", kind="veth", master="br-web", link_index=2, link_netnsid=0),
        fakes.link("veth1", kind="veth", link="veth2"),
        fakes.link("eth0.7", kind="vlan", link_index=2, link_netnsid=0),
    ]
    assert [each.far for each in read_facts(fakes.FakeHost(links=links)).interfaces] == [True, False, False]


#: addresses of one interface, its networks
TEST_NETWORKS = [
    ([{"local": "10.0.0.5", "prefixlen": 32}], ()),  # the host alone
    ([{"local": "fd00::5", "prefixlen": 128}], ()),
    ([{"local": "10.0.0.1", "address": "10.9.0.0", "prefixlen": 24}], ()),  # the other end of a link
    ([{"local": "10.0.0.1", "prefixlen": 24}, {"local": "10.0.0.2", "prefixlen": 24}], ("10.0.0.0/24",)),
    ([{"local": "10.0.0.1", "prefixlen": 31}], ("10.0.0.0/31",)),
    ([{"local": "169.254.0.1", "prefixlen": 16, "scope": "link"}], ()),
]


@pytest.mark.parametrize(("addresses", "networks"), TEST_NETWORKS)
def test_networks_of_an_interface(addresses, networks):
    info = [dict({"scope": "global"}, **address) for address in addresses]
    host = fakes.FakeHost(links=[fakes.link("eth0", addr_info=info)])
    assert read_facts(host).interfaces[0].networks == networks


def test_every_way_out():
    host = fakes.FakeHost()
    host.routes, host.rules = {"-4": ROUTES4, "-6": ROUTES6}, RULES4
    assert read_facts(host).routes == (
        Route("tun0", metric=3),
        Route("eth1", metric=77, via="10.0.0.7"),
        Route("eth2", metric=77, via="10.0.0.8"),
        Route("wlan0", protocol="dhcp", metric=600, via="192.168.1.1"),
        Route("ppp0", "ip6", "ra", metric=1024, via="fe80::1"),
        Route("wg0", table="51820", via="10.0.0.4"),
    )


def test_next_hops_by_their_numbers():
    """As iproute2 6.1 prints them where net.ipv4.nexthop_compat_mode is 0."""
    host = fakes.FakeHost()
    host.nexthops = [
        {"id": 1, "gateway": "10.0.0.7", "dev": "eth1"},
        {"id": 2, "dev": "eth2"},
        {"id": 3, "blackhole": None},
        {"id": 10, "group": [{"id": 1}, {"id": 2, "weight": 5}, {"id": 3}]},
    ]
    numbers = [{"dst": "default", "nhid": number, "metric": number} for number in (1, 3, 4, 10)]
    host.routes = {"-4": [fakes.route("ppp0", metric=9), *numbers], "-6": []}
    assert read_facts(host).routes == (
        Route("eth1", metric=1, via="10.0.0.7"),
        Route("ppp0", metric=9, via="172.18.0.1"),
        Route("eth1", metric=10, via="10.0.0.7"),
        Route("eth2", metric=10),
    )
    host.routes["-4"] = [dict(fakes.route("ppp0"), nhid=1)]
    assert read_facts(host).default_routes == ("ppp0",), "as most hosts list them"


def test_a_route_for_one_prefix():
    host = fakes.FakeHost()
    host.routes["-6"] = [fakes.route("ppp0", **{"from": "2001:db8:a::/48"})]
    assert read_facts(host).routes[1:] == (Route("ppp0", "ip6", via="172.18.0.1", source="2001:db8:a::/48"),)


@pytest.mark.parametrize(
    ("rules", "found"),
    [
        (RULES4, ("wg0",)),
        (RULES4[:1] + RULES4[2:], ()),  # no rule leads there
        (RULES4[:1] + [{"priority": 1000, "src": "all", "l3mdev": None}], ("wg0",)),  # VRFs
        ([{"priority": 32000, "src": "all", "action": "prohibit"}], ()),
    ],
)
def test_a_table_that_no_rule_leads_to_is_no_way_out(rules, found):
    host = fakes.FakeHost()
    host.routes["-4"], host.rules = ROUTES4[:1], rules
    assert read_facts(host).default_routes == found
    assert host.calls[2] == ["ip", "-j", "-4", "rule", "show"]


#: drivers/net/ppp/pppoe.c, pppoe_seq_show(): number of the session in hexadecimal, address of the other end, link.
PPPOE = """\
Id       Address              Device
0001     02:00:5e:00:00:01      eth0.7
002A     02:00:5e:00:00:02      eth1
0003     02:00:5e:00:00:01      eth0.7
"""


@pytest.mark.parametrize(
    ("text", "carriers"),
    [(PPPOE, ("eth0.7", "eth1")), (PPPOE.splitlines()[0] + "\n", ()), ("", ()), (None, ())],
    ids=["sessions", "none", "empty", "no module"],
)
def test_the_links_that_carry_pppoe(text, carriers):
    host = fakes.FakeHost(links=RECORDED[:-1])
    if text is not None:
        host.files["/proc/net/pppoe"] = text
    assert read_facts(host).carriers == carriers


def test_a_host_without_ipv6_is_not_asked_for_its_routes():
    host = fakes.FakeHost(ipv6=False)
    assert read_facts(host).default_routes == ("ppp0",)
    assert not any("-6" in call for call in host.calls)


def test_one_default_route_of_both_families_is_one_wan():
    host = fakes.FakeHost()
    host.routes["-6"] = ROUTES6
    assert read_facts(host).default_routes == ("ppp0",)


def test_the_routes_of_a_link_with_a_host_address_tell_what_is_behind_it():
    """As Hetzner's cloud and others hand it out by DHCP."""
    host = fakes.FakeHost(links=[fakes.link("ppp0", "203.0.113.1/32"), fakes.link("ens10", "10.0.0.2/32")])
    host.routes["-4"] += [
        fakes.route("ens10", dst="10.0.0.0/16", gateway="10.0.0.1"),
        fakes.route("ens10", dst="10.0.0.1"),
        fakes.route("ens10", dst="169.254.169.254"),
        fakes.route("ens10", dst="224.0.0.0/4"),
        fakes.route("ens10", dst="192.168.7.0/24", type="unreachable"),
    ]
    out, inside = read_facts(host).interfaces
    assert (inside.networks, inside.routed) == ((), ("10.0.0.0/16", "10.0.0.1/32"))
    assert out.routed == ()
    assert host.calls[-1] == ["ip", "-j", "-4", "route", "show", "table", "main", "dev", "ens10"]
    assert sum(call[-1] == "ppp0" for call in host.calls) == 0


def test_the_routes_of_a_tunnel_tell_the_sites_behind_it():
    """Also those of a table of its own, as Tailscale has them."""
    host = fakes.FakeHost(links=[fakes.link("ppp0", "203.0.113.1/32"), fakes.link("ts0", "100.64.0.1/32", kind="tun")])
    host.links.append(fakes.link("wg0", "10.8.0.1/24", "2001:db8:8::1/64", kind="wireguard"))
    host.routes["-4"] += [
        fakes.route("ts0", dst="198.51.100.0/24", table="52"),
        fakes.route("ts0", dst="100.64.0.1", table="local", type="local"),
        fakes.route("wg0", dst="10.8.0.0/24"),
    ]
    host.routes["-6"] += [fakes.route("wg0", dst="2001:db8:9::/48"), fakes.route("wg0", dst="ff00::/8")]
    _out, tailscale, wireguard = read_facts(host).interfaces
    assert tailscale.routed == ("198.51.100.0/24",)
    assert wireguard.routed == ("10.8.0.0/24", "2001:db8:9::/48")


def test_a_vpn_leads_to_both_families_without_an_address():
    host = fakes.FakeHost(links=[fakes.link("wg0", kind="wireguard"), fakes.link("ztabc", "10.8.0.1/24", kind="tap")])
    host.routes["-4"] += [fakes.route("wg0", dst="198.51.100.0/24")]
    host.routes["-6"] += [
        fakes.route(name, dst=dst) for name, dst in (("wg0", "2001:db8:9::/48"), ("ztabc", "2600::/32"))
    ]
    assert [each.routed for each in read_facts(host).interfaces] == [
        ("198.51.100.0/24", "2001:db8:9::/48"),
        ("2600::/32",),
    ]


def test_the_routes_of_a_managers_bridge_tell_the_networks_behind_it():
    """A provider's addresses that are routed to virtual machines."""
    host = fakes.FakeHost(links=[fakes.link("virbr0", "192.168.122.1/24"), fakes.link("lan0", "192.168.1.1/24")])
    host.routes["-4"] += [fakes.route(name, dst="198.51.100.7") for name in ("virbr0", "lan0")]
    assert [each.routed for each in read_facts(host).interfaces] == [("198.51.100.7/32",), ()]


TEST_PRIVATE = [
    ("10.0.0.0/8", True),
    ("10.255.0.0/16", True),
    ("172.16.0.0/12", True),
    ("172.32.0.0/16", False),
    ("192.168.1.0/24", True),
    ("192.168.0.0/15", False),
    ("100.64.0.0/10", False),
    ("169.254.0.0/16", False),
    ("fd00::/64", True),
    ("fc00::/7", True),
    ("fe80::/64", False),
    ("2001:db8::/64", False),
    ("::/0", False),
]


@pytest.mark.parametrize(("network", "wanted"), TEST_PRIVATE)
def test_is_private(network, wanted):
    assert is_private(network) is wanted


TEST_MANAGER = [
    (Interface("lo"), "the host itself"),
    (Interface("docker0"), "Docker"),
    (Interface("docker_gwbridge"), "Docker"),
    (Interface("br-0123456789ab"), "Docker"),
    (Interface("br-lan"), ""),
    (Interface("br-0123456789abc"), ""),
    (Interface("br0"), ""),
    (Interface("podman1"), "Podman"),
    (Interface("cni0"), "a container network"),
    (Interface("cni-podman0"), "a container network"),
    (Interface("flannel.1"), "Kubernetes"),
    (Interface("cali12345"), "Kubernetes"),
    (Interface("virbr0"), "libvirt"),
    (Interface("vnet3"), "libvirt"),
    (Interface("lxcbr0"), "LXC, or Cilium"),
    (Interface("lxc1f2e3d4c5b6a"), "LXC, or Cilium"),
    (Interface("nerdctl0"), "nerdctl"),
    (Interface("ve-web"), "systemd-nspawn"),
    (Interface("mpqemubr0"), "Multipass"),
    (Interface("lxdbr0"), "LXD"),
    (Interface("incusbr0"), "Incus"),
    (Interface("vmnet8"), "VMware"),
    (Interface("vboxnet0"), "VirtualBox"),
    (Interface("wg0", kind="wireguard"), "a tunnel (wireguard)"),
    (Interface("office", kind="tun"), "a tunnel (tun)"),
    (Interface("ppp3", kind="ppp"), "a tunnel (ppp)"),
    (Interface("eth1"), ""),
    (Interface("eth1.5", kind="vlan"), ""),
    (Interface("wlan0"), ""),
    (Interface("bond0", kind="bond"), ""),
]


@pytest.mark.parametrize(("interface", "manager"), TEST_MANAGER, ids=[each[0].name for each in TEST_MANAGER])
def test_manager_of(interface, manager):
    assert manager_of(interface) == manager


def test_routes_from_advertisements():
    host = fakes.FakeHost(fakes.NFT)
    several = [{"gateway": "fe80::2", "dev": "lan0"}, {"gateway": "fe80::3", "dev": "lan1"}]
    host.routes["-6"] = [
        fakes.route("lan0", 1024, gateway="fe80::1", protocol="ra", expires=1790),
        {"dst": "default", "protocol": "ra", "metric": 100, "nexthops": several},
        fakes.route("wan0", 1024, gateway="fe80::4", protocol="static"),
        {"dst": "default", "protocol": "ra", "dev": "tun0"},
    ]
    assert advertised_routes(host) == [
        (["via", "fe80::1", "dev", "lan0"], 1024, ["expires", "1790"]),
        (["via", "fe80::2", "dev", "lan0"], 100, []),
        (["via", "fe80::3", "dev", "lan1"], 100, []),
    ]


def test_named_and_meant_by():
    facts = Facts((Interface("eth0", ("wan",)), Interface("eth1")), ())
    assert facts.named("wan") == facts.named("eth0") == facts.interfaces[0]
    assert facts.named("eth") is None
    assert facts.meant_by("eth*") == list(facts.interfaces)
    assert facts.meant_by("wan") == []


#: what the host answers, error class, message
TEST_ERRORS = [
    (None, MissingProgram, "ip is not installed; install the package iproute2"),
    (Done(1, "", "ip: cannot bind\n"), GatewayError, "ip: cannot list interfaces: ip: cannot bind"),
    (Done(255, "", ""), GatewayError, "ip: cannot list interfaces: exit code 255"),
    (Done(0, "1: lo: <LOOPBACK>", ""), MissingProgram,
     "ip: 'ip -j addr' printed no JSON; install the package iproute2"),
]  # fmt: skip


@pytest.mark.parametrize(("done", "error", "message"), TEST_ERRORS)
def test_errors(done, error, message):
    host = fakes.FakeHost(("nft",) if done is None else fakes.NFT)
    if done:
        host.answers["ip"] = done
    with pytest.raises(GatewayError) as caught:
        read_facts(host)
    assert (type(caught.value), caught.value.problems) == (error, (message,))


def test_a_link_whose_name_has_an_escape_sign():
    host = fakes.FakeHost(fakes.NFT)
    host.answers["ip -j -d"] = Done(0, '[{"ifname": "w\x1b[2J", "addr_info": []}, {"ifname": "lan0"}]', "")
    assert [interface.name for interface in read_facts(host).interfaces] == ["w\x1b[2J", "lan0"]
