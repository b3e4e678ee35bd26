# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbook verify: real ansible-playbook, a gateway, a client in its LAN, and our reflector outside."""

from __future__ import annotations

import json
import pathlib
import shlex
import subprocess
import sys
from xml.etree import ElementTree as ET

import pytest
from helpers import ONE_LAN
from sandbox import sh
from test_confirm import Box
from topology import Topology

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = pathlib.Path(sys.executable).parent / "ansible-playbook"
INVENTORY = """
[gateways]
gw1
[lan_clients]
pc1 ansible_python_interpreter={folder}/office
[reflectors]
far ansible_python_interpreter={folder}/wan
[all:vars]
ansible_connection=local
ansible_become=false
[gateways:vars]
ansible_python_interpreter={python}
"""


@pytest.fixture
def box(tmp_path):
    if subprocess.run(["unshare", "-m", "true"], check=False, capture_output=True).returncode:
        pytest.skip("no mount namespaces here")
    if not PROGRAM.exists():
        pytest.skip("no ansible-core beside this Python")
    net = Topology()
    net.nodes["wan"].sh("ip addr add 203.0.113.77/24 dev up0; ip route add default via 203.0.113.2")
    made = Box(tmp_path, "nftables")
    made.far = net.nodes["wan"]
    for name in ("office", "wan"):
        # A host of its own: its modules, and what they start, run in that namespace.
        words = ["nsenter", "--net=" + net.nodes[name].path, sys.executable]
        script = tmp_path / name
        script.write_text('#!/bin/sh\nexec {0} "$@"\n'.format(shlex.join(words)), encoding="utf-8")
        script.chmod(0o755)
    text = INVENTORY.format(folder=tmp_path, python=sys.executable)
    (tmp_path / "hosts.ini").write_text(text, encoding="utf-8")
    made.apply(confirm_timeout=0, **ONE_LAN)
    yield made
    net.close()


def verify(box, *more):
    """Exit code, rows, and the lines of the table."""
    argv = [str(PROGRAM), "-i", str(box.folder / "hosts.ini"), str(ROOT / "playbooks/verify.yml"), *more]
    result = box.folder / "run/rows.json"
    argv += ["-e", "verify_json={0}".format(result)]
    done = box.inside("env", "ANSIBLE_STDOUT_CALLBACK=json", "HOME=" + str(box.folder), *argv)
    assert done.stdout.startswith("{"), done.stdout + done.stderr
    tasks = [task for play in json.loads(done.stdout)["plays"] for task in play["tasks"]]
    lines = [
        host["msg"] for task in tasks if task["task"]["name"] == "Show the table" for host in task["hosts"].values()
    ]
    rows = json.loads(result.read_text(encoding="utf-8")) if result.exists() else []
    return done.returncode, rows, lines[0] if lines else done.stdout


def outcomes(rows, host):
    return {row["name"]: row["outcome"] for row in rows if row["host"] == host}


