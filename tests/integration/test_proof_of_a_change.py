# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A change may stay only if packets prove it: real causes that no look at rules finds each end in a rollback."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import replace

import pytest
from helpers import GUESTS, OFFICE, ONE_LAN, TWO_LANS, Gate
from sandbox import sh
from test_undeclared import third
from topology import CLIENTS, ISP4, ISP6, SECOND4, WAN4, WAN6, Sniffer, Topology, send, udp
from unhurried import wait_until

from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError
from ansible_collections.ipmasq.linux.plugins.module_utils._change import proving
from ansible_collections.ipmasq.linux.plugins.module_utils._change.info import gateway_info
from ansible_collections.ipmasq.linux.plugins.module_utils._proof import loop
from ansible_collections.ipmasq.linux.plugins.module_utils._rollback import rollback

FORWARD = "nft add table inet other; nft 'add chain inet other f {type filter hook forward priority 5;}'; "


@pytest.fixture
def wires():
    """The surroundings, for tests in which the backend makes no difference."""
    made = Topology()
    yield made
    made.close()


def told(done):
    return [each for each in done.warnings if each.startswith("proof: ")]


#: What somebody else has on the host, and what it breaks.
CAUSES = {
    "a rule that drops": FORWARD + "nft add rule inet other f iifname lan0 drop",
    "a rule that drops answers": FORWARD + "nft add rule inet other f oifname lan0 ct state established drop",
    "a nat chain in front": "nft add table ip other; "
    "nft 'add chain ip other s {type nat hook postrouting priority 50;}'; "
    "nft add rule ip other s ip saddr 192.168.1.0/24 snat to 203.0.113.77",
    "no tracking": "nft add table inet other; "
    "nft 'add chain inet other p {type filter hook prerouting priority raw;}'; "
    "nft add rule inet other p iifname lan0 notrack",
    "no route to the LAN": "ip route add blackhole 192.168.1.0/25; ip route add blackhole 192.168.1.128/25",
    "rp_filter": "ip route add 192.168.1.0/25 dev guest0; ip route add 192.168.1.128/25 dev guest0; "
    "echo 1 > /proc/sys/net/ipv4/conf/all/rp_filter; echo 1 > /proc/sys/net/ipv4/conf/lan0/rp_filter",
    "a filter of tc": "ip link add hole0 type veth peer name hole1; ip link set hole0 up; "
    "tc qdisc add dev lan0 clsact; tc filter add dev lan0 ingress protocol ip "
    "u32 match ip protocol 6 0xff action mirred egress redirect dev hole0",
    "answers that are sent elsewhere": "ip rule add pref 10 to 192.168.1.0/24 lookup 77; "
    "ip route add default dev guest0 table 77",
}


#: The culprit, in the message of the run that fails.
CULPRITS = {
    "a rule that drops": '; dropped by chain f of table inet other (rule: iifname "lan0" drop)',
    "a rule that drops answers": "; dropped by chain f of table inet other (rule: ",
    "a nat chain in front": "; translated by chain s of table ip other (rule: ip saddr 192.168.1.0/24 snat to ",
    "no tracking": '; not translated because of chain p of table inet other (rule: iifname "lan0" notrack)',
    "no route to the LAN": " by route blackhole 192.168.1.128/25 of table main",
    "rp_filter": "; dropped by rp_filter (net.ipv4.conf.all.rp_filter is 1), because packets for 192.168.1.253 leave "
    "through ",
    "a filter of tc": "; taken by a filter of tc at the ingress of lan0 (protocol ip, ",
    "answers that are sent elsewhere": " by ip rule 10 (to 192.168.1.0/24 lookup 77)",
}


@pytest.mark.parametrize("cause", CAUSES)
def test_a_change_that_cuts_a_lan_off_takes_itself_back(nft, wires, cause):
    sh(CAUSES[cause])
    before, others = nft.host.snapshot(), nft.rules()
    with pytest.raises(GatewayError) as caught:
        nft.apply(proof="required", **ONE_LAN)
    first, *_more = caught.value.problems
    assert first.startswith("proof: office reaches the Internet through wan0 (")
    assert " is broken: " in first and CULPRITS[cause] in first
    assert caught.value.problems[-2:] == (proving.KEPT_ANYWAY, "the host is as it was before")
    assert nft.rules() == others and nft.state() is None
    assert nft.host.snapshot()["switches"] == before["switches"]


