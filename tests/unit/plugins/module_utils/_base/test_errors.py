# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""All problems of a call together."""

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import (
    LONGEST,
    GatewayError,
    MissingProgram,
    Problems,
)


def test_problems_are_raised_together_in_order():
    problems = Problems()
    problems.raise_if_any()
    problems.add("b", "first")
    problems.add("a", "second")
    with pytest.raises(GatewayError) as caught:
        problems.raise_if_any()
    assert caught.value.problems == ("b: first", "a: second")
    assert str(caught.value) == "b: first\na: second"


def test_a_problem_has_an_end():
    problems = Problems()
    problems.add("lans", "x" * (LONGEST - len("lans: ")))
    problems.add("lans", "x" * 10000)
    assert [len(problem) for problem in problems.found] == [LONGEST, LONGEST]
    assert problems.found[0].endswith("x") and problems.found[1].endswith("…")


def test_missing_program():
    error = MissingProgram("nft", "nft is not installed")
    assert (error.program, error.problems) == ("nft", ("nft is not installed",))
