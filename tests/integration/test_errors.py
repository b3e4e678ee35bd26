# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""ICMP errors: about one's own flows, they pass; about other hosts' flows, nobody in a LAN sends any.

They quote a packet as conntrack knows it where the error comes from: with the gateway's address, if it is translated.
"""

from __future__ import annotations

import contextlib
import socket

from helpers import GUESTS, OFFICE, TWO_LANS
from sandbox import sh
from test_outside import past_the_stack
from test_undeclared import SECOND, container, mgmt
from topology import CLIENTS, GATE4, GATE6, WAN4, WAN6, Sniffer, icmp, send, udp
from unhurried import patience

#: Networks that nobody translates: an item exempts the first one, and global IPv6 is routed.
PUBLIC4, PUBLIC6 = "198.51.100.130", "2001:db8:a::10"
NETWORKS = ["198.51.100.128/28", "2001:db8:a::/64"]
EXEMPT = [{"name": "public", "action": "exempt", "source": NETWORKS[:1]}, {"name": "rest"}]
OFFICE4, OFFICE6 = CLIENTS["office"][1:]
GUEST4, GUEST6 = CLIENTS["guest"][1:]
CLIENT_PORT, SERVER_PORT = 6001, 6000
SOON = 0.2


def public_office(net) -> dict:
    """The office LAN with networks that are not translated."""
    sh("ip addr add 198.51.100.129/28 dev lan0; ip -6 addr add 2001:db8:a::1/64 dev lan0 nodad")
    net.nodes["office"].sh("ip addr add {0}/28 dev up0; ip -6 addr add {1}/64 dev up0 nodad".format(PUBLIC4, PUBLIC6))
    net.nodes["wan"].sh("ip route add {0} via {2}; ip -6 route add {1} via {3}".format(*NETWORKS, GATE4, GATE6))
    return dict(OFFICE, networks=[*OFFICE["networks"], *NETWORKS])


@contextlib.contextmanager
def flow(net, client: tuple, server: tuple, asked: str = ""):
    """An open UDP flow, from (node, address) to (node, address); the far end of the client as the server sees it."""
    family = socket.AF_INET6 if ":" in client[1] else socket.AF_INET
    with (
        net.socket(client[0], family, socket.SOCK_DGRAM) as asking,
        net.socket(server[0], family, socket.SOCK_DGRAM) as answering,
    ):
        asking.bind((client[1], CLIENT_PORT))
        answering.bind((server[1], SERVER_PORT))
        for each in (asking, answering):
            each.settimeout(patience())
        asking.sendto(b"ask", (asked or server[1], SERVER_PORT))
        seen = answering.recvfrom(9)[1]
        answering.sendto(b"answer", seen)
        assert asking.recv(9) == b"answer"
        yield seen[0]


def error(source: str, target: str, other: str, ports: tuple = (SERVER_PORT, CLIENT_PORT)) -> bytes:
    """ "Your packet to that other host is too big", from a router, to the sender of the packet."""
    quoted = udp(target, other, *ports)
    if ":" in source:
        return icmp(source, target, 2, 0, quoted, socket.htonl(1300))
    return icmp(source, target, 3, 4, quoted, socket.htonl(1300))


#: From a host in a LAN about the packet of a client in a LAN.
ASKED = (CLIENT_PORT, SERVER_PORT)


def sources(sniffer) -> list:
    """Who sent the ICMP errors that arrived."""
    found = []
    for data in sniffer.packets(SOON):
        head, kind, first = (data[20:], data[9], 12) if data[0] >> 4 == 4 else (data[40:], data[6], 8)
        if (kind, head[0]) in ((1, 3), (58, 2)):
            family = socket.AF_INET if kind == 1 else socket.AF_INET6
            found.append(socket.inet_ntop(family, data[first : first + (4 if kind == 1 else 16)]))
    return sorted(found)


def test_errors_about_untranslated_flows_leave_with_sources_of_the_lan_only(gate, net):
    office = public_office(net)
    gate.apply(wans=[{"interface": "wan0"}], lans=[office, GUESTS], nat=EXEMPT)
    four, six = (("office", PUBLIC4), ("wan", WAN4)), (("office", PUBLIC6), ("wan", WAN6))
    with flow(net, *four) as seen4, flow(net, *six) as seen6, Sniffer(net) as outside:
        assert (seen4, seen6) == (PUBLIC4, PUBLIC6)
        outside.packets()
        foreign = [error(source, WAN4, PUBLIC4) for source in ("10.6.0.2", "192.168.2.10", "8.8.8.8")]
        foreign += [error(source, WAN6, PUBLIC6) for source in ("fd77::2", "fd00:2::10", "2001:db8:99::1")]
        send(net, "office", foreign)
        assert sources(outside) == []
        # Routers inside whose addresses are the LAN's.
        send(net, "office", [error("198.51.100.131", WAN4, PUBLIC4), error("2001:db8:a::20", WAN6, PUBLIC6)])
        assert sources(outside) == ["198.51.100.131", "2001:db8:a::20"]
        # Another LAN says nothing about these flows, neither to the WAN nor to the office.
        with Sniffer(net, "office") as inside:
            send(net, "guest", [error(GUEST4, WAN4, PUBLIC4), error(GUEST4, PUBLIC4, WAN4, ASKED)])
            send(net, "guest", [error(GUEST6, PUBLIC6, WAN6, ASKED), error("10.6.0.2", PUBLIC4, WAN4, ASKED)])
            assert sources(inside) == []
            assert sources(outside) == []
            # Routers on the Internet have any source.
            past_the_stack(net, [error("8.8.8.8", PUBLIC4, WAN4, ASKED), error("2001:db8:99::1", PUBLIC6, WAN6, ASKED)])
            assert sources(inside) == ["2001:db8:99::1", "8.8.8.8"]


def test_a_lan_says_nothing_about_translated_flows_of_another(gate, net):
    forwards = [{"name": "in", "protocol": ["udp"], "port": [str(SERVER_PORT)], "to": [OFFICE4]}]
    gate.apply(port_forwards=forwards, ipv6="masquerade", **TWO_LANS)
    out4, out6 = (("office", OFFICE4), ("wan", WAN4)), (("office", OFFICE6), ("wan", WAN6))
    with Sniffer(net, "office") as inside:
        with flow(net, *out4), flow(net, *out6):
            for source4, source6 in ((GUEST4, GUEST6), ("10.6.0.2", "fd77::2")):
                send(net, "guest", [error(source4, GATE4, WAN4, ASKED), error(source6, GATE6, WAN6, ASKED)])
            assert sources(inside) == []
            past_the_stack(net, [error("8.8.8.8", GATE4, WAN4, ASKED), error("2001:db8:99::1", GATE6, WAN6, ASKED)])
            assert sources(inside) == ["2001:db8:99::1", "8.8.8.8"]
        with flow(net, ("wan", WAN4), ("office", OFFICE4), GATE4):
            send(net, "guest", [error(GUEST4, GATE4, WAN4), error("10.6.0.2", GATE4, WAN4)])
            assert sources(inside) == []
            past_the_stack(net, [error("8.8.8.8", GATE4, WAN4)])
            assert sources(inside) == ["8.8.8.8"]


def test_errors_about_flows_between_lans_pass_both_ways(gate, net):
    """One LAN reaches the other, by a hairpin, or at the server's own address."""
    office = public_office(net)
    forwards = [
        {"name": "hairpin", "protocol": ["udp"], "port": [str(SERVER_PORT)], "to": [OFFICE4], "hairpin": True},
        {"name": "own", "protocol": ["udp"], "port": [str(SERVER_PORT)], "to": [PUBLIC6], "hairpin": True},
    ]
    lans = [office, dict(GUESTS, reaches=["office"])]
    client4, client6 = ("guest", GUEST4), ("guest", GUEST6)
    with Sniffer(net, "office") as servers, Sniffer(net, "guest") as clients:

        def both(server: str, client: str, transit: str) -> None:
            """Errors of both ends, and of a router in a transit network on each side."""
            send(net, "guest", [error(each, server, client) for each in (client, transit)])
            assert sources(servers) == sorted([client, transit])
            send(net, "office", [error(each, client, server, ASKED) for each in (server, transit)])
            assert sources(clients) == sorted([server, transit])

        gate.apply(wans=[{"interface": "wan0"}], lans=lans)
        with flow(net, client4, ("office", OFFICE4)):
            both(OFFICE4, GUEST4, "10.6.0.2")
        with flow(net, client6, ("office", OFFICE6)):
            both(OFFICE6, GUEST6, "fd77::2")
        gate.apply(wans=[{"interface": "wan0"}], lans=[office, GUESTS], port_forwards=forwards)
        with flow(net, client4, ("office", OFFICE4), GATE4):
            # Both ends see the gateway.
            send(net, "guest", [error(each, GATE4, GUEST4) for each in (GUEST4, "10.6.0.2")])
            send(net, "office", [error(each, GATE4, OFFICE4, ASKED) for each in ("192.168.1.20", "10.6.0.2")])
            assert sources(servers) == [GATE4, GATE4]
            assert sources(clients) == [GATE4, GATE4]
        with flow(net, client6, ("office", PUBLIC6)):
            both(PUBLIC6, GUEST6, "fd77::2")


