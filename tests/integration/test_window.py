# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Between old rules and new, and while somebody else loads theirs: nothing leaves untranslated, nothing comes in.

``IPMASQ_CHANGES=100`` makes more rounds of each.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pathlib
import re
import select
import signal
import socket
import struct
import subprocess
import time

import pytest
from helpers import GUESTS, OFFICE, TWO_LANS, wire
from sandbox import sh
from test_undeclared import closed
from topology import CLIENTS, GATE6, SECOND4, WAN4, WAN6, udp
from unhurried import wait_until

from ansible_collections.ipmasq.linux.plugins.module_utils._rollback import rollback

ROUNDS = max(1, int(os.environ.get("IPMASQ_CHANGES", "30")) // 10)
OFFICE4, GUEST4 = CLIENTS["office"][1], CLIENTS["guest"][1]
#: A network that comes and goes, and a host in it.
INNER, INNER4 = "192.168.5.0/24", "192.168.5.10"
INNER_6, INNER6 = "fd00:5::/64", "fd00:5::10"
WAITS = rollback.Confirmation(3600, "token", "14:05:30")
#: Multicast routing has rules of its own.
SHUT_BY = "ip rule; ip -6 rule; ip mrule; ip -6 mrule"
SO_RCVBUFFORCE, SO_ATTACH_FILTER = 33, 26


def family_of(address: str) -> int:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def four(source: str, target: str) -> list[bytes]:
    """One packet for each port; UDP needs no checksum in IPv4, and the kernel makes that of the header."""
    head = struct.pack("!BBHHHBBH", 0x45, 0, 29, 1, 0, 64, 17, 0) + socket.inet_aton(source) + socket.inet_aton(target)
    return [head + struct.pack("!HHHH", port, 9999, 9, 0) + b"x" for port in range(1024, 65000)]


def six(source: str, target: str) -> list[bytes]:
    """Fewer, because each has a checksum."""
    return [udp(source, target, port, 9999) for port in range(1024, 21024)]


@contextlib.contextmanager
def flood(net, node: str, source: str, target: str):
    """New flows, some thousand a second, from a process of its own; gives back nothing."""
    packets = six(source, target) if ":" in target else four(source, target)
    raw = net.socket(node, family_of(target), socket.SOCK_RAW, socket.IPPROTO_RAW)
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGTERM, lambda *_args: os._exit(0))
        for number in range(1 << 30):
            with contextlib.suppress(OSError):
                raw.sendto(packets[number % len(packets)], (target, 0))
            if number % 20 == 0:
                time.sleep(0.004)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGTERM)
        os.waitpid(pid, 0)
        raw.close()


def is_discovery(data: bytes, proto: int) -> bool:
    """Neighbours of IPv6 ask for each other by packets of IPv6 itself."""
    return proto == 0x86DD and data[6] == socket.IPPROTO_ICMPV6


class Counter:
    """How many packets from this address come in at a node; the kernel sorts them out, so that none is missed."""

    def __init__(self, net, node: str, source: str) -> None:
        self.socket = net.socket(node, socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0003))
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
        self.source = socket.inet_pton(family_of(source), source)
        # The filter compares one word, the last one of the address.
        self.proto, end = (0x86DD, 24) if ":" in source else (0x0800, 16)
        self.place = slice(end - len(self.source), end)
        wanted = struct.unpack("!I", self.source[-4:])[0]
        code = [(0x20, 0, 0, end - 4), (0x15, 0, 1, wanted), (0x6, 0, 0, 0xFFFF), (0x6, 0, 0, 0)]
        text = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *each) for each in code))
        self.socket.setsockopt(
            socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HL", len(code), ctypes.addressof(text))
        )
        self.count()

    def count(self, wait: float = 0.05) -> int:
        time.sleep(wait)
        found = 0
        while select.select([self.socket], [], [], 0)[0]:
            data, (_name, proto, kind, _hatype, _addr) = self.socket.recvfrom(64)
            mine = proto == self.proto and data[self.place] == self.source and not is_discovery(data, proto)
            found += mine and kind != socket.PACKET_OUTGOING
        return found


def with_and_without(net, network: str, host: str) -> tuple:
    """A network on the LAN's link with this host, and the gateway's options without it and with it."""
    net.nodes["office"].sh(
        "ip addr add {0}/{1} dev up0{2}".format(host, network.split("/")[1], " nodad" * (":" in host))
    )
    sh("ip route add {0} dev lan0".format(network))
    lans = [OFFICE, dict(OFFICE, networks=[*OFFICE["networks"], network])]
    return tuple({"wans": [{"interface": "wan0"}], "lans": [lan, GUESTS]} for lan in lans)


