# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the shell writes to the journal, through a logger that records its arguments."""

from __future__ import annotations

import json
import subprocess

import pytest
from helpers import wire_gateway
from test_confirm import ONE, TWO, Box
from unhurried import slowed

LOGGER = """#!/bin/sh
printf '%s\\n' "$*" >> {0}/said
"""


class Telling(Box):
    """Its scripts look for programs in /usr/local/sbin first."""

    def __init__(self, folder, backend):
        super().__init__(folder, backend)
        (folder / "sbin").mkdir()
        logger = folder / "sbin/logger"
        logger.write_text(LOGGER.format(folder), encoding="utf-8")
        logger.chmod(0o755)
        self.mounted = "mount --bind {0}/sbin /usr/local/sbin && ".format(folder)

    def said(self):
        """What has been logged since the last call."""
        path = self.folder / "said"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        assert all(line.startswith("-t ipmasq -- ") for line in lines)
        return [line[len("-t ipmasq -- ") :] for line in lines]


@pytest.fixture
def box(tmp_path):
    if subprocess.run(["unshare", "-m", "true"], check=False, capture_output=True).returncode:
        pytest.skip("no mount namespaces here")
    wire_gateway()
    return Telling(tmp_path, "nftables")


def test_each_end_of_a_change_is_one_line(box):
    box.apply(confirm_timeout=0, **ONE)
    (line,) = box.said()
    user = line.split(":")[1].split()[-1]
    assert line.startswith("default: changed by {0}: + wan wan0; + lan office: ".format(user))
    assert not box.apply(**ONE)["changed"] and box.said() == []

    box.apply(**TWO)
    box.confirm()
    assert box.said() == ["default: confirmed by {0}".format(user)]
    box.apply(**ONE)
    box.confirm(state="reverted")
    assert box.said() == ["default: rolled back: reverted by {0}".format(user)]

    until = box.apply(confirm_timeout=slowed(3), **ONE)["pending"]["until"]
    assert box.came_back()
    said = "default: rolled back: nobody confirmed the change by {0} before {1}".format(user, until)
    assert box.said() == [said]
    assert box.module("gateway_info")["as_applied"]


def test_the_loader_says_why_it_closes(box):
    box.apply(confirm_timeout=0, **ONE)
    box.apply(**TWO)
    box.said()
    box.inside("sh", "/etc/ipmasq/boot")
    why = "a service reloaded the rules while the change was pending"
    assert box.said() == ["default: rolled back: " + why]

    state = box.folder / "etc/ipmasq/default.json"
    state.write_text(json.dumps(json.loads(state.read_text())), encoding="utf-8")
    done = box.inside("sh", "/etc/ipmasq/boot")
    assert done.returncode == 1
    assert box.said() == ["instance default: damaged: ./default.json ; forwarding is off"]
