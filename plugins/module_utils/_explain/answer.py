# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.
"""What to tell about a packet: from the declaration, and from what happened to it."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, replace

from .._base.net import matches_any
from .._proof.judge import answers
from .._proof.model import GATEWAY, Culprit
from .._proof.packets import RST, in_words
from .trip import HERE

if t.TYPE_CHECKING:  # pragma: no cover
    from .._proof.model import Seen
    from .._proof.packets import Packet
    from .trip import Side, Trip
    from .verdict import Said

#: What is said of a packet for this host itself.
DELIVERED = "delivered to this host itself"
PACKET, DECLARATION = "packet", "declaration"
PROHIBITED = {4: (3, (9, 10, 13)), 6: (1, (1, 5, 6))}
UNREACHED = {4: (3, (0, 1)), 6: (1, (0, 3))}
EXCEEDED = {4: 11, 6: 3}
NO_PORT = {4: (3, 3), 6: (1, 4)}
NOBODY = Culprit()


@dataclass(frozen=True)
class Trial:
    """What was sent, what came out of another interface, and what the sender got. ``lacks``: why nothing was sent."""

    sent: t.Optional[Seen] = None
    out: t.Optional[Seen] = None
    back: t.Optional[Seen] = None
    lacks: str = ""
    played: t.Tuple[t.Tuple[str, str], ...] = ()  # link and address of neighbours that nobody has
    culprit: Culprit = NOBODY

    @property
    def answered(self) -> bool:
        """Whether the sender took what it got for an answer."""
        if not self.sent or not self.back or self.back.packet.quoted:
            return False
        return answers(self.sent.packet, self.back.packet)


@dataclass(frozen=True)
class Answer:
    """``passes`` None: nobody knows. ``told`` is one sentence."""

    passes: t.Optional[bool]
    told: str
    agrees: bool = True  # whether it is what the declaration says
    notes: t.Tuple[str, ...] = ()
    culprit: str = ""
    silent: bool = False  # nothing came back, and nothing had to


def answered(trip: Trip, said: Said, trial: Trial) -> Answer:
    found = _ended(_with_culprit(judged(trip, said, trial), trial), trip, trial)
    sent, back = trial.sent, trial.back
    if found.passes and sent and back and back.place != sent.place:
        words = "the answer leaves through {0}, not {1}, where the packet came in; the router there may drop that"
        return replace(found, notes=(*found.notes, words.format(back.place, sent.place)))
    return found


def _ended(found: Answer, trip: Trip, trial: Trial) -> Answer:
    """What passes ends at a neighbour that is not there."""
    words = "nobody answers for {1} on {0}; the host or the line is down, or the address is wrong"
    here = (trip.inn.link, trip.inn.hop)
    told = tuple(words.format(*each) for each in trial.played)
    gone = next((line for line, each in zip(told, trial.played) if each != here), "")
    if found.passes and gone:
        return replace(found, passes=False, told="this gateway lets it pass ({0}), but {1}".format(found.told, gone))
    return replace(found, notes=found.notes + told)


def judged(trip: Trip, said: Said, trial: Trial) -> Answer:
    if trial.lacks:
        return Answer(said.passes, said.words)
    if trial.out:
        return _came_out(trip, said, trial)
    here = bool(said.out and said.out.kind == HERE)
    if trial.back:
        return _reached(trip, said, trial) if here else _refused(said, trial.back)
    return _silent_service(said) if here and trip.question.protocol == "udp" else _vanished(said)


def needs_a_closer_look(answer: Answer) -> bool:
    """Whether somebody may be to blame: it does not pass, or not as declared, or nothing shows that it arrived."""
    return not (answer.passes and answer.agrees) or answer.silent


def _with_culprit(answer: Answer, trial: Trial) -> Answer:
    """An item that decides is not to blame. That nothing listens is nobody's fault."""
    who = trial.culprit
    ours = who.by == GATEWAY and answer.agrees
    if not who.words or ours or (answer.passes and answer.agrees and not answer.silent) or DELIVERED in who.words:
        return answer
    if answer.silent:
        return Answer(False, "it does not reach this gateway itself", agrees=False, culprit=who.words)
    return replace(answer, culprit=who.words)


