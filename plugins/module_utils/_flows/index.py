# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Find the few of 10,000 rules, and of 20,000 networks, that concern one packet."""

from __future__ import annotations

import ipaddress
import typing as t

from .._base.net import is_suffix, matches_name, network

if t.TYPE_CHECKING:
    from .._base.net import Ports
    from .._rules.model import Match, Rule
    from .flow import Address, Flow


class Packet(t.NamedTuple):
    """The first packet of a connection at one place on its path."""

    flow: Flow
    iif: str
    oif: str
    to: str
    port: int
    marked: int = 0  # mark bits that our rules have set
    unsure: int = 0  # mark bits that are unknown


class RuleIndex:
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
        elif _is_host(match.destination):
            server = match.destination[0].partition("/")[0]
            # One server may have thousands of forwards.
            key = (3, server, match.port[0][0]) if _is_port(match.port) else (0, server)
        elif _is_host(match.source):
            key = (1, match.source[0].partition("/")[0])
        elif _is_port(match.port):
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
            to, port = packet.to, packet.port
            for key in ((0, to), (1, packet.flow.asked.source), (2, port), (3, to, port)):
                special += [each for each in self._special.get(key, ()) if _suits(self._all[each].match, path)]
        return [self._all[place] for place in sorted(known[0] + special)] if special else known[1]


def _is_host(networks: t.Tuple[str, ...]) -> bool:
    return len(networks) == 1 and network(networks[0]).num_addresses == 1


def _is_port(ports: t.Tuple[Ports, ...]) -> bool:
    return len(ports) == 1 and ports[0][0] == ports[0][1]


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


def _named(patterns: t.Tuple[str, ...], name: str) -> bool:
    """Whether a name matches; a pattern given as the path itself, such as ppp*, matches itself."""
    return not patterns or any(pattern == name or matches_name(pattern, name) for pattern in patterns)


class Places:
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
