# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The folder of a change: nothing but a change makes it."""

from __future__ import annotations

import json

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError
from ansible_collections.ipmasq.linux.plugins.module_utils._rollback import folder
from ansible_collections.ipmasq.linux.tests.unit import fakes

FOLDER = "/run/ipmasq/default"
CHANGE = FOLDER + "/change.json"


def test_what_is_left_in_a_change_is_there():
    host = fakes.FakeHost(files={CHANGE: json.dumps({"token": "secret"})})
    assert folder.leave("default", "secret", "ready", "x", host)
    assert host.files[FOLDER + "/ready"] == "x" and host.modes[FOLDER + "/ready"] == 0o600


@pytest.mark.parametrize("files", [{}, {CHANGE: json.dumps({"token": "another"})}, {CHANGE: "{"}])
def test_what_is_left_in_a_change_that_has_ended_makes_no_folder(files):
    host = fakes.FakeHost(files=files)
    before = set(host.files)
    assert not folder.leave("default", "secret", "ready", "", host)
    assert set(host.files) == before


@pytest.mark.parametrize("ended", [True, False])
def test_a_change_that_ends_in_this_moment(monkeypatch, ended):
    host = fakes.FakeHost(files={CHANGE: json.dumps({"token": "secret"})})

    def rename(path, to):
        if ended:
            host.remove_tree(FOLDER)
        return False

    monkeypatch.setattr(host, "rename", rename)
    if ended:
        assert not folder.leave("default", "secret", "ready", "", host)
    else:
        with pytest.raises(GatewayError, match="/run/ipmasq/default/ready: cannot be written"):
            folder.leave("default", "secret", "ready", "", host)
    assert not [path for path in host.files if path.endswith("ready")]


@pytest.mark.parametrize("comes", [None, "before", "meanwhile"])
def test_a_folder_without_a_change_goes_and_one_with_a_change_stays(monkeypatch, comes):
    host = fakes.FakeHost(files={FOLDER + "/proof": "{}", **({CHANGE: "{}"} if comes == "before" else {})})
    rename = host.rename

    def late(path, to):
        if comes == "meanwhile" and path == FOLDER:
            host.files[CHANGE] = "{}"
        return rename(path, to)

    monkeypatch.setattr(host, "rename", late)
    folder.clear("default", "/run/ipmasq/.default-0-left", host)
    assert (CHANGE in host.files) == bool(comes)
    assert not [path for path in host.files if path.startswith("/run/ipmasq/.")]


@pytest.mark.parametrize("text", ["", "{", "[1]", "7"])
def test_a_damaged_record_of_a_proof_is_none(text):
    host = fakes.FakeHost(files={"/run/ipmasq/default.proof": text})
    assert folder.last_proof("default", host) is None
