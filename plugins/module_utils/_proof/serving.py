# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""What the gateway gives to its LANs itself, and to nobody else: addresses, names, IPv6 routes."""

from __future__ import annotations

import typing as t

from .._base.net import network
from .._base.values import ends_of, networks_of
from .._intent.services import HOME, spans
from .model import FAMILY_NAMES, Come, Promise, Want, within
from .places import called, families, inside, intruder, lack_inside, lack_of, of_family, outside
from .questions import ADDRESS, ANSWER, DNS, DOMAIN, FLAGS, NETWORKS, ROUTER, Advertisement, Name, Offer, Solicit

if t.TYPE_CHECKING:  # pragma: no cover
    from .._intent.services import Dhcp
    from .._resolve.resolved import Resolved, ResolvedLan
    from .model import Ground
    from .oracle import Oracle
    from .questions import Question

KIND = "services"
#: Of clients that the probe plays; locally administered, and nobody's.
MAC = "02:69:70:6d:72:01"
#: Names that nobody has: in the LANs, and (RFC 6761) on the Internet.
NOBODY, NOWHERE = "ipmasq-probe", "ipmasq-probe.invalid"
NO_UPSTREAM = "the upstream DNS servers do not answer"
YIELDS = "others answer on {0}, which this gateway leaves alone"
#: The names and numbers of DHCP options that replace what dnsmasq says by itself.
REPLACED = {ROUTER: ("router", "3"), DNS: ("dns-server", "6"), DOMAIN: ("domain-name", "15")}
#: Of the addresses that DHCPv6 gives out.
MANAGED = ("::1000", "::1fff")

Side = t.Tuple["ResolvedLan", str]


def sides(oracle: Oracle) -> t.List[Side]:
    """The LANs with their interfaces, if any LAN is served."""
    return inside(oracle.gateway, oracle.ground) if _served(oracle.gateway) else []


def wans(oracle: Oracle) -> t.List[str]:
    return outside(oracle.gateway, oracle.ground) if _served(oracle.gateway) else []


def _served(gateway: Resolved) -> bool:
    """Whether any LAN is served."""
    return any(lan.services for lan in gateway.lans)


def reserved(oracle: Oracle) -> t.List[t.Tuple[ResolvedLan, str, t.Any]]:
    """On the links in whose networks the address is; if it is in none, on all of its LAN."""
    served = [(lan, name) for lan, name in sides(oracle) if lan.services.dhcp]
    found = []
    for lan, name in served:
        others = [each for each in served if each[0] == lan]
        for each in t.cast("Dhcp", lan.services.dhcp).reserve:
            near = [link for _lan, link in others if _is_near(oracle.ground, link, each.address)]
            found += [(lan, name, each)] if name in near or not near else []
    return found


def _is_near(ground: Ground, name: str, addresses: str) -> bool:
    """Whether an address, or the first one of a range, is in a network of a link."""
    return within(ends_of(addresses)[0], of_family(ground.networks.get(name, ()), "ip"))


def _lacks(ground: Ground, name: str, family: str) -> str:
    """Why nobody can answer there."""
    own = of_family(ground.addresses.get(name, ()), family)
    return lack_of(ground, name) or ("" if own else "{0} has no {1} address".format(name, FAMILY_NAMES[family]))


def _promise(name: str, asks: Question, wants: t.Tuple[Want, ...], **more: t.Any) -> Promise:
    return Promise(KIND, name, asks=asks, wants=wants, **more)


# --- Addresses ------------------------------------------------------------------------------------------------------


def addresses(oracle: Oracle, side: Side) -> t.List[Promise]:
    """An address of the declared range, for a client that has none."""
    lan, name = side
    dhcp, ground = lan.services.dhcp, oracle.ground
    if not dhcp:
        return []
    told = "{0} gets addresses (DHCP)".format(called(lan, name))
    lacks = _lacks(ground, name, "ip")
    if lacks:
        return [Promise(KIND, told, lacks=lacks)]
    near = [each for each in dhcp.range if _is_near(ground, name, each)]
    if not near:
        return [Promise(KIND, told, lacks="no range of its DHCP is in a network of {0}".format(name))]
    if _is_used_up(near, ground.leased | {each.address for each in dhcp.reserve}):
        return [Promise(KIND, told, lacks="every address of its range is leased or reserved")]
    free = tuple(net for each in near for net in networks_of(each))
    wants = (Want(ADDRESS, (), free), *_told(oracle, side))
    return [_promise(told, Offer(name, MAC), wants, slow=True)]


