# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whatever fails half-way, the host is as it was; if others write at the same time, the result is a defined one.

That whichever step fails, hangs or is killed makes no difference is in test_faults.py.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import signal
import subprocess
import time

import pytest
import sandbox
from fault_table import record
from faults import Loader, end_timers
from helpers import ONE_LAN, TWO_LANS, Gate, wire_gateway
from sandbox import COUNTS, SandboxHost, foreign_rules, sh

from ansible_collections.ipmasq.linux.plugins.module_utils._base import lock
from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError
from ansible_collections.ipmasq.linux.plugins.module_utils._base.host import Done
from ansible_collections.ipmasq.linux.plugins.module_utils._parts.declaration import DECLARATION
from ansible_collections.ipmasq.linux.plugins.module_utils._rollback import rollback, scripts


class FailingHost(SandboxHost):
    """``refuse`` says of a step (what, argument) whether it fails; ``meanwhile`` runs once before a load."""

    refuse = staticmethod(lambda what, detail: False)
    meanwhile = None

    def run(self, argv, stdin=None):
        if stdin is not None and self.meanwhile:
            meanwhile, self.meanwhile = self.meanwhile, None
            meanwhile()
        if self.refuse("run", " ".join(argv)):
            return Done(1, "", argv[0] + ": refused by the test")
        return super().run(argv, stdin)

    def write(self, path, text, mode):
        if self.refuse("write", path):
            raise GatewayError(path + ": cannot be written: No space left on device")
        super().write(path, text, mode)

    def write_switch(self, path, value):
        if self.refuse("switch", path):
            raise GatewayError(path + ": cannot be set to 1: refused by the test")
        super().write_switch(path, value)

    def remove(self, path):
        if self.refuse("remove", path):
            raise GatewayError(path + ": cannot be removed: refused by the test")
        super().remove(path)


class Nth:
    """Refuse the n-th step of a kind; afterwards all is well again (so that the rollback works)."""

    def __init__(self, kind: str, number: int = 1, part: str = "") -> None:
        self.kind, self.left, self.part = kind, number, part

    def __call__(self, kind: str, detail: str) -> bool:
        if kind != self.kind or self.part not in detail:
            return False
        self.left -= 1
        return self.left == 0


@pytest.fixture
def failing(backend, tmp_path):
    wire_gateway()
    sh("echo 1 > /proc/sys/net/ipv4/conf/lan0/forwarding; echo 1 > /proc/sys/net/ipv4/conf/all/accept_redirects")
    return Gate(backend, tmp_path, FailingHost)


LOADS = {"nft": ["nft -j -f"], "iptables-nft": ["iptables-nft-restore", "ip6tables-nft-restore"]}
LOADS["iptables-legacy"] = [name.replace("nft", "legacy") for name in LOADS["iptables-nft"]]


def holds(gate):
    """All that a module could alter. The tables that iptables-nft makes, empty, are a test of their own."""
    found = gate.host.snapshot()
    if gate.programs == "iptables-nft":
        tables = re.split(r"^(?=\*)", COUNTS.sub("", sh("iptables-nft-save; ip6tables-nft-save")), flags=re.M)
        found["rules"] = sorted(part.strip() for part in tables if "-A " in part or " DROP" in part)
    return found


def failed(gate, act, *words):
    """The act fails with one clear error, and the host is as it was, byte for byte."""
    before, rows = holds(gate), gate.live()
    with pytest.raises(GatewayError) as error:
        act()
    gate.host.refuse = lambda what, detail: False
    assert "the host is as it was before" in str(error.value), str(error.value)
    for word in words:
        assert word in str(error.value)
    assert gate.live() == rows
    assert holds(gate) == before


def test_a_rollback_leaves_no_empty_tables(failing):
    before = failing.host.snapshot()
    failing.host.refuse = Nth("write")
    with pytest.raises(GatewayError):
        failing.apply(**TWO_LANS)
    assert failing.host.snapshot() == before


