# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Conntrack helpers."""

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import Problems
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.helper import (
    HelperItem,
    describe_helper,
    read_helper,
)


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        (
            {"name": "ftp", "port": [0]},
            "helpers[0] 'ftp': port 0 is not in the port range 1-65535",
        ),
    ],
)
def test_problem(raw, problem):
    problems = Problems()
    read_helper(0, raw, problems)
    assert problems.found == [problem]


def test_ports_are_sorted_and_named_once():
    assert read_helper(0, {"name": "ftp", "port": [2121, 21, 21]}, Problems()) == HelperItem("ftp", (21, 2121))


def test_words():
    assert describe_helper(HelperItem("ftp")) == "on its own ports"
    assert describe_helper(HelperItem("ftp", (21, 2121))) == "on 21 2121"
