# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A fleet: up to a hundred gateways on this machine, changed and looked at by one controller.

Each is a container of the lab's image, without systemd, with a WAN and a LAN of its own, in no network but these.
Ansible reaches it as it reaches others, by its own ssh: the client's ProxyCommand is the container's sshd.
"""

from __future__ import annotations

import contextlib
import importlib.machinery
import importlib.util
import json
import statistics
import tempfile
import typing as t
from dataclasses import dataclass
from pathlib import Path

from . import controller, digits, measure
from .controller import BenchError, Memory

if t.TYPE_CHECKING:
    from .controller import Run
    from .job import Found, Job

#: Gateways → rounds. Those that take minutes are made less often; their spread is shown.
SIZES = {1: 5, 10: 5, 50: 3, 100: 3}
SMOKE_SIZES = {1: 1, 2: 1}
QUICK_SIZE = 5
#: Ansible's own defaults.
STRATEGY, FORKS = "linear", 5
#: What is compared for so many gateways: the defaults, a fork for each, and nobody waiting for anybody.
MATRIX_SIZE, MATRIX_PAIRS = 50, 3
MATRIX = [("linear", 5), ("linear", 50), ("free", 50)]
PING, NOOP, CHANGE = "ping play", "no-op", "one line changed"
LIMITS = {NOOP: 1.3, CHANGE: 2.5}
#: Seconds of a part, as long as no run has told how long it takes.
PLAN = {
    "1 gateways": 45, "10 gateways": 100, "50 gateways": 290, "50 gateways, linear, 50": 230,
    "50 gateways, free, 50": 230, "100 gateways": 560,
}  # fmt: skip
#: Sizes of a fleet that no machine here can hold.
COMPUTED = (1_000, 10_000)
NAME = "bench-fleet"
#: In MiB, what one gateway takes of this machine at most: a container, its monitor, and both ends of ssh.
ROOM = 60
IMAGE = "bookworm"
SSHD = "nsenter --target {pid} --all /usr/sbin/sshd -i -o AuthorizedKeysFile=/etc/ssh/bench.pub"
SSH = "-o ProxyCommand='{sshd}' -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o IdentitiesOnly=yes"
#: At the far ends of the cables, a router and a server that answer: a proof asks for them.
LINKS = """
netns add far
link set dev lo up
link add name wan0 type veth peer name wan0-far netns far
link add name lan0 type veth peer name lan0-far netns far
address add 198.51.100.2/24 dev wan0
address add 192.168.1.1/24 dev lan0
link set dev wan0 up
link set dev lan0 up
route add default via 198.51.100.1
"""
FAR = """
address add 198.51.100.1/24 dev wan0-far
address add 192.168.1.20/24 dev lan0-far
link set dev wan0-far up
link set dev lan0-far up
"""


def run(job: Job) -> None:
    """What benchmarks/__main__.py calls."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(controller.ended_politely())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        bench = Bench(folder, stack.enter_context(containers(folder)), job)
        bench.quick() if job.quick else bench.full()


# -- the gateways ----------------------------------------------------------------------------------------------------


def lab_wire() -> t.Any:
    """The lab's own script, as a module: how its containers are made is written there."""
    path = str(controller.ROOT / "roles/lab/files/lab-wire")
    loader = importlib.machinery.SourceFileLoader("lab_wire", path)
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


@contextlib.contextmanager
def containers(folder: Path, name: str = NAME) -> t.Iterator[Containers]:
    """Room for gateways; whatever comes, none of them stays."""
    made = Containers(folder, name)
    try:
        made.remove()
        yield made
    finally:
        made.remove()


