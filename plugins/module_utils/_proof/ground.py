# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.
"""Look at the host before a proof: links, addresses that are free, routes, and filters that others have."""

from __future__ import annotations

import ipaddress
import json
import re
import typing as t
from dataclasses import dataclass, replace

from .._base.net import OPTION, family_of, is_address, network
from .._base.values import overlaps
from .._services.dnsmasq import LEASES
from . import ipsec
from .model import Ground, Link
from .places import families, inside, outside

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.host import Host
    from .._facts.links import Facts, Route
    from .._resolve.resolved import Resolved

#: The hosts outside that the probe plays. Their networks have to be public, because filters for bogons are widespread,
#: and nobody may need them: these are the sinks of AS112 (RFC 7535, RFC 7534), of which single low addresses are in
#: use. The others are for documentation, for a host where the first ones are taken.
OUTSIDE = {
    "ip": ("192.31.196.128/25", "192.0.2.128/25", "198.51.100.128/25", "203.0.113.128/25"),
    "ip6": ("2620:4f:8000:fafa::/64", "2001:4:112:fafa::/64", "2001:db8:fafa:fafa::/64"),
}
#: Free addresses are looked for among the last ones of a network.
CANDIDATES = 6
#: Link and family to addresses there.
Candidates = t.Mapping[t.Tuple[str, str], t.Sequence[str]]
#: Names of links that ip -batch reads as one word.
PLAIN = re.compile(r"[\w.:@-]+\Z")
#: More interfaces are not measured.
MOST_LINKS = 64
TOO_MANY = "only {0} interfaces of a host are measured at once".format(MOST_LINKS)


@dataclass(frozen=True)
class Place:
    """What tc has at an interface: whether it has a clsact, and where our filters go."""

    clsact: bool = False
    pref: int = 0
    nft: bool = False  # its egress hook catches what leaves; adding a clsact drops packets for a moment
    lacks: str = ""


def survey(gateway: Resolved, facts: Facts, host: Host) -> Ground:
    """Everything but the free addresses and the ways, which need each other."""
    links = {each["ifname"]: _link(each) for each in asked(host, "ip", "-j", "link", "show") if each.get("ifname")}
    addresses = {each.name: each.addresses for each in facts.interfaces}
    unchosen = {(each.name, own) for each in facts.interfaces for own in each.addresses if own not in each.sources}
    taken = [net for each in facts.interfaces for net in (*each.networks, *each.routed)]
    taken += [net for lan in gateway.lans for net in lan.networks]
    items = (*gateway.nat, *gateway.outbound, *gateway.port_forwards)
    taken += [net for item in items for net in (*item.destination, *item.source) if "/" in net and net[-2:] != "/0"]
    free = {
        family: next((net for net in OUTSIDE[family] if not overlaps([net], taken)), OUTSIDE[family][-1])
        for family in families(gateway)
    }
    networks = {each.name: each.networks for each in facts.interfaces}
    served = [lan.services for lan in gateway.lans]
    deprecated = _deprecated(host) if any(each.announced for each in served) else {}
    leased = _leased(gateway.instance, host) if any(each.dhcp for each in served) else frozenset()
    return Ground(
        links, addresses, networks, deprecated, leased, frozenset(unchosen),
        outside=free, exits=facts.default_routes, siblings=_siblings(facts, links),
        policies=ipsec.read(host.run(("ip", "xfrm", "policy", "show")).out),
    )  # fmt: skip


def _siblings(facts: Facts, links: t.Mapping[str, Link]) -> t.Dict[t.Tuple[str, str], t.Tuple[t.Tuple[str, str], ...]]:
    """Next hops of one route, of which the kernel takes one for each flow."""
    groups: t.Dict[t.Any, t.List[Route]] = {}
    for route in facts.routes:
        groups.setdefault((route.family, route.table, route.metric, route.source), []).append(route)
    return {
        (one.interface, one.family): tuple(
            (each.interface, each.via)
            for each in group
            if each is not one and each.via and links.get(each.interface, Link("")).ethernet
        )
        for group in groups.values()
        for one in group
        if len(group) > 1
    }


