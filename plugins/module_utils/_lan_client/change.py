# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""The module lan_client: read, choose, plan, arm, apply, confirm."""

from __future__ import annotations

import fnmatch
import posixpath
import shlex
import typing as t
from dataclasses import dataclass, field, replace

from .._base.errors import GatewayError, Problems
from .._base.host import check_root
from .._base.origin import origin
from .._change.confirming import pending_values, waiting
from .._managers.manager import Setup, is_there
from .._managers.seen import Route, read_seen
from .._managers.select import MANAGERS, by_hand, manager_of
from .._parts.part import Scene
from .._rollback import rollback
from .._rollback.meanwhile import marks, planned_again
from .._rollback.transaction import Transaction, finish_decided
from . import state as states
from .choice import choose, places, read_wish
from .resolver import FILE, MANAGER, RESOLVED, RESOLVER, saved, searched, way_of
from .routes import ROUTES, Sent, undoing, wanted
from .state import FOLDER, INSTANCE, PATH, Parts, State

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.host import Host, Sight
    from .._managers.seen import Seen
    from .._parts.part import Delta, Part
    from .._rollback.rollback import Confirmation
    from .choice import Chosen, Wish

PARTS: t.Tuple[Part[t.Any], ...] = (ROUTES, RESOLVER)
COMMIT = FOLDER + "/commit"


@dataclass(frozen=True)
class Want:
    """What this host should have, and what the result says about it."""

    parts: Parts = field(default_factory=Parts)
    files: t.Mapping[str, t.Tuple[str, int]] = field(default_factory=dict)
    notes: t.Tuple[str, ...] = ()
    warnings: t.Tuple[str, ...] = ()
    ask: t.Tuple[str, ...] = ()
    stays: bool = False  # this host is left as it is


@dataclass(frozen=True)
class Change:
    was: Parts
    want: Parts
    deltas: t.Mapping[str, Delta]
    keeping: rollback.Keeping
    lines: t.Tuple[str, ...]  # the differences
    since: str = ""  # which changes had ended before the host was read

    @property
    def changed(self) -> bool:
        return bool(self.lines)

    @property
    def cuts(self) -> bool:
        return any(delta.cuts for delta in self.deltas.values())


@planned_again
def run(params: t.Mapping[str, t.Any], sight: Sight) -> t.Dict[str, t.Any]:
    """The result of the module."""
    check_root(sight)
    confirmation = waiting(params, sight)
    rollback.check_free(INSTANCE, sight)
    finish_decided(INSTANCE, COMMIT, sight)
    since = marks(sight)
    seen, known = read_seen(sight), states.read(sight)
    was = known.parts if known else Parts()
    want = Want() if params["state"] == "absent" else _want(params, seen, was, sight)
    result: t.Dict[str, t.Any] = {
        "changed": False,
        "instance": INSTANCE,
        "addresses": [address.local for address in seen.addresses],
        "ask": list(want.ask),
        "notes": list(want.notes),
        **_values(want.parts.routes),
    }
    if want.warnings:
        result["warnings"] = list(want.warnings)
    if want.stays:
        return {**result, "differences": [], "diff": _diff(())}
    change = replace(_change(known, want, sight), since=since)
    result.update(changed=change.changed, differences=list(change.lines), diff=_diff(change.lines))
    pending = confirmation if change.cuts else None
    host = sight.acting()
    if host and change.changed:
        warnings = _Carrying(change, pending, host).run()
        result["warnings"] = result.get("warnings", []) + list(warnings)
        result.update(pending_values(pending, sight))
    return result


def _values(sent: Sent) -> t.Dict[str, str]:
    gateways = {route.version: route.gateway for route in sent.routes}
    return {
        "manager": sent.manager,
        "interface": sent.interface,
        "gateway": gateways.get(4, ""),
        "gateway6": gateways.get(6, ""),
    }


# ---- what is wanted --------------------------------------------------------------------------------------------------


