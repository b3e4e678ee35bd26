# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The sockets, over loopback: no other host is needed."""

from __future__ import annotations

import contextlib
import socket
import threading

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._client import wire as wire_
from ansible_collections.ipmasq.linux.plugins.module_utils._client.stun import Endpoint
from ansible_collections.ipmasq.linux.plugins.module_utils._client.wire import Ask, Wire

HERE = "127.0.0.1"


@pytest.fixture
def wire():
    made = Wire(0.5)
    yield made
    made.close()


@pytest.fixture
def server():
    """Answers what begins with "a", at the second question only: UDP loses packets."""
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind((HERE, 0))
    made.settimeout(5)

    def serve():
        asked = {}
        with contextlib.suppress(OSError):
            while True:
                data, client = made.recvfrom(100)
                asked[data] = asked.get(data, 0) + 1
                if data == b"end":
                    return
                if data.startswith(b"a") and asked[data] > 1:
                    made.sendto(data.upper(), client)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield Endpoint(*made.getsockname())
    made.sendto(b"end", made.getsockname())
    thread.join()
    made.close()


def ask(port, to, data):
    return Ask(port, to, data, lambda got: got == data.upper())


def test_questions_are_repeated_and_told_apart(wire, server):
    port = wire.open(4, server)
    heard = wire.ask([ask(port, server, b"a1"), ask(port, server, b"a2"), ask(port, server, b"b")])
    assert [(each.data, each.source) for each in heard] == [(b"A1", server), (b"A2", server), (b"", None)]


def test_answers_to_nothing_are_counted(wire, server):
    port = wire.open(4, server)
    (heard,) = wire.ask([Ask(port, server, b"a", lambda got: False)])
    assert heard.source is None
    assert heard.strangers > 0


def test_who_refuses_is_told(wire):
    """A port that nobody has: ICMP says so, and Linux tells who sent it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind((HERE, 0))
        nobody = Endpoint(*free.getsockname())
    port = wire.open(4, nobody)
    (heard,) = wire.ask([ask(port, nobody, b"x" * 24)])
    assert heard.told.words == "Connection refused, says 127.0.0.1"


def test_streams(wire):
    with socket.socket() as server:
        server.bind((HERE, 0))
        server.listen(4)
        place = Endpoint(*server.getsockname())
        silent = wire.stream(place, b"question")
        assert (silent.connected, silent.problem) == (True, "no answer")
        assert wire.stream(place).connected
    refused = wire.streams([(place, b"", bool)])
    assert [(each.connected, each.problem) for each in refused] == [(False, "Connection refused")]


def test_a_name_that_there_is_not(wire):
    found = wire.resolve([HERE, "no-such-host.invalid"])
    assert found[0].addresses == (HERE,)
    assert found[1].addresses == ()
    assert found[1].problem


def test_what_takes_too_long_is_not_waited_for():
    gate = threading.Event()
    assert wire_._at_once(lambda _each: gate.wait(), [1, 2], "late", 0.05) == ["late", "late"]
    gate.set()


def test_checksum():
    """The example of RFC 1071."""
    assert wire_.checksum(bytes.fromhex("0001f203f4f5f6f7")) == 0x220D
    assert wire_.checksum(b"\xff") == 0x00FF