def speakers(sniffer, wait: float = SOON) -> list:
    """Who sent the UDP packets that arrived."""
    return [str(source) for source, kind in sniffer.sources(wait) if kind == socket.IPPROTO_UDP]


def test_instances_say_nothing_about_flows_of_others(gate, net):
    office = public_office(net)
    four, six = (("office", PUBLIC4), ("wan", WAN4)), (("office", PUBLIC6), ("wan", WAN6))
    gate.apply(**SECOND)
    one = {"wans": [{"interface": "wan0"}], "nat": EXEMPT}
    gate.apply(lans=[office], **one)
    with Sniffer(net, "office") as inside, Sniffer(net, "guest") as beside, Sniffer(net) as outside:
        with flow(net, *four), flow(net, *six):
            send(net, "guest", [error(GUEST4, PUBLIC4, WAN4, ASKED), error(GUEST6, PUBLIC6, WAN6, ASKED)])
            assert sources(inside) == []
            outside.packets()
            send(net, "office", [error("198.51.100.131", WAN4, PUBLIC4), error("2001:db8:a::20", WAN6, PUBLIC6)])
            assert sources(outside) == ["198.51.100.131", "2001:db8:a::20"]
        gate.apply(lans=[dict(office, reaches=["two/guests"])], **one)
        with flow(net, ("office", OFFICE4), ("guest", GUEST4)):
            send(net, "guest", [error("192.168.2.20", OFFICE4, GUEST4, ASKED)])
            send(net, "office", [error("192.168.1.20", GUEST4, OFFICE4)])
            assert (sources(inside), sources(beside)) == (["192.168.2.20"], ["192.168.1.20"])


