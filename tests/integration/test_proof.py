# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The closed loop on real gateways: it holds where they are sound, and is red for each kind of promise when broken."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import time

import pytest
import xdp
from helpers import GUESTS, OFFICE, TWO_LANS, Gate, unpacked
from pings import Pings
from sandbox import sh
from test_under_load import TRANSFER
from topology import WAN4, Sniffer, Topology
from unhurried import wait_for_server

from ansible_collections.ipmasq.linux.plugins.module_utils._change.probe import gateway_probe
from ansible_collections.ipmasq.linux.plugins.module_utils._facts import links as facts
from ansible_collections.ipmasq.linux.plugins.module_utils._parts.declaration import DECLARATION
from ansible_collections.ipmasq.linux.plugins.module_utils._proof import ground, loop, prove as proving, setting
from ansible_collections.ipmasq.linux.plugins.module_utils._proof.packets import TEXT
from ansible_collections.ipmasq.linux.plugins.module_utils._proof.staying import strays
from ansible_collections.ipmasq.linux.plugins.module_utils._resolve import declared

#: How often a gateway is proven while clients use it.
PROOFS = int(os.environ.get("IPMASQ_PROOFS", "6"))
#: Of the hosts outside that the probe plays.
PLAYED = (bytes([192, 31, 196]), bytes.fromhex("2620004f8000fafa"))


@pytest.fixture
def wires():
    """The surroundings, for tests in which the backend makes no difference."""
    made = Topology()
    yield made
    made.close()


def proved(gate, extent=proving.PACKETS):
    gateway = declared.read(DECLARATION.of(gate.state()).intent)
    return proving.prove(gateway, facts.read_facts(gate.host), gate.host, extent)


def broken(gate, kind=""):
    return {each.name: each for each in proved(gate).broken if kind in ("", each.kind)}


def traces():
    """Everything that a proof adds to a host."""
    listed = (
        "ip -o link; ip neigh | grep PERMANENT || true; tc qdisc; nft list tables; conntrack -L 2>/dev/null || true; "
    )
    return sh(
        listed + "for l in lan0 guest0 wan0; do tc filter show dev $l egress; tc filter show dev $l ingress; done"
    )


def on_the_wire(packets):
    return [data for data in packets if TEXT in data or any(address in data[:40] for address in PLAYED)]


def test_a_sound_gateway_holds_and_nothing_is_left_or_on_a_wire(gate, net):
    gate.apply(**TWO_LANS, input="protect")
    before = traces()
    with contextlib.ExitStack() as stack:
        sniffers = [stack.enter_context(Sniffer(net, node)) for node in ("office", "guest", "wan")]
        values = gateway_probe("default", gate.host)
        assert [each for each in values["results"] if each["outcome"] != "holds"] == []
        assert values["counts"] == {"holds": 102, "broken": 0, "unmeasurable": 0}
        assert values["proven"]
        assert [data for sniffer in sniffers for data in on_the_wire(sniffer.packets())] == []
    assert traces() == before
    assert values["seconds"] < 5


FLUSH = "for link in wan0 lan0 guest0; do ip -{0} addr flush dev $link scope global; done; "
#: Addresses that a gateway may lack, and one that a provider translates once more.
PLACES = {
    "IPv4 only": (FLUSH.format(6), {"IPv4"}),
    "IPv6 only": (FLUSH.format(4), {"IPv6"}),
    "behind another NAT": (
        "ip addr flush dev wan0 scope global; ip addr add 100.64.0.2/24 dev wan0; ip route add default via 100.64.0.1",
        {"IPv4"},
    ),
}


@pytest.mark.parametrize("place", PLACES)
def test_wherever_a_gateway_is(nft, wires, place):
    command, families = PLACES[place]
    sh(command)
    wires.nodes["wan"].sh("ip addr add 100.64.0.1/24 dev up0")
    lans = [{key: lan[key] for key in ("name", "interfaces")} for lan in (OFFICE, GUESTS)]
    nft.apply(wans=TWO_LANS["wans"], lans=lans)
    values = gateway_probe("default", nft.host)
    assert (values["proven"], values["counts"]["broken"]) == (True, 0)
    held = [each["name"] for each in values["results"] if each["outcome"] == "holds"]
    ways = {name.rstrip(")").split()[-1] for name in held if "reaches the Internet through wan0" in name}
    assert ways == families
    assert len(held) > 30


