# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whatever fails, and whenever: LANs are served and metrics written as before or as declared, never in between.

``make test-faults`` tries everything and writes the table in docs/reliability.md; ``make test`` tries a sample. The
rules make no difference here, so all of it is on one backend.
"""

from __future__ import annotations

import pathlib
import shutil

import pytest
from fault_table import record
from faults import FULL, KINDS, FaultHost, differences, holds, in_child, quick_guard, settled
from helpers import GUESTS, OFFICE
from sandbox import sh
from test_faults import WAITS, ended_by_another, finish, kept_until, lines_of
from test_lan_services import SERVED, WANS, ServedHost, served
from test_metrics import SYSTEMCTL
from topology import WAN4
from unhurried import wait_until

from ansible_collections.ipmasq.linux.plugins.module_utils._change import removing
from ansible_collections.ipmasq.linux.plugins.module_utils._parts import fence

RANGES = dict(OFFICE, dhcp={"range": "192.168.1.60-192.168.1.69"})
CHANGES = {
    "first run": ([], [SERVED]),
    "change": ([SERVED], [RANGES, dict(GUESTS, dns=True)]),
    "removal": ([SERVED], []),
}
TRIED = sorted(CHANGES) if FULL else ["change"]
#: Of dnsmasq while it runs, and of tests.
MOVING = ("/var/lib/ipmasq/", "/dnsmasq.err", "/bin/", "/textfiles/", "/saved/", ".part")
CONF, KEPT = "/run/ipmasq-services/default.conf", "/etc/ipmasq/default.dnsmasq"


class FaultyHost(FaultHost, ServedHost):
    """One step of a change goes wrong."""


@pytest.fixture(params=["nft"])
def backend(request):
    return request.param


@pytest.fixture
def gate(backend, tmp_path, dnsmasq, monkeypatch):
    with served(backend, tmp_path, dnsmasq, monkeypatch) as made:
        # Starting the timer is enough: what it writes has tests of its own.
        made.host.put("/bin/metering", SYSTEMCTL.replace("ROOT", str(tmp_path)).replace("exec sh", "exit; sh"))
        (tmp_path / "bin/metering").chmod(0o755)
        made.host.put("/var/lib/x", "")
        # Where nft refuses to check a fence, there is none, which is a warning and no fault.
        monkeypatch.setattr(fence, "_lacking", lambda init, host: "not in this test")
        quick_guard(monkeypatch)
        yield made


def become(gate, lans, confirmation=None):
    if not lans:
        return removing.remove_instance("default", gate.host, confirmation)
    given = {"wans": WANS, "lans": lans, "dns_upstream": [WAN4], "metrics": "textfile"}
    return gate.apply(confirmation=confirmation, **given)


def serving(gate):
    """The processes that serve from this host's files, also those that nobody has noted."""
    own = str(gate.host.root).encode() + CONF.encode()
    # A pattern with cmdline in it would fail at a process that ends meanwhile.
    running = (each / "cmdline" for each in pathlib.Path("/proc").glob("[0-9]*"))
    return [each for each in running if own in read_quietly(each)]


def read_quietly(path):
    try:
        return path.read_bytes()
    except OSError:
        return b""


def found_now(gate):
    """What test_faults compares, what dnsmasq was started with and would be, and whether metrics are written."""
    found = holds(gate)
    found["files"] = {path: text for path, text in found["files"].items() if not any(word in path for word in MOVING)}
    # The kernel makes it when dnsmasq first listens.
    found["switches"] = {key: value for key, value in found["switches"].items() if "fastopen_key" not in key}
    started = (gate.host.read(CONF + ".moved") or "").replace(str(gate.host.root), "")
    found["serving"] = [started * len(serving(gate)), gate.host.read(CONF) or "", gate.host.read(KEPT) or ""]
    found["metering"] = ["timer"] * gate.host.exists("/run/timer-default")
    return found


def ends(gate, change):
    """What the host has before and after a change; it is as before again."""
    old, new = CHANGES[change]
    found = []
    for lans in (old, new):
        become(gate, lans)
        found.append(found_now(gate))
        assert [bool(each) for each in found[-1]["serving"]] == [bool(lans)] * 3
    become(gate, old)
    return found


def compared(gate, before, after):
    now = found_now(gate)
    return "before" if now == before else "after" if now == after else "between"


