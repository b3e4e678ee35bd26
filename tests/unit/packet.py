# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A kernel for one packet: walk it through neutral rules and report what happens to it.

Written from netfilter's manual, not from the code under test: it has its own matching of names and networks.
"""

from __future__ import annotations

import fnmatch
import functools
import ipaddress
import typing as t
from dataclasses import dataclass, field, replace

if t.TYPE_CHECKING:
    from ansible_collections.ipmasq.linux.plugins.module_utils._rules.model import Match, Rule, RuleSet

#: The address of every WAN interface of the traced gateway, by family.
GATEWAY_ADDRESS = {4: "203.0.113.1", 6: "2001:db8:ffff::1"}
STAGES = {
    "prerouting": ("arrive", "outside", "nat"),
    "forward": ("reach", "mangle", "filter"),
    "input": ("reach", "mangle", "filter"),
    "postrouting": ("mangle", "nat", "unseen", "guard"),
}


#: Chains that ask where a packet comes from.
ASKING = ("outside", "arrive", "strange")


@dataclass(frozen=True)
class Packet:
    """A packet as it arrives. ``oif`` is where its destination is found, after translation; empty: this host.

    ``mapped`` is the source that conntrack gave this flow when it began; empty: the flow was not translated.
    """

    iif: str
    oif: str
    source: str
    destination: str
    ct_state: str = "new"
    tcp_syn: bool = False
    mapped: str = ""
    protocol: str = ""
    port: int = 0
    asked: str = ""  # the destination before translation, and its port; filled in by the trace
    asked_port: int = 0
    ipsec: bool = False
    direction: str = "original"
    over_rate: bool = False  # more often than a rule with a rate holds
    again: bool = False  # not the first one of its flow
    marks: t.List[int] = field(default_factory=list, compare=False)


@dataclass(frozen=True)
class Verdict:
    verdict: str  # accept, drop or reject
    source_seen: str  # the source with which it left; empty if it did not leave
    path: t.Tuple[str, ...]  # "chain key" of every rule that matched, in order
    destination_seen: str = ""  # its destination, with the port: "192.168.1.20:8443"

    @property
    def keys(self) -> t.Tuple[str, ...]:
        return tuple(step.split(" ", 1)[1] for step in self.path)


def trace(ruleset: RuleSet, packet: Packet) -> Verdict:
    path: t.List[str] = []
    source = packet.source
    packet = replace(packet, marks=[])
    for hook in ("prerouting", "forward", "postrouting") if packet.oif else ("prerouting", "input"):
        for stage in STAGES[hook]:
            if stage == "outside" and packet.ct_state != "new":
                continue
            if stage == "nat" and packet.ct_state != "new":
                # Only the first packet of a flow enters nat chains; conntrack repeats the mapping for the others.
                if hook == "postrouting" and packet.ct_state in ("established", "related") and packet.mapped:
                    packet = replace(packet, source=packet.mapped)
                continue
            if stage == "unseen" and (packet.ct_state != "new" or packet.source != source):
                continue
            seen = replace(packet, iif="") if hook == "postrouting" else packet
            seen = replace(seen, oif="") if hook == "prerouting" else seen
            kind, rule = _enter(ruleset, hook, stage, seen, path)
            if kind in ("drop", "reject"):
                return Verdict(kind, "", tuple(path))
            if rule and stage == "nat":
                packet = _translated(packet, rule, hook)
    to = packet.destination + (":{0}".format(packet.port) if packet.port else "")
    return Verdict("accept", packet.source, tuple(path), to)


def _translated(packet: Packet, rule: Rule, hook: str) -> Packet:
    action = rule.action
    if action.kind == "masquerade":
        return replace(packet, source=GATEWAY_ADDRESS[ipaddress.ip_address(packet.source).version])
    if action.kind == "snat":
        return replace(packet, source=action.to[0].split("-")[0])
    if action.kind == "hairpin":
        return replace(packet, source=packet.asked)
    if action.kind == "netmap":
        if hook == "postrouting":
            return replace(packet, source=_mapped(packet.source, action.to[0]))
        asked = {"asked": packet.destination, "asked_port": packet.port}
        packet = replace(packet, destination=_mapped(packet.destination, action.to[0]), **asked)
    if action.kind == "dnat":
        port = packet.port
        if action.ports:
            port = action.ports[0] + (port - rule.match.port[0][0] if action.shift else 0)
        return replace(packet, destination=action.to[0], port=port, asked=packet.destination, asked_port=packet.port)
    return packet


def _mapped(address: str, network: str) -> str:
    """The address of the same number in another network."""
    net = ipaddress.ip_network(network)
    return str(net[int(ipaddress.ip_address(address)) & int(net.hostmask)])


def without(ruleset: RuleSet, chain: str) -> RuleSet:
    """The rule set after an accident that removed the rules of one chain."""
    return replace(ruleset, rules=tuple(rule for rule in ruleset.rules if rule.chain != chain))


def _enter(
    ruleset: RuleSet, hook: str, stage: str, packet: Packet, path: t.List[str]
) -> t.Tuple[str, t.Optional[Rule]]:
    entered = [chain.name for chain in ruleset.chains if (chain.hook, chain.stage) == (hook, stage)]
    assert len(entered) <= 1, "two chains of one instance in {0}/{1} have no order".format(hook, stage)
    kind, rule = _walk(ruleset, entered[0], packet, path) if entered else ("", None)
    return "drop" if kind == "guard" else kind or "accept", rule


def _walk(ruleset: RuleSet, chain: str, packet: Packet, path: t.List[str]) -> t.Tuple[str, t.Optional[Rule]]:
    """The verdict of a chain and the rule that gave it, empty if it goes back to its caller."""
    assert chain in [known.name for known in ruleset.chains], "jump to {0}, which is not declared".format(chain)
    for rule in ruleset.rules:
        # expect_nat is for a guard that comes before the NAT; this one sees the source itself.
        if rule.chain != chain or rule.action.kind == "expect_nat" or not _holds(rule.match, packet):
            continue
        # Which packets are asked about before they are routed says nothing about them.
        if not chain.startswith(ASKING) or rule.action.kind not in ("jump", "goto", "return"):
            path.append("{0} {1}".format(chain, rule.key))
        kind = rule.action.kind
        if kind == "return":
            return "", None
        if kind == "goto":
            return _walk(ruleset, rule.action.target, packet, path)
        if kind == "jump":
            kind, rule = _walk(ruleset, rule.action.target, packet, path)
        elif kind in ("clamp_mss", "set_mss", "log", "mark", "unmark"):
            packet.marks.extend([rule.action.size] * (kind == "mark"))
            kind = ""
        if kind:
            return kind, rule
    return "", None


def _holds(match: Match, packet: Packet) -> bool:
    family = "ip6" if ":" in packet.source else "ip"
    return (
        (not match.family or match.family == family)
        and _name_in(match.iif, packet.iif)
        and _name_in(match.oif, packet.oif)
        and _address_in(match.source, packet.source)
        and _address_in(match.destination, packet.destination)
        and (not match.ct_state or packet.ct_state in match.ct_state)
        and (not match.mapped or bool(packet.mapped))
        and _address_in(match.leaves_as, packet.source)
        and (not match.direction or match.direction == packet.direction)
        and (not match.tcp_syn or packet.tcp_syn)
        and not (match.not_destination and _address_in(match.not_destination, packet.destination))
        and _address_in(match.asked, packet.asked or packet.destination)
        and not (match.not_asked and _address_in(match.not_asked, packet.asked or packet.destination))
        and (not match.asked_port or match.asked_port[0] <= (packet.asked_port or packet.port) <= match.asked_port[1])
        and (not match.local or packet.destination in GATEWAY_ADDRESS.values())
        and (not match.protocol or match.protocol == packet.protocol)
        and (not match.port or any(first <= packet.port <= last for first, last in match.port))
        and (not match.translated or bool(packet.asked))
        and (not match.ipsec or packet.ipsec)
        and not (match.plain and packet.ipsec)
        and not (match.rate and packet.over_rate)
        and (not match.again or packet.again)
        and not match.elsewhere  # the addresses of this host are those of the WAN
        and not match.decrypted
        and not match.astray
        and not match.routed  # of sources that appeared after the rules; there are none here
        and (not match.mark or (match.mark[1] in packet.marks) == bool(match.mark[0]))
        and (not match.foreign or packet.source not in GATEWAY_ADDRESS.values())
        and (
            not match.martian
            or (packet.source in GATEWAY_ADDRESS.values() and packet.destination not in GATEWAY_ADDRESS.values())
        )
    )


@functools.lru_cache(maxsize=None)
def _name_in(patterns: t.Tuple[str, ...], name: str) -> bool:
    return not patterns or any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


@functools.lru_cache(maxsize=None)  # A few packets meet thousands of rules with the same few networks.
def _address_in(networks: t.Tuple[str, ...], address: str) -> bool:
    return not networks or any(_is_in(ipaddress.ip_address(address), net) for net in networks)


def _is_in(address: t.Any, net: str) -> bool:
    if ":" in net.partition("/")[2]:
        suffix, mask = (int(ipaddress.IPv6Address(part)) for part in net.split("/"))
        return int(address) & mask == suffix
    return address in ipaddress.ip_network(net)


def rules_of(ruleset: RuleSet, chain: str) -> t.List[Rule]:
    return [rule for rule in ruleset.rules if rule.chain == chain]
