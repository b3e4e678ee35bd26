# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Real causes are in tests/integration/test_proof_blames.py."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._base.host import Done
from ansible_collections.ipmasq.linux.plugins.module_utils._proof import blame, counters
from ansible_collections.ipmasq.linux.plugins.module_utils._proof.model import GATEWAY, HOST, OTHER, Culprit
from ansible_collections.ipmasq.linux.plugins.module_utils._proof.packets import Packet
from ansible_collections.ipmasq.linux.plugins.module_utils._proof.trace import Event, Flight
from ansible_collections.ipmasq.linux.plugins.module_utils._proof.watch import Evidence

OUT = Packet("192.168.1.9", "9.9.9.9", "tcp", 50007, 443)
CASE = blame.Case(OUT, "lan0", ("wan0",))
PASSED = blame.Case(OUT, "lan0", (), blame.PASSED)
REFUSED = blame.Case(OUT, "wan0", (), blame.REFUSED)
UNHEARD = blame.Case(OUT, "lan0", ("wan0",), blame.UNHEARD)
SPENT = blame.Case(OUT, "lan0", ("wan0",), blame.SPENT)
CHANGED = blame.Case(OUT, "lan0", ("wan0",), blame.CHANGED)
TRACED = Evidence(traced=True)
#: By chain, the rule with handle 1.
TEXTS = {
    "guard": 'oifname "wan0" drop comment "ipmasq:default/guard"',
    "mail": 'tcp dport 25 reject with tcp reset comment "ipmasq:default/outbound/mail"',
    "opens": 'oifname "wan0" accept comment "ipmasq:default/lan/office"',
    "by-hand": "accept",
    "raw": "iifname lan0 notrack",
    "nat": "snat to 203.0.113.77",
    "between": 'counter name ip daddr . tcp dport map {{ {0} }} accept comment "ipmasq:default/lookup"'.format(
        ", ".join('192.168.1.{0} . 80 : "port_forward/f{0}/accept"'.format(host) for host in range(1, 99))
    ),
}


class Host:
    def __init__(self, dev="wan0", refused="", kind="unicast", **switches):
        self.route = {"dst": "default", "dev": dev, "type": kind}
        self.refused, self.switches = refused, switches

    def which(self, program):
        return ""

    def read(self, path):
        return self.switches.get(path.rsplit("/", 1)[-1])

    def run(self, argv, stdin=None):
        if argv[0] == "nft":
            return Done(0, "table inet x {{\n{0} # handle 1\n}}".format(TEXTS.get(argv[-1], "drop")), "")
        if "get" in argv:
            return Done(2 if self.refused else 0, "[]", self.refused)
        listed = [{"priority": 32766, "src": "all", "table": "main"}] if "rule" in argv else [self.route]
        return Done(0, json.dumps(listed), "")


def flight(*events, reached="postrouting"):
    hooks = ["arrived", "prerouting", "forward", "postrouting"]
    seen = [Event("inet", "ipmasq_trace", name, "policy", "accept") for name in hooks[: hooks.index(reached) + 1]]
    return Flight(7, [*seen[:2], *events, *seen[2:]])


def met(chain, verdict, table="other", kind="rule"):
    return Event("inet", table, chain, kind, verdict, handle=1)


def found(case=CASE, way=None, host=None, evidence=TRACED):
    return blame.blame(case, evidence, way, host or Host())


@pytest.mark.parametrize(
    ("event", "by", "words"),
    [
        (met("f", "drop"), OTHER, "dropped by chain f of table inet other (rule: drop)"),
        (met("f", "queue"), OTHER, "handed to a program by chain f of table inet other (rule: drop)"),
        (met("f", "take"), OTHER, "taken away by chain f of table inet other (rule: drop)"),
        (met("f", "drop", kind="policy"), OTHER, "dropped by the policy of chain f of table inet other"),
        (
            met("mail", "drop", "ipmasq"), GATEWAY,
            "rejected by this gateway's outbound 'mail' "
            "(chain mail of table inet ipmasq, rule: tcp dport 25 reject with tcp reset)",
        ),
        (
            met("guard", "drop", "ipmasq"), GATEWAY,
            "no NAT rule matches it; dropped by this gateway's guard against private sources outside "
            '(chain guard of table inet ipmasq, rule: oifname "wan0" drop)',
        ),
    ],
)  # fmt: skip
def test_a_rule_that_stops_it(event, by, words):
    assert found(way=flight(event)) == Culprit(by, words)
    assert found(CHANGED, flight(event)) == Culprit(by, words), "what came then is the refusal"


