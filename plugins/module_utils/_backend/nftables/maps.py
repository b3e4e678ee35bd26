# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Port forwards that differ only in ports and server: one rule for all of them, whose maps hold what differs.

A rule for each of 10,000 forwards, on each side of the translation, takes nft three seconds to load, and new flows pass
a chain on the way to theirs. Each forward keeps its counters, as objects of the table that bear its name.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, fields
from operator import attrgetter

from ..._base.net import is_host
from ..._rules.model import Match, split_wildcards
from ..blocks import FEW, is_forward
from .expressions import counter_name
from .match import split

if t.TYPE_CHECKING:  # pragma: no cover
    from ..._rules.model import Rule

#: Wider ranges are not in these maps: each port would be an element on both sides of the translation, and nft took 30 s
#: to load 240 ranges of 250 ports. It takes 0.7 s if a map leads to chains of such forwards instead (1.0.6).
WIDE = 8
#: Each packet tries so many of these rules in a row; what else there is, is looked up by chains.
MOST = 8

#: A port, or an address and a port.
Key = t.Union[int, t.Tuple[str, int]]
#: The parts of a match that the rules of one map share.
_BEFORE = attrgetter(*(each.name for each in fields(Match) if each.name != "port"))
_AFTER = attrgetter(*(each.name for each in fields(Match) if each.name not in ("port", "destination")))


class Element(t.NamedTuple):
    """What differs between forwards: the name of a counter and, before the translation, where packets go."""

    counter: str
    to: str = ""
    port: int = 0  # 0: the same


@dataclass(frozen=True)
class Mapped:
    """A rule in place of many."""

    like: Rule  # the first of them
    elements: t.Dict[Key, Element]
    chain: str = ""  # that holds the maps, where packets are translated


def mapped(rules: t.Sequence[Rule], before: str = "") -> t.Tuple[t.List[Mapped], t.Set[int]]:
    """The maps, and the indexes of the rules that they stand for. ``before``: the chain that translates, in which the
    first matching rule decides, so that one that an earlier rule may precede stays as it is. Otherwise they accept.
    """
    groups: t.Dict[t.Any, t.List[int]] = {}
    claims = _Claims()
    for index, rule in enumerate(rules):
        fits = _translates(rule) if before else _accepts(rule)
        if before and not claims.first(rule):
            continue
        if fits:
            like = (_BEFORE(rule.match), rule.action.ports is None) if before else _AFTER(rule.match)
            groups.setdefault(like, []).append(index)
    found: t.List[Mapped] = []
    known: t.Set[int] = set()
    largest = sorted((group for group in groups.values() if len(group) > FEW), key=len, reverse=True)
    for group in sorted(largest[:MOST]):
        first = rules[group[0]]
        if len([each for match in split_wildcards(first.match) for each in split(match)]) > 1:
            continue  # several rules, and all elements in each of them
        elements: t.Dict[Key, Element] = {}
        for index in group:
            mine = _elements(rules[index])
            if elements.keys().isdisjoint(mine):
                elements.update(mine)
                known.add(index)
        found.append(Mapped(first, elements, "{0}-map-{1}".format(before, len(found)) if before else ""))
    return found, known


def _narrow(rule: Rule) -> bool:
    ports = rule.match.port
    return is_forward(rule) and len(ports) == 1 and ports[0][1] - ports[0][0] < WIDE


def _translates(rule: Rule) -> bool:
    return _narrow(rule) and rule.action.kind == "dnat" and len(rule.action.to) == 1


def _accepts(rule: Rule) -> bool:
    """All of these accept, so their order does not matter."""
    to = rule.match.destination
    return _narrow(rule) and rule.action.kind == "accept" and len(to) == 1 and is_host(to[0])


def _elements(rule: Rule) -> t.Dict[Key, Element]:
    first, last = rule.match.port[0]
    name = counter_name(rule.key, rule.action.kind)
    if rule.action.kind == "accept":
        address = rule.match.destination[0].partition("/")[0]
        return {(address, port): Element(name) for port in range(first, last + 1)}
    to, to_first = rule.action.to[0], rule.action.ports[0] if rule.action.ports else 0
    step = 1 if rule.action.shift else 0
    return {port: Element(name, to, to_first and to_first + step * (port - first)) for port in range(first, last + 1)}


class _Claims:
    """Which rules have been asked for a port already."""

    def __init__(self) -> None:
        self._narrow: t.Dict[t.Tuple[str, int], t.List[Rule]] = {}
        self._others: t.List[Rule] = []

    def first(self, rule: Rule) -> bool:
        """Whether none of the earlier rules may match the packets of this one. Later ones meet it as an earlier one."""
        if not _narrow(rule):
            self._others.append(rule)
            return False
        first, last = rule.match.port[0]
        claimed = [self._narrow.setdefault((rule.match.protocol, port), []) for port in range(first, last + 1)]
        earlier = [each for rules in claimed for each in rules]
        for rules in claimed:
            rules.append(rule)
        if len(earlier) > MOST or len(self._others) > FEW:
            return False  # to compare each with all others would take long
        return not any(_meet(each, rule) for each in earlier) and not any(_covers(each, rule) for each in self._others)


def _covers(wide: Rule, rule: Rule) -> bool:
    """Whether a wider rule, or one without ports, may match what this one matches."""
    first, last = rule.match.port[0]
    ports = wide.match.port
    apart = bool(ports) and not any(low <= last and first <= high for low, high in ports)
    return not apart and wide.match.protocol in ("", rule.match.protocol) and _meet(wide, rule)


def _meet(one: Rule, other: Rule) -> bool:
    """Whether both may match packets of one family and link."""
    if one.match.family and other.match.family and one.match.family != other.match.family:
        return False
    links, others = one.match.iif, other.match.iif
    plain = bool(links and others) and not any(name.endswith("*") for name in links + others)
    return not (plain and set(links).isdisjoint(others))