def _came_out(trip: Trip, said: Said, trial: Trial) -> Answer:
    out = t.cast("Seen", trial.out)
    fits = bool(said.come and said.come.fits(out.place, out.packet))
    if said.passes is False:
        words = "it passes and leaves through {0}, although the declaration says: {1}"
        return Answer(True, words.format(out.place, said.words), agrees=False)
    if said.passes and not fits:
        words = "it leaves through {0}, but not as declared ({1})"
        return Answer(True, words.format(out.place, said.words), agrees=False)
    if not trial.answered or _led_astray(trip, trial):
        words = "it leaves through {0} ({1}), but the answer does not get back to {2}"
        if trial.back and trial.answered:
            words += ": it leaves through " + trial.back.place
        elif trial.back:
            words = "it leaves through {0} ({1}), but {2} gets this instead of its answer: "
            words += in_words(trial.back.packet)
        return Answer(False, words.format(out.place, said.words, trip.question.source), agrees=False)
    return Answer(True, said.words)


def _led_astray(trip: Trip, trial: Trial) -> bool:
    """An answer reaches the client of a LAN only on that LAN's links. One outside may be reached by several WANs."""
    lan = trip.inn.lan
    return bool(lan and trial.back and not matches_any(lan.interfaces, trial.back.place))


def _reached(trip: Trip, said: Said, trial: Trial) -> Answer:
    """This host has answered itself."""
    packet = t.cast("Seen", trial.back).packet
    if said.passes is False:
        words = "this gateway answers ({0}), although the declaration says: {1}"
        return Answer(True, words.format(_kind(packet), said.words), agrees=False)
    if trial.answered and not _led_astray(trip, trial):
        return Answer(True, "{0}; it answers".format(said.words))
    if trial.answered:
        words = "{0}, but its answer leaves through {1}, not {2}"
        place = t.cast("Seen", trial.back).place
        return Answer(False, words.format(said.words, place, trip.inn.link), agrees=False)
    closed = _kind(packet) in ("a TCP RST", "no such port")
    words = "{0}, but nothing listens there, or a rule refuses it ({1})" if closed else "{0}, but it was refused ({1})"
    return Answer(False, words.format(said.words, _kind(packet)), agrees=closed)


def _refused(said: Said, back: Seen) -> Answer:
    if said.passes is False:
        return Answer(False, "{0}; the sender gets {1}".format(said.words, _kind(back.packet)))
    words = "it was refused; the sender gets {0}. Declared: {1}"
    return Answer(False, words.format(_kind(back.packet), said.words), agrees=False)


def _silent_service(said: Said) -> Answer:
    if said.passes is False:
        return Answer(False, said.words)
    return Answer(said.passes, said.words + "; nothing came back, as from a service that stays silent", silent=True)


def _vanished(said: Said) -> Answer:
    if said.passes is False:
        return Answer(False, said.words)
    return Answer(False, "it vanishes in this gateway. Declared: {0}".format(said.words), agrees=False)


def _kind(packet: Packet) -> str:
    """What a sender got, in words."""
    told = (packet.kind, packet.code)
    if not packet.quoted:
        return "a TCP RST" if packet.protocol == "tcp" and packet.flags & RST else in_words(packet)
    if told == NO_PORT[packet.version]:
        return "no such port"
    if packet.kind == EXCEEDED[packet.version]:
        return "ICMP time exceeded, as its TTL ran out"
    for (kind, codes), words in ((PROHIBITED[packet.version], "prohibited"), (UNREACHED[packet.version], "no route")):
        if packet.kind == kind and packet.code in codes:
            return "ICMP {0}".format(words)
    return "ICMP type {0} code {1}".format(*told)


# --- For people, and as data ------------------------------------------------------------------------------------------


def to_json(trip: Trip, said: Said, trial: Trial, answer: Answer) -> t.Dict[str, t.Any]:
    measured = not trial.lacks
    route = said.out or trip.out
    return {
        "question": str(trip.question),
        "passes": answer.passes,
        "by": PACKET if measured else DECLARATION,
        "reason": trial.lacks,
        "verdict": answer.told,
        "as_declared": answer.agrees,
        "culprit": answer.culprit,
        "items": list(said.items),
        "arrives": {
            "interface": trip.inn.link,
            "role": trip.inn.kind,
            "lan": trip.inn.lan.name if trip.inn.lan else "",
        },
        "route": {
            "interface": route.link,
            "role": route.kind,
            "lan": route.lan.name if route.lan else "",
            "next_hop": route.hop,
            "problem": route.why,
        },
        "leaves": _leaves(trip, said, trial, answer),
        "comes_back": _comes_back(trip, trial),
        "sent": _line(trial.sent),
        "seen": [_line(each) for each in (trial.out, trial.back) if each],
        "notes": [*trip.question.notes, *trip.notes, *answer.notes],
    }


