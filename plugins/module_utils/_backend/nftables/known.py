# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Established packets from a WAN to a LAN: nearly half of all that a gateway forwards, so they meet few rules.

What the rules after these say about such packets is one verdict, after several chains. The rules here say it at once,
or nothing: then the packet goes on to the others.
"""

from __future__ import annotations

import typing as t
from dataclasses import replace

from ..._rules.model import Action, Chain, Match, Rule

if t.TYPE_CHECKING:  # pragma: no cover
    from ..._rules.model import RuleSet

FROM_WAN = Chain("from-wan")
FORWARD, TO, BETWEEN, LAN, SPOOFED = "forward", "to", "between", "lan-", "spoofed/"


def with_known_first(ruleset: RuleSet) -> RuleSet:
    """What comes from a WAN has a chain of its own, in front of the rules that tell LANs apart.

    After the check that it claims no source of a LAN, an established packet from a WAN to a LAN is accepted anyway.
    """
    forward = [rule for rule in ruleset.rules if rule.chain == FORWARD]
    first = next((rule for rule in forward if rule.action.target.startswith(LAN)), None)
    lans = [rule.match.oif for rule in ruleset.rules if (rule.chain, rule.action.target) == (TO, BETWEEN)][:1]
    outside = [rule.match.iif for rule in forward if rule.action.target == TO][:1]
    if not ruleset.whole or first is None or not lans or not outside or lans == outside:
        return ruleset
    enter = Rule(FORWARD, Match(iif=outside[0]), Action("jump", FROM_WAN.name), "declared")
    answers = Match(oif=lans[0], ct_state=("established",))
    rules: t.List[Rule] = []
    moved: t.List[Rule] = []
    for rule in ruleset.rules:
        if rule is first:
            rules.append(enter)
        if rule.chain == FORWARD and rule.key.startswith(SPOOFED) and rule.match.iif:
            moved.append(replace(rule, chain=FROM_WAN.name))
        else:
            rules.append(rule)
    rules += [*moved, Rule(FROM_WAN.name, answers, Action("accept"), "answers")]
    return replace(ruleset, chains=(*ruleset.chains, FROM_WAN), rules=tuple(rules))
