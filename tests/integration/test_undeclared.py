# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where a gateway ends: links that nobody declared, what a WAN claims to be, and other instances on the host.

What has to stay closed is asked for with packets that get through where rules are missing: the WAN knows the way to
every network of the host, and rp_filter is as systemd sets it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import socket
import struct
import threading

import pytest
from helpers import GUESTS, OFFICE, ONE_LAN, TWO_LANS
from sandbox import sh
from topology import (
    ACK,
    CLIENTS,
    FIN,
    GATE4,
    GATE6,
    RST,
    SECOND4,
    SYN,
    WAN4,
    WAN6,
    Sniffer,
    Topology,
    ip,
    send,
    tcp,
    udp,
)

from ansible_collections.ipmasq.linux.plugins.module_utils._base import prefix
from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError

OFFICE4, OFFICE6 = CLIENTS["office"][1:]
GUEST4, GUEST6 = CLIENTS["guest"][1:]
#: How long to wait for what must not come.
SOON = 0.4
SECOND = {"instance": "two", "wans": [{"interface": "wan0"}], "lans": [GUESTS]}


def third(net, link: str, node: str, net4: str, net6: str) -> tuple:
    """A link of the gateway that nobody declares, with a host behind it; its addresses."""
    net._node(node)
    there = net4 + ".10", net6 + "::10"
    net._link(link, node, net4 + ".1/24", net6 + "::1/64", there[0] + "/24", there[1] + "/64")
    net.nodes[node].sh("ip route add default via {0}.1; ip -6 route add default via {1}::1".format(net4, net6))
    net.nodes["wan"].sh(
        "ip route replace {0}.0/24 via {1}; ip -6 route replace {2}::/64 via 2001:db8:ff::2".format(net4, GATE4, net6)
    )
    net._awake(node, net4 + ".1", net6 + "::1")
    return there


def mgmt(net) -> tuple:
    return third(net, "mgmt0", "mgmt", "10.9.9", "fd09")


def container(net) -> tuple:
    """docker0, as the rules see it: they ask for its name."""
    return third(net, "docker0", "container", "172.17.0", "fd17")


def closed(net, source: str, target: str, *addresses: str) -> None:
    for address in addresses:
        assert net.tcp(source, target, address, timeout=SOON) == "timeout", address


