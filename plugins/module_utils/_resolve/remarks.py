# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Findings on the host that are probably not intended: not errors, but one sentence each."""

from __future__ import annotations

import typing as t

from .._base.net import family_of, is_address, matches_any, patterns_overlap
from .._base.values import is_private, overlaps, shorten
from .._facts.links import is_left_alone, is_vpn
from .around import FIREWALLS, bridges_below, bridges_of, joined_to, leads_anywhere
from .choice import rogue_links
from .inside import private_to, sources_of

if t.TYPE_CHECKING:  # pragma: no cover
    from .._facts.links import Facts, Interface
    from .._intent.neighbour import Neighbour
    from .resolved import Resolved, ResolvedLan

#: For CLATs (RFC 7335), and for DS-Lite (RFC 6333).
CLAT = "192.0.0.0/29"
#: Names listed in one sentence.
MOST_NAMED = 5
#: Of a bridge through which nothing is forwarded to the Internet.
SHOWN = (
    ". While net.bridge.bridge-nf-call-iptables is 1 (Docker sets it), this includes what hosts send there from one "
    "port of {0} to another; set that switch, and bridge-nf-call-ip6tables, to 0"
)


def dangers(gateway: Resolved, facts: Facts) -> t.List[str]:
    """Warnings for every run, as long as the cause lasts."""
    open_ways, left = [], []
    if gateway.undeclared == "leave":
        open_ways, left = _ways_out(gateway, facts), _lan_ways_out(gateway, facts)
    found = [
        "{0} has a default route but is not a WAN, and undeclared is leave: what LANs send through it is not "
        "translated; add it to wans".format(names)
        for names in open_ways
    ]
    words = (
        "{0} has a default route; it is a link of LAN {1}, and undeclared is leave: what LANs send through it to the "
        "Internet is not translated; remove that route, or set undeclared to drop"
    )
    found += [words.format(link, lan) for link, lan in left]
    return found + [
        "LAN {0}: a host there sends router advertisements (there is an IPv6 default route through {1}); {1} stays a "
        "LAN and does not become a WAN; find that host".format(lan.name, name)
        for lan in gateway.lans
        for name in rogue_links(facts, [each.name for each in _links(lan, facts)])
        if matches_any(lan.interfaces, name)
    ]


def remarks(gateway: Resolved, facts: Facts, neighbours: t.Iterable[Neighbour] = ()) -> t.List[str]:
    """Warnings for the first run, and again when something has changed."""
    closed_ways = _ways_out(gateway, facts) if gateway.undeclared == "drop" else []
    found = _absent(gateway, facts) + [
        "{0} has a default route but is not a WAN, so LANs cannot use it; add it to wans if they should".format(names)
        for names in closed_ways
    ]
    found += [
        "{0} has a default route; it is a link of LAN {1}, so nothing is forwarded through it to the Internet, "
        "only to private networks and those of LAN {1}; list in networks what else is behind it{2}".format(
            link, lan, SHOWN.format(link) if link in dict(gateway.around.bridges) else ""
        )
        for link, lan in _lan_ways_out(gateway, facts)
        if gateway.undeclared == "drop"
    ]
    elsewhere = [name for each in neighbours for name in each.links]
    words = "{0} is on the wire of {1}, and dropped unless it is a WAN: add it to wans if it is for a shared address"
    on_wires = {name: wan for name, wan in _on_the_wire(gateway, facts).items() if not matches_any(elsewhere, name)}
    found += [words.format(shorten(name), wan) for name, wan in on_wires.items()]
    found += _above_bridges(gateway, facts) + _beside_bridges(gateway, facts) + _at_bridges_of_wans(gateway, facts)
    found += _without_source(gateway, facts)
    found += _listed_twice(gateway) + _carried(gateway, facts)
    return found + _broad(gateway, facts) + _undeclared(gateway, facts, elsewhere) + _networks(gateway, facts)


def _listed_twice(gateway: Resolved) -> t.List[str]:
    """WANs that overlap, such as ppp0 and ppp*: a private address of an item belongs to the one that it names."""
    words = (
        "nat '{0}': translates to a private address on WAN {1}, and WAN {2} is the same link or may be, on which the "
        "gateway drops packets with that address; list the links by name, each once"
    )
    return [
        words.format(item.name, item.wan, wan.interface)
        for item in gateway.nat
        if item.wan and private_to(item)
        for wan in gateway.wans
        if wan.interface != item.wan and patterns_overlap(wan.interface, item.wan)
    ]


