# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a proof decides about a change; proofs with packets are in tests/integration/test_proof_of_a_change.py."""

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._change import forgetting, proving
from ansible_collections.ipmasq.linux.plugins.module_utils._proof.judge import LATE
from ansible_collections.ipmasq.linux.plugins.module_utils._proof.model import Report, Result
from ansible_collections.ipmasq.linux.plugins.module_utils._resolve.resolved import Resolved
from ansible_collections.ipmasq.linux.tests.unit import fakes

OLD, NEW = (forgetting.encoded(Resolved(wans=(), lans=(), mss=mss)) for mss in ("keep", "pmtu"))
SENT = Result("reach", "office reaches the Internet", (), "broken", "nothing came out of ppp0")
LATER = Result("closed", "office is closed", (), "broken", "something came out of lan0")
SOUND = Result("reach", "guests reach the Internet", (), "holds")
LOST = Result("reach", "lab reaches the Internet", (), "unmeasurable", "lab0 is down")


@pytest.fixture
def host():
    return fakes.FakeHost()


@pytest.fixture
def proofs(monkeypatch):
    """What each proof in turn finds; the gateways that were proven."""
    found, asked = [], []

    def prove(gateway, _facts, _host, extent):
        asked.append((gateway.mss, extent.longest))
        return Report(tuple(found.pop(0)), 0.3)

    monkeypatch.setattr(proving, "prove", prove)
    return found, asked


def after(proven, seconds, host):
    proven.attempt(seconds, host)
    return proven.judged()


def test_a_promise_that_breaks_fails_the_change(host, proofs):
    found, asked = proofs
    found += [[SENT, SOUND], [SOUND]]
    proven = proving.Proving("required", OLD, NEW)
    proven.prepare("default", host)
    with pytest.raises(proving.Unproven) as caught:
        after(proven, 30, host)
    said = "proof: office reaches the Internet is broken: nothing came out of ppp0"
    assert caught.value.problems == (said, proving.KEPT_ANYWAY)
    assert not proven.excuses(caught.value, host)
    assert asked == [("pmtu", 7.5), ("keep", 15.0)]


def test_what_is_as_broken_without_the_change_is_excused(host, proofs):
    found, asked = proofs
    found += [[SENT], [SENT, LATER], [SENT]]
    proven = proving.Proving("required", OLD, NEW)
    with pytest.raises(proving.Unproven) as caught:
        after(proven, None, host)
    assert proven.excuses(caught.value, host)
    assert after(proven, None, host) == ("proof: " + proving.sentence(SENT),)
    # The next run knows that something is broken, so it measures first.
    host.write("/run/ipmasq/default.proof", '{"broken": ["x"]}', 0o600)
    later = proving.Proving("required", OLD, NEW)
    found += [[SENT], [SENT, LATER]]
    later.prepare("default", host)
    with pytest.raises(proving.Unproven) as caught:
        after(later, None, host)
    assert caught.value.problems[0] == "proof: " + proving.sentence(LATER)
    assert not later.excuses(caught.value, host)
    assert [mss for mss, _longest in asked] == ["pmtu", "keep", "pmtu", "keep", "pmtu"]


def test_nothing_excuses_a_first_run_or_another_error(host, proofs):
    found, _asked = proofs
    found += [[SENT]]
    first = proving.Proving("required", None, NEW)
    with pytest.raises(proving.Unproven) as caught:
        after(first, None, host)
    assert not first.excuses(caught.value, host)
    assert not proving.Proving("required", OLD, NEW).excuses(ValueError(), host)


def test_many_are_counted(host, proofs):
    many = [Result("reach", "lan {0}".format(number), (), "broken", "x") for number in range(30)]
    proofs[0].append(many)
    with pytest.raises(proving.Unproven) as caught:
        after(proving.Proving("required", None, NEW), None, host)
    assert len(caught.value.problems) == proving.MOST_TOLD + 2
    assert caught.value.problems[-2] == "and 20 more promises"