def test_on_every_backend(gate, net):
    sh(CAUSES["a rule that drops"])
    with pytest.raises(proving.Unproven):
        gate.apply(proof="required", **ONE_LAN)
    assert gate.live() == ()
    sh("nft delete table inet other")
    done = gate.apply(proof="required", **ONE_LAN)
    counts = done.values["proof"]["counts"]
    assert counts["holds"] >= 12 and counts["broken"] == counts["unmeasurable"] == 0
    assert told(done) == [] and gate.info()["proof"]["counts"] == counts
    # A run that changes nothing sends nothing.
    assert "proof" not in gate.apply(proof="required", **ONE_LAN).values


def test_a_change_that_is_made_again_has_all_of_its_time(nft, wires, monkeypatch):
    """Without systemd, the timer of the first attempt cannot be stopped. It ends no other attempt than its own."""
    nft.apply(proof="required", **ONE_LAN)
    sh(FORWARD + "nft add rule inet other f iifname lan0 meta l4proto udp drop")
    began, arm, waits = [], rollback.arm, rollback.Confirmation(12, "token", "14:05:30")

    def armed(*words):
        began.append(time.monotonic())
        return arm(*words)

    monkeypatch.setattr(rollback, "arm", armed)
    pending = nft.apply(proof="required", mss="keep", confirmation=waits, **ONE_LAN).values["pending"]
    assert len(began) == 2 and pending["token"] != waits.token and pending["seconds"] == 12
    wait_until(lambda: time.monotonic() > began[0] + 13, "the timer of the first attempt")
    if time.monotonic() < began[1] + 12:
        assert nft.host.exists(rollback.folder_of("default"))
    assert rollback.finish("default", "token", True, nft.host).was == "reverted"
    wait_until(lambda: not nft.host.exists(rollback.folder_of("default")), "it was not rolled back")
    assert time.monotonic() > began[1] + 11.5
    assert rollback.finish("default", pending["token"], True, nft.host).was == "reverted"


def test_what_was_broken_before_is_told_and_stays(nft, wires):
    """The change is rolled back, the host is measured without it, and as it is no better, the change is made again."""
    nft.apply(proof="required", **ONE_LAN)
    sh(FORWARD + "nft add rule inet other f iifname lan0 meta l4proto udp drop")
    broken = {"proof: office reaches the Internet through wan0 (udp, IPv{0})".format(version) for version in (4, 6)}
    for mss in ("keep", "pmtu"):
        done = nft.apply(proof="required", mss=mss, **ONE_LAN)
        names = [each.partition(" is broken")[0] for each in told(done)]
        assert broken <= set(names) and all("udp" in each for each in names)
        assert not nft.apply(mss=mss, **ONE_LAN).changed
    # What this change alone breaks is its fault nevertheless: a LAN that was not there.
    sh("nft add rule inet other f iifname guest0 drop")
    with pytest.raises(proving.Unproven) as caught:
        nft.apply(proof="required", **TWO_LANS)
    assert caught.value.problems[0].startswith("proof: guests reaches the Internet")
    assert not any("office" in each for each in caught.value.problems)


@pytest.mark.parametrize("rule", ["from 192.168.2.0/24", "iif guest0"])
def test_a_lan_that_a_rule_leads_to_another_wan_is_sound(gate, net, rule):
    """Its table has only a default route, so what it sends to another network leaves through that WAN, translated."""
    net.wire_second_wan()
    third(net, "mgmt0", "mgmt", "10.9.9", "fd09")
    sh("ip rule add {0} lookup 200; ip route add default via {1} table 200".format(rule, ISP4))
    sh("for file in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 > $file; done")
    wans = [{"interface": "wan0"}, {"interface": "wan1"}]
    done = gate.apply(proof="required", wans=wans, lans=[OFFICE, GUESTS])
    assert done.values["proof"]["counts"]["broken"] == 0
    with Sniffer(net, "isp") as provider, Sniffer(net, "office") as inside:
        send(net, "guest", [udp(CLIENTS["guest"][1], CLIENTS["office"][1])])
        assert {str(source) for source, proto in provider.sources(0.4) if proto == 17} == {SECOND4}
        assert not [source for source, proto in inside.sources() if proto == 17]


