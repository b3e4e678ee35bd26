# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""What a client behind a NAT can reach, and how it looks from outside."""

from __future__ import annotations

import errno
import ipaddress
import re
import typing as t

from . import dns, nat as nat_, path as path_, promise as promise_, stun
from .promise import BROKEN, HOLDS, UNMEASURABLE, Promise, over
from .stun import Endpoint
from .talk import Server, question, sight, sight_from
from .wanted import is_address, read_wanted
from .wire import Ask, Wire

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.host import Sight as Host
    from .nat import Nat
    from .path import Path
    from .talk import Sight
    from .wanted import Target, Wanted
    from .wire import Found, Port, Stream

NOTHING = "nothing was measured: name STUN servers in servers, or hosts in tcp, ping or dns_name"
MAY_NOT_PING = (
    "this user may open neither a ping socket (see net.ipv4.ping_group_range) nor a raw socket; "
    "add 'become: true' to the task"
)


class Idle(t.NamedTuple):
    """A UDP flow that is left alone: from when, with which outside port."""

    port: t.Optional[Port]
    server: Server
    mapped: t.Optional[Endpoint]
    since: float
    why: str = ""


class Side(t.NamedTuple):
    """One address family, as far as it was measured."""

    version: int
    promises: t.Tuple[Promise, ...]
    seen: t.Mapping[Endpoint, Endpoint]
    nat: t.Optional[Nat] = None
    out: t.Optional[Path] = None
    into: t.Optional[Path] = None
    notes: t.Tuple[str, ...] = ()


def nat_probe(params: t.Mapping[str, t.Any], host: Host, wire: t.Optional[Wire] = None) -> t.Dict[str, t.Any]:
    """The return values of nat_probe. It changes nothing."""
    wanted = read_wanted(params)
    wire = wire or Wire(float(params["timeout"]))
    try:
        return _Run(wanted, host, wire).result()
    finally:
        wire.close()


