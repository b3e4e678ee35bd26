# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""What enters: nothing from a WAN but port forwards and 1:1 items; and what clients inside reach through hairpins."""

from __future__ import annotations

import typing as t
from dataclasses import replace

from .._base.net import family_of, is_suffix
from .._base.values import hosts_with, networks_of, overlaps
from .._intent.conflicts import is_pinhole
from .._resolve.inside import home_of
from .._resolve.rivals import ONE_TO_ONE, mapped
from .model import FAMILY_NAMES, Come, Promise, Step, within
from .places import (
    CLOSED,
    PROTOCOLS,
    called,
    client_in,
    everywhere,
    families,
    hops,
    inside,
    intruder,
    is_public,
    lack_inside,
    lack_of,
    meant,
    of_family,
    one_of,
    outside,
    request,
    sort_of,
    way_of,
)

if t.TYPE_CHECKING:  # pragma: no cover
    from .._intent.forward import PortForward
    from .._intent.nat import NatItem
    from .._resolve.resolved import Resolved
    from .leaving import Pair
    from .oracle import Oracle
    from .packets import Packet


#: Why an answer does not get back.
ASTRAY = (
    "what comes from {0} is answered through {1}, where the routes lead; a rule of policy routing would change that"
)


def closed(oracle: Oracle, pair: Pair) -> t.List[Promise]:
    return [_shut(oracle, pair, protocol) for protocol in PROTOCOLS]


def _shut(oracle: Oracle, pair: Pair, protocol: str) -> Promise:
    lan, interface, wan, family = pair
    gateway, ground = oracle.gateway, oracle.ground
    name = "{0} is closed from {1} {2}".format(called(lan, interface), wan, sort_of(protocol, family))
    lacks = lack_of(ground, wan) or lack_inside(ground, interface, family)
    if lacks:
        return Promise("closed", name, lacks=lacks)
    packet = request(intruder(ground, family), ground.clients[interface, family], protocol, CLOSED[0])
    return Promise("closed", name, (), (Step(wan, packet),), (Come(everywhere(gateway, ground)),), (wan,))


def here(oracle: Oracle) -> t.List[t.Tuple[str, str, str]]:
    """WAN, family and protocol for ports of the gateway itself."""
    if oracle.gateway.input != "protect":
        return []
    wans = outside(oracle.gateway, oracle.ground)
    return [(wan, family, each) for family in families(oracle.gateway) for wan in wans for each in ("tcp", "udp")]


def closed_here(oracle: Oracle, case: t.Tuple[str, str, str]) -> t.List[Promise]:
    wan, family, protocol = case
    gateway, ground = oracle.gateway, oracle.ground
    name = "this host is closed from {0} {1}".format(wan, sort_of(protocol, family))
    own = of_family(ground.addresses.get(wan, ()), family)
    lacks = lack_of(ground, wan) or ("" if own else "{0} has no {1} address".format(wan, FAMILY_NAMES[family]))
    port = next((port for port in CLOSED if not _opened(gateway, own[:1], protocol, port)), 0)
    if not lacks and not port:
        lacks = "the declaration opens every port that the probe would use"
    if lacks:
        return [Promise("closed", name, lacks=lacks)]
    packet = request(intruder(ground, family), own[0], protocol, port)
    never = (Come(everywhere(gateway, ground)),)
    return [Promise("closed", name, (), (Step(wan, packet),), never, (wan,), quiet=True)]


def _opened(gateway: Resolved, own: t.Sequence[str], protocol: str, port: int) -> bool:
    """Whether an item may open a port from outside, for whichever client."""
    one_to_one = any(item.inbound and overlaps(own, item.to) for item in gateway.nat if item.action == "static")
    return (
        one_to_one
        or port in gateway.controller_ports
        or any(
            (not item.protocol or protocol in item.protocol)
            and (not item.port or any(first <= port <= last for first, last in item.port))
            for item in (*gateway.input_allow, *gateway.port_forwards)
        )
    )


# --- Port forwards --------------------------------------------------------------------------------------------------


class Target(t.NamedTuple):
    """Who answers to a forward or a 1:1 item: the address asked for, the servers, and where they are."""

    asked: str
    servers: t.Tuple[str, ...]
    links: t.Tuple[str, ...]


def forwards(oracle: Oracle, index: int) -> t.List[Promise]:
    item = oracle.gateway.port_forwards[index]
    protocol = next((each for each in ("tcp", "udp") if each in item.protocol), "")
    if not protocol:
        return []
    family = "ip6" if any(":" in to for to in item.to) else "ip"
    wans = _wans_of(oracle, item, family)
    found = [each for wan in wans for each in _forwarded(oracle, item, wan, (protocol, family))]
    if item.hairpin and not is_pinhole(oracle.gateway, item):
        found += _hairpins(oracle, item, (protocol, family))
    return found


