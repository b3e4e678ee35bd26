# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Many port forwards, or LANs, on nftables: a map finds the right one without trying all of them.

New connections from clients pass the rules of every forward, too, so 10,000 rules in a row slow down each of them.
Above ``FEW``, those that differ only in ports and server become elements of one rule (``maps``). The others move
unchanged into chains of a few each; a map of ports (before the translation) or of addresses and ports (after it) leads
to them. Chain names depend only on the port or address, so one more forward changes one chain.

While a transaction exchanges the rules, the kernel takes the elements of old maps away a moment before old rules end:
of maps, not of sets (nft_map_deactivate in net/netfilter/nf_tables_api.c). A packet that is to be translated must not
reach the gateway's own services then, so a set of the ports leads to a chain with the map, and what the map does not
have is dropped at its end. One from a LAN must not be rejected, so the rules that a map of links stands for follow it,
and what is on its way to a known server is dropped, too, as if it were lost (``render`` does the same for other maps).
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, replace
from zlib import crc32

from ..._base.net import is_host
from ..._rules.model import Action, Match, Rule
from ..blocks import FEW, block_of, blocks, catch_alls, is_forward
from .maps import mapped

if t.TYPE_CHECKING:  # pragma: no cover
    from .maps import Mapped

#: From this number of LANs on, a map tells them apart; to compare fewer names in a row costs less.
LINKS = 4
#: What the name of a chain with such a map contains.
BY_LINK = "by-link"
#: The number of ports that share a chain.
BLOCK = 8
#: Wider ranges are not in a map, but have a rule each.
WIDE = 256
#: Of rules that belong to no item.
KEY = "lookup"
#: The number of chains for all servers.
CHAINS = 2048

#: A port or range, or an address and a port.
Key = t.Union[t.Tuple[int, int], t.Tuple[str, int]]


@dataclass(frozen=True)
class Lookup:
    """A rule that dispatches packets of a protocol by port, or by address and port; to a single chain by a set."""

    protocol: str
    family: str  # empty: by port alone
    targets: t.Dict[Key, str]  # key to the name of a chain
    #: By which a packet does not come back to the next rule, but to the one after the jump to this one's chain.
    goes: bool = False


@dataclass(frozen=True)
class LinkLookup:
    """A rule that dispatches packets by the link that they came from: its name to the name of a chain, by which they
    come back to the rule after the jump to this one's chain.
    """

    targets: t.Dict[str, str]


@dataclass(frozen=True)
class Part:
    """The contents of a chain, in order."""

    chain: str
    rules: t.Tuple[Rule | Lookup | LinkLookup | Mapped, ...]


def arranged(rules: t.Iterable[Rule], by_port: str, by_server: str) -> t.List[Part]:
    """All rules by chain; many port forwards get chains of their own.

    ``by_port`` is the chain that translates, ``by_server`` the one that accepts translated packets.
    """
    chains: t.Dict[str, t.List[Rule]] = {}
    for rule in rules:
        chains.setdefault(rule.chain, []).append(rule)
    found = []
    for chain, standing in chains.items():
        if chain == by_port:
            found += _split(chain, standing, _has_port, _by_port)
        elif chain == by_server:
            found += _split(chain, standing, _has_server, _by_server)
        else:
            found += _by_link(chain, standing)
    return found


def _by_link(chain: str, rules: t.List[Rule]) -> t.List[Part]:
    """The chain, with a jump to a look-up in place of each row of jumps by the link alone, one for each LAN.

    A packet comes from one link, so the order in such a row does not matter, as long as no link is in two of its rules.
    """
    rows: t.List[t.List[Rule]] = []
    known: t.Set[str] = set()
    for rule in rules:
        names = rule.match.iif if _is_of_link(rule) else ()
        if not names or not known or not known.isdisjoint(names):
            rows.append([])
            known = set()
        rows[-1].append(rule)
        known.update(names)
    own: t.List[Rule] = []
    parts: t.List[Part] = []
    for row in rows:
        if len(row) < LINKS:
            own += row
            continue
        name = "{0}-{1}-{2}".format(chain, BY_LINK, len(parts) + 1)
        own.append(Rule(chain, Match(), Action("jump", name), KEY))
        parts.append(_links(name, row))
    return [Part(chain, tuple(own)), *parts]


def _links(name: str, rules: t.List[Rule]) -> Part:
    """A chain with a map, and the same as rules, which a packet meets only when the map has lost its elements."""
    lookup = LinkLookup({link: rule.action.target for rule in rules for link in rule.match.iif})
    row = [replace(rule, chain=name, action=replace(rule.action, kind="goto")) for rule in rules]
    return Part(name, (lookup, *row))


def _is_of_link(rule: Rule) -> bool:
    """Whether a rule sends packets of some links elsewhere, and asks for nothing else. A pattern is in no map."""
    names = rule.match.iif
    exact = bool(names) and not any(name.endswith("*") for name in names)
    return exact and rule.action.kind == "jump" and rule.match == Match(iif=names)


def _split(
    chain: str,
    rules: t.List[Rule],
    fits: t.Callable[[Rule], bool],
    lookups: t.Callable[[str, t.List[Rule]], t.Tuple[t.List[Rule | Lookup], t.List[Part]]],
) -> t.List[Part]:
    """The chain with look-ups in place of the first such rule, and the chains that they lead to."""
    behind = catch_alls(rules)
    places = [index for index, rule in enumerate(rules) if fits(rule) and index not in behind]
    if len(places) <= FEW:
        return [Part(chain, tuple(rules))]
    maps, moved = mapped(rules, chain if fits is _has_port else "")
    place = min(places[0], *moved) if moved else places[0]
    left = [index for index in places if index not in moved]
    leading: t.List[Rule | Lookup] = []
    parts: t.List[Part] = []
    inside = [_dropping(each.chain, each) for each in maps if each.chain]
    if len(left) > FEW:
        leading, parts = lookups(chain, [rules[index] for index in left])
        moved.update(left)
    rest = [rule for index, rule in enumerate(rules) if index >= place and index not in moved]
    first = [_entrance(chain, each.like.match, each.elements, each.chain) if each.chain else each for each in maps]
    return [Part(chain, (*rules[:place], *first, *leading, *rest)), *inside, *parts]


def _entrance(chain: str, match: Match, ports: t.Iterable[t.Any], target: str) -> Rule:
    """A set of ports, which the kernel exchanges with the rules, before a map of the same ports."""
    return Rule(chain, replace(match, port=tuple((port, port) for port in ports)), Action("jump", target), KEY)


def _dropping(chain: str, rule: Lookup | Mapped) -> Part:
    return Part(chain, (rule, Rule(chain, Match(), Action("drop"), KEY)))


def _has_port(rule: Rule) -> bool:
    return is_forward(rule) and len(rule.match.port) == 1


def _has_server(rule: Rule) -> bool:
    """All of these accept, so their order does not matter."""
    match = rule.match
    return (
        _has_port(rule)
        and rule.action.kind == "accept"
        and match.port[0][0] == match.port[0][1]
        and len(match.destination) == 1
        and is_host(match.destination[0])
    )


def _by_port(chain: str, rules: t.List[Rule]) -> t.Tuple[t.List[Rule | Lookup], t.List[Part]]:
    """The order within a block is kept.

    The map has single ports, because one of ranges would be a tree, which a transaction does not exchange together with
    the rules (see ``match.split``): new connections to a forwarded port would reach the gateway's own services. Wide
    ranges have rules of their own.
    """
    leading: t.List[Rule | Lookup] = []
    parts: t.List[Part] = []
    for protocol in sorted({rule.match.protocol for rule in rules}):
        mine = [rule for rule in rules if rule.match.protocol == protocol]
        shared = blocks((rule.match.port[0] for rule in mine), BLOCK)
        chains: t.Dict[str, t.List[Rule]] = {}
        single: t.Dict[Key, str] = {}
        wide: t.Dict[Key, str] = {}
        for rule in mine:
            first, last = rule.match.port[0]
            name = "{0}-{1}-{2}".format(chain, protocol, block_of((first, last), shared)[0])
            chains.setdefault(name, []).append(rule)
            if last - first < WIDE:
                single.update({(port, port): name for port in range(first, last + 1)})
            else:
                wide[first, last] = name
        if single:
            inner = "{0}-{1}".format(chain, protocol)
            ports = [port for port, _port in t.cast("t.Any", single)]
            leading.append(_entrance(chain, Match(protocol=protocol), ports, inner))
            parts.append(_dropping(inner, Lookup(protocol, "", single, goes=True)))
        leading += [Lookup(protocol, "", {key: name}) for key, name in wide.items()]
        parts += [Part(name, tuple(standing)) for name, standing in chains.items()]
    return leading, parts


def _by_server(chain: str, rules: t.List[Rule]) -> t.Tuple[t.List[Rule | Lookup], t.List[Part]]:
    leading: t.List[Rule | Lookup] = []
    parts: t.List[Part] = []
    for family, protocol in sorted({(rule.match.family, rule.match.protocol) for rule in rules}):
        targets: t.Dict[Key, str] = {}
        chains: t.Dict[str, t.List[Rule]] = {}
        for rule in rules:
            if (rule.match.family, rule.match.protocol) == (family, protocol):
                address, port = rule.match.destination[0].split("/")[0], rule.match.port[0][0]
                number = crc32("{0} {1}".format(address, port).encode()) % CHAINS
                name = targets[address, port] = "{0}-{1}-{2}-{3}".format(chain, family, protocol, number)
                chains.setdefault(name, []).append(rule)
        inner = "{0}-{1}-{2}".format(chain, family, protocol)
        leading.append(Lookup(protocol, family, dict.fromkeys(targets, inner)))
        parts.append(_dropping(inner, Lookup(protocol, family, targets, goes=True)))
        parts += [Part(name, tuple(standing)) for name, standing in chains.items()]
    return leading, parts
