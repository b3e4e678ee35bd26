# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""The orchestration of a whole gateway: ``apply_gateway`` names the stages, each of which is a file of its own.

Single items and switches (``items``) and removal (``removing``) take the same way from the comparison on.
"""

from __future__ import annotations

import contextlib
import gc
import typing as t

from .._base.errors import GatewayError
from .._parts.declaration import DECLARATION
from .._parts.order import PARTS
from .._rollback.meanwhile import planned_again
from . import earlier
from .change import compare
from .confirming import awaited, pending_values
from .connections import with_connections
from .forgetting import Forgetting
from .proving import Proving
from .telling import Result, gateway_values
from .wanting import scene_of, state_of, want

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.host import Sight
    from .._intent.gateway import Gateway
    from .._rollback.rollback import Confirmation
    from .earlier import Earlier
    from .wanting import Wanted


@contextlib.contextmanager
def _uncollected() -> t.Iterator[None]:
    """Look for no cycles of garbage: with 10,000 items that takes a tenth of the time, and there are next to none."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


@planned_again
@_uncollected()
def apply_gateway(
    gateway: Gateway,
    requested: str,
    host: Sight,
    problems: t.Tuple[str, ...] = (),
    *,
    confirmation: t.Optional[Confirmation] = None,
    foreign: str = "refuse",
    proof: str = "off",
) -> Result:
    """Make the host this gateway, and remove what the instance no longer declares.

    ``problems`` were found without the host; they are reported together with those found on it.
    """
    # What an earlier run has decided, and all that is wrong with this one
    earlier.finish_decided(gateway.instance, host)
    known, wanted = _possible(gateway, requested, foreign, problems, host)
    # What each part wants, against what the host has: the change, as a value
    scene = scene_of(wanted, known, host)
    state, notes = state_of(wanted, PARTS, scene, known, host)
    change = compare(PARTS, scene, known.state, state, host)
    # Arm, apply, verify, prove, keep or await; in check mode, nothing of it
    pending = awaited(change, confirmation)
    before, after = DECLARATION.of(known.state).intent, DECLARATION.of(state).intent
    compiled = (wanted.ruleset, wanted.gateway)
    alone, facts = not known.others, wanted.facts
    connections = Forgetting(gateway.instance, before, after, alone, host, compiled=compiled, facts=facts)
    proven = Proving(proof, before, after)
    flows, warnings, pending = with_connections(change, connections, host, pending, proven)
    # What to tell
    warnings += tuple(told for move in change.moves for told in move.part.warnings(move.want, scene, host))
    values = {**gateway_values(wanted.gateway, wanted.facts), **pending_values(pending, host)}
    values["first_run"] = known.state is None
    if proven.report:
        values["proof"] = proven.record(host)
    return Result(
        change,
        wanted.warnings + warnings,
        values,
        notes=wanted.notes + notes + proven.notes,
        remarks=wanted.remarks,
        why=wanted.choice.why,
        flows=flows,
        by_ends=wanted.by_ends,
    )


def _possible(
    gateway: Gateway, requested: str, foreign: str, problems: t.Tuple[str, ...], host: Sight
) -> t.Tuple[Earlier, Wanted]:
    """Raises GatewayError with all problems at once."""
    try:
        known = earlier.read(gateway.instance, host)
        wanted = want(gateway, requested, foreign, known, host)
    except GatewayError as error:
        if not problems:
            raise
        raise GatewayError(*dict.fromkeys(problems + error.problems)) from None
    if problems:
        raise GatewayError(*problems)
    return known, wanted
