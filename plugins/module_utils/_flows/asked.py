# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""The packets to ask about: those that rules match which only one of two rule sets has. No I/O."""

from __future__ import annotations

import functools
import itertools
import typing as t

from .._base.values import less
from .._rules.carried import CARRIED
from .._rules.chains import INPUT, PROTECTED
from .._rules.input import FORWARDED
from .._rules.model import altered
from .._rules.outbound import is_limit

if t.TYPE_CHECKING:  # pragma: no cover
    from .._rules.model import Action, Match, Rule, RuleSet

#: The maximum number of packets to ask about for one rule.
MOST = 400
#: Of a longer list, only new entries are asked about where all combinations would be too many.
FEW = 16
NATTED = ("masquerade", "snat", "netmap", "hairpin")
#: The chains of packets to the host itself.
HERE = (INPUT.name, PROTECTED.name, FORWARDED.name)


class Asked(t.NamedTuple):
    """The packets that a rule matches, as far as it tells; unknown parts are empty."""

    chain: str
    family: str
    iif: str
    oif: str
    source: str
    destination: str
    local: bool
    protocol: str
    ports: t.Tuple[int, int]
    broad: t.Optional[Match] = None  # one of too many matches, which the arguments omit


def deciding(ruleset: RuleSet) -> t.Dict[t.Any, Rule]:
    """The rules on the packets' path through or to the host, by match and action.

    What carries a WAN, or is counted, is named where the rules for it are reached.
    """
    hooked = {each.name for each in ruleset.chains if each.hook and each.stage != "nat" and each.hook != "forward"}
    chains = {each.name for each in ruleset.chains} - (hooked - set(HERE))
    kinds = ("accept", "drop", "reject", "return", "dnat", *NATTED)
    leading = {CARRIED.name, *filter(is_limit, chains)}
    return {
        (rule.chain, rule.match, rule.action): rule
        for rule in ruleset.rules
        if rule.chain in chains and (rule.action.kind in kinds or rule.action.target in leading)
    }


def asked(side: t.Mapping[t.Any, Rule], other: t.Mapping[t.Any, Rule]) -> t.Iterator[t.Tuple[Asked, Action]]:
    """The packets of each rule that the other side lacks, with their action."""
    elsewhere = {_except_source(rule): rule.match.source for rule in other.values()}
    for about, rule in side.items():
        match = rule.match
        if about in other or "new" not in (match.ct_state or ("new",)) or match.translated:
            continue
        sources = _only_here(match.source, elsewhere.get(_except_source(rule), ()))
        if match.source and not sources:
            continue
        parts: t.List[t.Sequence[t.Any]] = [
            match.iif or ("",), match.oif or ("",), sources or ("",), match.destination or ("",),
            match.port or ((0, 0),),
        ]  # fmt: skip
        broad = None
        if _product(parts) > MOST:
            parts = [_fresh(part, other) if len(part) > FEW else part for part in parts]
        if _product(parts) > MOST:
            parts, broad = [part[:1] for part in parts], match
        for iif, oif, source, destination, ports in itertools.product(*parts):
            ends = (iif, oif, source, destination)
            yield (
                Asked(rule.chain, match.family, *ends, match.local, match.protocol, ports, broad),
                rule.action,
            )


def _except_source(rule: Rule) -> t.Any:
    match = altered(rule.match, source=()) if rule.match.source else rule.match
    return rule.chain, match, rule.action


def _only_here(sources: t.Tuple[str, ...], others: t.Tuple[str, ...]) -> t.Sequence[str]:
    """What the same rule on the other side does not have, such as the rest of a wider network."""
    if len(sources) * len(others) > MOST:
        return sources
    return less(sources, others) if sources and others else sources


def _product(parts: t.Iterable[t.Sequence[t.Any]]) -> int:
    return functools.reduce(lambda product, part: product * len(part), parts, 1)


def _fresh(part: t.Sequence[t.Any], other: t.Iterable[t.Any]) -> t.Sequence[t.Any]:
    """The entries of a long list that no rule of the other side names; if there are none, the whole list."""
    named = {each for _chain, match, _action in other for each in (*match.source, *match.destination, *match.port)}
    return [each for each in part if each not in named] or part
