# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Packets that carry the traffic of a WAN over another link, and that this host forwards.

Those of a VPN in the kernel, or of a daemon such as OpenVPN, are sent by this host itself and are never forwarded. The
CLAT of 464XLAT (RFC 6877) hands what it has translated back to the kernel by the link that it came from, and a VPN
client in a network namespace or a container sends by the link to it.
"""

from __future__ import annotations

import typing as t

from .._base.net import by_family
from .._base.values import less
from .chains import ACCEPT, BETWEEN, KNOWN, NEVER_OUTSIDE, RETURN, address_matches, kept_inside, wan_interfaces
from .model import Action, Chain, Match, Rule

if t.TYPE_CHECKING:  # pragma: no cover
    from .._resolve.resolved import Resolved, ResolvedWan

CARRIED = Chain("carried")
KEY = "carried"


def carried(gateway: Resolved) -> t.List[Rule]:
    """From the WAN that is carried to any other; before open flows between WANs are accepted."""
    rules = []
    for wan in _carried(gateway):
        others = tuple(name for name in wan_interfaces(gateway) if name != wan.interface)
        matches = address_matches(wan.carried_from, (), iif=(wan.interface,), oif=others) if others else []
        rules += [Rule(BETWEEN.name, match, Action("jump", CARRIED.name), KEY) for match in matches]
    if not rules:
        return []
    # No chain of iptables is behind the NAT: if nothing translates a private source, the second packet shows it.
    seen = (Match(direction="original", ct_state=KNOWN), Match(ct_state=("new",), again=True))
    accepted = [Match(mapped=True), Match(ct_state=("new", "established"))]
    decided = [Rule(CARRIED.name, match, ACCEPT, KEY) for match in accepted]
    return [*rules, decided[0], *kept_inside(CARRIED.name, *seen), *decided[1:]]


def carried_outside(gateway: Resolved, chain: str) -> t.List[Rule]:
    """From the WAN that is carried to an undeclared link with a default route."""
    links = gateway.around.ways_out
    return [
        Rule(chain, match, RETURN, KEY)
        for wan in _carried(gateway)
        if links
        for match in address_matches(wan.carried_from, (), iif=(wan.interface,), oif=links, ct_state=("new",))
    ]


def carried_public(gateway: Resolved) -> t.List[Match]:
    """New packets that another instance has to let pass. With a mark, the guard would let private sources pass, too."""
    links = wan_interfaces(gateway) + gateway.around.ways_out
    return [
        match
        for wan in _carried(gateway)
        for family, nets in by_family(less(wan.carried_from, NEVER_OUTSIDE)).items()
        for match in address_matches(nets, (), (wan.interface,), tuple(each for each in links if each != wan.interface))
    ]


def _carried(gateway: Resolved) -> t.List[ResolvedWan]:
    return [wan for wan in gateway.wans if wan.carried_from]