def test_an_undeclared_link_takes_no_part_in_a_lans_flows(gate, net):
    """It neither speaks as a client of a LAN nor gets a forward whose server's link is down."""
    mgmt(net)
    sh("for f in all mgmt0; do echo 0 > /proc/sys/net/ipv4/conf/$f/rp_filter; done")
    ports = ["8080", str(SERVER_PORT)]
    forwards = [
        {"name": "4", "protocol": ["udp"], "port": ports, "to": [OFFICE4]},
        {"name": "6", "protocol": ["udp"], "port": ports, "to": [OFFICE6]},
    ]
    gate.apply(port_forwards=forwards, ipv6="masquerade", **TWO_LANS)
    four, six = (("office", OFFICE4), ("wan", WAN4)), (("office", OFFICE6), ("wan", WAN6))
    with flow(net, *four), flow(net, *six), Sniffer(net) as outside, Sniffer(net, "office") as inside:
        outside.packets()
        claimed = [udp(OFFICE4, WAN4, *ASKED), udp(OFFICE6, WAN6, *ASKED)]
        past_the_stack(net, [*claimed, error("10.9.9.10", OFFICE4, WAN4, ASKED)], "mgmt", "mgmt0")
        assert speakers(outside) == []
        assert sources(inside) == []
        # Nor as the server that they asked, to which rp_filter in loose mode has no objection.
        answers = [udp(WAN4, GATE4, SERVER_PORT, CLIENT_PORT), udp(WAN6, GATE6, SERVER_PORT, CLIENT_PORT)]
        inside.packets()
        past_the_stack(net, answers, "mgmt", "mgmt0")
        assert speakers(inside) == []
        # The same from where it belongs.
        past_the_stack(net, answers)
        assert speakers(inside) == [WAN4, WAN6]
        send(net, "office", claimed)
        assert speakers(outside) == [GATE4, GATE6]
    forwarded4 = flow(net, ("wan", WAN4), ("office", OFFICE4), GATE4)
    forwarded6 = flow(net, ("wan", WAN6), ("office", OFFICE6), GATE6)
    with forwarded4, forwarded6, Sniffer(net) as outside, Sniffer(net, "office") as inside:
        # The client of a forward, and its server.
        asking = [udp(WAN4, GATE4, CLIENT_PORT, SERVER_PORT), udp(WAN6, GATE6, CLIENT_PORT, SERVER_PORT)]
        answering = [udp(OFFICE4, WAN4, SERVER_PORT, CLIENT_PORT), udp(OFFICE6, WAN6, SERVER_PORT, CLIENT_PORT)]
        for each in (outside, inside):
            each.packets()
        past_the_stack(net, asking + answering, "mgmt", "mgmt0")
        assert (speakers(inside), speakers(outside, 0)) == ([], [])
        past_the_stack(net, asking)
        past_the_stack(net, answering, "office", "lan0")
        assert speakers(inside) == [WAN4, WAN6]
        assert speakers(outside, 0) == [GATE4, GATE6]
    incoming = [(WAN4, GATE4), (WAN6, GATE6)]
    with Sniffer(net, "mgmt") as moved, Sniffer(net, "office") as inside:
        past_the_stack(net, [udp(*ends, 40000, 8080) for ends in incoming])
        assert speakers(inside) == [WAN4, WAN6]
        sh("ip link set lan0 down; ip route add 192.168.1.0/24 via 10.9.9.10; ip -6 route add fd00:1::/64 via fd09::10")
        # A new flow, and one that was open.
        past_the_stack(net, [udp(*ends, port, 8080) for ends in incoming for port in (40000, 40001)])
        assert speakers(moved) == []


