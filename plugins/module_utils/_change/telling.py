# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""A change in words: the differences, the texts for --diff, the line for the journal, and the return values."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from .._intent.wording import is_cut
from .._parts.declaration import DECLARATION
from .rfc import given_up

if t.TYPE_CHECKING:  # pragma: no cover
    from .._facts.links import Facts
    from .._parts.part import Delta
    from .._resolve.resolved import Resolved
    from .change import Change


@dataclass(frozen=True)
class Result:
    """What a call did, or would do."""

    change: Change
    warnings: t.Tuple[str, ...] = ()
    values: t.Mapping[str, t.Any] = field(default_factory=dict)
    notes: t.Tuple[str, ...] = ()
    remarks: t.Tuple[str, ...] = ()  # warnings in the first run that sees them
    why: str = ""  # this backend
    flows: int = 0  # connections that the change makes wrong and deletes
    by_ends: bool = False  # whether it depends on where the run comes from

    @property
    def changed(self) -> bool:
        return self.change.changed or bool(self.flows)

    def to_dict(self, verbose: bool = False) -> t.Dict[str, t.Any]:
        """``verbose``: --diff also shows every changed rule."""
        scene = self.change.scene
        described = {
            "changed": self.changed,
            "instance": scene.instance,
            "backend": {
                "name": scene.backend.name if scene.backend else "none",
                "programs": scene.backend.programs if scene.backend else "",
                "why": self.why,
            },
            "notes": list(self.notes),
            "differences": _differences(self.change, self.flows),
            "diff": _diff(self, verbose),
        }
        described.update(self.values)
        if self.warnings:
            described["warnings"] = list(self.warnings)
        if self.remarks:
            described["remarks"] = list(self.remarks)
        if self.by_ends:
            described["by_ends"] = True
        return described


def _differences(change: Change, flows: int) -> t.List[str]:
    upkeep = change.upkeep
    lines = [line for delta in _deltas(change) for line in delta.lines]
    lines += ["~ {0}: written".format(path) for path in upkeep.outdated]
    lines += ["- {0}: removed".format(path) for path in upkeep.stale]
    if upkeep.enable:
        lines.append("+ service ipmasq: enabled")
    if flows:
        lines.append("- {0} connections that began under other rules: forgotten".format(flows))
    return lines


def told(change: Change) -> t.List[str]:
    """The differences for the journal: the declaration in words, or what follows from it if the words are the same."""
    before, after = DECLARATION.of(change.old).lines, DECLARATION.of(change.new).lines
    words = ["- " + line for line in before if line not in set(after)]
    words += ["+ " + line for line in after if line not in set(before)]
    lines = [line for delta in _deltas(change) if not (words and delta.detail) for line in delta.lines]
    return words + lines or ["files only"]


def _deltas(change: Change) -> t.List[Delta]:
    return [move.delta for move in change.moves]


def _diff(result: Result, verbose: bool) -> t.Dict[str, str]:
    """The text for --diff: the gateway in words. Rules with -v, or if the words alone do not show the difference."""
    change, upkeep = result.change, result.change.upkeep
    before, after = list(DECLARATION.of(change.old).lines), list(DECLARATION.of(change.new).lines)
    if not result.changed:
        before = after = []
    same = set(before) & set(after)
    unsaid = before == after or change.drifted or any(is_cut(line) for line in same)
    for delta in _deltas(change):
        if unsaid or verbose or not delta.detail:
            for line in delta.lines if delta.diff is None else delta.diff:
                (before if line.startswith("- ") else after).append(line[2:])
    after += ["file {0}".format(path) for path in upkeep.outdated if path not in upkeep.rewritten]
    if upkeep.enable:
        after.append("service ipmasq: enabled")
    before += ["file {0}".format(path) for path in upkeep.stale]
    diff = {
        "before_header": "gateway " + change.scene.instance,
        "after_header": "gateway " + change.scene.instance,
        "before": "".join(line + "\n" for line in before),
        "after": "".join(line + "\n" for line in after),
    }
    if upkeep.rewritten:
        # Neither added nor removed, so neither side has it; Ansible prints this below the two.
        diff["prepared"] = "".join("~ file {0}: rewritten\n".format(path) for path in upkeep.rewritten)
    return diff


def gateway_values(gateway: Resolved, facts: Facts) -> t.Dict[str, t.Any]:
    """The return values that describe a resolved gateway."""
    return {
        "rfc": [{"requirement": each.name, "why": each.why} for each in given_up(gateway)],
        "wans": [{"interface": wan.interface} for wan in gateway.wans],
        "lans": [
            {
                "name": lan.name,
                "interfaces": list(lan.interfaces),
                "networks": list(lan.networks),
                "reaches": list(lan.reaches),
                # Of this host: one of these is the next hop of the LAN's clients.
                "addresses": [
                    address for name in lan.interfaces for each in facts.meant_by(name) for address in each.addresses
                ],
            }
            for lan in gateway.lans
        ],
    }
