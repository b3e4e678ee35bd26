# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a packet, a connection and a session cost on the gateway, and whether more entries make them dearer."""

from __future__ import annotations

import contextlib
import subprocess
import time
import typing as t

from . import measure, rig
from .digits import number

if t.TYPE_CHECKING:
    from collections.abc import Callable

    from .job import Found, Job
    from .rig import Row

    Values = dict[str, list[float]]

PLAIN, TRACKED, CLASSIC = "plain routing", "routing with conntrack", "four classic lines"
#: What the four lines lack for flows inward.
FORWARDING = "four classic lines and a port forward"
NFT, IPT, DIRECT = "ours, nftables", "ours, iptables", "no gateway"
BARE = "ours, iptables without ipset"
BACKENDS = {NFT: "nftables", IPT: "iptables", BARE: "iptables"}
WITHOUT = {BARE: ("ipset",)}
SIZES = (1, 100, 1000, 10000)
#: Budgets: the rate against the four lines; that with 10,000 entries against one; and the seconds to load these.
LIMITS = {NFT: 0.98, IPT: 0.85}
FLAT, FLAT_INWARD, LOADED = 0.95, 0.90, 3.0
#: What is measured with each size; the rest with one entry and with 10,000 on nftables, which have a budget.
SCALED, BUDGETED = ("bulk", "tcp", "udp", "inward"), ("frames", "small")
#: Seconds of a part, as long as no run has told how long it takes.
PLAN = {
    "rows": 90, "ways, bulk": 110, "ways, frames": 110, "ways, small": 70, "ways, tcp": 100, "ways, udp": 60,
    "ways, inward": 70, "ways, latency": 140, "ways, late": 1, "memory": 60, "sizes, bulk": 240, "sizes, tcp": 220,
    "sizes, udp": 130, "sizes, inward": 150, "sizes, frames": 40, "sizes, small": 30,
}  # fmt: skip
#: In the table of budgets.
SHORT = {
    "bulk": "bulk",
    "frames": "bulk in single frames",
    "small": "small packets",
    "tcp": "new TCP connections",
    "udp": "new UDP flows",
    "inward": "new UDP flows inward",
}
#: A size at which a new connection costs ten times as much as with one entry is the last one that is tried.
HOPELESS = 0.1
#: New flows that show whether it is.
PROBES = 2000


class Measure(t.NamedTuple):
    """What is measured: its name in tables and results, its unit, and how one value comes about."""

    id: str
    title: str
    unit: str
    sample: Callable[[Row], float]


class Plan(t.NamedTuple):
    """How long a full run takes its time, and a quick one."""

    pairs: int
    #: Whole numbers: iperf3 takes 0.5 for 0, and 0 for no limit.
    seconds: int
    flows: int
    #: For the engine to load a ruleset.
    patience: float
    sizes: tuple[int, ...] = SIZES
    #: How often the largest ruleset is loaded.
    loads: int = 3


FULL = Plan(5, 3, 200000, 240)
QUICK = Plan(3, 1, 100000, 40, (SIZES[0], SIZES[-1]), 1)
SMOKE = Plan(1, 1, 4000, 40, (1, 100))


