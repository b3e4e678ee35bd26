# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""The orchestration: every module that changes something takes these steps, in this order.

resolve → compile → supported? → render → read → plan → (check mode ends here)
→ load rules → set switches → re-read → write state

Forwarding is turned on only after the rules have loaded, and off before they are removed. If a step fails, all earlier
steps are undone, and the error says so.
"""

from __future__ import annotations

import json
import shlex
import typing as t
from dataclasses import dataclass, field, replace

from . import (
    _conntrack as conntrack,
    _forgetting as forgetting,
    _helpers as helpers,
    _journal as journal,
    _links as links,
    _origin as origin,
    _persist as persist,
    _proving as proving,
    _rollback as rollback,
    _service as service,
    _shut as shutting,
    _sysctl as sysctl,
)
from ._backend.select import all_backends, by_programs, select
from ._choice import NOTHING
from ._compile import compile_gateway, compile_item, turn_of
from ._controller import Kept, Reach, kept_open, reach, refusal
from ._declaration import DECLARATION, Declaration
from ._describe import describe_gateway, describe_item, is_cut
from ._errors import GatewayError, Problems
from ._facts import read_facts
from ._features import check_supported
from ._groups import Groups
from ._helpers import MODULES, Modules
from ._host import check_root
from ._intent import Neighbour
from ._links import LINKS
from ._part import FOLDER, NOTHING as NOTHING_TO_DO, Scene, parts_of, stem
from ._parts import PARTS
from ._plan import RULES, Loaded, Plan, replace_key
from ._resolve import forwarded_families, resolve, resolve_item
from ._rfc import given_up
from ._state import SALVAGED, State
from ._sysctl import SWITCHES, Held
from ._values import check_instance

if t.TYPE_CHECKING:  # pragma: no cover
    from ._backend.base import Backend
    from ._backend.select import Choice
    from ._choice import Chosen
    from ._facts import Facts
    from ._host import Host, Sight
    from ._intent import Forwarding, Gateway, Item
    from ._part import Delta, Kind
    from ._plan import Row, Rows
    from ._rollback import Confirmation
    from ._rules import RuleSet


#: The nftables tables in which iptables-nft keeps its rules.
IPTABLES_OWN = ("ip filter", "ip6 filter")


AS_BEFORE = "the host is as it was before"


@dataclass(frozen=True)
class Change:
    """Everything that a call will do. It is a value: check mode reports it, a normal run carries it out."""

    instance: str
    backend: t.Optional[Backend]
    plan: Plan
    targets: sysctl.Switches  # every required switch, in the order of writing
    switches: t.Tuple[sysctl.Change, ...]  # switches that have another value now
    state: t.Optional[State]  # None: nothing of this instance remains
    files: t.Mapping[str, t.Tuple[str, int]]
    outdated: t.Tuple[str, ...]
    stale: t.Tuple[str, ...]
    rewritten: t.Tuple[str, ...] = ()  # outdated files that exist
    enable: bool = False
    init: t.Optional[service.Init] = None
    retired: t.Tuple[t.Tuple[Backend, Rows], ...] = ()  # earlier backends of this instance, and the rows left on them
    notes: t.Tuple[str, ...] = ()
    why: str = ""
    old: t.Optional[State] = None
    drifted: bool = False  # somebody has changed what was applied
    flows: int = 0  # connections that the change makes wrong and deletes
    deltas: t.Mapping[str, Delta] = field(default_factory=dict)  # of the parts that have something to do
    scene: Scene = field(default_factory=lambda: Scene(""))
    back: str = ""  # shell that a rollback runs for connections that began under the change
    owing: str = ""  # what lets a later run delete connections if this one dies

    @property
    def cuts(self) -> bool:
        """Whether it may cut somebody off; files alone do not."""
        parts = any(delta.cuts for delta in self.deltas.values())
        return any((self.plan.changed, self.switches, self.retired, parts))

    @property
    def changed(self) -> bool:
        return any((self.cuts, self.outdated, self.stale, self.enable, self.flows, self.deltas))

    def delta(self, part: Kind[t.Any]) -> Delta:
        return self.deltas.get(part.name, NOTHING_TO_DO)

    @property
    def links(self) -> links.Steps:
        """The addresses that come and go."""
        found: t.Optional[links.Steps] = self.delta(LINKS).do
        return found or links.Steps()


@dataclass(frozen=True)
class Result:
    change: Change
    warnings: t.Tuple[str, ...] = ()
    values: t.Mapping[str, t.Any] = field(default_factory=dict)
    remarks: t.Tuple[str, ...] = ()  # warnings in the first run that sees them

    def to_dict(self, verbose: bool = False) -> t.Dict[str, t.Any]:
        """``verbose``: --diff also shows every changed rule."""
        change = self.change
        described = {
            "changed": change.changed,
            "instance": change.instance,
            "backend": {
                "name": change.backend.name if change.backend else "none",
                "programs": change.backend.programs if change.backend else "",
                "why": change.why,
            },
            "notes": list(change.notes),
            "differences": _differences(change),
            "diff": _diff(change, verbose),
        }
        described.update(self.values)
        if self.warnings:
            described["warnings"] = list(self.warnings)
        if self.remarks:
            described["remarks"] = list(self.remarks)
        return described


@dataclass(frozen=True)
class Wanted:
    """A gateway that is possible on this host, and how to apply it."""

    gateway: Gateway
    ruleset: RuleSet
    facts: Facts
    choice: Choice
    old: t.Optional[State]
    notes: t.Tuple[str, ...]
    warnings: t.Tuple[str, ...]  # in every run
    controller_ports: t.Tuple[int, ...]  # for the next run
    remarks: t.Tuple[str, ...]  # warnings in the first run that sees them
    chosen: Chosen


def _want(
    gateway: Gateway, requested: str, foreign: str, state: t.Optional[State], others: t.Sequence[State], host: Sight
) -> Wanted:
    """Raises GatewayError with every obstacle; read-only."""
    if state and state.owner != "gateway":
        raise GatewayError(
            "instance: '{0}' holds single items ({1}); remove them with one run with state=absent, or choose another "
            "instance".format(gateway.instance, ", ".join(_held(state)))
        )
    choice = select(host, requested, RULES.of(state).programs)
    facts = read_facts(host)
    neighbours = [DECLARATION.of(other).roles for other in others if other.owner == "gateway"]
    found_ports = reach(host) if gateway.input == "protect" else Reach(None, ())
    cut = refusal(gateway.input_controller_ports, found_ports)
    try:
        known = DECLARATION.of(state).chosen if gateway.choice == "keep" else NOTHING
        resolved = resolve(gateway, facts, known, neighbours)
    except GatewayError as error:
        drops = _drops(_foreign_drops(choice, gateway, host)) if foreign == "refuse" else ()
        raise GatewayError(*(drops + cut + error.problems)) from None
    gateway = resolved.gateway.only_sound()
    found = _foreign_drops(choice, gateway, host)
    overruling = _overruling(choice, requested, found, host)
    if overruling is not choice:
        choice, found = overruling, _foreign_drops(overruling, gateway, host)
    drops = _drops(found)
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
    return Wanted(
        gateway,
        ruleset,
        facts,
        choice,
        state,
        notes,
        drops + resolved.warnings,
        kept.known,
        resolved.remarks,
        resolved.chosen,
    )


def waiting(params: t.Mapping[str, t.Any], host: Sight) -> t.Optional[Confirmation]:
    """The confirmation that a change awaits, as option ``confirm_timeout`` says, after waiting for others as option
    ``wait`` says.

    Raises GatewayError if a value is invalid.
    """
    problems = Problems()
    for name in ("confirm_timeout", "wait"):
        if not 0 <= params[name] <= 3600:
            problems.add(name, "{0} is not a number of seconds from 1 to 3600; 0 turns it off".format(params[name]))
    problems.raise_if_any()
    rollback.await_others(params["wait"], host)
    seconds = params["confirm_timeout"]
    return rollback.waiting(seconds, rollback.answering(host)) if seconds else None


def apply_gateway(
    gateway: Gateway,
    requested: str,
    host: Sight,
    problems: t.Tuple[str, ...] = (),
    confirmation: t.Optional[Confirmation] = None,
    foreign: str = "refuse",
    proof: str = "off",
) -> Result:
    """Make the host this gateway, and remove what the instance no longer declares.

    ``problems`` were found without the host; they are reported together with those found on it.
    """
    _finish_decided(gateway.instance, host)
    try:
        check_root(host)
        state, others = persist.read_state(host, gateway.instance), _others(host, gateway.instance)
        wanted = _want(gateway, requested, foreign, state, others, host)
    except GatewayError as error:
        if not problems:
            raise
        raise GatewayError(*dict.fromkeys(problems + error.problems)) from None
    if problems:
        raise GatewayError(*problems)
    gateway, ruleset, facts, choice = wanted.gateway, wanted.ruleset, wanted.facts, wanted.choice
    wans = [wan.interface for wan in gateway.wans or ()]
    inside = [name for lan in gateway.lans or () for name in lan.interfaces]
    if not state:
        conntrack.load(host)
    tracking, notes = conntrack.switches(gateway.conntrack_max, gateway.timeouts, host)
    _check_agreed(tracking, others)
    forwarding = sysctl.gateway_switches(
        forwarded_families(gateway), wans, inside, host, facts, SWITCHES.of(state).values
    )
    switches = sysctl.in_order(dict(tuple(tracking) + forwarding))
    rows = choice.backend.render(ruleset)
    scene = Scene(
        gateway.instance,
        choice.backend,
        facts=facts,
        init=service.init_of(host),
        others=tuple(others),
        same=RULES.of(state).rows == rows,
    )
    known = state or persist.salvaged(host, gateway.instance)
    wishes = [(part, *part.want(gateway, part.of(known), scene, host)) for part in PARTS]
    # What this run found around the gateway is not a change if no rule depends on it.
    before = DECLARATION.of(state).intent
    remembered = before if before and scene.same else forgetting.encoded(gateway)
    change = _change(
        host,
        gateway.instance,
        choice=choice,
        old=state,
        new=State(
            gateway.instance,
            "gateway",
            parts_of(
                (DECLARATION, _declaration(wanted, remembered)),
                (MODULES, Modules(tuple(helpers.modules_for(item.name for item in gateway.helpers)))),
                (RULES, Loaded(choice.backend.programs, rows)),
                *((part, value) for part, value, _notes in wishes),
                (SWITCHES, Held(sysctl.lasting(switches, SWITCHES.of(state).values, host))),
            ),
        ),
        facts=facts,
        targets=switches,
        notes=wanted.notes + notes + tuple(note for _part, _value, told in wishes for note in told),
        others=others,
    )
    if change.plan.changed:
        helpers.check_known([item.name for item in gateway.helpers], host)
        if gateway.offload != "none":
            choice.backend.check_offload(host)
    pending = _pending(change, confirmation)
    compiled = (ruleset, gateway)
    connections = forgetting.Forgetting(
        gateway.instance, before, remembered, not others, host, compiled=compiled, facts=facts
    )
    proven = proving.Proving(proof, before, remembered)
    change, warnings = _with_connections(change, connections, host, pending, proven)
    values = dict(_gateway_values(gateway, facts), **_pending_values(pending, host))
    if proven.report:
        values["proof"] = proven.record(host)
        change = replace(change, notes=change.notes + proven.notes)
    return Result(change, wanted.warnings + warnings + _sysctl_warnings(switches, host), values, remarks=wanted.remarks)


def _declaration(wanted: Wanted, intent: t.Any) -> Declaration:
    gateway = wanted.gateway
    wans = tuple(wan.interface for wan in gateway.wans or ())
    lans = tuple((lan.name, lan.interfaces) for lan in gateway.lans or ())
    return Declaration(
        tuple(describe_gateway(gateway)),
        wans + tuple(name for _lan, names in lans for name in names),
        Neighbour(gateway.instance, tuple(sorted(lans)), wans),
        wanted.chosen,
        wanted.controller_ports,
        intent,
    )


def _with_connections(
    change: Change,
    connections: forgetting.Forgetting,
    host: Sight,
    pending: t.Optional[Confirmation],
    proven: t.Optional[proving.Proving] = None,
) -> t.Tuple[Change, t.Tuple[str, ...]]:
    """Carry out a change, and delete connections that it makes wrong, now or after confirmation, or those of a
    rollback.
    """
    affected = change.changed or connections.owed
    found: t.List[conntrack.Found] = []

    def look() -> conntrack.Found:
        # A pending change is rolled back at its deadline, and the confirmation needs time, too.
        longest = min(conntrack.LONGEST, pending.seconds / 4) if pending else conntrack.LONGEST
        found.append(connections.found(change.links, change.drifted, longest))
        return found[-1]

    back = connections.back(change.links) if change.changed else Groups()
    change = replace(
        change,
        back=conntrack.commands(back.words, change.instance, back.left),
        owing="" if pending else connections.owing(),
    )
    aftermath = Aftermath(
        lambda: conntrack.script(look(), change.instance), lambda host: connections.undone(change.links, host)
    )
    warnings = _carry_out(change, host, pending, aftermath, proven)
    if affected and not found:
        look()
    for each in found:
        acting = None if pending else host.acting()
        warnings += connections.forget(each, acting) if acting else forgetting.warnings(each)
    if pending and change.back and not host.which("conntrack"):
        warnings += (
            "conntrack is not installed: if this change is rolled back, connections that began under it stay; "
            "install the package conntrack (conntrack-tools)",
        )
    return replace(change, flows=sum(each.count for each in found)), warnings


def _finish_decided(instance: str, host: Sight) -> None:
    """Finish a first change that was decided before a power failure, when no loader existed to finish it."""
    commit = stem(instance) + persist.COMMIT
    if not host.is_root() or not host.exists(commit) or host.exists(rollback.folder_of(instance)):
        return
    acting = host.acting()
    done = acting.run(["sh", commit]) if acting else None
    if done and done.rc != 0:
        raise GatewayError("{0}: an earlier change could not be finished: {1}".format(commit, done.err.strip()))


def _foreign_drops(choice: Choice, gateway: Gateway, host: Sight) -> t.List[t.Tuple[str, str]]:
    """Foreign drops in the families that this gateway forwards; other families are left alone."""
    families = ("inet", *forwarded_families(gateway))
    found = choice.backend.foreign_drops(host)
    return [(table, chain) for table, chain in found if table.partition(" ")[0] in families]


def _overruling(choice: Choice, requested: str, drops: t.Iterable[t.Tuple[str, str]], host: Sight) -> Choice:
    """Switch to iptables if it now drops what an nftables table accepts: Docker or ufw was installed later."""
    if requested != "auto" or choice.backend.name != "nftables":
        return choice
    for table, chain in drops:
        if table in IPTABLES_OWN:
            why = "chain {1} of table {0} drops packets, which an nftables table cannot overrule".format(table, chain)
            return replace(select(host, "iptables", ""), why=why)
    return choice


def _drops(found: t.Iterable[t.Tuple[str, str]]) -> t.Tuple[str, ...]:
    """An nftables table cannot overrule another one's drop: an accept ends only its own base chain (measured)."""
    return tuple(
        "table {0}: the policy of its chain {1} drops forwarded packets; {2}, or accept them there and set "
        "foreign_drops=warn".format(
            table, chain, "set backend=iptables" if table in IPTABLES_OWN else "give that chain the policy accept"
        )
        for table, chain in found
    )


