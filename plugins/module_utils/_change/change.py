# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""A change as a value: what each part would do, and which files and services then have to follow.

Parts, scene and states come from the caller. Verification, drift and removal are the same comparison: with the host as
it is by then, with the same state twice, and with no state to come.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, replace

from .._facts.links import read_facts
from .._init import service
from .._parts.part import NOTHING
from .._rules.rows import Plan
from . import persist
from .state import SALVAGED

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.host import Sight
    from .._init.service import Init
    from .._parts.part import Delta, Kind, Part, Scene
    from .persist import Parts
    from .state import State


@dataclass(frozen=True)
class Move:
    """One part of a change."""

    part: Part[t.Any]
    was: t.Any
    want: t.Any
    delta: Delta


@dataclass(frozen=True)
class Upkeep:
    """The files and the service that the host needs at its next boot."""

    files: t.Mapping[str, t.Tuple[str, int]]  # all of them: path to text and mode
    outdated: t.Tuple[str, ...] = ()
    rewritten: t.Tuple[str, ...] = ()  # outdated files that exist
    stale: t.Tuple[str, ...] = ()
    enable: bool = False

    @property
    def changed(self) -> bool:
        return bool(self.outdated or self.stale or self.enable)


@dataclass(frozen=True)
class Change:
    """Everything that a call will do. It is a value: check mode reports it, a normal run carries it out."""

    scene: Scene
    old: t.Optional[State]
    new: t.Optional[State]  # None: nothing of this instance remains
    moves: t.Tuple[Move, ...]  # of all parts, in their turn
    upkeep: Upkeep

    @property
    def cuts(self) -> bool:
        """Whether it may cut somebody off; files alone do not."""
        return any(move.delta.cuts for move in self.moves)

    @property
    def changed(self) -> bool:
        return self.upkeep.changed or any(move.delta.do is not None for move in self.moves)

    @property
    def drifted(self) -> bool:
        """Whether somebody has changed what was applied."""
        return any(move.delta.drifted for move in self.moves)

    @property
    def turns(self) -> t.Tuple[Move, ...]:
        """The moves in the order in which they are made."""
        return self.moves if self.new else self.moves[::-1]

    def delta(self, part: Kind[t.Any]) -> Delta:
        return next((move.delta for move in self.moves if move.part is part), NOTHING)


def compare(parts: Parts, scene: Scene, old: t.Optional[State], new: t.Optional[State], sight: Sight) -> Change:
    """The difference between the host and a new state (None: no state at all); read-only."""
    if new:
        new = persist.signed(replace(new, unknown=old.unknown if old else {}), old, sight)
    moves = tuple(_move(part, part.of(old), part.of(new), scene, sight) for part in parts)
    return Change(scene, old, new, moves, _upkeep(parts, scene, new, sight))


def _move(part: Part[t.Any], was: t.Any, want: t.Any, scene: Scene, sight: Sight) -> Move:
    return Move(part, was, want, part.plan(was, want, scene, sight))


def _upkeep(parts: Parts, scene: Scene, new: t.Optional[State], sight: Sight) -> Upkeep:
    files = persist.files_of(new, parts, scene, sight) if new else {}
    outdated = tuple(persist.outdated(files, sight))
    rewritten = tuple(path for path in outdated if sight.exists(path))
    stale = tuple(persist.stale_files(scene, parts, files, sight))
    return Upkeep(files, outdated, rewritten, stale, bool(files) and not enabled(scene.init, sight))


def enabled(init: t.Optional[Init], sight: Sight) -> bool:
    """Whether the loader runs at boot, or nobody is there who could run it."""
    return init is None or service.is_enabled(init, sight)


def is_fresh(old: t.Optional[State]) -> bool:
    """Whether no state tells of an earlier run."""
    return old is None or old.owner == SALVAGED


def again(scene: Scene, moves: t.Sequence[Move], sight: Sight) -> Scene:
    """The scene of these moves as it is by now."""
    listing = scene.listing
    if scene.backend and listing is not None:
        listing = scene.backend.read(sight, scene.instance)
        scene = replace(scene, plan=Plan(scene.backend.parse(listing, scene.instance), scene.plan.desired))
    linked = scene.facts and any(move.part.linked for move in moves)
    return replace(scene, listing=listing, facts=read_facts(sight) if linked else scene.facts)
