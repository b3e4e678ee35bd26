# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whatever breaks a promise is named: whose rule, which route, switch or filter."""

from __future__ import annotations

import os
import signal
import time

import pytest
from helpers import OFFICE, ONE_LAN
from sandbox import sh
from test_proof import INTO, broken, in_child, proved, traces
from topology import Topology

from ansible_collections.ipmasq.linux.plugins.module_utils._change.probe import gateway_probe
from ansible_collections.ipmasq.linux.plugins.module_utils._proof import prove as proving, trace
from ansible_collections.ipmasq.linux.plugins.module_utils._proof.oracle import Oracle


@pytest.fixture
def wires():
    """The surroundings, for tests in which the backend makes no difference."""
    made = Topology()
    yield made
    made.close()


#: What somebody does to a host and how to undo it, whose fault it is, and the words for it. {tool} is iptables here.
#: The promise is that of ICMP where the command says so, otherwise of TCP.
OTHER = "nft add table {0} other; nft 'add chain {0} other c {{{{type {1};}}}}'; nft add rule {0} other c "
GONE = "nft delete table {0} other"
FORWARD = OTHER.format("inet", "filter hook forward priority 5")
TABLES = {
    "a rule": (
        FORWARD + "ip saddr 192.168.1.0/24 counter drop", GONE.format("inet"), "other",
        "dropped by chain c of table inet other (rule: ip saddr 192.168.1.0/24 drop)",
    ),
    "a rule that rejects answers": (
        FORWARD + "ip daddr 192.168.1.0/24 reject", GONE.format("inet"), "other",
        "rejected by chain c of table inet other (rule: ip daddr 192.168.1.0/24 reject",
    ),
    "a policy": (
        FORWARD.replace("priority 5", "priority 5; policy drop") + "counter", GONE.format("inet"), "other",
        "dropped by the policy of chain c of table inet other",
    ),
    "a nat chain in front": (
        OTHER.format("ip", "nat hook postrouting priority 50") + "ip saddr 192.168.1.0/24 snat to 203.0.113.77",
        GONE.format("ip"), "other",
        "translated by chain c of table ip other (rule: ip saddr 192.168.1.0/24 snat to 203.0.113.77)",
    ),
    "notrack": (
        OTHER.format("inet", "filter hook prerouting priority raw") + "iifname lan0 notrack", GONE.format("inet"),
        "other",
        'not translated because of chain c of table inet other (rule: iifname "lan0" notrack); then dropped by '
        "this gateway's guard",
    ),
    "an ingress rule": (
        OTHER.format("netdev", "filter hook ingress device lan0 priority 0") + "ip protocol tcp drop",
        GONE.format("netdev"), "other",
        "dropped by chain c of table netdev other (rule: ip protocol tcp drop)",
    ),
}  # fmt: skip
IPTABLES = {
    "a rule of iptables": (
        "{tool} -I FORWARD -i lan0 -p tcp -m comment --comment mine -j DROP",
        "{tool} -D FORWARD 1",
        "other",
        ("dropped by chain FORWARD of table ", "rule: -i lan0 -p tcp -m comment --comment mine -j DROP)"),
    ),
    "notrack of iptables": (
        "{tool} -t raw -I PREROUTING -i lan0 -p tcp -j CT --notrack",
        "{tool} -t raw -F",
        "other",
        ("not translated because of chain PREROUTING of table ", "; then dropped by this gateway's guard"),
    ),
    "nat of iptables": (
        "{tool} -t nat -I POSTROUTING -p icmp -o wan0 -j SNAT --to-source 203.0.113.77",
        "{tool} -t nat -D POSTROUTING 1",
        "other",
        ("translated by chain POSTROUTING of table ", "-j SNAT --to-source 203.0.113.77)"),
    ),
}
POLICY = {
    "a policy of iptables, as docker has it": (
        "{tool} -P FORWARD DROP", "{tool} -P FORWARD ACCEPT", "other",
        "dropped by the policy of chain FORWARD of table ",
    ),
}  # fmt: skip
KERNEL = {
    "no route to the LAN": (
        "ip route add blackhole 192.168.1.128/25", "ip route del blackhole 192.168.1.128/25", "host",
        "not routed to 192.168.1.253 by route blackhole 192.168.1.128/25 of table main",
    ),
    "rp_filter": (
        "ip route add 192.168.1.128/25 dev guest0; echo 1 > /proc/sys/net/ipv4/conf/lan0/rp_filter",
        "ip route del 192.168.1.128/25; echo 0 > /proc/sys/net/ipv4/conf/lan0/rp_filter", "host",
        "dropped by rp_filter (net.ipv4.conf.lan0.rp_filter is 1), because packets for 192.168.1.253 leave through "
        "route 192.168.1.128/25 dev guest0 of table main",
    ),
    "forwarding of an interface": (
        "echo 0 > /proc/sys/net/ipv4/conf/lan0/forwarding", "echo 1 > /proc/sys/net/ipv4/conf/lan0/forwarding",
        "host", "not forwarded, as net.ipv4.conf.lan0.forwarding is 0",
    ),
    "policy routing": (
        "ip rule add pref 10 to 192.168.1.0/24 lookup 77; ip route add default dev guest0 table 77; "
        "echo 0 > /proc/sys/net/ipv4/conf/all/rp_filter; echo 0 > /proc/sys/net/ipv4/conf/lan0/rp_filter",
        "ip rule del pref 10", "host",
        "routed to guest0 by route default dev guest0 by ip rule 10 (to 192.168.1.0/24 lookup 77)",
    ),
    "a filter of tc": (
        "tc qdisc add dev lan0 clsact; tc filter add dev lan0 ingress protocol ip pref 5 "
        "u32 match ip protocol 6 0xff action " + INTO, "tc qdisc del dev lan0 clsact", "host",
        "taken by a filter of tc at the ingress of lan0 (protocol ip, pref 5, u32: redirect to hole0)",
    ),
    "a filter of tc that keeps packets in": (
        "tc qdisc add dev wan0 clsact; tc filter add dev wan0 egress protocol ip pref 5 "
        "u32 match ip protocol 6 0xff action " + INTO, "tc qdisc del dev wan0 clsact", "host",
        "taken by a filter of tc at the egress of wan0 (protocol ip, pref 5, u32: redirect to hole0)",
    ),
}  # fmt: skip
#: By the gateway's backend.
CAUSES = {
    "nft": {**TABLES, **POLICY, **KERNEL},
    "iptables-nft": {**IPTABLES, "notrack": TABLES["notrack"]},
    "iptables-legacy": {**IPTABLES, "a rule": TABLES["a rule"], "no route to the LAN": KERNEL["no route to the LAN"]},
}
LINK = "ip link add hole0 type veth peer name hole1; ip link set hole0 up"
PROMISE = "office reaches the Internet through wan0 ({0}, IPv4)"


