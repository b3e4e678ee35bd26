# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Many port forwards: which rules can be looked up by port, and blocks of ports that share a chain."""

from __future__ import annotations

import typing as t
from bisect import bisect_right

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.net import Ports
    from .._rules.model import Rule

#: Up to this number, rules stay in a row, where people find them.
FEW = 64
#: A forward with more ports is not looked up.
MANY_PORTS = 1024
LAST_PORT = 65535
PREFIX = "port_forward/"


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
