# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Groups of connections that begin under some rules and are wrong under others, as arguments of conntrack(8).

A rollback runs without Python and Ansible, so single connections cannot be judged then. Therefore a change records in
advance what may begin while it is pending: each rule that only one side has is asked about its packets. What the
present rules accept, and the previous ones would not, or not in the same way, forms a group.
"""

from __future__ import annotations

import functools
import ipaddress
import typing as t
from collections import deque
from dataclasses import dataclass, field, replace

from .._base.net import family_of, is_suffix, network
from .._base.values import addresses_in, hosts_with
from .._base.words import WITH_PORTS
from .asked import HERE, NATTED, Asked, asked, deciding
from .ending import FEW as MOST_SPARED, closing, sparing
from .flow import NUMBERS, End, Flow
from .index import Packet
from .judge import judge_of

if t.TYPE_CHECKING:  # pragma: no cover
    from .._resolve.resolved import Resolved
    from .._rules.model import Rule
    from .judge import Judge, Rules

#: The maximum number of groups; each costs a walk through the connection table.
MOST = 300
#: The maximum number of packets to judge: 1,000 networks are a million pairs.
MOST_ASKED = 1000
#: Pool addresses that are listed one by one.
FEW = 16
#: Represents any outside host: a benchmark network (RFC 2544, RFC 5180) that nobody uses.
OUTSIDE = {"ip": ("198.18.0.1", "198.19.0.1"), "ip6": ("2001:2::1", "2001:2:0:1::1")}
FAMILY = {"ip": "ipv4", "ip6": "ipv6"}
#: The protocols that conntrack(8) knows by name without /etc/protocols.
KNOWN = ("tcp", "udp", "sctp", "icmp", "icmpv6", "gre")


@dataclass(frozen=True)
class Groups:
    words: t.Tuple[str, ...] = ()
    left: int = 0  # groups for which there was no room
    # Of the words, those for TCP servers of this host, with the end of the filter for their sockets.
    own: t.Mapping[str, str] = field(default_factory=dict)


#: Protocols and ports.
Listening = t.Sequence[t.Tuple[str, int]]


class _Sides:
    """What judges by the present and by the previous rules."""

    def __init__(self, now: Judge, then: Judge) -> None:
        self.now, self.then = now, then
        self.local, self.outer = {}, {}
        for family in FAMILY:
            local = tuple(sorted(each for each in now.local | then.local if family_of(each) == family))
            self.local[family] = local
            self.outer[family] = [each for each in local if not now.links_of(each) and not then.links_of(each)]
        self._wrong: t.Dict[t.Tuple[Flow, str], bool] = {}

    def wrong(self, flow: Flow, link: str = "") -> bool:
        """Whether this connection begins under the present rules only. Several rules ask about the same one."""
        if (flow, link) not in self._wrong:
            right = self.now.right(flow, link, certain=False)
            self._wrong[flow, link] = right and not self.then.right(flow, link, certain=False)
        return self._wrong[flow, link]

    def clients(self, flow: Flow) -> t.Iterator[str]:
        """The networks of clients of this host that one side may treat in another way than the rest."""
        both = (self.now, self.then)
        named = [net for side in both for rule in side.rules if rule.chain in HERE for net in rule.match.source]
        for net in dict.fromkeys([*named, *(net for side in both for net in side.near)]):
            if family_of(net) == flow.family:
                yield net


def groups(now: Rules, then: Rules, listening: Listening = ()) -> Groups:
    """The connections that begin under the present rules and are wrong under the previous ones.

    ``listening`` are the protocols and ports of this host's servers. Connections to others are not forgotten.
    """
    both = [deciding(rules.ruleset) for rules in (now, then)]
    changed = [dict.fromkeys(asked(side, other)) for side, other in (both, both[::-1])]
    differing = [each for one, other in (changed, changed[::-1]) for each in one if each not in other]
    sides = _Sides(judge_of(now), judge_of(then))
    gateways = now.gateway, then.gateway
    abouts = [about for about, _action in differing] + list(_undeclared(sides, now.gateway))
    found: t.Dict[str, None] = {}
    own: t.Dict[str, str] = {}
    known = set()  # several rules ask about the same packets
    forwarded: t.Deque[t.Tuple[Asked, t.Iterator[t.Tuple[str, str]]]] = deque()
    for about in abouts[:MOST_ASKED]:
        if about.chain in HERE:
            for server in [(about.protocol, about.ports[0])] if about.ports[0] else listening:
                for words, but in _to_this_host(about, server, sides):
                    found[words] = None
                    own.update({words: but} if but is not None else {})
        else:
            forwarded.append((about, _ends(about, gateways)))
    judged = 0  # in turn, because a rule about pairs of networks would leave nothing for those after it
    while forwarded and judged < MOST_ASKED:
        about, left_of_it = forwarded.popleft()
        ends = next(left_of_it, None)
        if ends is not None:
            judged += 1
            forwarded.append((about, left_of_it))
            asked_about = about._replace(chain=""), ends
            if asked_about not in known:
                known.add(asked_about)
                found.update(dict.fromkeys(_group(about, *ends, sides)))
    left = max(0, len(found) - MOST) + max(0, len(abouts) - MOST_ASKED) + len(forwarded)
    return Groups(tuple(found)[:MOST], left, own)


def _undeclared(sides: _Sides, gateway: Resolved) -> t.Iterator[Asked]:
    """The packets between LANs and undeclared links, which no rule names where these are left alone."""
    if gateway.undeclared != "leave":
        return
    inside = [net for lan in gateway.lans for net in lan.networks]
    for net in dict.fromkeys(net for net, _link in (*sides.now.others, *sides.then.others)):
        for near in inside:
            if family_of(near) == family_of(net):
                yield Asked("forward", family_of(net), "", "", near, net, False, "", (0, 0))
                yield Asked("forward", family_of(net), "", "", net, near, False, "", (0, 0))


def _to_this_host(about: Asked, server: t.Tuple[str, int], sides: _Sides) -> t.Iterator[t.Tuple[str, t.Optional[str]]]:
    """The arguments for connections to a server on this host, and the end of the filter for its sockets; None if these
    are not to be closed. What others have redirected to it is theirs.
    """
    protocol, port = server
    if about.protocol not in ("", protocol):
        return
    about = about._replace(protocol=protocol, ports=(port, port))
    families = [about.family or family_of(about.source)] if about.family or about.source else list(FAMILY)
    for family in families:
        begin = _first(about.source, sides.local[family]) if about.source else OUTSIDE[family][0]
        for address in sides.local[family]:
            flow = Flow(protocol, End(begin, address, 4000, port), End(address, begin, port, 4000))
            if sides.wrong(flow, about.iif):
                words = _words(about, family, about.source, address)
                yield " ".join([*words, "-r", address, "--reply-port-src", str(port)]), _but(flow, sides)


def _but(flow: Flow, sides: _Sides) -> t.Optional[str]:
    """The arguments omit the link, so they also name clients on other links, and others for whom the rules make an
    exception. The sockets of those whose connections are right stay open.
    """
    if flow.protocol != "tcp":
        return None
    classes = {net: sides.wrong(_from(_first(net, sides.local[flow.family]), flow)) for net in sides.clients(flow)}
    links = dict.fromkeys(sides.now.wans + sides.then.wans) or ("",)
    others = all(sides.wrong(flow, link) for link in links)
    differing = [net for net, wrong in classes.items() if wrong != others]
    if len(differing) > MOST_SPARED or not (others or differing):
        return None
    return sparing(differing) if others else closing(differing)


def _from(client: str, flow: Flow) -> Flow:
    asked, answer = replace(flow.asked, source=client), replace(flow.answer, destination=client)
    return replace(flow, asked=asked, answer=answer)


def _words(about: Asked, family: str, source: str, destination: str) -> t.List[str]:
    """The arguments for what a connection was before anybody translated it."""
    words = ["-f", FAMILY[family]]
    if about.protocol:
        words += ["-p", about.protocol if about.protocol in KNOWN else str(NUMBERS[about.protocol])]
    words += ["-s", source] if source and not about.broad else []
    words += ["-d", destination] if destination and not about.broad else []
    first, last = about.ports
    if not about.broad and first and first == last and about.protocol in WITH_PORTS:
        words += ["--orig-port-dst", str(first)]
    return words


def _ends(about: Asked, gateways: t.Iterable[Resolved]) -> t.Iterator[t.Tuple[str, str]]:
    """The source and destination networks of these packets; empty for any outside network."""
    lans = {lan.name: lan for gateway in gateways for lan in gateway.lans}
    inside = {name: lan.networks for lan in lans.values() for name in lan.interfaces}
    owner = about.chain.partition("-")[2] if about.chain.startswith(("lan-", "opens-")) else ""
    sources = (
        (about.source,) if about.source else inside.get(about.iif) or (lans[owner].networks if owner in lans else ("",))
    )
    destinations = (about.destination,) if about.destination else inside.get(about.oif) or ("",)
    if is_suffix(about.destination):
        destinations = hosts_with(about.destination, inside.get(about.oif) or ())
    for source in sources:
        for destination in destinations:
            families = {family_of(net) for net in (source, destination) if net} | ({about.family} - {""})
            if len(families) < 2:
                yield source, destination


@functools.lru_cache(maxsize=1 << 12)
def _first(net: str, local: t.Tuple[str, ...]) -> str:
    """An address that represents a network: not its first or last one, and not this host's, if there are others."""
    parsed = network(net)
    last = parsed.num_addresses - 1
    for step in range(1, min(last, MOST)):
        address = str(parsed.network_address + step)
        if address not in local:
            return address
    return str(parsed.network_address)


