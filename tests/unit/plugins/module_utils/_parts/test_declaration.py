# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What was declared goes through the state file as it is."""

from __future__ import annotations

import json

from ansible_collections.ipmasq.linux.plugins.module_utils._base import codec
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.neighbour import Neighbour
from ansible_collections.ipmasq.linux.plugins.module_utils._parts.declaration import Declaration
from ansible_collections.ipmasq.linux.plugins.module_utils._resolve.choice import Chosen


def test_there_and_back():
    told = Declaration(
        ("wan wan0",),
        ("wan0", "lan*"),
        Neighbour("default", (("office", ("lan0", "lan1")),), ("wan0",)),
        ("eth9",),
        Chosen(("wan0",), (), (("office", ("192.168.1.0/24",)),)),
        (22, 2222),
        {"": "Gateway", "lans": [1]},
    )
    assert codec.shaped(Declaration, json.loads(json.dumps(codec.plain(told)))) == told
    assert codec.shaped(Declaration, {}) == Declaration()