def measures(plan: Plan) -> dict[str, Measure]:
    count = rig.fits(plan.flows)

    def flows(row: Row, inward: bool) -> float:
        opened = row.flows or count
        try:
            value = rig.packets(row, inward, opened, new=True, **asked(row, inward))
            if row.gateway and row.says != PLAIN and row.count < opened * 0.98:
                raise RuntimeError(f"{row.says}: of {opened} new flows only {row.count} are tracked")
            return value
        finally:
            row.flush()

    def connections(row: Row) -> float:
        try:
            return rig.connections(row, plan.seconds)
        finally:
            row.flush()

    pings: dict[Row, list[list[float]]] = {}

    def latency(row: Row) -> float:
        pings.setdefault(row, []).append(rig.latency(row, plan.seconds))
        return measure.median(pings[row][-1])

    def late(row: Row) -> float:
        """Of the same pings."""
        if not pings.get(row):
            raise RuntimeError("there are no pings")
        found = pings[row].pop(0)
        return found[int(len(found) * 0.99)]

    known = (
        Measure("bulk", "Bulk: one TCP connection, segments of 64 kB as a fast card joins them", "Gbit/s",
                lambda row: rig.bulk(row, plan.seconds)),
        Measure("frames", "Bulk, every frame of 1,500 bytes by itself", "Gbit/s",
                lambda row: rig.frames(row, plan.seconds)),
        Measure("small", "Small packets: 60 bytes, established flows", "packets/s",
                lambda row: rig.packets(row, False, count * 5, new=False)),
        Measure("tcp", "New connections, TCP: open, ask, answer, close", "connections/s", connections),
        Measure("udp", "New connections, UDP: every packet a flow", "flows/s", lambda row: flows(row, False)),
        Measure("inward", "New connections inward, UDP: through the last port forward", "flows/s",
                lambda row: flows(row, True)),
        Measure("latency", "Round trip of a ping under load, median", "ms", latency),
        Measure("late", "Round trip of a ping under load, the slowest of a hundred", "ms", late),
    )  # fmt: skip
    return {each.id: each for each in known}


def asked(row: Row, inward: bool) -> dict[str, t.Any]:
    """Inward: what a port forward listens to; if there is none, the client itself, by routing."""
    if not inward:
        return {}
    if row.entries:
        return {"port": rig.first_port() + row.entries - 1, "target": rig.WAN}
    return {"port": 9001, "target": rig.CLIENT}


def run(job: Job) -> None:
    """What benchmarks/__main__.py calls."""
    rig.check_root()
    rig.require("nft", "ip", "iperf3", "trafgen", "wrk", "conntrack", "ping", "ethtool", "iptables-nft")
    with contextlib.ExitStack() as stack:
        bench = Bench(QUICK if job.quick else SMOKE if job.smoke else FULL, job, stack)
        bench.quick() if job.quick else bench.full()


