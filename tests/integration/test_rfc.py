# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the NAT RFCs require, measured: RFC 4787 (UDP), RFC 5382 (TCP), RFC 5508 (ICMP). The table is docs/rfc.md.

This file has what no other test measures. If Linux cannot meet a requirement, the test shows what it does instead.
"""

from __future__ import annotations

import errno
import re
import socket
import struct
import time

import pytest
from helpers import ONE_LAN, TWO_LANS
from sandbox import sh
from topology import (
    ACK,
    CLIENTS,
    GATE4,
    SYN,
    WAN4,
    Servers,
    Sniffer,
    checksum,
    icmp,
    ip,
    pseudo,
    send,
    tcp,
    udp,
)

from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError

OFFICE4 = CLIENTS["office"][1]
GUEST4 = CLIENTS["guest"][1]
#: A second host outside.
OTHER = "198.18.0.1"


@pytest.fixture
def net(net):
    net.nodes["wan"].sh("ip addr add {0}/32 dev lo".format(OTHER))
    return net


def timer(protocol="udp"):
    """Seconds until the only connection of a protocol expires."""
    (line,) = [line for line in sh("conntrack -L 2>/dev/null").splitlines() if line.startswith(protocol)]
    return int(line.split()[2])


def fall_silent(protocol="udp"):
    """Wait until the timer has visibly run down. The seconds that are left."""
    time.sleep(2.2)
    return timer(protocol)


# --- RFC 4787 and RFC 5382: mapping ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["udp", "tcp"])
def test_two_clients_get_the_same_port_towards_different_servers(gate, net, kind):
    """RFC 4787 REQ-3 (no port overloading): not on Linux, where a mapping is made for each destination."""
    gate.apply(**TWO_LANS)
    with Servers(net, kind, ("wan", 5353)) as servers:
        one = servers.asked("office", WAN4, 5353, bind=(OFFICE4, 40000))
        other = servers.asked("guest", OTHER, 5353, bind=(GUEST4, 40000))
    assert (one.peer_port, other.peer_port) == (40000, 40000)


@pytest.mark.parametrize("kind", ["udp", "tcp"])
def test_on_a_clash_the_second_client_gets_another_port(gate, net, kind):
    """RFC 4787 REQ-11 (deterministic): not on a clash, when the second client gets a free port."""
    gate.apply(**TWO_LANS)
    with Servers(net, kind, ("wan", 5353)) as servers:
        one = servers.asked("office", WAN4, 5353, bind=(OFFICE4, 40000))
        other = servers.asked("guest", WAN4, 5353, bind=(GUEST4, 40000))
    assert one.peer_port == 40000
    assert other.peer_port >= 1024
    assert other.peer_port != 40000


def test_a_low_port_stays_low_on_a_clash(gate, net):
    """RFC 4787 REQ-3a: ports below 1024 are mapped to ports below 1024."""
    gate.apply(**TWO_LANS)
    with Servers(net, "udp", ("wan", 5353)) as servers:
        one = servers.asked("office", WAN4, 5353, bind=(OFFICE4, 700))
        other = servers.asked("guest", WAN4, 5353, bind=(GUEST4, 700))
    assert one.peer_port == 700
    assert other.peer_port < 1024
    assert other.peer_port != 700


@pytest.mark.parametrize("port", [40000, 40001])
def test_parity_is_that_of_the_client(gate, net, port):
    """RFC 4787 REQ-4, as long as the port is free; RFC 7857 section 7 lets a NAT leave it."""
    gate.apply(**ONE_LAN)
    with Servers(net, "udp", ("wan", 5353)) as servers:
        assert servers.asked("office", WAN4, 5353, bind=(OFFICE4, port)).peer_port == port


def test_a_tcp_port_is_the_same_for_every_destination(gate, net):
    """RFC 5382 REQ-1."""
    gate.apply(**ONE_LAN)
    with Servers(net, "tcp", ("wan", 8080)) as servers:
        seen = {servers.asked("office", to, 8080, bind=(OFFICE4, 40000)).peer_port for to in (WAN4, OTHER)}
    assert seen == {40000}


def test_both_directions_refresh_a_mapping(gate, net):
    """RFC 4787 REQ-6 and REQ-6a."""
    gate.apply(**ONE_LAN)
    with (
        net.socket("wan", socket.AF_INET, socket.SOCK_DGRAM) as server,
        net.socket("office", socket.AF_INET, socket.SOCK_DGRAM) as client,
    ):
        server.bind(("0.0.0.0", 5353))
        server.settimeout(0.5)
        client.connect((WAN4, 5353))
        client.send(b"out")
        peer = server.recvfrom(10)[1]
        server.sendto(b"in", peer)
        assert client.recv(10) == b"in"
        assert fall_silent() < 299
        client.send(b"out")
        assert server.recv(10) == b"out"
        assert timer() >= 299
        assert fall_silent() < 299
        server.sendto(b"in", peer)
        assert client.recv(10) == b"in"
        assert timer() >= 299


def test_a_lan_with_the_wans_addresses_is_refused(gate, net):
    """RFC 4787 REQ-7: clients could not reach outside hosts with the same addresses."""
    lan = dict(ONE_LAN["lans"][0], networks=["203.0.113.0/25"])
    with pytest.raises(GatewayError, match="renumber the LAN"):
        gate.apply(wans=ONE_LAN["wans"], lans=[lan])


# --- Filtering -------------------------------------------------------------------------------------------------------


def test_only_the_server_that_was_asked_gets_in(gate, net):
    """RFC 4787 REQ-8, RFC 5382 REQ-3: address- and port-dependent filtering, stricter than either asks."""
    gate.apply(**ONE_LAN)
    with (
        net.socket("wan", socket.AF_INET, socket.SOCK_DGRAM) as server,
        net.socket("wan", socket.AF_INET, socket.SOCK_DGRAM) as stranger,
        net.socket("office", socket.AF_INET, socket.SOCK_DGRAM) as client,
    ):
        server.bind((WAN4, 5353))
        server.settimeout(0.5)
        client.bind((OFFICE4, 40000))
        client.settimeout(0.3)
        client.sendto(b"x", (WAN4, 5353))
        peer = server.recvfrom(10)[1]
        for source in ((OTHER, 5353), (WAN4, 5354)):
            with net.socket("wan", socket.AF_INET, socket.SOCK_DGRAM) as stranger:
                stranger.bind(source)
                stranger.sendto(b"stranger", peer)
                with pytest.raises(TimeoutError):
                    client.recv(10)
        server.sendto(b"answer", peer)
        assert client.recv(10) == b"answer"


def test_an_unsolicited_syn_meets_silence(gate, net):
    """RFC 5382 REQ-4: no answer for 6 seconds, so that a peer that opens at the same time is not refused."""
    gate.apply(input="protect", **ONE_LAN)
    with Sniffer(net) as sniffer:
        began = time.monotonic()
        for port, at in ((40000, GATE4), (40001, OFFICE4)):
            with net.socket("wan", socket.AF_INET, socket.SOCK_STREAM) as peer:
                peer.setblocking(False)
                assert peer.connect_ex((at, port)) == errno.EINPROGRESS
        time.sleep(max(0.0, 6.1 - (time.monotonic() - began)))
        assert [source for source, proto in sniffer.sources() if proto in (1, 6)] == []


def test_without_protect_the_gateways_own_address_answers(gate, net):
    """RFC 5382 REQ-4 needs input: protect, because the INPUT chain is not ours otherwise."""
    gate.apply(**ONE_LAN)
    with net.socket("wan", socket.AF_INET, socket.SOCK_STREAM) as peer:
        peer.settimeout(0.5)
        with pytest.raises(ConnectionRefusedError):
            peer.connect((GATE4, 40001))


def test_simultaneous_open(gate, net):
    """RFC 5382 REQ-2: both SYNs cross on the way, and both pass."""
    gate.apply(**ONE_LAN)
    # The outside kernel does not know our raw SYNs, and would refuse them.
    net.nodes["wan"].sh("iptables -A OUTPUT -p tcp --tcp-flags RST RST -j DROP")
    with Sniffer(net) as outside, Sniffer(net, "office") as inside:
        send(net, "office", [tcp(OFFICE4, WAN4, SYN, 40000, 41000)])
        assert any(source == GATE4 for source in map(str, (pair[0] for pair in outside.sources(0.2))))
        from_wan(net, [tcp(WAN4, GATE4, SYN, 41000, 40000)])
        assert [data[33] for data in inside.packets(0.2) if data[9] == 6 and data[12:16] == socket.inet_aton(WAN4)] == [
            SYN
        ]
        from_wan(net, [tcp(WAN4, GATE4, SYN | ACK, 41000, 40000)])
        flags = [data[33] for data in inside.packets(0.2) if data[9] == 6 and data[12:16] == socket.inet_aton(WAN4)]
        assert flags == [SYN | ACK]


def from_wan(net, packets):
    """Past the IP stack of the WAN's node, towards the gateway."""
    with net.inside("wan"), socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        for packet in packets:
            raw.sendto(packet, (GATE4, 0))


