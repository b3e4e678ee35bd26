# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Candidates measured in turn, and what their figures say about each other."""

from __future__ import annotations

import statistics
import typing as t

if t.TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

#: A regression guard on machines with other work to do: a budget may be missed by so much.
MARGIN = 1.25


class Spread(t.NamedTuple):
    """Where the single values lie: ends, and the quartiles between them."""

    low: float
    lower: float
    upper: float
    high: float


class Ratio(t.NamedTuple):
    """The median of the ratios of each round, and their ends."""

    median: float
    low: float
    high: float


def alternately(candidates: Mapping[str, Callable[[], float]], pairs: int) -> dict[str, list[float]]:
    """Each candidate in its turn, round by round (A B C A B C …), so that a slow minute hits all of them."""
    found: dict[str, list[float]] = {name: [] for name in candidates}
    for _round in range(pairs):
        for name, candidate in candidates.items():
            found[name].append(candidate())
    return found


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def spread(values: Sequence[float]) -> Spread:
    if len(values) == 1:
        return Spread(*[values[0]] * 4)
    lower, _middle, upper = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(min(values), lower, upper, max(values))


def ratio(ours: Sequence[float], floor: Sequence[float]) -> Ratio:
    """Ours as a multiple of the floor, each value against the one of the same round."""
    within = [one / other for one, other in zip(ours, floor, strict=True)]
    return Ratio(statistics.median(within), min(within), max(within))


def point(x: float, values: Sequence[float]) -> list[float]:
    """A point of a curve: x, median, lowest, highest."""
    return [x, median(values), min(values), max(values)]


def exactly(value: float) -> Ratio:
    """What is counted, or measured once."""
    return Ratio(value, value, value)


def of(values: Sequence[float]) -> Ratio:
    """The median of plain figures, and their ends."""
    return Ratio(statistics.median(values), min(values), max(values))


def budget(
    what: str,
    measured: Ratio | None,
    *,
    at_most: float | None = None,
    at_least: float | None = None,
    unit: str = "×",
    why: str = "",
) -> dict[str, t.Any]:
    """A line of the table of budgets. Nothing measured: ``why`` says the reason."""
    limit = f"≤ {at_most:g} {unit}" if at_most is not None else f"≥ {at_least:g} {unit}"
    bound = {"at_most": at_most} if at_most is not None else {"at_least": at_least}
    figures = measured or (None, None, None)
    return {
        "what": what,
        "limit": limit.strip(),
        "unit": unit,
        **bound,
        **dict(zip(("measured", "low", "high"), figures, strict=True)),
        "why": why,
    }


def is_held(line: Mapping[str, t.Any], margin: float = 1.0) -> bool | None:
    """Whether a budget is held, with a margin if one is given; None if it was not measured."""
    if line["measured"] is None:
        return None
    if "at_most" in line:
        return bool(line["measured"] <= line["at_most"] * margin)
    return bool(line["measured"] >= line["at_least"] / margin)
