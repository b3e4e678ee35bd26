# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Lists in words."""

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._intent.wording import is_cut, listed


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ([], "nothing"),
        (["a", "b"], "a b"),
        ([str(number) for number in range(20)], " ".join(str(number) for number in range(20))),
        ([str(number) for number in range(25)], " ".join(str(number) for number in range(20)) + " and 5 more"),
    ],
)
def test_lists(values, wanted):
    assert listed(values) == wanted


def test_an_empty_list_has_a_word_of_its_own():
    assert listed([], "anybody") == "anybody"


def test_two_items_may_share_a_line_that_is_cut():
    assert is_cut("lan a: 10.0.0.0/24 and 5 more on lan0")
    assert not is_cut("nat more: static 10.0.0.1/32 on wan0 as 203.0.113.9/32 and back")
