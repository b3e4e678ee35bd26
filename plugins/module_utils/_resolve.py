# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Intent meets host: find what was left out, follow alternative names, and check what needs the host to be checked."""

from __future__ import annotations

import ipaddress
import typing as t
from dataclasses import dataclass, replace

from ._around import around, check_reaches, concerning
from ._choice import NOTHING, Choosing, remembered
from ._conflicts import check_references, is_pinhole
from ._errors import Problems
from ._intent import NatItem, Traffic, check_same_size
from ._pairs import answers, check_pairs, elsewhere
from ._remarks import dangers, remarks
from ._rules import family_of, is_suffix, network as parsed_network
from ._values import (
    INTERFACE_LENGTH,
    PRIVATE,
    UNIQUE_LOCAL,
    addresses_in,
    ends_of,
    is_network,
    is_plain_link,
    is_private,
    may_have,
    networks_of,
    overlaps,
    plain,
    shorten,
)

if t.TYPE_CHECKING:  # pragma: no cover
    from ._choice import Chosen
    from ._facts import Facts
    from ._intent import Gateway, Item, Lan, Multicast, Neighbour, Outbound, PortForward, Wan


AnyItem = t.TypeVar("AnyItem", Traffic, NatItem, "PortForward", "Outbound", "Multicast")


@dataclass(frozen=True)
class Resolved:
    """A gateway in which every name is a kernel name and every LAN has networks, and how it came about."""

    gateway: Gateway
    notes: t.Tuple[str, ...] = ()
    chosen: Chosen = NOTHING
    warnings: t.Tuple[str, ...] = ()  # at each run
    remarks: t.Tuple[str, ...] = ()  # once


def resolve(
    gateway: Gateway, facts: Facts, known: Chosen = NOTHING, neighbours: t.Sequence[Neighbour] = ()
) -> Resolved:
    """Raises GatewayError with every problem that the host shows. ``known`` is what an earlier run has chosen."""
    problems = Problems()
    notes: t.List[str] = []
    lost: t.List[str] = []
    kernel_name = _Names(facts, problems, notes)
    choosing = Choosing(facts, known, neighbours, problems, notes)
    wans = _wans(gateway, kernel_name, choosing)
    lans = _lans(gateway, wans, facts, known, kernel_name, choosing, problems)
    chosen = remembered(gateway, lans, wans)
    if chosen.wans or chosen.lans:
        notes.append("to write this choice down: " + chosen.to_yaml())
    nat = _with_kernel_names("nat", gateway.nat, kernel_name)
    if any(item.hairpin for item in gateway.port_forwards):
        named = replace(gateway, wans=wans, nat=nat)
        wans = tuple(replace(wan, addresses=_addresses(wan, named, facts)) for wan in wans)
    resolved = replace(
        gateway,
        wans=wans,
        lans=lans,
        nat=nat,
        port_forwards=_with_kernel_names("port_forwards", gateway.port_forwards, kernel_name),
        outbound=_with_kernel_names("outbound", gateway.outbound, kernel_name),
        multicast=_with_kernel_names("multicast", gateway.multicast, kernel_name),
        input_allow=_with_kernel_names("input_allow", gateway.input_allow, kernel_name),
        own_servers=tuple(sorted({to for item in gateway.port_forwards for to in item.to} & _local(facts))),
        around=around(lans, wans, facts, concerning(gateway, neighbours)),
    )
    resolved = replace(resolved, elsewhere=elsewhere(resolved, facts))
    check_reaches(resolved, neighbours, problems)
    if not problems.found:
        # Names have changed and what was left out is there: the checks between items run again on the whole.
        check_references(resolved, problems)
        # What a LAN had at an earlier run it may have again; at a first run it is a slip.
        missed = _Missed(followed(resolved) if known.networks else (), lost)
        _check_nat_reach(resolved, problems, missed)
        _check_outside(resolved, facts, problems)
        _check_shadowed(resolved, problems)
        _check_one_to_one(resolved, problems)
        _check_prefixes(resolved, problems)
        _check_forwards(resolved, problems, missed)
        _check_addresses(resolved, facts, problems)
        notes += check_pairs(resolved, facts, problems)
    _check_wan_networks(lans, wans, facts, problems)
    problems.raise_if_any()
    return Resolved(
        resolved,
        tuple(dict.fromkeys(notes)),
        chosen,
        warnings=tuple(dangers(resolved, facts) + lost),
        remarks=tuple(remarks(resolved, facts, neighbours) + answers(resolved, facts)),
    )