def test_a_sound_gateway_then_a_broken_one(box):
    junit = box.folder / "run/verify.xml"
    expect = [
        {"name": "headroom", "query": "usage.connections.percent <= `80`"},
        {"name": "mapping", "query": "nat[0].mapping == 'independent'", "group": "lan_clients"},
    ]
    extra = json.dumps({"verify_expect": expect, "verify_junit": str(junit), "verify_idle": 1})
    rc, rows, lines = verify(box, "-e", extra)
    assert rc == 0, str(lines)[-3000:]
    assert {row["outcome"] for row in rows} <= {"holds", "unmeasurable"}
    assert {"gw1", "pc1"} == {row["host"] for row in rows}
    gateway, client = outcomes(rows, "gw1"), outcomes(rows, "pc1")
    assert gateway["what is live is what was applied"] == "holds"
    assert gateway["headroom"] == client["mapping"] == "holds"
    assert client["address seen with udp over IPv4"] == client["udp over IPv4"] == "holds"
    assert len(gateway) > 10
    assert lines[-1].endswith("unmeasurable")
    assert "{0} holds, 0 broken".format(sum(row["outcome"] == "holds" for row in rows)) in lines[-1]
    suites = ET.fromstring(junit.read_text(encoding="utf-8"))  # noqa: S314 - our own
    assert {suite.get("name"): suite.get("failures") for suite in suites} == {"gw1": "0", "pc1": "0"}
    # Nothing is left on the reflector's host.
    assert not (box.folder / "run/ipmasq-reflector.py").exists()
    assert box.far.sh("ss -Hlun 'sport = :3478'") == ""

    # A foreign rule that no look at policies finds: both see it, and it costs the exit code. So does a client that
    # nobody reaches.
    text = (box.folder / "hosts.ini").read_text(encoding="utf-8")
    text = text.replace("pc1 ", "pc2 ansible_connection=ssh ansible_host=192.0.2.1 ansible_ssh_timeout=1\npc1 ")
    (box.folder / "hosts.ini").write_text(text, encoding="utf-8")
    sh("nft add table inet foe; nft 'add chain inet foe f { type filter hook forward priority 10; }'")
    sh("nft add rule inet foe f iifname lan0 meta l4proto udp drop")
    rc, rows, lines = verify(box, "-e", json.dumps({"verify_expect": [{"name": "typo", "query": "usag.percent"}]}))
    assert rc == 2
    broken = {(row["host"], row["name"]) for row in rows if row["outcome"] == "broken"}
    assert {("pc1", "udp over IPv4"), ("gw1", "typo")} <= broken
    assert outcomes(rows, "pc2") == {"it can be asked": "broken"}
    assert any(host == "gw1" and "udp" in name for host, name in broken), broken
    assert "broken" in lines[-1] and not lines[-1].startswith("0 ")

    # A client without any server: nothing is measured, and that is not green.
    rc, rows, lines = verify(box, "--limit", "pc1", "--check")
    assert rc == 2
    assert any("nothing was verified" in line for line in lines), lines


def test_bad_input(box):
    (box.folder / "empty.ini").write_text("[gateways]\n", encoding="utf-8")
    argv = [str(PROGRAM), "-i", str(box.folder / "empty.ini"), str(ROOT / "playbooks/verify.yml")]
    done = box.inside("env", "HOME=" + str(box.folder), *argv)
    assert done.returncode == 2
    assert "nothing to verify" in done.stdout


#: Python looks there first.
WITHOUT = 'PYTHONPATH="$0:$PYTHONPATH" exec "$@"'


@pytest.mark.parametrize(
    ("expect", "missing", "said"),
    [
        (
            [{"name": "a", "query": "b["}, {"name": "c"}],
            False,
            ["verify_expect[0] 'a': query: ", "verify_expect[1]: wri"],
        ),
        ([{"name": "a", "query": "b"}], True, ["verify_expect: needs the Python package jmespath on the controller; "]),
    ],
    ids=["wrong", "without jmespath"],
)
def test_promises_that_cannot_be_judged_end_the_run_before_anybody_is_asked(box, expect, missing, said):
    if missing:
        (box.folder / "shadow").mkdir()
        (box.folder / "shadow/jmespath.py").write_text("raise ImportError", encoding="utf-8")
    argv = [str(PROGRAM), "-i", str(box.folder / "hosts.ini"), str(ROOT / "playbooks/verify.yml")]
    argv += ["-e", json.dumps({"verify_expect": expect})]
    more = ["ANSIBLE_STDOUT_CALLBACK=json", "HOME=" + str(box.folder)]
    done = box.inside("env", *more, "sh", "-c", WITHOUT, str(box.folder / "shadow"), *argv)
    assert done.returncode == 2, done.stderr
    plays = [play for play in json.loads(done.stdout)["plays"] if play["tasks"]]
    assert len(plays) == 1
    lines = plays[0]["tasks"][-1]["hosts"]["localhost"]["msg"].splitlines()
    assert [line[: len(words)] for line, words in zip(lines, said, strict=True)] == said
