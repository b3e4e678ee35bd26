# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""The rules of an instance, on the backend that it uses, and none on any other backend."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from .._backend.iptables import base_chains, marks
from .._backend.iptables.native import check_native
from .._backend.nftables import flowtable
from .._backend.select import all_backends, by_programs
from .._backend.steps import Boot, load
from .._base.errors import GatewayError
from .._base.values import shorten
from .._rules.follow import KEY as BY_ROUTE
from .._rules.model import FOLLOWED, REACH
from .._rules.rows import Plan, Row, Rows  # noqa: TC001 (the codec reads the annotations)
from .part import NOTHING, Delta, Part, Shell

if t.TYPE_CHECKING:  # pragma: no cover
    from .._backend.base import Backend
    from .._base.host import Host, Sight
    from .._resolve.resolved import Resolved
    from .part import Scene

#: Suffixes of the files that backends load at boot.
ENDINGS = (".nft", ".late.nft", ".iptables", ".ip6tables", ".ipset")


@dataclass(frozen=True)
class Loaded:
    """The rules of an instance."""

    programs: str = ""  # of the backend; empty while there are only switches
    rows: t.Tuple[Row, ...] = ()
    base_chains: t.Tuple[str, ...] = ()  # the kernel's chains that existed before the first load


@dataclass(frozen=True)
class Load:
    """One load: rows in place of others; without rows, nothing remains."""

    backend: Backend = field(compare=False)
    live: Rows
    desired: Rows
    before: t.Tuple[str, ...]  # the kernel's chains that stay


def rows_on(backend: Backend, instance: str, sight: Sight) -> Rows:
    """The rows of an instance as they are."""
    return backend.parse(backend.read(sight, instance), instance)


