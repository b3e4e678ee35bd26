# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whatever fails, and whenever: the host is as it was or as declared, never in between.

``make test-faults`` tries everything and writes the table in docs/reliability.md; ``make test`` tries a sample.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import shutil
import subprocess

import pytest
import sandbox
from fault_table import record
from faults import (
    FULL,
    KINDS,
    FaultHost,
    Loader,
    differences,
    end_timers,
    fork,
    holds,
    in_child,
    outcome,
    quick_guard,
    settled,
)
from helpers import ONE_LAN, TWO_LANS, Gate, wire_gateway
from sandbox import sh
from unhurried import wait_until

from ansible_collections.ipmasq.linux.plugins.module_utils._backend.iptables import script as restoring
from ansible_collections.ipmasq.linux.plugins.module_utils._base import lock
from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError
from ansible_collections.ipmasq.linux.plugins.module_utils._change import removing
from ansible_collections.ipmasq.linux.plugins.module_utils._rollback import rollback, scripts

#: Another gateway: one more LAN, address and timer.
OWN = {"name": "own", "action": "static", "source": ["192.168.1.10"], "to": ["203.0.113.9"], "to_address": "add"}
MORE = dict(TWO_LANS, nat=[OWN, {"name": "rest"}], timeouts={"udp": 77})
CHANGES = {
    "first run": (None, MORE),
    "change": (ONE_LAN, MORE),
    "removal": (MORE, None),
}
#: A first run and a removal are left to make test-faults.
TRIED = sorted(CHANGES) if FULL else ["change"]
#: It waits longer than any test: the test ends it.
WAITS = rollback.Confirmation(3600, "token", "14:05:30")
SWITCHES_BEFORE = (
    "echo 1 > /proc/sys/net/ipv4/conf/lan0/forwarding; echo 1 > /proc/sys/net/ipv4/conf/all/accept_redirects"
)


def become(gate, wanted, confirmation=None):
    if wanted is None:
        return removing.remove_instance("default", gate.host, confirmation)
    return gate.apply(confirmation=confirmation, **wanted)


@pytest.fixture
def gate(backend, tmp_path, monkeypatch):
    wire_gateway()
    sh(SWITCHES_BEFORE)
    quick_guard(monkeypatch)
    made = Gate(backend, tmp_path)
    yield made
    end_timers(made)


def sample(steps, gate, *words):
    """All of them, or every twelfth, with a different start in each test."""
    return steps if FULL else steps[sum(map(ord, "".join((gate.programs, *words)))) % 12 :: 12]


def ends(gate, change):
    """What the host has before and after a change."""
    found = []
    for side in CHANGES[change]:
        become(gate, side)
        found.append(holds(gate))
    assert found[0] != found[1]
    return found


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("change", TRIED)
def test_whichever_step_goes_wrong(gate, change, kind):
    (before, after), (old, new) = ends(gate, change), CHANGES[change]
    for number in sample(range(1, 1000), gate, change, kind):
        become(gate, old)
        assert holds(gate) == before, differences(before, holds(gate))
        ended, what, error, steps = in_child(gate, lambda: become(gate, new), kind, number)
        assert ended != "crashed", (what, error)
        settled(gate)
        found = outcome(gate, before, after)
        if ended == "done" and steps < number:
            assert found == "after"
            break
        record("each step of a change in turn: {0}".format(KINDS[kind]), found)
        assert found != "between", (number, what, ended, error)
        assert "could not be undone" not in error
        if ended == "refused" and kind != "hangs":
            assert found == "before", (what, error)
        become(gate, new)
        assert holds(gate) == after, "the next run does not repair it"
    assert number > 12


class BesideLoader(FaultHost):
    """The loader gets on at the step with this number; if it has the lock, at the latest when the change needs it."""

    beside: Loader
    last = 0

    def _step(self, what, act, fail):
        self.count += 1
        if self.count == self.number:
            self.beside.end()
        elif self.beside.line == Loader.LOCKED and what == "run sh -c " + lock.PASS:
            self.beside.go(after=0.2)
            self.last = self.count
        return act()


