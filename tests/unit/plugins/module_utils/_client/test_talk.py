# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import errno

from ansible_collections.ipmasq.linux.plugins.module_utils._client import stun, talk
from ansible_collections.ipmasq.linux.plugins.module_utils._client.stun import Endpoint
from ansible_collections.ipmasq.linux.plugins.module_utils._client.wire import Heard, Told

ASKED, OTHER = Endpoint("198.51.100.1", 3478), Endpoint("198.51.100.1", 3479)
TRANSACTION = b"t" * 12
ANSWER = stun.HEADER.pack(stun.SUCCESS, 0, stun.COOKIE, TRANSACTION)


def test_an_answer_is_known_by_its_transaction():
    mine = talk.answers(TRANSACTION)
    assert mine(ANSWER)
    assert not mine(stun.HEADER.pack(stun.SUCCESS, 0, stun.COOKIE, b"o" * 12))
    assert not mine(stun.request(TRANSACTION))
    assert not mine(b"HTTP/1.0 302 Found")


def test_an_answer_from_elsewhere_is_not_believed():
    assert talk.sight_from(Heard(ANSWER, ASKED), ASKED).message
    found = talk.sight_from(Heard(ANSWER, OTHER), ASKED)
    assert (found.message, found.source) == (None, None)
    assert found.problem == "198.51.100.1:3479 answered instead, which is not believed"
    assert talk.sight(Heard(ANSWER, OTHER)).source == OTHER


def test_why_there_is_no_answer():
    assert talk.sight(Heard()).problem == "no answer"
    assert "another transaction ID" in talk.sight(Heard(strangers=2)).problem
    told = Told(errno.EHOSTUNREACH, "192.168.1.1", 0)
    assert talk.sight(Heard(told=told)).problem == "No route to host, says 192.168.1.1"
    assert talk.sight(Heard(told=told._replace(by=""))).problem == "No route to host, says this client itself"


def test_names():
    assert talk.Server("stun.example.net:3478", ASKED).name == "stun.example.net:3478 (198.51.100.1)"
    assert talk.Server("198.51.100.1", ASKED).name == "198.51.100.1"
