# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Compile NAT items and port forwards: translation of sources and destinations, and what is accepted because of it."""

from __future__ import annotations

import typing as t
from dataclasses import replace

from .._base.net import by_family, collapse, family_of, is_host
from .._base.prefix import neutral_pairs
from .._base.values import addresses_in, less
from .._base.words import WITH_PORTS
from .._intent.conflicts import is_pinhole
from .._resolve.added import as_range
from .._resolve.inside import (
    home_of,
    inside_sources,
    lan_networks,
    lan_of,
    nat_networks,
    outside_sources,
    private_to,
    sources_of,
)
from .._resolve.rivals import mapped
from .chains import (
    ACCEPT,
    BETWEEN,
    DSTNAT,
    EGRESS,
    GUARD,
    MASQUERADE,
    PROTECTED,
    REJECT,
    RETURN,
    SRCNAT,
    lan_interfaces,
    matches,
    wan_interfaces,
)
from .claims import around, arrivals, asked_address, to_ports, told_apart
from .model import Action, Match, Rule

#: Addresses that only hosts on the same link can send to (RFC 4291 section 2.5.6).
LINK_LOCAL = ("fe80::/10",)
#: The number of addresses of a mapped network that iptables lists one by one for hairpins.
MOST_NAMED = 16

if t.TYPE_CHECKING:  # pragma: no cover
    from .._intent.forward import PortForward
    from .._intent.nat import NatItem
    from .._resolve.resolved import Resolved


def srcnat(gateway: Resolved) -> t.List[Rule]:
    """Hairpins, then NAT items in the user's order; in this table the first matching rule decides."""
    rules = [rule for forward in gateway.port_forwards if forward.hairpin for rule in _hairpin(gateway, forward)]
    rules += [rule for item in gateway.nat if item.hairpin for rule in _hairpin_static(gateway, item)]
    for item in gateway.nat:
        rules += [Rule(SRCNAT.name, match, action, "nat/" + item.name) for match, action in translations(gateway, item)]
    return rules


def egress(gateway: Resolved, ways_out: t.Tuple[str, ...]) -> t.List[Rule]:
    """After translation, no LAN source may remain, whatever happened to the rules before."""
    rules = [Rule(EGRESS.name, *each) for each in errors_of_exempt(gateway, gateway.nat)]
    exempts = [index for index, item in enumerate(gateway.nat) if item.action == "exempt"]
    for index, item in enumerate(gateway.nat):
        for match, action in translations(gateway, item):
            if action == ACCEPT:
                rules.append(Rule(EGRESS.name, match, RETURN, "nat/" + item.name))
                continue
            rules.append(Rule(EGRESS.name, match, Action("expect_nat", nat=action), "guard"))
            if exempts and index < exempts[-1]:
                # A later item may exempt other packets, but not those that this one should have translated.
                rules.append(Rule(EGRESS.name, match, GUARD, "guard"))
    guarded = by_family(net for lan in gateway.lans for net in nat_networks(gateway, lan))
    return rules + [
        Rule(EGRESS.name, Match(family, oif=ways_out, source=nets), GUARD, "guard") for family, nets in guarded.items()
    ]


def fail_over(gateway: Resolved, ways_out: t.Tuple[str, ...]) -> t.List[Rule]:
    """A private source that belongs to some WANs leaves through no other, once the route of an open flow has moved."""
    owned = [(wan_interfaces(gateway, item), private_to(item)) for item in gateway.nat if item.to]
    rules = []
    for wan in ways_out:
        own = [net for wans, nets in owned if wan in wans for net in nets]
        others = [net for wans, nets in owned if wan not in wans for net in nets]
        rules += [
            Rule(EGRESS.name, Match(family, oif=(wan,), leaves_as=nets), GUARD, "guard")
            for family, nets in by_family(less(others, own)).items()
        ]
    return rules


