# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbook ipmasq.linux.drift: real ansible-playbook, real module, on two instances of a host of this test."""

from __future__ import annotations

import json
import pathlib
import shutil
import subprocess
import sys

import pytest
from helpers import wire_gateway
from sandbox import sh
from test_confirm import ONE, TWO, Box

PLAYBOOK = pathlib.Path(__file__).resolve().parents[2] / "playbooks/drift.yml"
PROGRAM = pathlib.Path(sys.executable).parent / "ansible-playbook"
INVENTORY = """
[gateways]
gw1 ansible_connection=local ansible_become=false
gw2 ansible_connection=local ansible_become=false gateway_instance=branch
[gateways:vars]
ansible_python_interpreter={0}
"""


@pytest.fixture
def box(tmp_path):
    if subprocess.run(["unshare", "-m", "true"], check=False, capture_output=True).returncode:
        pytest.skip("no mount namespaces here")
    if not PROGRAM.exists():
        pytest.skip("no ansible-core beside this Python")
    wire_gateway()
    made = Box(tmp_path, "nftables")
    (tmp_path / "hosts.ini").write_text(INVENTORY.format(sys.executable), encoding="utf-8")
    return made


def drift(box, *more):
    """Exit code, and what was said of each host: messages as lines of JSON."""
    argv = [str(PROGRAM), "-i", str(box.folder / "hosts.ini"), str(PLAYBOOK), *more]
    done = box.inside("env", "ANSIBLE_STDOUT_CALLBACK=json", "HOME=" + str(box.folder), *argv)
    assert done.stdout.startswith("{"), done.stdout + done.stderr
    said = {}
    for task in json.loads(done.stdout)["plays"][0]["tasks"]:
        for host, result in task["hosts"].items():
            if "msg" in result and not result.get("skipped"):
                said.setdefault(host, []).append(result["msg"])
    return done.returncode, said


def test_it_fails_on_drift_and_where_nothing_is_applied(box):
    box.apply(confirm_timeout=0, **ONE)
    rc, said = drift(box)
    assert (rc, said) == (2, {"gw1": ["All assertions passed"], "gw2": [["nothing is applied here"]]})
    assert drift(box, "--limit", "gw1", "--check")[0] == 0

    sh("nft add rule inet ipmasq forward accept; echo 0 > /proc/sys/net/ipv4/conf/lan0/forwarding")
    rc, said = drift(box, "--limit", "gw1")
    (lines,) = said["gw1"]
    assert rc == 2 and len(lines) == 2 and lines[0].startswith("- ") and "lan0/forwarding: 0" in lines[1]
    box.apply(confirm_timeout=0, **ONE)

    # A change that waits is no drift.
    box.apply(**TWO)
    rc, said = drift(box, "--limit", "gw1")
    assert rc == 0 and said["gw1"][0].startswith("a change by ")
    box.confirm()

    sh("nft flush ruleset")
    shutil.rmtree(box.folder / "etc/ipmasq")
    rc, said = drift(box, "--limit", "gw1")
    open_router = "this host forwards, and nothing translates or filters what it forwards"
    assert (rc, said["gw1"]) == (2, [["nothing is applied here", open_router]])
