# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which answers of a host are the same, and which remarks are warnings."""

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._base.host import Done
from ansible_collections.ipmasq.linux.plugins.module_utils._change import asked
from ansible_collections.ipmasq.linux.plugins.module_utils._change.asked import is_steady
from ansible_collections.ipmasq.linux.tests.unit import fakes


def test_a_remark_is_a_warning_once():
    """And again once it has not been so for a while. Check mode records nothing."""
    host, told = fakes.FakeHost(), "/run/ipmasq/default.told"

    def tell(*remarks, check_mode=False):
        result = {"notes": ["n"], "warnings": ["w"], "remarks": list(remarks)}
        found = asked.tell(result, "default", fakes.seen(host, check_mode))
        assert "remarks" not in found
        return found["notes"][1:], found["warnings"][1:]

    assert tell("a", check_mode=True) == ([], ["a"])
    assert told not in host.files
    assert tell("a") == ([], ["a"])
    assert tell("a") == (["a"], [])
    assert tell("a", "b") == (["a"], ["b"])
    events = len(host.events)
    assert tell("a", "b") == (["a", "b"], [])
    assert len(host.events) == events
    assert tell() == ([], [])
    assert told not in host.files
    assert tell("b") == ([], ["b"])


@pytest.mark.parametrize("text", ["", "{", "[", "7"])
def test_what_was_told_may_be_damaged(text):
    host = fakes.FakeHost(files={"/run/ipmasq/default.told": text})
    assert asked.tell({"remarks": ["a"]}, "default", host)["warnings"] == ["a"]


@pytest.mark.parametrize(
    "words, one, other",
    [
        (
            ["nft", "-j", "list", "table", "inet", "ipmasq"],
            '[{"counter": {"packets": 1, "bytes": 40}}, {"accept": null}]',
            '[{"counter": {"packets": 20, "bytes": 8000}}, {"accept": null}]',
        ),
        (
            ["iptables-nft-save", "-c"],
            "# Generated on Monday\n:FORWARD DROP [1:40]\n[2:80] -A FORWARD -j X\n",
            "# Generated on Tuesday\n:FORWARD DROP [7:4]\n[12:680] -A FORWARD -j X\n",
        ),
        (
            ["ip", "-j", "-d", "addr", "show"],
            '{"tentative":true,"valid_life_time":86363,"preferred_life_time":14363,"gc_timer":12.88}',
            '{"valid_life_time":86360,"preferred_life_time":14360,"gc_timer":3.01}',
        ),
        (
            ["ip", "-j", "-6", "route", "show", "table", "all", "match", "2000::/4"],
            '[{"dst":"default","dev":"eth4","protocol":"ra","metric":1024,"expires":99}]',
            '[{"dst":"default","dev":"eth4","protocol":"ra","metric":1024,"expires":1798}]',
        ),
    ],
)
def test_what_only_counts_or_runs_down_is_no_difference(words, one, other):
    assert is_steady(words)
    answers = [asked.steady("ask", words, Done(0, text, "")) for text in (one, other)]
    assert answers[0] == answers[1]
    assert answers[0] != asked.steady("ask", words, Done(0, one.replace("4", "5").replace("accept", "drop"), "x"))


def test_what_looks_like_a_counter_in_a_log_prefix_is_a_difference():
    line = '[2:80] -A X -j LOG --log-prefix "[{0}:2] closed: "\n[2:80] -A X -j LOG --log-prefix [{0}:2]\n'
    answers = [asked.steady("ask", ["iptables-nft-save", "-c"], Done(0, line.format(n), "")) for n in (1, 7)]
    assert answers[0] != answers[1]


def test_of_routes_only_the_default_ones_count_and_not_how_often_they_are_used():
    line = "{0} {1} {2} 00 {2} 00000400 0000000{3} 00000000 00450003     wan0\n"
    none = "0" * 32
    one, again, other, more = (
        asked.steady("read", ["/proc/net/ipv6_route"], "".join(line.format(*each, none, n) for each in routes))
        for n, routes in (
            (1, [(none, "00")]),
            (2, [(none, "00"), ("fe80" + none[4:], "40")]),
            (1, [("2" + none[1:], "03")]),
            (1, [(none, "00"), (none, "00")]),
        )
    )
    assert one == again and one not in (other, more)


def test_of_the_memory_only_its_size_counts():
    answers = [
        asked.steady("read", ["/proc/meminfo"], "MemTotal: {0} kB\nMemFree: {1} kB\n".format(*each))
        for each in ((8, 1), (8, 2), (9, 2))
    ]
    assert answers[0] == answers[1]
    assert answers[1] != answers[2]
