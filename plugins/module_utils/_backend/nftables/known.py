# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Established packets between a LAN and a WAN: nearly all that a gateway forwards, so they meet few rules.

What the rules after these say about such packets is one verdict, after several chains. The rules here say it at once,
or nothing: then the packet goes on to the others.
"""

from __future__ import annotations

import typing as t
from dataclasses import replace

from ..._rules.model import Action, Chain, Match, Rule, split_wildcards
from .lookup import LINKS
from .match import split

if t.TYPE_CHECKING:  # pragma: no cover
    from ..._rules.model import RuleSet

FROM_WAN = Chain("from-wan")
FORWARD, TO, BETWEEN, LAN, SPOOFED, ARRIVE = "forward", "to", "between", "lan-", "spoofed/", "arrive"
ESTABLISHED = ("established",)
#: A row for the sources of a LAN saves their packets a jump, a goto and a test, and costs all others two tests. So
#: beyond this number of rows, nothing is gained (measured, in turn: 2.7 % of the rate of small packets with one row,
#: nothing for packets that meet another one first).
ROWS = 2


def with_known_first(ruleset: RuleSet) -> RuleSet:
    """What comes from a WAN has a chain of its own, in front of the rules that tell LANs apart.

    After the check that it claims no source of a LAN, an established packet from a WAN to a LAN is accepted anyway; so
    is one from a LAN to a WAN whose source belongs to that LAN.
    """
    forward = [rule for rule in ruleset.rules if rule.chain == FORWARD]
    first = next((rule for rule in forward if rule.action.target.startswith(LAN)), None)
    lans = [rule.match.oif for rule in ruleset.rules if (rule.chain, rule.action.target) == (TO, BETWEEN)][:1]
    outside = [rule.match.iif for rule in forward if rule.action.target == TO][:1]
    if not ruleset.whole or first is None or not lans or not outside or lans == outside:
        return ruleset
    enter = Rule(FORWARD, Match(iif=outside[0]), Action("jump", FROM_WAN.name), "declared")
    answers = Match(oif=lans[0], ct_state=ESTABLISHED)
    rules: t.List[Rule] = []
    moved: t.List[Rule] = []
    for rule in ruleset.rules:
        if rule is first:
            rules += [enter, *_outward(ruleset, outside[0])]
        if rule.chain == FORWARD and rule.key.startswith(SPOOFED) and rule.match.iif:
            # Only what comes from the WANs gets there.
            there = replace(rule.match, iif=()) if rule.match.iif == enter.match.iif else rule.match
            moved.append(replace(rule, chain=FROM_WAN.name, match=there))
        elif rule.chain == ARRIVE and rule.match == Match(iif=rule.match.iif) and rule.action.kind == "return":
            rules += _in_a_row(rule, outside[0])
        else:
            rules.append(rule)
    rules += [*moved, Rule(FROM_WAN.name, answers, Action("accept"), "answers")]
    return replace(ruleset, chains=(*ruleset.chains, FROM_WAN), rules=tuple(rules))


def _in_a_row(rule: Rule, wans: t.Tuple[str, ...]) -> t.List[Rule]:
    """To compare a few names in a row costs less than a look-up in a set.

    With several LANs, most packets come from a WAN.
    """
    names = rule.match.iif
    if len(names) >= LINKS:
        return [rule]
    if len(names) > 2:
        names = tuple(sorted(names, key=lambda name: name not in wans))
    return [replace(rule, match=Match(iif=(name,))) for name in names]


def _outward(ruleset: RuleSet, wans: t.Tuple[str, ...]) -> t.List[Rule]:
    """Established packets from the networks of LANs to a WAN, if this is no longer than what it saves."""
    chains: t.Dict[str, t.List[Rule]] = {}
    for rule in ruleset.rules:
        chains.setdefault(rule.chain, []).append(rule)
    rules = []
    for lan in chains[FORWARD]:
        if not lan.action.target.startswith(LAN) or lan.match != Match(iif=lan.match.iif):
            continue
        for own in chains[lan.action.target]:
            if own.action.kind != "goto":
                break
            simple = own.match == Match(own.match.family, source=own.match.source)
            if simple and _accepts_known(chains[own.action.target], wans):
                match = replace(own.match, iif=lan.match.iif, oif=wans, ct_state=ESTABLISHED)
                rules.append(Rule(FORWARD, match, Action("accept"), lan.key))
    rows = sum(len(split(each)) for rule in rules for each in split_wildcards(rule.match))
    return rules if rows <= ROWS else []


def _accepts_known(rules: t.List[Rule], wans: t.Tuple[str, ...]) -> bool:
    """Whether a chain accepts whatever is established and leaves through these."""
    for rule in rules:
        if rule.match == Match(oif=wans):
            return rule.action.kind == "accept"
        if not rule.match.ct_state or "established" in rule.match.ct_state:
            return False
    return False


def before_the_others(ruleset: RuleSet) -> RuleSet:
    """What is known passes before the test for what is not, unless other rules are between them.

    A packet from a WAN that is invalid, or new, and claims a source of a LAN is dropped by either.
    """
    forward = [rule for rule in ruleset.rules if rule.chain == FORWARD]
    if len(forward) < 2 or "invalid" not in forward[0].match.ct_state or forward[1].action.target != FROM_WAN.name:
        return ruleset
    if sum(rule.action.target.startswith(LAN) for rule in forward[1:]) + 1 >= LINKS:
        return ruleset  # one map leads to all of these chains
    unknown, known = forward[0], [forward[1]]
    for rule in forward[2:]:
        if rule.match.ct_state != ESTABLISHED:
            break
        known.append(rule)
    rules: t.List[Rule] = []
    for rule in ruleset.rules:
        if rule is unknown:
            rules += [*known, unknown]
        elif not any(rule is each for each in known):
            rules.append(rule)
    return replace(ruleset, rules=tuple(rules))
