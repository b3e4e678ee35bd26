# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A kernel for one packet: walk it through neutral rules and tell what becomes of it.

Written from netfilter's manual, not from the code under test: names and networks are matched here anew.
"""

from __future__ import annotations

import fnmatch
import ipaddress
import typing as t
from dataclasses import dataclass, replace

if t.TYPE_CHECKING:
    from ansible_collections.ipmasq.linux.plugins.module_utils._rules import Match, Rule, RuleSet

#: The address of every WAN interface of the traced gateway, by family.
GATEWAY_ADDRESS = {4: "203.0.113.1", 6: "2001:db8:ffff::1"}
STAGES = {"forward": ("mangle", "filter"), "input": ("mangle", "filter"), "postrouting": ("mangle", "nat", "guard")}


@dataclass(frozen=True)
class Packet:
    """A packet as it arrives at the forward hook, or at the input hook where ``oif`` is empty.

    ``mapped`` is the source that conntrack gave this flow when it began; empty: the flow was not translated.
    """

    iif: str
    oif: str
    source: str
    destination: str
    ct_state: str = "new"
    tcp_syn: bool = False
    mapped: str = ""


@dataclass(frozen=True)
class Verdict:
    verdict: str  # accept, drop or reject
    source_seen: str  # the source with which it left; empty if it did not leave
    path: t.Tuple[str, ...]  # "chain key" of every rule that matched, in order

    @property
    def keys(self) -> t.Tuple[str, ...]:
        return tuple(step.split(" ", 1)[1] for step in self.path)


def trace(ruleset: RuleSet, packet: Packet) -> Verdict:
    path: t.List[str] = []
    for hook in ("forward", "postrouting") if packet.oif else ("input",):
        for stage in STAGES[hook]:
            if stage == "nat" and packet.ct_state != "new":
                # Only the first packet of a flow enters nat chains; conntrack repeats the mapping for the others.
                if packet.ct_state in ("established", "related") and packet.mapped:
                    packet = replace(packet, source=packet.mapped)
                continue
            seen = replace(packet, iif="") if hook == "postrouting" else packet
            kind = _enter(ruleset, hook, stage, seen, path)
            if kind in ("drop", "reject"):
                return Verdict(kind, "", tuple(path))
            if kind == "masquerade":
                packet = replace(packet, source=GATEWAY_ADDRESS[ipaddress.ip_address(packet.source).version])
    return Verdict("accept", packet.source, tuple(path))


def without(ruleset: RuleSet, chain: str) -> RuleSet:
    """The rule set after an accident: the rules of one chain are gone."""
    return replace(ruleset, rules=tuple(rule for rule in ruleset.rules if rule.chain != chain))


def _enter(ruleset: RuleSet, hook: str, stage: str, packet: Packet, path: t.List[str]) -> str:
    entered = [chain.name for chain in ruleset.chains if (chain.hook, chain.stage) == (hook, stage)]
    assert len(entered) <= 1, "two chains of one instance in {0}/{1} have no order".format(hook, stage)
    kind = _walk(ruleset, entered[0], packet, path) if entered else ""
    return "drop" if kind == "guard" else kind or "accept"


def _walk(ruleset: RuleSet, chain: str, packet: Packet, path: t.List[str]) -> str:
    """The verdict of a chain, empty if it goes back to its caller."""
    assert chain in [known.name for known in ruleset.chains], "jump to {0}, which is not declared".format(chain)
    for rule in ruleset.rules:
        # expect_nat is for a guard that stands before the NAT; this one sees the source itself.
        if rule.chain != chain or rule.action.kind == "expect_nat" or not _holds(rule.match, packet):
            continue
        path.append("{0} {1}".format(chain, rule.key))
        kind = rule.action.kind
        if kind == "return":
            return ""
        if kind == "jump":
            kind = _walk(ruleset, rule.action.target, packet, path)
        elif kind == "clamp_mss":
            kind = ""
        if kind:
            return kind
    return ""


def _holds(match: Match, packet: Packet) -> bool:
    family = "ip6" if ipaddress.ip_address(packet.source).version == 6 else "ip"
    return (
        (not match.family or match.family == family)
        and _name_in(match.iif, packet.iif)
        and _name_in(match.oif, packet.oif)
        and _address_in(match.source, packet.source)
        and _address_in(match.destination, packet.destination)
        and (not match.ct_state or packet.ct_state in match.ct_state)
        and (not match.tcp_syn or packet.tcp_syn)
    )


def _name_in(patterns: t.Tuple[str, ...], name: str) -> bool:
    return not patterns or any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _address_in(networks: t.Tuple[str, ...], address: str) -> bool:
    return not networks or any(ipaddress.ip_address(address) in ipaddress.ip_network(net) for net in networks)


def rules_of(ruleset: RuleSet, chain: str) -> t.List[Rule]:
    return [rule for rule in ruleset.rules if rule.chain == chain]
