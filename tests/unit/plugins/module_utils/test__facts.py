# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the host says of itself, on recorded output of ip and /proc."""

from __future__ import annotations

import json

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._errors import GatewayError, MissingProgram
from ansible_collections.ipmasq.linux.plugins.module_utils._facts import (
    Facts,
    Interface,
    best_route4,
    best_route6,
    manager_of,
    read_facts,
)
from ansible_collections.ipmasq.linux.plugins.module_utils._host import Done
from ansible_collections.ipmasq.linux.plugins.module_utils._values import is_private
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
               {"family":"inet6","local":"fe80::8e16:45ff:fe00:0","prefixlen":64,"scope":"link"}]},
 {"ifindex":3,"ifname":"ppp0","link_type":"ppp",
  "addr_info":[{"family":"inet","local":"203.0.113.7","address":"203.0.113.1","prefixlen":32,"scope":"global"}]},
 {"ifindex":4,"ifname":"wg0","link_type":"none","linkinfo":{"info_kind":"wireguard"},
  "addr_info":[{"family":"inet","local":"10.9.0.1","prefixlen":24,"scope":"global"}]},
 {"ifindex":5,"link_index":2,"ifname":"enp0s31f6.100","link_type":"ether",
  "linkinfo":{"info_kind":"vlan","info_data":{"protocol":"802.1Q","id":100}},
  "addr_info":[{"family":"inet","local":"10.100.0.1","prefixlen":16,"scope":"global"}]},
 {"ifindex":6,"ifname":"dummy0","link_type":"ether","addr_info":[]},
 {}]
"""
)
ROUTES4 = """\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
wlan0\t00000000\t0101A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0
ppp0\t00000000\t00000000\t0001\t0\t0\t50\t00000000\t0\t0\t0
eth0\t0001A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
"""
ZERO = "0" * 32
ROUTES6 = """\
{0} 00 {0} 00 fe800000000000000000000000000001 00000400 00000001 00000000 00450003     eth0
{0} 00 {0} 00 fe800000000000000000000000000002 00000040 00000001 00000000 00450003     wwan0
fe800000000000000000000000000000 40 {0} 00 {0} 00000100 00000001 00000000 00000001     eth0
{0} 00 {0} 00 {0} ffffffff 00000001 00000000 00200200       lo
""".format(ZERO)


def test_read_facts():
    host = fakes.FakeHost(links=RECORDED[:-1], files={"/proc/net/route": ROUTES4, "/proc/net/ipv6_route": ROUTES6})
    host.links.append({})
    facts = read_facts(host)
    assert facts.default_routes == ("ppp0", "wwan0")
    assert host.calls == [["ip", "-j", "-d", "addr", "show"]]
    assert [each.name for each in facts.interfaces] == ["lo", "enp0s31f6", "ppp0", "wg0", "enp0s31f6.100", "dummy0"]
    lan, ppp, wg = facts.interfaces[1:4]
    assert lan.altnames == ("eno1", "enx8c1645000000")
    assert lan.networks == ("192.168.1.0/24", "2001:db8:1::/64")
    assert lan.addresses == ("192.168.1.7", "192.168.1.8", "2001:db8:1::7")
    assert (ppp.networks, ppp.kind, wg.kind) == ((), "ppp", "wireguard")
    assert facts.interfaces[4].networks == ("10.100.0.0/16",)
    assert facts.interfaces[0].networks == ()


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


def test_one_default_route_of_both_families_is_one_wan():
    route6 = ROUTES6.replace("wwan0", "ppp0")
    host = fakes.FakeHost(files={"/proc/net/route": ROUTES4, "/proc/net/ipv6_route": route6})
    assert read_facts(host).default_routes == ("ppp0",)


TEST_ROUTE4 = [
    ("", ""),
    (fakes.ROUTE_HEADER, ""),
    (fakes.route4(("b", 10), ("a", 20)), "b"),
    (fakes.route4(("b", 10), ("a", 9)), "a"),
    (fakes.ROUTE_HEADER + "x\t00000000\t0\t0000\t0\t0\t0\t00000000\n", ""),  # not up
    (fakes.ROUTE_HEADER + "*\t00000000\t0\t0201\t0\t0\t0\t00000000\n", ""),  # unreachable
    (fakes.ROUTE_HEADER + "tun0\t00000000\t0\t0003\t0\t0\t0\t00000080\n", ""),  # 0.0.0.0/1 is no default route
    (fakes.ROUTE_HEADER + "eth0\t0001A8C0\t0\t0001\t0\t0\t0\t00FFFFFF\n", ""),
]


@pytest.mark.parametrize(("text", "wanted"), TEST_ROUTE4)
def test_best_route4(text, wanted):
    assert best_route4(text) == wanted


def test_best_route6():
    assert best_route6(ROUTES6) == "wwan0"
    assert best_route6("") == ""
    assert best_route6(ROUTES6.splitlines()[3]) == ""
    assert best_route6(ROUTES6.replace("00450003", "00200200")) == ""


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
    (Interface("lxcbr0"), "LXC"),
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
    host.answers["ip -j"] = Done(0, '[{"ifname": "w\x1b[2J", "addr_info": []}, {"ifname": "lan0"}]', "")
    assert [interface.name for interface in read_facts(host).interfaces] == ["w\x1b[2J", "lan0"]
