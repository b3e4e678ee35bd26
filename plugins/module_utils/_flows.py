# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Find the connections that began under other rules and are wrong under the new ones.

Only the first packet of a connection passes the NAT rules and most of the filter; conntrack repeats that decision for
the rest. After a change, each known connection is therefore judged as if it began now: do the old rules explain it,
that is, would they accept and translate it as it is, and would the new rules? A connection that only the old rules
explain is wrong and must be forgotten, so that it starts again. A connection that neither explains belongs to somebody
else: it was translated by Docker, or a VPN carries it.

conntrack does not record interfaces. Old rules explain a connection if they do so on any path through the gateway; new
rules contradict it only if they do so on every path. What a connection does not show (an IPsec policy, a mark) speaks
against forgetting it: for the old rules it explains nothing, for the new ones everything.
"""

from __future__ import annotations

import functools
import ipaddress
import re
import typing as t
from bisect import bisect_right
from dataclasses import dataclass, fields

from ._netlink import Entry
from ._rules import REACH, VERDICTS, Match, is_suffix, matches_name, network
from ._values import ends_of

if t.TYPE_CHECKING:  # pragma: no cover
    from ._intent.gateway import Gateway
    from ._rules import Action, Rule, RuleSet

Address = t.Any  # ipaddress.IPv4Address or IPv6Address

#: The kernel's numbers for names used in rules.
PROTOCOLS = {
    1: "icmp", 2: "igmp", 6: "tcp", 17: "udp", 33: "dccp", 41: "ipv6", 47: "gre", 50: "esp", 51: "ah", 58: "icmpv6",
    112: "vrrp", 132: "sctp", 136: "udplite",
}  # fmt: skip
NUMBERS = {name: number for number, name in PROTOCOLS.items()}
#: Parts of a match that are evaluated here. Whether any other part matches is unknown.
SEEN = frozenset(
    ("family", "iif", "oif", "source", "destination", "ct_state", "not_destination", "local", "protocol", "port")
    + ("translated", "rate", "asked", "not_asked", "asked_port", "mark")
)
UNSEEN = tuple((each.name, each.default) for each in fields(Match) if each.name not in SEEN)

DECIDING = frozenset((*VERDICTS, "return", "jump", "goto", "helper"))


@dataclass(frozen=True)
class End:
    """One direction of a connection. Ports are 0 if the protocol has none."""

    source: str
    destination: str
    source_port: int = 0
    destination_port: int = 0


@dataclass(frozen=True)
class Flow:
    """A connection as conntrack knows it: original direction and reply direction."""

    protocol: str
    asked: End
    answer: End
    icmp_id: str = ""
    helper: str = ""  # the kernel's name of its helper

    @property
    def family(self) -> str:
        return "ip6" if ":" in self.asked.source else "ip"

    @property
    def server(self) -> str:
        return self.answer.source

    @property
    def server_port(self) -> int:
        return self.answer.source_port

    @property
    def seen_source(self) -> str:
        return self.answer.destination

    @property
    def redirected(self) -> bool:
        return (self.asked.destination, self.asked.destination_port) != (self.server, self.server_port)

    @property
    def delete_words(self) -> t.List[str]:
        """The arguments after conntrack(8) -D that identify this connection."""
        words = ["-p", self.protocol, "--orig-src", self.asked.source, "--orig-dst", self.asked.destination]
        if ":" in self.asked.source:
            words = ["-f", "ipv6"] + words
        if self.icmp_id:
            words += ["--icmpv6-id" if self.protocol == "icmpv6" else "--icmp-id", self.icmp_id]
        if self.asked.source_port or self.asked.destination_port:
            words += ["--sport", str(self.asked.source_port), "--dport", str(self.asked.destination_port)]
        return words


def parse(listing: str) -> t.List[Flow]:
    """Parse ``conntrack -L``. Lines without a connection, or of another zone, are skipped."""
    found = []
    for line in listing.splitlines():
        pairs = re.findall(r"\b(src|dst|sport|dport|id)=(\S+)", line)
        starts = [index for index, (name, _value) in enumerate(pairs) if name == "src"]
        if len(starts) != 2 or re.search(r"\bzone[a-z-]*=", line):
            continue
        asked, answer = dict(pairs[: starts[1]]), dict(pairs[starts[1] :])
        helper = re.search(r"\bhelper=(\S+)", line)
        found.append(
            Flow(line.split()[0], _end(asked), _end(answer), asked.get("id", ""), helper.group(1) if helper else "")
        )
    return found


def _end(found: t.Mapping[str, str]) -> End:
    return End(found["src"], found["dst"], int(found.get("sport", 0)), int(found.get("dport", 0)))


def flow_of(entry: Entry, helper: str = "") -> Flow:
    """Convert a kernel entry to the terms of rules."""
    return Flow(
        PROTOCOLS.get(entry.protocol, str(entry.protocol)),
        End(text_of(entry.source), text_of(entry.destination), entry.source_port, entry.destination_port),
        End(
            text_of(entry.answer_source),
            text_of(entry.answer_destination),
            entry.answer_source_port,
            entry.answer_destination_port,
        ),
        helper=helper,
    )


def text_of(address: bytes) -> str:
    return str(ipaddress.ip_address(address))


def entry_of(flow: Flow) -> Entry:
    """Convert back to a kernel entry."""
    source, destination, server, seen = (
        ipaddress.ip_address(address).packed
        for address in (flow.asked.source, flow.asked.destination, flow.server, flow.seen_source)
    )
    number = NUMBERS.get(flow.protocol) or (int(flow.protocol) if flow.protocol.isdigit() else 255)
    asked = (number, source, destination, flow.asked.source_port, flow.asked.destination_port)
    return Entry(*asked, server, seen, flow.answer.source_port, flow.answer.destination_port)


class Far(t.NamedTuple):
    """The end of a connection that is on no known link, and the other end with its interface."""

    far: str
    near: str
    iif: str


@dataclass(frozen=True)
class Rules:
    """A rule set with what is needed to evaluate it: its gateway and the host's state at that time."""

    ruleset: RuleSet
    gateway: Gateway
    local: t.FrozenSet[str] = frozenset()  # addresses of this host
    links: t.Tuple[t.Tuple[str, str], ...] = ()  # networks and their interfaces
    alone: bool = True  # no other instance exists that might mark a packet


