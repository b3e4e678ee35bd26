# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs ansible-playbook as a user would, and looks at what it takes: on the controller, on the node, on the wire."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import typing as t
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = Path(sys.executable).parent
#: What every play runs with: Ansible's own defaults, whatever this machine is set to.
ENVIRONMENT = {
    "ANSIBLE_CONFIG": str(ROOT / "benchmarks/ansible.cfg"),
    "ANSIBLE_NOCOLOR": "1",
    "ANSIBLE_LOCALHOST_WARNING": "false",
    "ANSIBLE_DEPRECATION_WARNINGS": "false",
    "ANSIBLE_INVENTORY_UNPARSED_WARNING": "false",
}
RECAP = re.compile(r"^\S+\s*: ok=\d+\s+changed=(\d+)\s+unreachable=(\d+)\s+failed=(\d+)", re.M)


class BenchError(Exception):
    """A bench cannot go on; its text says why."""


@dataclass(frozen=True)
class Run:
    """One run of a command. CPU seconds are those of all its processes, the peak is that of its largest one."""

    seconds: float
    cpu: float
    peak: int
    output: str
    stopped: bool = False


Watch = t.Callable[[int], contextlib.AbstractContextManager[t.Any]]


def run(
    argv: t.Sequence[str],
    limit: float | None = None,
    stdin: str | None = None,
    watch: Watch = contextlib.nullcontext,
    **env: str,
) -> Run:
    """Run to the end, or to the limit; anything but success is an error. `watch` gets the process."""
    with tempfile.TemporaryFile() as output, open(stdin or os.devnull, "rb") as given:
        start = time.perf_counter()
        process = subprocess.Popen(
            argv, stdin=given, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
            env={**os.environ, **ENVIRONMENT, **env},
        )  # fmt: skip
        stopped = threading.Event()

        def stop() -> None:
            stopped.set()
            kill(process.pid)

        timer = threading.Timer(limit or 86400, stop)
        timer.start()
        try:
            with watch(process.pid):
                _pid, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            kill(process.pid)
            raise
        finally:
            timer.cancel()
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read().decode(errors="replace")
    if process.returncode != 0 and not stopped.is_set():
        raise BenchError(f"`{' '.join(map(str, argv))[:200]}` ended with {process.returncode}:\n{text[-2000:]}")
    return Run(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024, text, stopped.is_set())


