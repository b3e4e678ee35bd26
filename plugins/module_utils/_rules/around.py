# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""The borders of a gateway: undeclared links, sources that a WAN cannot have, other instances on the host.

Each instance decides about packets from its own links. It marks what it accepts before any instance filters, so that
the others need not know it, regardless of the order in which they were applied.
"""

from __future__ import annotations

import functools
import typing as t
from dataclasses import replace

from .._base.net import by_family, family_of, network
from .._base.values import less
from .._intent.conflicts import is_pinhole
from .._resolve.around import reached
from .._resolve.inside import sources_of, within
from .beneath import of_lans
from .bridged import own_networks
from .carried import as_this_host, carried_outside, carried_public
from .chains import (
    ARRIVE,
    DROP,
    EGRESS,
    FORWARD,
    GUARD,
    KNOWN,
    LET_THROUGH,
    MASQUERADE,
    NEVER_OUTSIDE,
    NOT_LET_THROUGH,
    OUTSIDE,
    REACHES,
    REJECT,
    RETURN,
    UNDECLARED,
    UNKNOWN,
    UNSEEN,
    declared,
    kept_inside,
    lan_interfaces,
    wan_interfaces,
)
from .follow import exempt_by_route
from .icmp_errors import RELATED, REWRITTEN
from .kept import towards
from .managed import ELSEWHERE, GROUPS, MANAGED, left_to_managers, sites
from .model import REACH, Action, Chain, Match, Rule
from .multicast import multicast
from .nat import let_in, translations
from .rerouted import private_of_known

if t.TYPE_CHECKING:  # pragma: no cover
    from .._intent.items import Masquerade
    from .._resolve.resolved import Resolved

#: Up to this number, links are compared one after the other, as iptables does.
FEW = 16
MARK = Action("mark", size=REACH)
#: Chains reached only from those above.
NEW = Chain("reaches-new", "", REACHES.stage)
OUT = Chain("reaches-out", "", REACHES.stage)
CLAIMED = Chain("claimed")
COMING = Chain("coming")
STRANGE = Chain("strange", "", ARRIVE.stage)
BACK = Chain("undeclared-back")


def ways_out(gateway: Resolved) -> t.Tuple[str, ...]:
    """The links through which no private source may leave."""
    return wan_interfaces(gateway) + (gateway.around.ways_out if gateway.undeclared == "drop" else ())


# --- What a WAN claims ----------------------------------------------------------------------------------------------


def spoofed(gateway: Resolved, chain: str) -> t.List[Rule]:
    """RFC 2827: a WAN never sends with a LAN's source, not even inside a known flow."""
    rules = []
    for family, own in _checked_networks(gateway).items():
        broad = _covering(own)
        for wan in wan_interfaces(gateway):
            match = Match(family, iif=(wan,), source=broad)
            action = Action("jump", CLAIMED.name) if len(broad) < len(own) else DROP
            rules.append(Rule(chain, match, action, "spoofed/" + wan))
    return rules


def claimed(gateway: Resolved) -> t.List[Rule]:
    """Checked only if a source may be a LAN's, so packets from the Internet are compared with few networks."""
    return [
        Rule(CLAIMED.name, Match(family, iif=(wan,), source=own), DROP, "spoofed/" + wan)
        for family, own in _checked_networks(gateway).items()
        if len(_covering(own)) < len(own)
        for wan in wan_interfaces(gateway)
    ]


def _checked_networks(gateway: Resolved) -> t.Dict[str, t.Tuple[str, ...]]:
    return by_family(net for lan in gateway.lans if lan.spoof_check for net in lan.networks)


@functools.lru_cache(maxsize=16)
def _covering(networks: t.Tuple[str, ...]) -> t.Tuple[str, ...]:
    """Fewer networks that cover all of these, if possible."""
    if len(networks) <= 4:
        return networks
    private = [network(net) for net in NEVER_OUTSIDE]
    broad = []
    for net in networks:
        parsed = network(net)
        holding = (each for each in private if each.version == parsed.version and parsed.subnet_of(each))
        broad.append(str(next(holding, parsed)))
    return next(iter(by_family(dict.fromkeys(broad)).values()))


def martians(gateway: Resolved) -> t.List[Rule]:
    """Drop packets from elsewhere to elsewhere whose source is an address of this host.

    Linux does so for IPv4 only (martian source), unless accept_local is set: see _as_this_host().
    Other rules take them for this host's own. Only this host sends on lo, where its own packets come in if another
    program redirects them (to a transparent proxy).
    """
    links = declared(gateway) if gateway.undeclared == "leave" else ()
    forged = Match("ip6", iif=links, ct_state=("new",), not_destination=GROUPS["ip6"], martian=True)
    own = [] if links else [Rule(OUTSIDE.name, Match("ip6", iif=("lo",), ct_state=("new",)), RETURN, "declared")]
    return [*own, *as_this_host(gateway), Rule(OUTSIDE.name, forged, DROP, "spoofed")]


