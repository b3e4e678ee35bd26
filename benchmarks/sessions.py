# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Many flows at once: held, as the table fills, at its limit, and when an address has no port left."""

from __future__ import annotations

import contextlib
import functools
import re
import time
import typing as t
from pathlib import Path

from ansible_collections.ipmasq.linux.plugins.module_utils._flows import conntrack

from . import measure, rig
from .rig import SERVER, WAN

if t.TYPE_CHECKING:
    from .job import Found, Job
    from .rig import Row

#: Of masquerading: the kernel gives ports from 1024 up to flows that come from such.
PORTS = 65536 - 1024
WANTED = 200000
SENDERS = 8
POOLS = {1: "203.0.113.16", 2: "203.0.113.16-203.0.113.17", 4: "203.0.113.16-203.0.113.19"}
#: Where probes go, away from the flows that are held.
PROBE = 9500
PROBES = 20000
#: The kernel takes a flow of UDP for one that lasts when it goes on after this time (net/netfilter, 2 s).
LASTING = 2.2
#: Seconds that an unanswered flow is kept in the test of the formula, and flows opened each second.
TIMER, OPENED = 5, 2000
#: The kernel looks for expired flows every 1 to 60 s (net/netfilter/nf_conntrack_core.c, GC_SCAN_INTERVAL_MAX).
SWEEP = 60


class Plan(t.NamedTuple):
    """How much of it."""

    flows: int
    hold: float
    pairs: int
    pools: tuple[int, ...]
    #: Seconds of the test of the formula.
    steady: int = 100


FULL, QUICK, SMOKE = Plan(WANTED, 60, 7, (1, 2, 4)), Plan(50000, 1, 2, (1,)), Plan(4000, 0.1, 1, (1, 2), 3)
#: Seconds of a part, as long as no run has told how long it takes.
PLAN = {"held": 90, "one server": 45, "filling": 150, "full table": 40, "formula": 105}


def run(job: Job) -> None:
    rig.check_root()
    rig.require("nft", "ip", "trafgen", "conntrack", "ping")
    with contextlib.ExitStack() as stack:
        bench = Bench(QUICK if job.quick else SMOKE if job.smoke else FULL, job, stack)
        tried = {"held": bench.hold, "one server": bench.exhaust}
        if not job.quick:
            tried |= {"filling": bench.fill, "full table": bench.full_table, "formula": bench.formula}
        for name, each in tried.items():
            if not job.due(name):
                continue
            with job.part(name) as found:
                tainted = kernel_state()
                found.update(each())
                found["faults"] = kernel_state() != tainted


def kernel_state() -> str:
    return Path("/proc/sys/kernel/tainted").read_text(encoding="ascii").strip()


