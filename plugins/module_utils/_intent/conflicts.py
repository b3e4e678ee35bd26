# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Check items against each other: missing and duplicate names, and contradictions."""

from __future__ import annotations

import typing as t
import weakref
from collections import Counter

from .._base.net import family_of, is_suffix, network, patterns_overlap
from .._base.once import once
from .._base.values import is_network, is_private, networks_of, overlaps, shorten
from .helpers import HELPERS

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.errors import Problems
    from .forward import PortForward
    from .gateway import Gateway
    from .nat import NatItem
    from .sides import Lan
    from .traffic import Traffic


#: The solution for clients and Internet access behind the same interface.
ONE_CARD = (
    "an interface is either WAN or LAN; if one interface serves both sides, use the modules masquerade (with the "
    "clients' network as source) and forwarding"
)


#: First and last port, and the index of the forward.
Claim = t.Tuple[int, int, int]
#: The network of forwards that name neither a destination nor a source.
ANY = ""


def check_references(gateway: Gateway, problems: Problems) -> None:
    lans = gateway.named_lans
    for kind, names in (
        ("lans", [lan.name for lan in lans]),
        ("nat", [item.name for item in gateway.nat]),
        ("port_forwards", [item.name for item in gateway.port_forwards]),
        ("outbound", [item.name for item in gateway.outbound]),
        ("multicast", [item.name for item in gateway.multicast]),
        ("input_allow", [item.name for item in gateway.input_allow]),
        ("helpers", [item.name for item in gateway.helpers]),
        ("wans", [wan.interface for wan in gateway.named_wans]),
    ):
        for name in sorted(name for name, times in Counter(names).items() if times > 1):
            problems.add(kind, "'{0}' is defined twice; give each its own name".format(shorten(name)))
    if gateway.wans is not None and not gateway.wans:
        problems.add("wans", "is empty; name the WAN interface, or leave it out to use the default route's")
    if gateway.lans is not None and not gateway.lans:
        problems.add("lans", "is empty; name a LAN, or leave it out to use every private network found")
    if not gateway.nat:
        problems.add("nat", "is empty; leave it out to masquerade every LAN, or name what to exempt")
    if gateway.lans is not None:
        _check_lan_references(gateway, lans, problems)
        _check_multicast(gateway, [lan.name for lan in lans], problems)
    if gateway.wans is not None:
        _check_wan_references(gateway, lans, problems)
    _check_taken_forwards(gateway, problems)
    _check_doubled_statics(gateway, problems)
    _check_doubled_helpers(gateway, problems)


def _check_lan_references(gateway: Gateway, lans: t.Sequence[Lan], problems: Problems) -> None:
    known = list(dict.fromkeys(lan.name for lan in lans))
    for index, lan in enumerate(lans):
        for other in lan.reaches:
            if "/" in other:
                continue  # of another instance, known only on the host
            if other not in known or other == lan.name:
                problems.add(
                    "lans[{0}] '{1}'".format(index, shorten(lan.name)),
                    "reaches '{0}', which is {1}; known LANs: {2}".format(
                        shorten(other), "the LAN itself" if other == lan.name else "not a LAN", _listed(known)
                    ),
                )
        for later, other_lan in enumerate(lans[index + 1 :], index + 1):
            _check_lan_pair(index, lan, later, other_lan, problems)
    for where, item in _inside_items(gateway):
        for entry in item.source:
            if not is_network(entry) and entry not in known:
                problems.add(
                    where,
                    "source '{0}' is neither a LAN nor a network; known LANs: {1}".format(
                        shorten(entry), _listed(known)
                    ),
                )


def _check_multicast(gateway: Gateway, known: t.List[str], problems: Problems) -> None:
    for where, item in _named("multicast", gateway.multicast):
        for entry in item.lan:
            if entry not in known:
                problems.add(where, "lan '{0}' is not a LAN; known LANs: {1}".format(shorten(entry), _listed(known)))


def _listed(names: t.Iterable[str]) -> str:
    return ", ".join(shorten(name) for name in names)