#: Kernels without act_gact can only lead packets astray.
HOLE = "ip link add hole0 type veth peer name hole1; ip link set hole0 up; tc qdisc add dev wan0 clsact; "
INTO = "mirred egress redirect dev hole0"
#: A hand's work, by kind of backend, and the promises that it breaks.
BY_HAND = {
    "drop": (
        "nft add table inet other; nft 'add chain inet other f {type filter hook forward priority 5;}'; "
        "nft add rule inet other f iifname lan0 meta l4proto udp drop",
        [
            "office reaches the Internet through wan0 (udp, IPv4)",
            "office reaches the Internet through wan0 (udp, IPv6)",
        ],
        "nothing came out of wan0",
    ),
    "nat in front": (
        "nft add table ip other; nft 'add chain ip other s {type nat hook postrouting priority 50;}'; "
        "nft add rule ip other s ip saddr 192.168.1.0/24 ip protocol icmp snat to 203.0.113.77",
        ["office reaches the Internet through wan0 (icmp, IPv4)"],
        "came out of wan0 differently; declared: source 203.0.113.2",
    ),
    "answers": (
        "nft add table inet other; nft 'add chain inet other f {type filter hook forward priority 5;}'; "
        "nft add rule inet other f oifname lan0 tcp flags syn,ack / syn,ack drop",
        [
            "office reaches the Internet through wan0 (tcp, IPv4)",
            "office reaches the Internet through wan0 (tcp, IPv6)",
        ],
        "the answer did not get back to lan0",
    ),
    "tc": (
        HOLE + "tc filter add dev wan0 egress protocol ip u32 match ip protocol 1 0xff action " + INTO,
        [
            "guests reaches the Internet through wan0 (icmp, IPv4)",
            "office reaches the Internet through wan0 (icmp, IPv4)",
        ],
        "nothing came out of wan0",
    ),
    "tc for answers": (
        HOLE + "tc filter add dev wan0 ingress protocol ip u32 match ip protocol 1 0xff action " + INTO,
        [
            "guests reaches the Internet through wan0 (icmp, IPv4)",
            "office reaches the Internet through wan0 (icmp, IPv4)",
        ],
        "the answer did not get back to",
    ),
}


@pytest.mark.parametrize("cause", BY_HAND)
def test_what_somebody_breaks_is_found(gate, net, cause):
    command, names, reason = BY_HAND[cause]
    gate.apply(**TWO_LANS)
    sh(command)
    before = traces()
    found = broken(gate, "reach")
    assert sorted(found) == names
    assert all(reason in each.reason for each in found.values())
    assert traces() == before


RICH = {
    "wans": [{"interface": "wan0", "mss": "1300"}],
    "lans": [dict(OFFICE, reaches=["guests"]), GUESTS],
    "input": "protect",
    "drop_bogons": True,
    "port_forwards": [
        {"name": "web", "port": ["443"], "to": ["192.168.1.20"], "hairpin": True},
        {"name": "alt", "port": ["8080"], "to": ["192.168.1.20"], "to_port": 80, "hairpin": True,
         "hairpin_source": "gateway"},
        {"name": "range", "port": ["2700-2715"], "protocol": ["both"], "to": ["192.168.1.10", "192.168.1.20"],
         "to_port": 700},
        {"name": "some", "port": ["22"], "to": ["192.168.2.10"], "source": ["9.9.9.0/24"]},
        {"name": "six", "port": ["25"], "to": ["fd00:1::20"]},
    ],
    "outbound": [
        {"name": "mail", "protocol": ["tcp"], "port": ["25"], "action": "reject"},
        {"name": "blocked", "source": ["guests"], "destination": ["9.9.8.0/24"], "action": "drop"},
        {"name": "slow", "protocol": ["udp"], "port": ["500"], "rate": "100/second"},
    ],
    "nat": [
        {"name": "vpn", "action": "exempt", "destination": ["100.66.0.0/16"]},
        {"name": "one", "action": "static", "source": ["192.168.1.20/32"], "to": ["203.0.113.20/32"],
         "to_address": "routed"},
        {"name": "pool", "action": "snat", "source": ["192.168.2.0/24"], "to": ["203.0.113.16-203.0.113.19"],
         "to_address": "routed", "protocol": ["tcp", "udp"]},
        {"name": "rest"},
    ],
}  # fmt: skip
#: All kinds but those of tests above, with somebody's work that breaks them.
RED = {
    "mss": "nft flush chain inet ipmasq mss",
    "icmp_error": "nft add rule inet other f icmp type destination-unreachable drop",
    "nat": "nft flush chain inet ipmasq srcnat",
    "outbound": "nft insert rule inet ipmasq opens-office oifname wan0 accept",
    "port_forward": "nft flush chain inet ipmasq dstnat",
    "hairpin": "nft add rule inet other f iifname lan0 oifname lan0 drop",
    "one_to_one": "nft add rule inet other f iifname wan0 ip daddr 192.168.1.20 drop",
    "closed": "nft insert rule inet ipmasq between iifname wan0 accept",
    "between_lans": "nft insert rule inet ipmasq forward iifname guest0 oifname lan0 accept",
    "spoofed": "nft insert rule inet ipmasq forward iifname lan0 accept",
    "invalid": "nft insert rule inet ipmasq forward accept; nft flush chain inet ipmasq egress",
    "bogons": "nft flush chain inet ipmasq bogons",
}