def _want(params: t.Mapping[str, t.Any], seen: Seen, was: Parts, sight: Sight) -> Want:
    """Raises GatewayError with every obstacle."""
    problems = Problems()
    wish = read_wish(params, problems)
    chosen = choose(wish, seen, problems)
    problems.raise_if_any()
    if chosen.ask:
        return Want(ask=chosen.ask, stays=True)
    manager = manager_of(chosen.interface, sight)
    if not manager:
        return _unmanaged(wish, chosen, seen, sight)
    scene = Scene(INSTANCE)
    routes, notes = wanted(wish, chosen, seen, was.routes, manager)
    way = way_of(wish.dns, manager, problems, sight)
    problems.raise_if_any()
    sent, _notes = ROUTES.want((manager, chosen.interface, routes), was.routes, scene, sight)
    resolver, _notes = RESOLVER.want((way, wish.dns), was.resolver, scene, sight)
    setup = Setup(
        chosen.interface,
        routes,
        wish.dns if way == MANAGER else (),
        searched(sight) if way == MANAGER else (),
        way == FILE,
    )
    files = {**manager.files(setup, sight), **RESOLVER.files(resolver, scene)}
    return Want(Parts(sent, resolver), files, (*chosen.notes, *notes))


def _unmanaged(wish: Wish, chosen: Chosen, seen: Seen, sight: Sight) -> Want:
    """A manager that we cannot configure: done already, skipped, or refused."""
    live = {route.gateway for route in seen.routes}
    both = bool(wish.gateways[6])
    meant = [each for version, each in chosen.gateways.items() if both or version == min(chosen.gateways)]
    gateway = meant[0]
    own = places(seen, gateway, chosen.interface)[0]
    who, how = by_hand(own, seen.macs.get(own.interface, ""), gateway, sight)
    if not wish.dns and all(each in live for each in meant):
        done = "{0} is managed by {1} and already goes through {2}; it is left as it is"
        return Want(notes=(done.format(chosen.interface, who, " and ".join(meant)),), stays=True)
    sentence = (
        "{0} is managed by {1}, and lan_client can configure only {2}; give it the default route via {3} {4}{5}"
    ).format(
        chosen.interface,
        who,
        ", ".join(each.name for each in MANAGERS),
        gateway,
        how,
        ", set DNS there, too, and leave dns empty" if wish.dns else "",
    )
    if wish.skip_unmanaged:
        return Want(warnings=(sentence,), stays=True)
    raise GatewayError("interface: " + sentence + ", or set unmanaged to skip to leave such hosts as they are")


# ---- what is to be done ----------------------------------------------------------------------------------------------


def _change(known: t.Optional[State], want: Want, sight: Sight) -> Change:
    was, scene = known.parts if known else _salvaged(sight), Scene(INSTANCE)
    pairs = [(part, getattr(was, part.name), getattr(want.parts, part.name)) for part in PARTS]
    deltas = {part.name: part.plan(old, new, scene, sight) for part, old, new in pairs}
    files = dict(want.files)
    before, stale = saved(want.parts.resolver, sight)
    stale += tuple(path for path in _ours(sight) if path not in files)
    empty = want.parts == Parts()
    brought = {posixpath.dirname(path) for path in files}
    folders = sorted(each for each in brought if each in was.folders or not sight.exists(each))
    parts = replace(want.parts, folders=tuple(folders))
    if not empty:
        state = replace(known, parts=parts) if known else State(parts)
        if not known or known.parts != parts:
            state = replace(state, applied=origin(sight))
        files[PATH] = (states.to_text(state), 0o600)
    elif known:
        stale += (PATH,)
    outdated = {path: each for path, each in files.items() if (sight.read(path), _mode(path, sight)) != each}
    after = _after(was, parts, [*outdated, *stale], sight)
    keeping = rollback.Keeping(
        commit=COMMIT, files=outdated, stale=stale, before=before, after=after, folder=FOLDER if empty else ""
    )
    lines = [line for delta in deltas.values() for line in delta.lines]
    lines += ["{0} {1}: written".format("~" if sight.exists(path) else "+", path) for path in outdated]
    lines += ["- {0}: removed".format(path) for path in stale]
    lines += ["~ /etc/resolv.conf: as it was before"] if before and not outdated else []
    doing = {name: delta for name, delta in deltas.items() if delta.do is not None}
    return Change(was, want.parts, doing, keeping, tuple(lines))


def _mode(path: str, sight: Sight) -> int:
    return sight.mode(path) if sight.exists(path) else 0


