# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Missed budgets: why, what was tried, and what comes next. missed.yml is written by hand, and survives every run."""

from __future__ import annotations

import typing as t
from pathlib import Path

import yaml

from . import measure

if t.TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Entry = dict[str, t.Any]

PATH = Path(__file__).with_name("missed.yml")
KEYS = {"title", "budgets", "reason", "tried", "next"}


def entries(path: Path = PATH) -> list[Entry]:
    found: list[Entry] = yaml.safe_load(path.read_text(encoding="utf-8"))["missed"] or []
    for each in found:
        if set(each) != KEYS or not all(each.values()):
            raise ValueError(f"{path.name}: an entry has exactly {', '.join(sorted(KEYS))}: {each}")
    return found


def text(results: Mapping[str, Mapping[str, t.Any]], known: Sequence[Entry] | None = None) -> str:
    """For the page, and which of them still lack their reason."""
    known = entries() if known is None else known
    missed = [line["what"] for line in _lines(results) if measure.is_held(line) is False]
    parts = []
    for each in known:
        those = [what for what in each["budgets"] if what in missed]
        if those:
            told = f"{one(each['reason'])} *Tried*: {one(each['tried'])} *Next*: {one(each['next'])}"
            parts.append(f"- **{one(each['title'])}** ({'; '.join(those)}). {told}")
    parts += [f"- **{what}**: the reason is not written yet." for what in wrong(results, known)[0]]
    return "\n".join(parts) or "None."


def wrong(
    results: Mapping[str, Mapping[str, t.Any]], known: Sequence[Entry] | None = None
) -> tuple[list[str], list[str]]:
    """Missed budgets without an entry; and entries for budgets that are held, or that there are not."""
    known = entries() if known is None else known
    verdicts = {line["what"]: measure.is_held(line) for line in _lines(results)}
    missed = [what for what, held in verdicts.items() if held is False]
    explained = [what for each in known for what in each["budgets"]]
    stale = [what for what in explained if verdicts.get(what, True)]
    return [what for what in missed if what not in explained], stale


def one(words: str) -> str:
    return " ".join(words.split())


def _lines(results: Mapping[str, Mapping[str, t.Any]]) -> list[dict[str, t.Any]]:
    return [line for data in results.values() for line in data.get("budgets", [])]
