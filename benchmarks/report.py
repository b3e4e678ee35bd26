# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Results as JSON, and the parts of docs/performance.md that stand between markers; the text around them stays."""

from __future__ import annotations

import importlib
import json
import re
import typing as t
from pathlib import Path

from . import measure, missed, summary
from .digits import number
from .job import found

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks/results"
PAGE = ROOT / "docs/performance.md"
PLOTS = "performance"
#: JSON has no comments.
LICENCE = "Copyright (c) 2026, ipmasq.linux contributors. SPDX-License-Identifier: GPL-3.0-or-later"

if t.TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from .job import Parts

    Data = dict[str, t.Any]


def store(name: str, parts: Parts, folder: Path = RESULTS) -> Path:
    """The parts of one bench, with each machine written once."""
    folder.mkdir(parents=True, exist_ok=True)
    machines: list[dict[str, str]] = []
    for part in parts.values():
        if part["machine"] not in machines:
            machines.append(part["machine"])
    numbered = {each: {**part, "machine": machines.index(part["machine"])} for each, part in parts.items()}
    path = folder / f"{name}.json"
    text = json.dumps(
        {"licence": LICENCE, "bench": name, "machines": machines, "parts": numbered}, indent=1, ensure_ascii=False
    )
    # A run may be interrupted while it writes.
    fresh = path.with_suffix(".new")
    fresh.write_text(join_numbers(text) + "\n", encoding="utf-8")
    fresh.replace(path)
    return path


def join_numbers(text: str) -> str:
    """Lists of numbers on one line, so that a file of results can be read."""
    numbers = re.compile(r"\[\s+((?:[-\d.eE+]+|null)(?:,\s+(?:[-\d.eE+]+|null))*)\s+\]")
    return numbers.sub(lambda found: "[" + re.sub(r"\s+", " ", found.group(1)) + "]", text)


def load(names: Iterable[str], folder: Path = RESULTS) -> dict[str, Parts]:
    """What was measured so far, also by earlier runs of single benches; nothing of a bench that never ran."""
    loaded: dict[str, Parts] = {}
    for name in names:
        loaded[name] = {}
        path = folder / f"{name}.json"
        if path.exists():
            data = json.loads(path.read_text(encoding="utf-8"))
            loaded[name] = {
                each: {**part, "machine": data["machines"][part["machine"]]} for each, part in data["parts"].items()
            }
    return loaded


def tell(loaded: dict[str, Parts], full: bool = True) -> dict[str, Data]:
    """Tables, curves, budgets and notes of each bench, with the parts that they come from."""
    return {name: {**_teller(name)(found(parts), full), "parts": parts} for name, parts in loaded.items()}


def _teller(name: str) -> Callable[[dict[str, t.Any], bool], Data]:
    told: Callable[[dict[str, t.Any], bool], Data] = importlib.import_module(f"{__package__}.{name}").told
    return told


def write_page(names: Sequence[str], results: dict[str, Data], page: Path = PAGE) -> None:
    text = page.read_text(encoding="utf-8")
    text = between(text, "summary", summary.text(results, PLOTS))
    text = between(text, "budgets", budgets_table(names, results))
    text = between(text, "missed", missed.text(results))
    for name, data in results.items():
        text = between(text, name, section(name, data))
        for each in data.get("tables", []):
            write_table(each, page.parent)
    page.write_text(text, encoding="utf-8")


def write_table(each: Data, folder: Path) -> None:
    """A table may belong to a page of its own, between markers with its name."""
    if "page" in each:
        page = folder / each["page"]
        part = f"{each['title']}:\n\n{table(each['columns'], each['rows'])}"
        page.write_text(between(page.read_text(encoding="utf-8"), each["id"], part), encoding="utf-8")


def between(text: str, name: str, part: str) -> str:
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    pattern = re.compile(re.escape(begin) + ".*" + re.escape(end), re.S)
    if not pattern.search(text):
        raise ValueError(f"{PAGE.name} has no markers of {name}")
    return pattern.sub(lambda _found: f"{begin}\n\n{part.strip()}\n\n{end}", text)