def send_raw(net, node: str, packets: list) -> None:
    """As they are; the kernel of the node finds the way."""
    with net.socket(node, socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        for packet in packets:
            raw.sendto(packet, (socket.inet_ntoa(packet[16:20]), 0))


def counted(gate, key: str, instance: str = "default") -> int:
    return sum(row.packets for row in gate.live(instance) if row.key == key)


def masqueraded_by_another(gate, network: str, link: str) -> None:
    """What docker does for its containers, in a table of its own."""
    if gate.programs == "nft":
        sh(
            "nft add table ip theirs; nft 'add chain ip theirs post {{ type nat hook postrouting priority 100; }}'; "
            "nft add rule ip theirs post ip saddr {0} oifname != {1} masquerade".format(network, link)
        )
    else:
        sh("{0} -t nat -A POSTROUTING -s {1} ! -o {2} -j MASQUERADE".format(gate.tool(), network, link))


def published_by_another(gate, port: int, to: str) -> None:
    family = "ip6" if to.count(":") > 1 else "ip"
    if gate.programs == "nft":
        sh(
            "nft add table {0} given; nft 'add chain {0} given pre {{ type nat hook prerouting priority -100; }}'; "
            "nft add rule {0} given pre fib daddr type local tcp dport {1} dnat to {2}".format(family, port, to)
        )
    else:
        sh(
            "{0} -t nat -A PREROUTING -m addrtype --dst-type LOCAL -p tcp --dport {1} "
            "-j DNAT --to-destination {2}".format(gate.tool(family), port, to)
        )


# --- Links that nobody declared -------------------------------------------------------------------------------------


def test_a_third_network_is_closed_both_ways(gate, net):
    there4, there6 = mgmt(net)
    gate.apply(**TWO_LANS)
    with Sniffer(net) as outside:
        closed(net, "wan", "mgmt", there4, there6)
        closed(net, "mgmt", "office", OFFICE4, OFFICE6)
        closed(net, "mgmt", "wan", WAN4, WAN6)
        closed(net, "office", "mgmt", there4, there6)
        assert outside.leaks() == []
    assert counted(gate, "undeclared") >= 8
    # The gateway itself is not the host behind it.
    assert net.ping("mgmt", "10.9.9.1")
    assert net.tcp("office", "wan", WAN4) == GATE4
    assert not gate.apply(**TWO_LANS).changed


def test_what_is_undeclared_is_logged_first(gate, net):
    """The kernel's log is silent in a namespace, so the counter of the rule that logs tells, in each direction."""
    mgmt(net)
    options = dict(TWO_LANS, log=["undeclared"], log_rate="100/second")
    gate.apply(**options)

    def logged() -> int:
        rows = [row for row in gate.live() if row.key == "undeclared" and "ipmasq undeclared: " in row.text]
        return sum(row.packets for row in rows)

    seen = [logged()]
    for source, target, addresses in (
        ("mgmt", "office", (OFFICE4, OFFICE6)),
        ("office", "mgmt", ("10.9.9.10", "fd09::10")),
        ("wan", "mgmt", ("10.9.9.10", "fd09::10")),
    ):
        closed(net, source, target, *addresses)
        seen.append(logged())
        # One of each family at least.
        assert seen[-1] >= seen[-2] + 2, (source, target)
    assert not gate.apply(**options).changed


def test_two_undeclared_links_are_left_alone(gate, net):
    there4, there6 = mgmt(net)
    other4, other6 = third(net, "lab0", "lab", "10.8.8", "fd08")
    gate.apply(**TWO_LANS)
    assert net.tcp("mgmt", "lab", other4) == there4
    assert net.tcp("lab", "mgmt", there6) == other6


def test_what_others_translate_comes_in_and_is_answered(gate, net):
    there4, _there6 = mgmt(net)
    gate.apply(**TWO_LANS)
    published_by_another(gate, 8081, there4 + ":8080")
    assert net.asks("tcp", "wan", "mgmt", GATE4, 8081, at=8080)[:2] == ("mgmt", 8080)
    assert net.tcp("office", "mgmt", GATE4, 8081, timeout=SOON) == "timeout"


def test_left_alone_where_that_is_said(gate, net):
    there4, _there6 = mgmt(net)
    gate.apply(undeclared="leave", **TWO_LANS)
    assert net.tcp("office", "mgmt", there4) == OFFICE4
    assert net.tcp("mgmt", "office", OFFICE4) == there4
    assert net.tcp("wan", "mgmt", there4) == WAN4
    closed(net, "wan", "office", OFFICE4)


def test_everything_is_left_alone_in_ipv6_and_towards_a_wan(gate, net):
    there4, there6 = mgmt(net)
    gate.apply(undeclared="leave", **TWO_LANS)
    assert net.tcp("office", "mgmt", there6) == OFFICE6
    assert net.tcp("mgmt", "office", OFFICE6) == there6
    assert net.tcp("wan", "mgmt", there6) == WAN6
    # As a plain router: untranslated, because nobody has declared that network.
    assert net.tcp("mgmt", "wan", WAN4) == there4
    assert net.tcp("mgmt", "wan", WAN6) == there6
    closed(net, "wan", "office", OFFICE4, OFFICE6)


@pytest.mark.parametrize("wrong", ["wan1", "ppp*"])
def test_a_wan_of_another_name(gate, net, wrong):
    """The default route goes through a link that is not a WAN."""
    gate.apply(**dict(TWO_LANS, wans=[{"interface": wrong}]))
    with Sniffer(net) as outside:
        closed(net, "office", "wan", WAN4, WAN6)
        closed(net, "wan", "office", OFFICE4, OFFICE6)
        # Also what begins as nothing that conntrack knows.
        send(net, "office", [ip(OFFICE4, WAN4, 253, b"12345678"), udp(OFFICE6, WAN6)])
        assert outside.leaks() == []


def test_a_wan_that_comes_back_under_another_name(gate, net):
    gate.apply(**TWO_LANS)
    sh(
        "echo 0 > /proc/sys/net/ipv4/ip_forward; ip link set wan0 down; ip link set wan0 name enp3s0; "
        "ip link set enp3s0 up; ip route replace default via {0}; "
        "ip -6 addr replace 2001:db8:ff::2/64 dev enp3s0 nodad; ip -6 route replace default via {1}".format(WAN4, WAN6)
    )
    assert gate.host.boot().returncode == 0
    net._awake("wan", GATE4)
    with Sniffer(net) as outside:
        closed(net, "office", "wan", WAN4, WAN6)
        closed(net, "wan", "office", OFFICE4, OFFICE6)
        assert outside.leaks() == []


def test_a_lan_that_is_taken_out_of_the_list(gate, net):
    gate.apply(**TWO_LANS)
    gate.apply(**ONE_LAN)
    with Sniffer(net) as outside:
        closed(net, "guest", "office", OFFICE4, OFFICE6)
        closed(net, "guest", "wan", WAN4, WAN6)
        closed(net, "wan", "guest", GUEST4, GUEST6)
        assert outside.leaks() == []
    assert net.tcp("office", "wan", WAN4) == GATE4


def test_a_lan_that_becomes_a_port_of_a_bridge_after_the_run(gate, net):
    """The rules no longer see its packets as those of lan0; what they see is the bridge, which nobody declared."""
    gate.apply(**TWO_LANS)
    assert net.tcp("office", "wan", WAN6) == GATE6
    sh(
        "ip link add br0 type bridge; ip addr flush dev lan0 scope global; ip link set lan0 master br0; "
        "ip link set br0 up; ip addr add 192.168.1.1/24 dev br0; ip addr add fd00:1::1/64 dev br0 nodad"
    )
    net._awake("office", "192.168.1.1", "fd00:1::1")
    with Sniffer(net) as outside:
        closed(net, "office", "wan", WAN4, WAN6)
        closed(net, "wan", "office", OFFICE4, OFFICE6)
        closed(net, "guest", "office", OFFICE4, OFFICE6)
        assert outside.leaks() == []
    with pytest.raises(GatewayError, match=r"lan0 is a port of bridge br0, where its packets arrive; name br0"):
        gate.apply(**TWO_LANS)
    lans = [dict(OFFICE, interfaces=["br0"]), GUESTS]
    gate.apply(wans=TWO_LANS["wans"], lans=lans)
    assert net.tcp("office", "wan", WAN6) == GATE6


def test_a_family_that_no_lan_lists_is_dropped_and_told_where_it_was_forwarded(nft, net):
    """For that LAN, the host was an IPv6 router before."""
    sh("ip -6 addr add 2001:db8:a::1/64 dev lan0 nodad")
    net.nodes["office"].sh("ip -6 addr add 2001:db8:a::10/64 dev up0 nodad")
    net.nodes["wan"].sh("ip -6 route add 2001:db8:a::/64 via {0}".format(GATE6))
    options = {"wans": [{"interface": "wan0"}], "lans": [dict(OFFICE, networks=["192.168.1.0/24"])]}

    def told(**more):
        return [each for each in nft.apply(**options, **more).remarks if "not in the LAN's networks" in each]

    assert told(check=True) == []
    sh("echo 1 > /proc/sys/net/ipv6/conf/all/forwarding")
    assert net.tcp("office", "wan", WAN6) == "2001:db8:a::10"
    words = "LAN office: lan0 has {0}, which is not in the LAN's networks; packets from there are dropped as spoofed"
    assert sorted(told()) == [words.format(net6) for net6 in ("2001:db8:a::/64", "fd00:1::/64")]
    closed(net, "office", "wan", WAN6)
    assert not nft.apply(**options).changed


# --- Links of container and VM managers -----------------------------------------------------------------------------


def test_containers_are_left_to_their_manager(gate, net):
    there4, there6 = container(net)
    gate.apply(**TWO_LANS)
    assert net.tcp("office", "container", there4) == OFFICE4
    assert net.tcp("container", "office", OFFICE4) == there4
    assert net.tcp("container", "office", OFFICE6) == there6
    closed(net, "wan", "container", there4, there6)
    published_by_another(gate, 8081, there4 + ":8080")
    assert net.asks("tcp", "wan", "container", GATE4, 8081, at=8080)[:2] == ("container", 8080)
    with Sniffer(net) as outside:
        # Nobody translates it: it must not leave. iptables cannot know before the second packet.
        with contextlib.suppress(TimeoutError):  # the server waits for what ends the handshake
            net.tcp("container", "wan", WAN4, timeout=SOON)
        sent = [udp(there4, WAN4)] * 3
        send_raw(net, "container", sent)
        assert len(outside.leaks()) <= (0 if gate.programs == "nft" else 2)
    masqueraded_by_another(gate, "172.17.0.0/16", "docker0")
    assert net.tcp("container", "wan", WAN4) == GATE4


def test_a_container_inside_a_lans_networks_is_closed_from_outside(gate, net):
    """A LAN has all of 172.16.0.0/12 behind its routers, except for what the host has itself."""
    there4, there6 = container(net)
    networks = ["192.168.1.0/24", "172.16.0.0/12", "fd00:1::/64", "fd17::/48"]
    gate.apply(wans=[{"interface": "wan0"}], lans=[dict(OFFICE, networks=networks), GUESTS])
    closed(net, "wan", "container", there4, there6)
    with Sniffer(net, "container") as inside:
        send(net, "wan", [udp(WAN4, there4, 40005), udp(WAN6, there6, 40005)], link="wan0")
        assert {str(source) for source, _protocol in inside.sources(SOON)} & {WAN4, WAN6} == set()
    assert net.tcp("office", "container", there4) == OFFICE4
    assert net.tcp("office", "container", there6) == OFFICE6


def test_a_container_inside_a_prefix_that_is_translated_is_closed_from_outside(gate, net):
    """``inbound`` is false if omitted."""
    _there4, there6 = third(net, "docker0", "container", "172.17.0", "fd00:1:0:99")
    net.nodes["wan"].sh("ip -6 route add 2001:db8:77::/48 via " + GATE6)
    item = {"name": "six", "action": "prefix", "source": ["fd00:1::/48"], "to": ["2001:db8:77::/48"]}
    lans = [dict(OFFICE, networks=["192.168.1.0/24", "fd00:1::/56"])]
    ((inside, mapped),) = prefix.neutral_pairs("fd00:1::/48", "2001:db8:77::/48", ["fd00:1:0:99::/64"])
    assert there6.startswith(inside.partition("/")[0])
    outside = mapped.partition("/")[0] + "10"
    for inbound in (False, True):
        nat = [{"name": "four"}, dict(item, inbound=inbound)]
        gate.apply(wans=[{"interface": "wan0"}], lans=lans, ipv6="prefix", nat=nat)
        assert net.tcp("wan", "container", outside, timeout=0 if inbound else SOON) == (WAN6 if inbound else "timeout")
    assert net.tcp("office", "container", there6) == OFFICE6


def test_a_container_is_not_its_bridge(gate, net):
    """A packet with the bridge's address is not one of this host, although IPv6 lets it in like one."""
    _there4, there6 = container(net)
    bridge = "fd17::1"
    for stands in (True, False):
        gate.apply(**TWO_LANS, undeclared="drop" if stands else "leave")
        with Sniffer(net) as outside:
            for port in (40001, 40002):
                send(net, "container", [udp(bridge, WAN6, port)] * 2, link="docker0")
            left = [str(source) for source, _protocol in outside.sources(SOON) if str(source) == bridge]
        assert left == [bridge] * (0 if stands else 4)
        assert counted(gate, "spoofed") == (4 if stands else 0)
    # The gateway itself still sends with that address.
    gate.apply(**TWO_LANS)
    assert net.ping("container", bridge)
    assert net.tcp("container", "office", OFFICE6) == there6


def test_nobody_speaks_as_this_host_where_the_kernel_lets_such_packets_in(gate, net):
    """keepalived sets accept_local. The answers would reach a service that is for LANs only."""
    sh("for f in all lan0; do echo 0 > /proc/sys/net/ipv4/conf/$f/rp_filter; done")
    sh("echo 1 > /proc/sys/net/ipv4/conf/lan0/accept_local")
    for undeclared in ("drop", "leave"):
        gate.apply(**TWO_LANS, undeclared=undeclared)
        with Sniffer(net) as outside:
            send(net, "office", [udp("192.168.1.1", WAN4, 161, 7777)] * 2)
            assert [each for each in outside.packets(SOON) if struct.pack("!H", 7777) in each[:48]] == []
        assert counted(gate, "spoofed") == 2
        assert net.tcp("office", "wan", WAN4) == GATE4


def test_a_lan_does_not_speak_for_a_site_behind_a_managers_link(gate, net):
    """The LAN has all of 10.0.0.0/8 behind its routers, except for the networks to which the manager has routes."""
    container(net)
    sh("ip route add 10.0.0.0/8 via {0}; ip route add 10.50.0.0/16 via 172.17.0.10".format(OFFICE4))
    sh("ip -6 route add fd00::/8 via {0}; ip -6 route add fd50::/32 via fd17::10".format(OFFICE6))
    gate.apply(wans=[{"interface": "wan0"}], lans=[dict(OFFICE, networks=["192.168.1.0/24", "10.0.0.0/8", "fd00::/8"])])
    for hosts, seen in (((("10.51.0.5", WAN4), ("fd51::5", WAN6)), 4), ((("10.50.0.5", WAN4), ("fd50::5", WAN6)), 0)):
        with Sniffer(net) as outside:
            send(net, "office", [udp(source, server, 5353, 7777) for source, server in hosts] * 2)
            assert len([proto for _source, proto in outside.sources(SOON) if proto == 17]) == seen
    assert counted(gate, "spoofed") == 4


def test_what_conntrack_does_not_know_of_a_container_leaves_by_no_link_with_a_default_route(gate, net):
    """The WAN has another name in the list, so the link that leads outside is undeclared."""
    there4, there6 = container(net)
    late = [tcp(there4, WAN4, RST, 40009), tcp(there4, WAN4, SYN | FIN, 40010), tcp(there6, WAN6, RST, 40009)]
    for declared, undeclared_links in (("wan1", "drop"), ("wan0", "drop"), ("wan1", "leave")):
        gate.apply(**dict(TWO_LANS, wans=[{"interface": declared}], undeclared=undeclared_links))
        with Sniffer(net) as outside:
            send(net, "container", late, link="docker0")
            left = {str(source) for source, _protocol in outside.sources(SOON)} & {there4, there6}
        assert left == ({there4, there6} if undeclared_links == "leave" else set()), declared


@pytest.mark.parametrize("who", ["mgmt0", "docker0"])
def test_no_new_flow_of_an_undeclared_network_takes_its_private_source_out(gate, net, who):
    """Through another undeclared link, with a default route, where nobody translates (docs/backends.md has a table).

    iptables knows that from the second packet of a flow on.
    """
    up4, up6 = third(net, "lte0", "lte", "100.64.5", "fd64")
    there4, there6 = third(net, who, "node", "10.9.9", "fd09")
    sh("ip route add default via {0} metric 900; ip -6 route add default via {1} metric 9000".format(up4, up6))
    flows = [(source, to, port) for source, to in ((there4, "198.18.7.7"), (there6, "2600::7")) for port in (41, 42)]
    first = 0 if gate.programs == "nft" else len(flows)
    for undeclared in ("drop", "leave"):
        # A link that was down has lost its IPv6 address.
        sh(
            "ip link set wan0 up; ip -6 addr replace {0}/64 dev wan0 nodad; "
            "ip route replace default via {1}; ip -6 route replace default via {2}".format(GATE6, WAN4, WAN6)
        )
        gate.apply(undeclared=undeclared, **TWO_LANS)
        sh("ip link set wan0 down; conntrack -F 2> /dev/null")
        assert " dev lte0 " in sh("ip route get 198.18.7.7") and " dev lte0 " in sh("ip -6 route get 2600::7")
        with Sniffer(net, "lte") as outside:
            for _each in range(4):
                send(net, "node", [udp(source, to, 40000 + port) for source, to, port in flows], link=who)
            left = [str(source) for source, proto in outside.sources(SOON) if proto == socket.IPPROTO_UDP]
        mine = [source for source in left if source in (there4, there6)]
        if undeclared == "leave":
            assert len(mine) == 4 * len(flows), "what nobody stops does not arrive, so the rules have stopped nothing"
        else:
            assert len(mine) <= first


@pytest.mark.parametrize("name", ["br-0123456789ab", "virbr0", "wg7"])
def test_other_managed_links(nft, name):
    with contextlib.closing(Topology()) as net:
        nft.apply(**TWO_LANS)
        # It comes after the run, as a network that is created tomorrow.
        there4, _there6 = third(net, name, "later", "10.7.7", "fd07")
        assert net.tcp("later", "office", OFFICE4) == there4
        assert net.tcp("office", "later", there4) == OFFICE4
        closed(net, "wan", "later", there4)


@pytest.mark.parametrize("named", ["hassio", "has*"])
def test_a_managers_link_with_a_name_of_its_own(gate, net, named):
    """Treated like docker0, and no other link is."""
    there4, there6 = third(net, "hassio", "addon", "172.30.32", "fd30")
    mgmt4, mgmt6 = mgmt(net)
    masqueraded_by_another(gate, "172.30.32.0/24", "hassio")
    published_by_another(gate, 8081, there4 + ":8080")
    gate.apply(**TWO_LANS)
    closed(net, "addon", "office", OFFICE4, OFFICE6)
    closed(net, "office", "addon", there4, there6)
    closed(net, "addon", "wan", WAN4)
    gate.apply(**TWO_LANS, managed_links=[named])
    assert {each["name"]: each["role"] for each in gate.info()["interfaces"]}["hassio"] == "managed"
    assert net.tcp("addon", "office", OFFICE4) == "192.168.1.1" and net.tcp("addon", "office", OFFICE6) == there6
    assert net.tcp("office", "addon", there4) == OFFICE4 and net.tcp("office", "addon", there6) == OFFICE6
    assert net.tcp("addon", "wan", WAN4) == GATE4
    assert net.asks("tcp", "wan", "addon", GATE4, 8081, at=8080)[:2] == ("addon", 8080)
    closed(net, "wan", "addon", there4, there6)
    closed(net, "mgmt", "office", OFFICE4, OFFICE6)
    closed(net, "office", "mgmt", mgmt4, mgmt6)
    # What another manager's link may do to the gateway itself, it may, too.
    gate.apply(**TWO_LANS, managed_links=[named], input="protect", input_controller_ports=[22])
    assert net.tcp("addon", "gate", "172.30.32.1") == there4
    closed(net, "mgmt", "gate", "10.9.9.1")
    assert not gate.apply(**TWO_LANS, managed_links=[named], input="protect", input_controller_ports=[22]).changed
    # A default route there leads to the Internet.
    sh("ip route add default via {0} table 77; ip rule add table 77 priority 40000".format(there4))
    gate.apply(**TWO_LANS, managed_links=[named])
    closed(net, "addon", "office", OFFICE4, OFFICE6)
    closed(net, "office", "addon", there4, there6)


def test_a_managers_link_is_not_chosen_and_not_declared(nft, net):
    third(net, "hassio", "addon", "172.30.32", "fd30")
    done = nft.apply(managed_links=["hassio", "later0"])
    assert "hassio: not used as a LAN: it belongs to a manager, as managed_links says" in done.notes
    told = "managed_links: link later0 does not exist now; it is left to its manager once it appears"
    assert told in done.remarks and not [each for each in done.remarks if "hassio" in each]
    for named, owner in (("hassio", "LAN addons"), ("wan0", "WAN wan0"), ("guest*", "instance two")):
        nft.absent()
        if owner == "instance two":
            nft.apply(**SECOND)
        lans = [OFFICE, {"name": "addons", "interfaces": ["hassio"]}]
        with pytest.raises(GatewayError) as refused:
            nft.apply(wans=[{"interface": "wan0"}], lans=lans, managed_links=[named])
        told = "managed_links: '{0}' is a link of {1}, not a manager's; remove it here, or there".format(named, owner)
        told += " (if an earlier run chose that LAN, run once with choice=renew)" if "LAN" in owner else ""
        assert refused.value.problems == (told,)
    # As that says, where the run chose it, before anybody said that it is a manager's.
    nft.absent()
    assert "hassio" in str(nft.apply(wans=None, lans=None).notes)
    with pytest.raises(GatewayError, match="choice=renew"):
        nft.apply(wans=None, lans=None, managed_links=["hassio"])
    assert nft.apply(wans=None, lans=None, managed_links=["hassio"], choice="renew").changed


def test_a_name_like_a_managers_is_not_enough(gate, net):
    """br-dmz belongs to the user, and a link with a default route leads outside, regardless of who made it."""
    there4, _there6 = third(net, "br-dmz", "dmz", "10.7.7", "fd07")
    uplink4, _uplink6 = third(net, "docker9", "uplink", "10.6.6", "fd06")
    sh("ip route add default via {0} table 77; ip rule add table 77 priority 40000".format(uplink4))
    gate.apply(**TWO_LANS)
    for node, address in (("dmz", there4), ("uplink", uplink4)):
        closed(net, node, "office", OFFICE4)
        closed(net, "office", node, address)


BY_ITS_NAME = (
    "~ {0}: has come since the last run, whose rules leave it to a manager because of its name; a run closes it"
)


def test_what_is_closed_in_spite_of_its_name_stays_closed_when_it_comes_back(gate, net):
    """A run while the link is away does not open it: ifup or a daemon may make it after that run."""
    for node, link, number in (("dmz", "br-dmz", "7"), ("uplink", "docker9", "6")):
        there4, there6 = third(net, link, node, "10.{0}.{0}".format(number), "fd0" + number)
    sh("ip route add default via {0} table 77; ip rule add table 77 priority 40000".format(there4))
    gate.apply(**TWO_LANS)
    sh("ip link del br-dmz; ip link del docker9")
    again = gate.apply(**TWO_LANS)
    assert not again.changed
    assert {"br-dmz", "docker9"} <= {note.split()[0] for note in again.notes if " does not exist now; " in note}
    for node, link, number in (("dmz", "br-dmz", "7"), ("uplink", "docker9", "6")):
        there4, there6 = third(net, link, node, "10.{0}.{0}".format(number), "fd0" + number)
        closed(net, node, "office", OFFICE4, OFFICE6)
        closed(net, "office", node, there4, there6)
    info = gate.info()
    assert info["drift"] == []
    assert {each["name"]: each["role"] for each in info["interfaces"]}["br-dmz"] == "undeclared"
    # What no run has seen is open, and gateway_info says so.
    third(net, "br-ext", "ext", "10.8.8", "fd08")
    info = gate.info()
    assert info["drift"] == [BY_ITS_NAME.format("br-ext")]
    assert {each["name"]: each["role"] for each in info["interfaces"]}["br-ext"] == "managed"
    # choice=renew forgets what is away.
    sh("ip link del br-dmz; ip link del br-ext")
    assert gate.apply(**TWO_LANS, choice="renew").changed
    assert "br-dmz" not in gate.rules()


@pytest.mark.parametrize("name", ["nebula1", "tun7"])
def test_a_vpn_that_is_away_during_a_run_is_left_alone_when_it_comes_back(gate, net, name):
    """One that only its kind tells, and the public networks behind each."""
    for first in (True, False):
        with tunnel(net, "tun", name) as (there4, there6):
            net.nodes["far"].sh("ip addr replace 8.8.8.8/32 dev lo; ip addr replace 2600::8/128 dev lo")
            sh("ip route add 8.8.8.0/24 via {0}; ip -6 route add 2600::/64 via {1}".format(there4, there6))
            if first:
                gate.apply(**TWO_LANS, ipv6="masquerade")
            assert net.tcp("far", "office", OFFICE4) == there4 and net.tcp("far", "office", OFFICE6) == there6
            assert net.tcp("office", "far", "8.8.8.8") == OFFICE4 and net.tcp("office", "far", "2600::8") == OFFICE6
            info = gate.info()
            assert info["drift"] == []
            assert {each["name"]: each["role"] for each in info["interfaces"]}[name] == "managed"
        sh("while ip link show {0} 2> /dev/null; do sleep .05; done".format(name))
        again = gate.apply(**TWO_LANS, ipv6="masquerade")
        assert not again.changed
        assert [note for note in again.notes if note.startswith(name + " does not exist now; the rules still treat ")]


A_WAY_OUT = "~ tun7: has gained a default route since the last run, whose rules treat it as a link without one"


def through_a_tunnel(net) -> tuple:
    """Which strangers' packets reach the office from a node behind tun7, and which of the office's that node."""
    sh("for f in all tun7; do echo 0 > /proc/sys/net/ipv4/conf/$f/rp_filter; done")
    strangers, ours = ("8.8.8.8", "2600::1"), (OFFICE4, OFFICE6)
    with Sniffer(net, "office") as inside, Sniffer(net, "far") as outside:
        send(net, "far", [udp(*pair) for pair in zip(strangers, ours, strict=True)], "tun7")
        send(net, "office", [udp(*pair) for pair in zip(ours, ("9.9.9.9", "2600::9"), strict=True)])
        # A connection of a moment ago may still say that it has ended.
        came = [str(source) for source, protocol in inside.sources(SOON) if protocol != socket.IPPROTO_TCP]
        left = [str(source) for source, protocol in outside.sources(0) if protocol != socket.IPPROTO_TCP]
    return [each for each in came if each in strangers], [each for each in left if each in ours]


def test_a_tunnel_that_gets_a_default_route_after_the_run_is_closed(gate, net):
    """Sites behind it are reached as before. The Internet behind it is not, nor does it reach anything."""
    gate.apply(**TWO_LANS, ipv6="masquerade")
    there4, there6 = third(net, "tun7", "far", "10.7.7", "fd07")
    for leads_outside in (False, True):
        if leads_outside:
            sh("ip route replace default via {0}; ip -6 route replace default via {1}".format(there4, there6))
        assert net.tcp("far", "office", OFFICE4) == there4
        assert net.tcp("office", "far", there6) == OFFICE6
        assert through_a_tunnel(net) == ([], [])
        said = [line for line in gate.info()["drift"] if "tun7" in line]
        assert said == [A_WAY_OUT] * leads_outside + [BY_ITS_NAME.format("tun7")]  # it is a veth link here
    gate.apply(**TWO_LANS, ipv6="masquerade")
    assert net.tcp("far", "office", OFFICE4, timeout=SOON) == "timeout"
    assert not [line for line in gate.info()["drift"] if "tun7" in line]
    gate.apply(**TWO_LANS, ipv6="masquerade", undeclared="leave")
    came, left = through_a_tunnel(net)
    assert came and left, "packets that nobody stops do not arrive, so the rules have stopped nothing"


@contextlib.contextmanager
def tunnel(net, kind: str, name: str = "tun7"):
    """A tunnel of this kind; the addresses of the node at its far end."""
    if "far" not in net.nodes:
        net._node("far")
    far = net.nodes["far"]
    made = "ip addr add 10.7.7.{1}/24 dev {0}; ip addr add fd07::{1}/64 dev {0} nodad; ip link set {0} up; "
    ended = None
    if kind == "tun":
        ended = relay(net, name, "far", "up0")
    else:
        under = "ip addr add 169.254.9.{0}/30 dev under; ip link set under up; "
        under += "ip link add {1} type vxlan id 5 dstport 4789 local 169.254.9.{0} remote 169.254.9.{2}"
        sh("ip link add under type veth peer name under netns {0}; ".format(far.path) + under.format(1, "tun7", 2))
        far.sh(under.format(2, "up0", 1))
    sh(made.format(name, 1))
    far.sh(made.format("up0", 2) + "ip route add default via 10.7.7.1; ip -6 route add default via fd07::1")
    net._awake("far", "10.7.7.1", "fd07::1")
    try:
        yield "10.7.7.2", "fd07::2"
    finally:
        if ended:
            ended.set()


def relay(net, here: str, node: str, there: str) -> threading.Event:
    """TUN devices here and in a node, and what passes packets between them, like a VPN's daemons; set it to end."""
    ends = [tun(here)]
    with net.inside(node):
        ends.append(tun(there))
    ended = threading.Event()

    def pass_on() -> None:
        while not ended.is_set():
            for ready in select.select(ends, [], [], 0.1)[0]:
                with contextlib.suppress(OSError):  # the other one is not up yet
                    os.write(ends[ends[0] == ready], os.read(ready, 65536))
        for end in ends:
            os.close(end)

    threading.Thread(target=pass_on, daemon=True).start()
    return ended


def tun(name: str) -> int:
    """TUNSETIFF with IFF_TUN and IFF_NO_PI, include/uapi/linux/if_tun.h"""
    device = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(device, 0x400454CA, struct.pack("16sH22x", name.encode(), 0x1001))
    return device


#: The Internet without private networks, as AllowedIPs of WireGuard are often written: some of 30 networks, and IPv6.
NOT_PRIVATE = ("8.0.0.0/7", "11.0.0.0/8", "12.0.0.0/6"), ("2000::/5", "2800::/5", "3000::/4")


def test_a_tunnel_into_which_anybody_can_send_is_no_vpn(gate, net):
    """VXLAN accepts packets from anyone. A warning names the link; a TUN device of that name is left alone."""
    with tunnel(net, "vxlan") as (there4, there6):
        told = gate.apply(**TWO_LANS).remarks
        closed(net, "far", "office", OFFICE4, OFFICE6)
        closed(net, "office", "far", there4, there6)
        assert [line for line in told if "tun7 (10.7.7.0/24): neither WAN nor LAN, so new connections" in line]
        gate.apply(**TWO_LANS, undeclared="leave")
        assert net.tcp("far", "office", OFFICE4) == there4


def test_a_tunnel_to_all_but_private_networks_is_closed(gate, net):
    with tunnel(net, "tun") as there:
        for nets, address in zip(NOT_PRIVATE, there, strict=True):
            for each in nets:
                sh("ip route add {0} via {1}".format(each, address))
        told = gate.apply(**TWO_LANS, ipv6="masquerade").remarks
        assert net.tcp("far", "office", OFFICE4) == there[0]
        assert net.tcp("office", "far", there[1]) == OFFICE6
        assert through_a_tunnel(net) == ([], [])
        assert [
            line for line in told if line.startswith("tun7 leads to much of the Internet, and LANs reach no public ")
        ]
        # A site that has a public network is none of that.
        sh("; ".join("ip route del " + each for nets in NOT_PRIVATE for each in nets))
        sh("ip route add 8.8.8.0/24 via {0}; ip route add 9.9.9.0/24 via {0}".format(there[0]))
        sh("ip route add 2600::/48 via {0}".format(there[1]))
        gate.apply(**TWO_LANS, ipv6="masquerade")
        assert through_a_tunnel(net) == (["8.8.8.8", "2600::1"], [OFFICE4, OFFICE6] * 2)


# --- What a WAN claims to be ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("own", "outside", "office", "guest"),
    [(GATE4, WAN4, OFFICE4, GUEST4), (GATE6, WAN6, OFFICE6, GUEST6)],
    ids=["IPv4", "IPv6"],
)
def test_a_wan_never_speaks_with_a_lans_source(gate, net, own, outside, office, guest):
    sh("for f in all wan0; do echo 0 > /proc/sys/net/ipv4/conf/$f/rp_filter; done")
    family, every = (socket.AF_INET6, "::") if ":" in own else (socket.AF_INET, "0.0.0.0")
    forward = {"name": "syslog", "port": ["5514"], "protocol": ["udp"], "to": [guest]}
    gate.apply(
        wans=[{"interface": "wan0"}],
        lans=[dict(OFFICE, reaches=["guests"]), GUESTS],
        port_forwards=[forward],
    )
    with (
        net.socket("guest", family, socket.SOCK_DGRAM) as server,
        net.socket("office", family, socket.SOCK_DGRAM) as client,
        net.socket("gate", family, socket.SOCK_DGRAM) as here,
    ):
        server.bind((every, 5514))
        client.bind((every, 5514))
        here.bind((every, 5515))
        for each in (server, client, here):
            each.settimeout(2)
        client.sendto(b"honest", (guest, 5514))
        assert server.recvfrom(20)[0] == b"honest"
        server.sendto(b"ok", (office, 5514))
        assert client.recv(10) == b"ok"
        assert counted(gate, "spoofed/wan0") == 0
        send(
            net,
            "wan",
            [
                udp(office, own, 40000, 5514),  # by the forward
                udp(guest, own, 40000, 5514),
                udp(office, guest, 5514, 5514),  # into the flow between two LANs
                udp(office, own, 40000, 5515),  # to the gateway itself
                udp(outside, own, 40000, 5514),  # and one that is what it says
            ],
            link="wan0",
        )
        assert server.recvfrom(20)[1][:2] == (outside, 40000)
        for each in (server, here):
            each.settimeout(0.1)
            with pytest.raises(TimeoutError):
                each.recvfrom(20)
    assert counted(gate, "spoofed/wan0") == 4


