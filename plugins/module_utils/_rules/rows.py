# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Compare what is loaded with what should be: the plan, from which ``changed`` and the diff follow."""

from __future__ import annotations

import typing as t
from collections import Counter
from dataclasses import dataclass, field

from .._base.once import once


@dataclass(frozen=True)
class Row:
    """One line of a backend's listing, in canonical form.

    Rows are equal if chain and text are equal. Counters, and the position among foreign rows, are kept but not
    compared.
    """

    chain: str
    text: str
    key: str = ""  # the item of ours that it belongs to; empty for foreign rows in our chains
    packets: int = field(default=0, compare=False)
    bytes: int = field(default=0, compare=False)
    position: int = field(default=1, compare=False)
    below: str = ""  # a foreign rule that decides before this one, which makes this a different row

    def to_raw(self) -> t.List[t.Any]:
        """For the state file, which has thousands of them."""
        return [self.chain, self.text, self.key, self.position]

    @classmethod
    def from_raw(cls, raw: t.Any) -> Row:
        """Raises ValueError or TypeError on what ``to_raw`` never writes."""
        chain, text, key, position = raw
        if not (isinstance(chain, str) and isinstance(text, str) and isinstance(key, str)):
            raise TypeError("{0!r} is not a row".format(raw))
        return cls(chain, text, key, position=int(position))


Rows = t.Tuple[Row, ...]
#: Nobody reads 10,000 lines, and all of them are transferred.
MOST_TOLD = 200
#: Characters of a line. A rule may have a set of 10,000 elements.
LONGEST = 500


@dataclass(frozen=True)
class Plan:
    live: Rows
    desired: Rows

    @property
    def changed(self) -> bool:
        """Whether anything differs. Order counts within a chain, where the first verdict wins; chains have no order."""
        return _changed(self)

    @property
    def add(self) -> Rows:
        return _less(self.desired, self.live)

    @property
    def remove(self) -> Rows:
        return _less(self.live, self.desired)

    @property
    def moved(self) -> bool:
        """Whether all rows exist, but in another order."""
        return self.changed and not self.add and not self.remove

    def differences(self, show: t.Callable[[Row], str]) -> t.List[str]:
        """One line per difference: + is missing on the host, - is superfluous. At most MOST_TOLD lines,
        of LONGEST characters each.
        """
        rows = [("- ", row) for row in self.remove] + [("+ ", row) for row in self.add]
        lines = [_cut(sign + show(row)) for sign, row in rows[:MOST_TOLD]]
        if len(rows) > MOST_TOLD:
            lines.append("~ {0} more rules".format(len(rows) - MOST_TOLD))
        return lines or (["~ the order of rules"] if self.moved else [])


def _cut(line: str) -> str:
    more = len(line) - LONGEST
    return "{0}… and {1} more characters".format(line[:LONGEST], more) if more > 0 else line


@once
def _changed(plan: Plan) -> bool:
    return by_chain(plan.live) != by_chain(plan.desired)


def by_chain(rows: Rows) -> t.Dict[str, t.List[Row]]:
    chains: t.Dict[str, t.List[Row]] = {}
    for row in rows:
        chains.setdefault(row.chain, []).append(row)
    return chains


def _less(rows: Rows, other: Rows) -> Rows:
    """The rows missing from the other side. Duplicates count."""
    surplus = Counter(rows)
    surplus.subtract(Counter(other))
    found = []
    for row in rows:
        if surplus[row] > 0:
            surplus[row] -= 1
            found.append(row)
    return tuple(found)


def replace_key(rows: Rows, key: str, mine: Rows) -> Rows:
    """Replace the rows of one item where they first appeared, or append them to their chains."""
    result: t.List[Row] = []
    waiting = [row for row in mine if row.key == key]
    for row in rows:
        if row.key != key:
            result.append(row)
            continue
        placed = [new for new in waiting if new.chain == row.chain]
        result += placed
        waiting = [new for new in waiting if new.chain != row.chain]
    return tuple(result + waiting)
