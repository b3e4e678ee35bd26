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
import tempfile
import typing as t
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from . import control_told, controller
from .control_told import (
    AGAIN,
    FIRST,
    LIMIT,
    NFT,
    NFT_PLAY,
    NOOP,
    OURS,
    PEERS,
    PING,
    PING_EXTRA,
    PING_READING,
    ROLES,
    Figures,
    our_part,
    peers_part,
)  # fmt: skip
from .controller import Node

if t.TYPE_CHECKING:
    from .controller import Run
    from .job import Found, Job

#: For benchmarks/__main__.py.
PLAN, told = control_told.PLAN, control_told.told
LAB = "bench-control"
#: Programs that the measurements on a node need.
METERS = ["strace", "time"]
#: Node, and the Debian packages of its way.
NODES: dict[str, list[str]] = {"ours": [], "lines": [], "firewalld": ["firewalld"], "ufw": ["ufw"]}
#: Entries → rounds. Those that take minutes are made less often; their spread is shown.
ROUNDS = {1: 5, 10: 3, 50: 3, 200: 3, 1_000: 5, 10_000: 3}
SMOKE_ROUNDS = {1: 1, 4: 1}
#: Where the role is imported in the ordinary way, too; and where its first run is measured.
IMPORTED, FIRST_IMPORTED = (1, 4, 1_000, 10_000), (4, 1_000)
#: Where the common way is measured in the rounds of ours, in every run: what people ask about is their ratio.
BESIDE = (1, 4, 10, 50)
#: Where peers are measured as often as ours is; with more entries once, and what their runs take is not looked at.
FEW = (1, 4, 10)


