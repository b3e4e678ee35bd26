# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Check port forwards against the host's addresses and against 1:1 mappings."""

from __future__ import annotations

import typing as t

from .._base.net import by_family, collapse, family_of, is_suffix, network
from .._base.values import PRIVATE, UNIQUE_LOCAL, less, networks_of, overlaps
from .._facts.links import manager_of
from .._intent.conflicts import exempted_by, is_pinhole
from .rivals import mapped

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.errors import Problems
    from .._facts.links import Facts, Interface, Route
    from .._intent.forward import PortForward
    from .._intent.nat import NatItem
    from .resolved import Elsewhere, Resolved

#: Routing tables that are consulted by default.
MAIN = ("main", "default")
#: Names listed in one sentence.
MOST_NAMED = 5
NOBODYS = {"ip": tuple(str(net) for net in PRIVATE), "ip6": (str(UNIQUE_LOCAL),)}


def elsewhere(gateway: Resolved, facts: Facts) -> Elsewhere:
    """For each WAN with a hairpin forward, the networks in which this host's addresses do not belong to that WAN.

    A WAN that does not exist is assumed to be public.
    """
    wanted = dict.fromkeys(forward.wan for forward in gateway.port_forwards if forward.hairpin)
    return tuple((wan, _around(gateway, facts, wan)) for wan in wanted)


def _around(gateway: Resolved, facts: Facts, wan: str) -> t.Tuple[str, ...]:
    every = [each.interface for each in gateway.wans]
    own = _links(facts, [wan] if wan else every)
    declared = [link.name for link in _links(facts, every)]
    managed = [link for link in facts.interfaces if link not in own and link.name not in declared and manager_of(link)]
    others = [link for link in facts.interfaces if link not in own and link not in managed]
    lans = by_family(net for lan in gateway.lans for net in lan.networks)
    found: t.List[str] = []
    for family in ("ip", "ip6"):
        ours = [net for link in own for net in _of(link) if family_of(net) == family]
        # Networks that container managers create later have private addresses.
        private = less(NOBODYS[family], ours)
        alone = [_host(address) for link in managed for address in link.addresses if family_of(address) == family]
        found += collapse([*lans.get(family, ()), *_apart(ours, others, family), *private, *alone])
    return tuple(found)


def _apart(ours: t.Sequence[str], others: t.Iterable[Interface], family: str) -> t.List[str]:
    """The networks of other links; if a network overlaps the WAN's, only the link's addresses."""
    found = []
    for link in others:
        nets = [net for net in _of(link) if family_of(net) == family]
        if overlaps(nets, ours):
            nets = [_host(address) for address in link.addresses if family_of(address) == family]
        found += nets
    return found


def _links(facts: Facts, names: t.Iterable[str]) -> t.List[Interface]:
    return [link for name in names for link in facts.meant_by(name)]


def _of(link: Interface) -> t.List[str]:
    alone = [_host(address) for address in link.addresses]
    return [*link.networks, *(net for net in alone if not overlaps([net], link.networks))]


def _host(address: str) -> str:
    return address + ("/128" if ":" in address else "/32")


def check_pairs(gateway: Resolved, facts: Facts, problems: Problems, between: Problems) -> t.List[str]:
    """Check forwards against 1:1 items, and return notes on valid overlaps where one takes precedence.

    ``between``: for problems that depend on other instances.
    """
    statics = [(index, item) for index, item in gateway.sound("nat") if item.action == "static"]
    _check_prefixes(gateway, facts, problems)
    notes = [note for index, item in statics for note in _of_the_gateway(index, item, gateway, facts, problems)]
    for index, forward in gateway.sound("port_forwards"):
        where = "port_forwards[{0}] '{1}'".format(index, forward.name)
        for nat_index, item in statics:
            if not _same_wan(forward, item):
                continue
            for ours, _theirs in overlaps(forward.destination, item.to):
                notes.append(
                    "{0} takes its ports on {1} before nat[{2}] '{3}' maps that address to {4}".format(
                        where, ours, nat_index, item.name, item.source[0]
                    )
                )
        if is_pinhole(gateway, forward):
            _check_mapped(where, forward, statics, gateway, problems)
        notes += _told(where, forward, gateway)
        if forward.to and not forward.destination and (statics or gateway.around.mapped):
            _check_left(where, forward, gateway, facts, between if gateway.around.mapped else problems)
    return notes


def _of_the_gateway(index: int, item: NatItem, gateway: Resolved, facts: Facts, problems: Problems) -> t.List[str]:
    """The gateway's own addresses in a network that is mapped: their counterparts outside lead nowhere."""
    where, source = "nat[{0}] '{1}'".format(index, item.name), _networks_of(item.source[0], gateway)
    pairs = [(network(ours), network(item.to[0])) for ours in source if family_of(ours) == family_of(item.to[0])]
    if len(pairs) != 1:  # told elsewhere
        return []
    inside, outside = pairs[0]
    notes = []
    for link, address in _within(facts, inside):
        if inside.num_addresses == 1:
            problems.add(
                where,
                "source {0} is an address of this gateway ({1}), and a 1:1 mapping leads to another host; remove the "
                "item, and open services of the gateway with port_forwards, or with input_allow if input is "
                "protect".format(address, link),
            )
        else:
            place = int(network(address).network_address) - int(inside.network_address)
            notes.append(
                "{0}: {1} in source {2} is an address of this gateway ({3}), so its outside address {4} leads "
                "nowhere".format(where, address, inside, link, outside.network_address + place)
            )
    return notes


