# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Carry out a change, as a whole or not at all: arm the rollback, make each part, verify, prove, keep."""

from __future__ import annotations

import json
import typing as t
from dataclasses import dataclass, field

from .._base import journal, origin
from .._base.errors import GatewayError
from .._init import service, shut as shutting
from .._parts.part import FOLDER, stem
from .._rollback import rollback
from . import change as changes, persist, proving
from .telling import told

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.host import Host, Sight
    from .._rollback.rollback import Confirmation
    from .change import Change, Move

AS_BEFORE = "the host is as it was before"


@dataclass(frozen=True)
class Aftermath:
    """What happens to connections."""

    back: str = ""  # shell that a rollback runs for connections that began under the change
    owing: str = ""  # what lets a later run delete connections if this one dies
    # Called once the new rules are loaded: the shell text for when a pending change is kept.
    kept: t.Callable[[], str] = lambda: ""
    # Called once the old rules are loaded again.
    undone: t.Callable[[Host], None] = lambda _host: None


@dataclass(frozen=True)
class Terms:
    """The conditions under which a change stays."""

    pending: t.Optional[Confirmation] = None  # None: nobody has to confirm it
    aftermath: Aftermath = field(default_factory=Aftermath)
    proven: proving.Proving = field(default_factory=proving.Proving)


def carry_out(change: Change, sight: Sight, terms: Terms) -> t.Tuple[str, ...]:
    """Carry out a change; everything that writes is below here. Returns warnings."""
    if not change.changed:
        return ()
    for move in change.moves:
        move.part.check(move.delta, sight)
    rollback.check_free(change.scene.instance, sight)
    host = sight.acting()
    if not host:
        return ()
    step = _Transaction(change, host, terms)
    try:
        warnings = step.run()
    except proving.Unproven as error:
        if not terms.proven.excuses(error, host):
            raise
        warnings = step.run()
    return warnings + _boot_warnings(change, terms.pending, host)


