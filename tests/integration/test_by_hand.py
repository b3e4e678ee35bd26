# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an operator breaks by hand: the proof of the whole gateway and the explanation of a packet both name it."""

from __future__ import annotations

import typing as t

import pytest
from helpers import Gate
from sandbox import sh
from test_explain import ask
from topology import Topology
from unhurried import patience

from ansible_collections.ipmasq.linux.plugins.module_utils._change.probe import gateway_probe
from ansible_collections.ipmasq.linux.plugins.module_utils._explain import trial
from ansible_collections.ipmasq.linux.plugins.module_utils._proof import prove as proving

DECLARED = {
    "wans": [{"interface": "wan0"}],
    "lans": [{"name": "office", "interfaces": ["lan0"], "networks": ["192.168.1.0/24"]}],
}


#: Seconds.
BRIEF = 0.4


class Way(t.NamedTuple):
    """``named``: what names the culprit; a pair if the proof and the explanation use other words."""

    do: str
    undo: str
    named: t.Any
    only: str = ""


def foreign(kind, rule):
    made = "nft add table inet foe; nft 'add chain inet foe f {{ type {0}; }}'; nft 'add rule inet foe f {1}'"
    return made.format(kind, rule)


GONE = "nft delete table inet foe"
HOLE = "ip link add hole0 type veth peer name hole1; ip link set hole0 up; tc qdisc add dev lan0 clsact; "
TC = "tc filter add dev lan0 ingress protocol ip u32 match u32 0 0 action mirred egress redirect dev hole0"
WAYS = {
    "a table of my own, before all others": Way(
        foreign("filter hook prerouting priority -350", "ip saddr 192.168.1.0/24 drop"), GONE,
        "dropped by chain f of table inet foe (rule: ip saddr 192.168.1.0/24 drop)"),
    "a table with the policy drop": Way(
        "nft add table inet foe; nft 'add chain inet foe f { type filter hook forward priority 5; policy drop; }'",
        GONE,
        "dropped by the policy of chain f of table inet foe"),
    "iptables -I FORWARD -j DROP": Way(
        "{tool} -I FORWARD -j DROP", "{tool} -D FORWARD -j DROP", "dropped by chain FORWARD of table "),
    "a rule for answers": Way(
        foreign("filter hook forward priority 5", "oifname lan0 ct state established drop"), GONE,
        "dropped by chain f of table inet foe (rule: oifname \"lan0\" ct state established drop)"),
    "notrack": Way(
        foreign("filter hook prerouting priority -300", "iifname lan0 notrack"), GONE,
        "not translated because of chain f of table inet foe (rule: iifname \"lan0\" notrack)"),
    "SNAT in front of ours": Way(
        foreign("nat hook postrouting priority 50", "ip saddr 192.168.1.0/24 snat ip to 203.0.113.77"), GONE,
        "translated by chain f of table inet foe"),
    "a netdev table": Way(
        "nft add table netdev foe; nft 'add chain netdev foe i { type filter hook ingress device lan0 priority 0; }'; "
        "nft add rule netdev foe i ip saddr 192.168.1.0/24 drop", "nft delete table netdev foe",
        "dropped by chain i of table netdev foe"),
    "tc filter": Way(HOLE + TC, "tc qdisc del dev lan0 clsact; ip link del hole0",
                     "taken by a filter of tc at the ingress of lan0"),
    "ip_forward=0": Way("sysctl -qw net.ipv4.ip_forward=0", "sysctl -qw net.ipv4.ip_forward=1",
                        "not forwarded, as net.ipv4.conf.lan0.forwarding is 0"),
    "rp_filter": Way(
        "sysctl -qw net.ipv4.conf.lan0.rp_filter=1; ip route add 192.168.1.0/25 dev guest0; "
        "ip route add 192.168.1.128/25 dev guest0",
        "sysctl -qw net.ipv4.conf.lan0.rp_filter=0; ip route del 192.168.1.0/25; ip route del 192.168.1.128/25",
        "dropped by rp_filter (net.ipv4.conf."),
    "blackhole": Way(
        "ip route add blackhole 0.0.0.0/1; ip route add blackhole 128.0.0.0/1",
        "ip route del blackhole 0.0.0.0/1; ip route del blackhole 128.0.0.0/1",
        ("no IPv4 route leaves through wan0", "not routed to 9.9.9.9 by route blackhole 0.0.0.0/1 of table main")),
    "ip rule to a table that leads nowhere": Way(
        "ip route add unreachable default table 77; ip rule add iif lan0 lookup 77 pref 100",
        "ip rule del pref 100; ip route flush table 77",
        "by route unreachable default by ip rule 100 (iif lan0 lookup 77)"),
    "a mark that a rule prohibits": Way(
        foreign("filter hook prerouting priority -150", "iifname lan0 meta mark set 7")
        + "; ip rule add fwmark 7 prohibit pref 50", GONE + "; ip rule del pref 50",
        "by ip rule 50 (fwmark 0x7 prohibit)"),
    "a default route to nobody": Way(
        "ip route replace default via 203.0.113.99", "ip route replace default via 203.0.113.1",
        ("203.0.113.99 does not answer on wan0", "nobody answers for 203.0.113.99 on wan0")),
    "the LAN's address removed": Way(
        "ip addr del 192.168.1.1/24 dev lan0", "ip addr add 192.168.1.1/24 dev lan0",
        ("lan0 has no IPv4 address", "routed to wan0 by route default via 203.0.113.1 dev wan0")),
    "the WAN down": Way(
        "ip link set wan0 down", "ip link set wan0 up; ip route add default via 203.0.113.1",
        ("wan0 is down", "wan0 is down, so bring it up first")),
    "our rule deleted": Way(
        "nft flush chain inet ipmasq srcnat", "", "no NAT rule matches it; dropped by this gateway's guard", "nft"),
    "a rule in our chain": Way(
        "{tool} -I IPMASQ-FORWARD -j DROP", "", "dropped by chain IPMASQ-FORWARD of table filter", "iptables-legacy"),
}  # fmt: skip


