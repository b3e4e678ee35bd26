# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Links of LANs that have a default route: a gateway with one network card, or a second router in a LAN.

Such a link leads to its LAN and to the Internet, and nothing of ours translates what leaves there. What another program
translates gets no answer, whose source would not be one of the LAN. So it is the destination that decides. Private
networks pass, as they may be behind inner routers, and no Internet router has a route to them.
"""

from __future__ import annotations

import typing as t
from dataclasses import replace

from .._base.net import by_family
from .._base.values import PRIVATE, SHARED, UNIQUE_LOCAL, less
from .chains import DROP, REJECT, RETURN
from .managed import GROUPS
from .model import Action, Chain, Match, Rule

if t.TYPE_CHECKING:  # pragma: no cover
    from .._resolve.resolved import Resolved, ResolvedLan

#: Destinations that are never on the Internet.
NEAR = {
    "ip": (*(str(net) for net in (*PRIVATE, SHARED)), "169.254.0.0/16", "255.255.255.255/32", *GROUPS["ip"]),
    "ip6": (str(UNIQUE_LOCAL), "fe80::/10", *GROUPS["ip6"]),
}
KEY = "guard"


def kept_chain(lan: ResolvedLan) -> str:
    """The chain for packets that would leave through such a link of a LAN."""
    return "kept-" + lan.name


def towards(gateway: Resolved, chain: str, *found: Match) -> t.List[Rule]:
    """Rules of a chain for forwarded packets of any state: the route of an open flow may have moved there."""
    return [
        Rule(chain, replace(match, oif=links), Action("jump", kept_chain(lan)), KEY)
        for lan, links, _families in _kept_lans(gateway)
        for match in found
    ]


def kept_chains(gateway: Resolved) -> t.List[Chain]:
    return [Chain(kept_chain(lan)) for lan, _links, _families in _kept_lans(gateway)]


def kept(gateway: Resolved) -> t.List[Rule]:
    return _only_near(gateway, REJECT)


def fenced(gateway: Resolved, begin: str) -> t.List[Rule]:
    """The same in the fence, whose chain ``begin`` has new, untranslated flows.

    Frames that a bridge passes from port to port do not come through the gateway.
    """
    return towards(gateway, begin, Match(forwarded=True)) + _only_near(gateway, DROP)


def _only_near(gateway: Resolved, otherwise: Action) -> t.List[Rule]:
    """What is in the LAN, or behind its inner routers."""
    rules = []
    for lan, _links, families in _kept_lans(gateway):
        for family in families:
            nets = NEAR[family] + by_family(less(lan.networks, NEAR[family])).get(family, ())
            rules.append(Rule(kept_chain(lan), Match(family, destination=nets), RETURN, "declared"))
            rules.append(Rule(kept_chain(lan), Match(family), otherwise, KEY))
    return rules


def _kept_lans(gateway: Resolved) -> t.List[t.Tuple[ResolvedLan, t.Tuple[str, ...], t.Tuple[str, ...]]]:
    """Each LAN with links that had a default route at the run: the links, and the families of these routes."""
    found, exits = [], dict(gateway.around.lan_ways_out) if gateway.undeclared == "drop" else {}
    for lan in gateway.lans:
        links = tuple(name for name in lan.interfaces if name in exits)
        if links:
            present = {family for name in links for family in exits[name]}
            found.append((lan, links, tuple(sorted(present))))
    return found
