# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Only root can read and write our files, whatever the umask and the earlier files: the modules and their scripts."""

from __future__ import annotations

import os
import stat
import subprocess

import pytest
from helpers import wire_gateway
from test_confirm import ONE, TWO, Box

STATE = "etc/ipmasq/default.json"
PENDING = "run/ipmasq/default"


@pytest.fixture
def box(tmp_path):
    if subprocess.run(["unshare", "-m", "true"], check=False, capture_output=True).returncode:
        pytest.skip("no mount namespaces here")
    wire_gateway()
    return Box(tmp_path, "nftables")


@pytest.fixture(params=[0o000, 0o002, 0o022, 0o077], ids="{0:03o}".format)
def umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path):
    return stat.S_IMODE(path.lstat().st_mode)


def open_to_others(box, *folders):
    """Paths that others may change, or may read although they are in one of our folders."""
    found = []
    for folder in folders:
        for path in [box.folder / folder, *(box.folder / folder).rglob("*")]:
            ours = "ipmasq" in folder and path.is_file()
            if not path.is_symlink() and mode(path) & (0o077 if ours else 0o022):
                found.append("{0} {1:o}".format(path.relative_to(box.folder), mode(path)))
    return found


def test_state_is_roots_alone(box, umask):
    assert box.apply(confirm_timeout=0, **TWO)["changed"]
    assert mode(box.folder / STATE) == 0o600 and mode(box.folder / "etc/ipmasq/boot") == 0o700
    assert open_to_others(box, "etc/ipmasq", "etc") == []
    assert not box.apply(confirm_timeout=0, **TWO)["changed"]


def test_the_environment_of_a_play_changes_nothing(box):
    """With POSIXLY_CORRECT, "systemctl enable --quiet" has two operands, and the service is not enabled."""
    box.environment = {"POSIXLY_CORRECT": "1", "LC_ALL": "tr_TR.UTF-8", "CDPATH": "/:/etc", "TMPDIR": "/nonexistent"}
    assert box.apply(confirm_timeout=0, **ONE)["changed"]
    assert not box.apply(confirm_timeout=0, **ONE)["changed"]


def test_what_waits_is_roots_alone(box, umask):
    box.apply(confirm_timeout=0, **ONE)
    assert box.apply(**TWO)["changed"] and box.pending()
    assert mode(box.folder / "run/ipmasq") == mode(box.folder / PENDING) == 0o700
    inside = [*(box.folder / PENDING).rglob("*")]
    assert {mode(path) for path in inside if path.is_dir()} == {0o700}
    assert {mode(path) for path in (box.folder / PENDING).iterdir() if path.is_file()} == {0o600}
    assert box.confirm()["changed"] and not box.pending()
    assert mode(box.folder / "run/ipmasq") == 0o700
    assert mode(box.folder / STATE) == 0o600
    assert open_to_others(box, "etc/ipmasq", "etc") == []


def test_a_first_change_that_is_confirmed_is_roots_alone(box, umask):
    assert box.apply(**ONE)["changed"] and not (box.folder / "etc/ipmasq").exists()
    assert box.confirm()["changed"]
    assert open_to_others(box, "etc/ipmasq", "etc") == []


@pytest.mark.parametrize("confirmed", [False, True])
def test_a_file_that_others_may_read_is_corrected(box, confirmed):
    box.apply(confirm_timeout=0, **ONE)
    wanted = {path: mode(path) for path in (box.folder / "etc/ipmasq").iterdir()}
    for path in wanted:
        path.chmod(0o666)
    done = box.apply(confirm_timeout=30 if confirmed else 0, **ONE)
    assert done["changed"] and "~ /etc/ipmasq/default.json: written" in done["differences"]
    assert {path: mode(path) for path in (box.folder / "etc/ipmasq").iterdir()} == wanted
    assert "pending" not in done, "files alone cut nobody off"
    assert not box.apply(**ONE)["changed"]


@pytest.mark.parametrize("confirmed", [False, True])
@pytest.mark.parametrize("name", ["default.json", "default.nft", "default.load", "default.sysctl", "boot"])
def test_a_link_in_place_of_a_file_is_replaced_and_not_followed(box, name, confirmed):
    """Only root can place one in root's folder; nevertheless its target is not ours."""
    box.apply(confirm_timeout=0, **ONE)
    victim = box.folder / "victim"
    for text in ("somebody else's\n", None):
        if text is None:
            victim.unlink()
        else:
            victim.write_text(text)
        path = box.folder / "etc/ipmasq" / name
        path.unlink()
        path.symlink_to(victim)
        done = box.apply(confirm_timeout=30 if confirmed else 0, **TWO)
        if name == "default.json" and text:
            assert "/etc/ipmasq/default.json: is damaged" in done["msg"] and "somebody" not in done["msg"]
        elif confirmed:
            box.confirm()
        assert (victim.read_text() if victim.exists() else None) == text
        assert done.get("failed") or not path.is_symlink()


def test_a_link_in_place_of_what_waits_is_not_followed(box):
    victim = box.folder / "victim"
    victim.mkdir()
    (victim / "file").write_text("")
    (box.folder / "run/ipmasq").mkdir(mode=0o700)
    (box.folder / PENDING).symlink_to(victim)
    done = box.apply(**ONE)
    assert done["failed"] and "another change to 'default' is in progress" in done["msg"]
    assert [path.name for path in victim.iterdir()] == ["file"]
