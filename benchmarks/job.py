# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One run of one bench: how much of it, what the last run has left, and each part kept as soon as it is done.

A bench measures parts, and computes everything that the page shows from them. So a run that is interrupted, or that
leaves out what does not change, loses nothing: each part has the date on which it was measured, and its machine.
"""

from __future__ import annotations

import contextlib
import json
import time
import traceback
import typing as t

from . import machine as machines

if t.TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    Found = dict[str, t.Any]
    Parts = dict[str, dict[str, t.Any]]

FULL, QUICK, SMOKE = "full", "quick", "smoke"
#: What a ratio between tools in one round depends on most. The rest of the machine is shown beside a row that is kept.
SAME = ("ansible-core",)


class Job:
    def __init__(
        self,
        mode: str = SMOKE,
        say: Callable[[str], None] = print,
        *,
        parts: Parts | None = None,
        again: bool = False,
        resume: bool = False,
        date: str = "",
        machine: Mapping[str, str] | None = None,
        keep: Callable[[Parts], None] | None = None,
    ) -> None:
        self.mode, self.say, self.date = mode, say, date
        self.parts: Parts = dict(parts or {})
        self.machine = dict(machine or {})
        #: Parts measured in this run → seconds; and those that broke off → why.
        self.took: dict[str, float] = {}
        self.broken: dict[str, str] = {}
        self._again, self._resume, self._keep = again, resume, keep

    @property
    def quick(self) -> bool:
        return self.mode == QUICK

    @property
    def smoke(self) -> bool:
        return self.mode == SMOKE

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[Found]:
        """What is put into the dictionary is kept at the end. If a part breaks off, the others still run."""
        found: Found = {}
        # What others do just now spreads the figures; a reader can judge that.
        others = round(machines.in_use(0.5), 2) if self.mode == FULL else 0.0
        start = time.monotonic()
        try:
            yield found
        except Exception as error:
            self.broken[name] = f"{type(error).__name__}: {error}"
            self.say(f"{name}: broke off: {self.broken[name]}")
            for line in "".join(traceback.format_tb(error.__traceback__)[-3:]).splitlines():
                self.say("    " + line)
            return
        self.took[name] = time.monotonic() - start
        self.parts[name] = {
            "date": self.date,
            "seconds": round(self.took[name], 1),
            "others": others,
            "machine": self.machine,
            "found": plain(found),
        }
        self.say(f"{name}: done after {self.took[name]:.0f} s")
        if self._keep:
            self._keep(self.parts)

    def due(self, name: str) -> bool:
        """Whether to measure a part: one of today is kept if a run that was interrupted is resumed."""
        known = self._resume and self.parts.get(name)
        if known and known["date"] == self.date and known["machine"] == self.machine:
            self.say(f"{name}: kept from the run before, of today")
            return False
        return True

    def wanted(self, name: str) -> bool:
        """Whether to measure a slow part that does not depend on our code; else what the last run left is kept."""
        if self.mode != FULL or self._again or name not in self.parts:
            return True
        theirs = self.parts[name]["machine"]
        return any(theirs.get(key) != self.machine.get(key) for key in SAME)

    def found(self) -> dict[str, Found]:
        return found(self.parts)


def found(parts: Mapping[str, Mapping[str, t.Any]]) -> dict[str, t.Any]:
    """What was found, and when."""
    return {name: {**part["found"], "date": part["date"]} for name, part in parts.items()}


def plain(value: t.Any) -> t.Any:
    """As it will be read from a file: names of entries are strings."""
    return json.loads(json.dumps(value, default=str))


def estimate(plan: Mapping[str, float], parts: Parts, kept: t.Container[str] = ()) -> float:
    """Seconds that the parts of a plan will take: as many as they took in the last run, or as the plan guesses."""
    return sum(
        parts[name]["seconds"] or guess if name in parts else guess for name, guess in plan.items() if name not in kept
    )
