# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""What the host shows that most likely is not meant: no error, as it may be, but one sentence each."""

from __future__ import annotations

import typing as t

from ._choice import rogue_links
from ._facts import manager_of
from ._rules import family_of, matches_name
from ._values import overlaps, shorten

if t.TYPE_CHECKING:  # pragma: no cover
    from ._facts import Facts, Interface
    from ._intent import Gateway, Lan, Neighbour

#: Names in one sentence.
MOST_NAMED = 5


def dangers(gateway: Gateway, facts: Facts) -> t.List[str]:
    """Told at each run, for as long as they last."""
    open_ways = _ways_out(gateway, facts) if gateway.undeclared == "leave" else []
    return [
        "{0} has a default route and is no WAN, and undeclared is leave: what LANs send out by it is not translated; "
        "name it in wans".format(names)
        for names in open_ways
    ] + [
        "LAN {0}: somebody there sends router advertisements, as there is an IPv6 default route by {1}; it stays a "
        "LAN, and is no way out; find out who does it".format(lan.name, name)
        for lan in gateway.lans or ()
        for name in rogue_links(facts, [each.name for each in _links(lan, facts)])
        if any(matches_name(pattern, name) for pattern in lan.interfaces)
    ]


def remarks(gateway: Gateway, facts: Facts, neighbours: t.Iterable[Neighbour] = ()) -> t.List[str]:
    """Told once, and again when something has changed."""
    closed_ways = _ways_out(gateway, facts) if gateway.undeclared == "drop" else []
    found = _absent(gateway, facts) + [
        "{0} has a default route and is no WAN, so LANs have no way out by it; name it in wans if they should".format(
            names
        )
        for names in closed_ways
    ]
    elsewhere = [name for each in neighbours for name in each.links]
    return found + _undeclared(gateway, facts, elsewhere) + _networks(gateway, facts)


def _links(lan: Lan, facts: Facts) -> t.List[Interface]:
    return [each for pattern in lan.interfaces for each in facts.meant_by(pattern)]


def _patterns(gateway: Gateway) -> t.List[str]:
    wans = [wan.interface for wan in gateway.wans or ()]
    return wans + [name for lan in gateway.lans or () for name in lan.interfaces]


def _absent(gateway: Gateway, facts: Facts) -> t.List[str]:
    places = [("WAN", wan.interface) for wan in gateway.wans or ()]
    places += [("LAN " + lan.name, name) for lan in gateway.lans or () for name in lan.interfaces]
    return [
        "{0}: there is no link {1} now; the rules wait for one of that name".format(place, name)
        for place, name in places
        if not facts.meant_by(name)
    ]


def _ways_out(gateway: Gateway, facts: Facts) -> t.List[str]:
    """Names of links with a default route that are no WAN, as one text; nothing if there are none."""
    wans = [wan.interface for wan in gateway.wans or ()]
    lans = [each.name for lan in gateway.lans or () for each in _links(lan, facts)]
    names = [
        name
        for name in facts.default_routes
        if not any(matches_name(pattern, name) for pattern in wans) and name not in rogue_links(facts, lans)
    ]
    return [_listed(names) for _once in names[:1]]


def _undeclared(gateway: Gateway, facts: Facts, elsewhere: t.Sequence[str]) -> t.List[str]:
    """Addresses of links without hosts behind them (loopback, dummy) are the host's own business."""
    known = [*_patterns(gateway), *elsewhere]
    left = gateway.undeclared == "leave"
    names = [
        "{0} ({1})".format(shorten(each.name), each.behind[0] if each.behind else each.addresses[0])
        for each in facts.interfaces
        if each.addresses
        and each.kind != "dummy"
        and each.name not in facts.default_routes
        and not manager_of(each)
        and not any(matches_name(pattern, each.name) for pattern in known)
    ]
    so = "nothing of this gateway keeps it from them" if left else "new connections between it and them are dropped"
    more = "" if left else ", or set undeclared to leave"
    return [
        "{0}: neither WAN nor LAN, so {1}; name it in lans if it is one{2}".format(_listed(names), so, more)
        for _once in names[:1]
    ]


def _networks(gateway: Gateway, facts: Facts) -> t.List[str]:
    """Networks of a LAN's links that it does not have: what comes from there is dropped as spoofed."""
    families = {family_of(net) for lan in gateway.lans or () for net in lan.networks or ()}
    found = []
    for lan in gateway.lans or ():
        if lan.follows or not lan.spoof_check:
            continue
        for link in _links(lan, facts):
            theirs = [net for net in link.networks if family_of(net) in families]
            inside = {pair[0] for pair in overlaps(theirs, lan.networks or ())}
            found += [
                "LAN {0}: {1} has {2}, which is none of its networks; what comes from there is dropped as "
                "spoofed".format(lan.name, shorten(link.name), net)
                for net in theirs
                if net not in inside
            ]
    return found


def _listed(names: t.Sequence[str]) -> str:
    more = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (" and {0} more".format(more) if more > 0 else "")
