# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Live rows against desired ones: order, duplicates, and the rows of one item."""

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._rules.rows import Plan, Row, by_chain, replace_key


def show(row):
    return "{0}: {1}".format(row.chain, row.text)


A, B, C = Row("f", "a", "k/a"), Row("f", "b", "k/b"), Row("g", "c", "k/c")

#: live, desired, changed, lines
TEST_PLAN = [
    ((), (), False, []),
    ((A, B, C), (A, B, C), False, []),
    ((C, A, B), (A, B, C), False, []),  # chains have no order
    ((B, A, C), (A, B, C), True, ["~ the order of rules"]),
    ((A,), (A, B), True, ["+ f: b"]),
    ((A, B), (A,), True, ["- f: b"]),
    ((A, A, A), (A,), True, ["- f: a", "- f: a"]),
    ((A,), (A, A), True, ["+ f: a"]),
    ((), (A, C), True, ["+ f: a", "+ g: c"]),
    ((A, C), (), True, ["- f: a", "- g: c"]),
    ((Row("f", "a", ""),), (A,), True, ["- f: a", "+ f: a"]),  # the same text without our comment is not ours
]


@pytest.mark.parametrize(("live", "desired", "changed", "lines"), TEST_PLAN)
def test_plan(live, desired, changed, lines):
    plan = Plan(live, desired)
    assert (plan.changed, plan.differences(show)) == (changed, lines)


def test_of_many_differences_a_part_is_told():
    lines = Plan((A,), tuple(Row("f", str(number)) for number in range(250))).differences(show)
    assert len(lines) == 201
    assert lines[0] == "- f: a"
    assert lines[-1] == "~ 51 more rules"


def test_of_a_long_difference_the_beginning_is_told():
    (line,) = Plan((), (Row("f", "1234567890" * 1000),)).differences(show)
    assert line.startswith("+ ") and line[:500] == ("+ " + show(Row("f", "1234567890" * 1000)))[:500]
    assert len(line) < 540 and line.endswith(" more characters")


def test_counters_and_positions_are_no_difference():
    counted = Row("f", "a", "k/a", packets=7, bytes=700, position=3)
    assert not Plan((counted,), (A,)).changed
    assert by_chain((counted, C))["f"][0].packets == 7


#: live, rows of the item k/a, wanted
NEW1, NEW2, NEW3 = Row("f", "n1", "k/a"), Row("f", "n2", "k/a"), Row("g", "n3", "k/a")
TEST_REPLACE = [
    ((), (NEW1, NEW3), (NEW1, NEW3)),
    ((A, B, C), (NEW1,), (NEW1, B, C)),
    ((B, C), (NEW1,), (B, C, NEW1)),
    ((B, A, C), (NEW1, NEW2, NEW3), (B, NEW1, NEW2, C, NEW3)),
    ((A, B, A, C, A), (), (B, C)),  # duplicates all go
    ((A, B, A), (NEW1,), (NEW1, B)),
    ((A, B), (A, Row("f", "x", "k/other")), (A, B)),  # rows of others are not taken over
]


@pytest.mark.parametrize(("live", "mine", "wanted"), TEST_REPLACE)
def test_replace_key(live, mine, wanted):
    assert replace_key(live, "k/a", mine) == wanted
