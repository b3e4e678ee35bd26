# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a change and its proof cost those who use the gateway meanwhile: seconds, and packets that must not be lost.

Each part is a process of its own, whose network namespace is the gateway; clients and a WAN are tests/integration's.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import typing as t
from pathlib import Path

from ansible_collections.ipmasq.linux.plugins.module_utils._change.probe import gateway_probe

from . import digits, fail_over, measure, report, rig

if t.TYPE_CHECKING:
    from collections.abc import Callable

    from .job import Found, Job

LOOP, CHANGES, FAIL_OVER = "closed loop", "changes under load", "fail-over"
#: Seconds of a part, as long as no run has told how long it takes.
PLAN = {LOOP: 30, CHANGES: 60, FAIL_OVER: 50}
FORWARDS = 10
#: Mode → how often a gateway is proven, how many changes there are, and how often a WAN is cut in each way.
COUNTS = {"full": (10, 100, 10), "quick": (2, 5, 0), "smoke": (1, 2, 1)}
#: A flow of 5 Mbit/s in packets of 1,000 bytes, until it is told to end.
TRANSFER = ("-u", "-b", "5M", "-l", "1000", "-t", "600")


def run(job: Job) -> None:
    rig.check_root()
    rig.require("nft", "ip", "iperf3", "conntrack")
    for name, count in zip(PLAN, COUNTS[job.mode], strict=True):
        if not count or not job.due(name):
            continue
        with job.part(name) as found:
            found.update(cut(count) if name == FAIL_OVER else child(name, count))
            job.say(f"    {name}: " + ", ".join(f"{key} {value}" for key, value in found.items()))


def cut(count: int) -> Found:
    """How sources are translated → backend → what came of the rounds; each in a gateway of its own."""
    counts = {fail_over.MASQUERADE: count, fail_over.SNAT: math.ceil(count / fail_over.FEWER)}
    return {
        how: {backend: child(FAIL_OVER, many, programs, how) for backend, programs in fail_over.BACKENDS.items()}
        for how, many in counts.items()
    }


def child(name: str, count: int, programs: str = "nft", *more: str) -> Found:
    folders = [
        report.ROOT,
        report.ROOT / ".cache/collections",
        report.ROOT / "tests",
        report.ROOT / "tests/integration",
    ]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, folders))}
    argv = [sys.executable, "-m", "benchmarks.promises", name, str(count), programs, *more]
    done = subprocess.run(
        argv, env=env, cwd=report.ROOT, capture_output=True, text=True, check=False, timeout=60 + 10 * count
    )
    if done.returncode:
        raise RuntimeError(done.stderr.strip()[-2000:])
    found: Found = json.loads(done.stdout.splitlines()[-1])
    return found


# --- in a process of its own -----------------------------------------------------------------------------------------


def main(name: str, count: str, programs: str, *more: str) -> int:
    sandbox = importlib.import_module("sandbox")
    helpers, topology = importlib.import_module("helpers"), importlib.import_module("topology")

    sandbox.enter_network_namespace()
    sandbox.raise_loopback()
    with contextlib.ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ipmasq-bench-", dir=rig.MEMORY)))
        net = topology.Topology()
        stack.callback(net.close)
        parts: dict[str, Callable[..., Found]] = {LOOP: prove, CHANGES: change, FAIL_OVER: change_wans}
        print(json.dumps(parts[name](helpers.Gate(programs, root), net, int(count), *more)))
    return 0


def prove(gate: t.Any, net: t.Any, count: int) -> Found:
    """Two LANs, a WAN and ten port forwards, both families: seconds of each proof, and its packets on a wire."""
    helpers, topology = importlib.import_module("helpers"), importlib.import_module("topology")
    on_the_wire = importlib.import_module("test_proof").on_the_wire

    to = topology.CLIENTS["office"][1]
    gate.apply(**helpers.TWO_LANS, port_forwards=[forward(number, to) for number in range(FORWARDS)])
    seconds, seen, held = [], 0, 0
    for _proof in range(count):
        with contextlib.ExitStack() as stack:
            sniffers = [stack.enter_context(topology.Sniffer(net, node)) for node in ("office", "guest", "wan")]
            start = time.monotonic()
            values = gateway_probe("default", gate.host)
            seconds.append(time.monotonic() - start)
            seen += sum(len(on_the_wire(each.packets())) for each in sniffers)
        if not values["proven"]:
            raise RuntimeError(f"the gateway is not proven: {values['counts']}")
        held = values["counts"]["holds"]
    return {"seconds": seconds, "promises": held, "on a wire": seen}


