# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Compile the filter for packets to the gateway itself."""

from __future__ import annotations

import typing as t
from dataclasses import replace

from .._base.net import by_family
from .._base.values import overlaps
from .._facts.links import managed_links
from .._resolve.inside import inside
from .chains import (
    DROP,
    INPUT,
    INVALID,
    OWN,
    PROTECTED,
    REJECT,
    RETURN,
    address_matches,
    declared,
    lan_interfaces,
    wan_interfaces,
    with_protocols,
)
from .model import REACH, Action, Chain, Match, Rule
from .nat import closed_inside, let_in_here
from .services import closes, services

if t.TYPE_CHECKING:  # pragma: no cover
    from .._intent.forward import PortForward
    from .._resolve.resolved import Resolved

#: RFC 792 and RFC 4443: echo requests and errors. RFC 1256: router advertisement and solicitation. RFC 4890 section
#: 4.4.1, what an IPv6 host needs: neighbour discovery, router advertisement and solicitation, multicast listener
#: discovery, and multicast router discovery (RFC 4286, where IPv4 uses IGMP).
ICMP_NEEDED = {
    "ip": ("icmp", (3, 8, 9, 10, 11, 12)),
    "ip6": ("icmpv6", (1, 2, 3, 4, 128, 130, 131, 132, 133, 134, 135, 136, 143, 151, 152, 153)),
}
#: Those of them that conntrack calls invalid, because it expects neither replies nor requests: valid_new in
#: nf_conntrack_proto_icmp.c, noct_valid_new in nf_conntrack_proto_icmpv6.c (measured, Linux 6.18).
ICMP_UNKNOWN = {"ip": ("icmp", (9, 10)), "ip6": ("icmpv6", (151, 152, 153))}
#: Replies of DHCP servers to this host as a client: RFC 2131 section 4.1, RFC 8415 section 7.2.
DHCP_CLIENT = {"ip": 68, "ip6": 546}
#: What port forwards send to the gateway itself at an address of a LAN.
FORWARDED = Chain("protected-forwards")


def chain_own(gateway: Resolved) -> t.List[Rule]:
    """Before any instance filters: this instance decides about its own links, whatever others protect."""
    return [Rule(OWN.name, Match(iif=declared(gateway), ct_state=("new",)), Action("mark", size=REACH), "reach")]


def chain_input(gateway: Resolved) -> t.List[Rule]:
    """Packets to the gateway itself. With ``protect``, every link is filtered that is not a LAN and not managed."""
    invalid = Match(iif=declared(gateway), ct_state=("invalid",))
    rules = [Rule(INPUT.name, invalid, Action("jump", INVALID.name), "input")]
    rules += closed_inside(gateway, INPUT.name, lan_interfaces(gateway)) + _in_place_of_servers(gateway)
    rules += services(gateway)
    if gateway.input != "protect":
        return rules
    return [*rules, Rule(INPUT.name, Match(ct_state=("related", "established")), RETURN, "input"), *by_link(gateway)]


def by_link(gateway: Resolved) -> t.List[Rule]:
    """Which links are protected. A WAN or an undeclared link may have a name like a manager's link."""
    protected = Action("goto", PROTECTED.name)
    wans = wan_interfaces(gateway)
    rules = [Rule(INPUT.name, Match(iif=wans), protected, "input")] if wans else []
    rules.append(Rule(INPUT.name, Match(mark=(REACH, REACH)), RETURN, "reach"))
    if gateway.around.apart:
        rules.append(Rule(INPUT.name, Match(iif=gateway.around.apart), protected, "input"))
    left_alone = lan_interfaces(gateway) + ("lo",) + managed_links() + gateway.managed_links
    return rules + [
        Rule(INPUT.name, Match(iif=left_alone), RETURN, "input"),
        Rule(INPUT.name, Match(), protected, "input"),
    ]


