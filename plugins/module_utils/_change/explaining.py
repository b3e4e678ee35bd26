# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Explain what happens to one packet, for the module gateway_explain."""

from __future__ import annotations

import typing as t

from .._base.errors import GatewayError, Problems
from .._base.host import check_root
from .._base.values import check_instance
from .._explain import answer as answers, question as questions
from .._explain.trial import tried
from .._explain.trip import Planner
from .._explain.verdict import said as say
from .._facts.links import read_facts
from .._parts.declaration import DECLARATION
from .._proof import ground as grounds
from .._resolve import declared
from .._rollback import rollback
from . import persist

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.host import Host
    from .._resolve.resolved import Resolved


def gateway_explain(params: t.Mapping[str, t.Any], host: Host) -> t.Dict[str, t.Any]:
    """The return values of gateway_explain."""
    check_root(host)
    problems, instance = Problems(), params["instance"]
    check_instance(instance, problems)
    question = questions.read(params, problems)
    problems.raise_if_any()
    gateway = _gateway(instance, host)
    facts = read_facts(host)
    planner = Planner(gateway, grounds.survey(gateway, facts, host), host)
    trip = planner.trip(question, problems)
    problems.raise_if_any()
    said = say(planner, trip)
    trial = tried(planner, trip, said, host)
    answer = answers.answered(trip, said, trial)
    values = answers.to_json(trip, said, trial, answer)
    values["notes"] += grounds.before_bridges((trip.inn.link, trip.out.link), facts, host) + _notes(instance, host)
    return {"changed": False, **values, "lines": answers.lines(values)}


def _gateway(instance: str, host: Host) -> Resolved:
    state = persist.read_state(host, instance)
    if not state:
        known = ", ".join(persist.instances(host)) or "none"
        raise GatewayError(
            "instance: no gateway was applied to '{0}' (applied here: {1}); apply one first, or name another".format(
                instance, known
            )
        )
    gateway = declared.read(DECLARATION.of(state).intent)
    if not gateway:
        raise GatewayError(
            "instance: '{0}' holds single items, which say nothing about other packets; only what the module gateway "
            "applies can be explained".format(instance)
        )
    return gateway


def _notes(instance: str, host: Host) -> t.List[str]:
    if rollback.waits(instance, host):
        return ["a change awaits confirmation; what is declared here is the last confirmed state"]
    return []
