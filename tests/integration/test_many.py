# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hundreds of port forwards are looked up, in maps or in a tree. The meaning of each stays the same.

Those that differ only in ports and server are elements of one rule of nftables; the others have chains of a few each.
"""

from __future__ import annotations

import pytest
from helpers import TWO_LANS as LANS
from sandbox import sh
from topology import CLIENTS, GATE4, GATE6, WAN4, WAN6

from ansible_collections.ipmasq.linux.plugins.module_utils._parts.rules import RULES
from ansible_collections.ipmasq.linux.plugins.module_utils._rollback import rollback

OFFICE4, OFFICE6 = CLIENTS["office"][1:]
PEERS = {"ip": WAN4, "ip6": WAN6}
#: Enough to move into separate chains, and some that must keep their order or their shape.
PLAIN = [{"name": "p{0}".format(port), "port": [str(port)], "to": [OFFICE4]} for port in range(7000, 7100)]
ODD = [
    {"name": "mine", "port": ["7205"], "to": [OFFICE4], "to_port": 81, "source": [WAN4 + "/32"]},
    {"name": "range", "port": ["7200-7230"], "to": [OFFICE4], "to_port": 9000, "source": ["198.51.100.0/24"]},
    {"name": "udp", "protocol": ["udp"], "port": ["7000"], "to": [OFFICE4], "to_port": 82},
    {"name": "six", "port": ["7000"], "to": [OFFICE6], "to_port": 83},
    {"name": "hairpin", "port": ["7300"], "to": [OFFICE4], "to_port": 84, "hairpin": True},
    {"name": "lowest", "port": ["1"], "to": [OFFICE4], "to_port": 86},
    {"name": "highest", "port": ["65535"], "to": [OFFICE4], "to_port": 87},
    {"name": "refused", "port": ["7301"], "to": [OFFICE4], "to_port": 85, "source": ["198.51.100.0/24"]},
]


#: The same, each for clients of its own, too.
APART = [dict(item, source=[WAN4 + "/32", "198.18.{0}.0/24".format(at)]) for at, item in enumerate(PLAIN)]
WAYS = pytest.mark.parametrize("plain", [PLAIN, APART], ids=["alike", "apart"])


@WAYS
def test_each_of_many_forwards_does_what_it_would_alone(gate, net, plain):
    gate.apply(port_forwards=plain + ODD, **LANS)
    for family, kind, address, port, server in (
        ("ip", "tcp", GATE4, 7000, 7000),
        ("ip", "tcp", GATE4, 7099, 7099),
        ("ip", "tcp", GATE4, 7205, 81),
        ("ip", "udp", GATE4, 7000, 82),
        ("ip6", "tcp", GATE6, 7000, 83),
        ("ip", "tcp", GATE4, 1, 86),
        ("ip", "tcp", GATE4, 65535, 87),
    ):
        assert net.asks(kind, "wan", "office", address, port, at=server).peer == PEERS[family], (address, port)
    assert net.asks("tcp", "guest", "office", GATE4, 7300, at=84).peer
    # Of no forward, or of another one.
    for port, server in ((7100, 7100), (7206, 9006), (7301, 85)):
        assert isinstance(net.asks("tcp", "wan", "office", GATE4, port, at=server), str), port
    # An untranslated packet to the server's own address does not get in.
    assert net.asks("tcp", "wan", "office", OFFICE4, 7000) == "timeout"


def counted(gate, name):
    return {item["name"]: item for item in gate.info()["counters"]}["port_forward/" + name]


@WAYS
def test_they_are_read_back_as_they_were_loaded(gate, net, plain):
    gate.apply(port_forwards=plain + ODD, **LANS)
    assert not gate.apply(port_forwards=plain + ODD, **LANS).changed
    assert not gate.info()["drift"]
    assert counted(gate, "p7042")["rules"] == (2 if plain is PLAIN else 4)


@pytest.mark.parametrize("server", [OFFICE4, OFFICE6])
def test_many_ports_that_lead_to_one_of_a_server(gate, net, server):
    """One element is all that the map behind the translation has."""
    forwards = [dict(item, to=[server], to_port=22) for item in PLAIN]
    gate.apply(port_forwards=forwards, **LANS)
    assert not gate.apply(port_forwards=forwards, **LANS).changed
    outside, peer = (GATE6, WAN6) if ":" in server else (GATE4, WAN4)
    assert net.asks("tcp", "wan", "office", outside, 7042, at=22).peer == peer


@WAYS
def test_one_more_or_less_changes_what_it_must(gate, net, plain):
    gate.apply(port_forwards=plain + ODD, **LANS)
    fewer = [item for item in plain if item["name"] != "p7042"]
    change = gate.apply(port_forwards=fewer + ODD, **LANS).change
    if gate.programs == "nft":
        touched = sorted({row.chain.rstrip("0123456789") for row in change.scene.plan.remove})
        apart = ["between-ip-tcp", "between-ip-tcp-", "dstnat-tcp", "dstnat-tcp-"]
        assert touched == sorted(["between", "dstnat", *(["counters", "dstnat-map-"] if plain is PLAIN else apart)])
    assert {row.key for row in change.scene.plan.remove} <= {"port_forward/p7042", "jump", "chain", "lookup"}
    assert not gate.apply(port_forwards=fewer + ODD, **LANS).changed


@pytest.mark.parametrize(
    ("backend", "plain", "change"),
    [
        ("nft", PLAIN, "nft flush chain inet ipmasq dstnat"),
        ("nft", PLAIN, "nft add counter inet ipmasq port_forward/mine/dnat"),
        ("nft", PLAIN, "nft insert rule inet ipmasq between counter name port_forward/p7000/accept accept"),
        ("nft", APART, "nft flush chain inet ipmasq dstnat-tcp-7040"),
        ("iptables-nft", APART, "iptables-nft -t nat -F IPMASQ-DSTNAT-tcp-b6912"),
        ("iptables-legacy", APART, "iptables-legacy -t nat -F IPMASQ-DSTNAT-tcp-b6912"),
    ],
    ids=["map", "counter", "rule", "chain", "iptables-nft", "iptables-legacy"],
)
def test_somebody_elses_change_inside_is_drift(gate, net, plain, change):
    gate.apply(port_forwards=plain + ODD, **LANS)
    sh(change)
    assert gate.info()["drift"]
    assert not gate.info()["as_applied"]
    assert gate.apply(port_forwards=plain + ODD, **LANS).changed
    assert not gate.info()["drift"]


@WAYS
def test_each_has_its_own_counters_which_a_change_keeps(gate, net, plain):
    gate.apply(port_forwards=plain + ODD, **LANS)
    for port in (7001, 7001, 7098):
        assert net.asks("tcp", "wan", "office", GATE4, port).peer == WAN4
    found = {name: counted(gate, name)["packets"] for name in ("p7000", "p7001", "p7098")}
    # The first packet of a flow, before the translation and after it.
    assert found == {"p7000": 0, "p7001": 4, "p7098": 2}
    fewer = [item for item in plain if item["name"] != "p7042"]
    gate.apply(port_forwards=fewer + ODD, **LANS)
    assert {name: counted(gate, name)["packets"] for name in found} == found
    assert net.asks("tcp", "wan", "office", GATE4, 7098).peer == WAN4
    assert counted(gate, "p7098")["packets"] == 4
    # A counter that rises is not a difference.
    assert not gate.apply(port_forwards=fewer + ODD, **LANS).changed


def test_the_boot_and_the_way_back_have_the_maps(gate, net):
    gate.apply(port_forwards=PLAIN + ODD, **LANS)
    before = gate.live()
    gate.apply(confirmation=rollback.waiting(600), port_forwards=ODD, **LANS)
    assert isinstance(net.asks("tcp", "wan", "office", GATE4, 7042), str)
    rollback.finish("default", "", False, gate.host)
    assert gate.live() == before
    assert net.asks("tcp", "wan", "office", GATE4, 7042).peer == WAN4
    sh("nft flush ruleset" if gate.programs == "nft" else "{0} -t nat -F".format(gate.programs))
    assert gate.host.boot().returncode == 0
    assert net.asks("tcp", "wan", "office", GATE4, 7042).peer == WAN4
    assert not gate.apply(port_forwards=PLAIN + ODD, **LANS).changed


def test_hairpins_of_many_forwards(gate, net):
    many = [dict(item, hairpin=True) for item in PLAIN]
    gate.apply(port_forwards=many, **LANS)
    for client in ("guest", "office"):
        assert net.asks("tcp", client, "office", GATE4, 7042).peer == GATE4
    assert net.asks("tcp", "wan", "office", GATE4, 7042).peer == WAN4
    assert not gate.apply(port_forwards=many, **LANS).changed


def test_a_single_item_with_many_ports(gate, net):
    """It shares its chains with others, so all of it bears its name, and nothing is looked up."""
    gate.forwarding(ipv4=True)
    ports = [str(port) for port in range(7000, 7700, 10)]
    item = {"name": "one", "in_interface": "wan0", "protocol": ["both"], "port": ports, "to": [OFFICE4]}
    gate.item("port_forward", **item)
    assert net.asks("tcp", "wan", "office", GATE4, 7000).peer == WAN4
    assert net.asks("udp", "wan", "office", GATE4, 7690).peer == WAN4
    assert not gate.item("port_forward", **item).changed
    gate.item("port_forward", **dict(item, port=["7000"]))
    assert len(RULES.of(gate.state()).rows) < 20
    assert net.asks("tcp", "wan", "office", GATE4, 7000).peer == WAN4


def test_a_table_that_somebody_has_put_to_sleep_wakes_up(gate, net):
    if gate.programs != "nft":
        pytest.skip("iptables has no such flag")
    gate.apply(**LANS)
    sh("nft add table inet ipmasq '{ flags dormant; }'")
    assert net.tcp("office", "wan", WAN4) != GATE4
    assert not gate.info()["as_applied"]
    assert gate.apply(check=True, **LANS).changed
    gate.apply(**LANS)
    assert net.tcp("office", "wan", WAN4) == GATE4
    assert not gate.apply(**LANS).changed


def test_line_ends_that_an_editor_has_changed_are_a_difference(gate, net):
    gate.apply(**LANS)
    file = gate.host.root / "etc/ipmasq/default.load"
    file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    assert gate.apply(**LANS).change.upkeep.outdated == ("/etc/ipmasq/default.load",)
    assert b"\r" not in file.read_bytes()
