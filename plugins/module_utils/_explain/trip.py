# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.
"""Where a packet comes from and where routes lead it: LAN, WAN, this host, or a link that is not declared."""

from __future__ import annotations

import json
import typing as t
from dataclasses import dataclass, replace

from .._base.net import OPTION, family_of, matches_any, matches_name
from .._base.values import is_private, overlaps
from .._proof.model import FAMILY_NAMES, within
from .._proof.places import outside
from .._resolve.inside import lan_of

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.errors import Problems
    from .._base.host import Sight
    from .._proof.model import Ground
    from .._resolve.resolved import Resolved, ResolvedLan
    from .question import Question

LAN, WAN, HERE, OTHER, NOWHERE = "lan", "wan", "here", "undeclared", "nowhere"
#: What the kernel answers where no route leads on, by what ip prints.
REFUSALS = (
    ("Network is unreachable", "no {family} route leads to {target}"),
    ("No route to host", "a route of type unreachable keeps packets from {target}"),
    ("Permission denied", "a route or a rule of type prohibit keeps packets from {target}"),
    ("Invalid argument", "a route or a rule of type blackhole drops packets to {target}"),
)


@dataclass(frozen=True)
class Side:
    """One end of a trip. ``hop``: the neighbour that the link leads to. ``why``: what keeps packets from there."""

    kind: str
    link: str = ""
    hop: str = ""
    lan: t.Optional[ResolvedLan] = None
    why: str = ""

    def __str__(self) -> str:
        names = {LAN: "LAN " + (self.lan.name if self.lan else ""), WAN: "a WAN", OTHER: "not declared"}
        if self.kind == HERE:
            return "this gateway itself"
        return "{0} ({1})".format(self.link, names[self.kind]) if self.link else self.why


class Trip(t.NamedTuple):
    question: Question
    inn: Side
    out: Side
    notes: t.Tuple[str, ...] = ()


class _Road(t.NamedTuple):
    """An answer to ``ip route get``."""

    kind: str = ""
    link: str = ""
    hop: str = ""
    error: str = ""


def road(host: Sight, target: str, source: str = "", link: str = "") -> _Road:
    question = ["ip", "-j", OPTION[family_of(target)], "route", "get", target]
    done = host.ask(question + (["from", source, "iif", link] if link else []))
    try:
        found = json.loads(done.out or "[]", strict=False)[0]
    except (ValueError, IndexError):
        return _Road(error=" ".join(done.err.split()) or "no answer")
    hop = found.get("gateway") or (found.get("via") or {}).get("host") or target
    return _Road(str(found.get("type", "unicast")), str(found.get("dev", "")), hop)