HOPS = "ip {0} route replace default nexthop via {1} dev wan0 nexthop via {2} dev wan1; "
MARKED = "nft add table inet theirs; nft 'add chain inet theirs p {type filter hook prerouting priority mangle;}'; "
MARKED += "nft add rule inet theirs p iifname guest0 meta mark set 1; "
BY_MARK = "ip {0} rule add fwmark 1 lookup 200; ip {0} route add default via {1} table 200; "
#: How the routes lead what LANs send to one of two WANs, so that which one it is depends on more than the addresses.
CHOICES = {
    "several next hops": "ip -6 route del default; " + HOPS.format("-4", WAN4, ISP4) + HOPS.format("-6", WAN6, ISP6),
    "a mark": MARKED + BY_MARK.format("-4", ISP4) + BY_MARK.format("-6", ISP6),
    "a rule that prohibits": "ip -6 rule add from fd00:2::/64 prohibit pref 101; ",
    "a line for the server": "ip rule add from 192.168.1.10 lookup 200; "
    "ip route add default via {0} table 200; ".format(ISP4),
    "a table that prohibits": "ip rule add from 192.168.2.0/24 lookup 200; ip route add blackhole default table 200; ",
}


WEB = {"name": "web", "port": ["443"], "to": [CLIENTS["office"][1]]}


@pytest.mark.parametrize("choice", CHOICES)
def test_what_the_routes_send_to_another_wan_is_no_fault(gate, net, choice):
    net.wire_second_wan()
    sh(CHOICES[choice] + "for file in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 > $file; done")
    wans = [{"interface": "wan0"}, {"interface": "wan1"}]
    for options in ({}, {"drop_bogons": True}):
        done = gate.apply(proof="required", wans=wans, lans=[OFFICE, GUESTS], port_forwards=[WEB], **options)
        counts = done.values["proof"]["counts"]
        assert counts["broken"] == 0 and counts["holds"] > 80 and counts["unmeasurable"]


def test_a_dead_line_is_no_fault_of_a_port_forward(gate, net):
    """A gateway may be set up before its line is there."""
    sh("ip route replace default via 203.0.113.77; ip -6 route replace default via 2001:db8:ff::77")
    six = {"name": "six", "port": ["443"], "to": [CLIENTS["office"][2]]}
    done = gate.apply(proof="required", wans=ONE_LAN["wans"], lans=[OFFICE, GUESTS], port_forwards=[WEB, six])
    counts = done.values["proof"]["counts"]
    assert counts["broken"] == 0 and counts["holds"] > 50 and counts["unmeasurable"]


def test_a_neighbour_that_nobody_has_asked_for_is_not_silent(gate, net):
    """As after a boot: what is dropped before it leaves has asked for nobody."""
    sh(FORWARD + "nft add rule inet other f iifname wan0 ct state new drop")
    sh("ip neigh flush all; ip -6 neigh flush all")
    with pytest.raises(proving.Unproven, match="port forward 'web' from wan0"):
        gate.apply(proof="required", port_forwards=[WEB], **ONE_LAN)


@pytest.mark.parametrize("dead", [0, 1])
def test_a_dead_line_of_two_is_no_fault(gate, net, dead):
    net.wire_second_wan()
    routers = ([WAN4, ISP4], [WAN6, ISP6])
    routers[0][dead], routers[1][dead] = (("203.0.113.77", "2001:db8:ff::77"), ("198.51.100.77", "2001:db8:ee::77"))[
        dead
    ]
    sh("ip -6 route del default; " + HOPS.format("-4", *routers[0]) + HOPS.format("-6", *routers[1]) + "true")
    sh("for file in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 > $file; done")
    wans = [{"interface": "wan0"}, {"interface": "wan1"}]
    counts = gate.apply(proof="required", wans=wans, lans=[OFFICE, GUESTS]).values["proof"]["counts"]
    assert counts["broken"] == 0 and counts["holds"] > 50 and counts["unmeasurable"]


