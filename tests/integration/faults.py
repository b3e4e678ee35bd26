# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One fault, tried once: a change in a separate process, in which one step fails, and the result."""

from __future__ import annotations

import contextlib
import difflib
import json
import os
import pathlib
import re
import signal
import subprocess
import time
import typing as t

from sandbox import COUNTS, SandboxHost, addresses, sh
from unhurried import slowed, wait_until

from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError
from ansible_collections.ipmasq.linux.plugins.module_utils._base.host import Done
from ansible_collections.ipmasq.linux.plugins.module_utils._rollback import rollback, scripts, timer

if t.TYPE_CHECKING:
    from helpers import Gate

#: How a step can fail, in the words of the table.
KINDS = {
    "fails": "fails, nothing done",
    "fails-late": "does its work, then fails",
    "killed": "the module is killed (SIGKILL) before it",
    "killed-late": "the module is killed (SIGKILL) after it",
    "hangs": "hangs until the timer has rolled the change back, then continues",
}
#: The guard's time in these tests, in seconds: a hang is longer.
SHORT = 2
#: All of them, or a sample small enough for make test.
FULL = os.environ.get("IPMASQ_FAULTS") == "full"


class FaultHost(SandboxHost):
    """The step with this number, counted over processes, files, folders and switches, fails in this way."""

    kind, number, count, what = "", 0, 0, ""

    def _step(self, what: str, act, fail):
        self.count += 1
        if self.count != self.number:
            return act()
        self.what = what
        if self.kind == "fails":
            return fail()
        if self.kind == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.kind == "hangs":
            self.hang()
        done = act()
        if self.kind == "fails-late":
            return fail()
        if self.kind == "killed-late":
            os.kill(os.getpid(), signal.SIGKILL)
        return done

    def hang(self) -> None:
        """While a change is pending, and nobody has ended it."""
        armed = pathlib.Path(self.place(rollback.folder_of("default")))
        deadline = time.monotonic() + slowed(3 * SHORT)
        while armed.exists() and time.monotonic() < deadline:
            time.sleep(0.05)

    def run(self, argv, stdin=None):
        failed = Done(1, "", argv[0] + ": made to fail by the test")
        return self._step("run " + " ".join(argv), lambda: super(FaultHost, self).run(argv, stdin), lambda: failed)

    def write(self, path, text, mode):
        self._step("write " + path, lambda: super(FaultHost, self).write(path, text, mode), lambda: _full(path))

    def write_switch(self, path, value):
        self._step("switch " + path, lambda: super(FaultHost, self).write_switch(path, value), lambda: _full(path))

    def remove(self, path):
        self._step("remove " + path, lambda: super(FaultHost, self).remove(path), lambda: _full(path))

    def remove_tree(self, path):
        self._step("remove " + path, lambda: super(FaultHost, self).remove_tree(path), lambda: None)

    def make_folder(self, path):
        return self._step("make " + path, lambda: super(FaultHost, self).make_folder(path), lambda: _full(path))

    def rename(self, path, to):
        return self._step("rename " + path, lambda: super(FaultHost, self).rename(path, to), lambda: False)


