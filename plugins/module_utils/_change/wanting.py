# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""What a declaration comes to on this host: the resolved gateway, its rules, its backend, and the state to come."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, replace

from .._backend.features import check_supported
from .._backend.foreign import foreign_drops
from .._backend.iptables.native import check_native
from .._backend.select import dropping, select
from .._base.errors import GatewayError
from .._base.net import matches_any
from .._facts.controller import Kept, Reach, kept_open, reach, refusal
from .._facts.links import read_facts
from .._facts.resolvers import resolvers
from .._init import service
from .._intent.neighbour import Neighbour
from .._parts import sysctl
from .._parts.declaration import DECLARATION, Declaration
from .._parts.metrics import check_measurable
from .._parts.part import Scene, parts_of
from .._parts.rules import RULES
from .._parts.services import check_servable
from .._resolve import declared
from .._resolve.inside import forwarded_families
from .._resolve.remarks import is_vpn_at_stake, through_vpn
from .._resolve.resolve import resolve
from .._resolve.resolved import describe_gateway, only_sound
from .._rules.chains import with_twins
from .._rules.compile import compile_gateway
from .._rules.rows import Plan
from . import earlier, forgetting
from .state import State

if t.TYPE_CHECKING:  # pragma: no cover
    from .._backend.select import Choice
    from .._base.host import Sight
    from .._facts.links import Facts
    from .._intent.gateway import Gateway
    from .._resolve.choice import Chosen
    from .._resolve.resolved import Resolved
    from .._rules.model import RuleSet
    from .earlier import Earlier
    from .persist import Parts

Drops = t.List[t.Tuple[str, str]]


@dataclass(frozen=True)
class Wanted:
    """A gateway that is possible on this host, and how to apply it."""

    gateway: Resolved
    ruleset: RuleSet
    facts: Facts
    choice: Choice
    notes: t.Tuple[str, ...]
    warnings: t.Tuple[str, ...]  # in every run
    controller_ports: t.Tuple[int, ...]  # for the next run
    remarks: t.Tuple[str, ...]  # warnings in the first run that sees them
    chosen: Chosen
    by_ends: bool  # whether the remarks are about where this run comes from

    @property
    def interfaces(self) -> t.Tuple[str, ...]:
        """Names and patterns of the links that forward, also those of shared addresses (VRRP)."""
        wans = tuple(wan.interface for wan in self.gateway.wans)
        return wans + tuple(name for lan in with_twins(self.gateway).lans for name in lan.interfaces)


def want(gateway: Gateway, requested: str, foreign: str, known: Earlier, host: Sight) -> Wanted:
    """Raises GatewayError with every obstacle; read-only."""
    state = known.state
    earlier.refuse_items(state, gateway.instance)
    choice = select(host, requested, RULES.of(state).programs)
    facts = read_facts(host, gateway.managed_links)
    if gateway.serves:
        facts = replace(facts, resolvers=resolvers(host))
    facts = replace(facts, forwarding=_forwarding(gateway, host))
    theirs = [DECLARATION.of(other) for other in known.others if other.owner == "gateway"]
    others = [each for each in (declared.read(other.intent) for other in theirs) if each]
    found_ports = reach(host) if gateway.input == "protect" else Reach(None, ())
    cut = refusal(gateway.input_controller_ports, found_ports)
    try:
        last = DECLARATION.of(state) if gateway.choice == "keep" else Declaration()
        before = declared.around_of(last.intent)
        roles = [other.roles for other in theirs]
        resolved = resolve(
            gateway, facts, last.chosen, roles, others=others, before=before, is_check=lambda: not host.acting()
        )
    except GatewayError as error:
        found = _foreign_drops(choice, gateway, host) if foreign == "refuse" else []
        drops = drop_sentences(found, overruled(found, choice, host))
        raise GatewayError(*(drops + cut + error.problems)) from None
    gateway = only_sound(resolved.gateway)
    init = service.init_of(host)
    check_servable(gateway, init, host)
    check_measurable(gateway, init, host)
    found, shut = _foreign_drops(choice, gateway, host), _shut(choice, gateway, host)
    movable = overruled(found + shut, choice, host)
    if movable and requested == "auto":
        choice, movable = _overruling(*movable[0], host), []
        found, shut = _foreign_drops(choice, gateway, host), _shut(choice, gateway, host)
    drops = drop_sentences(found, movable)
    if drops and foreign == "refuse":
        raise GatewayError(*drops)
    if cut:
        raise GatewayError(*cut)
    kept = Kept((), DECLARATION.of(state).controller_ports)
    if gateway.input == "protect":
        kept = kept_open(gateway.input_controller_ports, kept.known, found_ports)
        gateway = replace(gateway, controller_ports=kept.ports)
    ruleset = compile_gateway(gateway)
    check_supported(ruleset, choice.backend)
    notes = resolved.notes + kept.notes
    if RULES.of(state).programs != choice.backend.programs:
        notes = ("backend {0}".format(choice.why), *notes)
    warnings = drops + resolved.warnings
    remarks = resolved.remarks + service.remarks(init, host) + _shut_sentences(shut, gateway, movable)
    remarks += through_vpn(gateway, facts, found_ports.ends)
    by_ends = is_vpn_at_stake(gateway, facts)
    return Wanted(gateway, ruleset, facts, choice, notes, warnings, kept.known, remarks, resolved.chosen, by_ends)


