# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._proof.judge import Talk
from ansible_collections.ipmasq.linux.plugins.module_utils._proof.model import (
    BROKEN,
    HOLDS,
    UNMEASURABLE,
    Come,
    Promise,
    Seen,
    Step,
)
from ansible_collections.ipmasq.linux.plugins.module_utils._proof.packets import ACK, RST, SYN, Packet, answer

OUT = Packet("192.168.1.9", "192.31.196.129", "tcp", dport=443)
WANTED = Come(("wan0",), ("203.0.113.2",), ("192.31.196.129",), 443)
REACH = Promise("reach", "r", ("nat/x",), (Step("lan0", OUT, WANTED), Step()), hops=(("wan0", "203.0.113.1"),))
SHUT = Promise("closed", "c", (), (Step("wan0", OUT),), (Come(("lan0", "wan0")),), ("wan0",))


def begun(promise=REACH):
    talk = Talk(promise, 7, 0x1234)
    due = talk.due()
    assert (due.packet.mark, due.packet.magic, due.packet.sport) == (7, 0x1234, 50007)
    return talk, due.packet


def translated(packet, **more):
    return Seen("wan0", replace(packet, source="203.0.113.2", sport=1025, **more))


def test_out_and_back():
    talk, sent = begun()
    assert talk.take(translated(sent))
    back = talk.due()
    assert (back.place, back.packet.target, back.packet.dport) == ("wan0", "203.0.113.2", 1025)
    assert not talk.take(translated(sent)), "the same once more does not count as an answer"
    assert not talk.take(Seen("lan0", answer(sent)))
    result = talk.close((), ())
    assert (result.outcome, result.reason, len(result.sent), len(result.seen)) == (HOLDS, "", 2, 2)


@pytest.mark.parametrize(
    ("place", "changes", "reason"),
    [
        ("wan0", {}, "differently; declared: source 203.0.113.2, destination 192.31.196.129"),
        ("wan1", {"source": "203.0.113.2"}, "came out of wan1, not of wan0"),
        ("lan0", {"flags": RST | ACK, "target": "192.168.1.9"}, "it was refused"),
    ],
)
def test_what_comes_out_otherwise(place, changes, reason):
    talk, sent = begun()
    talk.take(Seen(place, replace(sent, **changes)))
    result = talk.close((), ())
    assert result.outcome == BROKEN
    assert reason in result.reason


@pytest.mark.parametrize(
    ("place", "source", "outcome"),
    [("wan1", "198.51.100.2", UNMEASURABLE), ("wan1", "192.168.1.9", BROKEN), ("wan2", "198.51.100.2", BROKEN)],
)
def test_the_routes_may_prefer_another_wan(place, source, outcome):
    """What leaves there as it is declared for that WAN shows nothing about this one."""
    step = Step("lan0", OUT, WANTED, elsewhere=(Come(("wan1",), ("198.51.100.2",)),))
    talk, sent = begun(replace(REACH, steps=(step,)))
    talk.take(Seen(place, replace(sent, source=source)))
    result = talk.close((), ())
    assert (result.outcome, place in result.reason) == (outcome, True)


@pytest.mark.parametrize(("back", "outcome"), [(True, UNMEASURABLE), (False, BROKEN)])
def test_the_answer_has_to_get_back_from_another_wan_too(back, outcome):
    step = Step("lan0", OUT, WANTED, elsewhere=(Come(("wan1",), ("198.51.100.2",)),))
    talk, sent = begun(replace(REACH, steps=(step, Step())))
    assert talk.take(Seen("wan1", replace(sent, source="198.51.100.2", sport=1025)))
    assert talk.due().place == "wan1"
    if back:
        talk.take(Seen("lan0", answer(sent)))
    assert talk.close((), ()).outcome == outcome


def test_the_mtu_of_another_wan_is_another_one():
    step = Step("lan0", OUT, replace(WANTED, mss=1440), elsewhere=(Come(("wan1",), ("198.51.100.2",)),))
    talk, sent = begun(replace(REACH, steps=(step, Step(mss=8960, most=1440))))
    talk.take(Seen("wan1", replace(sent, source="198.51.100.2", mss=1400)))
    assert talk.close((), ()).outcome == UNMEASURABLE


def test_an_error_is_a_refusal_and_a_redirect_is_not():
    talk, sent = begun()
    error = Packet("192.168.1.1", "192.168.1.9", "icmp", flags=0, kind=5, code=1, quoted=sent)
    talk.take(Seen("lan0", error))
    assert not talk.settled
    talk.take(Seen("lan0", replace(error, kind=3, code=13)))
    assert talk.close((), ()).reason == "it was refused"


def test_silence():
    talk, sent = begun()
    assert talk.close((), ()).reason.startswith("nothing came out of wan0; declared")
    talk, sent = begun()
    assert talk.close((), {("wan0", "203.0.113.1")}).outcome == UNMEASURABLE
    talk, sent = begun(replace(REACH, excuse="it leads elsewhere"))
    assert (talk.close((), ()).outcome, talk.outcome) == (UNMEASURABLE, UNMEASURABLE)
    talk, sent = begun()
    talk.take(translated(sent))
    assert talk.close((), ()).reason == "the answer did not get back to lan0"