def _in_place_of_servers(gateway: Resolved) -> t.List[Rule]:
    """A network that is mapped 1:1 may contain the gateway's own address: its counterpart outside is nobody's.

    Port forwards to the gateway itself come before what is closed here, and before what services of LANs close.
    """
    served = any(lan.services for lan in gateway.lans)
    mapped = [net for item in gateway.nat if item.action in ("static", "prefix") for net in item.to]
    outside = by_family(mapped)
    named = {
        net for net, _mapped in overlaps([net for each in gateway.port_forwards for net in each.destination], mapped)
    }
    opened = [
        replace(rule, chain=INPUT.name)
        for forward in gateway.port_forwards
        for rule in let_in_here(gateway, forward)
        if not named.isdisjoint(forward.destination)
        or (served and closes(rule.match) and (_homes(gateway, forward) or _is_here(gateway, forward)))
    ]
    return opened + [
        Rule(INPUT.name, Match(family, iif=links, ct_state=("new",), translated=True, asked=nets), action, key)
        for family, nets in outside.items()
        for links, action, key in (
            (wan_interfaces(gateway), DROP, "closed"),
            (lan_interfaces(gateway), REJECT, "isolation"),
        )
        if links
    ]


def _is_here(gateway: Resolved, forward: PortForward) -> bool:
    """Whether its server is this host, at an address that no other host of a LAN may have (see _homes())."""
    return any(to in gateway.own_servers and not inside(gateway).find(to) for to in forward.to)


def _homes(gateway: Resolved, forward: PortForward) -> t.List[str]:
    """The networks of LANs that contain its servers, whose addresses may be this host's when the packet comes.

    That of several routers (VRRP) is the master's, who may change between two runs. Their rules do not depend on that.
    """
    return [place[1] for place in map(inside(gateway).find, forward.to) if place]


def chain_invalid() -> t.List[Rule]:
    known = [Match(family, protocol=protocol, icmp_type=types) for family, (protocol, types) in ICMP_UNKNOWN.items()]
    rules = [Rule(INVALID.name, match, RETURN, "input") for match in known]
    return [*rules, Rule(INVALID.name, Match(), DROP, "invalid")]


def chain_protected(gateway: Resolved) -> t.List[Rule]:
    """What the gateway accepts on a protected link. Accepted packets continue to other programs' rules."""
    if gateway.input != "protect":
        return []
    let_in = [Match("ip", protocol="igmp")]
    for family in ("ip", "ip6"):
        protocol, types = ICMP_NEEDED[family]
        let_in.append(Match(family, protocol=protocol, icmp_type=types))
        client = DHCP_CLIENT[family]
        let_in.append(Match(family, protocol="udp", port=((client, client),)))
    rules = [Rule(PROTECTED.name, match, RETURN, "input") for match in let_in]
    rules += [
        Rule(PROTECTED.name, Match(protocol="tcp", port=((port, port),)), RETURN, "controller")
        for port in gateway.controller_ports
    ]
    for item in gateway.input_allow:
        for match in address_matches(item.source, item.destination, iif=(item.wan,) if item.wan else ()):
            asked = with_protocols(match, item)
            rules += [Rule(PROTECTED.name, each, RETURN, "input_allow/" + item.name) for each in asked]
    for forward in gateway.port_forwards:
        if _is_here(gateway, forward):
            rules += let_in_here(gateway, forward)
    drop = Rule(PROTECTED.name, Match(), DROP, "protected")
    inner = [rule for each in gateway.port_forwards if _homes(gateway, each) for rule in let_in_here(gateway, each)]
    if not inner:
        return [*rules, drop]
    # There may be thousands, for packets that hardly ever come here.
    wans, here = wan_interfaces(gateway), FORWARDED.name
    nets = by_family(dict.fromkeys(net for each in gateway.port_forwards for net in _homes(gateway, each)))
    rules += [
        Rule(PROTECTED.name, Match(family, iif=wans, destination=those), Action("goto", here), "input")
        for family, those in nets.items()
    ]
    return [*rules, drop, *(replace(rule, chain=here) for rule in (*inner, drop))]
