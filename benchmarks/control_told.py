# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The control plane's tables, curves and budgets, from its parts alone."""

from __future__ import annotations

import statistics
import typing as t

from . import digits, measure

if t.TYPE_CHECKING:
    from .job import Found

PING, OURS = "ping play", "ipmasq.linux.site"
PING_READING = "ping play that reads the entries"
PING_EXTRA = "ping play with the entries by -e @file"
NFT, NFT_PLAY = "nft -f", "nft -f by a play"
#: The role imported in the ordinary way, by where its entries are.
ROLES = {"group_vars": "role, entries in group_vars", "extra": "role, entries by -e @file"}
PEERS = {
    "common": "posix.sysctl + builtin.iptables",
    "firewalld": "posix.firewalld",
    "ufw": "community.general.ufw",
}
FIRST, AGAIN, NOOP = "first run", "first no-op", "no-op"
#: A peer's run is stopped after so many seconds.
LIMIT = 600
#: Seconds of a part, as long as no run has told how long it takes.
PLAN = {
    "1 entries": 220, "peers, 1 entries": 170, "10 entries": 210, "peers, 10 entries": 480,
    "50 entries": 260, "peers, 50 entries": 260, "200 entries": 120, "peers, 200 entries": 1320,
    "1000 entries": 290, "peers, 1000 entries": 620, "10000 entries": 420, "peers, 10000 entries": 0,
}  # fmt: skip


def our_part(count: int) -> str:
    return f"{count} entries"


def peers_part(count: int) -> str:
    return f"peers, {count} entries"


class Figures:
    """What the parts hold: rounds (what was timed one after the other → seconds), gaps, and what single runs take."""

    def __init__(self, found: dict[str, Found]) -> None:
        self.parts = found
        self.counts = sorted({int(name.rpartition(", ")[2].split()[0]) for name in found if name.endswith("entries")})

    def of(self, count: int, what: str) -> list[t.Any]:
        both = (self.parts.get(name, {}).get(what) for name in (our_part(count), peers_part(count)))
        return [each for each in both if each]

    def rounds(self, count: int) -> list[dict[str, float]]:
        """A peer's rounds have ping play and ours in them, for the ratio; these are not counted among ours."""
        peers = tuple(PEERS)
        own = self.parts.get(our_part(count), {}).get("rounds", [])
        theirs = self.parts.get(peers_part(count), {}).get("rounds", [])
        return [*own, *({k: v for k, v in each.items() if not own or k.startswith(peers)} for each in theirs)]

    def kept(self, count: int, way: str) -> str:
        """The date of a peer's row, if it is not that of ours."""
        own, theirs = (self.parts.get(name, {}) for name in (our_part(count), peers_part(count)))
        beside = any(name.startswith(way) for each in own.get("rounds", []) for name in each)
        old = way in PEERS and not beside and own.get("date", "") != theirs.get("date", "")
        return theirs.get("date", "") if old else ""

    def gaps(self, count: int) -> dict[str, str]:
        return {way: why for each in self.of(count, "gaps") for way, why in each.items()}

    def expenses(self, count: int) -> dict[str, dict[str, t.Any]]:
        return {name: one for each in self.of(count, "expenses") for name, one in each.items()}

    def values(self, count: int, name: str) -> list[float]:
        return [each[name] for each in self.rounds(count) if name in each]

    def ratio(self, count: int, name: str, floor: str = PING) -> measure.Ratio | None:
        """Of figures in the same round: for ours, of our own part, because those of peers may be older."""
        for rounds in self.of(count, "rounds"):
            both = [each for each in rounds if name in each and floor in each]
            if both:
                return measure.ratio([each[name] for each in both], [each[floor] for each in both])
        return None

    def names(self, count: int) -> list[str]:
        return list(dict.fromkeys(name for each in self.rounds(count) for name in each))

    def cost(self, way: str, below: int) -> float:
        """Seconds an entry, at the largest number that a way was measured with."""
        known = [count for count in self.counts if count < below and self.values(count, f"{way}, {FIRST}")]
        return statistics.median(self.values(max(known), f"{way}, {FIRST}")) / max(known) if known else 0.0


def told(found: dict[str, Found], full: bool = True) -> dict[str, t.Any]:
    figures = Figures(found)
    return {
        "title": "Control plane: one host",
        "tables": [table_of_times(figures), table_of_expenses(figures)],
        "curves": [curve(figures, FIRST), curve(figures, NOOP)],
        "budgets": budgets(figures, full),
        "notes": NOTES,
    }


def table_of_times(figures: Figures) -> dict[str, t.Any]:
    rows: list[list[t.Any]] = []
    for count in figures.counts:
        gaps, names = figures.gaps(count), figures.names(count)
        for name in names:
            seconds, ratio = figures.values(count, name), figures.ratio(count, name)
            way = name.partition(", ")[0]
            stopped, date = gaps.get(way), figures.kept(count, way)
            what = shown(name) + (f", on {date}" if date else "")
            more = "> " if stopped else ""
            rows.append([count, what, len(seconds), stopped or span(seconds), more + factor(ratio)])
        for way, why in gaps.items():
            if f"{way}, {FIRST}" not in names:
                rows.append([count, f"{PEERS[way]}, {FIRST}", 0, why, "–"])
    return {
        "id": "control-times",
        "title": "Wall time of one run",
        "columns": ["entries", "what", "runs", "seconds: median (least–most)", "÷ ping play"],
        "rows": rows,
    }