def _deprecated(host: Host) -> t.Dict[str, t.FrozenSet[str]]:
    """The IPv6 networks in which a link has only addresses that are no longer to be used, as of an earlier provider."""
    found = {}
    for each in asked(host, "ip", "-j", "-6", "address", "show"):
        nets: t.Dict[bool, t.Set[str]] = {True: set(), False: set()}
        for info in each.get("addr_info") or ():
            if info.get("family") == "inet6" and info.get("local"):
                own = ipaddress.ip_interface("{0}/{1}".format(info["local"], info.get("prefixlen", 128)))
                nets[bool(info.get("deprecated"))].add(str(own.network))
        found[str(each.get("ifname"))] = frozenset(nets[True] - nets[False])
    return found


def _leased(instance: str, host: Host) -> t.FrozenSet[str]:
    """dnsmasq writes the time at which a lease ends, in seconds, and 0 for one that does not."""
    lines = [line.split() for line in (host.read("{0}/{1}.leases".format(LEASES, instance)) or "").splitlines()]
    now = host.now()
    found = [words[:3] for words in lines if len(words) > 3 and words[0].isdecimal() and is_address(words[2], 4)]
    return frozenset(address for until, _mac, address in found if not 0 < int(until) < now)


def _link(raw: t.Mapping[str, t.Any]) -> Link:
    flags = raw.get("flags") or ()
    up = "UP" in flags and "LOWER_UP" in flags
    ethernet = raw.get("link_type") == "ether" and "NOARP" not in flags
    header = 14 if raw.get("link_type") == "ether" else 0
    return Link(raw["ifname"], up, ethernet, int(raw.get("mtu", 1500)), header, bool(raw.get("xdp")))