def test_what_ours_only_completes():
    way = flight(met("raw", "continue"), met("guard", "drop", "ipmasq"))
    assert found(way=way).by == OTHER
    assert found(way=way).words.startswith("not translated because of chain raw of table inet other (rule: iifname")
    assert found(CHANGED, flight(met("nat", "accept"))) == Culprit(
        OTHER, "translated by chain nat of table inet other (rule: snat to 203.0.113.77)"
    )


def test_what_may_not_be_wrong():
    """A rule of somebody else decides in any case. Ours may be right."""
    theirs, ours = flight(met("f", "drop")), flight(met("mail", "drop", "ipmasq"))
    lost = flight(reached="prerouting")
    for case in (REFUSED, UNHEARD, SPENT):
        assert found(case, theirs) == Culprit(OTHER, "dropped by chain f of table inet other (rule: drop)")
    assert found(REFUSED, ours) == Culprit(GATEWAY, "no rule of this gateway stops it")
    assert found(UNHEARD, ours) == found(SPENT, ours) == Culprit()
    # Ours stops only what somebody else has made of it.
    translated = flight(met("nat", "accept"), met("mail", "drop", "ipmasq"))
    assert found(UNHEARD, translated).by == found(SPENT, translated).by == OTHER
    assert found(REFUSED, translated).by == GATEWAY
    assert found(UNHEARD, lost, Host(forwarding="0")) == Culprit()
    assert found(SPENT, lost, Host(forwarding="0")).by == HOST
    # What got as far as translation may lack a port there.
    assert found(SPENT, flight(reached="forward"), Host("wan1")) == found(SPENT) == Culprit()


def test_which_of_many_port_forwards_lets_it_through():
    """The packet at a rule has been translated since it came."""
    inside = Event("inet", "ipmasq", "forward", packet=replace(OUT, target="192.168.1.42", dport=80), handle=1)
    words = found(PASSED, flight(inside, met("between", "accept", "ipmasq"))).words
    assert words == (
        "let through by this gateway's port forward 'f42' (chain between of table inet ipmasq, "
        "rule: counter name ip daddr . tcp dport map { ... } accept)"
    )


def test_what_lets_it_through():
    assert found(PASSED, flight(met("opens", "accept", "ipmasq"))).words.startswith(
        "let through by this gateway's LAN 'office'"
    )
    # What translates afterwards is not asked.
    nat = flight(met("by-hand", "accept", "ipmasq"))
    nat.events.append(met("opens", "accept", "ipmasq"))
    assert found(PASSED, nat).words.endswith("(rule: accept), which this gateway did not make")
    assert found(PASSED, flight(met("f", "accept"))) == Culprit(GATEWAY, "no rule of this gateway stops it")


