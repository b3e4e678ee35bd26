# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Against the test vectors of RFC 5769, and data that is not STUN at all."""

from __future__ import annotations

import struct

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._client import stun
from ansible_collections.ipmasq.linux.plugins.module_utils._client.stun import Endpoint

TRANSACTION = bytes.fromhex("b7e7a701bc34d686fa87dfae")
#: RFC 5769 sections 2.2 and 2.3: responses with SOFTWARE and XOR-MAPPED-ADDRESS, without integrity and fingerprint.
SOFTWARE = "8022000b7465737420766563746f7220"
IPV4 = "0101001c2112a442b7e7a701bc34d686fa87dfae" + SOFTWARE + "002000080001a147e112a643"
IPV6 = "010100282112a442b7e7a701bc34d686fa87dfae" + SOFTWARE + "002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d9"


@pytest.mark.parametrize(
    ("text", "mapped"),
    [(IPV4, Endpoint("192.0.2.1", 32853)), (IPV6, Endpoint("2001:db8:1234:5678:11:2233:4455:6677", 32853))],
)
def test_vectors(text, mapped):
    message = stun.decode(bytes.fromhex(text))
    assert (message.kind, message.transaction) == (stun.SUCCESS, TRANSACTION)
    assert (message.mapped, message.software, message.error) == (mapped, "test vector", "")


def answer(*attributes, kind=stun.SUCCESS):
    body = b"".join(attributes)
    return stun.HEADER.pack(kind, len(body), stun.COOKIE, TRANSACTION) + body


PLAIN = b"\0\1\x0d\x96\xcb\0\x71\1"


def test_addresses_that_are_not_hidden():
    """A server of RFC 3489 sends MAPPED-ADDRESS alone; where there are both, the hidden one counts."""
    old = stun.attribute(stun.MAPPED_ADDRESS, PLAIN)
    assert stun.decode(answer(old)).mapped == Endpoint("203.0.113.1", 3478)
    hidden = bytes.fromhex("002000080001a147e112a643")
    assert stun.decode(answer(old, hidden)).mapped == Endpoint("192.0.2.1", 32853)
    both = (stun.attribute(stun.OTHER_ADDRESS, PLAIN), stun.attribute(stun.RESPONSE_ORIGIN, PLAIN))
    message = stun.decode(answer(*both))
    assert message.other == message.origin == Endpoint("203.0.113.1", 3478)
    assert message.mapped is None


def test_errors_and_what_our_reflector_says():
    message = stun.decode(answer(stun.attribute(stun.ERROR_CODE, b"\0\0\4\x14Unknown"), kind=stun.ERROR))
    assert message.error == "420 Unknown"
    assert stun.decode(answer(kind=stun.ERROR)).error == "no code"
    ours = stun.decode(
        answer(
            stun.attribute(stun.SOFTWARE, b"ipmasq.linux reflector"),
            stun.attribute(stun.PATH_MTU, struct.pack("!I", 1400)),
        )
    )
    assert (ours.is_ours, ours.path_mtu) == (True, 1400)
    assert (stun.decode(bytes.fromhex(IPV4)).is_ours, stun.decode(bytes.fromhex(IPV4)).path_mtu) == (False, 0)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"HTTP/1.0 302 Found\r\n\r\n",
        bytes(20),
        bytes.fromhex(IPV4)[:-1],
        bytes.fromhex(IPV4)[:-4],
        b"\xc1" + bytes.fromhex(IPV4)[1:],
        answer(struct.pack("!HH", 0x0020, 8)),
        answer(struct.pack("!HH", 0x8022, 65535) + bytes(8)),
    ],
)
def test_what_is_no_stun(data):
    assert stun.decode(data) is None


@pytest.mark.parametrize("value", [b"", b"\0\1\0\0", b"\0\3\0\0\1\2\3\4", b"\0\2\0\0\1\2\3\4", bytes(30)])
def test_an_address_that_is_none(value):
    assert stun.decode(answer(stun.attribute(stun.XOR_MAPPED_ADDRESS, value))).mapped is None


def test_questions():
    data = stun.request(TRANSACTION, stun.change(True, False), stun.response_port(4000), stun.answer_size(1500))
    message = stun.decode(data)
    assert message.attributes == {3: b"\0\0\0\4", 0x27: b"\x0f\xa0\0\0", stun.ANSWER_SIZE: b"\0\0\5\xdc"}
    assert stun.decode(stun.request(TRANSACTION, stun.change(True, True))).attributes == {3: b"\0\0\0\6"}


@pytest.mark.parametrize(("mtu", "version", "size"), [(1500, 4, 1472), (1500, 6, 1452), (1499, 4, 1468), (576, 4, 548)])
def test_filled_questions_have_the_size_of_a_packet(mtu, version, size):
    data = stun.filled(TRANSACTION, stun.payload(mtu, version), stun.answer_size(mtu))
    assert len(data) == size
    assert stun.decode(data) is not None
    assert stun.decode(stun.filled(TRANSACTION, 20)).attributes == {}


def test_a_stream_brings_it_in_pieces():
    data = bytes.fromhex(IPV4)
    assert [size for size in range(len(data) + 1) if stun.whole(data[:size])] == [len(data)]


def test_words():
    assert (str(Endpoint("192.0.2.1", 80)), str(Endpoint("2001:db8::1", 80))) == ("192.0.2.1:80", "[2001:db8::1]:80")