class Judges:
    """The old rules (several if the host has had several changes) and the new ones."""

    def __init__(self, old: t.Iterable[Rules], new: Rules) -> None:
        self._old, self._new = [Judge(rules) for rules in old], Judge(new)
        judges = [*self._old, self._new]
        self._local = frozenset(address for judge in judges for address in judge.local)
        #: Whether helpers of connections matter.
        self.helpers = any(judge.chain("helper") for judge in judges)
        self._exact = any(rule.action.kind == "netmap" for judge in judges for rule in judge.rules)
        self._starts = {size: _boundaries(judges, size, self._local) for size in (4, 16)}
        self._ports = _port_classes(judges)
        self._spots: t.Dict[bytes, t.Tuple[int, bool]] = {}
        self._inside: t.Dict[int, bool] = {}
        self._known: t.Dict[t.Any, bool] = {}

    def wrong(self, entry: Entry, helper: str = "", link: str = "") -> bool:
        """Whether only the old rules explain it. Equivalent connections are judged once.

        ``link`` is the link of the end that is in no known network; if empty, any WAN.
        """
        spots = self._spots
        _protocol, source, destination, _port, port, server, seen, server_port, seen_port = entry
        begin = spots.get(source) or self._spot(source)
        end = spots.get(server) or self._spot(server)
        if not (begin[1] or end[1]):
            return False
        asked: t.Any = 0
        if server != destination or server_port != port:
            asked = (destination, port, server, server_port)
        translated: t.Any = 0
        if seen != source:
            where = spots.get(seen) or self._spot(seen)
            exact = (source, seen) if self._exact else None
            translated = (where[0], seen == destination, self._ports[seen_port], exact)
        key = (entry[0], begin[0], end[0], self._ports[port], self._ports[server_port], asked, translated, helper, link)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = self._judge(flow_of(entry, helper), link)
        return known

    def _judge(self, flow: Flow, link: str) -> bool:
        if flow.asked.source in self._local or flow.server in self._local:
            return False  # of this host itself
        if self._new.right(flow, link, certain=False):
            return False
        return any(judge.right(flow, link, certain=True) for judge in self._old)

    def far_end(self, entry: Entry) -> t.Optional[Far]:
        """The end that is in no known network; None if both are known."""
        ends = (entry.answer_source, entry.source)
        for far, near in (ends, ends[::-1]):
            if not self._links_of(text_of(far)):
                names = [name for name in self._links_of(text_of(near)) if not name.endswith("*")]
                return Far(text_of(far), text_of(near), names[0] if names else "")
        return None

    def _links_of(self, address: str) -> t.Tuple[str, ...]:
        found: t.Tuple[str, ...] = ()
        for judge in [self._new, *self._old]:
            found = found or judge.links_of(address)
        return found

    def is_wan(self, link: str) -> bool:
        return self._new.is_wan(link)

    def _spot(self, address: bytes) -> t.Tuple[int, bool]:
        """A number shared by all addresses that the rules cannot distinguish, and whether they are in a LAN."""
        size = len(address)
        number = bisect_right(self._starts[size], int.from_bytes(address, "big")) * 2 + (size == 16)
        if number not in self._inside:
            text = text_of(address)
            self._inside[number] = any(judge.inside(text) for judge in [*self._old, self._new])
        found = self._spots[address] = (number, self._inside[number])
        return found


