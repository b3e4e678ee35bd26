# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Addresses that the gateway adds to its WAN, and timers of single items, with real packets."""

from __future__ import annotations

import fcntl
import json
import pathlib
import shutil
import socket
import struct
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from faults import end_timers
from helpers import TWO_LANS, wire
from sandbox import sh
from topology import CLIENTS, GATE4, GATE6, WAN4, WAN6, Servers

from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError
from ansible_collections.ipmasq.linux.plugins.module_utils._rollback import rollback

pytestmark = pytest.mark.skipif(not shutil.which("conntrack"), reason="conntrack is not installed")
OFFICE4 = CLIENTS["office"][1]
ADDED, ADDED6 = "203.0.113.9", "2001:db8:ff::9"
MAIL = {"name": "mail", "action": "static", "source": [OFFICE4], "to": [ADDED], "to_address": "add"}
REST = {"name": "rest"}
SIOCSIFADDR = 0x8916


def addresses(link="wan0"):
    (found,) = json.loads(sh("ip -j address show dev {0}".format(link)))
    return {info["local"] for info in found["addr_info"] if info["scope"] != "link"}


# --- Addresses -------------------------------------------------------------------------------------------------------


def test_an_added_address_answers_and_goes_with_its_item(gate, net):
    before = addresses()
    planned = gate.apply(check=True, **dict(TWO_LANS, nat=[MAIL, REST])).to_dict()
    assert "+ wan0: address 203.0.113.9/32" in planned["differences"]
    assert addresses() == before
    gate.apply(**dict(TWO_LANS, nat=[MAIL, REST]))
    assert addresses() == before | {ADDED}
    # ARP requests for it are answered; in both directions it belongs to the client.
    assert net.asks("tcp", "wan", "office", ADDED, 8080).peer == WAN4
    assert net.asks("udp", "office", "wan", WAN4, 5353).peer == ADDED
    assert net.asks("udp", "guest", "wan", WAN4, 5353).peer == GATE4
    assert not gate.apply(**dict(TWO_LANS, nat=[MAIL, REST])).changed
    assert gate.info()["drift"] == []
    assert gate.apply(**TWO_LANS).to_dict()["differences"].count("- wan0: address 203.0.113.9/32") == 1
    assert addresses() == before


def test_a_hairpin_knows_the_address_from_the_first_run_on(gate, net):
    web = {"name": "web", "port": ["8000"], "to": [OFFICE4], "hairpin": True}
    options = dict(TWO_LANS, nat=[MAIL, REST], port_forwards=[web])
    gate.apply(**options)
    assert not gate.apply(**options).changed


def test_an_address_of_ipv6_and_a_pool(gate, net):
    pool = {"name": "pool", "action": "snat", "to": ["203.0.113.16-203.0.113.17", ADDED6], "to_address": "add"}
    gate.apply(**dict(TWO_LANS, nat=[pool]))
    assert addresses() >= {"203.0.113.16", "203.0.113.17", ADDED6}
    assert net.asks("tcp", "office", "wan", WAN4, 8080).peer in ("203.0.113.16", "203.0.113.17")
    # Duplicate address detection first: a new IPv6 address does not answer in its first second (RFC 4862).
    sh("for second in 1 2 3 4 5 6; do ip -6 address show tentative | grep -q . || break; sleep 0.5; done")
    assert net.asks("tcp", "office", "wan", WAN6, 8080).peer == ADDED6
    gate.absent()
    assert not addresses() & {"203.0.113.16", "203.0.113.17", ADDED6}


def rewire(net, own, route):
    """The WAN's link comes back, as after a redial: udev runs our script before pppd or a DHCP client is done."""
    net.unwire_wan()
    sh("ip link add wan0 type veth peer name up0 netns {0}".format(net.nodes["wan"].path))
    words = "ip addr add {0}/24 dev up0; ip addr add {1}/64 dev up0 nodad; ip link set up0 up"
    net.nodes["wan"].sh(words.format(WAN4, WAN6))
    sh("ip link set wan0 up")
    return "ip addr add {0} dev wan0; {1}; ip addr add {2}/64 dev wan0 nodad".format(own, route, GATE6)


@pytest.mark.parametrize("route", ["via", "point to point"])
def test_nobody_speaks_from_an_added_address(gate, net, route):
    """Neither the LANs nor the gateway itself use it, in any order in which the WAN gets its addresses."""
    four = {"name": "mail", "action": "snat", "source": ["192.168.1.20"], "to": [ADDED], "to_address": "add"}
    six = dict(four, name="six", source=["fd00:1::20"], to=[ADDED6])
    options = dict(TWO_LANS, ipv6="masquerade", nat=[four, six, REST])
    gate.apply(**options)
    for again in (False, True):
        if again:
            peer = route != "via"
            words = "ip route replace default via {0}"
            words = "ip route add {0} dev wan0; ip route replace default dev wan0" if peer else words
            rest = rewire(net, GATE4 + ("/32" if peer else "/24"), words.format(WAN4))
            sh("sh {0}/etc/ipmasq/default.links".format(gate.host.root))
            sh(rest)
        sh("for second in 1 2 3 4 5 6; do ip -6 address show tentative | grep -q . || break; sleep 0.5; done")
        assert net.asks("tcp", "office", "wan", WAN4, 8080).peer == GATE4
        assert net.asks("tcp", "gate", "wan", WAN4, 8080).peer == GATE4
        assert net.asks("tcp", "office", "wan", WAN6, 8080).peer == GATE6
        assert net.asks("tcp", "gate", "wan", WAN6, 8080).peer == GATE6
        # They still answer, and a missing one is drift.
        assert net.ping("wan", ADDED) and net.ping("wan", ADDED6)
        assert [line for line in gate.info()["drift"] if "address" in line] == []
    sh("ip address del {0}/32 dev wan0; ip address del {1}/128 dev wan0".format(ADDED, ADDED6))
    missing = ["- wan0: address {0}/32".format(ADDED), "- wan0: address {0}/128".format(ADDED6)]
    assert [line for line in gate.info()["drift"] if "address" in line] == missing


