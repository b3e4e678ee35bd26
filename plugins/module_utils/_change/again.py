# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""What the script that a run leaves behind does: ask what the last run asked, without Ansible.

Prints the task's key and the result, in one line. Whatever differs or fails, it prints nothing, and the module runs.
"""

from __future__ import annotations

import json
import sys

from .._base.host import Onlooker
from .._base.local import LocalHost
from .asked import answered, place, record, tell

#: The exit code for "run the module".
DIFFERENT = 3
#: The files of which the script consists.
PACKED = (
    "_base/__init__", "_base/errors", "_base/host", "_base/local", "_facts/__init__", "_facts/controller",
    "_change/__init__", "_change/asked", "_change/again",
)  # fmt: skip
#: The first lines of the script, which are for the shell; the rest is a zip archive. Another task ends at once.
SCRIPT = """\
#!/bin/sh
# Written by ipmasq.linux: asks what the last run of one task asked, and prints its result if no answer has changed.
[ "$1" = {task} ] || exit 3
start='import sys; sys.path.insert(0, sys.argv[1]); from ipmasq._change.again import main; main(*sys.argv[2:])'
exec {python} -I -S -c "$start" "$0" {instance} {options} "$@"
"""


def main(instance: str, options: str, task: str, mode: str) -> None:
    """``mode`` is ``check`` in check mode, in which nothing is written."""
    try:
        acting = LocalHost()
        host = Onlooker(acting) if mode == "check" else acting
        seen = record(place(instance, "seen"), host)
        result = answered(seen, options, host)
        if result is not None:
            result = dict(tell(result, instance, host), invocation={"module_args": seen["params"]})
    except Exception:  # pylint: disable=broad-except
        result = None  # the module reports what is wrong
    if result is None:
        raise SystemExit(DIFFERENT)
    sys.stdout.write("{0} {1}\n".format(task, json.dumps(result)))
