# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Check NAT and outbound items against the networks and addresses of the host."""

from __future__ import annotations

import ipaddress
import typing as t

from .._base.net import family_of, network as parsed_network
from .._base.values import addresses_in, ends_of, is_network, networks_of, overlaps, plain
from .._intent.nat import NatItem, check_same_size
from .added import MOST_ADDED, as_range
from .inside import inside_of, sources_of
from .missed import holds

if t.TYPE_CHECKING:
    from .._base.errors import Problems
    from .._facts.links import Facts
    from .missed import Missed
    from .resolved import Resolved

#: 256 /64 networks, each of which becomes a rule.
LONGEST_LAN = 56


def check_reach(gateway: Resolved, problems: Problems, missed: Missed) -> None:
    """Items that can never match: their sources are dropped as spoofed, or no packet has both address families."""
    known = [net for lan in gateway.lans for net in lan.networks]
    lans = ", ".join("{0} {1}".format(lan.name, " ".join(lan.networks[:3])) for lan in gateway.lans)
    items = [
        ("{0}[{1}] '{2}'".format(kind, index, item.name), item)
        for kind in ("nat", "outbound")
        for index, item in gateway.sound(kind)
    ]
    named = {entry for _where, item in items for entry in item.source if is_network(entry)}
    inside = {ours for ours, _theirs in overlaps(named, known)}
    families: t.Dict[t.Tuple[t.Any, ...], t.Set[str]] = {}
    for where, item in items:
        for entry in item.source:
            if entry not in named or entry in inside:
                continue
            if not missed.told(where, "source " + entry, entry, lans):
                problems.add(where, "source {0} is not in any LAN ({1})".format(entry, lans))
        # Most items share the same sources, so remember their families.
        key = (item.source, getattr(item, "action", ""), isinstance(item, NatItem))
        if key not in families:
            networks = sources_of(gateway, item) if isinstance(item, NatItem) else inside_of(gateway, item)
            families[key] = {family_of(net) for net in networks}
        sources = families[key]
        if item.destination and sources and not sources & {family_of(net) for net in item.destination}:
            problems.add(
                where, "source and destination have no address family in common; give both in IPv4 or both in IPv6"
            )
        to = {family_of(entry) for entry in getattr(item, "to", ())}
        if to and sources and not sources & to:
            problems.add(where, "source and to have no address family in common; give both in IPv4 or both in IPv6")


def check_outside(gateway: Resolved, facts: Facts, problems: Problems) -> None:
    """NAT addresses are seen outside, where nobody could answer a LAN's address."""
    links = [net for wan in gateway.wans for each in facts.meant_by(wan.interface) for net in each.networks]
    for index, item in gateway.sound("nat"):
        where = "nat[{0}] '{1}'".format(index, item.name)
        networks = [net for entry in item.to for net in ([entry] if "/" in entry else networks_of(entry))]
        for lan in gateway.lans:
            for ours, theirs in overlaps(networks, lan.networks)[:1]:
                problems.add(
                    where, "to {0} is in LAN {1} ({2}); name an address outside".format(plain(ours), lan.name, theirs)
                )
        for net in networks if item.to_address == "add" and "/" not in "".join(item.to) else ():
            for link in links:
                if net.split("/")[0] in ends_of_link(link):
                    problems.add(
                        where,
                        "to {0} is the network or broadcast address of the WAN's {1}; name a host address".format(
                            plain(net), link
                        ),
                    )


def ends_of_link(network: str) -> t.Tuple[str, ...]:
    """The first and last address of an IPv4 network, which no host can have, except on /31 links (RFC 3021)."""
    parsed = parsed_network(network)
    if parsed.version == 6 or parsed.prefixlen > 30:
        return ()
    return str(parsed.network_address), str(parsed.broadcast_address)


def check_shadowed(gateway: Resolved, problems: Problems) -> None:
    """The first item that matches decides, so an item after one that takes all its sources can never match."""
    for kind in ("nat", "outbound"):
        taken: t.Dict[t.Tuple[str, str], t.Tuple[int, str]] = {}
        for index, item in gateway.sound(kind):
            narrow = bool(item.destination or item.protocol or getattr(item, "ipsec", False))
            if narrow and not taken:
                continue
            networks = inside_of(gateway, item) if kind == "outbound" else sources_of(gateway, item)
            families = {family_of(entry) for entry in getattr(item, "to", ())}
            networks = tuple(
                net for net in networks if is_network(net) and (not families or family_of(net) in families)
            )
            found = [_taken_by(net, item.wan, taken) for net in networks] if taken else []
            if found and None not in found:
                first, name = t.cast("t.Any", found[0])
                problems.add(
                    "{0}[{1}] '{2}'".format(kind, index, item.name),
                    "can never match: {0}[{1}] '{2}' already takes these packets; put this one first".format(
                        kind, first, name
                    ),
                )
            if not narrow:
                for net in networks:
                    taken.setdefault((item.wan, net), (index, item.name))


