# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Encode a question to a DNS server and decode the answer (RFC 1035)."""

from __future__ import annotations

import struct
import typing as t

HEADER = struct.Struct("!HHHHHH")
RECURSION, RESPONSE = 0x0100, 0x8000
TYPES = {"A": 1, "AAAA": 28}
INTERNET = 1
#: What a server says instead of an answer.
CODES = {
    1: "the server did not understand the question (FORMERR)",
    2: "the server could not find it out (SERVFAIL)",
    3: "the name does not exist (NXDOMAIN)",
    4: "the server does not answer such questions (NOTIMP)",
    5: "the server refuses to answer (REFUSED)",
}


class Answer(t.NamedTuple):
    """``problem`` is empty if the server knows the name."""

    number: int
    records: int
    problem: str


def encode_name(name: str) -> bytes:
    """Raises ValueError for a name that DNS cannot have."""
    parts = [part.encode("idna") for part in name.rstrip(".").split(".")]
    if not all(0 < len(part) < 64 for part in parts) or sum(len(part) + 1 for part in parts) > 254:
        raise ValueError(name)
    return b"".join(bytes([len(part)]) + part for part in parts) + b"\0"


def query(number: int, name: str, kind: str = "A") -> bytes:
    return HEADER.pack(number, RECURSION, 1, 0, 0, 0) + question(name, kind)


def question(name: str, kind: str) -> bytes:
    return encode_name(name) + struct.pack("!HH", TYPES[kind], INTERNET)


def decode(data: bytes, asked: bytes) -> t.Optional[Answer]:
    """The answer to this question; None if the data is anything else."""
    if len(data) < HEADER.size:
        return None
    number, flags, questions, records, _authorities, _more = HEADER.unpack_from(data)
    body = data[HEADER.size :]
    if not flags & RESPONSE or (questions and body[: len(asked)].lower() != asked.lower()):
        return None
    code = flags & 15
    return Answer(number, records, CODES.get(code, "error {0}".format(code)) if code else "")