# --- Timers ----------------------------------------------------------------------------------------------------------


def test_established_tcp_has_more_than_two_hours_and_four_minutes(gate, net):
    """RFC 5382 REQ-5: the kernel's own timer is 5 days; transitory states need options to have 4 minutes."""
    states = ("syn_sent", "syn_recv", "fin_wait", "close_wait", "last_ack", "close")
    gate.apply(**ONE_LAN)
    assert int(sh("cat /proc/sys/net/netfilter/nf_conntrack_tcp_timeout_established")) >= 7440
    short = [name for name in states if transitory(name) < 240]
    assert short
    gate.apply(timeouts={"tcp_" + name: 240 for name in states}, **ONE_LAN)
    assert [name for name in states if transitory(name) < 240] == []


def transitory(name):
    return int(sh("cat /proc/sys/net/netfilter/nf_conntrack_tcp_timeout_" + name))


# --- ICMP and fragments ----------------------------------------------------------------------------------------------


def test_two_clients_may_ask_with_the_same_id(gate, net):
    """RFC 5508 REQ-1 and REQ-1a: the second one's identifier is translated."""
    gate.apply(**TWO_LANS)
    for node in ("office", "guest"):
        with net.inside(node):
            assert " 1 received" in sh("ping -n -c1 -W1 -e 777 {0}".format(WAN4))
    ids = re.findall(r"id=(\d+)", sh("conntrack -L -p icmp 2>/dev/null"))
    assert ids.count("777") == 3, ids


