# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Parts of a state: what is empty is not held."""

from __future__ import annotations

from ansible_collections.ipmasq.linux.plugins.module_utils._change.state import State
from ansible_collections.ipmasq.linux.plugins.module_utils._parts.part import Kind, parts_of

ONE, TWO = Kind("one", ()), Kind("two", "")


def test_what_is_empty_is_not_held():
    state = State("default", "items", parts_of((ONE, ("a",)), (TWO, "")))
    assert state.parts == {"one": ("a",)}
    assert (ONE.of(state), TWO.of(state), ONE.of(None)) == (("a",), "", ())
    assert state.holding(TWO, "b").parts == {"one": ("a",), "two": "b"}
    assert state.holding(ONE, ()).parts == {}
