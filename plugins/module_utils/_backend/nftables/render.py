# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""A rule set as rows: chains, objects, and one row for each rule of nft."""

from __future__ import annotations

import typing as t
from dataclasses import replace

from ..._rules.model import Action, Chain, Match, Rule, owner, split_wildcards
from ..._rules.rows import Row
from .action import action_of, has_map, helper_name, timer_name
from .expressions import any_of, as_ports, as_text, compare, counter_row, mapping, one_or_set, payload, rule_row
from .flowtable import FLOWTABLE
from .known import before_the_others, with_known_first
from .lookup import KEY, LinkLookup, Lookup, arranged
from .maps import Mapped
from .match import matches, split

if t.TYPE_CHECKING:  # pragma: no cover
    from ..._rules.model import RuleSet
    from ..._rules.rows import Rows
    from .expressions import Json

#: Documented, and never a default priority: at equal priority, the chain registered last wins (measured, Linux 6.18),
#: so a restart of another tool would change the winner. Our chains filter and translate just before the defaults
#: (filter 0, srcnat 100); the guard comes after every srcnat. https://wiki.nftables.org Netfilter hooks
PRIORITIES = {
    "arrive": -105,
    "outside": -106,
    "helper": -105,
    "timers": -155,
    "reach": -6,
    "filter": -4,
    "offload": -3,
    "nat": 95,
    "unseen": 149,
    "guard": 150,
    "fence": 151,
    "fence_own": 150,
    "seen": 151,
    "own_seen": 150,
    "raw": -301,
}
#: The first instance filters before the others, so its marks need no chain of their own at the hook, which would cost
#: each packet more than one test.
FIRST = {"filter": -5, "offload": -4}
#: Before the dstnat (-100) of Docker and others, because the first translation of a flow wins; the fence as early as
#: the kernel takes a NAT chain.
PREROUTING = {"nat": -105, "fence": -199}
#: A NAT chain after all others sees the first packet of flows that none of them translated.
TYPES = {
    stage: "nat" if stage in ("nat", "unseen", "outside", "fence", "fence_own") else "filter" for stage in PRIORITIES
}
#: The packets that carry the MSS option.
SYN = Match(tcp_syn=True)


def rows_of(ruleset: RuleSet) -> Rows:
    """Exactly the rows that ``listing.parse`` finds after a load."""
    rows = _helper_rows(ruleset) + _timer_rows(ruleset)
    if any(rule.action.kind == "offload" for rule in ruleset.rules):
        rows.append(Row("", as_text({"flowtable": FLOWTABLE}), "flowtable"))
    ruleset = _with_mss_inside(before_the_others(_with_reaches_inside(with_known_first(ruleset))))
    rows += [_chain_row(chain.name, chain.hook, chain.stage, ruleset.instance) for chain in ruleset.chains]
    known = {chain.name for chain in ruleset.chains}
    # A chain after the NAT sees its result and needs no expect_nat.
    rules = [rule for rule in ruleset.rules if rule.action.kind != "expect_nat"]
    parts = arranged(rules, "dstnat" if ruleset.whole else "", "between")
    names = {
        each.counter
        for part in parts
        for rule in part.rules
        if isinstance(rule, Mapped)
        for each in rule.elements.values()
    }
    rows += [counter_row(name) for name in sorted(names)]
    for part in parts:
        if part.chain not in known:
            rows.append(_chain_row(part.chain))
        for rule in part.rules:
            rows += _rows(rule, part.chain, ruleset)
    return tuple(rows)


def _chain_row(name: str, hook: str = "", stage: str = "", instance: str = "default") -> Row:
    body: t.Dict[str, Json] = {}
    if hook:
        known = dict(PRIORITIES, **FIRST) if instance == "default" else PRIORITIES
        priority = PREROUTING.get(stage, known[stage]) if hook == "prerouting" else known[stage]
        kind = "filter" if hook == "forward" else TYPES[stage]
        body = {"type": kind, "hook": hook, "prio": priority, "policy": "accept"}
    return Row(name, as_text({"chain": body}), "chain")


def _helper_rows(ruleset: RuleSet) -> t.List[Row]:
    """Helpers are objects of the table, one per protocol and family."""
    names = {}
    for rule in ruleset.rules:
        if rule.action.kind == "helper":
            body = {"type": rule.action.target, "protocol": rule.match.protocol, "l3proto": rule.match.family}
            names[helper_name(rule)] = as_text({"ct helper": dict(body, name=helper_name(rule))})
    return [Row("", text, "helper") for _name, text in sorted(names.items())]


def _timer_rows(ruleset: RuleSet) -> t.List[Row]:
    """Timers are objects, too. nft 1.0.6 does not list their policies, so the name contains the policy."""
    names = {}
    for rule in ruleset.rules:
        if rule.action.kind == "timers":
            body = {"name": timer_name(rule), "protocol": rule.match.protocol, "l3proto": rule.match.family}
            names[body["name"]] = as_text({"ct timeout": body})
    return [Row("", text, "timers") for _name, text in sorted(names.items())]


