# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""From intent to neutral rules: the guarantees of a gateway, written down once for every backend."""

from __future__ import annotations

import ipaddress
import typing as t
from dataclasses import replace

from ._conflicts import is_pinhole
from ._intent import WITH_PORTS, Masquerade
from ._prefix import neutral_pairs
from ._resolve import inside_of, lan_of, nat_networks, sources_of
from ._rules import Action, Chain, Match, Rule, RuleSet, by_family, family_of
from ._values import networks_of

if t.TYPE_CHECKING:
    from ._intent import Forward, Gateway, Item, Lan, NatItem, PortForward, Traffic

DSTNAT = Chain("dstnat", "prerouting", "nat")
FORWARD = Chain("forward", "forward", "filter")
INPUT = Chain("input", "input", "filter")
MSS = Chain("mss", "forward", "mangle")
SRCNAT = Chain("srcnat", "postrouting", "nat")
EGRESS = Chain("egress", "postrouting", "guard")

ACCEPT, DROP, REJECT, RETURN = Action("accept"), Action("drop"), Action("reject"), Action("return")
MASQUERADE, GUARD, CLAMP = Action("masquerade"), Action("guard"), Action("clamp_mss")

#: Never a source or destination on the Internet: RFC 6890 and the registries that it set up, less what a LAN needs
#: to reach its own WAN link (link-local) and multicast, which is not forwarded by unicast rules.
BOGONS = (
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
    "192.0.2.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4",
    "::/96", "100::/64", "2001:2::/48", "2001:db8::/32", "3fff::/20", "5f00::/16", "fc00::/7", "fec0::/10",
)  # fmt: skip


def compile_gateway(gateway: Gateway) -> RuleSet:
    """A resolved gateway as rules. Between interfaces that it does not name, nothing is matched."""
    lans = gateway.lans or ()
    dstnat, mss = _dstnat(gateway), _mss(gateway)
    chains = (FORWARD, INPUT, SRCNAT, EGRESS) + ((MSS,) if mss else ()) + ((DSTNAT,) if dstnat else ())
    rules = dstnat + _forward(gateway) + _invalid(gateway, INPUT.name) + _srcnat(gateway) + _egress(gateway) + mss
    for lan in lans:
        rules += _lan(gateway, lan)
    return RuleSet(gateway.instance, chains + tuple(Chain(lan_chain(lan)) for lan in lans), tuple(rules))


def compile_item(instance: str, item: Item) -> RuleSet:
    """One item of the modules masquerade or forward as rules in a chain that other items share."""
    if isinstance(item, Masquerade):
        matches = _address_matches(item.source, item.destination, oif=(item.out_interface,))
        rules = [Rule(SRCNAT.name, match, MASQUERADE, item.key) for match in matches]
        return RuleSet(instance, (SRCNAT,), tuple(rules))
    return RuleSet(instance, (FORWARD,), tuple(_forward_item(item)))


def lan_chain(lan: Lan) -> str:
    return "lan-" + lan.name


def _forward_item(item: Forward) -> t.List[Rule]:
    iif = (item.in_interface,) if item.in_interface else ()
    oif = (item.out_interface,) if item.out_interface else ()
    matches = _address_matches(item.source, item.destination, iif=iif, oif=oif, ct_state=item.ct_state)
    return [Rule(FORWARD.name, match, Action(item.action), item.key) for match in matches]


def _lan_interfaces(gateway: Gateway) -> t.Tuple[str, ...]:
    return tuple(name for lan in gateway.lans or () for name in lan.interfaces)


def _wan_interfaces(gateway: Gateway, item: t.Optional[Traffic] = None) -> t.Tuple[str, ...]:
    """All WANs, or the one that an item is about."""
    if item and item.wan:
        return (item.wan,)
    return tuple(wan.interface for wan in gateway.wans or ())


def _declared(gateway: Gateway) -> t.Tuple[str, ...]:
    return _lan_interfaces(gateway) + _wan_interfaces(gateway)


def _invalid(gateway: Gateway, chain: str) -> t.List[Rule]:
    """What conntrack calls invalid is never translated: 8 of 13 crafted packets left with a private source."""
    return [Rule(chain, Match(iif=_declared(gateway), ct_state=("invalid",)), DROP, "invalid")]


