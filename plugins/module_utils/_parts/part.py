# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""The contract of everything that a gateway has on a host: a part, in one file, which the engine knows only as that.

A part has a frozen value: what is wanted, what the last run applied (``was``), and what the state file keeps. ``plan``
compares these with the host; the rest carries out, undoes and keeps what it found.

Neither this nor what carries out a change knows which parts there are: each caller hands over its own.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from .._base.errors import GatewayError
from .._rules.rows import Plan

if t.TYPE_CHECKING:  # pragma: no cover
    from .._backend.base import Backend
    from .._base.host import Host, Sight
    from .._facts.links import Facts
    from .._init.service import Init
    from .._resolve.resolved import Resolved

V = t.TypeVar("V")
FOLDER = "/etc/ipmasq"
NO_RULES = Plan((), ())


def stem(instance: str) -> str:
    """What the paths of an instance's files begin with."""
    return "{0}/{1}".format(FOLDER, instance)


@dataclass(frozen=True)
class Scene:
    """What a part may have to know beside its own values."""

    instance: str
    backend: t.Optional[Backend] = None
    listing: t.Optional[str] = None  # of the instance's rules as they are; None: they are not looked at
    plan: Plan = NO_RULES  # the instance's rules, as they are and as they will be
    facts: t.Optional[Facts] = None  # None: this change has nothing to do with links
    init: t.Optional[Init] = None
    interfaces: t.Tuple[str, ...] = ()  # names and patterns of the links that forward
    switched: t.Tuple[str, ...] = ()  # names of others whose switches are set, too
    others: t.Tuple[t.Any, ...] = ()  # states of the other instances
    same: bool = False  # the rules are those of the last run
    fresh: bool = False  # no state tells of an earlier run; a lost one may have left something
    since: str = ""  # which changes had ended before the host was read (``_rollback/meanwhile``)


@dataclass(frozen=True)
class Delta:
    """What a part would do."""

    lines: t.Tuple[str, ...] = ()  # for people: "+ wan0: address 203.0.113.9/32"
    do: t.Any = None  # the part's own; None: nothing to do
    cuts: bool = False  # may cut somebody off, so that it awaits a confirmation
    diff: t.Optional[t.Tuple[str, ...]] = None  # the lines for --diff, if they are others
    detail: bool = False  # follows from the declaration: --diff shows it with -v, or if the words do not tell
    drifted: bool = False  # somebody has changed what the last run applied


NOTHING = Delta()


@dataclass(frozen=True)
class Shell:
    """Lines of shell, and the files beside the script that they use, by name."""

    lines: t.Tuple[str, ...] = ()
    files: t.Mapping[str, str] = field(default_factory=dict)
    bare: bool = False  # of a rollback: it leaves the host without protection, so what opens the host goes first


class Kind(t.Generic[V]):
    """A part as the state file knows it. ``empty`` is its value if there is none of it; its class is the type."""

    def __init__(self, name: str, empty: V) -> None:
        self.name, self.empty = name, empty

    def of(self, holder: t.Any) -> V:
        """What a state holds of it; ``empty`` without a state."""
        found: V = holder.parts.get(self.name, self.empty) if holder else self.empty
        return found


class Part(Kind[V]):
    """One kind of thing that a gateway has on a host. Methods that a part does not need do nothing."""

    endings: t.Tuple[str, ...] = ()  # of all files that ``boot`` may name
    linked = False  # what it has to do depends on the links that exist
    opens = False  # it lets packets through, or in, which the other parts make safe

    def places(self, instance: str) -> t.Tuple[str, ...]:
        """The paths of all files that ``files`` may name."""
        return ()

    def want(self, gateway: Resolved, was: V, scene: Scene, sight: Sight) -> t.Tuple[V, t.Tuple[str, ...]]:
        """What a resolved gateway has of it, and notes. ``was`` may have been read from what a lost state has left."""
        raise NotImplementedError

    def salvage(self, instance: str, sight: Sight) -> V:
        """What its files reveal if the state is lost."""
        return self.empty

    def plan(self, was: V, want: V, scene: Scene, sight: Sight) -> Delta:
        """What has to be done; read-only. ``want`` is empty if the instance is removed."""
        raise NotImplementedError

    def check(self, delta: Delta, sight: Sight) -> None:
        """Raises GatewayError if it cannot be done; called before anything is touched."""

    def apply(self, delta: Delta, want: V, scene: Scene, host: Host) -> t.Tuple[str, ...]:
        """Do it, also if there is nothing to do: the rules have been loaded anew. Returns warnings."""
        return ()

    def verify(self, was: V, want: V, scene: Scene, sight: Sight) -> None:
        """Raises GatewayError if something is still to be done."""
        left = self.plan(was, want, scene, sight)
        if left.do is not None:
            raise GatewayError("after the change, this is still to be done: " + "; ".join(left.lines))

    def restore(self, delta: Delta, was: V, want: V, scene: Scene, sight: Sight) -> Shell:
        """The rollback, for the timer, for a run that fails, and for a person."""
        return Shell()

    def warnings(self, want: V, scene: Scene, sight: Sight) -> t.Tuple[str, ...]:
        """What will undo it, told in every run."""
        return ()

    def settle(self, was: V, want: V, scene: Scene) -> t.Tuple[str, ...]:
        """Lines of shell to run once the change is kept and its files are in place."""
        return ()

    def boot(self, want: V, scene: Scene) -> t.Mapping[str, str]:
        """The instance's files for the loader, by the ends of their names."""
        return {}

    def boot_lines(self, want: V, scene: Scene) -> t.Tuple[str, ...]:
        """Lines of shell with which the loader makes it, beside those files; one that fails closes the host."""
        return ()

    def files(self, want: V, scene: Scene) -> t.Mapping[str, t.Tuple[str, int]]:
        """Files elsewhere: path to text and mode."""
        return {}

    def drift(self, known: V, scene: Scene, sight: Sight) -> t.List[str]:
        """How the host differs from what was applied."""
        turned = {"+": "-", "-": "+"}
        lines = self.plan(known, known, scene, sight).lines
        return [turned.get(line[0], line[0]) + line[1:] for line in lines]


def parts_of(*pairs: t.Tuple[Kind[t.Any], t.Any]) -> t.Dict[str, t.Any]:
    """The parts of a state: those that are not empty."""
    return {kind.name: value for kind, value in pairs if value != kind.empty}
