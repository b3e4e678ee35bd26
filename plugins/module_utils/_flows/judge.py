# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Judge connections by one rule set."""

from __future__ import annotations

import functools
import ipaddress
import typing as t
from dataclasses import dataclass, fields

from .._base.net import is_suffix, matches_any, network
from .._base.once import once
from .._base.values import ends_of
from .._rules.model import REACH, VERDICTS, Match
from .index import Packet, Places, RuleIndex

if t.TYPE_CHECKING:
    from .._resolve.resolved import Resolved
    from .._rules.model import Action, Rule, RuleSet
    from .flow import Address, Flow

#: Parts of a match that are evaluated here. Whether any other part matches is unknown.
SEEN = frozenset(
    ("family", "iif", "oif", "source", "destination", "ct_state", "not_destination", "local", "protocol", "port")
    + ("translated", "mapped", "rate", "asked", "not_asked", "asked_port", "mark", "routed")
)
UNSEEN = tuple((each.name, each.default) for each in fields(Match) if each.name not in SEEN)
#: The hook that all packets meet before it is known where they go.
FIRST = "prerouting"
DECIDING = frozenset((*VERDICTS, "return", "jump", "goto", "helper"))


@dataclass(frozen=True)
class Rules:
    """A rule set with what is needed to evaluate it: its gateway and the host's state at that time."""

    ruleset: RuleSet
    gateway: Resolved
    local: t.FrozenSet[str] = frozenset()  # addresses of this host
    links: t.Tuple[t.Tuple[str, str], ...] = ()  # networks and their interfaces
    alone: bool = True  # no other instance exists that might mark a packet
    #: Networks to which routes lead through links of LANs that follow these, with all links of that LAN; and parts of
    #: them to which other routes lead, without any.
    routes: t.Tuple[t.Tuple[str, t.Tuple[str, ...]], ...] = ()