def _forwarding(gateway: Gateway, host: Sight) -> t.Tuple[str, ...]:
    """The families that this host forwards although no LAN lists a network of them, as LANs list others."""
    listed = forwarded_families(gateway)
    missing = [family for family in sysctl.GLOBAL if listed and family not in listed]
    return tuple(family for family in missing if sysctl.read(host, sysctl.GLOBAL[family]) == "1")


def _foreign_drops(choice: Choice, gateway: Gateway, host: Sight, hook: str = "forward") -> Drops:
    """Foreign drops in the families that this gateway forwards; other families are left alone."""
    families = ("inet", *forwarded_families(gateway))
    found = foreign_drops(choice.backend, host, hook)
    return [(table, chain) for table, chain in found if table.partition(" ")[0] in families]


def _shut(choice: Choice, gateway: Resolved, host: Sight) -> Drops:
    """Foreign drops of what LANs ask this host."""
    served = any(lan.services for lan in gateway.lans)
    return _foreign_drops(choice, gateway, host, "input") if served else []


def _shut_sentences(found: Drops, gateway: Resolved, movable: Drops) -> t.Tuple[str, ...]:
    """No error, because many a ruleset of a user's own accepts these questions, and its rules are not read."""
    served = [name for lan in gateway.lans if lan.services for name in lan.interfaces]
    return tuple(
        "table {0}: the policy of its chain {1} drops packets to this host, including those from served LANs; "
        "{2}".format(
            table,
            chain,
            "set backend=iptables"
            if (table, chain) in movable
            else "accept there, from {0}: UDP ports 53, 67 and 547, TCP port 53, and the ICMPv6 type "
            "nd-router-solicit".format(", ".join(served)),
        )
        for table, chain in found
    )


def _overruling(table: str, chain: str, host: Sight) -> Choice:
    """Switch to iptables if it now drops what an nftables table accepts: Docker or ufw was installed later."""
    why = "chain {1} of table {0} drops packets, which an nftables table cannot overrule".format(table, chain)
    return replace(select(host, "iptables", ""), why=why)


def overruled(drops: Drops, choice: Choice, host: Sight) -> Drops:
    """Those that would not drop what we accept if our rules were on iptables."""
    if not drops or choice.backend.name != "nftables":
        return []
    theirs = dropping(host)
    return [each for each in drops if each in theirs]


def drop_sentences(found: Drops, movable: Drops) -> t.Tuple[str, ...]:
    """An nftables table cannot overrule another one's drop: an accept ends only its own base chain (measured).

    ``movable``: those that iptables can overrule.
    """
    return tuple(
        "table {0}: the policy of its chain {1} drops forwarded packets; {2}, or accept them there and set "
        "foreign_drops=warn".format(
            table,
            chain,
            "set backend=iptables" if (table, chain) in movable else "set its policy to accept",
        )
        for table, chain in found
    )


def scene_of(wanted: Wanted, known: Earlier, host: Sight) -> Scene:
    """What the parts of a gateway may have to know."""
    instance, backend = wanted.gateway.instance, wanted.choice.backend
    listing = backend.read(host, instance)
    rows = backend.render(wanted.ruleset)
    check_native(backend, listing, rows, RULES.of(known.state).rows, host)
    return Scene(
        instance,
        backend,
        listing,
        Plan(backend.parse(listing, instance), rows),
        facts=wanted.facts,
        init=service.init_of(host),
        interfaces=wanted.interfaces,
        others=known.others,
        same=RULES.of(known.state).rows == rows,
        fresh=known.state is None,
        since=known.since,
    )


def state_of(
    wanted: Wanted, parts: Parts, scene: Scene, known: Earlier, host: Sight
) -> t.Tuple[State, t.Tuple[str, ...]]:
    """The state to come, and notes of the parts."""
    was = known.state or known.salvaged(parts, host)
    wishes = [(part, *part.want(wanted.gateway, part.of(was), scene, host)) for part in parts]
    # What this run found around the gateway is not a change if no rule depends on it.
    before = DECLARATION.of(known.state).intent
    intent = before if before and scene.same else forgetting.encoded(wanted.gateway)
    held = parts_of(
        (DECLARATION, _declaration(wanted, intent, known)), *((part, value) for part, value, _notes in wishes)
    )
    return State(scene.instance, "gateway", held), tuple(note for _part, _value, told in wishes for note in told)


def _declaration(wanted: Wanted, intent: t.Any, known: Earlier) -> Declaration:
    gateway = wanted.gateway
    wans = tuple(wan.interface for wan in gateway.wans)
    lans = tuple(sorted((lan.name, lan.interfaces) for lan in with_twins(gateway).lans))
    theirs = [name for other in known.others for name in DECLARATION.of(other).roles.links]
    closed = gateway.around.ways_out if gateway.undeclared == "drop" else ()
    return Declaration(
        tuple(describe_gateway(gateway)),
        wanted.interfaces,
        Neighbour(gateway.instance, lans, wans, tuple(sorted((lan.name, lan.networks) for lan in gateway.lans))),
        tuple(name for name in closed if not matches_any(theirs, name)),
        wanted.chosen,
        wanted.controller_ports,
        intent,
    )
