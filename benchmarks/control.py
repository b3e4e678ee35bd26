# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The control plane: what a play costs, from one entry to ten thousand, beside floors and the usual ways.

An entry is one port forward or one rule for what LANs may open, half of each. Everything goes through ansible-playbook,
onto lab containers with systemd; each way has a node of its own.
"""

from __future__ import annotations

import contextlib
import functools
import json
import statistics
import tempfile
import typing as t
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from . import controller, measure, report
from .controller import Node

if t.TYPE_CHECKING:
    from .controller import Run

LAB = "bench-control"
#: Programs that the measurements on a node need.
METERS = ["strace", "time"]
#: Node, and the Debian packages of its way.
NODES: dict[str, list[str]] = {"ours": [], "lines": [], "firewalld": ["firewalld"], "ufw": ["ufw"]}
ENTRIES = (1, 10, 50, 200, 1_000, 10_000)
PAIRS = 5
#: Peers are stopped here, in seconds of one run.
LIMIT = 600
#: A peer's run that takes longer than this, in seconds, is made once only; its row says so.
LONG = 20
#: A peer is not begun where its cost of an entry, as measured with fewer, makes more than the limit.
#: The two figures that have a budget are excepted: this one is made as often as ours, that one is begun and stopped.
ALWAYS_PAIRED, ALWAYS_BEGUN = ("common", 50), ("common", 1_000)

PING, OURS = "ping play", "ipmasq.linux.site"
PING_READING = "ping play that reads the entries"
NFT, NFT_PLAY = "nft -f", "nft -f by a play"
PEERS = {
    "common": "posix.sysctl + builtin.iptables",
    "firewalld": "posix.firewalld",
    "ufw": "community.general.ufw",
}
FIRST, AGAIN, NOOP = "first run", "first no-op", "no-op"


def run(quick: bool, say: t.Callable[[str], None]) -> dict[str, t.Any]:
    """What benchmarks/__main__.py calls."""
    nodes = ["ours"] if quick else list(NODES)
    with controller.ended_politely(), tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        with lab(folder, nodes) as inventory:
            bench = Bench(folder, inventory, say)
            bench.quick() if quick else bench.full()
    return bench.report(quick)


# -- the nodes -------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def lab(folder: Path, nodes: list[str]) -> t.Iterator[dict[str, t.Any]]:
    """Hosts that boot, on one WAN and one LAN; gives their inventory."""
    networks = [{"name": "wan", "prefixes": ["198.51.100.0/24"]}, {"name": "lan", "prefixes": ["192.168.1.0/24"]}]
    described = [
        {
            "name": name,
            "release": "bookworm",
            "groups": ["gateways"],
            "packages": METERS + NODES[name],
            "interfaces": [
                {"name": "wan0", "network": "wan", "addresses": [f"198.51.100.{number}"]},
                {"name": "lan0", "network": "lan", "addresses": [f"192.168.1.{number}"]},
            ],
            "gateway": ["198.51.100.1"],
        }
        for number, name in enumerate(nodes, 2)
    ]
    # A proof waits for next hops that do not answer.
    described += [
        {
            "name": name,
            "release": "bookworm",
            "interfaces": [{"name": link, "network": link[:-1], "addresses": addresses}],
        }
        for name, link, addresses in (
            ("router", "wan0", ["198.51.100.1"]),
            ("servers", "lan0", [f"192.168.1.{20 + number}" for number in range(200)]),
        )
    ]
    variables = {
        "lab_name": LAB, "lab_directory": str(folder / "lab"), "lab_networks": networks, "lab_nodes": described,
    }  # fmt: skip
    controller.write(folder / "lab.yml", variables)
    make = ["ipmasq.linux.lab", "-e", f"@{folder / 'lab.yml'}"]
    try:
        controller.playbook(*make)
        yield yaml.safe_load((folder / "lab" / "inventory.yml").read_text())
    finally:
        controller.playbook(*make, "-e", "lab_state=absent")


# -- the entries -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Entry:
    """Neutral: a port forward to a server in the LAN, or a server outside that the LAN may not reach."""

    number: int

    @property
    def forward(self) -> bool:
        return self.number % 2 == 0

    @property
    def port(self) -> int:
        return 10_000 + self.number

    @property
    def server(self) -> str:
        return f"192.168.1.{20 + self.number % 200}"

    @property
    def outside(self) -> str:
        return f"203.0.{self.number // 250 % 250}.{1 + self.number % 250}"


def ours(entries: list[Entry]) -> dict[str, t.Any]:
    return {
        "gateway_wans": [{"interface": "wan0"}],
        "gateway_lans": [{"name": "lan", "interfaces": ["lan0"]}],
        "gateway_port_forwards": [
            {"name": f"in{one.number}", "port": one.port, "to": one.server, "to_port": 8080}
            for one in entries if one.forward
        ],
        "gateway_outbound": [
            {"name": f"out{one.number}", "destination": one.outside, "protocol": "tcp", "port": one.port,
             "action": "reject"}
            for one in entries if not one.forward
        ],
    }  # fmt: skip


def common(entries: list[Entry]) -> list[dict[str, t.Any]]:
    """The switch, the three lines of every how-to, and one rule for each entry."""
    lines: list[dict[str, t.Any]] = [
        {"table": "nat", "chain": "POSTROUTING", "out_interface": "wan0", "jump": "MASQUERADE"},
        {"chain": "FORWARD", "ctstate": "ESTABLISHED,RELATED", "jump": "ACCEPT"},
    ]
    for one in entries:
        if one.forward:
            lines.append(
                {"table": "nat", "chain": "PREROUTING", "in_interface": "wan0", "protocol": "tcp",
                 "destination_port": str(one.port), "jump": "DNAT", "to_destination": f"{one.server}:8080"}
            )  # fmt: skip
        else:
            lines.append(
                {"chain": "FORWARD", "in_interface": "lan0", "destination": one.outside, "protocol": "tcp",
                 "destination_port": str(one.port), "jump": "REJECT"}
            )  # fmt: skip
    lines.append({"chain": "FORWARD", "in_interface": "lan0", "out_interface": "wan0", "jump": "ACCEPT"})
    return [
        {"ansible.posix.sysctl": {"name": "net.ipv4.ip_forward", "value": "1", "sysctl_set": True}},
        loop("ansible.builtin.iptables", lines),
    ]


def firewalld(entries: list[Entry]) -> list[dict[str, t.Any]]:
    """Its module knows zones, not policies between them, so a refused destination is a rich rule of the LAN's zone."""
    items: list[dict[str, t.Any]] = [
        {"zone": "external", "interface": "wan0"},
        {"zone": "internal", "interface": "lan0"},
    ]
    for one in entries:
        if one.forward:
            forward = {"port": str(one.port), "proto": "tcp", "toport": "8080", "toaddr": one.server}
            items.append({"zone": "external", "port_forward": [forward]})
        else:
            words = (
                f'rule family="ipv4" destination address="{one.outside}" port port="{one.port}" protocol="tcp" reject'
            )
            items.append({"zone": "internal", "rich_rule": words})
    return [loop("ansible.posix.firewalld", items, permanent=True, immediate=True, state="enabled")]


