# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A router inside a LAN: its answers past the gateway, and its errors about packets that are too big."""

from __future__ import annotations

import errno
import shutil
import socket

import pytest
from helpers import GUESTS, OFFICE
from sandbox import sh
from topology import ACK, GATE4, GATE6, RST, WAN4, WAN6, Sniffer, icmp, send, tcp, udp
from unhurried import patience

pytestmark = pytest.mark.skipif(not shutil.which("ping"), reason="ping is not installed")

#: Behind the router, and the router itself on its way to the gateway: a transit network that no LAN names.
DEEP4, DEEP6 = "192.168.7.7", "fd00:7::7"
TRANSIT4, TRANSIT6 = "10.255.0.2", "fd00:ff::2"
LANS = [dict(OFFICE, networks=[*OFFICE["networks"], "192.168.7.0/24", "fd00:7::/64"]), GUESTS]
PMTUDISC_DO = 2
#: Option that asks never to fragment, by family: IP_MTU_DISCOVER, IPV6_MTU_DISCOVER (linux/in.h, linux/in6.h)
NEVER_FRAGMENT = {socket.AF_INET: (socket.IPPROTO_IP, 10), socket.AF_INET6: (socket.IPPROTO_IPV6, 23)}


def wire_router(net, transit):
    """The second host of the office LAN is a router. ``transit``: its own address is in a separate network."""
    net.wire_server()
    net._node("deep")
    router, deep = net.nodes["server"], net.nodes["deep"]
    router.sh(
        "ip link add deep0 mtu 1300 type veth peer name up0 netns {0}; ip link set deep0 up; "
        "ip addr add 192.168.7.1/24 dev deep0; ip addr add fd00:7::1/64 dev deep0 nodad; "
        "echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding".format(deep.path)
    )
    deep.sh(
        "ip link set up0 mtu 1300 up; ip addr add 192.168.7.7/24 dev up0; ip addr add fd00:7::7/64 dev up0 nodad; "
        "ip route add default via 192.168.7.1; ip -6 route add default via fd00:7::1"
    )
    via4, via6 = "192.168.1.20", "fd00:1::20"
    if transit:
        via4, via6 = TRANSIT4, TRANSIT6
        sh("ip addr add 10.255.0.1/24 dev lan0; ip addr add fd00:ff::1/64 dev lan0 nodad")
        router.sh(
            "ip addr flush dev up0 scope global; ip addr add 10.255.0.2/24 dev up0; "
            "ip addr add fd00:ff::2/64 dev up0 nodad; "
            "ip route replace default via 10.255.0.1; ip -6 route replace default via fd00:ff::1"
        )
    sh("ip route add 192.168.7.0/24 via {0}; ip -6 route add fd00:7::/64 via {1}".format(via4, via6))
    for address in ("192.168.7.1", "fd00:7::1"):
        assert any(net.ping("deep", address) for _attempt in range(10))


def told_too_big(net, target):
    """Whether a host on the WAN gets the error that its datagram is too big for the path behind a forward."""
    family = socket.AF_INET6 if ":" in target else socket.AF_INET
    with (
        net.socket("deep", family, socket.SOCK_DGRAM) as server,
        net.socket("wan", family, socket.SOCK_DGRAM) as client,
    ):
        server.bind(("", 9000))
        server.settimeout(patience())
        level, option = NEVER_FRAGMENT[family]
        client.setsockopt(level, option, PMTUDISC_DO)
        client.connect((target, 9000))
        client.settimeout(patience())
        client.send(b"small")
        assert server.recv(10) == b"small"
        client.send(b"x" * 1400)
        try:
            client.recv(1)
        except TimeoutError:
            return False
        except OSError as error:
            assert error.errno == errno.EMSGSIZE
        return True


def test_too_big_gets_out_whatever_the_routers_address(gate, net):
    """RFC 4787 REQ-12, RFC 5508 REQ-4: an error about a known flow passes, seen as the address that was asked."""
    wire_router(net, transit=True)
    forwards = [
        {"name": name, "protocol": ["udp"], "port": ["9000"], "to": [to]} for name, to in (("4", DEEP4), ("6", DEEP6))
    ]
    gate.apply(wans=[{"interface": "wan0"}], lans=LANS, port_forwards=forwards, mss="keep")
    with Sniffer(net) as outside:
        assert told_too_big(net, GATE4)
        assert told_too_big(net, GATE6)
        assert outside.leaks() == []
        # Nothing else from that source passes.
        about = udp(WAN4, TRANSIT4, 9999, 9000)
        router = [
            udp(TRANSIT4, WAN4),
            icmp(TRANSIT4, WAN4, 8, 0, b"ping"),
            icmp(TRANSIT4, WAN4, 3, 4, about, 1300),
            udp(TRANSIT6, WAN6),
            icmp(TRANSIT6, WAN6, 128, 0, b"ping"),
        ]
        send(net, "office", router)
        assert [pair for pair in outside.sources() if pair[1] in (1, 17)] == []
        assert outside.leaks() == []


