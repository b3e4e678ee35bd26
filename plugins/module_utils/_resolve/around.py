# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""What the rules need to know about the rest of the host: managed links, other default routes, other instances.

These are patterns, not names: rows that depended on the links of one run would change without a change of options.
"""

from __future__ import annotations

import typing as t
from collections import Counter
from dataclasses import replace

from .._base.net import by_family, family_of, matches_any, network, patterns_overlap, without_length
from .._base.values import PRIVATE, SHARED, UNIQUE_LOCAL, is_plain_link, is_private, less, overlaps, shorten
from .._facts.links import TUNNEL_LINKS, is_left_alone, managed_links
from .resolved import Around

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.errors import Problems
    from .._facts.links import Facts, Interface
    from .._intent.gateway import Gateway
    from .._intent.neighbour import Neighbour
    from .._intent.sides import Lan, Wan
    from .resolved import Resolved

#: Networks that a VPN, a container or a virtual machine may have without being a way to the Internet.
SITES = tuple(str(net) for net in (*PRIVATE, SHARED, UNIQUE_LOCAL))
#: Kinds of links that get their frames from the link below them. Those of macvtap and ipvtap go to virtual machines.
STACKED = ("vlan", "macvlan", "ipvlan")
#: The bridges of Proxmox' firewall, one for each card of a virtual machine, joined to the bridge that the card is for.
FIREWALLS = "fwbr*"
#: A link that leads to more public networks than this, or to one with a shorter prefix, does not lead to a site.
MOST_BEHIND = 64
SHORTEST = {"ip": 8, "ip6": 16}


def around(
    lans: t.Sequence[Lan],
    wans: t.Sequence[Wan],
    facts: Facts,
    neighbours: t.Iterable[Neighbour] = (),
    said: t.Tuple[str, ...] = (),
) -> Around:
    """``said``: links that belong to a manager, as the user says."""
    declared = _declared(lans, wans)
    others = [
        interface
        for interface in facts.interfaces
        if is_plain_link(interface.name) and not matches_any(declared, interface.name) and interface.name != "lo"
    ]
    managed = tuple(dict.fromkeys(managed_links() + TUNNEL_LINKS + said))
    ways_out = tuple(sorted(each.name for each in others if each.name in facts.default_routes))
    bridges = [each for each in facts.interfaces if each.kind == "bridge" and matches_any(declared, each.name)]
    at_a_wan = any(matches_any([wan.interface for wan in wans], each.name) for each in bridges)
    lo = facts.named("lo") if any(lan.services for lan in lans) else None
    twins = [each for each in others if any(_is_twin(each, lan, facts) for lan in lans) and each.name not in ways_out]
    named = [each for each in others if matches_any(managed, each.name)]
    unnamed = [each for each in others if each not in named and not _comes_by_itself(each)]
    vpns = [each for each in unnamed if is_left_alone(each) and each.name not in ways_out]
    apart = tuple(sorted(each.name for each in named if not is_left_alone(each) or each.name in ways_out))
    beneath = _beneath(others, declared, facts)
    left = [each for each in (*named, *vpns) if each.name not in apart]
    sites = tuple((each.name, () if leads_anywhere(each) else public_behind(each)) for each in left)
    return Around(
        managed=managed + tuple(sorted(each.name for each in vpns)),
        apart=apart,
        ways_out=ways_out,
        lan_ways_out=lan_ways_out(lans, facts),
        behind=tuple(sorted({net for _name, nets in sites for net in nets})),
        neighbours=tuple(neighbours),
        # A link on a LAN's wire has the LAN's own networks.
        parts=_parts(
            [net for lan in lans for net in lan.named_networks], [each for each in others if each not in twins]
        ),
        bridges=tuple((each.name, each.networks) for each in bridges),
        beneath=beneath,
        outer=tuple(
            (bridge, link.name, link.networks)
            for bridge, link in _alone(beneath, facts)
            if matches_any([wan.interface for wan in wans], link.name)
        ),
        joined=_joined(lans, declared, facts),
        bridged=any(each.kind == "bridge" for each in facts.interfaces),
        shown_twice=_shown_twice(lans, declared, facts),
        carried=_carried(wans, facts),
        twins=tuple(sorted((each.name, each.parent) for each in twins)),
        alike=_alike([link for wan in wans for link in facts.meant_by(wan.interface)], facts),
        beside=tuple(net for each in others for net in public_behind(each)) if at_a_wan else (),
        loopback=lo.addresses if lo else (),
        sites=tuple(sorted(site for site in sites if site[1] or not matches_any(managed, site[0]))),
    )


def lan_ways_out(lans: t.Iterable[Lan], facts: Facts) -> t.Tuple[t.Tuple[str, t.Tuple[str, ...]], ...]:
    """Links of LANs, as declared, through which a default route leads, and the families in which one may.

    A route that the kernel has made of an advertisement does not count alone: any host of the LAN can send one, and
    the kernel removes the route once the host forwards. Those of network managers stay, whatever their metric. Beside
    an IPv4 route, one may come or go at any time.
    """
    found = []
    for name in dict.fromkeys(name for lan in lans for name in lan.interfaces):
        routes = (each for each in facts.routes if matches_any([name], each.interface))
        families = {each.family for each in routes if not each.by_kernel}
        if families:
            found.append((name, ("ip", "ip6") if "ip" in families else ("ip6",)))
    return tuple(found)


def _is_twin(interface: Interface, lan: Lan, facts: Facts) -> bool:
    """VRRP's link has no address on a backup. Any other without one may be an uplink that waits for its lease."""
    wire = facts.wire_of(interface, lan.named_networks)
    return bool(wire) and matches_any(lan.interfaces, wire) and bool(interface.addresses or interface.shared)


