# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A gateway that an earlier version of this collection has set up, and that this one takes over.

``data/version_1`` has the files of such a gateway, as the last commit before version 2 of the state file wrote them.
"""

from __future__ import annotations

import pathlib
import re
import shutil
import subprocess

import pytest
from helpers import wire_gateway
from sandbox import sh
from test_confirm import TWO, Box

OLD = pathlib.Path(__file__).parent / "data/version_1"
#: As it was declared at that time.
DECLARED = dict(TWO, port_forwards=[{"name": "web", "port": 443, "to": "192.168.1.10"}])


def etc(box):
    """Every file by its path, except those of the machine."""
    return {
        str(path.relative_to(box.folder)): path.read_bytes()
        for folder in ("ipmasq", "systemd", "sysctl.d")
        for path in (box.folder / "etc" / folder).rglob("*")
        if path.is_file()
    }


def live(box):
    """Rules with their handles, which are new for whatever is loaded again; addresses; switches."""
    rules = re.sub(r"packets \d+ bytes \d+", "", sh("nft -a list ruleset"))
    return rules, "".join(box.holds()["addresses"]), box.module("gateway_info")["switches"]


@pytest.fixture(params=["nftables", "iptables"])
def box(request, tmp_path):
    if subprocess.run(["unshare", "-m", "true"], check=False, capture_output=True).returncode:
        pytest.skip("no mount namespaces here")
    wire_gateway()
    made = Box(tmp_path, request.param)
    for folder in sorted((OLD / request.param).iterdir()):
        shutil.copytree(folder, tmp_path / "etc" / folder.name, symlinks=True)
    for path in (tmp_path / "etc/ipmasq").iterdir():
        path.chmod(0o700 if path.name == "boot" else 0o600)
    booted = made.inside("sh", "/etc/ipmasq/boot")
    assert booted.returncode == 0, booted
    assert made.inside("sh", "/etc/ipmasq/default.links").returncode == 0
    return made


def test_it_is_taken_over_without_loading_a_rule(box):
    before, files = live(box), etc(box)
    assert "203.0.113.9" in before[1] and before[0].count("443") > 0
    told = box.apply(confirm_timeout=0, _ansible_check_mode=True, **DECLARED)
    done = box.apply(**DECLARED)
    assert told["differences"] == done["differences"] != []
    assert all(line.startswith("~ /etc/") and line.endswith(": written") for line in done["differences"]), done
    assert "pending" not in done, "files alone cut nobody off"
    assert live(box) == before
    assert etc(box).keys() == files.keys() and etc(box) != files
    assert not box.apply(**DECLARED)["changed"]
    assert box.module("gateway_info")["as_applied"]
    # Its first values are known, too: all of it can be removed.
    assert box.apply(confirm_timeout=0, state="absent")["changed"]
    assert sh("cat /proc/sys/net/ipv4/ip_forward").strip() == "0" and "203.0.113.9" not in live(box)[1]
    assert etc(box) == {}


def test_a_change_that_comes_with_the_new_version_is_rolled_back_to_the_old_one(box):
    before, files = live(box), etc(box)
    assert box.apply(**dict(DECLARED, drop_bogons=True))["pending"]
    assert etc(box).items() >= files.items()
    assert box.confirm(state="reverted")["changed"]
    assert etc(box) == files
    assert [line.split(" # handle")[0] for line in live(box)[0].splitlines()] == [
        line.split(" # handle")[0] for line in before[0].splitlines()
    ]
    # The old files are still those that a boot loads.
    assert box.inside("sh", "/etc/ipmasq/boot").returncode == 0
