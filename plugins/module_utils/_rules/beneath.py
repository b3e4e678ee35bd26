# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""LANs above a bridge, such as the VLANs of a VLAN-aware bridge.

Where the kernel shows bridged frames to these rules (see bridged.py), packets for a link above a bridge pass prerouting
as those of the bridge, and input and forward as those of their own link. So prerouting lets a LAN's sources come from
the bridge below it, and the other hooks drop them on any link at that bridge that is not declared.

A veth pair may join another bridge to that of a LAN, a WAN or neither, as Proxmox does for each virtual machine with a
firewall. What passes that one is shown as its own in all hooks, in both directions: so is what this host and LANs send
to that machine. It has no address, so nothing is routed there.
"""

from __future__ import annotations

import typing as t
from dataclasses import replace

from .._base.net import by_family, matches_any
from .._base.values import less
from .bridged import ON_ONE_LINK
from .chains import DROP, FORWARD, INPUT, OUTSIDE, RETURN, declared
from .model import Action, Chain, Match, Rule

if t.TYPE_CHECKING:  # pragma: no cover
    from .._resolve.resolved import Resolved, ResolvedLan

BENEATH = Chain("beneath")
#: The longest name of a link.
LONGEST = 15


def of_lans(gateway: Resolved) -> t.List[Match]:
    """What comes from a bridge with the source of a LAN above it.

    At one that is joined to another bridge, whatever LANs send there. The other bridge checks what comes from there.
    """
    found = [
        Match(family, iif=(bridge,), source=nets)
        for bridge, lans in _above(gateway)
        for family, nets in _sources(gateway, lans).items()
    ]
    return found + [Match(iif=(bridge,)) for bridge, _links in _joined(gateway)]


def own_frames(gateway: Resolved) -> t.List[Rule]:
    """What this host sends to a link at a bridge is also shown at bridges joined to it, and comes in from a link."""
    return [
        Rule(OUTSIDE.name, Match("ip6", iif=(bridge,), ct_state=("new",)), RETURN, "declared")
        for bridge, _links in _joined(gateway)
    ]


def beneath(gateway: Resolved, chain: str) -> t.List[Rule]:
    """What prerouting could not tell apart, in a chain of input or forward."""
    rules = between_ports(gateway, chain) if chain == FORWARD.name else _heard(gateway)
    for bridge, lans in _above(gateway):
        if chain == FORWARD.name:
            rules += _switched(bridge, lans)
        for family, nets in _sources(gateway, lans).items():
            rules.append(Rule(chain, Match(family, source=nets), Action("jump", BENEATH.name), "spoofed"))
    return rules


def chain_beneath(gateway: Resolved) -> t.List[Rule]:
    """What is sent with a source of these LANs. A link that came to the bridge after the last run may have any name.

    Prerouting has asked the routes about links of VPNs and containers, unless they are at the bridge, too.
    """
    if not _above(gateway):
        return []
    at_bridges = tuple(link for bridge, _lans in _above(gateway) for link in _links(gateway, bridge))
    return [
        Rule(BENEATH.name, Match(iif=declared(gateway)), RETURN, "declared"),
        Rule(BENEATH.name, Match(iif=at_bridges), DROP, "spoofed"),
        Rule(BENEATH.name, Match(iif=("lo", *gateway.around.managed)), RETURN, "managed"),
        Rule(BENEATH.name, Match(), DROP, "spoofed"),
    ]


def with_bridges(gateway: Resolved, rules: t.List[Rule]) -> t.List[Rule]:
    """Rules of prerouting, for what a WAN sends through a bridge that has nothing else, too."""
    found = []
    for rule in rules:
        # No route leads to such a bridge.
        links = () if rule.match.astray else rule.match.iif
        below = tuple(bridge for bridge, link, _networks in gateway.around.outer if matches_any(links, link))
        found.append(replace(rule, match=replace(rule.match, iif=rule.match.iif + below)) if below else rule)
    return found


def between_ports(gateway: Resolved, chain: str) -> t.List[Rule]:
    """At the bridge to which it is joined, all of this is checked before it leaves that one, or has been."""
    rules = []
    for bridge, _links in _joined(gateway):
        here = Match(iif=(bridge,))
        rules.append(Rule(chain, replace(here, oif=(bridge,)), RETURN, "declared"))
        rules.append(Rule(chain, here, DROP, "undeclared"))
    return rules


def _heard(gateway: Resolved) -> t.List[Rule]:
    """Broadcasts are for this host where it has addresses."""
    links = tuple(bridge for bridge, _links in _joined(gateway))
    return [Rule(INPUT.name, Match(iif=links), DROP, "declared")] if links else []


def _switched(bridge: str, lans: t.List[ResolvedLan]) -> t.List[Rule]:
    """Frames between ports: of one LAN, so that no answer could reach another link."""
    passing = list(ON_ONE_LINK)
    for lan in lans:
        passing += [Match(family, source=nets, destination=nets) for family, nets in by_family(lan.networks).items()]
    return [Rule(FORWARD.name, replace(match, iif=(bridge,), oif=(bridge,)), RETURN, "declared") for match in passing]


def _above(gateway: Resolved) -> t.List[t.Tuple[str, t.List[ResolvedLan]]]:
    """Undeclared bridges, with the LANs above each whose sources are checked."""
    found = [
        (bridge, [lan for lan in gateway.lans if lan.spoof_check and _is_of(lan, links)])
        for bridge, links in gateway.around.beneath
        if gateway.undeclared == "drop"
    ]
    return [(bridge, lans) for bridge, lans in found if lans]


def _joined(gateway: Resolved) -> t.Tuple[t.Tuple[str, t.Tuple[str, ...]], ...]:
    return gateway.around.joined if gateway.undeclared == "drop" else ()


def _is_of(lan: ResolvedLan, links: t.Iterable[str]) -> bool:
    return any(matches_any(lan.interfaces, link) for link in links)


def _sources(gateway: Resolved, lans: t.List[ResolvedLan]) -> t.Dict[str, t.Tuple[str, ...]]:
    """A part of a LAN's network that an undeclared link has, as the bridge itself may, is told apart by routes."""
    return by_family(less([net for lan in lans for net in lan.networks], gateway.around.parts))


def _links(gateway: Resolved, bridge: str) -> t.Tuple[str, ...]:
    """The bridge, and what is or may be above it beside declared links."""
    above = [link for link in dict(gateway.around.beneath)[bridge] if not matches_any(declared(gateway), link)]
    vlans = [bridge + ".*"] if len(bridge) + 1 < LONGEST else []
    return (bridge, *(link for link in above if not matches_any(vlans, link)), *vlans)