def test_a_policy_that_drops_is_found_where_a_warning_lets_it_pass(nft, wires):
    """As docker leaves it; with backend auto, our rules would be in the same table."""
    sh("iptables-nft -P FORWARD DROP; ip6tables-nft -P FORWARD DROP")
    with pytest.raises(GatewayError, match="the policy of its chain FORWARD drops forwarded packets"):
        nft.apply(proof="required", **ONE_LAN)
    with pytest.raises(proving.Unproven, match="office reaches the Internet through wan0"):
        nft.apply(proof="required", foreign="warn", **ONE_LAN)
    sh("iptables-nft -I FORWARD -i lan0 -j ACCEPT; iptables-nft -I FORWARD -o lan0 -j ACCEPT")
    sh("ip6tables-nft -I FORWARD -i lan0 -j ACCEPT; ip6tables-nft -I FORWARD -o lan0 -j ACCEPT")
    done = nft.apply(proof="required", foreign="warn", **ONE_LAN)
    assert told(done) == [] and done.values["proof"]["counts"]["broken"] == 0


def test_report_tells_and_off_does_nothing(nft, wires):
    sh(CAUSES["a rule that drops"])
    done = nft.apply(proof="report", **ONE_LAN)
    assert len(told(done)) == done.values["proof"]["counts"]["broken"] >= 6
    assert CULPRITS["a rule that drops"] in told(done)[0]
    assert gateway_info("default", nft.host)["proof"]["broken"] == [each[len("proof: ") :] for each in told(done)]
    assert "proof" not in nft.apply(proof="off", mss="keep", **ONE_LAN).values
    assert gateway_info("default", nft.host)["proof"] is None


def test_what_cannot_be_measured_fails_nothing_and_is_told(nft, wires):
    sh("ip link set guest0 down")
    done = nft.apply(proof="required", wans=ONE_LAN["wans"], lans=[OFFICE, GUESTS])
    assert done.values["proof"]["counts"]["unmeasurable"] > 0
    assert [note for note in done.notes if note.endswith("cannot be measured: guest0 is down")]


def test_a_change_that_waits_is_proven_before_it_is_confirmed(nft, wires):
    waits = rollback.Confirmation(3600, "token", "14:05:30")
    sh(CAUSES["a rule that drops"])
    with pytest.raises(proving.Unproven):
        nft.apply(confirmation=waits, proof="required", **ONE_LAN)
    assert not nft.host.exists(rollback.folder_of("default"))
    sh("nft delete table inet other")
    assert nft.apply(confirmation=waits, proof="required", **ONE_LAN).values["proof"]["counts"]["holds"] >= 12
    assert gateway_info("default", nft.host)["proof"] is None, "not yet kept"
    assert rollback.finish("default", "token", True, nft.host).changed
    assert gateway_info("default", nft.host)["proof"]["counts"]["holds"] >= 12


def test_check_mode_sends_nothing(nft, wires):
    sh(CAUSES["a rule that drops"])
    assert "proof" not in nft.apply(check=True, proof="required", **ONE_LAN).values


WAITS = rollback.Confirmation(8, "token", "14:05:30")


def test_another_proof_takes_no_time_of_this_one(nft, wires):
    sh(CAUSES["a rule that drops"])
    handle = loop.open_tun(loop.LOCK)  # what each proof has for as long as it runs
    threading.Timer(3, os.close, (handle,)).start()
    with pytest.raises(proving.Unproven, match="office reaches the Internet through wan0"):
        nft.apply(proof="required", confirmation=WAITS, **ONE_LAN)