#: As nothing is left of most faults, the next run is tried after those of which something is, and after each fifth one.
REPAIRED = 5 if FULL else 1
#: How a step fails, and how many of the first of how many steps are left out.
TURNS = {(kind,): (0, 1) for kind in sorted(KINDS)} if FULL else {tuple(sorted(KINDS)): (3, 25)}


@pytest.mark.parametrize("kinds", TURNS, ids=" ".join)
@pytest.mark.parametrize("change", TRIED)
def test_whichever_step_goes_wrong(gate, net, change, kinds):
    """In make test, one of this many steps, each in another way."""
    (before, after), (old, new) = ends(gate, change), CHANGES[change]
    first, every = TURNS[kinds]
    for turn, number in enumerate(range(first + 1, 1000, every)):
        kind = kinds[turn % len(kinds)]
        assert compared(gate, before, after) == "before", differences(before, found_now(gate))
        ended, what, error, count = in_child(gate, lambda: become(gate, new), kind, number, FaultyHost)
        assert ended != "crashed", (what, error)
        settled(gate)
        found = compared(gate, before, after)
        if ended == "done" and count < number:
            assert found == "after", differences(after, found_now(gate))
            break
        record("with services and metrics, each step of a change in turn: {0}".format(KINDS[kind]), found)
        wrong = (number, what, ended, error, differences(before, found_now(gate)), differences(after, found_now(gate)))
        assert found != "between", wrong
        assert "could not be undone" not in error
        if found == "after" or not turn % REPAIRED:
            become(gate, new)
            assert compared(gate, before, after) == "after", "the next run does not repair it"
            become(gate, old)
    assert number > 12


SCRIPTS = [[each] for each in ("keep", "commit", "restore")] if FULL else [["keep", "commit", "restore"]]


@pytest.mark.parametrize("scripts", SCRIPTS, ids=" ".join)
@pytest.mark.parametrize("change", TRIED)
def test_the_shell_that_ends_a_change_is_killed(gate, net, change, scripts):
    """In make test, at one line of each script."""
    (before, after), (old, new) = ends(gate, change), CHANGES[change]
    for script in scripts:
        become(gate, new, WAITS)
        numbers = lines_of(gate, script)
        finish(gate, keep=False)
        for number in numbers if FULL else numbers[len(numbers) // 2 :][:1]:
            become(gate, new, WAITS)
            killed, kept = ended_by_another(gate, script, number)
            found = compared(gate, before, after)
            if killed:
                record("with services and metrics, the shell that ends a change killed at each of its lines", found)
            told = differences(after if kept else before, found_now(gate))
            assert found == ("after" if kept else "before"), (number, script, told)
            become(gate, old)


def booted(gate):
    """What dnsmasq is started with at the next boot, and what metrics are written."""
    # The power goes for dnsmasq, too, whether its unit is still there or not, and whether it has written its PID.
    for each in serving(gate):
        sh("kill -9 {0}".format(each.parent.name), check=False)
    wait_until(lambda: not serving(gate), "dnsmasq has ended")
    shutil.rmtree(gate.host.place("/run"), ignore_errors=True)
    gate.host.put("/run/systemd/system/x", "")
    if gate.host.exists("/etc/ipmasq/boot"):
        gate.host.boot_anew()
        wait_until(lambda: not gate.host.exists(KEPT) or gate.host.server, "dnsmasq runs after a boot")
    return {name: found_now(gate)[name] for name in ("serving", "metering")}


@pytest.mark.parametrize("script", ["keep", "commit"] if FULL else ["commit"])
@pytest.mark.parametrize("change", TRIED)
def test_the_power_goes_while_a_change_is_being_kept(gate, net, change, script):
    (old, new), disk, saved = CHANGES[change], pathlib.Path(gate.host.place("/etc")), gate.host.root / "saved"
    become(gate, old)
    disk.mkdir(exist_ok=True)
    shutil.copytree(disk, saved, symlinks=True)
    before = booted(gate)
    become(gate, new, WAITS)
    numbers = lines_of(gate, script)
    finish(gate, keep=True)
    after = booted(gate)
    for number in numbers if FULL else numbers[len(numbers) // 2 :][:1]:
        shutil.rmtree(disk)
        shutil.copytree(saved, disk, symlinks=True)
        booted(gate)
        become(gate, new, WAITS)
        killed = kept_until(gate, script, number)
        now = booted(gate)
        found = "before" if now == before else "after" if now == after else "between"
        if killed:
            record(
                "with services and metrics, power cut at each line of the shell that keeps a change, then boot", found
            )
        assert found != "between", (number, differences(before, now), differences(after, now))