def _with_mss_inside(ruleset: RuleSet) -> RuleSet:
    """The filter chain sets the MSS, because another chain at the hook costs each packet more than one test."""
    mss = next((chain.name for chain in ruleset.chains if chain.stage == "mangle"), "")
    if not mss:
        return ruleset
    chains = tuple(Chain(mss) if chain.name == mss else chain for chain in ruleset.chains)
    rules = [
        replace(rule, match=replace(rule.match, tcp_syn=False)) if rule.chain == mss else rule for rule in ruleset.rules
    ]
    return replace(ruleset, chains=chains, rules=(Rule("forward", SYN, Action("jump", mss), "mss"), *rules))


def _with_reaches_inside(ruleset: RuleSet) -> RuleSet:
    """The first instance sets marks in the filter chain, where one test separates new, related and invalid packets."""
    first = [rule for rule in ruleset.rules if rule.chain == "reaches"]
    if not first or ruleset.instance != "default":
        return ruleset
    jump, others, inside = first[0], first[1:], first[0].action.target
    invalid = [rule for rule in ruleset.rules if (rule.chain, rule.match.ct_state) == ("forward", ("invalid",))]
    rest = [rule for rule in ruleset.rules if rule.chain != "reaches" and rule not in invalid]
    head = replace(jump, chain="forward", match=replace(jump.match, ct_state=("invalid", *jump.match.ct_state)))
    moved = [replace(rule, chain=inside) for rule in invalid]
    chains = tuple(chain for chain in ruleset.chains if chain.name != "reaches")
    others = [replace(rule, chain="forward") for rule in others]
    return replace(ruleset, chains=chains, rules=(head, *others, *moved, *rest))


def _rows(rule: Rule | Lookup | LinkLookup | Mapped, chain: str, ruleset: RuleSet) -> t.List[Row]:
    if isinstance(rule, LinkLookup):
        links = [[name, {"goto": {"target": target}}] for name, target in rule.targets.items()]
        by_link = {"key": {"meta": {"key": "iifname"}}, "data": {"set": sorted(links, key=as_text)}}
        return [rule_row(chain, [{"vmap": by_link}], owner(ruleset.instance, "jump"))]
    if isinstance(rule, Lookup):
        return [rule_row(chain, _lookup(rule), owner(ruleset.instance, "jump"))]
    if isinstance(rule, Mapped):
        return [rule_row(chain, each, owner(ruleset.instance, KEY)) for each in _mapped(rule)]
    # Packets that go on to another chain are counted there.
    counted: t.List[Json] = [] if rule.action.kind in ("jump", "goto") else [{"counter": None}]
    does = action_of(rule)
    rows = []
    for each in (each for match in split_wildcards(rule.match) for each in split(match)):
        known = matches(each, rule.action.kind == "guard")
        rows.append(rule_row(chain, known + counted + does, ruleset.owner(rule)))
        if has_map(does):
            # Its elements are gone a moment before the rules are (see ``lookup``).
            rows.append(rule_row(chain, [*known, {"drop": None}], owner(ruleset.instance, KEY)))
    return rows


def _lookup(rule: Lookup) -> t.List[Json]:
    port, verdict = payload(rule.protocol, "dport"), "goto" if rule.goes else "jump"
    key = {"concat": [payload(rule.family, "daddr"), port]} if rule.family else port
    keys = [{"concat": list(known)} if rule.family else as_ports(t.cast("t.Any", known)) for known in rule.targets]
    if len(set(rule.targets.values())) == 1:
        known = any_of(keys) if rule.family else one_or_set(keys)
        return [compare(key, known), {verdict: {"target": next(iter(rule.targets.values()))}}]
    data = [[known, {verdict: {"target": name}}] for known, name in zip(keys, rule.targets.values())]
    return [{"vmap": {"key": key, "data": {"set": sorted(data, key=as_text)}}}]


def _mapped(rule: Mapped) -> t.List[t.List[Json]]:
    """What accepts is followed by the same without counters: a set, which the kernel exchanges with the rules."""
    match, elements = rule.like.match, t.cast("t.Any", rule.elements).items()
    port = payload(match.protocol, "dport")
    if rule.chain:
        body = {"family": match.family, "addr": mapping(port, [[known, each.to] for known, each in elements])}
        if rule.like.action.ports:
            body["port"] = mapping(port, [[known, each.port] for known, each in elements])
        return [[{"counter": mapping(port, [[known, each.counter] for known, each in elements])}, {"dnat": body}]]
    # The address in the key implies the family.
    match = replace(match, family="", protocol="", port=(), destination=())
    key = {"concat": [payload(rule.like.match.family, "daddr"), port]}
    names = [[{"concat": list(known)}, each.counter] for known, each in elements]
    known = compare(key, any_of([name for name, _counter in names]))
    return [
        [*matches(match), {"counter": mapping(key, names)}, {"accept": None}],
        [*matches(match), known, {"accept": None}],
    ]
