# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Packets of known flows leave the guards of iptables first; packet tests show that these still stop the others."""

from __future__ import annotations

from ansible_collections.ipmasq.linux.plugins.module_utils._backend.iptables.known import with_known_first
from ansible_collections.ipmasq.linux.plugins.module_utils._rules.chains import EGRESS, UNSEEN
from ansible_collections.ipmasq.linux.plugins.module_utils._rules.model import Chain
from ansible_collections.ipmasq.linux.tests.unit.backends import BOTH, small

SENT_ON = "-m conntrack --ctstate SNAT --ctdir ORIGINAL"
LINKS = [{"interface": "ppp0"}, {"interface": "ppp1"}]
#: A source of the first WAN, from private addresses that the second one has no route to.
OWNED = [
    {"name": "owned", "wan": "ppp0", "action": "snat", "to": ["10.9.9.9"], "to_address": "routed"},
    {"name": "rest", "wan": "ppp1"},
]


def rows(place, **given):
    return [row.text.partition(" -m comment")[0] for row in BOTH.render(small(**given)) if row.chain == place][1:]


def test_what_is_not_new_leaves_the_guard_of_all_sources_first():
    for family in ("ip", "ip6"):
        first, *others = rows(family + " mangle IPMASQ-UNSEEN")
        assert first == "-m conntrack --ctstate INVALID,RELATED,ESTABLISHED,UNTRACKED"
        assert others and all("--ctstate NEW" in row for row in others)


def test_what_conntrack_translates_leaves_the_guard_of_the_lans_first_in_mangle_alone():
    assert rows("ip mangle IPMASQ-EGRESS")[0] == SENT_ON
    assert SENT_ON not in rows("ip nat IPMASQ-EGRESS")


def test_a_source_that_is_translated_for_another_wan_is_stopped_before():
    texts = rows("ip mangle IPMASQ-EGRESS", wans=LINKS, nat=OWNED)
    place = texts.index(SENT_ON)
    assert place and all("--ctrepldst 10.9.9.9" in text or "--ctorigdst 10.9.9.9" in text for text in texts[:place])
    assert not any("--ctrepldst" in text for text in texts[place:])


def test_a_chain_without_rules_of_the_family_stays_empty():
    assert with_known_first(EGRESS, []) == []
    assert with_known_first(UNSEEN, []) == []


def test_other_chains_stay_as_they_are():
    rules = [object()]
    assert with_known_first(Chain("lan-office"), rules) is rules
    assert with_known_first(Chain("egress-route", "", EGRESS.stage), rules) is rules
