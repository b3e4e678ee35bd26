# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""The rows of an instance as input of iptables-restore, one for each family."""

from __future__ import annotations

import typing as t
from dataclasses import replace

from ..._plan import Row
from ..._rules import owner
from . import ipset
from .listing import MARK
from .match import NEW
from .names import chain_name, chain_row, jump_row
from .quoting import join_words, word_after

if t.TYPE_CHECKING:  # pragma: no cover
    from ..._plan import Rows

#: Precedes the chain that holds new connections back, in a script and in a file.
HOLD = "# hold"
#: Rows that stop packets sort before this order, rows that accept at its end.
ORDER = ("raw", "nat", "mangle", "filter")


def sets_of(rows: Rows) -> Rows:
    return tuple(row for row in rows if row.key == ipset.KEY)


def hold(family: str, rows: Rows, instance: str) -> Rows:
    """A first chain that drops new connections from and to a gateway's interfaces; replies pass."""
    forward = "{0} filter {1}".format(family, chain_name(instance, "forward"))
    known = (word_after("-i", row.text.split()) for row in rows if row.chain == forward)
    links = [name for name in dict.fromkeys(known) if name]
    if not links:
        return ()
    name = chain_name(instance, "hold")
    place = "{0} filter {1}".format(family, name)
    drop = [*NEW, "-m", "comment", "--comment", owner(instance, "hold"), "-j", "DROP"]
    rules = tuple(Row(place, join_words([way, link, *drop]), "hold") for link in links for way in ("-i", "-o"))
    jump = jump_row("{0} filter FORWARD".format(family), name, instance, 1)
    return (chain_row(family, "filter", name), jump, *rules)


def parts(script: str) -> t.List[t.Tuple[str, str]]:
    """The parts by family, preceded by the sets they need and followed by the sets that stay."""
    parts = script.split(MARK)[1:]
    return [(part.split("\n", 1)[0], part.split("\n", 1)[1]) for part in parts]


def section(table: str, new: t.List[Row], old: t.List[Row]) -> str:
    """One table of a restore file. Declaring a chain with ":" empties it; jumps are deleted and inserted again."""
    lines = ["*" + table]
    chains = [row.chain.split()[2] for row in new if row.key == "chain"]
    gone = [row.chain.split()[2] for row in old if row.key == "chain"]
    lines += [":{0} - [0:0]".format(name) for name in dict.fromkeys(chains + gone)]
    for row in old:
        if row.key == "jump":
            lines.append("-D {0} {1}".format(row.chain.split()[2], row.text))
    for row in new:
        counts = "[{0}:{1}] ".format(row.packets, row.bytes)
        name = row.chain.split()[2]
        if row.key == "jump":
            lines.append("{0}-I {1} {2} {3}".format(counts, name, row.position, row.text))
        elif row.key != "chain":
            lines.append("{0}-A {1} {2}".format(counts, name, row.text))
    lines += ["-X {0}".format(name) for name in dict.fromkeys(gone) if name not in chains]
    return "\n".join(lines + ["COMMIT", ""])


def with_counts(row: Row, live: t.Optional[Row]) -> Row:
    if not live or (live.packets, live.bytes) == (row.packets, row.bytes):
        return row
    return replace(row, packets=live.packets, bytes=live.bytes)
