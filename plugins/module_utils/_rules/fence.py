# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""What stays closed when all other rules are flushed: a gateway's essential guarantees, repeated in a few rules.

The kernel consults NAT chains about the first packet of a flow only, and ours, after all others, only if nobody has
translated its source. Therefore these rules see what remains untranslated after a flush, and the few flows that are
never translated; they accept the latter as the gateway's own rules do. What a LAN may open outside, how often, and what
passes between undeclared links is up to the gateway's own rules alone.

After routing, the kernel does not say from which link a multicast packet came, and asks once for all its copies.
Where groups are declared, and so a multicast router runs, each packet is therefore asked before that, too.

Where a bridge shows its frames to the rules, the first packet of a flow may be a frame from port to port, which is
nobody's to stop: if its sender then sends the others to this host, NAT chains are not asked again. Nor are they about
machines behind a second bridge. So, on hosts with a bridge, filter chains ask about what nobody has translated, once
more and with each packet. A host that is at the bridge may even forge an answer, so it is not enough to ask about new
flows: of the known ones, those between declared links are checked whose verdict depends on no mark, which a flush ends.
"""

from __future__ import annotations

import typing as t
from dataclasses import replace

from .._intent.conflicts import is_pinhole
from .._resolve.around import reached
from .around import martians, other_links, unmarked, unseen, ways_out
from .beneath import between_ports, own_frames
from .bridged import FORGED, forged
from .carried import KEY as CARRIED_KEY, carried_public
from .chains import (
    DROP,
    EGRESS,
    LET_THROUGH,
    PROTECTED,
    RETURN,
    declared,
    lan_interfaces,
    wan_interfaces,
    with_twins,
)
from .follow import EGRESS_ROUTED, egress_routed
from .input import FORWARDED, by_link, chain_own, chain_protected
from .kept import fenced, kept_chains, towards
from .managed import GROUPS, from_sites, to_sites
from .model import Action, Chain, Match, Rule, RuleSet
from .multicast import multicast
from .nat import egress, let_in

if t.TYPE_CHECKING:
    from .._resolve.resolved import Resolved

FENCE = Chain("fence", "postrouting", "fence")
FENCE_INPUT = Chain("fence-input", "input", "fence")
#: Before the fence of any instance decides, as their own rules do before a flush.
FENCE_OWN = Chain("fence-own", "input", "fence_own")
FENCE_ARRIVE = Chain("fence-arrive", "prerouting", "fence")
FENCE_FORWARD = Chain("fence-forward", "forward", "fence")
FENCE_FORGED = Chain("fence-forged", "prerouting", FORGED.stage)
#: Sees each packet, not only the first of a flow.
FENCE_COPIES = Chain("fence-copies", "postrouting", "guard")
#: Beside FENCE_OWN and FENCE_INPUT, for flows that a bridge has shown before.
FENCE_OWN_SEEN = Chain("fence-own-seen", "input", "own_seen")
FENCE_INPUT_SEEN = Chain("fence-input-seen", "input", "seen")
#: New, untranslated flows from elsewhere, and multicast packets.
BEGIN, MULTICAST, COPIES = Chain("begin"), Chain("groups"), Chain("copies")
OUTSIDE, INSIDE, OTHERS = Chain("from-outside"), Chain("from-inside"), Chain("from-others")
#: Packets of flows that conntrack knows, in the direction of the first one and in the other.
SEEN, ANSWERS = Chain("seen"), Chain("answers")
#: What comes to this host: which links are protected.
LINKS = Chain("links")
HOOKS = (
    FENCE, FENCE_OWN, FENCE_OWN_SEEN, FENCE_INPUT, FENCE_INPUT_SEEN, FENCE_ARRIVE, FENCE_FORGED, FENCE_FORWARD,
    FENCE_COPIES,
)  # fmt: skip
INNER = (
    BEGIN, MULTICAST, COPIES, SEEN, ANSWERS, OUTSIDE, INSIDE, OTHERS, EGRESS, EGRESS_ROUTED, LINKS, PROTECTED,
    FORWARDED,
)  # fmt: skip
ESTABLISHED = ("established",)
KEY = "fence"


def compile_fence(gateway: Resolved) -> RuleSet:
    """The fence of a resolved gateway."""
    gateway = with_twins(gateway)
    outside, lans = ways_out(gateway), lan_interfaces(gateway)
    # Packets of this host have one of its addresses. So have the outer packets of a tunnel, which the kernel shows as
    # coming from the tunnel's own interface (since Linux 5.7).
    rules = [Rule(FENCE.name, Match(ct_state=("new",), foreign=True), Action("jump", BEGIN.name), KEY)]
    if outside:
        rules.append(Rule(BEGIN.name, Match(oif=outside), Action("jump", EGRESS.name), KEY))
        rules.append(Rule(BEGIN.name, Match(iif=outside), Action("goto", OUTSIDE.name), KEY))
    rules += fenced(gateway, BEGIN.name)
    if lans:
        rules.append(Rule(BEGIN.name, Match(iif=lans), Action("goto", INSIDE.name), KEY))
        rules += _to_lans(gateway, BEGIN.name) + _from_others(gateway)
    rules += (
        between_ports(gateway, FENCE_FORWARD.name)
        + _multicast(gateway)
        + [replace(rule, chain=FENCE_FORGED.name) for rule in forged(gateway)]
        + _seen(gateway)
        + egress(gateway, outside)
        + egress_routed(gateway)
    )
    if gateway.around.bridged:
        # A flush ends the marks of what another instance exempts, and known flows need not begin again.
        rules.append(Rule(EGRESS.name, Match(ct_state=ESTABLISHED), RETURN, KEY))
    # What is exempted has returned by now.
    rules += [replace(rule, chain=EGRESS.name) for rule in unseen(gateway) if rule.action == DROP]
    rules += _from_outside(gateway) + _from_inside(gateway) + _input(gateway)
    rules += _own(gateway)
    # After a flush nobody else clears the mark, which the rules above trust, or stops what claims to be this host.
    rules += [
        replace(rule, chain=FENCE_ARRIVE.name, match=replace(rule.match, ct_state=("new",)))
        for rule in unmarked() + own_frames(gateway) + martians(gateway)
    ]
    # After the translation, no expect_nat is needed.
    rules = [
        replace(rule, action=DROP) if rule.action.kind == "guard" else rule
        for rule in rules
        if rule.action.kind != "expect_nat"
    ]
    filled = {rule.chain for rule in rules}
    chains = [each for each in HOOKS if each.name in filled]
    chains += [Chain(each.name) for each in INNER if each.name in filled or each in (BEGIN, EGRESS)]
    return RuleSet(gateway.instance, (*chains, *kept_chains(gateway)), tuple(rules))


def _from_outside(gateway: Resolved) -> t.List[Rule]:
    """Closed, except for what another program's DNAT accepts, and what our own rules open without DNAT."""
    here, wans = OUTSIDE.name, wan_interfaces(gateway)
    opened = _pinholes(gateway) + multicast(gateway)
    # Private sources that nobody translates have been dropped before.
    opened += [Rule(here, match, RETURN, CARRIED_KEY) for match in carried_public(gateway)]
    rules = [
        Rule(here, Match(translated=True), RETURN, "managed"),
        Rule(here, Match(mark=LET_THROUGH), RETURN, "reach"),
        *(replace(rule, chain=here, action=RETURN) for rule in opened if set(rule.match.iif) <= set(wans)),
    ]
    if gateway.undeclared == "leave":
        return [*rules, Rule(here, Match(oif=declared(gateway) + other_links(gateway)), DROP, "closed")]
    if wans:
        rules.append(Rule(here, Match(iif=wans), DROP, "closed"))
    if ways_out(gateway) != wans:
        # Undeclared traffic from a link with a default route that is not a WAN is not ours to close.
        rules.append(Rule(here, Match(oif=declared(gateway)), DROP, "undeclared"))
    return rules