def _links(lan: ResolvedLan, facts: Facts) -> t.List[Interface]:
    return [each for pattern in lan.interfaces for each in facts.meant_by(pattern)]


def _patterns(gateway: Resolved) -> t.List[str]:
    wans = [wan.interface for wan in gateway.wans]
    return wans + [name for lan in gateway.lans for name in lan.interfaces]


def _absent(gateway: Resolved, facts: Facts) -> t.List[str]:
    places = [("WAN", wan.interface) for wan in gateway.wans]
    places += [("LAN " + lan.name, name) for lan in gateway.lans for name in lan.interfaces]
    return [
        "{0}: link {1} does not exist now; its rules take effect once it appears".format(place, name)
        for place, name in places
        if not facts.meant_by(name)
    ] + [
        "managed_links: link {0} does not exist now; it is left to its manager once it appears".format(name)
        for name in gateway.managed_links
        if not facts.meant_by(name)
    ]


def _ways_out(gateway: Resolved, facts: Facts) -> t.List[str]:
    """Undeclared links with a default route, as one text; an empty list if there are none."""
    rogue = rogue_links(facts, ())
    names = [name for name in facts.default_routes if not matches_any(_patterns(gateway), name) and name not in rogue]
    return [_listed(names) for _once in names[:1]]


def _lan_ways_out(gateway: Resolved, facts: Facts) -> t.List[t.Tuple[str, str]]:
    """Links of LANs with a default route, each with its LAN."""
    known = dict(gateway.around.lan_ways_out)
    return [
        (shorten(each.name), shorten(lan.name))
        for lan in gateway.lans
        for pattern in lan.interfaces
        if pattern in known
        for each in facts.meant_by(pattern)
        if each.name in facts.default_routes
    ]


def _on_the_wire(gateway: Resolved, facts: Facts) -> t.Dict[str, str]:
    """Undeclared links on the wire of a WAN, as VRRP makes them for the address of several routers."""
    wans = [wan.interface for wan in gateway.wans]
    return {
        each.name: each.parent
        for each in facts.interfaces
        if matches_any(wans, facts.wire_of(each)) and not matches_any(_patterns(gateway), each.name)
    }


def _without_source(gateway: Resolved, facts: Facts) -> t.List[str]:
    """WANs on which the kernel's masquerade takes an address of another link, and that may be a private one."""
    words = (
        "{0} has an {1} default route, but no {1} address that masquerade can use, so it uses one of another link, "
        "such as {2}, and no answers come back; give {0} an address, or translate with action snat"
    )
    found = []
    for family, name in dict.fromkeys((route.family, route.interface) for route in facts.routes):
        wans = [wan.interface for wan in gateway.wans if matches_any([wan.interface], name)]
        here = [item for item in gateway.nat if wans and item.action == "masquerade" and item.wan in ("", *wans)]
        own = {link.name: [each for each in link.sources if family_of(each) == family] for link in facts.interfaces}
        private = [each for sources in own.values() for each in sources if is_private(each)]
        # For IPv6, the kernel prefers a public one (RFC 6724, rule 6); for IPv4, one of lo.
        among = list(own.values()) if family == "ip6" else [own.get("lo", [])]
        prefers = any(not is_private(each) for sources in among for each in sources)
        translated = any(family_of(net) == family for item in here for net in sources_of(gateway, item))
        if translated and private and not own.get(name) and not prefers:
            found.append(words.format(shorten(name), {"ip": "IPv4", "ip6": "IPv6"}[family], private[0]))
    return found


def _carried(gateway: Resolved, facts: Facts) -> t.List[str]:
    """A CLAT hands its own packets back on the link that it takes packets from, so they come from a WAN.

    Such a link is a TUN device. In DS-Lite (RFC 6333), a tunnel of the kernel has an address of the same network.
    """
    words = (
        "WAN {0} has the address of a CLAT (464XLAT), and what comes from a WAN reaches no other one: list the IPv6 "
        "address of the CLAT (clatd's default is this host's own) in carried_from of that WAN, or its packets do not "
        "leave through {1}"
    )
    found = []
    for wan in gateway.wans:
        others = [name for name in facts.default_routes if not matches_any([wan.interface], name)]
        for link in facts.meant_by(wan.interface):
            if others and not wan.carried_from and link.kind == "tun" and overlaps([CLAT], link.addresses):
                found.append(words.format(shorten(link.name), _listed(others)))
    return found


