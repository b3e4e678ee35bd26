# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Hosts and networks on the WANs' side that lie in a LAN's networks.

Rules know a LAN by its networks. The gateway's own address on a WAN would be one of them: what is translated to it is
kept from leaving, as an untranslated source. What the router there sends to this host would be dropped as spoofed.
"""

from __future__ import annotations

import typing as t
from dataclasses import replace

from .._base.net import network as parsed_network
from .._base.values import overlaps, shorten
from .._intent.conflicts import exempted_by
from .inside import nat_networks
from .nested import without

if t.TYPE_CHECKING:
    from .._base.errors import Problems
    from .._facts.links import Facts, Interface
    from .resolved import Resolved, ResolvedLan, ResolvedWan


class Overlap(t.NamedTuple):
    """A network of a LAN, and what it has in common with a WAN's link."""

    place: int
    lan: str
    network: str
    outer: str
    wan: str

    def __str__(self) -> str:
        return "network {0} overlaps {1} of WAN {2}".format(self.network, self.outer, self.wan)


def overlapping(gateway: Resolved, facts: Facts) -> t.List[Overlap]:
    """RFC 4787 REQ-7: a LAN that overlaps the WAN link's network could not reach that link.

    A single address (PPP, and many clouds) matters where its source would have to be translated. That of a WAN without
    an address of its own is also on the LAN's link.
    """
    found = []
    for wan in gateway.wans:
        for interface in facts.meant_by(wan.interface):
            alone = [
                each for each in _alone(interface, interface.sources) if not exempted_by(gateway, each, wan.interface)
            ]
            for index, lan in enumerate(gateway.lans):
                borrowed = {each for name in lan.interfaces for link in facts.meant_by(name) for each in link.addresses}
                pairs = overlaps(lan.networks, interface.networks)
                pairs += overlaps(nat_networks(gateway, lan), [_host(each) for each in alone if each not in borrowed])
                found += [Overlap(index, lan.name, ours, theirs, interface.name) for ours, theirs in pairs]
    return found


def check_overlaps(gateway: Resolved, facts: Facts, problems: Problems) -> None:
    for each in overlapping(gateway, facts):
        told = "{0}; {1}".format(each, _apart(each.network, each.outer))
        problems.add("lans[{0}] '{1}'".format(each.place, each.lan), told)


def without_outer(
    lans: t.Sequence[ResolvedLan], wans: t.Sequence[ResolvedWan], facts: Facts
) -> t.Tuple[ResolvedLan, ...]:
    """LANs whose networks are routes, such as 10.0.0.0/8, without the addresses and routers of the WANs in these."""
    hosts = [_host(each) for wan in wans for link in facts.meant_by(wan.interface) for each in _hosts(link, facts)]
    found = []
    for lan in lans:
        linked = [net for name in lan.interfaces for each in facts.meant_by(name) for net in each.networks]
        routed = [net for net in lan.networks if lan.follows and net not in linked]
        holes: t.Dict[str, t.List[str]] = {}
        for ours, host in overlaps(routed, hosts):
            holes.setdefault(ours, []).append(host)
        pieces = tuple(piece for net in lan.networks for piece in without(net, holes.get(net, ())))
        found.append(replace(lan, networks=pieces) if holes and pieces else lan)
    return tuple(found)


def unheard(gateway: Resolved, facts: Facts) -> t.List[str]:
    """Remarks on routers of WANs whose packets to this host count as spoofed; those of LANs pass."""
    words = (
        "LAN {0}: network {1} contains {2}, a router of WAN {3}, so what that router sends to this host is dropped as "
        "spoofed; {4}"
    )
    return [
        words.format(shorten(lan.name), ours, host.partition("/")[0], link.name, _apart(ours, host))
        for wan in gateway.wans
        for link in facts.meant_by(wan.interface)
        for lan in gateway.lans
        if lan.spoof_check
        for ours, host in overlaps(lan.networks, map(_host, _alone(link, _routers(link, facts))))
    ]


def _hosts(link: Interface, facts: Facts) -> t.List[str]:
    return _alone(link, [*link.sources, *_routers(link, facts)])


def _routers(link: Interface, facts: Facts) -> t.List[str]:
    return list(
        dict.fromkeys([*link.peers, *(each.via for each in facts.routes if each.interface == link.name and each.via)])
    )


def _alone(link: Interface, addresses: t.Iterable[str]) -> t.List[str]:
    """Those that are in no network of the link."""
    return [each for each in addresses if not overlaps([_host(each)], link.networks)]


def _host(address: str) -> str:
    return address + ("/128" if ":" in address else "/32")


def _apart(ours: str, theirs: str) -> str:
    """What to do about a LAN network that overlaps a WAN's: exclude the WAN's part, if anything remains."""
    outer, inner = parsed_network(ours), parsed_network(theirs)
    if outer.prefixlen >= inner.prefixlen:
        return "renumber the LAN"
    left = sorted(outer.address_exclude(inner), key=lambda net: (net.prefixlen, net.network_address))
    return "name the networks behind the LAN without that range, such as {0}".format(
        ", ".join(str(net) for net in left[:4]) + (" and more" if len(left) > 4 else "")
    )
