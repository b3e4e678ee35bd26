# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Remove an instance: the comparison with no state at all, also where the state file is damaged or lost."""

from __future__ import annotations

import typing as t
from dataclasses import replace

from .._backend.iptables import base_chains
from .._backend.iptables.native import check_native
from .._backend.select import all_backends, select
from .._base.errors import GatewayError, Problems
from .._base.host import check_root
from .._base.values import check_instance
from .._facts.links import read_facts
from .._init import service
from .._parts import sysctl
from .._parts.addresses import ADDRESSES
from .._parts.declaration import DECLARATION
from .._parts.order import PARTS
from .._parts.part import Scene, stem
from .._parts.rules import RULES, Loaded
from .._parts.switches import SWITCHES, Held
from .._rollback.meanwhile import marks, planned_again
from .._rules.rows import Plan
from . import earlier, forgetting, persist
from .change import compare, is_fresh
from .confirming import awaited, pending_values
from .connections import with_connections
from .telling import Result

if t.TYPE_CHECKING:  # pragma: no cover
    from .._backend.select import Choice
    from .._base.host import Sight
    from .._rollback.rollback import Confirmation
    from .state import State


@planned_again
def remove_instance(instance: str, host: Sight, confirmation: t.Optional[Confirmation] = None) -> Result:
    """Restore rules, switches, files and service to their state before the first run."""
    check_root(host)
    problems = Problems()
    check_instance(instance, problems)
    problems.raise_if_any()
    earlier.finish_decided(instance, host)
    since = marks(host)
    state, lost = _state_to_remove(instance, host)
    programs, before = RULES.of(state).programs, DECLARATION.of(state).intent
    choice = select(host, "auto", programs) if programs else None
    scene = replace(_scene_of(instance, state, choice, host), since=since)
    change = compare(PARTS, scene, state, None, host)
    pending = awaited(change, confirmation)
    connections = forgetting.Forgetting(instance, before, None, not scene.others, host, facts=scene.facts)
    flows, more, pending = with_connections(change, connections, host, pending)
    warnings = lost + _strange_sentences(state) + more
    return Result(change, warnings, pending_values(pending, host), why=choice.why if choice else "", flows=flows)


def _scene_of(instance: str, state: t.Optional[State], choice: t.Optional[Choice], host: Sight) -> Scene:
    linked = ADDRESSES.of(state).needed or DECLARATION.of(state).intent
    listing = choice.backend.read(host, instance) if choice else None
    if choice and listing is not None:
        check_native(choice.backend, listing, (), RULES.of(state).rows, host)
    return Scene(
        instance,
        choice.backend if choice else None,
        listing,
        Plan(choice.backend.parse(listing, instance) if choice and listing is not None else (), ()),
        facts=read_facts(host) if linked else None,
        init=service.init_of(host),
        others=earlier.others(instance, host, _known_or_salvaged),
        fresh=is_fresh(state),
    )


def _known_or_salvaged(host: Sight, instance: str) -> t.Optional[State]:
    """What an instance with a damaged or lost state needs is read from its other files: each may have to be removed
    first.
    """
    try:
        state = persist.read_state(host, instance)
    except GatewayError:
        state = None
    return state or _salvaged(host, instance)


def _salvaged(host: Sight, instance: str) -> t.Optional[State]:
    """The state that the other files of an instance show; its switches began with the kernel's defaults."""
    left = persist.salvaged(host, instance, PARTS)
    switches = SWITCHES.of(left).values
    return left.holding(SWITCHES, Held(switches, sysctl.beginnings(switches))) if left else None


def _state_to_remove(instance: str, host: Sight) -> t.Tuple[t.Optional[State], t.Tuple[str, ...]]:
    """The state to remove. If it is damaged, it is read from the other files, with a warning about what is lost."""
    try:
        state = persist.read_state(host, instance)
    except GatewayError:
        state = None
    if state and persist.is_altered(host, instance):
        # What it says about connections may make no sense; the rest was looked at when it was read.
        return state.holding(DECLARATION, replace(DECLARATION.of(state), intent=None)), ()
    if state:
        return state, ()
    left = _salvaged(host, instance)
    if not left:
        return None, ()
    # Which kernel chains existed before is unknown, too, so all of them stay.
    chains = tuple(chain for backend in all_backends(host) for chain in base_chains.existing(backend, host))
    return left.holding(RULES, Loaded(base_chains=chains)), (_lost_sentence(instance, SWITCHES.of(left).before),)


def _lost_sentence(instance: str, first: t.Mapping[str, str]) -> str:
    """The warning about a damaged or lost state file."""
    values = ", ".join("{0} = {1}".format(*each) for each in sorted(first.items()))
    return (
        "{0}.json: was damaged or lost, including the values of switches before the first run; they now have the "
        "kernel's defaults: {1}".format(stem(instance), values or "none")
    )


def _strange_sentences(state: t.Optional[State]) -> t.Tuple[str, ...]:
    if not state or not state.strange:
        return ()
    return (
        "{0}.json: a later version of ipmasq.linux has set up {1}, which this version does not know and cannot remove; "
        "remove the instance with that version".format(stem(state.instance), ", ".join(state.strange)),
    )
