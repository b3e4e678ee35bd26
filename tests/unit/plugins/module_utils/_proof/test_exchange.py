# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import itertools
from dataclasses import replace

from ansible_collections.ipmasq.linux.plugins.module_utils._proof.exchange import Exchange, Run
from ansible_collections.ipmasq.linux.plugins.module_utils._proof.judge import Talk
from ansible_collections.ipmasq.linux.plugins.module_utils._proof.model import HOLDS, Come, Promise, Step
from ansible_collections.ipmasq.linux.plugins.module_utils._proof.packets import Packet

OUT = Packet("192.168.1.9", "192.31.196.129", "udp", dport=443, flags=0)
SHUT = Promise("closed", "c", (), (Step("wan0", OUT),), (Come(("lan0",)),), ("wan0",))
REACH = Promise("reach", "r", (), (Step("lan0", OUT, Come(("wan0",))), Step()))


class Host:
    now = 0.0

    def clock(self):
        return self.now


class Loop:
    def __init__(self):
        self.sent, self.come, self.ended = [], [], []

    def let_go(self, sent):
        self.ended.append(sent)

    def send(self, place, packet):
        self.sent.append((place, packet))

    def receive(self, seconds):
        come, self.come = self.come, []
        return come


def test_out_and_back():
    loop, talk = Loop(), Talk(REACH, 7, 0x1234)
    exchange = Exchange([talk], Run(Host(), loop, 1.0, itertools.count(8)))
    exchange.begin([talk])
    ((place, packet),) = loop.sent
    assert (place, packet.mark) == ("lan0", 7)
    loop.come = [("wan0", replace(packet, mark=99)), ("wan0", packet)]
    assert exchange.listen(0) and exchange.alive == {"lan0"}
    back = loop.sent[-1]
    assert back[0] == "wan0"
    loop.come = [("lan0", back[1])]
    exchange.listen(0)
    assert talk.outcome == HOLDS and not exchange.listen(0)


def test_a_packet_of_somebody_else_with_the_same_mark_is_none_of_ours():
    loop, talk = Loop(), Talk(SHUT, 7, 0x1234)
    exchange = Exchange([talk], Run(Host(), loop, 1.0, itertools.count(8)))
    exchange.begin([talk])
    loop.come = [("lan0", Packet("0.0.0.0", "0.0.0.0", "223", mark=7))]
    exchange.listen(0)
    assert not talk.settled and talk.seen == []
    loop.come = [("lan0", replace(OUT, mark=7, target="10.9.9.9", source="203.0.113.2", magic=0x1234))]
    exchange.listen(0)
    assert talk.settled


def test_when_the_time_is_up_nothing_is_sent():
    host, loop = Host(), Loop()
    host.now = 2.0
    Exchange([], Run(host, loop, 1.0, itertools.count(8))).begin([Talk(REACH, 7, 0)])
    assert loop.sent == []


def test_what_gets_through_in_any_case_comes_behind_the_rest():
    """On a busy host, what was sent first may take a while; what is sent last comes after it."""
    host, loop, sign, talk = Host(), Loop(), Talk(REACH, 1, 0), Talk(REACH, 7, 0)
    exchange = Exchange([sign, talk], Run(host, loop, 9.0, itertools.count(8)))
    exchange.begin([sign, talk])
    exchange.alive.add("lan0")
    late = []

    def receive(_seconds):
        host.now += 1.0
        late.extend(loop.sent)
        loop.sent = []
        return [("wan0" if place == "lan0" else "lan0", packet) for place, packet in (late.pop(0),)] if late else []

    loop.receive = receive
    exchange.drain([sign])
    assert sign.settled and talk.sent[-1].place == "wan0"
    host.now, exchange.alive = 0.0, set()
    exchange.drain([sign])
    assert host.now == 0.0, "nothing to wait for where nothing gets through"


def test_settled_conversations_keep_few_connections():
    """Many hosts limit how many one client may have."""
    loop, talks = Loop(), [Talk(REACH, number, 0x1234) for number in range(1, 7)]
    exchange = Exchange(talks, Run(Host(), loop, 1.0, itertools.count(8)))
    for talk in talks:
        exchange.begin([talk])
        loop.come = [("wan0", loop.sent[-1][1])]
        exchange.listen(0)
        loop.come = [("lan0", loop.sent[-1][1])]
        exchange.listen(0)
        assert talk.outcome == HOLDS
    (ended,) = loop.ended
    assert len({packet.mark for packet in ended}) == 5 and talks[0].sent[0].packet in ended


def test_time_is_allowed_but_never_taken_away():
    host, loop = Host(), Loop()
    exchange = Exchange([], Run(host, loop, 1.0, itertools.count(8)))
    host.now = 2.0
    exchange.allow(0.5)
    exchange.begin([Talk(REACH, 7, 0)])
    assert len(loop.sent) == 1
    exchange.allow(-9.0)
    exchange.begin([Talk(REACH, 8, 0)])
    assert len(loop.sent) == 2
