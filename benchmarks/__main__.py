# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""make bench: python -m benchmarks [NAME …] [--quick | --smoke | --report] [--all] [--resume]

Without names all of them run, one after the other. Each part goes to benchmarks/results as soon as it is measured, and
in the end all to docs/performance.md; slow parts of other tools are kept from the last run that measured them, unless
--all. --quick writes nothing, and exits with 1 if a budget is missed by more than 25 %, with 2 if the machine is too
busy. --smoke walks through everything with the least of each, writes nothing, and shows whether a full run can end.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import typing as t
from pathlib import Path

from . import job, machine, measure, missed, report, summary

if t.TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .job import Job, Parts

NAMES = ("control", "fleet", "data", "sessions", "promises", "offload")
#: A share of the processors' time in use by others with which ratios still repeat.
BUSY = 0.2
#: Seconds after which a quick run gives up, as the machine became busy. The rest of three minutes is for tidying up.
QUICK_WITHIN = 160
#: Seconds of a bench before and after its parts: a lab is made and removed.
AROUND = {"control": 90, "fleet": 30}
#: matplotlib has a virtual environment of its own, out of the way of what is measured.
PLOTTER = report.ROOT / ".cache/bench/bin/python"
README = report.ROOT / "README.md"
#: A smoke run leaves its results and its page here.
SMOKED = report.ROOT / ".cache/bench/smoke"


class TooLong(BaseException):
    """A quick run is not done in time. No bench may take it for a part that breaks."""


def main(arguments: list[str]) -> int:
    options = read(arguments)
    # Benches drive the engine as the tests do.
    sys.path[:0] = [str(report.ROOT / ".cache/collections"), str(report.ROOT / "tests")]
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    if options.quick:
        return quick(options.names)
    if options.smoke:
        return smoke(options.names)
    if options.report:
        return publish()
    return full(options.names, options.all, options.resume)


def read(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure, side by side.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="of " + ", ".join(NAMES))
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--quick", action="store_true", help="key ratios only, under 3 minutes; writes nothing")
    how.add_argument("--smoke", action="store_true", help="every part with the least of each; writes nothing")
    how.add_argument("--report", action="store_true", help="measure nothing: plots and document from what is stored")
    parser.add_argument("--all", action="store_true", help="measure slow parts of other tools again, too")
    parser.add_argument("--resume", action="store_true", help="keep what was measured today, after an interrupted run")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.names if name not in NAMES]
    if unknown:
        parser.error(f"no such bench: {', '.join(unknown)}; there are {', '.join(NAMES)}")
    options.names = options.names or list(NAMES)
    return options


def saying(name: str) -> Callable[[str], None]:
    def say(line: str) -> None:
        print(f"{name:9}│ {line}", flush=True)

    return say


def keeping(name: str) -> Callable[[Parts], None]:
    def keep(parts: Parts) -> None:
        report.store(name, parts)

    return keep


def run(name: str, one: Job) -> Job:
    """One bench. If it breaks, the others still run."""
    start = time.monotonic()
    try:
        importlib.import_module(f"benchmarks.{name}").run(one)
    except Exception as error:
        one.broken["as a whole"] = f"{type(error).__name__}: {error}"
        one.say(f"broke off: {one.broken['as a whole']}")
    one.say(f"done after {time.monotonic() - start:.0f} s")
    return one


# --- a full run ------------------------------------------------------------------------------------------------------


def full(names: list[str], again: bool, resume: bool = False) -> int:
    stored, about = report.load(NAMES), machine.describe()
    date = dt.datetime.now(tz=dt.timezone.utc).date().isoformat()
    jobs = {}
    for name in names:
        jobs[name] = job.Job(
            job.FULL, saying(name), parts=stored.get(name, {}), again=again, resume=resume, date=date,
            machine=about, keep=keeping(name),
        )  # fmt: skip
    print(estimate(jobs), flush=True)
    if (used := machine.in_use()) > BUSY:
        print(f"this machine is busy: {used:.0%} of its processors' time is in use; figures will spread", flush=True)
    try:
        for name, one in jobs.items():
            run(name, one)
    finally:
        # An interrupted run keeps what it has measured.
        publish()
    print("\n".join(took(jobs)))
    broken = [f"{name}, {part}: {why}" for name, one in jobs.items() for part, why in one.broken.items()]
    for each in broken:
        print(f"broke off: {each}", file=sys.stderr)
    return 1 if broken else 0