def _check_lan_pair(index: int, lan: Lan, later: int, other: Lan, problems: Problems) -> None:
    where = "lans[{0}] '{1}' and lans[{2}] '{3}'".format(index, shorten(lan.name), later, shorten(other.name))
    for name in lan.interfaces:
        for second in other.interfaces:
            if patterns_overlap(name, second):
                problems.add(where, "both have interface {0}; an interface belongs to one LAN".format(shorten(second)))
    for one, two in overlaps(lan.named_networks, other.named_networks):
        problems.add(where, "networks {0} and {1} overlap; each address belongs to one LAN".format(one, two))


def _check_wan_references(gateway: Gateway, lans: t.Sequence[Lan], problems: Problems) -> None:
    names = [wan.interface for wan in gateway.named_wans]
    for index, lan in enumerate(lans):
        for name in lan.interfaces:
            for wan in names:
                if patterns_overlap(name, wan):
                    problems.add(
                        "lans[{0}] '{1}'".format(index, shorten(lan.name)),
                        "interface {0} is also WAN {1}; {2}".format(shorten(name), shorten(wan), ONE_CARD),
                    )
    for index, each in enumerate(gateway.named_wans):
        for source, net in overlaps(each.carried_from, [net for lan in lans for net in lan.named_networks]):
            problems.add(
                "wans[{0}]: carried_from".format(index),
                "{0} overlaps {1} of a LAN, whose sources no WAN may have; give it an address elsewhere".format(
                    source, net
                ),
            )
    outside_items = _named("port_forwards", gateway.port_forwards) + _named("input_allow", gateway.input_allow)
    outside_items += _named("multicast", gateway.multicast)
    for where, item in _inside_items(gateway) + outside_items:
        if item.wan and item.wan not in names:
            problems.add(where, "wan {0} is not in wans ({1})".format(shorten(item.wan), _listed(names)))


def _named(kind: str, items: t.Sequence[t.Any]) -> t.List[t.Tuple[str, t.Any]]:
    """Items with their names in error messages."""
    return [("{0}[{1}] '{2}'".format(kind, index, shorten(item.name)), item) for index, item in enumerate(items)]


def _inside_items(gateway: Gateway) -> t.List[t.Tuple[str, Traffic]]:
    """Items whose source is in a LAN."""
    return _named("nat", gateway.nat) + _named("outbound", gateway.outbound)


def _check_taken_forwards(gateway: Gateway, problems: Problems) -> None:
    """The first forward that matches decides. A forward that can never match is an error, and so is a duplicate. Other
    overlaps are how users write exceptions."""
    claims: t.Dict[t.Tuple[str, str, bool], t.Dict[str, t.List[Claim]]] = {}
    forwards = gateway.port_forwards
    for index, item in enumerate(forwards):
        for protocol in item.protocol:
            taken = claims.setdefault((protocol, _asked(gateway, item), bool(item.destination)), {})
            for net in item.destination or item.source or (ANY,):
                taken.setdefault(net, []).extend((first, last, index) for first, last in item.port)
    found = [(key[0], *pair) for key, by_net in claims.items() for pair in _meeting(by_net)]
    doubled: t.Dict[t.Tuple[int, int], str] = {}
    covered: t.Dict[int, t.Dict[t.Tuple[str, int], int]] = {}
    for protocol, early, late in found:
        one, other = forwards[early[2]], forwards[late[2]]
        if early[:2] == late[:2] and _same_clients(one, other):
            doubled.setdefault((early[2], late[2]), "{0} port {1}".format(protocol, late[0]))
        elif early[0] <= late[0] and late[1] <= early[1] and _takes(one, other):
            covered.setdefault(late[2], {})[protocol, late[0]] = early[2]
    for (first, second), what in sorted(doubled.items()):
        problems.add(
            "{0} and {1}".format(_forward_name(forwards, first), _forward_name(forwards, second)),
            "both forward {0}; give them different ports, WANs, sources or destinations".format(what),
        )
    for place, takers in sorted(covered.items()):
        if len(takers) == len(forwards[place].protocol) * len(forwards[place].port):
            problems.add(
                _forward_name(forwards, place),
                "can never match: {0} already takes these connections; put this one first".format(
                    " and ".join(_forward_name(forwards, other) for other in sorted(set(takers.values())))
                ),
            )