@pytest.mark.parametrize("family", [0, 1])
@pytest.mark.parametrize("earlier", [False, True])
def test_a_refused_load_restores_the_other_family(failing, earlier, family):
    if family and failing.programs == "nft":
        pytest.skip("one load for both families")
    if earlier:
        failing.apply(**ONE_LAN)
    program = LOADS[failing.programs][family]
    failing.host.refuse = Nth("run", 1, " " + program if program.startswith("nft") else program)
    if program.startswith("nft") or family == 0:
        failing.host.refuse = Nth("run", 1, program)
    failed(failing, lambda: failing.apply(**TWO_LANS), "refused by the test")
    assert failing.apply(**TWO_LANS).changed


@pytest.mark.parametrize("number", range(1, 8))
@pytest.mark.parametrize("earlier", [False, True])
def test_a_file_that_cannot_be_written_restores_all(failing, earlier, number):
    if earlier:
        failing.apply(**ONE_LAN)
    before, rows = holds(failing), failing.live()
    failing.host.refuse = Nth("write", number)
    try:
        failing.apply(**TWO_LANS)
    except GatewayError as error:
        failing.host.refuse = lambda what, detail: False
        assert "No space left" in str(error) and "the host is as it was before" in str(error)
        assert failing.live() == rows and holds(failing) == before
    else:
        # Fewer files than this number: then all of it has worked.
        assert failing.host.refuse.left > 0
        assert failing.info()["drift"] == []


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_switch_that_cannot_be_set_restores_all(failing, number):
    failing.host.refuse = Nth("switch", number)
    failed(failing, lambda: failing.apply(**TWO_LANS), "refused by the test")


@pytest.mark.parametrize("kind, number", [("switch", 1), ("switch", 2), ("run", 0)])
def test_absent_that_fails_half_way_restores_all(failing, kind, number):
    failing.apply(**TWO_LANS)
    if kind == "run":
        failing.host.refuse = Nth("run", 1, LOADS[failing.programs][-1])
    else:
        failing.host.refuse = Nth(kind, number)
    failed(failing, failing.absent)
    assert failing.info()["drift"] == []
    failing.absent()


def test_a_way_back_that_fails_too_is_said(failing):
    failing.apply(**ONE_LAN)

    def refuse(what, detail):
        return ("default/keep" in detail or detail.endswith("guest0/forwarding")) and what in ("run", "switch")

    sh("echo 0 > /proc/sys/net/ipv4/conf/guest0/forwarding")
    failing.host.refuse = refuse
    with pytest.raises(GatewayError) as error:
        failing.apply(**TWO_LANS)
    assert "guest0/forwarding" in str(error.value)


def test_switches_that_somebody_turns_back_at_once_are_an_error(failing):
    class Stubborn(FailingHost):
        def write_switch(self, path, value):
            if not path.endswith("ip_forward"):
                super().write_switch(path, value)

    failing.host.__class__ = Stubborn
    failed(failing, lambda: failing.apply(**TWO_LANS), "net/ipv4/ip_forward")


FOREIGN_EDITS = {
    "rule added to our chain": (
        "nft add rule inet ipmasq srcnat accept",
        "{0} -t nat -A IPMASQ-SRCNAT -j ACCEPT",
    ),
    "our rules flushed": ("nft flush table inet ipmasq", "{0} -t nat -F IPMASQ-SRCNAT"),
    "everything flushed": ("nft flush ruleset", "{0} -F; {0} -t nat -F; {0} -t mangle -F"),
    "a second jump": ("nft add rule inet ipmasq input jump lan-office", "{0} -A FORWARD -j IPMASQ-FORWARD"),
    "a foreign rule above": ("nft add table ip x", "{0} -I FORWARD -s 10.9.9.9 -j ACCEPT"),
    "our jump deleted": (
        "nft flush chain inet ipmasq forward",
        "{0} -D FORWARD -m comment --comment ipmasq:default/jump -j IPMASQ-FORWARD",
    ),
    "all jumps and chains gone": (
        "nft delete table inet ipmasq",
        "for t in filter nat mangle; do {0} -t $t -F; {0} -t $t -X; done",
    ),
}