def errors_of_exempt(
    gateway: Resolved, items: t.Iterable[NatItem], instead: t.Optional[t.Tuple[str, ...]] = None
) -> t.List[t.Tuple[Match, Action, str]]:
    """Exempt ICMP errors about exempted flows; errors about translated flows are translated.

    These rules come before all other items, which may match ICMP. The first item for all protocols covers them itself.
    ``instead`` replaces the items' sources.
    """
    found = []
    for index, item in enumerate(items):
        sources = sources_of(gateway, item) if instead is None else instead
        if item.action == "exempt" and (item.protocol or index) and sources:
            errors = replace(item, protocol=("icmp",), port=())
            for match in matches(gateway, errors, sources):
                found.append((replace(match, ipsec=item.ipsec, ct_state=("related",)), RETURN, "nat/" + item.name))
    return found


def translations(
    gateway: Resolved, item: NatItem, instead: t.Optional[t.Tuple[str, ...]] = None
) -> t.List[t.Tuple[Match, Action]]:
    """The packets that an item matches, and their action; ACCEPT for exempted ones.

    ``instead`` replaces the item's sources.
    """
    if item.action in ("static", "prefix"):
        wans = wan_interfaces(gateway, item)
        return [
            (
                Match(family_of(inside), oif=wans, source=(inside,), destination=_of_family(item.destination, inside)),
                _map_source(inside, outside),
            )
            for inside, outside in _pairs(gateway, item)
            if not item.destination or _of_family(item.destination, inside)
        ]
    sources = sources_of(gateway, item) if instead is None else instead
    if not sources:
        return []
    found = []
    for match in matches(gateway, item, sources):
        if item.action == "exempt":
            found.append((replace(match, ipsec=item.ipsec), ACCEPT))
        elif item.to_port and not match.protocol:
            # Only these have ports; other protocols are translated without.
            found += [(replace(match, protocol=each), _source_action(item, match)) for each in WITH_PORTS]
            found.append((match, replace(_source_action(item, match), ports=None)))
        elif item.to_port and match.protocol not in WITH_PORTS:
            found.append((match, replace(_source_action(item, match), ports=None)))
        else:
            found.append((match, _source_action(item, match)))
    return [(match, action) for match, action in found if action.kind != "snat" or action.to]


def _source_action(item: NatItem, match: Match) -> Action:
    if item.action == "masquerade":
        return Action("masquerade", ports=item.to_port, random=item.random)
    to = tuple(entry for entry in item.to if family_of(entry) == match.family)
    return Action("snat", to=to, ports=item.to_port, random=item.random, persistent=item.persistent)


def _of_family(networks: t.Iterable[str], like: str) -> t.Tuple[str, ...]:
    return by_family(networks).get(family_of(like), ())


def _pairs(gateway: Resolved, item: NatItem) -> t.List[t.Tuple[str, str]]:
    """Pairs of inside and outside network of a 1:1 item."""
    outside = item.to[0]
    inside = [net for net in sources_of(gateway, item) if family_of(net) == family_of(outside)]
    if item.action == "prefix":
        return neutral_pairs(inside[0], outside, [net for lan in gateway.lans for net in lan.networks])
    return [(inside[0], outside)]


def _map_source(network: str, to: str) -> Action:
    """Map each address of a network to the address with the same host number in the other."""
    if is_host(network):
        return Action("snat", to=(to.split("/", maxsplit=1)[0],))
    return Action("netmap", to=(to,))


