# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""make bench: python -m benchmarks [NAME …] [--quick]

Without names all of them run, one after the other. What is measured goes to benchmarks/results and docs/performance.md;
--quick writes nothing, and exits with 1 if a budget is missed by more than 25 %, with 2 if the machine is too busy.
"""

from __future__ import annotations

import argparse
import importlib
import os
import subprocess
import sys
import time
import typing as t

from . import machine, measure, report

NAMES = ("control", "fleet", "data", "sessions")
#: A share of the processors' time in use by others with which ratios still repeat.
BUSY = 0.2
#: matplotlib has a virtual environment of its own, out of the way of what is measured.
PLOTTER = report.ROOT / ".cache/bench/bin/python"


def main(arguments: list[str]) -> int:
    options = read(arguments)
    # Benches drive the engine as the tests do.
    sys.path[:0] = [str(report.ROOT / ".cache/collections"), str(report.ROOT / "tests")]
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    if options.quick and (used := machine.in_use()) > BUSY:
        print(f"this machine is too busy to tell: {used:.0%} of its processors' time is in use", file=sys.stderr)
        return 2
    found = {} if options.report else {name: run(name, options.quick) for name in options.names}
    if options.quick:
        return judge(found)
    about = machine.describe()
    for name, data in found.items():
        if not data.get("broken"):
            report.store(name, data, about)
    results = report.load(NAMES)
    plot(results)
    report.write_page(NAMES, results)
    print(report.plain(NAMES, results))
    return 1 if any(data.get("broken") for data in found.values()) else 0


def read(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure, side by side.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="of " + ", ".join(NAMES))
    parser.add_argument("--quick", action="store_true", help="key ratios only, under 3 minutes; writes nothing")
    parser.add_argument("--report", action="store_true", help="measure nothing: plots and document from what is stored")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.names if name not in NAMES]
    if unknown:
        parser.error(f"no such bench: {', '.join(unknown)}; there are {', '.join(NAMES)}")
    options.names = options.names or list(NAMES)
    return options


def run(name: str, quick: bool) -> dict[str, t.Any]:
    """One bench. If it breaks, the others still run."""

    def say(line: str) -> None:
        print(f"{name:9}│ {line}", flush=True)

    start = time.monotonic()
    try:
        data: dict[str, t.Any] = importlib.import_module(f"benchmarks.{name}").run(quick, say)
    except Exception as error:
        say(f"broke off: {type(error).__name__}: {error}")
        return {"broken": f"{type(error).__name__}: {error}", "budgets": []}
    say(f"done after {time.monotonic() - start:.0f} s")
    return data


def judge(found: dict[str, dict[str, t.Any]]) -> int:
    print(report.plain(NAMES, found))
    late = [
        line["what"]
        for data in found.values()
        for line in data["budgets"]
        if measure.is_held(line, measure.MARGIN) is False
    ]
    for what in late:
        print(f"past its budget by more than {measure.MARGIN - 1:.0%}: {what}", file=sys.stderr)
    silent = [line for data in found.values() for line in data["budgets"] if measure.is_held(line) is None]
    for line in silent:
        print(f"not measured: {line['what']}: {line['why']}", file=sys.stderr)
    broken = [name for name, data in found.items() if data.get("broken")]
    for name in broken:
        print(f"did not run: {name}: {found[name]['broken']}", file=sys.stderr)
    return 1 if late or silent or broken else 0


def plot(results: dict[str, dict[str, t.Any]]) -> None:
    if not PLOTTER.exists():
        print("no plots: no matplotlib here; make bench sets it up", file=sys.stderr)
        return
    paths = [str(report.RESULTS / f"{name}.json") for name in results]
    folder = report.PAGE.parent / report.PLOTS
    subprocess.run([str(PLOTTER), str(report.ROOT / "benchmarks/plot.py"), str(folder), *paths], check=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
