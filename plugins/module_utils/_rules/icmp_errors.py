# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""ICMP errors, and other packets that conntrack calls related: who may send them about whose flow.

Conntrack relates an error to a flow by the packet that it quotes, no matter who sends it. Therefore a host that guesses
the addresses and ports of a flow could send errors into another LAN, and out of a WAN with a source of its choice.
Where conntrack rewrites the error as it does the flow, the source is that of the flow.
"""

from __future__ import annotations

import typing as t
from dataclasses import replace

from .._base.net import by_family, is_suffix
from .._intent.conflicts import is_pinhole
from .._resolve.around import reached
from .._resolve.inside import inside_sources
from .chains import ACCEPT, BETWEEN, DROP, lan_interfaces, wan_interfaces
from .kept import towards
from .model import Action, Chain, Match, Rule

if t.TYPE_CHECKING:  # pragma: no cover
    from .._resolve.resolved import Resolved, ResolvedLan

ERRORS = Chain("errors")
RELATED = ("related",)
KEY = "answers"
#: The errors whose source conntrack replaces: nf_nat_icmp_reply_translation() in the kernel.
REWRITTEN = (
    Match(ct_state=RELATED, mapped=True, direction="original"),
    Match(ct_state=RELATED, translated=True, direction="reply"),
)


def errors_chain(lan: ResolvedLan) -> str:
    return "errors-" + lan.name


def dispatched(gateway: Resolved) -> t.List[Rule]:
    """Between two declared links.

    What a LAN may open is accepted before. In the direction in which a flow began, only what is translated goes on into
    another LAN: the route may have moved there.
    """
    known = Match(ct_state=("established",))
    goes_on = [replace(known, direction="reply"), replace(known, iif=wan_interfaces(gateway))]
    return [
        *(Rule(BETWEEN.name, match, ACCEPT, KEY) for match in (*goes_on, replace(known, translated=True))),
        Rule(BETWEEN.name, Match(ct_state=RELATED), Action("goto", ERRORS.name), KEY),
    ]


def errors(gateway: Resolved) -> t.List[Rule]:
    """Routers on the Internet may have any source; those of a LAN answer for flows that this LAN may have.

    What a LAN sends from its own networks to a WAN, or to LANs that it reaches, is accepted before.
    """
    here, lans = ERRORS.name, lan_interfaces(gateway)
    rules = [Rule(here, Match(iif=wan_interfaces(gateway)), ACCEPT, KEY)]
    rules += towards(gateway, here, Match(iif=lans))
    rules += [Rule(here, match, ACCEPT, KEY) for match in REWRITTEN]
    for lan in gateway.lans:
        chain, ends = errors_chain(lan), lan.interfaces + _others(gateway, lan)
        rules.append(Rule(here, Match(iif=lan.interfaces), Action("jump", chain), KEY))
        rules.append(Rule(chain, Match(oif=ends), ACCEPT, "lan/" + lan.name))
    opened = [net for each in gateway.port_forwards if _from_inside(gateway, each) for net in each.to]
    # Conntrack's original destination cannot be compared with a suffix.
    opened = [net for net in opened if not is_suffix(net)]
    rules += [
        Rule(here, Match(family, oif=lans, asked=servers), ACCEPT, KEY) for family, servers in by_family(opened).items()
    ]
    return [*rules, Rule(here, Match(oif=lans), DROP, "isolation"), Rule(here, Match(), DROP, "guard")]


def _others(gateway: Resolved, lan: ResolvedLan) -> t.Tuple[str, ...]:
    """The interfaces of LANs with which a LAN may have flows, whichever of both opens them."""
    lans = gateway.lans
    found = [other for other in lans if other.name in lan.reaches or lan.name in other.reaches]
    return tuple(name for other in found for name in other.interfaces) + reached(gateway, lan)


def _from_inside(gateway: Resolved, forward: t.Any) -> bool:
    """Whether LANs may open flows to a server at its own address."""
    family = "ip6" if ":" in forward.to[0] else "ip"
    return is_pinhole(gateway, forward) and inside_sources(gateway, forward, family) is not None