def ufw(entries: list[Entry]) -> list[dict[str, t.Any]]:
    """Its module cannot translate, so a port forward is only the rule that lets it through."""
    items = []
    for one in entries:
        to = (
            {"to_ip": one.server, "to_port": "8080"}
            if one.forward
            else {"to_ip": one.outside, "to_port": str(one.port)}
        )
        interfaces = ("wan0", "lan0") if one.forward else ("lan0", "wan0")
        items.append(
            {"rule": "allow" if one.forward else "reject", "route": True, "proto": "tcp", **to,
             "interface_in": interfaces[0], "interface_out": interfaces[1]}
        )  # fmt: skip
    return [{"community.general.ufw": {"state": "enabled"}}, loop("community.general.ufw", items)]


def loop(module: str, items: list[dict[str, t.Any]], **shared: t.Any) -> dict[str, t.Any]:
    """One task for all, as people write it: what an item does not say is left out."""
    keys = dict.fromkeys(key for item in items for key in item)
    options = {key: f"{{{{ item.{key} | default(omit) }}}}" for key in keys}
    return {module: {**options, **shared}, "loop": items, "loop_control": {"label": ""}}


#: How each node comes back to what it was before the first run.
UNDO = {
    "common": "for t in filter nat mangle; do iptables -t $t -F; done; sysctl -q -w net.ipv4.ip_forward=0",
    "firewalld": "systemctl stop firewalld; rm -rf /etc/firewalld/zones/*; systemctl start firewalld",
    "ufw": "ufw --force reset >/dev/null; rm -f /etc/ufw/*.rules.2*",
}
WAYS: dict[str, t.Callable[[list[Entry]], list[dict[str, t.Any]]]] = {
    "common": common, "firewalld": firewalld, "ufw": ufw,
}  # fmt: skip
#: What is timed in turn.
Candidates = dict[str, t.Callable[[], float]]
HOST = {"common": "lines", "firewalld": "firewalld", "ufw": "ufw"}


