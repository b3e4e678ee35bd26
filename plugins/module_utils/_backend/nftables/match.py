# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""What a rule matches, as expressions of nft."""

from __future__ import annotations

import itertools
import typing as t

from ..._base.net import family_of, is_host, is_suffix, network
from ..._rules.model import altered
from .expressions import (
    L4PROTO,
    MARK_OF_PACKET,
    NEXT_HEADER,
    NFPROTO,
    PROTOCOLS,
    as_address,
    as_ports,
    compare,
    one_or_set,
    payload,
)

if t.TYPE_CHECKING:  # pragma: no cover
    from ..._base.net import Ports
    from ..._rules.model import Match
    from .expressions import Json

#: nft accepts numbers, and lists known ones by these names: src/proto.c
ICMP_NAMES = {
    "icmp": {
        3: "destination-unreachable",
        8: "echo-request",
        9: "router-advertisement",
        10: "router-solicitation",
        11: "time-exceeded",
        12: "parameter-problem",
    },
    "icmpv6": {
        1: "destination-unreachable",
        2: "packet-too-big",
        3: "time-exceeded",
        4: "parameter-problem",
        128: "echo-request",
        130: "mld-listener-query",
        131: "mld-listener-report",
        132: "mld-listener-done",
        133: "nd-router-solicit",
        134: "nd-router-advert",
        135: "nd-neighbor-solicit",
        136: "nd-neighbor-advert",
        143: "mld2-listener-report",
    },
}


def split(match: Match) -> t.List[Match]:
    """Matches whose sets hold networks of one length each, or single ports: hashes.

    A set of networks of several lengths, or of ranges, is a tree. A transaction does not exchange trees together with
    the rules: for some microseconds, new rules find nothing in them (measured, Linux 6.18: with such a set, 164 packets
    passed a drop in 100 reloads at 150,000 packets a second; with a hash, none). It is slower, too: with 10,000
    networks, a new flow costs a third more (docs/performance.md).
    """
    if match.rate:
        return [match]  # a limit applies to all of them together
    parts = (
        _lengths(match.source),
        _lengths(match.leaves_as),
        _lengths(match.destination),
        _lengths(match.asked, hashed=False),
        _ports(match.port),
    )
    if all(len(each) == 1 for each in parts):
        return [match]  # as nearly all of them: a copy takes longer than everything else here
    return [
        altered(match, source=source, leaves_as=leaves_as, destination=destination, asked=asked, port=port)
        for source, leaves_as, destination, asked, port in itertools.product(*parts)
    ]


def _lengths(networks: t.Tuple[str, ...], hashed: bool = True) -> t.List[t.Tuple[str, ...]]:
    """``hashed``: nft takes a mask in front of a set. Otherwise only addresses form a set."""
    if len(networks) < 2:
        return [networks]
    lengths: t.Dict[str, t.List[str]] = {}
    for net in networks:
        lengths.setdefault(net.partition("/")[2] if hashed or is_host(net) else net, []).append(net)
    return [tuple(nets) for nets in lengths.values()]


def _ports(ports: t.Tuple[Ports, ...]) -> t.List[t.Tuple[Ports, ...]]:
    single = tuple(each for each in ports if each[0] == each[1])
    ranges = [(each,) for each in ports if each[0] != each[1]]
    return [*([single] if single or not ranges else []), *ranges]


#: What else a match may say, in this order.
WORDS = {
    # Only in prerouting: kernels before 6.0 refuse it elsewhere.
    "routed": compare({"fib": {"result": "oif", "flags": ["saddr", "iif"]}}, True),
    "astray": compare({"fib": {"result": "oif", "flags": ["saddr", "iif"]}}, False),
    # Linux tells the link in postrouting since 5.7, but not that of bridged frames (br_nf_post_routing).
    "forwarded": compare({"meta": {"key": "iif"}}, "0", "!="),
    "foreign": compare({"fib": {"result": "type", "flags": ["saddr"]}}, "local", "!="),
    "again": compare({"ct": {"key": "status"}}, "confirmed", "in"),
    "expected": compare({"ct": {"key": "status"}}, "expected", "in"),
    "translated": compare({"ct": {"key": "status"}}, "dnat", "in"),
    "mapped": compare({"ct": {"key": "status"}}, "snat", "in"),
    "decrypted": compare({"meta": {"key": "ipsec"}}, True),
    "ipsec": compare({"rt": {"key": "ipsec"}}, True),
    "plain": compare({"rt": {"key": "ipsec"}}, False),
}
MARTIAN = [
    compare({"fib": {"result": "type", "flags": ["saddr"]}}, "local"),
    compare({"fib": {"result": "type", "flags": ["daddr"]}}, "local", "!="),
]
LOOKED_UP = {
    "local": compare({"fib": {"result": "type", "flags": ["daddr"]}}, "local"),
    "elsewhere": compare({"fib": {"result": "type", "flags": ["daddr", "iif"]}}, "local", "!="),
}


