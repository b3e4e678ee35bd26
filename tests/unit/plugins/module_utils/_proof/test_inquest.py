# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._proof import inquest
from ansible_collections.ipmasq.linux.plugins.module_utils._proof.exchange import Run
from ansible_collections.ipmasq.linux.plugins.module_utils._proof.judge import Talk
from ansible_collections.ipmasq.linux.plugins.module_utils._proof.model import (
    BROKEN,
    GATEWAY,
    HOLDS,
    HOST,
    OTHER,
    UNMEASURABLE,
    Come,
    Culprit,
    Ground,
    Promise,
    Seen,
    Step,
)
from ansible_collections.ipmasq.linux.plugins.module_utils._proof.packets import Packet

OUT = Packet("192.168.1.9", "192.31.196.129", "udp", dport=443, flags=0)
REACH = Promise("reach", "r", (), (Step("lan0", OUT, Come(("wan0",), (), (OUT.target,))),))
SHUT = Promise("closed", "c", (), (Step("wan0", OUT),), (Come(("lan0",)),), ("wan0",))


class Host:
    time = 0.0

    def clock(self):
        self.time += 0.01
        return self.time

    def sleep(self, seconds):
        self.time += seconds

    def read(self, path):
        return None

    def which(self, program):
        return ""

    def run(self, argv, stdin=None):
        raise AssertionError("nobody is asked where nothing is broken")


class Loop:
    """What is sent into one interface comes out of another, or never."""

    places = ("lan0", "wan0")

    def __init__(self, comes):
        self.comes, self.sent, self.ended = comes, [], []

    def let_go(self, sent):
        self.ended += sent

    def trace(self, lines):
        assert "add table inet ipmasq_trace" in lines

    def send(self, place, packet):
        self.sent.append((place, packet))

    def receive(self, seconds):
        found, self.sent = [(self.comes[place], packet) for place, packet in self.sent if place in self.comes], []
        return found


def examined(promise, comes, monkeypatch, first=BROKEN):
    monkeypatch.setattr(Host, "run", lambda *_more: type("Done", (), {"rc": 0, "out": "[]"})())
    talk = Talk(promise, 1, 0x1234)
    talk.due()
    result = talk.close(("wan0",), ()) if first == BROKEN else None
    if promise.never:
        result = inquest.replace(result, outcome=BROKEN, reason="seen")
    (found,) = inquest.examined(
        [(talk, result)], (), Ground(magic=0x1234), Run(Host(), Loop(comes), 99.0, itertools.count(2))
    )
    return found


def test_what_holds_at_a_second_attempt_holds(monkeypatch):
    assert examined(REACH, {"lan0": "wan0"}, monkeypatch).outcome == HOLDS
    assert examined(REACH, {}, monkeypatch).outcome == BROKEN


@pytest.mark.parametrize("comes", [{"wan0": "lan0"}, {}])
def test_what_came_out_and_must_not_is_no_matter_of_attempts(monkeypatch, comes):
    found = examined(SHUT, comes, monkeypatch)
    assert (found.outcome, found.reason, found.by) == (BROKEN, "seen", "gateway")


DEAD = ("wan0", "203.0.113.1")
SHUT_HERE = replace(SHUT, never=(Come(("wan0", "lan0")),), quiet=True)


def looked_at(promise, culprit, monkeypatch, refusal=None, silent=()):
    """With what the closer look finds."""
    cases = []

    def blame(case, *_more):
        cases.append(case.wrong)
        return culprit

    monkeypatch.setattr(inquest.blame, "blame", blame)
    monkeypatch.setattr(Host, "run", lambda *_more: type("Done", (), {"rc": 0, "out": "[]"})())
    talk = Talk(promise, 1, 0x1234)
    sent = talk.due().packet
    if refusal:
        kind, code = refusal
        error = Packet("203.0.113.2", sent.source, "icmp", flags=0, kind=kind, code=code, quoted=sent)
        talk.take(Seen(promise.steps[0].at, error))
    run = Run(Host(), Loop({}), 99.0, itertools.count(2))
    (found,) = inquest.examined([(talk, talk.close(("wan0",), silent))], (), Ground(magic=0x1234), run)
    return found, cases


@pytest.mark.parametrize(
    ("promise", "silent", "wrong"),
    [
        (replace(REACH, hops=(DEAD,)), {DEAD}, "unheard"),
        (replace(REACH, shortage="the rate may be used up"), (), "spent"),
    ],
)
def test_what_may_be_rightly_lost_is_broken_if_somebody_is_found(monkeypatch, promise, silent, wrong):
    found, cases = looked_at(promise, Culprit(), monkeypatch, silent=silent)
    assert (found.outcome, cases) == (UNMEASURABLE, [wrong])
    found, _cases = looked_at(promise, Culprit(OTHER, "dropped by x"), monkeypatch, silent=silent)
    assert (found.outcome, found.by, found.cause) == (BROKEN, OTHER, "dropped by x")
    assert found.reason.startswith("nothing came out of wan0")


@pytest.mark.parametrize(
    ("by", "code", "outcome"),
    [(OTHER, 13, HOLDS), (OTHER, 3, HOLDS), (GATEWAY, 3, BROKEN), (HOST, 3, BROKEN), (GATEWAY, 13, HOLDS)],
)
def test_what_somebody_elses_rule_refuses_is_closed(monkeypatch, by, code, outcome):
    """Nobody traces here: then the kernel itself says only of UDP that a port is closed (type 3, code 3)."""
    found, cases = looked_at(SHUT_HERE, Culprit(by, "x"), monkeypatch, (3, code))
    assert (found.outcome, cases) == (outcome, ["refused"])


def test_where_nothing_is_broken_nothing_is_sent():
    talk = Talk(REACH, 1, 0x1234)
    talk.due()
    talk.outcome = HOLDS
    run = Run(Host(), Loop({}), 99.0, itertools.count(2))
    result = talk.close((), ())
    assert inquest.examined([(talk, result)], (), Ground(), run) == [result]