class Bench:
    def __init__(self, plan: Plan, job: Job, stack: contextlib.ExitStack) -> None:
        self.plan, self.job, self.say, self.stack = plan, job, job.say, stack
        self.measures = measures(plan)
        #: Seconds to load; and rows that there are not, with the reason.
        self.loads: Values = {}
        self.refused: dict[str, str] = {}

    # --- the rows ------------------------------------------------------------------------------------------------

    def row(self, name: str, entries: int = 0, tell: Callable[[Row], object] = bool) -> Row:
        made = rig.Row(self.stack, gateway=name != DIRECT)
        made.says, made.entries = name, entries
        tell(made)
        rig.web(made)
        return made

    def floors(self, *names: str) -> dict[str, Row]:
        told: dict[str, Callable[[Row], object]] = {
            PLAIN: bool, TRACKED: rig.track, CLASSIC: rig.classic, FORWARDING: rig.forwarding, DIRECT: bool,
        }  # fmt: skip
        made = {name: self.row(name, tell=told[name]) for name in names}
        if FORWARDING in made:
            made[FORWARDING].entries = 1
        return made

    def ours(self, name: str, entries: int) -> Row | None:
        """Our gateway with so many entries, or None and a reason in ``refused``."""
        key = label(name, entries)

        def tell(row: Row) -> None:
            without, declared = WITHOUT.get(name, ()), rig.declared(entries)
            seconds = rig.ours(row, BACKENDS[name], self.plan.patience, without, **declared)
            self.loads.setdefault(key, []).append(seconds)

        self.say(f"loads {key}")
        try:
            return self.row(name, entries, tell)
        except rig.Unable as error:
            self.refused[key] = str(error)
            self.say(f"not measured, {key}: {error}")
            return None

    def sizes(self, name: str) -> dict[str, Row]:
        """Rows of one to 10,000 entries, up to the one that is hopeless."""
        found: dict[str, Row] = {}
        first = 0.0
        sizes = self.plan.sizes
        for entries in sizes:
            row = self.ours(name, entries)
            if not row:
                why = self.refused[label(name, entries)]
                self.refused.update({label(name, more): why for more in sizes if more > entries})
                break
            found[label(name, entries)] = row
            rate = self.pace(row)
            first = first or rate
            if rate < first * HOPELESS and entries != sizes[-1]:
                why = f"already with {entries:,} entries a new connection costs {first / rate:.0f} times as much"
                self.refused.update({label(name, more): why for more in sizes if more > entries})
                self.say(f"stops at {label(name, entries)}: {why}")
                break
        return found

    def pace(self, row: Row) -> float:
        """New flows per second, of few; a row that is slow is asked for fewer ever after."""
        row.flows = PROBES
        rate = min(self.measures[each].sample(row) for each in ("udp", "inward"))
        row.flows = 0 if rate * self.plan.seconds > self.plan.flows / 10 else max(int(rate), 100)
        return rate

    # --- the runs ------------------------------------------------------------------------------------------------

    def full(self) -> None:
        rows: dict[str, Row] = {}
        scaled: dict[str, Row] = {}
        with self.job.part("rows") as found:
            rows = self.floors(DIRECT, PLAIN, TRACKED, CLASSIC, FORWARDING)
            rows.update((name, row) for name in (NFT, IPT) if (row := self.ours(name, 1)))
            scaled = without(rows, DIRECT, CLASSIC, FORWARDING, *BACKENDS)
            for name in BACKENDS:
                scaled.update(self.sizes(name))
            self.load_again()
            found.update(loads=self.loads, refused=self.refused, object_size=rig.object_size())
        if not rows:
            return
        for each in self.measures.values():
            self.measure(f"ways, {each.id}", each, rows if each.id == "inward" else without(rows, FORWARDING))
        memory = Measure("memory", "Memory", "bytes", self.session)
        self.measure("memory", memory, without(rows, DIRECT, PLAIN, FORWARDING))
        ends = {label(NFT, size): scaled[label(NFT, size)] for size in self.plan.sizes if label(NFT, size) in scaled}
        for key in (*SCALED, *BUDGETED):
            self.measure(f"sizes, {key}", self.measures[key], scaled if key in SCALED else first_and_last(ends))

    def quick(self) -> None:
        """The budgets alone."""
        rows: dict[str, Row] = {}
        with self.job.part("rows") as found:
            rows = self.floors(CLASSIC)
            rows.update((label(NFT, entries), row) for entries in self.plan.sizes if (row := self.ours(NFT, entries)))
            found.update(loads=self.loads, refused=self.refused)
        for key in SCALED if rows else ():
            self.measure(f"sizes, {key}", self.measures[key], rows)
        for key in SCALED[:-1]:
            values = self.job.found().get(f"sizes, {key}", {}).get("values", {})
            with self.job.part(f"ways, {key}") as found:
                found["values"] = {(NFT if name == label(NFT, 1) else name): each for name, each in values.items()}

    def load_again(self) -> None:
        """The largest ruleset on nftables, on gateways for this only: its seconds have a budget."""
        entries = self.plan.sizes[-1]
        for _number in range(self.plan.loads - 1):
            with contextlib.ExitStack() as stack:
                row = rig.Row(stack)
                seconds = rig.ours(row, "nftables", self.plan.patience, (), **rig.declared(entries))
                self.loads.setdefault(label(NFT, entries), []).append(seconds)

    def measure(self, name: str, what: Measure, rows: dict[str, Row]) -> None:
        candidates = {each: lambda row=row: self.once(what, row) for each, row in rows.items()}
        # The slowest of the pings are of the same pings as their median.
        if not self.job.due(name) and not (what.id == "latency" and self.job.due("ways, late")):
            return
        with self.job.part(name) as found:
            found["values"] = values = measure.alternately(candidates, self.plan.pairs)
            for each, taken in values.items():
                self.say(f"    {each:28} {measure.median(taken):14,.3f} {what.unit}")

    def once(self, what: Measure, row: Row) -> float:
        """A value; if it does not come about, once more, so that the other rounds are not lost."""
        try:
            return what.sample(row)
        except (RuntimeError, subprocess.SubprocessError) as error:
            self.say(f"    {what.id}, {row.says}: once more, as it broke off: {error}")
            row.flush()
            return what.sample(row)

    def session(self, row: Row) -> float:
        """Bytes of kernel memory for one session more."""
        count = rig.fits(self.plan.flows)
        row.flush()
        time.sleep(1)  # memory that was freed is given back a little later
        before = rig.slab()
        rig.packets(row, False, count, new=True)
        value = (rig.slab() - before) / row.count
        row.flush()
        return value


