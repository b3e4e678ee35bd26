# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""The steps of a load, the only function that takes them, and the same for the shell."""

from __future__ import annotations

import typing as t

from .._base.errors import GatewayError

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.host import Host


class Step(t.NamedTuple):
    """One process of a load."""

    argv: t.Tuple[str, ...]
    stdin: t.Optional[str] = None
    #: The end of the name of the file that has ``stdin`` at boot; empty if the boot does not need it.
    file: str = ""
    #: What the program's error message means, for people; None if this step may fail.
    explain: t.Optional[t.Callable[[str], str]] = None
    #: A process that undoes this step if a later one fails. Rules need none: the rollback loads the old ones.
    undo: t.Tuple[str, ...] = ()


class Boot(t.NamedTuple):
    """A load without Python."""

    #: Lines of shell, each of which fails if rules are refused.
    lines: t.Tuple[str, ...]
    #: The files that they use, by the ends of their names.
    files: t.Mapping[str, str]


def load(steps: t.Sequence[Step], host: Host) -> None:
    """Take the steps in turn. Raises GatewayError with the program's message if one of them is refused."""
    for number, step in enumerate(steps):
        done = host.run(list(step.argv), stdin=step.stdin)
        if done.rc != 0 and step.explain:
            for earlier in reversed(steps[:number]):
                if earlier.undo:
                    host.run(list(earlier.undo))
            raise GatewayError("{0}: {1}".format(step.argv[0], step.explain(done.err)))


def files_of(steps: t.Iterable[Step]) -> t.Dict[str, str]:
    """The texts that the boot needs, by the ends of their files' names."""
    return {step.file: step.stdin for step in steps if step.file and step.stdin is not None}
