# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""The steps that load the rows of an instance: one input of iptables-restore for each family, and sets around them."""

from __future__ import annotations

import typing as t
from dataclasses import replace

from ..._base.errors import first_lines
from ..._rules.model import owner
from ..._rules.rows import Row
from ..steps import Step
from . import ipset
from .match import NEW
from .names import FAMILIES, chain_name, chain_row, jump_row
from .quoting import join_words, word_after

if t.TYPE_CHECKING:  # pragma: no cover
    from ..._rules.rows import Rows

    Tables = t.Mapping[str, t.List[Row]]

#: Precedes the chain that holds new connections back, in the file of a family.
HOLD = "# hold"
#: Seconds to wait for the xtables lock; after that it is an error, never a missing rule.
LOCK_WAIT = "5"
#: Rows that stop packets sort before this order, rows that accept at its end.
ORDER = ("raw", "nat", "mangle", "filter")


def steps(desired: Rows, live: Rows, instance: str, restores: t.Mapping[str, str]) -> t.Tuple[Step, ...]:
    """Sets first, then the tables of each family, and at the end the sets that nothing uses any more.

    ``restores``: the program of each family. Jumps are always inserted again, because the listing may be out of date.
    """
    counted = {row: row for row in live}
    desired = tuple(_with_counts(row, counted.get(row)) for row in desired)
    before, after = sets_of(live), sets_of(desired)
    found = [ipset.making(instance, after, before)] if after else []
    new, old = _by_table(desired), _by_table(live)
    for family, restore in restores.items():
        text = _family_text(family, new, old, hold(family, desired + live, instance))
        if text:
            argv = (restore, "-w", LOCK_WAIT, "--noflush", "--counters")
            found.append(Step(argv, text, "." + FAMILIES[family], refused))
    if before or after:
        found.append(Step(ipset.sweeping(instance, after)))
    return tuple(found)


def _by_table(rows: Rows) -> t.Dict[str, t.List[Row]]:
    """The rows of each family and table, in their order."""
    found: t.Dict[str, t.List[Row]] = {}
    for row in rows:
        found.setdefault(row.chain.rpartition(" ")[0], []).append(row)
    return found


def _family_text(family: str, new: Tables, old: Tables, held: Rows) -> str:
    sections = [HOLD + "\n" + section("filter", list(held), [])] if held else []
    for table in ORDER:
        place = "{0} {1}".format(family, table)
        wanted, left = new.get(place, []), old.get(place, []) + (list(held) if table == "filter" else [])
        if wanted or left:
            sections.append(section(table, wanted, left))
    return "".join(sections)


def boot_line(save: str, restore: str, file: str, instance: str) -> str:
    """Remove jumps that another tool has restored, because restoring ours would duplicate them; then load the file.

    The whole comment is compared, because a log prefix may contain the same words. The old jumps go and ours come in
    one transaction per table; in between, our rules would be bypassed (measured: packets leaked on a host that
    forwards). Everything is read before the first table is replaced, so that the line never reads its own result.
    """
    return (
        "text=$(sed -n '/^# hold/,/^COMMIT/p' {4}; "
        "for table in $(sed -n '/^# hold/,/^COMMIT/d; s/^[*]//p' {4}); do "
        'echo "*$table"; {0} -t $table | sed -n \'/ --comment "*ipmasq:{1}\\/jump"* -j /s/^-A /-D /p\'; '
        'sed -n "/^# hold/,/^COMMIT/d; /^[*]$table/,/^COMMIT/{{ /^[*]/d; p; }}" {4}; done); '
        "printf '%s\\n' \"$text\" | {2} -w {3} --noflush".format(save, instance, restore, LOCK_WAIT, file)
    )


def refused(err: str) -> str:
    """What iptables-restore says about rules that it refuses, with an explanation of unclear messages."""
    text = "the rules were refused: " + first_lines(err)
    if "lock" in err:
        return text + " (another program holds the xtables lock; find it with 'lsof /run/xtables.lock')"
    if any(words in err for words in ("Table does not exist", "can't initialize", "unable to initialize table")):
        return text + " (this kernel lacks that table: modprobe iptable_nat, or use backend nftables)"
    return text


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


def _with_counts(row: Row, live: t.Optional[Row]) -> Row:
    if not live or (live.packets, live.bytes) == (row.packets, row.bytes):
        return row
    return replace(row, packets=live.packets, bytes=live.bytes)
