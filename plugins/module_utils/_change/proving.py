# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Prove a change by packets before it may stay.

A promise that was broken before the change is not the change's fault. Whether it was can only be measured without the
change, so it is measured beforehand if the last proof found something broken, and otherwise after the rollback of a
change that failed, which is then made again.
"""

from __future__ import annotations

import typing as t

from .._base.errors import GatewayError
from .._base.origin import utc
from .._facts.links import read_facts
from .._parts.declaration import DECLARATION
from .._proof.judge import LATE
from .._proof.loop import WAIT
from .._proof.model import UNMEASURABLE, Report
from .._proof.prove import LONGEST, Extent, prove, wait
from .._resolve import declared
from .._rollback import rollback
from . import persist

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.host import Host, Sight
    from .._proof.model import Result
    from .._resolve.resolved import Resolved

#: More broken promises than this are counted, not listed, in an error.
MOST_TOLD = 10
#: A proof may take a fourth of confirm_timeout, but no more than LONGEST, so more seconds than these do not help.
ENOUGH = int(4 * LONGEST)
KEPT_ANYWAY = "to keep such a change anyway, set proof=report"

Broken = t.FrozenSet[t.Tuple[str, str]]


class Unproven(GatewayError):  # noqa: N818 - reads as what it is
    """Promises that do not hold under the new rules."""

    def __init__(self, broken: t.Sequence[Result]) -> None:
        more = ["and {0} more promises".format(len(broken) - MOST_TOLD)] * (len(broken) > MOST_TOLD)
        told = ["proof: {0}".format(sentence(each)) for each in broken[:MOST_TOLD]]
        super().__init__(*told, *more, KEPT_ANYWAY)
        self.broken = _named(broken)


def sentence(result: Result) -> str:
    """The broken promise, what was seen, and who is to blame."""
    return "{0} is broken: {1}".format(result.name, "; ".join(filter(None, (result.reason, result.cause))))


class Untried(GatewayError):  # noqa: N818 - reads as what it is
    """There was no time to try any promise. What the host is without the change says nothing about that."""

    def __init__(self, why: str) -> None:
        told = "proof: no promise was tried: {0}; nothing shows that this change keeps the LANs connected, so run again"
        super().__init__(told.format(why), KEPT_ANYWAY)


class Untimely(GatewayError):  # noqa: N818 - reads as what it is
    """There was no time to try what must not pass. ``seconds``: until the change must be confirmed, if it must."""

    def __init__(self, late: t.Sequence[Result], seconds: t.Optional[int]) -> None:
        told = "proof: there was no time to try {0} promises of what must not pass, such as: {1}; ".format(
            len(late), late[0].name
        )
        more = "set confirm_timeout to {0}".format(ENOUGH)
        if not seconds or seconds >= ENOUGH:
            more = "run again when this host is less busy"
        super().__init__(told + more, KEPT_ANYWAY)


class Proving:
    """The proof of one change. ``before`` and ``after`` are the intent as the state file has it."""

    def __init__(self, mode: str = "off", before: t.Any = None, after: t.Any = None) -> None:
        self._mode = mode
        intents = (before, after) if mode != "off" else (None, None)
        self._before, self._after = map(declared.read, intents)
        self._known: t.Optional[Broken] = None
        self._seconds: t.Optional[int] = None
        self.report: t.Optional[Report] = None

    @property
    def wanted(self) -> bool:
        return self._mode != "off" and self._after is not None

    def prepare(self, instance: str, host: Host) -> None:
        """Before the change: measure what is broken, if the last proof found something. Later, time may be short."""
        if not self.wanted:
            return
        wait(host)
        if self._known is None and (rollback.last_proof(instance, host) or {}).get("broken"):
            self.measure(host)

    def measure(self, host: Host) -> None:
        """Without the change."""
        self._known = _named(_proved(self._before, host, Extent()).broken) if self._before else frozenset()

    def attempt(self, seconds: t.Optional[int], host: Host) -> None:
        """With the change, which may take ``seconds`` until it is confirmed."""
        if not self.wanted:
            return
        # Half of the time is left for the change and for the person or program that confirms it.
        self._seconds, most = seconds, seconds / 4 if seconds else WAIT
        gateway = t.cast("Resolved", self._after)
        self.report = _proved(gateway, host, Extent(min(LONGEST, most), min(WAIT, most)))

    def judged(self) -> t.Tuple[str, ...]:
        """What the attempt says about the change. Returns warnings.

        Where proof is required, raises Unproven if the change breaks promises, Untried if another proof has taken the
        time, and Untimely if there was none to try what must not pass.
        """
        if not self.report:
            return ()
        known = self._known or frozenset()
        if self.report.untried and self._mode == "required":
            raise Untried(self.report.untried)
        broken = [each for each in self.report.broken if (each.kind, each.name) not in known]
        if broken and self._mode == "required":
            raise Unproven(broken)
        late = [each for each in self.report.results if each.reason == LATE]
        if late and self._mode == "required":
            raise Untimely(late, self._seconds)
        return tuple("proof: {0}".format(sentence(each)) for each in self.report.broken)

    def excuses(self, error: BaseException, host: Host) -> bool:
        """After the rollback: whether everything that the change is blamed for is as broken without it."""
        if not isinstance(error, Unproven) or self._known is not None or not self._before:
            return False
        self.measure(host)
        return error.broken <= (self._known or frozenset())

    @property
    def notes(self) -> t.Tuple[str, ...]:
        """What could not be measured, one sentence for each reason."""
        if not self.report:
            return ()
        reasons: t.Dict[str, int] = {}
        for each in self.report.results:
            if each.outcome == UNMEASURABLE:
                reasons[each.reason] = reasons.get(each.reason, 0) + 1
        told = "proof: {0} of {1} promises cannot be measured: {2}"
        unknown = [told.format(count, len(self.report.results), reason) for reason, count in reasons.items()]
        return tuple(unknown + ["proof: " + note for note in self.report.notes])

    def record(self, host: Sight) -> t.Dict[str, t.Any]:
        return recorded(self.report, host) if self.report else {}


def _proved(gateway: Resolved, host: Host, extent: Extent) -> Report:
    """A bug of ours in the proof does not roll a change back."""
    try:
        return prove(gateway, read_facts(host), host, extent._replace(beside=beside(gateway.instance, host)))
    except Exception as error:  # pylint: disable=broad-except
        bug = "the proof broke off, which is a bug in ipmasq.linux, please report it: {0}: {1}"
        return Report(notes=(bug.format(type(error).__name__, error),))


def beside(instance: str, host: Host) -> t.List[str]:
    """The links of other instances."""
    states = (persist.read_state(host, name) for name in persist.instances(host) if name != instance)
    known = [DECLARATION.of(state) for state in states if state]
    return [link for each in known for link in (*each.interfaces, *each.roles.links)]


def _named(broken: t.Iterable[Result]) -> Broken:
    return frozenset((each.kind, each.name) for each in broken)


def recorded(report: Report, host: Sight) -> t.Dict[str, t.Any]:
    """The outcome of a proof, for results and for the next run."""
    return {
        "at": utc(host.now()),
        "seconds": report.seconds,
        "counts": report.counts,
        "broken": [sentence(each) for each in report.broken],
    }
