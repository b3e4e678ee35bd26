# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The script that runs dnsmasq where there is no systemd, with a program in its place."""

from __future__ import annotations

import functools
import os
import shutil
import signal
import subprocess
import time
import typing as t

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._init import service, serving

if t.TYPE_CHECKING:
    import pathlib

DNSMASQ = """#!/bin/sh
case "$*" in *--test*) ! grep -q bad "${2#*=}" || { echo "dnsmasq: bad option" >&2; exit 1; }; exit ;; esac
[ -e ROOT/broken ] && { echo "dnsmasq: cannot start" >&2; exit 2; }
trap 'echo > ROOT/told' HUP
trap 'kill $last; exit 0' TERM
sleep 100 &
last=$!
echo $$ > ROOT/run/ipmasq-services/default.pid
# A signal just before a wait is seen after it.
while kill -s 0 $last 2> /dev/null; do
    sleep 0.2 &
    wait $!
done
"""
pytestmark = pytest.mark.skipif(not shutil.which("setsid"), reason="no setsid")


class Machine:
    def __init__(self, root: pathlib.Path) -> None:
        self.root = root
        for folder in ("bin", "etc/ipmasq"):
            (root / folder).mkdir(parents=True)
        (root / "bin/dnsmasq").write_text(DNSMASQ.replace("ROOT", str(root)))
        (root / "bin/dnsmasq").chmod(0o755)
        (root / "etc/ipmasq/default.dnsmasq").write_text("kept\n")
        text = serving.SCRIPT_TEXT.replace("\nPATH=", "\nPATH={0}/bin:".format(root))
        for path in ("/run/ipmasq-services", "/var/lib/ipmasq", "/etc/ipmasq"):
            text = text.replace(path, str(root) + path)
        self.script = root / "etc/ipmasq/services"
        self.script.write_text(text)

    def does(self, word, script=None):
        words = ["sh", str(script or self.script), word, "default"]
        # A shell cannot take a signal that was ignored when it began (nohup); dnsmasq can.
        heard = functools.partial(signal.signal, signal.SIGHUP, signal.SIG_DFL)
        return subprocess.run(words, capture_output=True, text=True, check=False, preexec_fn=heard)

    @property
    def folder(self):
        return self.root / "run/ipmasq-services"

    @property
    def pid(self):
        return int((self.folder / "default.pid").read_text())

    def lives(self):
        try:
            os.kill(self.pid, 0)
        except (OSError, ValueError):
            return False
        return True


@pytest.fixture
def machine(tmp_path):
    made = Machine(tmp_path)
    yield made
    made.does("stop")


def test_it_starts_with_what_was_kept_and_restarts_with_what_a_change_left(machine):
    assert machine.does("start").returncode == 0 and machine.lives()
    assert (machine.folder / "default.conf").read_text() == "kept\n"
    first = machine.pid
    assert machine.does("start").returncode == 0 and machine.pid == first
    (machine.folder / "default.conf").write_text("changed\n")
    assert machine.does("restart", machine.folder / "control").returncode == 0
    assert machine.pid != first and machine.lives()
    assert (machine.folder / "default.conf").read_text() == "changed\n"
    last = machine.pid
    assert machine.does("stop").returncode == 0
    with pytest.raises(ProcessLookupError):
        os.kill(last, 0)
    assert not (machine.folder / "default.pid").exists()


def test_it_comes_back_after_a_crash(machine):
    machine.does("start")
    first = machine.pid
    os.kill(first, signal.SIGKILL)
    deadline = time.monotonic() + 20
    while (machine.pid == first or not machine.lives()) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert machine.pid != first and machine.lives()


def test_one_that_does_not_start_says_why(machine):
    (machine.root / "broken").write_text("")
    done = machine.does("start")
    assert done.returncode == 1 and "dnsmasq: cannot start" in done.stderr
    assert not (machine.folder / "default.group").exists()


def test_other_words_are_refused(machine):
    assert machine.does("again").returncode == 3


