# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Answers that are found once for each frozen value."""

from __future__ import annotations

import functools
import typing as t
import weakref

Value = t.TypeVar("Value")
Answer = t.TypeVar("Answer")


def once(function: t.Callable[[Value], Answer]) -> t.Callable[[Value], Answer]:
    """Remember a function's answer for as long as its argument lives.

    By identity, because the hash of a gateway reads each of its 10,000 items.
    """
    known: t.Dict[int, t.Tuple[t.Any, Answer]] = {}

    @functools.wraps(function)
    def asked(value: Value) -> Answer:
        place = id(value)
        if place not in known:
            known[place] = (weakref.ref(value, lambda _gone: known.pop(place, None)), function(value))
        return known[place][1]

    return asked
