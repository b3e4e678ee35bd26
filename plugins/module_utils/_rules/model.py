# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Backend-neutral rules, in the terms of RFC 2663 and netfilter.

A rule set is a value. The kernel enters chains with a hook; other chains are reached by ``jump``. The rules of a chain
are evaluated in order, the first verdict wins, and a chain without a verdict returns to its caller.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.net import Ports

#: Hook and stage at which the kernel enters a chain. ``mangle`` rewrites before filtering, ``filter`` decides, ``nat``
#: translates, ``guard`` sees what leaves afterwards. ``helper`` runs once a connection is known and before it is
#: translated, ``timers`` before it is accepted, and ``offload`` after that. ``arrive`` runs before routing, and
#: ``outside`` before a new packet is translated. ``reach`` runs before any instance filters forwarded packets, and
#: ``unseen`` after NAT had its chance; ``fence`` is the same in a table that survives a flush, after the
#: ``fence_own`` of all instances; ``seen`` and ``own_seen`` filter beside them, and
#: ``raw`` does before conntrack.
STAGES = (
    "arrive", "outside", "helper", "reach", "mangle", "timers", "filter", "offload", "nat", "unseen", "guard",
    "fence", "fence_own", "seen", "own_seen", "raw",
)  # fmt: skip

#: Verdicts end the evaluation of a hook; ``return`` leaves the chain; everything else continues with the next rule.
#: ``guard`` drops a packet that should have been translated. ``expect_nat`` tells a guard that runs before the NAT
#: which packets will be translated, and how.
VERDICTS = ("accept", "drop", "reject", "masquerade", "snat", "dnat", "hairpin", "netmap", "guard")

#: A bit of the packet mark: the source is in none of the networks known at the last run, but the route to it leads to
#: the LAN that the packet came from.
FOLLOWED = 0x08000000

#: A bit of the packet mark: another instance of ours accepts this new connection. It is set after routing, so it does
#: not affect routes.
REACH = 0x10000000


@dataclass(frozen=True)
class Chain:
    name: str
    hook: str = ""  # prerouting, forward, input or postrouting; empty if reached only by a jump
    stage: str = ""  # one of STAGES; empty for chains without a hook


@dataclass(frozen=True)
class Match:
    """All parts that are set must match; an empty part matches everything.

    ``iif`` and ``oif`` are interface names; a trailing ``*`` matches any suffix. ``source``, ``destination`` and
    ``not_destination`` hold networks of the family named by ``family`` (``ip``, ``ip6``, or empty for both).
    """

    family: str = ""
    iif: t.Tuple[str, ...] = ()
    oif: t.Tuple[str, ...] = ()
    source: t.Tuple[str, ...] = ()
    destination: t.Tuple[str, ...] = ()
    ct_state: t.Tuple[str, ...] = ()
    direction: str = ""  # original: of the packet that opened the flow; or reply
    tcp_syn: bool = False  # SYN without RST: the packets that carry the MSS option
    not_destination: t.Tuple[str, ...] = ()
    local: bool = False  # the destination is an address of this host
    protocol: str = ""  # one of words.PROTOCOLS except "both", or icmpv6; ah comes with its family
    port: t.Tuple[Ports, ...] = ()  # destination ports of ``protocol``
    icmp_type: t.Tuple[int, ...] = ()  # types of ``protocol`` in RFC 792 or RFC 4443
    translated: bool = False  # conntrack has changed the destination of this flow
    mapped: bool = False  # conntrack has changed the source of this flow
    leaves_as: t.Tuple[str, ...] = ()  # networks that contain the source with which the packet leaves the host
    asked: t.Tuple[str, ...] = ()  # networks that contain the original destination of this flow
    not_asked: t.Tuple[str, ...] = ()
    asked_port: t.Optional[Ports] = None  # and its original port, of ``protocol``
    ipsec: bool = False  # an IPsec policy will encrypt the packet
    plain: bool = False  # no IPsec policy will
    rate: str = ""  # matches at most this often, such as "10/second", after a burst of 5
    mark: t.Tuple[int, ...] = ()  # the value of the packet mark, and the mask
    routed: bool = False  # the route to the source leads to the input interface
    astray: bool = False  # the route to the source does not lead to the input interface
    elsewhere: bool = False  # the destination is not an address of the input interface
    decrypted: bool = False  # the packet came out of IPsec
    again: bool = False  # not the first packet of its flow
    expected: bool = False  # a helper of conntrack has announced the flow
    foreign: bool = False  # the source is not an address of this host
    forwarded: bool = False  # it came from a link and is routed: neither sent by this host nor bridged
    martian: bool = False  # the source is an address of this host, the destination is not
    untranslated: bool = False  # the source of this new flow is not translated; implied by a stage, or stated