def _is_used_up(ranges: t.Sequence[str], taken: t.Collection[str]) -> bool:
    """Whether every address of these ranges is taken."""
    numbers, wanted = [first for first, _last in spans(list(taken))], spans(ranges)
    size = sum(last - first + 1 for first, last in wanted)
    return size <= len(numbers) and size <= sum(first <= number <= last for number in numbers for first, last in wanted)


def _told(oracle: Oracle, side: Side) -> t.Iterator[Want]:
    """What comes with every address."""
    lan, name = side
    own = of_family(oracle.ground.addresses.get(name, ()), "ip")
    known = {ROUTER: own, DNS: own if lan.services.dns else (), DOMAIN: (oracle.gateway.dns.domain or HOME,)}
    options = dict(lan.services.dhcp.options) if lan.services.dhcp else {}
    for word, values in known.items():
        given = [options[key] for key in REPLACED[word] if key in options]
        # For dnsmasq, 0.0.0.0 is itself.
        written = [each.strip() for value in given for each in value.split(",") if each.strip()]
        if not given:
            yield Want(word, values)
        elif "0.0.0.0" not in written:
            yield Want(word, tuple(written))


def reservations(oracle: Oracle, case: t.Tuple[ResolvedLan, str, t.Any]) -> t.List[Promise]:
    """The reserved address, and its name."""
    lan, name, each = case
    told = "{0} gives {1} its address {2} (DHCP)".format(called(lan, name), each.mac, each.address)
    lacks = _lacks(oracle.ground, name, "ip")
    if lacks:
        return [Promise(KIND, told, lacks=lacks)]
    found = [_promise(told, Offer(name, each.mac), (Want(ADDRESS, (each.address,)), *_told(oracle, (lan, name))))]
    if each.name and lan.services.dns:
        domain = oracle.gateway.dns.domain or HOME
        asked = "{0}.{1}".format(each.name, domain).lower()
        found += _asked(oracle, (lan, name), "knows the name " + asked, asked, (Want(ADDRESS, (each.address,)),))[:1]
    return found


# --- Names ----------------------------------------------------------------------------------------------------------


def names(oracle: Oracle, side: Side) -> t.List[Promise]:
    """What the gateway knows itself, and what it has to ask."""
    lan, _name = side
    if not lan.services.dns:
        return []
    domain = oracle.gateway.dns.domain or HOME
    here = (Want(ANSWER, ("NXDOMAIN",)),)
    nobody, reserved_names = NOBODY, {each.name.lower() for _lan, _name, each in reserved(oracle)}
    while nobody in reserved_names:
        nobody += "-x"
    known = _asked(oracle, side, "gets answers about names", "{0}.{1}".format(nobody, domain), here)
    there = (Want(ANSWER, ("NXDOMAIN", "NOERROR")),)
    asked = _asked(oracle, side, "gets answers from upstream", NOWHERE, there, excuse=NO_UPSTREAM)
    return known + asked[:1]


def _asked(
    oracle: Oracle, side: Side, words: str, asked: str, wants: t.Tuple[Want, ...], **more: t.Any
) -> t.List[Promise]:
    """For each family, from a client in the LAN."""
    (lan, name), ground = side, oracle.ground
    found = []
    for family in families(oracle.gateway):
        if not of_family(lan.networks, family):
            continue
        told = "{0} {1} (DNS, {2})".format(called(lan, name), words, FAMILY_NAMES[family])
        lacks = _lacks(ground, name, family) or lack_inside(ground, name, family)
        if lacks:
            found.append(Promise(KIND, told, lacks=lacks))
            continue
        server = of_family(ground.addresses[name], family)[0]
        found.append(_promise(told, Name(name, ground.clients[name, family], server, asked), wants, **more))
    return found


# --- IPv6 -----------------------------------------------------------------------------------------------------------


