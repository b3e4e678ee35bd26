# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""How a NAT maps and filters, by RFC 5780. The source of an answer decides; without proof, the verdict is "unknown"."""

from __future__ import annotations

import typing as t

from . import stun
from .talk import question, sight, sight_from
from .wire import Ask

if t.TYPE_CHECKING:  # pragma: no cover
    from .stun import Endpoint
    from .talk import Server, Sight
    from .wire import Port, Wire

UNKNOWN = "unknown"
#: A client whose port is taken outside gets another one for some servers: that says nothing about the NAT.
ATTEMPTS = 2


class Verdict(t.NamedTuple):
    """A class, and why."""

    value: str
    why: str


class Nat(t.NamedTuple):
    mapping: Verdict
    filtering: Verdict
    hairpin: Verdict


class Places(t.NamedTuple):
    """Where a server with two addresses answers: as asked, other address, other port, both."""

    first: Endpoint
    address: Endpoint
    port: Endpoint
    both: Endpoint


class Mapped(t.NamedTuple):
    """Whom the servers saw when one port asked them."""

    port: Port
    seen: t.Mapping[Endpoint, Endpoint]
    problems: t.Mapping[Endpoint, str]


def judge(wire: Wire, servers: t.Sequence[Server]) -> Nat:
    """Servers of one family that answer. Raises OSError without a route."""
    places, why = _second_address(wire, servers)
    mapped, mapping = _map(wire, servers, places)
    filtering, hairpin = _let_in(wire, mapped, places, servers[0].place)
    if places is None:
        filtering = Verdict(UNKNOWN, why)
    return Nat(mapping, filtering, hairpin)


def _second_address(wire: Wire, servers: t.Sequence[Server]) -> t.Tuple[t.Optional[Places], str]:
    """The first server that names another address of its own."""
    port = wire.open(servers[0].version, servers[0].place)
    asks = [question(wire, port, each.place) for each in servers]
    for server, heard in zip(servers, wire.ask(asks)):
        message = sight_from(heard, server.place).message
        other = message.other if message else None
        if other and other.address != server.place.address and (":" in other.address) == (server.version == 6):
            first = server.place
            return Places(first, other._replace(port=first.port), first._replace(port=other.port), other), ""
    return None, "no server has a second address (RFC 5780), which filtering needs"


# --- Mapping ---------------------------------------------------------------------------------------------------------


def _map(wire: Wire, servers: t.Sequence[Server], places: t.Optional[Places]) -> t.Tuple[Mapped, Verdict]:
    for _attempt in range(ATTEMPTS):
        mapped = _ask_all(wire, [each.place for each in servers] + list(places or ()))
        verdict = mapping_of(mapped.port.local, mapped.seen, mapped.problems, places)
        if verdict.value in ("none", "independent", UNKNOWN):
            break
    return mapped, verdict


def _ask_all(wire: Wire, places: t.Sequence[Endpoint]) -> Mapped:
    places = list(dict.fromkeys(places))
    port = wire.open(6 if ":" in places[0].address else 4, places[0])
    heard = wire.ask([question(wire, port, place) for place in places])
    sights = {place: sight_from(each, place) for place, each in zip(places, heard)}
    seen = {place: each.mapped for place, each in sights.items() if each.mapped}
    return Mapped(port, seen, {place: each.problem for place, each in sights.items() if not each.mapped})


def mapping_of(
    local: Endpoint,
    seen: t.Mapping[Endpoint, Endpoint],
    problems: t.Mapping[Endpoint, str],
    places: t.Optional[Places],
) -> Verdict:
    """From whom each place saw."""
    if seen and set(seen.values()) == {local}:
        return Verdict("none", "every server saw {0}, which is this client's own".format(local))
    if places and all(place in seen for place in (places.first, places.address, places.both)):
        return _mapping_of_one(seen, places)
    if len({place.address for place in seen}) > 1:
        return _mapping_of_several(seen)
    silent = ["{0}: {1}".format(place, problems[place]) for place in places or () if place in problems]
    reason = "; ".join(silent) or "it takes two servers at different addresses, or one that has two (RFC 5780)"
    return Verdict(UNKNOWN, reason)


def _mapping_of_one(seen: t.Mapping[Endpoint, Endpoint], places: Places) -> Verdict:
    first, address, both = seen[places.first], seen[places.address], seen[places.both]
    why = "{0} saw {1}, {2} saw {3}, {4} saw {5}".format(
        places.first, first, places.address, address, places.both, both
    )
    if first == address == both:
        return Verdict("independent", why)
    return Verdict("address" if address == both else "address_port", why)


