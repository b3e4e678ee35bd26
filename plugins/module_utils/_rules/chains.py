# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""What all parts of a gateway's rules share: chains, plain actions, interfaces, and items as matches."""

from __future__ import annotations

import typing as t
from dataclasses import replace

from .._base.net import by_family
from .._base.values import PRIVATE, UNIQUE_LOCAL
from .model import REACH, Action, Chain, Match, Rule

if t.TYPE_CHECKING:  # pragma: no cover
    from .._intent.traffic import Traffic
    from .._resolve.resolved import Resolved

#: Before anything decides about a packet that has come in.
ARRIVE = Chain("arrive", "prerouting", "arrive")
#: New packets from a WAN, before they are translated.
OUTSIDE = Chain("outside", "prerouting", "outside")
HELPER = Chain("helper", "prerouting", "helper")
DSTNAT = Chain("dstnat", "prerouting", "nat")
REACHES = Chain("reaches", "forward", "reach")
FORWARD = Chain("forward", "forward", "filter")
UNDECLARED = Chain("undeclared")
TIMERS = Chain("timers", "forward", "timers")
OFFLOAD = Chain("offloaded", "forward", "offload")  # "offload" is a keyword of nft
TO = Chain("to")
BETWEEN = Chain("between")
OWN = Chain("own", "input", "reach")
INPUT = Chain("input", "input", "filter")
INVALID = Chain("input-invalid")
STRAY = Chain("forward-invalid")
BOGONS = Chain("bogons")
PROTECTED = Chain("protected")
MSS = Chain("mss", "forward", "mangle")
SRCNAT = Chain("srcnat", "postrouting", "nat")
UNSEEN = Chain("unseen", "postrouting", "unseen")
EGRESS = Chain("egress", "postrouting", "guard")

ACCEPT, DROP, REJECT, RETURN = Action("accept"), Action("drop"), Action("reject"), Action("return")
MASQUERADE, GUARD, CLAMP = Action("masquerade"), Action("guard"), Action("clamp_mss")

#: Networks that no Internet router has a route to: RFC 1918, RFC 4193.
NEVER_OUTSIDE = tuple(str(net) for net in (*PRIVATE, UNIQUE_LOCAL))
#: Packets of a flow that is known, and what is said about it.
KNOWN = ("related", "established")
#: Packets without a flow: nothing translates them.
UNKNOWN = ("invalid", "untracked")
#: Packets that may be the first of a flow. Conntrack follows neither neighbour nor multicast listener discovery: types
#: 130 to 136 and 143 of ICMPv6, noct_valid_new in nf_conntrack_proto_icmpv6.c.
OPENING = ("new", "untracked")
LET_THROUGH, NOT_LET_THROUGH = (REACH, REACH), (0, REACH)

#: Protocols that differ between the families: by name, the protocol in each family that has it. In IPv6, AH is an
#: extension header (RFC 4302 section 3.1), and MLD, a part of ICMPv6, replaces IGMP (RFC 3810).
BY_FAMILY = {"icmp": {"ip": "icmp", "ip6": "icmpv6"}, "ah": {"ip": "ah", "ip6": "ah"}, "igmp": {"ip": "igmp"}}


def lan_interfaces(gateway: Resolved) -> t.Tuple[str, ...]:
    return tuple(name for lan in gateway.lans for name in lan.interfaces)


def with_twins(gateway: Resolved) -> Resolved:
    """A link on the wire of a LAN's link is the same network. Only the rules count it as the LAN's."""
    if not gateway.around.twins:
        return gateway
    lans = [replace(lan, interfaces=lan.interfaces + gateway.around.twins_of(lan.interfaces)) for lan in gateway.lans]
    return replace(gateway, lans=tuple(lans))


def wan_interfaces(gateway: Resolved, item: t.Optional[Traffic] = None) -> t.Tuple[str, ...]:
    """All WANs, or the item's WAN."""
    if item and item.wan:
        return (item.wan,)
    return tuple(wan.interface for wan in gateway.wans)


def declared(gateway: Resolved) -> t.Tuple[str, ...]:
    return lan_interfaces(gateway) + wan_interfaces(gateway)


def kept_inside(chain: str, *found: Match) -> t.List[Rule]:
    """Drop these packets if their source is private, and seen outside: one that IPsec encrypts is not."""
    return [
        Rule(chain, replace(match, family=family, source=nets, plain=True), DROP, "guard")
        for family, nets in by_family(NEVER_OUTSIDE).items()
        for match in found
    ]


def matches(gateway: Resolved, item: Traffic, sources: t.Tuple[str, ...]) -> t.List[Match]:
    """An item from these sources to its WANs, one match per family and protocol."""
    return [
        each
        for match in address_matches(sources, item.destination, oif=wan_interfaces(gateway, item))
        for each in with_protocols(match, item)
    ]


def with_protocols(match: Match, item: Traffic) -> t.List[Match]:
    """One match per protocol of an item. Some protocols differ between the families or exist in only one."""
    found = []
    for protocol in item.protocol or ("",):
        if protocol in BY_FAMILY:
            named = BY_FAMILY[protocol]
            families = (match.family,) if match.family else ("ip", "ip6")
            found += [replace(match, family=each, protocol=named[each]) for each in families if each in named]
        else:
            found.append(replace(match, protocol=protocol, port=item.port))
    return found


def address_matches(
    source: t.Tuple[str, ...],
    destination: t.Tuple[str, ...],
    iif: t.Tuple[str, ...] = (),
    oif: t.Tuple[str, ...] = (),
    ct_state: t.Tuple[str, ...] = (),
) -> t.List[Match]:
    """One match per family that both ends have; one for both families if neither end has addresses."""
    if not source and not destination:
        return [Match("", iif, oif, ct_state=ct_state)]
    sources, destinations = by_family(source), by_family(destination)
    return [
        Match(family, iif, oif, sources.get(family, ()), destinations.get(family, ()), ct_state)
        for family in ("ip", "ip6")
        if (family in sources or not source) and (family in destinations or not destination)
    ]