def _pending(change: Change, confirmation: t.Optional[Confirmation]) -> t.Optional[Confirmation]:
    """Await confirmation, but not if only files change, because these cut nobody off."""
    return confirmation if change.cuts else None


def _pending_values(pending: t.Optional[Confirmation], host: Sight) -> t.Dict[str, t.Any]:
    if not pending or not host.acting():
        return {}
    return {
        "pending": {
            "token": pending.token,
            "seconds": pending.seconds,
            "until": pending.until,
            "host": pending.host,
        }
    }


def _check_agreed(tracking: t.Iterable[t.Tuple[str, str]], others: t.Iterable[State]) -> None:
    """All instances share connection tracking; with different settings, they would undo each other in every run."""
    problems = Problems()
    for other in others:
        for key, value in tracking:
            theirs = dict(SWITCHES.of(other).values).get(key, value)
            if theirs != value:
                problems.add(
                    conntrack.option_of(key),
                    "is {0} here and {1} in instance '{2}'; the host has only one value, use the same in both".format(
                        value, theirs, other.instance
                    ),
                )
    problems.raise_if_any()


def apply_item(
    instance: str,
    item: Item,
    present: bool,
    requested: str,
    host: Sight,
    confirmation: t.Optional[Confirmation] = None,
) -> Result:
    """Add, replace or remove the rows of one item, and leave those of other items unchanged."""
    check_root(host)
    _finish_decided(instance, host)
    state = persist.read_state(host, instance)
    _refuse_gateway_instance(state, instance)
    choice = select(host, requested, RULES.of(state).programs)
    _refuse_second_backend(state, choice.backend)
    warnings = _drops(choice.backend.foreign_drops(host)) if present else ()
    notes: t.Tuple[str, ...] = ()
    facts = read_facts(host) if present else None
    if facts:
        item, notes = resolve_item(item, facts)
    ruleset = compile_item(instance, item)
    check_supported(ruleset, choice.backend)
    listing = choice.backend.read(host, instance)
    rendered = choice.backend.render(ruleset) if present else ()
    others = _declared_rows(state, choice.backend.parse(listing, instance))
    known = _with_frame(choice.backend, others, rendered)
    desired = _without_empty_frame(choice.backend, _in_turn(known, item.key, rendered, choice.backend))
    declared = DECLARATION.of(state)
    lines = tuple(line for line in declared.lines if not line.startswith(item.key + ":"))
    if present:
        lines += ("{0}: {1}".format(item.key, describe_item(item)),)
    switches = SWITCHES.of(state)
    before = declared.intent
    after = forgetting.encoded_items(before, item, present)
    new = None
    if desired or switches.values:
        new = State(
            instance,
            "items",
            parts_of(
                (DECLARATION, Declaration(lines=tuple(sorted(lines)), intent=after)),
                (RULES, Loaded(choice.backend.programs if desired else "", desired)),
                (SWITCHES, switches),
            ),
        )
    around = _others(host, instance)
    change = _change(host, instance, choice=choice, old=state, new=new, notes=notes, listing=listing, others=around)
    pending = _pending(change, confirmation)
    connections = forgetting.Forgetting(instance, before, after, not around, host, facts=facts)
    change, more = _with_connections(change, connections, host, pending)
    return Result(change, warnings + more, _pending_values(pending, host))


