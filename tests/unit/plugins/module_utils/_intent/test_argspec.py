# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""No option is declared twice."""

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._intent import argspec


def test_merge():
    merged = argspec.merge(argspec.INSTANCE, argspec.STATE)
    assert list(merged) == ["instance", "state"]
    assert list(argspec.INSTANCE) == ["instance"], "the parts stay as they are"
    with pytest.raises(ValueError, match="declared twice: state"):
        argspec.merge(merged, argspec.STATE)
