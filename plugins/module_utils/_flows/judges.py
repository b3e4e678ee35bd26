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

import ipaddress
import typing as t
from bisect import bisect_right

from .._base.net import network
from .._base.values import ends_of
from .flow import flow_of, text_of
from .judge import judge_of

if t.TYPE_CHECKING:
    from .._base.netlink import Entry
    from .flow import Address, Flow
    from .judge import Judge, Rules


class Far(t.NamedTuple):
    """The end of a connection that is on no known link, and the other end with its interface."""

    far: str
    near: str
    iif: str


class Judges:
    """The old rules (several if the host has had several changes) and the new ones."""

    def __init__(self, old: t.Iterable[Rules], new: Rules) -> None:
        self._old, self._new = [judge_of(rules) for rules in old], judge_of(new)
        judges = [*self._old, self._new]
        #: Whether links that are neither WAN nor LAN are closed now, and were not before.
        self.closing = self._new.shuts and not all(judge.shuts for judge in self._old)
        #: The addresses of this host.
        self.local = frozenset(address for judge in judges for address in judge.local)
        #: Whether helpers of connections matter.
        self.helpers = any(judge.chain("helper") for judge in judges)
        self._exact = any(rule.action.kind == "netmap" for judge in judges for rule in judge.rules)
        self._starts = {size: _boundaries(judges, size, self.local) for size in (4, 16)}
        self._ports = _port_classes(judges)
        self._spots: t.Dict[bytes, t.Tuple[int, bool]] = {}
        self._concerned: t.Dict[int, bool] = {}
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
        if flow.asked.source in self.local:
            return False  # of this host itself
        if self._new.right(flow, link, certain=False):
            return False
        return any(judge.right(flow, link, certain=True) for judge in self._old)

    def far_end(self, entry: Entry) -> t.Optional[Far]:
        """The end that is in no known network; None if both are known, or if the other end carries a WAN."""
        ends = (entry.answer_source, entry.source)
        for far, near in (ends, ends[::-1]):
            if not self._links_of(text_of(far)) and text_of(far) not in self.local:
                links = self._links_of(text_of(near))
                if any(self.is_wan(name.rstrip("*")) for name in links):
                    return None
                names = [name for name in links if not name.endswith("*")]
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
        """A number shared by all addresses that the rules cannot distinguish, and whether the rules concern them: in a
        network of a link that is not a WAN, of what carries a WAN, or of this host.
        """
        size = len(address)
        number = bisect_right(self._starts[size], int.from_bytes(address, "big")) * 2 + (size == 16)
        if number not in self._concerned:
            text = text_of(address)
            self._concerned[number] = text in self.local or bool(self._links_of(text))
        found = self._spots[address] = (number, self._concerned[number])
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
