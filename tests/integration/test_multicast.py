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
from topology import CLIENTS, GATE4, WAN4, WAN6, Sniffer
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


def arrives(net, node, group):
    """Whether a member of the group receives what a host on the WAN sends to it."""
    family = socket.AF_INET6 if ":" in group else socket.AF_INET
    with net.socket(node, family, socket.SOCK_DGRAM) as member, net.socket("wan", family, socket.SOCK_DGRAM) as sender:
        member.bind((group, PORT))
        member.settimeout(patience())
        packed = socket.inet_pton(family, group)
        with net.inside(node):
            link = struct.pack("=i", index_of("up0"))
            if family == socket.AF_INET:
                member.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, packed + bytes(4) + link)
            else:
                member.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, packed + link)
        with net.inside("wan"):
            if family == socket.AF_INET:
                sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 8)
                sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(WAN4))
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


@pytest.mark.parametrize("into", [("wan0", "guest0"), ("guest0", "wan0")])
def test_no_copy_for_a_wan_keeps_its_private_source(gate, net, into):
    """Several links get copies of one packet, and whatever is decided about the first holds for the flow.

    The kernel begins with the last link.
    """
    gate.apply(wans=[{"interface": "wan0"}], lans=[dict(OFFICE, reaches=["guests"]), GUESTS])
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
        assert into[-1] == "wan0" or office in [str(source) for source, _protocol in inside.sources()]
        left = [str(source) for source, protocol in outside.sources() if protocol == socket.IPPROTO_UDP]
    assert left == ([GATE4] * 3 if into[-1] == "wan0" else [])


def test_of_an_instance_that_shares_its_wan(gate, net):
    """The others leave to it what it lets in, whichever was applied last."""
    two = {"instance": "two", "wans": [{"interface": "wan0"}], "lans": [GUESTS], "multicast": TV}
    with routed4(WAN4, [GROUP4, OTHER4]), routed6(WAN6, GROUP6, "guest0"):
        for turn in (two, {"wans": [{"interface": "wan0"}], "lans": [OFFICE]}, two):
            gate.apply(**turn)
            assert arrives(net, "guest", GROUP4) and arrives(net, "guest", GROUP6)
            assert not arrives(net, "guest", OTHER4)
            assert not arrives(net, "office", GROUP4)
