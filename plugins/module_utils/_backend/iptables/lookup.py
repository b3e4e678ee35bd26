# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Many port forwards on iptables, which has no maps: a tree of chains leads to the few that can match.

Each level separates port ranges, so a connection passes some dozens of rules instead of those of every forward
(measured with 1,000: they lost 95 of 100 new connections a second). Chain names depend only on the ports, so one more
forward changes few rows.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, replace

from ..._rules.model import Chain
from ..blocks import FEW, LAST_PORT, block_of, blocks, catch_alls, is_forward

if t.TYPE_CHECKING:  # pragma: no cover
    from ..._base.net import Ports
    from ..._rules.model import Rule, RuleSet

#: The number of ports that share a chain at each level; the letters make the names unique.
LEVELS = (("a", 4096), ("b", 256), ("c", 16))


@dataclass(frozen=True)
class Branch:
    """A rule that dispatches packets of a protocol by their original port; ``ports`` None: any port."""

    protocol: str
    ports: t.Optional[Ports]
    chain: str
    translated: bool  # checked after the translation, when conntrack knows the original port


#: The contents of a chain, in order.
Part = t.Tuple[Chain, t.List["Rule | Branch"]]
#: A rule, and a port or range that leads to it.
Entry = t.Tuple["Ports", "Rule"]


def arranged(ruleset: RuleSet, family: str) -> t.List[Part]:
    """The rules of a family by chain; many port forwards get chains of their own."""
    chains: t.Dict[str, t.List[Rule]] = {chain.name: [] for chain in ruleset.chains}
    for rule in ruleset.rules:
        if rule.match.family in ("", family):
            chains[rule.chain].append(rule)
    asked: t.Dict[t.Tuple[str, str], t.Set[Ports]] = {}
    for rule in chains.get("dstnat", ()):
        asked.setdefault((rule.key, rule.match.protocol), set()).update(rule.match.port)
    found: t.List[Part] = []
    for chain in ruleset.chains:
        rules = chains[chain.name]
        behind = catch_alls(rules)
        entries = [[] if place in behind else _by_port(rule) for place, rule in enumerate(rules)]
        if ruleset.whole and chain.name == "dstnat":
            found += _split(chain, list(zip(rules, entries)), translated=False)
        elif chain.name == "between":
            entries = [[] if place in behind else _by_asked(rule, asked) for place, rule in enumerate(rules)]
            found += _split(chain, list(zip(rules, entries)), translated=True)
        else:
            found.append((chain, list(rules)))
    return found


def _by_port(rule: Rule) -> t.List[Entry]:
    if not is_forward(rule):
        return []
    return [(ports, replace(rule, match=replace(rule.match, port=(ports,)))) for ports in rule.match.port]


def _by_asked(rule: Rule, asked: t.Mapping[t.Tuple[str, str], t.Set[Ports]]) -> t.List[Entry]:
    """The rule has the server's port; the translating item has the port that the client connected to."""
    if not is_forward(rule) or not rule.match.translated or rule.action.kind != "accept":
        return []
    known = asked.get((rule.key, rule.match.protocol), set())
    if known == set(rule.match.port):
        return _by_port(rule)
    return [(ports, rule) for ports in sorted(known)]


def _split(chain: Chain, rules: t.List[t.Tuple[Rule, t.List[Entry]]], translated: bool) -> t.List[Part]:
    """The chain with a branch per protocol in place of the first such rule, and the chains below it."""
    if sum(len(entries) for _rule, entries in rules) <= FEW:
        return [(chain, [rule for rule, _entries in rules])]
    place = next(index for index, (_rule, entries) in enumerate(rules) if entries)
    branches: t.List[Rule | Branch] = []
    parts: t.List[Part] = []
    for protocol in sorted({rule.match.protocol for rule, entries in rules if entries}):
        entries = [entry for rule, found in rules if rule.match.protocol == protocol for entry in found]
        root = Branch(protocol, None, "{0}-{1}".format(chain.name, protocol), translated)
        branches.append(root)
        parts += _grown(root, chain.stage, entries, 0)
    before = [rule for rule, _entries in rules[:place]]
    after = [rule for rule, entries in rules[place:] if not entries]
    return [(chain, [*before, *branches, *after]), *parts]


def _grown(branch: Branch, stage: str, entries: t.List[Entry], level: int) -> t.List[Part]:
    chain = Chain(branch.chain, "", stage)
    if level == len(LEVELS):
        return [(chain, [rule for _ports, rule in entries])]
    letter, size = LEVELS[level]
    shared: t.Dict[Ports, t.List[Entry]] = {block: [] for block in blocks((ports for ports, _rule in entries), size)}
    known = list(shared)
    for entry in entries:
        shared[block_of(entry[0], known)].append(entry)
    root = branch.chain if not level else branch.chain.rpartition("-")[0]
    children = [
        # iptables-save omits a range of all ports.
        Branch(
            branch.protocol,
            block if block != (0, LAST_PORT) else None,
            "{0}-{1}{2}".format(root, letter, block[0]),
            branch.translated,
        )
        for block in known
    ]
    parts: t.List[Part] = [(chain, list(children))]
    for child, block in zip(children, known):
        parts += _grown(child, stage, shared[block], level + 1)
    return parts
