# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Packets that carry the traffic of a WAN over another link, and that this host forwards.

Those of a VPN in the kernel, or of a daemon such as OpenVPN, are sent by this host itself and are never forwarded. The
CLAT of 464XLAT (RFC 6877) hands what it has translated back to the kernel on the link that it came from, and a VPN
client in a network namespace or a container sends through the link to it.

A CLAT may share an IPv6 address with this host. Then these packets look like this host's own, and any global address of
this host counts, because its provider may change it without a run.
"""

from __future__ import annotations

import typing as t
from dataclasses import replace

from .._base.net import by_family
from .._base.values import less, overlaps
from .chains import ACCEPT, BETWEEN, KNOWN, NEVER_OUTSIDE, OUTSIDE, RETURN, kept_inside, wan_interfaces
from .model import Action, Chain, Match, Rule

if t.TYPE_CHECKING:  # pragma: no cover
    from .._resolve.resolved import Resolved, ResolvedWan

CARRIED = Chain("carried")
KEY = "carried"
#: IPv6 addresses that a provider gives.
GLOBAL = "2000::/3"


def carried(gateway: Resolved) -> t.List[Rule]:
    """From the WAN that is carried to any other; before open flows between WANs are accepted."""
    jump = Action("jump", CARRIED.name)
    rules = [Rule(BETWEEN.name, match, jump, KEY) for match in _carried(gateway, wan_interfaces(gateway))]
    if not rules:
        return []
    # No chain of iptables comes after the NAT: if nothing translates a private source, the second packet shows it.
    seen = (Match(direction="original", ct_state=KNOWN), Match(ct_state=("new",), again=True))
    accepted = [Match(mapped=True), Match(ct_state=("new", "established"))]
    decided = [Rule(CARRIED.name, match, ACCEPT, KEY) for match in accepted]
    return [*rules, decided[0], *kept_inside(CARRIED.name, *seen), *decided[1:]]


def carried_outside(gateway: Resolved, chain: str) -> t.List[Rule]:
    """From the WAN that is carried to an undeclared link with a default route."""
    found = _carried(gateway, gateway.around.ways_out)
    return [Rule(chain, replace(match, ct_state=("new",)), RETURN, KEY) for match in found]


def carried_public(gateway: Resolved) -> t.List[Match]:
    """New packets that another instance has to let pass. With a mark, the guard would let private sources pass, too."""
    return _carried(gateway, wan_interfaces(gateway) + gateway.around.ways_out, NEVER_OUTSIDE)


def as_this_host(gateway: Resolved) -> t.List[Rule]:
    """What carries a WAN from an address of this host: nobody forges it."""
    rules = []
    for wan in gateway.wans:
        nets = by_family(wan.carried_from + _shared(gateway, wan)).get("ip6")
        if nets:
            match = Match("ip6", iif=(wan.interface,), source=nets, ct_state=("new",), martian=True)
            rules.append(Rule(OUTSIDE.name, match, RETURN, KEY))
    return rules


def _carried(gateway: Resolved, links: t.Tuple[str, ...], unless: t.Tuple[str, ...] = ()) -> t.List[Match]:
    """What is carried through these links, from other sources than ``unless``."""
    found = []
    for wan in gateway.wans:
        others = tuple(name for name in links if name != wan.interface)
        if others:
            sources = by_family(less(wan.carried_from, unless))
            found += [Match(family, (wan.interface,), others, source=nets) for family, nets in sources.items()]
            if _shared(gateway, wan):
                found.append(Match("ip6", (wan.interface,), others, source=(GLOBAL,), martian=True))
    return found


def _shared(gateway: Resolved, wan: ResolvedWan) -> t.Tuple[str, ...]:
    """The addresses of this host, if one of them carries this WAN."""
    own = [net for name, net in gateway.around.carried if name == wan.interface]
    return (GLOBAL,) if overlaps(own, [GLOBAL]) else ()