def _local(facts: Facts) -> t.Set[str]:
    return {address for interface in facts.interfaces for address in interface.addresses}


def _addresses(wan: Wan, gateway: Gateway, facts: Facts) -> t.Tuple[str, ...]:
    """What a WAN has, and what this run adds to it."""
    added = tuple(
        address
        for _index, item in gateway.sound("nat")
        for interface, address in added_addresses(gateway, item)
        if interface == wan.interface
    )
    there = (address for interface in facts.meant_by(wan.interface) for address in interface.addresses)
    return tuple(address for address in there if address not in added) + added


def added_addresses(gateway: Gateway, item: NatItem) -> t.List[t.Tuple[str, str]]:
    """Interface and address of all that an item adds."""
    if item.to_address != "add":
        return []
    wan = item.wan or next((each.interface for each in gateway.wans or ()), "")
    return [(wan, address) for entry in item.to for address in addresses_in(as_range(entry), MOST_ADDED) or ()]


def _with_kernel_names(kind: str, items: t.Tuple[AnyItem, ...], kernel_name: _Names) -> t.Tuple[AnyItem, ...]:
    return tuple(
        replace(item, wan=kernel_name("{0}[{1}] '{2}'".format(kind, index, item.name), item.wan) if item.wan else "")
        for index, item in enumerate(items)
    )


def resolve_item(item: Item, facts: Facts) -> t.Tuple[Item, t.Tuple[str, ...]]:
    """The same for the single items of the modules masquerade and forward."""
    problems = Problems()
    notes: t.List[str] = []
    kernel_name = _Names(facts, problems, notes)
    resolved: Item = item
    for option in ("in_interface", "out_interface"):
        if hasattr(item, option):
            name = kernel_name.declared(option, getattr(item, option))
            resolved = replace(resolved, **t.cast("t.Any", {option: name}))
    problems.raise_if_any()
    return resolved, tuple(notes)


class _Names:
    """Interface names as the kernel's rules need them.

    A rule with an alternative name never matches, and says nothing about it (measured: nft 1.0.6, Linux 6.18).
    """

    def __init__(self, facts: Facts, problems: Problems, notes: t.List[str]) -> None:
        self._facts, self._problems, self._notes = facts, problems, notes

    def declared(self, where: str, name: str) -> str:
        """The same for a WAN or a LAN, which has to be a link that packets of hosts arrive by."""
        real = self._facts.named(name)
        if not real and "@" in name:
            self._problems.add(
                where,
                "interface '{0}' does not exist; 'ip link' prints after the '@' what a link is on top of: write "
                "{1}".format(shorten(name), shorten(name.partition("@")[0])),
            )
            return name
        meant = self._facts.meant_by(real.name if real else name)
        # Of what a pattern means, some may be.
        for each in meant if all(each.master for each in meant) else ():
            self._problems.add(
                where,
                "{0} is a port of {1}{2}, and packets arrive by that; name {2}".format(
                    shorten(each.name), each.port_of + " " if each.port_of else "", shorten(each.master)
                ),
            )
        return self(where, name)

    def __call__(self, where: str, name: str) -> str:
        found = self._facts.named(name)
        if found and found.name != name:
            _check_link(where, found.name, self._problems)
            self._notes.append("{0} is an alternative name of {1}; the rules use {1}".format(name, found.name))
            return found.name
        if name.endswith("*") and len(name) > INTERFACE_LENGTH:
            self._problems.add(
                where,
                "pattern '{0}' has more than {1} characters; shorten what stands before the star".format(
                    shorten(name), INTERFACE_LENGTH
                ),
            )
        elif not found and len(name) > INTERFACE_LENGTH:
            self._problems.add(
                where,
                "interface '{0}' has more than {1} characters and is no alternative name here; "
                "use the name that 'ip link' shows".format(shorten(name), INTERFACE_LENGTH),
            )
        return name


