# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Compare the live state with what was applied."""

from __future__ import annotations

import typing as t
from dataclasses import replace

from .._backend.foreign import foreign_drops
from .._backend.iptables.native import check_native
from .._backend.select import select
from .._base.errors import Problems
from .._base.host import check_root
from .._base.values import check_instance
from .._facts.links import is_left_alone, read_facts
from .._flows import conntrack
from .._init import service
from .._parts import fence, sysctl
from .._parts.declaration import DECLARATION
from .._parts.fence import FENCE
from .._parts.order import PARTS
from .._parts.part import Scene
from .._parts.rules import RULES
from .._parts.switches import SWITCHES
from .._resolve import declared
from .._resolve.around import new_ways_out, only_called_so
from .._resolve.outer import overlapping
from .._resolve.rivals import changed_beside
from .._rollback import rollback
from .._rules.rows import Plan
from . import earlier, forgetting, persist
from .change import enabled
from .state import State

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.host import Sight
    from .._base.origin import Origin
    from .._facts.links import Facts, Interface
    from .._parts.declaration import Declaration
    from .._resolve.resolved import Resolved
    from .._rules.rows import Rows


def gateway_info(instance: str, host: Sight, requested: str = "auto") -> t.Dict[str, t.Any]:
    """The return values of gateway_info; read-only. ``requested`` applies only if nothing was applied."""
    check_root(host)
    problems = Problems()
    check_instance(instance, problems)
    problems.raise_if_any()
    with persist.reading(instance, host):
        return _info(instance, host, requested)


def _info(instance: str, host: Sight, requested: str) -> t.Dict[str, t.Any]:
    state = persist.read_state(host, instance)
    known = state or State(instance, owner="")
    rules, told = RULES.of(known), DECLARATION.of(known)
    gateway = declared.read(told.intent)
    choice = select(host, "auto" if rules.programs else requested, rules.programs)
    listing = choice.backend.read(host, instance)
    check_native(choice.backend, listing, (), rules.rows, host)
    facts = read_facts(host)
    live = choice.backend.parse(listing, instance)
    others = earlier.others(instance, host) if gateway else ()
    counters = _counters(live)
    scene = Scene(
        instance,
        choice.backend,
        listing,
        Plan(live, rules.rows),
        facts=facts,
        init=service.init_of(host),
        interfaces=told.interfaces,
        others=others,
    )
    drift = _drift(known, scene, host) + _since(gateway, facts, [DECLARATION.of(other) for other in others])
    return {
        "changed": False,
        "applied": state is not None,
        "as_applied": state is not None and not drift,
        "drift": drift,
        "pending": rollback.waits(instance, host),
        "forwarding_without_rules": _forwards(host) and not counters and _rules_wanted(state, host),
        "proof": rollback.last_proof(instance, host),
        "foreign_drops": [{"table": table, "chain": chain} for table, chain in foreign_drops(choice.backend, host)],
        "interfaces": _interfaces(gateway, known, facts),
        **declared.lists(gateway, {each["name"]: each for each in counters}, forgetting.items_in(told.intent)),
        "fence": {"stands": fence.stands(FENCE.of(known).text, host), "why_not": FENCE.of(known).unfenced},
        "who": _who(known.applied) if state else None,
        "owner": known.owner,
        "declared": list(told.lines),
        "backend": {
            "name": choice.backend.name,
            "programs": choice.backend.programs,
            "why": choice.why,
        },
        "counters": counters,
        "switches": [
            {"key": key, "applied": value, "live": sysctl.read(host, key) or ""}
            for key, value in SWITCHES.of(known).values
        ],
        "instances": persist.instances(host),
        "usage": {"connections": conntrack.usage(host)},
    }


def _drift(known: State, scene: Scene, host: Sight) -> t.List[str]:
    """The differences from what was last applied, one line each."""
    drift = [line for part in PARTS for line in part.drift(part.of(known), scene, host)]
    if not known.owner:
        return drift
    drift += [
        "~ {0}: differs from what was written".format(path) if host.exists(path) else "- {0}: gone".format(path)
        for path in persist.outdated(persist.files_of(known, PARTS, scene, host), host)
    ]
    return drift + ["- service ipmasq: not enabled"] * (not enabled(scene.init, host))


