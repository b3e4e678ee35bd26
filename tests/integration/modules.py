# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs a module in a process of its own, with mounts of its own: a copy of this one, because to start Python and import
what Ansible's modules need takes longer than most modules run."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import tempfile
import traceback
import typing as t

from sandbox import LIBC, require_namespace

PACKAGE = "ansible_collections.ipmasq.linux.plugins.modules."
CLONE_NEWNS = 0x00020000
SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


class Program(subprocess.Popen):
    """A program that a module starts. AnsibleModule has a function to call before it, for a umask that we never ask
    for; with one, Python copies the tables of all pages of this large process first."""

    def __init__(self, *words: t.Any, preexec_fn: t.Any = None, **more: t.Any) -> None:
        assert not preexec_fn or [cell.cell_contents for cell in preexec_fn.__closure__] == [None], "a umask"
        super().__init__(*words, **more)


def run(name: str, options: dict, mounts: str, env: dict) -> subprocess.CompletedProcess:
    """``mounts`` is what a shell does first, in the process's own mount namespace; each command ends in "&&"."""
    require_namespace()
    module = importlib.import_module(PACKAGE + name)
    with tempfile.TemporaryFile() as asked, tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as errors:
        asked.write(json.dumps({"ANSIBLE_MODULE_ARGS": options}).encode())
        asked.seek(0)
        child = os.fork()
        if child == 0:
            _become(module.main, mounts, env, (asked, said, errors))
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        said.seek(0)
        errors.seek(0)
        return subprocess.CompletedProcess(name, status, said.read().decode(), errors.read().decode())


def _become(main: t.Callable, mounts: str, env: dict, files: tuple) -> t.NoReturn:
    code = 1
    try:
        for number, file in enumerate(files):
            os.dup2(file.fileno(), number)
        sys.stdin, sys.stdout, sys.stderr = (open(number, mode) for number, mode in enumerate("rww"))  # noqa: SIM115
        sys.argv = ["module"]
        os.environ.clear()
        os.environ.update(env)
        assert LIBC.unshare(CLONE_NEWNS) == 0
        subprocess.Popen = Program  # type: ignore[misc]
        subprocess.run(["sh", "-ec", mounts + "true"], check=True)
        main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else bool(end.code)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