def _check_link(where: str, name: str, problems: Problems) -> None:
    if not is_plain_link(name):
        problems.add(where, "'{0}' is a name that no rule can have; rename that link".format(shorten(name)))


def _wans(gateway: Gateway, kernel_name: _Names, choosing: Choosing) -> t.Tuple[Wan, ...]:
    if gateway.wans is None:
        return choosing.wans(gateway)
    named = enumerate(gateway.wans)
    return tuple(
        replace(wan, interface=kernel_name.declared("wans[{0}]".format(index), wan.interface)) for index, wan in named
    )


def _lans(
    gateway: Gateway,
    wans: t.Tuple[Wan, ...],
    facts: Facts,
    known: Chosen,
    kernel_name: _Names,
    choosing: Choosing,
    problems: Problems,
) -> t.Tuple[Lan, ...]:
    """LANs with their networks; those that were read from their links follow them."""
    found = []
    for index, lan in enumerate(choosing.lans(wans) if gateway.lans is None else gateway.lans):
        where = "lans[{0}] '{1}'".format(index, lan.name)
        names = tuple(kernel_name.declared(where, name) for name in lan.interfaces)
        real = replace(lan, interfaces=names, follows=lan.networks is None)
        found.append(replace(real, networks=_networks(where, real, facts, known, problems)))
    return tuple(found)


def _networks(where: str, lan: Lan, facts: Facts, known: Chosen, problems: Problems) -> t.Tuple[str, ...]:
    """The networks of a LAN's links: what they have, or had when they were there last."""
    if lan.networks is not None:
        return lan.networks
    present = [interface for name in lan.interfaces for interface in facts.meant_by(name)]
    networks = tuple(dict.fromkeys(net for interface in present for net in interface.behind))
    networks = networks or dict(known.networks).get(lan.name, ())
    if not networks:
        lack = "has no address" if present else "does not exist"
        if any(interface.addresses for interface in present):
            lack = "has an address of its own only (a /32), and no routes"
        problems.add(
            where,
            "{0} {1}, so its networks cannot be read; list them in networks".format(", ".join(lan.interfaces), lack),
        )
    return networks


def _check_wan_networks(lans: t.Tuple[Lan, ...], wans: t.Tuple[Wan, ...], facts: Facts, problems: Problems) -> None:
    """RFC 4787 REQ-7: a LAN that has the WAN link's addresses too could not reach that link."""
    for wan in wans:
        for interface in facts.meant_by(wan.interface):
            for index, lan in enumerate(lans):
                for ours, theirs in overlaps(lan.networks or (), interface.networks):
                    problems.add(
                        "lans[{0}] '{1}'".format(index, lan.name),
                        "network {0} overlaps {1} of WAN {2}; {3}".format(
                            ours, theirs, interface.name, _apart(ours, theirs)
                        ),
                    )


def _apart(ours: str, theirs: str) -> str:
    """What to do about a LAN's network that has addresses of a WAN's link: leave those out, if any are left."""
    outer, inner = parsed_network(ours), parsed_network(theirs)
    if outer.prefixlen >= inner.prefixlen:
        return "renumber the LAN"
    left = sorted(outer.address_exclude(inner), key=lambda net: (net.prefixlen, net.network_address))
    return "name the networks that are behind the LAN without it, such as {0}".format(
        ", ".join(str(net) for net in left[:4]) + (" and more" if len(left) > 4 else "")
    )