def strange(gateway: Resolved) -> t.List[Rule]:
    """A LAN's source comes from the LAN, or from where the route to it leads (a VPN client with an address of the LAN).

    Links of container managers, VPNs and other instances' WANs are asked here, in open flows, too; our own WANs are in
    the forward hook, where routes cannot be asked for.
    """
    inside = _checked_networks(gateway)
    if gateway.undeclared == "leave" or not inside:
        return []
    links = Match(iif=declared(gateway))
    checked = tuple(name for lan in gateway.lans if lan.spoof_check for name in lan.interfaces)
    # A part of a LAN's network that another link has: hosts of the LAN do not send for those there.
    rules = [
        Rule(ARRIVE.name, Match(family, iif=checked, source=nets, astray=True), DROP, "spoofed")
        for family, nets in by_family(gateway.around.parts).items()
    ]
    if len(links.iif) <= FEW:
        # Every packet of a LAN passes here, so it is asked for its link only.
        strays = [Match(family, source=nets, astray=True) for family, nets in inside.items()]
        rules += [Rule(ARRIVE.name, match, RETURN, "declared") for match in (links, *of_lans(gateway))]
        return rules + [Rule(ARRIVE.name, each, DROP, "spoofed") for each in strays]
    rules += [
        Rule(ARRIVE.name, Match(family, source=nets), Action("jump", STRANGE.name), "declared")
        for family, nets in inside.items()
    ]
    rules += [Rule(STRANGE.name, match, RETURN, "declared") for match in (links, *of_lans(gateway))]
    return rules + [Rule(STRANGE.name, Match(family, astray=True), DROP, "spoofed") for family in inside]


# --- Between what is declared and what is not -----------------------------------------------------------------------


def undeclared(gateway: Resolved) -> t.List[Rule]:
    """Packets that arrive here have one declared link and are not yet decided."""
    here, key = UNDECLARED.name, "undeclared"
    # The mark of another instance does not count: what its LANs reach is the LAN, and not what is beyond.
    rules = [*towards(gateway, here, Match()), Rule(here, Match(mark=LET_THROUGH), RETURN, "reach")]
    lans, wans, around = lan_interfaces(gateway), wan_interfaces(gateway), gateway.around
    established, *errors = _answers(wans)
    if gateway.undeclared == "leave":
        links = other_links(gateway)
        return [established, *rules, *errors, *_isolated(gateway, links)] if links else []
    # Conntrack does not know these packets, so they are not translated.
    rules += kept_inside(here, Match(oif=wans, ct_state=UNKNOWN))
    rules.append(Rule(here, Match(iif=lans), Action("goto", MANAGED.name), key))
    rules += carried_outside(gateway, here)
    rules.append(Rule(here, Match(iif=wans, ct_state=("new",)), Action("jump", COMING.name), key))
    rules += _of_a_lan(gateway) + private_of_known(wans)
    rules += [established, *errors]
    rules += _coming(here, Match(iif=wans), "managed") + _mapped(gateway) + _coming(COMING.name, Match(), "declared")
    rules.append(Rule(here, Match(), Action("goto", ELSEWHERE.name), key))
    return rules + left_to_managers(around, ELSEWHERE.name, "iif") + _from_lans(gateway) + sites(gateway)


def _coming(chain: str, match: Match, key: str) -> t.List[Rule]:
    """From outside comes what another program's DNAT lets in, such as a published container port.

    New connections are asked first: a LAN's networks may contain those of a manager's link, which LANs reach.
    """
    return [
        Rule(chain, replace(match, translated=True), RETURN, key),
        Rule(chain, match, DROP, "undeclared"),
    ]


def _mapped(gateway: Resolved) -> t.List[Rule]:
    """What is mapped 1:1 may contain a network of a manager's link, and is closed from outside unless it is opened."""
    closed = [
        net for item in gateway.nat if item.action in ("static", "prefix") and not item.inbound for net in item.to
    ]
    return [
        Rule(COMING.name, Match(family, translated=True, asked=nets), DROP, "closed")
        for family, nets in by_family(closed).items()
    ]


def _answers(wans: t.Tuple[str, ...]) -> t.List[Rule]:
    """ICMP errors are about any flow whose addresses and ports their sender knows.

    They pass if they come from the Internet, or if conntrack gives them the source of the flow. Another instance marks
    those from its LANs.
    """
    here = UNDECLARED.name
    known = [Match(ct_state=("established",)), Match(iif=wans, ct_state=RELATED), *REWRITTEN]
    return [Rule(here, match, RETURN, "answers") for match in known]


