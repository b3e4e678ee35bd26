# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What counts as kept is on the disk: the host's files are on a file system whose power can be cut."""

from __future__ import annotations

import contextlib
import os
import subprocess

import pytest
from helpers import OFFICE, ONE_LAN, Gate, wire_gateway

from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError
from ansible_collections.ipmasq.linux.plugins.module_utils._rollback import rollback

FORWARD = {"name": "web", "protocol": ["tcp"], "port": ["443"], "to": ["192.168.1.10"]}


class Disk:
    """ext4 in a file. What the file contains is what has been written to the disk, not what is in memory."""

    def __init__(self, folder):
        self.image, self.top = folder / "disk", folder / "host"
        self.folder = folder
        self.image.touch()
        os.truncate(self.image, 32 << 20)
        run("mkfs.ext4", "-q", self.image)

    def after_a_power_cut(self):
        """The files of /etc/ipmasq that a boot would find, by their paths below it."""
        copy, place = self.folder / "copy", self.folder / "found"
        run("cp", "--sparse=always", self.image, copy)
        with mounted(copy, place):  # replays the journal
            top = place / "etc/ipmasq"
            return {str(path.relative_to(top)): path.read_text() for path in top.rglob("*") if path.is_file()}


def run(*argv):
    subprocess.run([str(each) for each in argv], check=True)


@contextlib.contextmanager
def mounted(image, place):
    place.mkdir()
    run("mount", "-o", "loop", image, place)
    try:
        yield
    finally:
        run("umount", "-R", place)
        place.rmdir()


@pytest.fixture
def disk(tmp_path):
    if not os.path.exists("/dev/loop-control"):
        pytest.skip("this machine has no loop devices")
    made = Disk(tmp_path)
    with mounted(made.image, made.top):
        (made.top / "run").mkdir()
        run("mount", "-t", "tmpfs", "tmpfs", made.top / "run")
        yield made


def at_once(gate):
    gate.apply(**ONE_LAN)


def confirmed(gate):
    waiting = rollback.waiting(60)
    gate.apply(confirmation=waiting, **ONE_LAN)
    assert rollback.finish("default", waiting.token, True, gate.host).was == "pending"


def absent(gate):
    gate.absent()


@pytest.mark.parametrize("change", [at_once, confirmed, absent])
def test_a_power_cut_after_a_change_was_kept_does_not_bring_the_old_rules_back(disk, change):
    wire_gateway()
    gate = Gate("nft", disk.top)
    gate.apply(port_forwards=[FORWARD], **ONE_LAN)
    os.sync()
    assert "443" in disk.after_a_power_cut()["default.nft"]
    change(gate)
    found = disk.after_a_power_cut()
    assert "default.commit" in found or "443" not in found.get("default.nft", "")
    if change is not absent:
        # What the file that decides will move is there, too.
        assert "443" not in found.get("default.ipmasq-new/default.nft", found.get("default.nft", "443"))


@pytest.mark.parametrize("change", [at_once, confirmed])
def test_a_power_cut_after_a_first_change_was_kept_leaves_a_loader_that_finishes_it(disk, change):
    wire_gateway()
    gate = Gate("nft", disk.top)
    change(gate)
    found = disk.after_a_power_cut()
    assert "boot" in found and {"default.commit", "default.nft"} & set(found)


@contextlib.contextmanager
def flagged(flag, folder):
    """As some protect what is in /etc from hands that slip."""
    run("chattr", "+" + flag, folder)
    try:
        yield
    finally:
        run("chattr", "-" + flag, folder)


def of_ipv4_alone(gate):
    gate.apply(wans=ONE_LAN["wans"], lans=[dict(OFFICE, networks=["192.168.1.0/24"])])


def of_ipv4_alone_confirmed(gate):
    waiting = rollback.waiting(60)
    gate.apply(confirmation=waiting, wans=ONE_LAN["wans"], lans=[dict(OFFICE, networks=["192.168.1.0/24"])])
    rollback.finish("default", waiting.token, True, gate.host)


@pytest.mark.parametrize("flag", ["i", "a"])
@pytest.mark.parametrize("change", [absent, of_ipv4_alone, of_ipv4_alone_confirmed])
def test_a_change_that_cannot_remove_a_file_is_not_kept_by_half(disk, change, flag):
    wire_gateway()
    gate = Gate("nft", disk.top)
    gate.apply(**ONE_LAN)
    folder = gate.host.place("/etc/sysctl.d")
    before = gate.host.snapshot()
    with flagged(flag, folder), pytest.raises(GatewayError, match=r"/etc/sysctl\.d/.* cannot be replaced"):
        change(gate)
    assert gate.host.snapshot() == before
    change(gate)
    assert not os.listdir(folder)


def test_a_first_change_in_a_folder_that_keeps_its_files(disk):
    wire_gateway()
    gate = Gate("nft", disk.top)
    os.makedirs(disk.top / "etc/ipmasq")
    before = gate.host.snapshot()
    with flagged("a", disk.top / "etc/ipmasq"), pytest.raises(GatewayError, match="cannot be replaced"):
        gate.apply(**ONE_LAN)
    assert gate.host.snapshot()["rules"] == before["rules"]
