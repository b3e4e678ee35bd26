# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.
"""Judge what comes out of the host, packet by packet. No I/O."""

from __future__ import annotations

import typing as t
from dataclasses import replace

from .model import BROKEN, HOLDS, UNMEASURABLE, Result, Seen, mss_fits
from .packets import ACK, ECHO, FIRST_PORT, RST, SYN, Packet, answer, in_words

if t.TYPE_CHECKING:  # pragma: no cover
    from .model import Promise, Step

#: For a second flow of the same client.
SECOND_PORT = 57000
REFUSED = "it was refused"
#: Of a promise that nothing is answered at all.
TURNED_AWAY = "it was refused, and has to be dropped"
#: Why what must not pass has not been tried.
LATE = "time ran out before anything showed that it does not pass"
#: ICMP redirects are advice, and do not end a conversation.
REDIRECT = {4: 5, 6: 137}
#: What the kernel says of a neighbour that does not answer (type, codes): no route to the network, or to the host.
UNREACHABLE = {4: (3, (0, 1)), 6: (1, (0, 3))}
#: What it says of a UDP port on which nobody listens. Of a TCP port, it sends a RST.
CLOSED_PORT = {4: (3, 3), 6: (1, 4)}


class Talk:
    """The conversation that shows whether one promise holds."""

    def __init__(self, promise: Promise, number: int, magic: int) -> None:
        self.promise, self.number, self.magic = promise, number, magic
        self.outcome = UNMEASURABLE if promise.lacks else ""
        self.reason = promise.lacks
        self.sent: t.List[Seen] = []
        self.seen: t.List[Seen] = []
        self._turn = 0
        self._came: t.List[Seen] = []  # what came as it had to, one for each step
        self._detour = ""  # if the routes have led a packet to another WAN, in words
        self._turned_away = False  # whether what must not get in was refused
        self.earlier: t.Optional[Talk] = None  # the first attempt, if this is the second one
        self.doubt = ""  # why it would be broken, if what may have stopped it were not there

    @property
    def settled(self) -> bool:
        return bool(self.outcome)

    @property
    def own(self) -> t.Tuple[str, int]:
        """Address and port of the first sender; answers that the host itself makes are sent there."""
        first = self.promise.steps[0].packet if self.promise.steps else None
        return (first.source, self.number + FIRST_PORT) if first else ("", 0)

    @property
    def expected(self) -> t.Tuple[str, ...]:
        """Where something has to come out now."""
        step = self.promise.steps[self._turn] if self._turn < len(self.promise.steps) else None
        return () if step is None else step.come.places if step.come else (self.sent[0].place,)

    @property
    def came_wrong(self) -> bool:
        """Whether something came out, but not as it should; a refusal does not count."""
        return self.outcome == BROKEN and self.reason != REFUSED

    def knows(self, packet: Packet) -> bool:
        """Whether a packet with this conversation's mark is of it. Others have numbers in these fields, too."""
        ends = {end for each in self.sent for end in (each.packet.source, each.packet.target)}
        return packet.magic == self.magic or bool({packet.source, packet.target} & ends)

    @property
    def ruled_out(self) -> bool:
        """Whether all that came is a refusal that only a rule makes, as the kernel says something else."""
        about = [each.packet.quoted for each in self.seen]
        return bool(about) and all(
            inner and (inner.protocol != "udp" or (seen.packet.kind, seen.packet.code) != CLOSED_PORT[inner.version])
            for inner, seen in zip(about, self.seen)
        )

    def hears(self, _seen: Seen) -> bool:
        """Whether this answers a question to a service."""
        return False

    def due(self) -> t.Optional[Seen]:
        """What has to be sent now."""
        if self.settled or self._turn >= len(self.promise.steps):
            return None
        step = self.promise.steps[self._turn]
        if step.packet:
            marked = replace(step.packet, mark=self.number, magic=self.magic)
            port = SECOND_PORT if step.same_source else FIRST_PORT
            made = Seen(step.at, _with_port(marked, self.number + port))
        else:
            made = _reply(step, self._came[-1])
        if made not in self.sent:
            self.sent.append(made)
        return made

    def take(self, seen: Seen) -> bool:
        """Whether this packet makes the next one due."""
        if self.settled or (seen.packet.kind == REDIRECT[seen.packet.version] and seen.packet.quoted):
            return False
        if any(_alike(seen, each) for each in self._came):
            return False  # once more what came already
        self.seen.append(seen)
        if self.promise.never:
            fits = any(each.fits(seen.place, seen.packet) for each in self.promise.never)
            if fits and _refuses(self.sent[-1].packet, seen.packet):
                self._turned_away = True
            elif fits:
                self._end(BROKEN, "this came out of {0}, which must not happen".format(seen.place))
            return False
        return self._advance(seen)

    def _advance(self, seen: Seen) -> bool:
        step = self.promise.steps[self._turn]
        if not self._wanted(step, seen):
            if seen.packet.quoted or not any(each.fits(seen.place, seen.packet) for each in step.elsewhere):
                self._end(BROKEN, self._wrong(step, seen))
                return False
            told = "" if step.come else self.promise.excuse
            self._detour = told or "the routes of this host lead such a packet to {0}".format(seen.place)
        self._came.append(seen)
        self._turn += 1
        # The MTU of another WAN is another one.
        if self._turn == len(self.promise.steps) or (self._detour and step.come and step.come.mss):
            self._end(UNMEASURABLE if self._detour else HOLDS, self._detour)
        return not self.settled

    def _wanted(self, step: Step, seen: Seen) -> bool:
        if step.come is None:
            fits = seen.place == self.sent[0].place and answers(self.sent[0].packet, seen.packet)
            return fits and bool(seen.packet.quoted) == bool(step.error) and mss_fits(step.most, seen.packet.mss)
        # Each WAN has its own addresses.
        if step.same_source and not self._detour and self._came[0].packet.source != seen.packet.source:
            return False
        return not seen.packet.quoted and step.come.fits(seen.place, seen.packet)

    def _wrong(self, step: Step, seen: Seen) -> str:
        if step.come is None:
            return "the client got this instead of its answer"
        if seen.packet.quoted or (seen.packet.protocol == "tcp" and seen.packet.flags & RST):
            return REFUSED
        if seen.place not in step.come.places:
            return "it came out of {0}, not of {1}".format(seen.place, " or ".join(step.come.places))
        return "it came out of {0} differently; declared: {1}".format(seen.place, _declared(step))

    def _end(self, outcome: str, reason: str) -> None:
        self.outcome, self.reason = outcome, reason

    def close(self, alive: t.Collection[str], silent: t.Collection[t.Tuple[str, str]]) -> Result:
        """The result, once the time is up. ``alive``: interfaces of which packets get through; ``silent``: neighbours
        that do not answer ARP or NDP.
        """
        if not self.settled and not self.sent:
            self._end(UNMEASURABLE, LATE if self.promise.never else "time ran out before its turn")
        if not self.settled and self.promise.quiet and self._turned_away:
            self._end(BROKEN, TURNED_AWAY)
        elif not self.settled and self.promise.never:
            dead = [name for name in self.promise.into if name not in alive]
            why = "nothing at all gets through from {0}, so silence proves nothing".format(", ".join(dead))
            self._end(*((UNMEASURABLE, why) if dead else (HOLDS, "")))
        elif not self.settled or self.outcome == BROKEN:
            self._excused(silent)
        if not self.settled:
            self._end(BROKEN, self._silence())
        return self._result()

    def _excused(self, silent: t.Collection[t.Tuple[str, str]]) -> None:
        """A neighbour or a rate may be why nothing came, or an error; neither changes what comes out."""
        mute = [hop for hop in self.promise.hops if hop in silent]
        why = ""
        if mute and (not self.settled or _is_unreachable(self.seen[-1].packet)):
            why = "{1} does not answer on {0}; the link or the host is down".format(*mute[0])
        elif self.promise.shortage and (not self.settled or self.reason == REFUSED):
            why = self.promise.shortage if self.promise.steps[self._turn].packet else ""
        if why:
            self.doubt = self.reason or self._silence()
            self._end(UNMEASURABLE, why)
        elif self.promise.excuse:
            self._end(UNMEASURABLE, self.promise.excuse)

    def _silence(self) -> str:
        step = self.promise.steps[self._turn]
        if step.come is None:
            return "the answer did not get back to {0}".format(self.sent[0].place)
        return "nothing came out of {0}; declared: {1}".format(" or ".join(step.come.places), _declared(step))

    def _result(self) -> Result:
        each = self.promise
        sent, seen = (tuple(_line(packet) for packet in packets) for packets in (self.sent, self.seen))
        return Result(each.kind, each.name, each.items, self.outcome, self.reason, sent, seen)