def _group(about: Asked, source: str, destination: str, sides: _Sides) -> t.Iterator[str]:
    now = sides.now
    family = about.family or family_of(source or destination or "0.0.0.0")
    far, other = OUTSIDE[family]
    local, outer = sides.local[family], sides.outer[family]
    begin = _first(source, local) if source else far
    if about.local and not outer:
        return
    to = outer[0] if about.local else _first(destination, local) if destination else other
    port = about.ports[0]
    protocol = about.protocol or ("udp" if port else "")
    flow = Flow(protocol, End(begin, to, 4000, port), End(to, begin, port, 4000))
    for rule in now.walk("dstnat", Packet(flow, _link(now, begin, about.iif), "", to, port)):
        yield from _translated(about, (source, destination), flow, rule, sides)


def _link(judge: Judge, address: str, given: str) -> str:
    return given or next(iter(judge.links_of(address) or judge.wans), "")


def _translated(
    about: Asked,
    between: t.Tuple[str, str],
    flow: Flow,
    redirect: t.Optional[Rule],
    sides: _Sides,
) -> t.Iterator[str]:
    source, destination = between
    now, outer = sides.now, sides.outer[flow.family]
    words = _words(about, flow.family, source, destination)
    for server, port, more in _servers(flow, redirect):
        if server in now.local:
            # It ends here and is not forwarded. The rules for what nobody redirects are asked elsewhere.
            made = Flow(flow.protocol, flow.asked, End(server, flow.asked.source, port, 4000))
            if more and sides.wrong(made):
                yield " ".join(words + more)
            continue
        sent = Flow(flow.protocol, flow.asked, End(server, flow.asked.source, port, 4000))
        iif = _link(now, flow.asked.source, about.iif)
        there = now.mark(Packet(sent, iif, _link(now, server, about.oif), server, port))._replace(iif="")
        for rule in now.walk("srcnat", there):
            for seen, other in _seen(sent, rule, outer):
                made = Flow(sent.protocol, sent.asked, End(server, seen, port, _seen_port(rule)))
                if sides.wrong(made):
                    yield " ".join(words + more + other)