def _from_inside(gateway: Resolved) -> t.List[Rule]:
    """LANs are isolated. Private sources towards other links have been checked before."""
    here, lans = INSIDE.name, lan_interfaces(gateway)
    rules = [Rule(here, Match(translated=True), RETURN, "managed")]
    for lan in gateway.lans:
        others = tuple(name for other in gateway.lans if other.name in lan.reaches for name in other.interfaces)
        inside = lan.interfaces + others + reached(gateway, lan)
        rules.append(Rule(here, Match(iif=lan.interfaces, oif=inside), RETURN, "lan/" + lan.name))
    opened = [rule for rule in _pinholes(gateway) if set(rule.match.iif) <= set(lans)]
    rules += [replace(rule, chain=here, action=RETURN) for rule in opened]
    if not lans:
        return []
    rules.append(Rule(here, Match(oif=lans), DROP, "isolation"))
    if gateway.undeclared == "leave":
        return rules
    rules.append(Rule(here, Match(oif=wan_interfaces(gateway)), RETURN, KEY))
    # Through another instance's WAN, if that lets it. Any other link may have a default route by now.
    rules.append(Rule(here, Match(mark=LET_THROUGH), RETURN, "reach"))
    return rules + to_sites(gateway, here)


def _from_others(gateway: Resolved) -> t.List[Rule]:
    """From other links, LANs are reached by sites alone, or by what another instance lets through."""
    if gateway.undeclared == "leave":
        return []
    here = OTHERS.name
    rules = [Rule(here, match, RETURN, "reach") for match in (Match(translated=True), Match(mark=LET_THROUGH))]
    return rules + from_sites(gateway, here)


