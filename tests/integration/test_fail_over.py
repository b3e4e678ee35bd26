# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Open flows whose route moves to another link: the rules decide once about a new flow, and have done so for these."""

from __future__ import annotations

import contextlib
import shutil
import socket
import struct
import typing as t

import pytest
from helpers import GUESTS, OFFICE
from sandbox import sh
from test_nat_pairs import lines
from topology import CLIENTS, GATE4, GATE6, WAN4, WAN6, Sniffer, hardware_address, udp
from unhurried import patience

OFFICE4, OFFICE6 = CLIENTS["office"][1:]
#: A host behind two links, first one and then the other.
FAR4, FAR6 = "198.51.100.7", "2001:db8:77::7"
GLOBAL6 = "2001:db8:1::10"
AFTER = b"after the fail-over"


def link(net, name: str, node: str, net4: str, net6: str) -> None:
    """A link of the gateway with a host behind it that answers for FAR4 and FAR6, and has a return route."""
    net._node(node)
    net._link(name, node, net4 + ".1/24", net6 + "::1/64", net4 + ".2/24", net6 + "::2/64")
    net.nodes[node].sh(
        "ip addr add {0}/32 dev lo; ip -6 addr add {1}/128 dev lo nodad; "
        "ip route add default via {2}.1; ip -6 route add default via {3}::1".format(FAR4, FAR6, net4, net6)
    )
    net._awake(node, net4 + ".1", net6 + "::1")


def lead(net4: str, net6: str) -> None:
    """To FAR4 and FAR6 through the host with these networks."""
    sh("ip route replace {0}/32 via {1}.2; ip -6 route replace {2}/128 via {3}::2".format(FAR4, net4, FAR6, net6))


def leads_by(link_name: str, *addresses: str) -> bool:
    """Whether the gateway's routes to these addresses use that link, so that a packet could leave there."""
    return all(f" dev {link_name} " in sh("ip route get " + address) for address in addresses)


def give_office_a_global_network(net) -> dict:
    sh("ip -6 addr add 2001:db8:1::1/64 dev lan0 nodad")
    net.nodes["office"].sh("ip -6 addr add {0}/64 dev up0 nodad".format(GLOBAL6))
    return dict(OFFICE, networks=[*OFFICE["networks"], "2001:db8:1::/64"])


class Flow(t.NamedTuple):
    client: socket.socket
    server: socket.socket
    seen: tuple  # by the server, of the client