def _forward(gateway: Gateway) -> t.List[Rule]:
    lan_side, wan_side, declared = _lan_interfaces(gateway), _wan_interfaces(gateway), _declared(gateway)
    answers = Match(iif=declared, oif=declared, ct_state=("related", "established"))
    rules = _invalid(gateway, FORWARD.name)
    for lan in gateway.lans or ():
        # Before the answers: a source that is not the LAN's own is dropped even inside a known flow.
        rules.append(Rule(FORWARD.name, Match(iif=lan.interfaces), Action("jump", lan_chain(lan)), "lan/" + lan.name))
    rules.append(Rule(FORWARD.name, answers, ACCEPT, "answers"))
    rules += _bogon_sources(gateway)
    for forward in gateway.port_forwards:
        rules += _let_in(gateway, forward)
    for item in gateway.nat:
        if item.inbound:
            rules += _let_in_static(gateway, item)
    rules.append(Rule(FORWARD.name, Match(iif=lan_side, oif=declared), REJECT, "isolation"))
    rules.append(Rule(FORWARD.name, Match(iif=wan_side, oif=declared), DROP, "closed"))
    return rules


def _lan(gateway: Gateway, lan: Lan) -> t.List[Rule]:
    """What a LAN may begin: to itself, to the WANs and to the LANs it reaches, from its own networks only."""
    chain, key = lan_chain(lan), "lan/" + lan.name
    reached = tuple(name for other in gateway.lans or () if other.name in lan.reaches for name in other.interfaces)
    allowed = lan.interfaces + _wan_interfaces(gateway) + reached
    rules = _outbound(gateway, lan) + _bogon_destinations(gateway, lan)
    if not lan.spoof_check:
        return rules + [Rule(chain, Match(oif=allowed), ACCEPT, key)]
    own = by_family(lan.networks or ())
    rules += [Rule(chain, Match(family, oif=allowed, source=nets), ACCEPT, key) for family, nets in own.items()]
    rules += [Rule(chain, Match(family, source=nets), RETURN, key) for family, nets in own.items()]
    return rules + [Rule(chain, Match(), DROP, "spoofed/" + lan.name)]


# --- What LANs may open towards a WAN -------------------------------------------------------------------------------


def _outbound(gateway: Gateway, lan: Lan) -> t.List[Rule]:
    """Only what opens a connection is asked: answers to a port forward leave whatever is said here."""
    rules = []
    for item in gateway.outbound:
        sources = _within(inside_of(gateway, item), lan.networks or ())
        if not sources:
            continue
        for match in _matches(gateway, item, sources):
            match = replace(match, ct_state=("new",))
            key = "outbound/" + item.name
            if item.rate:
                rules.append(Rule(lan_chain(lan), replace(match, rate=item.rate), ACCEPT, key))
                rules.append(Rule(lan_chain(lan), match, REJECT, key))
            else:
                rules.append(Rule(lan_chain(lan), match, Action(item.action), key))
    return rules


def _within(networks: t.Iterable[str], lan: t.Iterable[str]) -> t.Tuple[str, ...]:
    """The part of some networks that lies in a LAN: two networks are apart, or one holds the other."""
    parsed = [t.cast("t.Any", ipaddress.ip_network(net)) for net in lan]
    found = []
    for net in networks:
        mine = t.cast("t.Any", ipaddress.ip_network(net))
        for other in parsed:
            if mine.version == other.version and mine.overlaps(other):
                found.append(str(mine if mine.prefixlen >= other.prefixlen else other))
    return tuple(dict.fromkeys(found))


def _bogon_destinations(gateway: Gateway, lan: Lan) -> t.List[Rule]:
    """Rejected, as a LAN is told what is wrong. What an exempt item leads out (a VPN) is no bogon."""
    if not gateway.drop_bogons:
        return []
    kept = [net for item in gateway.nat if item.action == "exempt" for net in item.destination]
    wans = _wan_interfaces(gateway)
    return [
        Rule(lan_chain(lan), Match(family, oif=wans, destination=nets, ct_state=("new",)), REJECT, "bogons")
        for family, nets in by_family(_without(BOGONS, kept)).items()
    ]


def _bogon_sources(gateway: Gateway) -> t.List[Rule]:
    if not gateway.drop_bogons:
        return []
    kept = [net for item in gateway.nat if item.action == "exempt" for net in item.destination]
    wans, declared = _wan_interfaces(gateway), _declared(gateway)
    return [
        Rule(FORWARD.name, Match(family, iif=wans, oif=declared, source=nets, ct_state=("new",)), DROP, "bogons")
        for family, nets in by_family(_without(BOGONS, kept)).items()
    ]


def _without(networks: t.Iterable[str], holes: t.Iterable[str]) -> t.List[str]:
    left = [t.cast("t.Any", ipaddress.ip_network(net)) for net in networks]
    for hole in (t.cast("t.Any", ipaddress.ip_network(net)) for net in holes):
        pieces = []
        for net in left:
            if net.version != hole.version or not net.overlaps(hole):
                pieces.append(net)
            elif net.prefixlen < hole.prefixlen:
                pieces += list(net.address_exclude(hole))
        left = pieces
    return [str(net) for net in left]