def test_networks_come_and_go_while_connections_begin(gate, net):
    """iptables commits a table at a time, and each order of them leaks in one direction."""
    small, big = with_and_without(net, INNER, INNER4)
    gate.apply(**small)
    private, through = Counter(net, "wan", INNER4), Counter(net, "wan", "203.0.113.2")
    with flood(net, "office", INNER4, WAN4):
        for _round in range(ROUNDS):
            gate.apply(**big)
            assert private.count() == 0
            assert gate.host.boot().returncode == 0
            assert private.count() == 0
            gate.apply(**small)
            assert private.count() == 0
    assert through.count() > 0, "nothing came through, so nothing could leak"
    assert "HOLD" not in gate.rules()


def test_networks_of_ipv6_come_and_go_while_connections_begin(gate, net):
    """ip6tables-restore is a process of its own, and exchanges its tables like that of IPv4."""
    small, big = with_and_without(net, INNER_6, INNER6)
    gate.apply(**small)
    private, through = Counter(net, "wan", INNER6), Counter(net, "wan", GATE6)
    with flood(net, "office", INNER6, WAN6):
        for _round in range(ROUNDS):
            gate.apply(**big)
            assert private.count() == 0
            assert gate.host.boot().returncode == 0
            assert private.count() == 0
            gate.apply(**small)
            assert private.count() == 0
            gate.apply(confirmation=WAITS, **big)
            assert private.count() == 0
            assert rollback.finish("default", "token", False, gate.host).changed
            assert private.count() == 0
    assert through.count() > 0, "nothing came through, so nothing could leak"


def test_networks_go_and_come_by_a_rollback_while_connections_begin(gate, net):
    """The script that rolls a change back exchanges the tables in the other direction."""
    small, big = with_and_without(net, INNER, INNER4)
    private, through = Counter(net, "wan", INNER4), Counter(net, "wan", "203.0.113.2")
    for kept, tried in ((small, big), (big, small)):
        gate.apply(**kept)
        rows = gate.live()
        with flood(net, "office", INNER4, WAN4):
            for _round in range(ROUNDS):
                gate.apply(confirmation=WAITS, **tried)
                assert private.count() == 0
                assert rollback.finish("default", "token", False, gate.host).changed
                assert private.count() == 0
        assert gate.live() == rows
        # The shell in the background has to end before the next turn.
        wait_until(lambda: not gate.host.exists("/run/ipmasq/default.forget"), "nothing was forgotten")
    assert through.count() > 0, "nothing came through, so nothing could leak"
    assert "HOLD" not in gate.rules()


def reload(gate) -> None:
    """Exchange the rules for the same ones, again and again: as text, for which nft takes half as long as for the JSON
    of the same rules."""
    sh("conntrack -F 2> /dev/null")
    ours, text = gate.host.place("/etc/ipmasq/default.nft"), gate.host.place("/run/again.nft")
    sh("(echo 'table inet ipmasq; delete table inet ipmasq'; nft -s list table inet ipmasq) > {0}".format(text))
    assert sent_by("-j -f " + ours) == sent_by("-f " + text)
    sh("for n in $(seq 100); do nft -f {0} || exit 1; done".format(text))


def sent_by(arguments: str) -> list:
    """What nft tells the kernel to have: rules and sets. Chains, and the elements of a set, have no order."""
    told = sh("nft -c --debug=netlink " + arguments)
    return sorted("".join(sorted(re.split(r"(?=\telement)", line))) for line in told.splitlines())


@pytest.mark.parametrize("backend", ["nft"])
def test_rules_are_exchanged_with_what_their_sets_hold(gate, net):
    """In one transaction. Two networks in one set used to be a tree, which the kernel exchanges a little later."""
    gate.apply(**TWO_LANS)
    private, through = Counter(net, "wan", OFFICE4), Counter(net, "wan", "203.0.113.2")
    with flood(net, "office", OFFICE4, WAN4):
        for _round in range(ROUNDS):
            reload(gate)
            assert private.count() == 0
    assert through.count() > 0, "nothing came through, so nothing could leak"


