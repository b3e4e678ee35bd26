# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Which packets belong to which port forward or 1:1 item, where several of them could mean the same.

Before the translation that is a question of addresses: a port forward never takes an address that stands for a server
(``static``), nor from inside one that this host has elsewhere. After it, two that lead to one server are told apart by
what the client had asked for, which conntrack knows.
"""

from __future__ import annotations

import typing as t
from dataclasses import replace

from .._base.net import by_family, family_of, is_suffix
from .._base.once import once
from .._base.values import networks_of, overlaps
from .._intent.conflicts import is_pinhole
from .._resolve.inside import lan_networks, sources_of
from .._resolve.rivals import ONE_TO_ONE, mapped
from .model import Match

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.net import Ports
    from .._intent.forward import PortForward
    from .._resolve.resolved import Resolved

Networks = t.Tuple[str, ...]


# --- Whose address is asked ------------------------------------------------------------------------------------------


def around(gateway: Resolved, forward: PortForward, family: str) -> Networks:
    """Where an address of this host does not belong to the forward's WANs.

    No packet filter can ask at which interface an address is before the route is known: nft's ``fib daddr oif`` finds
    nothing for one of this host's own (net/ipv4/netfilter/nft_fib_ipv4.c). So a WAN's own are those of this host, less
    what is known to be elsewhere; and a WAN that gets another address needs no run.
    """
    known = dict(gateway.elsewhere).get(forward.wan)
    return lan_networks(gateway, family) if known is None else by_family(known).get(family, ())


# --- What was asked, after the translation ----------------------------------------------------------------------------


def to_ports(forward: PortForward, ports: Ports) -> t.Optional[Ports]:
    if forward.to_port is None or forward.to_port == ports[0]:
        return None
    return forward.to_port, forward.to_port + ports[1] - ports[0]


def arrivals(forward: PortForward, oif: t.Tuple[str, ...] = ()) -> t.List[t.Tuple[Match, Ports]]:
    """Packets that a forward has sent to its servers, by these links, and the ports that they had asked for."""
    ((family, servers),) = by_family(net for to in forward.to for net in networks_of(to)).items()
    # Each suffix has a mask of its own.
    destinations = [(net,) for net in servers] if is_suffix(servers[0]) else [servers]
    return [
        (
            Match(
                family,
                oif=oif,
                destination=destination,
                protocol=protocol,
                port=(to_ports(forward, ports) or ports,),
                translated=True,
            ),
            ports,
        )
        for destination in destinations
        for protocol in forward.protocol
        for ports in forward.port
    ]


def told_apart(gateway: Resolved, forward: PortForward, match: Match, ports: Ports) -> Match:
    """A packet on its way to a server; if others lead there too, by what it had asked for."""
    if "port_forward/" + forward.name not in _shared(gateway):
        return match
    asked = by_family(forward.destination).get(match.family, ())
    not_asked = () if asked else mapped(gateway, forward, match.family, ONE_TO_ONE)
    return replace(match, asked=asked, not_asked=not_asked, asked_port=ports)


def asked_address(gateway: Resolved, name: str, match: Match, outside: str) -> Match:
    """The same for a NAT item that maps one to one."""
    return replace(match, asked=(outside,)) if "nat/" + name in _shared(gateway) else match


@once
def _shared(gateway: Resolved) -> t.Set[str]:
    """Keys of the forwards and items whose servers others lead to, too."""
    return _forwards_that_meet(gateway) | _statics_that_meet(gateway)


def _forwards_that_meet(gateway: Resolved) -> t.Set[str]:
    ends: t.Dict[t.Tuple[str, str], t.List[t.Tuple[int, int, str]]] = {}
    for forward in gateway.port_forwards:
        if forward.to and not is_pinhole(gateway, forward):
            for match, _ports in arrivals(forward):
                for server in match.destination:
                    found = ends.setdefault((match.protocol, server), [])
                    found += [(first, last, "port_forward/" + forward.name) for first, last in match.port]
    meeting: t.Set[str] = set()
    for claims in ends.values():
        reach, holder = 0, ""
        for first, last, key in sorted(claims) if len(claims) > 1 else ():
            if first <= reach and key != holder:
                meeting |= {key, holder}
            if last > reach:
                reach, holder = last, key
    return meeting


def _statics_that_meet(gateway: Resolved) -> t.Set[str]:
    inside: t.List[t.Tuple[str, str]] = []
    for item in gateway.nat:
        if item.action in ("static", "prefix") and item.to:
            inside += [(net, "nat/" + item.name) for net in sources_of(gateway, item) if _same_family(net, item.to[0])]
    if not inside:
        return set()
    servers = [
        (net, "port_forward/" + forward.name)
        for forward in gateway.port_forwards
        if not is_pinhole(gateway, forward)
        for to in forward.to
        for net in networks_of(to)
    ]
    keys: t.Dict[str, t.Set[str]] = {}
    for net, key in inside + servers:
        keys.setdefault(net, set()).add(key)
    pairs = overlaps(dict(inside), keys)
    return {key for ours, theirs in pairs if len(keys[ours] | keys[theirs]) > 1 for key in keys[ours] | keys[theirs]}


def _same_family(one: str, other: str) -> bool:
    return family_of(one) == family_of(other)