# --- NAT ------------------------------------------------------------------------------------------------------------


def _srcnat(gateway: Gateway) -> t.List[Rule]:
    """Hairpins, then NAT items in the user's order; in this table the first rule that matches decides."""
    rules = [rule for forward in gateway.port_forwards if forward.hairpin for rule in _hairpin(gateway, forward)]
    for item in gateway.nat:
        rules += [
            Rule(SRCNAT.name, match, action, "nat/" + item.name) for match, action in _translations(gateway, item)
        ]
    return rules


def _egress(gateway: Gateway) -> t.List[Rule]:
    """After translation no LAN source may be left, whatever happened to the rules before."""
    rules = []
    for item in gateway.nat:
        for match, action in _translations(gateway, item):
            if action == ACCEPT:
                rules.append(Rule(EGRESS.name, match, RETURN, "nat/" + item.name))
            else:
                rules.append(Rule(EGRESS.name, match, Action("expect_nat", nat=action), "guard"))
    guarded = by_family(net for lan in gateway.lans or () for net in nat_networks(gateway, lan))
    wans = _wan_interfaces(gateway)
    return rules + [
        Rule(EGRESS.name, Match(family, oif=wans, source=nets), GUARD, "guard") for family, nets in guarded.items()
    ]


def _translations(gateway: Gateway, item: NatItem) -> t.List[t.Tuple[Match, Action]]:
    """Which packets an item is about, and what it does to them; ACCEPT for those it exempts."""
    if item.action in ("static", "prefix"):
        wans = _wan_interfaces(gateway, item)
        return [
            (
                Match(family_of(inside), oif=wans, source=(inside,), destination=_of_family(item.destination, inside)),
                _map_source(inside, outside),
            )
            for inside, outside in _pairs(gateway, item)
            if not item.destination or _of_family(item.destination, inside)
        ]
    sources = sources_of(gateway, item)
    if not sources:
        return []
    found = []
    for match in _matches(gateway, item, sources):
        if item.action == "exempt":
            found.append((replace(match, ipsec=item.ipsec), ACCEPT))
        elif item.to_port and not match.protocol:
            # Only these have ports; the others are translated without.
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


def _pairs(gateway: Gateway, item: NatItem) -> t.List[t.Tuple[str, str]]:
    """Network inside to network outside, of an item that maps one to one."""
    outside = item.to[0]
    inside = [net for net in sources_of(gateway, item) if family_of(net) == family_of(outside)]
    if item.action == "prefix":
        return neutral_pairs(inside[0], outside, [net for lan in gateway.lans or () for net in lan.networks or ()])
    return [(inside[0], outside)]


def _map_source(inside: str, outside: str) -> Action:
    if _is_host(inside):
        return Action("snat", to=(outside.split("/", maxsplit=1)[0],))
    return Action("netmap", to=(outside,))


def _is_host(network: str) -> bool:
    return network.endswith("/32" if family_of(network) == "ip" else "/128")


def _dstnat(gateway: Gateway) -> t.List[Rule]:
    rules = []
    for forward in gateway.port_forwards:
        if not is_pinhole(gateway, forward):
            rules += _redirect(gateway, forward)
    for item in gateway.nat:
        if item.action in ("static", "prefix"):
            wans = _wan_interfaces(gateway, item)
            for inside, outside in _pairs(gateway, item):
                match = Match(family_of(outside), iif=wans, destination=(outside,))
                action = replace(_map_source(outside, inside), kind="dnat" if _is_host(outside) else "netmap")
                rules.append(Rule(DSTNAT.name, match, action, "nat/" + item.name))
    return rules


def _redirect(gateway: Gateway, forward: PortForward) -> t.List[Rule]:
    """From outside, and for a hairpin from the LANs, to the server."""
    family = family_of(forward.to[0])
    key = "port_forward/" + forward.name
    asked = by_family(forward.destination).get(family, ())
    rules = []
    for protocol in forward.protocol:
        for ports in forward.port:
            match = Match(
                family,
                iif=_wan_interfaces(gateway, forward),
                source=by_family(forward.source).get(family, ()),
                destination=asked,
                local=not asked,
                protocol=protocol,
                port=(ports,),
            )
            action = Action("dnat", to=forward.to, ports=_to_ports(forward, ports), balance=forward.balance)
            action = replace(action, shift=action.ports is not None and ports[0] != ports[1])
            rules.append(Rule(DSTNAT.name, match, action, key))
            if forward.hairpin:
                # Addresses of the gateway inside the LANs are not those that are known outside.
                inside = () if asked else _lan_networks(gateway, family)
                around = replace(match, iif=_lan_interfaces(gateway), source=(), not_destination=inside)
                rules.append(Rule(DSTNAT.name, around, action, key))
    return rules