@pytest.mark.parametrize("programs", ["nft", "iptables-legacy"])
def test_what_is_broken_by_hand_is_named(programs, tmp_path, monkeypatch):
    gate, net, wrong = Gate(programs, tmp_path), Topology(), {}
    sh("sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.lan0.rp_filter=0")
    gate.apply(**DECLARED)
    assert gateway_probe("default", gate.host)["broken"] == []
    tool = gate.tool() if gate.option == "iptables" else "iptables-nft"
    try:
        for name, way in WAYS.items():
            if way.only not in ("", programs):
                continue
            monkeypatch.setattr(trial, "PATIENCE", patience())
            assert ask(gate, "192.168.1.10", "9.9.9.9", 443)["passes"], name  # sound again
            sh(way.do.replace("{tool}", tool))
            # Of what is broken, nothing comes, however long somebody waits.
            monkeypatch.setattr(proving, "PATIENCE", BRIEF)
            monkeypatch.setattr(trial, "PATIENCE", BRIEF)
            proof = gateway_probe("default", gate.host)["results"]
            told = "\n".join(each["reason"] + each["cause"] for each in proof if each["outcome"] != "holds")
            values = ask(gate, "192.168.1.10", "9.9.9.9", 443)
            by_proof, by_explain = way.named if isinstance(way.named, tuple) else (way.named, way.named)
            if by_proof not in told:
                wrong[name, "proof"] = told
            if by_explain not in values["culprit"] + values["verdict"] or (values["passes"] and values["as_declared"]):
                wrong[name, "explain"] = "\n".join(values["lines"])
            sh(way.undo.replace("{tool}", tool) or "true")
    finally:
        net.close()
    assert wrong == {}, "\n".join("{0}\n{1}".format(*each) for each in wrong.items())