def test_an_icmp_error_ends_no_mapping_and_refreshes_none(gate, net):
    """RFC 4787 REQ-12, RFC 5382 REQ-10, RFC 5508 REQ-6: what comes back is translated, and data continues after it."""
    gate.apply(**ONE_LAN)
    with (
        net.socket("wan", socket.AF_INET, socket.SOCK_DGRAM) as server,
        net.socket("office", socket.AF_INET, socket.SOCK_DGRAM) as client,
    ):
        server.bind((WAN4, 5353))
        server.settimeout(0.5)
        client.bind((OFFICE4, 40000))
        client.settimeout(0.5)
        client.sendto(b"one", (WAN4, 5353))
        peer = server.recvfrom(10)[1]
        left = fall_silent()
        # From any router on the way (REQ-12a), about a packet of this mapping.
        about = udp(GATE4, WAN4, 40000, 5353)
        with Sniffer(net, "office") as inside:
            from_wan(net, [icmp(OTHER, GATE4, 3, 1, about)])
            errors = [data for data in inside.packets(0.2) if data[9] == 1]
        assert [data[28 + 12 : 28 + 16] for data in errors] == [socket.inet_aton(OFFICE4)]
        assert timer() <= left
        server.sendto(b"two", peer)
        assert client.recv(10) == b"two"


def icmp_kinds(packets):
    return [data[20] for data in packets if data[0] >> 4 == 4 and data[9] == 1]


def test_icmp_with_a_bad_checksum_goes_nowhere(gate, net):
    """RFC 5508 REQ-3."""
    gate.apply(**ONE_LAN)
    good = icmp(OFFICE4, WAN4, 8, 0, b"ping", rest=777 << 16)
    with Sniffer(net) as outside:
        send(net, "office", [good[:22] + bytes(byte ^ 0x55 for byte in good[22:24]) + good[24:]])
        assert icmp_kinds(outside.packets(0.2)) == []
        send(net, "office", [good])
        assert icmp_kinds(outside.packets(0.2)) == [8]


def test_an_error_about_no_mapping_goes_nowhere(gate, net):
    """RFC 5508 REQ-4 from inside, REQ-5 from outside."""
    gate.apply(**ONE_LAN)
    with Sniffer(net) as outside, Sniffer(net, "office") as inside:
        send(net, "office", [icmp(OFFICE4, WAN4, 3, 3, udp(WAN4, OFFICE4, 5353, 50000))])
        from_wan(net, [icmp(WAN4, GATE4, 3, 3, udp(GATE4, WAN4, 50000, 5353))])
        assert icmp_kinds(outside.packets(0.2)) == []
        assert icmp_kinds(inside.packets(0)) == []