def _ours(sight: Sight) -> t.List[str]:
    """Every file of ours on the host, except the state and /etc/resolv.conf."""
    patterns = [pattern for manager in MANAGERS for pattern in manager.places]
    if sight.link("/lib"):  # another name of /usr/lib
        patterns = [pattern for pattern in patterns if not pattern.startswith("/lib/")]
    return [path for pattern in [*patterns, RESOLVED] for path in sight.find(pattern)]


def _salvaged(sight: Sight) -> Parts:
    """What the files reveal if the state is lost."""
    routes = [
        Route.parse(line[len("# Route: ") :])
        for path in _ours(sight)
        for line in (sight.read(path) or "").splitlines()
        if line.startswith("# Route: ")
    ]
    routes = list(dict.fromkeys(routes))
    if not routes:
        return Parts()
    manager = next((each.name for each in MANAGERS for pattern in each.places if sight.find(pattern)), "")
    return Parts(Sent(manager, routes[0].dev, tuple(routes)))


def _after(was: Parts, want: Parts, touched: t.Sequence[str], sight: Sight) -> t.Tuple[str, ...]:
    """Lines of shell to run once all files are in place."""
    lines: t.List[str] = []
    folders = [each for each in was.folders if each not in want.folders]
    lines += ["rmdir {0} 2> /dev/null || true".format(shlex.quote(each)) for each in folders]
    if RESOLVED in touched:
        lines.append("systemctl restart systemd-resolved")
    for manager in MANAGERS:
        paths = [path for path in touched if any(fnmatch.fnmatchcase(path, each) for each in manager.places)]
        sides = [each.routes for each in (was, want) if each.routes.manager == manager.name]
        if paths and sides:
            # One that is gone would never answer.
            names = dict.fromkeys(each.interface for each in sides)
            interfaces = [name for name in names if sight.exists("/sys/class/net/" + name)]
            routes = want.routes.routes if want.routes.manager == manager.name else ()
            lines += manager.told(interfaces, routes, paths)
    # Until its files were gone, a renewed lease may have brought the old routes back.
    lines += undoing(was.routes, want.routes) if touched else []
    # Whatever the manager has made of it, the host keeps its route.
    kept = want.routes.routes if lines else ()
    lines += ["{0} || {1}".format(is_there(route), route.line("replace")) for route in kept]
    if want == Parts():
        lines.append("rmdir {0} 2> /dev/null || true".format(posixpath.dirname(FOLDER)))
    return tuple(lines)


def _diff(lines: t.Sequence[str]) -> t.Dict[str, str]:
    before = [line[2:] for line in lines if line[0] in "-"]
    after = [line[2:] for line in lines if line[0] in "+~"]
    return {
        "before_header": "lan_client",
        "after_header": "lan_client",
        "before": "".join(line + "\n" for line in before),
        "after": "".join(line + "\n" for line in after),
    }


# ---- the change ------------------------------------------------------------------------------------------------------


class _Carrying(Transaction):
    """Routes first, while the files of managers follow once the change is kept."""

    def __init__(self, change: Change, pending: t.Optional[Confirmation], host: Host) -> None:
        self._change, self._scene = change, Scene(INSTANCE)
        lines = [
            line
            for part, delta, was, want in self._parts()
            for line in part.restore(delta, was, want, self._scene, host).lines
        ]
        prepared = rollback.Prepared(rollback.Restoring(tuple(lines), {}), change.keeping, change.since)
        super().__init__(INSTANCE, pending, prepared, host)

    def _parts(self) -> t.List[t.Tuple[Part[t.Any], Delta, t.Any, t.Any]]:
        change = self._change
        return [
            (part, change.deltas[part.name], getattr(change.was, part.name), getattr(change.want, part.name))
            for part in PARTS
            if part.name in change.deltas
        ]

    def make(self) -> t.Tuple[str, ...]:
        for part, delta, _was, want in self._parts():
            part.apply(delta, want, self._scene, self._host)
        return ()

    def verify(self) -> None:
        """dhcpcd and ifupdown run our hook at each renewal of a lease, until the change is kept; so what came back in
        this moment goes once more.
        """
        for part, _delta, was, want in self._parts():
            try:
                part.verify(was, want, self._scene, self._host)
            except GatewayError:
                part.apply(part.plan(was, want, self._scene, self._host), want, self._scene, self._host)
                part.verify(was, want, self._scene, self._host)

    def lines(self) -> t.Sequence[str]:
        return self._change.lines
