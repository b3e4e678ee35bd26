# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""A rule set as rows: chains, jumps, sets, and the rules of each family."""

from __future__ import annotations

import typing as t
from dataclasses import replace

from ..._rules.model import owner
from ..._rules.rows import Row
from . import ipset
from .known import with_known_first
from .lookup import Branch, arranged
from .names import HOOKS, chain_name, chain_row, jump_row
from .rule import branch_text, rule_texts

if t.TYPE_CHECKING:  # pragma: no cover
    from ..._rules.model import Chain, Rule, RuleSet
    from ..._rules.rows import Rows
    from .rule import Sets

#: The table of each stage. The guard has two halves, see GUARDS in rule.py.
TABLES = {
    "raw": ("raw",),
    "arrive": ("mangle",),
    "outside": ("mangle",),
    "helper": ("raw",),
    "reach": ("mangle",),
    "unseen": ("mangle",),
    "mangle": ("mangle",),
    "filter": ("filter",),
    "nat": ("nat",),
    "guard": ("mangle", "nat"),
    "": ("filter",),
}
#: The key of rules that lead to many port forwards.
LOOKUP = "lookup"


def rows_of(ruleset: RuleSet, families: t.Sequence[str], with_sets: bool) -> Rows:
    """Exactly the rows that ``listing.parse`` finds after a load."""
    sets = _sets(ruleset, families) if with_sets and ruleset.whole else {}
    rows = list(dict.fromkeys(sets.values()))
    names = {networks: ipset.name_of(row) for networks, row in sets.items()}
    for family in families:
        for chain, rules in arranged(ruleset, family):
            for table in TABLES[chain.stage]:
                rows += _chain_rows(ruleset, chain, rules, (family, table), names)
    return tuple(rows)


def _sets(ruleset: RuleSet, families: t.Sequence[str]) -> t.Dict[t.Tuple[str, ...], Row]:
    """The rows of the sets that replace many networks."""
    many = {
        networks: rule.match.family
        for rule in ruleset.rules
        for networks in (rule.match.source, rule.match.destination)
        if len(networks) > ipset.FEW and rule.match.family in families
    }
    return {networks: ipset.row_of(ruleset.instance, family, networks) for networks, family in many.items()}


def _chain_rows(
    ruleset: RuleSet, chain: Chain, rules: t.Iterable[Rule | Branch], where: t.Tuple[str, str], sets: Sets
) -> t.List[Row]:
    """``where``: family and table."""
    family, table = where
    name = chain_name(ruleset.instance, chain.name)
    place = "{0} {1} {2}".format(family, table, name)
    rows = [chain_row(family, table, name)]
    if chain.hook:
        # Jumps from one kernel chain follow the order of ours: in nat, the guard comes after the NAT itself.
        before = ruleset.chains[: ruleset.chains.index(chain)]
        position = 1 + sum(each.hook == chain.hook and table in TABLES[each.stage] for each in before)
        rows.append(jump_row(" ".join((*where, HOOKS[chain.hook])), name, ruleset.instance, position))
    for rule in with_known_first(chain, list(rules)) if ruleset.whole else rules:
        if isinstance(rule, Branch):
            text = branch_text(rule, chain_name(ruleset.instance, rule.chain), owner(ruleset.instance, LOOKUP))
            rows.append(Row(place, text, LOOKUP))
        else:
            target = chain_name(ruleset.instance, rule.action.target) if rule.action.target else ""
            if chain.stage == "unseen" and rule.match.iif:
                # iptables does not tell POSTROUTING where a packet came from.
                rule = replace(rule, match=replace(rule.match, iif=()))  # noqa: PLW2901 - this rule, here
            texts = rule_texts(rule, where, target, ruleset.owner(rule), sets)
            rows += [Row(place, text, rule.key) for text in texts]
    return rows