class Judge:
    """Judges by one rule set."""

    def __init__(self, rules: Rules) -> None:
        self.rules, self.local = rules.ruleset.rules, rules.local
        marking = _marking(rules)
        # Forwarded packets never carry the marks of input packets, nor the other way round.
        self._marking = {
            last: [each.name for each in rules.ruleset.chains if each.name in marking and each.hook in (FIRST, last)]
            for last in ("forward", "input")
        }
        self._foreign = 0 if rules.alone else REACH
        self._chains: t.Dict[str, RuleIndex] = {}
        for rule in self.rules:
            self._chains.setdefault(rule.chain, RuleIndex()).add(rule)
        #: Whether undeclared links are closed. There are no rules where there are no chains.
        self.shuts = bool(rules.ruleset.chains) and rules.gateway.undeclared == "drop"
        self.wans = tuple(wan.interface for wan in rules.gateway.wans)
        lans = rules.gateway.lans
        mine = self.wans + tuple(name for lan in lans for name in lan.interfaces)
        inside = [(net, lan.interfaces) for lan in lans for net in lan.networks]
        #: The networks of undeclared links.
        self.others: t.List[t.Tuple[str, t.Tuple[str, ...]]] = [
            (net, (name,)) for net, name in rules.links if not matches_any(mine, name)
        ]
        carried = [(net, (wan.interface,)) for wan in rules.gateway.wans for net in wan.carried_from]
        self._carried = Places(carried)
        #: The links through which a WAN may be carried.
        self._carriers = self.wans + (rules.gateway.around.ways_out if rules.gateway.undeclared == "drop" else ())
        led = [each for each in rules.routes if each[1]]
        elsewhere = [each for each in rules.routes if not each[1]]
        self._places = Places([*inside, *led, *carried, *self.others, *elsewhere])
        self._routed = Places(rules.routes)
        self._sets: t.Dict[int, Places] = {}
        self._suffixes: t.Dict[int, bool] = {}
        self._hidden: t.Dict[int, bool] = {}

    @property
    def networks(self) -> t.Iterator[str]:
        for rule in self.rules:
            yield from rule.match.source
            # Boundaries cannot separate addresses by suffix.
            yield from (net for net in rule.match.destination if not is_suffix(net))
            yield from rule.match.not_destination
            yield from rule.match.asked
            yield from rule.match.not_asked
            yield from (entry for entry in rule.action.to if "/" in entry)
        yield from self._places.networks

    @property
    def near(self) -> t.Iterable[str]:
        """The networks of links that are not WANs, and of what carries a WAN."""
        return self._places.networks

    def chain(self, name: str) -> bool:
        return name in self._chains

    def links_of(self, address: str) -> t.Tuple[str, ...]:
        return self._places.find(address)

    def is_wan(self, link: str) -> bool:
        return matches_any(self.wans, link)

    def right(self, flow: Flow, link: str, certain: bool) -> bool:
        """Whether these rules accept the connection as it is on some path, either for certain or possibly."""
        beyond = (link,) if link else self.wans
        ways_in = self._places.find(flow.asked.source) or beyond or ("",)
        if flow.server in self.local:
            return any(self._enters(flow, iif, certain) for iif in ways_in)
        carriers = () if link else self._carried.find(flow.asked.source) and self._carriers
        ways_out = self._places.find(flow.server) or carriers or beyond or ("",)
        return any(
            any(self._leaves(flow, iif, oif, certain) for oif in ways_out)
            for iif in ways_in
            if self._arrives(flow, iif, certain)
        )

    def _enters(self, flow: Flow, iif: str, certain: bool) -> bool:
        """The same for a connection to the host itself."""
        every = all if certain else any
        asked = Packet(flow, iif, "", flow.asked.destination, flow.asked.destination_port)
        here = self.mark(Packet(flow, iif, "", flow.server, flow.server_port), "input")
        return every(_same_destination(flow, rule) for rule in self.walk("dstnat", asked)) and every(
            not _stops(rule) for rule in self.walk("input", here)
        )

    def _arrives(self, flow: Flow, iif: str, certain: bool) -> bool:
        """The same for what happens before it is known where the packet goes."""
        every = all if certain else any
        asked = Packet(flow, iif, "", flow.asked.destination, flow.asked.destination_port)
        return every(
            (rule.action.target if rule else "") == flow.helper for rule in self.walk("helper", asked)
        ) and every(_same_destination(flow, rule) for rule in self.walk("dstnat", asked))

    def _leaves(self, flow: Flow, iif: str, oif: str, certain: bool) -> bool:
        """The same for what happens after that."""
        every = all if certain else any
        there = self.mark(Packet(flow, iif, oif, flow.server, flow.server_port))
        if not every(not _stops(rule) for rule in self.walk("forward", there)):
            return False
        # Who carries a WAN translates its packets, or nobody does.
        if iif in self._carried.find(flow.asked.source):
            return True
        return every(self._same_source(flow, rule) for rule in self.walk("srcnat", there._replace(iif="")))

    def walk(self, name: str, packet: Packet) -> t.List[t.Optional[Rule]]:
        """The rules that may decide about a packet, and None if the chain may end without a verdict; one entry if all
        is known.
        """
        found: t.List[t.Optional[Rule]] = []
        chain = self._chains.get(name)
        for rule in chain.about(packet) if chain else ():
            holds = self._holds(rule.match, packet)
            kind, action = rule.action.kind, rule.action
            if holds is False or kind not in DECIDING:
                continue
            if kind == "return":
                ends: t.List[t.Optional[Rule]] = [None]
            elif kind in ("jump", "goto"):
                ends = self.walk(action.target, packet)
            else:
                ends = [rule]
            if kind == "jump" and None in ends:
                found += [end for end in ends if end]
                continue
            found += ends
            if holds:
                return found
        return found + [None]

    def mark(self, packet: Packet, hook: str = "forward") -> Packet:
        """The packet with the marks that our rules set before filtering."""
        if not self._marking[hook] and not self._foreign:
            return packet
        marked, unsure = 0, self._foreign
        for name in self._marking[hook]:
            for bit, sure in self._marks(name, packet, True):
                marked, unsure = (marked | bit, unsure & ~bit) if sure else (marked, unsure | (bit & ~marked))
        return packet._replace(marked=marked, unsure=unsure)

    def _marks(self, name: str, packet: Packet, certain: bool) -> t.Iterator[t.Tuple[int, bool]]:
        chain = self._chains.get(name)
        for rule in chain.about(packet) if chain else ():
            holds, kind = self._holds(rule.match, packet), rule.action.kind
            if holds is False:
                continue
            if kind == "mark":
                yield rule.action.size, certain and holds is True
            elif kind in ("jump", "goto"):
                yield from self._marks(rule.action.target, packet, certain and holds is True)
            if kind in VERDICTS + ("return", "goto"):
                if holds:
                    return
                certain = False

    def _holds(self, match: Match, packet: Packet) -> t.Optional[bool]:
        """Whether a match that suits the packet's path (see _suits) holds; None if unknown."""
        flow = packet.flow
        # Most matches fail here.
        if match.source and not self._in(match.source, flow.asked.source):
            return False
        suffix = bool(match.destination) and self._suffix(match.destination)
        if not (
            (not match.destination or suffix or self._in(match.destination, packet.to))
            and (not match.port or any(first <= packet.port <= last for first, last in match.port))
            and (not match.translated or flow.redirected)
            and (not match.mapped or flow.mapped)
            and (not match.asked or self._in(match.asked, flow.asked.destination))
            and not (match.not_asked and self._in(match.not_asked, flow.asked.destination))
            and (not match.asked_port or match.asked_port[0] <= flow.asked.destination_port <= match.asked_port[1])
            and (not match.local or packet.to in self.local or flow.redirected)
            and not (match.not_destination and self._in(match.not_destination, packet.to))
        ):
            return False
        if match.mark:
            bits, asked = match.mark
            if not asked & packet.unsure and asked & packet.marked != bits:
                return False
        unseen = suffix or (match.mark and match.mark[1] & packet.unsure) or self._hides(match)
        unseen = unseen or (match.routed and packet.iif not in self._routed.find(flow.asked.source))
        return None if unseen else True

    def _hides(self, match: Match) -> bool:
        """Whether the match depends on what a connection does not show."""
        known = self._hidden.get(id(match))
        if known is None:
            known = self._hidden[id(match)] = any(getattr(match, name) != default for name, default in UNSEEN)
        return known

    def _suffix(self, networks: t.Tuple[str, ...]) -> bool:
        if id(networks) not in self._suffixes:
            self._suffixes[id(networks)] = any(is_suffix(net) for net in networks)
        return self._suffixes[id(networks)]

    def _in(self, networks: t.Tuple[str, ...], address: str) -> bool:
        if len(networks) == 1:
            (version, number), (of, first, last) = _number(address), _span(networks[0])
            return version == of and first <= number <= last
        # There may be 20,000 of them; the tuple lives as long as the rules.
        places = self._sets.get(id(networks))
        if not places:
            places = self._sets[id(networks)] = Places([(net, ("",)) for net in networks])
        return bool(places.find(address))

    def _same_source(self, flow: Flow, rule: t.Optional[Rule]) -> bool:
        if not rule or rule.action.kind == "accept":
            return flow.seen_source == flow.asked.source
        action, seen = rule.action, flow.seen_source
        if action.kind == "netmap":
            return seen == _mapped(flow.asked.source, action.to[0])
        if action.kind == "hairpin":
            return seen == flow.asked.destination or seen in self.local
        if action.kind == "masquerade" and seen not in self.local:
            return False
        if action.kind == "snat" and not any(_between(entry, seen) for entry in action.to):
            return False
        return _fits(action, flow)


