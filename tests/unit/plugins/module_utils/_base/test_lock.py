# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One script at a time, with the flock of util-linux, with busybox's, and without any."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._base import lock
from ansible_collections.ipmasq.linux.plugins.module_utils._base.host import Done
from ansible_collections.ipmasq.linux.plugins.module_utils._base.local import LocalHost

#: busybox 1.36 prints its usage, and fails, where it is told to wait: util-linux/flock.c
BUSYBOX = """#!/bin/sh
case " $* " in
*" -w "*) echo "Usage: flock [-sxun] FD" >&2; exit 1 ;;
esac
exec {flock} "$@"
"""
TOOLS = ("sh", "mkdir", "chmod", "sleep", "ln", "readlink", "rm", "rmdir", "cat", "true")


@pytest.fixture(params=["util-linux", "busybox", "none"])
def shell(request, tmp_path):
    """Run lines after the lock's, on a host with this flock and its own /run."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in TOOLS:
        (tools / name).symlink_to(shutil.which(name))
    flock = shutil.which("flock")
    if request.param != "none" and not flock:
        pytest.skip("flock is not installed")
    if request.param == "util-linux":
        (tools / "flock").symlink_to(flock)
    elif request.param == "busybox":
        (tools / "flock").write_text(BUSYBOX.format(flock=flock))
        (tools / "flock").chmod(0o755)

    unlock = lock.UNLOCK.replace("/run/ipmasq", str(tmp_path / "run/ipmasq"))

    def start(lines, tries="3", umask="022"):
        text = lock.SHELL.replace("/run/ipmasq", str(tmp_path / "run/ipmasq")).replace("tries=300", "tries=" + tries)
        return subprocess.Popen(
            ["sh", "-c", "umask {0}\n".format(umask) + text + unlock + lines],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={"PATH": str(tools)}, cwd=str(tmp_path),
        )  # fmt: skip

    start.folder = tmp_path / "run/ipmasq"
    return start


def test_the_second_waits_and_then_gives_up(shell):
    first = shell("lock && echo mine && cat")
    assert first.stdout.readline() == "mine\n"
    second = shell("lock && echo mine")
    out, err = second.communicate()
    told = lock.HELD.replace("/run/ipmasq", str(shell.folder))
    assert (second.returncode, out, err) == (1, "", "ipmasq: {0}\n".format(told))
    waiting = shell("echo ready; lock && echo mine", tries="300")
    assert waiting.stdout.readline() == "ready\n"
    first.communicate()
    assert waiting.communicate()[0] == "mine\n" and waiting.returncode == 0
    # And nothing remains that would block the next one.
    assert shell("lock && echo mine").communicate()[0] == "mine\n"


def test_who_lets_another_one_go_first_takes_it_again(shell):
    first = shell("lock && echo mine && read go && unlock && echo free && read go && lock && echo again && cat")
    assert first.stdout.readline() == "mine\n"
    first.stdin.write("\n")
    first.stdin.flush()
    assert first.stdout.readline() == "free\n"
    # The process that holds it now keeps it, also if the first one lets go of what it does not have.
    second = shell("lock && echo mine && cat")
    assert second.stdout.readline() == "mine\n"
    assert shell("unlock; lock").wait() == 1
    second.communicate()
    first.stdin.write("\n")
    first.stdin.flush()
    assert first.stdout.readline() == "again\n"
    assert shell("lock").wait() == 1
    first.communicate()
    assert shell("lock && echo mine").communicate()[0] == "mine\n"


def test_waiting_for_scripts(shell):
    """What arms a change waits until the process that has the lock has ended, and does not keep it."""
    text = lock.PASS.partition("\n")[2].replace("/run/ipmasq", str(shell.folder))
    assert lock.PASS.partition("\n")[0] + "\n" + lock.SHELL + "lock\n" == lock.PASS
    first = shell("lock && echo mine && cat")
    assert first.stdout.readline() == "mine\n"
    assert shell(text.replace("tries=300", "tries=3")).wait() == 1
    first.communicate()
    assert shell(text).wait() == 0
    assert shell("lock").wait() == 0


class Here(LocalHost):
    """A host whose lock is that of these shells."""

    def __init__(self, folder):
        super().__init__()
        self.place = lambda path: path.replace("/run/ipmasq", str(folder))
        self.calls = []

    def is_free(self, path):
        return super().is_free(self.place(path))

    def exists(self, path):
        return super().exists(self.place(path))

    def run(self, argv, stdin=None):
        self.calls.append(argv)
        return Done(0, "", "")


def test_a_free_lock_is_seen_without_a_shell(shell):
    def asks_a_shell():
        host = Here(shell.folder)
        lock.await_scripts(host)
        assert host.calls in ([], [["sh", "-c", lock.PASS]])
        return bool(host.calls)

    # No script has ever run.
    assert asks_a_shell()
    first = shell("lock && echo mine && cat")
    assert first.stdout.readline() == "mine\n"
    assert asks_a_shell()
    # A link may be there beside the file: flock(1) is gone since.
    (shell.folder / ".lock").touch()
    assert asks_a_shell()
    first.communicate()
    assert not asks_a_shell()
    # And it was let go of again.
    assert not asks_a_shell()
    assert shell("lock && echo mine").communicate()[0] == "mine\n"


def test_who_died_holds_nothing(shell):
    first = shell("lock && echo mine && exec sleep 60")
    assert first.stdout.readline() == "mine\n"
    first.kill()
    first.communicate()
    assert shell("lock && echo mine").communicate()[0] == "mine\n"


def test_who_died_while_removing_the_lock_of_a_dead_one_holds_nothing(shell):
    dead = shell("true")
    dead.communicate()
    shell("lock").communicate()
    for name in (".lock.pid", ".lock.dead"):
        (shell.folder / name).symlink_to("pid:{0}".format(dead.pid))
    assert shell("lock && echo mine", tries="20").communicate()[0] == "mine\n"


def test_only_root_can_hold_it(shell):
    shell("lock", umask="000").communicate()
    assert shell.folder.stat().st_mode & 0o777 == 0o700
    assert all(path.stat().st_mode & 0o077 == 0 for path in shell.folder.iterdir())
    # Permissions that someone has widened are restricted again.
    os.chmod(str(shell.folder), 0o755)  # noqa: S103 - to be undone
    shell("lock").communicate()
    assert shell.folder.stat().st_mode & 0o777 == 0o700