def announcements(oracle: Oracle, side: Side) -> t.List[Promise]:
    lan, name = side
    if not lan.services.announced:
        return []
    ground, managed = oracle.ground, lan.services.ra == "managed"
    told = "{0} learns its IPv6 networks (router advertisements)".format(called(lan, name))
    further = "{0} gets IPv6 addresses (DHCPv6)".format(called(lan, name))
    on_link = tuple(net for net in of_family(ground.networks.get(name, ()), "ip6") if _announced(net))
    if on_link and set(on_link) <= ground.deprecated.get(name, frozenset()):
        # Then there is nothing for hosts to use, nor to measure.
        lacks = "{0} has only IPv6 networks that are deprecated".format(name)
        return [Promise(KIND, each, lacks=lacks) for each in (told, further)[: 1 + managed]]
    on_link = tuple(net for net in on_link if net not in ground.deprecated.get(name, ()))
    lacks = _lacks(ground, name, "ip6") or lack_inside(ground, name, "ip6")
    lacks = lacks or ("" if on_link else "{0} has no IPv6 network of 64 bits".format(name))
    if lacks:
        return [Promise(KIND, each, lacks=lacks) for each in (told, further)[: 1 + managed]]
    client = ground.clients[name, "ip6"]
    flags = ("managed", "other") if managed else ("other", "autonomous")
    own = Want(DNS, of_family(ground.addresses[name], "ip6"), ("fe80::/10",)) if lan.services.dns else Want(DNS)
    wants = (Want(FLAGS, flags, every=True), Want(NETWORKS, on_link, every=True), own)
    found = [_promise(told, Advertisement(name, client), wants)]
    if managed:
        given = tuple(each for net in on_link for each in networks_of(_span(net)))
        asks = Solicit(name, client, MAC)
        found.append(_promise(further, asks, (Want(ADDRESS, (), given), own)))
    return found


def _announced(net: str) -> bool:
    return network(net).prefixlen == 64 and not network(net).is_link_local


def _span(net: str) -> str:
    start = network(net)
    first, last = (str(start[int(each[2:], 16)]) for each in MANAGED)
    return "{0}-{1}".format(first, last)


# --- Nobody else ----------------------------------------------------------------------------------------------------


def unserved(oracle: Oracle, side: Side) -> t.List[Promise]:
    """A LAN without a service that another one has."""
    (lan, name), ground = side, oracle.ground
    mine = lan.services
    clients = {family: ground.clients.get((name, family), "") for family in families(oracle.gateway)}
    found: t.List[t.Tuple[str, Question]] = []
    have = _services(oracle.gateway)
    if have.dhcp and not mine.dhcp:
        found.append(("gets no addresses (DHCP)", Offer(name, MAC)))
    if have.dns and not mine.dns:
        for family, client in ((family, client) for family, client in clients.items() if client):
            own = of_family(ground.addresses.get(name, ()), family)
            told = "gets no answers about names (DNS, {0})".format(FAMILY_NAMES[family])
            found += [(told, Name(name, client, own[0], NOBODY))] if own else []
    if have.announced and not mine.announced and clients.get("ip6"):
        found.append(("learns no IPv6 networks (router advertisements)", Advertisement(name, clients["ip6"])))
    return [_never(called(lan, name), told, asks) for told, asks in found] if not lack_of(ground, name) else []


def beyond(oracle: Oracle, wan: str) -> t.List[Promise]:
    """Nothing is served on a WAN, neither at its own addresses nor at those of the LANs."""
    ground = oracle.ground
    found: t.List[t.Tuple[str, Question]] = []
    have = _services(oracle.gateway)
    if lack_of(ground, wan):
        return []
    if have.dhcp:
        found.append(("gets no addresses (DHCP)", Offer(wan, MAC)))
    for family in families(oracle.gateway):
        stranger = intruder(ground, family)
        if have.dns:
            served = [name for lan, name in sides(oracle) if lan.services.dns]
            told = "gets no answers about names at an address of {0} (DNS, " + FAMILY_NAMES[family] + ")"
            for name in (wan, *served[:1]):
                own = of_family(ground.addresses.get(name, ()), family)
                found += [(told.format(name), Name(wan, stranger, own[0], NOBODY))] if own else []
        if family == "ip6" and have.announced:
            found.append(("learns no IPv6 networks (router advertisements)", Advertisement(wan, stranger)))
    return [_never(wan, told, asks) for told, asks in found]


class _Have(t.NamedTuple):
    dhcp: bool
    dns: bool
    announced: bool


def _services(gateway: Resolved) -> _Have:
    """What any LAN has."""
    known = [lan.services for lan in gateway.lans]
    return _Have(
        any(each.dhcp for each in known), any(each.dns for each in known), any(each.announced for each in known)
    )


def _never(who: str, told: str, asks: Question) -> Promise:
    name = "{0} {1}".format(who, told)
    return _promise(name, asks, (), never=(Come((asks.at,)),), into=(asks.at,), yields=YIELDS.format(asks.at))