@pytest.mark.parametrize("line", [Loader.LOOKED, Loader.LOCKED], ids=["looked", "locked"])
@pytest.mark.parametrize("change", [name for name in TRIED if CHANGES[name][0]])
def test_the_loader_has_begun_before_the_change(gate, change, line):
    """It has found that no change waits, and loads what was kept last."""
    (before, after), (old, new) = ends(gate, change), CHANGES[change]
    host, kind = gate.host, type(gate.host)
    for number in sample(range(1, 1000), gate, change, line):
        become(gate, old)
        host.__class__, host.number, host.count, host.last = BesideLoader, number, 0, 0
        host.beside = Loader(gate, line)
        try:
            become(gate, new)
            ended = "after"
        except GatewayError as problem:
            ended = str(problem)
        finally:
            rc, err = host.beside.end()
            host.__class__ = kind
        settled(gate)
        found = outcome(gate, before, after)
        record("the loader has begun before a change, and gets on at each step of it in turn", found)
        assert (found, rc) == ("after" if ended == "after" else "before", 0), (
            number,
            ended,
            err,
            differences(before, holds(gate)),
        )
        assert ended == "after" or "the host is as it was before" in ended, ended
        become(gate, new)
        assert holds(gate) == after, "the next run does not repair it"
        if number > (host.last or host.count):
            break


def path_of(gate, script):
    """Of a pending change."""
    folder = pathlib.Path(gate.host.place(rollback.folder_of("default")))
    return next(folder.glob("new/*/*.commit")) if script == "commit" else folder / script


def lines_of(gate, script):
    """The lines of a script that do something, by number."""
    lines = path_of(gate, script).read_text().splitlines()
    return [number for number, line in enumerate(lines) if line.strip() and not line.startswith(("#", "}", "fi"))]


def kill_at(gate, script, number):
    """The shell that runs this script dies in front of that line, once."""
    path = path_of(gate, script)
    lines = path.read_text().splitlines()
    flag = gate.host.root / "killed"
    lines.insert(number, "[ -e {0} ] || {{ : > {0}; kill -9 $$; }}".format(flag))
    path.write_text("".join(line + "\n" for line in lines))
    return flag


def finish(gate, keep):
    """What gateway_confirm does, and after it the timer, if anything is left to do: whether the change is kept."""
    try:
        rollback.finish("default", "token", keep, gate.host)
    except GatewayError:
        keep = False
    gate.host.run(["sh", "-c", "[ ! -e {0} ] || exec sh {0} token".format("/run/ipmasq/default/timer")])
    settled(gate)
    end_timers(gate)
    return keep


def ended_by_another(gate, script: str, number: int) -> tuple:
    """Kill the shell that ends a change at a line, and finish; whether it was killed, and the change kept."""
    flag = kill_at(gate, script, number)
    kept = finish(gate, keep=script != "restore")
    killed = flag.exists()
    flag.unlink(missing_ok=True)
    return killed, kept


@pytest.mark.parametrize("script", ["keep", "commit", "restore"])
@pytest.mark.parametrize("change", TRIED)
def test_the_shell_that_ends_a_change_is_killed(gate, change, script):
    old, new = CHANGES[change]
    become(gate, old)
    before = holds(gate)
    become(gate, new, WAITS)
    numbers = lines_of(gate, script)
    finish(gate, keep=True)
    after = holds(gate)
    become(gate, old)
    for number in sample(numbers, gate, change, script):
        become(gate, new, WAITS)
        killed, kept = ended_by_another(gate, script, number)
        found = outcome(gate, before, after)
        if killed:
            record("the shell that ends a change killed (SIGKILL) at each of its lines", found)
        assert found == ("after" if kept else "before"), (number, script, differences(before, holds(gate)))
        become(gate, old)
        assert holds(gate) == before


def kept_until(gate, script: str, number: int) -> bool:
    """Keep a waiting change up to a line; whether the shell was killed there."""
    flag = kill_at(gate, script, number)
    gate.host.rename("/run/ipmasq/default/armed", "/run/ipmasq/default/confirming")
    gate.host.run(["sh", "/run/ipmasq/default/keep"])
    killed = flag.exists()
    flag.unlink(missing_ok=True)
    return killed


@contextlib.contextmanager
def power_cut(gate):
    """A host that boots: no rules, no /run, the switches of a new kernel, and what is on the disk."""
    own = sandbox.Namespace()
    shutil.rmtree(gate.host.place("/run"), ignore_errors=True)
    try:
        with own.inside():
            sandbox.raise_loopback()
            wire_gateway()
            sh(SWITCHES_BEFORE)
            yield
    finally:
        own.close()


def booted(gate):
    with power_cut(gate):
        done = gate.host.boot() if gate.host.exists("/etc/ipmasq/boot") else None
        assert done is None or done.returncode == 0, done.stderr
        found = holds(gate)
        return {"rules": found["rules"], "switches": found["switches"], "files": found["files"]}


