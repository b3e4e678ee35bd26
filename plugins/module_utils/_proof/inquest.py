# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.
"""Send what was broken once more, with a closer look: whether it is broken again, and who is to blame."""

from __future__ import annotations

import functools
import typing as t
from dataclasses import replace

from . import answering, blame, routing, setting
from .asking import Asking
from .exchange import Exchange
from .judge import TURNED_AWAY, Talk
from .model import BROKEN, GATEWAY, HOLDS, OTHER, UNMEASURABLE, Culprit
from .watch import Watch

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.host import Host
    from .exchange import Run
    from .model import Ground, Result
    from .watch import Evidence

#: For this many broken promises at most, the culprit is looked for; counters must be read for each one separately.
MOST, MOST_COUNTED = 48, 12
#: Seconds without any packet until nothing more is awaited, and at most.
QUIET, LONGEST = 0.1, 0.5

Judged = t.Tuple[Talk, "Result"]


def examined(results: t.Sequence[Judged], signs: t.Sequence[Talk], ground: Ground, run: Run) -> t.List[Result]:
    """The same results; what is broken has its culprit, unless it holds at a second attempt. What a dead neighbour or a
    rate may have stopped is broken if a rule of somebody else stops it.

    ``signs``: packets that always get through.
    """
    selects = functools.lru_cache(maxsize=None)(lambda family: routing.selects(family, run.host))
    results = [(talk, _permitted(talk, result, run.host, selects)) for talk, result in results]
    broken = [at for at, (_talk, result) in enumerate(results) if result.outcome == BROKEN][:MOST]
    doubtful = [at for at, (talk, _result) in enumerate(results) if talk.doubt][:MOST]
    found = [result for _talk, result in results]
    watch = Watch(run.loop, list(run.loop.places), run.host)
    first = {at: results[at][0] for at in broken + doubtful}
    again = {at: type(talk)(talk.promise, next(run.numbers), ground.magic) for at, talk in first.items()}
    for at, talk in again.items():
        talk.earlier = first[at]
    groups = [[at] for at in broken[:MOST_COUNTED]] + [doubtful] if watch.legacy else [broken + doubtful]
    if again:
        watch.begin(setting.trace(ground, run.loop.places))
        try:
            for group in filter(None, groups):
                found_now = _once({at: again[at] for at in group}, signs, watch, run)
                found = [_merged(result, first.get(at), found_now.get(at)) for at, result in enumerate(found)]
        finally:
            watch.end()
    return [_yielding(talk, result) for (talk, _before), result in zip(results, found)]


def _permitted(talk: Talk, result: Result, host: Host, selects: t.Callable[[str], bool]) -> Result:
    """A rule that prohibits what a LAN sends is the owner's wish. All that comes out then is an error.

    ``selects``: whether any rule of a family is for some senders alone. Few hosts have one, and thousands of promises
    may be broken.
    """
    if result.outcome != BROKEN or not talk.sent or any(not each.packet.quoted for each in talk.seen):
        return result
    last = talk.sent[-1]
    way = routing.way(routing.Asked(last.packet, last.place), host) if selects(last.packet.family) else None
    if not way or not way.meant:
        return result
    return replace(
        result, outcome=UNMEASURABLE, reason="not routed to {0} by {1}".format(last.packet.target, way.words)
    )


def _merged(result: Result, first: t.Optional[Talk], now: t.Optional[t.Tuple[str, Culprit]]) -> Result:
    if not now or not first:
        return result
    outcome, culprit = now
    # What somebody else's rule refuses has not got in, and this gateway has answered nothing.
    if outcome == HOLDS or (result.reason == TURNED_AWAY and culprit.by == OTHER):
        return replace(result, outcome=HOLDS, reason="")
    if first.doubt:
        blamed = replace(result, outcome=BROKEN, reason=first.doubt, by=culprit.by, cause=culprit.words)
        return blamed if culprit.by else result
    if outcome == UNMEASURABLE:
        return replace(result, outcome=UNMEASURABLE, reason="the routes of this host lead such packets to several WANs")
    return replace(result, by=culprit.by, cause=culprit.words)


def _yielding(talk: Talk, result: Result) -> Result:
    """Only this gateway can break some promises. Where others decide, there is nothing to be measured."""
    ours = result.by == GATEWAY and not result.cause.startswith(blame.UNMET)
    if not talk.promise.yields or result.outcome != BROKEN or ours:
        return result
    return replace(result, outcome=UNMEASURABLE, reason=talk.promise.yields, by="", cause="")


def _once(
    talks: t.Mapping[int, Talk], signs: t.Sequence[Talk], watch: Watch, run: Run
) -> t.Dict[int, t.Tuple[str, Culprit]]:
    evidence = watch.during(lambda listen: _send(list(talks.values()), signs, run, listen))
    return {at: (talk.outcome, _culprit(talk, evidence, run)) for at, talk in talks.items()}


def _send(talks: t.Sequence[Talk], signs: t.Sequence[Talk], run: Run, listen: t.Callable[[], None]) -> None:
    exchange = Exchange(talks, run)
    exchange.alive.update(talk.sent[-1].place for talk in signs if talk.outcome)
    began = run.host.clock()
    for talk in talks:
        exchange.begin([talk])
        listen()
    exchange.drain(signs)
    while exchange.listen(QUIET) and run.host.clock() - began < LONGEST:
        listen()


def _culprit(talk: Talk, evidence: Evidence, run: Run) -> Culprit:
    if not talk.sent or talk.outcome == HOLDS:
        return Culprit()
    flights = [flight for flight in evidence.flights if flight.mark == talk.number]
    flight = flights[-1] if flights else None
    if isinstance(talk, Asking):
        return answering.culprit(talk, run.instance, (evidence, flight), run.host)
    last, earlier = talk.sent[-1], talk.earlier or talk
    case = blame.Case(last.packet, last.place, talk.expected, _wrong(talk, earlier))
    found = blame.blame(case, evidence, flight, run.host)
    if case.wrong == blame.REFUSED and not evidence.traced and earlier.ruled_out:
        return Culprit(OTHER, found.words)
    return found


def _wrong(talk: Talk, earlier: Talk) -> str:
    if earlier.doubt:
        return blame.SPENT if earlier.reason == talk.promise.shortage else blame.UNHEARD
    if talk.promise.never:
        return blame.REFUSED if talk.promise.quiet and talk.outcome != BROKEN else blame.PASSED
    return blame.CHANGED if talk.came_wrong else blame.LOST
