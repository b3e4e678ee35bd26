# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""A gateway on its host: every name is the kernel's, every LAN has its networks, and nothing is left to find out.

It is also a gateway, so what takes a declared one takes this one, too. mypy refuses the reverse.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, fields, replace

from .._base.net import matches_any
from .._intent.forward import describe_port_forward
from .._intent.gateway import ITEM_KINDS, Gateway
from .._intent.helper import describe_helper
from .._intent.input import describe_allow
from .._intent.metrics import describe_metrics
from .._intent.multicast import describe_multicast
from .._intent.nat import describe_nat
from .._intent.outbound import describe_outbound
from .._intent.services import describe_dns
from .._intent.sides import Lan, Wan, describe_lan, describe_mss, describe_wan
from .._intent.timers import describe_timeouts
from .._intent.wording import listed

if t.TYPE_CHECKING:  # pragma: no cover
    from .._intent.neighbour import Neighbour

#: WAN, or "" for all WANs together, to the networks in which this host's addresses do not belong to that WAN.
Elsewhere = t.Tuple[t.Tuple[str, t.Tuple[str, ...]], ...]


@dataclass(frozen=True)
class ResolvedWan(Wan):
    addresses: t.Tuple[str, ...] = ()  # its present addresses; filled in only where a rule needs them


@dataclass(frozen=True)
class ResolvedLan(Lan):
    networks: t.Tuple[str, ...] = ()
    follows: bool = False  # its networks come from its links and may change without a run


@dataclass(frozen=True)
class Around:
    """What the rules need to know about the rest of the host; filled in by around.py."""

    managed: t.Tuple[str, ...] = ()  # links of container, VM and VPN managers: patterns, and names found in this run
    apart: t.Tuple[str, ...] = ()  # links with such names that are not theirs, or that have a default route
    ways_out: t.Tuple[str, ...] = ()  # undeclared links with a default route
    lan_ways_out: t.Tuple[t.Tuple[str, t.Tuple[str, ...]], ...] = ()  # links of LANs with one, and its families
    behind: t.Tuple[str, ...] = ()  # networks beyond the private ones that managed links led to in this run
    neighbours: t.Tuple[Neighbour, ...] = ()
    parts: t.Tuple[str, ...] = ()  # networks of undeclared links inside those of a LAN
    bridges: t.Tuple[t.Tuple[str, t.Tuple[str, ...]], ...] = ()  # declared links that are bridges, with their networks
    beneath: t.Tuple[t.Tuple[str, t.Tuple[str, ...]], ...] = ()  # undeclared bridges below declared links, all above
    outer: t.Tuple[t.Tuple[str, str, t.Tuple[str, ...]], ...] = ()  # bridges with one WAN above; its networks
    joined: t.Tuple[t.Tuple[str, t.Tuple[str, ...]], ...] = ()  # undeclared bridges by veth pairs at others; LANs there
    bridged: bool = False  # this host has a bridge, of whatever use, or an earlier run has seen one
    shown_twice: t.Tuple[str, ...] = ()  # links of LANs of which that is so in this run
    carried: t.Tuple[t.Tuple[str, str], ...] = ()  # WANs that are carried from an address of this host, and that one
    twins: t.Tuple[t.Tuple[str, str], ...] = ()  # undeclared links on the wire of a LAN's link, and that link
    alike: t.Tuple[t.Tuple[str, t.Tuple[str, ...]], ...] = ()  # links of WANs, and private networks of another one, too
    beside: t.Tuple[str, ...] = ()  # public networks of undeclared links, where a WAN is a bridge
    left_out: t.Tuple[t.Tuple[str, str], ...] = ()  # networks of other instances inside those of a LAN
    mapped: t.Tuple[t.Tuple[str, str], ...] = ()  # wan of forwards, and what other instances map 1:1 there
    loopback: t.Tuple[str, ...] = ()  # addresses on lo, where a LAN is served: other servers may be there
    #: Links left to a manager, with the public networks behind each, as far as names and ``behind`` do not show it.
    sites: t.Tuple[t.Tuple[str, t.Tuple[str, ...]], ...] = ()

    def twins_of(self, interfaces: t.Sequence[str]) -> t.Tuple[str, ...]:
        """The links on the wire of any of these."""
        return tuple(name for name, own in self.twins if matches_any(interfaces, own))

    def leaves(self, link: str) -> bool:
        """Whether a link that is not declared is left to its manager."""
        return link not in self.apart and matches_any(self.managed, link)


