# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Multicast from a WAN to a LAN, as IPTV comes: the filter lets in the declared groups, to the declared LANs.

The test itself tells the kernel where a group goes, as igmpproxy or a multicast router does.
"""

from __future__ import annotations

import contextlib
import socket
import struct

import pytest
from helpers import GUESTS, OFFICE, TWO_LANS
from sandbox import sh
from test_window import FLUSH, FORWARD_ALL, SHUT_BY
from topology import CLIENTS, GATE4, ISP4, WAN4, WAN6, Sniffer
from unhurried import patience

GROUP4, OTHER4, GROUP6 = "239.1.2.3", "239.77.0.1", "ff1e::5"
PORT = 5004
#: linux/mroute.h and linux/mroute6.h
INIT, ADD_VIF, ADD_MFC = 200, 202, 204
USE_IFINDEX = 8


TV = [{"name": "tv", "group": ["239.1.0.0/16", "ff1e::/64"]}]


def index_of(link):
    return socket.if_nametoindex(link)


@contextlib.contextmanager
def routed4(source, groups, into=("lan0", "guest0"), come="wan0"):
    """From one link to others, like igmpproxy."""
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_IGMP) as router:
        router.setsockopt(socket.IPPROTO_IP, INIT, 1)
        for vif, link in enumerate((come, *into)):
            entry = struct.pack("=HBBIi4x", vif, USE_IFINDEX, 1, 0, index_of(link))
            router.setsockopt(socket.IPPROTO_IP, ADD_VIF, entry)
        for group in groups:
            thresholds = bytes([0, *(1 for _link in into)]).ljust(32, b"\0")
            ends = socket.inet_aton(source) + socket.inet_aton(group)
            entry = ends + struct.pack("=H32s2xIIIi", 0, thresholds, 0, 0, 0, 0)
            router.setsockopt(socket.IPPROTO_IP, ADD_MFC, entry)
        yield


@contextlib.contextmanager
def routed6(source, group, into="lan0"):
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as router:
        router.setsockopt(socket.IPPROTO_IPV6, INIT, 1)
        for vif, link in enumerate(("wan0", into)):
            router.setsockopt(socket.IPPROTO_IPV6, ADD_VIF, struct.pack("=HBBHxxI", vif, 0, 1, index_of(link), 0))
        ends = [
            struct.pack("=HHI16sI", socket.AF_INET6, 0, 0, socket.inet_pton(socket.AF_INET6, end), 0)
            for end in (source, group)
        ]
        router.setsockopt(socket.IPPROTO_IPV6, ADD_MFC, b"".join(ends) + struct.pack("=H2x8I", 0, 2, *[0] * 7))
        yield


def arrives(net, node, group, come=("wan", WAN4)):
    """Whether a member of the group receives what a host on a WAN sends to it; ``come``: the host and its address."""
    family = socket.AF_INET6 if ":" in group else socket.AF_INET
    host, address = come
    with net.socket(node, family, socket.SOCK_DGRAM) as member, net.socket(host, family, socket.SOCK_DGRAM) as sender:
        member.bind((group, PORT))
        member.settimeout(patience())
        packed = socket.inet_pton(family, group)
        with net.inside(node):
            link = struct.pack("=i", index_of("up0"))
            if family == socket.AF_INET:
                member.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, packed + bytes(4) + link)
            else:
                member.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, packed + link)
        with net.inside(host):
            if family == socket.AF_INET:
                sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 8)
                sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(address))
            else:
                sender.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 8)
                sender.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index_of("up0"))
        sender.sendto(b"tv", (group, PORT))
        try:
            return member.recv(10) == b"tv"
        except TimeoutError:
            return False


def test_groups_that_are_named_come_in(gate, net):
    with routed4(WAN4, [GROUP4, OTHER4]), routed6(WAN6, GROUP6):
        gate.apply(**TWO_LANS)
        assert not arrives(net, "office", GROUP4)
        gate.apply(**TWO_LANS, multicast=[dict(TV[0], lan=["office"])])
        assert arrives(net, "office", GROUP4)
        assert arrives(net, "office", GROUP6)
        assert not arrives(net, "office", OTHER4)
        assert not arrives(net, "guest", GROUP4)


def test_groups_come_in_by_the_second_wan_that_an_item_names(gate, net):
    """Television on a line of its own, beside the Internet; nothing of the other line, nor to another LAN."""
    net.wire_second_wan()
    sh("for each in all wan0 wan1; do echo 0 > /proc/sys/net/ipv4/conf/$each/rp_filter; done")
    tv = [dict(TV[0], wan="wan1", lan=["office"], source=[ISP4 + "/32"])]
    options = dict(TWO_LANS, wans=[{"interface": "wan0"}, {"interface": "wan1"}])
    for come, sender, address in (("wan1", "isp", ISP4), ("wan0", "wan", WAN4)):
        with routed4(address, [GROUP4, OTHER4], come=come):
            gate.apply(**options)
            assert not arrives(net, "office", GROUP4, (sender, address))
            gate.apply(**options, multicast=tv)
            assert arrives(net, "office", GROUP4, (sender, address)) is (come == "wan1")
            assert not arrives(net, "office", OTHER4, (sender, address))
            assert not arrives(net, "guest", GROUP4, (sender, address))
            gate.apply(**options, multicast=[TV[0]])
            assert arrives(net, "guest", GROUP4, (sender, address)), "nothing was routed, so nothing was stopped"
    assert not gate.apply(**options, multicast=[TV[0]]).changed


def copies(net, into):
    """The sources of three packets of the office to a group: outside, and in the other LAN."""
    office = CLIENTS["office"][1]
    with (
        routed4(office, [GROUP4], into, "lan0"),
        Sniffer(net) as outside,
        Sniffer(net, "guest") as inside,
        net.socket("office", socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 8)
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(office))
        for _each in range(3):
            sender.sendto(b"tv", (GROUP4, PORT))
        return tuple(
            [str(source) for source, protocol in there.sources() if protocol == socket.IPPROTO_UDP]
            for there in (outside, inside)
        )


@pytest.mark.parametrize("into", [("wan0", "guest0"), ("guest0", "wan0")])
def test_no_copy_for_a_wan_keeps_its_private_source(gate, net, into):
    """Several links get copies of one packet, and whatever is decided about the first holds for the flow.

    The kernel begins with the last link.
    """
    gate.apply(wans=[{"interface": "wan0"}], lans=[dict(OFFICE, reaches=["guests"]), GUESTS])
    outside, inside = copies(net, into)
    assert into[-1] == "wan0" or CLIENTS["office"][1] in inside
    assert outside == ([GATE4] * 3 if into[-1] == "wan0" else [])


def test_of_an_instance_that_shares_its_wan(gate, net):
    """The others leave to it what it lets in, regardless of which was applied last."""
    two = {"instance": "two", "wans": [{"interface": "wan0"}], "lans": [GUESTS], "multicast": TV}
    with routed4(WAN4, [GROUP4, OTHER4]), routed6(WAN6, GROUP6, "guest0"):
        for turn in (two, {"wans": [{"interface": "wan0"}], "lans": [OFFICE]}, two):
            gate.apply(**turn)
            assert arrives(net, "guest", GROUP4) and arrives(net, "guest", GROUP6)
            assert not arrives(net, "guest", OTHER4)
            assert not arrives(net, "office", GROUP4)


def seen(net, link="wan0", node="wan"):
    """The sources with which what the office sends to a group arrives there."""
    office = CLIENTS["office"][1]
    with (
        routed4(office, [GROUP4], (link,), "lan0"),
        Sniffer(net, node) as there,
        net.socket("office", socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 8)
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(office))
        sender.sendto(b"tv", (GROUP4, PORT))
        return {str(source) for source, protocol in there.sources() if protocol == socket.IPPROTO_UDP}


def come_in(net):
    """Which groups arrive in which LAN."""
    with routed4(WAN4, [GROUP4, OTHER4]), routed6(WAN6, GROUP6):
        ways = (("office", GROUP4), ("guest", GROUP4), ("guest", OTHER4), ("office", GROUP6))
        return [way for way in ways if arrives(net, *way)]


@pytest.mark.parametrize("how", ["a boot that fails", "a service that flushes"])
def test_no_group_passes_a_gateway_that_is_shut(gate, net, how):
    """The kernel routes groups without asking ip_forward or the rules of unicast."""
    gateway = dict(TWO_LANS, multicast=[dict(TV[0], lan=["office"])])
    gate.apply(**gateway)
    opened = [("office", GROUP4), ("office", GROUP6)]
    assert come_in(net) == opened and seen(net) == {GATE4}
    load = gate.host.read("/etc/ipmasq/default.load")
    if how == "a boot that fails":
        gate.host.put("/etc/ipmasq/default.load", "false\n")
    assert gate.host.boot(*(["close"] if how == "a service that flushes" else [])).returncode == (how[2] == "b")
    sh(FLUSH[gate.programs] + "; " + FORWARD_ALL)
    assert (come_in(net), seen(net)) == ([], set())
    # Nothing else stops them.
    for link in ("wan0", "lan0"):
        sh("for family in -4 -6; do ip $family mrule del pref 6 iif {0} blackhole; done".format(link))
    assert len(come_in(net)) == 4 and seen(net) == {CLIENTS["office"][1]}
    if how == "a boot that fails":
        gate.host.put("/etc/ipmasq/default.load", load)
        gate.apply(**gateway)
    else:
        assert gate.host.boot("reopen").returncode == 0
    assert "blackhole" not in sh(SHUT_BY)
    assert come_in(net) == opened and seen(net) == {GATE4}
