# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""The steps that load the rows of an instance: one transaction of nft, and a text for what it takes only as text."""

from __future__ import annotations

import functools
import json
import typing as t

from ..steps import Step
from .expressions import counts, first_line, is_object, table
from .flowtable import flowtable_text
from .text import words

if t.TYPE_CHECKING:  # pragma: no cover
    from ..._rules.rows import Row, Rows
    from .expressions import Json

#: Chains loaded as text in a second step: before 1.0.9, nft loses timers given in JSON. Both chains handle connections
#: that the first step accepts, so nothing is open or closed in between.
LATE_CHAINS = ("timers", "offloaded")
LATE_OBJECTS = ("timers", "flowtable")
#: What is added to a counter's row; there are thousands.
ADDED = ', "packets": {0}, "bytes": {1}, "family": "inet", "table": "{2}"'


def steps(desired: Rows, live: Rows, instance: str) -> t.Tuple[Step, ...]:
    """One transaction, and what nft takes only as text. Rules that stay keep their counters."""
    counted = {row: row for row in live}
    rows = [counted.get(row, row) for row in desired]
    late = [row for row in rows if row.chain in LATE_CHAINS or row.key in LATE_OBJECTS]
    script = _transaction([row for row in rows if row not in late], instance)
    first = Step(("nft", "-j", "-f", "-"), script, ".nft", refused)
    if not late:
        return (first,)
    return (first, Step(("nft", "-f", "-"), _late_text(late, instance), ".late.nft", refused))


def _transaction(listed: t.Sequence[Row], instance: str) -> str:
    """Add, delete, add: nft before 1.0.7 has no "destroy", and a chain's priority cannot change in place."""
    whole = {"table": {"family": "inet", "name": table(instance)}}
    commands = [json.dumps({"add": whole}), json.dumps({"delete": whole})]
    if listed:
        commands.append(commands[0])
    # Objects come before the rules that refer to them.
    for row in sorted(listed, key=_turn):
        commands += _added(row, row.packets, row.bytes, table(instance))
    # One command per line, because people read this file, too.
    return '{"nftables": [\n' + ",\n".join(commands) + "\n]}\n"


def _turn(row: Row) -> t.Tuple[bool, bool]:
    return not is_object(row), row.key != "chain"


@functools.lru_cache(maxsize=1 << 15)
def _added(row: Row, _packets: int, _bytes: int, name: str) -> t.Tuple[str, ...]:
    """The command for a row, with its counters, which do not distinguish rows. A change needs each of them four times:
    to load it, for the rollback, for the boot, and for the digest of the boot's file.
    """
    if row.chain and is_object(row):
        counter = row.text[:-2] + ADDED.format(row.packets, row.bytes, name)
        return ('{"add": ' + counter + "}}}",)
    ((kind, body),) = json.loads(row.text).items()
    if kind == "table":
        return ()
    if kind == "chain":
        body = dict(body, name=row.chain)
    elif kind == "rule":
        body = dict(body, chain=row.chain, expr=_with_counts(body["expr"], row))
    return (json.dumps({"add": {kind: dict(body, family="inet", table=name)}}),)


def _late_text(rows: t.Iterable[Row], instance: str) -> str:
    """What nft accepts only as text, as lines that add to the table."""
    lines, place = [], "inet " + table(instance)
    for row in sorted(rows, key=_turn):
        ((kind, body),) = json.loads(row.text).items()
        if kind == "flowtable":
            lines.append(flowtable_text(instance))
        elif kind == "ct timeout":
            policy = ", ".join("{0} : {1}".format(*state) for state in _policy(body["name"]))
            lines.append(
                "add ct timeout {0} {1} {{ protocol {2}; l3proto {3}; policy = {{ {4} }}; }}".format(
                    place, body["name"], body["protocol"], body["l3proto"], policy
                )
            )
        elif kind == "chain":
            hook = "type {type} hook {hook} priority {prio}; policy {policy};".format(**body)
            lines.append("add chain {0} {1} {{ {2} }}".format(place, row.chain, hook))
        else:
            parts = _with_counts(body["expr"], row)
            text = " ".join(word for part in parts for word in words(part) or ["counter"])
            lines.append('add rule {0} {1} {2} comment "{3}"'.format(place, row.chain, text, body["comment"]))
    return "".join(line + "\n" for line in lines)


def _with_counts(expr: t.List[Json], row: Row) -> t.List[Json]:
    """A rule that stays keeps its counters."""
    known = {"packets": row.packets, "bytes": row.bytes} if row.packets else None
    return [{"counter": known} if counts(part) else part for part in expr]


def _policy(name: str) -> t.List[t.Tuple[str, str]]:
    words = name.split("-")[2:]
    return list(zip(words[::2], words[1::2]))


def refused(err: str) -> str:
    """nft's message about rules that it refuses, with an explanation of unclear ones."""
    text = "the rules were refused: " + first_line(err)
    if "Operation not supported" in err or ("No such file or directory" in err and "chain" in err):
        return text + " (this kernel lacks nftables NAT or a module of it: modprobe nft_chain_nat nft_masq nft_ct)"
    return text
