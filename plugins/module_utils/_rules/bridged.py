# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Frames between two ports of one bridge.

The kernel shows them to these rules where br_netfilter is loaded, as Docker and Kubernetes do, and where
net.bridge.bridge-nf-call-iptables is 1. nftables cannot tell them from packets that are routed back to where they came
from, so nothing passes here whose answers could reach another link: a host could send with an address from there.
"""

from __future__ import annotations

import typing as t
from dataclasses import replace

from .._base.net import by_family, matches_any
from .._base.values import less
from .chains import ACCEPT, DROP, FORWARD, NEVER_OUTSIDE, RETURN, lan_interfaces
from .managed import GROUPS
from .model import Action, Chain, Match, Rule
from .outside import NARROW

if t.TYPE_CHECKING:  # pragma: no cover
    from .._resolve.resolved import Resolved

SWITCHED = Chain("switched")
#: Before conntrack, which takes a forged answer for one, and the flow for a known one from then on.
FORGED = Chain("forged", "prerouting", "raw")
LINK4, LINK6 = ("169.254.0.0/16",), ("fe80::/10",)
#: What is not routed: DHCP, neighbour discovery, and what hosts without an address of the LAN say to each other. As the
#: kernel forwards no IPv6 packet with a link-local source, nothing that is sent to one is answered elsewhere.
ON_ONE_LINK = (
    Match("ip", destination=("255.255.255.255/32", *GROUPS["ip"])),
    Match("ip", source=LINK4, destination=LINK4),
    Match("ip6", destination=GROUPS["ip6"] + LINK6),
    Match("ip6", source=LINK6),
)


def bridged(gateway: Resolved) -> t.List[Rule]:
    """What hosts of a LAN say from its networks passes anyway. What is at a WAN's bridge is not behind the gateway, and
    left to others' rules.
    """
    rules, wans = [], dict(_of_wans(gateway))
    for link, _networks in gateway.around.bridges:
        passing = (replace(each, iif=(link,), oif=(link,)) for each in ON_ONE_LINK)
        rules += [Rule(FORWARD.name, match, RETURN if link in wans else ACCEPT, "declared") for match in passing]
    for link, networks in wans.items():
        rules += [Rule(FORWARD.name, match, RETURN, "declared") for match in _of_own_networks(gateway, link)]
        for family, nets in by_family(networks).items():
            match = Match(family, iif=(link,), oif=(link,), destination=nets)
            rules.append(Rule(FORWARD.name, match, Action("goto", SWITCHED.name), "declared"))
    if any(wans.values()):
        rules += [
            Rule(SWITCHED.name, Match(family, source=nets), DROP, "closed")
            for family, nets in by_family(_inside(gateway)).items()
        ]
    return rules


def forged(gateway: Resolved) -> t.List[Rule]:
    """Nobody at a WAN's bridge sends for hosts to which routes lead through another link, known to the run or not, nor
    as this host where it is protected. That would also be an answer to a packet of his own that passes the bridge.
    """
    rules = []
    for link, networks in _of_wans(gateway):
        for family, nets in by_family(networks).items():
            coming = Match(family, iif=(link,), astray=True)
            there = replace(coming, destination=nets, elsewhere=True)
            rules += [Rule(FORGED.name, match, DROP, "spoofed") for match in (there, replace(coming, source=nets))]
        if networks and gateway.input == "protect":
            rules.append(Rule(FORGED.name, Match(iif=(link,), martian=True), DROP, "spoofed"))
    return rules


def own_networks(gateway: Resolved) -> t.List[Match]:
    """What hosts on a WAN's bridge send from its own networks, which may be private."""
    return [match for link, _networks in _of_wans(gateway) for match in _of_own_networks(gateway, link)]


def _of_wans(gateway: Resolved) -> t.List[t.Tuple[str, t.Tuple[str, ...]]]:
    return [each for each in gateway.around.bridges if not matches_any(lan_interfaces(gateway), each[0])]


def _of_own_networks(gateway: Resolved, link: str) -> t.List[Match]:
    nets = less(dict(gateway.around.bridges)[link], [net for lan in gateway.lans for net in lan.networks])
    return [Match(family, iif=(link,), oif=(link,), source=each) for family, each in by_family(nets).items()]


def _inside(gateway: Resolved) -> t.List[str]:
    """Networks that may be on another link."""
    lans = (net for lan in gateway.lans for net in lan.networks)
    return list(dict.fromkeys((*NEVER_OUTSIDE, *NARROW, *lans, *gateway.around.beside)))