def section(name: str, data: Data) -> str:
    """Everything of one bench but its budgets: how, where, tables, curves, notes."""
    parts = [measured_by(name, data["parts"])]
    for each in (one for one in data.get("tables", []) if "page" not in one and one["rows"]):
        parts.append(f"### {each['title']}\n\n{table(each['columns'], each['rows'])}")
    for each in (one for one in data.get("curves", []) if any(one["series"].values())):
        parts.append(f"![{each['title']}]({PLOTS}/{each['id']}.svg)")
    if data.get("notes"):
        parts.append("\n".join(f"- {note}" for note in data["notes"]))
    return "\n\n".join(parts)


def measured_by(name: str, parts: Parts) -> str:
    """When and where; if some parts are older than others, which."""
    groups: dict[tuple[str, str], list[str]] = {}
    for each, part in parts.items():
        machine = ", ".join(f"{key} {value}" for key, value in part["machine"].items() if value != "not installed")
        groups.setdefault((part["date"], machine), []).append(each)
    begun = f"`make bench BENCHES={name}`"
    others = max((part.get("others", 0.0) for part in parts.values()), default=0.0)
    newest = max(groups, default=("", ""))
    lines = (
        [f"{begun}, measured on {newest[0]} on this machine: {newest[1]}."] if groups else [f"{begun}: not run yet."]
    )
    for (date, machine), names in sorted(groups.items(), reverse=True):
        if (date, machine) != newest:
            lines.append(f"Older, of {date}, on {machine}: {'; '.join(names)}.")
    if others:
        lines.append(f"When a part began, other programs used at most {others:.0%} of the processors' time.")
    return "\n\n".join(lines)


def table(columns: Sequence[str], rows: Sequence[Sequence[t.Any]]) -> str:
    """Markdown; a column of figures stands to the right."""
    right = [all(_is_figure(row[index]) for row in rows) for index in range(len(columns))]
    lines = [[cell(each) for each in row] for row in rows]
    rule = "|" + "|".join("---:" if each else "---" for each in right) + "|"
    return "\n".join(["| " + " | ".join(columns) + " |", rule, *("| " + " | ".join(line) + " |" for line in lines)])


def _is_figure(value: t.Any) -> bool:
    return not isinstance(value, str) or bool(re.match(r"[\d.,–-]*$|[\d.,]+ ", value))


def cell(value: t.Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return number(value)
    if isinstance(value, int):
        return f"{value:,}"
    return str(value).replace("|", "\\|").replace("\n", " ")


def budgets_table(names: Sequence[str], results: dict[str, Data]) -> str:
    rows = []
    for name in names:
        if name not in results:
            rows.append([f"(all of {name})", "", "", "", f"not run yet: `make bench BENCHES={name}`"])
        rows += [budget_row(line) for line in results.get(name, {}).get("budgets", [])]
    return table(["what", "budget", "measured", "lowest – highest", ""], rows)


def budget_row(line: Data) -> list[str]:
    held = measure.is_held(line)
    if held is None:
        return [line["what"], line["limit"], "–", "", f"not measured: {line['why']}"]
    single = line.get("low") is None or line["low"] == line["high"]
    ends = "" if single else f"{number(line['low'])} – {number(line['high'])}"
    unit = line.get("unit", "×")
    value = line["measured"]
    shown = number(value) if unit == "×" or value != int(value) else f"{int(value):,}"
    verdict = "held" if held else "**missed**"
    return [
        line["what"],
        line["limit"],
        f"{shown} {unit}".strip(),
        ends,
        ": ".join(filter(None, [verdict, line["why"]])),
    ]


def plain(names: Sequence[str], results: dict[str, Data]) -> str:
    """The same for a terminal."""
    rows = [budget_row(line) for name in names for line in results.get(name, {}).get("budgets", [])]
    widths = [max((len(row[index]) for row in rows), default=0) for index in range(4)]
    return "\n".join("  ".join([*(f"{row[i]:{widths[i]}}" for i in range(4)), row[4]]).rstrip() for row in rows)