def change(gate: t.Any, net: t.Any, count: int) -> Found:
    """One change after the other, as in test_under_load, while a flow and a ping each millisecond go on."""
    helpers, topology = importlib.import_module("helpers"), importlib.import_module("topology")
    wait_for_server = importlib.import_module("unhurried").wait_for_server

    to = topology.CLIENTS["office"][1]
    gate.apply(**helpers.TWO_LANS)
    program = shutil.which("iperf3") or "iperf3"
    with net.inside("wan"):
        argv = [program, "-s", "-1", "-J", "--bind", topology.WAN4]
        server = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    wait_for_server(server, net.nodes["wan"], 5201)
    with net.inside("office"):
        transfer = subprocess.Popen([program, *TRANSFER, "-c", topology.WAN4], stdout=subprocess.DEVNULL)
    pings = importlib.import_module("pings").Pings(net, "office", topology.WAN4)
    seconds = []
    try:
        for number in range(count):
            lans = [dict(helpers.TWO_LANS["lans"][0], reaches=["guests"] * (number % 2)), helpers.TWO_LANS["lans"][1]]
            start = time.monotonic()
            done = gate.apply(**dict(helpers.TWO_LANS, lans=lans, port_forwards=[forward(number, to)]))
            seconds.append(time.monotonic() - start)
            if not done.changed:
                raise RuntimeError(f"change {number} changed nothing")
        time.sleep(1)
    finally:
        transfer.send_signal(signal.SIGINT)
        transfer.wait()
        answered = pings.end()
        received = json.loads(server.communicate(timeout=30)[0])["intervals"]
    if not answered:
        raise RuntimeError("no ping was answered")
    # What was asked after the last answer may have been on its way.
    return {
        "changes": count,
        "seconds": seconds,
        "pings": max(answered),
        "pings lost": max(answered) - len(answered),
        "packets": sum(each["sum"]["packets"] for each in received),
        "packets lost": sum(each["sum"]["lost_packets"] for each in received),
    }


def change_wans(gate: t.Any, net: t.Any, count: int, how: str) -> Found:
    """As benchmarks/fail_over says; ``how`` sources are translated."""
    helpers, topology = importlib.import_module("helpers"), importlib.import_module("topology")
    rounds = fail_over.Rounds(net, topology, importlib.import_module("sandbox").ip_batch)
    gate.apply(**{**helpers.TWO_LANS, **fail_over.declared(how, topology)})
    return fail_over.fail_over(rounds, count)


def forward(number: int, to: str) -> dict[str, t.Any]:
    return {"name": f"web{number}", "port": [str(8000 + number)], "to": [to]}


# --- what came of it -------------------------------------------------------------------------------------------------


def told(found: dict[str, Found], full: bool = True) -> dict[str, t.Any]:
    rows: list[list[t.Any]] = []
    if loop := found.get(LOOP):
        rows += [
            ["promises that a proof sends packets for", loop["promises"], ""],
            ["seconds of a proof", *spread(loop["seconds"])],
        ]
    if changes := found.get(CHANGES):
        rows += [
            ["changes", changes["changes"], ""],
            ["seconds of a change, by the engine alone", *spread(changes["seconds"])],
            ["pings that were answered meanwhile", changes["pings"] - changes["pings lost"], ""],
            ["pings lost", changes["pings lost"], ""],
            ["packets of the flow", changes["packets"], ""],
            ["packets of the flow lost", changes["packets lost"], ""],
        ]
    rows += fail_over.rows(found.get(FAIL_OVER, {}))
    columns = ["what", "median", "lowest – highest"]
    return {
        "title": "Proof and changes",
        "tables": [
            {"id": "promises", "title": "A proof, changes under load, and fail-over", "columns": columns, "rows": rows}
        ],
        "curves": [],
        "budgets": budgets(found, full),
        "notes": NOTES,
    }


def spread(values: list[float]) -> list[t.Any]:
    return [measure.median(values), f"{digits.number(min(values))} – {digits.number(max(values))}"]


def budgets(found: dict[str, Found], full: bool) -> list[dict[str, t.Any]]:
    loop, changes, why = found.get(LOOP), found.get(CHANGES), "no such run was made"
    lost = measure.exactly(changes["pings lost"] + changes["packets lost"]) if changes else None
    count = changes["changes"] if changes else COUNTS["full"][1]
    places = f"2 LANs, 1 WAN, {FORWARDS} port forwards"
    lines = [
        measure.budget(f"the closed loop by itself: {places}", measure.of(loop["seconds"]) if loop else None,
                       at_most=1, unit="s", why="" if loop else why),
        measure.budget("the closed loop: its packets on a wire", measure.exactly(loop["on a wire"]) if loop else None,
                       at_most=0, unit="packets", why="" if loop else why),
        measure.budget(f"packets that established flows lose during {count} applied changes", lost,
                       at_most=0, unit="packets", why="" if changes else why),
    ]  # fmt: skip
    if full:
        lines += fail_over.budgets(found.get(FAIL_OVER, {}), why)
    return lines


NOTES = [
    "Clients, gateway and WAN are network namespaces with IPv4 and IPv6; the engine is used as the module uses it.",
    "During the changes a client pings each millisecond, and a UDP flow of 5 Mbit/s goes through the gateway.",
    *fail_over.NOTES,
]

if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
