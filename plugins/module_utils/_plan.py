# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""What is there against what should be there: the plan, and with it ``changed`` and the diff."""

from __future__ import annotations

import typing as t
from collections import Counter
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Row:
    """One line of a backend's own listing, in canonical form.

    Two rows are the same if chain and text are. What the kernel counted, and where a row happens to stand among rows
    that are not ours, is carried along but not compared.
    """

    chain: str
    text: str
    key: str = ""  # the item of ours that it belongs to; empty for what others put into our chains
    packets: int = field(default=0, compare=False)
    bytes: int = field(default=0, compare=False)
    position: int = field(default=1, compare=False)
    below: str = ""  # a rule of others that decides before this one, which makes it another row


Rows = t.Tuple[Row, ...]
#: Nobody reads 10,000 lines, and each of them travels.
MOST_TOLD = 200


@dataclass(frozen=True)
class Plan:
    live: Rows
    desired: Rows

    @property
    def changed(self) -> bool:
        """Order counts within a chain, because there the first verdict wins; chains have no order."""
        return by_chain(self.live) != by_chain(self.desired)

    @property
    def add(self) -> Rows:
        return _less(self.desired, self.live)

    @property
    def remove(self) -> Rows:
        return _less(self.live, self.desired)

    @property
    def moved(self) -> bool:
        """The rows are all there, but in another order."""
        return self.changed and not self.add and not self.remove

    def differences(self, show: t.Callable[[Row], str]) -> t.List[str]:
        """Each difference as a line: + is missing on the host, - should not be there. At most MOST_TOLD of them."""
        rows = [("- ", row) for row in self.remove] + [("+ ", row) for row in self.add]
        lines = [sign + show(row) for sign, row in rows[:MOST_TOLD]]
        if len(rows) > MOST_TOLD:
            lines.append("~ {0} more rules".format(len(rows) - MOST_TOLD))
        return lines or (["~ the order of rules"] if self.moved else [])


def by_chain(rows: Rows) -> t.Dict[str, t.List[Row]]:
    chains: t.Dict[str, t.List[Row]] = {}
    for row in rows:
        chains.setdefault(row.chain, []).append(row)
    return chains


def _less(rows: Rows, other: Rows) -> Rows:
    """Rows that the other side lacks, each as often as it is lacking: a duplicate is a difference."""
    surplus = Counter(rows)
    surplus.subtract(Counter(other))
    found = []
    for row in rows:
        if surplus[row] > 0:
            surplus[row] -= 1
            found.append(row)
    return tuple(found)


def replace_key(rows: Rows, key: str, mine: Rows) -> Rows:
    """Rows with those of one item replaced where they first stood, or added at the end of their chains."""
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
