# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A LAN or a WAN that is a bridge, on a host whose kernel shows bridged frames to the rules, as it does with Docker."""

from __future__ import annotations

import contextlib
import select
import socket
import time

import pytest
from helpers import GUESTS, OFFICE
from sandbox import sh
from test_connections import WAITS, connected, speaks
from test_undeclared import closed, counted, mgmt
from topology import (
    CLIENTS,
    GATE4,
    GATE6,
    WAN4,
    WAN6,
    Servers,
    Sniffer,
    addressed,
    default,
    hardware_address,
    send,
    udp,
)
from unhurried import wait_until

from ansible_collections.ipmasq.linux.plugins.module_utils._rollback import rollback

SOON = 0.4
OFFICE4, OFFICE6 = CLIENTS["office"][1:]
NAS4, NAS6, VM4, VM6 = "192.168.1.20", "fd00:1::20", "203.0.113.50", "2001:db8:ff::50"
#: What hosts of the office say to each other.
FRAMES = [
    udp(OFFICE4, NAS4),
    udp("0.0.0.0", "255.255.255.255", 68, 67),
    udp("169.254.7.7", "169.254.8.8"),
    udp("fe80::aaaa", "fe80::bbbb", 5353),
    udp("fe80::aaaa", NAS6, 5354),
    udp("::", "ff02::1:ff00:20"),
]


def shown(value):
    """Whether the kernel shows bridged frames to the rules."""
    sh("for f in iptables ip6tables; do echo {0} > /proc/sys/net/bridge/bridge-nf-call-$f; done".format(value))


def bridged(net, link, ours, node, theirs):
    """A bridge in place of a link, with one more port, and a node there."""
    sh("ip addr flush dev {0}; ip link add br-{0} type bridge; ip link set {0} master br-{0}".format(link))
    shown(1)
    net._node(node)
    sh("ip link add p-{0} type veth peer name up0 netns {1}".format(node, net.nodes[node].path))
    sh("ip link set p-{0} master br-{1} up".format(node, link))
    net.nodes[node].ip_batch(*addressed("up0", *theirs))
    sh("; ".join("ip " + line for line in addressed("br-" + link, *ours)))
    for own in ours:
        net._awake(node, own.partition("/")[0])


def across(net, source, target, frames):
    """One node sends these to another at its bridge, whomever they are for."""
    ether = hardware_address(net, target, "up0") + hardware_address(net, source, "up0")
    with net.socket(source, socket.AF_PACKET, socket.SOCK_RAW) as wire:
        wire.bind(("up0", 0))
        for packet in frames:
            wire.send(ether + (b"\x86\xdd" if packet[0] >> 4 == 6 else b"\x08\x00") + packet)


def hears(net, source, target, frames):
    """Which of these packets arrive: by their number, those that one node sends to the other without a route."""
    with Sniffer(net, target) as heard:
        across(net, source, target, frames)
        time.sleep(SOON)
        got = {bytes(packet) for packet in heard.packets(0)}
    return [number for number, packet in enumerate(frames) if any(packet in each for each in got)]


def test_what_hosts_of_one_lan_say_to_each_other_is_not_filtered(gate, net):
    """They ask for addresses, and find each other, with sources that are in no network of the LAN."""
    bridged(net, "lan0", ("192.168.1.1/24", "fd00:1::1/64"), "nas", (NAS4 + "/24", NAS6 + "/64"))
    assert hears(net, "office", "nas", FRAMES) == [0, 1, 2, 3, 4, 5]
    lan = dict(OFFICE, interfaces=["br-lan0"], networks=["192.168.1.0/24", "fd00:1::/64"])
    gate.apply(wans=[{"interface": "wan0"}], lans=[lan])
    assert hears(net, "office", "nas", FRAMES) == [0, 1, 2, 3, 4, 5]
    assert net.tcp("office", "nas", NAS4) == OFFICE4
    # What is routed is checked as ever.
    with Sniffer(net) as outside:
        send(net, "office", [udp("10.1.2.3", WAN4)], "br-lan0")
        time.sleep(SOON)
        assert outside.leaks() == []
    assert counted(gate, "spoofed/office") == 1
    closed(net, "wan", "nas", NAS4, NAS6)