def _taken_by(
    network: str, wan: str, taken: t.Mapping[t.Tuple[str, str], t.Tuple[int, str]]
) -> t.Optional[t.Tuple[int, str]]:
    parsed = parsed_network(network)
    for length in range(parsed.prefixlen, -1, -1):
        for place in dict.fromkeys(("", wan)):
            item = taken.get((place, str(parsed.supernet(new_prefix=length))))
            if item:
                return item
    return None


def check_one_to_one(gateway: Resolved, problems: Problems) -> None:
    """A LAN named as source must have exactly one network, of the same length as the outside network."""
    for index, item in gateway.sound("nat"):
        # A network that is listed may have lost those of another instance's LAN.
        if item.action not in ("static", "prefix") or (is_network(item.source[0]) and not gateway.around.left_out):
            continue
        where = "nat[{0}] '{1}'".format(index, item.name)
        family = family_of(item.to[0])
        networks = [net for net in sources_of(gateway, item) if family_of(net) == family]
        if len(networks) != 1:
            problems.add(
                where,
                "source {0} has {1} networks in the address family of to {2}; name the one to map".format(
                    item.source[0], len(networks), item.to[0]
                ),
            )
        else:
            check_same_size(where, item.action, networks[0], item.to[0], problems)


def check_prefixes(gateway: Resolved, problems: Problems) -> None:
    """With ipv6: prefix, every IPv6 network of a LAN needs an outside prefix on every WAN."""
    items = [(index, item) for index, item in gateway.sound("nat") if item.action == "prefix"]
    if len(gateway.sound("nat")) < len(gateway.nat):
        # An invalid item may be the one that is missing.
        return
    if gateway.ipv6 != "prefix":
        for index, item in items:
            problems.add(
                "nat[{0}] '{1}'".format(index, item.name), "action prefix requires ipv6 mode prefix; set ipv6 to prefix"
            )
        return
    for lan_index, lan in enumerate(gateway.lans):
        for net in lan.networks:
            if family_of(net) == "ip":
                continue
            for wan in gateway.wans:
                covering = [
                    source
                    for _index, item in items
                    for source in sources_of(gateway, item)
                    if item.wan in ("", wan.interface) and holds(source, net)
                ]
                if not covering:
                    problems.add(
                        "lans[{0}] '{1}'".format(lan_index, lan.name),
                        "network {0} has no outside prefix on {1}; add a NAT item with action prefix".format(
                            net, wan.interface
                        ),
                    )
            if int(net.split("/")[1]) < LONGEST_LAN:
                problems.add(
                    "lans[{0}] '{1}'".format(lan_index, lan.name),
                    "network {0} has more than 256 /64 subnets to translate; list those in use".format(net),
                )


def check_addresses(gateway: Resolved, facts: Facts, problems: Problems) -> None:
    """Answers do not arrive at an address that no interface has."""
    here = {ipaddress.ip_address(address) for interface in facts.interfaces for address in interface.addresses}
    links = [net for wan in gateway.wans for each in facts.meant_by(wan.interface) for net in each.networks]
    for index, item in gateway.sound("nat"):
        where = "nat[{0}] '{1}'".format(index, item.name)
        if item.to_address == "add":
            _check_added(where, item, gateway, problems)
        if item.action not in ("snat", "static") or item.to_address in ("routed", "add"):
            continue
        for entry in item.to:
            if item.action == "static" and item.to_address != "existing" and not overlaps([entry], links):
                # A block outside the link can only be routed here; on the link, this host must answer ARP.
                continue
            missing = _first_missing(as_range(entry), here)
            if missing:
                problems.add(
                    where,
                    "to {0}: no interface of this host has {1}; set to_address to add (or to routed, if a router sends "
                    "it here), or use action masquerade".format(entry, missing),
                )


def _check_added(where: str, item: NatItem, gateway: Resolved, problems: Problems) -> None:
    wans = [item.wan] if item.wan else [wan.interface for wan in gateway.wans]
    if len(wans) != 1:
        problems.add(
            where, "to_address add requires wan, to choose which of {0} gets the address".format(", ".join(wans))
        )
    elif wans[0].endswith("*"):
        problems.add(where, "to_address add requires the name of one interface; {0} is a pattern".format(wans[0]))
    for entry in item.to:
        if addresses_in(as_range(entry), MOST_ADDED) is None:
            problems.add(
                where,
                "to {0} has more than {1} addresses to add; have a router send them here, and set to_address to "
                "routed".format(entry, MOST_ADDED),
            )


def _first_missing(entry: str, here: t.Set[t.Any]) -> str:
    """The first address of a range that is not in ``here``; empty if all are."""
    first, last = (t.cast("t.Any", ipaddress.ip_address(end)) for end in ends_of(entry))
    while first <= last and first in here:
        first += 1
    return str(first) if first <= last else ""