@pytest.mark.parametrize("edit", sorted(FOREIGN_EDITS))
def test_another_process_edits_between_our_read_and_our_load(failing, edit):
    """Either it worked and all is as declared, or it failed with a sentence; the next run repairs everything."""
    failing.apply(**ONE_LAN)
    command = FOREIGN_EDITS[edit][failing.option == "iptables"]
    if failing.option == "iptables":
        command = command.format(failing.tool())
    failing.host.meanwhile = lambda: sh(command)
    try:
        failing.apply(**TWO_LANS)
    except GatewayError as error:
        assert len(error.problems) >= 2, error.problems
        state = [line for line in DECLARATION.of(failing.state()).lines if line.startswith("lan guests")]
        assert not state, "failed, but remembered as applied"
        found = "before"
    else:
        assert failing.info()["drift"] == []
        found = "after"
    record("another process edits our rules between read and load", found)
    failing.apply(**TWO_LANS)
    assert failing.info()["drift"] == []
    assert not failing.apply(**TWO_LANS).changed
    failing.absent()
    assert "IPMASQ" not in failing.rules() and "inet ipmasq" not in failing.rules()


def test_forwarding_is_on_only_after_the_rules_and_off_before_they_go(failing):
    order = []

    def watch(what, detail):
        if what == "switch" and detail.endswith("ip_forward"):
            order.append("switch")
        if what == "run" and ("-f -" in detail or "restore" in detail):
            order.append("load")
        return False

    failing.host.refuse = watch
    failing.apply(**TWO_LANS)
    assert order[-1] == "switch" and "load" in order
    order.clear()
    failing.absent()
    assert order[0] == "switch" and "load" in order


def test_one_process_to_read_and_one_to_load(failing):
    """Never a process per rule. A converged run reads only: our rules, and the chains of others."""
    failing.apply(**TWO_LANS)
    failing.host.calls.clear()
    failing.apply(**TWO_LANS)
    calls = [call for call in failing.host.calls if call[0] != "ip"]
    assert calls.count(["nft", "-j", "list", "chains"]) == 1
    assert len(calls) == (2 if failing.option == "nftables" else 3), calls


# --- The lock --------------------------------------------------------------------------------------------------------

NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]


@pytest.fixture
def nft_gate(tmp_path):
    wire_gateway()
    gate = Gate("nft", tmp_path)
    yield gate
    end_timers(gate)


def lock_of(gate):
    return gate.host.place("/run/ipmasq/.lock")


@contextlib.contextmanager
def held(path, *who):
    """Somebody holds a lock on this path."""
    words = [*who, "flock", path, "sh", "-c", "echo held; exec sleep 600"]
    holder = subprocess.Popen(words, stdout=subprocess.PIPE, start_new_session=True)
    try:
        assert holder.stdout.readline() == b"held\n"
        yield holder
    finally:
        os.killpg(holder.pid, signal.SIGKILL)
        holder.communicate()


def test_nobody_but_root_can_be_in_the_way(nft_gate):
    gate = nft_gate
    gate.apply(**ONE_LAN)
    for folder in (gate.host.root, *gate.host.root.parents):
        folder.chmod(folder.stat().st_mode | 0o055)
    done = subprocess.run([*NOBODY, "flock", "-n", lock_of(gate), "true"], capture_output=True, text=True, check=False)
    assert done.returncode and "Permission denied" in done.stderr
    with held(gate.host.place("/etc/ipmasq"), *NOBODY) as holder:
        began = time.monotonic()
        gate.apply(**TWO_LANS)
        assert gate.host.boot().returncode == 0
        # To wait for it would take a minute, each time.
        assert time.monotonic() - began < 60 and holder.poll() is None


