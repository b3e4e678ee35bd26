# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from dataclasses import replace

from ansible_collections.ipmasq.linux.plugins.module_utils._resolve.resolved import Around, Resolved, ResolvedWan
from ansible_collections.ipmasq.linux.plugins.module_utils._rules.carried import (
    as_this_host,
    carried,
    carried_outside,
    carried_public,
)

CLAT = ResolvedWan("clat", carried_from=("2001:db8:ff::c1a7/128",))
GATEWAY = Resolved(wans=(CLAT, ResolvedWan("wan0")))


def test_nothing_is_carried_unless_it_is_declared():
    plain = replace(GATEWAY, wans=(ResolvedWan("clat"), ResolvedWan("wan0")), around=Around(ways_out=("eth9",)))
    assert carried(plain) == carried_outside(plain, "undeclared") == []


def test_a_carried_wan_reaches_the_others_from_its_source():
    first, *decided = carried(GATEWAY)
    assert (first.match.iif, first.match.oif, first.match.source) == (("clat",), ("wan0",), CLAT.carried_from)
    assert {rule.chain for rule in decided} == {first.action.target}


def test_alone_it_reaches_undeclared_ways_out_only():
    alone = replace(GATEWAY, wans=(CLAT,), around=Around(ways_out=("eth9",)))
    assert carried(alone) == []
    (rule,) = carried_outside(alone, "undeclared")
    assert (rule.match.oif, rule.match.ct_state) == (("eth9",), ("new",))
    assert carried_outside(GATEWAY, "undeclared") == []


def test_a_clat_with_an_address_of_this_host():
    """Whatever the provider makes of it; a private one is the user's own."""
    for mine, own in ((CLAT.carried_from[0], "2000::/3"), ("fd00:9::1/128", "fd00:9::1/128")):
        wan = replace(CLAT, carried_from=(mine,))
        shared = replace(GATEWAY, wans=(wan, ResolvedWan("wan0")), around=Around(carried=(("clat", mine),)))
        (rule,) = as_this_host(shared)
        assert (rule.match.iif, rule.match.source, rule.match.martian) == (("clat",), (own,), True)
        more = [match for match in carried_public(shared) if match.martian]
        assert [match.source for match in more] == [("2000::/3",)] * (own == "2000::/3")
    assert [rule.match.source for rule in as_this_host(GATEWAY)] == [CLAT.carried_from]
    assert not [match for match in carried_public(GATEWAY) if match.martian]
    assert as_this_host(replace(GATEWAY, wans=(ResolvedWan("clat", carried_from=("10.9.9.0/24",)),))) == []