@dataclass(frozen=True)
class Action:
    """What happens to a matching packet.

    In ``to``, ``snat`` and ``dnat`` name addresses or ranges such as ``203.0.113.9-203.0.113.12``; ``netmap`` names one
    network, and maps the source in postrouting, the destination in prerouting. ``hairpin`` sets the source to the
    original destination of the flow; a backend that cannot match it uses the addresses of ``to``.
    """

    # One of VERDICTS, or return, jump, goto, clamp_mss, set_mss, mark, unmark, helper, timers, offload, log,
    # log_guard, expect_nat.
    kind: str
    target: str = ""  # the chain for jump and goto; the prefix for log and log_guard; the kernel's name for helper
    to: t.Tuple[str, ...] = ()
    ports: t.Optional[Ports] = None  # the range from which masquerade and snat choose, or the target of dnat
    shift: bool = False  # dnat: the first port of the match maps to the first of ``ports``, and so on
    random: bool = False  # masquerade, snat: a random port instead of the client's own
    persistent: bool = True  # snat: a client keeps one address of ``to``
    balance: str = "round_robin"  # dnat to several servers: round_robin, or source (a client keeps one server)
    size: int = 0  # set_mss: bytes; mark, unmark: the bit
    timers: t.Tuple[t.Tuple[str, int], ...] = ()  # timers: protocol state to seconds; also accepts
    nat: t.Optional[Action] = None  # expect_nat: what the NAT rule does


@dataclass(frozen=True)
class Rule:
    chain: str
    match: Match
    action: Action
    key: str  # the item that it belongs to, such as "nat/default"


@dataclass(frozen=True)
class RuleSet:
    instance: str
    chains: t.Tuple[Chain, ...]
    rules: t.Tuple[Rule, ...]

    @property
    def whole(self) -> bool:
        """Whether this is a gateway. A single item shares its chains, so everything it needs must carry its name."""
        return any(chain.name == "between" for chain in self.chains)

    def owner(self, rule: Rule) -> str:
        """The comment that marks a rule as ours."""
        return owner(self.instance, rule.key)


def owner(instance: str, key: str) -> str:
    return "ipmasq:{0}/{1}".format(instance, key)


def altered(match: Match, **parts: t.Any) -> Match:
    """What ``dataclasses.replace`` makes, in an eighth of the time: that reads and sets each of the 30 parts. A gateway
    has hundreds of copies.
    """
    made = object.__new__(Match)
    made.__dict__.update(match.__dict__, **parts)
    if len(made.__dict__) != len(match.__dict__):
        raise TypeError("a match has no such part: {0}".format(sorted(parts)))
    return made


def split_wildcards(match: Match) -> t.List[Match]:
    """Matches in which each side names either exact interfaces or one pattern.

    nft before 1.0.3 reads "ppp*" in a set as a literal name, so a pattern never shares a set.
    """
    if len(match.iif) < 2 and len(match.oif) < 2:
        return [match]
    sides = [(iif, oif) for iif in _exact_then_patterns(match.iif) for oif in _exact_then_patterns(match.oif)]
    if sides == [(match.iif, match.oif)]:
        return [match]  # as nearly all are; a copy of each took most of the time of all copies
    return [altered(match, iif=iif, oif=oif) for iif, oif in sides]


def _exact_then_patterns(names: t.Tuple[str, ...]) -> t.List[t.Tuple[str, ...]]:
    exact = tuple(sorted({name for name in names if not name.endswith("*")}))
    patterns = sorted({name for name in names if name.endswith("*")})
    return ([exact] if exact or not patterns else []) + [(pattern,) for pattern in patterns]