def _lan_networks(gateway: Gateway, family: str) -> t.Tuple[str, ...]:
    return by_family(net for lan in gateway.lans or () for net in lan.networks or ()).get(family, ())


def _to_ports(forward: PortForward, ports: t.Tuple[int, int]) -> t.Optional[t.Tuple[int, int]]:
    if forward.to_port is None or forward.to_port == ports[0]:
        return None
    return forward.to_port, forward.to_port + ports[1] - ports[0]


def _server_side(gateway: Gateway, forward: PortForward) -> t.List[Match]:
    """The packets of a forward on their way to its servers."""
    lan = lan_of(gateway, forward.to[0])
    servers = by_family(net for to in forward.to for net in networks_of(to))
    ((family, destination),) = servers.items()
    return [
        Match(
            family,
            oif=lan.interfaces if lan else (),
            destination=destination,
            protocol=protocol,
            port=(_to_ports(forward, ports) or ports,),
            translated=not is_pinhole(gateway, forward),
        )
        for protocol in forward.protocol
        for ports in forward.port
    ]


def _let_in(gateway: Gateway, forward: PortForward) -> t.List[Rule]:
    key, rules = "port_forward/" + forward.name, []
    for match in _server_side(gateway, forward):
        source = by_family(forward.source).get(match.family, ())
        outside = replace(match, iif=_wan_interfaces(gateway, forward), source=source)
        rules.append(Rule(FORWARD.name, outside, ACCEPT, key))
        if forward.hairpin and match.translated:
            rules.append(Rule(FORWARD.name, replace(match, iif=_lan_interfaces(gateway)), ACCEPT, key))
    return rules


def _let_in_static(gateway: Gateway, item: NatItem) -> t.List[Rule]:
    rules = []
    for inside, _outside in _pairs(gateway, item):
        lan = lan_of(gateway, inside.split("/")[0])
        match = Match(
            family_of(inside),
            iif=_wan_interfaces(gateway, item),
            oif=lan.interfaces if lan else (),
            destination=(inside,),
            translated=True,
        )
        rules.append(Rule(FORWARD.name, match, ACCEPT, "nat/" + item.name))
    return rules


def _hairpin(gateway: Gateway, forward: PortForward) -> t.List[Rule]:
    """RFC 4787 REQ-9a: the server sees the address outside, as it would of a client outside."""
    if is_pinhole(gateway, forward):
        return []
    rules = []
    for match in _server_side(gateway, forward):
        inside = replace(match, source=_lan_networks(gateway, match.family))
        known = tuple(net.split("/")[0] for net in by_family(forward.destination).get(match.family, ()))
        action = Action("hairpin", to=known) if forward.hairpin_source == "external" else MASQUERADE
        rules.append(Rule(SRCNAT.name, inside, action, "port_forward/" + forward.name))
    return rules


# --- MTU and matches ------------------------------------------------------------------------------------------------


def _mss(gateway: Gateway) -> t.List[Rule]:
    """The MSS in both directions: the SYN and the SYN/ACK each announce one."""
    rules = []
    for value in dict.fromkeys(wan.mss for wan in gateway.wans or ()):
        if value == "keep":
            continue
        wans = tuple(wan.interface for wan in gateway.wans or () if wan.mss == value)
        action = CLAMP if value == "pmtu" else Action("set_mss", size=int(value))
        rules.append(Rule(MSS.name, Match(oif=wans, tcp_syn=True), action, "mss"))
        rules.append(Rule(MSS.name, Match(iif=wans, tcp_syn=True), action, "mss"))
    return rules


def _matches(gateway: Gateway, item: Traffic, sources: t.Tuple[str, ...]) -> t.List[Match]:
    """An item from these sources towards its WANs, one match for each family and protocol."""
    found = []
    for match in _address_matches(sources, item.destination, oif=_wan_interfaces(gateway, item)):
        for protocol in item.protocol or ("",):
            if protocol == "icmp" and match.family == "ip6":
                protocol = "icmpv6"
            found.append(replace(match, protocol=protocol, port=item.port))
    return found


def _address_matches(
    source: t.Tuple[str, ...],
    destination: t.Tuple[str, ...],
    iif: t.Tuple[str, ...] = (),
    oif: t.Tuple[str, ...] = (),
    ct_state: t.Tuple[str, ...] = (),
) -> t.List[Match]:
    """A match for each family that both ends have; one for both families where no end has an address."""
    if not source and not destination:
        return [Match("", iif, oif, ct_state=ct_state)]
    sources, destinations = by_family(source), by_family(destination)
    return [
        Match(family, iif, oif, sources.get(family, ()), destinations.get(family, ()), ct_state)
        for family in ("ip", "ip6")
        if (family in sources or not source) and (family in destinations or not destination)
    ]
