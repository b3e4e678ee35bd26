# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Single items and switches, which their own modules add to an instance, replace and remove."""

from __future__ import annotations

import typing as t
from dataclasses import replace

from .._backend.features import check_supported
from .._backend.foreign import foreign_drops
from .._backend.iptables.native import check_native
from .._backend.select import by_programs, select
from .._base.errors import GatewayError
from .._facts.links import read_facts
from .._init import service
from .._intent.items import describe_item
from .._parts import sysctl
from .._parts.declaration import DECLARATION, Declaration
from .._parts.order import PARTS
from .._parts.part import Scene, parts_of
from .._parts.rules import RULES
from .._parts.switches import SWITCHES, sentences
from .._resolve.names import resolve_item
from .._rollback.meanwhile import planned_again
from .._rules.compile import compile_item, turn_of
from .._rules.rows import Plan, replace_key
from . import earlier, forgetting
from .carrying import Terms, carry_out
from .change import compare, is_fresh
from .confirming import awaited, pending_values
from .connections import with_connections
from .state import State
from .telling import Result
from .wanting import drop_sentences, overruled

if t.TYPE_CHECKING:  # pragma: no cover
    from .._backend.base import Backend
    from .._base.host import Sight
    from .._intent.forwarding import Forwarding
    from .._intent.items import Item
    from .._rollback.rollback import Confirmation
    from .._rules.rows import Row, Rows
    from .earlier import Earlier


@planned_again
def apply_item(
    instance: str,
    item: Item,
    present: bool,
    requested: str,
    host: Sight,
    *,
    confirmation: t.Optional[Confirmation] = None,
) -> Result:
    """Add, replace or remove the rows of one item, and leave those of other items unchanged."""
    earlier.finish_decided(instance, host)
    known = earlier.read(instance, host)
    earlier.refuse_gateway(known.state, instance)
    choice = select(host, requested, RULES.of(known.state).programs)
    earlier.refuse_second_backend(known.state, choice.backend)
    drops = foreign_drops(choice.backend, host) if present else []
    warnings = drop_sentences(drops, overruled(drops, choice, host))
    notes: t.Tuple[str, ...] = ()
    facts = read_facts(host) if present else None
    if facts:
        item, notes = resolve_item(item, facts)
    ruleset = compile_item(instance, item)
    check_supported(ruleset, choice.backend)
    rendered = choice.backend.render(ruleset) if present else ()
    scene = _scene_of(known, item.key, rendered, choice.backend, host)
    state = _state_of(known, item, present, scene, host)
    change = compare(PARTS, scene, known.state, state, host)
    pending = awaited(change, confirmation)
    before, after = DECLARATION.of(known.state).intent, _intent_of(known, item, present)
    connections = forgetting.Forgetting(instance, before, after, not known.others, host, facts=facts)
    flows, more, pending = with_connections(change, connections, host, pending)
    values, remarks = pending_values(pending, host), service.remarks(scene.init, host) if state else ()
    return Result(change, warnings + more, values, notes, remarks, choice.why, flows)


def _scene_of(known: Earlier, key: str, rendered: Rows, backend: Backend, host: Sight) -> Scene:
    listing = backend.read(host, known.instance)
    live = backend.parse(listing, known.instance)
    # If the state file is lost, the live rows that carry an item's name.
    rows = RULES.of(known.state).rows if known.state else tuple(row for row in live if row.key)
    frame = _with_frame(backend, rows, rendered)
    desired = _without_empty_frame(backend, _in_turn(frame, key, rendered, backend))
    check_native(backend, listing, desired, RULES.of(known.state).rows, host)
    return _scene(known, host, backend=backend, listing=listing, plan=Plan(live, desired))


def _scene(known: Earlier, host: Sight, **more: t.Any) -> Scene:
    fresh = is_fresh(known.state)
    return Scene(
        known.instance, init=service.init_of(host), others=known.others, fresh=fresh, since=known.since, **more
    )


def _intent_of(known: Earlier, item: Item, present: bool) -> t.Any:
    return forgetting.encoded_items(DECLARATION.of(known.state).intent, item, present)


def _state_of(known: Earlier, item: Item, present: bool, scene: Scene, host: Sight) -> t.Optional[State]:
    """None: neither rows nor switches remain."""
    switches = SWITCHES.of(known.state)
    if not scene.plan.desired and not switches.values:
        return None
    lines = [line for line in DECLARATION.of(known.state).lines if not line.startswith(item.key + ":")]
    if present:
        lines.append("{0}: {1}".format(item.key, describe_item(item)))
    declared = Declaration(lines=tuple(sorted(lines)), intent=_intent_of(known, item, present))
    rules = RULES.loaded(RULES.of(known.state), scene, host)
    return State(known.instance, "items", parts_of((DECLARATION, declared), (RULES, rules), (SWITCHES, switches)))


