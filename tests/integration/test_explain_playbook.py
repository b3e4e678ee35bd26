# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbook explain: real ansible-playbook, real modules, real packets."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys

import pytest
from helpers import OFFICE
from sandbox import sh
from test_confirm import Box
from topology import Topology

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = pathlib.Path(sys.executable).parent / "ansible-playbook"
INVENTORY = "[gateways]\ngw1 ansible_connection=local ansible_become=false ansible_python_interpreter={python}\n"
MAIL = {"name": "no-mail", "protocol": ["tcp"], "port": ["25"], "action": "reject"}
#: And what the error begins with.
BAD = [
    ((), "from: is missing; give an IP address, such as from=192.168.1.5\nto: is missing; "),
    (("from=10.9.9.9", "to=9.9.9.9", "port=443"), "from: 10.9.9.9 is in no LAN (office: 192.168.1.0/24, "),
    (("from=192.168.1.10", "to=9.9.9.9", "limit=gw2"), "no host is in gateways:&gw2; put hosts into the group "),
]


@pytest.fixture
def box(tmp_path):
    if subprocess.run(["unshare", "-m", "true"], check=False, capture_output=True).returncode:
        pytest.skip("no mount namespaces here")
    if not PROGRAM.exists():
        pytest.skip("no ansible-core beside this Python")
    net, made = Topology(), Box(tmp_path, "nftables")
    (tmp_path / "hosts.ini").write_text(INVENTORY.format(python=sys.executable), encoding="utf-8")
    made.apply(confirm_timeout=0, proof="off", wans=[{"interface": "wan0"}], lans=[OFFICE], outbound=[MAIL])
    yield made
    net.close()


def explain(box, *words):
    """Exit code, and what the last task of the gateway said."""
    variables = [word for each in words if "=" in each for word in ("-e", each)]
    argv = [str(PROGRAM), "-i", str(box.folder / "hosts.ini"), str(ROOT / "playbooks/explain.yml"), *variables]
    argv += [word for word in words if "=" not in word]
    done = box.inside("env", "ANSIBLE_STDOUT_CALLBACK=json", "HOME=" + str(box.folder), *argv)
    assert done.stdout.startswith("{"), done.stdout + done.stderr
    tasks = [task for play in json.loads(done.stdout)["plays"] for task in play["tasks"]]
    last = list(tasks[-1]["hosts"].values())[-1]
    return done.returncode, last["msg"]


def test_an_explanation_from_the_command_line(box):
    rc, lines = explain(box, "from=192.168.1.10", "to=9.9.9.9", "port=443")
    assert rc == 0
    assert lines[0] == "tcp 192.168.1.10 > 9.9.9.9:443: passes"
    assert "  leaves    wan0 from 203.0.113.2 for 9.9.9.9:443, source port unchanged" in lines
    assert "  known by  a packet that was sent through this gateway" in lines

    rc, lines = explain(box, "from=192.168.1.10", "to=9.9.9.9:25", "--check")
    assert (rc, lines[0]) == (0, "tcp 192.168.1.10 > 9.9.9.9:25: does not pass")
    assert lines[1] == "  because   outbound 'no-mail' says reject; the sender gets ICMP prohibited"
    assert "  item      outbound/no-mail" in lines

    sh("nft add table inet foe; nft 'add chain inet foe f { type filter hook forward priority 10; }'")
    sh("nft add rule inet foe f ip6 daddr 2620:fe::9 drop")
    rc, lines = explain(box, "from=fd00:1::10", "to=2620:fe::9", "port=53", "protocol=udp", "limit=gw1")
    assert (rc, lines[0]) == (0, "udp fd00:1::10 > [2620:fe::9]:53: does not pass")
    assert "  culprit   dropped by chain f of table inet foe (rule: ip6 daddr 2620:fe::9 drop)" in lines

    for words, told in BAD:
        rc, message = explain(box, *words)
        assert (rc, message[: len(told)]) == (2, told)
