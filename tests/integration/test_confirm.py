# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A change that nobody confirms is rolled back, and a confirmed one lasts: the real modules, their scripts and
their timer, with an /etc and a /run of their own."""

from __future__ import annotations

import json
import os
import pathlib
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import modules
import pytest
import sandbox
from helpers import GUESTS, OFFICE, wire_gateway
from sandbox import addresses, files, foreign_rules, require_namespace, sh, switches
from unhurried import slowed

COLLECTIONS = pathlib.Path(__file__).resolve().parents[2] / ".cache" / "collections"
#: Every Python that make test starts has this in front; see tests/quick.
QUICK = pathlib.Path(__file__).resolve().parents[1] / "quick"
PRIVATE = "mount --make-rprivate / && mount --bind $BOX/etc /etc && mount --bind $BOX/run /run && "
WANS = [{"interface": "wan0"}]
ONE = {"wans": WANS, "lans": [OFFICE]}
#: Another gateway: one more LAN, one more address, other timers.
TWO = {
    "wans": WANS,
    "lans": [OFFICE, GUESTS],
    "nat": [
        {"name": "own", "action": "static", "source": "192.168.1.10", "to": "203.0.113.9", "to_address": "add"},
        {"name": "rest"},
    ],
    "timeouts": {"udp": 77},
}


class Box:
    """A host whose /etc and /run are folders of this test; the rest belongs to the namespace."""

    def __init__(self, folder: pathlib.Path, backend: str) -> None:
        self.folder, self.backend = folder, backend
        self.mounted = ""  # called with its /etc before each module
        self.environment: dict = {}  # of each module, as the keyword ``environment`` of a play sets it
        for name in ("etc", "run"):
            (folder / name).mkdir()
        for name in ("passwd", "group", "nsswitch.conf", "ld.so.cache", "alternatives"):
            if os.path.exists("/etc/" + name):
                subprocess.run(["cp", "-a", "/etc/" + name, str(folder / "etc")], check=True)

    def inside(self, *argv, stdin=None):
        require_namespace()
        paths = [str(QUICK), str(COLLECTIONS), *(part for part in sys.path if part.endswith("site-packages"))]
        compiled = {key: os.environ[key] for key in ("PYTHONPYCACHEPREFIX",) if key in os.environ}
        return subprocess.run(
            ["unshare", "-m", "sh", "-ec", PRIVATE + self.mounted + 'exec "$0" "$@"', *argv],
            input=stdin, capture_output=True, text=True, check=False,
            env={"BOX": str(self.folder), "PYTHONPATH": os.pathsep.join(paths), "PATH": sandbox.PATH, **compiled},
        )  # fmt: skip

    def module(self, name, **options):
        environment = {"BOX": str(self.folder), "PATH": sandbox.PATH, **self.environment}
        done = modules.run(name, options, PRIVATE + self.mounted, environment)
        assert done.stdout.startswith("\n{") or done.stdout.startswith("{"), done
        return json.loads(done.stdout)

    def apply(self, **options):
        return self.module("gateway", backend=self.backend, **options)

    def confirm(self, **options):
        return self.module("gateway_confirm", **options)

    def script(self, token):
        """What the controller runs over a new connection, without a module."""
        return self.inside("sh", "/run/ipmasq/default/confirm", token)

    def holds(self):
        """Everything that a change may alter, which must be the same after the rollback.

        Chains that were temporarily removed come last; that their rules have the right order is what the next run says.
        """
        return {
            "rules": sorted(line.strip() for line in foreign_rules().splitlines() if line.strip()),
            "switches": switches(),
            "files": files(self.folder / "etc"),
            "addresses": addresses(),
        }

    def pending(self):
        return (self.folder / "run/ipmasq/default").exists()

    def came_back(self, seconds=60):
        deadline = time.monotonic() + seconds
        while self.pending() and time.monotonic() < deadline:
            time.sleep(0.05)
        return not self.pending()


@pytest.fixture(params=["nftables", "iptables"])
def box(request, tmp_path):
    if subprocess.run(["unshare", "-m", "true"], check=False, capture_output=True).returncode:
        pytest.skip("no mount namespaces here")
    wire_gateway()
    return Box(tmp_path, request.param)


def test_a_confirmed_change_lasts(box):
    done = box.apply(**ONE)
    assert done["changed"] and set(done["pending"]) == {"token", "seconds", "until", "host"}
    assert not (box.folder / "etc/ipmasq").exists()
    assert "masquerade" in sh("nft list ruleset").lower()
    second = box.apply(**TWO)
    assert second["failed"] and "awaits confirmation until " + done["pending"]["until"] in second["msg"]
    assert box.apply(_ansible_check_mode=True, **TWO)["msg"] == second["msg"]
    assert box.module("gateway_confirm", _ansible_check_mode=True)["was"] == "pending"
    assert box.confirm(token="another")["was"] == ""  # noqa: S106
    kept = box.confirm(token=done["pending"]["token"])
    assert (kept["changed"], kept["was"], kept["instance"]) == (True, "pending", "default") and kept["host"]
    assert box.confirm(token=done["pending"]["token"])["was"] == "confirmed"
    assert not box.apply(**ONE)["changed"]
    assert box.module("gateway_info")["drift"] == []


def test_its_own_script_keeps_a_change(box):
    token = box.apply(**ONE)["pending"]["token"]
    other = box.script("another")
    assert (other.returncode, other.stdout) == (1, "") and box.pending()
    done = box.script(token)
    assert (done.returncode, done.stdout) == (0, token + "\n") and not box.pending()
    assert box.confirm(token=token)["was"] == "confirmed"
    assert box.script(token).returncode != 0
    assert not box.apply(**ONE)["changed"]
    assert box.module("gateway_info")["drift"] == []


def test_its_own_script_keeps_nothing_that_is_not_complete(box):
    token = box.apply(**ONE)["pending"]["token"]
    (box.folder / "run/ipmasq/default/ready").unlink()
    assert (box.script(token).returncode, box.pending()) == (1, True)
    assert "is not complete yet" in box.confirm(token=token)["msg"]


def test_a_script_and_a_person_may_confirm_at_once(box):
    token = box.apply(**ONE)["pending"]["token"]
    with ThreadPoolExecutor(3) as pool:
        scripts = [pool.submit(box.script, token) for _each in range(2)]
        person = pool.submit(box.confirm).result()
    assert person["was"] in ("pending", "confirmed", "") and not box.pending()
    assert [each.result().returncode for each in scripts].count(0) <= 1
    assert box.confirm(token=token)["was"] == "confirmed"
    assert not box.apply(**ONE)["changed"]


@pytest.mark.parametrize("first", [None, ONE, TWO], ids=["nothing", "one", "two"])
@pytest.mark.parametrize("second", [ONE, TWO, {"state": "absent"}], ids=["one", "two", "absent"])
def test_without_confirmation_the_host_is_as_before(box, first, second):
    if first == second or (not first and "state" in second):
        pytest.skip("no change")
    if first:
        box.apply(confirm_timeout=0, **first)
    before = box.holds()
    done = box.apply(confirm_timeout=slowed(3), **second)
    assert done["changed"] and box.pending()
    assert box.holds() != before
    assert box.came_back()
    assert box.holds() == before
    assert box.confirm(token=done["pending"]["token"])["was"] == "reverted"
    if first:
        assert not box.apply(**first)["changed"]
    # And the next good run works.
    assert box.apply(**second)["changed"]
    assert box.confirm()["was"] == "pending"
    assert not box.apply(**second)["changed"]


def test_a_person_takes_it_back(box):
    box.apply(confirm_timeout=0, **ONE)
    before = box.holds()
    assert box.apply(confirm_by="person", confirm_timeout=600, **TWO)["pending"]["seconds"] == 600
    assert box.confirm(state="reverted")["changed"]
    assert box.holds() == before
    assert not box.confirm(state="reverted")["changed"]


def test_the_timer_of_an_earlier_change_leaves_a_later_one_alone(box):
    seconds = slowed(3)
    box.apply(confirm_timeout=seconds, **ONE)
    assert box.confirm()["was"] == "pending"
    box.apply(confirm_timeout=600, **TWO)
    time.sleep(seconds + 0.5)
    assert box.pending()
    assert box.confirm()["was"] == "pending"
    assert not box.apply(**TWO)["changed"]


def test_a_confirmation_that_died_half_way_is_finished_by_the_timer(box):
    box.apply(confirm_timeout=slowed(3), **ONE)
    folder = box.folder / "run/ipmasq/default"
    (folder / "armed").rename(folder / "confirming")
    # The timer waits for the one that has begun, so not at once.
    assert box.came_back()
    assert not box.apply(**ONE)["changed"]


@pytest.mark.parametrize("scripted", [False, True])
def test_what_cannot_be_written_is_taken_back(box, scripted):
    (box.folder / "etc/ipmasq").write_text("in the way of the folder")
    before = box.holds()
    pending = box.apply(**ONE)["pending"]
    if scripted:
        assert box.script(pending["token"]).returncode == 1
    done = box.confirm()
    assert done["failed"] and done["msg"].endswith("it was rolled back")
    assert box.holds() == before


@pytest.mark.parametrize("seconds", [0, 600])
def test_a_file_that_cannot_be_replaced_is_not_called_kept(box, seconds):
    """As with chattr +i, which not every file system has; nobody can move a file onto a mount either."""
    box.apply(confirm_timeout=0, **ONE)
    before = box.holds()
    box.mounted = "mount --bind /etc/ipmasq/default.json /etc/ipmasq/default.json && "
    done = box.apply(confirm_timeout=seconds, **TWO)
    if seconds:
        done = box.confirm()
    assert done["failed"] and "/etc/ipmasq/default.json cannot be replaced" in done["msg"]
    assert done["msg"].endswith("it was rolled back" if seconds else "the host is as it was before")
    now = box.holds()
    if not seconds:
        # Tables that iptables-nft has made, empty, are left to the next run.
        now.pop("rules"), before.pop("rules")
    assert now == before and not box.pending()
    box.mounted = ""
    assert not box.apply(**ONE)["changed"]


def test_a_late_confirmation_fails_and_says_when_it_went_back(box):
    (box.folder / "run/ipmasq/default.last").unlink(missing_ok=True)
    done = box.confirm()
    assert done["failed"] and "no change to 'default' awaits confirmation" in done["msg"]
    token = box.apply(confirm_timeout=slowed(3), **ONE)["pending"]["token"]
    assert box.came_back()
    for options in ({}, {"token": token}):
        done = box.confirm(**options)
        assert done["failed"] and done["was"] == "reverted" and not done["changed"]
        assert re.search(r"too late, the change to 'default' was rolled back at [0-9:]{8}; make it again", done["msg"])
    assert not box.confirm(state="reverted").get("failed")
    box.apply(**ONE)
    box.confirm()
    done = box.confirm(state="reverted")
    assert done["failed"] and "too late, the change to 'default' was confirmed at " in done["msg"]


def test_a_refused_load_leaves_nothing_pending(box):
    before = box.holds()
    done = box.apply(helpers=[{"name": "ftp"}], wans=[{"interface": "wan0", "mss": "keep"}], lans=[OFFICE], log=[])
    assert not done.get("failed"), done
    box.confirm(state="reverted")
    assert box.holds() == before and not box.pending()


def test_a_host_without_etc_protocols(box):
    """The /etc of this test has none, like minimal hosts: nft neither accepts nor lists protocols by name there."""
    options = dict(
        ONE,
        helpers=[{"name": "ftp"}],
        input="protect",
        outbound=[
            {"name": each, "protocol": each}
            for each in ("tcp", "udp", "icmp", "esp", "sctp", "ah", "gre", "igmp", "ipv6", "vrrp")
        ],
        confirm_timeout=0,
    )
    assert not (box.folder / "etc/protocols").exists()
    assert box.apply(**options)["changed"]
    assert not box.apply(**options)["changed"]
    assert box.module("gateway_info")["drift"] == []


def test_files_alone_need_no_confirmation(box):
    box.apply(confirm_timeout=0, **ONE)
    (box.folder / "etc/ipmasq/default.load").write_text("lost")
    done = box.apply(**ONE)
    assert done["changed"] and "pending" not in done
    assert not box.apply(**ONE)["changed"]


@pytest.mark.parametrize("seconds", [-1, 3601])
def test_no_such_time(box, seconds):
    assert box.apply(confirm_timeout=seconds, **ONE)["msg"].startswith("confirm_timeout: ")
