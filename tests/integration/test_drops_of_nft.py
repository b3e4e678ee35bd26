# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A chain of table ip filter drops. Only some of these chains are iptables', and only there does its accept count.

What nft wrote under another name than iptables' or at another place is beside iptables' chain, so both decide. Rules
that iptables-nft cannot read make it list nothing of that table, its own rules included.
"""

from __future__ import annotations

import pytest
from helpers import OFFICE, ONE_LAN
from sandbox import sh
from test_lan_services import SERVED, bare, leased, served
from topology import GATE4, WAN4

from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError

HOLDS = "table ip filter {{ chain {0} {{ type filter hook {1} priority {2}; policy drop; {3}; }}; }}"
KNOWN = "ct state established,related accept"
#: Chain, priority and a rule, in which {0} is the hook's name.
OF_NFT = {
    "another name": ("{0}", 0, KNOWN),
    "another name without rules": ("{0}", 0, ""),
    "another place": ("{1}", 10, "iifname lo accept"),
    "rules that iptables cannot read": ("{1}", 0, KNOWN),
}
TOLD = {
    "input": "table ip filter: the policy of its chain {0} drops packets to this host, including those from served "
    "LANs; accept there, from lan0: UDP ports 53, 67 and 547",
    "forward": "table ip filter: the policy of its chain {0} drops forwarded packets; set its policy to accept",
}
MOVE = (
    "iptables-nft: cannot list table ip filter, because rules that iptables does not know are there; move these to a "
)
MOVE += "table of another name"
REFUSED = {
    "another place": "iptables-nft: chain {0} of table ip filter is not at the hook or priority of iptables' own "
    "chain, which cannot be made beside it; move it to a table of another name",
    "rules that iptables cannot read": MOVE + ", or set backend=nftables",
}
DECLARED = {"input": dict(ONE_LAN, lans=[SERVED], dns_upstream=["9.9.9.9"]), "forward": dict(ONE_LAN, lans=[OFFICE])}


@pytest.fixture
def gate(tmp_path, dnsmasq, monkeypatch):
    with served("nft", tmp_path, dnsmasq, monkeypatch) as made:
        yield made


def write(kind, hook):
    name, priority, rule = OF_NFT[kind]
    name = name.format(hook, hook.upper())
    sh("nft '{0}'".format(HOLDS.format(name, hook, priority, rule)))
    return TOLD[hook].format(name)


def without_iptables(gate):
    which = gate.host.which
    gate.host.which = lambda program: "" if "tables" in program else which(program)


def tables():
    return sorted(sh("nft list tables").splitlines())


def about_tables(done):
    return [remark for remark in done.remarks if remark.startswith("table ")]


@pytest.mark.parametrize("iptables", ["there", "missing"])
@pytest.mark.parametrize("kind", OF_NFT)
@pytest.mark.parametrize("first", ["gateway", "table"])
def test_auto_stays_on_nft_where_iptables_would_not_help(gate, net, kind, first, iptables):
    if iptables == "missing":
        without_iptables(gate)
    if first == "gateway":
        gate.apply(backend="auto", **DECLARED["input"])
    told = write(kind, "input")
    done = gate.apply(backend="auto", **DECLARED["input"])
    assert done.change.scene.backend.programs == "nft"
    (remark,) = about_tables(done)
    assert remark.startswith(told)
    assert tables() == ["table inet ipmasq", "table ip filter"]
    again = gate.apply(backend="auto", **DECLARED["input"]).to_dict()["differences"]
    assert [line for line in again if "fence" not in line] == []


@pytest.mark.parametrize("iptables", ["there", "missing"])
@pytest.mark.parametrize("kind", OF_NFT)
def test_what_drops_forwarded_packets_is_refused_with_what_helps(gate, net, kind, iptables):
    if iptables == "missing":
        without_iptables(gate)
    told = write(kind, "forward")
    with pytest.raises(GatewayError) as error:
        gate.apply(backend="auto", **DECLARED["forward"])
    (problem,) = error.value.problems
    assert problem.startswith(told)
    assert tables() == ["table ip filter"], "nothing was touched"
    done = gate.apply(backend="auto", foreign="warn", **DECLARED["forward"])
    assert done.change.scene.backend.programs == "nft" and problem in done.warnings


@pytest.mark.parametrize("hook", DECLARED)
@pytest.mark.parametrize("kind", OF_NFT)
def test_iptables_on_request(gate, net, kind, hook):
    """Its rules are loaded only where they can be read back, and a sentence says where they do not help."""
    told = write(kind, hook)
    before = sh("nft -s list ruleset")
    if kind in ("another place", "rules that iptables cannot read") or hook == "forward":
        with pytest.raises(GatewayError) as error:
            gate.apply(backend="iptables", **DECLARED[hook])
        (problem,) = error.value.problems
        if "another name" in kind:
            assert problem.startswith(told)
        else:
            assert problem == REFUSED[kind].format(hook.upper())
        assert sh("nft -s list ruleset") == before, "nothing was touched"
        return
    done = gate.apply(backend="iptables", **DECLARED[hook])
    assert done.change.scene.backend.programs == "iptables-nft"
    (remark,) = about_tables(done)
    assert remark.startswith(told)


@pytest.mark.parametrize("writer", ["iptables-nft", "nft"])
@pytest.mark.parametrize("first", ["gateway", "table"])
def test_auto_moves_where_iptables_accepts_before_the_drop(gate, net, programs, tmp_path, first, writer):
    """iptables reads what nft wrote for its chain if it knows each word of it."""
    drop = {"iptables-nft": "iptables-nft -P INPUT DROP", "nft": "nft '{0}'".format(
        HOLDS.format("INPUT", "input", 0, "iifname lo accept"))}[writer]  # fmt: skip
    if first == "table":
        sh(drop)
    gate.apply(backend="auto", **DECLARED["input"])
    if first == "gateway":
        sh(drop)
    done = gate.apply(backend="auto", **DECLARED["input"])
    assert done.change.scene.backend.programs == "iptables-nft" and not about_tables(done)
    bare(net, "office")
    assert leased(net, "office", programs, tmp_path)["router"] == "192.168.1.1"


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ("ct state established accept", MOVE),
        ("ct state vmap { established : accept, invalid : drop }", MOVE),
        ("meta l4proto { tcp, udp } th dport 53 accept", "iptables-nft-save: cannot list the rules: Error: unsupported "
         "layer 4 protocol value; iptables-nft-save v"),
    ],
)  # fmt: skip
def test_a_gateway_whose_rules_can_no_longer_be_read(gate, net, rule, told):
    """nft adds a rule to the table that iptables uses: nobody says that the gateway's rules are gone."""
    gate.apply(backend="iptables", **DECLARED["forward"])
    sh("nft 'insert rule ip filter INPUT {0}'".format(rule))
    before = sh("nft -s list ruleset")
    for call in (lambda: gate.apply(**DECLARED["forward"]), gate.absent, gate.info):
        with pytest.raises(GatewayError) as error:
            call()
        (problem,) = error.value.problems
        assert problem.startswith(told) and "to a table of another name" in problem[-45:]
    assert sh("nft -s list ruleset") == before
    sh("nft flush chain ip filter INPUT")
    gate.apply(backend="auto", **DECLARED["forward"])
    assert net.tcp("office", "wan", WAN4) == GATE4
    gate.absent()
    assert "IPMASQ" not in sh("nft -s list ruleset")


