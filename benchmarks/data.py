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
from .report import number

if t.TYPE_CHECKING:
    from collections.abc import Callable

    from .rig import Row

    Say = Callable[[str], None]
    Values = dict[str, list[float]]

PLAIN, TRACKED, CLASSIC = "plain routing", "routing with conntrack", "four classic lines"
NFT, IPT, DIRECT = "ours, nftables", "ours, iptables", "no gateway"
BARE = "ours, iptables without ipset"
BACKENDS = {NFT: "nftables", IPT: "iptables", BARE: "iptables"}
WITHOUT = {BARE: ("ipset",)}
SIZES = (1, 100, 1000, 10000)
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


FULL, QUICK = Plan(5, 3, 200000, 240), Plan(3, 1, 100000, 40)


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


def run(quick: bool, say: Say) -> dict[str, t.Any]:
    rig.check_root()
    rig.require("nft", "ip", "iperf3", "trafgen", "wrk", "conntrack", "ping", "ethtool", "iptables-nft")
    plan = QUICK if quick else FULL
    with contextlib.ExitStack() as stack:
        bench = Bench(plan, say, stack)
        return bench.quick() if quick else bench.full()


class Bench:
    def __init__(self, plan: Plan, say: Say, stack: contextlib.ExitStack) -> None:
        self.plan, self.say, self.stack = plan, say, stack
        self.measures = measures(plan)
        self.values: dict[str, Values] = {}
        self.scale: dict[str, Values] = {}
        self.loads: dict[str, float] = {}
        self.refused: dict[str, str] = {}
        self.memory: Values = {}
        self.notes: list[str] = []

    # --- the rows ------------------------------------------------------------------------------------------------

    def row(self, name: str, entries: int = 0, tell: Callable[[Row], object] = bool) -> Row:
        made = rig.Row(self.stack, gateway=name != DIRECT)
        made.says, made.entries = name, entries
        tell(made)
        rig.web(made)
        return made

    def floors(self, *names: str) -> dict[str, Row]:
        told: dict[str, Callable[[Row], object]] = {PLAIN: bool, TRACKED: rig.track, CLASSIC: rig.classic, DIRECT: bool}
        return {name: self.row(name, tell=told[name]) for name in names}

    def ours(self, name: str, entries: int) -> Row | None:
        """Our gateway with so many entries, or None and a reason in ``refused``."""
        key = label(name, entries)

        def tell(row: Row) -> None:
            without, declared = WITHOUT.get(name, ()), rig.declared(entries)
            self.loads[key] = rig.ours(row, BACKENDS[name], self.plan.patience, without, **declared)

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
        for entries in SIZES:
            row = self.ours(name, entries)
            if not row:
                why = self.refused[label(name, entries)]
                self.refused.update({label(name, more): why for more in SIZES if more > entries})
                break
            found[label(name, entries)] = row
            rate = self.pace(row)
            first = first or rate
            if rate < first * HOPELESS and entries != SIZES[-1]:
                why = f"already with {entries:,} entries a new connection costs {first / rate:.0f} times as much"
                self.refused.update({label(name, more): why for more in SIZES if more > entries})
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

    def full(self) -> dict[str, t.Any]:
        rows = self.floors(DIRECT, PLAIN, TRACKED, CLASSIC)
        rows.update((name, row) for name in (NFT, IPT) if (row := self.ours(name, 1)))
        for each in self.measures.values():
            self.values[each.id] = self.alternate(each, rows)
        self.memory = self.alternate(Measure("memory", "Memory", "bytes", self.session), without(rows, DIRECT, PLAIN))
        scaled = {**without(rows, DIRECT, CLASSIC, *BACKENDS)}
        for name in BACKENDS:
            scaled.update(self.sizes(name))
        for name in ("bulk", "tcp", "udp", "inward"):
            self.scale[name] = self.alternate(self.measures[name], scaled)
        return self.told()

    def quick(self) -> dict[str, t.Any]:
        """The budgets alone."""
        rows = self.floors(PLAIN, TRACKED, CLASSIC)
        for entries in (SIZES[0], SIZES[-1]):
            row = self.ours(NFT, entries)
            if row:
                rows[label(NFT, entries)] = row
        for each in ("bulk", "tcp", "udp", "inward"):
            self.scale[each] = self.alternate(self.measures[each], rows)
            self.values[each] = {
                name.partition(" × ")[0] if name == label(NFT, 1) else name: found
                for name, found in self.scale[each].items()
            }
        return self.told()

    def alternate(self, what: Measure, rows: dict[str, Row]) -> Values:
        start = time.monotonic()
        candidates = {name: lambda row=row: what.sample(row) for name, row in rows.items()}
        try:
            found = measure.alternately(candidates, self.plan.pairs)
        except (RuntimeError, subprocess.SubprocessError) as error:
            # The other measures are still worth their time.
            self.refused[what.title] = str(error)
            self.say(f"not measured, {what.title}: {error}")
            return {}
        self.say(f"{what.title} ({time.monotonic() - start:.0f} s)")
        for name, values in found.items():
            self.say(f"    {name:28} {measure.median(values):14,.3f} {what.unit}")
        return found

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

    # --- what came of it -----------------------------------------------------------------------------------------

    def told(self) -> dict[str, t.Any]:
        return {
            "title": "Data plane",
            "tables": [*self.tables(), *self.scale_tables(), *self.memory_table()],
            "curves": self.curves(),
            "budgets": self.budgets(),
            "notes": [*self.shares(), *(f"Not measured: {key}: {why}." for key, why in self.refused.items())],
            "raw": {"ways": self.values, "sizes": self.scale, "memory": self.memory, "seconds to load": self.loads},
        }

    def tables(self) -> list[dict[str, t.Any]]:
        return [
            {
                "id": key,
                "title": f"{self.measures[key].title} ({self.measures[key].unit})",
                "columns": ["way", "median", "lowest – highest", f"× {PLAIN}", f"× {TRACKED}", f"× {CLASSIC}"],
                "rows": [
                    [name, measure.median(found), ends(found), *(against(values, name, floor) for floor in FLOORS)]
                    for name, found in values.items()
                ],
            }
            for key, values in self.values.items()
            if values
        ]

    def scale_tables(self) -> list[dict[str, t.Any]]:
        made = []
        for name in BACKENDS:
            keys = [label(name, size) for size in SIZES]
            if not self.scale or not any(key in values for values in self.scale.values() for key in keys):
                continue
            rows = [
                [size, *self.scale_cells(label(name, size), keys[0]), self.loads.get(label(name, size))]
                for size in SIZES
            ]
            columns = [f"{self.measures[key].id}, {self.measures[key].unit}" for key in self.scale]
            columns = [part for column in columns for part in (column, "× one entry")]
            title = f"{name}: LAN networks, and as many port forwards"
            made.append({
                "id": "scale-" + name.removeprefix("ours, ").replace(" ", "-"),
                "title": title,
                "columns": ["entries", *columns, "seconds to load"],
                "rows": rows,
            })  # fmt: skip
        return made

    def scale_cells(self, key: str, one: str) -> list[t.Any]:
        cells: list[t.Any] = []
        for values in self.scale.values():
            cells += [measure.median(values[key]), against(values, key, one)] if key in values else [None, None]
        return cells

    def memory_table(self) -> list[dict[str, t.Any]]:
        if not self.memory:
            return []
        rows = [[name, measure.median(found), ends(found)] for name, found in self.memory.items()]
        size = rig.object_size()
        rows.append(["the entry alone, as the kernel tells its size", size, ""])
        title = f"Memory of a session (bytes, of {rig.fits(self.plan.flows):,})"
        return [{"id": "memory", "title": title, "columns": ["way", "median", "lowest – highest"], "rows": rows}]

    def curves(self) -> list[dict[str, t.Any]]:
        made = []
        for key, values in self.scale.items():
            if not values:
                continue
            what = self.measures[key]
            series = {
                name: [measure.point(size, values[label(name, size)]) for size in SIZES if label(name, size) in values]
                for name in BACKENDS
            }
            floors = {name: [measure.point(size, values[name]) for size in SIZES] for name in (PLAIN, TRACKED)}
            made.append({
                "id": f"data-{key}", "title": what.title, "x": "LAN networks, and as many port forwards",
                "y": what.unit, "log_x": True, "log_y": key == "inward", "series": {**series, **floors},
            })  # fmt: skip
        return made

    def budgets(self) -> list[dict[str, t.Any]]:
        lines = []
        for name, short in BACKENDS.items():
            if not any(name in values for values in self.values.values()):
                continue
            lines += [
                self.line(f"bulk against plain routing ({short})", "bulk", name, PLAIN, 0.95),
                self.line(f"new TCP connections against routing with conntrack ({short})", "tcp", name, TRACKED, 0.85),
            ]
            if self.plan is FULL:
                # A flow of one packet is nearly all translation, which routing does without; so this says less about
                # our rules than the comparison with the four lines does, and is not a guard for them.
                what = f"new UDP flows against routing with conntrack ({short})"
                lines.append(self.line(what, "udp", name, TRACKED, 0.85))
            lines += [
                self.line(f"{SHORT[key]} against the four classic lines ({short})", key, name, CLASSIC, 0.95)
                for key in self.measures
                if key in self.values and key in SHORT and key != "inward"
            ]  # fmt: skip
        for key, least in (("bulk", 0.95), ("tcp", 0.85), ("udp", 0.85), ("inward", 0.85)):
            lines.append(self.flat(key, least))
        return lines

    def line(self, what: str, key: str, name: str, floor: str, least: float) -> dict[str, t.Any]:
        values = self.values[key]
        if name not in values:
            return measure.budget(what, None, at_least=least, why=self.refused.get(self.measures[key].title, "not run"))
        found = measure.ratio(values[name], values[floor])
        why = ""
        if found.median < least and floor != CLASSIC:
            why = f"the four classic lines come to {measure.ratio(values[CLASSIC], values[floor]).median:.2f} × here"
        return measure.budget(what, found, at_least=least, why=why)

    def flat(self, key: str, least: float) -> dict[str, t.Any]:
        one, most = label(NFT, 1), label(NFT, SIZES[-1])
        what = f"10,000 LAN networks and port forwards against one: {SHORT[key]}"
        values = self.scale[key]
        if most not in values:
            why = self.refused.get(most) or self.refused.get(self.measures[key].title, "not run")
            return measure.budget(what, None, at_least=least, why=why)
        return measure.budget(what, measure.ratio(values[most], values[one]), at_least=least)

    def shares(self) -> list[str]:
        """How much of what is measured is the gateway's, and how much the generators'."""
        parts = []
        for key in ("bulk", "frames", "small", "tcp", "udp"):
            if DIRECT not in self.values.get(key, {}):
                continue
            share = measure.ratio(self.values[key][NFT], self.values[key][DIRECT]).median
            parts.append(f"{key} {share:.0%}")
        return parts and [
            "Client, gateway and server share the processors, so each figure includes the work of the generators. "
            f"*{DIRECT}* is that work alone: of the time that ours on nftables takes it is " + ", ".join(parts) + "."
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