#: Without networks, it follows its links.
OPEN_OFFICE = {"name": "office", "interfaces": ["lan0"]}


def speaks_as(net, liar, spoken_as, accomplice, victim):
    """Whether a host gets through to a victim by what it sends with the victim's address to an accomplice beside it."""
    six = ":" in spoken_as
    family = socket.AF_INET6 if six else socket.AF_INET
    with (
        net.socket(victim, family, socket.SOCK_DGRAM) as heard,
        net.socket(accomplice[0], family, socket.SOCK_DGRAM) as back,
    ):
        heard.bind((spoken_as, 161))
        back.bind((accomplice[1], 7777))
        heard.settimeout(SOON)
        back.settimeout(SOON)
        send(net, liar, [udp(spoken_as, accomplice[1], 161, 7777)], "br-wan0" if liar == "vm" else "br-guest0")
        try:
            seen = back.recvfrom(100)[1][:2]
        except TimeoutError:
            seen = (spoken_as, 161)
        back.sendto(b"x", seen)
        try:
            return bool(heard.recv(10))
        except OSError:
            return False


def dropped(gate):
    """How many packets towards a WAN's bridge had a source that may be elsewhere."""
    return sum(row.packets for row in gate.live("default") if row.key == "closed" and "switched" in row.chain.lower())


def test_nobody_at_a_bridge_speaks_for_others(gate, net):
    """A packet that is routed back to its bridge looks like a bridged frame. Its answers would lead elsewhere."""
    there4, there6 = mgmt(net)
    bridged(net, "wan0", (GATE4 + "/24", GATE6 + "/64"), "vm", (VM4 + "/24", VM6 + "/64"))
    bridged(net, "guest0", ("192.168.2.1/24", "fd00:2::1/64"), "liar", ("192.168.2.30/24", "fd00:2::30/64"))
    sh("; ".join("ip " + line for line in default(WAN4, WAN6, "replace")))
    net.nodes["liar"].ip_batch(*default("192.168.2.1", "fd00:2::1"))
    net.nodes["vm"].ip_batch(*default(GATE4, GATE6))
    net.nodes["office"].sh("ip addr add 2001:db8:b::10/64 dev up0 nodad")
    net.nodes["mgmt"].sh("ip addr add 2001:db8:50::5/128 dev lo")
    net.nodes["wan"].sh("for to in b::/64 50::/48; do ip -6 route add 2001:db8:$to via {0}; done".format(GATE6))
    wans, guests = [{"interface": "br-wan0"}], dict(GUESTS, interfaces=["br-guest0"])
    for value in "10":
        shown(value)
        gate.apply(wans=wans, lans=[OPEN_OFFICE, guests], ipv6="route")
        sh("ip addr replace 2001:db8:b::1/64 dev lan0 nodad; ip -6 route replace 2001:db8:50::/48 via " + there6)
        for victim, addresses in (("office", (OFFICE4, OFFICE6)), ("mgmt", (there4, there6))):
            for number, address in enumerate(addresses):
                for liar, accomplice in (
                    ("vm", ("wan", (WAN4, WAN6)[number])),
                    ("liar", ("guest", CLIENTS["guest"][1 + number])),
                ):
                    assert not speaks_as(net, liar, address, accomplice, victim), (liar, address)
        # Networks that the run has not seen: of the office since, and behind a router of an undeclared link.
        for victim, address in (("office", "2001:db8:b::10"), ("mgmt", "2001:db8:50::5")):
            assert not speaks_as(net, "vm", address, ("wan", WAN6), victim), address
        # For itself it speaks, by the same way.
        assert speaks_as(net, "vm", VM4, ("wan", WAN4), "vm") and speaks_as(net, "vm", VM6, ("wan", WAN6), "vm")
        before = dropped(gate)
        with Sniffer(net) as outside:
            send(net, "vm", [udp("10.77.0.5", WAN4, 1111, 2222), udp("fd77::5", WAN6, 1111, 2222)], "br-wan0")
            time.sleep(SOON)
            assert outside.leaks() == []
        assert dropped(gate) == before + 2


