# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The order of a transaction, and how it ends if a step fails; tests/integration breaks each step of real ones."""

from __future__ import annotations

import json

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError
from ansible_collections.ipmasq.linux.plugins.module_utils._rollback import rollback
from ansible_collections.ipmasq.linux.plugins.module_utils._rollback.timer import time_of_day
from ansible_collections.ipmasq.linux.plugins.module_utils._rollback.transaction import AS_BEFORE, Transaction
from ansible_collections.ipmasq.linux.tests.unit import fakes

PENDING = rollback.Confirmation(30, "secret", "14:05:30")
FOLDER = "/run/ipmasq/default"
PREPARED = rollback.Prepared(
    rollback.Restoring(("true",), {}), rollback.Keeping("/etc/ipmasq/default.commit", {}, (), (), (), "")
)


class Steps(Transaction):
    def __init__(self, host, pending=None, fails="", error=None, whole=False):
        super().__init__("default", pending, PREPARED, host)
        self.fails, self.error, self.whole = fails, error or GatewayError("broken"), whole
        self.done = []

    def _step(self, name):
        self.done.append((name, self._host.exists(FOLDER + "/armed")))
        if name == self.fails:
            raise self.error
        return (name,)

    def prepare(self):
        self._step("prepare")

    def make(self):
        return self._step("make")

    def verify(self):
        self._step("verify")

    def prove(self):
        return self._step("prove")

    def lines(self):
        return ["+ something"]

    def forgetting(self):
        return "forget them"

    def untouched(self):
        return self.whole

    def undone(self):
        self.done.append("undone")


@pytest.fixture
def host():
    return fakes.FakeHost()


def test_nothing_is_made_before_the_rollback_is_armed(host):
    steps = Steps(host)
    assert steps.run() == ("make", "prove")
    assert steps.done == [("prepare", False), ("make", True), ("verify", True), ("prove", True)]
    assert ["sh", FOLDER + "/keep", "changed by root: + something", time_of_day(host.now())] in host.calls


def test_what_waits_is_not_kept_yet(host):
    Steps(host, PENDING).run()
    assert host.files[FOLDER + "/forget"] == "forget them" and FOLDER + "/ready" in host.files
    assert not [call for call in host.calls if call[:2] == ["sh", FOLDER + "/keep"]]


@pytest.mark.parametrize("pending", [None, PENDING])
def test_what_is_made_again_is_another_change(host, pending):
    """The timer of the first attempt may still run."""
    steps = Steps(host, pending, "prove")
    with pytest.raises(GatewayError):
        steps.run()
    assert steps.pending is pending
    steps.fails = ""
    assert steps.again() == ("make", "prove")
    if pending:
        assert steps.pending.token != PENDING.token and steps.pending.seconds == PENDING.seconds
        assert json.loads(host.files[FOLDER + "/change.json"])["token"] == steps.pending.token
    else:
        assert steps.pending is None


@pytest.mark.parametrize("fails", ["make", "verify", "prove"])
@pytest.mark.parametrize("pending", [None, PENDING])
def test_a_step_that_fails_is_rolled_back_and_the_journal_says_why(host, fails, pending):
    steps = Steps(host, pending, fails)
    with pytest.raises(GatewayError) as caught:
        steps.run()
    assert caught.value.problems == ("broken", AS_BEFORE) and steps.done[-1] == "undone"
    said = "the change by root has failed: broken"
    assert ["sh", FOLDER + "/restore", said, rollback.FORGOTTEN] in host.calls


def test_an_end_of_the_process_is_rolled_back_too(host):
    with pytest.raises(KeyboardInterrupt):
        Steps(host, fails="verify", error=KeyboardInterrupt()).run()
    assert any(call[:2] == ["sh", FOLDER + "/restore"] and "it was interrupted" in call[2] for call in host.calls)


def test_a_change_that_has_changed_nothing_needs_no_rollback(host):
    with pytest.raises(GatewayError) as caught:
        Steps(host, fails="make", whole=True).run()
    assert caught.value.problems == ("broken", AS_BEFORE)
    assert not [call for call in host.calls if call[:2] == ["sh", FOLDER + "/restore"]]
    assert not [path for path in host.files if path.startswith(FOLDER + "/")]


def test_what_is_wrong_before_it_is_armed_leaves_nothing(host):
    with pytest.raises(GatewayError) as caught:
        Steps(host, fails="prepare").run()
    assert caught.value.problems == ("broken",) and not [path for path in host.files if FOLDER in path]


def test_a_rollback_that_fails_is_said(host):
    host.answers["sh " + FOLDER + "/restore"] = fakes.Done(1, "", "no such device")
    with pytest.raises(GatewayError) as caught:
        Steps(host, fails="verify").run()
    assert "no such device" in caught.value.problems[1] and AS_BEFORE not in caught.value.problems
