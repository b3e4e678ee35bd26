# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Connection timers, of the host and of an item."""

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import Problems
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.timers import (
    DEFAULT_TIMEOUTS,
    describe_timeouts,
    read_item_timeouts,
    read_timeouts,
)


def read(function, *arguments):
    problems = Problems()
    return function("timeouts", *arguments, problems), problems.found


def test_what_is_left_out_keeps_its_default():
    found, problems = read(read_timeouts, DEFAULT_TIMEOUTS, {"udp": 30, "icmp": None})
    assert dict(found) == dict(DEFAULT_TIMEOUTS, udp=30)
    assert problems == []


def test_0_leaves_the_value_of_the_kernel():
    assert read(read_timeouts, DEFAULT_TIMEOUTS, {"udp": 0})[0] == tuple(
        timer for timer in DEFAULT_TIMEOUTS if timer[0] != "udp"
    )


@pytest.mark.parametrize("seconds", [-1, 31536001])
def test_no_number_of_seconds(seconds):
    assert read(read_timeouts, (), {"udp": seconds})[1] == [
        "timeouts.udp: {0} is not a number of seconds from 1 to 31536000".format(seconds)
    ]


def test_a_timer_of_an_item_is_for_its_protocol():
    assert read(read_item_timeouts, {"udp": 9}, ("udp",)) == ((("udp", 9),), [])
    assert read(read_item_timeouts, {"udp": 9}, ("tcp",))[1] == [
        "timeouts: timeouts.udp does not apply to protocol tcp"
    ]


def test_words():
    assert describe_timeouts((("icmp", 60), ("udp", 300))) == "icmp 60 s udp 300 s"