def test_a_reset_is_no_answer():
    talk, sent = begun()
    talk.take(translated(sent))
    talk.take(Seen("lan0", replace(answer(sent), flags=RST)))
    assert talk.close((), ()).outcome == BROKEN


def test_what_must_not_come():
    talk, sent = begun(SHUT)
    assert talk.close({"wan0"}, ()).outcome == HOLDS
    talk, sent = begun(SHUT)
    assert talk.close({"lan0"}, ()).outcome == UNMEASURABLE
    talk, sent = begun(SHUT)
    talk.take(Seen("wan0", answer(sent)))
    assert talk.close({"wan0"}, ()).outcome == BROKEN


@pytest.mark.parametrize(
    ("quiet", "outcome", "reason"), [(False, HOLDS, ""), (True, BROKEN, "it was refused, and has to be dropped")]
)
@pytest.mark.parametrize("error", [True, False])
def test_what_is_refused_has_not_got_in(quiet, outcome, reason, error):
    talk, sent = begun(replace(SHUT, quiet=quiet))
    made = Packet("203.0.113.2", sent.source, "icmp", flags=0, kind=3, code=13, quoted=sent)
    talk.take(Seen("wan0", made if error else replace(answer(sent), flags=RST)))
    result = talk.close({"wan0"}, ())
    assert (result.outcome, result.reason, len(result.seen)) == (outcome, reason, 1)
    assert talk.ruled_out == error


def test_a_stray_that_gets_out_is_no_refusal():
    for stray in (replace(OUT, flags=RST), Packet(OUT.source, OUT.target, "icmp", flags=0, kind=3, quoted=OUT)):
        talk = Talk(Promise("invalid", "i", (), (Step("lan0", stray),), (Come(("wan0",)),), ("lan0",)), 7, 0x1234)
        talk.take(Seen("wan0", talk.due().packet))
        assert talk.close({"lan0"}, ()).outcome == BROKEN


HOP = {("wan0", "203.0.113.1")}
UNUSED = replace(REACH, shortage="the rate may be used up")


def error(sent, code):
    return Seen("lan0", Packet("192.168.1.1", sent.source, "icmp", flags=0, kind=3, code=code, quoted=sent))


@pytest.mark.parametrize(
    ("promise", "silent", "come", "outcome"),
    [
        (REACH, HOP, lambda sent: None, UNMEASURABLE),
        (REACH, HOP, lambda sent: error(sent, 1), UNMEASURABLE),
        (REACH, HOP, lambda sent: error(sent, 13), BROKEN),
        (REACH, HOP, lambda sent: Seen("wan0", sent), BROKEN),
        (REACH, (), lambda sent: error(sent, 1), BROKEN),
        (UNUSED, (), lambda sent: None, UNMEASURABLE),
        (UNUSED, (), lambda sent: error(sent, 13), UNMEASURABLE),
        (UNUSED, (), lambda sent: Seen("wan0", sent), BROKEN),
        (UNUSED, (), translated, BROKEN),
    ],
)
def test_a_dead_neighbour_and_a_rate_explain_why_nothing_came_and_nothing_else(promise, silent, come, outcome):
    talk, sent = begun(promise)
    came = come(sent)
    if came:
        talk.take(came)
    result = talk.close((), silent)
    assert result.outcome == outcome
    assert bool(talk.doubt) == (outcome == UNMEASURABLE)


def test_the_second_flow_keeps_its_source():
    again = Step(
        "lan0", replace(OUT, dport=444), replace(WANTED, sources=("203.0.113.0/24",), dport=444), same_source=True
    )
    promise = replace(REACH, steps=(Step("lan0", OUT, replace(WANTED, sources=("203.0.113.0/24",))), again))
    for source, outcome in (("203.0.113.2", HOLDS), ("203.0.113.3", BROKEN)):
        talk, sent = begun(promise)
        assert talk.take(translated(sent))
        talk.take(Seen("wan0", replace(talk.due().packet, source=source)))
        assert talk.close((), ()).outcome == outcome


def test_an_error_about_what_left_gets_back():
    promise = replace(REACH, steps=(REACH.steps[0], Step(error=(3, 4, 1280))))
    talk, sent = begun(promise)
    talk.take(translated(sent))
    due = talk.due()
    assert (due.packet.quoted.source, due.packet.rest) == ("203.0.113.2", 1280)
    talk.take(Seen("lan0", replace(due.packet, target=sent.source, quoted=replace(sent, flags=SYN))))
    assert talk.close((), ()).outcome == HOLDS


def test_what_is_known_to_be_unmeasurable_sends_nothing():
    talk = Talk(Promise("reach", "r", lacks="wan0 is down"), 1, 1)
    assert talk.due() is None
    assert talk.close((), ()).reason == "wan0 is down"
