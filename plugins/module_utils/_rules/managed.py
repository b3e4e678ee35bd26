# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Links that are left to the managers of containers, virtual machines and VPNs, as far as LANs are concerned.

Any of them may get a default route after the run. What is behind it then is the Internet: nothing translates a LAN's
source there, and nothing there may open a connection to a LAN. Rules cannot ask for the route of another address than
the packet's own, so they ask for that: a site has private addresses, or public ones that the run has found there.
"""

from __future__ import annotations

import typing as t

from .._base.net import by_family
from .._resolve.around import sites_of
from .chains import DROP, RETURN, wan_interfaces
from .model import Action, Chain, Match, Rule

if t.TYPE_CHECKING:  # pragma: no cover
    from .._resolve.resolved import Around, Resolved

MANAGED = Chain("undeclared-managed")
ELSEWHERE = Chain("undeclared-other")
#: Chains reached only from those above.
FROM_SITES, TO_SITES = Chain("from-sites"), Chain("to-sites")
GROUPS = {"ip": ("224.0.0.0/4",), "ip6": ("ff00::/8",)}
KEY = "undeclared"


def left_to_managers(around: Around, chain: str, side: str) -> t.List[Rule]:
    """These links, on one side of the packet (``iif`` or ``oif``), and no others."""
    sites_there = FROM_SITES if side == "iif" else TO_SITES
    rules = [Rule(chain, _by(side, around.apart), DROP, KEY)] if around.apart else []
    rules.append(Rule(chain, _by(side, around.managed), Action("goto", sites_there.name), "managed"))
    return [*rules, Rule(chain, Match(), DROP, KEY)]


def _by(side: str, names: t.Tuple[str, ...]) -> Match:
    return Match(iif=names) if side == "iif" else Match(oif=names)


def sites(gateway: Resolved) -> t.List[Rule]:
    # The manager itself decides about what goes through a WAN.
    out = [Rule(FROM_SITES.name, Match(oif=wan_interfaces(gateway)), RETURN, "managed")]
    return [*out, *from_sites(gateway, FROM_SITES.name), *to_sites(gateway, TO_SITES.name)]


def from_sites(gateway: Resolved, chain: str) -> t.List[Rule]:
    """The end of a chain for packets to LANs."""
    return _only(chain, [Match(family, source=nets) for family, nets in by_family(sites_of(gateway)).items()])


def to_sites(gateway: Resolved, chain: str) -> t.List[Rule]:
    """The end of a chain for packets from LANs."""
    known = by_family(sites_of(gateway)).items()
    return _only(chain, [Match(family, destination=nets + GROUPS[family]) for family, nets in known])


def _only(chain: str, known: t.Iterable[Match]) -> t.List[Rule]:
    rules = [Rule(chain, match, RETURN, "managed") for match in known]
    return [*rules, Rule(chain, Match(), DROP, KEY)]