def test_every_kind_holds_and_can_go_red(gate, net, monkeypatch):
    net.wire_server()
    sh("echo 0 > /proc/sys/net/ipv4/conf/all/rp_filter; echo 0 > /proc/sys/net/ipv4/conf/lan0/rp_filter")
    gate.apply(**RICH)
    before = traces()
    report = proved(gate)
    assert [each for each in report.results if each.outcome != "holds"] == []
    assert {each.kind for each in report.results} == {"reach", *RED}
    # A promise has the same name next time, whatever address the probe has then.
    assert not [each.name for each in report.results if re.search(r"192\.168\.|fd00:", each.name)]
    assert traces() == before
    assert report.seconds < 5
    if gate.programs != "nft":
        return  # what breaks them is the same promise on each backend
    monkeypatch.setattr(proving, "PATIENCE", 0.5)
    for kind, command in RED.items():
        sh("nft add table inet other; nft 'add chain inet other f {type filter hook forward priority 5;}'")
        sh(command)
        assert broken(gate, kind), kind
        sh("nft delete table inet other")
        gate.apply(**RICH)
    assert broken(gate) == {}


def test_the_answer_to_a_forward_of_the_second_wan(nft, wires):
    """Routes send it through the first WAN; where policy routing sends it back, it is proven."""
    wires.wire_second_wan()
    sh("for l in all lan0 wan1; do echo 0 > /proc/sys/net/ipv4/conf/$l/rp_filter; done")
    web = {"name": "web", "port": ["443"], "to": ["192.168.1.10"], "wan": ""}
    nft.apply(wans=[{"interface": "wan0"}, {"interface": "wan1"}], lans=[OFFICE], port_forwards=[web])
    told = "port forward 'web' from wan1 (tcp 443, IPv4)"
    first = {each.name: each for each in proved(nft).results}
    assert first[told].outcome == first["port forward 'web' from wan0 (tcp 443, IPv4)"].outcome == "holds"
    answer = first["the answer to " + told]
    assert (answer.outcome, answer.reason) == (
        "unmeasurable",
        "what comes from wan1 is answered through wan0, where the routes lead; a rule of policy routing would change "
        "that",
    )
    sh(
        "nft add table inet back; nft 'add chain inet back p {type filter hook prerouting priority mangle;}'; "
        "nft add rule inet back p iifname wan1 ct mark set 7; "
        "nft add rule inet back p iifname lan0 ct mark 7 meta mark set 7; "
        "ip rule add pref 10 fwmark 7 lookup 77; ip route add default via 198.51.100.1 dev wan1 table 77"
    )
    assert {each.name: each.outcome for each in proved(nft).results}["the answer to " + told] == "holds"


def test_a_missing_translation_is_a_leak_that_the_guard_stops(nft, wires):
    nft.apply(**TWO_LANS)
    sh("nft flush chain inet ipmasq srcnat")
    assert sorted(broken(nft, "reach")) == sorted(
        "{0} reaches the Internet through wan0 ({1}, {2})".format(lan, protocol, family)
        for lan in ("office", "guests")
        for protocol in ("tcp", "udp", "icmp")
        for family in ("IPv4", "IPv6")
    )


