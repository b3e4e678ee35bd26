# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._proof.model import (
    BROKEN,
    HOLDS,
    UNMEASURABLE,
    Come,
    Report,
    Result,
)
from ansible_collections.ipmasq.linux.plugins.module_utils._proof.packets import Packet

SYN = Packet("192.0.2.9", "192.0.2.1", "tcp", 5, 443, mss=1400)


@pytest.mark.parametrize(
    ("come", "fits"),
    [
        (Come(("wan0",)), True),
        (Come(("wan1",)), False),
        (Come(("wan0",), ("192.0.2.9",), ("192.0.2.0/24",), 443), True),
        (Come(("wan0",), ("192.0.2.8",)), False),
        (Come(("wan0",), ("fd00::/8", "192.0.2.8/31")), True),
        (Come(("wan0",), (), ("192.0.2.2",)), False),
        (Come(("wan0",), dport=80), False),
        (Come(("wan0",), mss=1400), True),
        (Come(("wan0",), mss=1399), False),
        (Come(("wan0",), mss=-1400), True),
        (Come(("wan0",), mss=-1460), False),
    ],
)
def test_what_fits(come, fits):
    assert come.fits("wan0", SYN) is fits


def test_a_report_counts_and_is_plain_data():
    results = tuple(Result("reach", word, ("nat/x",), word) for word in (HOLDS, BROKEN, BROKEN, UNMEASURABLE))
    report = Report(results, 0.5)
    assert report.counts == {"holds": 1, "broken": 2, "unmeasurable": 1}
    assert len(report.broken) == 2
    assert report.to_json()["results"][0] == {
        "kind": "reach", "name": "holds", "items": ["nat/x"], "outcome": "holds", "reason": "", "sent": [], "seen": [],
        "by": "", "cause": "",
    }  # fmt: skip
