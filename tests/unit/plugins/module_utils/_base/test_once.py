# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Answers that are found once for each value."""

from __future__ import annotations

import gc
from dataclasses import dataclass

from ansible_collections.ipmasq.linux.plugins.module_utils._base.once import once


@dataclass(frozen=True)
class Value:
    number: int


def test_each_value_is_asked_once():
    asked = []

    @once
    def half(value):
        asked.append(value.number)
        return value.number / 2

    one, equal = Value(8), Value(8)
    assert [half(one), half(one), half(equal)] == [4, 4, 4]
    assert asked == [8, 8]


def test_what_is_gone_is_forgotten():
    """Otherwise another value at the same place would get its answer."""

    @once
    def number(value):
        return value.number

    for expected in range(1000):
        assert number(Value(expected)) == expected
    gc.collect()
    (known,) = [cell.cell_contents for cell in number.__closure__ if isinstance(cell.cell_contents, dict)]
    assert known == {}
