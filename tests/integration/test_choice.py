# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Without variables: a cable, a lease or one packet that changes the host does not change WANs and LANs."""

from __future__ import annotations

import os
import re
import socket
import struct

import pytest
import topology
from helpers import GUESTS, OFFICE, TWO_LANS
from sandbox import sh
from unhurried import patience, wait_until

from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError
from ansible_collections.ipmasq.linux.plugins.module_utils._facts.links import read_facts
from ansible_collections.ipmasq.linux.plugins.module_utils._rollback import rollback

#: An IPv4 gateway, on which no IPv6 is forwarded and each link accepts router advertisements.
IPV4_ONLY = """
ip -6 route del default; for link in wan0 lan0 guest0; do ip -6 addr flush dev $link scope global
echo 1 > /proc/sys/net/ipv6/conf/$link/accept_ra; done
"""


@pytest.fixture
def net():
    topology_ = topology.Topology()
    yield topology_
    topology_.close()


PREFIX = "2001:db8:66::"
#: RFC 4861 section 4.6.2: on link and autonomous, valid for a day, preferred for half of it.
PREFIX_OPTION = struct.pack("!BBBBIII16s", 3, 4, 64, 0xC0, 86400, 43200, 0, socket.inet_pton(socket.AF_INET6, PREFIX))


def advertise(net, node: str, source: str = "fe80::bad", options: bytes = b"") -> None:
    """One router advertisement (RFC 4861 section 4.2), as any host can send it."""
    packet = bytearray(topology.icmp(source, "ff02::1", 134, 0, bytes(8) + options, 64 << 24 | 1800))
    packet[7] = 255  # the hop limit, which is in no checksum
    all_nodes, ours = bytes.fromhex("333300000001"), bytes.fromhex("020000000001")
    with net.inside(node), socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
        raw.bind(("up0", 0))
        raw.send(all_nodes + ours + struct.pack("!H", 0x86DD) + packet)


def until(command: str) -> str:
    """The first output of a command; empty if there is none."""
    return sh(
        "for i in $(seq {0}); do {1} | grep . && break; sleep .05; done || true".format(int(patience() * 20), command)
    )


def chosen(result) -> tuple:
    values = result.to_dict()
    return [wan["interface"] for wan in values["wans"]], [lan["name"] for lan in values["lans"]]


def same_to_all(net) -> dict:
    return {
        "office": net.tcp("office", "wan", topology.WAN4),
        "guest": net.tcp("guest", "wan", topology.WAN4),
        "guest to office": net.tcp("guest", "office", "192.168.1.10")[:7],
    }


def test_one_router_advertisement_of_a_client_changes_nothing(gate, net):
    sh(IPV4_ONLY)
    assert chosen(gate.apply()) == (["wan0"], ["lan0", "guest0"])
    before = same_to_all(net)
    assert before == {"office": topology.GATE4, "guest": topology.GATE4, "guest to office": "refused"}
    advertise(net, "guest")
    assert "proto ra" in until("ip -6 route show default dev guest0")
    result = gate.apply()
    assert chosen(result) == (["wan0"], ["lan0", "guest0"])
    assert not result.changed
    assert "LAN guest0: a host there sends router advertisements" in result.warnings[0]
    assert same_to_all(net) == before
    # Nor at a first run.
    gate.absent()
    assert chosen(gate.apply()) == (["wan0"], ["lan0", "guest0"])


def test_a_fail_over_changes_nothing(nft, net):
    net.wire_second_wan()
    sh("ip -6 route del default; ip addr flush dev wan1; ip addr add 192.168.100.2/24 dev wan1")
    sh("ip route add default via 192.168.100.1 dev wan1 metric 200")
    assert chosen(nft.apply()) == (["wan0", "wan1"], ["lan0", "guest0"])
    nft.absent()
    sh("ip route del default dev wan1; ip addr flush dev wan1 scope global")
    assert chosen(nft.apply()) == (["wan0"], ["lan0", "guest0"])
    sh("ip addr add 192.168.100.2/24 dev wan1; ip route replace default via 192.168.100.1")
    for check in (True, False):
        with pytest.raises(GatewayError) as caught:
            nft.apply(check=check)
        assert caught.value.problems[0].startswith(
            "wans: chosen so far: {gateway_wans: [{interface: wan0}]}; this run would choose {gateway_wans: ["
        )
    assert net.tcp("wan", "office", "192.168.1.10") == "timeout"
    assert chosen(nft.apply(choice="renew")) == (["wan1"], ["lan0", "guest0"])
    assert chosen(nft.apply()) == (["wan1"], ["lan0", "guest0"])


def test_a_lan_that_is_away_stays_a_lan(nft, net):
    nft.apply()
    sh("ip link del guest0")
    result = nft.apply()
    assert chosen(result) == (["wan0"], ["lan0", "guest0"])
    assert not result.changed
    assert result.remarks == ("LAN guest0: link guest0 does not exist now; its rules take effect once it appears",)