MANY = [
    {"name": "f{0}".format(number), "port": [str(9999 + 16 * number)], "protocol": ["udp"], "to": [OFFICE4]}
    for number in range(80)
]
NAS4 = "192.168.1.11"
TWO_SERVERS = {"name": "farm", "port": ["9999"], "protocol": ["udp"], "to": [OFFICE4, NAS4]}
FORWARDS = {
    "alike": MANY,
    "apart": [dict(each, source=[WAN4, "198.18.{0}.0/24".format(number)]) for number, each in enumerate(MANY)],
    "in turn": [TWO_SERVERS],
    "by source": [dict(TWO_SERVERS, balance="source")],
    "range": [{"name": "range", "port": ["9990-10009"], "protocol": ["udp"], "to": [OFFICE4], "to_port": 19990}],
}


@pytest.mark.parametrize("backend", ["nft"])
@pytest.mark.parametrize("kind", FORWARDS)
def test_a_forwarded_port_is_never_the_gateways_own_meanwhile(gate, net, kind):
    """These have maps of ports or servers, whose elements are gone a moment before the old rules are."""
    net.nodes["office"].sh("ip addr add {0}/24 dev up0".format(NAS4))
    gate.apply(port_forwards=FORWARDS[kind], **TWO_LANS)
    with (
        net.socket("gate", socket.AF_INET, socket.SOCK_DGRAM) as own,
        net.socket("office", socket.AF_INET, socket.SOCK_DGRAM) as server,
        flood(net, "wan", WAN4, "203.0.113.2"),
    ):
        for listener, place in ((own, ("203.0.113.2", 9999)), (server, ("", 19999 if kind == "range" else 9999))):
            listener.bind(place)
            listener.setblocking(False)
        for _round in range(ROUNDS):
            reload(gate)
            assert not select.select([own], [], [], 0)[0]
        assert select.select([server], [], [], 1)[0], "nothing came through, so nothing could go astray"


@pytest.mark.parametrize("backend", ["nft"])
def test_a_client_of_a_pool_has_no_other_address_meanwhile(gate, net):
    sh("ip addr add 203.0.113.20/24 dev wan0; ip addr add 203.0.113.22/24 dev wan0")
    pool = {"name": "pool", "source": ["office"], "action": "snat", "to": ["203.0.113.20", "203.0.113.22"]}
    gate.apply(nat=[pool, {"name": "others"}], **TWO_LANS)
    wrong, right = Counter(net, "wan", "203.0.113.2"), Counter(net, "wan", "203.0.113.22")
    with flood(net, "office", OFFICE4, WAN4):
        for _round in range(ROUNDS):
            reload(gate)
            assert wrong.count() == 0
    assert right.count() > 0, "nothing came through, so nothing could go wrong"


def unreachable() -> int:
    """How many destinations the gateway has called unreachable."""
    names, values = [line.split() for line in sh("cat /proc/net/snmp").splitlines() if line.startswith("Icmp:")]
    return int(values[names.index("OutDestUnreachs")])


@pytest.mark.parametrize("backend", ["nft"])
def test_no_packet_of_a_lan_is_rejected_meanwhile(gate, net):
    """So many links have a map, whose elements are gone a moment before the old rules are."""
    more = [
        {"name": "floor{0}".format(number), "interfaces": ["lan{0}".format(number)], "networks": [network]}
        for number, network in enumerate(("10.5.0.0/24", "10.6.0.0/24", "10.7.0.0/24"), 5)
    ]
    gate.apply(wans=TWO_LANS["wans"], lans=[*TWO_LANS["lans"], *more])
    through, before = Counter(net, "wan", "203.0.113.2"), unreachable()
    with flood(net, "office", OFFICE4, WAN4):
        for _round in range(ROUNDS):
            reload(gate)
            assert through.count() > 0, "nothing came through, so nothing could be rejected"
    assert unreachable() == before


@pytest.mark.parametrize("backend", ["nft"])
@pytest.mark.parametrize("kind", ["alike", "apart"])
def test_no_client_inside_is_rejected_meanwhile_that_asks_a_forwarded_port(gate, net, kind):
    inside = [dict(each, hairpin=True) for each in MANY]
    for number, each in enumerate(inside if kind == "apart" else ()):
        each["source"] = [GUEST4, "198.18.{0}.0/24".format(number)]
    gate.apply(port_forwards=inside, **TWO_LANS)
    before = unreachable()
    with (
        net.socket("office", socket.AF_INET, socket.SOCK_DGRAM) as server,
        flood(net, "guest", GUEST4, "203.0.113.2"),
    ):
        server.bind(("", 9999))
        for _round in range(ROUNDS):
            reload(gate)
        assert select.select([server], [], [], 1)[0], "nothing came through, so nothing could be rejected"
    assert unreachable() == before


