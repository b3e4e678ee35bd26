# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Matches without wildcards in sets, and the comment of a rule."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._rules.model import Match, altered, owner, split_wildcards

TEST_SPLIT = [
    ((), (), [((), ())]),
    (("b", "a"), (), [(("a", "b"), ())]),
    (("a", "a"), (), [(("a",), ())]),
    (("p*",), (), [(("p*",), ())]),
    (("q*", "b", "p*", "a"), (), [(("a", "b"), ()), (("p*",), ()), (("q*",), ())]),
    (
        ("a", "p*"),
        ("b", "q*"),
        [(("a",), ("b",)), (("a",), ("q*",)), (("p*",), ("b",)), (("p*",), ("q*",))],
    ),
]


@pytest.mark.parametrize(("iif", "oif", "wanted"), TEST_SPLIT)
def test_split_wildcards(iif, oif, wanted):
    match = Match("ip", iif, oif, source=("10.0.0.0/8",), ct_state=("new",))
    split = split_wildcards(match)
    assert [(each.iif, each.oif) for each in split] == wanted
    assert {(each.family, each.source, each.ct_state) for each in split} == {("ip", ("10.0.0.0/8",), ("new",))}


def test_owner():
    assert owner("lab", "nat/default") == "ipmasq:lab/nat/default"


def test_a_copy_is_what_dataclasses_make_and_has_no_part_that_a_match_lacks():
    match = Match("ip", iif=("lan0",), port=((80, 80),))
    made = altered(match, iif=(), source=("10.0.0.0/8",))
    assert made == replace(match, iif=(), source=("10.0.0.0/8",)) and hash(made) != hash(match)
    assert match == Match("ip", iif=("lan0",), port=((80, 80),))
    with pytest.raises(TypeError, match="sources"):
        altered(match, sources=())
