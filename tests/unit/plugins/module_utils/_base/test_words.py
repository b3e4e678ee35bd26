# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The values of options are those that the code understands."""

from __future__ import annotations

import subprocess
import sys

from ansible_collections.ipmasq.linux.plugins.module_utils._base import words
from ansible_collections.ipmasq.linux.plugins.module_utils._intent import helpers

LOADED = """
import sys
import ansible_collections.ipmasq.linux.plugins.modules.gateway
names = [name for name in sys.modules if ".ipmasq.linux.plugins.module_utils." in name]
print(sorted(name.rpartition(".")[2] for name in names if not name.rpartition(".")[2].startswith("_")))
"""


REPEATING = ["again", "argspec", "asked", "errors", "host", "local", "pack", "repeat", "task", "words"]


def test_helpers():
    assert tuple(helpers.HELPERS) == words.HELPERS


def test_timers_are_switches_of_conntrack():
    assert all(key.startswith(words.CONNTRACK) and "timeout" in key for key in words.TIMEOUTS.values())


def test_who_repeats_a_run_loads_little():
    """The other files, more than a hundred, take longer than all of the run. The script loads fewer: test_again.py."""
    done = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(REPEATING)
