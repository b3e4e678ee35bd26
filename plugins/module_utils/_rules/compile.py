# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Compile intent to neutral rules: the guarantees of a gateway, written once for all backends."""

from __future__ import annotations

import typing as t
from dataclasses import replace

from .._base.net import by_family
from .._base.values import less, networks_of
from .._intent.helpers import HELPERS
from .._intent.items import Masquerade, PortForwardItem
from .._resolve.around import reached
from .._resolve.inside import sources_of
from . import follow, kept
from .around import (
    BACK,
    CLAIMED,
    COMING,
    NEW,
    OUT,
    STRANGE,
    claimed,
    closing,
    martians,
    reaches,
    spoofed,
    strange,
    undeclared,
    unmarked,
    unseen,
    ways_out,
)
from .beneath import BENEATH, beneath, chain_beneath, own_frames, with_bridges
from .bridged import FORGED, SWITCHED, bridged, forged
from .carried import CARRIED, carried
from .chains import (
    ACCEPT,
    ARRIVE,
    BETWEEN,
    BOGONS,
    BY_FAMILY,
    CLAMP,
    DROP,
    DSTNAT,
    EGRESS,
    FORWARD,
    HELPER,
    INPUT,
    INVALID,
    MASQUERADE,
    MSS,
    OFFLOAD,
    OPENING,
    OUTSIDE,
    OWN,
    PROTECTED,
    REACHES,
    REJECT,
    RETURN,
    SRCNAT,
    STRAY,
    TIMERS,
    TO,
    UNDECLARED,
    UNSEEN,
    address_matches,
    declared,
    lan_interfaces,
    matches,
    wan_interfaces,
    with_twins,
)
from .claims import arrivals
from .icmp_errors import ERRORS, dispatched, errors, errors_chain
from .input import FORWARDED, chain_input, chain_invalid, chain_own, chain_protected
from .late import offload, timers
from .managed import ELSEWHERE, FROM_SITES, MANAGED, TO_SITES
from .model import Action, Chain, Match, Rule, RuleSet
from .multicast import multicast
from .nat import LINK_LOCAL, closed_inside, dstnat, egress, fail_over, let_in, let_in_static, redirections, srcnat
from .outbound import limits, outbound
from .outside import ASKED, outside
from .rerouted import AGAIN, MOVED, moved

if t.TYPE_CHECKING:
    from .._intent.items import Forward, Item
    from .._resolve.resolved import Resolved, ResolvedLan

#: Never a source or destination on the Internet: RFC 6890 and the registries that it created, except link-local, which
#: a LAN needs to reach its WAN link, and multicast, which unicast rules do not forward. ::/80 is ::/96, ::ffff:0:0/96
#: and the unassigned space between them; iptables-save spells the second one differently.
BOGON_NETWORKS = (
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
    "192.0.2.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4",
    "::/80", "64:ff9b:1::/48", "100::/64", "100:0:0:1::/64",
    "2001:2::/48", "2001:db8::/32", "3fff::/20", "5f00::/16", "fc00::/7", "fec0::/10",
)  # fmt: skip

#: Chains that are reached by a jump, and exist only where they have rules.
INNER = (
    ASKED, STRANGE, BENEATH, SWITCHED, NEW, OUT, CLAIMED, COMING, AGAIN, MOVED, MANAGED, ELSEWHERE, FROM_SITES,
    TO_SITES, BACK, CARRIED, FORWARDED,
)  # fmt: skip