def _wans_of(oracle: Oracle, item: t.Any, family: str) -> t.List[str]:
    """The WANs with an address of this family; if there is none, the first one, to tell."""
    wans = outside(oracle.gateway, oracle.ground, item.wan)
    return [wan for wan in wans if of_family(oracle.ground.addresses.get(wan, ()), family)] or wans[:1]


def _target(oracle: Oracle, item: PortForward, wan: str, family: str) -> Target | str:
    """Or why there is none."""
    gateway, ground = oracle.gateway, oracle.ground
    networks = [net for lan in gateway.lans for net in lan.networks]
    servers = tuple(net.split("/")[0] for to in item.to for net in _hosts(to, networks))
    anycast = {net.split("/")[0] for net in networks if ":" in net}  # RFC 4291 section 2.6.1: the routers themselves
    if not servers or set(servers) & (ground.own | anycast | set(gateway.own_servers)):
        return "its server is this host itself" if servers else "no LAN has an address of its server now"
    links = tuple(name for pattern in home_of(gateway, servers[0]) for name in meant(ground, pattern))
    lacks = next((lack_of(ground, name) for name in links), "its server is in no LAN now")
    if lacks:
        return lacks
    if is_pinhole(gateway, item):
        return Target(servers[0], servers, links)
    asked = _asked(oracle, item, wan, family)
    return Target(asked, servers, links) if asked else "{0} has no address that the forward is for".format(wan)


def _hosts(to: str, networks: t.Sequence[str]) -> t.Tuple[str, ...]:
    return hosts_with(to, networks) if is_suffix(to) else networks_of(to)


def _asked(oracle: Oracle, item: PortForward, wan: str, family: str) -> str:
    """An address of a WAN that a forward is for, and no 1:1 item."""
    taken = mapped(oracle.gateway, item, family, ONE_TO_ONE)
    own = [each for each in of_family(oracle.ground.addresses.get(wan, ()), family) if not overlaps([each], taken)]
    wanted = of_family(item.destination, family)
    if not item.destination:
        return own[0] if own else ""
    known = [address for address in own if within(address, wanted)] if wanted else []
    return known[0] if known else ""


def _stranger(oracle: Oracle, item: t.Any, family: str) -> str:
    """A host outside that may use an item; empty if only clients inside may."""
    peers = of_family(item.source, family)
    if not item.source:
        return oracle.host_outside(family)  # many hosts limit how many connections one outside may have
    networks = [net for lan in oracle.gateway.lans for net in lan.networks]
    return next((one_of(net) for net in peers if not overlaps([net], networks)), "")


def routed(oracle: Oracle, items: t.Iterable[PortForward]) -> t.List[t.Tuple[str, str, str]]:
    """WAN, nobody, and a host outside that the forward names."""
    found = []
    for item in items:
        stranger = _stranger(oracle, item, "ip6" if any(":" in to for to in item.to) else "ip") if item.source else ""
        if stranger:
            found += [(wan, "", stranger) for wan in outside(oracle.gateway, oracle.ground, item.wan)]
    return list(dict.fromkeys(found))


def _forwarded(oracle: Oracle, item: PortForward, wan: str, sort: t.Tuple[str, str]) -> t.List[Promise]:
    protocol, family = sort
    port = item.port[0][0]
    told = sort_of("{0} {1}".format(protocol, port), family)
    name = "port forward '{0}' from {1} {2}".format(item.name, wan, told)
    key, target = ("port_forward/" + item.name,), _target(oracle, item, wan, family)
    lacks = lack_of(oracle.ground, wan) or (target if isinstance(target, str) else "")
    if lacks or isinstance(target, str):
        return [Promise("port_forward", name, key, lacks=lacks)]
    stranger = _stranger(oracle, item, family)
    if not stranger:
        return []
    if oracle.gateway.drop_bogons and not is_public(stranger):
        return [Promise("port_forward", name, key, lacks="drop_bogons drops what comes from {0}".format(stranger))]
    if item.source and oracle.ground.ways.get((wan, stranger), (wan, ""))[0] != wan:
        lacks = "no route to {0} leaves through {1}".format(stranger, wan)
        return [Promise("port_forward", name, key, lacks=lacks)]
    packet = request(stranger, target.asked, protocol, port)
    come = Come(target.links, (stranger,), target.servers, item.to_port or port)
    mute = tuple((link, server) for link in target.links for server in target.servers)
    return _answered(oracle, target.links, Promise("port_forward", name, key, (Step(wan, packet, come),), hops=mute))