def test_what_is_at_the_bridge_of_a_wan_is_not_behind_the_gateway(gate, net):
    """A virtual machine with an address of the provider, beside the gateway's own."""
    bridged(net, "wan0", (GATE4 + "/24", GATE6 + "/64"), "vm", (VM4 + "/24", VM6 + "/64"))
    sh("; ".join("ip " + line for line in default(WAN4, WAN6, "replace")))
    gate.apply(wans=[{"interface": "br-wan0"}], lans=[OFFICE])
    wait_until(lambda: net.ping("vm", WAN4), "the bridge does not forward")
    assert net.tcp("wan", "vm", VM4) == WAN4
    assert net.tcp("vm", "wan", WAN4) == VM4
    assert net.tcp("wan", "vm", VM6) == WAN6
    assert net.tcp("office", "wan", WAN4) == GATE4
    # It gets its address and its router there.
    frames = [udp("0.0.0.0", "255.255.255.255", 68, 67), udp("fe80::aaaa", "ff02::1"), udp("fe80::aaaa", VM6)]
    assert hears(net, "wan", "vm", frames) == [0, 1, 2]
    net.nodes["vm"].sh("ip route add 192.168.0.0/16 via {0}; ip -6 route add fd00::/8 via {1}".format(GATE4, GATE6))
    closed(net, "vm", "office", OFFICE4, OFFICE6)


def above(bridge, link, mode, *addresses):
    """A link above a bridge, as each VLAN of a VLAN-aware bridge has one (a macvlan, which needs no 8021q)."""
    sh("ip link add {0} link {1} type macvlan mode {2}; ip link set {0} up".format(link, bridge, mode))
    sh("; ".join("ip " + line for line in addressed(link, *addresses)))


def hosts_of_one_bridge(net, mode):
    """The office above br-lan0, and a host beside it."""
    bridged(net, "lan0", ("10.19.0.1/24", "fd19::1/64"), "liar", ("10.19.0.5/24", "fd19::5/64"))
    above("br-lan0", "v10", mode, "192.168.1.1/24", "fd00:1::1/64")
    net.nodes["office"].sh("ip neigh flush all")
    net._awake("office", "192.168.1.1", "fd00:1::1")


@pytest.mark.parametrize("named", [True, False], ids=["with networks", "without"])
def test_a_lan_above_a_bridge_stays_connected(gate, net, named):
    """Its packets are first shown as the bridge's, which is an undeclared link."""
    hosts_of_one_bridge(net, "passthru")
    lan = {"name": "office", "interfaces": ["v10"]}
    networks = {"networks": ["192.168.1.0/24", "fd00:1::/64"]} if named else {}
    gate.apply(wans=[{"interface": "wan0"}], lans=[{**lan, **networks}, GUESTS])
    for value in "01":
        shown(value)
        assert net.ping("office", "192.168.1.1") and net.ping("office", "fd00:1::1")
        assert net.tcp("office", "wan", WAN4) == GATE4
        assert net.tcp("office", "wan", WAN6) == GATE6
    # Hosts of the office hear each other, and nobody speaks there for hosts of other links, or from elsewhere.
    frames = [udp(OFFICE4, NAS4), udp(OFFICE6, NAS6), udp(OFFICE4, "224.0.0.251"), udp(OFFICE6, "ff02::fb")]
    assert hears(net, "office", "liar", frames) == [0, 1, 2, 3]
    strange = [udp(guest, beside) for guest, beside in zip(CLIENTS["guest"][1:], (NAS4, NAS6), strict=True)]
    strange += [udp(OFFICE4, "10.19.0.5"), udp(OFFICE6, "fd19::5"), udp(OFFICE4, "203.0.113.50")]
    assert hears(net, "office", "liar", strange) == []