@contextlib.contextmanager
def flow(net, source: str, bind: str, target: str, address: str, port: int = 7000):
    """A UDP flow in which both sides have sent."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with (
        net.socket(target, family, socket.SOCK_DGRAM) as server,
        net.socket(source, family, socket.SOCK_DGRAM) as client,
    ):
        server.bind((address, port))
        server.settimeout(patience())
        client.settimeout(patience())
        client.bind((bind, 0))
        client.connect((address, port))
        client.send(b"ping")
        seen = server.recvfrom(10)[1]
        server.sendto(b"pong", seen)
        assert client.recv(10) == b"pong"
        yield Flow(client, server, seen)


def send_from(net, node: str, to: str, packet: bytes) -> None:
    """As it is, to that link of the gateway."""
    gateway = hardware_address(net, "gate", to)
    with net.inside(node), socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
        raw.bind(("up0", 0))
        kind = struct.pack("!H", 0x86DD if packet[0] >> 4 == 6 else 0x0800)
        raw.send(gateway + raw.getsockname()[4] + kind + packet)


def speak(*flows: Flow) -> None:
    """The side that began, several times: the first packet may differ from those after it."""
    for each in [*flows] * 3:
        with contextlib.suppress(OSError):
            each.client.send(AFTER)


def answer(*flows: Flow) -> None:
    for each in [*flows] * 3:
        with contextlib.suppress(OSError):
            each.server.sendto(AFTER, each.seen)


def said(sniffer: Sniffer) -> list:
    """The sources of these packets."""
    return [
        socket.inet_ntop(*((socket.AF_INET, each[12:16]) if each[0] >> 4 == 4 else (socket.AF_INET6, each[8:24])))
        for each in sniffer.packets()
        if AFTER in each
    ]


# --- Flows without an answer ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["tun7", "guest0"])
def test_a_flow_without_an_answer_does_not_take_its_source_to_a_wan(gate, net, way):
    """A log that is sent to another LAN or a site of a VPN: for conntrack it is a new flow with every packet."""
    gate.apply(wans=[{"interface": "wan0"}], lans=[dict(OFFICE, reaches=["guests"]), GUESTS])
    links = {"tun7": ("10.7.7.2", "fd07::2"), "guest0": CLIENTS["guest"][1:]}
    link(net, "tun7", "site", "10.7.7", "fd07")
    sh("ip route add 10.50.0.0/24 via {0}; ip -6 route add fd50::/64 via {1}".format(*links[way]))
    sent = [udp(OFFICE4, "10.50.0.9"), udp(OFFICE6, "fd50::9")]
    with Sniffer(net) as outside, Sniffer(net, {"tun7": "site", "guest0": "guest"}[way]) as inside:
        for packet in sent:
            send_from(net, "office", "lan0", packet)
        assert {address for address, _protocol in inside.leaks()} >= {OFFICE4, OFFICE6}
        sh("ip link set {0} down".format(way))
        assert leads_by("wan0", "10.50.0.9", "fd50::9")
        for packet in sent * 2:
            send_from(net, "office", "lan0", packet)
        assert outside.leaks() == []


def test_nor_does_one_of_a_container(gate, net):
    """Its manager's masquerade is not asked again either."""
    gate.apply(wans=[{"interface": "wan0"}], lans=[OFFICE])
    link(net, "docker0", "container", "10.8.8", "fd08")
    link(net, "tun7", "site", "10.7.7", "fd07")
    sh("ip route add 10.50.0.0/24 via 10.7.7.2; ip -6 route add fd50::/64 via fd07::2")
    sent = [udp("10.8.8.2", "10.50.0.9"), udp("fd08::2", "fd50::9")]
    with Sniffer(net) as outside, Sniffer(net, "site") as inside:
        for packet in sent:
            send_from(net, "container", "docker0", packet)
        assert {address for address, _protocol in inside.leaks()} >= {"10.8.8.2", "fd08::2"}
        sh("ip link set tun7 down")
        assert leads_by("wan0", "10.50.0.9", "fd50::9")
        for packet in sent * 2:
            send_from(net, "container", "docker0", packet)
        assert outside.leaks() == []


def test_nor_does_one_take_an_undeclared_way_out(gate, net):
    """From one undeclared link to another, then to a third one, which has a default route; with answers and without."""
    link(net, "lte0", "lte", "100.64.5", "fd64")
    sh("ip route add default via 100.64.5.2 metric 900; ip -6 route add default via fd64::2 metric 9000")
    gate.apply(wans=[{"interface": "wan0"}], lans=[OFFICE])
    link(net, "docker0", "container", "10.8.8", "fd08")
    link(net, "tun7", "site", "10.7.7", "fd07")
    lead("10.7.7", "fd07")
    sh("ip route add 10.50.0.0/24 via 10.7.7.2; ip -6 route add fd50::/64 via fd07::2")
    net.nodes["container"].sh("ip addr del {0}/32 dev lo; ip -6 addr del {1}/128 dev lo".format(FAR4, FAR6))
    sent = [udp("10.8.8.2", "10.50.0.9"), udp("fd08::2", "fd50::9")]
    with (
        Sniffer(net, "lte") as outside,
        flow(net, "container", "10.8.8.2", "site", FAR4) as four,
        flow(net, "container", "fd08::2", "site", FAR6) as six,
    ):
        for packet in sent:
            send_from(net, "container", "docker0", packet)
        assert outside.leaks() == []
        sh("ip link set tun7 down; ip link set wan0 down")
        assert leads_by("lte0", "10.50.0.9", "fd50::9", FAR4, FAR6)
        speak(four, six)
        for packet in sent * 2:
            send_from(net, "container", "docker0", packet)
        assert outside.leaks() == []