class _Transaction:
    """A change as a whole, or not at all."""

    def __init__(self, change: Change, host: Host, terms: Terms) -> None:
        self._change, self._host, self._terms = change, host, terms
        self._instance = change.scene.instance
        self._by = origin.origin(host).words
        self._shut = shutting.shut_links(host)
        restoring = _restoring(change, self._shut, terms.aftermath.back, host)
        self._prepared = rollback.Prepared(restoring, _keeping(change, terms.aftermath.owing))
        self._known: t.Optional[Confirmation] = None
        self._begun: t.List[Move] = []

    def run(self) -> t.Tuple[str, ...]:
        """Returns warnings. An error says whether the host is as it was before."""
        change, host = self._change, self._host
        self._known, self._begun = None, []
        if change.cuts:
            self._terms.proven.prepare(self._instance, host)
        try:
            self._known = rollback.arm(self._instance, self._terms.pending, self._prepared, host)
            warnings = self._make()
            rollback.check_armed(self._instance, self._known, host)
            self._verify()
            return warnings + self._prove() + self._keep(self._known)
        except BaseException as error:
            # Also a bug of ours, or the end of the process.
            failed = error if isinstance(error, GatewayError) else GatewayError("it was interrupted")
            failed.add(self._end(journal.failed(self._by, failed.problems)))
            raise

    def _make(self) -> t.Tuple[str, ...]:
        """Part by part. Returns warnings."""
        warnings: t.Tuple[str, ...] = ()
        for move in self._change.turns:
            if move.delta.do is not None:
                self._begun.append(move)
            warnings += move.part.apply(move.delta, move.want, self._change.scene, self._host)
        # The loader had shut them because it could not load the rules.
        shutting.unshut(self._shut, self._host)
        return warnings

    def _verify(self) -> None:
        """Check that the host now has what was asked for."""
        moves = [move for move in self._change.moves if move.delta.do is not None]
        if moves:
            scene = changes.again(self._change.scene, moves, self._host)
            for move in moves:
                move.part.verify(move.was, move.want, scene, self._host)

    def _prove(self) -> t.Tuple[str, ...]:
        """By packets, while the rollback is armed. Returns warnings."""
        proven, pending = self._terms.proven, self._terms.pending
        if not self._change.cuts:
            return ()
        warnings = proven.after(pending.seconds if pending else None, self._host)
        if proven.report:
            rollback.leave(self._instance, rollback.PROOF, json.dumps(proven.record(self._host)), self._host)
        return warnings

    def _keep(self, known: Confirmation) -> t.Tuple[str, ...]:
        """Keep the change, or let it be confirmed. Returns warnings."""
        said = journal.changed(self._by, told(self._change), known.until)
        if not self._terms.pending:
            return rollback.keep(self._instance, known, self._host, said)
        rollback.ready(self._instance, known, self._host, self._terms.aftermath.kept())
        self._host.log(journal.line(self._instance, said))
        return ()

    def _end(self, why: str) -> str:
        """End a change that has failed; the journal gets the reason. Returns what the host is now, for the user."""
        host, known = self._host, self._known
        if not known or (self._untouched() and rollback.end_unmade(self._instance, known, host)):
            host.log(journal.line(self._instance, why))
            return AS_BEFORE
        try:
            left = rollback.take_back(self._instance, known, self._prepared, why, host)
        except GatewayError as error:
            left = "the host is not as it was before; inspect it: " + "; ".join(error.problems)
        if not left:
            self._terms.aftermath.undone(host)
        return left or AS_BEFORE

    def _untouched(self) -> bool:
        """Whether the first step has failed as a whole. What held a lock may hold it longer than a rollback tries."""
        if self._shut or len(self._begun) > 1:
            return False
        try:
            scene = changes.again(self._change.scene, self._begun, self._host)
            left = [(each, each.part.plan(each.was, each.want, scene, self._host)) for each in self._begun]
        except GatewayError:
            return False
        return all(delta == move.delta for move, delta in left)


def _restoring(change: Change, shut: shutting.Shut, back: str, host: Sight) -> rollback.Restoring:
    """The rollback as shell: each part as it is now, in its turn."""
    shells = [
        (move.part.opens, move.part.restore(move.delta, move.was, move.want, change.scene, host))
        for move in change.moves
    ]
    if any(shell.bare for _opens, shell in shells):
        shells.sort(key=lambda pair: not pair[0])
    lines = [line for _opens, shell in shells for line in shell.lines]
    files = {name: text for _opens, shell in shells for name, text in shell.files.items()}
    files.update({rollback.BACK: back} if back else {})
    return rollback.Restoring(tuple(shutting.restoring_lines(shut) + lines), files)


def _keeping(change: Change, owing: str) -> rollback.Keeping:
    """Files and services, and what lets a later run delete connections if this one dies."""
    scene, upkeep = change.scene, change.upkeep
    before, after = service.lines(scene.init, upkeep.outdated, upkeep.stale, upkeep.enable)
    for move in change.moves:
        after += move.part.settle(move.want, scene)
    return rollback.Keeping(
        commit=stem(scene.instance) + persist.COMMIT,
        files={path: upkeep.files[path] for path in upkeep.outdated},
        stale=upkeep.stale,
        before=before,
        after=after,
        folder="" if change.new else FOLDER,
        owing=owing,
    )


def _boot_warnings(change: Change, pending: t.Optional[Confirmation], host: Sight) -> t.Tuple[str, ...]:
    """Warnings about what will be wrong at the next boot."""
    init = change.scene.init
    if change.upkeep.enable and not pending and not changes.enabled(init, host):
        return ("the service ipmasq could not be enabled; nothing loads the rules at boot",)
    if change.new and not init:
        return (
            "this host has neither systemd nor OpenRC nor sysvinit; run 'sh {0}' from its boot scripts".format(
                persist.LOADER
            ),
        )
    return ()
