# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""The errors that reach a user, always as plain sentences and always all together."""

from __future__ import annotations

import typing as t


class GatewayError(Exception):
    """Something the user has to know. ``problems`` holds one complete sentence each, never empty."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems: t.Tuple[str, ...] = problems


class MissingProgram(GatewayError):  # noqa: N818 - reads as what it is
    """A program is not installed: the one problem that the role can mend by itself."""

    def __init__(self, program: str, problem: str) -> None:
        super().__init__(problem)
        self.program = program


def printable(text: str) -> str:
    """Without what a terminal would obey: line ends, escapes, marks that change the direction."""
    return "".join(char if char.isprintable() else "?" for char in text)


def first_lines(err: str) -> str:
    """What a tool says is wrong, without its hints."""
    lines = [line.strip() for line in err.splitlines() if line.strip() and not line.startswith(("#", "Try "))]
    return "; ".join(lines[:2]) or "no message"


#: Characters of one problem. What needs more is a list of names, and its beginning is enough.
LONGEST = 1000


class Problems:
    """Collects every problem of one call, so that a user mends all of them in one go.

    >>> problems = Problems()
    >>> problems.add("lans[0] 'office'", "interfaces is empty; name at least one")
    >>> problems.found
    ["lans[0] 'office': interfaces is empty; name at least one"]
    """

    def __init__(self) -> None:
        self.found: t.List[str] = []
        self.places: t.List[str] = []

    def add(self, where: str, sentence: str) -> None:
        """One printable line of limited length, whatever names and values in it were."""
        self.places.append(where)
        line = printable("{0}: {1}".format(where, sentence))
        self.found.append(line if len(line) <= LONGEST else line[: LONGEST - 1] + "…")

    def raise_if_any(self) -> None:
        if self.found:
            raise GatewayError(*self.found)
