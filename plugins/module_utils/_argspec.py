# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Each option declared once. The documentation says the same in plugins/doc_fragments; a test compares them."""

from __future__ import annotations

import typing as t

from ._intent import IPV6_MODES, NAT_ACTIONS
from ._rules import CT_STATES

Spec = t.Dict[str, t.Dict[str, t.Any]]

INSTANCE: Spec = {"instance": {"type": "str", "default": "default"}}
BACKEND: Spec = {"backend": {"type": "str", "default": "auto", "choices": ["auto", "nftables", "iptables"]}}
STATE: Spec = {"state": {"type": "str", "default": "present", "choices": ["present", "absent"]}}
NAMES: Spec = {"type": "list", "elements": "str"}  # type: ignore[dict-item]

GATEWAY: Spec = {
    "wans": {"type": "list", "elements": "dict", "options": {"interface": {"type": "str", "required": True}}},
    "lans": {
        "type": "list",
        "elements": "dict",
        "options": {
            "name": {"type": "str", "required": True},
            "interfaces": {"type": "list", "elements": "str", "required": True},
            "networks": NAMES,
            "reaches": {"type": "list", "elements": "str", "default": []},
        },
    },
    "nat": {
        "type": "list",
        "elements": "dict",
        "options": {
            "name": {"type": "str", "required": True},
            "action": {"type": "str", "default": "masquerade", "choices": list(NAT_ACTIONS)},
            "source": NAMES,
            "destination": NAMES,
            "wan": {"type": "str"},
        },
    },
    "ipv6": {"type": "str", "default": "route", "choices": list(IPV6_MODES)},
    "clamp_mss": {"type": "bool", "default": True},
}
MASQUERADE: Spec = {
    "name": {"type": "str", "required": True},
    "source": NAMES,
    "destination": NAMES,
    "out_interface": {"type": "str"},
}
FORWARD: Spec = {
    "name": {"type": "str", "required": True},
    "action": {"type": "str", "default": "accept", "choices": ["accept", "drop", "reject"]},
    "source": NAMES,
    "destination": NAMES,
    "in_interface": {"type": "str"},
    "out_interface": {"type": "str"},
    "ct_state": {"type": "list", "elements": "str", "choices": list(CT_STATES)},
}
FORWARDING: Spec = {
    "ipv4": {"type": "bool"},
    "ipv6": {"type": "bool"},
    "interfaces": NAMES,
}


def merge(*specs: Spec) -> Spec:
    """One argument spec of several; no option may be declared twice."""
    merged: Spec = {}
    for spec in specs:
        doubled = set(merged) & set(spec)
        if doubled:
            raise ValueError("declared twice: {0}".format(", ".join(sorted(doubled))))
        merged.update(spec)
    return merged