def test_a_tunnel_by_policy_routing_is_a_way_out(gate, net):
    """As wg-quick sets it up: a rule sends everything except the tunnel's own packets to a separate table."""
    net.wire_second_wan()
    sh("ip addr flush dev wan1; ip addr add 10.64.0.2/32 dev wan1; ip route add default dev wan1 table 51820")
    sh("ip rule add not fwmark 0xca6c table 51820; ip rule add table main suppress_prefixlength 0")
    net.nodes["isp"].sh("ip addr add 198.18.0.1/32 dev lo; ip route add 10.64.0.2 dev up0")
    assert chosen(gate.apply()) == (["wan0", "wan1"], ["lan0", "guest0"])
    assert net.tcp("office", "isp", "198.18.0.1") == "10.64.0.2"
    # The link below is a WAN, too: traffic that uses it while the tunnel is down is translated.
    sh("ip rule del not fwmark 0xca6c table 51820")
    assert net.tcp("office", "wan", topology.WAN4) == topology.GATE4


def test_a_tunnel_as_the_only_wan_is_a_kill_switch(gate, net):
    """The link below has the default route; LANs do not get out through it, whatever happens to the tunnel."""
    net.wire_second_wan()
    sh("ip addr flush dev wan1; ip addr add 10.64.0.2/32 dev wan1; ip route add default dev wan1 table 51820")
    sh("ip rule add not fwmark 0xca6c table 51820; ip rule add table main suppress_prefixlength 0")
    net.nodes["isp"].sh("ip addr add 198.18.0.1/32 dev lo; ip route add 10.64.0.2 dev up0")
    result = gate.apply(wans=[{"interface": "wan1"}], lans=TWO_LANS["lans"])
    assert result.remarks == (
        "wan0 has a default route but is not a WAN, so LANs cannot use it; add it to wans if they should",
    )
    assert net.tcp("office", "isp", "198.18.0.1") == "10.64.0.2"
    net.nodes["wan"].sh("ip addr add 198.18.0.1/32 dev lo")
    for away in ("ip rule del not fwmark 0xca6c table 51820", "ip link del wan1"):
        sh(away)
        with topology.Sniffer(net) as below:
            assert net.tcp("office", "wan", "198.18.0.1", timeout=1) != topology.GATE4
            assert net.tcp("office", "wan", topology.WAN6, timeout=1) != topology.GATE6
            assert not [source for source, proto in below.sources() if proto in (6, 17)]
    # The gateway itself still reaches the outside, or no tunnel would ever come back.
    assert net.tcp("gate", "wan", topology.WAN4) == topology.GATE4


def test_a_port_of_a_bridge_is_refused(nft, net):
    sh("ip link add br0 type bridge; ip link set lan0 master br0; ip link set br0 up")
    sh("ip addr add 192.168.1.1/24 dev br0")
    with pytest.raises(GatewayError) as caught:
        nft.apply(wans=[{"interface": "wan0"}], lans=[OFFICE])
    assert caught.value.problems == (
        "lans[0] 'office': lan0 is a port of bridge br0, where its packets arrive; name br0",
    )
    # Omitted LANs are found, and the port is not among them.
    sh("ip addr flush dev lan0")
    assert chosen(nft.apply()) == (["wan0"], ["guest0", "br0"])


def test_the_name_that_ip_link_prints_is_refused(nft, net):
    lan = dict(OFFICE, interfaces=["lan0@up0"])
    with pytest.raises(GatewayError) as caught:
        nft.apply(wans=[{"interface": "wan0"}], lans=[lan])
    assert caught.value.problems == (
        "lans[0] 'office': interface 'lan0@up0' does not exist; in 'ip link', the parent link follows the '@'; "
        "write lan0",
    )


def test_a_route_of_the_kernel_is_told_from_that_of_a_network_manager(nft, net):
    sh(IPV4_ONLY)
    advertise(net, "office", "fe80::aa")
    assert until("ip -6 route show default dev lan0")
    sh("ip -6 route append default via fe80::ab dev guest0 proto ra metric 1024 expires 1800")
    told = {each.interface: each.by_kernel for each in read_facts(nft.host).routes if each.protocol == "ra"}
    assert told == {"lan0": True, "guest0": False}


def test_a_rollback_brings_back_a_route_from_an_advertisement(nft, net):
    """The operator may have come through it; the router sends the next advertisement within half an hour."""
    sh(IPV4_ONLY)
    for router in ("fe80::aa", "fe80::ab"):
        advertise(net, "office", router)
        assert until("ip -6 route show default | grep " + router)
    nft.apply(confirmation=rollback.Confirmation(3600, "token", "14:05:30"), **TWO_LANS)
    assert sh("cat /proc/sys/net/ipv6/conf/all/forwarding; ip -6 route show default").split() == ["1"]
    # What the host has got in the meantime stays.
    sh("ip -6 route add default via 2001:db8:ff::1 dev wan0 metric 1024 onlink")
    assert rollback.finish("default", "token", False, nft.host).changed
    assert " reverted " in nft.host.read("/run/ipmasq/default.last")
    back = sh("ip -6 route show default")
    assert "via 2001:db8:ff::1 dev wan0 metric 1024" in back
    assert "via fe80::aa dev lan0" in back and "via fe80::ab dev lan0" in back
    assert re.search(r"proto ra metric 1025 expires 1[78]\d\dsec ", back)
    assert sh("cat /proc/sys/net/ipv6/conf/all/forwarding").strip() == "0"
    # The kernel hears the router again: without its own route, it would take no address from it either.
    advertise(net, "office", "fe80::aa")
    assert until("ip -6 route show default metric 1024 | grep fe80::aa")