def _above_bridges(gateway: Resolved, facts: Facts) -> t.List[str]:
    """Prerouting, which translates and closes, may see another link than the declared one (see _rules/beneath.py)."""
    words = (
        "{0} is above the bridge {1}: while net.bridge.bridge-nf-call-iptables is 1 (Docker sets it), its packets are "
        "first shown as those of {1}, so {2}; set that switch, and bridge-nf-call-ip6tables, to 0"
    )
    taken = "port forwards and 1:1 items do not take them"
    alone = [bridge for bridge, _wan, _networks in gateway.around.outer]
    wans = [wan.interface for wan in gateway.wans]
    hairpins = any(each.hairpin for each in gateway.port_forwards) or any(item.hairpin for item in gateway.nat)
    twins = dict(gateway.around.twins)
    found = []
    for link in facts.interfaces:
        below = sorted(bridges_below(link, facts)) if matches_any([*_patterns(gateway), *twins], link.name) else []
        outer = [bridge for bridge in below if matches_any(wans, bridge)]
        if matches_any(wans, link.name) and below:
            so = taken + ", and private addresses of the gateway are not closed to it"
            if below[0] in alone:
                so = "the kernel drops answers to translated connections unless rp_filter is 0 there"
            found.append(words.format(shorten(link.name), below[0], so))
        elif link.name in twins and below:
            # br_nf_local_in() forgets connections of frames that are for another MAC address than the bridge's own.
            so = "the kernel may not know their connections, and the gateway drops what it does not know"
            found.append(words.format(shorten(link.name), below[0], so))
        elif outer:
            found.append(words.format(shorten(link.name), outer[0], "the gateway drops packets to itself"))
        elif hairpins and any(not matches_any(_patterns(gateway), bridge) for bridge in below):
            found.append(words.format(shorten(link.name), below[0], taken))
    return found


def _beside_bridges(gateway: Resolved, facts: Facts) -> t.List[str]:
    """What a bridge decides about a connection of its own ports holds at the next bridge, unless that is another one.

    A pattern stands for the bridges of Proxmox' firewall, which come and go with virtual machines.
    """
    words = (
        "hosts of LAN {0} may be at {1}, which a veth pair joins to {2}: while net.bridge.bridge-nf-call-iptables is 1 "
        "(Proxmox' firewall and Docker set it), only a conntrack zone for {1} lets them be translated, and keeps them "
        "out of other LANs: iptables -t raw -I PREROUTING -i {3} -j CT --zone 1, and the same with ip6tables"
    )
    found = []
    pairs = [(lan, link) for lan in gateway.lans for link in _links(lan, facts)]
    for lan, link in pairs:
        names = joined_to(bridges_of(link, facts), _patterns(gateway), facts)
        names = [FIREWALLS if matches_any([FIREWALLS], name) else name for name in names]
        found += [
            words.format(lan.name, shorten(name), shorten(link.name), shorten(name).replace("*", "+"))
            for name in dict.fromkeys(names)
        ]
    return found


def _at_bridges_of_wans(gateway: Resolved, facts: Facts) -> t.List[str]:
    """What such hosts send looks like what is routed back there, and nothing lets that pass (see _rules/bridged.py)."""
    words = (
        "{0} is a bridge with {1} ports: while net.bridge.bridge-nf-call-iptables is 1 (Docker and Proxmox' firewall "
        "set it), hosts there reach the Internet from {2} only, not from an additional address of the provider; set "
        "that switch, and bridge-nf-call-ip6tables, to 0 if they have one"
    )
    bridges, wans = dict(gateway.around.bridges), [wan.interface for wan in gateway.wans]
    found = []
    for bridge in (name for name in bridges if matches_any(wans, name)):
        ports = sum(each.master == bridge for each in facts.interfaces)
        if ports > 1:
            own = _listed(list(bridges[bridge])) or "the networks of its addresses"
            found.append(words.format(shorten(bridge), ports, own))
    return found


def _broad(gateway: Resolved, facts: Facts) -> t.List[str]:
    """Tunnels with so many or so broad routes that they may lead anywhere."""
    words = (
        "{0} leads to much of the Internet, and LANs reach no public network through it; add {0} to wans if they should"
    )
    return [
        words.format(each.name)
        for each in facts.interfaces
        if gateway.undeclared == "drop" and gateway.around.leaves(each.name) and leads_anywhere(each)
    ]


