# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Ask the services of the gateway as a client would, and judge their answers."""

from __future__ import annotations

import typing as t

from .._base.errors import printable
from .._parts.services import runs
from .exchange import Exchange
from .judge import Talk
from .model import BROKEN, HOLDS, Seen

if t.TYPE_CHECKING:  # pragma: no cover
    from .exchange import Run
    from .model import Promise, Want
    from .packets import Packet
    from .questions import Question, Told

#: dnsmasq tries an address for three seconds before it offers it, one after the other, and at most six times in thirty
#: seconds (PING_WAIT and PING_CACHE_TIME in src/config.h). What it has tried, it offers at once for as long.
PATIENCE, EACH, MOST = 1.5, 3.0, 6
SLOWEST = PATIENCE + EACH * MOST + 10
AGAIN = (0.3, 0.8)
#: Seconds in which nothing may come, once all that has to come is there.
QUIET = 0.2


class Asking(Talk):
    """One question, and its answer."""

    def __init__(self, promise: Promise, number: int, magic: int) -> None:
        super().__init__(promise, number, magic)
        self.question = t.cast("Question", promise.asks)

    @property
    def own(self) -> t.Tuple[str, int]:
        return ("", 0)

    @property
    def expected(self) -> t.Tuple[str, ...]:
        return (self.question.at,)

    def knows(self, packet: Packet) -> bool:
        return False

    def due(self) -> t.Optional[Seen]:
        if self.settled:
            return None
        made = Seen(self.question.at, self.question.packet(self.number, self.magic))
        if made not in self.sent:
            self.sent.append(made)
        return made

    def hears(self, seen: Seen) -> bool:
        return bool(self.sent) and seen.place == self.question.at and self._told(seen) is not None

    def _told(self, seen: Seen) -> t.Optional[Told]:
        return self.question.told(self.sent[0].packet, seen.packet)

    def take(self, seen: Seen) -> bool:
        told = self._told(seen)
        if self.settled or told is None:
            return False
        self.seen.append(seen)
        wrong = [_unlike(want, told) for want in self.promise.wants if not want.fits(told.get(want.word, ()))]
        if self.promise.never:
            self._end(BROKEN, "this was answered on {0}, which must not happen".format(seen.place))
        else:
            self._end(*((BROKEN, "; ".join(wrong)) if wrong else (HOLDS, "")))
        return False

    def _silence(self) -> str:
        return "nobody answers on {0}".format(self.question.at)


def _unlike(want: Want, told: Told) -> str:
    found = printable(", ".join(told.get(want.word, ()))) or "nothing"
    wanted = (" and " if want.every else " or ").join((*want.values, *want.networks)[:4]) or "nothing"
    return "the answer has {0} {1}; declared: {2}".format(want.word, found, wanted)


def ask(talks: t.Sequence[Asking], signs: t.Sequence[Talk], alive: t.Collection[str], run: Run) -> t.Set[str]:
    """First what has to be answered, then what must not."""
    exchange = Exchange(talks, run)
    exchange.alive.update(alive)
    wanted = [talk for talk in talks if not talk.promise.never]
    exchange.begin(wanted)
    start, again = run.host.clock(), list(AGAIN)
    slow = min(MOST, sum(talk.promise.slow for talk in wanted)) if runs(run.instance, run.host) else 0
    while not all(talk.settled for talk in wanted):
        passed = run.host.clock() - start
        pending = [talk for talk in wanted if not talk.settled]
        if passed > PATIENCE + EACH * slow * any(talk.promise.slow for talk in pending):
            break
        if again and passed > again[0]:
            again.pop(0)
            exchange.begin(pending)
        exchange.listen(0.05)
    exchange.begin([talk for talk in talks if talk.promise.never])
    exchange.drain(signs)
    quiet = run.host.clock() + QUIET
    while talks and run.host.clock() < quiet:
        exchange.listen(quiet - run.host.clock())
    return exchange.alive