def _alike(wans: t.Sequence[Interface], facts: Facts) -> t.Tuple[t.Tuple[str, t.Tuple[str, ...]], ...]:
    """Links of WANs in a private network that another one is in, too: the route there leads through one of them only.

    A link on the wire of another one (VRRP) has its networks.
    """
    own = {link.name: set(link.networks) for link in wans}
    for link in wans:
        wire = facts.named(facts.wire_of(link))
        own[link.name].update(wire.networks if wire and wire.name in own else ())
    times = Counter(net for nets in own.values() for net in nets)
    shared = {name: sorted(net for net in nets if times[net] > 1 and is_private(net)) for name, nets in own.items()}
    return tuple((name, tuple(nets)) for name, nets in sorted(shared.items()) if nets)


def _carried(wans: t.Sequence[Wan], facts: Facts) -> t.Tuple[t.Tuple[str, str], ...]:
    """WANs with an address of this host as the source of what carries them."""
    own = {address for each in facts.interfaces for address in each.addresses}
    return tuple(sorted((wan.interface, net) for wan in wans for net in wan.carried_from if without_length(net) in own))


def _parts(inside: t.Sequence[str], others: t.Sequence[Interface]) -> t.Tuple[str, ...]:
    """The networks on undeclared links, and behind managed ones, that are smaller than a LAN's network around them."""
    behind = [net for each in others for net in each.networks + (each.routed if is_left_alone(each) else ())]
    pairs = overlaps(inside, behind)
    found = (theirs for ours, theirs in pairs if network(theirs).prefixlen > network(ours).prefixlen)
    return tuple(sorted(set(found)))


def _beneath(
    others: t.Sequence[Interface], declared: t.Sequence[str], facts: Facts
) -> t.Tuple[t.Tuple[str, t.Tuple[str, ...]], ...]:
    """Undeclared bridges that carry declared links, each with all links above it."""
    below = {each.name: bridges_below(each, facts) for each in facts.interfaces}
    found = [
        (bridge.name, tuple(sorted(name for name, under in below.items() if bridge.name in under)))
        for bridge in others
        if bridge.kind == "bridge"
    ]
    return tuple((bridge, above) for bridge, above in found if any(matches_any(declared, name) for name in above))


def _alone(beneath: t.Iterable[t.Tuple[str, t.Tuple[str, ...]]], facts: Facts) -> t.List[t.Tuple[str, Interface]]:
    """Links above bridges that have nothing else, not even an address."""
    pairs = [(facts.named(bridge), facts.named(above[0])) for bridge, above in beneath if len(above) == 1]
    return [
        (bridge.name, link) for bridge, link in pairs if bridge and link and link.addresses and not bridge.addresses
    ]