def _in_turn(known: Rows, key: str, rendered: Rows, backend: Backend) -> Rows:
    """Replace an item's rows chain by chain, so that the order of application does not matter."""

    def turn_of_row(row: Row) -> int:
        return turn_of(row.key, backend.drops(row))

    rows: t.List[Row] = []
    for turn in range(3):
        mine, others = (tuple(row for row in some if turn_of_row(row) == turn) for some in (rendered, known))
        rows += replace_key(others, key, mine)
    return tuple(sorted(rows, key=lambda row: (row.chain, turn_of_row(row))))


def apply_switches(
    instance: str,
    wanted: t.Optional[Forwarding],
    host: Sight,
    confirmation: t.Optional[Confirmation] = None,
) -> Result:
    """Set forwarding switches now and at every boot; None: restore what this instance has set."""
    check_root(host)
    _finish_decided(instance, host)
    state = persist.read_state(host, instance)
    switches: sysctl.Switches = ()
    repairs: sysctl.Switches = ()
    if wanted:
        switches, repairs = sysctl.forwarding_switches(wanted, host, read_facts(host))
    if state and state.owner == "gateway":
        other = [key for key, value in switches if (key, value) not in SWITCHES.of(state).values]
        if other or not wanted:
            raise GatewayError(
                "instance: '{0}' is managed by the gateway module, which sets {1}; use another instance".format(
                    instance, ", ".join(other) or "its own switches"
                )
            )
    others = _others(host, instance)
    known = SWITCHES.of(state)
    held = sysctl.in_order({**(dict(known.values) if wanted else {}), **dict(switches)})
    new = (state or State(instance, "items")).holding(SWITCHES, replace(known, values=held))
    if not RULES.of(new).rows and not held:
        change = _change(host, instance, choice=None, old=state, new=None, others=others)
        return _switches_result(change, switches, host, confirmation)
    targets = sysctl.in_order(dict(repairs + held))
    change = _change(host, instance, choice=None, old=state, new=new, targets=targets, others=others)
    return _switches_result(change, switches, host, confirmation)


