# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the tests of all stages share."""

from __future__ import annotations

import gc


def pytest_collection_finish() -> None:
    """Look for garbage rarely: modules and tests stay until the end, and to walk through all of them again and again
    took a fifth of the processor time of the unit tests."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)