def test_an_open_flow_does_not_take_a_route_into_another_lan(gate, net):
    """Isolated LANs stay so when a routing protocol, or a VPN server in one of them, leads there."""
    link(net, "virbr0", "site", "10.7.7", "fd07")
    lead("10.7.7", "fd07")
    gate.apply(wans=[{"interface": "wan0"}], lans=[OFFICE, GUESTS])
    guest4, guest6 = CLIENTS["guest"][1:]
    with (
        Sniffer(net, "office") as inside,
        flow(net, "guest", guest4, "site", FAR4) as four,
        flow(net, "guest", guest6, "site", FAR6) as six,
    ):
        lead_into = "ip route replace {0} via {1}; ip -6 route replace {2} via {3}"
        sh(lead_into.format(FAR4, OFFICE4, FAR6, OFFICE6))
        speak(four, six)
        assert said(inside) == []
    sh("ip route del {0}; ip -6 route del {1}".format(FAR4, FAR6))
    lead("10.7.7", "fd07")
    gate.apply(wans=[{"interface": "wan0"}], lans=[OFFICE, dict(GUESTS, reaches=["office"])])
    with Sniffer(net, "office") as inside, flow(net, "guest", guest4, "site", FAR4, 7002) as four:
        sh("ip route replace {0} via {1}".format(FAR4, OFFICE4))
        speak(four)
        assert set(said(inside)) == {guest4}


# --- Links that nobody declared -------------------------------------------------------------------------------------


def test_open_flows_of_a_lan_take_no_link_that_came_after_the_run(gate, net):
    office = give_office_a_global_network(net)
    link(net, "virbr0", "vm", "10.7.7", "fd07")
    lead("10.7.7", "fd07")
    gate.apply(wans=[{"interface": "wan0"}], lans=[office, GUESTS])
    link(net, "lte0", "lte", "100.64.5", "fd64")
    with (
        Sniffer(net, "lte") as outside,
        flow(net, "office", OFFICE4, "vm", FAR4) as four,
        flow(net, "office", OFFICE6, "vm", FAR6) as unique,
        flow(net, "office", GLOBAL6, "vm", FAR6, 7001) as routed,
    ):
        assert four.seen[0] == OFFICE4
        sh("ip link set virbr0 down; ip route replace default via 100.64.5.2; ip -6 route replace default via fd64::2")
        lead("100.64.5", "fd64")
        assert leads_by("lte0", FAR4, FAR6)
        speak(four, unique, routed)
        assert said(outside) == []


def test_a_kill_switch_closes_open_flows_too(gate, net):
    """The tunnel is the only WAN; it goes down, and the default route leads elsewhere."""
    office = give_office_a_global_network(net)
    link(net, "tun0", "vpn", "10.8.0", "fd08")
    hole = {"name": "hole", "protocol": ["udp"], "port": ["7002"], "to": [GLOBAL6]}
    options = {"wans": [{"interface": "tun0"}], "lans": [office, GUESTS], "port_forwards": [hole]}
    net.nodes["wan"].sh("ip addr add {0}/32 dev lo; ip -6 addr add {1}/128 dev lo nodad".format(FAR4, FAR6))
    for nat in ({"action": "masquerade"}, {"action": "snat", "to": ["10.8.0.1"]}, {"action": "exempt"}):
        sh("ip link set tun0 up; ip -6 addr replace fd08::1/64 dev tun0 nodad")
        net._awake("vpn", "10.8.0.1", "fd08::1")
        lead("10.8.0", "fd08")
        gate.apply(nat=[dict(nat, name="vpn")], **options)
        with (
            Sniffer(net) as outside,
            flow(net, "office", OFFICE4, "vpn", FAR4) as four,
            flow(net, "office", GLOBAL6, "vpn", FAR6, 7001) as six,
            flow(net, "vpn", FAR6, "office", GLOBAL6, 7002) as inbound,
        ):
            sh("ip link set tun0 down")
            assert leads_by("wan0", FAR4, FAR6)
            speak(four, six)
            answer(inbound)
            assert said(outside) == [], nat


