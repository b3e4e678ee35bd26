# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""A change as a whole, or not at all: arm, make, verify, keep or await, and the rollback if a step fails.

Whose change it is decides what is made and verified.
"""

from __future__ import annotations

import typing as t

from .._base import journal
from .._base.errors import GatewayError
from .._base.origin import origin
from . import rollback
from .meanwhile import Outdated, marks

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.host import Host, Sight
    from .rollback import Confirmation, Prepared

AS_BEFORE = "the host is as it was before"
OVERTAKEN = "another run has changed this host since; run this one again"


class Transaction:
    """``pending`` is what the change awaits, None if nobody has to confirm it."""

    def __init__(self, instance: str, pending: t.Optional[Confirmation], prepared: Prepared, host: Host) -> None:
        self._instance, self._pending, self._host = instance, pending, host
        self._prepared = prepared
        self._since = prepared.since
        self._by = origin(host).words
        self._known: t.Optional[Confirmation] = None
        self._made = False

    @property
    def pending(self) -> t.Optional[Confirmation]:
        return self._pending

    def again(self) -> t.Tuple[str, ...]:
        """Once more, after a rollback. What it awaits is then another ``pending``."""
        self._pending = rollback.renewed(self._pending) if self._pending else None
        return self.run()

    def run(self) -> t.Tuple[str, ...]:
        """Returns warnings. An error says whether the host is as it was before."""
        self._known, self._made = None, False
        self.prepare()
        try:
            self._known = self._arm()
            warnings = self.make()
            self.check_armed()
            self._made = True
            self.verify()
            return warnings + self.prove() + self._keep(self._known)
        except Outdated:
            raise
        except BaseException as error:
            # Also a bug of ours, or the end of the process.
            failed = error if isinstance(error, GatewayError) else GatewayError("it was interrupted")
            failed.add(self._end(journal.failed(self._by, failed.problems)))
            raise

    def _arm(self) -> Confirmation:
        """Raises Outdated if another change has ended since the host was read."""
        known = rollback.arm(self._instance, self._pending, self._prepared, self._host)
        if self._since and marks(self._host, armed=True) != self._since:
            # If this is too late, the loader or the timer rolls back what is not made.
            rollback.end_unmade(self._instance, known, self._host)
            raise Outdated
        return known

    def check_armed(self) -> None:
        """Raises RolledBack if the change has been rolled back while it was being made."""
        if self._known:
            rollback.check_armed(self._instance, self._known, self._host)

    def prepare(self) -> None:
        """What has to be known before anything is armed."""

    def make(self) -> t.Tuple[str, ...]:
        """Make the change. Returns warnings."""
        raise NotImplementedError

    def verify(self) -> None:
        """Raises GatewayError if the host does not have what was asked for."""
        raise NotImplementedError

    def prove(self) -> t.Tuple[str, ...]:
        """Try it, while the rollback is armed. Returns warnings."""
        return ()

    def lines(self) -> t.Sequence[str]:
        """The differences, for the journal."""
        raise NotImplementedError

    def forgetting(self) -> str:
        """Shell to run once a pending change is kept."""
        return ""

    def untouched(self) -> bool:
        """Whether a change that has failed has changed nothing."""
        return False

    def undone(self) -> None:
        """Called once the rollback has ended well."""

    def _keep(self, known: Confirmation) -> t.Tuple[str, ...]:
        """Keep the change, or let it be confirmed. Returns warnings."""
        said = journal.changed(self._by, self.lines(), known.until)
        if not self._pending:
            return rollback.keep(self._instance, known, self._host, said)
        rollback.ready(self._instance, known, self._host, self.forgetting())
        self._host.log(journal.line(self._instance, said))
        return ()

    def _end(self, why: str) -> str:
        """End a change that has failed; the journal gets the reason. Returns what the host is now, for the user."""
        host, known = self._host, self._known
        if not known or (self.untouched() and rollback.end_unmade(self._instance, known, host)):
            host.log(journal.line(self._instance, why))
            return AS_BEFORE
        ended = rollback.ended_by_another(self._instance, known, host)
        if ended == "overtaken" or ended in rollback.KEPT or (self._made and ended == "reverted"):
            # Nothing is left to undo, and a second rollback would also undo what others have done since.
            host.log(journal.line(self._instance, why))
            return OVERTAKEN if ended == "overtaken" else AS_BEFORE if ended == "reverted" else rollback.STAYS
        try:
            left = rollback.take_back(self._instance, known, self._prepared, why, host)
        except GatewayError as error:
            left = "the host is not as it was before; inspect it: " + "; ".join(error.problems)
        if not left:
            # Its own end; it may be made once more (``_change/carrying``).
            self._since = marks(host) if self._since else ""
            self.undone()
        return left or AS_BEFORE


def finish_decided(instance: str, commit: str, sight: Sight) -> None:
    """Finish a change that was decided before a power failure, where no loader has done so."""
    if not sight.is_root() or not sight.exists(commit) or sight.exists(rollback.change_of(instance)):
        return
    host = sight.acting()
    done = host.run(["sh", commit]) if host else None
    if done and done.rc != 0:
        raise GatewayError("{0}: an earlier change could not be finished: {1}".format(commit, done.err.strip()))