def run(job: Job) -> None:
    """What benchmarks/__main__.py calls."""
    peers = any(job.wanted(peers_part(count)) for count in ROUNDS)
    nodes = ["ours"] if job.quick else list(NODES) if peers else ["ours", "lines"]
    with controller.ended_politely(), tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        with lab(folder, nodes) as inventory:
            bench = Bench(folder, inventory, job)
            bench.quick() if job.quick else bench.full()


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
#: What is timed in turn; None if there is nothing to time.
Candidates = dict[str, t.Callable[[], t.Optional[float]]]
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
        role = {"hosts": "ours", "gather_facts": False, "become": True, "roles": ["ipmasq.linux.gateway"]}
        self.role_play = controller.write(self.folder / "role.yml", [role])
        self.extra = controller.write(self.folder / "entries.yml", ours(self.entries))
        self.grouped = self.folder / "grouped/inventory.yml"
        (self.grouped.parent / "group_vars").mkdir(parents=True)
        controller.write(self.grouped, inventory)
        controller.write(self.grouped.parent / "group_vars/gateways.yml", ours(self.entries))
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

    def imported(self, where: str, *more: str, changed: bool, **env: t.Any) -> Run:
        """The role in a play of the user's own, with the entries in group_vars, or in a file for -e."""
        given = ["-i", str(self.grouped)] if where == "group_vars" else ["-i", str(self.plain), "-e", f"@{self.extra}"]
        return controller.playbook(*given, str(self.role_play), *more, changed=changed, **env)

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
    job: Job
    #: Entries → way → why there are no times, or none that end.
    gaps: dict[int, dict[str, str]] = field(default_factory=dict)

    def size(self, count: int) -> Size:
        self.job.say(f"{count:,} entries")
        return Size(self.folder, self.inventory, count)

    def full(self) -> None:
        for count, rounds in (SMOKE_ROUNDS if self.job.smoke else ROUNDS).items():
            size = self.size(count)
            if self.job.due(our_part(count)):
                with self.job.part(our_part(count)) as found:
                    self.measure(size, rounds, found)
            if self.job.wanted(peers_part(count)) and self.job.due(peers_part(count)):
                with self.job.part(peers_part(count)) as found:
                    self.measure_peers(size, min(rounds, 3), found)
            else:
                self.job.say(f"{peers_part(count)}: kept from {self.job.parts[peers_part(count)]['date']}")
            size.remove()

    def quick(self) -> None:
        """Ours alone: a peer or 10,000 entries take longer than all of the quick run may."""
        for count, more in ((50, 3), (1_000, 1)):
            size = self.size(count)
            with self.job.part(our_part(count)) as found:
                found["rounds"] = self.turns(self.ours(size), 1) + self.turns(self.noop(size), more)

    def measure(self, size: Size, rounds: int, found: Found) -> None:
        candidates = self.ours(size) | self.floors(size)
        if size.count in IMPORTED:
            candidates |= self.roles(size)
        if size.count in BESIDE:
            common = self.peer(size, "common")
            # From 50 on a run takes most of a minute; there the first one has the budget.
            candidates |= common if size.count in FEW else dict(list(common.items())[:1])
        found["rounds"] = self.turns(candidates, rounds)
        found["expenses"] = self.spend(size)
        # The role proves every change, which is its default.
        found["proven"] = True

    def turns(self, candidates: Candidates, rounds: int) -> list[dict[str, float]]:
        made = []
        for number in range(rounds):
            self.job.say(f"  round {number + 1} of {rounds}, {len(candidates)} runs")
            taken = ((name, candidate()) for name, candidate in candidates.items())
            made.append({name: seconds for name, seconds in taken if seconds is not None})
        return made

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
    def roles(size: Size) -> Candidates:
        def first(where: str) -> float:
            size.remove()
            seconds = size.imported(where, changed=True).seconds
            # The first look after a change is not a no-op like the others.
            size.imported(where, changed=False)
            return seconds

        def noop(where: str) -> float:
            return size.imported(where, changed=False).seconds

        found: Candidates = {PING_EXTRA: lambda: size.ping("-e", f"@{size.extra}").seconds}
        for where, name in ROLES.items():
            if size.count in FIRST_IMPORTED:
                found[f"{name}, {FIRST}"] = functools.partial(first, where)
            found[f"{name}, {NOOP}"] = functools.partial(noop, where)
        return found

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

    # -- the peers -----------------------------------------------------------------------------------------------

    def measure_peers(self, size: Size, rounds: int, found: Found) -> None:
        """What is worth it, in rounds with ping play and ours in them, so that a ratio is that of one round."""
        ours = dict(list(self.ours(size).items())[:2])
        self.gaps[size.count] = found["gaps"] = self.hopeless(size.count)
        ways = [way for way in PEERS if way not in self.gaps[size.count]]
        found["rounds"] = []
        candidates = dict(ours)
        for way in ways:
            if (way, size.count in BESIDE) == ("common", True):
                continue
            candidates |= self.peer(size, way)
        if len(candidates) > len(ours):
            found["rounds"] = self.turns(candidates, rounds if size.count in FEW else 1)
        if size.count in FEW:
            found["expenses"] = {}
            for way in ways:
                self.job.say(f"  {PEERS[way]}: what it takes")
                found["expenses"][f"{way}, {FIRST}"] = self.spend_peer(size, way)

    def peer(self, size: Size, way: str) -> Candidates:
        def first() -> float:
            size.undo(way)
            done = size.peer(way, changed=True, limit=LIMIT)
            if done.stopped:
                self.gaps.setdefault(size.count, {})[way] = f"stopped after {done.seconds:.0f} s"
            return done.seconds

        def again() -> float | None:
            stopped = way in self.gaps.get(size.count, {})
            return None if stopped else size.peer(way, changed=False, limit=LIMIT).seconds

        return {f"{way}, {FIRST}": first, f"{way}, {NOOP}": again}

    def hopeless(self, count: int) -> dict[str, str]:
        """The ways that cannot end in time, and why. The common way with 1,000 entries has a budget: it is begun."""
        known = Figures(self.job.found())
        gaps = {}
        for way in PEERS:
            cost = known.cost(way, count)
            if any(way in known.gaps(fewer) for fewer in known.counts if fewer < count):
                gaps[way] = "not begun: it was stopped, or not begun, with fewer"
            elif count >= 1_000 and cost * count >= LIMIT and (way, count) != ("common", 1_000):
                gaps[way] = f"not begun: at {cost:.2f} s an entry it would take more than {LIMIT} s"
        for way, why in gaps.items():
            self.job.say(f"  {PEERS[way]}: {why}")
        return gaps

    # -- what one run takes, beside its time ---------------------------------------------------------------------

    @staticmethod
    def spend(size: Size) -> dict[str, dict[str, t.Any]]:
        """Under strace a run takes several times as long."""
        table: dict[str, dict[str, t.Any]] = {}
        node, lines = Node(f"{LAB}-ours"), Node(f"{LAB}-lines")
        table[PING] = controller.expenses(node, size.ping)
        table[PING_READING] = controller.expenses(node, functools.partial(size.ping, inventory=size.inventory))
        table[f"{OURS}, {FIRST}"] = controller.expenses(node, functools.partial(size.ours, changed=True), size.remove)
        size.ours(changed=False)
        table[f"{OURS}, {NOOP}"] = controller.expenses(node, functools.partial(size.ours, changed=False))
        for where, name in ROLES.items() if size.count in IMPORTED else ():
            once = functools.partial(size.imported, where, changed=False)
            table[f"{name}, {NOOP}"] = controller.expenses(node, once)
        table[NFT_PLAY] = controller.expenses(lines, size.nft_play)
        return table

    @staticmethod
    def spend_peer(size: Size, way: str) -> dict[str, t.Any]:
        def once(*more: str, **env: t.Any) -> Run:
            return size.peer(way, *more, changed=True, **env)

        return controller.expenses(Node(f"{LAB}-{HOST[way]}"), once, lambda: size.undo(way))