class _Run:
    def __init__(self, wanted: Wanted, host: Host, wire: Wire) -> None:
        self._wanted, self._host, self._wire = wanted, host, wire
        self._names: t.Dict[str, Found] = {}

    def result(self) -> t.Dict[str, t.Any]:
        start = self._wire.clock()
        promises = self._resolve()
        sides = [side for side in (self._side(4), self._side(6)) if side]
        promises += [each for side in sides for each in side.promises]
        promises += self._tcp_targets() + self._ping_targets() + self._dns()
        notes = [note for side in sides for note in side.notes] + [NOTHING] * (not promises)
        counted = promise_.counts(promises)
        return {
            "changed": False,
            "proven": counted[HOLDS] > 0 and not counted[BROKEN],
            "broken": ["{0}: {1}".format(each.name, each.reason) for each in promises if each.outcome == BROKEN],
            "counts": counted,
            "results": [each.as_dict() for each in promises],
            "nat": [_nat_of(side) for side in sides if side.nat],
            "addresses": sorted({each.address for side in sides for each in side.seen.values()}),
            "notes": notes,
            "warnings": [] if promises else [NOTHING],
            "seconds": round(self._wire.clock() - start, 1),
        }

    # --- Names -----------------------------------------------------------------------------------------------------

    def _resolve(self) -> t.List[Promise]:
        """Every host that is a name; what has no address is not asked further."""
        targets = self._wanted.servers + self._wanted.tcp + self._wanted.ping
        names = list(dict.fromkeys(each.host for each in targets if not is_address(each.host)))
        self._names = dict(zip(names, self._wire.resolve(names)))
        return [_resolved(name, found) for name, found in self._names.items()]

    def _places(self, targets: t.Sequence[Target], version: int) -> t.List[Server]:
        """The first address of this family of each target."""
        found = []
        for each in targets:
            listed = (each.host,) if is_address(each.host) else self._names[each.host].addresses
            fit = [address for address in listed if (":" in address) == (version == 6)]
            found += [Server(each.text, Endpoint(fit[0], each.port))] if fit else []
        return found

    # --- One family ------------------------------------------------------------------------------------------------

    def _side(self, version: int) -> t.Optional[Side]:
        servers = self._places(self._wanted.servers, version)
        if not servers:
            return None
        try:
            return self._asked(version, servers)
        except OSError as error:
            return Side(version, (self._no_route(version, servers, error),), {})

    def _asked(self, version: int, servers: t.Sequence[Server]) -> Side:
        port = self._wire.open(version, servers[0].place)
        heard = self._wire.ask([question(self._wire, port, each.place) for each in servers])
        sights = [sight_from(each, server.place) for each, server in zip(heard, servers)]
        alive = [server for server, each in zip(servers, sights) if each.mapped]
        ours = [
            server for server, each in zip(servers, sights) if each.mapped and each.message and each.message.is_ours
        ]
        udp = {server.place: each.mapped for server, each in zip(servers, sights) if each.mapped}
        promises = [_udp(version, port, servers, sights)]
        streams, tcp = self._streams(version, servers, bool(ours))
        promises.append(streams)
        promises += promise_.address("udp", self._wanted.expect, udp, version)
        promises += promise_.address("tcp", self._wanted.expect, tcp, version)
        promises += self._icmp(version, servers)
        side = Side(version, tuple(promises), dict(udp), notes=_notes(servers, sights, udp))
        return self._behaviour(side._replace(seen=_both(udp, tcp)), ours or alive, alive, bool(ours)) if alive else side

    def _behaviour(self, side: Side, first: t.Sequence[Server], alive: t.Sequence[Server], ours: bool) -> Side:
        """What takes servers that answer; our own reflector goes first."""
        expect, version = self._wanted.expect, side.version
        idle = self._leave_idle(first[0]) if self._wanted.idle else None
        ordered = list(dict.fromkeys([*first, *alive]))
        nat = nat_.judge(self._wire, ordered)
        out, into = path_.measure(self._wire, ordered[0], ours)
        promises = promise_.behaviour(expect, nat, version)
        promises += [promise_.path("out", expect, out, version), promise_.path("in", expect, into, version)]
        promises += [self._after_idle(idle)] if idle else []
        return side._replace(promises=side.promises + tuple(promises), nat=nat, out=out, into=into)

    def _no_route(self, version: int, servers: t.Sequence[Server], error: OSError) -> Promise:
        name, sent = over("udp", version), "a question to {0}".format(servers[0].name)
        own = self._own_addresses(version)
        if not own:
            reason = "this client has no IPv{0} address".format(version)
            return Promise(name, "reach", UNMEASURABLE, sent, "", reason)
        why = "no route" if error.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH) else error.strerror
        reason = "this client has the address {0}, but cannot send to {1}: {2}"
        return Promise(name, "reach", BROKEN, sent, "", reason.format(own[0], servers[0].place.address, why))

    def _own_addresses(self, version: int) -> t.List[str]:
        """Addresses that are more than link-local."""
        if version == 6:
            lines = (self._host.read("/proc/net/if_inet6") or "").splitlines()
            raw = [line.split()[0] for line in lines if line.split()[3] == "00"]
            return [str(ipaddress.IPv6Address(bytes.fromhex(each))) for each in raw]
        text = self._host.read("/proc/net/fib_trie") or ""
        found = re.findall(r"\|-- (\S+)\n\s+/32 host LOCAL", text)
        return [each for each in dict.fromkeys(found) if not each.startswith(("127.", "169.254."))]

    # --- TCP and ping ------------------------------------------------------------------------------------------------

    def _streams(
        self, version: int, servers: t.Sequence[Server], ours: bool
    ) -> t.Tuple[Promise, t.Dict[Endpoint, Endpoint]]:
        """STUN over TCP: reach, and whom the servers saw."""
        tokens = [self._wire.token(12) for _each in servers]
        asks = [(each.place, stun.request(token), stun.whole) for each, token in zip(servers, tokens)]
        streams = self._wire.streams(asks)
        seen = {}
        for server, token, stream in zip(servers, tokens, streams):
            message = stun.decode(stream.data)
            if message and message.transaction == token and message.mapped:
                seen[server.place] = message.mapped
        return _tcp(version, servers, streams, ours), seen

    def _tcp_targets(self) -> t.List[Promise]:
        places = [each for version in (4, 6) for each in self._places(self._wanted.tcp, version)]
        streams = self._wire.streams([(each.place, b"", bool) for each in places])
        return [self._target("tcp", each, each.place, stream.problem) for each, stream in zip(places, streams)]

    def _ping_targets(self) -> t.List[Promise]:
        places = [each for version in (4, 6) for each in self._places(self._wanted.ping, version)]
        problems = self._wire.pings([each.place.address for each in places])
        return [
            Promise("icmp to {0}".format(each.name), "reach", UNMEASURABLE, reason=MAY_NOT_PING)
            if problem is None
            else self._target("icmp", each, each.place.address, problem)
            for each, problem in zip(places, problems)
        ]

    def _target(self, protocol: str, server: Server, place: object, problem: str) -> Promise:
        """A host that the user named has to answer, unless this client does not have its family."""
        name = "{0} to {1}".format(protocol, server.name)
        sent = "{0} to {1}".format("a ping" if protocol == "icmp" else "a connection", place)
        if not problem:
            return Promise(name, "reach", HOLDS, sent, "an answer")
        if not self._own_addresses(server.version):
            reason = "this client has no IPv{0} address".format(server.version)
            return Promise(name, "reach", UNMEASURABLE, sent, "", reason)
        return Promise(name, "reach", BROKEN, sent, "", problem)

    def _icmp(self, version: int, servers: t.Sequence[Server]) -> t.List[Promise]:
        """Many servers answer no ping, so that silence says nothing."""
        name, sent = over("icmp", version), "a ping to {0}".format(", ".join(each.place.address for each in servers))
        problems = self._wire.pings([each.place.address for each in servers])
        if None in problems:
            return [Promise(name, "reach", UNMEASURABLE, sent, "", MAY_NOT_PING)]
        answered = [each.place.address for each, problem in zip(servers, problems) if not problem]
        if answered:
            return [Promise(name, "reach", HOLDS, sent, "{0} answered".format(", ".join(answered)))]
        reason = "{0}; many servers do not answer pings; name a host that does in ping".format(problems[0])
        return [Promise(name, "reach", UNMEASURABLE, sent, "", reason)]

    # --- DNS ---------------------------------------------------------------------------------------------------------

    def _dns(self) -> t.List[Promise]:
        name = self._wanted.dns_name
        if not name:
            return []
        servers = [self._wanted.dns_server] if self._wanted.dns_server else self._nameservers()
        if not servers:
            reason = "/etc/resolv.conf names no server; name one in dns_server"
            return [Promise("dns", "dns", BROKEN, "a question for {0}".format(name), "", reason)]
        return [self._dns_of(server, name) for server in servers]

    def _nameservers(self) -> t.List[str]:
        text = self._host.read("/etc/resolv.conf") or ""
        found = re.findall(r"^\s*nameserver\s+(\S+)", text, re.MULTILINE)
        return [each for each in dict.fromkeys(found) if is_address(each)]

    def _dns_of(self, server: str, name: str) -> Promise:
        place = Endpoint(server, 53)
        words = ("dns from {0}".format(server), "dns")
        sent = "a question for {0} to {1}".format(name, place)
        number = int.from_bytes(self._wire.token(2), "big")
        asked = dns.question(name, "A")

        def mine(data: bytes) -> bool:
            found = dns.decode(data, asked)
            return found is not None and found.number == number

        try:
            port = self._wire.open(6 if ":" in server else 4, place)
        except OSError as error:
            return Promise(*words, BROKEN, sent, "", error.strerror or "no route")
        heard = self._wire.ask([Ask(port, place, dns.query(number, name), mine)])[0]
        answer = dns.decode(heard.data, asked) if heard.source == place else None
        if answer is None:
            return Promise(*words, BROKEN, sent, "", sight(heard._replace(source=None)).problem)
        if answer.problem:
            return Promise(*words, BROKEN, sent, "an answer", answer.problem)
        return Promise(*words, HOLDS, sent, "an answer with {0} records".format(answer.records))

    # --- A flow that is left alone ---------------------------------------------------------------------------------

    def _leave_idle(self, server: Server) -> Idle:
        """Begin it, and see that the server can write to a port that did not ask (RESPONSE-PORT, RFC 5780)."""
        port = self._wire.open(server.version, server.place)
        first = sight_from(self._wire.ask([question(self._wire, port, server.place)])[0], server.place)
        if not first.mapped:
            return Idle(None, server, None, 0, first.problem)
        told = self._wake(Idle(port, server, first.mapped, 0))
        why = "" if told.source == server.place and told.mapped else told.problem or "it answered from elsewhere"
        reason = "{0} does not write to another port (RESPONSE-PORT): {1}".format(server.name, why) if why else ""
        return Idle(port, server, first.mapped, self._wire.clock(), reason)

    def _wake(self, idle: Idle) -> Sight:
        """From another port, have the server write to the idle one."""
        other = self._wire.open(idle.server.version, idle.server.place)
        to = stun.response_port(t.cast("Endpoint", idle.mapped).port)
        return sight(self._wire.ask([question(self._wire, other, idle.server.place, to, hears=idle.port)])[0])

    def _after_idle(self, idle: Idle) -> Promise:
        if idle.why:
            return promise_.idle(self._wanted.idle, idle.server.version, None, idle.why)
        self._wire.wait(idle.since + self._wanted.idle - self._wire.clock())
        return promise_.idle(self._wanted.idle, idle.server.version, bool(self._wake(idle).mapped), "")


