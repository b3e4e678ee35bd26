# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Links of LANs that have a default route; with packets in tests/integration/test_one_card.py."""

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._facts.links import Facts, Interface, Route
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.read import gateway_from_params
from ansible_collections.ipmasq.linux.plugins.module_utils._resolve.resolve import resolve
from ansible_collections.ipmasq.linux.plugins.module_utils._rules.compile import compile_gateway
from ansible_collections.ipmasq.linux.plugins.module_utils._rules.fence import compile_fence
from ansible_collections.ipmasq.linux.tests.unit.packet import Packet, trace
from ansible_collections.ipmasq.linux.tests.unit.params import gateway_params

#: Behind a router of the office: a public network, which is listed.
OFFICE = {
    "name": "office",
    "interfaces": ["lan0"],
    "networks": ["192.168.1.0/24", "2001:db8:1::/64", "198.51.100.0/24"],
}
GUESTS = {"name": "guests", "interfaces": ["guest0"], "networks": ["192.168.2.0/24", "2001:db8:2::/64"]}
FAR4, FAR6 = "9.9.9.9", "2600::9"
LINK = Interface("lan0", networks=("192.168.1.0/24",), addresses=("192.168.1.1",))


def resolved(routes, **options):
    options = {"wans": [{"interface": "wg0"}], "lans": [OFFICE, dict(GUESTS, reaches=["office"])], **options}
    return resolve(gateway_from_params(gateway_params(**options)), Facts((LINK,), routes)).gateway


KNOWING = compile_gateway(resolved((Route("lan0"),)))


def what(ruleset, iif, source, to, state="new", oif="lan0", **more):
    return trace(ruleset, Packet(iif, oif, source, to, state, **more)).verdict


@pytest.mark.parametrize("state", ["new", "established", "related", "invalid", "untracked"])
@pytest.mark.parametrize("direction", ["original", "reply"])
def test_nothing_from_lans_leaves_by_it_to_the_internet(state, direction):
    """Nor does an answer to the WAN, whose route has moved."""
    for iif, four, six in (("lan0", "192.168.1.9", "2001:db8:1::9"), ("guest0", "192.168.2.9", "2001:db8:2::9")):
        for source, to in ((four, FAR4), (six, FAR6)):
            assert what(KNOWING, iif, source, to, state, direction=direction) == "reject"


@pytest.mark.parametrize(
    "to", ["192.168.1.9", "198.51.100.9", "10.7.7.7", "100.64.1.1", "224.0.0.9", "2001:db8:1::9", "fd07::9", "ff05::9"]
)
def test_what_is_in_the_lan_or_behind_its_routers_is_reached(to):
    for iif, four, six in (("lan0", "192.168.1.9", "2001:db8:1::9"), ("guest0", "192.168.2.9", "2001:db8:2::9")):
        for state in ("new", "established"):
            assert what(KNOWING, iif, six if ":" in to else four, to, state) == "accept"


def test_what_goes_to_a_wan_meets_no_rule_of_it():
    for state in ("new", "established"):
        found = trace(KNOWING, Packet("lan0", "wg0", "192.168.1.9", FAR4, state, mapped="203.0.113.1"))
        assert found.verdict == "accept" and not [step for step in found.path if step.startswith("kept-")]
    assert what(KNOWING, "wg0", FAR4, "192.168.1.9", "established", direction="reply") == "accept"


def test_nor_does_what_others_send():
    for state in ("new", "established", "invalid"):
        assert what(KNOWING, "docker0", "172.17.0.5", FAR4, state) == "reject"
    for state in ("new", "established"):
        assert what(KNOWING, "docker0", "172.17.0.5", "192.168.1.9", state) == "accept"
        assert what(KNOWING, "docker0", "172.17.0.5", "10.7.7.7", state) == "accept"


def test_a_route_of_one_family_closes_that_family():
    ruleset = compile_gateway(resolved((Route("lan0", "ip6"),)))
    assert what(ruleset, "lan0", "2001:db8:1::9", FAR6) == "reject"
    assert what(ruleset, "lan0", "192.168.1.9", FAR4) == "accept"


@pytest.mark.parametrize(
    ("routes", "options"), [((), {}), ((Route("wan9"),), {}), ((Route("lan0"),), {"undeclared": "leave"})]
)
def test_without_such_a_route_there_is_no_rule_of_it(routes, options):
    for ruleset in (compile_gateway(resolved(routes, **options)), compile_fence(resolved(routes, **options))):
        assert "kept-office" not in {chain.name for chain in ruleset.chains}
        assert "kept-office" not in {rule.action.target for rule in ruleset.rules}


def test_the_fence_says_the_same():
    fence = compile_fence(resolved((Route("lan0"),)))
    assert {rule.chain for rule in fence.rules} <= {chain.name for chain in fence.chains}
    (jump,) = [rule for rule in fence.rules if rule.action.target == "kept-office"]
    assert (jump.chain, jump.match.oif) == ("begin", ("lan0",))
    before = [rule.action.target for rule in fence.rules if rule.chain == "begin"]
    assert before.index("kept-office") < before.index("from-inside")
    inner = [rule for rule in fence.rules if rule.chain == "kept-office"]
    said = [(rule.match.family, bool(rule.match.destination), rule.action.kind) for rule in inner]
    assert said == [("ip", True, "return"), ("ip", False, "drop"), ("ip6", True, "return"), ("ip6", False, "drop")]