@pytest.mark.parametrize("undeclared", ["drop", "leave"])
def test_nor_do_answers_once_the_link_of_the_lan_is_gone(gate, net, undeclared):
    """The route to the client leads to the link below the kill switch then."""
    link(net, "tun0", "vpn", "10.8.0", "fd08")
    lead("10.8.0", "fd08")
    gate.apply(wans=[{"interface": "tun0"}], lans=[OFFICE, GUESTS], undeclared=undeclared)
    with (
        Sniffer(net) as outside,
        flow(net, "office", OFFICE4, "vpn", FAR4) as four,
        flow(net, "office", OFFICE6, "vpn", FAR6, 7001) as six,
    ):
        answer(four, six)
        assert four.client.recv(100) == AFTER and six.client.recv(100) == AFTER
        sh("ip link set lan0 down")
        assert leads_by("wan0", OFFICE4, OFFICE6)
        answer(four, six)
        assert set(said(outside)) == ({FAR4, FAR6} if undeclared == "leave" else set())


def test_answers_reach_a_client_of_a_vpn_with_an_address_of_the_lan(gate, net):
    link(net, "tun0", "vpn", "10.8.0", "fd08")
    lead("10.8.0", "fd08")
    gate.apply(wans=[{"interface": "tun0"}], lans=[OFFICE, GUESTS])
    # A run would see that this is not a tunnel.
    link(net, "tun7", "client", "10.7.7", "fd07")
    net.nodes["client"].sh(
        "ip addr flush dev lo; ip addr add 192.168.1.77/32 dev lo; ip addr add fd00:1::77/128 dev lo nodad; "
        "ip route replace default via 10.7.7.1 src 192.168.1.77; ip -6 route replace default via fd07::1 src fd00:1::77"
    )
    sh("ip route add 192.168.1.77/32 via 10.7.7.2; ip -6 route add fd00:1::77/128 via fd07::2")
    assert net.tcp("client", "vpn", FAR4) == "10.8.0.1"
    assert net.tcp("client", "vpn", FAR6) == "fd08::1"


# --- WANs -----------------------------------------------------------------------------------------------------------


def test_no_private_source_of_an_undeclared_network_follows_its_route_to_a_wan(gate, net):
    """A container's flow began elsewhere, where nobody translates: its next packet, or its answer, would leave."""
    sh("for f in all default; do echo 0 > /proc/sys/net/ipv4/conf/$f/rp_filter; done")
    link(net, "docker0", "container", "172.17.0", "fd17")
    net.nodes["container"].sh("ip addr flush dev lo")
    link(net, "virbr0", "vm", "10.7.7", "fd07")
    lead("10.7.7", "fd07")
    gate.apply(wans=[{"interface": "wan0"}], lans=[OFFICE, GUESTS])
    forged = [udp(WAN4, "172.17.0.2", 4444, 7003), udp(WAN6, "fd17::2", 4444, 7003)]
    with (
        Sniffer(net) as outside,
        flow(net, "container", "172.17.0.2", "vm", FAR4) as four,
        flow(net, "container", "fd17::2", "vm", FAR6) as six,
        net.socket("container", socket.AF_INET6, socket.SOCK_DGRAM) as server,
    ):
        server.bind(("::", 7003))
        server.settimeout(patience())
        for packet in forged:
            send_from(net, "vm", "virbr0", packet)
            peer = server.recvfrom(100)[1]
            for _each in range(3):
                server.sendto(AFTER, peer)
        assert said(outside) == []
        sh("ip link set virbr0 down")
        assert leads_by("wan0", FAR4, FAR6)
        speak(four, six)
        assert said(outside) == []