def _meeting(by_net: t.Mapping[str, t.List[Claim]]) -> t.Iterator[t.Tuple[Claim, Claim]]:
    """Pairs of forwards whose networks and ports overlap, the earlier forward first.

    There may be 10,000 with one port, or with one network, so only those that overlap are looked at.
    """
    inside: t.Dict[str, t.List[Claim]] = {net: [] for net in by_net}
    nets = [net for net in by_net if is_network(net)]
    for outer, inner in overlaps(nets, nets):
        if outer != inner and network(outer).prefixlen <= network(inner).prefixlen:
            inside[outer] += by_net[inner]
    if ANY in by_net:
        inside[ANY] = [claim for net, claims in by_net.items() if net != ANY for claim in claims]
    for net, claims in by_net.items():
        for one, other in on_one_port(claims, claims + inside[net]):
            if one[2] != other[2]:
                yield (one, other) if one[2] < other[2] else (other, one)


#: A range of ports, and what takes them.
_Taken = t.TypeVar("_Taken", bound=t.Tuple[int, int, t.Any])


def on_one_port(ours: t.Iterable[_Taken], theirs: t.Iterable[_Taken]) -> t.Iterator[t.Tuple[_Taken, _Taken]]:
    """Pairs whose ranges overlap, one of each side, in the order of their first ports."""
    both = [(claim, side) for side, claims in enumerate((ours, theirs)) for claim in claims]
    reach: t.Tuple[t.List[_Taken], ...] = ([], [])
    for claim, side in sorted(both, key=lambda each: each[0][:2]):
        waiting = reach[1 - side]
        waiting[:] = [each for each in waiting if each[1] >= claim[0]]
        for other in waiting:
            yield (other, claim) if side else (claim, other)
        reach[side].append(claim)


def _forward_name(forwards: t.Sequence[PortForward], index: int) -> str:
    return "port_forwards[{0}] '{1}'".format(index, shorten(forwards[index].name))


def _asked(gateway: Gateway, item: PortForward) -> str:
    """What clients connect to: a pinhole's own address; all other forwards share the gateway's addresses."""
    if not item.to:
        return ""
    unknown = gateway.lans is None or any(lan.networks is None for lan in gateway.lans)
    if is_pinhole(gateway, item) or (unknown and any(nat.action == "exempt" for nat in gateway.nat)):
        return item.to[0]
    return family_of(item.to[0])


def _same_clients(one: PortForward, other: PortForward) -> bool:
    return (one.wan, set(one.source), set(one.destination)) == (other.wan, set(other.source), set(other.destination))


def _takes(early: PortForward, late: PortForward) -> bool:
    """Whether the early forward takes all clients of the late one. If only one names a destination, this is unknown,
    because the host need not have that address."""
    if early.wan not in ("", late.wan) or (late.hairpin and not early.hairpin):
        return False
    if bool(early.destination) != bool(late.destination):
        return False
    return _holds_all(early.source, late.source) and _holds_all(early.destination, late.destination)


def _holds_all(outer: t.Sequence[str], inner: t.Sequence[str]) -> bool:
    """Whether outer covers inner; an empty list means every network."""
    if not outer or not inner:
        return not outer
    pairs = overlaps(outer, inner)
    return {net for ours, net in pairs if network(ours).prefixlen <= network(net).prefixlen} == set(inner)


def _check_doubled_statics(gateway: Gateway, problems: Problems) -> None:
    """An outside address can stand for only one inside address."""
    statics = [(index, item) for index, item in enumerate(gateway.nat) if item.action in ("static", "prefix")]
    for position, (index, item) in enumerate(statics):
        for later, other in statics[position + 1 :]:
            if item.wan and other.wan and item.wan != other.wan:
                continue
            for ours, theirs in overlaps(item.to, other.to):
                problems.add(
                    "nat[{0}] '{1}' and nat[{2}] '{3}'".format(index, shorten(item.name), later, shorten(other.name)),
                    "both map to {0}; an outside address can stand for only one inside".format(
                        ours if ours == theirs else "{0} and {1}, which overlap".format(ours, theirs)
                    ),
                )