@pytest.mark.parametrize("undeclared_links", ["drop", "leave"])
def test_nor_does_a_container_or_a_wan_of_another_instance(gate, net, undeclared_links):
    """Past the LAN's outbound rules, with our own NAT, or into another LAN."""
    container(net)
    net.wire_second_wan()
    sh("for f in all docker0 wan1; do echo 0 > /proc/sys/net/ipv4/conf/$f/rp_filter; done")
    forward = {"name": "syslog", "port": ["5514"], "protocol": ["udp"], "to": [GUEST4]}
    nothing = [{"name": "nothing", "action": "drop"}]
    gate.apply(**ONE_LAN, outbound=nothing, undeclared=undeclared_links)
    second = dict(SECOND, wans=[{"interface": "wan1"}], port_forwards=[forward], undeclared=undeclared_links)
    gate.apply(**second)
    with Sniffer(net) as outside, Sniffer(net, "guest") as inside:
        send(net, "container", [udp(OFFICE4, WAN4), udp(OFFICE6, WAN6)], link="docker0")
        send(net, "container", [tcp(OFFICE4, GUEST4, RST), tcp(OFFICE4, GUEST4, SYN | ACK)], link="docker0")
        send(net, "isp", [udp(OFFICE4, SECOND4, 40001, 5514)], link="wan1")
        left = {str(source) for source, _protocol in outside.sources(SOON)} & {GATE4, GATE6, OFFICE4, OFFICE6}
        came = {str(source) for source, _protocol in inside.sources(0)} & {OFFICE4}
    assert (bool(left), came) == ((True, {OFFICE4}) if undeclared_links == "leave" else (False, set()))
    assert counted(gate, "spoofed") == (5 if undeclared_links == "drop" else 0)


