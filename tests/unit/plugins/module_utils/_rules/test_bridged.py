# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Frames between ports of one bridge are not filtered like what is routed."""

from __future__ import annotations

from ansible_collections.ipmasq.linux.plugins.module_utils._resolve.resolved import (
    Around,
    Resolved,
    ResolvedLan,
    ResolvedWan,
)
from ansible_collections.ipmasq.linux.plugins.module_utils._rules.bridged import bridged


def test_lans_accept_and_wans_leave_it_to_others():
    lans, wans = (ResolvedLan("office", ("br-*",)),), (ResolvedWan("br0"),)
    found = bridged(Resolved(lans=lans, wans=wans, around=Around(bridges=("br-lan", "br0"))))
    assert [(rule.match.iif, rule.match.oif, rule.action.kind) for rule in found] == [
        (("br-lan",), ("br-lan",), "accept"),
        (("br0",), ("br0",), "return"),
    ]
    assert bridged(Resolved(lans=lans, wans=wans)) == []
