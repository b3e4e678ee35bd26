# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import struct

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._client import dns

ASKED = dns.question("www.example.net", "A")


def answer(code=0, records=1, asked=ASKED, flags=0x8180):
    return struct.pack("!HHHHHH", 7, flags | code, 1, records, 0, 0) + asked


def test_a_question():
    assert dns.query(7, "www.example.net") == b"\0\7\1\0\0\1\0\0\0\0\0\0\3www\7example\3net\0\0\1\0\1"
    assert dns.question("a.", "AAAA") == b"\1a\0\0\x1c\0\1"


@pytest.mark.parametrize("name", ["a..b", "x" * 64, ".".join(["abcdefg"] * 33)])
def test_names_that_there_cannot_be(name):
    with pytest.raises(ValueError):  # noqa: PT011 - the caller has checked the name
        dns.encode_name(name)


def test_answers():
    assert dns.decode(answer(records=2), ASKED) == dns.Answer(7, 2, "")
    assert dns.decode(answer(asked=ASKED.upper()), ASKED).problem == ""
    assert dns.decode(answer(3), ASKED).problem == "the name does not exist (NXDOMAIN)"
    assert dns.decode(answer(5), ASKED).problem == "the server refuses to answer (REFUSED)"
    assert dns.decode(answer(9), ASKED).problem == "error 9"


@pytest.mark.parametrize(
    "data", [b"", b"\0\7", answer(flags=0), answer(asked=dns.question("other.example.net", "A")), b"HTTP/1.0 302 Found"]
)
def test_what_answers_nothing(data):
    assert dns.decode(data, ASKED) is None