def compile_gateway(gateway: Resolved) -> RuleSet:
    """Compile a resolved gateway. Nothing matches traffic between undeclared links."""
    gateway = with_twins(gateway)
    apart = undeclared(gateway)
    parts: t.Tuple[t.Tuple[Chain, t.List[Rule]], ...] = (
        (FORGED, forged(gateway)),
        (ARRIVE, unmarked() + follow.marked(gateway) + strange(gateway)),
        (follow.FOLLOW_LAN, []),
        (OUTSIDE, own_frames(gateway) + martians(gateway) + with_bridges(gateway, outside(gateway))),
        (HELPER, _helpers(gateway)),
        (DSTNAT, with_bridges(gateway, dstnat(gateway))),
        (REACHES, reaches(gateway)),
        (FORWARD, _forward(gateway, bool(apart))),
        (STRAY, _stray(gateway)),
        (TO, []),
        (BETWEEN, _between(gateway, bool(apart))),
        (ERRORS, errors(gateway)),
        (BOGONS, _bogon_destinations(gateway)),
        (UNDECLARED, apart),
        (OWN, chain_own(gateway)),
        (INPUT, beneath(gateway, INPUT.name) + spoofed(gateway, INPUT.name) + chain_input(gateway)),
        (INVALID, chain_invalid()),
        (PROTECTED, chain_protected(gateway)),
        (SRCNAT, srcnat(gateway) + follow.srcnat_routed(gateway)),
        (follow.SRCNAT_ROUTED, []),
        (UNSEEN, unseen(gateway)),
        (
            EGRESS,
            fail_over(gateway, ways_out(gateway)) + egress(gateway, ways_out(gateway)) + follow.egress_routed(gateway),
        ),
        (follow.EGRESS_ROUTED, []),
        (MSS, _mss(gateway)),
        (TIMERS, timers(gateway)),
        (OFFLOAD, offload(gateway)),
    )
    rules = [rule for _chain, part in parts for rule in part] + claimed(gateway) + chain_beneath(gateway)
    filled = {rule.chain for rule in rules}
    chains = [chain for chain, _rules in parts if chain.name in filled or chain in (FORWARD, TO, INPUT, SRCNAT, EGRESS)]
    chains += [chain for chain in INNER if chain.name in filled]
    chains += kept.kept_chains(gateway)
    rules += kept.kept(gateway)
    for lan in gateway.lans:
        chains += [Chain(name) for name in (lan_chain(lan), opens_chain(lan), within_chain(lan), errors_chain(lan))]
        chains += limits(gateway, lan)
        rules += _lan(gateway, lan)
    return RuleSet(gateway.instance, tuple(chains), tuple(_logged(gateway, rules)))


def compile_item(instance: str, item: Item) -> RuleSet:
    """Compile one item of the modules masquerade, forward or port_forward into a chain that items share."""
    if isinstance(item, Masquerade):
        matches = address_matches(item.source, item.destination, oif=(item.out_interface,))
        rules = [Rule(SRCNAT.name, match, MASQUERADE, item.key) for match in matches]
        if item.closed:
            return RuleSet(instance, (SRCNAT, FORWARD, EGRESS), (*rules, *closing(item, matches)))
        return RuleSet(instance, (SRCNAT,), tuple(rules))
    if isinstance(item, PortForwardItem):
        return RuleSet(instance, (DSTNAT, FORWARD), tuple(_port_forward_item(item)))
    return RuleSet(instance, (FORWARD,), tuple(_forward_item(item)))


def turn_of(key: str, drops: bool) -> int:
    """The place of an item's rule in its chain, after 0: rules that close a line come after those that open something.

    So it makes no difference which item was applied first.
    """
    return 1 + drops if key.startswith("masquerade/") else 0


def _port_forward_item(item: PortForwardItem) -> t.List[Rule]:
    """Complete without other items: translation, incoming connections, and their replies."""
    if not item.to:
        return []
    iif = (item.in_interface,)
    rules = [
        Rule(DSTNAT.name, replace(match, not_destination=kept), action, item.key)
        for match, action in redirections(item, iif)
        for kept in (LINK_LOCAL if match.local and match.family == "ip6" else (),)
    ]
    for match, _ports in arrivals(item):
        coming = replace(match, iif=iif, source=by_family(item.source).get(match.family, ()))
        rules.append(Rule(FORWARD.name, coming, ACCEPT, item.key))
    servers = by_family(net for to in item.to for net in networks_of(to))
    for family, nets in servers.items():
        back = Match(family, oif=iif, source=nets, ct_state=("related", "established"), translated=True)
        rules.append(Rule(FORWARD.name, back, ACCEPT, item.key))
    return rules


def lan_chain(lan: ResolvedLan) -> str:
    return "lan-" + lan.name


def opens_chain(lan: ResolvedLan) -> str:
    """The chain for packets whose source is in the LAN."""
    return "opens-" + lan.name


def within_chain(lan: ResolvedLan) -> str:
    """The chain for packets from a LAN without a known connection."""
    return "within-" + lan.name


def _forward_item(item: Forward) -> t.List[Rule]:
    iif = (item.in_interface,) if item.in_interface else ()
    oif = (item.out_interface,) if item.out_interface else ()
    matches = address_matches(item.source, item.destination, iif=iif, oif=oif, ct_state=item.ct_state)
    return [Rule(FORWARD.name, match, Action(item.action), item.key) for match in matches]