def _switches_result(
    change: Change,
    switches: sysctl.Switches,
    host: Sight,
    confirmation: t.Optional[Confirmation],
) -> Result:
    pending = _pending(change, confirmation)
    warnings = _carry_out(change, host, pending)
    others = sysctl.other_writers(switches, host, _own_files(host))
    values = {
        "switches": [{"key": each.key, "before": each.before, "after": each.after} for each in change.switches],
        "overridden_by": [
            {"file": other.file, "line": other.line, "key": other.key, "value": other.value} for other in others
        ],
        **_pending_values(pending, host),
    }
    return Result(change, warnings + _other_sentences(others), values)


def remove_instance(instance: str, host: Sight, confirmation: t.Optional[Confirmation] = None) -> Result:
    """Restore rules, switches, files and service to their state before the first run."""
    check_root(host)
    problems = Problems()
    check_instance(instance, problems)
    problems.raise_if_any()
    _finish_decided(instance, host)
    state, warnings = _state_to_remove(instance, host)
    choice = None
    if RULES.of(state).programs:
        choice = select(host, "auto", RULES.of(state).programs)
    before = DECLARATION.of(state).intent
    facts = read_facts(host) if LINKS.of(state) or before else None
    others = _others(host, instance)
    change = _change(host, instance, choice=choice, old=state, new=None, facts=facts, others=others)
    pending = _pending(change, confirmation)
    connections = forgetting.Forgetting(instance, before, None, not others, host, facts=facts)
    change, more = _with_connections(change, connections, host, pending)
    return Result(change, warnings + _strange_sentences(state) + more, _pending_values(pending, host))