def _in_turn(known: Rows, key: str, rendered: Rows, backend: Backend) -> Rows:
    """Replace an item's rows chain by chain, so that the order of application does not matter."""

    def turn_of_row(row: Row) -> int:
        return turn_of(row.key, backend.drops(row))

    rows: t.List[Row] = []
    for turn in range(3):
        mine, others = (tuple(row for row in some if turn_of_row(row) == turn) for some in (rendered, known))
        rows += replace_key(others, key, mine)
    return tuple(sorted(rows, key=lambda row: (row.chain, turn_of_row(row))))


def _with_frame(backend: Backend, rows: Rows, rendered: Rows) -> Rows:
    """These rows, preceded by the chains and jumps that the rendered ones need."""
    frame = [row for row in rendered if backend.is_frame(row)]
    chains = {row.chain for row in frame}
    others = [row for row in rows if not (row.chain in chains and backend.is_frame(row))]
    return tuple(frame + others)


def _without_empty_frame(backend: Backend, rows: Rows) -> Rows:
    """No rows if only chains and jumps remain."""
    return rows if any(not backend.is_frame(row) for row in rows) else ()


@planned_again
def apply_switches(
    instance: str,
    wanted: t.Optional[Forwarding],
    host: Sight,
    confirmation: t.Optional[Confirmation] = None,
) -> Result:
    """Set forwarding switches now and at every boot; None: restore what this instance has set."""
    earlier.finish_decided(instance, host)
    known = earlier.read(instance, host)
    facts = read_facts(host) if wanted else None
    switches = sysctl.forwarding_switches(wanted, host, facts) if wanted and facts else ()
    _refuse_other_values(known, wanted, switches)
    whole = facts is not None and wanted is not None and wanted.interfaces is None
    rules, was = RULES.of(known.state), SWITCHES.of(known.state)
    scene = _scene(
        known,
        host,
        backend=by_programs(host, rules.programs) if rules.programs else None,
        plan=Plan(rules.rows, rules.rows),
        facts=facts,
        switched=tuple(each.name for each in facts.interfaces) if facts and whole else (),
    )
    held = sysctl.in_order({**(dict(was.values) if wanted else {}), **dict(switches)})
    state = (known.state or State(instance, "items")).holding(SWITCHES, SWITCHES.held(was, held, scene, host))
    change = compare(PARTS, scene, known.state, state if rules.rows or held else None, host)
    pending = awaited(change, confirmation)
    warnings, pending = carry_out(change, host, Terms(pending))
    return _switches_result(Result(change, warnings), switches, pending, host)


def _refuse_other_values(known: Earlier, wanted: t.Optional[Forwarding], switches: sysctl.Switches) -> None:
    if known.state and known.state.owner == "gateway":
        other = [key for key, value in switches if (key, value) not in SWITCHES.of(known.state).values]
        if other or not wanted:
            raise GatewayError(
                "instance: '{0}' is managed by the gateway module, which sets {1}; use another instance".format(
                    known.instance, ", ".join(other) or "its own switches"
                )
            )


def _still_on(result: Result, switches: sysctl.Switches) -> t.Tuple[str, ...]:
    """Links that this instance has turned on one by one; IPv4 asks them, and not the global switch, what to forward."""
    given = dict(switches)
    if given.get(sysctl.GLOBAL["ip"]) != "0":
        return ()
    on = [key for key, value in SWITCHES.of(result.change.new).values if value == "1" and sysctl.is_single(key)]
    return tuple(
        "{0}: stays 1, because instance '{1}' has set it for this interface; to turn it off, too, run this with the "
        "interface in interfaces".format(key, result.change.scene.instance)
        for key in on
        if key.startswith(sysctl.TREE["ip"]) and key not in given
    )


def _switches_result(
    result: Result, switches: sysctl.Switches, pending: t.Optional[Confirmation], host: Sight
) -> Result:
    steps = result.change.delta(SWITCHES).do
    others = SWITCHES.overridden(switches, result.change.scene, host)
    values = {
        "switches": [
            {"key": each.key, "before": each.before, "after": each.after} for each in (steps.changes if steps else ())
        ],
        "overridden_by": [
            {"file": other.file, "line": other.line, "key": other.key, "value": other.value} for other in others
        ],
        **pending_values(pending, host),
    }
    told = sentences(others) + SWITCHES.contradicted(switches, result.change.scene) + _still_on(result, switches)
    return replace(result, warnings=result.warnings + told, values=values)