def table_of_expenses(figures: Figures) -> dict[str, t.Any]:
    rows = [
        [
            count, shown(name), f"{one['controller_cpu']:.2f}", digits.mebibytes(one["controller_peak"]),
            f"{one['node_cpu']:.2f}", digits.mebibytes(one["node_peak"]), one["processes"], one["modules"],
            f"{one['bytes'] / 1000:.0f}",
        ]
        for count in figures.counts for name, one in figures.expenses(count).items()
    ]  # fmt: skip
    return {
        "id": "control-expenses",
        "title": "What one run takes",
        "columns": [
            "entries", "what", "controller: CPU s", "controller: peak MiB", "node: CPU s", "node: peak MiB",
            "node: processes", "modules run", "kB sent",
        ],
        "rows": rows,
    }  # fmt: skip


def curve(figures: Figures, what: str) -> dict[str, t.Any]:
    series = {}
    for name in [PING, PING_READING, f"{OURS}, {what}", NFT_PLAY, *(f"{way}, {what}" for way in PEERS)]:
        way = name.partition(", ")[0]
        points = [
            measure.point(count, figures.values(count, name))
            for count in figures.counts if figures.values(count, name) and way not in figures.gaps(count)
        ]  # fmt: skip
        if points:
            series[shown(name)] = points
    return {
        "id": f"control-{what.replace(' ', '-')}",
        "title": f"One host, {what}",
        "x": "entries", "y": "seconds", "log_x": True, "log_y": True, "series": series,
    }  # fmt: skip


def budgets(figures: Figures, full: bool) -> list[dict[str, t.Any]]:
    """A quick run measures only ours, and at most 1,000 entries."""

    def line(what: str, count: int, name: str, limit: float) -> dict[str, t.Any]:
        ratio = figures.ratio(count, name)
        return measure.budget(what, ratio, at_most=limit, why="" if ratio else "no such run was made")

    if not full:
        converged = min(figures.counts, default=1)
        return [
            line(f"`site.yml` on a converged gateway, {converged:,} entries", converged, f"{OURS}, {NOOP}", 1.3),
            line("`site.yml`, 1,000 entries, first run", 1_000, f"{OURS}, {FIRST}", 2.5),
            line("`site.yml`, 1,000 entries, no-op", 1_000, f"{OURS}, {NOOP}", 1.6),
        ]
    found = []
    for way in (f"`{OURS.removeprefix('ipmasq.linux.')}.yml`", *ROLES.values()):
        name = OURS if way.startswith("`") else way
        found += [
            line(f"{way}: converged gateway, 1 entry", 1, f"{name}, {NOOP}", 1.3),
            modules(figures, way, name),
            line(f"{way}: 1,000 entries, first run", 1_000, f"{name}, {FIRST}", 2.5),
            line(f"{way}: 1,000 entries, no-op", 1_000, f"{name}, {NOOP}", 1.6),
            line(f"{way}: 10,000 entries, no-op", 10_000, f"{name}, {NOOP}", 3.5),
        ]
    return [*found, against_common(figures, 50, 10), against_common(figures, 1_000, 100)]


def modules(figures: Figures, way: str, name: str) -> dict[str, t.Any]:
    one = figures.expenses(1).get(f"{name}, {NOOP}")
    exactly = measure.exactly(one["modules"]) if one else None
    what = f"{way}: converged gateway, modules run"
    return measure.budget(what, exactly, at_most=1, unit="", why="" if one else "no such run was made")


def against_common(figures: Figures, count: int, times: float) -> dict[str, t.Any]:
    """How many times as long the common way takes for a first run; where it was stopped, at least so many."""
    ratio = figures.ratio(count, f"common, {FIRST}", f"{OURS}, {FIRST}")
    stopped, date = figures.gaps(count).get("common"), figures.kept(count, "common")
    stopped = f"{stopped}, on {date}" if stopped and date else stopped
    why = (f"at least: {stopped}" if stopped else "") if ratio else stopped or "no such run was made"
    what = f"{PEERS['common']}, {count:,} entries, first run, against ours"
    return measure.budget(what, ratio, at_least=times, why=why)


def shown(name: str) -> str:
    way, comma, what = name.partition(", ")
    return PEERS.get(way, way) + comma + what


def span(seconds: list[float]) -> str:
    return digits.spread(statistics.median(seconds), min(seconds), max(seconds))


def factor(ratio: measure.Ratio | None) -> str:
    return "–" if ratio is None else digits.spread(*ratio)


NOTES = [
    "An entry is one port forward or one `outbound` item that rejects; half of each, on top of masquerading.",
    "First run: the gateway was removed before, and the time includes the proof and the confirmation over a separate "
    "connection. First no-op: the run after it. No-op: the run after that.",
    "Role: a play with `roles: [ipmasq.linux.gateway]` and `gather_facts: false`, as our role needs no facts; its "
    "entries are in `group_vars/gateways.yml`, or in a file that is given with `-e @file`.",
    "Ping play: one task `ansible.builtin.ping`, the same host, an inventory without the entries. The one that reads "
    "the entries has them in `host_vars` as YAML, as our runs have: the difference is Ansible's cost of that file. The "
    "one with `-e @file` has the same entries as extra variables. "
    "JSON: the same entries in `host_vars/ours.json`, as a program would write them.",
    "`nft -f`: our run's rules, listed and loaded again from a file by `podman exec`, without Ansible; by a "
    "play: with one task `ansible.builtin.command`.",
    f"A run of another tool is stopped after {LIMIT} s, and from 50 entries on made only once (except for the common "
    "way with 50); its cost is shown with up to 10. Rows with a date are kept from an earlier run; "
    "their ratio is that of their own round, in which ping play and ours were measured, too. "
    "`posix.firewalld` and `community.general.ufw` do less: the one has no forward policies, the other no translation.",
    "CPU on the node is that of all its processes, by its cgroup; the peak is that of the largest process there and on "
    "the controller; strace counts processes in a separate run, including those that systemd starts; bytes are the "
    "commands, their input and the files that the connection transfers.",
]