def test_a_client_of_a_vpn_with_an_address_of_a_lan_is_where_its_route_leads(gate, net):
    gate.apply(**ONE_LAN)
    there4, _there6 = third(net, "wg0", "roaming", "10.7.7", "fd07")
    net.nodes["roaming"].sh(
        "ip addr add 192.168.1.77/32 dev lo; ip route replace default via 10.7.7.1 src 192.168.1.77"
    )
    sh("for f in all wg0; do echo 0 > /proc/sys/net/ipv4/conf/$f/rp_filter; done")
    assert net.tcp("roaming", "wan", WAN4, timeout=SOON) == "timeout"
    sh("ip route add 192.168.1.77 via {0}".format(there4))
    assert net.tcp("roaming", "wan", WAN4) == GATE4


def test_a_lan_whose_sources_are_not_checked_is_left_out(gate, net):
    gate.apply(wans=[{"interface": "wan0"}], lans=[dict(OFFICE, spoof_check=False), GUESTS])
    known = [row for row in gate.live() if row.key == "spoofed/wan0"]
    assert known
    assert not [row for row in known if "192.168.1." in row.text]


# --- Instances ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("turn", [1, -1])
def test_instances_that_share_a_wan(gate, net, turn):
    """Isolated from each other, in any order of runs, and both work."""
    for options in [ONE_LAN, SECOND][::turn]:
        gate.apply(**options)
    assert net.tcp("office", "wan", WAN4) == GATE4
    assert net.tcp("guest", "wan", WAN6) == "2001:db8:ff::2"
    closed(net, "guest", "office", OFFICE4, OFFICE6)
    closed(net, "office", "guest", GUEST4, GUEST6)
    closed(net, "wan", "guest", GUEST4)
    for options in (ONE_LAN, SECOND):
        assert not gate.apply(**options).changed


