# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Multicast from WANs to LANs."""

from __future__ import annotations

from ansible_collections.ipmasq.linux.plugins.module_utils._intent.read import gateway_from_params
from ansible_collections.ipmasq.linux.plugins.module_utils._resolve.resolved import (
    ResolvedLan,
    ResolvedWan,
    resolved_from,
)
from ansible_collections.ipmasq.linux.plugins.module_utils._rules.multicast import multicast
from ansible_collections.ipmasq.linux.tests.unit.params import gateway_params


def rules(**item):
    declared = gateway_from_params(gateway_params(multicast=[{"name": "tv", "group": ["239.1.0.0/16"], **item}]))
    lans = (ResolvedLan("office", ("lan0",)), ResolvedLan("guests", ("guest0",)))
    found = resolved_from(declared, wans=(ResolvedWan("wan0"), ResolvedWan("wan1")), lans=lans)
    return [(rule.match.iif, rule.match.oif, rule.match.destination) for rule in multicast(found)]


def test_from_all_wans_to_all_lans_unless_the_item_names_some():
    groups = ("239.1.0.0/16",)
    assert rules() == [(("wan0", "wan1"), ("lan0", "guest0"), groups)]
    assert rules(wan="wan1", lan=["guests"]) == [(("wan1",), ("guest0",), groups)]