def _mapping_of_several(seen: t.Mapping[Endpoint, Endpoint]) -> Verdict:
    why = ", ".join("{0} saw {1}".format(place, each) for place, each in seen.items())
    return Verdict("independent" if len(set(seen.values())) == 1 else "dependent", why)


# --- Filtering and hairpin -------------------------------------------------------------------------------------------


class Tried(t.NamedTuple):
    """Answers from elsewhere: to a port that asked only the first place, and to one that may hear them all."""

    both: Sight
    port: Sight
    sure_both: t.Optional[Sight]
    sure_port: t.Optional[Sight]


def _let_in(wire: Wire, mapped: Mapped, places: t.Optional[Places], server: Endpoint) -> t.Tuple[Verdict, Verdict]:
    """All at once, because each of them may have to wait for what never comes."""
    asks, controls = _filter_asks(wire, mapped, places) if places else ([], [])
    loop = _loop_ask(wire, server)
    extra = [loop] if loop else []
    heard = wire.ask(asks + [each for each in controls if each] + extra)
    filtering = Verdict(UNKNOWN, "")
    if places:
        rest = iter(heard[2:])
        sure = [sight(next(rest)) if each else None for each in controls]
        filtering = filtering_of(Tried(sight(heard[0]), sight(heard[1]), sure[0], sure[1]), places)
    return filtering, hairpin_of(loop, heard[-1].source if loop else None)


def _filter_asks(wire: Wire, mapped: Mapped, places: Places) -> t.Tuple[t.List[Ask], t.List[t.Optional[Ask]]]:
    """The questions, and beside each its control: the same answer, to a port that has written to its source."""
    version = mapped.port.version
    asks = [
        question(wire, wire.open(version, places.first), places.first, stun.change(True, True)),
        question(wire, wire.open(version, places.first), places.first, stun.change(False, True)),
    ]
    controls = [
        _control(wire, mapped, places, places.both, stun.change(True, True)),
        _control(wire, mapped, places, places.port, stun.change(False, True)),
    ]
    return asks, controls


def _control(wire: Wire, mapped: Mapped, places: Places, source: Endpoint, change: bytes) -> t.Optional[Ask]:
    here, there = mapped.seen.get(places.first), mapped.seen.get(source)
    if not here or not there or here.address != there.address:
        return None
    to = [] if here == there else [stun.response_port(there.port)]
    return question(wire, mapped.port, places.first, change, *to)


def filtering_of(tried: Tried, places: Places) -> Verdict:
    if tried.both.source == places.both:
        return Verdict("independent", "{0} got in, which was never asked".format(places.both))
    if tried.both.source:
        why = tried.both.problem or "it ignores CHANGE-REQUEST"
        return Verdict(
            UNKNOWN, "asked to answer from {0}, {1} answered: {2}".format(places.both, tried.both.source, why)
        )
    if not _proves(tried.sure_both, places.both):
        return Verdict(UNKNOWN, _no_proof(places.both))
    if tried.port.source == places.port:
        return Verdict("address", "{0} got in, {1} did not".format(places.port, places.both))
    if not _proves(tried.sure_port, places.port):
        return Verdict(UNKNOWN, _no_proof(places.port))
    why = "neither {0} nor {1} got in, only the server that was asked".format(places.port, places.both)
    return Verdict("address_port", why)


def _proves(sure: t.Optional[Sight], source: Endpoint) -> bool:
    """Silence proves nothing unless the same answer arrives where it has to."""
    return sure is not None and sure.source == source


def _no_proof(source: Endpoint) -> str:
    return "an answer from {0} does not even arrive where it has to, so its absence proves nothing".format(source)


def _loop_ask(wire: Wire, server: Endpoint) -> t.Optional[Ask]:
    """From one port of this client to the outside address and port of another one; None without NAT."""
    version = 6 if ":" in server.address else 4
    one, other = wire.open(version, server), wire.open(version, server)
    found = sight_from(wire.ask([question(wire, other, server)])[0], server).mapped
    if not found or found == other.local:
        return None
    transaction = wire.token(12)
    data = stun.request(transaction)
    return Ask(one, found, data, lambda got: got == data, other)


def hairpin_of(loop: t.Optional[Ask], source: t.Optional[Endpoint]) -> Verdict:
    if loop is None:
        return Verdict(UNKNOWN, "there is no NAT, or no server reported the outside address")
    if source is None:
        return Verdict("no", "a packet to {0}, this client's own outside address, did not come back".format(loop.to))
    inside = " (the inside address)" if source == loop.port.local else ""
    return Verdict("yes", "a packet to {0} came back in, from {1}{2}".format(loop.to, source, inside))
