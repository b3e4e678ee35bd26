# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the fence of a gateway says; as text in golden/*/fence.nft, with packets in integration/test_fence.py."""

from __future__ import annotations

from ansible_collections.ipmasq.linux.plugins.module_utils._facts.links import Facts, Interface, Route
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.read import gateway_from_params
from ansible_collections.ipmasq.linux.plugins.module_utils._resolve.resolve import resolve
from ansible_collections.ipmasq.linux.plugins.module_utils._rules.fence import compile_fence
from ansible_collections.ipmasq.linux.plugins.module_utils._rules.model import FOLLOWED, REACH, Match
from ansible_collections.ipmasq.linux.tests.unit.params import gateway_params

OFFICE = {"name": "office", "interfaces": ["lan0"], "networks": ["192.168.1.0/24", "2001:db8:1::/64"]}
GUESTS = {"name": "guests", "interfaces": ["guest0"], "networks": ["192.168.2.0/24"]}


def fence(facts=None, **given):
    options = dict({"wans": [{"interface": "wan0"}], "lans": [OFFICE, GUESTS]}, **given)
    gateway = gateway_from_params(gateway_params(**options))
    return compile_fence(resolve(gateway, facts or Facts(())).gateway)


def said(ruleset, chain):
    return [(rule.key, rule.action.kind) for rule in ruleset.rules if rule.chain == chain]


def test_only_the_first_packet_of_a_flow_is_asked():
    ruleset = fence(input="protect")
    hooks = {chain.name: (chain.hook, chain.stage) for chain in ruleset.chains if chain.hook}
    assert hooks == {
        "fence": ("postrouting", "fence"),
        "fence-own": ("input", "fence_own"),
        "fence-input": ("input", "fence"),
        "fence-arrive": ("prerouting", "fence"),
    }
    for rule in ruleset.rules:
        # Without a word of conntrack the kernel would track nothing once all other rules are gone.
        assert rule.match.ct_state == ("new",) if rule.chain in hooks else rule.match.ct_state in ((), ("related",))
        assert rule.action.kind in ("jump", "goto", "return", "drop", "mark", "unmark")
    assert {rule.chain for rule in ruleset.rules} <= {chain.name for chain in ruleset.chains}


def bridges(*names):
    return Facts(tuple(Interface(name, networks=("203.0.113.0/24",), kind="bridge") for name in names))


def test_on_a_host_with_a_bridge_each_packet_is_asked():
    """One that the gateway does not use counts, too; packets of a LAN's own flows end at the first rule."""
    ruleset = fence(bridges("docker0"), input="protect")
    hooks = {chain.name: (chain.hook, chain.stage) for chain in ruleset.chains if chain.hook}
    assert hooks == {
        "fence": ("postrouting", "fence"),
        "fence-own": ("input", "fence_own"),
        "fence-own-seen": ("input", "own_seen"),
        "fence-input": ("input", "fence"),
        "fence-input-seen": ("input", "seen"),
        "fence-arrive": ("prerouting", "fence"),
        "fence-forward": ("forward", "fence"),
    }
    asked = [(rule.match, rule.action.target) for rule in ruleset.rules if rule.chain == "fence-forward"]
    assert asked == [
        (Match(direction="original", again=True), "seen"),
        (Match(oif=("wan0",), direction="reply"), "answers"),
    ]
    seen = [rule for rule in ruleset.rules if rule.chain == "seen"]
    assert seen[0].match == Match(mapped=True) and seen[0].action.kind == "return"
    # What another instance's marks have let out is asked while it is new, and not later.
    told = [(rule.match.ct_state, rule.match.mark) for rule in ruleset.rules if rule.chain == "egress"]
    known = told.index((("established",), ()))
    assert {mark for _states, mark in told[:known]} <= {(), (FOLLOWED, FOLLOWED)}
    assert all(mark == (0, REACH) for _states, mark in told[known + 1 :])


def test_a_forged_answer_at_the_bridge_of_a_wan_is_dropped_before_conntrack_sees_it():
    assert "fence-forged" not in {chain.name for chain in fence(bridges("lan0", "docker0")).chains}
    for options, known in (({}, 2), ({"input": "protect"}, 3)):
        forged = [rule for rule in fence(bridges("wan0"), **options).rules if rule.chain == "fence-forged"]
        assert len(forged) == known
        assert all(rule.match.iif == ("wan0",) and rule.match.ct_state == () for rule in forged)


