# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""What a WAN may ask for: new packets from there, before anything translates them."""

from __future__ import annotations

import typing as t
from dataclasses import replace

from .._base.net import by_family
from .._base.values import SHARED, is_private, overlaps
from .._resolve.inside import followed
from .chains import DROP, NEVER_OUTSIDE, OUTSIDE, RETURN, wan_interfaces
from .input import DHCP_CLIENT
from .managed import GROUPS
from .model import Action, Chain, Match, Rule

if t.TYPE_CHECKING:  # pragma: no cover
    from .._resolve.resolved import Resolved

#: The kernel refuses it on a wire, until something sets route_localnet (kube-proxy does).
LOOPBACK = ("127.0.0.0/8",)
#: Addresses of this host that are for one link only: those of Tailscale and others (RFC 6598), and link-local ones.
NARROW = (str(SHARED), "169.254.0.0/16")
ASKED = Chain("outside-new", "", OUTSIDE.stage)


def outside(gateway: Resolved) -> t.List[Rule]:
    """From a WAN, a private address of this host is unreachable unless it belongs to that WAN.

    This covers port forwards and services of the gateway itself: replies would leave with that address as the source.
    """
    new = Match(iif=wan_interfaces(gateway), ct_state=("new",))
    rules = [
        Rule(OUTSIDE.name, new, Action("jump", ASKED.name), "closed"),
        # A site behind an IPsec policy has no link of its own.
        Rule(ASKED.name, Match(decrypted=True), RETURN, "closed"),
    ]
    rules += [
        Rule(ASKED.name, Match(protocol="tcp", port=((port, port),)), RETURN, "controller")
        for port in gateway.controller_ports
        if not any(_is_forwarded(gateway, port, "tcp", wan) for wan in wan_interfaces(gateway))
    ]
    rules += [
        Rule(ASKED.name, Match("ip", iif=(wan,), source=LOOPBACK), DROP, "spoofed/" + wan)
        for wan in wan_interfaces(gateway)
    ]
    # A bridge below a WAN has none of its addresses (see beneath.py).
    rules += [
        Rule(ASKED.name, Match(family, iif=(bridge,), destination=nets), RETURN, "closed")
        for bridge, _wan, networks in gateway.around.outer
        for family, nets in by_family(networks).items()
    ]
    named = by_family(_named(gateway))
    for family, nets in by_family(_never_asked(gateway)).items():
        asked = Match(family, destination=nets, not_destination=named.get(family, ()), local=True, elsewhere=True)
        rules.append(Rule(ASKED.name, asked, DROP, "closed"))
    return rules + _astray(gateway)


def _is_forwarded(gateway: Resolved, port: int, protocol: str, wan: str) -> bool:
    return any(
        first <= port <= last
        for forward in gateway.port_forwards
        if protocol in forward.protocol and forward.wan in ("", wan)
        for first, last in forward.port
    )


def _astray(gateway: Resolved) -> t.List[Rule]:
    """Drop sources in a network that a LAN has got since the last run, if that LAN follows its links.

    Only private ones: the route to a public source may use another WAN, and so may that to a network of two WANs.
    Multicast may come from anywhere, and so may what a DHCP server sends to this host.
    """
    if not any(lan.follows and lan.spoof_check for lan in gateway.lans):
        return []
    own = [
        Rule(ASKED.name, Match(family, iif=(link,), source=nets), RETURN, "declared")
        for link, networks in gateway.around.alike
        for family, nets in by_family(networks).items()
    ]
    private = by_family(net for net in followed(gateway) if is_private(net))
    mapped = by_family(net for item in gateway.nat if item.action == "static" for net in item.to)
    for family, port in DHCP_CLIENT.items():
        here = Match(family, not_destination=mapped.get(family, ()), protocol="udp", port=((port, port),), local=True)
        wans = wan_interfaces(gateway)
        heard = tuple(wan for wan in wans if not _is_forwarded(gateway, port, "udp", wan))
        if family in private and heard:
            own.append(Rule(ASKED.name, here if heard == wans else replace(here, iif=heard), RETURN, "declared"))
    return own + [
        Rule(
            ASKED.name,
            Match(family, iif=(wan,), source=nets, not_destination=GROUPS[family], astray=True),
            DROP,
            "spoofed/" + wan,
        )
        for family, nets in private.items()
        for wan in wan_interfaces(gateway)
    ]


def _never_asked(gateway: Resolved) -> t.Tuple[str, ...]:
    if gateway.undeclared == "drop":
        return NEVER_OUTSIDE + LOOPBACK + NARROW
    return LOOPBACK + tuple(net for lan in gateway.lans for net in lan.networks if is_private(net))


def _named(gateway: Resolved) -> t.List[str]:
    """Private addresses that an item makes reachable from outside, on whichever link they are."""
    found = [net for forward in gateway.port_forwards for net in forward.destination]
    found += [net for item in gateway.nat if item.action in ("static", "prefix") for net in item.to]
    return [net for net in found if is_private(net) or overlaps([net], NARROW)]
