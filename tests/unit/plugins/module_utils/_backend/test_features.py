# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A missing feature of a backend is reported once for each item, before anything is touched."""

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._backend.features import FEATURES, check_supported, needed_by
from ansible_collections.ipmasq.linux.plugins.module_utils._backend.iptables.backend import Iptables
from ansible_collections.ipmasq.linux.plugins.module_utils._backend.nftables.backend import Nftables
from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError
from ansible_collections.ipmasq.linux.plugins.module_utils._rules.model import Action, Chain, Match, Rule, RuleSet

RULES = tuple(Rule("c", Match(), Action(kind), "nat/x") for kind in ("masquerade", "masquerade", "clamp_mss", "accept"))
RULESET = RuleSet("default", (Chain("c"),), RULES)


BACKENDS = pytest.mark.parametrize("backend", [Nftables(), Iptables()], ids=["nftables", "iptables"])


@BACKENDS
def test_both_backends_have_all_of_it(backend):
    check_supported(RULESET, backend)


def test_missing_features_come_together():
    poor = type("Poor", (Nftables,), {"features": {}})()
    with pytest.raises(GatewayError) as caught:
        check_supported(RULESET, poor)
    assert caught.value.problems == (
        "nat/x: nat: action: masquerade is not possible with backend nftables; remove it or choose another backend",
        "nat/x: mss: pmtu is not possible with backend nftables; set mss to a number",
    )


ONE, TWO = ("203.0.113.9",), ("203.0.113.9", "203.0.113.12-203.0.113.14")
#: A rule, and everything that it needs
TEST_NEEDS = [
    (Match(), Action("accept"), []),
    (Match(ct_state=("invalid",)), Action("drop"), []),
    (Match(), Action("reject"), []),
    (Match(), Action("return"), []),
    (Match(), Action("jump", "lan-a"), []),
    (Match(), Action("masquerade"), ["masquerade"]),
    (Match(), Action("masquerade", ports=(1024, 65535)), ["masquerade", "to_port"]),
    (Match(), Action("masquerade", random=True), ["masquerade", "random_ports"]),
    (Match(), Action("snat", to=ONE), ["snat"]),
    (Match(), Action("snat", to=TWO[1:]), ["snat"]),
    (Match(), Action("snat", to=TWO), ["snat", "snat_pool"]),
    (Match(), Action("snat", to=TWO, ports=(1, 2), random=True), ["snat", "snat_pool", "random_ports", "to_port"]),
    (Match(), Action("netmap", to=("203.0.113.0/28",)), ["netmap"]),
    (Match(), Action("dnat", to=ONE), ["dnat"]),
    (Match(), Action("dnat", to=ONE, ports=(8443, 8443)), ["dnat"]),
    (Match(), Action("dnat", to=ONE, balance="source"), ["dnat"]),
    (Match(), Action("dnat", to=ONE, ports=(7000, 7015), shift=True), ["dnat", "dnat_shift"]),
    (Match(), Action("dnat", to=ONE * 2), ["dnat", "balance_round_robin"]),
    (Match(), Action("dnat", to=ONE * 2, balance="source"), ["dnat", "balance_source"]),
    (Match(), Action("hairpin", to=TWO), ["hairpin_external"]),
    (Match(ipsec=True), Action("accept"), ["ipsec"]),
    (Match(rate="10/second"), Action("accept"), ["rate"]),
    (Match(), Action("guard"), ["guard"]),
    (Match(), Action("clamp_mss"), ["clamp_mss"]),
    (Match(), Action("set_mss", size=1452), ["set_mss"]),
    (Match(), Action("helper", "ftp"), ["helper"]),
    (Match(), Action("log", "ipmasq closed: "), ["log"]),
    (Match(), Action("timers", timers=(("unreplied", 30),)), ["timers"]),
    (Match(), Action("offload"), ["offload"]),
]
#: Named by rules that are being written elsewhere.
KNOWN = [(match, action, needs) for match, action, needs in TEST_NEEDS if set(needs) <= set(FEATURES)]


@pytest.mark.parametrize(("match", "action", "needs"), KNOWN)
def test_needed_by(match, action, needs):
    assert needed_by(Rule("c", match, action, "nat/x")) == needs


def test_every_feature_is_needed_by_some_rule():
    assert {need for _match, _action, needs in TEST_NEEDS for need in needs} >= set(FEATURES)


@BACKENDS
def test_a_backend_declares_features_by_their_names(backend):
    assert set(backend.features) <= set(FEATURES)
    assert all(isinstance(remark, str) and "\n" not in remark for remark in backend.features.values())


def test_every_feature_says_how_it_is_written():
    for written, instead in FEATURES.values():
        assert written and not written.endswith(".")
        assert not instead.endswith(".")


@BACKENDS
@pytest.mark.parametrize("feature", FEATURES)
def test_one_sentence_for_what_is_missing(backend, feature):
    """Needed twice by one item, reported once; the other item has its own sentence."""

    left = {name: remark for name, remark in backend.features.items() if name != feature}
    poor = type("Poor", (type(backend),), {"features": left})()
    match, action = next((match, action) for match, action, needs in TEST_NEEDS if feature in needs)
    rules = tuple(Rule("c", match, action, key) for key in ("nat/x", "nat/x", "nat/y"))
    with pytest.raises(GatewayError) as caught:
        check_supported(RuleSet("default", (Chain("c"),), rules), poor)
    written, instead = FEATURES[feature]
    sentence = "nat/{0}: {1} is not possible with backend {2}; {3}"
    assert caught.value.problems == tuple(
        sentence.format(name, written.replace("`", ""), backend.name, instead or "remove it or choose another backend")
        for name in "xy"
    )
    others = tuple(Rule("c", match, action, "nat/z") for match, action, needs in KNOWN if set(needs) <= set(left))
    check_supported(RuleSet("default", (Chain("c"),), others), poor)
