# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a container cannot show: a boot, the size of the connection table, PPP, IPsec. Not part of ``make test``.

    PYTHONPATH=.cache/collections:tests .venv/bin/python -m pytest tests/vm -q -p no:xdist --basetemp=/dev/shm/vm

The first run makes an image (see image.py; needs root, and Debian's packages). IPMASQ_VM_RELEASES="bookworm trixie"
names the releases; the first alone is what runs otherwise.
"""

from __future__ import annotations

import re
import typing as t

import pytest
from wiring import (
    ANSWERS,
    BOX,
    CLIENT,
    GATE,
    OFFICE,
    SEEN,
    SERVER,
    ask,
    dial,
    hang_up,
    keep_asking,
    wait_for,
    wire_container,
    wire_lan,
    wire_provider,
    wire_wan,
)

if t.TYPE_CHECKING:
    from machine import Machine

GATEWAY = {"wans": [{"interface": "wan0"}], "lans": [OFFICE]}
TABLE_SIZE = "/proc/sys/net/netfilter/nf_conntrack_max"
UDP_TIMER = "/proc/sys/net/netfilter/nf_conntrack_udp_timeout"


@pytest.fixture(params=["nftables", "iptables"])
def gateway(request: pytest.FixtureRequest) -> dict[str, t.Any]:
    return dict(GATEWAY, backend=request.param)


def test_boots(machine: Machine) -> None:
    assert machine.run(["systemctl", "is-system-running"]).out.strip() in ("running", "degraded")
    assert machine.read("/proc/1/comm").strip() == "systemd"


def test_gateway_is_there_again_after_a_reboot(machine: Machine, gateway: dict[str, t.Any]) -> None:
    wire_lan(machine)
    wire_wan(machine)
    assert ask(machine) == "timed out"
    assert machine.apply(gateway)["changed"]
    assert not machine.apply(gateway)["changed"]
    assert {ask(machine, kind=kind) for kind in ("tcp", "udp")} == {GATE}
    rules = ruleset(machine)

    machine.reboot()
    assert machine.sh("systemctl is-active ipmasq.service").strip() == "active"
    assert machine.read("/proc/sys/net/ipv4/ip_forward").strip() == "1"
    assert ruleset(machine) == rules
    # As at a real boot, the links come after the rules.
    wire_lan(machine)
    wire_wan(machine)
    assert {ask(machine, kind=kind) for kind in ("tcp", "udp")} == {GATE}
    assert not machine.apply(gateway)["changed"]


def ruleset(machine: Machine) -> list[str]:
    """The tables without counters (-s), handles and comments. At boot, the fence may be there before the rules."""
    lines = machine.sh("nft -s list ruleset | grep -v '^#'")
    return sorted(re.split(r"^(?=table )", lines, flags=re.MULTILINE))


@pytest.mark.parametrize("loaded", [True, False], ids=["loaded", "not loaded"])
def test_conntrack_max_is_set(machine: Machine, loaded: bool) -> None:
    """Also where nobody has used connection tracking before, so that its switches appear with our rules only."""
    wire_lan(machine)
    if loaded:
        machine.sh("modprobe nf_conntrack")
        assert machine.read(TABLE_SIZE).strip() != "65536"
    else:
        assert machine.run(["test", "-e", TABLE_SIZE]).rc == 1
    done = machine.apply(dict(GATEWAY, conntrack_max="65536"))
    assert not [note for note in done["notes"] if "conntrack_max" in note]
    assert machine.read(TABLE_SIZE).strip() == "65536"
    assert not machine.apply(dict(GATEWAY, conntrack_max="65536"))["changed"]

    machine.reboot()
    assert machine.read(TABLE_SIZE).strip() == "65536"


def test_a_first_run_loads_connection_tracking(machine: Machine, gateway: dict[str, t.Any]) -> None:
    """Its switches appear with its module; check mode loads nothing, and yet says what would be set."""
    wire_lan(machine)
    wire_wan(machine)
    planned = machine.apply(gateway, check=True)
    assert planned["changed"]
    assert machine.run(["test", "-e", TABLE_SIZE]).rc == 1
    machine.apply(gateway)
    assert machine.read(UDP_TIMER).strip() == "300"
    assert ask(machine) == GATE
    assert not machine.apply(gateway)["changed"]
    machine.module("gateway", {"state": "absent", "confirm_timeout": 0})
    assert machine.read(UDP_TIMER).strip() == "30"


def test_a_port_of_a_vrf_is_refused_and_its_master_works(machine: Machine, gateway: dict[str, t.Any]) -> None:
    wire_lan(machine)
    wire_wan(machine)
    machine.sh(
        "ip link add vrf0 type vrf table 10; ip link set vrf0 up; ip link set lan0 master vrf0;"
        "ip route add table 10 default via {0} dev wan0; ip route add 192.168.1.0/24 dev vrf0".format(SERVER)
    )
    refused = machine.module("gateway", dict(gateway, confirm_timeout=0))
    assert refused["failed"]
    assert "lan0" in refused["msg"] and "vrf0" in refused["msg"], refused["msg"]
    assert machine.sh("nft list ruleset").strip() == ""
    named = dict(gateway, lans=[dict(OFFICE, interfaces=["vrf0"])])
    machine.apply(named)
    assert {ask(machine, kind=kind) for kind in ("tcp", "udp")} == {GATE}
    # Nothing begins from outside, though the server knows the way.
    machine.sh("ip netns exec server sh -c '! ping -n -c1 -W1 {0}'".format(CLIENT))
    assert not machine.apply(named)["changed"]


FAR, FIRST, SECOND = "198.51.100.9", "203.0.113.50", "203.0.113.77"


def test_ppp_goes_away_and_comes_back_with_another_address(machine: Machine, gateway: dict[str, t.Any]) -> None:
    """The rules are loaded once, before ppp0 is there for the first time; one client never stops asking."""
    wire_lan(machine)
    wire_provider(machine, FAR)
    machine.apply(dict(gateway, wans=[{"interface": "ppp0"}]))
    keep_asking(machine, FAR)

    for address in (FIRST, SECOND):
        dial(machine, address)
        # The server knows the way to the LAN, so a packet that is not translated would get its answer.
        machine.sh("ip -n server route add 192.168.0.0/16 dev isp0")
        wait_for(machine, "tail -n1 {0} | grep -qx {1}".format(ANSWERS, address))
        assert ask(machine, FAR) == address
        hang_up(machine)

    assert set(machine.read(ANSWERS).split()) == {FIRST, SECOND}
    assert set(machine.read(SEEN).split()) == {FIRST, SECOND}


REMOTE = "10.9.0.1"
THERE, HOME = "src {0} dst {1}".format(GATE, SERVER), "src {0} dst {1}".format(SERVER, GATE)
TUNNEL = "proto esp reqid 1 mode tunnel"
KEY = "aead 'rfc4106(gcm(aes))' 0x0102030405060708090a0b0c0d0e0f1011121314 128"


def test_only_what_an_ipsec_policy_encrypts_is_exempt(machine: Machine, gateway: dict[str, t.Any]) -> None:
    wire_lan(machine)
    wire_wan(machine)
    machine.sh("ip -n server address add {0}/32 dev lo".format(REMOTE))
    vpn = {"name": "vpn", "action": "exempt", "ipsec": True}
    machine.apply(dict(gateway, nat=[vpn, {"name": "rest"}]))
    assert ask(machine, REMOTE) == GATE  # there is no policy yet

    tunnel(machine)
    assert {ask(machine, REMOTE, kind) for kind in ("tcp", "udp")} == {CLIENT}
    assert {ask(machine, SERVER, kind) for kind in ("tcp", "udp")} == {GATE}
    # The far side has decrypted and encrypted packets, so they did not take the plain way.
    counts = [int(count) for count in re.findall(r"(\d+)\(packets\)", machine.sh("ip -n server -s xfrm state"))]
    assert len(counts) == 2 and all(counts)
    # Nor is it a bogon.
    machine.apply(dict(gateway, nat=[vpn, {"name": "rest"}], drop_bogons=True))
    assert {ask(machine, REMOTE, kind) for kind in ("tcp", "udp")} == {CLIENT}
    machine.apply(dict(gateway, nat=[vpn, {"name": "rest"}]))

    for namespace in ("", "-n server"):
        machine.sh("ip {0} xfrm policy flush".format(namespace))
    assert ask(machine, REMOTE) == GATE


def test_what_an_ipsec_policy_encrypts_for_a_container_leaves(machine: Machine, gateway: dict[str, t.Any]) -> None:
    """A private source leaves only encrypted, in the rules and in the fence."""
    wire_lan(machine)
    wire_wan(machine)
    wire_container(machine)
    machine.sh("ip -n server address add {0}/32 dev lo".format(REMOTE))
    machine.apply(gateway)
    assert ask(machine, REMOTE, who="box") == "timed out"

    tunnel(machine, "172.17.0.0/24")
    for flushed in (False, True):
        if flushed:
            machine.sh("nft flush ruleset")
        assert {ask(machine, REMOTE, kind, who="box") for kind in ("tcp", "udp")} == {BOX}
        assert {ask(machine, SERVER, kind, who="box") for kind in ("tcp", "udp")} == {"timed out"}

    machine.apply(gateway)
    machine.sh("ip xfrm policy flush; ip -n server xfrm policy flush")
    assert ask(machine, REMOTE, who="box") == "timed out"


def tunnel(machine: Machine, inside: str = "192.168.1.0/24") -> None:
    """IPsec by hand between the gateway and the server, for a network and another one behind the server."""
    out, back = "src {0} dst 10.9.0.0/24".format(inside), "src 10.9.0.0/24 dst {0}".format(inside)
    policy = "xfrm policy add {0} dir {1} tmpl {2} " + TUNNEL
    steps = []
    for ip, out_net, out_tmpl, in_net, in_tmpl in (
        ("ip", out, THERE, back, HOME),
        ("ip -n server", back, HOME, out, THERE),
    ):
        for spi, ends in (("0x100", THERE), ("0x101", HOME)):
            steps.append("{0} xfrm state add {1} spi {2} {3} {4}".format(ip, ends, spi, TUNNEL, KEY))
        steps.append(ip + " " + policy.format(out_net, "out", out_tmpl))
        for direction in ("in", "fwd"):
            steps.append(ip + " " + policy.format(in_net, direction, in_tmpl))
    machine.sh("; ".join(steps))