def test_the_culprit_is_named(gate, net, monkeypatch):
    monkeypatch.setattr(proving, "PATIENCE", 0.3)
    gate.apply(**ONE_LAN)
    sh(LINK)
    tool = "iptables-nft" if gate.programs == "nft" else gate.tool()
    wrong = {}
    for cause, (command, undo, by, words) in CAUSES[gate.programs].items():
        sh(command.format(tool=tool))
        before = traces()
        found = broken(gate, "reach").get(PROMISE.format("icmp" if "icmp" in command else "tcp"))
        if (
            not found
            or found.by != by
            or not all(each in found.cause for each in ([words] if isinstance(words, str) else words))
        ):
            wrong[cause] = found
        assert traces() == before
        sh(undo.format(tool=tool))
    assert wrong == {}
    assert broken(gate) == {}, "and nobody is named for nothing"


#: What somebody does to our own rules, a promise that it breaks, and the words.
OURS = {
    "nft insert rule inet ipmasq between iifname wan0 accept": (
        "office is closed from wan0 (tcp, IPv4)",
        'let through by chain between of table inet ipmasq (rule: iifname "wan0" accept), which this gateway did not '
        "make",
    ),
    "nft flush chain inet ipmasq srcnat": (
        PROMISE.format("tcp"),
        "no NAT rule matches it; dropped by this gateway's guard against private sources outside (chain egress of "
        "table inet ipmasq, rule: ",
        "); the host differs from what was applied: + srcnat: ",
    ),
    "nft flush chain inet ipmasq mss": (
        "the MSS between office and wan0 is at most 1300 (IPv4)",
        "the host differs from what was applied: + ",
    ),
    "nft insert rule inet ipmasq opens-office oifname wan0 tcp dport 49443 drop": (
        PROMISE.format("tcp"),
        'dropped by chain opens-office of table inet ipmasq (rule: oifname "wan0" tcp dport 49443 drop), which this '
        "gateway did not make",
    ),
    "ip route replace 192.0.2.0/24 dev lan0; nft add table inet other": (PROMISE.format("tcp"),),
}


def test_what_somebody_does_to_our_rules(nft, wires, monkeypatch):
    monkeypatch.setattr(proving, "PATIENCE", 0.3)
    declared = {"wans": [{"interface": "wan0", "mss": "1300"}], "lans": [OFFICE]}
    for command, (name, *words) in OURS.items():
        nft.apply(**declared)
        sh(command)
        values = gateway_probe("default", nft.host)
        found = {each["name"]: each for each in values["results"]}[name]
        assert all(each in found["cause"] for each in words) and found["by"] == ("gateway" if words else ""), found
        assert values["proven"] == (not words)
        assert all(found["cause"] in each for each in values["broken"] if each.startswith(name))


def test_an_item_of_the_declaration_is_named(gate, net, monkeypatch):
    """A rule that the probe's own packets meet, though the declaration says that they pass: a mistake of ours."""
    monkeypatch.setattr(proving, "PATIENCE", 0.3)
    monkeypatch.setattr(Oracle, "filtered", lambda *_more: None)
    mail = {"name": "all", "protocol": ["tcp"], "action": "drop"}
    gate.apply(outbound=[mail], **ONE_LAN)
    found = broken(gate, "reach")[PROMISE.format("tcp")]
    assert found.by == "gateway"
    assert found.cause.startswith("dropped by this gateway's outbound 'all' (chain "), found


def test_killed_while_it_traces(nft, wires, monkeypatch):
    nft.apply(**ONE_LAN)
    sh("nft add table inet other; nft 'add chain inet other c {type filter hook forward priority 5; policy drop;}'")
    before = traces()
    monkeypatch.setattr(proving, "PATIENCE", 0.3)
    monkeypatch.setattr(trace, "events", lambda *_more: os.kill(os.getpid(), signal.SIGKILL))
    child = in_child(lambda: proved(nft))
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    until = time.monotonic() + 10
    while traces() != before and time.monotonic() < until:
        time.sleep(0.02)
    assert traces() == before
