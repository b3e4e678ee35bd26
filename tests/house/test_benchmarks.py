# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Benches compute and report correctly; no test asserts what they measure."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from ansible_collections.ipmasq.linux.benchmarks import __main__ as runner, machine, measure, report

if TYPE_CHECKING:
    from pathlib import Path

CURVE = {"id": "x", "title": "Some curve", "x": "entries", "y": "per second", "series": {"ours": [[1, 2.0, 1.0, 3.0]]}}
DATA = {
    "title": "Data plane",
    "tables": [
        {"id": "t", "title": "Bulk", "columns": ["way", "Gbit/s"], "rows": [["ours", 12.345], ["theirs", None]]}
    ],
    "curves": [CURVE],
    "budgets": [measure.budget("bulk", measure.Ratio(0.9, 0.8, 1.0), at_least=0.95, why="too many rules")],
    "notes": ["The generator takes half of it."],
    "raw": {"bulk": [1.0, 2.0, None]},
}
MACHINE = {"kernel": "6.1", "podman": "not installed"}


def test_candidates_are_measured_in_turn() -> None:
    order: list[str] = []

    def candidate(name: str) -> float:
        order.append(name)
        return float(len(order))

    found = measure.alternately({"a": lambda: candidate("a"), "b": lambda: candidate("b")}, 2)
    assert order == ["a", "b", "a", "b"]
    assert found == {"a": [1, 3], "b": [2, 4]}


def test_ratio_is_that_of_each_round() -> None:
    """A machine that is ten times slower in one round alters nothing."""
    assert measure.ratio([2, 20, 3], [1, 10, 1]) == (2, 2, 3)


def test_ratio_wants_whole_rounds() -> None:
    with pytest.raises(ValueError, match="zip"):
        measure.ratio([1, 2], [1])


def test_spread() -> None:
    assert measure.spread([1, 2, 3, 4, 5]) == (1, 2, 4, 5)
    assert measure.spread([7]) == (7, 7, 7, 7)


@pytest.mark.parametrize(
    "limit, measured, held, nearly",
    [
        ({"at_most": 1.5}, 1.5, True, True),
        ({"at_most": 1.5}, 1.8, False, True),
        ({"at_most": 1.5}, 1.9, False, False),
        ({"at_least": 0.95}, 0.95, True, True),
        ({"at_least": 0.95}, 0.8, False, True),
        ({"at_least": 0.95}, 0.7, False, False),
    ],
)
def test_budget(limit: dict, measured: float, held: bool, nearly: bool) -> None:
    line = measure.budget("x", measure.Ratio(measured, 0, 9), **limit)
    assert measure.is_held(line) is held
    assert measure.is_held(line, measure.MARGIN) is nearly


def test_what_was_not_measured_is_not_held_and_says_why() -> None:
    line = measure.budget("x", None, at_most=2, why="no podman here")
    assert measure.is_held(line) is None
    assert report.budget_row(line)[-1] == "not measured: no podman here"


@pytest.mark.parametrize(
    "value, shown",
    [
        (0.0, "0"),
        (0.00123, "0.0012"),
        (0.0123, "0.012"),
        (1.234, "1.23"),
        (12.34, "12.3"),
        (123.4, "123"),
        (9e4, "90,000"),
    ],
)
def test_three_digits(value: float, shown: str) -> None:
    assert report.number(value) == shown


def test_page_keeps_the_text_around_the_figures(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "a\n<!-- budgets: begin -->\nold\n<!-- budgets: end -->\nb\n<!-- data: begin --><!-- data: end -->\n"
    )
    report.store("data", DATA, MACHINE, tmp_path)
    results = report.load(("data", "fleet"), tmp_path)
    report.write_page(("data", "fleet"), results, page)
    text = page.read_text()
    assert text.startswith("a\n<!-- budgets: begin -->\n\n| what |") and "\nb\n" in text and "old" not in text
    assert "| bulk | ≥ 0.95 × | 0.900 × | 0.800 – 1.00 | **missed**: too many rules |" in text
    assert "not run yet: `make bench BENCHES=fleet`" in text
    assert "| ours | 12.3 |\n| theirs | – |" in text
    assert "on this machine: kernel 6.1." in text
    assert "![Some curve](performance/x.svg)" in text
    report.write_page(("data", "fleet"), results, page)
    assert page.read_text() == text


def test_results_are_kept_whole(tmp_path: Path) -> None:
    path = report.store("data", DATA, MACHINE, tmp_path)
    text = path.read_text()
    assert {key: json.loads(text)[key] for key in DATA} == json.loads(json.dumps(DATA))
    assert '"bulk": [1.0, 2.0, null]' in text


def test_quick_run_fails_past_the_margin_and_on_what_was_not_measured(capsys: pytest.CaptureFixture) -> None:
    assert runner.judge({"data": DATA}) == 0
    late = {**DATA, "budgets": [measure.budget("bulk", measure.Ratio(0.1, 0.1, 0.1), at_least=0.95)]}
    assert runner.judge({"data": late}) == 1
    assert "past its budget by more than 25%: bulk" in capsys.readouterr().err
    assert runner.judge({"data": {"broken": "no room", "budgets": []}}) == 1
    silent = measure.budget("loading", None, at_most=2, why="takes more than 40 s")
    assert runner.judge({"data": {**DATA, "budgets": [silent]}}) == 1


def test_every_bench_has_its_place_on_the_page() -> None:
    text = report.PAGE.read_text(encoding="utf-8")
    for name in ("budgets", *runner.NAMES):
        report.between(text, name, "")


def test_a_busy_machine_tells_nothing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(machine, "in_use", lambda: 0.9)
    monkeypatch.setattr(runner, "run", lambda *_args: pytest.fail("it measures"))
    assert runner.main(["--quick"]) == 2
    assert capsys.readouterr().err == "this machine is too busy to tell: 90% of its processors' time is in use\n"


def test_what_others_use_is_seen() -> None:
    with subprocess.Popen(["sh", "-c", "while :; do :; done"]) as spins:
        used = machine.in_use(0.5)
        spins.kill()
    assert 0.4 / (os.cpu_count() or 1) < used <= 1