def _marking(rules: Rules) -> t.Set[str]:
    """The chains from which marking rules can be reached."""
    found = {rule.chain for rule in rules.ruleset.rules if rule.action.kind == "mark"}
    jumps = [(rule.chain, rule.action.target) for rule in rules.ruleset.rules if rule.action.kind in ("jump", "goto")]
    before = -1
    while before != len(found):
        before = len(found)
        found.update(chain for chain, target in jumps if target in found)
    return found


def _boundaries(judges: t.Iterable[Judge], size: int, local: t.Iterable[str]) -> t.List[int]:
    """Where a network of the rules begins or ends in the address space."""
    version, found = (4 if size == 4 else 6), set()
    networks = {net for judge in judges for net in judge.networks}
    networks.update(local)
    for text in networks:
        net = network(text)
        if net.version == version:
            found.add(int(net.network_address))
            found.add(int(net.broadcast_address) + 1)
    for entry in {entry for judge in judges for rule in judge.rules for entry in rule.action.to if "/" not in entry}:
        first, last = (t.cast("Address", ipaddress.ip_address(end)) for end in ends_of(entry))
        if first.version == version:
            found.update((int(first), int(last) + 1))
    return sorted(found)


def _port_classes(judges: t.Iterable[Judge]) -> t.List[int]:
    """For each port, a number shared by all ports that the rules cannot distinguish."""
    starts = {0}
    for judge in judges:
        for rule in judge.rules:
            ports = rule.match.port + tuple(filter(None, (rule.action.ports, rule.match.asked_port)))
            for first, last in ports:
                starts.update((first, last + 1))
    found: t.List[int] = []
    ends = sorted(start for start in starts if 0 < start < 1 << 16) + [1 << 16]
    for number, end in enumerate(ends):
        found += [number] * (end - len(found))
    return found


class Packet(t.NamedTuple):
    """The first packet of a connection at one place on its path."""

    flow: Flow
    iif: str
    oif: str
    to: str
    port: int
    marked: int = 0  # mark bits that our rules have set
    unsure: int = 0  # mark bits that are unknown


