# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Results as JSON, and the parts of docs/performance.md that stand between markers; the text around them stays."""

from __future__ import annotations

import json
import re
import typing as t
from pathlib import Path

from . import measure

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks/results"
PAGE = ROOT / "docs/performance.md"
PLOTS = "performance"
#: JSON has no comments.
LICENCE = "Copyright (c) 2026, ipmasq.linux contributors. SPDX-License-Identifier: GPL-3.0-or-later"

if t.TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    Data = dict[str, t.Any]


def store(name: str, data: Data, machine: dict[str, str], folder: Path = RESULTS) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    text = json.dumps(
        {"licence": LICENCE, "bench": name, "machine": machine, **data}, indent=1, ensure_ascii=False, default=str
    )
    path.write_text(join_numbers(text) + "\n", encoding="utf-8")
    return path


def join_numbers(text: str) -> str:
    """Lists of numbers on one line, so that a file of results can be read."""
    numbers = re.compile(r"\[\s+((?:[-\d.eE+]+|null)(?:,\s+(?:[-\d.eE+]+|null))*)\s+\]")
    return numbers.sub(lambda found: "[" + re.sub(r"\s+", " ", found.group(1)) + "]", text)


def load(names: Iterable[str], folder: Path = RESULTS) -> dict[str, Data]:
    """What was measured so far, also by earlier runs of single benches."""
    paths = {name: folder / f"{name}.json" for name in names}
    return {name: json.loads(path.read_text(encoding="utf-8")) for name, path in paths.items() if path.exists()}


def write_page(names: Sequence[str], results: dict[str, Data], page: Path = PAGE) -> None:
    text = page.read_text(encoding="utf-8")
    text = between(text, "budgets", budgets_table(names, results))
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
    machine = ", ".join(f"{key} {value}" for key, value in data["machine"].items() if value != "not installed")
    parts = [f"`make bench BENCHES={name}`, on this machine: {machine}."]
    for each in (one for one in data.get("tables", []) if "page" not in one):
        parts.append(f"### {each['title']}\n\n{table(each['columns'], each['rows'])}")
    for each in data.get("curves", []):
        parts.append(f"![{each['title']}]({PLOTS}/{each['id']}.svg)")
    if data.get("notes"):
        parts.append("\n".join(f"- {note}" for note in data["notes"]))
    return "\n\n".join(parts)


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


def number(value: float) -> str:
    """Three digits, or all those before the point: 0.0123, 1.23, 12.3, 12,345."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    digits = 2 if abs(value) >= 1 else 3
    return f"{value:.{digits - (abs(value) >= 10)}f}" if abs(value) >= 0.01 else f"{value:.2g}"


def spread(median: float, low: float, high: float, digits: int = 2) -> str:
    """A figure and its ends; a single value has none."""
    return f"{median:.{digits}f}" if low == high else f"{median:.{digits}f} ({low:.{digits}f}–{high:.{digits}f})"


def mebibytes(size: float | None) -> str:
    return "not known" if size is None else f"{size / 2**20:.0f}"


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
    ends = f"{number(line['low'])} – {number(line['high'])}" if line.get("low") is not None else ""
    verdict = "held" if held else "**missed**"
    return [
        line["what"],
        line["limit"],
        f"{number(line['measured'])} ×",
        ends,
        ": ".join(filter(None, [verdict, line["why"]])),
    ]


def plain(names: Sequence[str], results: dict[str, Data]) -> str:
    """The same for a terminal."""
    rows = [budget_row(line) for name in names for line in results.get(name, {}).get("budgets", [])]
    widths = [max((len(row[index]) for row in rows), default=0) for index in range(4)]
    return "\n".join("  ".join([*(f"{row[i]:{widths[i]}}" for i in range(4)), row[4]]).rstrip() for row in rows)