def _since(gateway: t.Optional[Resolved], facts: Facts, others: t.Sequence[Declaration]) -> t.List[str]:
    """Rules are made for the default routes and for the instances that a run finds."""
    if not gateway:
        return []
    ways_out = new_ways_out(gateway, facts, [name for other in others for name in other.interfaces])
    roles = [other.roles for other in others]
    named = [replace(each, networks=()) for each in roles]
    gateways = [each for each in (declared.read(other.intent) for other in others) if each]
    theirs = {(each.instance, net) for each in roles for _lan, networks in each.networks for net in networks}
    changed = [each.instance for each in gateway.around.neighbours if each not in named]
    changed += [instance for instance, net in gateway.around.left_out if (instance, net) not in theirs]
    words = "~ {0}: has gained a default route since the last run, whose rules treat it as a link without one"
    told = "~ instance {0}: its LANs or WANs have changed since the last run, whose rules know the earlier ones"
    found = [words.format(name) for name in ways_out] + [told.format(name) for name in dict.fromkeys(changed)]
    only = "~ {0}: has come since the last run, whose rules leave it to a manager because of its name; a run closes it"
    found += [only.format(name) for name in only_called_so(gateway, facts)]
    inside = "~ LAN {0}: its {1} since the last run, and the LAN may have no Internet; a run says what to do"
    found += [inside.format(each.lan, each) for each in overlapping(gateway, facts)]
    return found + changed_beside(gateway, gateways)


def _who(applied: Origin) -> t.Dict[str, str]:
    return {"user": applied.user, "from": applied.address, "at": applied.at, "version": applied.version}


def _forwards(host: Sight) -> bool:
    """IPv4 asks the switch of the link on which a packet arrives; IPv6, the global one."""
    links = [path[len(sysctl.PROC) :] for path in host.find(sysctl.PROC + sysctl.TREE["ip"] + "/*/forwarding")]
    return any(sysctl.read(host, key) == "1" for key in [*sysctl.GLOBAL.values(), *links])


def _rules_wanted(state: t.Optional[State], host: Sight) -> bool:
    """Whether rules should be loaded. Not for switches alone, nor for a missing instance while another one exists."""
    return bool(RULES.of(state).rows) if state else not persist.instances(host)


def _interfaces(gateway: t.Optional[Resolved], state: State, facts: Facts) -> t.List[t.Dict[str, t.Any]]:
    """The host's interfaces with their roles, and declared interfaces that do not exist now."""
    wans = {wan.interface for wan in gateway.wans} if gateway else set()
    roles = {pattern: "wan" if pattern in wans else "lan" for pattern in DECLARATION.of(state).interfaces}
    meant = {each.name: role for pattern, role in roles.items() for each in facts.meant_by(pattern)}
    managed = gateway.managed_links if gateway else ()
    found = [
        _interface(each.name, meant.get(each.name) or _left(each, gateway), True, each.addresses)
        for each in facts.with_managed(managed).interfaces
        if each.name != "lo"
    ]
    gone = [_interface(pattern, roles[pattern], False) for pattern in roles if not facts.meant_by(pattern)]
    return found + gone


def _interface(name: str, role: str, present: bool, addresses: t.Sequence[str] = ()) -> t.Dict[str, t.Any]:
    return {"name": name, "role": role, "present": present, "addresses": list(addresses)}


def _left(interface: Interface, gateway: t.Optional[Resolved]) -> str:
    """What the rules treat the link as; without rules, what it is."""
    left = gateway.around.leaves(interface.name) if gateway else is_left_alone(interface)
    return "managed" if left else "undeclared"


def _counters(live: Rows) -> t.List[t.Dict[str, t.Any]]:
    """Counters by item. Chains, jumps and foreign rules among ours do not count."""
    items: t.Dict[str, t.Dict[str, t.Any]] = {}
    for row in live:
        if row.key in ("", "chain", "jump", "lookup", "set"):
            continue
        item = items.setdefault(row.key, {"name": row.key, "rules": 0, "packets": 0, "bytes": 0})
        item["rules"] += 1
        item["packets"] += row.packets
        item["bytes"] += row.bytes
    return sorted(items.values(), key=lambda item: str(item["name"]))