def _to_lans(gateway: Resolved, chain: str) -> t.List[Rule]:
    """A transparent proxy on this host sends with the address of its client."""
    if gateway.undeclared == "leave":
        return []
    routed = Match(oif=lan_interfaces(gateway), forwarded=True)
    return [Rule(chain, routed, Action("goto", OTHERS.name), KEY)]


def _multicast(gateway: Resolved) -> t.List[Rule]:
    """Groups from any link, and each of their copies for a link to the outside."""
    outside, lans, here = ways_out(gateway), lan_interfaces(gateway), MULTICAST.name
    if not gateway.multicast or not lans:
        return []
    to_groups = [Match(family, destination=nets) for family, nets in GROUPS.items()]
    rules = [Rule(FENCE_FORWARD.name, match, Action("goto", here), KEY) for match in to_groups]
    # Between the ports of a bridge.
    rules += [Rule(here, Match(iif=(link,), oif=(link,)), RETURN, KEY) for link in outside]
    rules.append(Rule(here, Match(iif=outside), Action("goto", OUTSIDE.name), KEY))
    rules.append(Rule(here, Match(iif=lans), Action("goto", INSIDE.name), KEY))
    rules += _to_lans(gateway, here)
    leaving = (replace(match, oif=outside, foreign=True) for match in to_groups)
    rules += [Rule(FENCE_COPIES.name, match, Action("goto", COPIES.name), KEY) for match in leaving]
    rules.append(Rule(COPIES.name, Match(mapped=True), RETURN, KEY))
    rules.append(Rule(COPIES.name, Match(), Action("goto", EGRESS.name), KEY))
    return rules


def _seen(gateway: Resolved) -> t.List[Rule]:
    """Flows that a bridge may have shown before, so that no NAT chain is asked about them."""
    outside, lans, here = ways_out(gateway), lan_interfaces(gateway), SEEN.name
    if not gateway.around.bridged or not outside:
        return []
    known = Match(direction="original", again=True)
    rules = [
        Rule(FENCE_FORWARD.name, known, Action("jump", here), KEY),
        Rule(FENCE_FORWARD.name, Match(oif=outside, direction="reply"), Action("jump", ANSWERS.name), KEY),
        Rule(ANSWERS.name, Match(translated=True), RETURN, KEY),
        Rule(ANSWERS.name, Match(ct_state=ESTABLISHED), Action("goto", EGRESS.name), KEY),
        Rule(here, Match(mapped=True), RETURN, KEY),
    ]
    # Between the ports of a bridge, or back to where it came from.
    rules += [Rule(here, Match(iif=(link,), oif=(link,)), RETURN, KEY) for link in outside]
    rules += [
        replace(rule, chain=here, match=replace(rule.match, iif=rule.match.iif or declared(gateway)))
        for rule in martians(gateway)
        if rule.match.iif != ("lo",)
    ]
    rules.append(Rule(here, Match(ct_state=("new",), foreign=True), Action("goto", BEGIN.name), KEY))
    rules.append(Rule(here, Match(oif=outside, ct_state=ESTABLISHED), Action("jump", EGRESS.name), KEY))
    if lans:
        rules.append(Rule(here, Match(expected=True), RETURN, "answers"))
        into = Match(iif=outside, oif=lans, ct_state=ESTABLISHED)
        rules.append(Rule(here, into, Action("goto", OUTSIDE.name), KEY))
        rules += towards(gateway, here, Match(ct_state=ESTABLISHED))
        rules.append(Rule(here, replace(into, iif=lans), Action("goto", INSIDE.name), KEY))
    return rules


def _pinholes(gateway: Resolved) -> t.List[Rule]:
    """Rules that open a server at its own address."""
    forwards = (forward for forward in gateway.port_forwards if is_pinhole(gateway, forward))
    return [rule for forward in forwards for rule in let_in(gateway, forward)]


def _input(gateway: Resolved) -> t.List[Rule]:
    """Packets to the gateway itself, if it is protected."""
    if gateway.input != "protect":
        return []
    asked, new = Action("goto", LINKS.name), Match(ct_state=("new",))
    rules = [Rule(FENCE_INPUT.name, new, asked, "input")]
    if gateway.around.bridged:
        rules.append(Rule(FENCE_INPUT_SEEN.name, replace(new, again=True), asked, "input"))
    return rules + [replace(rule, chain=LINKS.name) for rule in by_link(gateway)] + chain_protected(gateway)


def _own(gateway: Resolved) -> t.List[Rule]:
    """What comes to this host through links of this instance."""
    rules = [replace(rule, chain=FENCE_OWN.name) for rule in chain_own(gateway)]
    if gateway.around.bridged:
        rules += [replace(rule, chain=FENCE_OWN_SEEN.name, match=replace(rule.match, again=True)) for rule in rules]
    return rules
