# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One transaction: in which order parts are made and undone, and what a failure leaves."""

from __future__ import annotations

import subprocess

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError
from ansible_collections.ipmasq.linux.plugins.module_utils._change.carrying import SYNC, Terms, carry_out
from ansible_collections.ipmasq.linux.plugins.module_utils._change.change import Change, Move, Upkeep
from ansible_collections.ipmasq.linux.plugins.module_utils._change.state import State
from ansible_collections.ipmasq.linux.plugins.module_utils._parts.part import NOTHING, Delta, Part, Scene, Shell
from ansible_collections.ipmasq.linux.tests.unit import fakes


class _Noted(Part[str]):
    """It writes its word into a file, and notes what it was asked to do."""

    def __init__(self, name, opens=False, bare=False, fails=""):
        super().__init__(name, "")
        self.opens, self.bare, self.fails, self.noted = opens, bare, fails, []

    def _note(self, verb):
        self.noted.append(verb)
        if verb == self.fails:
            raise GatewayError("{0}: {1} has failed".format(self.name, verb))

    def plan(self, was, want, scene, sight):
        live = sight.read("/srv/" + self.name) or ""
        return NOTHING if live == want else Delta((want,), (live, want))

    def check(self, delta, sight):
        self._note("check")

    def apply(self, delta, want, scene, host):
        self._note("apply")
        if delta.do:
            host.write("/srv/" + self.name, want, 0o644)
        return (self.name,)

    def restore(self, delta, was, want, scene, sight):
        return Shell(
            ("cp {0} /srv/{0}".format(self.name),), {self.name: sight.read("/srv/" + self.name) or ""}, self.bare
        )


def change(host, *parts, gone=False):
    scene, state = Scene("default"), State("default", "gateway")
    wants = [(part, "" if gone else "new") for part in parts]
    moves = tuple(Move(part, "", want, part.plan("", want, scene, host)) for part, want in wants)
    return Change(scene, state, None if gone else state, moves, Upkeep({}))


@pytest.fixture
def host():
    return fakes.FakeHost(files={"/srv/one": "old", "/srv/two": "old"})


def scripts_of(host, monkeypatch):
    scripts, write = {}, host.write

    def noted(path, text, mode):
        scripts.update({path.rpartition("/")[2]: text} if path.startswith("/run/ipmasq/") else {})
        write(path, text, mode)

    monkeypatch.setattr(host, "write", noted)
    return scripts


@pytest.mark.parametrize("gone", [False, True])
def test_a_removal_goes_the_other_way(host, gone):
    one, two = _Noted("one"), _Noted("two")
    made, _pending = carry_out(change(host, one, two, gone=gone), host, Terms())
    assert made[:2] == (("two", "one") if gone else ("one", "two"))
    assert host.files["/srv/one"] == host.files["/srv/two"] == ("" if gone else "new")


def test_check_mode_asks_and_does_nothing(host):
    one = _Noted("one")
    assert carry_out(change(host, one), fakes.seen(host, True), Terms()) == ((), None)
    assert one.noted == ["check"] and host.files["/srv/one"] == "old"


@pytest.mark.parametrize("bare", [False, True])
def test_what_opens_a_bare_host_is_undone_first(host, monkeypatch, bare):
    scripts = scripts_of(host, monkeypatch)
    parts = _Noted("one", bare=bare), _Noted("two", opens=True), _Noted("three", opens=True)
    carry_out(change(host, *parts), host, Terms())
    lines = [line.split()[1] for line in scripts["restore"].splitlines() if line.startswith("cp ")]
    assert lines == (["three", "two", "one"] if bare else ["one", "two", "three"])


@pytest.mark.parametrize(("failing", "rolled"), [("one", False), ("two", True)])
def test_a_failure_of_the_first_step_has_changed_nothing(host, failing, rolled):
    parts = [_Noted(name, fails="apply" if name == failing else "") for name in ("one", "two")]
    with pytest.raises(GatewayError) as caught:
        carry_out(change(host, *parts), host, Terms())
    assert caught.value.problems == (failing + ": apply has failed", "the host is as it was before")
    assert host.files["/srv/one"] == host.files["/srv/two"] == "old"
    assert any("restore" in " ".join(call) for call in host.calls) == rolled


def test_what_was_not_done_is_seen(host):
    class Idle(_Noted):
        def apply(self, delta, want, scene, host):
            return ()

    with pytest.raises(GatewayError, match="this is still to be done: new"):
        carry_out(change(host, Idle("one")), host, Terms())


def test_only_folders_that_exist_are_written_to_the_disk(tmp_path):
    """Otherwise sync fails, and a sync of all disks follows."""
    (tmp_path / "sync").write_text('#!/bin/sh\necho "$@" >> "$0.log"\n')
    (tmp_path / "sync").chmod(0o755)
    folders = " ".join(str(tmp_path / name) for name in ("a", "b", "c"))
    for name in "ac":
        (tmp_path / name).mkdir()
    subprocess.run(["sh", "-c", SYNC.format(folders)], env={"PATH": "{0}:/usr/bin:/bin".format(tmp_path)}, check=True)
    assert (tmp_path / "sync.log").read_text() == "{0}/a {0}/c\n".format(tmp_path)
