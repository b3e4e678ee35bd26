# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A host of one test: the real tools and the real kernel, in a network namespace and a folder of the test's own."""

from __future__ import annotations

import ctypes
import os
import pathlib
import shutil
import subprocess

from ansible_collections.ipmasq.linux.plugins.module_utils._host import Done, Host

CLONE_NEWNET = 0x40000000


def enter_network_namespace() -> None:
    """Move this process to a new network namespace. /proc/sys/net and /proc/net follow it."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "unshare(CLONE_NEWNET)")


class SandboxHost(Host):
    """Everything below /proc is the kernel's, every other path lies under ``root``."""

    def __init__(self, root: pathlib.Path) -> None:
        self.root = root
        self.calls: list[list[str]] = []

    def run(self, argv, stdin=None):
        self.calls.append(list(argv))
        if not self.which(argv[0]):
            return Done(127, "", argv[0] + ": not found")
        done = subprocess.run(
            list(argv),
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            env=dict(os.environ, LC_ALL="C", XTABLES_LOCKFILE=str(self.root / "xtables.lock")),
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def which(self, program):
        return shutil.which(program, path="/usr/sbin:/sbin:/usr/bin:/bin") or ""

    def place(self, path: str) -> str:
        return path if path.startswith("/proc/") else str(self.root) + path

    def read(self, path):
        return super().read(self.place(path))

    def exists(self, path):
        return super().exists(self.place(path))

    def writable(self, path):
        return super().writable(self.place(path))

    def find(self, pattern):
        found = super().find(self.place(pattern))
        return [path if path.startswith("/proc/") else path[len(str(self.root)) :] for path in found]

    def write(self, path, text, mode):
        super().write(self.place(path), text, mode)

    def mode(self, path):
        return super().mode(self.place(path))

    def remove(self, path):
        super().remove(self.place(path))

    def remove_folder(self, path):
        super().remove_folder(self.place(path))

    def sh(self, command: str) -> str:
        """A shell command of the test itself, such as wiring an interface; it has to succeed."""
        done = subprocess.run(["sh", "-ec", command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout
