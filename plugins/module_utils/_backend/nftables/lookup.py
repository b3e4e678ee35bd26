# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Many port forwards on nftables: a verdict map finds the right one without trying all of them.

New connections from clients pass the rules of every forward, too, so 10,000 rules in a row slow down each of them.
Above ``FEW``, the rules move unchanged into chains of a few each; a map of ports (before the translation) or of
addresses and ports (after it) leads to them. Chain names depend only on the port or address, so one more forward
changes one chain.
"""

from __future__ import annotations

import typing as t
from bisect import bisect_right
from dataclasses import dataclass
from zlib import crc32

from ..._rules import is_host

if t.TYPE_CHECKING:  # pragma: no cover
    from ..._rules import Ports, Rule

#: Up to this number, rules stay in a row, where people find them.
FEW = 64
#: A forward with more ports is not looked up.
MANY_PORTS = 1024
#: The number of ports that share a chain.
BLOCK = 8
LAST_PORT = 65535
#: The number of chains for all servers.
CHAINS = 2048
PREFIX = "port_forward/"

#: A port or range, or an address and a port.
Key = t.Union[t.Tuple[int, int], t.Tuple[str, int]]


@dataclass(frozen=True)
class Lookup:
    """A rule that dispatches packets of a protocol by port, or by address and port."""

    protocol: str
    family: str  # empty: by port alone
    targets: t.Dict[Key, str]  # key to the name of a chain


@dataclass(frozen=True)
class Part:
    """The contents of a chain, in order."""

    chain: str
    rules: t.Tuple[Rule | Lookup, ...]


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
            found.append(Part(chain, tuple(standing)))
    return found


def _split(
    chain: str,
    rules: t.List[Rule],
    fits: t.Callable[[Rule], bool],
    lookups: t.Callable[[str, t.List[Rule]], t.Tuple[t.List[Lookup], t.List[Part]]],
) -> t.List[Part]:
    """The chain with look-ups in place of the first such rule, and the chains that they lead to."""
    behind = catch_alls(rules)
    places = [index for index, rule in enumerate(rules) if fits(rule) and index not in behind]
    if len(places) <= FEW:
        return [Part(chain, tuple(rules))]
    leading, parts = lookups(chain, [rules[index] for index in places])
    place, looked_up = places[0], frozenset(places)
    rest = [rule for index, rule in enumerate(rules) if index > place and index not in looked_up]
    return [Part(chain, (*rules[:place], *leading, *rest)), *parts]


def is_forward(rule: Rule) -> bool:
    """Whether a rule belongs to a port forward and matches ports."""
    return rule.key.startswith(PREFIX) and bool(rule.match.protocol) and bool(rule.match.port)


def catch_alls(rules: t.Sequence[Rule]) -> t.Set[int]:
    """The indexes of forwards of too many ports that follow all others of their protocol and need no look-up.

    In the map, they would merge all ports into one block, and so put all forwards in a row.
    """
    found, narrow = set(), set()
    for place in range(len(rules) - 1, -1, -1):
        match = rules[place].match
        if is_forward(rules[place]) and match.protocol not in narrow:
            if all(last - first >= MANY_PORTS for first, last in match.port):
                found.add(place)
            else:
                narrow.add(match.protocol)
    return found


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


def _by_port(chain: str, rules: t.List[Rule]) -> t.Tuple[t.List[Lookup], t.List[Part]]:
    """The order within a block is kept."""
    leading, parts = [], []
    for protocol in sorted({rule.match.protocol for rule in rules}):
        mine = [rule for rule in rules if rule.match.protocol == protocol]
        shared = blocks((rule.match.port[0] for rule in mine), BLOCK)
        targets: t.Dict[Key, str] = {each: "{0}-{1}-{2}".format(chain, protocol, each[0]) for each in shared}
        chains: t.Dict[str, t.List[Rule]] = {name: [] for name in targets.values()}
        for rule in mine:
            block = block_of(rule.match.port[0], shared)
            chains[targets[block]].append(rule)
        leading.append(Lookup(protocol, "", targets))
        parts += [Part(name, tuple(standing)) for name, standing in chains.items()]
    return leading, parts


def blocks(ports: t.Iterable[Ports], size: int) -> t.List[Ports]:
    """First and last port of each block in use, sorted; a range that spans several blocks merges them."""
    found: t.List[Ports] = []
    for first, last in sorted({(first // size * size, last // size * size + size - 1) for first, last in ports}):
        if found and first <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], last))
        else:
            found.append((first, last))
    return found


def block_of(ports: Ports, known: t.Sequence[Ports]) -> Ports:
    """The known block that contains a port or range."""
    return known[bisect_right(known, (ports[0], LAST_PORT)) - 1]


def _by_server(chain: str, rules: t.List[Rule]) -> t.Tuple[t.List[Lookup], t.List[Part]]:
    leading, parts = [], []
    for family, protocol in sorted({(rule.match.family, rule.match.protocol) for rule in rules}):
        targets: t.Dict[Key, str] = {}
        chains: t.Dict[str, t.List[Rule]] = {}
        for rule in rules:
            if (rule.match.family, rule.match.protocol) == (family, protocol):
                address, port = rule.match.destination[0].split("/")[0], rule.match.port[0][0]
                number = crc32("{0} {1}".format(address, port).encode()) % CHAINS
                name = targets[address, port] = "{0}-{1}-{2}-{3}".format(chain, family, protocol, number)
                chains.setdefault(name, []).append(rule)
        leading.append(Lookup(protocol, family, targets))
        parts += [Part(name, tuple(standing)) for name, standing in chains.items()]
    return leading, parts