@pytest.mark.parametrize("script", ["keep", "commit"])
@pytest.mark.parametrize("change", TRIED)
def test_the_power_goes_while_a_change_is_being_kept(gate, change, script):
    old, new = CHANGES[change]
    become(gate, old)
    disk = pathlib.Path(gate.host.place("/etc"))
    disk.mkdir(exist_ok=True)
    saved = gate.host.root / "saved"
    shutil.copytree(disk, saved, symlinks=True)
    before = booted(gate)
    with power_cut(gate):
        if old:
            gate.host.boot()
        become(gate, new, WAITS)
        numbers = lines_of(gate, script)
        finish(gate, keep=True)
    after = booted(gate)
    for number in sample(numbers, gate, change, script):
        shutil.rmtree(disk)
        shutil.copytree(saved, disk, symlinks=True)
        with power_cut(gate):
            if old:
                gate.host.boot()
            become(gate, new, WAITS)
            killed = kept_until(gate, script, number)
        now = booted(gate)
        # Before the first run is kept, nothing exists that would complete it, or clean up.
        rest = re.compile(re.escape(scripts.PART) if old else re.escape(scripts.PART) + r"|\.commit$")
        now["files"] = {path: text for path, text in now["files"].items() if not rest.search(path)}
        found = "before" if now == before else "after" if now == after else "between"
        if killed:
            record("power cut at each line of the shell that keeps a change, then boot", found)
        assert found != "between", (number, differences(before, now), differences(after, now))


@pytest.mark.parametrize("waits", [False, True], ids=["at once", "to be confirmed"])
def test_power_goes_before_the_change_is_kept(gate, waits):
    become(gate, ONE_LAN)
    before = booted(gate)
    become(gate, ONE_LAN)
    if waits:
        become(gate, MORE, WAITS)
    else:
        in_child(gate, lambda: become(gate, MORE), "killed", 14)
    found = "before" if booted(gate) == before else "between"
    record("power cut between load and confirmation, then boot", found)
    assert found == "before"


def damages(text):
    half = len(text) // 2
    return {
        "empty": b"", "one byte": text[:1], "half": text[:half], "less its end": text[:-1],
        "other": text[:half] + b"#" + text[half + 1 :], "more": text + b"accept\n", "gone": None,
    }  # fmt: skip


@pytest.mark.parametrize("how", sorted(damages(b"12")))
def test_damaged_state_at_boot_does_not_route(gate, how):
    become(gate, MORE)
    folder = pathlib.Path(gate.host.place("/etc/ipmasq"))
    for path in sorted(folder.glob("default.*")):
        text = path.read_bytes()
        damaged = damages(text)[how]
        if damaged is None:
            path.unlink()
        else:
            path.write_bytes(damaged)
        with power_cut(gate):
            sh("echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding")
            done = gate.host.boot()
            routes = sh("cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/all/forwarding").split()
        if (how, path.suffix) == ("less its end", ".sums"):
            # Its last newline has no meaning.
            path.write_bytes(text)
            continue
        found = "closed" if (done.returncode, routes) == (1, ["0", "0"]) else "between"
        record("each state file damaged (cut short, altered, gone), then boot", found)
        assert found == "closed", (path.name, done.returncode, done.stderr)
        assert path.name in done.stderr and "forwarding is off" in done.stderr
        path.write_bytes(text)
    with power_cut(gate):
        assert gate.host.boot().returncode == 0


@pytest.mark.parametrize("keep", [True, False])
def test_a_file_that_was_being_tried_when_the_shell_died_is_put_back(gate, keep):
    """Before a change is decided, each file is tried: it gets a second name, or is moved away and back."""
    old, new = CHANGES["change"]
    become(gate, old)
    before = holds(gate)
    path = pathlib.Path(gate.host.place("/etc/ipmasq/default.json"))
    for leave in (os.link, os.rename):
        become(gate, new, WAITS)
        leave(path, str(path) + ".ipmasq-old")
        assert finish(gate, keep) is keep
        assert not [each for each in path.parent.iterdir() if "ipmasq-" in each.name]
        become(gate, old)
        assert holds(gate) == before


@pytest.fixture
def disk(gate):
    """/etc or /run as a filesystem of their own; returns a function that mounts one."""
    mounted = []

    def mount(path):
        place = gate.host.place(path)
        os.makedirs(place, exist_ok=True)
        kept = gate.host.root / "kept"
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(place, kept, symlinks=True)
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", place], check=False).returncode:
            pytest.skip("no tmpfs can be mounted here")
        mounted.append(place)
        shutil.copytree(kept, place, symlinks=True, dirs_exist_ok=True)
        shutil.rmtree(kept)
        return pathlib.Path(place)

    yield mount
    for place in mounted:
        subprocess.run(["umount", "--lazy", place], check=False)