def matches(match: Match, guard: bool = False) -> t.List[Json]:
    links = [
        compare({"meta": {"key": key}}, one_or_set(names))
        for key, names in (("iifname", match.iif), ("oifname", match.oif))
        if names
    ]
    addresses, state = _addresses(match), _state(match)
    # The rarest match first: an invalid packet or, after the NAT, a LAN's source (unless there are many networks). What
    # is for established packets alone costs the first one of a flow one test.
    if match.ct_state == ("invalid",) or (match.ct_state == ("established",) and match.oif):
        expr = state + links + addresses
    elif guard and len(match.source) == 1:
        expr = addresses + links + state
    else:
        expr = links + addresses + state
    if match.mark:
        value, bits = match.mark
        expr.append(compare({"&": [MARK_OF_PACKET, bits]}, value))
    expr += [said for name, said in WORDS.items() if getattr(match, name)]
    expr += _protocol(match) + _asked(match)
    # Last, because these are look-ups, and few packets of other ports get here.
    expr += [said for name, said in LOOKED_UP.items() if getattr(match, name)]
    expr += MARTIAN if match.martian else []
    if match.rate:
        rate, per = match.rate.split("/")
        expr.append({"limit": {"rate": int(rate), "per": per}})
    return expr


def _asked(match: Match) -> t.List[Json]:
    """Conntrack's original tuple. nft accepts a port here only after a protocol."""
    expr = []
    not_asked = [(nets, "!=") for nets in _lengths(match.not_asked, hashed=False)]
    for nets, op in [(match.asked, "=="), *not_asked]:
        if nets:
            left = {"ct": {"key": family_of(nets[0]) + " daddr", "dir": "original"}}
            expr.append(compare(left, one_or_set([as_address(net) for net in nets]), op))
    if match.asked_port:
        expr.append(compare({"ct": {"key": "proto-dst", "dir": "original"}}, as_ports(match.asked_port)))
    return expr


def _state(match: Match) -> t.List[Json]:
    states = sorted(match.ct_state)
    expr = [compare({"ct": {"key": "state"}}, states[0] if len(states) == 1 else states, "in")] if states else []
    return expr + ([compare({"ct": {"key": "direction"}}, match.direction)] if match.direction else [])


def _addresses(match: Match) -> t.List[Json]:
    # The guard sees the source with which a packet leaves.
    sides = (("saddr", match.source or match.leaves_as), ("daddr", match.destination))
    expr = [compare(*_networks(side, nets)) for side, nets in sides if nets]
    expr += [compare(*_networks("daddr", nets), "!=") for nets in _lengths(match.not_destination) if nets]
    # ICMP, header fields and addresses of conntrack imply a family; nft omits the other match (1.1 the last one, too).
    own = match.protocol.startswith("icmp") or (match.family, match.protocol) == ("ip6", "ah")
    if match.family and not expr and not own and not match.asked and not match.not_asked:
        expr.append(compare(NFPROTO, {"ip": "ipv4", "ip6": "ipv6"}[match.family]))
    return expr


def _networks(side: str, networks: t.Tuple[str, ...]) -> t.Tuple[Json, Json]:
    """The part of the packet to compare, and the value."""
    address, first = payload(family_of(networks[0]), side), networks[0]
    if is_suffix(first):
        suffix, mask = first.split("/")
        return {"&": [address, mask]}, suffix
    if len(networks) == 1 or len({net.partition("/")[2] for net in networks}) > 1 or is_host(first):
        return address, one_or_set([as_address(net) for net in networks])
    starts = [net.partition("/")[0] for net in networks]
    return {"&": [address, str(network(first).netmask)]}, one_or_set(starts)


def _protocol(match: Match) -> t.List[Json]:
    if match.tcp_syn:
        return [compare({"&": [payload("tcp", "flags"), {"|": ["rst", "syn"]}]}, "syn")]
    if match.port:
        return [compare(payload(match.protocol, "dport"), one_or_set([as_ports(ports) for ports in match.port]))]
    if match.icmp_type:
        names = [ICMP_NAMES[match.protocol].get(kind, kind) for kind in match.icmp_type]
        return [compare(payload(match.protocol, "type"), one_or_set(names))]
    if match.protocol:
        place = NEXT_HEADER if (match.family, match.protocol) == ("ip6", "ah") else L4PROTO
        return [compare(place, PROTOCOLS[match.protocol])]
    return []