class _Missed:
    """Addresses that no LAN has now, and may have again without a run."""

    def __init__(self, followed_networks: t.Tuple[str, ...], lost: t.List[str]) -> None:
        self._networks, self._lost = followed_networks, lost

    def told(self, where: str, what: str, network: str, lans: str) -> bool:
        """Whether that is no error, and told."""
        if not any(_holds(each, network) for each in self._networks):
            return False
        self._lost.append(
            "{0}: {1} is in none of the LANs now ({2}); it works again once a LAN has its network, otherwise name what "
            "it is now".format(where, what, lans)
        )
        return True


def _check_nat_reach(gateway: Gateway, problems: Problems, missed: _Missed) -> None:
    """Items that could never match: the filter drops their sources as spoofed, or no packet has both their families."""
    known = [net for lan in gateway.lans or () for net in lan.networks or ()]
    lans = ", ".join("{0} {1}".format(lan.name, " ".join((lan.networks or ())[:3])) for lan in gateway.lans or ())
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
                problems.add(where, "source {0} is in none of the LANs ({1})".format(entry, lans))
        # Most items have the same sources: all of them.
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


def _check_outside(gateway: Gateway, facts: Facts, problems: Problems) -> None:
    """What NAT translates to is seen outside, where nobody could answer an address of a LAN."""
    links = [net for wan in gateway.wans or () for each in facts.meant_by(wan.interface) for net in each.networks]
    for index, item in gateway.sound("nat"):
        where = "nat[{0}] '{1}'".format(index, item.name)
        networks = [net for entry in item.to for net in ([entry] if "/" in entry else networks_of(entry))]
        for lan in gateway.lans or ():
            for ours, theirs in overlaps(networks, lan.networks or ())[:1]:
                problems.add(
                    where, "to {0} is in LAN {1} ({2}); name an address outside".format(plain(ours), lan.name, theirs)
                )
        for net in networks if item.to_address == "add" and "/" not in "".join(item.to) else ():
            for link in links:
                if net.split("/")[0] in _ends_of_link(link):
                    problems.add(
                        where, "to {0} is an end of the WAN's network {1}, no host's address".format(plain(net), link)
                    )


def _ends_of_link(network: str) -> t.Tuple[str, ...]:
    """The addresses of a network that no host can have: IPv4's first and last, but for links of two (RFC 3021)."""
    parsed = parsed_network(network)
    if parsed.version == 6 or parsed.prefixlen > 30:
        return ()
    return str(parsed.network_address), str(parsed.broadcast_address)


