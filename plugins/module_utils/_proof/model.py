# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.
"""What the stages of a proof hand to each other, as frozen values."""

from __future__ import annotations

import functools
import typing as t
from dataclasses import dataclass, field

from .._base.net import family_of, network
from .._base.values import is_private

if t.TYPE_CHECKING:  # pragma: no cover
    from .packets import Packet
    from .questions import Question

#: The kind of conversations that only show that an interface is alive, and are not reported.
ALIVE = "alive"
HOLDS, BROKEN, UNMEASURABLE = "holds", "broken", "unmeasurable"
FAMILY_NAMES = {"ip": "IPv4", "ip6": "IPv6"}


@dataclass(frozen=True)
class Come:
    """A packet that comes out of an interface of the host. An empty field stands for any value."""

    places: t.Tuple[str, ...]
    sources: t.Tuple[str, ...] = ()  # networks and addresses
    targets: t.Tuple[str, ...] = ()
    dport: int = 0
    mss: int = 0  # at most; -N: exactly N

    def fits(self, place: str, packet: Packet) -> bool:
        return (
            place in self.places
            and within(packet.source, self.sources)
            and within(packet.target, self.targets)
            and self.dport in (0, packet.dport)
            and mss_fits(self.mss, packet.mss)
        )


def within(address: str, networks: t.Sequence[str]) -> bool:
    """Whether an address is in one of the networks; without networks, any address is."""
    if not networks:
        return True
    single = network(address)
    number, longest = int(single.network_address), single.max_prefixlen
    found = _index(tuple(networks))
    return any(
        (single.version, length, number >> (longest - length)) in found
        for version, length in found[None]
        if version == single.version
    )


@functools.lru_cache(maxsize=64)
def _index(networks: t.Tuple[str, ...]) -> t.Mapping[t.Any, t.Any]:
    """Networks by version, length and leading bits: a LAN may have 10,000 of them."""
    parsed = [network(each) for each in networks]
    found: t.Dict[t.Any, t.Any] = {
        (each.version, each.prefixlen, int(each.network_address) >> (each.max_prefixlen - each.prefixlen)): True
        for each in parsed
    }
    found[None] = {(each.version, each.prefixlen) for each in parsed}
    return found


def mss_fits(wanted: int, seen: int) -> bool:
    return not wanted or (seen == -wanted if wanted < 0 else 0 < seen <= wanted)


@dataclass(frozen=True)
class Step:
    """What is sent into an interface, and what has to come out of another.

    ``packet`` None: the answer to what came out in the step before, sent into where that was.
    """

    at: str = ""
    packet: t.Optional[Packet] = None
    come: t.Optional[Come] = None  # None: what a client takes for the answer to its first packet
    mss: int = 0  # of the answer
    most: int = 0  # what the answer's MSS may be when it gets back
    error: t.Tuple[int, ...] = ()  # instead of an answer: type and code of an ICMP error about what came out
    same_source: bool = False  # as what came out in the first step
    elsewhere: t.Tuple[Come, ...] = ()  # what is as good, but shows nothing: the routes may prefer another WAN


@dataclass(frozen=True)
class Want:
    """What an answer has to tell: at least one of the values, and no other; without values, nothing."""

    word: str
    values: t.Tuple[str, ...] = ()
    networks: t.Tuple[str, ...] = ()  # addresses in them do as well
    every: bool = False  # all of the values

    def fits(self, found: t.Sequence[str]) -> bool:
        if self.every:
            return set(found) == set(self.values)
        known = [each in self.values or (bool(self.networks) and within(each, self.networks)) for each in found]
        return bool(known) == bool(self.values or self.networks) and all(known)


@dataclass(frozen=True)
class Promise:
    """One sentence of the declaration. Either every step holds, or, with ``never``, nothing of the kind comes out."""

    kind: str
    name: str
    items: t.Tuple[str, ...] = ()
    steps: t.Tuple[Step, ...] = ()
    never: t.Tuple[Come, ...] = ()
    into: t.Tuple[str, ...] = ()  # with never: interfaces that have to be alive, or silence says nothing
    hops: t.Tuple[t.Tuple[str, str], ...] = ()  # interface and address of neighbours that have to answer ARP or NDP
    lacks: str = ""  # why it cannot be measured, known beforehand
    excuse: str = ""  # why silence may be right
    shortage: str = ""  # what clients may have used up, so that what begins a flow may be stopped
    quiet: bool = False  # with never: a refusal breaks it, too, unless a rule of somebody else makes it
    yields: str = ""  # why it is not broken by anybody but this gateway
    asks: t.Optional[Question] = None  # of a service of the gateway itself, in place of steps
    wants: t.Tuple[Want, ...] = ()  # in its answer
    slow: bool = False  # whether it may take seconds to answer


@dataclass(frozen=True)
class Link:
    name: str
    up: bool = False
    ethernet: bool = True  # its neighbours are found by ARP and NDP
    mtu: int = 1500
    header: int = 0  # bytes before the IP packet, as nft's fwd leaves them
    xdp: bool = False  # a program sees what arrives before the kernel builds a packet
    lacks: str = ""  # why nothing can be measured here


