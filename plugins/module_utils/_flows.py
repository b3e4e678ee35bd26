# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Connections that began under other rules, and which of them the new rules make wrong.

Only the first packet of a connection meets the rules of NAT and most of the filter; conntrack repeats for the others
what was decided then. So after a change each known connection is asked again, as if it began now: whether it would be
let through, and translated as it is. One that would not be is wrong, and has to be forgotten to begin anew.

A connection is called wrong only where every way through the gateway says so, as conntrack does not tell interfaces.
"""

from __future__ import annotations

import ipaddress
import re
import typing as t
from dataclasses import dataclass

from ._rules import matches_name
from ._values import ends_of

if t.TYPE_CHECKING:  # pragma: no cover
    from ._intent import Gateway
    from ._rules import Action, Match, Rule, RuleSet

Address = t.Any  # ipaddress.IPv4Address or IPv6Address


@dataclass(frozen=True)
class End:
    """One direction of a connection. Ports are 0 where the protocol has none."""

    source: str
    destination: str
    source_port: int = 0
    destination_port: int = 0


@dataclass(frozen=True)
class Flow:
    """A connection as conntrack knows it: as it was asked for, and as answers come."""

    protocol: str
    asked: End
    answer: End
    icmp_id: str = ""
    helper: str = ""  # the kernel's name of the one that reads along

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
        """What conntrack(8) needs after -D to mean this connection and no other."""
        words = ["-p", self.protocol, "--orig-src", self.asked.source, "--orig-dst", self.asked.destination]
        if ":" in self.asked.source:
            words = ["-f", "ipv6"] + words
        if self.icmp_id:
            words += ["--icmpv6-id" if self.protocol == "icmpv6" else "--icmp-id", self.icmp_id]
        if self.asked.source_port or self.asked.destination_port:
            words += ["--sport", str(self.asked.source_port), "--dport", str(self.asked.destination_port)]
        return words


def parse(listing: str) -> t.List[Flow]:
    """The lines of ``conntrack -L``. One that is none of a connection is passed over."""
    found = []
    for line in listing.splitlines():
        pairs = re.findall(r"\b(src|dst|sport|dport|id)=(\S+)", line)
        starts = [index for index, (name, _value) in enumerate(pairs) if name == "src"]
        if len(starts) != 2:
            continue
        asked, answer = dict(pairs[: starts[1]]), dict(pairs[starts[1] :])
        helper = re.search(r"\bhelper=(\S+)", line)
        found.append(
            Flow(line.split()[0], _end(asked), _end(answer), asked.get("id", ""), helper.group(1) if helper else "")
        )
    return found


def _end(fields: t.Mapping[str, str]) -> End:
    return End(fields["src"], fields["dst"], int(fields.get("sport", 0)), int(fields.get("dport", 0)))


def wrong(flows: t.Iterable[Flow], ruleset: RuleSet, gateway: Gateway, local: t.Iterable[str]) -> t.List[Flow]:
    """The flows of the gateway's LANs that these rules would not let through, or would translate differently.

    ``local`` are the addresses of this host.
    """
    judge = _Judge(ruleset, gateway, frozenset(local))
    return [flow for flow in flows if judge.concerns(flow) and not judge.right(flow)]


class _Judge:
    def __init__(self, ruleset: RuleSet, gateway: Gateway, local: t.FrozenSet[str]) -> None:
        self._local = local
        self._chains: t.Dict[str, t.List[Rule]] = {}
        for rule in ruleset.rules:
            self._chains.setdefault(rule.chain, []).append(rule)
        self._lans = [
            ([ipaddress.ip_network(net) for net in lan.networks or ()], lan.interfaces) for lan in gateway.lans or ()
        ]
        self._wans = tuple(wan.interface for wan in gateway.wans or ())
        self._networks: t.Dict[str, t.Any] = {}

    def concerns(self, flow: Flow) -> bool:
        """Whether it goes through this gateway, from a LAN or to one."""
        own = flow.asked.source in self._local or flow.server in self._local
        return not own and bool(self._behind(flow.asked.source) or self._behind(flow.server))

    def right(self, flow: Flow) -> bool:
        ways_in = self._behind(flow.asked.source) or self._wans
        ways_out = self._behind(flow.server) or self._wans
        return any(self._passes(flow, iif, oif) for iif in ways_in for oif in ways_out)

    def _behind(self, address: str) -> t.Tuple[str, ...]:
        """The interfaces of the LAN that an address is in."""
        parsed = ipaddress.ip_address(address)
        for networks, interfaces in self._lans:
            if any(parsed in network for network in networks):
                return interfaces
        return ()

    def _passes(self, flow: Flow, iif: str, oif: str) -> bool:
        helper = self._walk("helper", flow, iif, "", flow.asked.destination, flow.asked.destination_port)
        if (helper.action.target if helper else "") != flow.helper:
            return False
        redirect = self._walk("dstnat", flow, iif, "", flow.asked.destination, flow.asked.destination_port)
        if not self._same_destination(flow, redirect):
            return False
        verdict = self._walk("forward", flow, iif, oif, flow.server, flow.server_port)
        if verdict and verdict.action.kind in ("drop", "reject"):
            return False
        return self._same_source(flow, self._walk("srcnat", flow, "", oif, flow.server, flow.server_port))

    def _walk(self, chain: str, flow: Flow, iif: str, oif: str, to: str, port: int) -> t.Optional[Rule]:
        """The rule that decides about the first packet, None if the chain comes to its end."""
        for rule in self._chains.get(chain, ()):
            if not self._holds(rule.match, flow, iif, oif, to, port):
                continue
            if rule.action.kind == "return":
                return None
            if rule.action.kind == "jump":
                decided = self._walk(rule.action.target, flow, iif, oif, to, port)
                if decided:
                    return decided
            elif rule.action.kind == "goto":
                return self._walk(rule.action.target, flow, iif, oif, to, port)
            elif rule.action.kind not in ("log", "clamp_mss", "set_mss", "expect_nat"):
                return rule
        return None

    def _holds(self, match: Match, flow: Flow, iif: str, oif: str, to: str, port: int) -> bool:
        family = "ip6" if ":" in flow.asked.source else "ip"
        return (
            match.family in ("", family)
            and _named(match.iif, iif)
            and _named(match.oif, oif)
            and (not match.ct_state or "new" in match.ct_state)
            and match.protocol in ("", flow.protocol)
            and (not match.port or any(first <= port <= last for first, last in match.port))
            and (not match.translated or flow.redirected)
            and not match.ipsec
            and (not match.local or to in self._local or flow.redirected)
            and (not match.source or self._in(match.source, flow.asked.source))
            and (not match.destination or self._in(match.destination, to))
            and not (match.not_destination and self._in(match.not_destination, to))
        )

    def _in(self, networks: t.Tuple[str, ...], address: str) -> bool:
        parsed = ipaddress.ip_address(address)
        return any(parsed in self._network(net) for net in networks)

    def _network(self, text: str) -> t.Any:
        if text not in self._networks:
            self._networks[text] = ipaddress.ip_network(text)
        return self._networks[text]

    def _same_destination(self, flow: Flow, rule: t.Optional[Rule]) -> bool:
        if not rule or rule.action.kind not in ("dnat", "netmap"):
            return not flow.redirected
        action = rule.action
        if action.kind == "netmap":
            return flow.server == _mapped(flow.asked.destination, action.to[0])
        port = flow.asked.destination_port
        if action.ports:
            port = action.ports[0] + (port - rule.match.port[0][0] if action.shift else 0)
        return flow.server in action.to and flow.server_port == port

    def _same_source(self, flow: Flow, rule: t.Optional[Rule]) -> bool:
        if not rule or rule.action.kind == "accept":
            return flow.seen_source == flow.asked.source
        action, seen = rule.action, flow.seen_source
        if action.kind == "netmap":
            return seen == _mapped(flow.asked.source, action.to[0])
        if action.kind == "hairpin":
            return seen == flow.asked.destination or seen in self._local
        if action.kind == "masquerade" and seen not in self._local:
            return False
        if action.kind == "snat" and not any(_between(entry, seen) for entry in action.to):
            return False
        return _fits(action, flow)


def _fits(action: Action, flow: Flow) -> bool:
    """Whether the port outside is one of those to take from."""
    return not action.ports or action.ports[0] <= flow.answer.destination_port <= action.ports[1]


def _named(patterns: t.Tuple[str, ...], name: str) -> bool:
    """A pattern that the user gave for the way itself, such as ppp*, is its own example."""
    return not patterns or any(pattern == name or matches_name(pattern, name) for pattern in patterns)


def _between(entry: str, address: str) -> bool:
    first, last = (t.cast("Address", ipaddress.ip_address(end)) for end in ends_of(entry))
    asked = t.cast("Address", ipaddress.ip_address(address))
    return first.version == asked.version and bool(first <= asked <= last)


def _mapped(address: str, network: str) -> str:
    """The address of the same number in another network."""
    net = ipaddress.ip_network(network)
    return str(net.network_address + (int(ipaddress.ip_address(address)) & int(net.hostmask)))