def test_nobody_else_at_the_bridge_below_a_lan_is_of_that_lan(gate, net):
    """Neither on the bridge itself nor on another link above it, known to the run or not."""
    hosts_of_one_bridge(net, "bridge")
    above("br-lan0", "v30", "bridge", "10.8.0.1/24", "fd08::1/64")
    there = mgmt(net)
    claims = [(OFFICE4, "192.168.1.1", there[0]), (OFFICE6, "fd00:1::1", there[1])]
    links = ("br-lan0", "v30")
    sh("echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding")
    assert len(heard_from(net, claims, links)) == 4
    gate.apply(wans=[{"interface": "wan0"}], lans=[{"name": "office", "interfaces": ["v10"]}, GUESTS])
    above("br-lan0", "br-lan0.40", "bridge", "10.7.0.1/24", "fd07::1/64")
    above("br-lan0", "vlan41", "bridge", "10.6.0.1/24", "fd06::1/64")
    for value in "01":
        shown(value)
        assert heard_from(net, claims, (*links, "br-lan0.40", "vlan41")) == set(), value


def heard_from(net, claims, links):
    """Which of the gateway itself and an undeclared network get what a host says with addresses of the office."""
    found = set()
    for claimed, here, there in claims:
        family = socket.AF_INET6 if ":" in claimed else socket.AF_INET
        with net.socket("gate", family, socket.SOCK_DGRAM) as server, Sniffer(net, "mgmt") as heard:
            server.bind((here, 53))
            for link in links:
                send(net, "liar", [udp(claimed, here, 7777, 53), udp(claimed, there, 7777, 53)], link)
            found |= {("mgmt", claimed) for source, _protocol in heard.sources(SOON) if str(source) == claimed}
            found |= {("gate", claimed) for _ready in select.select([server], [], [], 0)[0]}
    return found


def test_a_wan_above_a_bridge_is_a_wan_beside_docker(gate, net):
    """The bridge below it has no address and no other link above, so that what prerouting sees there is the WAN's."""
    sh("ip addr flush dev wan0; ip link add br0 type bridge; ip link set wan0 master br0; ip link set br0 up")
    above("br0", "w2", "passthru", GATE4 + "/24", GATE6 + "/64")
    sh("ip addr add 10.99.0.2/24 dev w2")
    sh("; ".join("ip " + line for line in default(WAN4, WAN6, "replace")))
    net.nodes["wan"].sh("ip neigh flush all; ip addr add 10.99.0.1/24 dev up0")
    net.nodes["wan"].sh(
        "ip route replace 192.168.0.0/16 via {0}; ip -6 route replace fd00::/8 via {1}".format(GATE4, GATE6)
    )
    shown(1)
    net._awake("wan", GATE4, GATE6)
    forwards = [
        {"name": "web4", "port": ["443"], "to": [OFFICE4], "protocol": ["tcp"]},
        {"name": "web6", "port": ["443"], "to": [OFFICE6], "protocol": ["tcp"]},
    ]
    done = gate.apply(wans=[{"interface": "w2"}], lans=[OFFICE], port_forwards=forwards, ipv6="masquerade")
    (told,) = [each for each in done.remarks if "above the bridge" in each]
    assert "unless rp_filter is 0 there" in told
    for value in "01":
        shown(value)
        assert net.tcp("office", "wan", WAN4) == GATE4
        assert net.tcp("office", "wan", WAN6) == GATE6
        for asked in (GATE4, GATE6, "10.99.0.2"):
            with Servers(net, "tcp", ("gate", 443), ("office", 443)) as servers:
                assert servers.asked("wan", asked, 443).node == "office", (value, asked)
        # Its own address is there, private or not; those of other links are not.
        assert net.tcp("wan", "gate", GATE4, 8080) == WAN4
        assert net.tcp("wan", "gate", "10.99.0.2", 8080) == "10.99.0.1"
        closed(net, "wan", "gate", "192.168.1.1", "fd00:1::1")
        closed(net, "wan", "office", OFFICE4, OFFICE6)


#: A machine of the office.
MACHINE4, MACHINE6 = "192.168.1.50", "fd00:1::50"


