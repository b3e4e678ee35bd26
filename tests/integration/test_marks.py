# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A mark on an arriving packet opens nothing: only marks that the rules themselves set count."""

from __future__ import annotations

import itertools
import socket
import struct

import pytest
from helpers import BACKENDS, GUESTS, OFFICE, TWO_LANS
from sandbox import sh
from test_undeclared import closed, container, mgmt, send_raw
from topology import CLIENTS, ETH_P_ALL, GATE4, WAN4, WAN6, Sniffer, hardware_address, ip, send, udp

OFFICE4, OFFICE6 = CLIENTS["office"][1:]
GUEST4 = CLIENTS["guest"][1]
#: Behind the tunnel.
SITE = ("10.77.0.5", "fd77::5")
#: Without networks, so it follows its link.
FOLLOWING = {"name": "office", "interfaces": ["lan0"]}


def marked(*links: str) -> None:
    """Each packet of these links comes with every bit that we use, as a tunnel or another program leaves it."""
    sh("nft add table netdev marks")
    for link in links:
        sh(
            "nft 'add chain netdev marks {0} {{ type filter hook ingress device {0} priority 0; }}'; "
            "nft add rule netdev marks {0} meta mark set 0x38000000".format(link)
        )


def test_nothing_is_open_or_unguarded_by_a_mark_that_came_along(gate, net):
    there4, there6 = mgmt(net)
    gate.apply(input="protect", wans=[{"interface": "wan0"}], lans=[FOLLOWING, GUESTS])
    marked("mgmt0", "lan0", "guest0", "wan0")
    with Sniffer(net) as outside, Sniffer(net, "office") as inside:
        closed(net, "mgmt", "office", OFFICE4, OFFICE6)
        closed(net, "mgmt", "wan", WAN4, WAN6)
        closed(net, "mgmt", "gate", "10.9.9.1", "fd09::1")
        closed(net, "wan", "gate", GATE4)
        assert net.tcp("guest", "office", OFFICE4).startswith("refused")
        # The second packet of a flow meets no NAT.
        send_raw(net, "mgmt", [udp(there4, WAN4), udp(there4, OFFICE4)] * 3)
        # A source to which no route leads back.
        send_raw(net, "office", [udp("10.66.6.6", WAN4)] * 3)
        assert outside.leaks() == []
        assert not [source for source, _proto in inside.sources() if str(source) in (there4, there6, GUEST4)]
        assert str(GATE4) not in [str(source) for source, proto in outside.sources() if proto == socket.IPPROTO_UDP]
    # Permitted packets pass, marked or not.
    assert net.tcp("office", "wan", WAN4) == GATE4
    sh("ip addr add 10.5.0.1/24 dev lan0")
    net.nodes["office"].sh("ip addr add 10.5.0.10/24 dev up0")
    with net.socket("office", socket.AF_INET, socket.SOCK_DGRAM) as client, Sniffer(net) as outside:
        client.bind(("10.5.0.10", 5000))
        client.sendto(b"x", (WAN4, 5001))
        assert (GATE4, socket.IPPROTO_UDP) in [(str(source), proto) for source, proto in outside.sources()]


def test_a_packet_out_of_a_tunnel_is_not_what_its_tunnel_was(gate, net):
    """VXLAN: the outer packet is for the gateway itself, and the kernel leaves its mark on the inner one."""
    sh(
        "ip link add vx0 type vxlan id 7 local {0} dstport 4789 dev wan0; ip link add site0 type bridge; "
        "ip link set vx0 master site0; ip addr add 10.77.0.1/24 dev site0; ip addr add fd77::1/64 dev site0 nodad; "
        "ip link set vx0 up; ip link set site0 up".format(GATE4)
    )
    gate.apply(**TWO_LANS)
    bridge, ports = hardware_address(net, "gate", "site0"), itertools.count(5000)

    def tunnelled(inner: bytes) -> bytes:
        kind = 0x86DD if inner[0] >> 4 == 6 else 0x0800
        frame = bridge + bytes.fromhex("020000000099") + struct.pack("!H", kind) + inner
        body = struct.pack("!BxxxI", 8, 7 << 8) + frame
        # Each time from another port: the first packet of a flow.
        return ip(WAN4, GATE4, 17, struct.pack("!HHHH", next(ports), 4789, 8 + len(body), 0) + body)

    inners = [udp(SITE[0], OFFICE4), udp(SITE[1], OFFICE6), udp(SITE[0], WAN4), udp(SITE[1], WAN6)]
    with Sniffer(net) as outside, Sniffer(net, "office") as inside, Sniffer(net, "gate") as arrived:
        arrived.socket.bind(("site0", ETH_P_ALL))
        known: set = set()
        for _attempt in range(20):
            send_raw(net, "wan", [tunnelled(inner) for inner in inners] * 2)
            known |= {str(source) for source, _proto in arrived.sources()}
            if known >= set(SITE):
                break
        assert known >= set(SITE)
        assert outside.leaks() == []
        assert not [source for source, _proto in inside.sources() if str(source) in SITE]


#: Another program's transparent proxy for what the gateway itself sends to one port.
PROXY = """table inet proxy {
 chain sent {
  type route hook output priority mangle
  tcp dport 7070 meta mark set 1
 }
 chain back {
  type filter hook prerouting priority mangle
  iifname "lo" meta mark 1 tcp dport 7070 meta nfproto ipv4 tproxy ip to 127.0.0.1:12345
  iifname "lo" meta mark 1 tcp dport 7070 meta nfproto ipv6 tproxy ip6 to [::1]:12345
 }
}
"""


