# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Where a gateway ends: links that nobody declared, sources that a WAN cannot have, other instances on the host.

Each instance decides about what comes from its own links. What it lets through gets a mark before any instance filters,
so that the others need not know it, in whichever order they were applied.
"""

from __future__ import annotations

import typing as t
from dataclasses import replace

from ._around import reached
from ._chains import (
    ARRIVE,
    DROP,
    EGRESS,
    FORWARD,
    GUARD,
    MASQUERADE,
    REACHES,
    REJECT,
    RETURN,
    UNDECLARED,
    UNSEEN,
    declared,
    lan_interfaces,
    wan_interfaces,
)
from ._compile_nat import let_in
from ._conflicts import is_pinhole
from ._rules import REACH, Action, Chain, Match, Rule, by_family, network
from ._values import PRIVATE, UNIQUE_LOCAL

if t.TYPE_CHECKING:  # pragma: no cover
    from ._intent import Gateway, Masquerade

#: What no router of the Internet has a route to: RFC 1918, RFC 4193.
NEVER_OUTSIDE = tuple(str(net) for net in (*PRIVATE, UNIQUE_LOCAL))
MARK = Action("mark", size=REACH)
LET_THROUGH, NOT_LET_THROUGH = (REACH, REACH), (0, REACH)
#: Chains that only the ones above lead to.
NEW = Chain("reaches-new", "", REACHES.stage)
OUT = Chain("reaches-out", "", REACHES.stage)
MANAGED = Chain("undeclared-managed")
CLAIMED = Chain("claimed")


def ways_out(gateway: Gateway) -> t.Tuple[str, ...]:
    """By which no private source may leave."""
    return wan_interfaces(gateway) + (gateway.around.ways_out if gateway.undeclared == "drop" else ())


# --- What a WAN claims ----------------------------------------------------------------------------------------------


def spoofed(gateway: Gateway, chain: str) -> t.List[Rule]:
    """RFC 2827: a WAN never speaks with a LAN's source, also not inside a known flow."""
    rules = []
    for family, own in _checked_networks(gateway).items():
        broad = _covering(own)
        for wan in wan_interfaces(gateway):
            match = Match(family, iif=(wan,), source=broad)
            action = Action("jump", CLAIMED.name) if len(broad) < len(own) else DROP
            rules.append(Rule(chain, match, action, "spoofed/" + wan))
    return rules


def claimed(gateway: Gateway) -> t.List[Rule]:
    """Asked only where a source may be a LAN's: packets from the Internet are compared with a few networks."""
    return [
        Rule(CLAIMED.name, Match(family, iif=(wan,), source=own), DROP, "spoofed/" + wan)
        for family, own in _checked_networks(gateway).items()
        if len(_covering(own)) < len(own)
        for wan in wan_interfaces(gateway)
    ]


def _checked_networks(gateway: Gateway) -> t.Dict[str, t.Tuple[str, ...]]:
    return by_family(net for lan in gateway.lans or () if lan.spoof_check for net in lan.networks or ())


def _covering(networks: t.Tuple[str, ...]) -> t.Tuple[str, ...]:
    """Fewer networks that hold all of these, if there are such."""
    if len(networks) <= 4:
        return networks
    private = [network(net) for net in NEVER_OUTSIDE]
    broad = []
    for net in networks:
        parsed = network(net)
        holding = (each for each in private if each.version == parsed.version and parsed.subnet_of(each))
        broad.append(str(next(holding, parsed)))
    return next(iter(by_family(broad).values()))


# --- Between what is declared and what is not -----------------------------------------------------------------------


