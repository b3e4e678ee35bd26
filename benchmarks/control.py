# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The control plane: what a play costs, from one entry to ten thousand, beside floors and the usual ways.

An entry is one port forward or one rule for what LANs may open, half of each. Everything goes through ansible-playbook,
onto lab containers with systemd; each way has a node of its own.
"""

from __future__ import annotations

import contextlib
import json
import statistics
import tempfile
import typing as t
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from . import controller, measure
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
#: A peer's run that takes longer than this is made once only; its row says so.
LONG = 120
#: A peer is not begun where its cost of an entry, as measured with fewer, makes this many times the limit …
HOPELESS = 1.1
#: … but for the one figure that has a budget: there the run is made, and stopped.
ALWAYS_BEGUN = {("common", 1_000)}

PING, OURS = "ping play", "ipmasq.linux.site"
NFT, NFT_PLAY = "nft -f", "nft -f by a play"
PEERS = {
    "common": "posix.sysctl + builtin.iptables",
    "firewalld": "posix.firewalld",
    "ufw": "community.general.ufw",
}
FIRST, AGAIN, NOOP = "first run", "first no-op", "no-op"


def run(quick: bool, say: t.Callable[[str], None]) -> dict[str, t.Any]:
    """What benchmarks/__main__.py calls."""
    nodes = ["ours", "lines"] if quick else list(NODES)
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
        described = json.loads(json.dumps(inventory))
        described["all"]["hosts"]["ours"].update(ours(self.entries))
        self.inventory = controller.write(self.folder / "inventory.yml", described)
        self.ping_play = controller.play(self.folder / "ping.yml", "ours", {"ansible.builtin.ping": None})
        self.ruleset = self.folder / "ruleset.nft"

    def ping(self, *more: str, **env: str) -> Run:
        return controller.playbook("-i", str(self.plain), str(self.ping_play), *more, changed=False, **env)

    def ours(self, *more: str, changed: bool, **env: str) -> Run:
        return controller.playbook(
            "-i", str(self.inventory), "ipmasq.linux.site", "-l", "ours", *more, changed=changed, **env
        )

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

    def nft_play(self, *more: str, **env: str) -> Run:
        return controller.playbook("-i", str(self.plain), str(self.folder / "nft.yml"), *more, changed=True, **env)

    def peer(self, way: str, *more: str, changed: bool, limit: float = LIMIT, **env: str) -> Run:
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
    #: Entries → what was timed → seconds, a value for each round.
    times: dict[int, dict[str, list[float]]] = field(default_factory=dict)
    #: Entries → way → why there are no times, or none that end.
    gaps: dict[int, dict[str, str]] = field(default_factory=dict)
    expenses: dict[int, dict[str, dict[str, t.Any]]] = field(default_factory=dict)
    #: Entries → seconds after which the common way was stopped.
    stopped: dict[int, float] = field(default_factory=dict)

    def size(self, count: int) -> Size:
        self.say(f"{count:,} entries")
        self.times[count] = {}
        self.gaps[count] = {}
        return Size(self.folder, self.inventory, count)

    def full(self) -> None:
        for count in ENTRIES:
            size = self.size(count)
            self.time(size, PAIRS)
            for way in PEERS:
                self.time_peer(size, way)
            self.spend(size)
            size.remove()

    def quick(self) -> None:
        size = self.size(50)
        self.time(size, 1, floors=False)
        # Stopped as soon as the budget is beyond doubt.
        self.stop_common(size, 10.5 * self.times[50][f"{OURS}, {FIRST}"][0])
        self.time_noop(size, 3)
        self.time(self.size(1_000), 2, floors=False)
        size = self.size(10_000)
        size.ours(changed=True)
        size.ours(changed=False)
        self.time_noop(size, 2)

    def time_noop(self, size: Size, pairs: int) -> None:
        """On a gateway that is as declared, and has been looked at since."""
        candidates = {
            PING: lambda: size.ping().seconds,
            f"{OURS}, {NOOP}": lambda: size.ours(changed=False).seconds,
        }
        self.times[size.count].update(measure.alternately(candidates, pairs))

    def time(self, size: Size, pairs: int, *, floors: bool = True) -> None:
        """Ping play, ours and the floors in turn. Every first run begins on a host without our gateway."""

        def first() -> float:
            size.remove()
            return size.ours(changed=True).seconds

        candidates: dict[str, t.Callable[[], float]] = {
            PING: lambda: size.ping().seconds,
            f"{OURS}, {FIRST}": first,
            f"{OURS}, {AGAIN}": lambda: size.ours(changed=False).seconds,
            f"{OURS}, {NOOP}": lambda: size.ours(changed=False).seconds,
        }
        if floors:
            first()
            size.save_ruleset()
            candidates[NFT] = lambda: size.nft().seconds
            candidates[NFT_PLAY] = lambda: size.nft_play().seconds
        self.times[size.count].update(measure.alternately(candidates, pairs))

    def time_peer(self, size: Size, way: str) -> None:
        """Beside ping play and ours, in rounds of its own."""
        why = self.hopeless(size.count, way)
        if why:
            self.gaps[size.count][way] = why
            self.say(f"  {PEERS[way]}: {why}")
            return
        estimate = self.cost(way) * size.count
        rounds: dict[str, list[float]] = {}
        for number in range(1 if estimate > LONG else PAIRS):
            for name, seconds in self.peer_round(size, way).items():
                rounds.setdefault(name, []).append(seconds)
            if size.count in self.stopped or way in self.gaps[size.count]:
                break
            self.say(f"  {PEERS[way]}: round {number + 1}")
        self.times[size.count].update(rounds)

    def peer_round(self, size: Size, way: str) -> dict[str, float]:
        size.undo(way)
        first = size.peer(way, changed=True)
        if first.stopped:
            self.gaps[size.count][way] = f"stopped after {LIMIT} s"
            if way == "common":
                self.stopped[size.count] = first.seconds
            return {}
        again = size.peer(way, changed=False)
        return {f"{way}, {FIRST}": first.seconds, f"{way}, {NOOP}": again.seconds}

    def stop_common(self, size: Size, limit: float) -> None:
        size.undo("common")
        done = size.peer("common", changed=True, limit=limit)
        if done.stopped:
            self.stopped[size.count] = done.seconds
            self.gaps[size.count]["common"] = f"stopped after {done.seconds:.0f} s"
        else:
            self.times[size.count][f"common, {FIRST}"] = [done.seconds]

    def cost(self, way: str) -> float:
        """Seconds an entry, at the largest number that it was measured with."""
        name = f"{way}, {FIRST}"
        known = [count for count in self.times if self.times[count].get(name)]
        return statistics.median(self.times[max(known)][name]) / max(known) if known else 0.0

    def hopeless(self, count: int, way: str) -> str:
        known = any(way in self.gaps[fewer] for fewer in self.gaps if fewer < count)
        if known:
            return "not begun: stopped, or not begun, with fewer"
        cost = self.cost(way)
        # With very few entries the start of Ansible is most of it.
        if count < 1_000 or cost * count < HOPELESS * LIMIT or (way, count) in ALWAYS_BEGUN:
            return ""
        return f"not begun: {cost:.2f} s an entry before, so more than {LIMIT} s"

    def spend(self, size: Size) -> None:
        """What one run of each takes, beside its time."""
        table: dict[str, dict[str, t.Any]] = {}
        self.expenses[size.count] = table
        node, lines = Node(f"{LAB}-ours"), Node(f"{LAB}-lines")
        table[PING] = controller.expenses(node, size.ping)
        table[f"{OURS}, {FIRST}"] = controller.expenses(node, changing(size.ours), size.remove)
        size.ours(changed=False)
        table[f"{OURS}, {NOOP}"] = controller.expenses(node, keeping(size.ours))
        table[NFT_PLAY] = controller.expenses(lines, size.nft_play)
        for way in PEERS:
            # A run under strace takes several times as long.
            if statistics.median(self.times[size.count].get(f"{way}, {FIRST}") or [LIMIT]) < LONG:
                self.spend_peer(size, way)

    def spend_peer(self, size: Size, way: str) -> None:
        node = Node(f"{LAB}-{HOST[way]}")

        def once(*more: str, **env: str) -> Run:
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
            "raw": {"seconds": self.times, "gaps": self.gaps, "expenses": self.expenses, "stopped": self.stopped},
        }

    def ratio(self, count: int, name: str, floor: str = PING) -> measure.Ratio | None:
        times = self.times.get(count, {})
        return measure.ratio(times[name], times[floor]) if times.get(name) and times.get(floor) else None

    def table_of_times(self) -> dict[str, t.Any]:
        rows = []
        for count, times in self.times.items():
            for name, seconds in times.items():
                ratio = self.ratio(count, name) if len(seconds) == len(times[PING]) else None
                rows.append([count, shown(name), len(seconds), span(seconds), factor(ratio)])
            for way, why in self.gaps[count].items():
                rows.append([count, f"{PEERS[way]}, {FIRST}", 0, why, "—"])
        return {
            "id": "control-times",
            "title": "Wall time of one run",
            "columns": ["entries", "what", "runs", "seconds: median (least–most)", "÷ ping play"],
            "rows": rows,
        }

    def table_of_expenses(self) -> dict[str, t.Any]:
        rows = [
            [
                count, shown(name), f"{one['controller_cpu']:.2f}", mebibytes(one["controller_peak"]),
                f"{one['node_cpu']:.2f}", mebibytes(one["node_peak"]), one["processes"], one["modules"],
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
        names = [PING, f"{OURS}, {what}", NFT_PLAY, *(f"{way}, {what}" for way in PEERS)]
        series = {}
        for name in names:
            points = [
                [count, statistics.median(times[name]), min(times[name]), max(times[name])]
                for count, times in self.times.items() if times.get(name)
            ]  # fmt: skip
            if points:
                series[shown(name)] = points
        return {
            "id": f"control-{what.replace(' ', '-')}",
            "title": f"One host, {what}",
            "x": "entries", "y": "seconds", "log_x": True, "log_y": True, "series": series,
        }  # fmt: skip

    def budgets(self, quick: bool) -> list[dict[str, t.Any]]:
        converged = min(self.times)
        found = [
            self.budget(f"`site.yml` on a converged gateway ({converged} entries)", converged, NOOP, 1.5),
            self.budget("`site.yml`, 1,000 entries, first run", 1_000, FIRST, 2.5),
            self.budget("`site.yml`, 1,000 entries, no-op", 1_000, NOOP, 2.0),
            self.budget("`site.yml`, 10,000 entries, no-op", 10_000, NOOP, 4.0),
            self.against_common(50, 10),
        ]
        if quick:
            return found
        modules = self.expenses[converged][f"{OURS}, {NOOP}"]["modules"]
        one = measure.budget("modules that a converged gateway runs, against one", self.exactly(modules), at_most=1)
        return [*found[:1], one, *found[1:], self.against_common(1_000, 100)]

    def budget(self, what: str, count: int, name: str, limit: float) -> dict[str, t.Any]:
        ratio = self.ratio(count, f"{OURS}, {name}")
        return measure.budget(what, ratio, at_most=limit, why="" if ratio else "not measured in this run")

    @staticmethod
    def exactly(value: float) -> measure.Ratio:
        return measure.Ratio(value, value, value)

    def against_common(self, count: int, times: float) -> dict[str, t.Any]:
        """How many times as long the common way takes for a first run; where it was stopped, at least so many."""
        own = self.times.get(count, {}).get(f"{OURS}, {FIRST}", [])
        theirs, why = self.times.get(count, {}).get(f"common, {FIRST}", []), ""
        if count in self.stopped:
            theirs = [self.stopped[count]] * len(own)
            why = f"at least: it was stopped after {self.stopped[count]:.0f} s"
        ratio = measure.ratio(theirs, own[: len(theirs)]) if own and theirs else None
        what = f"{PEERS['common']}, {count:,} entries, first run, against ours"
        return measure.budget(what, ratio, at_least=times, why=why if ratio else "not measured in this run")


def changing(call: t.Callable[..., Run]) -> t.Callable[..., Run]:
    return lambda *more, **env: call(*more, changed=True, **env)


def keeping(call: t.Callable[..., Run]) -> t.Callable[..., Run]:
    return lambda *more, **env: call(*more, changed=False, **env)


def shown(name: str) -> str:
    way, comma, what = name.partition(", ")
    return PEERS.get(way, way) + comma + what


def span(seconds: list[float]) -> str:
    return f"{statistics.median(seconds):.2f} ({min(seconds):.2f}–{max(seconds):.2f})"


def factor(ratio: measure.Ratio | None) -> str:
    return "—" if ratio is None else f"{ratio[0]:.2f} ({ratio[1]:.2f}–{ratio[2]:.2f})"


def mebibytes(size: int | None) -> str:
    return "not known" if size is None else f"{size / 2**20:.0f}"


NOTES = [
    "An entry is one port forward or one `outbound` item that rejects; half of each, on top of masquerading.",
    "First run: the gateway was removed before, and what is timed includes the confirmation by a connection of its "
    "own. First no-op: the run after it. No-op: the run after that.",
    "Ping play: one task `ansible.builtin.ping`, the same host, an inventory without the entries.",
    "`nft -f`: what our run has made, listed, and loaded again from a file by `podman exec`, without Ansible; by a "
    "play: with one task `ansible.builtin.command`.",
    f"The peers' runs are stopped at {LIMIT} s, and made once only where they take more than {LONG} s. "
    "`posix.firewalld` and `community.general.ufw` do less: the one has no forward policies, the other no translation.",
    "CPU on the node is that of all its processes, by its cgroup; the peak is that of the largest process there and on "
    "the controller; processes are counted by strace in a run of its own, those that systemd starts included; bytes "
    "are the commands, their input and the files that the connection has passed on.",
]
