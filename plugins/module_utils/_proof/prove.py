# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.
"""Prove the promises of a gateway on the host that it runs on."""

from __future__ import annotations

import itertools
import random
import typing as t
from dataclasses import replace

from . import borders, ground as grounds
from .asking import SLOWEST, Asking, ask
from .exchange import Exchange, Run
from .inquest import examined
from .judge import Talk
from .loop import WAIT, Busy, Loop, NoLoop, is_free
from .model import ALIVE, BROKEN, Report
from .oracle import Oracle
from .promises import promises, targets

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.host import Host
    from .._facts.links import Facts
    from .._resolve.resolved import Resolved
    from .model import Result

#: Seconds for all packets, and for those that have to come; they are sent again until then.
LONGEST, PATIENCE = 15.0, 1.5
AGAIN = (0.2, 0.6)
#: Seconds in which nothing may come, once all that has to come is there.
QUIET = 0.1
#: Seconds that what must not pass has in any case.
LEAST = 0.5


class Extent(t.NamedTuple):
    """How far a proof goes."""

    longest: float = LONGEST  # in seconds, of what passes through the host
    wait: float = WAIT  # in seconds, for another proof
    beside: t.Sequence[str] = ()  # links of other instances
    services: bool = False  # whether those of the gateway itself are asked, too, which takes seconds


PACKETS = Extent()


def prove(gateway: Resolved, facts: Facts, host: Host, extent: Extent = PACKETS) -> Report:
    """Send a packet for each promise through the host, and see what comes out."""
    began, untried = host.clock(), ""
    try:
        with Loop(host, extent.wait) as loop:
            run = Run(host, loop, began, itertools.count(1), gateway.instance)
            results, notes = _proved(gateway, facts, extent, run)
    except (NoLoop, OSError) as error:
        untried = str(error) if isinstance(error, Busy) else ""
        results, notes = _unmeasured(gateway, facts, host, extent.services, str(error))
    return Report(tuple(results), round(host.clock() - began, 3), tuple(notes), untried)


def wait(host: Host) -> None:
    """Let another proof end, while nothing is at stake yet."""
    until = host.clock() + WAIT
    while not is_free(host) and host.clock() < until:
        host.sleep(0.05)


def _unmeasured(gateway: Resolved, facts: Facts, host: Host, services: bool, why: str) -> _Proved:
    """Every promise that can be named without a loop."""
    bare = grounds.survey(gateway, facts, host)
    bare = grounds.with_lacks(bare, dict.fromkeys(bare.links, why))
    promised, notes = promises(Oracle(gateway, bare), services)
    return [Talk(promise, 1, 0).close((), ()) for promise in promised], notes


_Proved = t.Tuple[t.List["Result"], t.List[str]]


def _proved(gateway: Resolved, facts: Facts, extent: Extent, run: Run) -> _Proved:
    ground = replace(grounds.survey(gateway, facts, run.host), loose=borders.links(gateway, facts, extent.beside))
    tried = grounds.candidates(gateway, ground, facts, run.host)
    places = grounds.places(grounds.measured(gateway, ground), run.host)
    # A clsact that comes and goes drops packets for a moment; nobody has declared that this link may be touched.
    places = {name: each for name, each in places.items() if name not in ground.loose or each.nft or each.clsact}
    ground = grounds.with_lacks(ground, {name: place.lacks for name, place in places.items()})
    places = {name: place for name, place in places.items() if not place.lacks}
    up = {key: addresses for key, addresses in tried.items() if key[0] in places}
    taken = run.loop.taken({key: addresses for key, addresses in up.items() if ground.links[key[0]].ethernet})
    clients = {key: [each for each in addresses if each not in taken] for key, addresses in up.items()}
    free = {key: addresses[0] for key, addresses in clients.items() if addresses}
    ground = replace(
        ground,
        clients={key: client for key, client in free.items() if key[0] not in ground.loose},
        others={key: client for key, client in free.items() if key[0] in ground.loose},
        magic=random.SystemRandom().randrange(1 << 24, 1 << 32),
    )
    ground = replace(ground, ways=grounds.ways(ground, targets(Oracle(gateway, ground)), run.host))
    run.loop.build(ground, places)
    promised, notes = promises(Oracle(gateway, ground), extent.services)
    notes = notes + grounds.before_bridges(places, facts, run.host) + grounds.before_links(places, facts, ground)
    # The time counts from here: neither another proof nor the look at the host takes any of it.
    run = run._replace(until=run.host.clock() + extent.longest)
    talks = [(Asking if promise.asks else Talk)(promise, next(run.numbers), ground.magic) for promise in promised]
    asking = [talk for talk in talks if isinstance(talk, Asking)]
    signs = [talk for talk in talks if talk.promise.kind == ALIVE]
    alive = _talk([talk for talk in talks if not talk.promise.asks], run)
    if asking:
        alive = ask(asking, signs, alive, run._replace(until=run.host.clock() + SLOWEST))
    hops = {hop for talk in talks for hop in talk.promise.hops if talk.outcome in ("", BROKEN)}
    silent = grounds.silent(hops, run.host, run.loop.taken)
    results = [(talk, talk.close(alive, silent)) for talk in talks if talk.promise.kind != ALIVE]
    return examined(results, signs, ground, run), notes


def _talk(talks: t.Sequence[Talk], run: Run) -> t.Set[str]:
    """Every conversation at once: first what has to come, then what must not."""
    exchange = Exchange(talks, run)
    signs = [talk for talk in talks if talk.promise.kind == ALIVE]
    exchange.begin(signs)
    wanted = [talk for talk in talks if not talk.promise.never and talk.promise.kind != ALIVE]
    exchange.begin(wanted)
    start, again = run.host.clock(), list(AGAIN)
    longest = min(PATIENCE, (run.until - start) / 2)
    while not all(talk.settled for talk in wanted):
        passed = run.host.clock() - start
        if passed > longest:
            exchange.drain(signs)
            break
        if again and passed > again[0]:
            again.pop(0)
            exchange.begin([talk for talk in wanted if not talk.settled])
        exchange.listen(0.05)
    exchange.allow(LEAST)
    exchange.begin([talk for talk in talks if talk.promise.never])
    exchange.drain(signs)
    quiet = run.host.clock() + QUIET
    while run.host.clock() < quiet:
        exchange.listen(quiet - run.host.clock())
    return exchange.alive