def dstnat(gateway: Resolved) -> t.List[Rule]:
    rules = []
    for forward in gateway.port_forwards:
        if not is_pinhole(gateway, forward):
            rules += _redirect(gateway, forward)
    if any(rule.match.local and rule.match.family == "ip6" for rule in rules):
        # What is sent there is for this host: a DHCPv6 server's answer, a client's question to the DNS server of an RA.
        rules.insert(0, Rule(DSTNAT.name, Match("ip6", destination=LINK_LOCAL), RETURN, "declared"))
    for item in gateway.nat:
        if item.action in ("static", "prefix"):
            wans = wan_interfaces(gateway, item)
            for inside, outside in _pairs(gateway, item):
                if item.destination and not _of_family(item.destination, outside):
                    continue
                # The outside peers of an item are the destination of outgoing and the source of incoming packets.
                asking = _of_family(item.destination, outside)
                match = Match(family_of(outside), iif=wans, source=asking, destination=(outside,))
                action = replace(_map_source(outside, inside), kind="dnat" if is_host(outside) else "netmap")
                rules.append(Rule(DSTNAT.name, match, action, "nat/" + item.name))
                if item.hairpin:
                    around_here = replace(match, iif=lan_interfaces(gateway))
                    rules.append(Rule(DSTNAT.name, around_here, action, "nat/" + item.name))
    return rules


def _redirect(gateway: Resolved, forward: PortForward) -> t.List[Rule]:
    """Redirect connections to the server, from outside and, for a hairpin, from the LANs."""
    key, rules = "port_forward/" + forward.name, []
    for match, action in redirections(forward, wan_interfaces(gateway, forward)):
        outside = outside_sources(gateway, forward, match.family)
        inside = inside_sources(gateway, forward, match.family)
        taken = mapped(gateway, forward, match.family) if match.local else ()
        if outside is not None:
            alike = match.source == outside and not taken  # a copy would take longer than all the rest
            mine = match if alike else replace(match, source=outside, not_destination=taken)
            rules.append(Rule(DSTNAT.name, mine, action, key))
        if inside is not None:
            apart = collapse(around(gateway, forward, match.family) + taken) if match.local else ()
            hairpin = replace(match, iif=lan_interfaces(gateway), source=inside, not_destination=apart)
            rules.append(Rule(DSTNAT.name, hairpin, action, key))
    return rules


def redirections(forward: PortForward, iif: t.Tuple[str, ...]) -> t.List[t.Tuple[Match, Action]]:
    """Which packets on these interfaces a forward matches, and where it sends them."""
    family = family_of(forward.to[0])
    asked = by_family(forward.destination).get(family, ())
    source = by_family(forward.source).get(family, ())
    found = []
    for protocol in forward.protocol:
        for ports in forward.port:
            match = Match(
                family,
                iif=iif,
                source=source,
                destination=asked,
                local=not asked,
                protocol=protocol,
                port=(ports,),
            )
            to = to_ports(forward, ports)
            shift = to is not None and ports[0] != ports[1]
            found.append((match, Action("dnat", to=forward.to, ports=to, shift=shift, balance=forward.balance)))
    return found


def _server_side(gateway: Resolved, forward: PortForward) -> t.List[Match]:
    """The packets of a forward on their way to its servers."""
    lan = lan_of(gateway, forward.to[0])
    oif = lan.interfaces if lan else home_of(gateway, forward.to[0])
    if is_pinhole(gateway, forward):
        return [replace(match, translated=False) for match, _ports in arrivals(forward, oif)]
    return [told_apart(gateway, forward, match, ports) for match, ports in arrivals(forward, oif)]


def let_in(gateway: Resolved, forward: PortForward) -> t.List[Rule]:
    key, rules = "port_forward/" + forward.name, []
    for match in _server_side(gateway, forward):
        outside = outside_sources(gateway, forward, match.family)
        if outside is not None:
            coming = replace(match, iif=wan_interfaces(gateway, forward), source=outside)
            rules.append(Rule(BETWEEN.name, coming, ACCEPT, key))
        inside = inside_sources(gateway, forward, match.family)
        if inside is not None:
            coming = replace(match, iif=lan_interfaces(gateway), source=inside)
            rules.append(Rule(BETWEEN.name, coming, ACCEPT, key))
    return rules


