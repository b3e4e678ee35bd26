# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._proof import asking
from ansible_collections.ipmasq.linux.plugins.module_utils._proof.asking import Asking, ask
from ansible_collections.ipmasq.linux.plugins.module_utils._proof.exchange import Run
from ansible_collections.ipmasq.linux.plugins.module_utils._proof.model import Come, Promise, Seen, Want
from ansible_collections.ipmasq.linux.tests.unit.plugins.module_utils._proof.test_questions import NAME, named

KNOWN = Promise("services", "name", asks=NAME, wants=(Want("address", ("192.168.1.20",)),))
OTHER = replace(KNOWN, wants=(Want("address", ("192.168.1.30",)), Want("domain", ("a", "b"), every=True)))
NEVER = replace(KNOWN, wants=(), never=(Come(("lan0",)),), into=("lan0",))


class Host:
    now = 0.0

    def clock(self):
        self.now += 0.01
        return self.now

    def read(self, path):
        return None


class Loop:
    """Answers after a while."""

    def __init__(self, after):
        self.after, self.sent, self.forgotten = after, [], []

    def send(self, place, packet):
        self.sent.append((place, packet))

    def forget(self, packet):
        self.forgotten.append(packet)

    def receive(self, seconds):
        self.after -= 1
        return [(place, named(packet)) for place, packet in self.sent[-1:]] if self.after == 0 else []


@pytest.mark.parametrize(
    ("promise", "after", "outcome", "reason"),
    [
        (KNOWN, 2, "holds", ""),
        (KNOWN, 0, "broken", "nobody answers on lan0"),
        (replace(KNOWN, excuse="dead"), 0, "unmeasurable", "dead"),
        (
            OTHER, 2, "broken",
            "the answer has address 192.168.1.20; declared: 192.168.1.30; "
            "the answer has domain nothing; declared: a and b",
        ),
        (NEVER, 2, "broken", "this was answered on lan0, which must not happen"),
        (NEVER, 0, "holds", ""),
    ],
)  # fmt: skip
def test_outcomes(promise, after, outcome, reason):
    loop, talk = Loop(after), Asking(promise, 7, 0x1234)
    ask([talk], [], ["lan0"], Run(Host(), loop, 100.0, itertools.count(8)))
    result = talk.close(["lan0"], ())
    assert (result.outcome, result.reason) == (outcome, reason)
    assert len(loop.forgotten) == bool(after) and len(result.sent) == 1
    assert talk.expected == ("lan0",) and talk.own == ("", 0)


def test_silence_of_a_dead_interface_says_nothing():
    talk = Asking(NEVER, 7, 0x1234)
    ask([talk], [], [], Run(Host(), Loop(0), 100.0, itertools.count(8)))
    assert talk.close([], ()).outcome == "unmeasurable"


def test_what_has_been_tried_with_pings_is_awaited(monkeypatch):
    monkeypatch.setattr(asking, "runs", lambda instance, sight: True)
    host, talk = Host(), Asking(replace(KNOWN, slow=True), 7, 0x1234)
    ask([talk], [], [], Run(host, Loop(0), 100.0, itertools.count(8)))
    assert asking.PATIENCE + asking.EACH < host.now < asking.PATIENCE + asking.EACH + 1


def test_only_an_answer_is_heard():
    talk = Asking(KNOWN, 7, 0x1234)
    packet = NAME.packet(7, 0x1234)
    assert not talk.hears(Seen("lan0", named(packet))), "nothing was asked yet"
    assert talk.due() == talk.due()
    assert talk.hears(Seen("lan0", named(packet)))
    assert not talk.hears(Seen("wan0", named(packet))) and not talk.hears(Seen("lan0", packet))
    assert not talk.knows(packet) and not talk.take(Seen("lan0", packet)) and not talk.settled