def _stray(gateway: Resolved) -> t.List[Rule]:
    """Packets that conntrack calls invalid are never translated: 8 of 13 crafted packets left with a private source.

    Within the same LAN they are accepted: a router there may answer a client directly, so that the gateway sees only
    half of the connection.
    """
    rules = []
    for lan in gateway.lans:
        chain, key = within_chain(lan), "lan/" + lan.name
        rules.append(Rule(STRAY.name, Match(iif=lan.interfaces), Action("jump", chain), key))
        rules += kept.towards(gateway, chain, *_own(gateway, lan))
        rules += [Rule(chain, replace(match, oif=lan.interfaces), ACCEPT, key) for match in _own(gateway, lan)]
    return [*rules, Rule(STRAY.name, Match(), DROP, "invalid")]


def _forward(gateway: Resolved, apart: bool) -> t.List[Rule]:
    """Dispatch by origin: invalid packets, packets from a LAN, then by destination."""
    invalid = Match(iif=declared(gateway), ct_state=("invalid",))
    rules = [*bridged(gateway), Rule(FORWARD.name, invalid, Action("jump", STRAY.name), "declared")]
    for lan in gateway.lans:
        # Before replies: a source outside the LAN is dropped even inside a known flow.
        rules.append(Rule(FORWARD.name, Match(iif=lan.interfaces), Action("jump", lan_chain(lan)), "lan/" + lan.name))
    rules += spoofed(gateway, FORWARD.name)
    sides = [side for side in (wan_interfaces(gateway), lan_interfaces(gateway)) if side]
    rules += [Rule(FORWARD.name, Match(iif=side), Action("jump", TO.name), "declared") for side in sides]
    # Everything between two declared links is decided by now.
    ends = [Rule(FORWARD.name, Match(oif=side), Action("goto", UNDECLARED.name), "undeclared") for side in sides]
    return rules + beneath(gateway, FORWARD.name) + (ends + moved(gateway) if apart else [])


def _between(gateway: Resolved, apart: bool) -> t.List[Rule]:
    """Packets between declared interfaces that no LAN was allowed to send.

    There is one chain for the input and one for the output interface: iptables matches one interface per rule, and
    hundreds of VLANs on both sides would multiply. The busiest side is checked first, and a single name is compared
    faster than looked up in a set.
    """
    lan_side, wan_side = lan_interfaces(gateway), wan_interfaces(gateway)
    rules = [
        Rule(TO.name, Match(oif=side), Action("jump", BETWEEN.name), "declared")
        for side in filter(None, (lan_side, wan_side))
    ]
    if apart:
        rules.append(Rule(TO.name, Match(), Action("goto", UNDECLARED.name), "undeclared"))
    rules += carried(gateway) + dispatched(gateway)
    # Before the bogons: providers send from private networks, too.
    rules += multicast(gateway) + _bogon_sources(gateway)
    for forward in gateway.port_forwards:
        rules += let_in(gateway, forward)
    for item in gateway.nat:
        rules += let_in_static(gateway, item)
    rules.append(Rule(BETWEEN.name, Match(iif=lan_side), REJECT, "isolation"))
    rules.append(Rule(BETWEEN.name, Match(iif=wan_side), DROP, "closed"))
    return rules


def _own(gateway: Resolved, lan: ResolvedLan) -> t.List[Match]:
    """The sources that a LAN may have; any source if the check is off."""
    if not lan.spoof_check:
        return [Match()]
    known = [Match(family, source=nets) for family, nets in by_family(lan.networks).items()]
    return known + follow.own_by_route(gateway, lan)


