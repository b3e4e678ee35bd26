# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Addresses that NAT items add to WANs."""

from __future__ import annotations

from ansible_collections.ipmasq.linux.plugins.module_utils._resolve.added import added_addresses, as_range
from ansible_collections.ipmasq.linux.tests.unit.intents import nat
from ansible_collections.ipmasq.linux.tests.unit.resolving import MANY, OFFICE, resolved


def test_every_address_of_a_range_is_on_the_only_wan():
    found = resolved(MANY, lans=[OFFICE], **nat("snat", to=["203.0.113.9-203.0.113.10"], to_address="add")).gateway
    assert added_addresses(found, found.nat[0]) == [("eth0", "203.0.113.9"), ("eth0", "203.0.113.10")]


def test_nothing_is_added_unless_it_is_asked_for():
    found = resolved(MANY, lans=[OFFICE], **nat("snat", to=["203.0.113.9"], to_address="routed")).gateway
    assert added_addresses(found, found.nat[0]) == []


def test_a_network_is_a_range():
    assert as_range("203.0.113.0/30") == "203.0.113.0-203.0.113.3"
    assert as_range("203.0.113.1-203.0.113.2") == "203.0.113.1-203.0.113.2"
