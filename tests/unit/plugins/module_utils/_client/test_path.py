# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A path in memory, which loses what is too large, with and without saying so."""

from __future__ import annotations

import errno

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._client import path, stun
from ansible_collections.ipmasq.linux.plugins.module_utils._client.stun import Endpoint
from ansible_collections.ipmasq.linux.plugins.module_utils._client.talk import Server
from ansible_collections.ipmasq.linux.plugins.module_utils._client.wire import Heard, Port, Told

SERVER = Server("x", Endpoint("198.51.100.1", 3478))


class Line:
    """``out`` and ``into``: the path's MTUs; ``tells``: whether routers say so."""

    patience = 1

    def __init__(self, link, out, into, tells):
        self.link, self.out, self.into, self.tells = link, out, into, tells
        self.asked = 0
        self.whole = True

    def open(self, version, towards):
        return Port(version, None, Endpoint("192.168.1.10", 4000))

    def mtu(self, port, to):
        return self.link

    def fragment(self, port, allowed):
        self.whole = not allowed

    def token(self, size):
        return bytes(size)

    def ask(self, asks, patience=0):
        self.asked += 1
        return [self.one(each) for each in asks]

    def one(self, ask):
        message, size = stun.decode(ask.data), len(ask.data) + 28
        wanted = int.from_bytes(message.attributes.get(stun.ANSWER_SIZE, b""), "big")
        if self.whole and size > self.out:
            return Heard(told=Told(errno.EMSGSIZE, "10.0.0.1", self.out)) if self.tells else Heard()
        if wanted > self.into + 3:
            return self.answer(stun.attribute(stun.PATH_MTU, self.into.to_bytes(4, "big"))) if self.tells else Heard()
        return self.answer()

    def answer(self, *attributes):
        body = b"".join(attributes)
        return Heard(stun.HEADER.pack(stun.SUCCESS, len(body), stun.COOKIE, bytes(12)) + body, SERVER.place)


def measured(link, out, into, tells, ours=True):
    found = path.measure(Line(link, out, into, tells), SERVER, ours)
    return [(each.mtu, each.silent) for each in found]


def test_routers_that_tell():
    assert measured(1500, 1500, 1500, True) == [(1500, False), (1500, False)]
    assert measured(9000, 1492, 1400, True) == [(1492, False), (1400, False)]


@pytest.mark.parametrize("size", [580, 1000, 1280, 1400, 1480, 1492])
def test_black_holes(size):
    """Found to within 4 bytes, in a few rounds."""
    line = Line(1500, size, size, False)
    out, _into = path.measure(line, SERVER, True)
    assert size - 4 < out.mtu <= size
    assert out.silent
    assert line.asked < 12
    assert measured(1500, 1500, size, False)[1][1] is True


def test_a_path_inwards_that_only_fragments_could_have_tested():
    """Larger questions leave in fragments, which some drop: nothing is wrong with what fits."""
    assert measured(1500, 1400, 1400, False)[1] == (1400, False)


def test_servers_that_are_not_ours():
    assert measured(1500, 1492, 1492, True, ours=False) == [(1492, False), (0, False)]
    out, _into = path.measure(Line(1500, 1400, 1400, False), SERVER, False)
    assert (out.mtu, out.silent) == (0, False)
    assert "it may be the server" in out.why


def test_nothing_gets_through():
    out, into = path.measure(Line(1500, 100, 100, False), SERVER, True)
    assert (out.mtu, into.mtu) == (0, 0)


@pytest.mark.parametrize(("fits", "lost"), [(576, 1500), (1280, 1284), (576, 9216), (1400, 1464)])
def test_sizes(fits, lost):
    found = path.sizes(fits, lost)
    assert found[0] == fits
    assert max(found) < lost
    assert len(found) <= path.AT_ONCE + 2
    assert all(each % 4 == fits % 4 for each in found)