def test_each_multicast_packet_is_asked_where_groups_are_declared():
    ruleset = fence(multicast=[{"name": "tv", "group": ["239.1.0.0/16"]}])
    hooks = {chain.name: (chain.hook, chain.stage) for chain in ruleset.chains if chain.hook}
    assert hooks["fence-forward"] == ("forward", "fence") and hooks["fence-copies"] == ("postrouting", "guard")
    asked = [rule.match for rule in ruleset.rules if rule.chain in ("fence-forward", "fence-copies")]
    assert [each.destination for each in asked] == [("224.0.0.0/4",), ("ff00::/8",)] * 2
    groups = [rule for rule in ruleset.rules if rule.chain == "groups"]
    assert [(rule.match.iif, rule.action.target) for rule in groups] == [
        (("wan0",), ""), (("wan0",), "from-outside"), (("lan0", "guest0"), "from-inside"), ((), "from-others"),
    ]  # fmt: skip
    # What a bridge of a WAN passes between its ports.
    assert groups[0].match.oif == ("wan0",) and groups[0].action.kind == "return"


def test_what_is_translated_needs_no_rule():
    many = [{"name": "f{0}".format(n), "port": [str(n)], "to": ["192.168.1.10"]} for n in range(1000, 1100)]
    assert len(fence(port_forwards=many).rules) == len(fence().rules)


def test_what_is_opened_without_a_translation_stays_open():
    ruleset = fence(port_forwards=[{"name": "web", "port": ["443"], "to": ["2001:db8:1::11"], "hairpin": True}])
    opened = [rule for rule in ruleset.rules if rule.key == "port_forward/web"]
    assert {(rule.chain, rule.match.iif, rule.action.kind) for rule in opened} == {
        ("from-outside", ("wan0",), "return"),
        ("from-inside", ("lan0", "guest0"), "return"),
    }
    assert said(ruleset, "from-outside")[-1] == ("closed", "drop")
    told = said(ruleset, "from-inside")
    assert ("isolation", "drop") in told and told[-1] == ("undeclared", "drop")


def test_what_is_exempt_comes_before_what_is_guarded():
    nat = [{"name": "vpn", "action": "exempt", "destination": ["10.0.0.0/8"], "ipsec": True}, {"name": "rest"}]
    told = said(fence(nat=nat), "egress")
    assert told[0] == ("nat/vpn", "return") and told[-1] == ("guard", "drop")
    (rule,) = [rule for rule in fence(nat=nat).rules if rule.key == "nat/vpn" and rule.match.family == "ip"]
    assert rule.match.ipsec


def test_what_ipsec_encrypts_for_undeclared_links_may_leave():
    private = [rule.match for rule in fence().rules if rule.chain == "egress" and "10.0.0.0/8" in rule.match.source]
    assert private and all(match.plain for match in private)


def test_a_default_route_that_nobody_declared_is_outside_too():
    facts = Facts((Interface("wan0"), Interface("lan0"), Interface("eth9", ("198.51.100.2/24",))), (Route("eth9"),))
    ruleset = fence(facts)
    jumps = [rule.match for rule in ruleset.rules if rule.chain == "begin"]
    assert jumps[0].oif == jumps[1].iif == ("wan0", "eth9")
    assert said(ruleset, "from-outside")[-2:] == [("closed", "drop"), ("undeclared", "drop")]
    left = fence(facts, undeclared="leave")
    assert next(rule.match.oif for rule in left.rules if rule.chain == "begin") == ("wan0",)


def test_a_tunnel_may_have_a_default_route_by_now():
    ruleset = fence()
    assert said(ruleset, "from-others")[-1] == said(ruleset, "from-inside")[-1] == ("undeclared", "drop")
    left = fence(undeclared="leave")
    assert said(left, "from-others") == [] and said(left, "from-inside")[-1] == ("isolation", "drop")


def test_an_open_input_stays_open():
    assert not [rule for rule in fence().rules if rule.chain in ("fence-input", "protected")]
