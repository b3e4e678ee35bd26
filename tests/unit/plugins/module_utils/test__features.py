# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a backend lacks is said once for each item, before anything is touched."""

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._backend.iptables import Iptables
from ansible_collections.ipmasq.linux.plugins.module_utils._backend.nftables import Nftables
from ansible_collections.ipmasq.linux.plugins.module_utils._errors import GatewayError
from ansible_collections.ipmasq.linux.plugins.module_utils._features import check_supported
from ansible_collections.ipmasq.linux.plugins.module_utils._rules import Action, Chain, Match, Rule, RuleSet

RULES = tuple(Rule("c", Match(), Action(kind), "nat/x") for kind in ("masquerade", "masquerade", "clamp_mss", "accept"))
RULESET = RuleSet("default", (Chain("c"),), RULES)


@pytest.mark.parametrize("backend", [Nftables(), Iptables()], ids=["nftables", "iptables"])
def test_both_backends_have_all_of_it(backend):
    check_supported(RULESET, backend)


def test_missing_features_come_together():
    class Poor(Nftables):
        features = {}

    with pytest.raises(GatewayError) as caught:
        check_supported(RULESET, Poor())
    assert caught.value.problems == (
        "nat/x: nat: action: masquerade is not possible with backend nftables; remove it or choose another backend",
        "nat/x: mss: pmtu is not possible with backend nftables; set mss to a number",
    )