def _undeclared(gateway: Resolved, facts: Facts, elsewhere: t.Sequence[str]) -> t.List[str]:
    """Links that are neither WAN nor LAN. Links without hosts behind them (loopback, dummy) do not count."""
    known = [*_patterns(gateway), *elsewhere, *dict(gateway.around.twins), *_on_the_wire(gateway, facts)]
    left = gateway.undeclared == "leave"
    found = [
        each
        for each in facts.interfaces
        if each.addresses
        and each.kind != "dummy"
        and each.name != "lo"
        and each.name not in facts.default_routes
        and not is_left_alone(each)
        and not matches_any(known, each.name)
    ]
    containers = [_with_network(each) for each in found if not left and facts.why_of_containers(each)]
    others = [name for name in map(_with_network, found) if name not in containers]
    so = (
        "the gateway filters nothing between it and WANs or LANs"
        if left
        else "new connections between it and WANs or LANs are dropped"
    )
    more = "" if left else ", or set undeclared to leave"
    return [
        "{0}: neither WAN nor LAN, so {1}; add it to lans if it is a LAN{2}".format(_listed(others), so, more)
        for _once in others[:1]
    ] + [
        "{0}: neither WAN nor LAN, and perhaps a container manager's under another name, so {1}, except to published "
        "ports from a WAN; add it to managed_links if it is a manager's, or to lans if it is a LAN{2}".format(
            _listed(containers), so, more
        )
        for _once in containers[:1]
    ]


def _with_network(interface: Interface) -> str:
    return "{0} ({1})".format(shorten(interface.name), [*interface.behind, *interface.addresses][0])


def _networks(gateway: Resolved, facts: Facts) -> t.List[str]:
    """Networks of a LAN's links that are missing from the LAN: packets from there are dropped as spoofed."""
    families = {family_of(net) for lan in gateway.lans for net in lan.networks}.union(facts.forwarding)
    found = []
    for lan in gateway.lans:
        if lan.follows or not lan.spoof_check:
            continue
        twins = gateway.around.twins_of(lan.interfaces)
        for link in _links(lan, facts) + [each for each in facts.interfaces if each.name in twins]:
            theirs = [net for net in link.networks if family_of(net) in families]
            inside = {pair[0] for pair in overlaps(theirs, lan.networks)}
            found += [
                "LAN {0}: {1} has {2}, which is not in the LAN's networks; packets from there are dropped as "
                "spoofed".format(lan.name, shorten(link.name), net)
                for net in theirs
                if net not in inside
            ]
    return found


def _listed(names: t.Sequence[str]) -> str:
    more = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (" and {0} more".format(more) if more > 0 else "")


def _is_plain(end: str) -> bool:
    return is_address(end) and "%" not in end


def is_vpn_at_stake(gateway: Resolved, facts: Facts) -> bool:
    """Whether it matters from where a run comes: there is a VPN, and what carries it may be shut out."""
    allowed = {protocol for item in gateway.input_allow for protocol in item.protocol or ("any",)}
    return gateway.input == "protect" and not allowed - {"tcp"} and any(map(is_vpn, facts.interfaces))


def through_vpn(gateway: Resolved, facts: Facts, ends: t.Sequence[str]) -> t.Tuple[str, ...]:
    """If the operator comes through a VPN of this host. ``ends``: the addresses of both ends of the SSH connection,
    the controller's first; none if there is no such connection.

    What carries the VPN is a connection that is open already, so a change that closes it passes every test that is
    made through the VPN.
    """
    if not is_vpn_at_stake(gateway, facts) or not ends or not all(map(_is_plain, ends)):
        return ()
    here = [each for each in facts.interfaces if ends[1] in each.addresses]
    # At the address of a LAN or of lo, from a network behind the VPN.
    behind = [each for each in facts.interfaces if is_vpn(each) and overlaps(ends[:1], each.networks + each.routed)]
    wans = [wan.interface for wan in gateway.wans]
    used = [each.name for each in here if is_vpn(each)] or [each.name for each in behind]
    if not used or any(matches_any(wans, name) for name in [used[0], *(each.name for each in here)]):
        return ()
    return (
        "input: this run comes through VPN {0}; the packets that carry that VPN (for WireGuard, those to its UDP port) "
        "are let in only if input_allow lists them, and nobody notices until the VPN has been idle".format(used[0]),
    )