def machine(net, bridge="br-lan0", own=(MACHINE4 + "/24", MACHINE6 + "/64"), ways=("192.168.1.1", "fd00:1::1")):
    """As Proxmox wires a container with a firewall, at a bridge of its own, joined to another one."""
    sh(
        "ip link add fwbr100i0 type bridge; ip link add fwln100i0 type veth peer name fwpr100p0; "
        "ip link set fwln100i0 master fwbr100i0 up; ip link set fwpr100p0 master {0} up; "
        # As systemd and Proxmox do, or the kernel would answer there for addresses of this host.
        "echo 2 > /proc/sys/net/ipv4/conf/fwbr100i0/rp_filter; "
        "echo 1 > /proc/sys/net/ipv6/conf/fwbr100i0/disable_ipv6; "
        "ip link set fwbr100i0 up".format(bridge)
    )
    net._node("machine")
    sh("ip link add veth100i0 type veth peer name up0 netns {0}".format(net.nodes["machine"].path))
    sh("ip link set veth100i0 master fwbr100i0 up")
    net.nodes["machine"].ip_batch(*addressed("up0", *own), *default(*ways))
    net._awake("machine", *ways)


def tracked_apart(gate):
    """Proxmox' manual asks for that where machines with a firewall are translated."""
    chain = 'type filter hook prerouting priority -300; iifname "fwbr*" ct zone set 1;'
    if gate.programs == "nft":
        sh("nft 'table inet pve {{ chain zone {{ {0} }}; }}'".format(chain))
        return
    for family in ("ip", "ip6"):
        sh("{0} -t raw -I PREROUTING -i fwbr+ -j CT --zone 1".format(gate.tool(family)))


def beside_a_machine(net):
    """The office at a bridge, with its options, and an undeclared network; its addresses."""
    bridged(net, "lan0", ("192.168.1.1/24", "fd00:1::1/64"), "nas", (NAS4 + "/24", NAS6 + "/64"))
    # Ports that come later do not change it.
    sh("ip link set br-lan0 address 02:00:00:00:01:01")
    net.nodes["nas"].ip_batch("neigh flush all")
    net.nodes["office"].ip_batch("neigh flush all")
    net._awake("office", "192.168.1.1", "fd00:1::1")
    forward = {"name": "web", "port": ["8443"], "to": [MACHINE4], "hairpin": True}
    lans = [dict(OFFICE, interfaces=["br-lan0"], reaches=["guests"]), GUESTS]
    return {"wans": [{"interface": "wan0"}], "lans": lans, "port_forwards": [forward]}, mgmt(net)


def test_a_machine_behind_the_bridge_of_its_firewall_is_a_host_of_its_lan(gate, net):
    """One that is started after the run, too. Its frames are first shown as those of an undeclared link."""
    options, _there = beside_a_machine(net)
    gate.apply(**options)
    machine(net)
    assert net.ping("machine", "192.168.1.1") and net.ping("machine", "fd00:1::1")
    done = gate.apply(**options)
    assert not done.changed
    (told,) = [each for each in done.remarks if "conntrack zone" in each]
    assert "office may be at fwbr*, which a veth pair joins to br-lan0" in told
    tracked_apart(gate)
    for ours, gateway, outer, outside in (
        (MACHINE4, "192.168.1.1", GATE4, WAN4),
        (MACHINE6, "fd00:1::1", GATE6, WAN6),
    ):
        guest = CLIENTS["guest"][1 + (":" in ours)]
        assert net.tcp("machine", "wan", outside) == outer
        assert net.tcp("machine", "guest", guest) == ours
        assert net.tcp("machine", "gate", gateway) == ours
        assert net.tcp("gate", "machine", ours) == gateway
        assert net.tcp("office", "machine", ours) == (OFFICE6 if ":" in ours else OFFICE4)
    with Servers(net, "tcp", ("gate", 8443), ("machine", 8443)) as servers:
        for client, seen in (("wan", WAN4), ("office", GATE4)):
            assert servers.asked(client, GATE4, 8443)[:3] == ("machine", 8443, seen)


