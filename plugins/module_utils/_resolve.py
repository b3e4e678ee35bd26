# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Resolve intent on the host: find what was left out, follow alternative names, and check what depends on the host."""

from __future__ import annotations

import ipaddress
import typing as t
from dataclasses import dataclass, replace

from ._around import around, check_reaches, concerning
from ._choice import NOTHING, Choosing, remembered
from ._conflicts import check_references, is_pinhole
from ._errors import Problems
from ._intent.nat import NatItem, check_same_size
from ._intent.traffic import Traffic
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
    from ._intent.forward import PortForward
    from ._intent.gateway import Gateway
    from ._intent.items import Item
    from ._intent.multicast import Multicast
    from ._intent.neighbour import Neighbour
    from ._intent.outbound import Outbound
    from ._intent.sides import Lan, Wan


AnyItem = t.TypeVar("AnyItem", Traffic, NatItem, "PortForward", "Outbound", "Multicast")


@dataclass(frozen=True)
class Resolved:
    """A gateway in which every name is a kernel name and every LAN has networks, with notes on how it was resolved."""

    gateway: Gateway
    notes: t.Tuple[str, ...] = ()
    chosen: Chosen = NOTHING
    warnings: t.Tuple[str, ...] = ()  # at each run
    remarks: t.Tuple[str, ...] = ()  # once


def resolve(
    gateway: Gateway, facts: Facts, known: Chosen = NOTHING, neighbours: t.Sequence[Neighbour] = ()
) -> Resolved:
    """Raises GatewayError with every problem found on the host. ``known`` is what an earlier run chose."""
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
        # Names have changed and omitted parts are filled in, so check the items against each other again.
        check_references(resolved, problems)
        # A LAN may get back networks that it had in an earlier run; in a first run, it is a mistake.
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
    """The addresses that a WAN has, and those that this run adds."""
    added = tuple(
        address
        for _index, item in gateway.sound("nat")
        for interface, address in added_addresses(gateway, item)
        if interface == wan.interface
    )
    there = (address for interface in facts.meant_by(wan.interface) for address in interface.addresses)
    return tuple(address for address in there if address not in added) + added