def _strange_sentences(state: t.Optional[State]) -> t.Tuple[str, ...]:
    if not state or not state.strange:
        return ()
    return (
        "{0}.json: a later version of ipmasq.linux has set up {1}, which this version does not know and cannot remove; "
        "remove the instance with that version".format(stem(state.instance), ", ".join(state.strange)),
    )


def _state_to_remove(instance: str, host: Sight) -> t.Tuple[t.Optional[State], t.Tuple[str, ...]]:
    """The state to remove. If it is damaged, it is read from the other files, with a warning about what is lost."""
    try:
        state = persist.read_state(host, instance)
    except GatewayError:
        state = None
    if state:
        return state, ()
    left = persist.salvaged(host, instance)
    if not left:
        return None, ()
    # Which kernel chains existed before is unknown, too, so all of them stay.
    chains = tuple(chain for backend in all_backends(host) for chain in backend.base_chains(host))
    switches = SWITCHES.of(left).values
    first = sysctl.beginnings(switches)
    left = left.holding(SWITCHES, Held(switches, first)).holding(RULES, Loaded(base_chains=chains))
    return left, (_lost_sentence(instance, first),)


def _lost_sentence(instance: str, first: t.Mapping[str, str]) -> str:
    """The warning about a damaged or lost state file."""
    values = ", ".join("{0} = {1}".format(*each) for each in sorted(first.items()))
    return (
        "{0}.json: was damaged or lost, including the values of switches before the first run; they now have the "
        "kernel's defaults: {1}".format(stem(instance), values or "none")
    )


def _held(state: State) -> t.List[str]:
    """An instance's items, named by the modules that made them."""
    items = sorted({row.key for row in RULES.of(state).rows if "/" in row.key})
    return items + ["forwarding"] * bool(SWITCHES.of(state).values)


def _refuse_gateway_instance(state: t.Optional[State], instance: str) -> None:
    if state and state.owner == "gateway":
        raise GatewayError(
            "instance: '{0}' is managed by the gateway module, which removes what it does not declare; "
            "declare this item there, or choose another instance".format(instance)
        )


def _refuse_second_backend(state: t.Optional[State], backend: Backend) -> None:
    """Rows cannot be converted between backends, so the items of an instance share one."""
    known = RULES.of(state)
    if state and known.rows and known.programs != backend.programs:
        raise GatewayError(
            "backend: the items of instance '{0}' use {1}, but this one would use {2}; leave backend out, "
            "or choose another instance".format(state.instance, known.programs, backend.programs)
        )


def _declared_rows(state: t.Optional[State], live: Rows) -> Rows:
    """The rows of all items so far. If the state file is lost, the live rows that carry an item's name."""
    return RULES.of(state).rows if state else tuple(row for row in live if row.key)


def _live(backend: Backend, host: Sight, instance: str) -> Rows:
    return backend.parse(backend.read(host, instance), instance)


def _with_frame(backend: Backend, rows: Rows, rendered: Rows) -> Rows:
    """These rows, preceded by the chains and jumps that the rendered ones need."""
    frame = [row for row in rendered if backend.is_frame(row)]
    chains = {row.chain for row in frame}
    others = [row for row in rows if not (row.chain in chains and backend.is_frame(row))]
    return tuple(frame + others)


def _without_empty_frame(backend: Backend, rows: Rows) -> Rows:
    """No rows if only chains and jumps remain."""
    return rows if any(not backend.is_frame(row) for row in rows) else ()


def _change(
    host: Sight,
    instance: str,
    *,
    choice: t.Optional[Choice],
    old: t.Optional[State],
    new: t.Optional[State],
    targets: sysctl.Switches = (),
    notes: t.Tuple[str, ...] = (),
    listing: t.Optional[str] = None,
    facts: t.Optional[Facts] = None,
    others: t.Sequence[State],
) -> Change:
    """The difference between the host and a new state (None: no state at all)."""
    rules, desired = RULES.of(old), RULES.of(new)
    backend = choice.backend if choice else (by_programs(host, rules.programs) if rules.programs else None)
    if listing is None and backend and choice:
        listing = backend.read(host, instance)
    live = backend.parse(listing, instance) if backend and listing is not None else rules.rows
    restored = _restored(others, old, new)
    if new:
        known = rules.base_chains if old and rules.programs == desired.programs else None
        chains = backend.base_chains(host) if backend and known is None else known
        for other in others:
            # What another instance created did not exist before, although it does now.
            theirs = RULES.of(other)
            if desired.programs and theirs.programs == desired.programs:
                chains = tuple(chain for chain in chains or () if chain in theirs.base_chains)
        desired = replace(desired, base_chains=chains or ())
        switched = replace(SWITCHES.of(new), before=_before(host, instance, old, new, others))
        new = new.holding(RULES, desired).holding(SWITCHES, switched)
        new = persist.signed(replace(new, unknown=old.unknown if old else {}), old, host)
    targets = restored + (targets or SWITCHES.of(new).values)
    files = persist.files_of(new, backend, host) if new else {}
    outdated = tuple(persist.outdated(files, host))
    init = service.init_of(host)
    scene = Scene(instance, backend, listing, facts, init, tuple(others))
    deltas = {part.name: part.plan(part.of(old), part.of(new), scene, host) for part in PARTS}
    return Change(
        instance=instance,
        backend=backend,
        plan=Plan(live, desired.rows),
        targets=targets,
        switches=sysctl.changes(targets, host, loads=bool(new and not live)),
        state=new,
        files=files,
        outdated=outdated,
        rewritten=tuple(path for path in outdated if host.exists(path)),
        stale=tuple(persist.stale_files(new, instance, files, host)),
        enable=bool(new and init and not service.is_enabled(init, host)),
        init=init,
        retired=_retired(host, instance, old, backend),
        notes=notes,
        why=choice.why if choice else "",
        old=old,
        drifted=old is not None and Plan(live, rules.rows).changed,
        deltas={name: delta for name, delta in deltas.items() if delta.do is not None},
        scene=scene,
    )