class Containers:
    def __init__(self, folder: Path, name: str = NAME) -> None:
        self.name = name
        self.label = f"ipmasq.bench={name}"
        self.wire = lab_wire()
        build = controller.quietly(str(controller.ROOT / "roles/lab/files/lab-image"), IMAGE)
        self.image = json.loads(build[build.index("{") :])["images"][IMAGE]
        self.engine = self.wire.Engine("podman")
        #: Name → the process whose namespaces are the gateway.
        self.pids: dict[str, int] = {}
        self.key = folder / "key"
        controller.quietly("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.key))

    def grow(self, count: int) -> None:
        """So many in all; those that are there stay."""
        missing = [f"{self.name}-{number}" for number in range(len(self.pids), count)]
        free = available() - ROOM * len(missing)
        if free < 1024:
            raise BenchError(f"{count} gateways need {ROOM * len(missing)} MiB more; there are {available()} MiB")
        self.wire.each(self.create, missing)

    def create(self, name: str) -> None:
        flags = ["--name", name, "--hostname", name, "--label", self.label, *self.engine.create_flags()]
        command = [self.image, self.wire.INIT, self.wire.FABRIC]
        runtime = self.engine.runtime()
        self.wire.must(self.engine.argv(*runtime, "run", "--detach", *flags, *self.engine.limits(), *command))
        pid = self.engine.call("container", "inspect", "--format", "{{.State.Pid}}", name).strip()
        inside = ["nsenter", "--target", pid, "--all"]
        self.wire.must([*inside, "ip", "-batch", "-"], LINKS.strip().encode() + b"\n")
        self.wire.must([*inside, "ip", "-n", "far", "-batch", "-"], FAR.strip().encode() + b"\n")
        prepare = ["sh", "-c", "mkdir -p /run/sshd && ssh-keygen -A && cat > /etc/ssh/bench.pub"]
        self.wire.must([*inside, *prepare], self.key.with_suffix(".pub").read_bytes())
        self.pids[name] = int(pid)

    def remove(self) -> None:
        listed = self.engine.call("ps", "--all", "--quiet", "--filter", f"label={self.label}").split()
        for start in range(0, len(listed), 20):
            self.engine.call("rm", "--force", "--time", "0", "--volumes", *listed[start : start + 20])
        self.pids = {}


def available() -> int:
    """MiB of memory that can be had now."""
    lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    return int(lines["MemAvailable"].split()[0]) // 1024


# -- what is timed ---------------------------------------------------------------------------------------------------


class Fleet:
    """So many gateways, and the files to reach them."""

    def __init__(self, folder: Path, made: Containers, count: int) -> None:
        made.grow(count)
        self.made = made
        self.folder = folder
        self.port = 8443
        #: Whether nobody has looked since the last change.
        self.fresh = True
        self.ping_play = controller.play(folder / "ping.yml", "gateways", {"ansible.builtin.ping": None})
        self.inventory = folder / f"inventory-{count}.yml"
        self.plain = folder / f"plain-{count}.yml"
        self.write()

    def write(self) -> None:
        reach = {
            "ansible_user": "root",
            "ansible_ssh_private_key_file": str(self.made.key),
            "ansible_python_interpreter": "/usr/bin/python3",
        }
        declared = {
            "gateway_wans": [{"interface": "wan0"}],
            "gateway_lans": [{"name": "lan", "interfaces": ["lan0"]}],
            "gateway_port_forwards": [{"name": "web", "port": 443, "to": "192.168.1.20", "to_port": self.port}],
        }
        hosts = {
            name: {"ansible_ssh_common_args": SSH.format(sshd=SSHD.format(pid=pid))}
            for name, pid in self.made.pids.items()
        }
        controller.write(self.plain, {"gateways": {"hosts": hosts, "vars": reach}})
        controller.write(self.inventory, {"gateways": {"hosts": hosts, "vars": {**reach, **declared}}})

    def ping(self, strategy: str, forks: int, watch: controller.Watch = contextlib.nullcontext) -> Run:
        return self.playbook(self.plain, str(self.ping_play), strategy, forks, changed=False, watch=watch)

    def site(
        self, strategy: str, forks: int, *, changed: bool | None, watch: controller.Watch = contextlib.nullcontext
    ) -> Run:
        return self.playbook(self.inventory, "ipmasq.linux.site", strategy, forks, changed=changed, watch=watch)

    @staticmethod
    def playbook(inventory: Path, play: str, strategy: str, forks: int, **keywords: t.Any) -> Run:
        arguments = ["-i", str(inventory), play, "--forks", str(forks)]
        return controller.playbook(*arguments, ANSIBLE_STRATEGY=strategy, **keywords)

    def change(self, strategy: str, forks: int, watch: controller.Watch = contextlib.nullcontext) -> Run:
        """One line of the inventory, for all of them: the port of the server inside."""
        self.port = 8443 if self.port != 8443 else 8444
        self.write()
        self.fresh = True
        return self.site(strategy, forks, changed=True, watch=watch)

    def settle(self) -> None:
        """The first look after a change is not a no-op like the others."""
        if self.fresh:
            self.site(STRATEGY, 10, changed=False)
        self.fresh = False


#: What was timed → seconds, a value for each round.
Times = dict[str, list[float]]
#: What was run → what the controller took.
Expenses = dict[str, dict[str, float]]
#: How it is called in its table, how many gateways, and that.
Weighed = tuple[t.Any, int, Expenses]


@dataclass
class Bench:
    folder: Path
    made: Containers
    job: Job

    def fleet(self, count: int) -> Fleet:
        self.job.say(f"{count} gateways: making them, and their first run")
        fleet = Fleet(self.folder, self.made, count)
        fleet.site(STRATEGY, 10, changed=None)
        return fleet

    def full(self) -> None:
        for count, pairs in (SMOKE_SIZES if self.job.smoke else SIZES).items():
            if self.job.due(f"{count} gateways"):
                with self.job.part(f"{count} gateways") as found:
                    fleet = self.fleet(count)
                    found["times"] = self.time(fleet, STRATEGY, FORKS, pairs)
                    found["expenses"] = self.weigh(fleet, STRATEGY, FORKS)
                    found["proven"] = True
            if count == (max(SMOKE_SIZES) if self.job.smoke else MATRIX_SIZE):
                self.compare(count)

    def compare(self, count: int) -> None:
        """Strategies and forks; the usual ones were measured with the sizes."""
        for strategy, forks in MATRIX:
            name = f"{count} gateways, {strategy}, {forks}"
            if (strategy, forks) == (STRATEGY, FORKS) or not self.job.due(name):
                continue
            with self.job.part(name) as found:
                fleet = self.fleet(count)
                found["times"] = self.time(fleet, strategy, forks, 1 if self.job.smoke else MATRIX_PAIRS)
                found["expenses"] = self.weigh(fleet, strategy, forks)

    def quick(self) -> None:
        with self.job.part(f"{QUICK_SIZE} gateways") as found:
            found["times"] = self.time(self.fleet(QUICK_SIZE), STRATEGY, FORKS, 1)

    @staticmethod
    def time(fleet: Fleet, strategy: str, forks: int, pairs: int) -> dict[str, list[float]]:
        def noop() -> float:
            fleet.settle()
            return fleet.site(strategy, forks, changed=False).seconds

        candidates = {
            PING: lambda: fleet.ping(strategy, forks).seconds,
            NOOP: noop,
            CHANGE: lambda: fleet.change(strategy, forks).seconds,
        }
        return measure.alternately(candidates, pairs)

    @staticmethod
    def weigh(fleet: Fleet, strategy: str, forks: int) -> Expenses:
        """In runs of its own: looking costs time."""
        fleet.settle()
        found = {}
        runs: dict[str, t.Callable[[controller.Watch], Run]] = {
            PING: lambda watch: fleet.ping(strategy, forks, watch),
            NOOP: lambda watch: fleet.site(strategy, forks, changed=False, watch=watch),
            CHANGE: lambda watch: fleet.change(strategy, forks, watch),
        }
        for name, once in runs.items():
            memory = Memory()
            cpu = once(memory.watch).cpu
            found[name] = {"all": memory.all, "ansible": memory.python, "cpu": cpu}
        return found


# -- what came of it -------------------------------------------------------------------------------------------------


class Figures:
    """What the parts hold, by size, and for one size by strategy and forks."""

    def __init__(self, found: dict[str, Found]) -> None:
        usual = {name: each for name, each in found.items() if "," not in name}
        self.sizes: dict[int, Times] = {int(name.split()[0]): each["times"] for name, each in usual.items()}
        self.sizes = dict(sorted(self.sizes.items()))
        self.expenses: dict[int, Expenses] = {
            int(name.split()[0]): each["expenses"] for name, each in usual.items() if "expenses" in each
        }
        self.expenses = dict(sorted(self.expenses.items()))
        self.compared = max((int(name.split()[0]) for name in found if "," in name), default=MATRIX_SIZE)
        matrix = {name.partition(", ")[2]: each for name, each in found.items() if "," in name}
        if (one := usual.get(f"{self.compared} gateways")) and matrix:
            matrix = {f"{STRATEGY}, {FORKS}": one, **matrix}
        self.matrix: dict[str, Times] = {name: each["times"] for name, each in matrix.items()}
        self.matrix_expenses: dict[str, Expenses] = {
            name: each["expenses"] for name, each in matrix.items() if "expenses" in each
        }


def told(found: dict[str, Found], full: bool = True) -> dict[str, t.Any]:
    figures = Figures(found)
    matrix = table(
        "fleet-strategies", f"{figures.compared} gateways, by strategy and forks", "strategy, forks", figures.matrix
    )
    sizes = table("fleet-sizes", f"By size, strategy {STRATEGY}, {FORKS} forks", "gateways", figures.sizes)
    return {
        "title": "A fleet",
        "tables": [sizes, matrix, *tables_of_expenses(figures), *table_computed(figures)],
        "curves": [curve(figures)],
        "budgets": budgets(figures, full),
        "notes": NOTES,
    }


def table(name: str, title: str, first: str, figures: t.Mapping[t.Any, Times]) -> dict[str, t.Any]:
    columns = [first, "rounds", PING, NOOP, "÷ ping play", CHANGE, "÷ ping play"]
    rows = []
    for key, times in figures.items():
        row = [key, len(times[PING]), seconds(times[PING])]
        for what in (NOOP, CHANGE):
            ratio = measure.ratio(times[what], times[PING])
            row += [seconds(times[what]), digits.spread(*ratio)]
        rows.append(row)
    return {"id": name, "title": title + "; seconds: median (least–most)", "columns": columns, "rows": rows}


def tables_of_expenses(figures: Figures) -> list[dict[str, t.Any]]:
    by_size: list[Weighed] = [(count, count, each) for count, each in figures.expenses.items()]
    by_way: list[Weighed] = [(name, figures.compared, each) for name, each in figures.matrix_expenses.items()]
    return [
        table_of_expenses("sizes", f"strategy {STRATEGY}, {FORKS} forks", "gateways", by_size),
        table_of_expenses("strategies", f"{figures.compared} gateways", "strategy, forks", by_way),
    ]


def table_of_expenses(name: str, title: str, first: str, weighed: list[Weighed]) -> dict[str, t.Any]:
    rows = [
        [key, what, digits.mebibytes(one["all"]), digits.mebibytes(one["ansible"]), one["ansible"] / count / 2**20,
         one["cpu"], one["cpu"] / count]
        for key, count, table in weighed for what, one in table.items()
    ]  # fmt: skip
    columns = [first, "what", "peak of all processes, MiB", "of Ansible's, MiB", "a gateway", "CPU, s", "a gateway"]
    title = f"What the controller takes, {title}"
    return {"id": f"fleet-expenses-{name}", "title": title, "columns": columns, "rows": rows}


def table_computed(figures: Figures) -> list[dict[str, t.Any]]:
    """From what a gateway more has cost, up to a hundred, what a thousand and ten thousand would.

    Memory is not among it: it follows the forks, and hardly the gateways.
    """
    sizes = [count for count in figures.expenses if count in SIZES and count > 1]
    if len(sizes) < 2:
        return []
    rows = []
    for what in (PING, NOOP, CHANGE):
        cpu = line(sizes, [figures.expenses[count][what]["cpu"] for count in sizes])
        wall = line(sizes, [statistics.median(figures.sizes[count][what]) for count in sizes])
        rows += [[count, what, round(wall(count) / 60), round(cpu(count) / 60)] for count in COMPUTED]
    columns = ["gateways", "what", "on this machine, minutes", "controller: CPU minutes"]
    title = f"Computed, not measured: a line through what {', '.join(map(str, sizes))} gateways took"
    return [{"id": "fleet-computed", "page": "fleets.md", "title": title, "columns": columns, "rows": rows}]


def curve(figures: Figures) -> dict[str, t.Any]:
    series = {
        what: [measure.point(count, times[what]) for count, times in figures.sizes.items()]
        for what in (PING, NOOP, CHANGE)
    }
    return {
        "id": "fleet-sizes", "title": f"Gateways changed and looked at by one controller, {FORKS} forks",
        "x": "gateways", "y": "seconds", "log_x": True, "log_y": True, "series": series,
    }  # fmt: skip


def budgets(figures: Figures, full: bool) -> list[dict[str, t.Any]]:
    found = []
    for count in SIZES if full else figures.sizes:
        times = figures.sizes.get(count)
        for what, limit in LIMITS.items():
            ratio = measure.ratio(times[what], times[PING]) if times else None
            gateways = "1 gateway" if count == 1 else f"{count} gateways"
            why = "" if ratio else "no such run was made"
            found.append(measure.budget(f"{gateways}, {what}", ratio, at_most=limit, why=why))
    for what, limit in LIMITS.items() if full else ():
        ratios = {name: measure.ratio(times[what], times[PING]) for name, times in figures.matrix.items()}
        worst = max(ratios, key=lambda name: ratios[name].median, default="")
        why = f"with {worst}" if ratios else "no such run was made"
        text = f"{MATRIX_SIZE} gateways, {what}, the worst of {len(MATRIX)} strategies and forks"
        found.append(measure.budget(text, ratios.get(worst), at_most=limit, why=why))
    return found


def seconds(values: list[float]) -> str:
    return digits.spread(statistics.median(values), min(values), max(values), digits=1)


def line(xs: list[int], ys: list[float]) -> t.Callable[[int], float]:
    """The straight line that lies nearest (least squares)."""
    found = statistics.linear_regression(xs, ys)
    return lambda x: found.intercept + found.slope * x


NOTES = [
    "Gateways are containers on the controller's own two cores, so they share the processors.",
    "Ping play: one task `ansible.builtin.ping` on the same gateways, with the same strategy and forks.",
    "One line changed: the inside port of a port forward, for all gateways; the time includes the confirmation, for "
    "each over a separate connection.",
    "No-op: the second look after a change, or a later one.",
    "Memory is the proportional set size (PSS) of ansible-playbook and everything below it, sampled every 0.1 s in a "
    "separate run; the rest are ssh clients, without those that stay for a minute (ControlPersist).",
    "Ansible's own ssh with its defaults, no pipelining; in place of a network, the client's ProxyCommand is the "
    "gateway's sshd, started in its namespaces.",
]