def kill(pid: int) -> None:
    """With all below it, wherever they are: Ansible's workers are in sessions of their own."""
    for one in reversed(tree(pid)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(one, signal.SIGKILL)


def quietly(*argv: str, stdin: str | None = None) -> str:
    """A command that only prepares something."""
    return run(argv, stdin=stdin).output


def playbook(
    *arguments: str,
    changed: bool | None = None,
    limit: float | None = None,
    watch: Watch = contextlib.nullcontext,
    **env: str,
) -> Run:
    """ansible-playbook; with `changed`, every host must (or must not) have changed: else something else is measured."""
    done = run([str(PROGRAMS / "ansible-playbook"), *arguments], limit, watch=watch, **env)
    if done.stopped:
        return done
    recap = [tuple(map(int, found)) for found in RECAP.findall(done.output)]
    wrong = not recap or any(unreachable or failed for _changed, unreachable, failed in recap)
    if wrong or (changed is not None and any(bool(one[0]) is not changed for one in recap)):
        wanted = {None: "no failure", True: "a change", False: "no change"}[changed]
        raise BenchError(f"{wanted} was expected of {' '.join(arguments)}:\n{done.output[-2000:]}")
    return done


def write(path: Path, data: t.Any) -> Path:
    path.write_text(yaml.safe_dump(data, sort_keys=False), encoding="utf-8")
    return path


def play(path: Path, hosts: str, *tasks: dict[str, t.Any], **keywords: t.Any) -> Path:
    return write(path, [{"hosts": hosts, "gather_facts": False, **keywords, "tasks": list(tasks)}])


@contextlib.contextmanager
def ended_politely() -> t.Iterator[None]:
    """On a request to end, raise an exception, so that the code that made containers removes them."""
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


# -- what it takes ---------------------------------------------------------------------------------------------------


class Memory:
    """The most that a process and all below it held at the same time, shared pages counted once (PSS)."""

    EVERY = 0.1

    def __init__(self) -> None:
        #: All processes; and those of Python only, without the connections' clients.
        self.all = self.python = 0

    @contextlib.contextmanager
    def watch(self, pid: int) -> t.Iterator[None]:
        end = threading.Event()
        thread = threading.Thread(target=self._sample, args=(pid, end))
        thread.start()
        try:
            yield
        finally:
            end.set()
            thread.join()

    def _sample(self, pid: int, end: threading.Event) -> None:
        while not end.wait(self.EVERY):
            every = python = 0
            for one in tree(pid):
                # A process may end while we look.
                with contextlib.suppress(OSError, AttributeError):
                    found = re.search(r"^Pss:\s+(\d+)", Path(f"/proc/{one}/smaps_rollup").read_text(), re.M)
                    size = int(found[1]) * 1024 if found else 0
                    every += size
                    python += size if "python" in os.readlink(f"/proc/{one}/exe") else 0
            self.all, self.python = max(self.all, every), max(self.python, python)


def tree(root: int) -> list[int]:
    """A process and its descendants."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # The name, in parentheses, may hold spaces.
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(stat.parent.name))
    found = [root]
    for one in found:
        found += children.get(one, [])
    return found


class Node:
    """What a container's processes take, by the kernel's own account (cgroup), those that systemd starts included."""

    def __init__(self, container: str) -> None:
        self.container = container
        self.pid = int(quietly("podman", "container", "inspect", "--format", "{{.State.Pid}}", container))
        self.groups = {
            names: place
            for line in Path(f"/proc/{self.pid}/cgroup").read_text().splitlines()
            for _number, names, place in [line.split(":", 2)]
        }

    def cpu(self) -> float:
        """Seconds since the container was made."""
        for names, place in self.groups.items():
            if "cpuacct" in names.split(","):
                return int(Path(f"/sys/fs/cgroup/{names}{place}/cpuacct.usage").read_text()) / 1e9
        # PID 1 may be in a group of its own below the container's.
        place = self.groups[""].removesuffix("/init.scope")
        found = re.search(r"^usage_usec (\d+)", Path(f"/sys/fs/cgroup{place}/cpu.stat").read_text(), re.M)
        assert found
        return int(found[1]) / 1e6

    def shell(self, script: str) -> str:
        return quietly("podman", "exec", self.container, "sh", "-ec", script)


#: A process or a thread that a traced one has made, and a thread among them.
BORN = re.compile(
    r"^(?:\d+ +)?(?:(?:fork|vfork|clone|clone3)\(|<\.\.\. (?:fork|vfork|clone|clone3) resumed>).* = (\d+)", re.M
)
THREAD = re.compile(r"^(?:\d+ +)?(?:clone|clone3)\(.*CLONE_THREAD", re.M)
STRACE = "strace -f -qq -e trace=fork,vfork,clone,clone3 -e signal=none"


def expenses(node: Node, once: t.Callable[..., Run], before: t.Callable[[], None] = lambda: None) -> dict[str, t.Any]:
    """What one run takes. Three runs: one as ever, one under `time` on the node, one under `strace` there.

    `before` brings the node back to where the run starts.
    """
    before()
    start = node.cpu()
    plain = once()
    spent = node.cpu() - start
    before()
    sent, peak = measured(node, once, "time -q -a -o /run/bench.time -f %M", "cat /run/bench.time")
    before()
    # What the run makes systemd start (the timer of a change that waits) are children of PID 1.
    tracer = ["podman", "exec", "--detach", node.container, *STRACE.split(), "-o", "/run/bench.strace.1", "-p", "1"]
    quietly(*tracer)
    try:
        calls, traces = measured(node, once, f"{STRACE} -o /run/bench.strace.$$", "cat /run/bench.strace.*")
    finally:
        node.shell("pkill -INT -x strace; sleep 0.2; rm -f /run/bench.*")
    processes = len(BORN.findall(traces)) - len(THREAD.findall(traces)) + len(calls["commands"])
    return {
        "controller_cpu": plain.cpu,
        "controller_peak": plain.peak,
        "node_cpu": spent,
        "node_peak": max((int(line) * 1024 for line in peak.split()), default=None),
        "processes": processes,
        "bytes": sent["bytes"],
        "modules": sum(1 for name in sent["files"] if name.startswith("AnsiballZ_")),
        "commands": len(sent["commands"]),
    }


def measured(node: Node, once: t.Callable[..., Run], prefix: str, collect: str) -> tuple[dict[str, t.Any], str]:
    """A run over the connection plugin that counts, every command on the node behind `prefix`."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "sent")
        log.touch()
        once(
            "-e",
            "ansible_connection=measured",
            ANSIBLE_CONNECTION_PLUGINS=str(Path(__file__).parent / "connection"),
            BENCH_LOG=str(log),
            BENCH_PREFIX=prefix,
        )
        lines = [json.loads(line) for line in log.read_text().splitlines()]
    sent = {
        "bytes": sum(line["bytes"] for line in lines),
        "files": [line["file"] for line in lines if "file" in line],
        "commands": [line["command"] for line in lines if "command" in line],
    }
    return sent, node.shell(collect)