class Judge:
    """Judges by one rule set."""

    def __init__(self, rules: Rules) -> None:
        self.rules, self.local = rules.ruleset.rules, rules.local
        marking = _marking(rules)
        # Forwarded packets never carry the marks of input packets.
        hooks = ("prerouting", "forward")
        self._marking = [chain.name for chain in rules.ruleset.chains if chain.hook in hooks and chain.name in marking]
        self._foreign = 0 if rules.alone else REACH
        self._chains: t.Dict[str, _Chain] = {}
        for rule in self.rules:
            self._chains.setdefault(rule.chain, _Chain()).add(rule)
        self.wans = tuple(wan.interface for wan in rules.gateway.wans or ())
        lans = rules.gateway.lans or ()
        mine = self.wans + tuple(name for lan in lans for name in lan.interfaces)
        inside = [(net, lan.interfaces) for lan in lans for net in lan.networks or ()]
        others: t.List[t.Tuple[str, t.Tuple[str, ...]]] = [
            (net, (name,)) for net, name in rules.links if not any(matches_name(pattern, name) for pattern in mine)
        ]
        self._lans, self._places = _Places(inside), _Places(inside + others)
        self._sets: t.Dict[int, _Places] = {}
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

    def chain(self, name: str) -> bool:
        return name in self._chains

    def inside(self, address: str) -> bool:
        return bool(self._lans.find(address))

    def links_of(self, address: str) -> t.Tuple[str, ...]:
        return self._places.find(address)

    def is_wan(self, link: str) -> bool:
        return any(matches_name(pattern, link) for pattern in self.wans)

    def right(self, flow: Flow, link: str, certain: bool) -> bool:
        """Whether these rules accept the connection as it is on some path, either for certain or possibly."""
        beyond = (link,) if link else self.wans
        ways_in = self._places.find(flow.asked.source) or beyond or ("",)
        ways_out = self._places.find(flow.server) or beyond or ("",)
        return any(self._passes(flow, iif, oif, certain) for iif in ways_in for oif in ways_out)

    def _passes(self, flow: Flow, iif: str, oif: str, certain: bool) -> bool:
        every = all if certain else any
        asked = Packet(flow, iif, "", flow.asked.destination, flow.asked.destination_port)
        there = self.mark(Packet(flow, iif, oif, flow.server, flow.server_port))
        return (
            every((rule.action.target if rule else "") == flow.helper for rule in self.walk("helper", asked))
            and every(_same_destination(flow, rule) for rule in self.walk("dstnat", asked))
            and every(not rule or rule.action.kind not in ("drop", "reject") for rule in self.walk("forward", there))
            and every(self._same_source(flow, rule) for rule in self.walk("srcnat", there._replace(iif="")))
        )

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

    def mark(self, packet: Packet) -> Packet:
        """The packet with the marks that our rules set before filtering."""
        if not self._marking and not self._foreign:
            return packet
        marked, unsure = 0, self._foreign
        for name in self._marking:
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
        suffix = bool(match.destination) and self._suffix(match.destination)
        if not (
            (not match.port or any(first <= packet.port <= last for first, last in match.port))
            and (not match.translated or flow.redirected)
            and (not match.asked or self._in(match.asked, flow.asked.destination))
            and not (match.not_asked and self._in(match.not_asked, flow.asked.destination))
            and (not match.asked_port or match.asked_port[0] <= flow.asked.destination_port <= match.asked_port[1])
            and (not match.local or packet.to in self.local or flow.redirected)
            and (not match.source or self._in(match.source, flow.asked.source))
            and (not match.destination or suffix or self._in(match.destination, packet.to))
            and not (match.not_destination and self._in(match.not_destination, packet.to))
        ):
            return False
        if match.mark:
            bits, asked = match.mark
            if not asked & packet.unsure and asked & packet.marked != bits:
                return False
        unseen = suffix or (match.mark and match.mark[1] & packet.unsure) or self._hides(match)
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
            return bool(_parsed(address) in network(networks[0]))
        # There may be 20,000 of them; the tuple lives as long as the rules.
        places = self._sets.get(id(networks))
        if not places:
            places = self._sets[id(networks)] = _Places([(net, ("",)) for net in networks])
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