@pytest.mark.parametrize("gone", ["ip link set lan0 down", "ip link del lan0"])
def test_a_rollback_does_not_fail_where_the_link_of_such_a_route_is_gone(nft, net, gone):
    sh(IPV4_ONLY)
    advertise(net, "office", "fe80::aa")
    assert until("ip -6 route show default dev lan0")
    nft.apply(confirmation=rollback.Confirmation(3600, "token", "14:05:30"), **TWO_LANS)
    sh(gone)
    assert rollback.finish("default", "token", False, nft.host).changed
    assert " reverted " in nft.host.read("/run/ipmasq/default.last")
    assert sh("cat /proc/sys/net/ipv6/conf/all/forwarding").strip() == "0"


def wire_mgmt(net, *switches: str) -> None:
    """A link that nobody declares, to a router; with these switches, it takes what that advertises."""
    net._node("mgmt")
    sh("ip link add mgmt0 type veth peer name up0 netns " + net.nodes["mgmt"].path)
    for each in switches:
        sh("echo 1 > /proc/sys/net/ipv6/conf/mgmt0/" + each)
    sh("ip link set mgmt0 up")
    net.nodes["mgmt"].sh("ip link set up0 up; ip addr add fe80::aa/64 dev up0 nodad")
    assert until("ip -6 addr show dev mgmt0 -tentative scope link")


def test_a_management_link_that_lives_on_advertisements_goes_on(nft, net):
    """IPv6 forwarding takes route and address from every link but those with accept_ra=2."""
    wire_mgmt(net, "accept_ra")
    advertise(net, "mgmt", "fe80::aa")
    assert until("ip -6 route show default dev mgmt0")
    nft.apply(**TWO_LANS)
    assert sh("cat /proc/sys/net/ipv6/conf/mgmt0/accept_ra /proc/sys/net/ipv6/conf/all/forwarding").split() == [
        "2",
        "1",
    ]
    assert "proto ra" in sh("ip -6 route show default dev mgmt0")
    assert not nft.apply(**TWO_LANS).changed
    nft.absent()
    assert sh("cat /proc/sys/net/ipv6/conf/mgmt0/accept_ra").strip() == "1"


def seconds_left(link: str) -> int:
    listed = sh("ip -6 addr show dev {0} scope global".format(link))
    return int(re.search(r"valid_lft (\d+)sec", listed).group(1))


def test_a_management_link_keeps_its_advertised_address(nft, net):
    """An address lives as long as routers say so again; a host that forwards does not hear them by default."""
    wire_mgmt(net, "accept_ra", "autoconf")
    advertise(net, "mgmt", "fe80::aa", PREFIX_OPTION)
    own = until("ip -6 -o addr show dev mgmt0 scope global dynamic").split()[3]
    nft.apply(**TWO_LANS)
    assert sh("cat /proc/sys/net/ipv6/conf/all/forwarding").strip() == "1"
    assert own in sh("ip -6 addr show dev mgmt0"), "the run has taken it away"
    # Nearly over; the next advertisement makes it last.
    sh("ip -6 addr change {0} dev mgmt0 valid_lft 100 preferred_lft 50".format(own))
    assert seconds_left("mgmt0") <= 100
    advertise(net, "mgmt", "fe80::aa", PREFIX_OPTION)
    assert until("ip -6 addr show dev mgmt0 scope global | grep -o 'valid_lft 8[56][0-9]*'"), seconds_left("mgmt0")
    assert "proto ra" in sh("ip -6 route show default dev mgmt0")
    assert not nft.apply(**TWO_LANS).changed


@pytest.mark.parametrize("name", ["*", "l*", "g?est0", "[lg]*0"])
def test_the_name_of_a_link_is_not_a_pattern_for_others(nft, net, name):
    """sysctl.d(5) would take it for one at boot; who has routers advertise on that link could do so in LANs."""
    sh(
        "ip link add '{0}' type veth peer name px; ip link set px up; ip link set '{0}' up; "
        "ip -6 route add default via fe80::9 dev '{0}' metric 2000 proto ra expires 1800".format(name)
    )
    nft.apply(**TWO_LANS)
    for path in ("/etc/sysctl.d/90-ipmasq-default.conf", "/etc/ipmasq/default.sysctl"):
        assert set(re.findall(r"conf/(.*)/accept_ra", nft.host.read(path))) == {"wan0"}
    # Another one that rules cannot name keeps its route.
    sh("ip link set '{0}' down; ip link set '{0}' name _mgmt; ip link set _mgmt up; "
       "ip -6 route add default via fe80::9 dev _mgmt metric 2000 proto ra expires 1800".format(name))  # fmt: skip
    nft.apply(**TWO_LANS)
    assert "conf/_mgmt/accept_ra = 2" in nft.host.read("/etc/sysctl.d/90-ipmasq-default.conf")
    assert nft.info()["drift"] == [] and not nft.apply(**TWO_LANS).changed


def test_one_card_for_both_sides(gate, net):
    """What the error suggests works: single items, if one interface has both clients and the default route."""
    net.wire_server()
    net.nodes["server"].sh("ip addr add 198.18.0.1/32 dev lo; ip route del default")
    net.unwire_wan()
    sh("ip link del guest0; ip route replace default via 192.168.1.20")
    for given in ({}, {"wans": [{"interface": "lan0"}]}):
        with pytest.raises(GatewayError) as caught:
            gate.apply(lans=[dict(OFFICE, networks=["192.168.1.0/24"])], **given)
        assert len(caught.value.problems) == 1
        assert (
            "use the modules masquerade (with the clients' network as source) and forwarding"
            in caught.value.problems[0]
        )
    gate.forwarding(ipv4=True, instance="one")
    gate.item("masquerade", instance="one", name="all", source=["192.168.1.0/24"], out_interface="lan0")
    assert net.tcp("office", "server", "198.18.0.1") == "192.168.1.1"