def _check_shadowed(gateway: Gateway, problems: Problems) -> None:
    """The first item that matches decides, so what comes after one that takes all the same sources never does."""
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
            found = [_taken_by(net, item.wan, taken) for net in networks]
            if found and None not in found:
                first, name = t.cast("t.Any", found[0])
                problems.add(
                    "{0}[{1}] '{2}'".format(kind, index, item.name),
                    "never gets a packet, as {0}[{1}] '{2}' before it takes them all; put it before that one".format(
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


def _check_one_to_one(gateway: Gateway, problems: Problems) -> None:
    """What a LAN's name stood for is known now: it has to be one network, as long as the one outside."""
    for index, item in gateway.sound("nat"):
        if item.action not in ("static", "prefix") or is_network(item.source[0]):
            continue
        where = "nat[{0}] '{1}'".format(index, item.name)
        family = family_of(item.to[0])
        networks = [net for net in sources_of(gateway, item) if family_of(net) == family]
        if len(networks) != 1:
            problems.add(
                where,
                "source {0} has {1} networks of the family of to {2}; name the one to map".format(
                    item.source[0], len(networks), item.to[0]
                ),
            )
        else:
            check_same_size(where, item.action, networks[0], item.to[0], problems)


#: Addresses that one NAT item may add to a WAN; for more of them there are routers.
MOST_ADDED = 256
#: 256 networks of /64: each becomes a rule.
LONGEST_LAN = 56


def _check_prefixes(gateway: Gateway, problems: Problems) -> None:
    """ipv6: prefix is the promise that every IPv6 network of a LAN has a prefix outside, on every WAN."""
    items = [(index, item) for index, item in gateway.sound("nat") if item.action == "prefix"]
    if len(gateway.sound("nat")) < len(gateway.nat):
        # What cannot be used as it is may be what is missing.
        return
    if gateway.ipv6 != "prefix":
        for index, item in items:
            problems.add("nat[{0}] '{1}'".format(index, item.name), "action prefix needs ipv6 to be prefix")
        return
    for lan_index, lan in enumerate(gateway.lans or ()):
        for net in lan.networks or ():
            if family_of(net) == "ip":
                continue
            for wan in gateway.wans or ():
                covering = [
                    source
                    for _index, item in items
                    for source in sources_of(gateway, item)
                    if item.wan in ("", wan.interface) and _holds(source, net)
                ]
                if not covering:
                    problems.add(
                        "lans[{0}] '{1}'".format(lan_index, lan.name),
                        "network {0} has no prefix outside on {1}; add a NAT item with action prefix".format(
                            net, wan.interface
                        ),
                    )
            if int(net.split("/")[1]) < LONGEST_LAN:
                problems.add(
                    "lans[{0}] '{1}'".format(lan_index, lan.name),
                    "network {0} has more than 256 subnets of /64 to translate; name those that are used".format(net),
                )


def _holds(outer: str, inner: str) -> bool:
    ours, theirs = parsed_network(outer), parsed_network(inner)
    return ours.version == theirs.version and bool(theirs.subnet_of(ours))


def lan_of(gateway: Gateway, address: str) -> t.Optional[Lan]:
    """The LAN in whose networks an address is."""
    found = _Inside.of(gateway).find(address)
    return found[0] if found else None


class _Inside:
    """Whose an address is, without a look at each of 10,000 networks."""

    def __init__(self, lans: t.Iterable[Lan]) -> None:
        self._lans: t.Dict[t.Tuple[int, int, int], t.Tuple[Lan, str]] = {}
        for lan in lans:
            for net in lan.networks or ():
                parsed = parsed_network(net)
                key = (parsed.version, parsed.prefixlen, int(parsed.network_address))
                self._lans.setdefault(key, (lan, net))
        self._lengths = sorted({key[:2] for key in self._lans}, reverse=True)

    @classmethod
    def of(cls, gateway: Gateway) -> _Inside:
        """Made once for each gateway, which does not change."""
        found = gateway.__dict__.get("_inside")
        if not found:
            found = gateway.__dict__["_inside"] = cls(gateway.lans or ())
        return t.cast("_Inside", found)

    def find(self, address: str) -> t.Optional[t.Tuple[Lan, str]]:
        """The LAN, and its network. Of the end of an address, if it is only one."""
        if is_suffix(address):
            ending = self.ending_in(address)
            return ending[0] if len({lan.name for lan, _net in ending}) == 1 else None
        parsed = ipaddress.ip_address(address)
        for version, length in self._lengths:
            if version == parsed.version:
                rest = parsed.max_prefixlen - length
                found = self._lans.get((version, length, int(parsed) >> rest << rest))
                if found:
                    return found
        return None

    def ending_in(self, suffix: str) -> t.List[t.Tuple[Lan, str]]:
        """Where a routed address with this end may be."""
        return [(lan, net) for lan, net in self._lans.values() if may_have(net, suffix) and not is_private(net)]


def home_of(gateway: Gateway, address: str) -> t.Tuple[str, ...]:
    """The interfaces behind which an address is: of LANs that have it, or of those that may have it again."""
    lans = lans_with(gateway, [address]) or [lan for lan in gateway.lans or () if lan.follows]
    return tuple(name for lan in lans for name in lan.interfaces)


def lans_with(gateway: Gateway, networks: t.Sequence[str]) -> t.List[Lan]:
    """The LANs that have addresses in these networks."""
    return [lan for lan in gateway.lans or () if overlaps(networks, lan.networks or ())]


def _check_forwards(gateway: Gateway, problems: Problems, missed: _Missed) -> None:
    known = ", ".join("{0} {1}".format(lan.name, " ".join((lan.networks or ())[:3])) for lan in gateway.lans or ())
    known_networks = [net for lan in gateway.lans or () for net in lan.networks or ()]
    for index, item in gateway.sound("port_forwards"):
        where = "port_forwards[{0}] '{1}'".format(index, item.name)
        found = [_Inside.of(gateway).find(server) for server in item.to]
        for server, place in zip(item.to, found):
            if is_suffix(server):
                _check_suffix(where, server, gateway, problems)
            elif not place and missed.told(where, "to " + server, server, known):
                continue
            elif not place:
                problems.add(where, "to {0} is in none of the LANs ({1})".format(server, known))
            elif server in _ends_of_link(place[1]):
                problems.add(
                    where, "to {0} is an end of a network of LAN {1}, no host's address".format(server, place[0].name)
                )
        if item.hairpin and item.source and not overlaps(item.source, known_networks):
            problems.add(
                where,
                "hairpin means nothing with these sources, of which none is in a LAN; add the clients inside to source,"
                " or leave hairpin out",
            )
        if len({place[0].name for place in found if place}) > 1:
            problems.add(where, "to names servers in different LANs; balance between servers of one LAN")
        if is_pinhole(gateway, item):
            _check_pinhole(where, item, problems)


def _check_pinhole(where: str, item: PortForward, problems: Problems) -> None:
    if item.to_port not in (None, item.port[0][0] if item.port else None):
        problems.add(where, "to {0} is routed, not translated, so to_port cannot differ from port".format(item.to[0]))
    if item.destination and not _asked_for(item):
        problems.add(
            where,
            "to {0} is routed, not translated; clients ask for it, not for destination {1}".format(
                item.to[0], item.destination[0]
            ),
        )


def _asked_for(item: PortForward) -> bool:
    return not is_suffix(item.to[0]) and bool(overlaps(networks_of(item.to[0]), item.destination))


def _check_suffix(where: str, server: str, gateway: Gateway, problems: Problems) -> None:
    """The end of an address is for servers whose prefix changes, so it has to say by itself in which LAN they are."""
    places = _Inside.of(gateway).ending_in(server)
    names = list(dict.fromkeys(lan.name for lan, _net in places))
    if gateway.ipv6 != "route":
        problems.add(
            where,
            "to {0} is for servers that are routed, but ipv6 is {1}; name the server's whole address".format(
                server, gateway.ipv6
            ),
        )
    elif not names and not any(lan.follows for lan in gateway.lans or ()):
        problems.add(
            where, "to {0} can be in no LAN, as none has a global IPv6 network with such addresses".format(server)
        )
    elif len(names) > 1:
        problems.add(
            where,
            "to {0} may be in LANs {1}; let the mask cover the number of the subnet, too, such as "
            "0:0:0:1::11/::ff:ffff:ffff:ffff:ffff".format(server, " and ".join(names)),
        )


def _check_addresses(gateway: Gateway, facts: Facts, problems: Problems) -> None:
    """An address that nobody has gets no answers back."""
    here = {ipaddress.ip_address(address) for interface in facts.interfaces for address in interface.addresses}
    links = [net for wan in gateway.wans or () for each in facts.meant_by(wan.interface) for net in each.networks]
    for index, item in gateway.sound("nat"):
        where = "nat[{0}] '{1}'".format(index, item.name)
        if item.to_address == "add":
            _check_added(where, item, gateway, problems)
        if item.action not in ("snat", "static") or item.to_address in ("routed", "add"):
            continue
        for entry in item.to:
            if item.action == "static" and item.to_address != "existing" and not overlaps([entry], links):
                # A block that is not on the link can only be routed here; on the link somebody has to answer ARP.
                continue
            missing = _first_missing(as_range(entry), here)
            if missing:
                problems.add(
                    where,
                    "to {0}: no interface of this host has {1}; set to_address to add (or to routed, if a router sends "
                    "it here), or use action masquerade".format(entry, missing),
                )


def _check_added(where: str, item: NatItem, gateway: Gateway, problems: Problems) -> None:
    wans = [item.wan] if item.wan else [wan.interface for wan in gateway.wans or ()]
    if len(wans) != 1:
        problems.add(where, "to_address add needs wan, to know which of {0} gets the address".format(", ".join(wans)))
    elif wans[0].endswith("*"):
        problems.add(where, "to_address add needs the name of one interface; {0} is a pattern".format(wans[0]))
    for entry in item.to:
        if addresses_in(as_range(entry), MOST_ADDED) is None:
            problems.add(
                where,
                "to {0} has more than {1} addresses to add; have a router send them here, and set to_address to "
                "routed".format(entry, MOST_ADDED),
            )


def as_range(entry: str) -> str:
    """A network as the range of its addresses; a range as it is."""
    if "/" not in entry:
        return entry
    network = ipaddress.ip_network(entry)
    return "{0}-{1}".format(network.network_address, network.broadcast_address)


def _first_missing(entry: str, here: t.Set[t.Any]) -> str:
    """The first address of a range that is not among those here; empty if all are."""
    first, last = (t.cast("t.Any", ipaddress.ip_address(end)) for end in ends_of(entry))
    while first <= last and first in here:
        first += 1
    return str(first) if first <= last else ""


def nat_networks(gateway: Gateway, lan: Lan) -> t.Tuple[str, ...]:
    """The networks of a LAN that may never be seen on a WAN.

    Under ``ipv6: route`` (RFC 6296 section 1: translation is a last resort for IPv6) a network of global addresses is
    routed as it is, but a unique local one is translated, as no router out there would have a route to it.
    """
    networks = lan.networks or ()
    if gateway.ipv6 == "route":
        networks = tuple(net for net in networks if family_of(net) == "ip" or is_private(net))
    return networks


def followed(gateway: Gateway) -> t.Tuple[str, ...]:
    """Among which a LAN may get other networks without a run: by DHCP, a delegated prefix, or somebody's hand.

    Only those in which nothing could leave without the translation that was declared: of IPv4 the private ones; of
    IPv6, where it is routed, global ones, too; where it is to be translated, unique local ones; with NPTv6 none, as
    each network needs a prefix outside.
    """
    if not any(lan.follows for lan in gateway.lans or ()):
        return ()
    blocks = [str(net) for net in PRIVATE]
    blocks += {"route": [str(UNIQUE_LOCAL), "2000::/3"], "masquerade": [str(UNIQUE_LOCAL)], "prefix": []}[gateway.ipv6]
    families = forwarded_families(gateway)
    return tuple(net for net in blocks if family_of(net) in families)


def sources_of(gateway: Gateway, item: NatItem) -> t.Tuple[str, ...]:
    """The networks that a NAT item translates: of the LANs that it names, or its own."""
    networks = _inside(item, {lan.name: nat_networks(gateway, lan) for lan in gateway.lans or ()})
    if gateway.ipv6 == "prefix" and item.action in ("masquerade", "snat"):
        return tuple(net for net in networks if family_of(net) == "ip")
    return networks


def inside_of(gateway: Gateway, item: Traffic) -> t.Tuple[str, ...]:
    """The networks of an item that filters: all those of the LANs that it names, or its own."""
    return _inside(item, {lan.name: lan.networks or () for lan in gateway.lans or ()})


def _inside(item: Traffic, lans: t.Mapping[str, t.Tuple[str, ...]]) -> t.Tuple[str, ...]:
    named = [lans.get(entry, (entry,)) for entry in item.source] if item.source else list(lans.values())
    return tuple(net for networks in named for net in networks)


def forwarded_families(gateway: Gateway) -> t.Tuple[str, ...]:
    """``ip`` and ``ip6``, each if a LAN has a network of it."""
    present = {family_of(net) for lan in gateway.lans or () for net in lan.networks or ()}
    return tuple(family for family in ("ip", "ip6") if family in present)