def hurried(monkeypatch):
    """Nobody waits for the lock for long."""
    for where, name in ((scripts, "ALONE"), (lock, "PASS")):
        monkeypatch.setattr(where, name, getattr(where, name).replace("tries=300", "tries=2"))


def test_what_does_not_get_the_lock_fails(nft_gate, monkeypatch):
    gate = nft_gate
    gate.apply(**ONE_LAN)
    rows = gate.live()
    hurried(monkeypatch)
    with contextlib.ExitStack() as stack:
        # From its last step on.
        gate.host.__class__ = FailingHost
        gate.host.refuse = lambda _what, detail: (
            detail.startswith("sh /run/ipmasq/default/keep") and stack.enter_context(held(lock_of(gate))) is None
        )
        with pytest.raises(GatewayError) as caught:
            gate.apply(**TWO_LANS)
        assert "the change could not be written to disk: ipmasq: another change, or the loader" in str(caught.value)
        assert str(caught.value).endswith("its timer tries again once this run has ended")
        # Better no route than an open one: what the loader would have loaded may be gone.
        loader = pathlib.Path(gate.host.place("/etc/ipmasq/boot"))
        loader.write_text(loader.read_text().replace("tries=300", "tries=2"))
        done = gate.host.boot()
        assert done.returncode == 1 and "its lock could not be acquired; forwarding is off" in done.stderr
        assert sh("cat /proc/sys/net/ipv4/ip_forward").strip() == "0"
    # As the timer does, once the lock is free.
    assert gate.host.run(["sh", "/run/ipmasq/default/restore"]).rc == 0
    assert gate.live() == rows and not gate.host.exists("/run/ipmasq/default")


@pytest.mark.parametrize("pending", [True, False])
def test_a_change_waits_for_who_holds_the_lock_or_is_not_begun(nft_gate, monkeypatch, pending):
    """It may be a loader that has not seen the change, and loads the rules of before over its own."""
    gate = nft_gate
    gate.apply(**ONE_LAN)
    before = holds(gate)
    hurried(monkeypatch)
    with held(lock_of(gate)), pytest.raises(GatewayError) as caught:
        gate.apply(**TWO_LANS, confirmation=rollback.waiting(3600) if pending else None)
    held_up = "ipmasq: " + lock.HELD.replace("/run/ipmasq/.lock", lock_of(gate))
    assert caught.value.problems == (held_up, "the host is as it was before")
    assert holds(gate) == before and not gate.host.exists("/run/ipmasq/default")


#: A change that waits: the test says when its time is over.
WAITS = rollback.Confirmation(3600, "token", "14:05:30")


@pytest.fixture
def awaited(backend, tmp_path):
    """A loader has looked whether a change waits, and has not got the lock; then a change waits."""
    wire_gateway()
    gate = Gate(backend, tmp_path)
    gate.apply(**TWO_LANS)
    gate.apply(**ONE_LAN)
    before = gate.live()
    loader = Loader(gate, Loader.LOOKED)
    gate.apply(**TWO_LANS, confirmation=WAITS)
    yield gate, loader, before, gate.live()
    loader.end()
    gate.host.remove_tree(FOLDER)
    end_timers(gate)


FOLDER = rollback.folder_of("default")


def ended(gate):
    return rollback.finish("default", "token", True, gate.host).was


def test_a_loader_that_began_before_a_change_rolls_it_back(awaited):
    gate, loader, before, _after = awaited
    assert loader.end()[0] == 0
    assert ended(gate) == "reverted" and gate.live() == before
    assert gate.info()["as_applied"]


@pytest.mark.parametrize("keeper", ["lives", "has died"])
def test_a_loader_lets_a_change_be_kept_that_has_been_confirmed(awaited, keeper):
    gate, loader, _before, after = awaited
    with held(lock_of(gate)):
        assert gate.host.rename(FOLDER + "/armed", FOLDER + "/confirming")
        words = ["sh", gate.host.place(FOLDER + "/keep"), "confirmed by joe"]
        keeping = subprocess.Popen(words) if keeper == "lives" else None
        loader.go()
        time.sleep(0.3)
    assert loader.end()[0] == 0
    assert not keeping or keeping.wait() == 0
    assert ended(gate) == "confirmed" and gate.live() == after
    assert gate.info()["as_applied"] and not gate.apply(**TWO_LANS).changed


