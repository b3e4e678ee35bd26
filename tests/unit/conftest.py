# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Make the collection importable if it is not already (``make`` sets PYTHONPATH; a bare ``pytest`` does not), and run
only some parameters of each test on Pythons other than the main one."""

from __future__ import annotations

import importlib.util
import os
import sys
import typing as t

#: Of the parameters of a test, other Pythons than the main one try every fourth, each Python others.
STEP = 4
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


def pytest_collection_modifyitems(config: t.Any, items: t.List[t.Any]) -> None:
    """What differs between Pythons differs for the test, not for its twentieth parameter (see tools/unit_matrix.py)."""
    if int(os.environ.get("IPMASQ_EXAMPLES", "100")) >= 100:
        return
    tests: t.Dict[str, t.List[t.Any]] = {}
    for item in items:
        tests.setdefault(item.nodeid.split("[")[0], []).append(item)
    kept = {item for alike in tests.values() for item in alike[sys.version_info[1] % min(STEP, len(alike)) :: STEP]}
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = [item for item in items if item in kept]