def asked(host: Host, *argv: str) -> t.List[t.Dict[str, t.Any]]:
    """What a program lists as JSON; nothing, if it fails."""
    done = host.run(argv)
    try:
        listed = json.loads(done.out or "[]", strict=False)
    except ValueError:
        return []
    return [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []


def measured(gateway: Resolved, ground: Ground) -> t.List[str]:
    """The interfaces that the loop needs: the declared ones, and others through which a packet might leave."""
    lans = [name for _lan, name in inside(gateway, ground)]
    named = dict.fromkeys([*outside(gateway, ground), *ground.exits, *lans, *ground.loose])
    return [name for name in named if name in ground.links and ground.links[name].up][:MOST_LINKS]


# --- Free addresses ---------------------------------------------------------------------------------------------------


def candidates(gateway: Resolved, ground: Ground, facts: Facts, host: Host) -> t.Dict[t.Tuple[str, str], t.List[str]]:
    """LAN interface and family: addresses that nobody is known to have, on a network of the LAN at this link."""
    known = {str(each.get("dst")) for each in asked(host, "ip", "-j", "neigh", "show")}
    known.update(address for addresses in ground.addresses.values() for address in addresses)
    found = {}
    links = [(name, lan.networks) for lan, name in inside(gateway, ground)]
    for name, networks in [*links, *((name, ground.networks.get(name, ())) for name in ground.loose)]:
        named = facts.named(name)
        on_link = [net for net in (named.networks if named else ()) if _inside(net, networks)]
        for family in families(gateway):
            tried = [each for net in on_link if family_of(net) == family for each in _last(net) if each not in known]
            if tried:
                found[name, family] = tried[:CANDIDATES]
    return found


def _inside(net: str, networks: t.Iterable[str]) -> bool:
    own = network(net)
    return any(each.version == own.version and own.subnet_of(each) for each in map(network, networks))


def _last(text: str) -> t.List[str]:
    """The last addresses of a network, without the broadcast address and what usually is a router."""
    net = network(text)
    hosts = net.num_addresses - 3
    if isinstance(net, ipaddress.IPv6Network):
        first = int(net.network_address) + (0xFAFA << 16) % max(net.num_addresses, 1)
        return [str(net[first - int(net.network_address) + step]) for step in range(CANDIDATES)] if hosts > 16 else []
    return [str(net[-3 - step]) for step in range(min(CANDIDATES + 4, hosts))]


def ways(
    ground: Ground, others: t.Iterable[t.Tuple[str, str, str]], host: Host
) -> t.Dict[t.Tuple[str, str], t.Tuple[str, str]]:
    """Where the routes send what LANs send outside, and to other targets: interface and next hop."""
    cases = {
        (name, family): (name, client, str(network(ground.outside[family])[1]))
        for (name, family), client in ground.everybody.items()
    }
    cases.update(((name, target), (name, client, target)) for name, client, target in others)
    known: t.Dict[t.Tuple[str, str, str], t.Dict[str, t.Any]] = {}
    for option in OPTION.values():
        known.update(_at_once(option, [case for case in cases.values() if OPTION[family_of(case[2])] == option], host))
    found = {key: _way(ground, known.get(case) or _one(case, host), case[2]) for key, case in cases.items()}
    return {key: way for key, way in found.items() if way}


def _at_once(
    option: str, cases: t.Sequence[t.Tuple[str, str, str]], host: Host
) -> t.Dict[t.Tuple[str, str, str], t.Dict[str, t.Any]]:
    """Routes by one process; a thousand port forwards lead to hundreds of servers.

    None at all, unless every question has one answer, because nothing else says which one is whose.
    """
    cases = [case for case in dict.fromkeys(cases) if case[1] and PLAIN.match(case[0])]
    lines = ["route get {2} from {1} iif {0}\n".format(*case) for case in cases]
    done = host.run(["ip", "-j", option, "-batch", "-"], "".join(lines)) if len(lines) > 1 else None
    if not done or done.rc != 0:
        return {}
    try:
        answers = [json.loads(line, strict=False) for line in done.out.splitlines() if line.strip()]
    except ValueError:
        return {}
    known = [answer[0] for answer in answers if isinstance(answer, list) and len(answer) == 1]
    whole = len(known) == len(cases) and all(found.get("dst") == case[2] for found, case in zip(known, cases))
    return dict(zip(cases, known)) if whole else {}


def _one(case: t.Tuple[str, str, str], host: Host) -> t.Dict[str, t.Any]:
    name, client, target = case
    question = ("ip", "-j", OPTION[family_of(target)], "route", "get", target)
    # Without the client, when the kernel refuses to route its packets: that is what the proof has to show.
    found = asked(host, *question, "from", client, "iif", name) if client else []
    found = found or asked(host, *question)
    return found[0] if found else {}


def _way(ground: Ground, found: t.Mapping[str, t.Any], target: str) -> t.Optional[t.Tuple[str, str]]:
    if not found.get("dev"):
        return None
    hop = found.get("gateway") or (found.get("via") or {}).get("host") or target
    return found["dev"], hop if ground.links.get(found["dev"], Link("")).ethernet else ""


# --- Filters of others ----------------------------------------------------------------------------------------------


#: Ours come first, so that no packet of a probe is ever on a wire.
FIRST, LAST = 1, 65000
EGRESS_TRIAL = """\
add table netdev ipmasq_probe
add chain netdev ipmasq_probe trial { type filter hook egress device "lo" priority -500; }
add rule netdev ipmasq_probe trial fwd to "lo"
"""


def places(names: t.Sequence[str], host: Host) -> t.Dict[str, Place]:
    kinds: t.Dict[str, t.Set[str]] = {}
    for each in asked(host, "tc", "-j", "qdisc", "show"):
        kinds.setdefault(str(each.get("dev")), set()).add(str(each.get("kind")))
    nft = _has_egress(host)
    return {name: _place(name, kinds.get(name, set()), nft, host) for name in names}


def _has_egress(host: Host) -> bool:
    """Linux 5.16 and nft 1.0.1 have the hook."""
    return bool(host.which("nft")) and host.run(["nft", "-c", "-f", "-"], EGRESS_TRIAL).rc == 0


def _place(name: str, kinds: t.Set[str], nft: bool, host: Host) -> Place:
    if "clsact" not in kinds and nft:
        return Place(nft=True)
    if "ingress" in kinds:
        lacks = "{0} has a qdisc 'ingress', which leaves no place for a filter at the egress; use clsact instead"
        return Place(lacks=lacks.format(name))
    if "clsact" not in kinds:
        return Place(pref=FIRST)
    return _beside(name, asked(host, "tc", "-j", "filter", "show", "dev", name, "egress"))


def _beside(name: str, theirs: t.Sequence[t.Mapping[str, t.Any]]) -> Place:
    if theirs and all(_only_stops(each) for each in theirs):
        return Place(True, LAST)  # after theirs, to see what they stop
    if theirs and min(int(each.get("pref", 0)) for each in theirs) <= FIRST + 1:
        return Place(True, lacks="filters of others at the egress of {0} come before any other".format(name))
    return Place(True, FIRST)


def _only_stops(each: t.Mapping[str, t.Any]) -> bool:
    """Whether a filter lets every packet that it does not drop go on to the next filter."""
    options = each.get("options") or {}
    actions = options.get("actions") or []
    if int(each.get("pref", 0)) >= LAST or each.get("kind") not in ("u32", "matchall", "flower"):
        return False
    if not actions:
        return "key_ht" not in options and each.get("kind") == "u32"  # a heading of the list
    return all(_stops(action) for action in actions)


def _stops(action: t.Mapping[str, t.Any]) -> bool:
    """Whether an action keeps a packet from this wire. An ifb puts it there later."""
    if action.get("mirred_action") == "redirect":
        return not str(action.get("to_dev")).startswith("ifb")
    return str((action.get("control_action") or {}).get("type")) in ("drop", "shot", "continue")


def silent(
    hops: t.Collection[t.Tuple[str, str]], host: Host, ask: t.Callable[[Candidates], t.Set[str]]
) -> t.Set[t.Tuple[str, str]]:
    """The neighbours that do not answer ARP or NDP. ``ask``: which of these addresses answer.

    A packet that is dropped before it leaves asks nobody: an unknown neighbour does not show that a line is dead.
    """
    states = {
        (str(each.get("dev")), str(each.get("dst"))): set(each.get("state") or ())
        for each in asked(host, "ip", "-j", "neigh", "show")
    }
    mute = {hop for hop in hops if states.get(hop, set()) & {"FAILED", "INCOMPLETE"}}
    unknown: t.Dict[t.Tuple[str, str], t.List[str]] = {}
    for name, address in hops:
        if not states.get((name, address), set()) - {"NONE"}:
            unknown.setdefault((name, family_of(address)), []).append(address)
    found = ask(unknown) if unknown else set()
    return mute.union((name, each) for (name, _of), listed in unknown.items() for each in listed if each not in found)


def with_lacks(ground: Ground, lacks: t.Mapping[str, str]) -> Ground:
    """For each interface that is measured, what it lacks."""
    links = {name: replace(link, lacks=lacks.get(name, TOO_MANY)) for name, link in ground.links.items()}
    return replace(ground, links=links)


def before_bridges(names: t.Iterable[str], facts: Facts, host: Host) -> t.List[str]:
    """What filters at the ports of a bridge, which the probe's packets do not cross: they arrive at the bridge."""
    bridges = [each.name for each in facts.interfaces if each.kind == "bridge" and each.name in set(names)]
    if not bridges or not host.which("nft"):
        return []
    try:
        listed = json.loads(host.ask(["nft", "-j", "list", "ruleset", "bridge"]).out or "{}", strict=False)
    except ValueError:
        return []
    rules = [each["rule"] for each in listed.get("nftables", ()) if "rule" in each]
    told = "rules of table bridge {0} come before {1}, where the probe's packets arrive, so nobody has tried them"
    return [told.format(table, ", ".join(bridges)) for table in dict.fromkeys(each["table"] for each in rules)]


def before_links(names: t.Iterable[str], facts: Facts, ground: Ground) -> t.List[str]:
    """XDP programs on these interfaces or below them, which the probe's packets do not cross: they arrive later."""
    known, count = set(names), 0
    while count < len(known):
        count = len(known)
        known |= {each.parent for each in facts.interfaces if each.name in known and each.parent}
        known |= {each.name for each in facts.interfaces if each.master in known}
    told = "an XDP program on {0} sees what arrives first, and the proof does not cover it; see 'ip link show {0}'"
    return [told.format(link.name) for link in ground.links.values() if link.xdp and link.name in known]