def _before(
    host: Sight, instance: str, old: t.Optional[State], new: State, others: t.Iterable[State]
) -> t.Dict[str, str]:
    """The switches before the first run of any instance: the oldest value that any instance knows.

    Only switches new to this instance are looked up, so that an interface that comes and goes changes nothing.
    """
    earlier = SWITCHES.of(old)
    known = dict(earlier.values)
    before = sysctl.snapshot([key for key, _value in SWITCHES.of(new).values if key not in known], host)
    for other in others:
        before.update({key: value for key, value in SWITCHES.of(other).before.items() if key in before})
    lost = None if old else persist.salvaged(host, instance)
    if lost:
        # These now have our values, and so have the switches that they change.
        begun = sysctl.beginnings(tuple(each for each in SWITCHES.of(lost).values if each[0] in before))
        altered = sysctl.altered_by(begun, before)
        before = {**{key: value for key, value in before.items() if key not in altered}, **begun}
    dropped = sysctl.altered_by(_dropped(old, new), earlier.before)
    before.update({key: value for key, value in earlier.before.items() if key not in dropped})
    return before


def _restored(others: t.Iterable[State], old: t.Optional[State], new: t.Optional[State]) -> sysctl.Switches:
    """The first values of switches that this instance no longer sets, except those that another instance sets."""
    first = SWITCHES.of(old).before
    needed = {key for other in others for key in SWITCHES.of(other).before}
    dropped = sysctl.altered_by(_dropped(old, new), first) if new else set(first)
    return sysctl.restoring({key: first[key] for key in dropped if key not in needed})


def _dropped(old: t.Optional[State], new: t.Optional[State]) -> t.Set[str]:
    kept = dict(SWITCHES.of(new).values)
    return {key for key, _value in SWITCHES.of(old).values if key not in kept}


def _others(host: Sight, instance: str) -> t.List[State]:
    """The other instances of this host."""
    states = [persist.read_state(host, name) for name in persist.instances(host) if name != instance]
    return [state for state in states if state]


def _retired(
    host: Sight, instance: str, old: t.Optional[State], backend: t.Optional[Backend]
) -> t.Tuple[t.Tuple[Backend, Rows], ...]:
    """Rules of this instance on another backend: the previous one, or what a lost state file left."""
    if old and old.owner == SALVAGED:
        old = None
    programs = RULES.of(old).programs
    if old and (not programs or not backend or programs == backend.programs):
        return ()
    if old:
        former = by_programs(host, programs)
        listed = [(former, _live(former, host, instance))]
    else:
        listed = [(other, _left_on(other, host, instance)) for other in all_backends(host)]
    return tuple(
        (other, rows) for other, rows in listed if rows and (not backend or other.programs != backend.programs)
    )


def _left_on(backend: Backend, host: Sight, instance: str) -> Rows:
    """The rows that a backend holds for us; none if it cannot be asked, because it need not be in use."""
    try:
        return _live(backend, host, instance)
    except GatewayError:
        return ()


class Aftermath(t.NamedTuple):
    """What happens to connections."""

    # Called once the new rules are loaded: the shell text for when a pending change is kept.
    kept: t.Callable[[], str] = lambda: ""
    # Called once the old rules are loaded again.
    undone: t.Callable[[Host], None] = lambda _host: None


def _carry_out(
    change: Change,
    sight: Sight,
    pending: t.Optional[Confirmation] = None,
    aftermath: t.Optional[Aftermath] = None,
    proven: t.Optional[proving.Proving] = None,
) -> t.Tuple[str, ...]:
    """Carry out a change; everything that writes is below here. Returns warnings."""
    if not change.changed:
        return ()
    sysctl.check_writable(change.switches, sight)
    for part in PARTS:
        part.check(change.delta(part), sight)
    rollback.check_free(change.instance, sight)
    host = sight.acting()
    if not host:
        return ()
    proven = proven or proving.Proving()
    step = Transaction(change, host, pending, aftermath or Aftermath(), proven)
    try:
        warnings = step.run()
    except proving.Unproven as error:
        if not proven.excuses(error, host):
            raise
        warnings = step.run()
    return warnings + _boot_warnings(change, pending, host)