def test_a_machine_behind_that_bridge_speaks_for_hosts_of_its_lan_only(gate, net):
    """To the bridge of the LAN, and to that bridge itself, which no route names."""
    options, there = beside_a_machine(net)
    machine(net)
    # Or the kernel itself would drop what the bridge is to route.
    for switch in ("ipv4/conf/fwbr100i0/rp_filter", "ipv6/conf/fwbr100i0/disable_ipv6"):
        sh("echo 0 > /proc/sys/net/" + switch)
    gate.apply(**options)
    ours, guest = (MACHINE4, MACHINE6), CLIENTS["guest"][1:]
    strange = [("10.66.6.6", "fd66::6"), guest, there, (GATE4, GATE6), (WAN4, WAN6)]
    targets = {"wan": (WAN4, WAN6), "mgmt": there, "guest": guest}
    with contextlib.ExitStack() as stack:
        heard = {node: stack.enter_context(Sniffer(net, node)) for node in targets}
        server = stack.enter_context(net.socket("gate", socket.AF_INET, socket.SOCK_DGRAM))
        server.bind(("192.168.1.1", 53))
        for link, sources in (("br-lan0", strange), ("fwbr100i0", [*strange, ours, (OFFICE4, OFFICE6)])):
            pairs = [
                pair for source in sources for target in targets.values() for pair in zip(source, target, strict=True)
            ]
            send(net, "machine", [udp(*pair) for pair in pairs], link)
        send(net, "machine", [udp(OFFICE4, "192.168.1.1", 7777, 53)], "fwbr100i0")
        time.sleep(SOON)
        assert not select.select([server], [], [], 0)[0]
        for node, sniffer in heard.items():
            assert [source for source, protocol in sniffer.sources(0) if protocol == 17] == [], node
    # In its own LAN, they hear of the guests from the gateway alone.
    assert hears(net, "machine", "nas", [udp(MACHINE4, NAS4), udp(guest[0], NAS4), udp(guest[1], NAS6)]) == [0]


OUTER4, OUTER6 = "203.0.113.60", "2001:db8:ff::60"


def a_bridge_of_a_wan(net):
    """In place of wan0, with a host beside the router."""
    bridged(net, "wan0", (GATE4 + "/24", GATE6 + "/64"), "vm", (VM4 + "/24", VM6 + "/64"))
    # Ports that come later do not change it.
    sh("ip link set br-wan0 address 02:00:00:00:01:01; " + "; ".join("ip " + each for each in _to_the_wan()))
    for node in ("wan", "vm"):
        net.nodes[node].ip_batch("neigh flush all", *(default(GATE4, GATE6) if node == "vm" else ()))
    net._awake("wan", GATE4, GATE6)


@pytest.mark.parametrize("zone", [True, False], ids=["zone", "no zone"])
@pytest.mark.parametrize("lan_bridge", [False, True], ids=["", "LAN at a bridge"])
def test_a_machine_behind_such_a_bridge_at_a_wan(gate, net, zone, lan_bridge):
    """This host and LANs speak to it as to any other host at the WAN's bridge, translated or not."""
    lan = OFFICE
    if lan_bridge:
        bridged(net, "lan0", ("192.168.1.1/24", "fd00:1::1/64"), "nas", (NAS4 + "/24", NAS6 + "/64"))
        lan = dict(OFFICE, interfaces=["br-lan0"])
    a_bridge_of_a_wan(net)
    machine(net, "br-wan0", (OUTER4 + "/24", OUTER6 + "/64"), (GATE4, GATE6))
    if zone:
        tracked_apart(gate)
    exempt = {"source": ["office"], "destination": ["203.0.113.0/24", "2001:db8:ff::/64"], "action": "exempt"}
    for nat, seen in (
        ({}, (GATE4, GATE6)),
        ({"nat": [dict(exempt, name="plain"), {"name": "rest"}]}, (OFFICE4, OFFICE6)),
    ):
        gate.apply(wans=[{"interface": "br-wan0"}], lans=[lan], **nat)
        for node, ends in (("vm", (VM4, VM6)), ("machine", (OUTER4, OUTER6))):
            assert [net.tcp("gate", node, each) for each in ends] == [GATE4, GATE6], node
            assert [net.tcp("office", node, each) for each in ends] == list(seen), node
    closed(net, "machine", "office", OFFICE4, OFFICE6)


def _to_the_wan():
    return default(WAN4, WAN6, "replace")