class Planner:
    """Answers where an address is, for one gateway on one host."""

    def __init__(self, gateway: Resolved, ground: Ground, host: Sight) -> None:
        self.gateway, self.ground, self.host = gateway, ground, host
        self.wans = outside(gateway, ground)

    def trip(self, question: Question, problems: Problems) -> Trip:
        inn, notes = self._origin(question, problems)
        out = self._end(question, inn)
        if not problems.found and LAN == inn.kind == out.kind and inn.link == out.link:
            words = "{0} and {1} are both on {2}, so they talk to each other directly; give an address elsewhere"
            problems.add("to", words.format(question.target, question.source, inn.link))
        return Trip(question, inn, out, tuple(notes))

    # --- From ---------------------------------------------------------------------------------------------------------

    def _origin(self, question: Question, problems: Problems) -> t.Tuple[Side, t.List[str]]:
        source, way = question.source, road(self.host, question.source)
        if way.kind == "local":
            words = "{0} is an address of this gateway; give the address of a host that sends through it"
            problems.add("from", words.format(source))
        elif way.kind not in ("", "unicast"):
            problems.add("from", "{0} is a {1} address; give the address of a single host".format(source, way.kind))
        lan = lan_of(self.gateway, source)
        if lan:
            return self._in_lan(lan, source, way)
        side = self._side(way)
        if side.kind in (WAN, NOWHERE):
            self._check_outside(source, way, problems)
            return self._entry(question, side), []
        return side, []

    def _in_lan(self, lan: ResolvedLan, source: str, way: _Road) -> t.Tuple[Side, t.List[str]]:
        link = self._link_of(lan, way.link)
        if not way.link:
            return Side(LAN, link, "", lan), ["{0}, so nothing gets back to it".format(_refused(way, source))]
        if way.link != link:
            words = "the route to {0} leads to {1}, not to {2}, so nothing gets back to it through {2}"
            return Side(LAN, link, "", lan), [words.format(source, way.link, link)]
        return Side(LAN, link, way.hop, lan), []

    def _link_of(self, lan: ResolvedLan, routed: str) -> str:
        names = [name for name in self.ground.links for pattern in lan.interfaces if matches_name(pattern, name)]
        return routed if routed in names else (names or list(lan.interfaces))[0]

    def _check_outside(self, source: str, way: _Road, problems: Problems) -> None:
        if not is_private(source) or (way.link and way.hop == source):
            return
        known = ["{0}: {1}".format(lan.name, ", ".join(lan.networks) or "none") for lan in self.gateway.lans]
        words = "{0} is in no LAN ({1}); give an address that is in one, or add its network to the networks of a LAN"
        problems.add("from", words.format(source, "; ".join(known)))

    def _entry(self, question: Question, side: Side) -> Side:
        """The WAN that a packet to this address comes in on; that of the route back, if the address does not say."""
        owner = next((name for name in self.wans if question.target in self.ground.addresses.get(name, ())), "")
        items = (*self.gateway.nat, *self.gateway.port_forwards)
        named = [self._wans_of(item.wan) for item in items if item.wan and _leads(item, question.target)]
        link = owner or next((name for names in named for name in names), "") or side.link or (self.wans or [""])[0]
        return side if side.link == link else Side(WAN, link)

    def _wans_of(self, pattern: str) -> t.List[str]:
        return outside(self.gateway, self.ground, pattern)

    # --- To -----------------------------------------------------------------------------------------------------------

    def _end(self, question: Question, inn: Side) -> Side:
        way = road(self.host, question.target, question.source, inn.link)
        if not way.error:
            return self._side(way, question.target)
        # Without the link on which it arrives: the kernel may refuse its source, or forward nothing at all.
        plain = self._side(road(self.host, question.target), question.target)
        words = "the kernel refuses to forward what {0} sends there"
        return plain if plain.kind == NOWHERE else replace(plain, why=words.format(question.source))

    def after(self, address: str) -> Side:
        """Where a packet goes after its destination was translated."""
        return self._side(road(self.host, address), address)

    def _side(self, way: _Road, target: str = "") -> Side:
        if way.error:
            return Side(NOWHERE, why=_refused(way, target) + self._down())
        if way.kind == "local":
            return Side(HERE)
        if way.kind != "unicast":
            return Side(NOWHERE, why="{0} is a {1} address, which is not forwarded".format(target, way.kind))
        known = self.ground.links.get(way.link)
        side = Side(OTHER, way.link, way.hop if known and known.ethernet else "")
        if way.link in self.wans:
            return replace(side, kind=WAN)
        lans = (lan for lan in self.gateway.lans if matches_any(lan.interfaces, way.link))
        lan = next(lans, None)
        return replace(side, kind=LAN, lan=lan) if lan else side

    def _down(self) -> str:
        """Why there may be no route."""
        links = self.ground.links
        dead = [name for name in self.wans if name not in links or not links[name].up]
        words = "; {0} is down, so bring it up first (ip link set {0} up)"
        gone = "; {0} does not exist"
        return "".join((words if name in links else gone).format(name) for name in dead)


def _refused(way: _Road, target: str) -> str:
    found = (words for told, words in REFUSALS if told in way.error)
    words = next(found, "the kernel has no route to {target} (" + way.error + ")")
    return words.format(family=FAMILY_NAMES["ip6" if ":" in target else "ip"], target=target)


def _leads(item: t.Any, target: str) -> bool:
    asked = item.to if getattr(item, "action", "") in ("static", "prefix") else ()
    asked = asked or (item.destination if not hasattr(item, "action") else ())
    return bool(asked) and bool(overlaps([target], [net for net in asked if "-" not in net])) and within(target, asked)
