# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The state file as it was before its format had parts."""

from __future__ import annotations

import typing as t
from dataclasses import replace

from ansible_collections.ipmasq.linux.plugins.module_utils._change.state import KINDS, to_raw
from ansible_collections.ipmasq.linux.plugins.module_utils._parts.door import DOOR

if t.TYPE_CHECKING:
    from ansible_collections.ipmasq.linux.plugins.module_utils._change.state import State


def as_version_1(state: State) -> t.Dict[str, t.Any]:
    """What that version would have written."""
    for kind in KINDS:
        state = replace(state, parts={kind.name: kind.empty, **state.parts})
    raw = to_raw(state)
    parts = raw["parts"]
    declared, door = parts["declaration"], DOOR.of(state)
    roles = declared.pop("roles")
    del declared["ways_out"]  # came later
    return {
        "version": 1,
        **{name: raw[name] for name in ("instance", "owner", "applied")},
        **declared,
        "declared": {"lans": dict(roles["lans"]), "wans": roles["wans"]},
        "modules": parts["modules"]["names"],
        **parts["rules"],
        "links": {
            "addresses": parts["addresses"]["needed"],
            "found": parts["addresses"]["found"],
            "offload": parts["flowtable"]["devices"],
        },
        "door": next(iter(door.texts(state.instance).values()), ""),
        "fence": parts["fence"]["text"],
        "unfenced": parts["fence"]["unfenced"],
        "switches": parts["switches"]["values"],
        "before": parts["switches"]["before"],
    }