def _lan(gateway: Resolved, lan: ResolvedLan) -> t.List[Rule]:
    """What a LAN may open: to itself, to WANs and to the LANs it reaches, from its own networks only."""
    chain, opens, key = lan_chain(lan), opens_chain(lan), "lan/" + lan.name
    others = tuple(name for other in gateway.lans if other.name in lan.reaches for name in other.interfaces)
    inside, wans = lan.interfaces + others + reached(gateway, lan), wan_interfaces(gateway)
    rules = [Rule(chain, match, Action("goto", opens), key) for match in _own(gateway, lan)]
    if lan.spoof_check:
        # RFC 5508 REQ-4: ICMP errors of routers on the way to a client, with any source, about a known flow.
        related = [Match(family, protocol=icmp, ct_state=("related",)) for family, icmp in BY_FAMILY["icmp"].items()]
        rules += [Rule(chain, match, Action("jump", TO.name), key) for match in related]
        rules.append(Rule(chain, Match(), DROP, "spoofed/" + lan.name))
    if gateway.drop_bogons:
        towards = Match(oif=wan_interfaces(gateway), ct_state=OPENING)
        rules.append(Rule(opens, towards, Action("jump", BOGONS.name), "bogons"))
    rules += closed_inside(gateway, opens) + outbound(gateway, lan, opens)
    rules += [Rule(opens, Match(oif=wans), ACCEPT, key)] if wans else []
    return [*rules, *kept.towards(gateway, opens, Match()), Rule(opens, Match(oif=inside), ACCEPT, key)]


# --- What LANs may open towards a WAN -------------------------------------------------------------------------------


def _bogon_destinations(gateway: Resolved) -> t.List[Rule]:
    """Rejected, so that the client learns about it. Destinations of an exempt item (a VPN) are not bogons."""
    if not gateway.drop_bogons:
        return []
    exempt = [item for item in gateway.nat if item.action == "exempt"]
    led_out = [
        Rule(BOGONS.name, replace(match, ipsec=True), RETURN, "nat/" + item.name)
        for item in exempt
        if item.ipsec
        for match in matches(gateway, item, sources_of(gateway, item))
    ]
    kept = [net for item in exempt if not item.ipsec for net in item.destination]
    return led_out + [
        Rule(BOGONS.name, Match(family, destination=nets), REJECT, "bogons")
        for family, nets in by_family(less(BOGON_NETWORKS, kept)).items()
    ]


def _bogon_sources(gateway: Resolved) -> t.List[Rule]:
    if not gateway.drop_bogons:
        return []
    kept = [net for item in gateway.nat if item.action == "exempt" for net in item.destination]
    wans = wan_interfaces(gateway)
    return [
        Rule(BETWEEN.name, Match(family, iif=wans, source=nets, ct_state=OPENING), DROP, "bogons")
        for family, nets in by_family(less(BOGON_NETWORKS, kept)).items()
    ]


# --- MTU and matches ------------------------------------------------------------------------------------------------


def _mss(gateway: Resolved) -> t.List[Rule]:
    """The MSS in both directions: SYN and SYN/ACK announce one each."""
    rules = []
    for value in dict.fromkeys(wan.mss for wan in gateway.wans):
        if value == "keep":
            continue
        wans = tuple(wan.interface for wan in gateway.wans if wan.mss == value)
        action = CLAMP if value == "pmtu" else Action("set_mss", size=int(value))
        rules.append(Rule(MSS.name, Match(oif=wans, tcp_syn=True), action, "mss"))
        rules.append(Rule(MSS.name, Match(iif=wans, tcp_syn=True), action, "mss"))
    return rules


# --- Helpers, logging -----------------------------------------------------------------------------------------------


def _helpers(gateway: Resolved) -> t.List[Rule]:
    """Helpers for connections from LANs, and for port forwards on the helper's port."""
    rules = []
    for item in gateway.helpers:
        for assigned in HELPERS[item.name]:
            for port in item.port or (assigned.port,):
                forwarded = any(
                    assigned.protocol in forward.protocol and first <= port <= last
                    for forward in gateway.port_forwards
                    for first, last in forward.port
                )
                iif = lan_interfaces(gateway) + (wan_interfaces(gateway) if forwarded else ())
                for family in assigned.families:
                    match = Match(family, iif=iif, protocol=assigned.protocol, port=((port, port),))
                    rules.append(Rule(HELPER.name, match, Action("helper", assigned.name), "helper/" + item.name))
    return rules


def _logged(gateway: Resolved, rules: t.Iterable[Rule]) -> t.Iterator[Rule]:
    """Insert a rate-limited log rule before each rule whose event is to be logged."""
    for rule in rules:
        event = rule.key.split("/")[0]
        if event in gateway.log and rule.action.kind in ("drop", "reject", "guard"):
            kind = "log_guard" if rule.action.kind == "guard" else "log"
            prefix = "{0}{1}: ".format(gateway.log_prefix, event)
            yield Rule(rule.chain, replace(rule.match, rate=gateway.log_rate), Action(kind, prefix), rule.key)
        yield rule