def test_a_machine_behind_such_a_bridge_at_one_that_nobody_declares(gate, net):
    """This host itself speaks to it; what nobody declares is left alone."""
    sh(
        "ip link add vmbr5 type bridge; "
        + "; ".join("ip " + each for each in addressed("vmbr5", "10.5.5.1/24", "2001:db8:5::1/64"))
    )
    shown(1)
    machine(net, "vmbr5", ("10.5.5.5/24", "2001:db8:5::5/64"), ("10.5.5.1", "2001:db8:5::1"))
    tracked_apart(gate)
    gate.apply(wans=[{"interface": "wan0"}], lans=[OFFICE])
    assert [net.tcp("gate", "machine", each) for each in ("10.5.5.5", "2001:db8:5::5")] == ["10.5.5.1", "2001:db8:5::1"]
    closed(net, "machine", "office", OFFICE4, OFFICE6)


def test_another_instance_lets_this_host_speak_to_such_a_machine(gate, net):
    """So does a network that the LAN has got since the run."""
    options, _there = beside_a_machine(net)
    machine(net)
    tracked_apart(gate)
    gate.apply(wans=options["wans"], lans=[{"name": "office", "interfaces": ["br-lan0"]}], ipv6="route")
    gate.apply(instance="two", wans=options["wans"], lans=[GUESTS])
    sh("ip addr add 2001:db8:9::1/64 dev br-lan0 nodad")
    net.nodes["machine"].sh("ip addr add 2001:db8:9::50/64 dev up0 nodad")
    for there, own in ((MACHINE4, "192.168.1.1"), (MACHINE6, "fd00:1::1"), ("2001:db8:9::50", "2001:db8:9::1")):
        assert net.tcp("gate", "machine", there) == own


def test_a_rate_holds_for_a_machine_behind_such_a_bridge_without_a_zone(gate, net):
    """There, its flows have begun before they reach the LAN's bridge."""
    options, _there = beside_a_machine(net)
    machine(net)
    nat = [{"name": "plain", "source": ["office"], "destination": ["203.0.113.0/24"], "action": "exempt"}]
    slow = {"name": "slow", "source": ["office"], "rate": "2/minute"}
    lans = [dict(OFFICE, interfaces=["br-lan0"])]
    gate.apply(wans=options["wans"], lans=lans, nat=[*nat, {"name": "rest"}], outbound=[slow])
    with Sniffer(net) as outside:
        send(net, "machine", [udp(MACHINE4, WAN4, 5000 + turn, 7000 + turn) for turn in range(40)], "br-lan0")
        assert 1 <= [str(source) for source, _protocol in outside.sources(SOON)].count(MACHINE4) <= 6


def test_what_began_under_a_rate_ends_with_its_rollback(gate, net):
    options, _there = beside_a_machine(net)
    machine(net)
    tracked_apart(gate)
    base = {"wans": options["wans"], "lans": [dict(OFFICE, interfaces=["br-lan0"])]}
    none = {"name": "none", "protocol": ["tcp"], "port": ["2525"], "action": "reject"}
    gate.apply(outbound=[none], **base)
    few = {"name": "few", "protocol": ["tcp"], "port": ["2525"], "rate": "60/minute"}
    gate.apply(confirmation=WAITS, outbound=[few, none], **base)
    with connected(net, "office", "wan", WAN4, 2525) as ends:
        assert speaks(ends)
        assert rollback.finish("default", "token", False, gate.host).changed
        wait_until(lambda: not gate.host.exists("/run/ipmasq/default.forget"), "nothing was forgotten")
        for each in ends:
            each.settimeout(0.5)
        assert not speaks(ends)


def test_a_lan_of_another_instance_answers_such_a_machine(gate, net):
    options, _there = beside_a_machine(net)
    machine(net)
    tracked_apart(gate)
    two = {"instance": "two", "wans": options["wans"], "lans": [GUESTS]}
    own = {"wans": options["wans"], "lans": [dict(OFFICE, interfaces=["br-lan0"], reaches=["two/guests"])]}
    for each in (two, own, two):
        gate.apply(**each)
    assert [net.tcp("machine", "guest", each) for each in CLIENTS["guest"][1:]] == [MACHINE4, MACHINE6]