def added_addresses(gateway: Gateway, item: NatItem) -> t.List[t.Tuple[str, str]]:
    """Interface and address of everything that an item adds."""
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
    """Resolve a single item of the modules masquerade, forward and port_forward."""
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
    """Turns interface names into kernel names.

    A rule with an alternative name is accepted but never matches (measured: nft 1.0.6, Linux 6.18).
    """

    def __init__(self, facts: Facts, problems: Problems, notes: t.List[str]) -> None:
        self._facts, self._problems, self._notes = facts, problems, notes

    def declared(self, where: str, name: str) -> str:
        """The kernel name of a WAN or LAN, which must be a link on which hosts' packets arrive."""
        real = self._facts.named(name)
        if not real and "@" in name:
            self._problems.add(
                where,
                "interface '{0}' does not exist; in 'ip link', the parent link follows the '@'; write {1}".format(
                    shorten(name), shorten(name.partition("@")[0])
                ),
            )
            return name
        meant = self._facts.meant_by(real.name if real else name)
        # A pattern may match some ports, but not only ports.
        for each in meant if all(each.master for each in meant) else ():
            self._problems.add(
                where,
                "{0} is a port of {1}{2}, where its packets arrive; name {2}".format(
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
                "pattern '{0}' is longer than {1} characters; shorten the part before the '*'".format(
                    shorten(name), INTERFACE_LENGTH
                ),
            )
        elif not found and len(name) > INTERFACE_LENGTH:
            self._problems.add(
                where,
                "interface '{0}' is longer than {1} characters and is not an alternative name on this host; "
                "use the name that 'ip link' shows".format(shorten(name), INTERFACE_LENGTH),
            )
        return name


def _check_link(where: str, name: str, problems: Problems) -> None:
    if not is_plain_link(name):
        problems.add(where, "'{0}' is a name that rules cannot contain; rename that link".format(shorten(name)))


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
    """LANs with their networks; LANs without declared networks follow their links."""
    found = []
    for index, lan in enumerate(choosing.lans(wans) if gateway.lans is None else gateway.lans):
        where = "lans[{0}] '{1}'".format(index, lan.name)
        names = tuple(kernel_name.declared(where, name) for name in lan.interfaces)
        real = replace(lan, interfaces=names, follows=lan.networks is None)
        found.append(replace(real, networks=_networks(where, real, facts, known, problems)))
    return tuple(found)


def _networks(where: str, lan: Lan, facts: Facts, known: Chosen, problems: Problems) -> t.Tuple[str, ...]:
    """The networks of a LAN's links: the present ones, or those of the last run in which the links existed."""
    if lan.networks is not None:
        return lan.networks
    present = [interface for name in lan.interfaces for interface in facts.meant_by(name)]
    networks = tuple(dict.fromkeys(net for interface in present for net in interface.behind))
    networks = networks or dict(known.networks).get(lan.name, ())
    if not networks:
        lack = "has no address" if present else "does not exist"
        if any(interface.addresses for interface in present):
            lack = "has only a /32 address and no routes"
        problems.add(
            where,
            "{0} {1}, so its networks cannot be read; list them in networks".format(", ".join(lan.interfaces), lack),
        )
    return networks


def _check_wan_networks(lans: t.Tuple[Lan, ...], wans: t.Tuple[Wan, ...], facts: Facts, problems: Problems) -> None:
    """RFC 4787 REQ-7: a LAN that overlaps the WAN link's network could not reach that link."""
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
    """What to do about a LAN network that overlaps a WAN's: exclude the WAN's part, if anything remains."""
    outer, inner = parsed_network(ours), parsed_network(theirs)
    if outer.prefixlen >= inner.prefixlen:
        return "renumber the LAN"
    left = sorted(outer.address_exclude(inner), key=lambda net: (net.prefixlen, net.network_address))
    return "name the networks behind the LAN without that range, such as {0}".format(
        ", ".join(str(net) for net in left[:4]) + (" and more" if len(left) > 4 else "")
    )


class _Missed:
    """Addresses that are in no LAN now but may be again without a run."""

    def __init__(self, followed_networks: t.Tuple[str, ...], lost: t.List[str]) -> None:
        self._networks, self._lost = followed_networks, lost

    def told(self, where: str, what: str, network: str, lans: str) -> bool:
        """Whether this is not an error; if so, adds a warning."""
        if not any(_holds(each, network) for each in self._networks):
            return False
        self._lost.append(
            "{0}: {1} is not in any LAN now ({2}); it works again once a LAN has that network; if the address has "
            "changed, update it".format(where, what, lans)
        )
        return True


def _check_nat_reach(gateway: Gateway, problems: Problems, missed: _Missed) -> None:
    """Items that can never match: their sources are dropped as spoofed, or no packet has both address families."""
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


def _check_outside(gateway: Gateway, facts: Facts, problems: Problems) -> None:
    """NAT addresses are seen outside, where nobody could answer a LAN's address."""
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
                        where,
                        "to {0} is the network or broadcast address of the WAN's {1}; name a host address".format(
                            plain(net), link
                        ),
                    )


def _ends_of_link(network: str) -> t.Tuple[str, ...]:
    """The first and last address of an IPv4 network, which no host can have, except on /31 links (RFC 3021)."""
    parsed = parsed_network(network)
    if parsed.version == 6 or parsed.prefixlen > 30:
        return ()
    return str(parsed.network_address), str(parsed.broadcast_address)


def _check_shadowed(gateway: Gateway, problems: Problems) -> None:
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
            found = [_taken_by(net, item.wan, taken) for net in networks]
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


def _check_one_to_one(gateway: Gateway, problems: Problems) -> None:
    """A LAN named as source must have exactly one network, of the same length as the outside network."""
    for index, item in gateway.sound("nat"):
        if item.action not in ("static", "prefix") or is_network(item.source[0]):
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