def bridges_below(interface: Interface, facts: Facts) -> t.Set[str]:
    """The bridges whose frames reach a link: as one above it (VLAN, macvlan), or as its port."""
    seen: t.Set[str] = set()
    left = [interface]
    while left:
        link = left.pop()
        under = [each for each in facts.interfaces if _is_below(each, link) and each.name not in seen]
        seen.update(each.name for each in under)
        left += under
    return {each.name for each in facts.interfaces if each.name in seen and each.kind == "bridge"}


def _is_below(one: Interface, link: Interface) -> bool:
    return one.master == link.name or (link.kind in STACKED and one.name == link.parent)


def _joined(
    lans: t.Sequence[Lan], declared: t.Sequence[str], facts: Facts
) -> t.Tuple[t.Tuple[str, t.Tuple[str, ...]], ...]:
    """Undeclared bridges that veth pairs join to others, with the LANs' links there.

    What this host or a LAN sends to any link at a bridge may be shown there once more. Proxmox makes its own whenever a
    virtual machine starts, so a pattern stands for them, found or not.
    """
    bridges = [each for each in facts.interfaces if each.kind == "bridge"]
    if not bridges:
        return ()
    found: t.Dict[str, t.List[str]] = {}
    inside = [name for lan in lans for name in lan.interfaces]
    others = (each for each in facts.interfaces if each.kind != "bridge" or each.addresses)
    by_pattern = not any(patterns_overlap(FIREWALLS, name) for name in (*declared, *(each.name for each in others)))
    for link in facts.interfaces:
        named = matches_any(declared, link.name)
        if not named and (not link.addresses or matches_any(managed_links(), link.name)):
            continue
        own = bridges_of(link, facts)
        for name in joined_to(own, declared, facts) + ([FIREWALLS] if own and by_pattern else []):
            known = FIREWALLS if by_pattern and matches_any([FIREWALLS], name) else name
            found.setdefault(known, [])
            if matches_any(inside, link.name):
                found[known].append(link.name)
    return tuple((name, tuple(dict.fromkeys(there))) for name, there in sorted(found.items()))


def _shown_twice(lans: t.Sequence[Lan], declared: t.Sequence[str], facts: Facts) -> t.Tuple[str, ...]:
    links = [link for lan in lans for pattern in lan.interfaces for link in facts.meant_by(pattern)]
    return tuple(sorted({each.name for each in links if joined_to(bridges_of(each, facts), declared, facts)}))


def bridges_of(link: Interface, facts: Facts) -> t.Set[str]:
    """The link itself if it is a bridge, and those below it."""
    return bridges_below(link, facts) | ({link.name} if link.kind == "bridge" else set())


def joined_to(bridges: t.Iterable[str], declared: t.Sequence[str], facts: Facts) -> t.List[str]:
    """Undeclared bridges without addresses, so that no route leads there, at the other ends of veth pairs."""
    seen = dict.fromkeys(sorted(bridges))
    left, start = list(seen), len(seen)
    while left:
        bridge = left.pop()
        for port in facts.interfaces:
            peer = facts.named(port.parent) if port.master == bridge and port.kind == "veth" and not port.far else None
            there = facts.named(peer.master) if peer and peer.port_of == "bridge" else None
            if there and there.name not in seen and not there.addresses and not matches_any(declared, there.name):
                seen[there.name] = None
                left.append(there.name)
    return list(seen)[start:]


def _comes_by_itself(interface: Interface) -> bool:
    """Whether a module of the kernel has made the link, as it does for VTI when it is loaded: nobody uses it yet."""
    return interface.kind in ("vti", "vti6") and not interface.addresses


def public_behind(interface: Interface) -> t.Tuple[str, ...]:
    """The networks behind a link that are not private."""
    found = by_family(less([*interface.networks, *interface.routed], SITES))
    return tuple(net for nets in found.values() for net in nets)


