# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""The neutral rules: what both backends can say, in the words of RFC 2663 and netfilter.

A rule set is a value. Chains that name a hook are entered by the kernel, the others by ``jump``. Rules of a chain are
evaluated in order, the first verdict wins, and a chain without a verdict goes back to its caller.
"""

from __future__ import annotations

import functools
import ipaddress
import typing as t
from dataclasses import dataclass, replace

if t.TYPE_CHECKING:  # pragma: no cover
    Network = t.Union[ipaddress.IPv4Network, ipaddress.IPv6Network]

#: Where the kernel enters a chain, and at which point of that hook.
#: ``mangle`` rewrites before filtering, ``filter`` decides, ``nat`` translates, ``guard`` sees what leaves after it.
#: ``helper`` comes once a connection is known and before it is translated, ``timers`` before it is accepted, and
#: ``offload`` after.
#: ``arrive`` comes before the route is known.
#: ``reach`` comes before any instance filters what is forwarded, and ``unseen`` once nobody has translated the source;
#: ``fence`` is the same in a table that a flush leaves.
STAGES = ("arrive", "helper", "reach", "mangle", "timers", "filter", "offload", "nat", "unseen", "guard", "fence")

#: Verdicts end the walk through a hook; ``return`` leaves the chain; the rest goes on with the next rule.
#: ``guard`` drops a packet that should have been translated; ``expect_nat`` tells a guard that has to stand before the
#: NAT which packets will be, and how.
VERDICTS = ("accept", "drop", "reject", "masquerade", "snat", "dnat", "hairpin", "netmap", "guard")

#: A bit of the packet's mark: the source is none of the networks that were known at the last run, but the route to it
#: leads to the LAN that it came from.
FOLLOWED = 0x08000000

#: A bit of the packet's mark: another instance of ours lets this new connection through. It is set once the packet has
#: been routed, so it decides about no route.
REACH = 0x10000000

#: First and last port, both included.
Ports = t.Tuple[int, int]


@dataclass(frozen=True)
class Chain:
    name: str
    hook: str = ""  # prerouting, forward, input or postrouting; empty: reached by a jump only
    stage: str = ""  # one of STAGES; empty for chains without a hook


@dataclass(frozen=True)
class Match:
    """All given parts have to hold; an empty part matches everything.

    ``iif`` and ``oif`` are interface names, where a trailing ``*`` stands for any ending. ``source``, ``destination``
    and ``not_destination`` hold networks of the one family named by ``family`` (``ip``, ``ip6``, or empty for both).
    """

    family: str = ""
    iif: t.Tuple[str, ...] = ()
    oif: t.Tuple[str, ...] = ()
    source: t.Tuple[str, ...] = ()
    destination: t.Tuple[str, ...] = ()
    ct_state: t.Tuple[str, ...] = ()
    tcp_syn: bool = False  # SYN and not RST: the packets that carry the MSS option
    not_destination: t.Tuple[str, ...] = ()
    local: bool = False  # the destination is an address of this host
    protocol: str = ""  # one of _words.PROTOCOLS less "both", or icmpv6; ah comes with its family
    port: t.Tuple[Ports, ...] = ()  # destination ports of ``protocol``
    icmp_type: t.Tuple[int, ...] = ()  # RFC 792 or RFC 4443 types of ``protocol``
    translated: bool = False  # conntrack has given this flow another destination than it asked for
    asked: t.Tuple[str, ...] = ()  # networks, in one of which is the address that this flow was first addressed to
    not_asked: t.Tuple[str, ...] = ()
    asked_port: t.Optional[Ports] = None  # and its port, of ``protocol``
    ipsec: bool = False  # an IPsec policy will encrypt the packet on its way out
    rate: str = ""  # holds only so often, such as "10/second", after a burst of 5
    mark: t.Tuple[int, ...] = ()  # the packet's mark, and which of its bits are asked for
    routed: bool = False  # the route to the source leads to the interface that the packet came from
    foreign: bool = False  # the source is no address of this host
    untranslated: bool = False  # nobody has translated the source of this new flow; said by a stage, or in words


@dataclass(frozen=True)
class Action:
    """What is done to a packet that matches.

    ``snat`` and ``dnat`` name addresses or ranges such as ``203.0.113.9-203.0.113.12`` in ``to``; ``netmap`` names one
    network, and maps the source in postrouting, the destination in prerouting. ``hairpin`` gives the packet the source
    to which its flow was first addressed; a backend that cannot tell uses the addresses of ``to``.
    """

    # One of VERDICTS, or return, jump, goto, clamp_mss, set_mss, mark, unmark, helper, timers, offload, log,
    # log_guard, expect_nat.
    kind: str
    target: str = ""  # the chain, for jump and goto; the prefix, for log and log_guard; the kernel's name, for helper
    to: t.Tuple[str, ...] = ()
    ports: t.Optional[Ports] = None  # from which masquerade and snat take one, or to which dnat sends
    shift: bool = False  # dnat: the first port of the match becomes the first of ``ports``, and so on
    random: bool = False  # masquerade, snat: a random port, in place of the client's own where that is free
    persistent: bool = True  # snat: one client keeps one address of ``to``
    balance: str = "round_robin"  # dnat to several: round_robin, or source (one client keeps one server)
    size: int = 0  # set_mss: bytes; mark, unmark: the bit
    timers: t.Tuple[t.Tuple[str, int], ...] = ()  # timers: state of the protocol to seconds; accepts, too
    nat: t.Optional[Action] = None  # expect_nat: what the NAT rule does


@dataclass(frozen=True)
class Rule:
    chain: str
    match: Match
    action: Action
    key: str  # the item it belongs to, such as "nat/default"


@dataclass(frozen=True)
class RuleSet:
    instance: str
    chains: t.Tuple[Chain, ...]
    rules: t.Tuple[Rule, ...]

    @property
    def whole(self) -> bool:
        """A gateway. A single item shares its chains with others, so whatever it needs has to bear its name."""
        return any(chain.name == "between" for chain in self.chains)

    def owner(self, rule: Rule) -> str:
        """The comment that marks a rule as ours."""
        return owner(self.instance, rule.key)


def owner(instance: str, key: str) -> str:
    return "ipmasq:{0}/{1}".format(instance, key)


def family_of(network: str) -> str:
    """``ip`` or ``ip6``, for an address or a network in text form."""
    return "ip6" if ":" in network else "ip"


@functools.lru_cache(maxsize=1 << 16)
def network(text: str) -> t.Any:
    """A network, parsed once: 10,000 items ask for the same ones several times each."""
    return ipaddress.ip_network(text)


def is_suffix(entry: str) -> bool:
    """Whether what names a server is the end of its address with a mask, such as ::11/::ffff:ffff:ffff:ffff."""
    return ":" in entry.partition("/")[2]


def is_host(text: str) -> bool:
    """Whether a network is a single address."""
    return text.endswith("/32" if family_of(text) == "ip" else "/128")


def without_length(text: str) -> str:
    """A network as tools print it: a single address has no length."""
    return text.split("/", maxsplit=1)[0] if is_host(text) else text


def collapse(networks: t.Iterable[str]) -> t.Tuple[str, ...]:
    """The smallest list of networks of one family that covers the same addresses, sorted.

    nft merges neighbours when it stores a set (1.0.6: two /25 come back as one /24), so both sides are merged before
    they are compared.
    """
    networks = list(networks)
    if any(is_suffix(net) for net in networks):
        return tuple(networks)
    parsed = [network(net) for net in networks]
    return tuple(str(net) for net in (ipaddress.collapse_addresses(parsed) if len(parsed) > 1 else parsed))


def by_family(networks: t.Iterable[str]) -> t.Dict[str, t.Tuple[str, ...]]:
    """Networks sorted into ``ip`` and ``ip6``; a family without networks is left out."""
    listed = list(networks)
    grouped = {fam: [net for net in listed if family_of(net) == fam] for fam in ("ip", "ip6")}
    return {fam: collapse(nets) for fam, nets in grouped.items() if nets}


def matches_name(pattern: str, name: str) -> bool:
    """Whether an interface name is meant by a name or a pattern such as ``ppp*``."""
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern


def patterns_overlap(one: str, other: str) -> bool:
    """Whether some interface name could be meant by both."""
    return matches_name(one, other.rstrip("*")) or matches_name(other, one.rstrip("*"))


def split_wildcards(match: Match) -> t.List[Match]:
    """Rules in which each side names either exact interfaces or one pattern.

    nft before 1.0.3 takes "ppp*" inside a set as a literal name, so patterns never share a set with anything.
    """
    return [
        replace(match, iif=iif, oif=oif)
        for iif in _exact_then_patterns(match.iif)
        for oif in _exact_then_patterns(match.oif)
    ]


def _exact_then_patterns(names: t.Tuple[str, ...]) -> t.List[t.Tuple[str, ...]]:
    exact = tuple(sorted({name for name in names if not name.endswith("*")}))
    patterns = sorted({name for name in names if name.endswith("*")})
    return ([exact] if exact or not patterns else []) + [(pattern,) for pattern in patterns]
