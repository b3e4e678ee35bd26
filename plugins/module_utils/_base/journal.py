# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Lines for the host's journal, one per event: ``journalctl -t ipmasq``."""

from __future__ import annotations

import typing as t

#: A shell function that logs one line. Without a journal (on a console at boot), it also prints the line.
SAY = """\
say() {
    logger -t ipmasq -- "$1" 2> /dev/null && [ -n "$JOURNAL_STREAM" ] || echo "ipmasq: $1" >&2
}
"""
#: Journal lines are for people, so a long list is cut.
MOST_LINES = 8
LONGEST = 160


def line(instance: str, event: str) -> str:
    return "{0}: {1}".format(instance, event)


def changed(by: str, lines: t.Sequence[str], until: str = "") -> str:
    waits = ", awaits confirmation until {0}".format(until) if until else ""
    return "changed {0}{1}: {2}".format(by, waits, _listed(lines))


def failed(by: str, problems: t.Sequence[str]) -> str:
    return "the change {0} has failed: {1}".format(by, _listed(problems))


def _listed(lines: t.Sequence[str]) -> str:
    told = [line if len(line) <= LONGEST else line[: LONGEST - 1] + "…" for line in lines[:MOST_LINES]]
    if len(lines) > MOST_LINES:
        told.append("and {0} more".format(len(lines) - MOST_LINES))
    return "; ".join(told)
