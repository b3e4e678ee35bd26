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
from .exchange import COUNTED, MOST_OPEN, Exchange
from .judge import REFUSED, TURNED_AWAY, Talk
from .model import BROKEN, GATEWAY, HOLDS, OTHER, UNMEASURABLE, Culprit
from .watch import Watch

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.host import Host
    from .exchange import Run
    from .model import Ground, Result
    from .watch import Evidence, Send

#: For this many broken promises at most, the culprit is looked for; counters must be read for each one separately, and
#: for what may rightly be lost, twice. Whether a refusal is somebody else's is looked for in any case.
MOST, MOST_COUNTED, MOST_DOUBTED = 48, 12, 6
#: Seconds without any packet until nothing more is awaited, and at most.
QUIET, LONGEST = 0.1, 0.5

Judged = t.Tuple[Talk, "Result"]
#: The outcome of another attempt, and who is to blame.
_Now = t.Tuple[str, Culprit]


def examined(results: t.Sequence[Judged], signs: t.Sequence[Talk], ground: Ground, run: Run) -> t.List[Result]:
    """The same results; what is broken has its culprit, unless it holds at a second attempt. What a dead neighbour or a
    rate may have stopped is broken if a rule of somebody else stops it.

    ``signs``: packets that always get through.
    """
    selects = functools.lru_cache(maxsize=None)(lambda family: routing.selects(family, run.host))
    results = [(talk, _permitted(talk, result, run.host, selects)) for talk, result in results]
    broken = [at for at, (_talk, result) in enumerate(results) if result.outcome == BROKEN]
    refused = [at for at in broken if results[at][1].reason == TURNED_AWAY]
    doubtful = [at for at, (talk, _result) in enumerate(results) if talk.doubt][:MOST]
    chosen = list(dict.fromkeys([*broken[:MOST], *refused, *doubtful]))
    found = [result for _talk, result in results]
    if chosen:
        Exchange((), run, COUNTED).end(talk for talk, _result in results)  # what has no answer counts for limits, too
        look = _Look({at: results[at][0] for at in chosen}, signs, ground, run)
        found = look.merged(found, (broken[:MOST_COUNTED], refused, doubtful))
    return [_yielding(talk, result) for (talk, _before), result in zip(results, found)]


class _Look:
    """A closer look at some conversations, by their places in the list of results."""

    def __init__(self, first: t.Mapping[int, Talk], signs: t.Sequence[Talk], ground: Ground, run: Run) -> None:
        self._first, self._signs, self._ground, self._run = first, signs, ground, run
        self._watch = Watch(run.loop, list(run.loop.places), run.host)

    def merged(self, found: t.List[Result], singly: t.Tuple[t.Sequence[int], ...]) -> t.List[Result]:
        """The results by then. ``singly``: what is broken, refused and doubtful, if counters have to be read."""
        self._watch.begin(setting.trace(self._ground, self._run.loop.places))
        try:
            found = self._with(found, self._at_once(list(self._first)))
            broken, refused, doubtful = singly if self._watch.legacy else ((), (), ())
            for at in dict.fromkeys((*broken, *refused)):
                if self._in_time and found[at].outcome == BROKEN and not found[at].by:
                    found = self._with(found, self._once({at: self._anew(at)}, self._watch.during))
            for at in self._few([at for at in doubtful if found[at].outcome == UNMEASURABLE]):
                found = self._with(found, self._surely(at))
        finally:
            self._watch.end()
        return found

    @property
    def _in_time(self) -> bool:
        return self._run.host.clock() <= self._run.until

    def _with(self, found: t.Sequence[Result], now: t.Mapping[int, _Now]) -> t.List[Result]:
        return [_merged(result, self._first.get(at), now.get(at)) for at, result in enumerate(found)]

    def _at_once(self, chosen: t.Sequence[int]) -> t.Dict[int, _Now]:
        """All of them together. Where counters of iptables-legacy count, only what somebody else's rule of nf_tables
        has done is known then.
        """
        shared = bool(self._watch.legacy)
        now = self._once({at: self._anew(at) for at in chosen}, functools.partial(self._watch.during, shared=shared))
        if not shared:
            return now
        return {at: (outcome, who if who.by == OTHER else Culprit()) for at, (outcome, who) in now.items()}

    def _few(self, doubtful: t.Sequence[int]) -> t.List[int]:
        """One of each sort."""
        sorts: t.Dict[t.Tuple[str, str, str], int] = {}
        for at in doubtful:
            for each in self._first[at].sent[-1:]:
                sorts.setdefault((each.place, each.packet.family, each.packet.protocol), at)
        return list(sorts.values())[:MOST_DOUBTED]

    def _surely(self, at: int) -> t.Dict[int, _Now]:
        """Twice, because an alarm that is false would be worse than none, and others may move a counter, too."""
        found: t.List[_Now] = []
        while self._in_time and len(found) < 2:
            found.append(self._once({at: self._anew(at)}, self._watch.alone)[at])
        sure = len(found) == 2 and (found[0] == found[1] or HOLDS in (found[0][0], found[1][0]))
        return {at: max(found, key=lambda each: each[0] == HOLDS)} if sure else {}

    def _anew(self, at: int) -> Talk:
        first = self._first[at]
        talk = type(first)(first.promise, next(self._run.numbers), self._ground.magic)
        talk.earlier = first
        return talk

    def _once(self, talks: t.Mapping[int, Talk], watched: t.Callable[[Send], Evidence]) -> t.Dict[int, _Now]:
        evidence = watched(lambda listen: _send(list(talks.values()), self._signs, self._run, listen))
        return {at: (talk.outcome, _culprit(talk, evidence, self._run)) for at, talk in talks.items()}


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


def _send(talks: t.Sequence[Talk], signs: t.Sequence[Talk], run: Run, listen: t.Callable[[], None]) -> None:
    exchange = Exchange(talks, run, COUNTED)
    exchange.alive.update(talk.sent[-1].place for talk in signs if talk.outcome)
    began = run.host.clock()
    for few in _together(talks):
        for talk in few:
            exchange.begin([talk])
            listen()
        if len(few) < len(talks):
            while not all(talk.settled for talk in few) and exchange.listen(QUIET):
                listen()
            exchange.end(few)
    exchange.drain(signs)
    while exchange.listen(QUIET) and run.host.clock() - began < LONGEST:
        listen()


def _together(talks: t.Sequence[Talk]) -> t.Iterator[t.Sequence[Talk]]:
    """A few at a time if any was refused: a limit of connections may have been reached by those without an answer."""
    most = MOST_OPEN if any(talk.earlier and talk.earlier.reason == REFUSED for talk in talks) else max(1, len(talks))
    for at in range(0, len(talks), most):
        yield talks[at : at + most]


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
