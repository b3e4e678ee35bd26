# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which rules come first; how many an established packet meets is counted in tests/integration/test_cost.py."""

from __future__ import annotations

from ansible_collections.ipmasq.linux.plugins.module_utils._backend.nftables.known import with_known_first
from ansible_collections.ipmasq.linux.plugins.module_utils._rules.model import RuleSet
from ansible_collections.ipmasq.linux.tests.unit.backends import NFT, ruleset

OFFICE = {"name": "office", "interfaces": ["lan0"], "networks": ["192.168.1.0/24", "fd00:1::/64"]}


def forward(**given):
    options = dict({"wans": [{"interface": "ppp0"}], "lans": [OFFICE]}, **given)
    rows = [NFT.show(row).partition(" comment ")[0] for row in NFT.render(ruleset(**options))]
    return [row.partition(": ")[2] for row in rows if row.startswith("forward: ")], rows


def test_what_comes_from_a_wan_claims_no_lan_and_is_accepted():
    rows, everything = forward()
    assert rows.index('iifname "ppp0" jump from-wan') < rows.index('iifname "lan0" jump lan-office')
    assert [row for row in everything if row.startswith("from-wan: ")] == [
        'from-wan: iifname "ppp0" ip saddr 192.168.1.0/24 drop',
        'from-wan: iifname "ppp0" ip6 saddr fd00:1::/64 drop',
        'from-wan: oifname "lan0" ct state established accept',
    ]
    assert not any("ppp0" in row and "saddr" in row and "drop" in row for row in rows)


def test_where_there_is_no_gateway_nothing_moves():
    assert with_known_first(RuleSet("default", (), ())) == RuleSet("default", (), ())