def test_an_address_of_two_instances_stays_until_the_second_goes(gate, net):
    before = addresses()
    for name, lan in (("default", TWO_LANS["lans"][0]), ("two", TWO_LANS["lans"][1])):
        item = {"name": "s", "action": "snat", "to": [ADDED], "to_address": "add"}
        gate.apply(instance=name, wans=TWO_LANS["wans"], lans=[lan], nat=[item], ipv6="route")
    gate.absent()
    assert addresses() == before | {ADDED}
    assert net.asks("udp", "guest", "wan", WAN4, 5353).peer == ADDED
    gate.absent("two")
    assert addresses() == before


def test_an_address_that_was_there_before_stays(gate, net):
    sh("ip address add 203.0.113.9/24 dev wan0")
    before = addresses()
    gate.apply(**dict(TWO_LANS, nat=[MAIL, REST]))
    gate.absent()
    assert addresses() == before


def test_a_lost_address_is_drift_and_comes_back(gate, net):
    gate.apply(**dict(TWO_LANS, nat=[MAIL, REST]))
    sh("ip address del 203.0.113.9/32 dev wan0")
    assert gate.info()["drift"] == ["- wan0: address 203.0.113.9/32"]
    # What udev starts for each link that appears.
    sh("sh {0}/etc/ipmasq/default.links".format(gate.host.root))
    assert gate.info()["drift"] == []
    net.unwire_wan()
    assert gate.info()["drift"] == []
    sh("sh {0}/etc/ipmasq/default.links".format(gate.host.root))
    net.wire_wan()
    assert "+ wan0: address 203.0.113.9/32" in gate.apply(**dict(TWO_LANS, nat=[MAIL, REST])).to_dict()["differences"]


@pytest.mark.parametrize("keep", [True, False])
def test_a_link_that_appears_while_a_change_waits_brings_no_address_back(gate, net, keep):
    """What udev starts for it has the files of before the change."""
    before = addresses()
    gate.apply(**dict(TWO_LANS, nat=[MAIL, REST]))
    gate.apply(**TWO_LANS, confirmation=rollback.Confirmation(3600, "token", "14:05:30"))
    assert addresses() == before
    assert gate.host.boot("links").returncode == 0
    assert rollback.finish("default", "token", keep, gate.host).was == "pending"
    end_timers(gate)
    assert addresses() == (before if keep else before | {ADDED})
    gate.absent()
    assert addresses() == before


def test_an_address_that_another_program_has_added_since_stays(gate, net):
    """Such as keepalived, which has it from now on."""
    before = addresses()
    gate.apply(**dict(TWO_LANS, nat=[MAIL, REST]))
    gate.apply(**TWO_LANS, confirmation=rollback.Confirmation(3600, "token", "14:05:30"))
    sh("ip address add {0}/32 dev wan0".format(ADDED))
    rollback.finish("default", "token", True, gate.host)
    end_timers(gate)
    assert addresses() == before | {ADDED}


def test_a_failure_takes_the_address_away_again(gate, net, monkeypatch):
    before = addresses()

    def refuse(*_arguments):
        raise GatewayError("the disk is full")

    monkeypatch.setattr(gate.host, "write", refuse)
    with pytest.raises(GatewayError, match="the host is as it was before"):
        gate.apply(**dict(TWO_LANS, nat=[MAIL, REST]))
    assert addresses() == before


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (dict(MAIL, to_address="add"), "to_address add requires wan, to choose which of wan0, ppp. gets the address"),
        (dict(MAIL, wan="ppp*"), r"to_address add requires the name of one interface; ppp\* is a pattern"),
        (
            {"name": "mail", "action": "snat", "to": ["10.0.0.0-10.0.255.255"], "to_address": "add", "wan": "wan0"},
            "has more than 256 addresses to add",
        ),
    ],
)
def test_what_cannot_be_added_is_said(gate, net, item, message):
    options = dict(TWO_LANS, wans=[{"interface": "wan0"}, {"interface": "ppp*"}], nat=[item])
    with pytest.raises(GatewayError, match=message):
        gate.apply(**options)


# --- Timers of single items ------------------------------------------------------------------------------------------