#: Addresses that one NAT item may add to a WAN; larger blocks should be routed.
MOST_ADDED = 256
#: 256 /64 networks, each of which becomes a rule.
LONGEST_LAN = 56


def _check_prefixes(gateway: Gateway, problems: Problems) -> None:
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
                        "network {0} has no outside prefix on {1}; add a NAT item with action prefix".format(
                            net, wan.interface
                        ),
                    )
            if int(net.split("/")[1]) < LONGEST_LAN:
                problems.add(
                    "lans[{0}] '{1}'".format(lan_index, lan.name),
                    "network {0} has more than 256 /64 subnets to translate; list those in use".format(net),
                )


def _holds(outer: str, inner: str) -> bool:
    ours, theirs = parsed_network(outer), parsed_network(inner)
    return ours.version == theirs.version and bool(theirs.subnet_of(ours))


def lan_of(gateway: Gateway, address: str) -> t.Optional[Lan]:
    """The LAN whose networks contain the address."""
    found = _Inside.of(gateway).find(address)
    return found[0] if found else None


class _Inside:
    """Finds the LAN of an address without a scan of up to 10,000 networks."""

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
        """The cached index of a gateway, which is immutable."""
        found = gateway.__dict__.get("_inside")
        if not found:
            found = gateway.__dict__["_inside"] = cls(gateway.lans or ())
        return t.cast("_Inside", found)

    def find(self, address: str) -> t.Optional[t.Tuple[Lan, str]]:
        """The LAN and its network; for a suffix, only if exactly one LAN matches."""
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
        """The LANs and networks that may have a routed address with this suffix."""
        return [(lan, net) for lan, net in self._lans.values() if may_have(net, suffix) and not is_private(net)]


def home_of(gateway: Gateway, address: str) -> t.Tuple[str, ...]:
    """The interfaces of the LANs that contain the address, or else of those that may get it again."""
    lans = lans_with(gateway, [address]) or [lan for lan in gateway.lans or () if lan.follows]
    return tuple(name for lan in lans for name in lan.interfaces)


def lans_with(gateway: Gateway, networks: t.Sequence[str]) -> t.List[Lan]:
    """The LANs that overlap these networks."""
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
                problems.add(where, "to {0} is not in any LAN ({1})".format(server, known))
            elif server in _ends_of_link(place[1]):
                problems.add(
                    where,
                    "to {0} is the network or broadcast address of LAN {1}; name a host address".format(
                        server, place[0].name
                    ),
                )
        if item.hairpin and item.source and not overlaps(item.source, known_networks):
            problems.add(
                where,
                "hairpin has no effect, because no source is in a LAN; add the inside clients to source, or leave "
                "hairpin out",
            )
        if len({place[0].name for place in found if place}) > 1:
            problems.add(where, "to lists servers in different LANs; they must share one LAN")
        if is_pinhole(gateway, item):
            _check_pinhole(where, item, problems)


def _check_pinhole(where: str, item: PortForward, problems: Problems) -> None:
    if item.to_port not in (None, item.port[0][0] if item.port else None):
        problems.add(where, "to {0} is routed, not translated, so to_port cannot differ from port".format(item.to[0]))
    if item.destination and not _asked_for(item):
        problems.add(
            where,
            "to {0} is routed, not translated; clients connect to it, not to destination {1}".format(
                item.to[0], item.destination[0]
            ),
        )


def _asked_for(item: PortForward) -> bool:
    return not is_suffix(item.to[0]) and bool(overlaps(networks_of(item.to[0]), item.destination))