def test_a_lan_of_another_instance_inside_a_broad_one_keeps_its_flows(gate, net):
    """One instance has all of 192.168.0.0/16 behind its routers; what it has not is the other's LAN."""
    broad = {"wans": [{"interface": "wan0"}], "lans": [dict(OFFICE, networks=["192.168.0.0/16", "fd00:1::/64"])]}
    for turn in (SECOND, broad, SECOND):
        gate.apply(**turn)
        assert net.tcp("guest", "wan", WAN4) == GATE4
    assert net.tcp("office", "wan", WAN4) == GATE4
    closed(net, "office", "guest", GUEST4)


def test_a_host_of_a_broad_lan_does_not_speak_for_a_part_that_is_on_another_link(gate, net):
    """Its server on the Internet would get answers of hosts there."""
    there4, there6 = third(net, "mgmt0", "mgmt", "192.168.9", "fd00:1:0:9")
    networks = ["192.168.0.0/16", "fd00:1::/48"]
    gate.apply(wans=[{"interface": "wan0"}], lans=[dict(OFFICE, networks=networks)])
    for spoken_as, server in ((there4, WAN4), (there6, WAN6)):
        with Sniffer(net) as outside:
            send(net, "office", [udp(spoken_as, server, 161, 7777)])
            left = [each for each in outside.packets(SOON) if struct.pack("!HH", 161, 7777) in each[:48]]
        assert left == []
    assert net.tcp("office", "wan", WAN4) == GATE4
    closed(net, "office", "mgmt", there4, there6)