def test_a_loader_takes_back_what_was_confirmed_and_cannot_be_written(awaited):
    gate, loader, before, _after = awaited
    gate.host.rename(FOLDER + "/armed", FOLDER + "/confirming")
    pathlib.Path(gate.host.place(FOLDER + "/keep")).write_text("exit 1\n")
    assert loader.end()[0] == 0
    assert ended(gate) == "reverted" and gate.live() == before


@pytest.mark.parametrize("outcome, rc", [("reverted", 1), ("failed", 1), ("confirmed", 0)])
def test_what_was_rolled_back_while_its_confirmation_waited_is_not_called_kept(nft_gate, outcome, rc):
    gate = nft_gate
    gate.apply(**ONE_LAN)
    gate.apply(**TWO_LANS, confirmation=WAITS)
    with held(lock_of(gate)):
        keeping = subprocess.Popen(["sh", gate.host.place(FOLDER + "/keep"), "confirmed by joe"])
        time.sleep(0.3)
        gate.host.put(FOLDER + ".last", "token {0} 14:05:30\n".format(outcome))
        gate.host.remove_tree(FOLDER)
    assert keeping.wait() == rc


@pytest.mark.parametrize("kind", ["busybox", "no flock"])
def test_the_loader_of_a_small_system(nft_gate, monkeypatch, tmp_path_factory, kind):
    """busybox's flock knows no -w; Debian's busybox has none."""
    gate = nft_gate
    gate.apply(**TWO_LANS)
    rules = foreign_rules()
    tools = tmp_path_factory.mktemp("tools")
    for folder in sandbox.PATH.split(":"):
        for tool in pathlib.Path(folder).iterdir():
            if tool.name != "flock" and not (tools / tool.name).exists():
                (tools / tool.name).symlink_to(tool)
    if kind == "busybox":
        (tools / "flock").write_text('#!/bin/sh\n[ "$1" != -w ] || exit 1\nexec /usr/bin/flock "$@"\n')
        (tools / "flock").chmod(0o755)
    monkeypatch.setattr(sandbox, "PATH", str(tools))
    sh("nft flush ruleset")
    loader = pathlib.Path(gate.host.place("/etc/ipmasq/boot"))
    loader.write_text(
        loader.read_text().replace("PATH=/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin", "PATH=" + str(tools))
    )
    done = gate.host.boot()
    assert (done.returncode, done.stderr) == (0, "") and foreign_rules() == rules
    assert not list(pathlib.Path(gate.host.place("/run/ipmasq")).glob(".lock.*"))


class KeptByAnother(SandboxHost):
    """Another process holds the lock for too long, because it keeps the change, and ends meanwhile."""

    def run(self, argv, stdin=None):
        if argv[0] == "sh" and argv[1].endswith("/keep"):
            return Done(1, "", "process 7 has held the lock for more than a minute")
        if argv[0] == "sh" and argv[1].endswith("/restore"):
            # It waits for the lock, and then finds nothing to restore.
            return super().run(["sh", argv[1].replace("restore", "keep"), "confirmed by joe"])
        return super().run(argv, stdin)


def test_a_change_that_another_process_keeps_meanwhile_is_not_called_rolled_back(tmp_path):
    wire_gateway()
    Gate("nft", tmp_path).apply(confirmation=WAITS, **TWO_LANS)
    slow = Gate("nft", tmp_path, KeptByAnother)
    assert rollback.finish("default", "token", True, slow.host).changed
    assert " confirmed " in slow.host.read("/run/ipmasq/default.last")
    assert slow.info()["as_applied"]