class Bench:
    def __init__(self, plan: Plan, job: Job, stack: contextlib.ExitStack) -> None:
        self.plan, self.say, self.stack = plan, job.say, stack
        self.flows = min(plan.flows, rig.limit() - PROBES * 2)
        self.row = self.made()

    def made(self, **more: t.Any) -> Row:
        row = rig.Row(self.stack)
        rig.ours(row, "nftables", 60, **{**rig.declared(1), **more})
        return row

    # --- flows ---------------------------------------------------------------------------------------------------

    def open(self, count: int, row: Row | None = None) -> float:
        """So many flows outward, each sender to a port of its own; flows per second."""
        row = row or self.row
        seconds = rig.trafgen(row, row.client, rig.stream(row, False, True, 9001, "", SENDERS), count)
        rig.wait_quiet(row.server)
        return count / seconds

    def answer(self, count: int) -> int:
        """The server answers the first so many flows; how many answers reach the client."""
        before = rig.received(self.row.client)
        text = "".join(
            rig.PACKET.format(
                gateway=rig.mac(self.row.gateway, "wan0"), sender=rig.mac(self.row.server, "up0"),
                source=SERVER, target=WAN, ports=9001 + index, port="dinc(1024, 65535)",
            )
            for index in range(SENDERS)
        )  # fmt: skip
        rig.trafgen(self.row, self.row.server, text, count)
        rig.wait_quiet(self.row.client)
        return rig.received(self.row.client) - before

    def settle(self, count: int) -> None:
        """So many flows that last: asked, answered, asked again; the kernel throws none of these out."""
        self.open(count)
        self.answer(count)
        time.sleep(LASTING)
        self.open(count)
        self.answer(count)

    def lasting(self) -> int:
        return int(self.row.router.sh("conntrack -L -p udp 2>/dev/null | grep -c ASSURED || true"))

    # --- what is tried -------------------------------------------------------------------------------------------

    def hold(self) -> Found:
        """All of them at once, for a while; at the end each is answered once more."""
        self.row.flush()
        time.sleep(1)
        before = rig.slab()
        self.settle(self.flows)
        each = (rig.slab() - before) / max(self.row.count, 1)
        lasting = self.lasting()
        time.sleep(self.plan.hold)
        kept, answered = self.row.count, self.answer(self.flows)
        self.say(f"{kept:,} flows held for {self.plan.hold:.0f} s, {answered:,} of them answered at the end")
        self.row.flush()
        return {
            "flows": self.flows, "wanted": self.plan.flows, "kept": kept, "lasting": lasting, "answered": answered,
            "seconds": self.plan.hold, "bytes": each + 2 * 8 * buckets() / max(self.flows, buckets()),
            "limit": rig.limit(),
        }  # fmt: skip

    def fill(self) -> Found:
        """What one flow more costs as the table fills."""
        levels = [int(self.flows * part) for part in (0, 0.25, 0.5, 0.75, 1)]
        trips: dict[str, list[float]] = {str(level): [] for level in levels}

        def at(level: int) -> float:
            if not level:
                self.row.flush()
                time.sleep(0.5)
            elif level > self.row.count:
                self.open(level)
            rate = self.probe()
            trips[str(level)].append(self.trip())
            return rate

        found = measure.alternately({str(level): functools.partial(at, level) for level in levels}, self.plan.pairs)
        for level in levels:
            self.say(f"{level:9,} flows: {measure.median(found[str(level)]):12,.0f} more a second")
        self.row.flush()
        return {"rates": found, "trips": trips}

    def probe(self) -> float:
        """New flows per second, taken away again."""
        text = rig.stream(self.row, False, True, PROBE, "", senders=1)
        seconds = rig.trafgen(self.row, self.row.client, text, PROBES)
        self.row.router.sh(f"conntrack -D -p udp --orig-port-dst {PROBE} >/dev/null 2>&1")
        return PROBES / seconds

    def trip(self) -> float:
        out = rig.run(self.row.client, "ping", "-n", "-i", "0.002", "-c", "200", SERVER)
        return measure.median([float(each) for each in re.findall(r"time=([\d.]+) ms", out)])

    def exhaust(self) -> Found:
        """Flows from many clients to one port of one server: each needs a port of the gateway's address for itself."""
        rows, one = [], 0
        for addresses in self.plan.pools:
            for persistent in (True, False) if addresses > 1 else (True,):
                offered, fitted, lost = self.pool(addresses, persistent)
                one = one or fitted
                how = "one address" if addresses == 1 else f"{addresses} addresses"
                how += "" if addresses == 1 else ", a client keeps its own" if persistent else ", persistent: false"
                rows.append([how, offered, addresses * PORTS, fitted, fitted / one, lost])
                self.say(f"{how}: {fitted:,} flows to one port of one server")
        return {"rows": rows, "one": one}

    def pool(self, addresses: int, persistent: bool) -> tuple[int, int, int]:
        item = {"name": "pool", "action": "snat", "to": [POOLS[addresses]], "to_address": "routed"}
        row = self.made(nat=[{**item, "persistent": persistent}])
        count = min(int(addresses * PORTS * 1.03), int(rig.limit() * 0.99))
        rig.trafgen(
            row, row.client, rig.stream(row, False, True, 9001, "", senders=rig.MOST_SENDERS, apart=False), count
        )
        rig.wait_quiet(row.server)
        fitted, lost = row.count, rig.statistics(row.gateway)["insert_failed"]
        row.flush()
        return count, fitted, lost

    def full_table(self) -> Found:
        """More flows than the table has room for: those that last, and those that nobody answered."""
        limit, rows = rig.limit(), []
        for kind, settle in (("all unanswered", self.open), ("all lasting", self.settle)):
            self.row.flush()
            settle(limit)
            before, filled = rig.statistics(self.row.gateway), self.row.count
            came = rig.received(self.row.server)
            self.probe_only()
            came = rig.received(self.row.server) - came
            after = rig.statistics(self.row.gateway)
            rows.append([kind, filled, came, *(after[key] - before[key] for key in ("drop", "early_drop"))])
        answered = self.answer(limit)
        self.row.flush()
        again = self.probe_only()
        return {"rows": rows, "limit": limit, "answered": answered, "again": again}

    def probe_only(self) -> int:
        before = rig.received(self.row.server)
        rig.trafgen(self.row, self.row.client, rig.stream(self.row, False, True, PROBE, "", senders=1), PROBES)
        rig.wait_quiet(self.row.server)
        return rig.received(self.row.server) - before

    def formula(self) -> Found:
        """Flows at once = flows opened each second × seconds that each is kept, until the kernel clears up included."""
        row = self.made(timeouts={"udp": TIMER})
        seen: list[int] = []
        text = rig.stream(row, False, True, 9001, "", SENDERS)
        path = row.folder / "steady.cfg"
        path.write_text(text, encoding="utf-8")
        argv = ["trafgen", "--dev", "up0", "--cpus", "1", "--no-sock-mem", "--conf", str(path)]
        process = row.start(row.client, *argv, "-b", f"{OPENED}pps")
        begin, start = rig.received(row.server), time.monotonic()
        while time.monotonic() - start < self.plan.steady:
            time.sleep(1)
            seen.append(row.count)
        rate = (rig.received(row.server) - begin) / (time.monotonic() - start)
        rig.end(process)
        return {"seen": seen, "rate": rate}


# --- what came of it ------------------------------------------------------------------------------------------------