def test_a_lan_reaches_one_of_another_instance(gate, net):
    unknown = dict(ONE_LAN, lans=[dict(OFFICE, reaches=["two/guests"])])
    with pytest.raises(GatewayError, match=r"reaches 'two/guests'.* \(known LANs: none\); apply that instance first"):
        gate.apply(**unknown)
    gate.apply(**SECOND)
    gate.apply(**unknown)
    assert net.tcp("office", "guest", GUEST4) == OFFICE4
    assert net.tcp("office", "guest", GUEST6) == OFFICE6
    closed(net, "guest", "office", OFFICE4, OFFICE6)
    with pytest.raises(GatewayError, match=r"reaches 'two/office'.* \(known LANs: two/guests\)"):
        gate.apply(**dict(ONE_LAN, lans=[dict(OFFICE, reaches=["two/office"])]))


def test_another_instance_whose_lans_have_changed_is_drift(nft):
    with contextlib.closing(Topology()) as net:
        nft.apply(**SECOND)
        reaching = dict(ONE_LAN, lans=[dict(OFFICE, reaches=["two/guests"])])
        nft.apply(**reaching)
        assert nft.info()["as_applied"]
        sh("ip link add lab1 type bridge; ip addr add 10.44.0.1/24 dev lab1; ip link set lab1 up")
        moved = [dict(GUESTS, name="secret"), {"name": "guests", "interfaces": ["lab1"]}]
        nft.apply(**dict(SECOND, lans=moved))
        words = "its LANs or WANs have changed since the last run, whose rules know the earlier ones"
        assert nft.info()["drift"] == ["~ instance two: " + words]
        nft.apply(**reaching)
        assert nft.info()["as_applied"]
        assert net.tcp("office", "guest", GUEST4, timeout=SOON) != OFFICE4