class Policy(t.NamedTuple):
    """An IPsec policy of the host, with a network at each end."""

    source: str
    target: str
    way: str  # out, fwd or in
    priority: int = 0  # the lowest decides
    encrypts: bool = True
    protocol: str = ""
    port: int = 0
    link: str = ""
    blocks: bool = False

    @property
    def takes(self) -> bool:
        """Whether a packet that it is for does not go on as it is."""
        return self.encrypts or self.blocks


@dataclass(frozen=True)
class Ground:
    """What the host looks like to a proof."""

    links: t.Mapping[str, Link] = field(default_factory=dict)
    addresses: t.Mapping[str, t.Tuple[str, ...]] = field(default_factory=dict)  # of each interface
    networks: t.Mapping[str, t.Tuple[str, ...]] = field(default_factory=dict)  # of each interface
    deprecated: t.Mapping[str, t.FrozenSet[str]] = field(default_factory=dict)  # of each interface: old IPv6 networks
    leased: t.FrozenSet[str] = frozenset()  # addresses that dnsmasq has given to hosts
    unchosen: t.FrozenSet[t.Tuple[str, str]] = frozenset()  # interface and address: not the kernel's choice
    clients: t.Mapping[t.Tuple[str, str], str] = field(default_factory=dict)  # LAN interface, family: a free address
    loose: t.Mapping[str, bool] = field(default_factory=dict)  # undeclared links; whether they are left to a manager
    others: t.Mapping[t.Tuple[str, str], str] = field(default_factory=dict)  # like clients, of undeclared links
    outside: t.Mapping[str, str] = field(default_factory=dict)  # family: the network of the probe's hosts outside
    ways: t.Mapping[t.Tuple[str, str], t.Tuple[str, str]] = field(default_factory=dict)  # and family or target
    exits: t.Tuple[str, ...] = ()  # links with a default route, declared or not
    # Link and family to the other next hops of its default route, each with its link.
    siblings: t.Mapping[t.Tuple[str, str], t.Tuple[t.Tuple[str, str], ...]] = field(default_factory=dict)
    policies: t.Tuple[Policy, ...] = ()  # of IPsec
    magic: int = 0
    played: t.Tuple[t.Tuple[str, str], ...] = ()  # interface and address: other hosts that the probe plays
    flow: t.Optional[Packet] = None  # real hosts may have its ends, so only this flow is the probe's

    @property
    def everybody(self) -> t.Dict[t.Tuple[str, str], str]:
        """The clients that the probe plays, in LANs and elsewhere."""
        return {**self.clients, **self.others}

    @property
    def own(self) -> t.FrozenSet[str]:
        """Every address of this host."""
        return frozenset(address for addresses in self.addresses.values() for address in addresses)

    def masquerading(self, link: str, family: str, anywhere: bool = False) -> t.Tuple[str, ...]:
        """The sources that the kernel's masquerade may choose for what leaves through a link.

        Without an address of its own to choose, it takes one of another link. Outside, only a public one gets answers,
        or one that this host itself has on lo; ``anywhere``: any.
        """
        own = tuple(each for each in self.addresses.get(link, ()) if family_of(each) == family)
        if any((link, each) not in self.unchosen for each in own):
            return own
        others = (
            each
            for name, listed in self.addresses.items()
            for each in listed
            if family_of(each) == family and (name, each) not in self.unchosen
            if anywhere or name == "lo" or not is_private(each)
        )
        return tuple(dict.fromkeys((*own, *others)))


@dataclass(frozen=True)
class Seen:
    place: str
    packet: Packet


#: Whose fault it is that a promise is broken: rules of this collection, of somebody else, or the kernel's own ways.
GATEWAY, OTHER, HOST = "gateway", "other", "host"


@dataclass(frozen=True)
class Culprit:
    by: str = ""
    words: str = ""  # what it did, and where it is


@dataclass(frozen=True)
class Result:
    kind: str
    name: str
    items: t.Tuple[str, ...]
    outcome: str
    reason: str = ""
    sent: t.Tuple[str, ...] = ()
    seen: t.Tuple[str, ...] = ()
    by: str = ""  # of a broken one: GATEWAY, OTHER, HOST; empty if that is not known
    cause: str = ""


@dataclass(frozen=True)
class Report:
    results: t.Tuple[Result, ...] = ()
    seconds: float = 0.0
    notes: t.Tuple[str, ...] = ()
    untried: str = ""  # why no packet was sent, where there was no time for it

    @property
    def counts(self) -> t.Dict[str, int]:
        return {word: sum(each.outcome == word for each in self.results) for word in (HOLDS, BROKEN, UNMEASURABLE)}

    @property
    def broken(self) -> t.Tuple[Result, ...]:
        return tuple(each for each in self.results if each.outcome == BROKEN)

    def to_json(self) -> t.Dict[str, t.Any]:
        listed = [
            {name: list(value) if isinstance(value, tuple) else value for name, value in vars(each).items()}
            for each in self.results
        ]
        return {"counts": self.counts, "results": listed, "seconds": self.seconds, "notes": list(self.notes)}
