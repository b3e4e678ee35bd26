# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import itertools

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._proof import inquest
from ansible_collections.ipmasq.linux.plugins.module_utils._proof.exchange import Run
from ansible_collections.ipmasq.linux.plugins.module_utils._proof.judge import Talk
from ansible_collections.ipmasq.linux.plugins.module_utils._proof.model import (
    BROKEN,
    HOLDS,
    Come,
    Ground,
    Promise,
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
        self.comes, self.sent = comes, []

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


def test_where_nothing_is_broken_nothing_is_sent():
    talk = Talk(REACH, 1, 0x1234)
    talk.due()
    talk.outcome = HOLDS
    run = Run(Host(), Loop({}), 99.0, itertools.count(2))
    result = talk.close((), ())
    assert inquest.examined([(talk, result)], (), Ground(), run) == [result]
