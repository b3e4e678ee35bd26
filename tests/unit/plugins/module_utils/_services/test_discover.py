# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is asked, and what counts as an answer."""

from __future__ import annotations

import struct

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._services import dhcp, discover
from ansible_collections.ipmasq.linux.tests.unit import fakes

MAC = b"\x52\x54\0\x12\x34\x56"


def answer(kind=2, number=discover.NUMBER, server=b"\xc0\xa8\x01\xfe", ports=(67, 68), operation=2):
    """What a server at 192.168.1.254 sends."""
    frame = discover.message(MAC, 1, "192.168.1.254")
    body = bytearray(frame[42:])
    body[0], body[4:8] = operation, struct.pack("!I", number)
    options = bytes([0, 53, 1, kind]) + (bytes([54, len(server)]) + server if server else b"") + b"\xff"
    return frame[:34] + struct.pack("!HH", *ports) + frame[38:42] + bytes(body[:240]) + options


def test_a_message_is_a_whole_frame():
    frame = discover.message(MAC, dhcp.INFORM, "192.168.1.1")
    assert frame[:14] == b"\xff" * 6 + MAC + b"\x08\0"
    assert frame[26:34] == b"\xc0\xa8\x01\x01\xff\xff\xff\xff" and len(frame) >= 342
    words = struct.unpack("!10H", frame[14:34])
    total = sum(words)
    assert (total & 0xFFFF) + (total >> 16) == 0xFFFF
    assert not discover.answered(frame)


@pytest.mark.parametrize(
    ("given", "server"),
    [
        ({}, "192.168.1.254"), ({"kind": 5}, "192.168.1.254"), ({"server": b""}, "192.168.1.254"),
        ({"server": b"\x0a\0\0\x05"}, "10.0.0.5"), ({"kind": 6}, ""), ({"number": 7}, ""), ({"ports": (67, 67)}, ""),
        ({"operation": 1}, ""),
    ],
)  # fmt: skip
def test_what_is_an_answer(given, server):
    assert discover.answered(answer(**given)) == server


def test_what_is_cut_off_is_none():
    whole = answer()
    for size in range(200):
        assert discover.answered(whole[:size]) == ""


#: In place of a frame.
DOWN = b"down"


class Frames:
    mac = MAC

    def __init__(self, *frames):
        self.frames, self.sent, self.closed = list(frames), [], False

    def send(self, frame):
        self.sent.append(frame)

    def heard(self, _seconds):
        found = self.frames.pop(0) if self.frames else b""
        if found == DOWN:
            raise OSError("the link is down")
        return found

    def close(self):
        self.closed = True


def test_a_server_is_named_by_link_and_the_gateway_is_none():
    made = {"lan0": Frames(b"x", answer(), answer(), DOWN), "lan1": Frames(answer(server=b"\xc0\xa8\x02\x01"))}
    host = fakes.FakeHost()
    times = iter(range(100))
    host.clock = lambda: float(next(times)) / 2
    host.frames = lambda link: made[link] if link in made else fakes.FakeHost.frames(host, link)
    links = {"lan0": ["192.168.1.1", "fd00::1"], "lan1": ["192.168.2.1"], "lan9": []}
    assert discover.servers(links, host) == {"lan0": ["192.168.1.254"]}
    assert all(each.closed for each in made.values()) and len(made["lan0"].sent) == 2