def _check_doubled_helpers(gateway: Gateway, problems: Problems) -> None:
    """A connection has one helper."""
    taken: t.Dict[t.Tuple[str, int], int] = {}
    for index, item in enumerate(gateway.helpers):
        for protocol, port in dict.fromkeys(
            (each.protocol, port) for each in HELPERS[item.name] for port in item.port or (each.port,)
        ):
            first = taken.setdefault((protocol, port), index)
            if first != index:
                problems.add(
                    "helpers[{0}] '{1}' and helpers[{2}] '{3}'".format(
                        first, gateway.helpers[first].name, index, item.name
                    ),
                    "both handle {0} port {1}; a connection has only one helper".format(protocol, port),
                )


def is_pinhole(gateway: Gateway, item: PortForward) -> bool:
    """Whether clients outside use the server's own address, so that the forward opens it and translates nothing.

    That is so for a routed global IPv6 address, and for a server that NAT items exempt.
    """
    return _pinholes(gateway).has(item)


class _Pinholes:
    """Remembers the answer for each forward, as the rules ask ten times about each of 10,000."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = weakref.ref(gateway)
        # No other value has the identity of one of these while the gateway holds them.
        self._held = frozenset(map(id, gateway.port_forwards))
        self._known: t.Dict[int, bool] = {}

    def has(self, item: PortForward) -> bool:
        place = id(item)
        if place in self._known:
            return self._known[place]
        found = _is_pinhole(t.cast("Gateway", self._gateway()), item)
        if place in self._held:
            self._known[place] = found
        return found


_pinholes = once(_Pinholes)


def _is_pinhole(gateway: Gateway, item: PortForward) -> bool:
    if not item.to:
        return False
    if any(is_suffix(to) for to in item.to):
        return True
    if gateway.ipv6 == "route" and all(family_of(to) == "ip6" and not is_private(networks_of(to)[0]) for to in item.to):
        return True
    if item.to_port is not None and item.port and item.to_port != item.port[0][0]:
        return False
    if item.destination and not all(overlaps(networks_of(to), item.destination) for to in item.to):
        return False
    return all(exempted_by(gateway, to, item.wan) for to in item.to)


def exempted_by(gateway: Gateway, address: str, wan: str) -> str:
    """The name of the NAT item that exempts everything this address sends; empty if it is translated."""
    return _exemptions(gateway).of(address, wan)


class _Exemptions:
    """What NAT items exempt. Each address is looked up once, because 10,000 forwards ask again and again."""

    def __init__(self, gateway: Gateway) -> None:
        self._items = [item for item in gateway.nat if _is_plain(item)]
        self._wans = [each.interface for each in gateway.named_wans]
        self._lans = {lan.name: lan.named_networks for lan in gateway.named_lans}
        self._any = any(item.action == "exempt" for item in self._items)
        self._known: t.Dict[t.Tuple[str, str], str] = {}

    def of(self, address: str, wan: str) -> str:
        if not self._any:
            return ""
        if (address, wan) not in self._known:
            self._known[address, wan] = self._find(address, wan)
        return self._known[address, wan]

    def _find(self, address: str, wan: str) -> str:
        (host,) = networks_of(address)[:1]
        for item in self._items:
            if item.wan and item.wan != wan and self._wans != [item.wan]:
                continue
            lans = self._lans
            named = [lans.get(entry, (entry,)) for entry in item.source] if item.source else list(lans.values())
            if overlaps([host], [net for nets in named for net in nets if is_network(net)]):
                return item.name if item.action == "exempt" else ""
        return ""


#: A gateway's, found once.
_exemptions = once(_Exemptions)


def _is_plain(item: NatItem) -> bool:
    """Whether the item matches everything that its sources send."""
    return not (item.destination or item.protocol or item.ipsec)
