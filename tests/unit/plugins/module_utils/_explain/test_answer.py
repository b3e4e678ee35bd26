# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._explain import answer as answers
from ansible_collections.ipmasq.linux.plugins.module_utils._explain.answer import Trial
from ansible_collections.ipmasq.linux.plugins.module_utils._explain.verdict import said
from ansible_collections.ipmasq.linux.plugins.module_utils._proof.model import Culprit, Seen
from ansible_collections.ipmasq.linux.plugins.module_utils._proof.packets import ACK, RST, Packet, answer
from ansible_collections.ipmasq.linux.tests.unit.explained import planner, trip

SYN = Packet("192.168.1.5", "9.9.9.9", "tcp", 20000, 80, magic=7)
SENT = Seen("lan0", SYN)
LEFT = Packet("203.0.113.2", "9.9.9.9", "tcp", 20000, 80, magic=7)
OUT, BACK = Seen("wan0", LEFT), Seen("lan0", answer(SYN))
PROHIBITED = Seen("lan0", Packet("192.168.1.1", "192.168.1.5", "icmp", kind=3, code=13, flags=0, quoted=SYN))
RESET = Seen("lan0", Packet("9.9.9.9", "192.168.1.5", "tcp", 80, 20000, flags=RST | ACK))
MAIL = {"name": "no-mail", "protocol": ["tcp"], "port": ["80"], "action": "reject"}
HERE = ("192.168.1.5", "192.168.1.1", "80")


def told(trial, asked=("192.168.1.5", "9.9.9.9", "80"), **params):
    made = planner(**params)
    found, _problems = trip(made, *asked)
    declared = said(made, found)
    answer_ = answers.answered(found, declared, trial)
    return answer_, answers.to_json(found, declared, trial, answer_)


@pytest.mark.parametrize(
    ("trial", "params", "passes", "agrees", "words"),
    [
        (Trial(SENT, OUT, BACK), {}, True, True, "nat 'default' (masquerade)"),
        (
            Trial(SENT, OUT),
            {},
            False,
            False,
            "it leaves through wan0 (nat 'default' (masquerade)), but the answer does not get back to 192.168.1.5",
        ),
        (
            Trial(SENT, Seen("wan0", SYN), BACK),
            {},
            True,
            False,
            "it leaves through wan0, but not as declared (nat 'default' (masquerade))",
        ),
        (
            Trial(SENT, OUT, BACK),
            {"outbound": [MAIL]},
            True,
            False,
            "it passes and leaves through wan0, although the declaration says: outbound 'no-mail' says reject",
        ),
        (
            Trial(SENT, None, PROHIBITED),
            {"outbound": [MAIL]},
            False,
            True,
            "outbound 'no-mail' says reject; the sender gets ICMP prohibited",
        ),
        (
            Trial(SENT, None, RESET),
            {},
            False,
            False,
            "it was refused; the sender gets a TCP RST. Declared: nat 'default' (masquerade)",
        ),
        (
            Trial(SENT),
            {},
            False,
            False,
            "it vanishes in this gateway. Declared: nat 'default' (masquerade)",
        ),
        (Trial(lacks="wan0 is down"), {}, True, True, "nat 'default' (masquerade)"),
    ],
)
def test_a_packet_and_the_declaration(trial, params, passes, agrees, words):
    found, _values = told(trial, **params)
    assert (found.passes, found.agrees, found.told) == (passes, agrees, words)


@pytest.mark.parametrize(
    ("back", "passes", "agrees", "words"),
    [
        (Packet("192.168.1.1", "192.168.1.5", "tcp", 80, 20000, flags=RST), False, True, "nothing listens there"),
        (None, False, False, "it vanishes in this gateway"),
    ],
)
def test_a_packet_to_the_gateway_itself(back, passes, agrees, words):
    sent = Seen("lan0", Packet("192.168.1.5", "192.168.1.1", "tcp", 20000, 80, magic=7))
    found, _values = told(Trial(sent, None, Seen("lan0", back) if back else None), HERE)
    assert (found.passes, found.agrees) == (passes, agrees)
    assert words in found.told


