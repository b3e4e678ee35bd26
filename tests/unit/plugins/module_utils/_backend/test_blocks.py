# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Blocks of ports that share a chain, and the rules that they can hold."""

from __future__ import annotations

from hypothesis import given, strategies as st

from ansible_collections.ipmasq.linux.plugins.module_utils._backend.blocks import (
    LAST_PORT,
    MANY_PORTS,
    block_of,
    blocks,
    catch_alls,
    is_forward,
)
from ansible_collections.ipmasq.linux.plugins.module_utils._rules.model import Action, Match, Rule
from ansible_collections.ipmasq.linux.tests.unit import strategies

ALL = (1, LAST_PORT)
RANGES = st.builds(
    lambda first, more: (first, min(first + more, LAST_PORT)), st.integers(1, LAST_PORT), st.integers(0, 300)
)


def forward(*ports, protocol="tcp", key="port_forward/x"):
    return Rule("dstnat", Match("ip", protocol=protocol, port=ports), Action("accept"), key)


@strategies.drawn(60)
@given(st.lists(RANGES, min_size=1, max_size=30), st.sampled_from([8, 16, 256]))
def test_each_range_is_in_exactly_one_block(ranges, size):
    known = blocks(ranges, size)
    assert known == sorted(known)
    assert all(one[1] < other[0] for one, other in zip(known, known[1:]))
    for first, last in ranges:
        block = block_of((first, last), known)
        assert block[0] <= first and last <= block[1]


def test_a_rule_is_a_port_forward_by_its_item_and_its_ports():
    assert is_forward(forward((80, 80)))
    assert not is_forward(forward())
    assert not is_forward(forward((80, 80), key="nat/x"))


def test_a_range_of_too_many_ports_stays_behind_the_others():
    few, many, other = forward((80, 80)), forward(ALL), forward((1, MANY_PORTS + 1), protocol="udp")
    assert catch_alls([few, many, other]) == {1, 2}
    # In front of another one, it decides first and must not move.
    assert catch_alls([many, few]) == set()