#: A run asks about the rules of each side twice: what a rollback would end, and what the change itself ends.
judge_of = once(Judge)


def _marking(rules: Rules) -> t.Set[str]:
    """The chains from which marking rules can be reached."""
    found = {rule.chain for rule in rules.ruleset.rules if rule.action.kind == "mark"}
    jumps = [(rule.chain, rule.action.target) for rule in rules.ruleset.rules if rule.action.kind in ("jump", "goto")]
    before = -1
    while before != len(found):
        before = len(found)
        found.update(chain for chain, target in jumps if target in found)
    return found


@functools.lru_cache(maxsize=1 << 12)
def _number(address: str) -> t.Tuple[int, int]:
    parsed = ipaddress.ip_address(address)
    return parsed.version, int(parsed)


@functools.lru_cache(maxsize=1 << 16)
def _span(net: str) -> t.Tuple[int, int, int]:
    """The IP version of a network, and its first and last address."""
    parsed = network(net)
    return parsed.version, int(parsed.network_address), int(parsed.broadcast_address)


def _stops(rule: t.Optional[Rule]) -> bool:
    return rule is not None and rule.action.kind in ("drop", "reject")


def _same_destination(flow: Flow, rule: t.Optional[Rule]) -> bool:
    if not rule or rule.action.kind not in ("dnat", "netmap"):
        return not flow.redirected
    action = rule.action
    if action.kind == "netmap":
        return flow.server == _mapped(flow.asked.destination, action.to[0])
    port = flow.asked.destination_port
    if action.ports:
        port = action.ports[0] + (port - rule.match.port[0][0] if action.shift else 0)
    return flow.server in action.to and flow.server_port == port


def _fits(action: Action, flow: Flow) -> bool:
    """Whether the outside port is in the action's range."""
    return not action.ports or action.ports[0] <= flow.answer.destination_port <= action.ports[1]


def _between(entry: str, address: str) -> bool:
    first, last = (t.cast("Address", ipaddress.ip_address(end)) for end in ends_of(entry))
    asked = t.cast("Address", ipaddress.ip_address(address))
    return first.version == asked.version and bool(first <= asked <= last)


def _mapped(address: str, net: str) -> str:
    """The address with the same host number in another network."""
    parsed = network(net)
    return str(parsed.network_address + (int(ipaddress.ip_address(address)) & int(parsed.hostmask)))
