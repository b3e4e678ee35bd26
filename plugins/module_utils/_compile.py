# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""From intent to neutral rules: the guarantees of a gateway, written down once for every backend."""

from __future__ import annotations

import typing as t

from ._intent import Masquerade
from ._resolve import nat_networks, sources_of
from ._rules import Action, Chain, Match, Rule, RuleSet, by_family

if t.TYPE_CHECKING:
    from ._intent import Forward, Gateway, Item, Lan, NatItem

FORWARD = Chain("forward", "forward", "filter")
INPUT = Chain("input", "input", "filter")
MSS = Chain("mss", "forward", "mangle")
SRCNAT = Chain("srcnat", "postrouting", "nat")
EGRESS = Chain("egress", "postrouting", "guard")

ACCEPT, DROP, REJECT, RETURN = Action("accept"), Action("drop"), Action("reject"), Action("return")
MASQUERADE, GUARD, CLAMP = Action("masquerade"), Action("guard"), Action("clamp_mss")
EXPECT_NAT = Action("expect_nat")


def compile_gateway(gateway: Gateway) -> RuleSet:
    """A resolved gateway as rules. Between interfaces that it does not name, nothing is matched."""
    lans = gateway.lans or ()
    chains = (FORWARD, INPUT, SRCNAT, EGRESS) + ((MSS,) if gateway.clamp_mss else ())
    rules = _forward(gateway) + _invalid(gateway, INPUT.name) + _srcnat(gateway) + _egress(gateway)
    if gateway.clamp_mss:
        rules += _clamp(gateway)
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


def _wan_interfaces(gateway: Gateway) -> t.Tuple[str, ...]:
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
    rules.append(Rule(FORWARD.name, Match(iif=lan_side, oif=declared), REJECT, "isolation"))
    rules.append(Rule(FORWARD.name, Match(iif=wan_side, oif=declared), DROP, "closed"))
    return rules


def _lan(gateway: Gateway, lan: Lan) -> t.List[Rule]:
    """What a LAN may begin: to itself, to the WANs and to the LANs it reaches, from its own networks only."""
    chain, key = lan_chain(lan), "lan/" + lan.name
    reached = tuple(name for other in gateway.lans or () if other.name in lan.reaches for name in other.interfaces)
    allowed = lan.interfaces + _wan_interfaces(gateway) + reached
    own = by_family(lan.networks or ())
    rules = [Rule(chain, Match(family, oif=allowed, source=nets), ACCEPT, key) for family, nets in own.items()]
    rules += [Rule(chain, Match(family, source=nets), RETURN, key) for family, nets in own.items()]
    return rules + [Rule(chain, Match(), DROP, "spoofed/" + lan.name)]


def _srcnat(gateway: Gateway) -> t.List[Rule]:
    """NAT items in the user's order; in this table the first one that matches decides."""
    rules = []
    for item in gateway.nat:
        action = ACCEPT if item.action == "exempt" else MASQUERADE
        matches = _nat_matches(gateway, item)
        rules += [Rule(SRCNAT.name, match, action, "nat/" + item.name) for match in matches]
    return rules


def _egress(gateway: Gateway) -> t.List[Rule]:
    """After translation no LAN source may be left, whatever happened to the rules before."""
    rules = []
    for item in gateway.nat:
        action, key = (RETURN, "nat/" + item.name) if item.action == "exempt" else (EXPECT_NAT, "guard")
        rules += [Rule(EGRESS.name, match, action, key) for match in _nat_matches(gateway, item)]
    guarded = by_family(net for lan in gateway.lans or () for net in nat_networks(gateway, lan))
    wans = _wan_interfaces(gateway)
    return rules + [
        Rule(EGRESS.name, Match(family, oif=wans, source=nets), GUARD, "guard") for family, nets in guarded.items()
    ]


def _nat_matches(gateway: Gateway, item: NatItem) -> t.List[Match]:
    oif = (item.wan,) if item.wan else _wan_interfaces(gateway)
    sources = sources_of(gateway, item)
    return _address_matches(sources, item.destination, oif=oif) if sources else []


def _clamp(gateway: Gateway) -> t.List[Rule]:
    """MSS to the path MTU in both directions: the SYN and the SYN/ACK each announce one."""
    wans = _wan_interfaces(gateway)
    return [
        Rule(MSS.name, Match(oif=wans, tcp_syn=True), CLAMP, "mss"),
        Rule(MSS.name, Match(iif=wans, tcp_syn=True), CLAMP, "mss"),
    ]


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
