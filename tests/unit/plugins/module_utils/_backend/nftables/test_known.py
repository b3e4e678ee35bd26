# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which rules come first; how many an established packet meets is counted in tests/integration/test_cost.py."""

from __future__ import annotations

from ansible_collections.ipmasq.linux.plugins.module_utils._backend.nftables.known import (
    before_the_others,
    with_known_first,
)
from ansible_collections.ipmasq.linux.plugins.module_utils._rules.model import RuleSet
from ansible_collections.ipmasq.linux.tests.unit.backends import NFT, ruleset

OFFICE = {"name": "office", "interfaces": ["lan0"], "networks": ["192.168.1.0/24", "fd00:1::/64"]}
GUESTS = {"name": "guests", "interfaces": ["guest0"], "networks": ["192.168.2.0/24"]}
ENTER, UNKNOWN = 'iifname "ppp0" jump from-wan', "ct state invalid,new,related jump reaches-new"
OUTWARD = 'ct state established iifname "lan0" oifname "ppp0" {0} accept'
OUTWARD4, OUTWARD6 = (OUTWARD.format(each) for each in ("ip saddr 192.168.1.0/24", "ip6 saddr fd00:1::/64"))


def rows_of(**given):
    options = dict({"wans": [{"interface": "ppp0"}], "lans": [OFFICE]}, **given)
    return [NFT.show(row).partition(" comment ")[0] for row in NFT.render(ruleset(**options))]


def rows(chain, **given):
    return [row.partition(": ")[2] for row in rows_of(**given) if row.startswith(chain + ": ")]


def test_what_comes_from_a_wan_claims_no_lan_and_is_accepted():
    forward = rows("forward")
    assert forward.index(ENTER) < forward.index('iifname "lan0" jump lan-office')
    assert rows("from-wan") == [
        "ip saddr 192.168.1.0/24 drop",
        "ip6 saddr fd00:1::/64 drop",
        'ct state established oifname "lan0" accept',
    ]
    assert not any("ppp0" in row and "saddr" in row and "drop" in row for row in forward)


def test_of_two_wans_each_has_its_own_count_of_sources_that_it_claims():
    both = rows("from-wan", wans=[{"interface": "ppp0"}, {"interface": "ppp1"}])
    assert [row for row in both if "drop" in row] == [
        'iifname "ppp0" ip saddr 192.168.1.0/24 drop',
        'iifname "ppp1" ip saddr 192.168.1.0/24 drop',
        'iifname "ppp0" ip6 saddr fd00:1::/64 drop',
        'iifname "ppp1" ip6 saddr fd00:1::/64 drop',
    ]


def test_known_packets_pass_before_the_test_for_unknown_ones():
    forward = rows("forward")
    place = forward.index(UNKNOWN)
    assert forward[place - 3 : place] == [ENTER, OUTWARD4, OUTWARD6]
    assert "jump mss" in forward[place - 4]


def test_another_instance_asks_for_invalid_packets_afterwards_too():
    forward = [row for row in rows("forward", instance="second") if "mss" not in row]
    assert forward[:3] == [ENTER, OUTWARD4, OUTWARD6]
    assert forward[3].startswith("ct state invalid ")


def test_what_must_be_marked_first_is_marked_first():
    """Other instances ask for the mark of what is exempt, in open flows too."""
    exempt = {"name": "vpn", "destination": ["10.0.0.0/8"], "action": "exempt"}
    forward = rows("forward", nat=[exempt, {"name": "rest"}])
    marked = [index for index, row in enumerate(forward) if "meta mark set" in row]
    assert marked and forward.index(UNKNOWN) < marked[0] and marked[-1] < forward.index(ENTER)
    assert forward.index(OUTWARD4) == forward.index(ENTER) + 1


def test_more_rows_than_a_packet_gains_by_are_left_out():
    forward = rows("forward", lans=[OFFICE, GUESTS])
    assert not any(row.startswith("ct state established iifname") for row in forward)
    assert forward.index(ENTER) + 1 == forward.index(UNKNOWN)


def test_where_one_map_leads_to_all_chains_it_stays_one():
    links = {"a0": "192.168.1.0/24", "b0": "192.168.2.0/24", "c0": "192.168.3.0/24"}
    lans = [{"name": a, "interfaces": [a], "networks": [b]} for a, b in links.items()]
    assert rows("forward-by-link-1", lans=lans)[0] == (
        'iifname vmap { "a0" : goto lan-a0, "b0" : goto lan-b0, "c0" : goto lan-c0, "ppp0" : goto from-wan }'
    )


def test_a_lan_that_may_send_with_any_source_has_one_row():
    forward = rows("forward", lans=[dict(OFFICE, spoof_check=False)])
    assert 'ct state established iifname "lan0" oifname "ppp0" accept' in forward


def test_what_is_open_is_no_concern_of_rules_for_new_flows():
    """Neither of items for new flows nor of bogons; the rows are those of a gateway without them."""
    items = [{"name": "no-mail", "protocol": ["tcp"], "port": ["25"], "action": "reject"}]
    assert OUTWARD4 in rows("forward", outbound=items, drop_bogons=True)


def test_a_few_links_are_compared_in_a_row_before_anything_else():
    assert [row for row in rows("arrive") if row.endswith("return")] == [
        'iifname "lan0" return',
        'iifname "ppp0" return',
    ]
    three = [row for row in rows("arrive", lans=[OFFICE, GUESTS]) if row.endswith("return")]
    assert three == ['iifname "ppp0" return', 'iifname "lan0" return', 'iifname "guest0" return']
    many = rows("arrive", lans=[dict(OFFICE, interfaces=["lan0", "lan1", "lan2"])])
    assert [row for row in many if row.endswith("return")] == ['iifname { "lan0", "lan1", "lan2", "ppp0" } return']


def test_where_there_is_no_gateway_nothing_moves():
    empty = RuleSet("default", (), ())
    assert with_known_first(empty) == before_the_others(empty) == empty