def test_no_time_for_a_proof_is_no_proof(nft, wires, monkeypatch):
    """The other proof begins after the change, and goes on until this one has to be confirmed."""
    monkeypatch.setattr(proving, "wait", lambda _host: None, raising=False)
    handle = loop.open_tun(loop.LOCK)
    try:
        with pytest.raises(GatewayError) as caught:
            nft.apply(proof="required", confirmation=replace(WAITS, seconds=4), **ONE_LAN)
        assert "no promise was tried: another proof has been running for 1 s" in caught.value.problems[0]
        assert caught.value.problems[-1] == "the host is as it was before" and nft.state() is None
        # The timer of the first one still runs, and knows its change by the token.
        second = rollback.Confirmation(8, "second", "14:05:30")
        done = nft.apply(proof="report", confirmation=second, **ONE_LAN)
        assert any("another proof has been running" in note for note in done.notes)
    finally:
        os.close(handle)
    rollback.finish("default", "second", True, nft.host)


#: What ends a change while it is proven, and what the run says about it.
ENDS = {
    "the deadline": (lambda _gate: None, "it took longer than its 3 s"),
    "a service": (lambda gate: gate.host.boot(), "a service reloaded the rules while the change was pending"),
    "a person": (lambda gate: rollback.finish("default", "token", False, gate.host), "reverted by "),
}


@pytest.mark.parametrize("early", [True, False])
@pytest.mark.parametrize("by", ENDS)
def test_a_change_that_is_taken_back_during_its_proof(nft, wires, monkeypatch, by, early):
    """The packets show nothing about it then, whatever they found; and nothing is left that a later run has to wait
    for."""
    end, why = ENDS[by]
    nft.apply(**ONE_LAN)
    before, prove = nft.host.snapshot(), proving.prove

    def proven(*words):
        found = None if early else prove(*words)
        end(nft)
        wait_until(lambda: not nft.host.exists(rollback.folder_of("default")), "it was not rolled back")
        return found or prove(*words)

    monkeypatch.setattr(proving, "prove", proven)
    # The old rules break the second promise, and keep all of the first change.
    for change in ({"log": ["spoofed"]}, {"port_forwards": [{"name": "web", "port": ["443"], "to": ["192.168.1.10"]}]}):
        waits = replace(WAITS, seconds=3 if by == "the deadline" else 60)
        with pytest.raises(rollback.RolledBack) as caught:
            nft.apply(proof="required", confirmation=waits, **ONE_LAN, **change)
        assert caught.value.problems[0].startswith("the change was rolled back before it was complete: " + why)
        assert caught.value.problems[1:] == ("the host is as it was before",)
        assert nft.host.snapshot() == before and not nft.host.find(rollback.FOLDER + "/.default-*")
    monkeypatch.setattr(proving, "prove", prove)
    assert nft.apply(proof="required", **ONE_LAN, log=["spoofed"]).changed


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("other", ["default", "branch"])
def test_what_another_run_has_made_since_a_rollback_stays(nft, wires, monkeypatch, first, other):
    """Forwarding, for one, was switched off again by the run whose change a person had already rolled back."""
    if not first:
        nft.apply(**ONE_LAN)
    prove, theirs = proving.prove, Gate("nft", nft.host.root)
    lans = {"wans": ONE_LAN["wans"], "lans": [GUESTS]} if other == "branch" else TWO_LANS

    def proven(*words):
        monkeypatch.setattr(proving, "prove", prove)
        found = prove(*words)
        assert rollback.finish("default", "token", False, nft.host).changed
        theirs.apply(instance=other, **lans)
        return found

    monkeypatch.setattr(proving, "prove", proven)
    with pytest.raises(rollback.RolledBack) as caught:
        nft.apply(proof="required", confirmation=WAITS, log=["spoofed"], **ONE_LAN)
    said = "another run has changed this host since; run this one again"
    assert caught.value.problems[1:] == (said if other == "default" else "the host is as it was before",)
    assert theirs.info(other)["as_applied"] and wires.tcp("guest", "wan", WAN4) == "203.0.113.2"


def test_a_folder_that_an_earlier_version_has_left_is_no_change(nft, wires):
    nft.apply(**ONE_LAN)
    left = rollback.folder_of("default") + "/proof"
    nft.host.put(left, "{}")
    assert not nft.apply(check=True, **ONE_LAN).changed and nft.host.exists(left)
    assert nft.apply(mss="keep", **ONE_LAN).changed and not nft.host.exists(left)
