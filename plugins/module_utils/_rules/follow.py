# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""LANs that follow their links: a network that appears between two runs is accepted, too.

A source unknown at the last run is looked up in the host's routes. This happens in prerouting, because neither iptables
nor kernels before 6.0 can do it elsewhere. If the route leads back to the packet's LAN, the packet gets a mark, by
which it is accepted and translated. Known sources need no look-up, and all other packets one test.
"""

from __future__ import annotations

import typing as t
from dataclasses import replace

from .._base.net import by_family
from .._base.values import is_private
from .._resolve.inside import followed
from .chains import ACCEPT, ARRIVE, EGRESS, GUARD, RETURN, SRCNAT, wan_interfaces
from .model import FOLLOWED, Action, Chain, Match, Rule
from .nat import errors_of_exempt, translations

if t.TYPE_CHECKING:  # pragma: no cover
    from .._intent.nat import NatItem
    from .._resolve.resolved import Resolved, ResolvedLan

FOLLOW_LAN = Chain("follow-lan", "", ARRIVE.stage)
SRCNAT_ROUTED = Chain("srcnat-route", "", SRCNAT.stage)
EGRESS_ROUTED = Chain("egress-route", "", EGRESS.stage)
BY_ROUTE = (FOLLOWED, FOLLOWED)
KEY = "follow"


def marked(gateway: Resolved) -> t.List[Rule]:
    following = [lan for lan in gateway.lans if lan.follows]
    families = by_family(followed(gateway))
    if not families:
        return []
    known = by_family(net for lan in following for net in lan.networks)
    inside = tuple(name for lan in following for name in lan.interfaces)
    rules = [
        Rule(ARRIVE.name, Match(iif=inside), Action("jump", FOLLOW_LAN.name), KEY),
        # A mark that was set on the way here does not depend on the routes.
        Rule(FOLLOW_LAN.name, Match(mark=BY_ROUTE), Action("unmark", size=FOLLOWED), KEY),
    ]
    for family in families:
        if family in known:
            rules.append(Rule(FOLLOW_LAN.name, Match(family, source=known[family]), RETURN, KEY))
        rules.append(Rule(FOLLOW_LAN.name, Match(family, routed=True), Action("mark", size=FOLLOWED), KEY))
    return rules


def own_by_route(gateway: Resolved, lan: ResolvedLan) -> t.List[Match]:
    """Sources of a LAN beyond its known networks."""
    if not lan.follows:
        return []
    return [Match(family, source=nets, mark=BY_ROUTE) for family, nets in by_family(followed(gateway)).items()]


def srcnat_routed(gateway: Resolved) -> t.List[Rule]:
    return _branch(SRCNAT, SRCNAT_ROUTED, [Rule(SRCNAT_ROUTED.name, *each) for each in _translated(gateway)])


def egress_routed(gateway: Resolved) -> t.List[Rule]:
    """The egress guard for these sources; no outside host has a route to a private one."""
    errors = errors_of_exempt(gateway, _for_all(gateway), _private(gateway))
    rules = [Rule(EGRESS_ROUTED.name, *each) for each in errors]
    for match, action, key in _translated(gateway):
        if action == ACCEPT:
            rules.append(Rule(EGRESS_ROUTED.name, match, RETURN, key))
        else:
            rules.append(Rule(EGRESS_ROUTED.name, match, Action("expect_nat", nat=action), "guard"))
    wans = wan_interfaces(gateway)
    rules += [
        # A WAN behind another NAT has a private address itself.
        Rule(EGRESS_ROUTED.name, Match(family, oif=wans, source=nets, foreign=True), GUARD, "guard")
        for family, nets in by_family(_private(gateway)).items()
    ]
    return _branch(EGRESS, EGRESS_ROUTED, rules)


def exempt_by_route(gateway: Resolved) -> t.List[Match]:
    """Packets from these sources that leave as they are."""
    return [replace(match, mark=BY_ROUTE) for match, action, _key in _translated(gateway) if action == ACCEPT]


def _branch(chain: Chain, to: Chain, rules: t.List[Rule]) -> t.List[Rule]:
    return [Rule(chain.name, Match(mark=BY_ROUTE), Action("jump", to.name), KEY), *rules] if rules else []


def _private(gateway: Resolved) -> t.Tuple[str, ...]:
    return tuple(net for net in followed(gateway) if is_private(net))


def _translated(gateway: Resolved) -> t.List[t.Tuple[Match, Action, str]]:
    return [
        (match, action, "nat/" + item.name)
        for item in _for_all(gateway)
        for match, action in translations(gateway, item, _private(gateway))
    ]


def _for_all(gateway: Resolved) -> t.List[NatItem]:
    """Items that apply to all of these LANs, because the mark does not identify the LAN."""
    names = {lan.name for lan in gateway.lans if lan.follows}
    return [
        item
        for item in gateway.nat
        if item.action not in ("static", "prefix") and (not item.source or names.issubset(item.source))
    ]