def told(found: dict[str, Found], _full: bool = True) -> dict[str, t.Any]:
    checks = [[what, formula, seen, seen / formula] for what, formula, seen in compared(found)]
    tables = [{"id": "held", "title": "Held", "columns": ["what", "measured"], "rows": facts(found)}]
    if "one server" in found:
        tables.append({
            "id": "pools", "title": "Flows to one port of one server (UDP, 32 clients)",
            "columns": ["external addresses", "opened", "formula", "measured", "× one address", "insert_failed"],
            "rows": found["one server"]["rows"],
        })  # fmt: skip
    if "full table" in found:
        limit = found["full table"]["limit"]
        tables.append({
            "id": "limit", "title": f"At the limit: {PROBES:,} new flows more than the {limit:,} that fit",
            "columns": ["flows in the table", "how many", "new ones let through", "drop", "early_drop"],
            "rows": found["full table"]["rows"],
        })  # fmt: skip
    tables.append({
        "id": "formulas", "title": "The formulas of docs/sizing.md", "rows": checks,
        "columns": ["what", "formula", "measured", "measured / formula"],
    })  # fmt: skip
    filling = found.get("filling")
    curves = filling and [
        curve("sessions-rate", "New flows as the table fills", "flows/s", filling["rates"]),
        curve("sessions-trip", "Round trip of a ping as the table fills", "ms", filling["trips"]),
    ]
    return {
        "title": "Sessions",
        "tables": tables,
        "curves": curves or [],
        "budgets": budgets(found),
        "notes": notes(found),
    }


def facts(found: dict[str, Found]) -> list[list[t.Any]]:
    rows: list[list[t.Any]] = []
    if held := found.get("held"):
        rows += [
            ["masqueraded flows at once", held["kept"]],
            ["of them lasting, as the kernel counts (ASSURED)", held["lasting"]],
            [f"answered after {held['seconds']:.0f} s", held["answered"]],
        ]
    if rates := found.get("filling", {}).get("rates"):
        most = max(rates, key=int)
        slower = measure.ratio(rates[most], rates["0"]).median
        rows.append([f"new flows a second with {int(most):,} in the table, against an empty one", slower])
    if full := found.get("full table"):
        rows += [
            ["of a full table of lasting flows, answered while it was full", full["answered"]],
            [f"new flows let through after the table was emptied, of {PROBES:,}", full["again"]],
        ]
    faults = any(each["faults"] for each in found.values())
    return [*rows, ["warnings and faults of the kernel meanwhile", "some" if faults else "none"]]


def compared(found: dict[str, Found]) -> list[list[t.Any]]:
    """With the formulas: what, as computed, as measured."""
    rows: list[list[t.Any]] = []
    if held := found.get("held"):
        what = "bytes of memory for a flow, its two places in the table with it"
        rows.append([what, conntrack.BYTES, held["bytes"]])
    if full := found.get("one server"):
        rows.append([f"flows of one address to one port of one server: {PORTS:,}", PORTS, full["one"]])
    if formula := found.get("formula"):
        rate, seen = formula["rate"], formula["seen"]
        steady = seen[len(seen) // 3 :]
        what = f"flows in the table, {rate:,.0f} opened a second, each kept for {TIMER} s: "
        rows += [
            [what + "the least, of what the timer alone makes", rate * TIMER, float(min(steady))],
            [what + f"the most, of what {SWEEP} s more would make", rate * (TIMER + SWEEP), float(max(steady))],
        ]
    return rows


def budgets(found: dict[str, Found]) -> list[dict[str, t.Any]]:
    held, server = found.get("held"), found.get("one server")
    flows = held["flows"] if held else WANTED
    answered = measure.exactly(held["answered"] / flows) if held else None
    fitted = measure.exactly(server["one"] / PORTS) if server else None
    why = "no such run was made"
    return [
        measure.budget(f"{flows:,} masqueraded flows held at once, answered at the end, of those opened", answered,
                       at_least=0.999, why="" if answered else why),
        measure.budget("flows of one address to one port of one server, of the ports that it has", fitted,
                       at_least=0.95, why="" if fitted else why),
    ]  # fmt: skip


def notes(found: dict[str, Found]) -> list[str]:
    held = found.get("held")
    if not held:
        return []
    lines = [
        f"The table's limit is that of the first namespace ({held['limit']:,} here) and is read-only in every other "
        "one; nothing on the host was changed."
    ]
    if held["flows"] < held["wanted"]:
        lines.append(f"The host's table has room for {held['flows']:,} flows only, not for {held['wanted']:,}.")
    return lines


def buckets() -> int:
    return int(Path("/proc/sys/net/netfilter/nf_conntrack_buckets").read_text(encoding="ascii"))


def curve(name: str, title: str, unit: str, values: dict[str, list[float]]) -> dict[str, t.Any]:
    points = [measure.point(int(level), found) for level, found in values.items()]
    return {
        "id": name, "title": title, "x": "flows in the table", "y": unit, "log_x": False, "log_y": False,
        "series": {"ours, nftables": points},
    }  # fmt: skip