def test_instances_are_isolated_where_the_rest_is_left_alone(gate, net):
    gate.apply(undeclared="leave", **ONE_LAN)
    gate.apply(undeclared="leave", **SECOND)
    assert net.tcp("office", "wan", WAN4) == GATE4
    assert net.tcp("guest", "wan", WAN4) == GATE4
    assert net.tcp("guest", "office", OFFICE4, timeout=SOON) != GUEST4
    assert net.tcp("office", "guest", GUEST4, timeout=SOON) != OFFICE4


def test_a_pinhole_and_a_port_forward_of_one_instance_pass_the_other(gate, net):
    """The other one sees a WAN of its own that asks for a network which it does not know."""
    sh("ip -6 addr add 2001:db8:a::1/64 dev guest0 nodad")
    net.nodes["guest"].sh("ip -6 addr add 2001:db8:a::10/64 dev up0 nodad")
    net.nodes["wan"].sh("ip -6 route add 2001:db8:a::/64 via 2001:db8:ff::2")
    guests = dict(GUESTS, networks=[*GUESTS["networks"], "2001:db8:a::/64"])
    forwards = [
        {"name": "hole", "port": ["8080"], "to": ["2001:db8:a::10"]},
        {"name": "web", "port": ["8082"], "to": [GUEST4], "to_port": 8080},
    ]
    gate.apply(**dict(SECOND, lans=[guests], port_forwards=forwards))
    gate.apply(**ONE_LAN)
    assert net.tcp("wan", "guest", "2001:db8:a::10") == WAN6
    assert net.asks("tcp", "wan", "guest", GATE4, 8082, at=8080)[:2] == ("guest", 8080)
    assert net.tcp("wan", "guest", "2001:db8:a::10", 8083, timeout=SOON) == "timeout"