class Loader:
    """A run of the loader, which waits in front of a line of its text until it may get on."""

    #: It has looked whether a change waits, and has not got the lock.
    LOOKED = "\nlock || closed all"
    #: It has the lock, and has looked again.
    LOCKED = "\nset -- "

    def __init__(self, gate: Gate, line: str) -> None:
        self.line, self._ended = line, ()
        self._go, here = (pathlib.Path(gate.host.place("/run/ipmasq/" + name)) for name in (".go", ".here"))
        for path in (self._go, here):
            path.unlink(missing_ok=True)
        started = gate.host.loader()
        # The process that should keep a change has a second.
        text = started["args"][2].replace("sleep 1\n", "sleep 0.1\n")
        assert text.count(line) == 1 and text != started["args"][2]
        started["args"][2] = text.replace(
            line, "\n: > {0}; while [ -e {0} ] && [ ! -e {1} ]; do sleep 0.02; done".format(here, self._go) + line
        )
        self._running = subprocess.Popen(**started, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        wait_until(here.exists, "the loader does not get that far")

    def go(self, after: float = 0) -> None:
        subprocess.Popen(["sh", "-c", "sleep {0}; : > {1}".format(after, self._go)])

    def end(self) -> tuple:
        """Its exit code, and what it has said."""
        if not self._ended:
            self.go()
            _out, err = self._running.communicate(timeout=slowed(60))
            self._ended = (self._running.returncode, err)
        return self._ended


def _full(path):
    raise GatewayError(path + ": cannot be written: No space left on device")


def quick_guard(monkeypatch) -> None:
    """The same guard, in a hurry."""
    monkeypatch.setattr(rollback, "GUARD", slowed(SHORT))
    words = timer.GUARD_TEXT.replace("sleep 1", "sleep 0.05").replace("-lt {seconds}", "-lt $(({seconds} * 20))")
    assert words != timer.GUARD_TEXT
    monkeypatch.setattr(timer, "GUARD_TEXT", words)
    text = scripts.TIMER_TEXT.replace("sleep 1", "sleep 0.1")
    assert text != scripts.TIMER_TEXT
    monkeypatch.setattr(scripts, "TIMER_TEXT", text)


def holds(gate: Gate) -> dict:
    """Everything that a change may alter, without the empty tables of iptables-nft and a note about them."""
    found = gate.host.snapshot()
    if gate.programs == "iptables-nft":
        tables = re.split(r"^(?=\*)", COUNTS.sub("", sh("iptables-nft-save; ip6tables-nft-save")), flags=re.M)
        found["rules"] = sorted(part.strip() for part in tables if "-A " in part or " DROP" in part)
    found["files"] = {path: text for path, text in found["files"].items() if "/run/ipmasq" not in path}
    for path, (text, mode) in list(found["files"].items()):
        # When it was applied, and with it the sum.
        text = re.sub(rb'"at": "[^"]*"|\S+  \./default\.json', b"", text)
        if gate.programs == "iptables-nft":
            text = re.sub(rb'"base_chains": \[[^]]*\]', b"", text)
        found["files"][path] = (text, mode)
    found["addresses"] = addresses()
    return found


def settled(gate: Gate, seconds: float = 30) -> None:
    """The change has ended, whether confirmed or rolled back."""
    folder = pathlib.Path(gate.host.place(rollback.folder_of("default")))
    deadline = time.monotonic() + seconds
    while folder.exists():
        assert time.monotonic() < deadline, "the change was never ended: {0}".format(sorted(folder.iterdir()))
        time.sleep(0.05)


def end_timers(gate: Gate) -> None:
    """Thousands of timers that still wait for their hour slow the host down."""
    # pgrep reads more of each process, and takes ten times as long.
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            words = pathlib.Path("/proc", pid, "cmdline").read_bytes()
            if b"sleep 3600; " in words and b"%s/" % os.fsencode(gate.host.root) in words:
                os.killpg(int(pid), signal.SIGKILL)


def in_child(gate: Gate, act, kind: str, number: int, host_kind: type = FaultHost) -> tuple:
    """Do this in a separate process: (how it ended, the step that failed, error)."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        host = gate.host
        host.__class__, host.kind, host.number, host.count = host_kind, kind, number, 0
        ended, error = "done", ""
        try:
            act()
        except GatewayError as problem:
            ended, error = "refused", str(problem)
        except BaseException as problem:
            # A traceback would be a defect; the parent gets it.
            ended, error = "crashed", repr(problem)
        os.write(writer, json.dumps([ended, host.what, error, host.count]).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        told = stream.read()
    os.waitpid(pid, 0)
    return tuple(json.loads(told)) if told else ("killed", "", "", number)


def outcome(gate: Gate, before: dict, after: dict) -> str:
    now = holds(gate)
    return "before" if now == before else "after" if now == after else "between"


def differences(one: dict, other: dict) -> str:
    """For the message of an assertion: what differs, a few lines of it."""
    lines = []
    for key, mine in one.items():
        theirs = other.get(key)
        if isinstance(mine, dict) and isinstance(theirs, dict):
            for name in sorted({*mine, *theirs}):
                if mine.get(name) != theirs.get(name):
                    lines.append("{0} {1}: {2!r:.150} {3!r:.150}".format(key, name, mine.get(name), theirs.get(name)))
        elif mine != theirs:
            parts = [part if isinstance(part, str) else "\n".join(part) for part in (mine, theirs or "")]
            texts = [part.splitlines() for part in parts]
            lines += ["{0} {1}".format(key, line) for line in difflib.unified_diff(*texts, n=0, lineterm="")]
    return "\n".join(lines[:12])


def fork(act):
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        ended, error = "done", ""
        try:
            act()
        except BaseException as problem:
            ended, error = "refused" if isinstance(problem, GatewayError) else "crashed", str(problem)
        os.write(writer, "{0}\0{1}".format(ended, error).encode())
        os._exit(0)
    os.close(writer)

    def answer():
        with os.fdopen(reader, "rb") as stream:
            told = stream.read().decode()
        os.waitpid(pid, 0)
        return tuple(told.split("\0"))

    return answer
