# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Verdicts on NATs. Real ones are in tests/integration/test_nat_probe.py; here are servers that withhold or lie."""

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._client import nat, stun
from ansible_collections.ipmasq.linux.plugins.module_utils._client.nat import Places, Tried, filtering_of, mapping_of
from ansible_collections.ipmasq.linux.plugins.module_utils._client.stun import Endpoint
from ansible_collections.ipmasq.linux.plugins.module_utils._client.talk import Server, Sight
from ansible_collections.ipmasq.linux.plugins.module_utils._client.wire import Heard, Port

LOCAL = Endpoint("192.168.1.10", 40000)
A1P1, A2P1, A1P2, A2P2 = (
    Endpoint(address, port) for port in (3478, 3479) for address in ("198.51.100.1", "198.51.100.2")
)
PLACES = Places(A1P1, A2P1, A1P2, A2P2)
ELSEWHERE = Endpoint("192.0.2.9", 3478)


def out(port, address="203.0.113.2"):
    return Endpoint(address, port)


@pytest.mark.parametrize(
    ("seen", "places", "value"),
    [
        ({A1P1: LOCAL}, None, "none"),
        ({A1P1: LOCAL, ELSEWHERE: LOCAL}, PLACES, "none"),
        ({A1P1: out(1), A2P1: out(1), A2P2: out(1)}, PLACES, "independent"),
        ({A1P1: out(1), A2P1: out(2), A2P2: out(2)}, PLACES, "address"),
        ({A1P1: out(1), A2P1: out(2), A2P2: out(3)}, PLACES, "address_port"),
        ({A1P1: out(1), A2P1: out(1), A2P2: out(2)}, PLACES, "address_port"),
        ({A1P1: out(1), A2P1: out(1, "203.0.113.3"), A2P2: out(1, "203.0.113.3")}, PLACES, "address"),
        # Without a second address, several servers.
        ({A1P1: out(1), ELSEWHERE: out(1)}, None, "independent"),
        ({A1P1: out(1), ELSEWHERE: out(2)}, None, "dependent"),
        ({A1P1: out(1), ELSEWHERE: out(1)}, PLACES, "independent"),
        # Two ports of one address tell nothing about other addresses.
        ({A1P1: out(1), A1P2: out(1)}, None, "unknown"),
        ({A1P1: out(1), A1P2: out(2)}, None, "unknown"),
        ({A1P1: out(1)}, PLACES, "unknown"),
        ({A1P1: out(1)}, None, "unknown"),
        ({}, None, "unknown"),
    ],
)
def test_mapping(seen, places, value):
    verdict = mapping_of(LOCAL, seen, {A2P1: "no answer"}, places)
    assert verdict.value == value
    assert verdict.why


def test_why_the_second_address_tells_nothing():
    assert "198.51.100.2:3478: no answer" in mapping_of(LOCAL, {A1P1: out(1)}, {A2P1: "no answer"}, PLACES).why


class Clash:
    """A gateway on which the port of the first socket is taken outside, so that it maps that one for each server."""

    def __init__(self, clashes):
        self.clashes, self.opened = clashes, 0

    def open(self, version, towards):
        self.opened += 1
        return Port(version, None, Endpoint("192.168.1.10", 40000 + self.opened))

    def token(self, size):
        return bytes(size)

    def ask(self, asks, patience=0):
        return [Heard(self.answer(each), each.to) for each in asks]

    def answer(self, ask):
        port = ask.port.local.port + (int(ask.to.address[-1]) * 1000 if self.opened <= self.clashes else 0)
        body = stun.attribute(stun.MAPPED_ADDRESS, b"\0\1" + port.to_bytes(2, "big") + b"\xcb\0\x71\2")
        return stun.HEADER.pack(stun.SUCCESS, len(body), stun.COOKIE, bytes(12)) + body


@pytest.mark.parametrize(("clashes", "value"), [(0, "independent"), (1, "independent"), (2, "dependent")])
def test_a_port_that_is_taken_outside_is_no_verdict(clashes, value):
    servers = [Server("a", A1P1), Server("b", A2P1)]
    assert nat._map(Clash(clashes), servers, None)[1].value == value


def came(source=None, problem=""):
    return Sight(None, source, problem)


SILENT = came(problem="no answer")


@pytest.mark.parametrize(
    ("tried", "value", "why"),
    [
        (Tried(came(A2P2), SILENT, SILENT, SILENT), "independent", "never asked"),
        (Tried(SILENT, came(A1P2), came(A2P2), SILENT), "address", "got in"),
        (Tried(SILENT, SILENT, came(A2P2), came(A1P2)), "address_port", "only the server that was asked"),
        # The server ignores what it was asked to do: the answer proves nothing.
        (Tried(came(A1P1), came(A1P1), came(A1P1), came(A1P1)), "unknown", "ignores CHANGE-REQUEST"),
        (Tried(came(A1P1, "420 Unknown"), SILENT, SILENT, SILENT), "unknown", "420 Unknown"),
        (Tried(came(ELSEWHERE), SILENT, SILENT, SILENT), "unknown", "192.0.2.9"),
        # Silence, where even an answer that must get in does not.
        (Tried(SILENT, SILENT, SILENT, SILENT), "unknown", "proves nothing"),
        (Tried(SILENT, SILENT, None, None), "unknown", "proves nothing"),
        (Tried(SILENT, came(A1P2), SILENT, came(A1P2)), "unknown", "proves nothing"),
        (Tried(SILENT, SILENT, came(A2P2), SILENT), "unknown", "proves nothing"),
        (Tried(SILENT, SILENT, came(A1P1), came(A1P2)), "unknown", "proves nothing"),
    ],
)
def test_filtering(tried, value, why):
    verdict = filtering_of(tried, PLACES)
    assert verdict.value == value
    assert why in verdict.why


def test_hairpin_without_nat():
    assert nat.hairpin_of(None, None).value == "unknown"