def _of_a_lan(gateway: Resolved) -> t.List[Rule]:
    """What belongs to a LAN uses no other link, even in an open flow, unless the link is left to its manager.

    A forward's server may lose its link, and a route to it lead elsewhere. Another link cannot send into such a flow
    either, neither for a host of the LAN nor for one on the Internet. Another instance, which may not be known
    yet, opens flows that nothing translates.
    """
    here, key, wans = UNDECLARED.name, "undeclared", wan_interfaces(gateway)
    links = other_links(gateway)
    rules = [Rule(here, Match(iif=links, ct_state=("established",)), RETURN, "answers")] if links else []
    inside = by_family(net for lan in gateway.lans for net in lan.networks)
    for family, nets in inside.items():
        coming = Match(family, iif=wans, destination=nets, direction="original")
        rules.append(Rule(here, coming, Action("goto", MANAGED.name), key))
    own_of = by_family(less([net for nets in inside.values() for net in nets], gateway.around.parts))
    for family, nets in own_of.items():
        # Once the LAN's link is gone, the route to its client may lead to any other.
        back = Match(family, iif=wans, destination=nets, direction="reply")
        rules.append(Rule(here, back, Action("goto", BACK.name), key))
    for family, nets in _checked_networks(gateway).items():
        # Another instance's LAN, for example, may be a part of a LAN that has all of 192.168.0.0/16 behind its routers.
        own = by_family(less(nets, gateway.around.parts)).get(family)
        if own:
            claimed = Match(family, source=own, ct_state=KNOWN)
            rules.append(Rule(here, claimed, Action("goto", ELSEWHERE.name), key))
    to_lan = Match(oif=lan_interfaces(gateway), ct_state=KNOWN)
    for into in (replace(to_lan, direction="reply"), replace(to_lan, translated=True)):
        rules.append(Rule(here, into, Action("goto", ELSEWHERE.name), key))
    return rules


def _from_lans(gateway: Resolved) -> t.List[Rule]:
    """An established flow may not use a link that a new one may not use: its route may have moved there.

    Answers may leave through a link that other instances know, but not through one with a default route.
    """
    here, key, around = MANAGED.name, "undeclared", gateway.around
    rules = [Rule(here, Match(oif=around.ways_out), DROP, key)] if around.ways_out else []
    answers = (Match(ct_state=("established",), direction="reply"), *REWRITTEN)
    rules += [Rule(here, match, RETURN, "answers") for match in answers]
    return [*rules, Rule(here, Match(), Action("goto", BACK.name), key), *left_to_managers(around, BACK.name, "oif")]


def other_links(gateway: Resolved) -> t.Tuple[str, ...]:
    own = declared(gateway)
    links = (link for each in gateway.around.neighbours for link in each.links)
    return tuple(dict.fromkeys(link for link in links if link not in own))


def _isolated(gateway: Resolved, links: t.Tuple[str, ...]) -> t.List[Rule]:
    """Undeclared links are left alone; links of another instance count as declared."""
    here, wans = UNDECLARED.name, wan_interfaces(gateway)
    return [
        Rule(here, Match(iif=wans, oif=links, translated=True), RETURN, "isolation"),
        Rule(here, Match(iif=wans, oif=links), DROP, "isolation"),
        Rule(here, Match(oif=links), REJECT, "isolation"),
        Rule(here, Match(iif=links), DROP, "isolation"),
    ]


# --- What this instance answers for ---------------------------------------------------------------------------------


def unmarked() -> t.List[Rule]:
    """A mark is valid only for the pass through the hooks in which a rule set it.

    The kernel keeps it on a packet from a tunnel, whose outer packet was for the gateway itself, and marked.
    """
    return [Rule(ARRIVE.name, Match(mark=LET_THROUGH), Action("unmark", size=REACH), "reach")]


