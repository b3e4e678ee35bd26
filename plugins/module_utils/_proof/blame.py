# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.
"""Name what keeps a gateway from doing what was declared: an item or a rule of ours, a rule of somebody else, or the
kernel's routes, switches and filters.
"""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass, replace

from . import counters, routing, rules
from .model import GATEWAY, HOST, OTHER, Culprit

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.host import Host
    from .packets import Packet
    from .trace import Event, Flight
    from .watch import Evidence

#: What is wrong with a packet: nothing came of it, it came out changed, or it came out and must not.
LOST, CHANGED, PASSED = "lost", "changed", "passed"
#: What may not be wrong: it was refused, where it has to be dropped; or nothing came of it, as a neighbour may be dead,
#: or as clients may have used up a rate.
REFUSED, UNHEARD, SPENT = "refused", "unheard", "spent"
NAT_WORDS = re.compile(r"\b(snat|dnat|masquerade|redirect|netmap|tproxy)\b", re.IGNORECASE)
UNTRACKED = re.compile(r"\bnotrack\b", re.IGNORECASE)
UNTRANSLATED, UNMET = "not translated", "no NAT rule matches it"
#: Of a rule in our chains.
ADDED = ", which this gateway did not make"


@dataclass(frozen=True)
class Case:
    """A packet that goes astray: where it came in, and where it was to come out."""

    packet: Packet
    place: str
    wanted: t.Tuple[str, ...] = ()
    wrong: str = LOST


def blame(case: Case, evidence: Evidence, flight: t.Optional[Flight], host: Host) -> Culprit:
    """``flight``: the way of this packet, if the kernel showed it. Without words, nobody is found."""
    judge = _Judge(case, evidence, flight, host)
    looks = {LOST: judge.lost, CHANGED: judge.changed, PASSED: judge.passed}
    looks.update({REFUSED: judge.refused, UNHEARD: judge.unheard, SPENT: judge.spent})
    return looks[case.wrong]() or Culprit()


def stopped(case: Case, evidence: Evidence, flight: t.Optional[Flight], host: Host) -> Culprit:
    """Who stops a packet that is for this host itself."""
    return _Judge(case, evidence, flight, host).stopped() or Culprit()


_Found = t.Optional[Culprit]