def _resolved(name: str, found: Found) -> Promise:
    sent = "the name, to this client's resolver"
    if found.addresses:
        return Promise("dns name {0}".format(name), "dns", HOLDS, sent, ", ".join(found.addresses))
    reason = "{0}; check /etc/resolv.conf, or give an address".format(found.problem)
    return Promise("dns name {0}".format(name), "dns", BROKEN, sent, "", reason)


def _both(udp: t.Mapping[Endpoint, Endpoint], tcp: t.Mapping[Endpoint, Endpoint]) -> t.Dict[Endpoint, Endpoint]:
    return {**tcp, **udp}


def _udp(version: int, port: Port, servers: t.Sequence[Server], sights: t.Sequence[Sight]) -> Promise:
    name = over("udp", version)
    sent = "STUN from {0} to {1}".format(port.local, ", ".join(str(each.place) for each in servers))
    seen = ["{0} saw {1}".format(server.name, each.mapped) for server, each in zip(servers, sights) if each.mapped]
    silent = ["{0}: {1}".format(server.name, each.problem) for server, each in zip(servers, sights) if not each.mapped]
    if seen:
        return Promise(name, "reach", HOLDS, sent, "; ".join(seen))
    return Promise(name, "reach", BROKEN, sent, "", "; ".join(silent))