def test_no_private_source_of_one_wan_leaves_by_another(gate, net):
    link(net, "tun0", "vpn", "10.8.0", "fd08")
    lead("10.8.0", "fd08")
    vpn = {"name": "vpn", "wan": "tun0", "action": "snat", "to": ["10.8.0.1", "fd08::1"]}
    options = {"lans": [OFFICE, GUESTS], "nat": [vpn, {"name": "rest"}]}
    options["wans"] = [{"interface": "wan0"}, {"interface": "tun0"}]
    gate.apply(**options)
    assert not gate.apply(**options).changed
    with (
        Sniffer(net) as outside,
        flow(net, "office", OFFICE4, "vpn", FAR4) as four,
        flow(net, "office", OFFICE6, "vpn", FAR6) as six,
    ):
        assert (four.seen[0], six.seen[0]) == ("10.8.0.1", "fd08::1")
        sh("ip link set tun0 down")
        assert leads_by("wan0", FAR4, FAR6)
        speak(four, six)
        assert said(outside) == []


@pytest.mark.skipif(not shutil.which("conntrack"), reason="conntrack is not installed")
def test_flows_with_snat_take_the_address_of_the_other_wan_once_they_are_forgotten(gate, net):
    """Without that, they keep theirs, as docs/nat.md says; masqueraded ones do not."""
    link(net, "wan1", "isp", "198.51.100", "2001:db8:ee")
    net.nodes["wan"].sh("ip addr add {0}/32 dev lo; ip -6 addr add {1}/128 dev lo nodad".format(FAR4, FAR6))
    second = ("198.51.100.1", "2001:db8:ee::1")
    fixed = [
        {"name": wan, "wan": wan, "action": "snat", "to": list(to)}
        for wan, to in (("wan0", (GATE4, GATE6)), ("wan1", second))
    ]
    sources = {}
    for name, more in (("masquerade", {}), ("snat", {"nat": fixed})):
        sh("ip route replace {0} via {1}; ip -6 route replace {2} via {3}".format(FAR4, WAN4, FAR6, WAN6))
        gate.apply(wans=[{"interface": "wan0"}, {"interface": "wan1"}], lans=[OFFICE, GUESTS], **more)
        with (
            Sniffer(net, "isp") as outside,
            flow(net, "office", OFFICE4, "wan", FAR4) as four,
            flow(net, "office", OFFICE6, "wan", FAR6) as six,
        ):
            assert (four.seen[0], six.seen[0]) == (GATE4, GATE6)
            lead("198.51.100", "2001:db8:ee")
            speak(four, six)
            sources[name] = set(said(outside))
            for address in (GATE4, GATE6):
                sh(lines("Fail-over with `snat`", "sh").replace("203.0.113.2", address) + " 2>&1", check=False)
            speak(four, six)
            sources[name + ", forgotten"] = set(said(outside))
    assert sources == {
        "masquerade": set(second),
        "masquerade, forgotten": set(second),
        "snat": {GATE4, GATE6},
        "snat, forgotten": set(second),
    }


def test_a_route_to_a_host_of_a_lan_by_a_wan_is_not_taken(gate, net):
    """As one router advertisement of a neighbour sets it."""
    gate.apply(wans=[{"interface": "wan0"}], lans=[OFFICE, dict(GUESTS, reaches=["office"])])
    assert net.tcp("guest", "office", OFFICE6) == CLIENTS["guest"][2]
    sh("ip -6 route add {0}/128 via {1} dev wan0".format(OFFICE6, WAN6))
    with (
        Sniffer(net) as outside,
        net.socket("guest", socket.AF_INET6, socket.SOCK_DGRAM) as client,
    ):
        assert leads_by("wan0", OFFICE6)
        client.sendto(AFTER, (OFFICE6, 7004))
        assert said(outside) == []