# --- what came of it -------------------------------------------------------------------------------------------------


class Figures:
    """What the parts hold."""

    def __init__(self, found: dict[str, Found]) -> None:
        self.measures = measures(FULL)
        self.values: dict[str, Values] = self.of(found, "ways, ")
        self.scale: dict[str, Values] = self.of(found, "sizes, ")
        self.memory: Values = found.get("memory", {}).get("values", {})
        rows = found.get("rows", {})
        self.loads: Values = rows.get("loads", {})
        self.refused: dict[str, str] = rows.get("refused", {})
        self.object_size: int | None = rows.get("object_size")

    def of(self, found: dict[str, Found], kind: str) -> dict[str, Values]:
        return {key: found[kind + key]["values"] for key in self.measures if found.get(kind + key, {}).get("values")}


def told(found: dict[str, Found], full: bool = True) -> dict[str, t.Any]:
    figures = Figures(found)
    refused = [f"Not measured: {key}: {why}." for key, why in figures.refused.items()]
    return {
        "title": "Data plane",
        "tables": [*tables(figures), *scale_tables(figures), *memory_table(figures)],
        "curves": curves(figures),
        "budgets": budgets(figures, full),
        "notes": [*shares(figures), *refused, *NOTES],
    }


def tables(figures: Figures) -> list[dict[str, t.Any]]:
    return [
        {
            "id": key,
            "title": f"{figures.measures[key].title} ({figures.measures[key].unit})",
            "columns": ["way", "median", "lowest – highest", f"× {PLAIN}", f"× {TRACKED}", f"× {CLASSIC}"],
            "rows": [
                [name, measure.median(found), ends(found), *(against(values, name, floor) for floor in FLOORS)]
                for name, found in values.items()
            ],
        }
        for key, values in figures.values.items()
    ]


def scale_tables(figures: Figures) -> list[dict[str, t.Any]]:
    made = []
    known = {name for values in figures.scale.values() for name in values}
    for name in BACKENDS:
        sizes = [size for size in SIZES if label(name, size) in {*known, *figures.refused}]
        if not any(label(name, size) in known for size in sizes):
            continue
        keys = [key for key, values in figures.scale.items() if label(name, 1) in values]
        rows = []
        for size in sizes:
            loads = figures.loads.get(label(name, size))
            rows.append([size, *scale_cells(figures, keys, name, size), measure.median(loads) if loads else None])
        columns = [f"{key}, {figures.measures[key].unit}" for key in keys]
        columns = [part for column in columns for part in (column, "× one entry")]
        made.append({
            "id": "scale-" + name.removeprefix("ours, ").replace(" ", "-"),
            "title": f"{name}: LAN networks, and as many port forwards",
            "columns": ["entries", *columns, "seconds to load"],
            "rows": rows,
        })  # fmt: skip
    return made


def scale_cells(figures: Figures, keys: list[str], name: str, size: int) -> list[t.Any]:
    cells: list[t.Any] = []
    for key in keys:
        values, row = figures.scale[key], label(name, size)
        known = row in values
        cells += [measure.median(values[row]), against(values, row, label(name, 1))] if known else [None, None]
    return cells


def memory_table(figures: Figures) -> list[dict[str, t.Any]]:
    if not figures.memory:
        return []
    rows = [[name, measure.median(found), ends(found)] for name, found in figures.memory.items()]
    rows.append(["the entry alone, as the kernel tells its size", figures.object_size, ""])
    title = f"Memory of a session (bytes, of at most {FULL.flows:,})"
    return [{"id": "memory", "title": title, "columns": ["way", "median", "lowest – highest"], "rows": rows}]