def let_in_here(gateway: Resolved, forward: PortForward) -> t.List[Rule]:
    """A server on the gateway itself is reached through the input chain."""
    rules = []
    for match in _server_side(gateway, forward):
        source = outside_sources(gateway, forward, match.family)
        if source is not None:
            outside = replace(match, iif=wan_interfaces(gateway, forward), oif=(), source=source)
            rules.append(Rule(PROTECTED.name, outside, RETURN, "port_forward/" + forward.name))
    return rules


def let_in_static(gateway: Resolved, item: NatItem) -> t.List[Rule]:
    """Connections to the outside addresses of a 1:1 item, if they are allowed."""
    if not item.inbound and not item.hairpin:
        return []
    rules = []
    for inside, outside in _pairs(gateway, item):
        match = _mapped_side(gateway, inside)
        if item.inbound and _is_for(item, inside):
            coming = replace(match, iif=wan_interfaces(gateway, item), source=_of_family(item.destination, inside))
            coming = asked_address(gateway, item.name, coming, outside)
            rules.append(Rule(BETWEEN.name, coming, ACCEPT, "nat/" + item.name))
        if item.hairpin:
            coming = replace(match, iif=lan_interfaces(gateway), asked=(outside,))
            rules.append(Rule(BETWEEN.name, coming, ACCEPT, "nat/" + item.name))
    return rules


def _is_for(item: NatItem, network: str) -> bool:
    """Whether an item's destinations include this family."""
    return not item.destination or bool(_of_family(item.destination, network))


def _mapped_side(gateway: Resolved, inside: str) -> Match:
    return Match(family_of(inside), oif=home_of(gateway, inside), destination=(inside,), translated=True)


def closed_inside(gateway: Resolved, chain: str, iif: t.Tuple[str, ...] = ()) -> t.List[Rule]:
    """Reject mapped addresses that clients inside may not use: the gateway never answers for the server, and the packet
    must not leave for an outside router to send it back.
    """
    closed = by_family(net for item in gateway.nat if item.action == "static" and not item.hairpin for net in item.to)
    return [
        Rule(chain, Match(family, iif=iif, destination=nets, ct_state=("new",)), REJECT, "isolation")
        for family, nets in closed.items()
    ]


def _hairpin_static(gateway: Resolved, item: NatItem) -> t.List[Rule]:
    rules = []
    for inside, outside in _pairs(gateway, item):
        sources = lan_networks(gateway, family_of(inside))
        match = replace(_mapped_side(gateway, inside), source=sources, asked=(outside,))
        # For a backend that cannot match the original destination.
        known = addresses_in(as_range(outside), MOST_NAMED) or ()
        rules.append(Rule(SRCNAT.name, match, Action("hairpin", to=tuple(known)), "nat/" + item.name))
    return rules


def _hairpin(gateway: Resolved, forward: PortForward) -> t.List[Rule]:
    """RFC 4787 REQ-9a: the server sees the outside address, as it would for an outside client."""
    if is_pinhole(gateway, forward):
        return []
    # For a backend that cannot match the original destination.
    names = wan_interfaces(gateway, forward)
    here = [address for wan in gateway.wans if wan.interface in names for address in wan.addresses]
    rules = []
    for match in _server_side(gateway, forward):
        inside = inside_sources(gateway, forward, match.family)
        if inside is None:
            continue
        not_asked = match.not_asked
        if match.asked_port and forward.wan and not match.asked:
            # No interface shows here which WAN was meant.
            not_asked = collapse(not_asked + around(gateway, forward, match.family))
        from_inside = replace(match, source=inside or lan_networks(gateway, match.family), not_asked=not_asked)
        named = [net.split("/")[0] for net in forward.destination if is_host(net)]
        known = tuple(
            address for address in (named if forward.destination else here) if family_of(address) == match.family
        )
        action = Action("hairpin", to=known) if forward.hairpin_source == "external" else MASQUERADE
        rules.append(Rule(SRCNAT.name, from_inside, action, "port_forward/" + forward.name))
    return rules