def test_whatever_belongs_to_no_flow_is_seen_when_it_leaves(nft, wires):
    """All kinds but a stray ACK, which begins a flow (nf_conntrack_tcp_loose) and is translated."""
    nft.apply(**TWO_LANS)
    sh("nft insert rule inet ipmasq forward accept; nft flush chain inet ipmasq egress")
    for family, (source, target) in {"IPv4": ("192.168.1.9", "192.0.2.1"), "IPv6": ("fd00::9", "2001:db8::1")}.items():
        words = set(strays(source, target)) - {"stray ACK"}
        assert {"{0} does not leave office untranslated ({1})".format(word, family) for word in words} == {
            name for name in broken(nft, "invalid") if "office" in name and family in name
        }


@pytest.mark.parametrize("mode", [xdp.GENERIC, xdp.DRIVER], ids=["generic", "driver"])
@pytest.mark.parametrize("verdict", [xdp.PASS, xdp.DROP], ids=["pass", "drop"])
def test_xdp_is_told(nft, wires, verdict, mode):
    """The probe's packets come in behind it, so every promise holds, even if it drops all that arrives."""
    nft.apply(**TWO_LANS)
    assert not [note for note in proved(nft).notes if "XDP" in note]
    xdp.attach("wan0", verdict, mode)
    report = proved(nft)
    assert report.counts["broken"] == 0
    assert [note for note in report.notes if note.startswith("an XDP program on wan0 sees what arrives first")]


def test_an_open_door_is_found(nft, wires):
    nft.apply(**TWO_LANS, input="protect")
    sh("nft insert rule inet ipmasq between iifname wan0 oifname guest0 accept")
    assert sorted(broken(nft)) == sorted(
        "guests is closed from wan0 ({0}, {1})".format(protocol, family)
        for protocol in ("tcp", "udp", "icmp")
        for family in ("IPv4", "IPv6")
    )
    sh("nft flush chain inet ipmasq protected; nft flush chain inet ipmasq input")
    assert "this host is closed from wan0 (tcp, IPv4)" in broken(nft)


@pytest.mark.parametrize("egress", [True, False], ids=["by nft", "by tc"])
def test_what_others_have_stays(nft, wires, egress, monkeypatch):
    """Without nft's egress hook, an interface with a qdisc ``ingress`` leaves no place for a filter."""
    if not egress:
        monkeypatch.setattr(ground, "_has_egress", lambda _host: False)
    nft.apply(**TWO_LANS)
    sh(
        HOLE + "tc filter add dev wan0 egress protocol ip pref 700 u32 match ip dst 198.51.100.9 flowid 1:1; "
        "tc qdisc add dev guest0 ingress; "
        "tc filter add dev guest0 ingress protocol ip u32 match ip dst 198.51.100.9 "
        "action mirred egress mirror dev hole0; "
        "ip neigh add 192.168.1.77 lladdr 02:00:00:00:00:77 dev lan0"
    )
    before = traces()
    report = proved(nft)
    assert report.counts["broken"] == 0
    held = {each.name for each in report.results if each.outcome == "holds"}
    assert "office reaches the Internet through wan0 (tcp, IPv4)" in held
    unknown = {each.reason for each in report.results if each.outcome == "unmeasurable"}
    lacks = "guest0 has a qdisc 'ingress', which leaves no place for a filter at the egress; use clsact instead"
    assert unknown == (set() if egress else {lacks})
    assert traces() == before


def test_an_address_that_somebody_has_is_not_taken(nft, wires):
    wires.nodes["office"].sh("ip addr add 192.168.1.252/24 dev up0; ip addr add fd00:1::fafa:0/64 dev up0 nodad")
    nft.apply(**TWO_LANS)
    report = proved(nft)
    assert report.counts["broken"] == 0
    sent = [line for each in report.results for line in each.sent if line.startswith("lan0: ")]
    assert len(sent) > 20
    assert not any("192.168.1.252" in line or "fd00:1::fafa:0]" in line for line in sent)


def in_child(function):
    """Run it in a child; the child's ID."""
    child = os.fork()
    if child == 0:
        try:
            function()
            os._exit(0)
        except BaseException:
            os._exit(1)
    return child


def test_killed_in_the_middle(nft, wires, monkeypatch):
    nft.apply(**TWO_LANS)
    before = traces()
    monkeypatch.setattr(loop.Loop, "receive", lambda *_more: os.kill(os.getpid(), signal.SIGKILL))
    child = in_child(lambda: proved(nft))
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    until = time.monotonic() + 10
    while traces() != before and time.monotonic() < until:
        time.sleep(0.02)
    assert traces() == before