@pytest.mark.parametrize("backend", ["auto", "iptables"])
def test_rules_beside_docker_that_iptables_cannot_read(gate, net, backend):
    """They drop nothing, and docker's rules lead to iptables, which could not read ours back."""
    sh("iptables-nft -t nat -A POSTROUTING -s 172.17.0.0/16 -j MASQUERADE")
    sh("nft 'table ip filter { chain FORWARD { type filter hook forward priority 0; ct state new accept; }; }'")
    before = sh("nft -s list ruleset")
    with pytest.raises(GatewayError) as error:
        gate.apply(backend=backend, **DECLARED["forward"])
    assert error.value.problems == (MOVE + ", or set backend=nftables",)
    assert sh("nft -s list ruleset") == before, "nothing was touched"
    gate.apply(backend="nftables", **DECLARED["forward"])
    assert net.tcp("office", "wan", WAN4) == GATE4


@pytest.mark.parametrize("kind", ["another name", "rules that iptables cannot read"])
@pytest.mark.parametrize("leaving", ["absent", "to nftables"])
def test_what_the_site_writes_later_outlives_the_gateway(gate, net, kind, leaving):
    """The tables that the first load created are no longer the gateway's alone."""
    gate.apply(backend="iptables", **DECLARED["forward"])
    sh("nft delete table ip filter" if "read" in kind else "true")
    write(kind, "input")
    theirs = sh("nft -s list chain ip filter " + ("INPUT" if "read" in kind else "input"))
    if leaving == "absent":
        gate.absent()
    else:
        gate.apply(backend="nftables", **DECLARED["forward"])
    assert theirs == sh("nft -s list table ip filter")
    assert "IPMASQ" not in sh("nft -s list ruleset")
