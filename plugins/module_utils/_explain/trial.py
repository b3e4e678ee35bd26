# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.
"""Send one packet with the user's addresses through the closed loop, and see what happens to it.

Real hosts may have these addresses. So the loop catches what leaves by the packet's number, which nobody else has, and
what comes back by its port; no packet of theirs is touched, and none of the probe's is on a wire.
"""

from __future__ import annotations

import random
import typing as t
from dataclasses import replace

from .._facts.links import PROBES
from .._proof import blame, ground as grounds, ipsec, setting
from .._proof.judge import REDIRECT
from .._proof.loop import Loop, NoLoop
from .._proof.model import Seen, Step
from .._proof.packets import ACK, ECHO, RST, SYN, answer
from .._proof.places import lack_of, request
from .._proof.watch import Watch
from .answer import Trial, judged, needs_a_closer_look
from .trip import HERE

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.host import Host
    from .._proof.ground import Place
    from .._proof.model import Ground
    from .._proof.packets import Packet
    from .._proof.trace import Flight
    from .trip import Planner, Trip
    from .verdict import Said

#: Seconds for each way, and when a packet is sent again.
PATIENCE, AGAIN = 1.0, (0.2, 0.5)
#: Ports from which clients hardly ever send: below those that Linux (32768), Windows and macOS (49152) choose from.
PORTS = (20000, 32000)
#: From the number of a packet to that of the one that hangs up, whose way nobody asks about.
LATER = 8
#: States of a neighbour whose lladdr is not known.
UNKNOWN = frozenset(("FAILED", "INCOMPLETE", "NONE"))


def tried(planner: Planner, trip: Trip, said: Said, host: Host) -> Trial:
    asked = trip.question
    packet = request(asked.source, asked.target, asked.protocol, asked.port)
    lacks = lack_of(planner.ground, trip.inn.link)
    lacks = lacks or ipsec.lack(planner.ground.policies, Step(trip.inn.link, packet, said.come))
    if lacks:
        return Trial(lacks=lacks)
    try:
        with Loop(host) as loop:
            return _tried(planner, trip, said, (host, loop))
    except (NoLoop, OSError) as error:
        return Trial(lacks=str(error))


def _tried(planner: Planner, trip: Trip, said: Said, run: t.Tuple[Host, Loop]) -> Trial:
    host, loop = run
    needed = _needed(trip, said)
    places = _places(planner, needed, host)
    lacks = next((places[name].lacks for name in needed if name in places and places[name].lacks), "")
    if lacks:
        return Trial(lacks=lacks)
    places = {name: place for name, place in places.items() if not place.lacks}
    played = _nobodys(planner.ground, _neighbours(trip, said), run)
    ground = _marked(planner.ground, trip, played)
    loop.build(ground, places)
    first = Seen(trip.inn.link, t.cast("Packet", ground.flow))
    found = _Exchange(first, run).run()
    if needs_a_closer_look(judged(trip, said, found)):
        found = _watched(found, said, ground, run)
    return replace(found, played=tuple(played))


def _needed(trip: Trip, said: Said) -> t.List[str]:
    """The links that the packet is meant to use."""
    links = [trip.inn.link, trip.out.link, *(said.come.places if said.come else ())]
    return [name for name in dict.fromkeys(links) if name]


def _places(planner: Planner, needed: t.Sequence[str], host: Host) -> t.Dict[str, Place]:
    """Every link through which it might leave, but others only if that costs their packets nothing."""
    ground = planner.ground
    up = [name for name, link in ground.links.items() if link.up and name != "lo" and not name.startswith(PROBES)]
    first = dict.fromkeys([*(name for name in needed if name in up), *grounds.measured(planner.gateway, ground)])
    found = grounds.places(list(dict.fromkeys([*first, *up]))[: grounds.MOST_LINKS], host)
    return {name: place for name, place in found.items() if name in first or place.nft or place.clsact}


def _marked(ground: Ground, trip: Trip, played: t.Sequence[t.Tuple[str, str]]) -> Ground:
    asked, drawn = trip.question, random.SystemRandom()
    magic = drawn.randrange(1 << 24, (1 << 32) - 1)
    packet = request(asked.source, asked.target, asked.protocol, asked.port)
    packet = replace(packet, sport=drawn.randrange(*PORTS), mark=1, magic=magic)
    outside = {asked.family: ground.outside.get(asked.family, grounds.OUTSIDE[asked.family][0])}
    return replace(ground, outside=outside, magic=magic, flow=packet, played=tuple(played))


# --- A closer look ---------------------------------------------------------------------------------------------------


def _watched(before: Trial, said: Said, ground: Ground, run: t.Tuple[Host, Loop]) -> Trial:
    """Once more from the next port, as a flow that is known may take another way, and who is to blame."""
    host, loop = run
    sent = t.cast("Seen", before.sent)
    first = Seen(sent.place, replace(sent.packet, sport=sent.packet.sport + 1, mark=sent.packet.mark + 1))
    exchange, watch = _Exchange(first, run), Watch(loop, loop.places, host)
    found: t.List[Trial] = []
    watch.begin(setting.trace(ground, loop.places))
    try:
        evidence = watch.during(lambda listen: found.append(exchange.run(listen)))
    finally:
        watch.end()
    case = _case(found[0], said)
    flights = [each for each in evidence.flights if _is_of(each, case.packet)]
    culprit = blame.blame(case, evidence, flights[-1] if flights else None, host)
    return replace(found[0], culprit=culprit)