def curves(figures: Figures) -> list[dict[str, t.Any]]:
    made = []
    for key in SCALED:
        values = figures.scale.get(key)
        if not values:
            continue
        series = {
            name: [measure.point(size, values[label(name, size)]) for size in SIZES if label(name, size) in values]
            for name in BACKENDS
        }
        floors = {
            name: [measure.point(size, values[name]) for size in SIZES] for name in (PLAIN, TRACKED) if name in values
        }
        made.append({
            "id": f"data-{key}", "title": figures.measures[key].title, "x": "LAN networks, and as many port forwards",
            "y": figures.measures[key].unit, "log_x": True, "log_y": key == "inward", "series": {**series, **floors},
        })  # fmt: skip
    return made


def budgets(figures: Figures, full: bool) -> list[dict[str, t.Any]]:
    lines = []
    for name, least in LIMITS.items() if full else [(NFT, LIMITS[NFT])]:
        for key, short in SHORT.items():
            if not full and key not in SCALED[:-1]:
                continue
            floor = FORWARDING if key == "inward" else CLASSIC
            values = figures.values.get(key, {})
            ratio = measure.ratio(values[name], values[floor]) if name in values and floor in values else None
            what = f"{name.removeprefix('ours, ')}: {short} against the {floor}"
            lines.append(measure.budget(what, ratio, at_least=least, why="" if ratio else "no such run was made"))
    one, most = label(NFT, SIZES[0]), label(NFT, SIZES[-1])
    for key in SHORT if full else SCALED:
        values, least = figures.scale.get(key, {}), FLAT_INWARD if key == "inward" else FLAT
        ratio = measure.ratio(values[most], values[one]) if most in values and one in values else None
        what = f"nftables, 10,000 LAN networks and port forwards against one: {SHORT[key]}"
        why = "" if ratio else figures.refused.get(most, "no such run was made")
        lines.append(measure.budget(what, ratio, at_least=least, why=why))
    loads = figures.loads.get(most)
    what, why = "nftables, 10,000 LAN networks and port forwards: to load them", figures.refused.get(most, "not run")
    loaded = measure.of(loads) if loads else None
    lines.append(measure.budget(what, loaded, at_most=LOADED, unit="s", why="" if loaded else why))
    return lines


def shares(figures: Figures) -> list[str]:
    """How much of what is measured is the gateway's, and how much the generators'."""
    parts = []
    for key in ("bulk", "frames", "small", "tcp", "udp"):
        values = figures.values.get(key, {})
        if DIRECT in values and NFT in values:
            parts.append(f"{key} {measure.ratio(values[NFT], values[DIRECT]).median:.0%}")
    return parts and [
        "Client, gateway and server share the processors, so each figure includes the work of the generators. "
        f"*{DIRECT}* is that work alone: of the time that ours on nftables takes it is " + ", ".join(parts) + "."
    ]


NOTES = [
    "Round trips have no budget: their steps of a thousandth of a millisecond are too coarse for a few per cent.",
    f"*{FORWARDING}* has one rule more for DNAT and one in FORWARD, as ours translates what comes inward; the rows "
    "of routing, and the four lines alone, send it to the client without translation.",
]
FLOORS = (PLAIN, TRACKED, CLASSIC)


def label(name: str, entries: int) -> str:
    return f"{name} × {entries:,}"


def without(rows: dict[str, Row], *names: str) -> dict[str, Row]:
    return {name: row for name, row in rows.items() if name not in names}


def ends(values: list[float]) -> str:
    return f"{number(min(values))} – {number(max(values))}"


def against(values: Values, name: str, floor: str) -> float | None:
    return measure.ratio(values[name], values[floor]).median if floor in values else None


def first_and_last(rows: dict[str, Row]) -> dict[str, Row]:
    names = list(rows)
    return {name: rows[name] for name in dict.fromkeys([*names[:1], *names[-1:]])}
