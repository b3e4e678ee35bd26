# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""With real packets: tests/integration/test_explain.py."""

from __future__ import annotations

from ansible_collections.ipmasq.linux.plugins.module_utils._explain.answer import Trial
from ansible_collections.ipmasq.linux.plugins.module_utils._explain.trial import tried
from ansible_collections.ipmasq.linux.plugins.module_utils._explain.verdict import said
from ansible_collections.ipmasq.linux.plugins.module_utils._proof.model import Seen
from ansible_collections.ipmasq.linux.plugins.module_utils._proof.packets import Packet, answer
from ansible_collections.ipmasq.linux.tests.unit.explained import planner, trip

SYN = Packet("192.168.1.5", "9.9.9.9", "tcp", 20000, 80, magic=7)


def test_why_no_packet_can_be_sent():
    for down, reason in (("lan0", "lan0 is down"), ("", "tc is not installed")):
        made = planner(down=(down,))
        found, _problems = trip(made, "192.168.1.5", "9.9.9.9", "80")
        assert tried(made, found, said(made, found), made.host).lacks.startswith(reason)


def test_an_icmp_error_is_no_answer():
    error = Packet("9.9.9.9", "192.168.1.5", "icmp", kind=3, code=3, flags=0, quoted=SYN)
    sent = Seen("lan0", SYN)
    assert Trial(sent, back=Seen("lan0", answer(SYN))).answered
    assert not Trial(sent, back=Seen("lan0", error)).answered
    assert not Trial(sent).answered