def test_nor_in_one_that_is_exempt(gate, net):
    """A flow that no NAT touches has the LAN's own addresses on both sides."""
    mgmt(net)
    sh("for f in all mgmt0; do echo 0 > /proc/sys/net/ipv4/conf/$f/rp_filter; done")
    exempt = [{"name": "site", "action": "exempt", "destination": [WAN4, WAN6]}, {"name": "rest"}]
    gate.apply(nat=exempt, **TWO_LANS)
    claimed = [udp(OFFICE4, WAN4, *ASKED), udp(OFFICE6, WAN6, *ASKED)]
    four, six = (("office", OFFICE4), ("wan", WAN4)), (("office", OFFICE6), ("wan", WAN6))
    with flow(net, *four), flow(net, *six), Sniffer(net) as outside:
        outside.packets()
        past_the_stack(net, claimed, "mgmt", "mgmt0")
        assert speakers(outside) == []
        send(net, "office", claimed)
        assert speakers(outside) == [OFFICE4, OFFICE6]


def test_nor_does_a_container_in_any(gate, net):
    """A link that is left to its manager: not as a client or a server of a LAN, nor as the gateway's name server."""
    container(net)
    sh("for f in all docker0; do echo 0 > /proc/sys/net/ipv4/conf/$f/rp_filter; done")
    gate.apply(wans=[{"interface": "wan0"}], lans=[dict(OFFICE, reaches=["guests"]), GUESTS])
    guest4, guest6 = CLIENTS["guest"][1:]
    for client, server, node in (
        (OFFICE4, guest4, "guest"),
        (OFFICE6, guest6, "guest"),
        (OFFICE6, "fd00:1::1", "gate"),
    ):
        asking, answer = udp(client, server, *ASKED), udp(server, client, *ASKED[::-1])
        with (
            flow(net, ("office", client), (node, server)),
            Sniffer(net, "office") as inside,
            Sniffer(net, "guest") as beside,
        ):
            inside.packets()
            beside.packets()
            past_the_stack(net, [asking, answer], "container", "docker0")
            assert (speakers(inside), speakers(beside, 0)) == ([], []), server
            if node == "guest":
                send(net, "office", [asking])
                send(net, "guest", [answer])
                assert (speakers(inside), speakers(beside, 0)) == ([server], [client])