def reaches(gateway: Resolved) -> t.List[Rule]:
    """Mark new connections from this instance's own links, about which it decides, and errors about these.

    The mark is not a verdict, so connections that it drops later are marked, too.
    """
    lans, wans, key = lan_interfaces(gateway), wan_interfaces(gateway), "reach"
    rules = [
        Rule(REACHES.name, Match(ct_state=("new", "related")), Action("jump", NEW.name), key),
        Rule(NEW.name, Match(oif=wans), Action("jump", OUT.name), key),
    ]
    # Other instances check the mark of every packet, because its route may have changed.
    exempt = [
        match for item in gateway.nat if item.action == "exempt" for match, _action in translations(gateway, item)
    ]
    rules += [
        Rule(REACHES.name, replace(match, ct_state=KNOWN, iif=lans), MARK, key)
        for match in (*exempt, *exempt_by_route(gateway))
    ]
    for lan in gateway.lans:
        others = reached(gateway, lan)
        if others:
            rules.append(Rule(NEW.name, Match(iif=lan.interfaces, oif=others), MARK, key))
            back = Match(iif=others, oif=lan.interfaces, ct_state=RELATED)
            rules.append(Rule(NEW.name, back, MARK, key))
    for forward in gateway.port_forwards:
        # Translated packets need no mark.
        if is_pinhole(gateway, forward):
            rules += [replace(rule, chain=NEW.name, action=MARK, key=key) for rule in let_in(gateway, forward)]
    rules += [replace(rule, chain=NEW.name, action=MARK, key=key) for rule in multicast(gateway)]
    rules += [Rule(NEW.name, match, MARK, key) for match in carried_public(gateway)]
    rules += [Rule(REACHES.name, match, MARK, key) for match in own_networks(gateway)]
    return [*rules, *_to_a_lan(gateway), Rule(OUT.name, Match(iif=lans), MARK, key), _as_this_host(gateway)]


def _to_a_lan(gateway: Resolved) -> t.List[Rule]:
    """No new flow to a LAN's network leaves through a WAN, where a router advertisement may have set a route to it."""
    inside = [net for lan in gateway.lans for net in lan.networks if family_of(net) == "ip6"]
    kept = [net for item in gateway.nat if item.action == "exempt" for net in item.destination]
    return [
        Rule(OUT.name, Match(family, destination=nets), DROP, "guard")
        for family, nets in by_family(less(inside, kept)).items()
    ]


def _as_this_host(gateway: Resolved) -> Rule:
    """No new flow to a WAN has an IPv4 address of this host as its source, where ``accept_local`` lets such packets in.

    Not in prerouting, as for IPv6: there, the kernel also shows frames of this host that a second bridge only passes.
    """
    links = lan_interfaces(gateway) if gateway.undeclared == "leave" else ()
    return Rule(OUT.name, Match("ip", iif=links, not_destination=GROUPS["ip"], martian=True), DROP, "spoofed")


def unseen(gateway: Resolved) -> t.List[Rule]:
    """Drop untranslated private sources of any network of the host.

    Packets marked by this or another instance are excluded: the LANs' guard checks them, or an item exempts them.
    """
    if gateway.undeclared == "leave":
        return []
    match = Match(oif=ways_out(gateway), mark=NOT_LET_THROUGH, foreign=True, untranslated=True)
    return _exempt_of_checked(gateway) + kept_inside(UNSEEN.name, match)


def _exempt_of_checked(gateway: Resolved) -> t.List[Rule]:
    """What this instance exempts needs no mark, which other programs clear that set one of their own.

    Only from LANs whose guard checks it: a container or a VPN client may have an address inside a LAN's network. Where
    the link that a packet came from is unknown (iptables; nftables before Linux 5.7), security.md tells the limit.
    """
    checked = [net for nets in _checked_networks(gateway).values() for net in less(nets, gateway.around.parts)]
    links = tuple(name for lan in gateway.lans if lan.spoof_check for name in lan.interfaces)
    return [
        Rule(UNSEEN.name, replace(match, iif=links), RETURN, "reach")
        for item in gateway.nat
        if item.action == "exempt" and checked
        for match, _action in translations(gateway, item, within(sources_of(gateway, item), checked))
    ]


# --- One line ---------------------------------------------------------------------------------------------------------


def closing(item: Masquerade, translated: t.Iterable[Match]) -> t.List[Rule]:
    """Close what a line leaves open: what its WAN opens, and its sources on any other WAN.

    The engine puts these rules after those of other items, and drops after accepts.
    """
    wan, key = (item.out_interface,), item.key
    rules = [
        Rule(FORWARD.name, Match(iif=wan, ct_state=("related", "established")), RETURN, key),
        Rule(FORWARD.name, Match(iif=wan, translated=True), RETURN, key),
        Rule(FORWARD.name, Match(iif=wan), DROP, key),
    ]
    rules += [Rule(EGRESS.name, match, Action("expect_nat", nat=MASQUERADE), key) for match in translated]
    inside = by_family(NEVER_OUTSIDE)
    for family, nets in by_family(item.source).items():
        # Inner networks and VPNs have private destinations.
        rules.append(Rule(EGRESS.name, Match(family, source=nets, destination=inside[family]), RETURN, key))
        rules.append(Rule(EGRESS.name, Match(family, source=nets), GUARD, key))
    return rules
