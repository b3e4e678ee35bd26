# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Make the collection importable if it is not already (``make`` sets PYTHONPATH; a bare ``pytest`` does not)."""

from __future__ import annotations

import importlib.util
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
COLLECTIONS = os.path.join(os.path.dirname(os.path.dirname(HERE)), ".cache", "collections")


def _importable() -> bool:
    try:
        return importlib.util.find_spec("ansible_collections.ipmasq.linux") is not None
    except ImportError:
        return False


if not _importable():
    sys.path.insert(0, COLLECTIONS)
    sys.modules.pop("ansible_collections", None)
    importlib.invalidate_caches()
