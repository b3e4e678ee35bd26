# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Errors for the user: plain sentences, all reported together."""

from __future__ import annotations

import typing as t


class GatewayError(Exception):
    """An error for the user. ``problems`` holds complete sentences and is never empty."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems: t.Tuple[str, ...] = problems

    def add(self, problem: str) -> None:
        self.problems += (problem,)
        self.args = ("\n".join(self.problems),)


class MissingProgram(GatewayError):  # noqa: N818 - reads as what it is
    """A program is not installed: the one problem that the role can fix by itself."""

    def __init__(self, program: str, problem: str) -> None:
        super().__init__(problem)
        self.program = program


def printable(text: str) -> str:
    """The text without characters that control a terminal: line breaks, escapes, direction marks."""
    return text if text.isprintable() else "".join(char if char.isprintable() else "?" for char in text)


def first_lines(err: str) -> str:
    """The first two lines of a tool's error output, without hints."""
    lines = [line.strip() for line in err.splitlines() if line.strip() and not line.startswith(("#", "Try "))]
    return "; ".join(lines[:2]) or "no message"


#: Maximum length of a problem. Only lists of names are longer, and their beginning is enough.
LONGEST = 1000


class Problems:
    """Collects the problems of one call, so that the user can fix all of them at once.

    >>> problems = Problems()
    >>> problems.add("lans[0] 'office'", "interfaces is empty; name at least one")
    >>> problems.found
    ["lans[0] 'office': interfaces is empty; name at least one"]
    """

    def __init__(self) -> None:
        self.found: t.List[str] = []
        self.places: t.List[str] = []

    def add(self, where: str, sentence: str) -> None:
        """Add one printable line of limited length, whatever names and values it contains."""
        self.places.append(where)
        line = printable("{0}: {1}".format(where, sentence))
        self.found.append(line if len(line) <= LONGEST else line[: LONGEST - 1] + "…")

    def take(self, others: Problems) -> None:
        self.places += others.places
        self.found += others.found

    def raise_if_any(self) -> None:
        if self.found:
            raise GatewayError(*self.found)
