# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which LANs follow their links, in which networks, and which items translate what is new. Packets: test_choice.py."""

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._facts.links import Facts, Interface
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.read import gateway_from_params
from ansible_collections.ipmasq.linux.plugins.module_utils._resolve.inside import followed
from ansible_collections.ipmasq.linux.plugins.module_utils._resolve.resolve import resolve
from ansible_collections.ipmasq.linux.plugins.module_utils._rules import follow
from ansible_collections.ipmasq.linux.plugins.module_utils._rules.compile import compile_gateway
from ansible_collections.ipmasq.linux.tests.unit.params import gateway_params

LINKS = (
    Interface("lan0", networks=("192.168.1.0/24", "fd00:1::/64"), addresses=("192.168.1.1", "fd00:1::1")),
    Interface("guest0", networks=("192.168.2.0/24",), addresses=("192.168.2.1",)),
)
OFFICE, GUESTS = {"name": "office", "interfaces": ["lan0"]}, {"name": "guests", "interfaces": ["guest0"]}
BLOCKS4, ULA, GLOBAL = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"), "fc00::/7", "2000::/3"


def gateway(*lans, **options):
    given = gateway_params(wans=[{"interface": "wan0"}], lans=list(lans), **options)
    return resolve(gateway_from_params(given), Facts(LINKS)).gateway


def listed(lan, *networks):
    return dict(lan, networks=list(networks))


#: LANs, options, in which networks they may get others
TEST_FOLLOWED = [
    ([listed(OFFICE, "192.168.1.0/24")], {}, ()),
    ([GUESTS], {}, BLOCKS4),
    ([OFFICE], {}, (*BLOCKS4, ULA, GLOBAL)),
    ([OFFICE], {"ipv6": "masquerade"}, (*BLOCKS4, ULA)),
    (
        [OFFICE],
        {
            "ipv6": "prefix",
            "nat": [
                {"name": "p", "action": "prefix", "source": ["fd00:1::/64"], "to": ["2001:db8::/64"]},
                {"name": "r"},
            ],
        },
        BLOCKS4,
    ),
]


@pytest.mark.parametrize(("lans", "options", "wanted"), TEST_FOLLOWED)
def test_in_which_networks_a_lan_may_get_others(lans, options, wanted):
    assert followed(gateway(*lans, **options)) == wanted


def test_a_gateway_of_listed_networks_has_no_rule_of_it():
    ruleset = compile_gateway(gateway(listed(OFFICE, "192.168.1.0/24"), listed(GUESTS, "192.168.2.0/24")))
    about = [rule for rule in ruleset.rules if rule.match.mark == follow.BY_ROUTE or rule.match.routed]
    assert not about + [rule for rule in ruleset.rules if "route" in rule.chain]


def test_established_packets_meet_one_test_more_behind_the_routing():
    """The known networks come first; everything about new ones comes after a single test of the mark."""
    rules = compile_gateway(gateway(OFFICE, listed(GUESTS, "192.168.2.0/24"))).rules
    assert [rule.match.source or rule.match.mark for rule in rules if rule.chain == "egress"][-1] == follow.BY_ROUTE
    for chain in ("egress", "srcnat"):
        assert len([rule for rule in rules if rule.chain == chain and rule.match.mark]) == 1
    assert [rule.match.iif for rule in rules if (rule.chain, rule.key) == ("arrive", "follow")] == [("lan0",)]
    marks = [bool(rule.match.mark) for rule in rules if rule.chain == "lan-office"]
    assert marks == [False, False, True, True] + [False] * (len(marks) - 4)


#: NAT items, LANs, names of those that translate sources that are new
TEST_ITEMS = [
    ([{"name": "all"}], [OFFICE, GUESTS], {"all"}),
    ([{"name": "a", "source": ["office"]}, {"name": "b", "source": ["guests"]}], [OFFICE, GUESTS], set()),
    ([{"name": "a", "source": ["office"]}, {"name": "b"}], [OFFICE, GUESTS], {"b"}),
    ([{"name": "a", "source": ["office"]}, {"name": "b"}], [OFFICE, listed(GUESTS, "192.168.2.0/24")], {"a", "b"}),
    ([{"name": "vpn", "action": "exempt", "destination": ["10.0.0.0/8"]}, {"name": "b"}], [OFFICE], {"vpn", "b"}),
    ([{"name": "one", "source": ["192.168.1.5"]}, {"name": "b"}], [OFFICE], {"b"}),
]


@pytest.mark.parametrize(("nat", "lans", "wanted"), TEST_ITEMS)
def test_which_items_translate_what_is_new(nat, lans, wanted):
    rules = follow.srcnat_routed(gateway(*lans, nat=nat))
    assert {rule.key.partition("/")[2] for rule in rules if rule.chain == "srcnat-route"} == wanted


def test_a_rate_is_for_new_networks_too():
    rules = compile_gateway(gateway(OFFICE, outbound=[{"name": "slow", "rate": "10/second"}])).rules
    limited = [rule.match.source for rule in rules if rule.action.target.startswith("limit-")]
    assert limited == [BLOCKS4, (GLOBAL, ULA)]