@dataclass(frozen=True)
class Resolved(Gateway):
    wans: t.Tuple[ResolvedWan, ...] = ()
    lans: t.Tuple[ResolvedLan, ...] = ()
    controller_ports: t.Tuple[int, ...] = (22,)  # the ports that stay open
    own_servers: t.Tuple[str, ...] = ()  # port forward servers that are addresses of this host
    elsewhere: Elsewhere = ()  # filled in only where a rule needs it
    around: Around = Around()


def resolved_from(gateway: Gateway, **found: t.Any) -> Resolved:
    """The declared gateway with what was found on the host."""
    return Resolved(**dict({each.name: getattr(gateway, each.name) for each in fields(Gateway)}, **found))


def only_sound(gateway: Resolved) -> Resolved:
    parts = {kind: tuple(item for _index, item in gateway.sound(kind)) for kind in ITEM_KINDS}
    return replace(gateway, unsound=frozenset(), **t.cast("t.Any", parts))


def describe_gateway(gateway: Resolved) -> t.List[str]:
    """One line for each item, for diffs."""
    lines = ["wan {0}".format(describe_wan(wan)) for wan in gateway.wans]
    lines += ["lan {0}: {1}".format(lan.name, describe_lan(lan)) for lan in gateway.lans]
    lines += ["nat {0}: {1}".format(item.name, describe_nat(item)) for item in gateway.nat]
    lines += ["port_forward {0}: {1}".format(item.name, describe_port_forward(item)) for item in gateway.port_forwards]
    lines += ["outbound {0}: {1}".format(item.name, describe_outbound(item)) for item in gateway.outbound]
    lines += ["multicast {0}: {1}".format(item.name, describe_multicast(item)) for item in gateway.multicast]
    if gateway.profile != Gateway.profile:
        lines.append("profile: {0}".format(gateway.profile))
    lines.append("ipv6: {0}".format(gateway.ipv6))
    for wan in gateway.wans:
        lines.append("mss on {0}: {1}".format(wan.interface, describe_mss(wan)))
    if gateway.undeclared != Gateway.undeclared:
        lines.append("undeclared: left alone")
    if gateway.managed_links:
        lines.append("managed links: {0}".format(listed(gateway.managed_links)))
    if gateway.drop_bogons:
        lines.append("bogons: dropped")
    if gateway.input == "protect":
        ports = listed([str(port) for port in gateway.controller_ports], "none")
        final = ", no other" if gateway.input_controller_ports is not None else ""
        lines.append("input: protected, open for SSH: {0}{1}".format(ports, final))
    lines += ["input_allow {0}: {1}".format(item.name, describe_allow(item)) for item in gateway.input_allow]
    lines += describe_dns(gateway.dns)
    lines += ["helper {0}: {1}".format(item.name, describe_helper(item)) for item in gateway.helpers]
    if gateway.conntrack_max != "keep":
        lines.append("conntrack_max: {0}".format(gateway.conntrack_max))
    lines.append("timeouts: {0}".format(describe_timeouts(gateway.timeouts)))
    if gateway.offload != "none":
        lines.append("offload: {0}".format(gateway.offload))
    if gateway.log:
        words = (listed(gateway.log), gateway.log_rate, gateway.log_prefix)
        lines.append("log: {0}, up to {1} each, as '{2}'".format(*words))
    lines += describe_metrics(gateway.metrics)
    return lines
