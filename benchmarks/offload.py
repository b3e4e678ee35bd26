# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``offload: software`` against the four classic lines, in a virtual machine whose kernel has flowtables.

The machine runs this file, too: ``python3 -m benchmarks.offload SECONDS PACKETS ROUNDS`` measures and prints JSON.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import io
import json
import sys
import tarfile
import tempfile
import typing as t
from pathlib import Path

from . import digits, measure, rig
from .report import ROOT

if t.TYPE_CHECKING:
    from collections.abc import Callable

    from .job import Found, Job

PART = "in a virtual machine"
#: Seconds, as long as no run has told how long it takes; the image is made once, in two minutes.
PLAN = {PART: 420}
RELEASE = "trixie"
#: Generators of traffic, and what our own modules import.
PROGRAMS = ("iperf3", "netsniff-ng", "ethtool", "python3-yaml")
CLASSIC, OURS, OFFLOADED = "four classic lines", "ours, nftables", "ours, offload: software"
#: Measure → words and unit.
TITLES = {
    "bulk": ("bulk", "Gbit/s"),
    "frames": ("bulk in single frames", "Gbit/s"),
    "small": ("small packets", "packets/s"),
}
GOAL = 1.3
#: Mode → seconds of a transfer, packets, rounds.
COUNTS = {"full": (4, 100_000, 7), "smoke": (1, 2_000, 1)}


def run(job: Job) -> None:
    if job.quick or not job.due(PART):
        return
    rig.check_root()
    with job.part(PART) as found:
        found.update(in_a_machine(*COUNTS[job.mode]))
        for key, values in found.items():
            told = ", ".join(f"{name} {measure.median(each):,.3g}" for name, each in values.items())
            job.say(f"    {TITLES[key][0]} ({TITLES[key][1]}): {told}")


def in_a_machine(seconds: int, packets: int, rounds: int) -> Found:
    sys.path.insert(0, str(ROOT / "tests/vm"))
    image, machine = importlib.import_module("image"), importlib.import_module("machine")
    try:
        made = image.provide(RELEASE, PROGRAMS)
    except image.ImageError as error:
        raise rig.Unable(str(error)) from None
    with tempfile.TemporaryDirectory() as folder, contextlib.closing(machine.Machine(made, Path(folder))) as guest:
        guest.put("/run/bench.tar", _code())
        guest.sh(f"tar -x -f /run/bench.tar -C {machine.PACKAGES}; modprobe -a nf_flow_table nft_flow_offload")
        argv = ["python3", "-m", "benchmarks.offload", *map(str, (seconds, packets, rounds))]
        done = guest.run(argv, timeout=1800)
    if done.rc:
        raise RuntimeError(done.err.strip()[-2000:])
    found: Found = json.loads(done.out)
    return found


def _code() -> bytes:
    """What measures, as packages."""
    files = {path: Path("benchmarks", path.name) for path in (ROOT / "benchmarks").glob("*.py")}
    files.update({ROOT / "tests" / name: Path(name) for name in ("sandbox.py", "rtnetlink.py")})
    params = Path("tests/unit/params.py")
    files[ROOT / params] = Path("ansible_collections/ipmasq/linux", params)
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for source, name in files.items():
            archive.add(str(source), str(name))
    return stream.getvalue()


# --- in the machine --------------------------------------------------------------------------------------------------


def measured(seconds: int, packets: int, rounds: int) -> Found:
    with contextlib.ExitStack() as stack:
        rows = {name: rig.Row(stack) for name in (CLASSIC, OURS, OFFLOADED)}
        rig.classic(rows[CLASSIC])
        rig.ours(rows[OURS], "nftables", 300, **rig.declared(1))
        rig.ours(rows[OFFLOADED], "nftables", 300, **rig.declared(1), offload="software")
        samples: dict[str, Callable[[rig.Row], float]] = {
            "bulk": lambda row: rig.bulk(row, seconds),
            "frames": lambda row: rig.frames(row, seconds),
            "small": lambda row: rig.packets(row, False, packets, new=False),
        }
        return {
            key: measure.alternately({name: functools.partial(sample, row) for name, row in rows.items()}, rounds)
            for key, sample in samples.items()
        }


# --- what came of it -------------------------------------------------------------------------------------------------


def told(found: dict[str, Found], full: bool = True) -> dict[str, t.Any]:
    values = {key: each for key, each in found.get(PART, {}).items() if key in TITLES}
    return {
        "title": "Offload",
        "tables": [table(key, each) for key, each in values.items()],
        "curves": [],
        "budgets": [budget(key, values.get(key)) for key in TITLES] if full else [],
        "notes": NOTES,
    }


def table(key: str, values: dict[str, list[float]]) -> dict[str, t.Any]:
    rows = [
        [
            name,
            measure.median(each),
            f"{digits.number(min(each))} – {digits.number(max(each))}",
            measure.ratio(each, values[CLASSIC]).median,
        ]
        for name, each in values.items()
    ]
    title = "In a virtual machine: {} ({})".format(*TITLES[key])
    return {
        "id": f"offload-{key}",
        "title": title,
        "columns": ["way", "median", "lowest – highest", f"× {CLASSIC}"],
        "rows": rows,
    }


def budget(key: str, values: dict[str, list[float]] | None) -> dict[str, t.Any]:
    ratio = measure.ratio(values[OFFLOADED], values[CLASSIC]) if values else None
    what = f"offload: {TITLES[key][0]} against the four classic lines"
    return measure.budget(what, ratio, at_least=GOAL, why="" if ratio else "no such run was made")


NOTES = [
    f"The kernel of the machine above has no flowtables, so this is measured in a virtual machine with {RELEASE}'s "
    "kernel and two processors that QEMU emulates. All of its figures are low; what counts is their ratio.",
    "What is offloaded passes no rule, so no counter sees its packets; rules decide about the first ones, as always.",
]

if __name__ == "__main__":
    print(json.dumps(measured(*(int(each) for each in sys.argv[1:]))))
