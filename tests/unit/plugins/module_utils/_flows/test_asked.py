# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which packets are asked about: those of the rules that only one side has."""

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._flows.asked import MOST, asked, deciding
from ansible_collections.ipmasq.linux.plugins.module_utils._rules.model import Action, Chain, Match, Rule, RuleSet

FORWARD, ACCEPT = Chain("forward", "forward", "filter"), Action("accept")
PARTS = ("iif", "oif", "source", "destination", "ports")


def side(*rules):
    return deciding(RuleSet("default", (FORWARD, Chain("guard", "postrouting", "guard")), rules))


def accepting(chain="forward", action=ACCEPT, **match):
    return Rule(chain, Match(**match), action, "x")


def told(one, *others):
    """Of each packet, what is known of it."""
    found = [about for about, _action in asked(side(*one), side(*others))]
    return [
        {name: getattr(about, name) for name in PARTS if getattr(about, name) not in ("", (0, 0))} for about in found
    ]


def test_each_combination_of_a_rule_that_the_other_side_lacks():
    both = accepting(iif=("lan0",))
    mine = accepting(iif=("lan0", "lan1"), destination=("10.0.0.0/8",), port=((80, 80),), protocol="tcp")
    found = [{"iif": link, "destination": "10.0.0.0/8", "ports": (80, 80)} for link in ("lan0", "lan1")]
    assert told([both, mine], both) == found
    assert told([both], both, mine) == []


def test_of_the_same_rule_with_other_sources_only_those_that_it_alone_has():
    assert told([accepting(source=("10.0.0.0/24", "10.0.1.0/24"))], accepting(source=("10.0.0.0/24",))) == [
        {"source": "10.0.1.0/24"}
    ]
    assert told([accepting(source=("10.0.0.0/23",))], accepting(source=("10.0.0.0/24",))) == [{"source": "10.0.1.0/24"}]
    assert told([accepting(source=("10.0.0.0/24",))], accepting(source=("10.0.0.0/23",))) == []


@pytest.mark.parametrize("match", [{"ct_state": ("established",)}, {"translated": True}])
def test_what_begins_no_flow_of_its_own_is_not_asked_about(match):
    assert told([accepting(**match)]) == []


def test_rules_that_decide_nothing_on_the_way_are_left_out():
    assert told([accepting("guard"), accepting("elsewhere"), accepting(action=Action("jump", "lan-office"))]) == []


def test_of_too_many_combinations_the_new_ones_or_one_that_stands_for_all():
    nets = tuple("10.{0}.0.0/16".format(number) for number in range(30))
    assert len(nets) ** 2 > MOST
    wide = accepting(source=nets, destination=nets)
    ((about, _action),) = asked(side(wide), {})
    assert (about.source, about.destination, about.broad) == (nets[0], nets[0], wide.match)
    before = accepting(source=nets[:-1], destination=nets[:-1])
    found = [about for about, _action in asked(side(wide), side(before))]
    assert [(about.source, about.destination, about.broad) for about in found] == [(nets[-1], nets[-1], None)]