class _Judge:
    def __init__(self, case: Case, evidence: Evidence, flight: t.Optional[Flight], host: Host) -> None:
        self._case, self._evidence, self._flight, self._host = case, evidence, flight, host
        self._events: t.List[Event] = flight.rules if flight else []
        self._end = next((each for each in reversed(self._events) if each.ends), None)
        self._rules = rules.Rules(host)

    # --- What is wrong ----------------------------------------------------------------------------------------------

    def stopped(self) -> _Found:
        if self._end:
            return self._ended(self._end)
        return self._rose(counters.STOPS) or self._taken(self._case.place, "ingress")

    def lost(self) -> _Found:
        if self._end:
            return self._ended(self._end)
        return self._rose(counters.STOPS) or (self._by_trace() if self._evidence.traced else self._by_chance())

    def _by_trace(self) -> _Found:
        """No rule stopped it, and the kernel shows how far it got."""
        if not self._flight:
            return self._taken(self._case.place, "ingress")
        if not self._flight.reached("prerouting"):
            return self._untracked()
        if not self._flight.reached("forward", "postrouting"):
            return self._changed() or self._unrouted()
        return self._led_astray()

    def _by_chance(self) -> _Found:
        return self._changed() or self._unrouted() or self._taken(self._case.place, "ingress") or self._led_astray()

    def changed(self) -> _Found:
        if self._end:
            return self._ended(self._end)  # what came was a refusal
        return self._changed() or self._led_astray()

    def passed(self) -> _Found:
        let = [each for each in self._filtering() if each.verdict == "accept" and _is_own(each)]
        foreign = [each for each in let if not rules.item(self._rules.listed(each))]
        if let:
            told = self._rule((foreign or let)[-1])
            return Culprit(GATEWAY, "let through by {0}{1}".format(told, ADDED * bool(foreign)))
        own = [each for each in self._rises() if each.chain.startswith("IPMASQ-") and each.target == "ACCEPT"]
        if own:
            return Culprit(GATEWAY, "let through by {0}".format(_legacy_rule(own[-1])))
        return Culprit(GATEWAY, "no rule of this gateway stops it")

    def refused(self) -> _Found:
        found = self._ended(self._end) if self._end and not _is_own(self._end) else self._rose(counters.STOPS)
        return found if found and found.by == OTHER else self.passed()

    def unheard(self) -> _Found:
        """Only a rule of somebody else stops the packet in any case, or changes it so that one of ours does."""
        found = self._ended(self._end) if self._end else self._rose_elsewhere()
        return found if found and found.by == OTHER else None

    def spent(self) -> _Found:
        """Our rule may stop it, and translation may drop it; what does not get that far is lost for another reason."""
        if self._end or not self._flight or self._evidence.shared or self._rose(counters.STOPS):
            return self.unheard()
        return None if self._flight.reached("forward", "postrouting") else self._by_trace()

    def _filtering(self) -> t.List[Event]:
        """The rules that decide whether it passes, without those that translate it later."""
        told = self._flight.events if self._flight else []
        decided = next((at for at, each in enumerate(told) if each.ours and each.chain in ("forward", "input")), None)
        return [each for each in told[:decided] if each.kind == "rule" and not each.ours]

    # --- Filters ----------------------------------------------------------------------------------------------------

    def _ended(self, end: Event) -> Culprit:
        if not _is_own(end):
            return Culprit(OTHER, "{0} by {1}".format(self._verb(end), self._rule(end)))
        earlier = self._changed() or self._rerouted()
        if earlier:
            return Culprit(earlier.by, "{0}; then dropped by {1}".format(earlier.words, self._rule(end)))
        return Culprit(GATEWAY, _own(self._rules.listed(end), "{0} by {1}".format(self._verb(end), self._rule(end))))

    def _verb(self, end: Event) -> str:
        if end.verdict == "queue":
            return "handed to a program"
        if end.verdict == "take":
            return "taken away"
        return "rejected" if "reject" in self._rules.text(end).lower().split() else "dropped"

    def _changed(self) -> _Found:
        """What translates a packet, or keeps it from being translated; ours come last."""
        met = [each for each in self._events if each.kind == "rule" and each.handle and not _is_own(each)]
        for each in met:
            text = self._rules.text(each)
            if UNTRACKED.search(text):
                return Culprit(OTHER, "{0} because of {1}".format(UNTRANSLATED, self._rule(each)))
            if NAT_WORDS.search(text):
                return Culprit(OTHER, "translated by {0}".format(self._rule(each)))
        for rise in self._rises():
            if not rise.chain.startswith("IPMASQ-") and rise.target in counters.UNTRACKED | counters.CHANGES:
                if rise.target in counters.CHANGES:
                    return Culprit(OTHER, "translated by {0}".format(_legacy_rule(rise)))
                if rise.target == "NOTRACK" or "--notrack" in rise.text:
                    return Culprit(OTHER, "{0} because of {1}".format(UNTRANSLATED, _legacy_rule(rise)))
        return None

    def _rises(self) -> t.List[counters.Rose]:
        family = self._case.packet.family
        before, after = self._evidence.before.get(family), self._evidence.after.get(family)
        return counters.rose(before, after, self._case.packet) if before is not None and after else []

    def _rose(self, targets: t.Collection[str]) -> _Found:
        for rise in self._rises():
            if rise.target in targets:
                own = rise.chain.startswith("IPMASQ-")
                verb = "rejected" if rise.target == "REJECT" else "dropped"
                words = "{0} by {1}".format(verb, _legacy_rule(rise))
                earlier = (self._changed() or self._rerouted()) if own else None
                if earlier:
                    return Culprit(earlier.by, "{0}; then {1}".format(earlier.words, words))
                return Culprit(GATEWAY, _own(rise.text, words)) if own else Culprit(OTHER, words)
        return None

    def _rose_elsewhere(self) -> _Found:
        """What stops a packet, if no rule of ours may have done it, too."""
        own = any(each.chain.startswith("IPMASQ-") and each.target in counters.STOPS for each in self._rises())
        return None if own else self._rose(counters.STOPS)

    # --- Rules in words ---------------------------------------------------------------------------------------------

    def _rule(self, event: Event) -> str:
        where = "chain {0} of table {1} {2}".format(event.chain, event.family, event.table)
        if event.kind == "policy":
            return "the policy of " + where
        text, key = self._rules.text(event), rules.item(self._rules.listed(event), self._at(event))
        if not key:
            return "{0} (rule: {1})".format(where, text)
        return "{0} ({1}, rule: {2})".format(rules.in_words(key), where, text)

    def _at(self, event: Event) -> Packet:
        """The packet as it is at a rule: the kernel shows it where it enters a base chain."""
        packet = self._case.packet
        for each in self._flight.events if self._flight else ():
            packet = each.packet or packet
            if each is event:
                break
        return packet

    # --- The kernel -------------------------------------------------------------------------------------------------

    def _asked(self) -> routing.Asked:
        """The packet as it asks for its way, after translation."""
        asks, mark = self._case.packet, 0
        for each in self._flight.events if self._flight else ():
            asks, mark = each.packet or asks, each.mark or mark
            if each.ours and each.chain == "prerouting":
                break
        return routing.Asked(asks, self._case.place, mark)

    def _unrouted(self) -> _Found:
        case = self._asked()
        packet, way = case.packet, routing.way(case, self._host)
        if way and way.kind == "local":
            return Culprit(HOST, "delivered to this host itself, by {0}".format(way.words))
        if not way or way.kind != "unicast":
            words = "by {0}".format(way.words) if way else "by any route"
            return Culprit(HOST, "not routed to {0} {1}".format(packet.target, words))
        key = "net.ipv{0}.conf.{1}.forwarding".format(packet.version, case.place)
        if self._switch(key) == "0":
            return Culprit(HOST, "not forwarded, as {0} is 0".format(key))
        refused = routing.refused(case, self._host)
        if not refused:
            return None
        words = self._reverse(case) or "not routed to {0} ({1})".format(packet.target, refused)
        return Culprit(HOST, words)

    def _switch(self, key: str) -> str:
        return (self._host.read("/proc/sys/{0}".format(key.replace(".", "/"))) or "").strip()

    def _reverse(self, case: routing.Asked) -> str:
        """Whether the kernel looks for the source where the packet did not come from; it has no rp_filter for IPv6."""
        back = replace(case.packet, source=case.packet.target, target=case.packet.source)
        way = routing.way(routing.Asked(back, case.place, case.mark), self._host)
        switches = {key: self._switch(key) for key in map(RP_FILTER.format, ("all", case.place))}
        key = max(switches, key=lambda each: switches[each])
        strict, there = switches[key] == "1", way and way.kind == "unicast"
        if case.packet.version == 6 or switches[key] not in ("1", "2") or (there and not strict):
            return ""
        words = way.words if way else "no route"
        return "dropped by rp_filter ({0} is {1}), because packets for {2} leave through {3}".format(
            key, switches[key], case.packet.source, words
        )

    def _rerouted(self) -> _Found:
        """A route leads elsewhere; there, our rules drop it, for example as it does not belong to that link."""
        way = routing.way(self._asked(), self._host)
        return self._elsewhere(way) if way and way.link else None

    def _led_astray(self) -> _Found:
        way = routing.way(self._asked(), self._host)
        exits = [way.link] if way else list(self._case.wanted)
        taken = (self._taken(name, "egress") for name in exits)
        return (self._elsewhere(way) if way else None) or next(filter(None, taken), None)

    def _elsewhere(self, way: routing.Way) -> _Found:
        # A route with several next hops names no link.
        if not self._case.wanted or way.link in self._case.wanted or (way.kind == "unicast" and not way.link):
            return None
        return Culprit(HOST, "routed to {0} by {1}".format(way.link or way.kind, way.words))

    def _taken(self, place: str, way: str) -> _Found:
        met = self._evidence.filters.get((place, way), ())
        if not met:
            return None
        more = " and {0} more".format(len(met) - 1) * (len(met) > 1)
        return Culprit(HOST, "taken by a filter of tc at the {0} of {1} ({2}{3})".format(way, place, met[0], more))

    def _untracked(self) -> _Found:
        """Connection tracking drops a packet without a word when its table is full."""
        count, most = ((self._host.read(TRACKED.format(name)) or "0").strip() for name in ("count", "max"))
        if int(count) >= int(most) > 0:
            return Culprit(
                HOST, "dropped by connection tracking, whose table is full (nf_conntrack_max is " + most + ")"
            )
        return None


RP_FILTER = "net.ipv4.conf.{0}.rp_filter"
TRACKED = "/proc/sys/net/netfilter/nf_conntrack_{0}"


def _own(listed: str, words: str) -> str:
    """What a rule in one of our chains has done."""
    key = rules.item(listed)
    if not key:
        return words + ADDED
    return "{0}; {1}".format(UNMET, words) if key[0] == "guard" else words


def _is_own(event: Event) -> bool:
    return event.table.startswith("ipmasq") or event.chain.startswith("IPMASQ-")


def _legacy_rule(rise: counters.Rose) -> str:
    where = "chain {0} of table {1}".format(rise.chain, rise.table)
    if not rise.text:
        return "the policy of {0} (iptables-legacy)".format(where)
    key, text = rules.item(rise.text), rules.bare(rise.text.partition(rise.chain + " ")[2])
    if not key:
        return "{0} (iptables-legacy, rule: {1})".format(where, text)
    return "{0} ({1}, iptables-legacy, rule: {2})".format(rules.in_words(key), where, text)