#: Router advertisement and solicitation (RFC 1256), and an unassigned type.
NEITHER = (9, 10, 200)


def test_icmp_that_is_neither_a_query_nor_an_error_goes_nowhere(gate, net):
    """RFC 5508 REQ-11."""
    gate.apply(**ONE_LAN)
    with Sniffer(net) as outside, Sniffer(net, "office") as inside:
        send(net, "office", [icmp(OFFICE4, WAN4, kind, 0, b"neither") for kind in NEITHER])
        from_wan(net, [icmp(WAN4, address, kind, 0, b"neither") for kind in NEITHER for address in (GATE4, OFFICE4)])
        assert icmp_kinds(outside.packets(0.2)) == []
        assert icmp_kinds(inside.packets(0)) == []


def test_an_error_about_tcp_is_translated(gate, net):
    """RFC 5382 REQ-9: the client also finds its own address inside the error."""
    gate.apply(**ONE_LAN)
    net.nodes["wan"].sh("iptables -A OUTPUT -p tcp --tcp-flags RST RST -j DROP")
    send(net, "office", [tcp(OFFICE4, WAN4, SYN, 40000, 41000)])
    time.sleep(0.1)
    with Sniffer(net, "office") as inside:
        from_wan(net, [icmp(OTHER, GATE4, 3, 1, tcp(GATE4, WAN4, SYN, 40000, 41000))])
        errors = [data for data in inside.packets(0.2) if data[9] == 1]
    assert [data[28 + 12 : 28 + 16] for data in errors] == [socket.inet_aton(OFFICE4)]


def test_a_packet_whose_time_is_over_is_told_so(gate, net):
    """RFC 5508 REQ-10: the gateway is a router, and a traceroute shows it."""
    gate.apply(**ONE_LAN)
    with Sniffer(net, "office") as inside, net.socket("office", socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 1)
        client.sendto(b"x", (WAN4, 33434))
        assert icmp_kinds(inside.packets(0.2)) == [11]


def test_a_packet_that_is_too_big_is_told_so(gate, net):
    """RFC 4787 REQ-13, RFC 5508 REQ-10: DF and a smaller MTU outside."""
    sh("ip link set wan0 mtu 1280")
    gate.apply(**ONE_LAN)
    with net.socket("office", socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.setsockopt(socket.IPPROTO_IP, 10, 2)  # IP_MTU_DISCOVER, IP_PMTUDISC_DO
        client.connect((WAN4, 5353))
        client.send(b"x" * 1400)
        time.sleep(0.2)
        with pytest.raises(OSError, match="Message too long"):
            client.send(b"x" * 1400)


def fragments(source, target, payload, sport=40000, dport=5353):
    """One datagram in three pieces."""
    body = struct.pack("!HHHH", sport, dport, 8 + len(payload), 0) + payload
    total = checksum(pseudo(source, target, 17, len(body)) + body)
    body = body[:6] + struct.pack("!H", total) + body[8:]
    pieces = []
    for start in range(0, len(body), 800):
        packet = ip(source, target, 17, body[start : start + 800])
        more = 0x2000 if start + 800 < len(body) else 0
        head = packet[:6] + struct.pack("!H", more | start // 8) + packet[8:10] + b"\0\0" + packet[12:20]
        pieces.append(head[:10] + struct.pack("!H", checksum(head)) + head[12:] + packet[20:])
    return pieces


@pytest.mark.parametrize("order", [1, -1], ids=["in order", "the last one first"])
def test_fragments_are_translated(gate, net, order):
    """RFC 4787 REQ-14 and REQ-14a."""
    gate.apply(**ONE_LAN)
    payload = bytes(range(256)) * 8
    with net.socket("wan", socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((WAN4, 5353))
        server.settimeout(1)
        send(net, "office", fragments(OFFICE4, WAN4, payload)[::order])
        assert server.recvfrom(4096) == (payload, (GATE4, 40000))


def test_an_error_about_a_hairpin_comes_back_to_the_client(gate, net):
    """RFC 5508 REQ-7: nothing listens on the server's port, and the client gets the error."""
    forward = {"name": "x", "port": ["5353"], "to": [OFFICE4], "protocol": ["udp"], "hairpin": True}
    gate.apply(port_forwards=[forward], **TWO_LANS)
    with net.socket("guest", socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect((GATE4, 5353))
        client.settimeout(0.5)
        client.send(b"x")
        with pytest.raises(ConnectionRefusedError):
            client.recv(1)
