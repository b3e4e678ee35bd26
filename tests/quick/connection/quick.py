# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The podman connection, with less processor time for each task; see docs/decisions.md."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import typing as t
from pathlib import Path

from ansible_collections.containers.podman.plugins.connection import podman

DOCUMENTATION = """
name: quick
short_description: The podman connection, for tests
description: A module comes by standard input, and Python keeps what it compiles of it from one run to the next.
author: ipmasq.linux contributors
options:
  remote_addr:
    description: The container.
    default: inventory_hostname
    vars: [{name: inventory_hostname}, {name: ansible_host}]
  remote_user:
    description: Who runs commands there.
    vars: [{name: ansible_user}]
  podman_extra_args:
    description: As of the podman connection.
    default: ""
  podman_executable:
    description: As of the podman connection.
    default: podman
"""

QUICK = Path(__file__).resolve().parents[1]
#: What was compiled: here, and in each container.
OURS, THEIRS = QUICK.parents[1] / ".cache" / "compiled-modules", "/var/cache/ipmasq-quick"
KEEPER = (QUICK / "keeper.py").read_text(encoding="utf-8")
#: In what Ansible sends: the name of the module, and a line before which nothing is imported.
NAME = re.compile(rb"^module_fqn='([\w.]+)',$", re.MULTILINE)
BEGINNING = b"\n_ANSIBALLZ_WRAPPER = True\n"


class Connection(podman.Connection):  # type: ignore[misc]
    transport = "quick"
    has_pipelining = True
    always_pipeline_modules = True

    def exec_command(self, cmd: str, in_data: bytes | None = None, sudoable: bool = False) -> t.Any:
        found = NAME.search(in_data) if in_data and BEGINNING in in_data else None
        if not in_data or not found:
            return super().exec_command(cmd, in_data=in_data, sudoable=sudoable)
        module = found[1].decode()
        keeper = f"{KEEPER}\nkeep_what_is_compiled({module!r}, {THEIRS!r})\n"
        in_data = in_data.replace(BEGINNING, BEGINNING + f"exec({keeper!r}, {{}})\n".encode(), 1)
        self._connect()
        if not self._mount_point:
            return super().exec_command(cmd, in_data=in_data, sudoable=sudoable)
        theirs = Path(os.fsdecode(self._mount_point) + THEIRS)
        bring(module, OURS, theirs)
        answer = super().exec_command(cmd, in_data=in_data, sudoable=sudoable)
        bring(module, theirs, OURS)
        return answer

    def _podman(self, cmd: t.Any, cmd_args: t.Any = None, in_data: t.Any = None, *more: t.Any, **named: t.Any) -> t.Any:
        if in_data:
            # Without this word, podman gives a command nothing to read.
            cmd = [cmd[0], "--interactive", *cmd[1:]]
        return super()._podman(cmd, cmd_args, in_data, *more, **named)


def bring(module: str, source: Path, target: Path) -> None:
    """What was compiled last, if it is not there yet: one file for each version of Python."""
    for new in source.glob(module + "-*"):
        target.mkdir(parents=True, exist_ok=True)
        part, old = target / f".{new.name}.{os.getpid()}", target / new.name
        folder = os.open(target, os.O_RDONLY)
        try:
            # Two hosts that compile at the same time bring one after the other, so the last one stays.
            fcntl.flock(folder, fcntl.LOCK_EX)
            if not old.exists() or old.stat().st_mtime_ns < new.stat().st_mtime_ns:
                shutil.copy2(new, part)
                part.replace(old)
        finally:
            os.close(folder)
