# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Prove an applied gateway, for the module gateway_probe."""

from __future__ import annotations

import json
import typing as t
from dataclasses import replace

from .._base.errors import Problems
from .._base.host import check_root
from .._base.values import check_instance
from .._facts.links import read_facts
from .._parts.declaration import DECLARATION
from .._proof.blame import ADDED
from .._proof.model import GATEWAY, HOLDS, Report
from .._proof.prove import Extent, prove
from .._resolve import declared
from .._rollback import rollback
from . import persist, proving
from .info import gateway_info

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.host import Host
    from .state import State


#: At most this many differences are listed.
MOST_DRIFT = 2


def gateway_probe(instance: str, host: Host) -> t.Dict[str, t.Any]:
    """The return values of gateway_probe."""
    check_root(host)
    problems = Problems()
    check_instance(instance, problems)
    problems.raise_if_any()
    state = persist.read_state(host, instance)
    gateway = declared.read(DECLARATION.of(state).intent)
    extent = Extent(beside=proving.beside(instance, host), services=True)
    report = prove(gateway, read_facts(host), host, extent) if gateway else Report()
    report = _with_drift(report, instance, host)
    if gateway:
        host.write(rollback.proof_of(instance), json.dumps(proving.recorded(report, host)), 0o600)
    values = report.to_json()
    values["notes"] = _notes(instance, state, bool(gateway), host) + values["notes"]
    told = [proving.sentence(each) for each in report.broken]
    # As with nat_probe and verify, nothing measured is nothing proven.
    if report.results and not report.counts[HOLDS] and not told:
        values["notes"].append("no promise can be measured: {0}".format(report.results[0].reason))
    return {"changed": False, "proven": report.counts[HOLDS] > 0 and not told, "broken": told, **values}


def _with_drift(report: Report, instance: str, host: Host) -> Report:
    """Where no rule of somebody else is to blame, it may be that what was applied is not there any more."""
    own = [each for each in report.broken if each.by in ("", GATEWAY) and not each.cause.endswith(ADDED)]
    drift = gateway_info(instance, host)["drift"] if own else []
    if not drift:
        return report
    more = " and {0} more differences".format(len(drift) - MOST_DRIFT) * (len(drift) > MOST_DRIFT)
    told = "the host differs from what was applied: {0}{1}".format("; ".join(drift[:MOST_DRIFT]), more)
    blamed = [
        replace(each, by=GATEWAY, cause="; ".join(filter(None, (each.cause, told)))) if each in own else each
        for each in report.results
    ]
    return replace(report, results=tuple(blamed))


def _notes(instance: str, state: t.Optional[State], whole: bool, host: Host) -> t.List[str]:
    if not state:
        return ["no gateway was applied to instance {0}, so there is nothing to prove".format(instance)]
    if not whole:
        return [
            "instance {0} holds single items, which promise nothing by themselves; only what the module gateway "
            "applies can be proven".format(instance)
        ]
    if rollback.waits(instance, host):
        return ["a change awaits confirmation; what is proven are the promises of the last confirmed state"]
    return []