class _RulesPart(Part[Loaded]):
    """What is compiled and rendered comes with the scene, as other parts depend on it, too."""

    endings = ENDINGS

    def want(self, gateway: Resolved, was: Loaded, scene: Scene, sight: Sight) -> t.Tuple[Loaded, t.Tuple[str, ...]]:
        if not scene.backend:
            return self.empty, ()
        if scene.plan.changed and gateway.offload != "none":
            flowtable.check(sight)
        return self.loaded(was, scene, sight), ()

    def loaded(self, was: Loaded, scene: Scene, sight: Sight) -> Loaded:
        """The rows of the scene, and which of the kernel's chains are not ours."""
        if not scene.backend:
            return was
        programs = scene.backend.programs if scene.plan.desired else ""
        chains = (
            base_chains.existing(scene.backend, sight) if scene.fresh or was.programs != programs else was.base_chains
        )
        for other in map(self.of, scene.others):
            # What another instance created did not exist before, although it does now.
            if programs and other.programs == programs:
                chains = tuple(chain for chain in chains if chain in other.base_chains)
        return Loaded(programs, scene.plan.desired, chains)

    def plan(self, was: Loaded, want: Loaded, scene: Scene, sight: Sight) -> Delta:
        plan = scene.plan
        drifted = not scene.fresh and (plan if was.rows == plan.desired else Plan(plan.live, was.rows)).changed
        loads, diff = [], []
        if scene.backend and plan.changed:
            loads.append(Load(scene.backend, plan.live, plan.desired, was.base_chains))
            diff = plan.differences(scene.backend.show)
        retired = [Load(backend, rows, (), was.base_chains) for backend, rows in self._retired(was, scene, sight)]
        if not loads and not retired:
            return Delta(drifted=drifted) if drifted else NOTHING
        lines = diff + ["- the rules of {0}".format(each.backend.programs) for each in retired]
        told = tuple(_marked(line) for line in diff)
        return Delta(tuple(lines), tuple(loads + retired), cuts=True, diff=told, detail=True, drifted=drifted)

    def _retired(self, was: Loaded, scene: Scene, sight: Sight) -> t.List[t.Tuple[Backend, Rows]]:
        """Rules of this instance on another backend: the previous one, or what a lost state file left."""
        used = scene.backend.programs if scene.backend else ""
        if scene.fresh:
            others = [other for other in all_backends(sight) if other.programs != used]
            listed = [(other, _left_on(other, scene.instance, sight)) for other in others]
        elif was.programs and used and was.programs != used:
            former = by_programs(sight, was.programs)
            listing = former.read(sight, scene.instance)
            check_native(former, listing, (), was.rows, sight)
            listed = [(former, former.parse(listing, scene.instance))]
        else:
            listed = []
        return [(other, rows) for other, rows in listed if rows]

    def apply(self, delta: Delta, want: Loaded, scene: Scene, host: Host) -> t.Tuple[str, ...]:
        loads: t.Tuple[Load, ...] = delta.do or ()
        for each in loads:
            load(each.backend.steps(each.desired, each.live, scene.instance), host)
        for each in loads:
            if not each.desired:
                base_chains.drop(each.backend, each.before, host)
        return ()

    def verify(self, was: Loaded, want: Loaded, scene: Scene, sight: Sight) -> None:
        if scene.backend and scene.plan.changed:
            raise GatewayError(
                "{0}: the rules read back differ from those loaded: {1}".format(
                    scene.backend.programs, "; ".join(scene.plan.differences(scene.backend.show)[:3])
                )
            )

    def warnings(self, want: Loaded, scene: Scene, sight: Sight) -> t.Tuple[str, ...]:
        """Rules of others that clear our marks, if something depends on these."""
        if not scene.backend or scene.backend.name != "iptables":
            return ()
        needs = {REACH: "LANs of other instances"} if any(other.owner == "gateway" for other in scene.others) else {}
        if any(row.key == BY_ROUTE for row in want.rows):
            needs[FOLLOWED] = "networks that a LAN has got since the last run"
        found = [(rule, bit) for bit in needs for rule in marks.clearing(scene.listing or "", bit)]
        return tuple(
            "mangle {0}: clears our marks, so connections of {1} end; let it change only bits that it uses, as "
            "'--set-xmark 10/0xff' does".format(
                shorten(rule, 200), " and of ".join(needs[bit] for each, bit in found if each == rule)
            )
            for rule in dict.fromkeys(rule for rule, _bit in found)
        )

    def restore(self, delta: Delta, was: Loaded, want: Loaded, scene: Scene, sight: Sight) -> Shell:
        files: t.Dict[str, str] = {}
        lines: t.List[str] = []
        loads: t.Tuple[Load, ...] = delta.do or ()
        for number, each in enumerate(loads):
            stem = "old{0}".format(number)
            booted = each.backend.boot(each.live, "./" + stem, scene.instance, each.desired)
            files.update({stem + ending: text for ending, text in booted.files.items()})
            lines += booted.lines
            lines += base_chains.drop_lines(each.backend, each.desired, base_chains.existing(each.backend, sight))
        bare = not scene.plan.live and not any(each.live for each in loads)
        return Shell(tuple(lines), files, bare)

    def boot(self, want: Loaded, scene: Scene) -> t.Mapping[str, str]:
        return self._boot(want, scene).files

    def boot_lines(self, want: Loaded, scene: Scene) -> t.Tuple[str, ...]:
        return self._boot(want, scene).lines

    def _boot(self, want: Loaded, scene: Scene) -> Boot:
        if not scene.backend or not want.rows:
            return Boot((), {})
        return scene.backend.boot(want.rows, "./" + scene.instance, scene.instance)

    def drift(self, known: Loaded, scene: Scene, sight: Sight) -> t.List[str]:
        return scene.plan.differences(scene.backend.show) if scene.backend else []


def _marked(line: str) -> str:
    return "{0} rule {1}".format(line[0], line[2:])


def _left_on(backend: Backend, instance: str, sight: Sight) -> Rows:
    """The rows that a backend holds for us; none if it cannot be asked, because it need not be in use."""
    try:
        return rows_on(backend, instance, sight)
    except GatewayError:
        return ()


RULES = _RulesPart("rules", Loaded())