def seconds_left(port):
    """Seconds until the connections to this port are forgotten."""
    lines = sh("conntrack -L -p udp --orig-port-dst {0} 2>/dev/null".format(port)).splitlines()
    return [int(line.split()[2]) for line in lines]


def test_an_added_address_outlives_that_its_link_gets_one_of_its_own(nft):
    """pppd, ifconfig and udhcpc set "the" address of a link, and the kernel takes away what bears the link's label."""
    wire(lan0="192.168.1.1/24", ppp0="", a_rather_long_1="")
    names = {"ppp0": ADDED, "a_rather_long_1": "203.0.113.10"}
    item = {"action": "snat", "to_address": "add"}
    items = [dict(item, name=name, wan=name, to=[to]) for name, to in names.items()]
    nft.apply(wans=[{"interface": name} for name in names], lans=TWO_LANS["lans"][:1], nat=items)
    assert [addresses(name) for name in names] == [{ADDED}, {"203.0.113.10"}]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        own = struct.pack("16sHH4s8x", b"ppp0", socket.AF_INET, 0, socket.inet_aton("203.0.113.50"))
        fcntl.ioctl(asked, SIOCSIFADDR, own)
    assert addresses("ppp0") == {ADDED, "203.0.113.50"}
    nft.absent()
    assert addresses("ppp0") == {"203.0.113.50"}
    assert addresses("a_rather_long_1") == set()


@pytest.mark.parametrize("backend", ["nft"])
def test_every_script_of_an_instance_runs_for_a_link_that_appears(gate, net):
    """Also that of the flowtable, which this kernel may not have; but no copy of one."""
    gate.apply(**dict(TWO_LANS, nat=[MAIL, REST]))
    ran = pathlib.Path(gate.host.place("/run/ran"))
    for name in ("default.offload", "default-old", "default.old", "default-old.offload"):
        gate.host.put("/etc/ipmasq/{0}.links".format(name), "echo {0} >> {1}\n".format(name, ran))
    assert gate.host.boot("links").returncode == 0
    assert ran.read_text().split() == ["default.offload"]


def test_links_that_appear_together_lose_nothing(nft):
    """The script for a new link starts while that of another link, or the loader, is running."""
    wire(lan0="192.168.1.1/24")
    names = ["ppp{0}".format(number) for number in range(4)]
    pools = {name: "203.0.113.{0}".format(100 + number) for number, name in enumerate(names)}
    items = [
        {"name": name, "action": "snat", "wan": name, "to": [address], "to_address": "add"}
        for name, address in pools.items()
    ]
    options = dict(wans=[{"interface": name} for name in names], lans=TWO_LANS["lans"][:1], nat=items)
    nft.apply(**options)

    def appears(name):
        sh("ip link add {0} type veth peer name p{0}; ip link set {0} up".format(name))
        return nft.host.boot("links")

    for _each in range(5):
        # Threads inherit the namespace of the one that starts them.
        with ThreadPoolExecutor(len(names) + 1) as pool:
            loaded = pool.submit(nft.host.boot)
            done = list(pool.map(appears, names))
        assert [each.returncode for each in [loaded.result(), *done]] == [0] * 5
        assert {name: addresses(name) for name in names} == {name: {address} for name, address in pools.items()}
        left = nft.apply(check=True, **options).to_dict()["differences"]
        assert [line for line in left if "address" in line] == []
        sh("; ".join("ip link del " + name for name in names))


def test_timers_of_single_items(gate, net):
    phones = {"name": "phones", "protocol": ["udp"], "port": ["5060"], "timeouts": {"udp": 70, "udp_stream": 3600}}
    pbx = {"name": "pbx", "protocol": ["udp"], "port": ["5070"], "to": [OFFICE4], "timeouts": {"udp_stream": 900}}
    options = dict(TWO_LANS, nat=[phones, REST], port_forwards=[pbx])
    if gate.option == "iptables":
        with pytest.raises(GatewayError) as caught:
            gate.apply(**options)
        assert len(caught.value.problems) == 2
        return
    gate.apply(**options)
    assert not gate.apply(**options).changed
    assert gate.info()["drift"] == []
    with Servers(net, "udp", ("wan", 5060), ("wan", 5061)) as servers, servers.client("office", WAN4) as client:
        # A stream is a flow that lasts more than two seconds: net/netfilter/nf_conntrack_proto_udp.c
        for pause in (2.2, 0):
            for port in (5060, 5061):
                assert servers.ask(client, WAN4, port).peer == GATE4
            assert servers.ask(client, WAN4, 5060).peer == GATE4
            time.sleep(pause)
    assert 3500 < min(seconds_left(5060)) <= 3600
    with net.socket("guest", socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.sendto(b"nobody answers", (WAN4, 5060))
        assert 60 < min(seconds_left(5060)) <= 70
    assert 250 < min(seconds_left(5061)) <= 300
    with Servers(net, "udp", ("office", 5070)) as servers, servers.client("wan", GATE4) as client:
        for pause in (2.2, 0):
            assert servers.ask(client, GATE4, 5070).peer == WAN4
            time.sleep(pause)
    assert 800 < min(seconds_left(5070)) <= 900
