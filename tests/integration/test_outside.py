# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a host on the WAN's link may ask for: the addresses of the WAN, and no private one that is elsewhere."""

from __future__ import annotations

import select
import socket

from helpers import GUESTS, ONE_LAN, TWO_LANS
from sandbox import sh
from test_undeclared import SOON, closed, container, mgmt, published_by_another
from topology import CLIENTS, GATE4, GATE6, ISP4, SECOND4, WAN4, WAN6, Sniffer, hardware_address, udp

from ansible_collections.ipmasq.linux.plugins.module_utils._base import prefix

OFFICE4, OFFICE6 = CLIENTS["office"][1:]
GUEST4, GUEST6 = CLIENTS["guest"][1:]
#: To any address that a WAN has.
FORWARDS = [
    {"name": "web", "port": ["8080"], "to": [OFFICE4]},
    {"name": "web6", "port": ["8080"], "to": [OFFICE6]},
    {"name": "own", "port": ["8443"], "to": [OFFICE4], "to_port": 8080, "destination": ["10.99.0.1"]},
]
#: Of LANs, of a link that nobody declared, and of a container manager's.
ELSEWHERE = ("192.168.1.1", "fd00:1::1", "10.9.9.1", "fd09::1", "172.17.0.1")


def past_the_stack(net, packets: list, node: str = "wan", link: str = "wan0") -> None:
    """To the gateway, from the WAN's link or another, as they are."""
    there = hardware_address(net, "gate", link)
    with net.inside(node), socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
        raw.bind(("up0", 0))
        for packet in packets:
            kind = b"\x86\xdd" if packet[0] >> 4 == 6 else b"\x08\x00"
            raw.send(there + raw.getsockname()[4] + kind + packet)


def test_a_private_address_that_is_no_wans_is_not_there_for_a_wan(gate, net):
    mgmt(net)
    there4, _there6 = container(net)
    net.nodes["wan"].sh("ip route add 10.0.0.0/8 via {0}; ip route add 172.16.0.0/12 via {0}".format(GATE4))
    gate.apply(ipv6="masquerade", port_forwards=FORWARDS, **TWO_LANS)
    published_by_another(gate, 8081, there4 + ":8080")
    with Sniffer(net) as outside:
        closed(net, "wan", "office", *ELSEWHERE)
        for address in ELSEWHERE:
            assert net.tcp("wan", "gate", address, 9000, timeout=SOON) == "timeout", address
            assert net.udp("wan", "gate", address, 9001, timeout=SOON) == "timeout", address
            sent = "ping -n -c1 -W0.2 {0} > /dev/null && echo yes || echo no".format(address)
            with net.inside("wan"):
                assert sh(sent).strip() == "no", address
        assert net.tcp("wan", "container", "172.17.0.1", 8081, timeout=SOON) == "timeout"
        assert outside.leaks() == []


def test_addresses_of_the_wan_and_public_ones_are_there(gate, net):
    sh("ip addr add 198.51.100.77/32 dev lo; ip addr add 10.99.0.1/32 dev lo")
    net.nodes["wan"].sh("ip route add 198.51.100.77 via {0}; ip route add 10.99.0.1 via {0}".format(GATE4))
    gate.apply(ipv6="masquerade", port_forwards=FORWARDS, **TWO_LANS)
    # A lease that comes after the run.
    sh("ip addr add 192.168.178.2/24 dev wan0")
    net.nodes["wan"].sh("ip addr add 192.168.178.1/24 dev up0")
    assert net.tcp("wan", "office", GATE4) == WAN4
    assert net.tcp("wan", "office", GATE6) != "timeout"
    assert net.tcp("wan", "office", "192.168.178.2") == "192.168.178.1"
    assert net.tcp("wan", "office", "198.51.100.77") == WAN4
    assert net.tcp("wan", "gate", "198.51.100.77", 9000) == WAN4
    assert net.asks("tcp", "wan", "office", "10.99.0.1", 8443, at=8080)[:2] == ("office", 8080)
    # Who administers the host is not shut out, by whichever of its addresses.
    assert net.tcp("wan", "gate", "10.99.0.1", 22) == WAN4
    # From inside they are what they were.
    assert net.tcp("office", "gate", "10.99.0.1", 9000) == OFFICE4
    assert net.tcp("guest", "gate", "192.168.1.1", 9000) == CLIENTS["guest"][1]
    # And so are they under another word for what nobody declared, except for those of LANs.
    gate.apply(ipv6="masquerade", undeclared="leave", port_forwards=FORWARDS, **TWO_LANS)
    assert net.tcp("wan", "gate", "10.99.0.1", 9000) == WAN4
    closed(net, "wan", "office", "192.168.1.1", "fd00:1::1")


