# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Who may ask the gateway for addresses and names: the LANs that get them, and never a WAN."""

from __future__ import annotations

import typing as t
from dataclasses import replace

from .._base.net import by_family
from .chains import ACCEPT, DROP, INPUT, OPENING, REJECT, wan_interfaces
from .model import Match, Rule

if t.TYPE_CHECKING:  # pragma: no cover
    from .._resolve.resolved import Resolved
    from .model import Action

DNS, DHCP, DHCP6 = ((53, 53),), ((67, 67),), ((547, 547),)
#: RFC 4861: router solicitation.
SOLICITATION = (133,)


def services(gateway: Resolved) -> t.List[Rule]:
    """In the chain for packets to the gateway itself, whatever ``input`` is.

    What is accepted passes the rules of ufw and others in the same table.
    """
    served = [lan for lan in gateway.lans if lan.services]
    if not served:
        return []
    rules = []
    wans = wan_interfaces(gateway)
    if wans:
        closed = [
            Match("ip", iif=wans, protocol="udp", port=DHCP),
            Match("ip6", iif=wans, protocol="udp", port=DHCP6),
            *(replace(match, iif=wans, elsewhere=True) for match in _questions(gateway)),
        ]
        # Answers to a relay or a resolver on this host come from the same ports.
        rules += [Rule(INPUT.name, replace(match, ct_state=OPENING), DROP, "closed") for match in closed]
    names = any(lan.services.dns for lan in served)
    for lan in served:
        if lan.services.dhcp:
            rules.append(_opened(Match("ip", iif=lan.interfaces, protocol="udp", port=DHCP)))
        if lan.services.announced:
            rules.append(_opened(Match("ip6", iif=lan.interfaces, protocol="udp", port=DHCP6)))
            rules.append(_opened(Match("ip6", iif=lan.interfaces, protocol="icmpv6", icmp_type=SOLICITATION)))
        if names:
            # dnsmasq answers questions on each of its links.
            action = ACCEPT if lan.services.dns else REJECT
            asked = _questions(gateway) if action == REJECT else _over_both(Match())
            rules += [_opened(replace(match, iif=lan.interfaces), action) for match in asked]
    return rules


def closes(match: Match) -> bool:
    """Whether these packets have a port that is closed to WANs here."""
    closed = [port for each in (DNS, DHCP, DHCP6) for port, _last in each]
    return any(first <= port <= last for first, last in match.port for port in closed)


def _questions(gateway: Resolved) -> t.List[Match]:
    """For names. A server of the user's own may listen at addresses of a WAN, or on lo."""
    own = by_family(gateway.around.loopback)
    if not own:
        return _over_both(Match())
    matches = [Match(family, not_destination=own.get(family, ())) for family in ("ip", "ip6")]
    return [each for match in matches for each in _over_both(match)]


def _over_both(match: Match) -> t.List[Match]:
    return [replace(match, protocol=each, port=DNS) for each in ("udp", "tcp")]


def _opened(match: Match, action: Action = ACCEPT) -> Rule:
    return Rule(INPUT.name, match, action, "services")
