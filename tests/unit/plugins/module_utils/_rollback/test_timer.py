# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A timer or a guard: a unit of systemd, or a process of its own."""

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError
from ansible_collections.ipmasq.linux.plugins.module_utils._base.host import Done
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
    assert plain.calls[-1][:2] == ["sh", "-c"] and plain.calls[-1][2].startswith("setsid sh -c 'sleep 30;")
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


def test_each_change_has_a_token_of_its_own():
    one, other = waiting(30, "gw1"), waiting(30)
    assert one.token != other.token and (one.seconds, one.host, other.host) == (30, "gw1", "")