@pytest.mark.parametrize(("mode", "wanted"), [("off", NEW), ("required", None), ("required", {"items": {}})])
def test_nothing_is_sent_where_nothing_is_to_be_proven(host, proofs, mode, wanted):
    host.write("/run/ipmasq/default.proof", '{"broken": ["x"]}', 0o600)
    proven = proving.Proving(mode, OLD, wanted)
    proven.prepare("default", host)
    assert after(proven, None, host) == () and proven.report is None and proven.notes == ()
    assert proofs[1] == []


@pytest.mark.parametrize("mode", ["required", "report"])
def test_no_time_beside_another_proof_is_no_proof(host, monkeypatch, mode):
    """As silent as a sound one, it would keep a change that cuts LANs off. A rollback shows nothing about it."""
    asked = []

    def prove(_gateway, _facts, _host, extent):
        asked.append((extent.longest, extent.wait))
        return Report((LOST,), 7.5, (), "another proof has been running for 7.5 s")

    monkeypatch.setattr(proving, "prove", prove)
    proven = proving.Proving(mode, OLD, NEW)
    proven.prepare("default", host)
    if mode == "report":
        assert after(proven, 30, host) == () and proven.notes
        return
    with pytest.raises(proving.Untried) as caught:
        after(proven, 30, host)
    assert caught.value.problems[0].startswith("proof: no promise was tried: another proof has been running for 7.5 s")
    assert not proven.excuses(caught.value, host)
    assert asked == [(7.5, 7.5)]
    with pytest.raises(proving.Untried):
        after(proven, None, host)
    assert asked[1:] == [(15.0, 60.0)]


@pytest.mark.parametrize("mode", ["required", "report"])
def test_no_time_for_what_must_not_pass_is_no_proof(host, monkeypatch, mode):
    late = Result("closed", "office is closed from wan0", (), "unmeasurable", LATE)
    monkeypatch.setattr(proving, "prove", lambda *_more: Report((late, late)))
    proven = proving.Proving(mode, OLD, NEW)
    if mode == "report":
        assert after(proven, 4, host) == () and LATE in proven.notes[0]
        return
    with pytest.raises(proving.Untimely) as caught:
        after(proven, 4, host)
    assert caught.value.problems[0] == (
        "proof: there was no time to try 2 promises of what must not pass, such as: office is closed from wan0; "
        "set confirm_timeout to 60"
    )
    assert not proven.excuses(caught.value, host)
    for seconds in (60, None):
        with pytest.raises(proving.Untimely) as caught:
            after(proven, seconds, host)
        assert caught.value.problems[0].endswith("; run again when this host is less busy")


def test_another_proof_is_waited_for_before_the_change(host, proofs, monkeypatch):
    listed = iter(["ipmasq-probe: 0", "ipmasq-probe: 0", ""])
    monkeypatch.setattr(host, "read", lambda path: next(listed) if path == "/proc/net/dev" else None)
    proving.Proving("required", OLD, NEW).prepare("default", host)
    assert [words for words in host.calls if words[0] == "sleep"] == [["sleep", "0.05"]] * 2
    proving.Proving("off", OLD, NEW).prepare("default", host)


def test_what_cannot_be_measured_is_one_sentence_for_each_reason(host, proofs):
    proofs[0].append([LOST, LOST, SOUND])
    proven = proving.Proving("required", None, NEW)
    assert after(proven, None, host) == ()
    assert proven.notes == ("proof: 2 of 3 promises cannot be measured: lab0 is down",)
    counts = {"holds": 1, "broken": 0, "unmeasurable": 2}
    assert proven.record(host) == {"at": "2026-11-28T10:20:30Z", "seconds": 0.3, "counts": counts, "broken": []}


def test_a_bug_in_the_proof_is_told_and_fails_nothing(host, monkeypatch):
    monkeypatch.setattr(proving, "prove", lambda *_words: 1 // 0)
    proven = proving.Proving("required", OLD, NEW)
    assert after(proven, None, host) == ()
    (note,) = proven.notes
    assert note.startswith("proof: the proof broke off, which is a bug in ipmasq.linux")