def test_the_loopback_network_is_not_there_for_a_wan_either(gate, net):
    """The kernel keeps 127/8 off the wire only until something sets route_localnet."""
    sh(
        "for f in all wan0; do for n in route_localnet rp_filter; do s=/proc/sys/net/ipv4/conf/$f/$n; "
        "[ $n = route_localnet ] && echo 1 > $s || echo 0 > $s; done; done"
    )
    with net.socket("gate", socket.AF_INET, socket.SOCK_DGRAM) as service:
        service.bind(("0.0.0.0", 9001))
        service.settimeout(SOON)

        def reached(source: str, target: str) -> bool:
            past_the_stack(net, [udp(source, target, 40000, 9001)])
            try:
                return service.recvfrom(9)[1][0] == source
            except TimeoutError:
                return False

        for undeclared in ("drop", "leave"):
            gate.apply(undeclared=undeclared, **TWO_LANS)
            assert not reached(WAN4, "127.0.0.1"), undeclared
            assert not reached("127.0.0.9", GATE4), undeclared
            assert reached(WAN4, GATE4), undeclared


def test_a_dhcp_server_with_a_private_address_is_heard_by_a_second_wan(gate, net):
    """Its answer to a client that rebinds does not answer a packet that anybody sent there."""
    net.wire_second_wan()
    sh("for link in /proc/sys/net/ipv4/conf/*; do echo 0 > $link/rp_filter; done")
    wans = [{"interface": "wan0"}, {"interface": "wan1"}]

    def arrives(source: str, address: str, port: int, node: str = "gate") -> bool:
        with net.socket(node, socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.bind(("", port))
            past_the_stack(net, [udp(source, address, 67, port)], "isp", "wan1")
            return bool(select.select([client], [], [], SOON)[0])

    for options in ({}, {"input": "protect"}):
        gate.apply(wans=wans, lans=[{"name": "office", "interfaces": ["lan0"]}], **options)
        assert arrives("10.1.2.3", SECOND4, 68)
        # Nothing else of that server, unlike of a public one; nor anything to a host behind the gateway.
        assert not arrives("10.1.2.3", SECOND4, 69)
        assert arrives(ISP4, SECOND4, 69) == (not options)
        assert not arrives("10.1.2.3", OFFICE4, 68, "office")
    many = {"name": "many", "protocol": ["tcp"], "port": ["1-1024"], "to": [OFFICE4]}
    for forward in (many, dict(many, protocol=["both"], wan="wan0")):
        gate.apply(wans=wans, lans=[{"name": "office", "interfaces": ["lan0"]}], port_forwards=[forward])
        assert arrives("10.1.2.3", SECOND4, 68), forward


def test_a_wan_never_speaks_with_a_source_that_a_lan_has_got_since(gate, net):
    sh("for f in all wan0; do echo 0 > /proc/sys/net/ipv4/conf/$f/rp_filter; done")
    forward = {"name": "syslog", "port": ["5514"], "protocol": ["udp"], "to": [GUEST4]}
    forward6 = {"name": "syslog6", "port": ["5514"], "protocol": ["udp"], "to": [GUEST6]}
    gate.apply(
        ipv6="masquerade",
        wans=[{"interface": "wan0"}],
        lans=[{"name": "office", "interfaces": ["lan0"]}, GUESTS],
        port_forwards=[forward, forward6],
    )
    sh("ip addr add 10.5.0.1/24 dev lan0; ip addr add fd05::1/64 dev lan0 nodad")
    with Sniffer(net, "guest") as inside:
        packets = [udp(source, GATE4, 40000, 5514) for source in ("10.5.0.77", "10.6.0.77", WAN4)]
        packets += [udp(source, GATE6, 40000, 5514) for source in ("fd05::77", "2001:db8:ff::1")]
        past_the_stack(net, packets)
        seen = {str(source) for source, proto in inside.sources(SOON) if proto == socket.IPPROTO_UDP}
    # What has its route through this WAN is what it says.
    assert seen == {"10.6.0.77", WAN4, "2001:db8:ff::1"}


def test_a_private_source_behind_a_second_wan_needs_a_route_of_its_own(gate, net):
    """A default route with a higher metric is not the one by which this host would answer."""
    net.wire_second_wan()
    sh("for link in /proc/sys/net/ipv4/conf/*; do echo 0 > $link/rp_filter; done")
    sh("ip route add default via {0} dev wan1 metric 200".format(ISP4))
    gate.apply(
        wans=[{"interface": "wan0"}, {"interface": "wan1"}],
        lans=[{"name": "office", "interfaces": ["lan0"]}],
        port_forwards=[{"name": "syslog", "port": ["5514"], "protocol": ["udp"], "to": [OFFICE4]}],
    )

    def arriving() -> set:
        with Sniffer(net, "office") as inside:
            packets = [udp(source, SECOND4, 40000, 5514) for source in ("10.6.0.77", "198.18.5.5")]
            past_the_stack(net, packets, "isp", "wan1")
            return {str(source) for source, proto in inside.sources(SOON) if proto == socket.IPPROTO_UDP}

    assert arriving() == {"198.18.5.5"}
    sh("ip route add 10.6.0.0/24 via {0} dev wan1".format(ISP4))
    assert arriving() == {"10.6.0.77", "198.18.5.5"}


def test_the_gateway_is_no_server_of_a_network_that_is_mapped(gate, net):
    """Its own address is in that network; the counterpart outside leads nowhere."""
    sh("ip addr add 203.0.113.33/28 dev wan0; ip addr add 203.0.113.42/28 dev wan0")
    item = {"name": "servers", "action": "static", "source": ["192.168.1.0/28"], "to": ["203.0.113.32/28"]}
    mapped = dict(item, to_address="routed", inbound=True, hairpin=True)
    gate.apply(nat=[mapped, {"name": "rest"}], **TWO_LANS)
    assert net.tcp("wan", "office", "203.0.113.42") == WAN4
    assert net.tcp("wan", "gate", "203.0.113.33", 9000, timeout=SOON) == "timeout"
    assert net.tcp("guest", "gate", "203.0.113.33", 9000, timeout=SOON).startswith("refused")
    # By its own address it is there for LANs.
    assert net.tcp("office", "gate", "192.168.1.1", 9000) == OFFICE4


def test_a_forward_to_the_gateway_itself_takes_its_port_from_what_is_mapped(gate, net):
    forward = {"name": "own", "protocol": ["tcp"], "port": ["8443"], "to": ["192.168.1.1"], "to_port": 9000}
    item = {"name": "server", "action": "static", "source": [OFFICE4], "to": ["203.0.113.9"], "to_address": "add"}
    for door in ("open", "protect"):
        gate.apply(
            nat=[item, {"name": "rest"}],
            port_forwards=[dict(forward, destination=["203.0.113.9"])],
            input=door,
            **TWO_LANS,
        )
        assert net.asks("tcp", "wan", "gate", "203.0.113.9", 8443, at=9000)[:2] == ("gate", 9000)
        assert net.tcp("wan", "office", "203.0.113.9", 8444) == WAN4


def test_nor_of_a_network_whose_prefix_is_translated(gate, net):
    net.nodes["wan"].sh("ip -6 route add 2001:db8:77::/48 via " + GATE6)
    item = {"name": "six", "action": "prefix", "source": ["fd00:1::/48"], "to": ["2001:db8:77::/48"]}
    gate.apply(ipv6="prefix", nat=[{"name": "four"}, dict(item, inbound=True)], **ONE_LAN)
    ((_inside, mapped),) = prefix.neutral_pairs("fd00:1::/48", "2001:db8:77::/48", ["fd00:1::/64"])
    there = mapped.partition("/")[0]
    assert net.tcp("wan", "office", there + "10") == WAN6
    assert net.tcp("wan", "gate", there + "1", 9000, timeout=SOON) == "timeout"


def test_an_address_of_a_vpn_or_of_one_link_is_not_there_for_a_wan(gate, net):
    """Those of Tailscale (RFC 6598), and of a DNS cache on a link-local address."""
    sh("ip addr add 100.101.102.1/32 dev lo; ip addr add 169.254.20.10/32 dev lo")
    net.nodes["wan"].sh("ip route add 100.64.0.0/10 via {0}; ip route add 169.254.20.10/32 via {0}".format(GATE4))
    for address in ("100.101.102.1", "169.254.20.10"):
        assert net.tcp("wan", "gate", address, 9000) == WAN4
    gate.apply(**TWO_LANS)
    for address in ("100.101.102.1", "169.254.20.10"):
        assert net.tcp("wan", "gate", address, 9000, timeout=SOON) == "timeout"
    sh("ip addr add 100.101.102.2/32 dev wan0")
    assert net.tcp("wan", "gate", "100.101.102.2", 9000) == WAN4
