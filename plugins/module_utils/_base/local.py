# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""This host, for a process that is not an Ansible module.

Its answers are those of ``AnsibleHost``. Where one were not, the digests would differ, and the module would run.
"""

from __future__ import annotations

import os
import subprocess
import typing as t

from .errors import GatewayError
from .host import SBIN, SPOKEN, Done, Host, write_log


class LocalHost(Host):
    def __init__(self, quiet: bool = True) -> None:
        """``quiet``: without a journal, as for a task with no_log."""
        self._quiet = quiet
        os.environ.pop("POSIXLY_CORRECT", None)  # as in AnsibleHost

    def run(self, argv: t.Sequence[str], stdin: t.Optional[str] = None) -> Done:
        program = self.which(argv[0])
        if not program:
            return Done(127, "", "{0}: not found".format(argv[0]))
        try:
            done = subprocess.run(
                [program] + list(argv[1:]),
                input=None if stdin is None else stdin.encode("utf-8", "surrogateescape"),
                stdin=subprocess.DEVNULL if stdin is None else None,
                capture_output=True,
                env=dict(os.environ, **SPOKEN),
                check=False,
            )
        except OSError as error:
            raise GatewayError("{0}: cannot be run: {1}".format(program, error.strerror)) from None
        out, err = (text.decode("utf-8", "surrogateescape") for text in (done.stdout, done.stderr))
        return Done(done.returncode, out, err)

    def log(self, line: str) -> None:
        if not self._quiet:
            write_log(line)

    def which(self, program: str) -> str:
        folders = [*SBIN, *filter(None, os.environ.get("PATH", "").split(os.pathsep))]
        paths = [os.path.join(folder, program) for folder in folders]
        return next((path for path in paths if os.access(path, os.X_OK) and not os.path.isdir(path)), "")