# -- one number of entries -------------------------------------------------------------------------------------------


class Size:
    """The files for so many entries, and what can be timed with them."""

    def __init__(self, folder: Path, inventory: dict[str, t.Any], count: int) -> None:
        self.count = count
        self.folder = folder / str(count)
        self.folder.mkdir()
        self.entries = [Entry(number) for number in range(count)]
        self.plain = controller.write(self.folder / "plain.yml", inventory)
        self.inventory, self.as_json = self.described(inventory, "yml"), self.described(inventory, "json")
        self.ping_play = controller.play(self.folder / "ping.yml", "ours", {"ansible.builtin.ping": None})
        self.ruleset = self.folder / "ruleset.nft"

    def described(self, inventory: dict[str, t.Any], form: str) -> Path:
        """The entries in host_vars, beside an inventory. In the inventory itself Ansible would read them twice."""
        variables = self.folder / form / "host_vars" / f"ours.{form}"
        variables.parent.mkdir(parents=True)
        # YAML in the style that people write; JSON for what a program has written.
        write = controller.write if form == "yml" else lambda path, data: path.write_text(json.dumps(data))
        write(variables, ours(self.entries))
        return controller.write(self.folder / form / "inventory.yml", inventory)

    def ping(self, *more: str, inventory: Path | None = None, **env: t.Any) -> Run:
        where = str(inventory or self.plain)
        return controller.playbook("-i", where, str(self.ping_play), *more, changed=False, **env)

    def ours(self, *more: str, changed: bool, inventory: Path | None = None, **env: t.Any) -> Run:
        where = str(inventory or self.inventory)
        return controller.playbook("-i", where, "ipmasq.linux.site", "-l", "ours", *more, changed=changed, **env)

    def remove(self) -> None:
        controller.playbook("-i", str(self.inventory), "ipmasq.linux.site", "-l", "ours", "-e", "gateway_state=absent")

    def save_ruleset(self) -> None:
        """What ours has made of the entries, for the floors to load."""
        listed = controller.quietly("podman", "exec", f"{LAB}-ours", "nft", "list", "table", "inet", "ipmasq")
        self.ruleset.write_text("flush ruleset\n" + listed, encoding="utf-8")
        command = {"argv": ["nft", "-f", "-"], "stdin": "{{ lookup('ansible.builtin.file', ruleset) }}"}
        controller.play(
            self.folder / "nft.yml", "lines", {"ansible.builtin.command": command}, vars={"ruleset": str(self.ruleset)}
        )

    def nft(self) -> Run:
        return controller.run(["podman", "exec", "-i", f"{LAB}-lines", "nft", "-f", "-"], stdin=str(self.ruleset))

    def nft_play(self, *more: str, **env: t.Any) -> Run:
        return controller.playbook("-i", str(self.plain), str(self.folder / "nft.yml"), *more, changed=True, **env)

    def peer(self, way: str, *more: str, changed: bool, limit: float | None = None, **env: t.Any) -> Run:
        path = self.folder / f"{way}.yml"
        if not path.exists():
            controller.play(path, HOST[way], *WAYS[way](self.entries))
        return controller.playbook("-i", str(self.plain), str(path), *more, changed=changed, limit=limit, **env)

    def undo(self, way: str) -> None:
        controller.quietly("podman", "exec", f"{LAB}-{HOST[way]}", "sh", "-ec", "nft flush ruleset; " + UNDO[way])


# -- all of them -----------------------------------------------------------------------------------------------------


