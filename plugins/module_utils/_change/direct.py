# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""The module gateway without Ansible's archive: the action plugin has started a Python with our own (``_base/boot``).

An acting run leaves its code compiled for the next one, as ``/run/ipmasq/.code-KEY``. Only root can enter that folder;
the key is of the code and of the Python, and the file has a digest of what is loaded from it.
"""

from __future__ import annotations

import contextlib
import json
import shlex
import sys
import typing as t

from .._base.boot import START
from .._base.errors import GatewayError
from .._base.host import Onlooker, outcome, shortened
from .._base.local import LocalHost
from .repeat import CODE
from .task import perform

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.boot import Archive
    from .._base.host import Host
    from .asked import Json

#: The first lines, which are for the shell.
SCRIPT = """\
#!/bin/sh
# Written by ipmasq.linux: its code as the last run has compiled it, for this Python. The next run needs not send it.
exec {python} -I -S -X utf8 -c {start} "$0"
"""


def main(asked: Json, archive: Archive) -> str:
    """What to print: the task's key and the result, in one line."""
    params = asked["params"]
    acting = LocalHost(asked["quiet"])
    acting.task = asked["task"]
    host = Onlooker(acting) if asked["check"] else acting
    result = outcome(lambda host: perform(params, host, asked["verbose"]), host)
    if not asked["diff"]:
        result.pop("diff", None)
    if archive.new and not asked["check"] and params["state"] == "present" and not result.get("failed"):
        _keep(CODE + asked["code"], archive, acting)
    result["invocation"] = {"module_args": shortened(params)}
    return "{0} {1}\n".format(asked["key"], json.dumps(result))


def _keep(path: str, archive: Archive, host: Host) -> None:
    """Leave the code for the next run, in place of that of another version."""
    if not sys.executable:
        return
    script = SCRIPT.format(python=shlex.quote(sys.executable), start=shlex.quote(START)).encode("utf-8")
    with contextlib.suppress(GatewayError):  # the next run sends it again
        for old in host.find(CODE + "*"):
            host.remove(old)
        host.write(path, (script + archive.to_keep()).decode("utf-8", "surrogateescape"), 0o600)