def undeclared(gateway: Gateway) -> t.List[Rule]:
    """What gets here has one declared link, and has not been decided about."""
    here, key = UNDECLARED.name, "undeclared"
    rules = [
        Rule(here, Match(ct_state=("related", "established")), RETURN, "answers"),
        Rule(here, Match(mark=LET_THROUGH), RETURN, "reach"),
    ]
    if gateway.undeclared == "leave":
        links = other_links(gateway)
        return rules + _isolated(gateway, links) if links else []
    lans, wans, around = lan_interfaces(gateway), wan_interfaces(gateway), gateway.around
    # Conntrack knows nothing of these, so nobody translates them.
    rules += [
        Rule(here, Match(family, oif=wans, source=nets, ct_state=("invalid", "untracked")), DROP, "guard")
        for family, nets in by_family(NEVER_OUTSIDE).items()
    ]
    # What another's DNAT has let in: a published port of a container.
    rules.append(Rule(here, Match(iif=wans, translated=True), RETURN, "managed"))
    rules.append(Rule(here, Match(iif=wans), DROP, key))
    rules.append(Rule(here, Match(iif=lans), Action("goto", MANAGED.name), key))
    for chain, side in ((here, "iif"), (MANAGED.name, "oif")):
        if around.apart:
            rules.append(Rule(chain, _by(side, around.apart), DROP, key))
        rules.append(Rule(chain, _by(side, around.managed), RETURN, "managed"))
        rules.append(Rule(chain, Match(), DROP, key))
    return rules


def _by(side: str, names: t.Tuple[str, ...]) -> Match:
    return Match(iif=names) if side == "iif" else Match(oif=names)


def other_links(gateway: Gateway) -> t.Tuple[str, ...]:
    own = declared(gateway)
    links = (link for each in gateway.around.neighbours for link in each.links)
    return tuple(dict.fromkeys(link for link in links if link not in own))


def _isolated(gateway: Gateway, links: t.Tuple[str, ...]) -> t.List[Rule]:
    """Links that nobody declared are left alone; those of another instance are declared."""
    here, wans = UNDECLARED.name, wan_interfaces(gateway)
    return [
        Rule(here, Match(iif=wans, oif=links, translated=True), RETURN, "isolation"),
        Rule(here, Match(iif=wans, oif=links), DROP, "isolation"),
        Rule(here, Match(oif=links), REJECT, "isolation"),
        Rule(here, Match(iif=links), DROP, "isolation"),
    ]


# --- What this instance answers for ---------------------------------------------------------------------------------


def unmarked() -> t.List[Rule]:
    """A mark counts on the way on which a rule has set it.

    The kernel leaves it on what comes out of a tunnel: there, the outer packet was for the gateway itself, and marked.
    """
    return [Rule(ARRIVE.name, Match(mark=LET_THROUGH), Action("unmark", size=REACH), "reach")]


def reaches(gateway: Gateway) -> t.List[Rule]:
    """Marks new connections from this instance's own links that are its own to decide about.

    Also those that it drops later: a mark is no verdict.
    """
    lans, wans, key = lan_interfaces(gateway), wan_interfaces(gateway), "reach"
    rules = [
        Rule(REACHES.name, Match(ct_state=("new",)), Action("jump", NEW.name), key),
        Rule(NEW.name, Match(oif=wans), Action("jump", OUT.name), key),
    ]
    for lan in gateway.lans or ():
        others = reached(gateway, lan)
        if others:
            rules.append(Rule(NEW.name, Match(iif=lan.interfaces, oif=others), MARK, key))
    for forward in gateway.port_forwards:
        # What is translated needs no mark.
        if is_pinhole(gateway, forward):
            rules += [replace(rule, chain=NEW.name, action=MARK, key=key) for rule in let_in(gateway, forward)]
    return [*rules, Rule(OUT.name, Match(iif=lans), MARK, key)]


def unseen(gateway: Gateway) -> t.List[Rule]:
    """A private source of any network of the host that nobody has translated does not leave.

    What this instance or another one has marked is theirs: the guard of the LANs asks for it, or an item exempts it.
    """
    if gateway.undeclared == "leave":
        return []
    match = Match(oif=ways_out(gateway), mark=NOT_LET_THROUGH, foreign=True, untranslated=True)
    return [
        Rule(UNSEEN.name, replace(match, family=family, source=nets), DROP, "guard")
        for family, nets in by_family(NEVER_OUTSIDE).items()
    ]


# --- One line ---------------------------------------------------------------------------------------------------------


def closing(item: Masquerade, translated: t.Iterable[Match]) -> t.List[Rule]:
    """What a line leaves open: whatever its WAN opens, and its sources by any other way out.

    The engine puts these rules behind those of other items, and what drops behind what lets through.
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