def estimate(jobs: dict[str, Job]) -> str:
    lines, whole = [], 0.0
    for name, one in jobs.items():
        plan: dict[str, float] = importlib.import_module(f"benchmarks.{name}").PLAN
        kept = {part: one.parts[part]["date"] for part in plan if part.startswith("peers") and not one.wanted(part)}
        seconds = job.estimate(plan, one.parts, kept) + AROUND.get(name, 0)
        whole += seconds
        lines.append(f"{name}: about {seconds / 60:.0f} minutes" + (f"; kept: {dated(kept)}" if kept else ""))
    return "\n".join([*lines, f"all of it: about {whole / 60:.0f} minutes"])


def dated(kept: dict[str, str]) -> str:
    return "; ".join(f"{part}, of {date}" for part, date in kept.items())


def took(jobs: dict[str, Job]) -> list[str]:
    lines = [f"{name}, {part}: {seconds:.0f} s" for name, one in jobs.items() for part, seconds in one.took.items()]
    return ["", "what each part took:", *lines]


def publish(page: Path = report.PAGE, readme: Path = README, loaded: dict[str, Parts] | None = None) -> int:
    """Pages and plots, from what is stored; 1 if there are no plots."""
    results = report.tell(report.load(NAMES) if loaded is None else loaded)
    report.write_page(NAMES, results, page)
    readme.write_text(summary.in_readme(readme.read_text(encoding="utf-8"), results), encoding="utf-8")
    print(report.plain(NAMES, results))
    unexplained, stale = missed.wrong(results) if loaded is None else ([], [])
    for what in unexplained:
        print(f"missed, and {missed.PATH.name} does not say why: {what}", file=sys.stderr)
    for what in stale:
        print(f"{missed.PATH.name} explains a budget that is not missed: {what}", file=sys.stderr)
    return plot(results, page.parent / report.PLOTS)


def plot(results: dict[str, dict[str, t.Any]], folder: Path) -> int:
    if not PLOTTER.exists():
        print("no plots: no matplotlib here; make bench sets it up", file=sys.stderr)
        return 1
    curves = [each for data in results.values() for each in data["curves"] if any(each["series"].values())]
    with tempfile.TemporaryDirectory() as name:
        path = Path(name, "drawn.json")
        path.write_text(json.dumps({"curves": curves, "picture": summary.picture(results)}), encoding="utf-8")
        program = [str(PLOTTER), str(report.ROOT / "benchmarks/plot.py"), str(folder), str(path)]
        return subprocess.run(program, check=False).returncode


# --- a smoke run -----------------------------------------------------------------------------------------------------


def smoke(names: list[str]) -> int:
    """Everything that a full run does, with the least of each; nothing in the clone changes."""
    jobs = {name: run(name, job.Job(job.SMOKE, saying(name), machine=machine.describe())) for name in names}
    shutil.rmtree(SMOKED, ignore_errors=True)
    for bench, one in jobs.items():
        report.store(bench, one.parts, SMOKED / "results")
    shutil.copytree(report.PAGE.parent, SMOKED / "docs", ignore=shutil.ignore_patterns("*.svg"))
    shutil.copy(README, SMOKED)
    page, readme = SMOKED / "docs" / report.PAGE.name, SMOKED / README.name
    broken = [f"{name}, {part}: {why}" for name, one in jobs.items() for part, why in one.broken.items()]
    if publish(page, readme, report.load(NAMES, SMOKED / "results")):
        broken.append("the plots")
    for each in broken:
        print(f"broken: {each}", file=sys.stderr)
    print("a full run would break off" if broken else "every part of a full run works")
    return 1 if broken else 0


# --- a quick run -----------------------------------------------------------------------------------------------------


def quick(names: list[str]) -> int:
    if (used := machine.in_use()) > BUSY:
        print(f"this machine is too busy to tell: {used:.0%} of its processors' time is in use", file=sys.stderr)
        return 2
    jobs = {name: job.Job(job.QUICK, saying(name)) for name in names}
    try:
        with within(QUICK_WITHIN):
            for name, one in jobs.items():
                run(name, one)
    except TooLong:
        print(f"this machine is too busy to tell: not done after {QUICK_WITHIN} s", file=sys.stderr)
        return 2
    return judge({name: {**told(name, one), "broken": "; ".join(one.broken.values())} for name, one in jobs.items()})


def told(name: str, one: Job) -> dict[str, t.Any]:
    return report.tell({name: one.parts}, full=False)[name]


@contextlib.contextmanager
def within(seconds: int) -> Iterator[None]:
    def late(*_args: object) -> t.NoReturn:
        raise TooLong

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


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


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