def wire_cloud(net) -> None:
    """As Google's clouds do: each card has a /32 address, and all of 10.0.0.0/8 is behind the inner one."""
    net.unwire_wan()
    sh("ip link del guest0; ip link del lan0; ip -6 route flush default")
    for name, node in (("wan0", "wan"), ("lan0", "office")):
        sh("ip link add {0} type veth peer name up0 netns {1}; ip link set {0} up".format(name, net.nodes[node].path))
        sh("echo 0 > /proc/sys/net/ipv4/conf/{0}/rp_filter".format(name))
        net.nodes[node].ip_batch("link set up0 up")
    sh("echo 0 > /proc/sys/net/ipv4/conf/all/rp_filter; ip addr add 10.128.0.5/32 dev wan0")
    sh("ip route add 10.128.0.1 dev wan0; ip route add default via 10.128.0.1 dev wan0")
    sh("ip addr add 10.200.0.5/32 dev lan0; ip route add 10.200.0.1 dev lan0; ip route add 10.0.0.0/8 via 10.200.0.1")
    net.nodes["wan"].ip_batch("addr add 10.128.0.1/20 dev up0", "addr add 198.18.0.1/32 dev lo")
    net.nodes["office"].ip_batch(
        "addr add 10.200.0.1/20 dev up0",
        "addr add 10.200.0.10/32 dev lo",
        "route add default via 10.200.0.5 dev up0 onlink src 10.200.0.10",
    )


def test_a_wan_whose_single_address_is_in_a_route_of_the_lan(gate, net):
    """Rules know a LAN by its networks, so those of the LAN leave out that address and the WAN's router."""
    wire_cloud(net)

    def seen() -> str:
        asked = net.asks("udp", "office", "wan", "198.18.0.1", 5353, timeout=0.5, bind=("10.200.0.10", 0))
        return getattr(asked, "peer", asked)

    pings = "ping -c 1 -W 1 -q 10.128.0.1"
    sh(pings)
    result = gate.apply()
    assert chosen(result) == (["wan0"], ["lan0"]) and not [each for each in result.remarks if "10.128" in each]
    assert seen() == "10.128.0.5"
    sh(pings)  # it answers
    assert gate.info()["drift"] == [] and not gate.apply().changed
    # A lease with another address: the rules do not know it yet.
    sh("ip addr add 10.128.0.7/32 dev wan0; ip addr del 10.128.0.5/32 dev wan0")
    (line,) = gate.info()["drift"]
    assert "overlaps 10.128.0.7/32 of WAN wan0 since the last run" in line
    gate.apply()
    assert seen() == "10.128.0.7" and gate.info()["drift"] == []
    # Sources that are the WAN's do not come from the LAN.
    net.nodes["office"].ip_batch("addr add 10.128.0.1/32 dev lo")
    bad = net.asks("udp", "office", "wan", "198.18.0.1", 5353, timeout=0.4, bind=("10.128.0.1", 0))
    assert bad == "timeout"


# --- Container managers -----------------------------------------------------------------------------------------------


def published(net, name: str) -> None:
    """A bridge as Docker makes it, whose container publishes a port; the rules of docker's NAT by hand."""
    net._node("box")
    sh(
        "ip link add {0} type bridge; ip addr add 172.30.0.1/16 dev {0}; ip link set {0} up; "
        "ip link add vethd12f3a4 type veth peer name up0 netns {1}; ip link set vethd12f3a4 master {0} up; "
        "nft add table ip docker; nft add chain ip docker pre '{{ type nat hook prerouting priority -100; }}'; "
        "nft add rule ip docker pre fib daddr type local iifname != {0} tcp dport 8081 dnat to 172.30.0.5:8080; "
        "nft add chain ip docker post '{{ type nat hook postrouting priority 100; }}'; "
        "nft add rule ip docker post ip saddr 172.30.0.0/16 oifname != {0} masquerade".format(
            name, net.nodes["box"].path
        )
    )
    net.nodes["box"].sh("ip addr add 172.30.0.5/16 dev up0; ip link set up0 up; ip route add default via 172.30.0.1")