def test_what_one_instance_exempts_the_other_lets_leave(gate, net):
    exempt = {"name": "as-it-is", "action": "exempt", "source": ["guests"]}
    gate.apply(**dict(SECOND, nat=[exempt]))
    gate.apply(**ONE_LAN)
    assert net.tcp("guest", "wan", WAN4) == GUEST4


# --- Lines ------------------------------------------------------------------------------------------------------------


def test_one_word_closes_the_classic_lines(gate, net):
    gate.forwarding(ipv4=True, ipv6=True)
    sh("ip -6 addr add 2001:db8:a::1/64 dev lan0 nodad")
    net.nodes["office"].sh("ip -6 addr add 2001:db8:a::10/64 dev up0 nodad")
    net.nodes["wan"].sh("ip -6 route add 2001:db8:a::/64 via 2001:db8:ff::2")
    line = {"name": "lan", "source": ["192.168.1.0/24", "fd00:1::/64"], "out_interface": "wan0"}
    gate.item("masquerade", **line)
    assert net.tcp("wan", "office", OFFICE4) == WAN4
    gate.item("masquerade", closed=True, **line)
    assert net.tcp("office", "wan", WAN4) == GATE4
    assert net.tcp("office", "guest", GUEST4) == OFFICE4
    closed(net, "wan", "office", OFFICE4, OFFICE6)
    # What is added later and lets in comes before it.
    closed(net, "wan", "office", "2001:db8:a::10")
    gate.item("forward", name="web6", in_interface="wan0", destination=["2001:db8:a::10/128"])
    gate.item("port_forward", name="web", in_interface="wan0", port=["8443"], to=[GUEST4], to_port=8080)
    assert net.tcp("wan", "office", "2001:db8:a::10") == WAN6
    assert net.asks("tcp", "wan", "guest", GATE4, 8443, at=8080)[:2] == ("guest", 8080)
    closed(net, "wan", "office", OFFICE6)
    assert not gate.item("masquerade", closed=True, **line).changed
    # The WAN comes back under another name.
    sh(
        "ip link set wan0 down; ip link set wan0 name enp3s0; ip link set enp3s0 up; "
        "ip route replace default via {0}".format(WAN4)
    )
    with Sniffer(net) as outside:
        closed(net, "office", "wan", "198.51.100.9")
        assert outside.leaks() == []
    gate.item("masquerade", state="absent", name="lan")
    assert not [row for row in gate.live() if row.key == "masquerade/lan"]