def _servers(flow: Flow, rule: t.Optional[Rule]) -> t.Iterator[t.Tuple[str, int, t.List[str]]]:
    """The destination of the packets, and the arguments for it."""
    to, port = flow.asked.destination, flow.asked.destination_port
    if not rule or rule.action.kind not in ("dnat", "netmap"):
        yield to, port, []
        return
    if rule.action.kind == "netmap":
        net = network(rule.action.to[0])
        offset = int(ipaddress.ip_address(to)) & int(net.hostmask)
        yield str(net.network_address + offset), port, ["-g"]
        return
    if rule.action.ports:
        port = rule.action.ports[0]
    single = not rule.match.port or rule.match.port[0][0] == rule.match.port[0][1]
    for server in rule.action.to:
        ports = ["--reply-port-src", str(port)] if single and port and flow.protocol in WITH_PORTS else []
        yield server, port, ["-r", server, *ports, "-g"]


def _seen(flow: Flow, rule: t.Optional[Rule], outer: t.Sequence[str]) -> t.Iterator[t.Tuple[str, t.List[str]]]:
    """The translated source of the packets, and the arguments for it."""
    action = rule.action if rule else None
    if not action or action.kind not in NATTED:
        yield flow.asked.source, []
    elif action.kind == "masquerade":
        for address in outer[:FEW]:
            yield address, ["-q", address]
    elif action.kind == "hairpin":
        yield flow.asked.destination, ["-n"]
    elif action.kind == "netmap":
        net = network(action.to[0])
        mapped = str(net.network_address + (int(ipaddress.ip_address(flow.asked.source)) & int(net.hostmask)))
        yield mapped, ["-q", mapped] if net.num_addresses == 1 else ["-n"]
    else:
        for entry in action.to:
            known = addresses_in(entry, FEW)
            if known is None:
                yield entry.partition("-")[0], ["-n"]
            for address in known or ():
                yield address, ["-q", address]


def _seen_port(rule: t.Optional[Rule]) -> int:
    return rule.action.ports[0] if rule and rule.action.ports else 4000