def _with_port(packet: Packet, port: int) -> Packet:
    """The quoted packet bears the mark, too, as the host that answers does not know the one that quotes it."""
    if packet.quoted:
        return replace(packet, quoted=replace(packet.quoted, mark=packet.mark, magic=packet.magic))
    return replace(packet, sport=packet.sport or port)


def _line(seen: Seen) -> str:
    return "{0}: {1}".format(seen.place, in_words(seen.packet))


def _alike(one: Seen, other: Seen) -> bool:
    return one.place == other.place and replace(one.packet, magic=0) == replace(other.packet, magic=0)


def _declared(step: Step) -> str:
    come = step.come
    parts = []
    if come and come.sources:
        parts.append("source " + " or ".join(come.sources[:4]))
    if come and come.targets:
        parts.append("destination " + " or ".join(come.targets[:4]))
    if come and come.mss:
        parts.append("MSS {0}{1}".format("" if come.mss < 0 else "at most ", abs(come.mss)))
    return ", ".join(parts) or "any packet"


def _reply(step: Step, came: Seen) -> Seen:
    if not step.error:
        return Seen(came.place, answer(came.packet, step.mss))
    kind, code, rest = step.error
    inner = came.packet
    made = Packet(inner.target, inner.source, "icmp", flags=0, mark=inner.mark, kind=kind, code=code, rest=rest)
    return Seen(came.place, replace(made, quoted=inner))