@pytest.mark.parametrize(
    ("reached", "host", "words"),
    [
        ("prerouting", Host(forwarding="0"), "not forwarded, as net.ipv4.conf.lan0.forwarding is 0"),
        (
            "prerouting", Host(kind="blackhole"),
            "not routed to 9.9.9.9 by route blackhole default dev wan0 of table main",
        ),
        (
            "prerouting", Host(kind="local"),
            "delivered to this host itself, by route local default dev wan0 of table main",
        ),
        (
            "prerouting", Host(refused="Invalid argument", rp_filter="1"),
            "dropped by rp_filter (net.ipv4.conf.all.rp_filter is 1), because packets for 192.168.1.9 leave through "
            "route default dev wan0 of table main",
        ),
        ("prerouting", Host(refused="Invalid argument"), "not routed to 9.9.9.9 (Invalid argument)"),
        ("prerouting", Host(), ""),
        ("postrouting", Host("wan1"), "routed to wan1 by route default dev wan1 of table main"),
        ("postrouting", Host(), ""),
        (
            "arrived", Host(nf_conntrack_count="9", nf_conntrack_max="9"),
            "dropped by connection tracking, whose table is full (nf_conntrack_max is 9)",
        ),
        ("arrived", Host(), ""),
    ],
)  # fmt: skip
def test_the_kernel(reached, host, words):
    assert found(way=flight(reached=reached), host=host) == Culprit(HOST if words else "", words)


def test_filters_of_tc():
    evidence = Evidence(True, filters={("lan0", "ingress"): ("a", "b"), ("wan0", "egress"): ("c",)})
    assert found(evidence=evidence).words == "taken by a filter of tc at the ingress of lan0 (a and 1 more)"
    assert found(way=flight(), evidence=evidence).words == "taken by a filter of tc at the egress of wan0 (c)"


def rose(*lines):
    zero = "*filter\n" + "\n".join(lines)
    both = {"ip": counters.read(zero)}, {"ip": counters.read(zero.replace("0:0", "1:40"))}
    return Evidence(False, (), *both)


@pytest.mark.parametrize(
    ("line", "by", "words"),
    [
        (":FORWARD DROP [0:0]", OTHER, "dropped by the policy of chain FORWARD of table filter (iptables-legacy)"),
        (
            "[0:0] -A FORWARD -p tcp -j REJECT", OTHER,
            "rejected by chain FORWARD of table filter (iptables-legacy, rule: -p tcp -j REJECT)",
        ),
        (
            '[0:0] -A IPMASQ-OPENS -m comment --comment "ipmasq:default/outbound/mail" -j DROP', GATEWAY,
            "dropped by this gateway's outbound 'mail' "
            "(chain IPMASQ-OPENS of table filter, iptables-legacy, rule: -j DROP)",
        ),
        ("[0:0] -A FORWARD -j ACCEPT", "", ""),
    ],
)  # fmt: skip
def test_counters_of_iptables_legacy(line, by, words):
    assert found(evidence=rose(line)) == Culprit(by, words)


def test_what_iptables_legacy_stops_in_any_case():
    """Where a neighbour may be dead, or a rate used up; a rule of ours may be right."""
    theirs, ours = "[0:0] -A FORWARD -j DROP", "[0:0] -A IPMASQ-OPENS -j DROP"
    for case in (UNHEARD, SPENT):
        for way in (None, flight(reached="prerouting"), flight(reached="forward")):
            assert found(case, way, evidence=rose(theirs)).words.startswith("dropped by chain FORWARD of table filter")
            assert found(case, way, evidence=rose(ours)) == Culprit()
            assert found(case, way, evidence=rose(theirs, ours)) == Culprit()
            assert found(case, way, evidence=Evidence(True, shared=True)) == Culprit()
    assert found(SPENT, flight(reached="prerouting"), Host(forwarding="0"), evidence=Evidence(True)).by == HOST


def test_what_iptables_legacy_translates_or_lets_through():
    guard = "[0:0] -A IPMASQ-EGRESS -m comment --comment ipmasq:default/guard -j DROP"
    found_now = found(evidence=rose("[0:0] -A PREROUTING -j CT --notrack", guard))
    assert found_now.by == OTHER and found_now.words.startswith("not translated because of chain PREROUTING")
    assert found(evidence=rose(guard)).words.startswith("no NAT rule matches it; dropped by this gateway's guard")
    assert found(CHANGED, evidence=rose("[0:0] -A POSTROUTING -j SNAT --to 1.2.3.4")).words.startswith("translated by")
    assert found(PASSED, evidence=rose("[0:0] -A IPMASQ-TO -j ACCEPT")).words.startswith(
        "let through by chain IPMASQ-TO"
    )