def _comes_back(trip: Trip, trial: Trial) -> t.Optional[bool]:
    return trial.answered and not _led_astray(trip, trial) if trial.out or trial.back else None


def _place(side: Side) -> t.Dict[str, str]:
    return {"interface": side.link, "role": side.kind, "lan": side.lan.name if side.lan else ""}


def _line(seen: t.Optional[Seen]) -> str:
    return "{0}: {1}".format(seen.place, in_words(seen.packet)) if seen else ""


def _leaves(trip: Trip, said: Said, trial: Trial, answer: Answer) -> t.Optional[t.Dict[str, t.Any]]:
    """As what the packet leaves: seen, or else declared."""
    if trial.out and trial.sent:
        packet = trial.out.packet
        same = packet.sport == trial.sent.packet.sport
        kept = "unchanged" if same else "changed to {0}".format(packet.sport)
        return _shape(trial.out.place, (packet.source,), (packet.target, packet.dport), kept)
    if trial.lacks and said.come and answer.passes:
        come = said.come
        target = come.targets[0] if len(come.targets) == 1 else ""
        return _shape(come.places[0], come.sources, (target, come.dport or trip.question.port), said.ports)
    return None


def _shape(place: str, sources: t.Sequence[str], target: t.Tuple[str, int], port: str) -> t.Dict[str, t.Any]:
    return {
        "interface": place,
        "source": list(sources),
        "source_port": port,
        "destination": target[0],
        "port": target[1],
    }


def lines(values: t.Mapping[str, t.Any]) -> t.List[str]:
    """The same for people."""
    head = {True: "passes", False: "does not pass", None: "may pass"}[values["passes"]]
    found = ["{0}: {1}".format(values["question"], head), "  because   {0}".format(values["verdict"])]
    if values["culprit"]:
        found.append("  culprit   {0}".format(values["culprit"]))
    found.append("  arrives   {0}".format(_end(values["arrives"])))
    found.append("  route     {0}".format(_route(values["route"])))
    if values["items"]:
        found.append("  item      {0}".format(", ".join(values["items"])))
    if values["leaves"]:
        found.append("  leaves    {0}".format(_left(values["leaves"])))
    if values["comes_back"] is not None:
        found.append("  answer    {0}".format("gets back" if values["comes_back"] else "does not get back"))
    found.append("  known by  {0}".format(_by(values)))
    return found + ["  note      {0}".format(note) for note in values["notes"]]


def _by(values: t.Mapping[str, t.Any]) -> str:
    if values["by"] == PACKET:
        return "a packet that was sent through this gateway"
    return "the declaration alone; no packet could be sent: {0}".format(values["reason"])


def _end(side: t.Mapping[str, t.Any]) -> str:
    names = {"lan": "LAN " + side["lan"], "wan": "a WAN", "undeclared": "not declared"}
    return "{0} ({1})".format(side["interface"], names[side["role"]]) if side["interface"] else "nowhere"


def _route(side: t.Mapping[str, t.Any]) -> str:
    if side["role"] == HERE:
        return "to this gateway itself"
    if not side["interface"]:
        return side["problem"] or "none"
    hop = ", next hop {0}".format(side["next_hop"]) if side["next_hop"] else ""
    problem = "; but {0}".format(side["problem"]) if side["problem"] else ""
    return _end(side) + hop + problem


def _left(leaves: t.Mapping[str, t.Any]) -> str:
    source = " or ".join(leaves["source"][:4]) or "any source"
    port = ", source port {0}".format(leaves["source_port"]) if leaves["port"] and leaves["source_port"] else ""
    shape = "[{0}]:{1}" if ":" in leaves["destination"] else "{0}:{1}"
    end = " for " + (shape if leaves["port"] else "{0}").format(leaves["destination"], leaves["port"])
    return "{0} from {1}{2}{3}".format(leaves["interface"], source, end * bool(leaves["destination"]), port)