@pytest.mark.parametrize("path", ["/etc", "/run"])
@pytest.mark.parametrize("change", TRIED)
def test_a_full_disk(gate, disk, change, path):
    """With room for no page, for one, for two … until it is enough."""
    (before, after), (old, new) = ends(gate, change), CHANGES[change]
    place = disk(path)
    filler = place / "filler"
    for pages in sample(range(200), gate, change, path) if FULL else (0, 1, 3, 7, 12, 20, 60, 120):
        become(gate, old)
        free = os.statvfs(place)
        filler.write_bytes(b"x" * (free.f_bavail - pages) * free.f_bsize)
        ended, _what, error, _steps = in_child(gate, lambda: become(gate, new), "", 0)
        filler.unlink()
        settled(gate)
        found = outcome(gate, before, after)
        record("{0} full, with room for 0, 1, 2 … pages".format(path), found)
        assert found == ("after" if ended == "done" else "before"), (pages, error)
        if ended == "done":
            break
        assert "No space left on device" in error, error
    else:
        raise AssertionError("never enough")


@pytest.mark.parametrize("path", ["/etc", "/run"])
@pytest.mark.parametrize("change", TRIED)
def test_a_disk_that_is_read_only(gate, disk, change, path):
    old, new = CHANGES[change]
    become(gate, old)
    place = disk(path)
    before = holds(gate)
    subprocess.run(["mount", "-o", "remount,ro", place], check=True)
    ended, _what, error, _steps = in_child(gate, lambda: become(gate, new), "", 0)
    subprocess.run(["mount", "-o", "remount,rw", place], check=True)
    settled(gate)
    found = outcome(gate, before, {})
    record("{0} read-only".format(path), found)
    assert (ended, found) == ("refused", "before")
    assert "Read-only file system" in error
    become(gate, new)


@pytest.mark.parametrize("seconds", [1, 60])
def test_somebody_holds_the_lock_of_iptables(gate, monkeypatch, seconds):
    if gate.programs != "iptables-legacy":
        pytest.skip("only iptables-legacy has a lock")
    monkeypatch.setattr(restoring, "LOCK_WAIT", "3")
    become(gate, ONE_LAN)
    before = holds(gate)
    become(gate, MORE)
    after = holds(gate)
    become(gate, ONE_LAN)
    path = str(gate.host.root / "xtables.lock")
    holder = subprocess.Popen(["flock", "--close", path, "sleep", str(seconds)])
    wait_until(lambda: sh("flock --nonblock {0} true || echo held".format(path)), "nobody holds the lock")
    ended, _what, error, _steps = in_child(gate, lambda: become(gate, MORE), "", 0)
    holder.kill()
    holder.wait()
    settled(gate)
    found = outcome(gate, before, after)
    record("xtables lock held for {0} than we wait".format("less" if seconds == 1 else "longer"), found)
    assert (ended, found) == (("done", "after") if seconds == 1 else ("refused", "before")), error


class StallingHost(FaultHost):
    """The module stalls once it has begun to keep its change, and learns nothing of it."""

    def rename(self, old, new):
        if not new.endswith("/confirming"):
            return super().rename(old, new)
        assert super().rename(old, new)
        self.hang()
        return False


def test_a_change_that_the_timer_has_kept_stays(gate):
    become(gate, ONE_LAN)
    become(gate, MORE)
    after = holds(gate)
    become(gate, ONE_LAN)
    ended, _what, error, _steps = in_child(gate, lambda: become(gate, MORE), "", 0, StallingHost)
    settled(gate)
    assert ended == "refused" and error.endswith(rollback.STAYS)
    assert holds(gate) == after, differences(after, holds(gate))
    assert not become(gate, MORE).changed


def test_two_at_once(gate):
    """One wins; the other follows it or gets a clear error."""
    ends = {}
    for name, wanted in (("one", ONE_LAN), ("more", MORE)):
        become(gate, wanted)
        ends[name] = holds(gate)
    become(gate, None)
    for _each in range(20 if FULL else 3):
        children = [fork(lambda wanted=wanted: become(gate, wanted)) for wanted in (ONE_LAN, MORE)]
        told = [answer() for answer in children]
        settled(gate)
        now = holds(gate)
        found = "after" if now in ends.values() else "between"
        record("two changes at once", found)
        assert found == "after", told
        assert any(ended == "done" for ended, _error in told), told
        for ended, error in told:
            assert ended == "done" or "another change to 'default' is in progress" in error or "read back" in error, (
                error
            )
        become(gate, None)