def _answered(oracle: Oracle, links: t.Sequence[str], inward: Promise) -> t.List[Promise]:
    """With the answer. Where routes send it through another link, as for the second of two WANs, it is a promise of its
    own: what sends answers elsewhere belongs to somebody else, and may look at marks that cannot be asked for. A rule
    may do so for the server alone.
    """
    first = inward.steps[0]
    wan, packet = first.at, t.cast("Packet", first.packet)
    ways = {way_of(oracle.ground, link, packet.source)[0] for link in links} - {""} or set(oracle.ground.exits)
    others = tuple(name for name in outside(oracle.gateway, oracle.ground) if name != wan)
    answer = Step(elsewhere=(Come(others, (packet.target,), (packet.source,)),) if others else ())
    mute = (hop for link in links for hop in hops(oracle.ground, link, packet.source))
    both = replace(inward, steps=(first, answer), hops=(*inward.hops, *mute))
    if ways == {wan}:
        return [both]
    excuse = ASTRAY.format(wan, " or ".join(sorted(ways)) or "no link")
    return [inward, replace(both, name="the answer to " + inward.name, excuse=excuse)]


def _hairpins(oracle: Oracle, item: PortForward, sort: t.Tuple[str, str]) -> t.List[Promise]:
    """From the server's own LAN, and from the first other one."""
    family = sort[1]
    wans = _wans_of(oracle, item, family)
    target = _target(oracle, item, wans[0], family) if wans else ""
    if isinstance(target, str):
        return []  # the forward itself shows why
    near = [name for name in target.links if (name, family) in oracle.ground.clients]
    far = [name for _lan, name in inside(oracle.gateway, oracle.ground) if name not in target.links]
    far = [name for name in far if (name, family) in oracle.ground.clients]
    return [
        _hairpin(oracle, item, (name, target), sort) for name in near[:1] + far[:1] if _may(oracle, item, name, family)
    ]


def _may(oracle: Oracle, item: PortForward, name: str, family: str) -> bool:
    allowed = of_family(item.source, family)
    return not item.source or (bool(allowed) and within(oracle.ground.clients[name, family], allowed))


def _hairpin(oracle: Oracle, item: PortForward, ends: t.Tuple[str, Target], sort: t.Tuple[str, str]) -> Promise:
    (name, target), (protocol, family) = ends, sort
    port, ground = item.port[0][0], oracle.ground
    told = "hairpin of port forward '{0}' from {1} {2}".format(
        item.name, name, sort_of("{0} {1}".format(protocol, port), family)
    )
    sources: t.Tuple[str, ...] = (target.asked,)
    if item.hairpin_source != "external":
        sources = tuple(each for link in target.links for each in ground.masquerading(link, family, anywhere=True))
    packet = request(ground.clients[name, family], target.asked, protocol, port)
    come = Come(target.links, sources, target.servers, item.to_port or port)
    mute = tuple((link, server) for link in target.links for server in target.servers)
    return Promise("hairpin", told, ("port_forward/" + item.name,), (Step(name, packet, come), Step()), hops=mute)


# --- 1:1 ------------------------------------------------------------------------------------------------------------


def one_to_one(oracle: Oracle, index: int) -> t.List[Promise]:
    item = oracle.gateway.nat[index]
    if item.action not in ("static", "prefix"):
        return []
    family = family_of(item.to[0])
    client = client_in(oracle.gateway, oracle.ground, oracle.sources_of(item), family)
    if not client or lack_of(oracle.ground, client[0]):
        return []
    wans = outside(oracle.gateway, oracle.ground, item.wan)[:4]
    return [promise for wan in wans for promise in _mapped(oracle, item, wan, client)]


def _mapped(oracle: Oracle, item: NatItem, wan: str, client: t.Tuple[str, str]) -> t.List[Promise]:
    (interface, address), ground = client, oracle.ground
    family, asked = family_of(address), oracle.mapped(item, address)
    # Without addresses, because the probe's client may have another one next time.
    words = "nat '{0}' leads from {1} to {2} {3}" if item.inbound else "nat '{0}' is closed from {1} {3}"
    name = words.format(item.name, wan, interface, sort_of("tcp", family))
    key = ("nat/" + item.name,)
    peers = of_family(item.destination, family)
    nobodys = oracle.host_outside(family) if item.inbound else intruder(ground, family)
    stranger = one_of(peers[0]) if peers else nobodys
    lacks = lack_of(ground, wan)
    if item.destination:
        lacks = lacks or "its clients outside are not those that the probe plays"
    if lacks:
        return [Promise("one_to_one", name, key, lacks=lacks)]
    packet = request(stranger, asked, "tcp", CLOSED[0])
    if not item.inbound:
        inner = tuple(link for _lan, link in inside(oracle.gateway, ground))
        return [Promise("one_to_one", name, key, (Step(wan, packet),), (Come(inner),), (wan,))]
    come = Come((interface,), (stranger,), (address,), packet.dport)
    inward = Promise("one_to_one", name, key, (Step(wan, packet, come),), hops=((interface, address),))
    return _answered(oracle, (interface,), inward)