@dataclass
class Bench:
    folder: Path
    inventory: dict[str, t.Any]
    say: t.Callable[[str], None]
    #: Entries → rounds: what was timed one after the other → seconds. Ratios are those of figures in the same round.
    rounds: dict[int, list[dict[str, float]]] = field(default_factory=dict)
    #: Entries → way → why there are no times, or none that end.
    gaps: dict[int, dict[str, str]] = field(default_factory=dict)
    expenses: dict[int, dict[str, dict[str, t.Any]]] = field(default_factory=dict)

    def size(self, count: int) -> Size:
        self.say(f"{count:,} entries")
        self.rounds[count] = []
        self.gaps[count] = {}
        return Size(self.folder, self.inventory, count)

    def full(self) -> None:
        for count in ENTRIES:
            size = self.size(count)
            ways = self.worth_it(count)
            # With few entries, most of it is the start of Ansible.
            short = [way for way in ways if count < 50 or self.cost(way) * count < LONG]
            paired = [way for way in ways if way in short or (way, count) == ALWAYS_PAIRED]
            candidates = self.ours(size) | self.floors(size)
            for way in paired:
                candidates |= self.peer(size, way)
            self.turns(count, candidates, PAIRS)
            for way in ways:
                if way not in paired:
                    self.long_turn(size, way)
            self.spend(size, short)
            size.remove()

    def quick(self) -> None:
        """Ours alone: a peer or 10,000 entries take longer than all of the quick run may."""
        size = self.size(50)
        self.turns(50, self.ours(size), 1)
        self.turns(50, self.noop(size), 3)
        size = self.size(1_000)
        self.turns(1_000, self.ours(size), 1)
        self.turns(1_000, self.noop(size), 1)

    def turns(self, count: int, candidates: Candidates, rounds: int) -> None:
        for number in range(rounds):
            self.say(f"  round {number + 1} of {rounds}, {len(candidates)} runs")
            self.rounds[count].append({name: one for name, (one,) in measure.alternately(candidates, 1).items()})

    @staticmethod
    def ours(size: Size) -> Candidates:
        """Every first run begins on a host without our gateway."""

        def first() -> float:
            size.remove()
            return size.ours(changed=True).seconds

        return {
            PING: lambda: size.ping().seconds,
            f"{OURS}, {FIRST}": first,
            f"{OURS}, {AGAIN}": lambda: size.ours(changed=False).seconds,
            f"{OURS}, {NOOP}": lambda: size.ours(changed=False).seconds,
        }

    @staticmethod
    def noop(size: Size) -> Candidates:
        """On a gateway that is as declared, and has been looked at since."""
        return {
            PING: lambda: size.ping().seconds,
            f"{OURS}, {NOOP}": lambda: size.ours(changed=False).seconds,
        }

    @staticmethod
    def floors(size: Size) -> Candidates:
        size.ours(changed=True)
        size.save_ruleset()
        return {
            PING_READING: lambda: size.ping(inventory=size.inventory).seconds,
            f"{OURS}, {NOOP}, JSON": lambda: size.ours(changed=False, inventory=size.as_json).seconds,
            NFT: lambda: size.nft().seconds,
            NFT_PLAY: lambda: size.nft_play().seconds,
        }

    def peer(self, size: Size, way: str) -> Candidates:
        return {
            f"{way}, {FIRST}": lambda: self.peer_first(size, way, LIMIT),
            f"{way}, {NOOP}": lambda: size.peer(way, changed=False, limit=LIMIT).seconds,
        }

    def peer_first(self, size: Size, way: str, limit: float) -> float:
        size.undo(way)
        done = size.peer(way, changed=True, limit=limit)
        if done.stopped:
            self.gaps[size.count][way] = f"stopped after {done.seconds:.0f} s"
        return done.seconds

    def long_turn(self, size: Size, way: str) -> None:
        """One round for what takes minutes, with ping play and ours in it."""
        first, again = self.peer(size, way).items()
        ours = dict(list(self.ours(size).items())[:2])
        self.say(f"  {PEERS[way]}: minutes")
        self.turns(size.count, {**ours, **dict([first])}, 1)
        if way not in self.gaps[size.count]:
            self.rounds[size.count][-1][again[0]] = again[1]()

    def cost(self, way: str) -> float:
        """Seconds an entry, at the largest number that it was measured with."""
        known = [count for count in self.rounds if self.values(count, f"{way}, {FIRST}")]
        return statistics.median(self.values(max(known), f"{way}, {FIRST}")) / max(known) if known else 0.0

    def worth_it(self, count: int) -> list[str]:
        """The ways that may end in time; for the others, why not."""
        ways = []
        for way, called in PEERS.items():
            why = self.hopeless(count, way)
            if why:
                self.gaps[count][way] = why
                self.say(f"  {called}: {why}")
            else:
                ways.append(way)
        return ways

    def hopeless(self, count: int, way: str) -> str:
        if any(way in self.gaps[fewer] for fewer in self.gaps if fewer < count):
            return "not begun: it was stopped, or not begun, with fewer"
        cost = self.cost(way)
        if count < 1_000 or cost * count < LIMIT or (way, count) == ALWAYS_BEGUN:
            return ""
        return f"not begun: at {cost:.2f} s an entry it would take more than {LIMIT} s"

    def spend(self, size: Size, ways: list[str]) -> None:
        """What one run of each takes, beside its time. Under strace a run takes several times as long."""
        table: dict[str, dict[str, t.Any]] = {}
        self.expenses[size.count] = table
        node, lines = Node(f"{LAB}-ours"), Node(f"{LAB}-lines")
        table[PING] = controller.expenses(node, size.ping)
        table[PING_READING] = controller.expenses(node, functools.partial(size.ping, inventory=size.inventory))
        table[f"{OURS}, {FIRST}"] = controller.expenses(node, functools.partial(size.ours, changed=True), size.remove)
        size.ours(changed=False)
        table[f"{OURS}, {NOOP}"] = controller.expenses(node, functools.partial(size.ours, changed=False))
        table[NFT_PLAY] = controller.expenses(lines, size.nft_play)
        for way in ways:
            self.spend_peer(size, way)

    def spend_peer(self, size: Size, way: str) -> None:
        node = Node(f"{LAB}-{HOST[way]}")

        def once(*more: str, **env: t.Any) -> Run:
            return size.peer(way, *more, changed=True, **env)

        self.say(f"  {PEERS[way]}: what it takes")
        self.expenses[size.count][f"{way}, {FIRST}"] = controller.expenses(node, once, lambda: size.undo(way))

    # -- what came of it -----------------------------------------------------------------------------------------

    def report(self, quick: bool) -> dict[str, t.Any]:
        return {
            "title": "Control plane: one host",
            "tables": [] if quick else [self.table_of_times(), self.table_of_expenses()],
            "curves": [] if quick else [self.curve(FIRST), self.curve(NOOP)],
            "budgets": self.budgets(quick),
            "notes": NOTES,
            "raw": {"rounds": self.rounds, "gaps": self.gaps, "expenses": self.expenses},
        }

    def values(self, count: int, name: str) -> list[float]:
        return [each[name] for each in self.rounds.get(count, []) if name in each]

    def ratio(self, count: int, name: str, floor: str = PING) -> measure.Ratio | None:
        both = [each for each in self.rounds.get(count, []) if name in each and floor in each]
        return measure.ratio([each[name] for each in both], [each[floor] for each in both]) if both else None

    def names(self, count: int) -> list[str]:
        return list(dict.fromkeys(name for each in self.rounds[count] for name in each))

    def table_of_times(self) -> dict[str, t.Any]:
        rows: list[list[t.Any]] = []
        for count, gaps in self.gaps.items():
            names = self.names(count)
            for name in names:
                seconds, ratio = self.values(count, name), self.ratio(count, name)
                stopped = gaps.get(name.partition(", ")[0])
                more = "> " if stopped else ""
                rows.append([count, shown(name), len(seconds), stopped or span(seconds), more + factor(ratio)])
            for way, why in gaps.items():
                if f"{way}, {FIRST}" not in names:
                    rows.append([count, f"{PEERS[way]}, {FIRST}", 0, why, "–"])
        return {
            "id": "control-times",
            "title": "Wall time of one run",
            "columns": ["entries", "what", "runs", "seconds: median (least–most)", "÷ ping play"],
            "rows": rows,
        }

    def table_of_expenses(self) -> dict[str, t.Any]:
        rows = [
            [
                count, shown(name), f"{one['controller_cpu']:.2f}", report.mebibytes(one["controller_peak"]),
                f"{one['node_cpu']:.2f}", report.mebibytes(one["node_peak"]), one["processes"], one["modules"],
                f"{one['bytes'] / 1000:.0f}",
            ]
            for count, table in self.expenses.items() for name, one in table.items()
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

    def curve(self, what: str) -> dict[str, t.Any]:
        names = [PING, PING_READING, f"{OURS}, {what}", NFT_PLAY, *(f"{way}, {what}" for way in PEERS)]
        series = {}
        for name in names:
            way = name.partition(", ")[0]
            points = [
                measure.point(count, self.values(count, name))
                for count, gaps in self.gaps.items() if self.values(count, name) and way not in gaps
            ]  # fmt: skip
            if points:
                series[shown(name)] = points
        return {
            "id": f"control-{what.replace(' ', '-')}",
            "title": f"One host, {what}",
            "x": "entries", "y": "seconds", "log_x": True, "log_y": True, "series": series,
        }  # fmt: skip

    def budgets(self, quick: bool) -> list[dict[str, t.Any]]:
        converged = min(self.rounds)
        found = [
            self.budget(f"`site.yml` on a converged gateway ({converged} entries)", converged, NOOP, 1.3),
            self.budget("`site.yml`, 1,000 entries, first run", 1_000, FIRST, 2.5),
            self.budget("`site.yml`, 1,000 entries, no-op", 1_000, NOOP, 1.6),
        ]
        if quick:
            return found
        modules = self.expenses[converged][f"{OURS}, {NOOP}"]["modules"]
        one = measure.budget("modules that a converged gateway runs, against one", self.exactly(modules), at_most=1)
        most = self.budget("`site.yml`, 10,000 entries, no-op", 10_000, NOOP, 3.5)
        return [*found[:1], one, *found[1:], most, self.against_common(50, 10), self.against_common(1_000, 100)]

    def budget(self, what: str, count: int, name: str, limit: float) -> dict[str, t.Any]:
        ratio = self.ratio(count, f"{OURS}, {name}")
        return measure.budget(what, ratio, at_most=limit, why="" if ratio else "no such run was made")

    @staticmethod
    def exactly(value: float) -> measure.Ratio:
        return measure.Ratio(value, value, value)

    def against_common(self, count: int, times: float) -> dict[str, t.Any]:
        """How many times as long the common way takes for a first run; where it was stopped, at least so many."""
        ratio = self.ratio(count, f"common, {FIRST}", f"{OURS}, {FIRST}")
        stopped = self.gaps.get(count, {}).get("common")
        why = (f"at least: {stopped}" if stopped else "") if ratio else "no such run was made"
        return measure.budget(
            f"{PEERS['common']}, {count:,} entries, first run, against ours", ratio, at_least=times, why=why
        )


def shown(name: str) -> str:
    way, comma, what = name.partition(", ")
    return PEERS.get(way, way) + comma + what


def span(seconds: list[float]) -> str:
    return report.spread(statistics.median(seconds), min(seconds), max(seconds))


def factor(ratio: measure.Ratio | None) -> str:
    return "–" if ratio is None else report.spread(*ratio)


NOTES = [
    "An entry is one port forward or one `outbound` item that rejects; half of each, on top of masquerading.",
    "First run: the gateway was removed before, and the time includes the confirmation over a separate connection. "
    "First no-op: the run after it. No-op: the run after that.",
    "Ping play: one task `ansible.builtin.ping`, the same host, an inventory without the entries. The one that reads "
    "the entries has them in `host_vars` as YAML, as our runs have: the difference is Ansible's cost of that file. "
    "JSON: the same entries in `host_vars/ours.json`, as a program would write them.",
    "`nft -f`: our run's rules, listed and loaded again from a file by `podman exec`, without Ansible; by a "
    "play: with one task `ansible.builtin.command`.",
    f"The peers' runs are stopped at {LIMIT} s, and made only once if they take more than {LONG} s (except for the "
    "one with a budget); their cost is shown if they take less. "
    "`posix.firewalld` and `community.general.ufw` do less: the one has no forward policies, the other no translation.",
    "CPU on the node is that of all its processes, by its cgroup; the peak is that of the largest process there and on "
    "the controller; strace counts processes in a separate run, including those that systemd starts; bytes are the "
    "commands, their input and the files that the connection transfers.",
]