def _networks_of(source: str, gateway: Resolved) -> t.Tuple[str, ...]:
    named = [lan.networks for lan in gateway.lans if lan.name == source]
    return named[0] if named else (source,)


def _within(facts: Facts, inside: t.Any) -> t.List[t.Tuple[str, str]]:
    return [
        (link.name, address)
        for link in facts.interfaces
        for address in link.addresses
        if overlaps([_host(address)], [str(inside)])
    ]


def _told(where: str, forward: PortForward, gateway: Resolved) -> t.List[str]:
    notes = []
    exempting = exempted_by(gateway, forward.to[0], forward.wan) if forward.to else ""
    if exempting and is_pinhole(gateway, forward):
        notes.append(
            "{0}: nat item '{2}' exempts {1}, so clients connect to its own address; to forward an address of the "
            "gateway instead, name it in destination".format(where, forward.to[0], exempting)
        )
    elif not forward.destination and "tcp" in forward.protocol and not is_pinhole(gateway, forward):
        notes += [
            "{0} also takes TCP ports {1}-{2} of the gateway itself, management ports included; a change that cuts "
            "Ansible off is rolled back".format(where, first, last)
            for first, last in forward.port
            if first < last and any(first <= port <= last for port in gateway.controller_ports)
        ]
    return notes


def _check_prefixes(gateway: Resolved, facts: Facts, problems: Problems) -> None:
    """Routers on a link solicit each of its addresses (RFC 4861), and no host answers for a translated prefix."""
    for index, item in gateway.sound("nat"):
        names = [item.wan] if item.wan else [wan.interface for wan in gateway.wans]
        for link in _links(facts, names if item.action == "prefix" else ()):
            for ours, theirs in overlaps(item.to, link.networks):
                problems.add(
                    "nat[{0}] '{1}'".format(index, item.name),
                    "to {0} is on the link of WAN {1} ({2}), where nobody would answer neighbour solicitations for it; "
                    "have the provider route another prefix to this host, or set ipv6 to masquerade".format(
                        ours, link.name, theirs
                    ),
                )


def _same_wan(forward: PortForward, item: NatItem) -> bool:
    return not item.wan or not forward.wan or item.wan == forward.wan


def answers(gateway: Resolved, facts: Facts) -> t.List[str]:
    """Forwards of a WAN whose replies leave through another WAN, because routes ignore where a connection came in."""
    found: t.Dict[t.Tuple[str, str], t.List[str]] = {}
    best = {family: _best(facts, family) for family in ("ip", "ip6")}
    for _index, forward in gateway.sound("port_forwards"):
        family = family_of(forward.to[0])
        for wan in [forward.wan] if forward.wan else [each.interface for each in gateway.wans]:
            links = [link.name for link in facts.meant_by(wan)]
            own = [route for route in facts.routes if route.interface in links and not _is_for_all(route)]
            if links and not own and best[family] not in ("", *links):
                found.setdefault((wan, best[family]), []).append(forward.name)
    return [
        "port_forwards {0}: replies to clients on {1} leave through {2}, which has the best default route, so they "
        "reach only clients on the link of {1}; docs/nat.md shows how to send replies back through {1}".format(
            ", ".join(names[:MOST_NAMED]) + " …" * (len(names) > MOST_NAMED), wan, by
        )
        for (wan, by), names in found.items()
    ]


def _is_for_all(route: Route) -> bool:
    """Whether no rule and no source has a part in it."""
    return route.table in MAIN and not route.source


def _best(facts: Facts, family: str) -> str:
    known = [route for route in facts.routes if route.family == family and _is_for_all(route)]
    return min(known, key=lambda route: route.metric).interface if known else ""


def _check_mapped(
    where: str,
    forward: PortForward,
    statics: t.Iterable[t.Tuple[int, NatItem]],
    gateway: Resolved,
    problems: Problems,
) -> None:
    """A server that is mapped 1:1 is not known outside by its own address: the guard drops its answers."""
    for index, item in statics:
        if not _same_wan(forward, item):
            continue
        inside = _networks_of(item.source[0], gateway)
        named = [to for to in forward.to if not is_suffix(to) and overlaps(networks_of(to), inside)]
        mapped = [to for to in named if not exempted_by(gateway, to, item.wan)]
        if mapped:
            how = "nothing is let in there" if item.inbound is False else "its ports are open there"
            problems.add(
                where,
                "hosts outside do not reach {0} at its own address: nat[{1}] '{2}' maps it 1:1 to {3}, and {4}; remove "
                "the forward or the mapping, or limit one of them to another wan".format(
                    ", ".join(mapped), index, item.name, item.to[0], how
                ),
            )


def _check_left(
    where: str,
    forward: PortForward,
    gateway: Resolved,
    facts: Facts,
    problems: Problems,
) -> None:
    """A forward without destination applies to the addresses that have no 1:1 mapping."""
    family = family_of(forward.to[0])
    names = [forward.wan] if forward.wan else [wan.interface for wan in gateway.wans]
    known = [
        _host(address) for link in _links(facts, names) for address in link.addresses if family_of(address) == family
    ]
    if known and not less(known, mapped(gateway, forward, family)):
        words = "can never match: nat items{0} map every address of {1}; name the address to take this port from in "
        words += "destination{2}"
        others = gateway.around.mapped
        more = (", with those of other instances,", ", or first remove an item there") if others else ("", "")
        problems.add(where, words.format(more[0], " and ".join(names), more[1]))