def test_reservations_are_read_without_a_restart(machine):
    machine.does("start")
    first, (hosts, names) = machine.pid, (machine.folder / "default.hosts", machine.folder / "default.names")
    assert (hosts.read_text(), names.read_text()) == ("", "")
    (machine.folder / "default.conf").write_text("kept\n#host 52:54,192.168.1.20,nas\n#name 192.168.1.20 nas.x nas\n")
    assert machine.does("reload", machine.folder / "control").returncode == 0
    assert hosts.read_text() == "52:54,192.168.1.20,nas\n" and names.read_text() == "192.168.1.20 nas.x nas\n"
    assert hosts.stat().st_mode & 0o777 == names.stat().st_mode & 0o777 == 0o644
    assert machine.pid == first and wait_for((machine.root / "told").exists)
    machine.does("stop")
    assert machine.does("reload").returncode == 0 and machine.lives()


def test_anything_else_is_read_by_a_new_process_at_once(machine):
    """The loop stays, and does not wait the second that it waits after a crash."""
    machine.does("start")
    first, group = machine.pid, (machine.folder / "default.group").read_text()
    conf = machine.folder / "default.conf"
    conf.write_text("# 1\nkept\ndhcp-range=192.168.1.100,192.168.1.199\n")
    assert machine.does("reload", machine.folder / "control").returncode == 0
    assert machine.pid != first and machine.lives()
    assert (machine.folder / "default.started").read_text() == "kept\ndhcp-range=192.168.1.100,192.168.1.199\n"
    assert (machine.folder / "default.group").read_text() == group and not (machine.root / "told").exists()
    # Nothing but a comment differs.
    second = machine.pid
    conf.write_text(conf.read_text().replace("# 1", "# 2"))
    assert machine.does("reload").returncode == 0
    assert machine.pid == second and wait_for((machine.root / "told").exists)


def test_a_reload_leaves_what_runs_alone_if_the_configuration_is_refused(machine):
    machine.does("start")
    first = machine.pid
    (machine.folder / "default.conf").write_text("bad\n")
    done = machine.does("reload")
    assert done.returncode == 1 and "dnsmasq: bad option" in done.stderr
    assert machine.pid == first and machine.lives()


def test_a_reload_after_which_it_does_not_start_says_why(machine):
    machine.does("start")
    (machine.root / "broken").write_text("")
    (machine.folder / "default.conf").write_text("changed\n")
    done = machine.does("reload")
    assert done.returncode == 1 and "dnsmasq: cannot start" in done.stderr
    # As the rollback does.
    (machine.root / "broken").unlink()
    (machine.folder / "default.conf").write_text("kept\n")
    assert machine.does("reload").returncode == 0 or machine.does("restart").returncode == 0
    assert machine.lives() and (machine.folder / "default.started").read_text() == "kept\n"


@pytest.mark.parametrize("written", ["{0}", "-{0}", "1 {0}", "GROUP", "", "x"])
def test_no_other_process_is_told_of_reservations(machine, written):
    """The user of dnsmasq can write into the file with its number."""
    machine.does("start")
    other = subprocess.Popen(["sleep", "100"], start_new_session=True)
    number = machine.pid
    try:
        group = (machine.folder / "default.group").read_text()
        (machine.folder / "default.pid").write_text(written.format(other.pid).replace("GROUP", group))
        assert machine.does("reload").returncode != 0
        assert other.poll() is None and not (machine.root / "told").exists()
    finally:
        other.kill()
        other.wait()
    (machine.folder / "default.pid").write_text(str(number))
    assert machine.does("reload").returncode == 0 and wait_for((machine.root / "told").exists)


def wait_for(true):
    deadline = time.monotonic() + 20
    while not true() and time.monotonic() < deadline:
        time.sleep(0.05)
    return true()


def test_which_init_takes_which():
    assert serving.serving(None).path == serving.UNIT and serving.UNIT in service.ALL
    for name in ("OpenRC", "sysvinit"):
        init = service.Init(name, {}, {}, (), "", "", {}, "", ())
        assert serving.serving(init).path == serving.SCRIPT
