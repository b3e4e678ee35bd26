# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Chains, their hooks and priorities, and what moves from one chain to another."""

from __future__ import annotations

import json

from ansible_collections.ipmasq.linux.plugins.module_utils._rules.model import Chain, RuleSet
from ansible_collections.ipmasq.linux.tests.unit.backends import NFT, ruleset


def test_the_mss_is_set_from_the_chain_that_filters():
    rows = NFT.render(ruleset())
    shown = [NFT.show(row) for row in rows]
    assert 'forward: tcp flags & (rst | syn) syn jump mss comment "ipmasq:default/mss"' in shown
    assert not any(json.loads(row.text)["chain"] for row in rows if row.key == "chain" and row.chain == "mss")
    assert not any("mss" in row.chain or row.key == "mss" for row in NFT.render(ruleset(mss="keep")))


def test_hooks_and_priorities():
    """Destinations before docker and everybody else (-100), sources before the default (100)."""
    rows = NFT.render(
        RuleSet("default", (Chain("dstnat", "prerouting", "nat"), Chain("srcnat", "postrouting", "nat")), ())
    )
    assert [json.loads(row.text)["chain"] for row in rows] == [
        {"type": "nat", "hook": "prerouting", "prio": -105, "policy": "accept"},
        {"type": "nat", "hook": "postrouting", "prio": 95, "policy": "accept"},
    ]


def test_expect_nat_is_for_backends_that_guard_before_the_nat():
    assert not [row for row in NFT.render(ruleset()) if row.chain == "egress" and "masquerade" in row.text]
