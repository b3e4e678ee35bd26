# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""What is live, against what was applied."""

from __future__ import annotations

import typing as t

from . import (
    _conntrack as conntrack,
    _firewalld as firewalld,
    _links as links,
    _persist as persist,
    _service as service,
    _sysctl as sysctl,
)
from ._backend.select import select
from ._errors import Problems
from ._facts import read_facts
from ._host import check_root
from ._plan import Plan
from ._values import check_instance

if t.TYPE_CHECKING:  # pragma: no cover
    from ._host import Host
    from ._plan import Rows


def gateway_info(instance: str, host: Host) -> t.Dict[str, t.Any]:
    """The return values of the module gateway_info; reads only."""
    check_root(host)
    problems = Problems()
    check_instance(instance, problems)
    problems.raise_if_any()
    state = persist.read_state(host, instance)
    empty = persist.State(instance, owner="")
    known = state or empty
    choice = select(host, "auto", known.programs)
    listing = choice.backend.read(host, instance)
    live = choice.backend.parse(listing, instance)
    files = persist.files_of(known, choice.backend, host) if state else {}
    drift = Plan(live, known.rows).differences(choice.backend.show)
    drift += [
        "~ {0}: {1}, applied was {2}".format(each.key, each.before, each.after)
        for each in sysctl.changes(known.switches + _interface_switches(known, host), host)
    ]
    if known.links:
        offloaded = choice.backend.offload_devices(listing)
        drift += [
            line.replace("+ ", "- ", 1)
            for line in links.steps(links.Links(), known.links, offloaded, read_facts(host)).lines
        ]
    if known.door and firewalld.runs(host) and not firewalld.live(host, instance):
        drift.append("- firewalld: policy {0}".format(firewalld.name_of(instance)))
    drift += ["~ {0}: not as it was written".format(path) for path in persist.outdated(files, host)]
    init = service.init_of(host)
    if state and init and not service.is_enabled(init, host):
        drift.append("- service ipmasq: not enabled")
    return {
        "changed": False,
        "applied": state is not None,
        "as_applied": not drift,
        "drift": drift,
        "owner": known.owner,
        "declared": list(known.lines),
        "backend": {
            "name": choice.backend.name,
            "programs": choice.backend.programs,
            "why": choice.why,
        },
        "counters": _counters(live),
        "switches": [
            {"key": key, "applied": value, "live": sysctl.read(host, key) or ""} for key, value in known.switches
        ],
        "instances": persist.instances(host),
        "usage": conntrack.usage(host),
    }


def _interface_switches(state: persist.State, host: Host) -> sysctl.Switches:
    """Forwarding of the gateway's own interfaces: one that is 0 stays so while the global switch is 1."""
    forwarded = [family for family, key in sysctl.GLOBAL.items() if dict(state.switches).get(key) == "1"]
    if not forwarded or not state.interfaces:
        return ()
    present = [each.name for pattern in state.interfaces for each in read_facts(host).meant_by(pattern)]
    return tuple(switch for family in forwarded for switch in sysctl.interface_switches(family, present, "1", host))


def _counters(live: Rows) -> t.List[t.Dict[str, t.Any]]:
    """Counters by item. Chains and jumps are no items, nor are rules that somebody else put among ours."""
    items: t.Dict[str, t.Dict[str, t.Any]] = {}
    for row in live:
        if row.key in ("", "chain", "jump", "lookup", "set"):
            continue
        item = items.setdefault(row.key, {"name": row.key, "rules": 0, "packets": 0, "bytes": 0})
        item["rules"] += 1
        item["packets"] += row.packets
        item["bytes"] += row.bytes
    return sorted(items.values(), key=lambda item: str(item["name"]))
