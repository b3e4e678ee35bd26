# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""What LANs may open towards a WAN, and how often.

A rule may be several rows in a backend (iptables has one for each port and each network), and each row has a limit of
its own. So the limit is in a chain, to which all of them jump.
"""

from __future__ import annotations

import typing as t
from dataclasses import replace

from .._base.net import matches_any
from .._resolve.inside import followed, inside_of, within
from .chains import ACCEPT, OPENING, REJECT, matches
from .model import Action, Chain, Match, Rule

if t.TYPE_CHECKING:  # pragma: no cover
    from .._intent.outbound import Outbound
    from .._resolve.resolved import Resolved, ResolvedLan

#: The prefix of the names of chains that count.
LIMIT = "limit-"


def outbound(gateway: Resolved, lan: ResolvedLan, opens: str) -> t.List[Rule]:
    """Checked for new connections only, so replies to a port forward always leave."""
    rules = []
    for item in gateway.outbound:
        key = "outbound/" + item.name
        for number, each in enumerate(_matches(gateway, item, lan)):
            match = replace(each, ct_state=OPENING)
            if not item.rate:
                rules.append(Rule(opens, match, Action(item.action), key))
                continue
            limit = _limit(lan, item, number)
            if not _confirmed_before(gateway, lan):
                # A flow that nobody answers stays new.
                rules.append(Rule(opens, replace(match, ct_state=("new",), again=True), ACCEPT, key))
            rules.append(Rule(opens, match, Action("jump", limit), "declared"))
            rules.append(Rule(limit, Match(each.family, rate=item.rate), ACCEPT, key))
            rules.append(Rule(limit, Match(each.family), REJECT, key))
    return rules


def limits(gateway: Resolved, lan: ResolvedLan) -> t.List[Chain]:
    """The chains that count: one for each family and protocol."""
    return [
        Chain(_limit(lan, item, number))
        for item in gateway.outbound
        if item.rate
        for number, _match in enumerate(_matches(gateway, item, lan))
    ]


def _limit(lan: ResolvedLan, item: Outbound, number: int) -> str:
    """Names may contain hyphens, but no slash: a LAN home and an item iot-mail, a LAN home-iot and an item mail."""
    return LIMIT + "{0}/{1}/{2}".format(lan.name, item.name, number)


def is_limit(chain: str) -> bool:
    """Whether a chain counts what an item accepts."""
    return chain.startswith(LIMIT)


def _matches(gateway: Resolved, item: Outbound, lan: ResolvedLan) -> t.List[Match]:
    sources: t.Tuple[str, ...] = ()
    whole = not item.source or lan.name in item.source
    # Only packets of this LAN arrive here. A rate applies to each family, so it needs the networks.
    if not whole or (item.rate and lan.spoof_check):
        sources = within(inside_of(gateway, item), lan.networks)
        if whole and lan.follows:
            sources += followed(gateway)
        if not sources:
            return []
    return matches(gateway, item, sources)


def _confirmed_before(gateway: Resolved, lan: ResolvedLan) -> bool:
    """Whether another bridge may have shown the first packet of a flow before, as the first one of its own flow."""
    return any(matches_any(lan.interfaces, link) for link in gateway.around.shown_twice)