class _Chain:
    """Rules in order, with an index, because few of 10,000 items concern one packet."""

    def __init__(self) -> None:
        self._all: t.List[Rule] = []
        self._general: t.List[int] = []
        self._special: t.Dict[t.Any, t.List[int]] = {}
        # Of the general ones, by path: their places, and themselves.
        self._suitable: t.Dict[t.Any, t.Tuple[t.List[int], t.List[Rule]]] = {}

    def add(self, rule: Rule) -> None:
        match = rule.match
        if any(is_suffix(net) for net in match.destination):
            key: t.Any = None
        elif len(match.destination) == 1 and network(match.destination[0]).num_addresses == 1:
            key = (0, match.destination[0].partition("/")[0])
        elif len(match.source) == 1 and network(match.source[0]).num_addresses == 1:
            key = (1, match.source[0].partition("/")[0])
        elif len(match.port) == 1 and match.port[0][0] == match.port[0][1]:
            key = (2, match.port[0][0])
        else:
            key = None
        (self._general if key is None else self._special.setdefault(key, [])).append(len(self._all))
        self._all.append(rule)

    def about(self, packet: Packet) -> t.Sequence[Rule]:
        """The rules that suit the packet's path and may concern its ends."""
        path = (packet.flow.family, packet.flow.protocol, packet.iif, packet.oif)
        known = self._suitable.get(path)
        if known is None:
            places = [each for each in self._general if _suits(self._all[each].match, path)]
            known = self._suitable[path] = (places, [self._all[each] for each in places])
        special: t.List[int] = []
        if self._special:
            for key in ((0, packet.to), (1, packet.flow.asked.source), (2, packet.port)):
                special += [each for each in self._special.get(key, ()) if _suits(self._all[each].match, path)]
        return [self._all[place] for place in sorted(known[0] + special)] if special else known[1]


def _suits(match: Match, path: t.Tuple[str, str, str, str]) -> bool:
    """Whether the match may hold for new packets of this family and protocol, from one interface to the other."""
    family, protocol, iif, oif = path
    return (
        match.family in ("", family)
        and match.protocol in ("", protocol)
        and (not match.ct_state or "new" in match.ct_state)
        and _named(match.iif, iif)
        and _named(match.oif, oif)
    )


class _Places:
    """Networks and their owners; the longest matching prefix wins."""

    def __init__(self, listed: t.Iterable[t.Tuple[str, t.Tuple[str, ...]]]) -> None:
        self._known: t.Dict[t.Tuple[int, int, int], t.Tuple[str, ...]] = {}
        self.networks: t.List[str] = []
        for text, names in listed:
            net = network(text)
            self.networks.append(text)
            self._known.setdefault((net.version, net.prefixlen, int(net.network_address)), names)
        self._lengths = sorted({key[:2] for key in self._known}, reverse=True)
        self._found: t.Dict[str, t.Tuple[str, ...]] = {}

    def find(self, address: str) -> t.Tuple[str, ...]:
        found = self._found.get(address)
        if found is None:
            found = self._found[address] = self._look(ipaddress.ip_address(address))
        return found

    def _look(self, parsed: Address) -> t.Tuple[str, ...]:
        number = int(parsed)
        for version, length in self._lengths:
            if version == parsed.version:
                rest = parsed.max_prefixlen - length
                names = self._known.get((version, length, number >> rest << rest))
                if names is not None:
                    return names
        return ()


@functools.lru_cache(maxsize=1 << 12)
def _parsed(address: str) -> Address:
    return ipaddress.ip_address(address)


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


def _named(patterns: t.Tuple[str, ...], name: str) -> bool:
    """Whether a name matches; a pattern given as the path itself, such as ppp*, matches itself."""
    return not patterns or any(pattern == name or matches_name(pattern, name) for pattern in patterns)


def _between(entry: str, address: str) -> bool:
    first, last = (t.cast("Address", ipaddress.ip_address(end)) for end in ends_of(entry))
    asked = t.cast("Address", ipaddress.ip_address(address))
    return first.version == asked.version and bool(first <= asked <= last)


def _mapped(address: str, net: str) -> str:
    """The address with the same host number in another network."""
    parsed = network(net)
    return str(parsed.network_address + (int(ipaddress.ip_address(address)) & int(parsed.hostmask)))