def _check_suffix(where: str, server: str, gateway: Gateway, problems: Problems) -> None:
    """A suffix is for servers whose prefix changes, so it must identify the LAN by itself."""
    places = _Inside.of(gateway).ending_in(server)
    names = list(dict.fromkeys(lan.name for lan, _net in places))
    if gateway.ipv6 != "route":
        problems.add(
            where,
            "to {0} is a suffix, for routed servers only, but ipv6 is {1}; write the server's full address".format(
                server, gateway.ipv6
            ),
        )
    elif not names and not any(lan.follows for lan in gateway.lans or ()):
        problems.add(
            where, "to {0} is not in any LAN: none has a global IPv6 network with such addresses".format(server)
        )
    elif len(names) > 1:
        problems.add(
            where,
            "to {0} could be in LANs {1}; extend the mask to the subnet ID, such as "
            "0:0:0:1::11/::ff:ffff:ffff:ffff:ffff".format(server, " and ".join(names)),
        )


def _check_addresses(gateway: Gateway, facts: Facts, problems: Problems) -> None:
    """Answers do not arrive at an address that no interface has."""
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
                # A block outside the link can only be routed here; on the link, this host must answer ARP.
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


def as_range(entry: str) -> str:
    """A network as an address range; a range unchanged."""
    if "/" not in entry:
        return entry
    network = ipaddress.ip_network(entry)
    return "{0}-{1}".format(network.network_address, network.broadcast_address)


def _first_missing(entry: str, here: t.Set[t.Any]) -> str:
    """The first address of a range that is not in ``here``; empty if all are."""
    first, last = (t.cast("t.Any", ipaddress.ip_address(end)) for end in ends_of(entry))
    while first <= last and first in here:
        first += 1
    return str(first) if first <= last else ""


def nat_networks(gateway: Gateway, lan: Lan) -> t.Tuple[str, ...]:
    """The networks of a LAN that must never appear on a WAN.

    With ``ipv6: route`` (RFC 6296 section 1: translation is a last resort for IPv6), global addresses are routed
    unchanged. Unique local addresses are translated, because no outside router has a route to them.
    """
    networks = lan.networks or ()
    if gateway.ipv6 == "route":
        networks = tuple(net for net in networks if family_of(net) == "ip" or is_private(net))
    return networks


def followed(gateway: Gateway) -> t.Tuple[str, ...]:
    """The blocks in which a LAN may get other networks without a run: by DHCP, prefix delegation or by hand.

    Only blocks from which nothing can leave without the declared translation: private IPv4; for routed IPv6, unique
    local and global addresses; for masqueraded IPv6, unique local addresses; for NPTv6 none, because each network needs
    an outside prefix.
    """
    if not any(lan.follows for lan in gateway.lans or ()):
        return ()
    blocks = [str(net) for net in PRIVATE]
    blocks += {"route": [str(UNIQUE_LOCAL), "2000::/3"], "masquerade": [str(UNIQUE_LOCAL)], "prefix": []}[gateway.ipv6]
    families = forwarded_families(gateway)
    return tuple(net for net in blocks if family_of(net) in families)


def sources_of(gateway: Gateway, item: NatItem) -> t.Tuple[str, ...]:
    """The networks that a NAT item translates: those of the LANs it names, or those it lists."""
    networks = _inside(item, {lan.name: nat_networks(gateway, lan) for lan in gateway.lans or ()})
    if gateway.ipv6 == "prefix" and item.action in ("masquerade", "snat"):
        return tuple(net for net in networks if family_of(net) == "ip")
    return networks


def inside_of(gateway: Gateway, item: Traffic) -> t.Tuple[str, ...]:
    """The networks that a filter item matches: all of the LANs it names, or those it lists."""
    return _inside(item, {lan.name: lan.networks or () for lan in gateway.lans or ()})


def _inside(item: Traffic, lans: t.Mapping[str, t.Tuple[str, ...]]) -> t.Tuple[str, ...]:
    named = [lans.get(entry, (entry,)) for entry in item.source] if item.source else list(lans.values())
    return tuple(net for networks in named for net in networks)


def forwarded_families(gateway: Gateway) -> t.Tuple[str, ...]:
    """``ip`` and ``ip6``, each if a LAN has such a network."""
    present = {family_of(net) for lan in gateway.lans or () for net in lan.networks or ()}
    return tuple(family for family in ("ip", "ip6") if family in present)