class Transaction:
    """A change as a whole, or not at all."""

    def __init__(
        self,
        change: Change,
        host: Host,
        pending: t.Optional[Confirmation],
        aftermath: Aftermath,
        proven: proving.Proving,
    ) -> None:
        self._change, self._host, self._pending = change, host, pending
        self._aftermath, self._proven = aftermath, proven
        self._by = origin.origin(host).words
        self._shut = shutting.shut_links(host)
        self._prepared = rollback.Prepared(_restoring(change, self._shut, host), _keeping(change))
        self._known: t.Optional[Confirmation] = None

    def run(self) -> t.Tuple[str, ...]:
        """Returns warnings. An error says whether the host is as it was before."""
        change, host = self._change, self._host
        self._known = None
        if change.cuts:
            self._proven.prepare(change.instance, host)
        try:
            self._known = rollback.arm(change.instance, self._pending, self._prepared, host)
            warnings = _apply(change, self._shut, host)
            rollback.check_armed(change.instance, self._known, host)
            _verify(change, host)
            _drop_base_chains(change, host)
            return warnings + self._prove() + self._keep(self._known)
        except BaseException as error:
            # Also a bug of ours, or the end of the process.
            failed = error if isinstance(error, GatewayError) else GatewayError("it was interrupted")
            failed.add(self._end(journal.failed(self._by, failed.problems)))
            raise

    def _prove(self) -> t.Tuple[str, ...]:
        """By packets, while the rollback is armed. Returns warnings."""
        if not self._change.cuts:
            return ()
        warnings = self._proven.after(self._pending.seconds if self._pending else None, self._host)
        if self._proven.report:
            record = json.dumps(self._proven.record(self._host))
            rollback.leave(self._change.instance, rollback.PROOF, record, self._host)
        return warnings

    def _keep(self, known: Confirmation) -> t.Tuple[str, ...]:
        """Keep the change, or let it be confirmed. Returns warnings."""
        said = journal.changed(self._by, _told(self._change), known.until)
        if not self._pending:
            return rollback.keep(self._change.instance, known, self._host, said)
        rollback.ready(self._change.instance, known, self._host, self._aftermath.kept())
        self._host.log(journal.line(self._change.instance, said))
        return ()

    def _end(self, why: str) -> str:
        """End a change that has failed; the journal gets the reason. Returns what the host is now, for the user."""
        change, host, known = self._change, self._host, self._known
        if not known or (self._untouched() and rollback.end_unmade(change.instance, known, host)):
            host.log(journal.line(change.instance, why))
            return AS_BEFORE
        try:
            left = rollback.take_back(change.instance, known, self._prepared, why, host)
        except GatewayError as error:
            left = "the host is not as it was before; inspect it: " + "; ".join(error.problems)
        if not left:
            self._aftermath.undone(host)
        return left or AS_BEFORE

    def _untouched(self) -> bool:
        """Whether the first load has failed as a whole. What held a lock may hold it longer than a rollback tries."""
        change, host = self._change, self._host
        if change.deltas or self._shut:
            return False
        try:
            switches = sysctl.changes(change.targets, host, loads=bool(change.state and not change.plan.live))
            rows = [Plan(_live(backend, host, change.instance), live) for backend, live, _desired in _loads(change)]
        except GatewayError:
            return False
        return switches == change.switches and not any(plan.changed for plan in rows)


def _drop_base_chains(change: Change, host: Host) -> None:
    for backend, _rows, desired in _loads(change):
        if not desired:
            backend.drop_base_chains(host, RULES.of(change.old).base_chains)


def _apply(change: Change, shut: shutting.Shut, host: Host) -> t.Tuple[str, ...]:
    """Make the change: forwarding last, or first if no rules remain. Returns warnings."""
    steps = (_load_rules, _make_parts, _set_switches)
    warnings = [warning for step in (steps if change.state else reversed(steps)) for warning in step(change, host)]
    # The loader had shut them because it could not load the rules.
    shutting.unshut(shut, host)
    return tuple(warnings)


def _restoring(change: Change, shut: shutting.Shut, host: Sight) -> rollback.Restoring:
    """The rollback as shell: rules, links and switches as they are now, in the order of the engine's steps."""
    files: t.Dict[str, str] = {}
    rules: t.List[str] = []
    for number, (backend, live, desired) in enumerate(_loads(change)):
        stem = "old{0}".format(number)
        files.update(
            {stem + ending: text for ending, text in backend.boot_files(live, change.instance, desired).items()}
        )
        rules += backend.boot_lines("./" + stem, change.instance)
        rules += backend.drop_lines(desired, backend.base_chains(host), change.instance)
    moves: t.List[str] = []
    for part in PARTS:
        shell = part.restore(change.delta(part), part.of(change.old), part.of(change.state), change.scene, host)
        moves += shell.lines
        files.update(shell.files)
    before = sysctl.snapshot([key for key, _value in change.targets], host) if change.switches else {}
    switches = [
        "[ ! -e {0} ] || echo {1} > {0}".format(shlex.quote("/proc/sys/" + key), value)
        for key, value in sysctl.restoring(before)
    ]
    was_there = bool(change.plan.live) or bool(change.retired)
    lines = rules + moves + switches if was_there else switches + rules + moves
    files.update({rollback.BACK: change.back} if change.back else {})
    return rollback.Restoring(tuple(shutting.restoring_lines(shut) + lines), files)


def _keeping(change: Change) -> rollback.Keeping:
    """Files and services, and what lets a later run delete connections if this one dies."""
    before, after = service.lines(change.init, change.outdated, change.stale, change.enable)
    for part in PARTS:
        after += part.settle(part.of(change.state), change.scene)
    return rollback.Keeping(
        commit=stem(change.instance) + persist.COMMIT,
        files={path: change.files[path] for path in change.outdated},
        stale=change.stale,
        before=before,
        after=after,
        folder="" if change.state else FOLDER,
        owing=change.owing,
    )


def _load_rules(change: Change, host: Host) -> t.Tuple[str, ...]:
    helpers.load(MODULES.of(change.state).names, host)
    for backend, live, desired in _loads(change):
        backend.load(host, backend.script(desired, live, change.instance))
    return ()


def _loads(change: Change) -> t.List[t.Tuple[Backend, Rows, Rows]]:
    loads = []
    if change.backend and change.plan.changed:
        loads.append((change.backend, change.plan.live, change.plan.desired))
    return loads + [(backend, rows, ()) for backend, rows in change.retired]


def _make_parts(change: Change, host: Host) -> t.Tuple[str, ...]:
    warnings: t.Tuple[str, ...] = ()
    for part in PARTS if change.state else reversed(PARTS):
        warnings += part.apply(change.delta(part), part.of(change.state), change.scene, host)
    return warnings


def _set_switches(change: Change, host: Host) -> t.Tuple[str, ...]:
    # Again, because loading rules may have added the switches of connection tracking.
    if sysctl.changes(change.targets, host):
        # All of them, because writing a global switch changes others.
        sysctl.write(change.targets, host)
    return ()