def test_a_router_that_answers_a_client_directly(gate, net):
    """The gateway sees only half of the connection, which conntrack calls invalid; it stays inside the LAN."""
    wire_router(net, transit=False)
    net.nodes["office"].sh("for at in all up0; do echo 0 > /proc/sys/net/ipv4/conf/$at/accept_redirects; done")
    net.nodes["office"].sh("echo 0 > /proc/sys/net/ipv6/conf/up0/accept_redirects")
    gate.apply(wans=[{"interface": "wan0"}], lans=LANS)
    assert net.tcp("office", "deep", DEEP4) == "192.168.1.10"
    assert net.tcp("office", "deep", DEEP6) == "fd00:1::10"
    # What is not the LAN's own, and what would leave it, is dropped as before.
    with Sniffer(net, "deep") as inside, Sniffer(net) as outside, Sniffer(net, "guest") as beside:
        stray = [
            tcp("172.16.9.9", DEEP4, RST),
            tcp("192.168.1.10", WAN4, RST),
            tcp("192.168.1.10", "192.168.2.10", RST),
        ]
        send(net, "office", stray)
        assert not [
            pair for seen in (inside, outside, beside) for pair in seen.sources() if pair[1] == socket.IPPROTO_TCP
        ]


@pytest.mark.parametrize("more", [{}, {"protocol": ["udp"], "port": ["9000"]}], ids=["all", "by port"])
@pytest.mark.parametrize("known", [True, False], ids=["known", "later"])
def test_errors_about_an_exempt_flow_get_out(gate, net, more, known):
    """RFC 5508 REQ-4: an item that exempts a port also exempts ICMP errors about it."""
    networks = ["203.0.113.0/24", "2001:db8:ff::/64"]
    exempt = dict({"name": "vpn", "action": "exempt", "destination": networks}, **more)
    pings = {"name": "pings", "protocol": ["icmp"]}
    lans = LANS if known else [{"name": "office", "interfaces": ["lan0"]}]
    gate.apply(wans=[{"interface": "wan0"}], lans=lans, nat=[pings, exempt, {"name": "rest"}])
    own4, own6 = ("192.168.1.10", "fd00:1::10") if known else (DEEP4, DEEP6)
    if not known:
        net.nodes["office"].sh("ip addr add {0}/32 dev up0; ip addr add {1}/128 dev up0 nodad".format(DEEP4, DEEP6))
        sh("ip route add {0} dev lan0; ip -6 route add {1} dev lan0".format(DEEP4, DEEP6))
    for address, own in ((WAN4, own4), (WAN6, own6)):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with net.socket("wan", family, socket.SOCK_DGRAM) as server:
            server.bind(("", 9000))
            server.settimeout(patience())
            with net.socket("office", family, socket.SOCK_DGRAM) as client:
                client.bind((own, 0))
                client.connect((address, 9000))
                client.send(b"x")
                peer = server.recvfrom(10)[1]
            assert peer[0] == own
            server.connect(peer[:2])
            server.send(b"nobody is there any more")
            with pytest.raises(ConnectionRefusedError):
                server.recv(1)


@pytest.mark.parametrize("more", [{}, {"protocol": ["tcp"], "port": ["8080"]}], ids=["all", "by port"])
def test_exempt_flows_of_networks_that_a_lan_gets_later_pass_another_instance(gate, net, more):
    """The other instance sees later packets of an open flow, with a private source that nothing translates."""
    wire_router(net, transit=False)
    exempt = dict({"name": "vpn", "action": "exempt", "destination": [WAN4, WAN6]}, **more)
    follows = {"name": "office", "interfaces": ["lan0"]}
    gate.apply(wans=[{"interface": "wan0"}], lans=[follows], nat=[exempt, {"name": "rest"}])
    assert [net.tcp("deep", "wan", WAN4), net.tcp("deep", "wan", WAN6)] == [DEEP4, DEEP6]
    gate.apply(instance="two", wans=[{"interface": "wan0"}], lans=[GUESTS])
    assert [net.tcp("deep", "wan", WAN4), net.tcp("deep", "wan", WAN6)] == [DEEP4, DEEP6]
    assert [net.tcp("office", "wan", WAN4), net.tcp("guest", "wan", WAN4)] == ["192.168.1.10", GATE4]
    # What the item does not name is translated, and another LAN has no part in it.
    net.nodes["wan"].sh("ip addr add 198.51.100.9/32 dev lo")
    assert net.tcp("deep", "wan", "198.51.100.9") == GATE4
    with Sniffer(net) as outside:
        send(net, "guest", [tcp(DEEP4, WAN4, ACK), tcp(DEEP6, WAN6, ACK), udp(DEEP4, WAN4), udp(DEEP6, WAN6)])
        assert outside.leaks() == []
