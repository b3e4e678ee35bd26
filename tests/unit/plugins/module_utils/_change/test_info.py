# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is live: counters by item. The rest is shown on a whole host in test_engine."""

from __future__ import annotations

from ansible_collections.ipmasq.linux.plugins.module_utils._change.info import _counters
from ansible_collections.ipmasq.linux.plugins.module_utils._rules.rows import Row


def test_items_are_summed_and_sorted():
    rows = (
        Row("f", "1", "nat/b", 1, 10),
        Row("f", "2", "nat/a", 5, 50),
        Row("g", "3", "nat/b", 2, 20),
        Row("f", "chain", "chain", 9, 90),
        Row("f", "jump", "jump", 9, 90),
        Row("f", "foreign", "", 9, 90),
    )
    assert _counters(rows) == [
        {"name": "nat/a", "rules": 1, "packets": 5, "bytes": 50},
        {"name": "nat/b", "rules": 2, "packets": 3, "bytes": 30},
    ]
