# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A timer or a guard: a unit of systemd, or a process of its own."""

from __future__ import annotations

import shutil

import pytest
from unhurried import wait_until

from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError
from ansible_collections.ipmasq.linux.plugins.module_utils._base.host import Done
from ansible_collections.ipmasq.linux.plugins.module_utils._base.local import LocalHost
from ansible_collections.ipmasq.linux.plugins.module_utils._rollback.timer import (
    Confirmation,
    start_guard,
    start_timer,
    stop_timer,
    waiting,
)
from ansible_collections.ipmasq.linux.tests.unit import fakes

SCRIPT, STAGED = "/run/ipmasq/default/timer", "/run/ipmasq/.default-secret"
KNOWN = Confirmation(30, "secret", "14:05:30")


@pytest.fixture
def plain():
    host = fakes.FakeHost(fakes.NFT)
    del host.files["/run/systemd/system/x"]
    return host


def test_by_systemd():
    host = fakes.FakeHost(fakes.NFT)
    start_timer("default", SCRIPT, KNOWN, host)
    assert host.calls[-1][0] == "systemd-run" and "--on-active=30" in host.calls[-1]
    assert "exec sh {0} secret".format(SCRIPT) in host.calls[-1][-1]
    stop_timer("default", host)
    assert host.calls[-1] == ["systemctl", "stop", "ipmasq-rollback-default.timer"]


def test_without_systemd(plain):
    start_timer("default", SCRIPT, KNOWN, plain)
    assert plain.calls[-1][:2] == ["sh", "-c"] and "setsid sh -c 'echo runs;" in plain.calls[-1][2]
    assert "; sleep 30; [ ! -e " in plain.calls[-1][2]
    before = len(plain.calls)
    stop_timer("default", plain)
    assert len(plain.calls) == before


def test_a_guard_waits_for_the_end_of_this_process(plain):
    start_guard("default", SCRIPT, STAGED, KNOWN, plain)
    words = plain.calls[-1][2]
    assert "[ -d /proc/{0} ]".format(plain.pid()) in words and "[ -e {0} -o -e {1} ]".format(STAGED, SCRIPT) in words


def test_neither_of_them_is_an_error(plain):
    plain.answers["sh -c"] = Done(127, "", "setsid: not found")
    with pytest.raises(GatewayError, match="rollback timer could not be started: setsid: not found"):
        start_timer("default", SCRIPT, KNOWN, plain)


@pytest.fixture
def tools(tmp_path, monkeypatch):
    """A folder of programs, and nothing else in PATH; no systemd."""
    made = tmp_path / "tools"
    made.mkdir()
    (made / "sh").symlink_to(shutil.which("sh"))
    monkeypatch.setenv("PATH", str(made))
    monkeypatch.setattr(LocalHost, "exists", lambda _self, path: False)
    return made


@pytest.mark.parametrize("text", ["", "#!/bin/sh\necho 'setsid: fork: no memory' >&2\nexit 1\n"])
def test_one_that_has_not_started_is_an_error(tools, text):
    """A shell that puts it into the background succeeds, whatever comes of it."""
    if text:
        (tools / "setsid").write_text(text)
        (tools / "setsid").chmod(0o755)
    with pytest.raises(GatewayError, match=r"^the rollback timer could not be started: .*setsid: .*\(util-linux\)$"):
        start_guard("default", "/nonexistent/timer", "/nonexistent/staged", KNOWN, LocalHost())


def test_one_that_has_started_outlives_whoever_started_it(tools, tmp_path):
    for name in ("setsid", "rm", "sleep", "touch"):
        (tools / name).symlink_to(shutil.which(name, path="/usr/bin:/bin"))
    (tmp_path / "timer").write_text("touch {0}/$1\n".format(tmp_path))
    start_timer("default", str(tmp_path / "timer"), Confirmation(0, "secret", "14:05:30"), LocalHost())
    wait_until((tmp_path / "secret").exists, "the timer runs")


def test_each_change_has_a_token_of_its_own():
    one, other = waiting(30, "gw1"), waiting(30)
    assert one.token != other.token and (one.seconds, one.host, other.host) == (30, "gw1", "")
