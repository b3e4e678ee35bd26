# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Links that do not exist during a run, although an earlier one has seen them: the rules treat them as before.

A daemon is stopped or updated, or the host is still booting. What was closed by its name would be open when its link is
back, and what was left alone would be closed, although nobody has changed the declaration.
"""

from __future__ import annotations

import itertools
import typing as t
from dataclasses import replace

from .._base.net import matches_any
from .._base.values import shorten

if t.TYPE_CHECKING:  # pragma: no cover
    from .._facts.links import Facts
    from .._intent.gateway import Gateway
    from .resolved import Around

WORDS = "{0} does not exist now; the rules still treat it as {1}, which it was when a run last saw it"


def with_away(now: Around, before: Around, gateway: Gateway, facts: Facts) -> t.Tuple[Around, t.List[str]]:
    """What the rules need to know, with what the last run knew of links that are away; and sentences about these.

    ``gateway``: with the WANs and LANs of this run. What it declares or names itself counts more.
    """
    inside = [name for lan in gateway.named_lans for name in lan.interfaces]
    declared = inside + [wan.interface for wan in gateway.named_wans]
    there = {name for each in facts.interfaces for name in (each.name, *each.altnames)}

    def away(name: str) -> bool:
        return name not in there and not matches_any(declared, name)

    ways_out = [name for name in before.ways_out if away(name)]
    apart = [
        name
        for name in before.apart
        if away(name) and (name in ways_out or not matches_any(gateway.managed_links, name))
    ]
    sites = [site for site in before.sites if away(site[0])]
    left = [name for name, _nets in sites if not matches_any(now.managed, name)]
    # The provider may have given this host another address since.
    sources = [(wan.interface, net) for wan in gateway.named_wans for net in wan.carried_from]
    carried = [each for each in before.carried if each in sources]
    twins = [twin for twin in before.twins if away(twin[0]) and matches_any(inside, twin[1])]
    told = [(name, "a link with a default route that is not a WAN") for name in ways_out]
    told += [(name, "one that is not a manager's") for name in apart if name not in ways_out]
    told += [(name, "a VPN's") for name in left]
    told += [(name, "a VPN's, with the public networks behind it") for name, _nets in sites if name not in left]
    told += [(name, "that of an address which {0} shares with other routers".format(wire)) for name, wire in twins]
    found = replace(
        now,
        managed=now.managed + tuple(sorted(left)),
        apart=_merged(now.apart, apart),
        ways_out=_merged(now.ways_out, ways_out),
        behind=_merged(now.behind, (net for _name, nets in sites for net in nets)),
        carried=_merged(now.carried, carried),
        twins=_merged(now.twins, twins),
        sites=_merged(now.sites, sites),
        bridged=now.bridged or before.bridged,
    )
    return found, [WORDS.format(shorten(name), what) for name, what in told]


T = t.TypeVar("T", str, t.Tuple[str, str], t.Tuple[str, t.Tuple[str, ...]])


def _merged(now: t.Iterable[T], more: t.Iterable[T]) -> t.Tuple[T, ...]:
    return tuple(sorted(set(itertools.chain(now, more))))