def _verify(change: Change, host: Sight) -> None:
    """Check that the kernel now has what was asked for."""
    if change.backend and change.plan.changed:
        left = Plan(_live(change.backend, host, change.instance), change.plan.desired)
        if left.changed:
            raise GatewayError(
                "{0}: the rules read back differ from those loaded: {1}".format(
                    change.backend.programs, "; ".join(left.differences(change.backend.show)[:3])
                )
            )
    if change.deltas:
        scene = _again(change, host)
        for part in PARTS:
            if part.name in change.deltas:
                part.verify(part.of(change.old), part.of(change.state), scene, host)
    wrong = sysctl.changes(change.targets, host)
    if wrong:
        raise GatewayError("{0}: is {1} again after writing {2}".format(wrong[0].key, wrong[0].before, wrong[0].after))


def _again(change: Change, host: Sight) -> Scene:
    """The scene after the change."""
    scene = change.scene
    listing = scene.backend.read(host, change.instance) if scene.backend else None
    return replace(scene, listing=listing, facts=read_facts(host) if scene.facts else None)


def _boot_warnings(change: Change, pending: t.Optional[Confirmation], host: Sight) -> t.Tuple[str, ...]:
    """Warnings about what will be wrong at the next boot."""
    if change.init and change.enable and not pending and not service.is_enabled(change.init, host):
        return ("the service ipmasq could not be enabled; nothing loads the rules at boot",)
    if change.state and not change.init:
        return (
            "this host has neither systemd nor OpenRC nor sysvinit; run 'sh {0}' from its boot scripts".format(
                persist.LOADER
            ),
        )
    return ()


def _own_files(host: Sight) -> t.Tuple[str, ...]:
    return tuple(persist.sysctl_file(name) for name in persist.instances(host))


def _sysctl_warnings(switches: sysctl.Switches, host: Sight) -> t.Tuple[str, ...]:
    return _other_sentences(sysctl.other_writers(switches, host, _own_files(host)))


def _other_sentences(others: t.Iterable[sysctl.Other]) -> t.Tuple[str, ...]:
    return tuple(
        "{0} line {1} sets {2} to {3}: applying that file undoes this; remove the line".format(
            other.file, other.line, other.key, other.value
        )
        for other in others
    )


def _differences(change: Change) -> t.List[str]:
    lines = _rule_lines(change)
    lines += ["~ {0}: {1} to {2}".format(each.key, each.before, each.after) for each in change.switches]
    lines += _lines_of_parts(change)
    lines += ["~ {0}: written".format(path) for path in change.outdated]
    lines += ["- {0}: removed".format(path) for path in change.stale]
    if change.enable:
        lines.append("+ service ipmasq: enabled")
    if change.flows:
        lines.append("- {0} connections that began under other rules: forgotten".format(change.flows))
    return lines + ["- the rules of {0}".format(backend.programs) for backend, _rows in change.retired]


def _told(change: Change) -> t.List[str]:
    """The differences for the journal: the declaration in words, or the rules if the words are the same."""
    before, after = DECLARATION.of(change.old).lines, DECLARATION.of(change.state).lines
    lines = ["- " + line for line in before if line not in set(after)]
    lines += ["+ " + line for line in after if line not in set(before)]
    if not lines:
        lines = _rule_lines(change)
    lines += ["~ {0}: {1} to {2}".format(each.key, each.before, each.after) for each in change.switches]
    lines += _lines_of_parts(change)
    return lines or ["files only"]


def _lines_of_parts(change: Change) -> t.List[str]:
    return [line for part in PARTS for line in change.delta(part).lines]


def _diff(change: Change, verbose: bool) -> t.Dict[str, str]:
    """The text for --diff: the gateway in words. Rules with -v, or if the words alone do not show the difference."""
    before, after = list(DECLARATION.of(change.old).lines), list(DECLARATION.of(change.state).lines)
    if not change.changed:
        before = after = []
    same = set(before) & set(after)
    unsaid = before == after or change.drifted or any(is_cut(line) for line in same)
    if change.plan.changed and (unsaid or verbose):
        for line in _rule_lines(change):
            (before if line.startswith("- ") else after).append("rule " + line[2:])
    for each in change.switches:
        before.append("{0} = {1}".format(each.key, each.before))
        after.append("{0} = {1}".format(each.key, each.after))
    for line in _lines_of_parts(change):
        (before if line.startswith("- ") else after).append(line[2:])
    before += ["file {0}".format(path) for path in change.rewritten]
    after += ["file {0}{1}".format(path, ", rewritten" * (path in change.rewritten)) for path in change.outdated]
    if change.enable:
        after.append("service ipmasq: enabled")
    before += ["file {0}".format(path) for path in change.stale]
    return {
        "before_header": "gateway " + change.instance,
        "after_header": "gateway " + change.instance,
        "before": "".join(line + "\n" for line in before),
        "after": "".join(line + "\n" for line in after),
    }


def _rule_lines(change: Change) -> t.List[str]:
    return change.plan.differences(change.backend.show) if change.backend else []


def _gateway_values(gateway: Gateway, facts: Facts) -> t.Dict[str, t.Any]:
    return {
        "rfc": [{"requirement": each.name, "why": each.why} for each in given_up(gateway)],
        "wans": [{"interface": wan.interface} for wan in gateway.wans or ()],
        "lans": [
            {
                "name": lan.name,
                "interfaces": list(lan.interfaces),
                "networks": list(lan.networks or ()),
                "reaches": list(lan.reaches),
                # Of this host: one of these is the next hop of the LAN's clients.
                "addresses": [
                    address for name in lan.interfaces for each in facts.meant_by(name) for address in each.addresses
                ],
            }
            for lan in gateway.lans or ()
        ],
    }