def test_two_at_once(nft, wires):
    nft.apply(**TWO_LANS)
    before = traces()

    def sound():
        assert proved(nft).counts == {"holds": 98, "broken": 0, "unmeasurable": 0}

    children = [in_child(sound) for _each in range(3)]
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]
    assert traces() == before


def test_a_host_that_cannot_have_a_loop(wires, tmp_path, monkeypatch):
    gate = Gate("nft", tmp_path, without=("tc",))
    gate.apply(**TWO_LANS)
    before = traces()
    assert set(reasons(proved(gate))) == {"tc is not installed; install the package iproute2 (iproute-tc, iproute2-tc)"}
    gate.host.without = ()
    monkeypatch.setattr(loop, "CLONE", "/dev/net/none")
    assert set(reasons(proved(gate))) == {
        "TUN devices are not available here (/dev/net/none: No such file or directory)"
    }
    monkeypatch.undo()
    monkeypatch.setattr(setting, "filters", lambda *_more: ["filter add dev wan0 egress pref 1 protocol ip nonsense"])
    (refused,) = set(reasons(proved(gate)))
    assert refused.startswith("the kernel refused what the loop needs (u32, mirred, clsact): tc: ")
    assert traces() == before


def reasons(report):
    assert report.counts == {"holds": 0, "broken": 0, "unmeasurable": len(report.results)}
    return [each.reason for each in report.results]


@pytest.fixture(scope="session")
def iperf3(tmp_path_factory):
    """Debian's iperf3; unpacked where it is not installed."""
    if shutil.which("iperf3"):
        return "iperf3"
    return str(unpacked(tmp_path_factory, "iperf3") / "iperf3")


def test_clients_lose_nothing_meanwhile(nft, wires, iperf3):
    """IPMASQ_PROOFS=100: as often as the page says. A third of them looks for a culprit, too."""
    nft.apply(**TWO_LANS)
    with wires.inside("wan"):
        server = subprocess.Popen([iperf3, "-s", "-1", "-J", "--bind", WAN4], stdout=subprocess.PIPE, text=True)
    wait_for_server(server, wires.nodes["wan"], 5201)
    with wires.inside("office"):
        transfer = subprocess.Popen([iperf3, *TRANSFER, "-c", WAN4], stdout=subprocess.DEVNULL)
    pings = Pings(wires, "office", WAN4)
    try:
        for number in range(PROOFS):
            if number == PROOFS * 2 // 3:
                # Nothing that these clients need.
                sh("nft add table inet other; nft 'add chain inet other f {type filter hook forward priority 5;}'")
                sh("nft add rule inet other f meta l4proto udp udp dport 49443 drop")
            causes = {each.by for each in proved(nft).broken}
            assert causes == ({"other"} if number >= PROOFS * 2 // 3 else set())
    finally:
        transfer.send_signal(signal.SIGINT)
        transfer.wait()
        answered = pings.end()
        received = json.loads(server.communicate(timeout=30)[0])["intervals"]
    assert len(answered) > 10 * PROOFS
    # What was asked after the last answer may have been on its way.
    assert set(range(1, max(answered) + 1)) - answered == set()
    assert sum(each["sum"]["packets"] for each in received) > 100 * PROOFS
    assert sum(each["sum"]["lost_packets"] for each in received) == 0


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("ip link set wan0 down", "wan0 is down"),
        ("ip route del default; ip -6 route del default", "no IPv4 route leaves through wan0"),
        (
            "ip route replace default via 203.0.113.99; ip -6 route replace default via 2001:db8:ff::99",
            "203.0.113.99 does not answer on wan0; the link or the host is down",
        ),
        ("ip link del lan0", "lan0 does not exist"),
    ],
)
def test_what_is_not_the_rules_fault_is_unmeasurable(nft, wires, command, reason):
    nft.apply(wans=TWO_LANS["wans"], lans=[OFFICE, GUESTS])
    sh(command)
    # Twice, because the kernel refuses at once what goes to a neighbour that has just failed.
    proved(nft)
    report = proved(nft)
    assert report.counts["broken"] == 0
    assert reason in {each.reason for each in report.results if each.outcome == "unmeasurable"}
