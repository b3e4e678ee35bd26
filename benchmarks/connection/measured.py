# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The podman connection, and a list of what goes over it. For measurements, never for timings.

BENCH_LOG names the list, BENCH_PREFIX a command on the node that each command is run by.
"""

from __future__ import annotations

import json
import os
import typing as t

from ansible_collections.containers.podman.plugins.connection import podman

DOCUMENTATION = """
name: measured
short_description: The podman connection, and a list of what goes over it
description: See above.
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


class Connection(podman.Connection):  # type: ignore[misc]
    transport = "measured"

    def exec_command(self, cmd: str, in_data: bytes | None = None, sudoable: bool = False) -> t.Any:
        self._note(bytes=len(cmd.encode()) + len(in_data or b""), command=cmd[:200])
        # $$ is the shell's, so that commands at the same time do not write into one file.
        prefix = os.environ["BENCH_PREFIX"].replace("$$", str(os.getpid()) + os.urandom(4).hex())
        return super().exec_command(prefix + " " + cmd, in_data=in_data, sudoable=sudoable)

    def put_file(self, in_path: str, out_path: str) -> t.Any:
        self._note(bytes=os.path.getsize(in_path), file=os.path.basename(out_path))
        return super().put_file(in_path, out_path)

    def _note(self, **what: t.Any) -> None:
        with open(os.environ["BENCH_LOG"], "a") as log:
            log.write(json.dumps(what) + "\n")