def proxied(net, far):
    """Whether what the gateway sends to an address outside arrives at its proxy."""
    family, own, option = socket.AF_INET, "127.0.0.1", (socket.IPPROTO_IP, 19)  # IP_TRANSPARENT
    if ":" in far:
        family, own, option = socket.AF_INET6, "::1", (socket.IPPROTO_IPV6, 75)  # IPV6_TRANSPARENT
    with (
        net.socket("gate", family, socket.SOCK_STREAM) as proxy,
        net.socket("gate", family, socket.SOCK_STREAM) as client,
    ):
        proxy.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        proxy.setsockopt(*option, 1)
        proxy.bind((own, 12345))
        proxy.listen()
        proxy.settimeout(0.5)
        client.settimeout(0.5)
        try:
            client.connect((far, 7070))
            with proxy.accept()[0] as taken:
                return taken.getsockname()[:2] == (far, 7070)
        except TimeoutError:
            return False


def test_what_the_gateway_sends_passes_a_transparent_proxy_on_it(gate, net):
    """It comes in again by lo, with an address of the gateway as its source, and one outside as its destination."""
    sh("for v in -4 -6; do ip $v rule add fwmark 1 lookup 100; ip $v route add local default dev lo table 100; done")
    sh("nft -f - <<'E'\n{0}E".format(PROXY))
    assert proxied(net, WAN4) and proxied(net, WAN6)
    for door in ("open", "protect"):
        gate.apply(input=door, **TWO_LANS)
        assert proxied(net, WAN4) and proxied(net, WAN6)


@pytest.mark.parametrize("chain", ["FORWARD", "POSTROUTING"])
def test_what_is_exempt_needs_no_mark(gate, net, chain):
    """Another program sets a mark of its own, for its queues, and clears all other bits."""
    vpn = {"name": "vpn", "action": "exempt", "destination": [WAN4 + "/32", WAN6 + "/128"]}
    gate.apply(wans=[{"interface": "wan0"}], lans=TWO_LANS["lans"], nat=[vpn, {"name": "rest"}])
    if gate.programs == "nft":
        hook = "{0} priority -150".format(chain.lower())
        sh("nft add table inet queues; nft 'add chain inet queues later {{ type filter hook {0}; }}'".format(hook))
        sh("nft add rule inet queues later oifname wan0 meta mark set 10")
    else:
        for family in ("ip", "ip6"):
            sh("{0} -t mangle -A {1} -o wan0 -j MARK --set-mark 10".format(gate.tool(family), chain))
    assert net.tcp("office", "wan", WAN4) == OFFICE4
    assert net.tcp("office", "wan", WAN6) == OFFICE6
    # Nor do the later packets of a flow without an answer.
    with Sniffer(net) as outside:
        send(net, "office", [udp(OFFICE4, WAN4), udp(OFFICE6, WAN6)] * 3)
        seen = sorted(str(source) for source, proto in outside.sources() if proto == socket.IPPROTO_UDP)
    assert seen == [OFFICE4] * 3 + [OFFICE6] * 3
    # No other link has these sources.
    container(net)
    with Sniffer(net) as outside:
        send(net, "container", [udp(OFFICE4, WAN4), udp(OFFICE6, WAN6)] * 3, "docker0")
        assert not {str(source) for source, _proto in outside.sources()} & {OFFICE4, OFFICE6}


@pytest.mark.parametrize("backend", ["nft"], indirect=True)
def test_what_is_exempt_is_so_for_the_lan_only(gate, net):
    """A container or a VPN client may have an address inside the LAN's networks. iptables: the told limit."""
    container(net)
    vpn = {"name": "vpn", "action": "exempt", "destination": [WAN4 + "/32", WAN6 + "/128"], "source": ["office"]}
    office = dict(OFFICE, networks=["192.168.1.0/24", "10.0.0.0/8", "fd00:1::/64"])
    sh("ip route add 192.168.1.200/32 dev docker0; ip -6 route add fd00:1::200/128 dev docker0")
    gate.apply(wans=[{"interface": "wan0"}], lans=[office, GUESTS], nat=[vpn, {"name": "rest"}])
    sh("ip addr add 10.88.0.1/16 dev docker0")
    others = {"10.88.0.5": WAN4, "192.168.1.200": WAN4, "fd00:1::200": WAN6}
    with Sniffer(net) as outside:
        send(net, "container", [udp(source, to) for source, to in others.items()] * 3, "docker0")
        send(net, "office", [udp(OFFICE4, WAN4), udp(OFFICE6, WAN6)])
        seen = sorted(str(source) for source, proto in outside.sources() if proto == socket.IPPROTO_UDP)
    assert seen == [OFFICE4, OFFICE6]


@pytest.mark.parametrize("backend", BACKENDS[1:], indirect=True)
@pytest.mark.parametrize("following", [False, True])
def test_rules_that_clear_our_marks_are_told(gate, net, following):
    """Only where something depends on the marks, and only rules that touch our bits."""
    options = {"wans": [{"interface": "wan0"}], "lans": [FOLLOWING if following else OFFICE]}
    for family in ("ip", "ip6"):
        sh("{0} -t mangle -A FORWARD -o wan0 -j MARK --set-mark 10".format(gate.tool(family)))
        sh("{0} -t mangle -A FORWARD -o wan1 -j MARK --set-xmark 10/0xff".format(gate.tool(family)))
    told = [line for line in gate.apply(**options).warnings if "clears our marks" in line]
    assert len(told) == following
    gate.apply(instance="two", wans=[{"interface": "wan0"}], lans=[GUESTS])
    told = [line for line in gate.apply(**options).warnings if "clears our marks" in line]
    assert [line.partition(": ")[0] for line in told] == [
        "mangle -A FORWARD -o wan0 -j MARK --set-xmark 0xa/0xffffffff"
    ]
    assert "connections of LANs of other instances" in told[0]
    assert ("networks that a LAN has got since the last run" in told[0]) == following
