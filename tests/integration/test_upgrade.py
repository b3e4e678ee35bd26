# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A gateway that an earlier version of this collection has set up, and that this one takes over.

``data/version_1`` has the files of such a gateway, as the last commit before version 2 of the state file wrote them.
"""

from __future__ import annotations

import hashlib
import json
import pathlib
import re
import shutil
import subprocess

import pytest
from helpers import wire_gateway
from sandbox import sh
from test_confirm import TWO, Box

from ansible_collections.ipmasq.linux.plugins.module_utils._change import state as states
from ansible_collections.ipmasq.linux.tests.unit.fakes import FakeHost
from ansible_collections.ipmasq.linux.tests.unit.version_1 import as_version_1

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
    return rules, box.holds()["addresses"], box.module("gateway_info")["switches"]


def made(backend, folder):
    if subprocess.run(["unshare", "-m", "true"], check=False, capture_output=True).returncode:
        pytest.skip("no mount namespaces here")
    wire_gateway()
    return Box(folder, backend)


@pytest.fixture(params=["nftables", "iptables"])
def old(request, tmp_path):
    """That gateway, after a reboot."""
    box = made(request.param, tmp_path)
    for folder in sorted((OLD / request.param).iterdir()):
        shutil.copytree(folder, tmp_path / "etc" / folder.name)
    enabled = tmp_path / "etc/systemd/system/sysinit.target.wants/ipmasq.service"
    enabled.parent.mkdir()
    enabled.symlink_to("/etc/systemd/system/ipmasq.service")
    for path in (tmp_path / "etc/ipmasq").iterdir():
        path.chmod(0o700 if path.name == "boot" else 0o600)
    booted = box.inside("sh", "/etc/ipmasq/boot")
    assert booted.returncode == 0, booted
    assert box.inside("sh", "/etc/ipmasq/default.links").returncode == 0
    return box


def test_it_is_taken_over(old):
    before, files = live(old), etc(old)
    assert "203.0.113.9" in str(before[1]) and before[0].count("443") > 0
    told = old.apply(confirm_timeout=0, _ansible_check_mode=True, **DECLARED)
    done = old.apply(confirm_timeout=0, **DECLARED)
    assert told["differences"] == done["differences"]
    # Rules may have changed since; what is beside them has not.
    beside = [line for line in done["differences"] if line.startswith("~") and not line.endswith(" more rules")]
    assert {line.split()[1][:5] for line in beside} <= {"/etc/", "order"}
    assert live(old)[1:] == before[1:]
    # The drop-ins have another name since then, and the old ones are gone.
    named = {path.replace(".service.d/ipmasq.conf", ".service.d/zz-ipmasq.conf") for path in files}
    assert etc(old).keys() == named and etc(old) != files
    assert not old.apply(**DECLARED)["changed"] and old.module("gateway_info")["as_applied"]
    # Its first values are known, too: all of it can be removed.
    assert old.apply(confirm_timeout=0, state="absent")["changed"]
    assert sh("cat /proc/sys/net/ipv4/ip_forward").strip() == "0" and "203.0.113.9" not in str(live(old)[1])
    assert etc(old) == {}


def test_a_change_that_comes_with_the_new_version_is_rolled_back_to_the_old_one(old):
    before, files = live(old), etc(old)
    assert old.apply(**dict(DECLARED, drop_bogons=True))["pending"]
    assert etc(old).items() >= files.items()
    assert old.confirm(state="reverted")["changed"]
    assert etc(old) == files
    assert [line.split(" # handle")[0] for line in live(old)[0].splitlines()] == [
        line.split(" # handle")[0] for line in before[0].splitlines()
    ]
    # The old files are still those that a boot loads.
    assert old.inside("sh", "/etc/ipmasq/boot").returncode == 0


@pytest.mark.parametrize("backend", ["nftables", "iptables"])
def test_where_the_rules_are_the_same_none_is_loaded(backend, tmp_path):
    """So no packet is lost. The state of today's gateway becomes one of version 1."""
    box = made(backend, tmp_path)
    box.apply(confirm_timeout=0, **DECLARED)
    path, sums = (tmp_path / "etc/ipmasq" / name for name in ("default.json", "default.sums"))
    text = path.read_text(encoding="utf-8")
    state = states.read("/x", "default", FakeHost(files={"/x": text}))
    old = json.dumps(as_version_1(state), indent=1, sort_keys=True) + "\n"
    path.write_text(old, encoding="utf-8")
    was, now = (hashlib.sha256(each.encode()).hexdigest() for each in (text, old))
    sums.write_text(sums.read_text().replace(was, now))
    before, files = live(box), etc(box)

    done = box.apply(**DECLARED)
    assert done["differences"] == ["~ /etc/ipmasq/default.json: written", "~ /etc/ipmasq/default.sums: written"]
    assert "pending" not in done, "files alone cut nobody off"
    assert live(box) == before and path.read_text(encoding="utf-8") == text
    assert {name for name, each in etc(box).items() if each != files[name]} == {
        "etc/ipmasq/default.json", "etc/ipmasq/default.sums"
    }  # fmt: skip
