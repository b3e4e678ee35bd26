# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A task without Ansible's archive: the result in one line, and which code stays on the host."""

from __future__ import annotations

import json

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError
from ansible_collections.ipmasq.linux.plugins.module_utils._base.host import Onlooker
from ansible_collections.ipmasq.linux.plugins.module_utils._change import direct
from ansible_collections.ipmasq.linux.tests.unit import fakes

ASKED = {
    "params": {"instance": "default", "state": "present", "lans": list(range(101))}, "key": "k", "task": "t",
    "code": "c", "quiet": True, "check": False, "diff": False, "verbose": True,
}  # fmt: skip
RESULT = {"changed": True, "diff": [{}], "warnings": ["ü"]}


class Archive:
    new = True

    @staticmethod
    def to_keep():
        return b"\n\0\n\xff"


@pytest.fixture
def host(monkeypatch):
    made = fakes.FakeHost(fakes.NFT)
    monkeypatch.setattr(direct, "LocalHost", lambda quiet: made if quiet else None)
    monkeypatch.setattr(direct, "perform", lambda _params, _host, _verbose: dict(RESULT))
    return made


def run(**more):
    text = direct.main(dict(ASKED, **more), Archive)
    assert text.isascii() and text.count("\n") == 1
    key, _space, result = text.partition(" ")
    assert key == "k"
    return json.loads(result)


def test_the_result_is_that_of_the_module(host):
    assert run() == {
        "changed": True, "warnings": ["ü"],
        "invocation": {"module_args": {"instance": "default", "state": "present", "lans": "101 items"}},
    }  # fmt: skip
    assert run(diff=True)["diff"] == [{}]
    assert host.task == "t"


def test_the_code_stays_in_place_of_that_of_another_version(host):
    host.files["/run/ipmasq/.code-old"] = ""
    run()
    text = host.files["/run/ipmasq/.code-c"]
    assert text.startswith("#!/bin/sh\n") and text.endswith("\n\0\n\udcff")
    assert host.modes["/run/ipmasq/.code-c"] == 0o600
    assert "/run/ipmasq/.code-old" not in host.files


@pytest.mark.parametrize("more", [{"check": True}, {"params": dict(ASKED["params"], state="absent")}])
def test_no_code_stays_where_nothing_is_written(host, monkeypatch, more):
    def perform(_params, seen, verbose):
        assert isinstance(seen, Onlooker) is bool(more.get("check")) and verbose
        return dict(RESULT)

    monkeypatch.setattr(direct, "perform", perform)
    before = dict(host.files)
    run(**more)
    assert host.files == before


def test_what_came_from_the_host_is_not_written_again(host, monkeypatch):
    monkeypatch.setattr(Archive, "new", False)
    before = dict(host.files)
    run()
    assert host.files == before


@pytest.mark.parametrize(
    "error, told",
    [
        (GatewayError("a: b", "c: d"), {"msg": "a: b\nc: d", "problems": ["a: b", "c: d"]}),
        (ValueError("x"), {"msg": "this is a bug in ipmasq.linux, please report it: ValueError: x"}),
    ],
)
def test_a_failure_is_that_of_the_module(host, monkeypatch, error, told):
    def perform(*_args):
        raise error

    monkeypatch.setattr(direct, "perform", perform)
    before = dict(host.files)
    found = run()
    assert found["failed"] is True and found["changed"] is False and "invocation" in found
    assert {name: found[name] for name in told} == told
    assert host.files == before


def test_a_full_disk_costs_time_only(host, monkeypatch):
    def write(*_args):
        raise GatewayError("/run: full")

    monkeypatch.setattr(host, "write", write)
    assert run()["changed"] is True