@pytest.mark.parametrize("name", ["br-web", "docker-web", "br-0123456789ab"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_bridge_of_a_container_manager_is_no_lan_whatever_its_name(nft, net, name, when):
    """As a LAN, its published port would be closed; and a later run would fail because of it."""
    nft.forwarding(ipv4=True, instance="router")
    if when == "before":
        published(net, name)
    else:
        nft.apply()
        published(net, name)
    done = nft.apply()
    assert not [note for note in done.notes if note.startswith("LAN " + name)]
    assert [note for note in done.notes if note.startswith(name + ": not used as a LAN: it ")]
    assert net.asks("tcp", "wan", "box", topology.GATE4, 8081, at=8080).peer == topology.WAN4
    assert net.tcp("office", "wan", topology.WAN4) == topology.GATE4
    left = name != "br-web"
    # A name of a manager's opens the rest; another one does not, and a remark says so.
    remark = name + " (172.30.0.0/16): neither WAN nor LAN, and perhaps a container manager's under another name"
    remarks = [each for each in done.remarks if remark in each]
    assert len(remarks) == (not left)
    assert (net.tcp("office", "box", "172.30.0.5", timeout=0.4) == "192.168.1.10") == left
    assert (net.tcp("box", "wan", topology.WAN4, timeout=0.4) == topology.GATE4) == left
    if not left:
        nft.apply(undeclared="leave")
        assert net.tcp("office", "box", "172.30.0.5") == "192.168.1.10"
        assert net.tcp("box", "wan", topology.WAN4) == topology.GATE4


# --- LANs with the networks of their links ----------------------------------------------------------------------------

FOLLOWING = {
    "wans": [{"interface": "wan0"}],
    "lans": [{"name": "office", "interfaces": ["lan0"]}, {"name": "guests", "interfaces": ["guest0"]}],
}


def udp_seen(net, source: str, target: str) -> bool:
    """Whether a packet from the office with this source leaves through the WAN, translated or not."""
    with topology.Sniffer(net) as wan:
        topology.send(net, "office", [topology.udp(source, target, 40001)])
        return any(proto == socket.IPPROTO_UDP for _source, proto in wan.sources())


def test_a_lan_follows_its_link_without_a_run(gate, net):
    """Another delegated prefix, another private network: translated, routed and checked like the previous ones."""
    gate.apply(**FOLLOWING)
    assert net.tcp("office", "wan", topology.WAN4) == topology.GATE4
    office, wan = net.nodes["office"], net.nodes["wan"]
    sh("ip addr flush dev lan0 scope global; ip addr add 192.168.5.1/24 dev lan0")
    sh("ip addr add 2001:db8:b::1/64 dev lan0 nodad; ip addr add fd00:5::1/64 dev lan0 nodad")
    wan.sh("ip -6 route add 2001:db8:b::/64 via 2001:db8:ff::2")
    office.sh("ip addr flush dev up0 scope global; ip addr add 192.168.5.10/24 dev up0")
    office.sh("ip route replace default via 192.168.5.1")
    office.sh("ip addr add 2001:db8:b::10/64 dev up0 nodad; ip -6 route replace default via 2001:db8:b::1")
    net._awake("office", "192.168.5.1", "2001:db8:b::1")
    with topology.Sniffer(net) as sniffer:
        assert net.tcp("office", "wan", topology.WAN4) == topology.GATE4
        assert net.tcp("office", "wan", topology.WAN6) == "2001:db8:b::10"
        # A unique local prefix is translated.
        office.sh("ip -6 addr flush dev up0 scope global; ip addr add fd00:5::10/64 dev up0 nodad")
        office.sh("ip -6 route replace default via fd00:5::1")
        net._awake("office", "fd00:5::1")
        assert net.tcp("office", "wan", topology.WAN6) == topology.GATE6
        assert sniffer.leaks() == []
    # Neither another LAN nor the outside gets in, and the LANs stay isolated.
    assert net.tcp("wan", "office", "192.168.5.10") == "timeout"
    assert net.tcp("guest", "office", "192.168.5.10").startswith("refused")
    assert net.tcp("office", "guest", "192.168.2.10").startswith("refused")
    # The next run knows the new networks, and no packet takes the slow path any more.
    assert gate.apply(**FOLLOWING).changed
    assert net.tcp("office", "wan", topology.WAN4) == topology.GATE4
    assert not gate.apply(**FOLLOWING).changed


def test_a_lan_follows_its_link_behind_another_nat(gate, net):
    """The WAN's own address is a private one, too."""
    net.nodes["wan"].sh("ip addr add 10.0.0.1/24 dev up0")
    sh("ip -4 addr flush dev wan0; ip addr add 10.0.0.2/24 dev wan0; ip route replace default via 10.0.0.1")
    gate.apply(**FOLLOWING)
    sh("ip addr add 192.168.5.1/24 dev lan0")
    office = net.nodes["office"]
    office.sh("ip addr add 192.168.5.10/24 dev up0; ip route replace default via 192.168.5.1 src 192.168.5.10")
    net._awake("office", "192.168.5.1")
    assert net.tcp("office", "wan", "10.0.0.1") == "10.0.0.2"


def test_sources_that_no_route_leads_back_to_are_dropped(gate, net):
    gate.apply(**FOLLOWING)
    for own, spoofed, target in (
        ("192.168.1.10", ("192.168.2.10", "192.168.77.5", "10.1.1.1", "8.8.8.8"), topology.WAN4),
        ("fd00:1::10", ("fd00:2::10", "fd00:77::5", "2001:db8:77::1"), topology.WAN6),
    ):
        assert udp_seen(net, own, target)
        for source in spoofed:
            assert not udp_seen(net, source, target), source


def test_no_nat_item_no_way_out(gate, net):
    """Untranslated packets are guarded, also in new networks."""
    nat = [{"name": "guests", "source": ["guests"]}]
    gate.apply(nat=nat, **FOLLOWING)
    sh("ip addr flush dev lan0 scope global; ip addr add 192.168.5.1/24 dev lan0")
    office = net.nodes["office"]
    office.sh("ip addr add 192.168.5.10/24 dev up0; ip route replace default via 192.168.5.1 src 192.168.5.10")
    net._awake("office", "192.168.5.1")
    with topology.Sniffer(net) as sniffer:
        seen = net.tcp("office", "wan", topology.WAN4)
        assert sniffer.leaks() == []
    # Nor does an item for another LAN apply to it.
    assert seen == "timeout"


def test_a_forward_to_an_address_that_a_lan_has_lost(nft, net):
    forward = {"name": "web", "port": ["8080"], "to": ["192.168.1.10"]}

    def told():
        return [each for each in nft.apply(port_forwards=[forward], **FOLLOWING).warnings if "web" in each]

    assert told() == []
    assert net.tcp("wan", "office", topology.GATE4) == topology.WAN4
    sh("ip addr flush dev lan0 scope global; ip addr add 192.168.5.1/24 dev lan0")
    assert told() == [
        "port_forwards[0] 'web': to 192.168.1.10 is not in any LAN now (office 192.168.5.0/24, guests "
        "192.168.2.0/24 fd00:2::/64); it works again once a LAN has that network; if the "
        "address has changed, update it"
    ]
    sh("ip addr add 192.168.1.1/24 dev lan0")
    assert net.tcp("wan", "office", topology.GATE4) == topology.WAN4
    lans = [dict(OFFICE, networks=["192.168.5.0/24"])]
    with pytest.raises(GatewayError, match=r"to 192\.168\.1\.10 is not in any LAN"):
        nft.apply(wans=FOLLOWING["wans"], lans=lans, port_forwards=[forward])


MASTER = "ip addr add 192.168.1.254/32 dev vrrp51; ip addr add fd00:1::254/128 dev vrrp51 nodad"


def shared_address(net, link: str = "vrrp51", wire: str = "lan0") -> None:
    """What VRRP makes: a link on the office's wire with its own MAC address, and later, on the master, addresses."""
    sh(
        "ip link add {0} link {1} address 00:00:5e:00:01:33 type macvlan mode private; ip link set {0} up; "
        "for link in {0} {1}; do echo 1 > /proc/sys/net/ipv4/conf/$link/arp_ignore; done; "
        "echo 2 > /proc/sys/net/ipv4/conf/{0}/rp_filter; echo 0 > /proc/sys/net/ipv4/conf/all/rp_filter".format(
            link, wire
        )
    )
    if wire != "lan0":
        return
    net.nodes["office"].ip_batch(*topology.default("192.168.1.254", "fd00:1::254", "replace"))


def used(net) -> list:
    """What the office sees of the shared address: pings, the gateway's own server, and two servers outside."""
    return [net.ping("office", "192.168.1.254"), net.ping("office", "fd00:1::254")] + [
        net.tcp("office", target, address, port, timeout=1)
        for target, address, port in (
            ("gate", "192.168.1.254", 22),
            ("wan", topology.WAN4, 8080),
            ("wan", topology.WAN6, 8080),
        )
    ]


def takes_over(gate, net, sides: dict, addresses: str) -> None:
    """The run is on the backup, which becomes the master without a run; one there changes nothing."""
    shared_address(net)
    gate.apply(**sides)
    sh(addresses)
    assert used(net) == [True, True, "192.168.1.10", topology.GATE4, topology.GATE6]
    again = gate.apply(**sides)
    assert not again.changed
    assert "vrrp51" not in str(again.remarks)


@pytest.mark.parametrize("sides", [{}, TWO_LANS], ids=["chosen", "declared"])
def test_the_address_of_several_routers_is_one_of_the_lan(gate, net, sides):
    takes_over(gate, net, sides, MASTER)
    # What comes through it is the LAN's, which neither reaches other LANs nor sends for others.
    assert net.tcp("office", "guest", "192.168.2.10").startswith("refused")
    net.nodes["office"].sh(
        "ip addr add 10.66.6.6/32 dev up0; ip route add 198.51.100.0/24 via 192.168.1.254 src 10.66.6.6"
    )
    with topology.Sniffer(net) as outside:
        assert net.tcp("office", "wan", "198.51.100.9", timeout=0.4) == "timeout"
        assert socket.IPPROTO_TCP not in [protocol for _source, protocol in outside.sources()]


def test_the_address_of_several_routers_is_known_to_other_instances(gate, net):
    """Hosts of the LAN answer through it."""
    shared_address(net)
    sh(MASTER)
    wans = [{"interface": "wan0"}]
    gate.apply(wans=wans, lans=[OFFICE])
    other = gate.apply(instance="two", wans=wans, lans=[dict(GUESTS, reaches=["default/office"])])
    assert "vrrp51" not in str(other.remarks)
    assert net.tcp("guest", "office", "192.168.1.10", timeout=1) == "192.168.2.10"
    assert net.tcp("guest", "office", "fd00:1::10", timeout=1) == "fd00:2::10"
    assert net.tcp("office", "guest", "192.168.2.10", timeout=0.5) == "timeout"


#: As FRR's manual and keepalived's write it.
WITH_PREFIX = MASTER.replace("/32", "/24").replace("/128", "/64")


@pytest.mark.parametrize("sides", [{}, TWO_LANS, FOLLOWING], ids=["chosen", "declared", "followed"])
def test_the_address_of_several_routers_may_have_the_prefix_of_the_lan(gate, net, sides):
    takes_over(gate, net, sides, WITH_PREFIX)
    # With a network beside that the LAN does not have, it is the LAN's still; with none of the LAN's, it is not.
    sh("ip addr add 192.168.7.1/24 dev vrrp51")
    gate.apply(**TWO_LANS)
    assert used(net) == [True, True, "192.168.1.10", topology.GATE4, topology.GATE6]
    sh("ip addr flush dev vrrp51 scope global; ip addr add 192.168.7.1/24 dev vrrp51")
    gate.apply(**TWO_LANS)
    net.nodes["office"].sh("ip route replace default via 192.168.7.1 dev up0 onlink")
    assert net.tcp("office", "wan", topology.WAN4, 8080, timeout=0.4) == "timeout"


def test_the_address_of_several_routers_is_no_part_of_a_broad_lan(gate, net):
    """The LAN has more networks behind its routers; the link of the shared address has that of the LAN's own link."""
    shared_address(net)
    sh(WITH_PREFIX)
    lan = dict(OFFICE, networks=["192.168.0.0/17", "fd00:1::/48"])
    gate.apply(wans=[{"interface": "wan0"}], lans=[lan])
    assert used(net) == [True, True, "192.168.1.10", topology.GATE4, topology.GATE6]


def test_the_link_of_a_shared_address_is_away_during_a_run(gate, net):
    """keepalived is stopped or updated; then this host becomes the master again."""
    sides = {"wans": [{"interface": "wan0"}], "lans": [OFFICE]}
    shared_address(net)
    gate.apply(**sides)
    sh("ip link del vrrp51")
    again = gate.apply(**sides)
    assert not again.changed
    assert [note for note in again.notes if note.startswith("vrrp51 does not exist now; the rules still treat it as ")]
    shared_address(net)
    sh(MASTER)
    assert used(net) == [True, True, "192.168.1.10", topology.GATE4, topology.GATE6]
    assert gate.info()["drift"] == []


def test_an_uplink_on_the_wire_of_a_lan_is_no_link_of_a_shared_address(gate, net):
    """It waits for its lease during the run. The WAN is a tunnel that is down."""
    net.wire_server()
    net.nodes["server"].sh("ip addr add 198.51.100.1/24 dev up0; ip addr add 198.18.7.7/32 dev lo")
    sh("ip link add up0 link lan0 type macvlan mode bridge; ip link set up0 up; ip route del default")
    for undeclared in ("leave", "drop"):
        gate.apply(undeclared=undeclared, wans=[{"interface": "tun9"}], lans=[OFFICE])
        sh("ip addr add 198.51.100.2/24 dev up0; ip route add default via 198.51.100.1 dev up0")
        with topology.Sniffer(net, "server") as seen:
            topology.send(net, "office", [topology.udp("192.168.1.10", "198.18.7.7")] * 3)
            left = [source for source, protocol in seen.sources(0.4) if protocol == socket.IPPROTO_UDP]
        assert bool(left) == (undeclared == "leave")
        sh("ip route del default; ip addr flush dev up0 scope global")


@pytest.mark.parametrize("master", [MASTER, WITH_PREFIX], ids=["single", "prefix"])
def test_a_first_run_on_the_master_of_several_routers(nft, net, master):
    shared_address(net)
    sh(master)
    assert "vrrp51: not used as a LAN: it is on the wire of lan0" in nft.apply().notes
    assert used(net) == [True, True, "192.168.1.10", topology.GATE4, topology.GATE6]


@pytest.mark.parametrize("lans", [FOLLOWING["lans"], [OFFICE, GUESTS]], ids=["followed", "listed"])
@pytest.mark.parametrize("length", [32, 24])
def test_a_shared_address_of_a_private_wan_takes_its_neighbours(gate, net, lans, length):
    """Their route leads through the link that has the network."""
    sh("ip addr flush dev wan0; ip addr add 10.9.0.2/24 dev wan0; ip route replace default via 10.9.0.1")
    net.nodes["wan"].sh("ip addr add 10.9.0.1/24 dev up0")
    shared_address(net, "vrrp52", "wan0")
    sh("ip addr add 10.9.0.254/{0} dev vrrp52".format(length))
    forward = {"name": "web", "port": ["8443"], "to": ["192.168.1.10"]}
    gate.apply(wans=[{"interface": "wan0"}, {"interface": "vrrp52"}], lans=lans, port_forwards=[forward])
    for address in ("10.9.0.2", "10.9.0.254"):
        assert net.tcp("wan", "office", address, 8443, timeout=1) == "10.9.0.1"
    # No source of another network, which a LAN may have got, nor of a LAN.
    sh("ip route add 10.77.0.0/16 via 192.168.1.10; ip route add 192.168.7.0/24 via 192.168.1.10")
    for wrong in ("10.77.0.5", "192.168.7.5", "192.168.1.77"):
        net.nodes["wan"].sh("ip addr add {0}/32 dev lo; ip route replace 10.9.0.254 dev up0 src {0}".format(wrong))
        if lans != [OFFICE, GUESTS] or wrong == "192.168.1.77":
            assert net.tcp("wan", "office", "10.9.0.254", 8443, timeout=0.4) == "timeout"


SYSCTL = "/lib/systemd/systemd-sysctl"


@pytest.mark.skipif(not os.path.exists(SYSCTL), reason="systemd is not installed")
def test_a_wan_that_comes_after_the_run_hears_its_router(gate, net, tmp_path):
    """udev applies sysctl.d to a link that comes. As the host forwards, it needs accept_ra 2 to listen."""
    net.unwire_wan()
    options = {"wans": [{"interface": "ppp0"}, {"interface": "wwan*"}], "lans": [OFFICE]}
    gate.apply(**options)
    for link in ("ppp0", "wwan3"):
        net._node(link)
        sh("ip link add {0} type veth peer name up0 netns {1}; ip link set {0} up".format(link, net.nodes[link].path))
        net.nodes[link].sh("ip link set up0 up")
        sh("{0} --prefix=/net/ipv6/conf/{1} {2}/etc/sysctl.d/*.conf".format(SYSCTL, link, tmp_path))
        # The first one may come before the link has its own address.
        wait_until(lambda link=link: heard(net, link), "no route to the router of " + link)
    # Another run names the new link of the pattern, and changes none of its switches.
    assert not [line for line in gate.apply(**options).to_dict()["differences"] if "accept_ra" in line]
    gate.absent()
    assert sh("cat /proc/sys/net/ipv6/conf/ppp0/accept_ra").strip() == "1"


@pytest.mark.skipif(not os.path.exists(SYSCTL), reason="systemd is not installed")
@pytest.mark.parametrize("name", ["enx*", "enx0"])
def test_a_wan_that_has_become_a_lan_hears_no_router(nft, tmp_path, name):
    """Whether it was there in the meantime or not, and whatever udev finds in sysctl.d."""
    wan = {"interface": "wan0"}
    usb = {"name": "usb", "interfaces": [name], "networks": ["192.168.9.0/24", "fd00:9::/64"]}
    listening = "cat /proc/sys/net/ipv6/conf/enx0/accept_ra"
    apply_files = "{0} --prefix=/net/ipv6/conf/enx0 {1}/etc/sysctl.d/*.conf".format(SYSCTL, tmp_path)
    for there in (False, True):
        nft.apply(wans=[wan, {"interface": name}], lans=[OFFICE])
        if there:
            sh("ip link add enx0 type veth peer name far0; " + apply_files)
            assert sh(listening).strip() == "2"
        nft.apply(wans=[wan], lans=[OFFICE, usb])
        assert "enx" not in (nft.host.read("/etc/sysctl.d/90-ipmasq-default.conf") or "")
        if not there:
            sh("ip link add enx0 type veth peer name far0; " + apply_files)
        assert sh(listening).strip() == "1"
        assert not nft.apply(wans=[wan], lans=[OFFICE, usb]).changed
        nft.absent()
        sh("ip link del enx0")


LISTENING = "cat /proc/sys/net/ipv6/conf/ppp0/accept_ra"


def hears(value: str = "") -> str:
    """accept_ra of ppp0, which this value is written to first."""
    if value:
        sh("echo {0} > /proc/sys/net/ipv6/conf/ppp0/accept_ra".format(value))
    return sh(LISTENING).strip()


@pytest.mark.parametrize("then", ["absent", "another WAN"])
@pytest.mark.parametrize("early", [True, False], ids=["there first", "comes later"])
@pytest.mark.parametrize(("ours", "theirs"), [("ppp*", "ppp*"), ("ppp*", "ppp0"), ("ppp0", "ppp*")])
def test_a_wan_that_another_instance_has_keeps_listening(nft, net, ours, theirs, early, then):
    """Also one that came after that instance's run, so that only its pattern is known there."""

    def appear() -> None:
        sh("ip link add ppp0 type veth peer name far0")

    first = {"wans": [{"interface": ours}], "lans": [OFFICE]}
    second = {"wans": [{"interface": theirs}], "lans": [GUESTS]}
    if early:
        appear()
    nft.apply(**first)
    nft.apply(instance="two", **second)
    if not early:
        appear()
        hears("2")  # as udev does
    assert hears() == "2"
    if then == "absent":
        nft.absent()
    else:
        nft.apply(wans=[{"interface": "wan0"}], lans=[OFFICE])
    assert hears() == "2"
    assert not [line for line in nft.info("two")["drift"] if "ppp0" in line]
    # With the last instance that needs it, it ends.
    nft.absent("two")
    nft.absent()
    assert hears() == "1"


def test_a_wan_that_comes_under_the_pattern_of_another_instance_began_with_the_default(nft, net):
    nft.apply(wans=[{"interface": "ppp*"}], lans=[OFFICE])
    sh("ip link add ppp0 type veth peer name far0")
    hears("2")
    nft.apply(instance="two", wans=[{"interface": "ppp0"}], lans=[GUESTS])
    nft.absent()
    assert hears() == "2"
    nft.absent("two")
    assert hears() == "1"


@pytest.mark.parametrize("first", ["1", "2"])
@pytest.mark.parametrize("then", ["absent", "a LAN"])
def test_a_wan_by_a_pattern_gets_its_first_value_back(nft, net, then, first):
    """An IPv6 router has 2 there before the first run."""
    sh("ip link add ppp0 type veth peer name far0")
    hears(first)
    nft.apply(wans=[{"interface": "ppp*"}], lans=[OFFICE])
    usb = {"name": "usb", "interfaces": ["ppp*"], "networks": ["192.168.9.0/24"]}
    if then == "absent":
        nft.absent()
    else:
        nft.apply(wans=[{"interface": "wan0"}], lans=[OFFICE, usb])
    assert hears() == first


def heard(net, link: str) -> bool:
    advertise(net, link)
    return "proto ra" in sh("ip -6 route show default dev " + link)
