# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.
"""What passes between declared interfaces and others: nothing, unless a manager's link or the declaration says so."""

from __future__ import annotations

import typing as t

from .._base.net import matches_any
from .._base.values import is_plain_link, less, overlaps
from .._facts.links import PROBES, TUNNEL_LINKS, is_left_alone
from .._resolve.around import sites_of
from .model import Come, Promise, Step
from .places import (
    CLOSED,
    astray,
    called,
    everywhere,
    families,
    host_outside,
    inside,
    intruder,
    lack_of,
    outside,
    request,
    sort_of,
    way_of,
)

if t.TYPE_CHECKING:  # pragma: no cover
    from .._facts.links import Facts, Interface
    from .._resolve.resolved import Resolved, ResolvedLan
    from .oracle import Oracle

#: At most this many links of each kind are proven, because a host may have hundreds of them.
MOST = 4
#: An undeclared link, a LAN with its interface, and a family; or an undeclared link, a WAN, and a family.
Inward = t.Tuple[str, "ResolvedLan", str, str]
Outward = t.Tuple[str, str, str]
#: Why a rule of somebody else breaks no promise here.
YIELDS = "rules of others decide about {0}, which this gateway leaves alone"


def links(gateway: Resolved, facts: Facts, beside: t.Sequence[str]) -> t.Dict[str, bool]:
    """The undeclared links with networks of their own, and whether they are left to a manager.

    ``beside``: links of other instances.
    """
    lans = gateway.lans
    named = [
        *(name for lan in lans for name in lan.interfaces),
        *(wan.interface for wan in gateway.wans),
        *beside,
    ]
    networks = [net for lan in lans for net in lan.networks]
    free = [
        each
        for each in facts.interfaces
        if each.networks
        and is_plain_link(each.name)
        and not each.master
        and each.name != "lo"
        and not each.name.startswith(PROBES)
        and not matches_any(named, each.name)
        and not overlaps(each.networks, networks)
    ]
    sorts = {each.name: _managed(each, gateway, facts) for each in free}
    chosen = [[name for name, managed in sorts.items() if managed is sort][:MOST] for sort in (False, True)]
    return {name: bool(sorts[name]) for names in chosen for name in names}


def _managed(link: Interface, gateway: Resolved, facts: Facts) -> t.Optional[bool]:
    """None where the rules cannot know it.

    The link has come, or has got a default route or a public network, since they were made.
    """
    around, way_out = gateway.around, link.name in facts.default_routes
    theirs = is_left_alone(link) or matches_any(TUNNEL_LINKS + gateway.managed_links, link.name)
    if not around.leaves(link.name):
        return None if theirs and not way_out and link.name not in around.apart else False
    return True if theirs and not way_out and not less(link.networks, sites_of(gateway)) else None


# --- Subjects -------------------------------------------------------------------------------------------------------


def inward(oracle: Oracle) -> t.List[Inward]:
    return [
        (link, lan, name, family)
        for link, family in oracle.ground.others
        for lan, name in inside(oracle.gateway, oracle.ground, family)
        if family in families(oracle.gateway) and (name, family) in oracle.ground.clients
    ]


def outward(oracle: Oracle) -> t.List[Outward]:
    wans = [wan for wan in outside(oracle.gateway, oracle.ground) if not lack_of(oracle.ground, wan)]
    return [(link, wan, family) for link, family in oracle.ground.others for wan in wans]


# --- Promises -------------------------------------------------------------------------------------------------------


def with_lan(oracle: Oracle, case: Inward) -> t.List[Promise]:
    link, lan, name, family = case
    here, there = (link, oracle.ground.others[link, family]), (name, oracle.ground.clients[name, family])
    words, other = called(lan, name), _called(oracle, link)
    return [
        _between(oracle, (here, there), "{0} reaches {1}".format(other, words), (other, words)),
        _between(oracle, (there, here), "{0} reaches {1}".format(words, other), (words, other)),
    ]


End = t.Tuple[str, str]


def _between(oracle: Oracle, ends: t.Tuple[End, End], words: str, names: t.Tuple[str, str]) -> Promise:
    """From one client to another. Everything that is not left alone is closed."""
    (place, client), (other, target) = ends
    packet = request(client, target, "tcp", CLOSED[0])
    sort = sort_of("tcp", packet.family)
    if _left(oracle, place) or _left(oracle, other):
        come = Come((other,), (), (target,), packet.dport)
        steps = (Step(place, packet, come), Step())
        return Promise("undeclared", "{0} {1}".format(words, sort), (), steps, yields=_yields(oracle, place, other))
    name = "{0} does not reach {1} {2}".format(*names, sort)
    everything = (Come((*everywhere(oracle.gateway, oracle.ground), other)),)
    never = everything if place in oracle.ground.loose else astray(oracle, packet, place, other)
    return Promise("undeclared", name, (), (Step(place, packet),), never, (place,))


def with_wan(oracle: Oracle, case: Outward) -> t.List[Promise]:
    link, wan, family = case
    return [promise for promise in (_out(oracle, *case), _in(oracle, link, wan, family)) if promise]


def _in(oracle: Oracle, link: str, wan: str, family: str) -> Promise:
    """From a WAN, a manager's link is as closed as any other, as nobody has published anything here."""
    ground, sort, left = oracle.ground, sort_of("tcp", family), oracle.gateway.undeclared == "leave"
    source = host_outside(ground, family) if left else intruder(ground, family)
    packet = request(source, ground.others[link, family], "tcp", CLOSED[0])
    if left:
        name = "{0} reaches {1} {2}".format(wan, _called(oracle, link), sort)
        steps = (Step(wan, packet, Come((link,), (), (packet.target,), packet.dport)),)
        return Promise("undeclared", name, (), steps, yields=YIELDS.format(link))
    name = "{0} is closed from {1} {2}".format(_called(oracle, link), wan, sort)
    return Promise(
        "undeclared", name, (), (Step(wan, packet),), (Come((*everywhere(oracle.gateway, ground), link)),), (wan,)
    )


def _out(oracle: Oracle, link: str, wan: str, family: str) -> t.Optional[Promise]:
    """A manager's link leaves if its manager translates it."""
    gateway, ground = oracle.gateway, oracle.ground
    packet, sort = (
        request(ground.others[link, family], host_outside(ground, family), "tcp", CLOSED[0]),
        sort_of("tcp", family),
    )
    if gateway.undeclared == "leave" or way_of(ground, link, packet.target)[0] != wan:
        return None
    if _left(oracle, link):
        come = Come((wan,), ground.masquerading(wan, family), (packet.target,), packet.dport)
        name = "{0} leaves through {1} {2}".format(_called(oracle, link), wan, sort)
        return Promise("undeclared", name, (), (Step(link, packet, come),), yields=YIELDS.format(link))
    never = (Come(tuple(each for each in (*outside(gateway, ground), *ground.exits) if each != link)),)
    name = "{0} does not leave through {1} {2}".format(_called(oracle, link), wan, sort)
    return Promise("undeclared", name, (), (Step(link, packet),), never, (link,))


def _left(oracle: Oracle, link: str) -> bool:
    """Whether an undeclared link is left alone."""
    return link in oracle.ground.loose and (oracle.gateway.undeclared == "leave" or oracle.ground.loose[link])


def _called(oracle: Oracle, link: str) -> str:
    return "{0} ({1})".format(link, "left to its manager" if oracle.ground.loose[link] else "undeclared")


def _yields(oracle: Oracle, *places: str) -> str:
    return YIELDS.format(next(each for each in places if each in oracle.ground.loose))
