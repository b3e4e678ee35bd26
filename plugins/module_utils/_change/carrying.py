# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Carry out a change: make each part, verify it, prove it, and what happens to connections."""

from __future__ import annotations

import json
import posixpath
import typing as t
from dataclasses import dataclass, field

from .._base.errors import GatewayError
from .._init import drop_ins, service
from .._parts.part import FOLDER, stem
from .._rollback import rollback
from .._rollback.transaction import Transaction
from . import change as changes, persist, proving
from .telling import told

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.host import Host, Sight
    from .._rollback.rollback import Confirmation
    from .change import Change, Move


#: To the disk, those of these folders that there are: an init may enable the service in one of several.
SYNC = '(set --; for each in {0}; do [ ! -d "$each" ] || set -- "$@" "$each"; done; sync "$@") 2> /dev/null || sync'


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


class Carried(t.NamedTuple):
    """What carrying out a change has come to."""

    warnings: t.Tuple[str, ...]
    pending: t.Optional[Confirmation]  # what it awaits by now


def carry_out(change: Change, sight: Sight, terms: Terms) -> Carried:
    """Carry out a change; everything that writes is below here."""
    if not change.changed:
        return Carried((), terms.pending)
    for move in change.moves:
        move.part.check(move.delta, sight)
    rollback.check_free(change.scene.instance, sight)
    host = sight.acting()
    if not host:
        return Carried((), terms.pending)
    step = _Carrying(change, host, terms)
    try:
        warnings = step.run()
    except proving.Unproven as error:
        if not terms.proven.excuses(error, host):
            raise
        warnings = step.again()
    return Carried(warnings + _boot_warnings(change, terms.pending, host), step.pending)


class _Carrying(Transaction):
    """All parts in their turn, proven with packets."""

    def __init__(self, change: Change, host: Host, terms: Terms) -> None:
        self._change, self._terms = change, terms
        restoring = _restoring(change, terms.aftermath.back, host)
        prepared = rollback.Prepared(restoring, _keeping(change, terms.aftermath.owing), change.scene.since)
        super().__init__(change.scene.instance, terms.pending, prepared, host)
        self._begun: t.List[Move] = []

    def prepare(self) -> None:
        self._begun = []
        if self._change.cuts:
            self._terms.proven.prepare(self._instance, self._host)

    def make(self) -> t.Tuple[str, ...]:
        warnings: t.Tuple[str, ...] = ()
        for move in self._change.turns:
            if move.delta.do is not None:
                self._begun.append(move)
            warnings += move.part.apply(move.delta, move.want, self._change.scene, self._host)
        return warnings

    def verify(self) -> None:
        moves = [move for move in self._change.moves if move.delta.do is not None]
        if moves:
            scene = changes.again(self._change.scene, moves, self._host)
            for move in moves:
                move.part.verify(move.was, move.want, scene, self._host)

    def prove(self) -> t.Tuple[str, ...]:
        proven, pending = self._terms.proven, self._terms.pending
        if not self._change.cuts:
            return ()
        proven.attempt(pending.seconds if pending else None, self._host)
        # If the change is gone, what the packets met was not this change.
        self.check_armed()
        warnings = proven.judged()
        if proven.report and self._known:
            text = json.dumps(proven.record(self._host))
            rollback.leave(self._instance, self._known.token, rollback.PROOF, text, self._host)
        return warnings

    def lines(self) -> t.Sequence[str]:
        return told(self._change)

    def forgetting(self) -> str:
        return self._terms.aftermath.kept()

    def untouched(self) -> bool:
        """Whether the first step has failed as a whole. What held a lock may hold it longer than a rollback tries."""
        if len(self._begun) > 1:
            return False
        try:
            scene = changes.again(self._change.scene, self._begun, self._host)
            left = [(each, each.part.plan(each.was, each.want, scene, self._host)) for each in self._begun]
        except GatewayError:
            return False
        return all(delta == move.delta for move, delta in left)

    def undone(self) -> None:
        self._terms.aftermath.undone(self._host)


def _restoring(change: Change, back: str, host: Sight) -> rollback.Restoring:
    """The rollback as shell: each part as it is now, in its turn."""
    shells = [
        (move.part.opens, move.part.restore(move.delta, move.was, move.want, change.scene, host))
        for move in change.moves
    ]
    if any(shell.bare for _opens, shell in shells):
        # The last one first: while forwarding is off, a host believes the router advertisements of its own dnsmasq, and
        # gives itself addresses (net.ipv6.conf.*.accept_ra; addrconf_prefix_rcv() does not ask who sent them).
        shells = [*(pair for pair in shells[::-1] if pair[0]), *(pair for pair in shells if not pair[0])]
    lines = [line for _opens, shell in shells for line in shell.lines]
    files = {name: text for _opens, shell in shells for name, text in shell.files.items()}
    files.update({rollback.BACK: back} if back else {})
    return rollback.Restoring(tuple(lines), files)


def _keeping(change: Change, owing: str) -> rollback.Keeping:
    """Files and services, and what lets a later run delete connections if this one dies."""
    scene, upkeep = change.scene, change.upkeep
    before, after = service.lines(scene.init, upkeep.outdated, upkeep.stale, upkeep.enable)
    for move in change.moves:
        after += move.part.settle(move.was, move.want, scene)
    if upkeep.enable or persist.LOADER in upkeep.outdated:
        # The file that decides lets the loader finish the rest at boot; this is what makes the loader run there.
        places = [*upkeep.outdated, *(scene.init.enabled if scene.init else ())]
        folders = dict.fromkeys(posixpath.dirname(path) for path in places)
        after += (SYNC.format(" ".join(folders)),)
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
    return drop_ins.left_out(host) if change.new else ()
