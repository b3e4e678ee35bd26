# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""The fence of an instance: a table of its own, which belongs to the process that loads it."""

from __future__ import annotations

import json
import typing as t
from hashlib import sha256

from .render import rows_of
from .text import words

if t.TYPE_CHECKING:  # pragma: no cover
    from ..._rules.model import RuleSet

#: Prefix of the chain whose name identifies the loaded text.
FENCE_TEXT = "text-"


def fence_table(instance: str) -> str:
    """No instance is called so: their names have no hyphen."""
    return "ipmasq-fence" if instance == "default" else "ipmasq-fence-" + instance


def fence_text(ruleset: RuleSet) -> str:
    """A table that belongs to the process that loads this, as one transaction that replaces an earlier one.

    As text, because nft before 1.0.9 accepts no flags in JSON. The name of an empty chain identifies the loaded text.
    """
    place = "inet " + fence_table(ruleset.instance)
    chains, lines = [], []
    for row in rows_of(ruleset):
        ((kind, body),) = json.loads(row.text).items()
        if kind == "chain" and body:
            hook = "type {type} hook {hook} priority {prio}; policy {policy};".format(**body)
            chains.append("add chain {0} {1} {{ {2} }}".format(place, row.chain, hook))
        elif kind == "chain":
            chains.append("add chain {0} {1}".format(place, row.chain))
        else:
            text = " ".join(word for part in body["expr"] for word in words(part) or ["counter"])
            lines.append('add rule {0} {1} {2} comment "{3}"'.format(place, row.chain, text, body["comment"]))
    lines = chains + lines
    known = sha256("\n".join(lines).encode()).hexdigest()[:16]
    head = ["add table " + place, "delete table " + place, "add table {0} {{ flags owner; }}".format(place)]
    lines = [*head, "add chain {0} {1}{2}".format(place, FENCE_TEXT, known), *lines]
    return "".join(line + "\n" for line in lines)