def _case(trial: Trial, said: Said) -> blame.Case:
    """The packet that did not do what it should."""
    sent, out = t.cast("Seen", trial.sent), trial.out
    wanted = said.come.places if said.come else ()
    if not out:
        return blame.Case(sent.packet, sent.place, wanted, blame.LOST)
    if said.passes is False:
        return blame.Case(sent.packet, sent.place, wanted, blame.PASSED)
    if said.come and not said.come.fits(out.place, out.packet):
        return blame.Case(sent.packet, sent.place, wanted, blame.CHANGED)
    wrong = blame.CHANGED if trial.back and not trial.answered else blame.LOST
    return blame.Case(answer(out.packet), out.place, (sent.place,), wrong)


def _is_of(flight: Flight, packet: Packet) -> bool:
    ends = (packet.mark, packet.source, packet.dport)
    return any(each.packet and (flight.mark, each.packet.source, each.packet.dport) == ends for each in flight.events)


# --- Neighbours ------------------------------------------------------------------------------------------------------


def _neighbours(trip: Trip, said: Said) -> t.List[t.Tuple[str, str]]:
    """Those who have to be there for the packet and its answer to leave."""
    sides = (trip.inn, said.out or trip.out, *said.others)
    ends = [(side.link, side.hop) for side in sides if side and side.kind != HERE]
    return [each for each in dict.fromkeys(ends) if all(each)]


def _nobodys(
    ground: Ground, neighbours: t.Sequence[t.Tuple[str, str]], run: t.Tuple[Host, Loop]
) -> t.List[t.Tuple[str, str]]:
    """The neighbours that the host does not know, and that do not answer: the probe plays them."""
    host, loop = run
    states = {
        (str(each.get("dev")), str(each.get("dst"))): set(each.get("state") or ())
        for each in grounds.asked(host, "ip", "-j", "neigh", "show")
    }
    unsure = [
        each
        for each in neighbours
        if each[0] in ground.links and ground.links[each[0]].ethernet and states.get(each, UNKNOWN) & UNKNOWN
    ]
    asked: t.Dict[t.Tuple[str, str], t.List[str]] = {}
    for link, address in unsure:
        asked.setdefault((link, "ip6" if ":" in address else "ip"), []).append(address)
    taken = loop.taken(asked) if asked else set()
    return [each for each in unsure if each[1] not in taken]


# --- Packets ---------------------------------------------------------------------------------------------------------


class _Exchange:
    """One packet, and its answer from wherever it came out."""

    def __init__(self, first: Seen, run: t.Tuple[Host, Loop]) -> None:
        self._first, (self._host, self._loop) = first, run
        self._meanwhile: t.Callable[[], None] = _nothing
        self._out: t.Optional[Seen] = None
        self._back: t.Optional[Seen] = None

    def run(self, meanwhile: t.Optional[t.Callable[[], None]] = None) -> Trial:
        self._meanwhile = meanwhile or self._meanwhile
        self._send(self._first, lambda: bool(self._out or self._back))
        if self._out:
            self._back = None
            reply = Seen(self._out.place, answer(self._out.packet))
            self._send(reply, lambda: bool(self._back))
        elif self._first.packet.protocol == "tcp":
            self._hang_up()
        return Trial(self._first, self._out, self._back)

    def _send(self, seen: Seen, done: t.Callable[[], bool]) -> None:
        start, times = self._host.clock(), [0.0, *AGAIN]
        while not done():
            passed = self._host.clock() - start
            if passed > PATIENCE:
                return
            if times and passed >= times[0]:
                times.pop(0)
                self._loop.send(seen.place, seen.packet)
            self._listen(0.02)

    def _hang_up(self) -> None:
        """A service of this host that has answered would send its answer again, when nobody catches it any more."""
        own = self._first.packet  # without ACK, as the number to acknowledge may be unknown; the filters look at it
        following = own.magic + 1 & 0xFFFFFFFF
        self._loop.send(
            self._first.place, replace(own, mark=own.mark + LATER, flags=RST, magic=following, acked=following)
        )
        self._listen(0.02)

    def _listen(self, seconds: float) -> None:
        self._meanwhile()
        for place, packet in self._loop.receive(seconds):
            if packet.quoted and packet.kind == REDIRECT[packet.version]:
                continue  # advice only
            if self._returns(packet):
                self._back = self._back or Seen(place, packet)
            elif self._mine(packet):
                self._out = self._out or Seen(place, packet)

    def _returns(self, packet: Packet) -> bool:
        """Whether a packet is for the first one's sender, and is not the first one itself, led back to its own link."""
        own = self._first.packet
        if packet.target != own.source:
            return False
        if packet.quoted or packet.protocol != own.protocol:
            return True
        if own.protocol == "icmp":
            return packet.kind != ECHO[own.version][0]
        return packet.dport == own.sport and packet.flags & (SYN | ACK) != SYN

    def _mine(self, packet: Packet) -> bool:
        return packet.magic == self._first.packet.magic and not packet.quoted


def _nothing() -> None:
    """Nobody has to be called meanwhile."""