def leads_anywhere(interface: Interface) -> bool:
    """Whether a link without a default route leads to most of the Internet nevertheless.

    A routing protocol may have set the routes, or a WireGuard client whose AllowedIPs leave out private networks.
    """
    found = public_behind(interface)
    return len(found) > MOST_BEHIND or any(network(net).prefixlen < SHORTEST[family_of(net)] for net in found)


def sites_of(gateway: Resolved) -> t.Tuple[str, ...]:
    """What LANs reach through links that are left to a manager, and what reaches LANs from there."""
    return SITES + gateway.around.behind


def new_ways_out(gateway: Resolved, facts: Facts, beside: t.Sequence[str]) -> t.List[str]:
    """Links that have got a default route since the rules were made, and are not WANs.

    ``beside``: links of other instances, which these answer for.
    """
    if gateway.undeclared == "leave":
        return []
    known = [*_declared(gateway.lans, gateway.wans), *gateway.around.ways_out, *beside]
    before = dict(gateway.around.lan_ways_out)
    inside = [name for name, now in lan_ways_out(gateway.lans, facts) if not set(now) <= set(before.get(name, ()))]
    return inside + [each for each in facts.default_routes if is_plain_link(each) and not matches_any(known, each)]


def only_called_so(gateway: Resolved, facts: Facts) -> t.List[str]:
    """Links that the rules leave to a manager, and that are none of its links."""
    if gateway.undeclared == "leave":
        return []
    known = facts.with_managed(gateway.managed_links)
    declared = _declared(gateway.lans, gateway.wans)
    return [
        each.name
        for each in known.interfaces
        if gateway.around.leaves(each.name) and not is_left_alone(each) and not matches_any(declared, each.name)
    ]


def concerning(gateway: Gateway, neighbours: t.Iterable[Neighbour]) -> t.List[Neighbour]:
    """The neighbours that rules must name: those that are reached, or all if undeclared links are left alone.

    Rules name their links, not their networks.
    """
    named = {other.partition("/")[0] for lan in gateway.named_lans for other in lan.reaches if "/" in other}
    concerned = (each for each in neighbours if each.instance in named or gateway.undeclared == "leave")
    return [replace(each, networks=()) for each in concerned]


def check_managed(gateway: Resolved, neighbours: t.Sequence[Neighbour], problems: Problems) -> None:
    """A link is either declared or left to its manager."""
    declared = [("WAN " + wan.interface, wan.interface) for wan in gateway.wans]
    declared += [("LAN " + shorten(lan.name), name) for lan in gateway.lans for name in lan.interfaces]
    declared += [("instance " + each.instance, name) for each in neighbours for name in each.links]
    for given in gateway.managed_links:
        for owner in list(dict.fromkeys(owner for owner, name in declared if patterns_overlap(given, name)))[:1]:
            told = "'{0}' is a link of {1}, not a manager's; remove it here, or there"
            if owner.startswith("LAN "):
                told += " (if an earlier run chose that LAN, run once with choice=renew)"
            problems.add("managed_links", told.format(shorten(given), owner))


def _declared(lans: t.Iterable[Lan], wans: t.Iterable[Wan]) -> t.List[str]:
    return [name for lan in lans for name in lan.interfaces] + [wan.interface for wan in wans]


def check_reaches(gateway: Resolved, neighbours: t.Sequence[Neighbour], problems: Problems) -> None:
    """Check references to other instances' LANs against what these instances have applied."""
    known = ["{0}/{1}".format(each.instance, name) for each in neighbours for name, _links in each.lans]
    for index, lan in enumerate(gateway.lans):
        for other in lan.reaches:
            if "/" in other and other not in known:
                problems.add(
                    "lans[{0}] '{1}'".format(index, shorten(lan.name)),
                    "reaches '{0}', which is not a LAN of another instance on this host (known LANs: {1}); apply that "
                    "instance first".format(shorten(other), ", ".join(shorten(name) for name in known) or "none"),
                )


def reached(gateway: Resolved, lan: Lan) -> t.Tuple[str, ...]:
    """The interfaces of LANs of other instances that a LAN may open connections to."""
    return tuple(
        link
        for each in gateway.around.neighbours
        for name, links in each.lans
        if "{0}/{1}".format(each.instance, name) in lan.reaches
        for link in links
    )