def _tcp(version: int, servers: t.Sequence[Server], streams: t.Sequence[Stream], ours: bool) -> Promise:
    """Public STUN servers rarely speak TCP; our own reflector does."""
    name = over("tcp", version)
    sent = "STUN over TCP to {0}".format(", ".join(str(each.place) for each in servers))
    connected = [each.name for each, stream in zip(servers, streams) if stream.connected]
    if connected:
        return Promise(name, "reach", HOLDS, sent, "a connection to {0}".format(", ".join(connected)))
    silent = "; ".join("{0}: {1}".format(each.name, stream.problem) for each, stream in zip(servers, streams))
    if ours:
        return Promise(name, "reach", BROKEN, sent, "", silent)
    reason = "{0}; few STUN servers speak TCP: name a server that does in tcp".format(silent)
    return Promise(name, "reach", UNMEASURABLE, sent, "", reason)


def _notes(
    servers: t.Sequence[Server], sights: t.Sequence[Sight], seen: t.Mapping[Endpoint, Endpoint]
) -> t.Tuple[str, ...]:
    """What differs from what the user most likely meant, though the promise holds."""
    silent = ["{0}: {1}".format(server.name, each.problem) for server, each in zip(servers, sights) if not each.mapped]
    notes = silent if len(silent) < len(servers) else []
    addresses = list(dict.fromkeys(each.address for each in seen.values()))
    if len(addresses) > 1:
        several = "the servers saw different addresses ({0}): several NATs are on the way, or one has several addresses"
        notes = notes + [several.format(", ".join(addresses))]
    return tuple(notes)


def _nat_of(side: Side) -> t.Dict[str, t.Any]:
    """Of a side on which a server answered."""
    nat, out, into = t.cast("Nat", side.nat), t.cast("Path", side.out), t.cast("Path", side.into)
    return {
        "family": "ipv{0}".format(side.version),
        "mapping": nat.mapping.value,
        "mapping_why": nat.mapping.why,
        "filtering": nat.filtering.value,
        "filtering_why": nat.filtering.why,
        "hairpin": nat.hairpin.value,
        "hairpin_why": nat.hairpin.why,
        "mtu_out": out.mtu or None,
        "mtu_in": into.mtu or None,
    }
