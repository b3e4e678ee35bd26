# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What starts the collector; tests/integration/test_metrics.py shows that it writes."""

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._init import service
from ansible_collections.ipmasq.linux.plugins.module_utils._init.metering import (
    EVERY,
    PATHS,
    TIMER_TEXT,
    UNIT_TEXT,
    metering,
)


@pytest.mark.parametrize("init", [service._SYSTEMD, service._OPENRC, service._SYSV, None])
def test_every_file_has_its_place(init):
    by = metering(init)
    assert set(by.files) <= set(PATHS)
    assert bool(by.files) == (init is None or init.name == "systemd")
    for line in (by.start, by.started, by.stop, by.boot, by.status):
        assert "office" in line.format("office") and "{" not in line.format("office").replace("{ [", "").replace(
            "{ systemctl", ""
        )


def test_a_run_ends_before_the_next_one():
    assert "OnUnitActiveSec={0}\n".format(EVERY) in TIMER_TEXT
    (longest,) = [int(line[16:]) for line in UNIT_TEXT.splitlines() if line.startswith("TimeoutStartSec=")]
    assert longest < EVERY