class Intruder:
    """What knocks at a LAN host from the WAN, that knows the way, and what of it comes in."""

    def __init__(self, net) -> None:
        self.socket = net.socket("office", socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((OFFICE4, 9999))
        self.socket.setblocking(False)

    def came_in(self) -> int:
        found = 0
        while select.select([self.socket], [], [], 0)[0]:
            self.socket.recv(64)
            found += 1
        return found


FORWARD_ALL = "echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding"
FLUSH = {
    "nft": "nft flush ruleset",
    "iptables-nft": "nft flush ruleset",
    "iptables-legacy": "for t in raw nat mangle filter; do iptables-legacy -t $t -F; ip6tables-legacy -t $t -F; done",
}


def test_a_boot_that_fails_stays_closed_whoever_turns_forwarding_on(gate, net):
    gate.apply(**TWO_LANS)
    assert net.tcp("office", "wan", WAN4) == "203.0.113.2"
    load = gate.host.read("/etc/ipmasq/default.load")
    gate.host.put("/etc/ipmasq/default.load", "false\n")
    sh(FLUSH[gate.programs])
    assert gate.host.boot().returncode == 1
    sh(FORWARD_ALL)
    private, intruder = Counter(net, "wan", OFFICE4), Intruder(net)
    assert net.tcp("office", "wan", WAN4, timeout=0.3) == "timeout"
    assert net.tcp("office", "wan", "2001:db8:ff::1", timeout=0.3).startswith(("timeout", "refused"))
    with flood(net, "office", OFFICE4, WAN4), flood(net, "wan", WAN4, OFFICE4):
        time.sleep(0.2)
    assert (private.count(), intruder.came_in()) == (0, 0)
    # The host itself is still there, and a run of the role opens it again.
    assert net.ping("office", "192.168.1.1") and net.ping("wan", "203.0.113.2")
    assert "~ wan0: shut because its rules could not be loaded (see journalctl -t ipmasq)" in gate.info()["drift"]
    gate.apply(**TWO_LANS)
    assert "blackhole" not in sh(SHUT_BY)
    assert net.tcp("office", "wan", WAN4) == "203.0.113.2"
    assert load == gate.host.read("/etc/ipmasq/default.load")


#: clatd puts a rule of its own before that of the table local.
BY_CLATD = "ip -6 rule add pref 1 table local; ip -6 rule del pref 0; ip -6 rule add pref 0 fwmark 49575 table 49575"


@pytest.mark.parametrize("before", ["true", BY_CLATD], ids=["alone", "clatd"])
def test_a_boot_that_fails_stays_closed_for_ipv6(gate, net, before):
    office6 = CLIENTS["office"][2]
    sh(before)
    gate.apply(**TWO_LANS)
    gate.host.put("/etc/ipmasq/default.load", "false\n")
    sh(FLUSH[gate.programs])
    assert gate.host.boot().returncode == 1
    sh(FORWARD_ALL)
    private = Counter(net, "wan", office6)
    with (
        net.socket("office", socket.AF_INET6, socket.SOCK_DGRAM) as inside,
        flood(net, "office", office6, WAN6),
        flood(net, "wan", WAN6, office6),
    ):
        inside.bind((office6, 9999))
        inside.setblocking(False)
        time.sleep(0.2)
        closed(net, "wan", "office", office6)
        assert (private.count(), select.select([inside], [], [], 0)[0]) == (0, [])
        assert net.ping("office", "fd00:1::1") and net.ping("wan", GATE6), "the host itself is still there"
        # Nothing else stops them.
        sh("for link in wan0 lan0; do ip -6 rule del pref 6 iif $link blackhole; done")
        time.sleep(0.2)
        assert private.count() > 0 and select.select([inside], [], [], 1)[0]


@pytest.mark.parametrize("how", ["a boot that fails", "a service that flushes"])
def test_a_way_out_that_is_no_wan_is_shut_too(gate, net, how):
    """The link below a kill switch; wan1 stands for the tunnel. The neighbour knows the way to the LAN."""
    net.wire_second_wan()
    gate.apply(wans=[{"interface": "wan1"}], lans=[OFFICE])
    intruder = Intruder(net)
    with flood(net, "wan", WAN4, OFFICE4):
        time.sleep(0.2)
    assert intruder.came_in() == 0
    load = gate.host.read("/etc/ipmasq/default.load")
    if how == "a boot that fails":
        gate.host.put("/etc/ipmasq/default.load", "false\n")
    assert gate.host.boot(*(["close"] if how == "a service that flushes" else [])).returncode == (how[2] == "b")
    sh(FLUSH[gate.programs] + "; " + FORWARD_ALL)
    with flood(net, "wan", WAN4, OFFICE4):
        time.sleep(0.2)
    assert intruder.came_in() == 0
    # Nothing else stops it.
    sh("ip rule del pref 6 iif wan0 blackhole")
    with flood(net, "wan", WAN4, OFFICE4):
        time.sleep(0.2)
    assert intruder.came_in() > 0
    gate.host.put("/etc/ipmasq/default.load", load)
    if how == "a boot that fails":
        assert (
            "~ wan0: opened, after the loader had shut it"
            in gate.apply(wans=[{"interface": "wan1"}], lans=[OFFICE]).to_dict()["differences"]
        )
    else:
        assert gate.host.boot("reopen").returncode == 0
    assert "blackhole" not in sh(SHUT_BY)


def knocked(net, intruder: Intruder) -> int:
    """How many packets for the office come in from the WAN."""
    with flood(net, "wan", WAN4, OFFICE4):
        time.sleep(0.2)
    return intruder.came_in()


@pytest.mark.parametrize("how", ["a run", "a removal"])
def test_a_way_out_that_two_instances_close_is_opened_with_the_last_of_them(gate, net, how):
    """Two tenants, each with its tunnel; wan0 below both has the default route."""
    wire(tun1="10.201.0.2/24", tun2="10.202.0.2/24")
    one = {"wans": [{"interface": "tun1"}], "lans": [OFFICE]}
    two = {"wans": [{"interface": "tun2"}], "lans": [GUESTS], "instance": "two"}
    for each in (one, two, one):
        gate.apply(**each)
    assert all("wan0" in gate.host.read("/etc/ipmasq/{0}.shut".format(name)).split() for name in ("default", "two"))
    gate.host.put("/etc/ipmasq/default.load", "false\n")
    sh(FLUSH[gate.programs])
    assert gate.host.boot().returncode == 1
    sh(FORWARD_ALL)
    intruder = Intruder(net)
    told = "wan0: stays shut until instance default is applied, whose rules the loader could not load"
    if how == "a run":
        assert told in gate.apply(**two).warnings and told in gate.apply(**two).warnings
        assert gate.info("two")["drift"] == ["~ " + told]
    else:
        gate.absent("two")
    sh(FORWARD_ALL)
    assert knocked(net, intruder) == 0
    assert {line.split()[4] for line in sh("ip rule").splitlines() if "blackhole" in line} == {"tun1", "lan0", "wan0"}
    # Nothing else stops it. The loader has shut it for each of the two.
    sh("while ip rule del pref 6 iif wan0 blackhole; do :; done 2> /dev/null")
    assert knocked(net, intruder) > 0
    sh("ip rule add pref 6 iif wan0 blackhole protocol kernel")
    done = gate.apply(**one)
    assert "~ wan0: opened, after the loader had shut it" in done.to_dict()["differences"] and told not in done.warnings
    assert "blackhole" not in sh(SHUT_BY)
    assert knocked(net, intruder) == 0


@pytest.mark.parametrize("how", ["a default route of the one that is removed", "a WAN of both"])
def test_a_removal_leaves_a_wan_shut_that_is_another_instances(gate, net, how):
    """The rules of that one are not there. The removed one may have closed it as a link with a default route."""
    wire(tun2="10.202.0.2/24")
    wan = "tun2" if how[2] == "d" else "wan0"
    gate.apply(instance="two", wans=[{"interface": wan}], lans=[GUESTS])
    gate.apply(wans=[{"interface": "wan0"}], lans=[OFFICE])
    assert "wan0" in gate.host.read("/etc/ipmasq/two.shut").split()
    gate.host.put("/etc/ipmasq/default.load", "false\n")
    sh(FLUSH[gate.programs])
    assert gate.host.boot().returncode == 1
    intruder = Intruder(net)
    gate.absent("two")
    sh(FORWARD_ALL)
    assert knocked(net, intruder) == 0
    assert "~ wan0: shut because its rules could not be loaded (see journalctl -t ipmasq)" in gate.info()["drift"]
    # Nothing else stops it.
    sh("while ip rule del pref 6 iif wan0 blackhole; do :; done 2> /dev/null")
    assert knocked(net, intruder) > 0
    sh("ip rule add pref 6 iif wan0 blackhole protocol kernel")
    gate.apply(wans=[{"interface": "wan0"}], lans=[OFFICE])
    assert "blackhole" not in sh(SHUT_BY)
    assert net.tcp("office", "wan", WAN4) == "203.0.113.2" and knocked(net, intruder) == 0


def test_a_run_opens_its_wan_while_another_instance_is_shut(gate, net):
    """That one closes this WAN. The rules of this one keep its LAN closed, too."""
    wire(tun2="10.202.0.2/24")
    gate.apply(instance="two", wans=[{"interface": "tun2"}], lans=[OFFICE])
    gate.apply(wans=[{"interface": "wan0"}], lans=[GUESTS])
    gate.host.put("/etc/ipmasq/two.load", "false\n")
    sh(FLUSH[gate.programs])
    assert gate.host.boot().returncode == 1
    gate.apply(wans=[{"interface": "wan0"}], lans=[GUESTS])
    intruder = Intruder(net)
    sh(FORWARD_ALL)
    assert net.tcp("guest", "wan", WAN4) == "203.0.113.2" and knocked(net, intruder) == 0


@pytest.mark.parametrize("backend", ["nft"])
def test_a_link_that_another_instance_has_is_not_shut_by_this_one(gate, net):
    net.wire_second_wan()
    mine = {"wans": [{"interface": "wan1"}], "lans": [OFFICE]}

    def shut(**options) -> list:
        gate.apply(**mine, **options)
        assert not gate.apply(**mine, **options).changed
        return gate.host.read("/etc/ipmasq/default.shut").split()

    assert shut() == ["wan1", "lan0", "wan0"]
    gate.apply(instance="two", wans=[{"interface": "wan0"}], lans=[GUESTS])
    assert shut() == ["wan1", "lan0"]
    gate.absent("two")
    assert shut(undeclared="leave") == ["wan1", "lan0"]
    assert shut() == ["wan1", "lan0", "wan0"]


def test_the_link_of_a_shared_address_is_shut_and_opened_with_its_lan(gate, net):
    """VRRP's link has the hosts of the LAN behind it, too."""
    sh(
        "ip link add vrrp51 link lan0 address 00:00:5e:00:01:33 type macvlan; ip link set vrrp51 up; "
        "ip addr add 192.168.1.254/32 dev vrrp51; echo 1 > /proc/sys/net/ipv4/conf/lan0/arp_ignore; "
        "for link in all vrrp51; do echo 0 > /proc/sys/net/ipv4/conf/$link/rp_filter; done"
    )
    gate.apply(**TWO_LANS)
    net.nodes["office"].sh("ip route replace default via 192.168.1.254")
    assert net.tcp("office", "wan", WAN4) == "203.0.113.2"
    gate.host.put("/etc/ipmasq/default.load", "false\n")
    sh(FLUSH[gate.programs])
    assert gate.host.boot().returncode == 1
    sh(FORWARD_ALL)
    private = Counter(net, "wan", OFFICE4)
    with flood(net, "office", OFFICE4, WAN4):
        time.sleep(0.2)
    assert private.count() == 0
    assert net.ping("office", "192.168.1.254")
    # Nothing else stops it.
    sh("ip rule del pref 6 iif vrrp51 blackhole")
    with flood(net, "office", OFFICE4, WAN4):
        time.sleep(0.2)
    assert private.count() > 0
    # A run opens it again, even if the link has gone since, and remembers it.
    sh("ip link del vrrp51")
    gate.apply(**TWO_LANS)
    assert "blackhole" not in sh(SHUT_BY)
    assert gate.host.read("/etc/ipmasq/default.shut").split() == ["wan0", "lan0", "vrrp51", "guest0"]


def test_the_link_of_a_shared_address_is_a_lans_in_gateway_info(nft, net):
    sh("ip link add vrrp51 link lan0 address 00:00:5e:00:01:33 type macvlan")
    nft.apply(**TWO_LANS)
    found = nft.info()
    roles = {each["name"]: each["role"] for each in found["interfaces"]}
    assert (roles["vrrp51"], found["drift"]) == ("lan", [])
    # When it is away, nothing has drifted.
    sh("ip link del vrrp51")
    assert nft.info()["drift"] == []


@pytest.mark.parametrize("opened_by", ["a run", "the loader"])
def test_a_link_that_appears_later_is_shut_by_its_pattern(gate, net, opened_by):
    """A modem dials once the network is there, after the loader."""
    gate.apply(**dict(TWO_LANS, wans=[{"interface": "wan*"}]))
    load = gate.host.read("/etc/ipmasq/default.load")
    gate.host.put("/etc/ipmasq/default.load", "false\n")
    assert gate.host.boot().returncode == 1
    net.wire_second_wan()
    sh(FORWARD_ALL)
    look_up = ["ip", "route", "get", OFFICE4, "from", "198.51.100.9", "iif", "wan1"]
    shut = [subprocess.run(look_up, capture_output=True, text=True, check=False).stderr]
    assert net.ping("isp", SECOND4), "the host itself is still there"
    gate.host.put("/etc/ipmasq/default.load", load)
    if opened_by == "a run":
        assert gate.apply(**dict(TWO_LANS, wans=[{"interface": "wan*"}])).changed
    else:
        assert gate.host.boot().returncode == 0
    assert "blackhole" not in sh(SHUT_BY)
    shut.append(subprocess.run(look_up, capture_output=True, text=True, check=False).stderr)
    assert "Invalid argument" in shut[0] and "Invalid argument" not in shut[1]


@pytest.mark.parametrize(
    ("text", "opened_by"),
    [(None, "a run"), ("la", "a removal"), ("lan1\nwan9\n", "the loader")],
    ids=["gone", "cut", "altered"],
)
def test_a_list_of_links_that_is_damaged_itself_shuts_every_link(gate, net, text, opened_by):
    gate.apply(**TWO_LANS)
    path = pathlib.Path(gate.host.place("/etc/ipmasq/default.shut"))
    written = path.read_text()
    path.unlink()
    if text:
        path.write_text(text)
    sh(FLUSH[gate.programs])
    assert gate.host.boot().returncode == 1
    sh(FORWARD_ALL)
    private, intruder = Counter(net, "wan", OFFICE4), Intruder(net)
    with flood(net, "office", OFFICE4, WAN4), flood(net, "wan", WAN4, OFFICE4):
        time.sleep(0.2)
    assert (private.count(), intruder.came_in()) == (0, 0)
    assert net.ping("office", "192.168.1.1") and net.ping("wan", "203.0.113.2"), "the host itself is still there"
    assert any("~ every link: shut" in line for line in gate.info()["drift"])
    if opened_by == "a removal":
        gate.absent()
    elif opened_by == "the loader":
        path.write_text(written)
        assert gate.host.boot().returncode == 0
    else:
        assert "~ every link: opened, after the loader had shut it" in gate.apply(**TWO_LANS).to_dict()["differences"]
        assert not gate.apply(**TWO_LANS).changed and gate.info()["as_applied"]
    assert "blackhole" not in sh(SHUT_BY) and not gate.host.find("/run/ipmasq/*.unlisted")


@pytest.mark.parametrize("ending", ["load", "shut"])
def test_a_forwarding_item_opens_no_gateway(gate, net, ending):
    """Its rules are not loaded; the item turns forwarding on again, as any program may."""
    gate.apply(**TWO_LANS)
    gate.forwarding(ipv4=True, instance="router")
    path = pathlib.Path(gate.host.place("/etc/ipmasq/default." + ending))
    path.write_text(path.read_text()[:-3])
    sh(FLUSH[gate.programs])
    assert gate.host.boot().returncode == 1
    assert gate.forwarding(ipv4=True, instance="router").changed
    private, intruder = Counter(net, "wan", OFFICE4), Intruder(net)
    with flood(net, "office", OFFICE4, WAN4), flood(net, "wan", WAN4, OFFICE4):
        time.sleep(0.2)
    assert (private.count(), intruder.came_in()) == (0, 0)


def test_what_another_instance_keeps_shut_is_told_and_hinders_no_run(gate, net):
    """One has a pattern, so that links that come later are its own; the list of the other is damaged."""
    wans = [{"interface": "wan0"}]
    later = {"wans": wans, "lans": [{"name": "vpn", "interfaces": ["tun*"], "networks": ["192.168.9.0/24"]}]}
    branch = {"instance": "branch", "wans": wans, "lans": [OFFICE]}
    gate.apply(**later)
    gate.apply(**branch)
    path = pathlib.Path(gate.host.place("/etc/ipmasq/branch.shut"))
    path.write_text(path.read_text()[:3])
    sh(FLUSH[gate.programs])
    assert gate.host.boot().returncode == 1
    done = gate.apply(**later)
    assert done.changed and any("stays shut until instance branch is applied" in each for each in done.warnings)
    assert not gate.apply(**later).changed
    assert "~ every link: opened, after the loader had shut it" in gate.apply(**branch).to_dict()["differences"]
    assert not gate.host.find("/run/ipmasq/*.unlisted") and "blackhole" not in sh(SHUT_BY)
    assert gate.apply(**later).warnings == ()


def test_what_stayed_shut_is_opened_by_a_run_that_finds_nothing_else(gate, net):
    """A file was damaged and comes from a backup, and another program has turned forwarding on."""
    gate.apply(**TWO_LANS)
    load = gate.host.read("/etc/ipmasq/default.load")
    gate.host.put("/etc/ipmasq/default.load", load + "x\n")
    assert gate.host.boot().returncode == 1
    gate.host.put("/etc/ipmasq/default.load", load)
    sh(FORWARD_ALL)
    assert net.tcp("office", "wan", WAN4, timeout=0.3) == "timeout"
    done = gate.apply(**TWO_LANS)
    assert done.changed and "~ lan0: opened, after the loader had shut it" in done.to_dict()["differences"]
    assert net.tcp("office", "wan", WAN4) == "203.0.113.2"
    assert not gate.apply(**TWO_LANS).changed and gate.info()["as_applied"]


def test_a_service_that_flushes_and_loads_behind_a_closed_gateway(gate, net):
    """What its drop-in does: close, its own command, the loader."""
    gate.apply(**TWO_LANS)
    private, intruder = Counter(net, "wan", OFFICE4), Intruder(net)
    with flood(net, "office", OFFICE4, WAN4), flood(net, "wan", WAN4, OFFICE4):
        for _round in range(ROUNDS):
            assert gate.host.boot("close").returncode == 0
            # Docker's drop-in, or somebody's restart of ipmasq.service, comes in between.
            assert gate.host.boot("late").returncode == 0
            sh(FLUSH[gate.programs])
            time.sleep(0.05)
            assert gate.host.boot("reopen").returncode == 0
    assert (private.count(), intruder.came_in()) == (0, 0)
    assert "blackhole" not in sh(SHUT_BY)
    assert net.tcp("office", "wan", WAN4) == "203.0.113.2"
    # One that never comes back is opened by the next who may.
    assert gate.host.boot("close").returncode == 0
    assert gate.host.boot().returncode == 0
    assert "blackhole" in sh(SHUT_BY)
    assert gate.host.boot("reopen").returncode == 0
    assert gate.host.boot().returncode == 0
    assert "blackhole" not in sh(SHUT_BY)


def test_a_rollback_leaves_a_closed_gateway_closed(gate, net):
    gate.apply(**TWO_LANS)
    gate.host.put("/etc/ipmasq/default.load", "false\n")
    sh(FLUSH[gate.programs])
    assert gate.host.boot().returncode == 1
    closed = sh(SHUT_BY)
    assert closed.count("blackhole") == 12
    gate.apply(confirmation=rollback.Confirmation(3600, "token", "14:05:30"), **TWO_LANS)
    assert "blackhole" not in sh(SHUT_BY)
    rollback.finish("default", "token", False, gate.host)
    assert sorted(sh(SHUT_BY).splitlines()) == sorted(closed.splitlines())


@pytest.mark.parametrize("interfaces", [None, ["lan0", "wan0"]])
def test_a_loader_that_fails_turns_off_forwarding_of_single_links_too(gate, net, interfaces):
    """Where the global switch is off, the kernel does not pass another 0 on to the links."""
    sh("echo 0 > /proc/sys/net/ipv4/ip_forward")
    gate.item("masquerade", name="out", source=["192.168.1.0/24"], out_interface="wan0")
    gate.forwarding(ipv4=True, interfaces=interfaces)
    assert net.tcp("office", "wan", WAN4) == "203.0.113.2"
    load = gate.host.read("/etc/ipmasq/default.load")
    gate.host.put("/etc/ipmasq/default.load", "false\n")
    gate.host.boot("close")
    sh(FLUSH[gate.programs])
    assert gate.info()["forwarding_without_rules"]
    assert gate.host.boot("reopen").returncode == 1
    private = Counter(net, "wan", OFFICE4)
    with flood(net, "office", OFFICE4, WAN4):
        time.sleep(0.2)
    assert private.count() == 0
    gate.host.put("/etc/ipmasq/default.load", load)
    assert gate.host.boot().returncode == 0
    assert net.tcp("office", "wan", WAN4) == "203.0.113.2"