def _is_unreachable(packet: Packet) -> bool:
    kind, codes = UNREACHABLE[packet.version]
    return bool(packet.quoted) and packet.kind == kind and packet.code in codes


def _refuses(sent: Packet, packet: Packet) -> bool:
    """Whether a packet tells who sent another one that it goes nowhere; then nothing has got in, nor was answered."""
    about = packet.quoted
    if about:
        return packet.target == sent.source and (about.source, about.target) == (sent.source, sent.target)
    reset = packet.protocol == sent.protocol == "tcp" and packet.flags & RST
    ends = (packet.source, packet.target, packet.sport, packet.dport)
    return bool(reset) and ends == (sent.target, sent.source, sent.dport, sent.sport)


def answers(first: Packet, packet: Packet) -> bool:
    """Whether a client takes a packet for the answer to its own, or for an error about it."""
    about = packet.quoted
    if about:
        ends = (about.source, about.target, about.sport, about.dport)
        return packet.target == first.source and ends == (first.source, first.target, first.sport, first.dport)
    if (packet.source, packet.target, packet.protocol) != (first.target, first.source, first.protocol):
        return False
    if first.protocol == "icmp":
        return (packet.sport, packet.kind) == (first.sport, ECHO[first.version][1])
    opened = first.protocol != "tcp" or packet.flags == SYN | ACK
    return opened and (packet.sport, packet.dport) == (first.dport, first.sport)
