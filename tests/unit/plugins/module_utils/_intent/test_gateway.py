# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A gateway as it was declared."""

from __future__ import annotations

from ansible_collections.ipmasq.linux.plugins.module_utils._intent.gateway import Gateway
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.nat import NatItem
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.sides import Lan, Wan


def test_invalid_items_are_not_sound():
    gateway = Gateway(nat=(NatItem("a"), NatItem("b")), unsound=frozenset(["nat[0]", "outbound[1]"]))
    assert gateway.sound("nat") == [(1, NatItem("b"))]


def test_what_is_left_out_is_not_named():
    assert (Gateway().named_wans, Gateway().named_lans) == ((), ())
    gateway = Gateway(wans=(Wan("wan0"),), lans=(Lan("a", ("lan0",)),))
    assert (gateway.named_wans, gateway.named_lans) == (gateway.wans, gateway.lans)
    assert (Lan("a", ("lan0",)).named_networks, Lan("a", ("lan0",), ("10.0.0.0/8",)).named_networks) == (
        (),
        ("10.0.0.0/8",),
    )