def test_a_silent_service_is_no_fault():
    sent = Seen("lan0", Packet("192.168.1.5", "192.168.1.1", "udp", 20000, 80, magic=7))
    found, _values = told(Trial(sent), (*HERE, "udp"))
    assert found.passes and found.agrees
    assert found.told.endswith("nothing came back, as from a service that stays silent")


def test_the_answer_to_a_client_in_a_lan_that_leaves_elsewhere():
    found, values = told(Trial(SENT, OUT, Seen("dmz0", answer(SYN))))
    assert (found.passes, values["comes_back"]) == (False, False)
    assert found.told.endswith("but the answer does not get back to 192.168.1.5: it leaves through dmz0")


def test_the_answer_to_a_host_outside_that_leaves_by_another_wan():
    asked = Packet("9.9.9.9", "203.0.113.2", "tcp", 20000, 80, magic=7)
    found, values = told(
        Trial(Seen("wan0", asked), None, Seen("dmz0", answer(asked))), ("9.9.9.9", "203.0.113.2", "80")
    )
    note = "the answer leaves through dmz0, not wan0, where the packet came in; the router there may drop that"
    assert found.passes and note in values["notes"]


def test_a_neighbour_that_is_not_there_ends_the_way():
    gone = "nobody answers for 203.0.113.1 on wan0; the host or the line is down, or the address is wrong"
    found, _values = told(Trial(SENT, OUT, BACK, played=(("wan0", "203.0.113.1"),)))
    told_then = "this gateway lets it pass (nat 'default' (masquerade)), but " + gone
    assert (found.passes, found.told) == (False, told_then)
    found, values = told(Trial(SENT, OUT, BACK, played=(("lan0", "192.168.1.5"),)))
    assert found.passes and gone.replace("203.0.113.1 on wan0", "192.168.1.5 on lan0") in values["notes"]


@pytest.mark.parametrize(
    ("culprit", "named"),
    [
        (Culprit("other", "dropped by chain f of table inet foe"), True),
        (Culprit("gateway", "rejected by this gateway"), False),
        (Culprit(), False),
    ],
)
def test_who_is_to_blame(culprit, named):
    """An item that was declared so is not to blame; what stops the packet before it is."""
    found, values = told(Trial(SENT, None, PROHIBITED, culprit=culprit), outbound=[MAIL])
    assert found.culprit == (culprit.words if named else "")
    assert any("culprit" in line for line in answers.lines(values)) == named


def test_a_foreign_rule_that_keeps_a_packet_from_a_silent_service():
    sent = Seen("lan0", Packet("192.168.1.5", "192.168.1.1", "udp", 20000, 80, magic=7))
    found, _values = told(Trial(sent, culprit=Culprit("other", "dropped by chain f of table inet foe")), (*HERE, "udp"))
    assert (found.passes, found.agrees, found.told) == (False, False, "it does not reach this gateway itself")
    delivered = Culprit("host", "delivered to this host itself, by route local 192.168.1.1")
    found, _values = told(Trial(sent, culprit=delivered), (*HERE, "udp"))
    assert found.passes and not found.culprit


def test_lines_for_people():
    _found, values = told(Trial(SENT, OUT, BACK))
    assert answers.lines(values) == [
        "tcp 192.168.1.5 > 9.9.9.9:80: passes",
        "  because   nat 'default' (masquerade)",
        "  arrives   lan0 (LAN office)",
        "  route     wan0 (a WAN), next hop 203.0.113.1",
        "  item      nat/default",
        "  leaves    wan0 from 203.0.113.2 for 9.9.9.9:80, source port unchanged",
        "  answer    gets back",
        "  known by  a packet that was sent through this gateway",
        "  note      no protocol was given, so this is about tcp; for udp, give protocol=udp",
    ]


def test_lines_by_the_declaration():
    _found, values = told(Trial(lacks="tc is not installed"))
    assert answers.lines(values)[5:7] == [
        "  leaves    wan0 from 203.0.113.2 for 9.9.9.9:80, source port unchanged unless another flow has it",
        "  known by  the declaration alone; no packet could be sent: tc is not installed",
    ]
