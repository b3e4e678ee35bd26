# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.
"""Send what conversations have to send, and hand them what comes out."""

from __future__ import annotations

import typing as t

from .judge import Talk
from .model import Seen
from .packets import FIRST_PORT

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.host import Host
    from .loop import Loop
    from .packets import Packet


#: Seconds to wait for packets that always get through, where the host is busy.
SLOW = 3.0
#: So many settled conversations keep their connections. Many hosts limit how many one client may have, to ten or so.
MOST_OPEN = 4
#: Seconds for which a limit of connections for one host (connlimit, nft's "ct count") may count a deleted one: until
#: the next of the kernel's ticks, or the one after it (net/netfilter/nf_conncount.c, Linux 6.18), of 10 ms at most.
COUNTED = 0.03


class Run(t.NamedTuple):
    host: Host
    loop: Loop
    until: float
    numbers: t.Iterator[int]  # of conversations, as each has ports of its own
    instance: str = "default"


class Exchange:
    """Sends what conversations have to send, and hands each packet that comes out to the one that it belongs to."""

    def __init__(self, talks: t.Sequence[Talk], run: Run, pause: float = 0) -> None:
        """``pause``: seconds after connections have been ended."""
        self._run, self._pause = run, pause
        self._numbered = {talk.number: talk for talk in talks}
        self._asking = [talk for talk in talks if talk.promise.asks]
        self._over: t.List[Talk] = []
        self.alive: t.Set[str] = set()

    def begin(self, talks: t.Iterable[Talk]) -> None:
        for talk in talks:
            if self._run.host.clock() > self._run.until:
                return
            self._send(talk)
            self.listen(0)

    def _send(self, talk: Talk) -> None:
        due = talk.due()
        if due:
            self._run.loop.send(due.place, due.packet)

    def listen(self, seconds: float) -> bool:
        """Whether anything came out."""
        come = self._run.loop.receive(max(0.0, seconds))
        for place, packet in come:
            seen = Seen(place, packet)
            talk = next((each for each in self._asking if each.hears(seen)), None)
            if talk:
                self._run.loop.forget(packet)  # an offer, for one, is a connection of its own
            talk = talk or self._owner(packet)
            if talk and talk.sent:
                self.alive.add(talk.sent[-1].place)
                if talk.take(seen):
                    self._send(talk)
                elif talk.settled:
                    self._let_go(talk)
        return bool(come)

    def _let_go(self, talk: Talk) -> None:
        """End the connections of settled conversations, a few at a time."""
        self._over += [talk] if talk not in self._over else []
        if len(self._over) > MOST_OPEN:
            self.end(self._over)
            self._over.clear()

    def end(self, talks: t.Iterable[Talk]) -> None:
        """End the connections of conversations, whatever they still wait for."""
        self._run.loop.let_go([each.packet for talk in talks for each in talk.sent])
        if self._pause:
            self._run.host.sleep(self._pause)

    def allow(self, seconds: float) -> None:
        """At least so much time from now on."""
        self._run = self._run._replace(until=max(self._run.until, self._run.host.clock() + seconds))

    def drain(self, alive: t.Iterable[Talk]) -> None:
        """Wait until the host has dealt with everything; until then, silence on a busy host says nothing.

        Packets that always get through (``alive``: of places where they did) are sent after the rest, and come last.
        """
        known = [talk for talk in alive if talk.sent and talk.sent[-1].place in self.alive]
        last = [Talk(talk.promise, next(self._run.numbers), talk.magic) for talk in known]
        self._numbered.update((talk.number, talk) for talk in last)
        self.begin(last)
        until = min(self._run.host.clock() + SLOW, self._run.until)
        while not all(talk.settled for talk in last) and self._run.host.clock() < until:
            self.listen(0.05)

    def _owner(self, packet: Packet) -> t.Optional[Talk]:
        """By the first sender's port, if it is for that one, as the host's own answers have no mark; or by the mark."""
        about = packet.quoted or packet
        port = packet.sport if packet.protocol == "icmp" else packet.dport
        talk = self._numbered.get(port - FIRST_PORT)
        if talk and not packet.quoted and talk.own == (packet.target, port):
            return talk
        talk = self._numbered.get(about.mark)
        return talk if talk and talk.knows(about) else None
