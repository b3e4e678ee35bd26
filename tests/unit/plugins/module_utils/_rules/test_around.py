# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Links and instances around a gateway, packet by packet; ``test_compile.py`` has the cases of a single gateway."""

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._facts.links import Facts, Interface, Route
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.neighbour import Neighbour
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.read import gateway_from_params
from ansible_collections.ipmasq.linux.plugins.module_utils._resolve.resolve import resolve
from ansible_collections.ipmasq.linux.plugins.module_utils._rules.compile import compile_gateway
from ansible_collections.ipmasq.linux.plugins.module_utils._rules.model import REACH
from ansible_collections.ipmasq.linux.tests.unit.packet import Packet, rules_of, trace
from ansible_collections.ipmasq.linux.tests.unit.params import gateway_params

PC, GUEST, FAR = "192.168.1.10", "192.168.2.10", "198.51.100.9"
OFFICE = {"name": "office", "interfaces": ["lan0"], "networks": ["192.168.1.0/24"]}
TWO = Neighbour("two", (("guests", ("guest0",)),), ("wan0", "wan1"))


def compiled(facts=None, neighbours=(), **given):
    options = dict({"wans": [{"interface": "wan0"}], "lans": [OFFICE]}, **given)
    gateway = gateway_from_params(gateway_params(**options))
    return compile_gateway(resolve(gateway, facts or Facts(()), neighbours=neighbours).gateway)


def decided(ruleset, packet):
    seen = trace(ruleset, packet)
    return seen.verdict, [key for key in seen.keys if key not in ("mss", "reach")][-1:]


def test_a_new_connection_of_an_own_lan_is_marked_once_and_no_other():
    ruleset = compiled()
    marks = [(rule.chain, rule.action.size) for rule in ruleset.rules if rule.action.kind == "mark"]
    # One for what is forwarded, one for what the gateway itself is asked.
    assert marks == [("reaches-out", REACH), ("own", REACH)]
    for packet, marked in (
        (Packet("lan0", "wan0", PC, FAR), True),
        (Packet("lan0", "eth9", PC, FAR), False),
        (Packet("eth9", "wan0", PC, FAR), False),
        (Packet("lan0", "wan0", PC, FAR, "established"), False),
    ):
        assert ("reaches-out reach" in trace(ruleset, packet).path) == marked, packet


def test_another_instances_lan_that_is_reached():
    ruleset = compiled(neighbours=[TWO], lans=[dict(OFFICE, reaches=["two/guests"])])
    assert decided(ruleset, Packet("lan0", "guest0", PC, GUEST)) == ("accept", ["lan/office"])
    assert decided(ruleset, Packet("guest0", "lan0", GUEST, PC)) == ("drop", ["undeclared"])
    assert decided(compiled(neighbours=[TWO]), Packet("lan0", "guest0", PC, GUEST)) == ("drop", ["undeclared"])


@pytest.mark.parametrize(
    ("packet", "verdict", "key"),
    [
        (Packet("lan0", "guest0", PC, GUEST), "reject", "isolation"),
        (Packet("guest0", "lan0", GUEST, PC), "drop", "isolation"),
        (Packet("wan0", "guest0", FAR, GUEST), "drop", "isolation"),
        (Packet("wan0", "guest0", FAR, GUEST, asked="203.0.113.9"), "accept", "isolation"),
        (Packet("guest0", "lan0", GUEST, PC, "established"), "accept", "answers"),
        (Packet("lan0", "eth9", PC, FAR), "accept", "undeclared"),
        (Packet("eth9", "lan0", FAR, PC), "accept", "undeclared"),
        (Packet("wan0", "eth9", FAR, "10.9.9.9"), "accept", "undeclared"),
        (Packet("eth9", "wan0", "10.9.9.9", FAR), "accept", "undeclared"),
    ],
)
def test_left_alone(packet, verdict, key):
    assert decided(compiled(neighbours=[TWO], undeclared="leave"), packet) == (verdict, [key])


def test_left_alone_without_another_instance_there_is_nothing_to_ask():
    ruleset = compiled(undeclared="leave")
    assert not [chain for chain in ruleset.chains if chain.name.startswith("undeclared") or chain.name == "unseen"]


def test_no_private_source_leaves_by_a_way_out_that_is_no_wan():
    facts = Facts((Interface("lte0"), Interface("wg0", kind="wireguard")), (Route("wan0"), Route("lte0"), Route("wg0")))
    ruleset = compiled(facts)
    assert decided(ruleset, Packet("docker0", "lte0", "172.17.0.2", FAR)) == ("drop", ["guard"])
    assert decided(ruleset, Packet("lan0", "wg0", PC, FAR)) == ("drop", ["undeclared"])
    assert decided(ruleset, Packet("lan0", "lte0", PC, FAR, "established")) == ("drop", ["undeclared"])
    assert decided(compiled(facts, undeclared="leave"), Packet("docker0", "lte0", "172.17.0.2", FAR)) == ("accept", [])


def test_many_networks_are_asked_for_only_where_a_source_may_be_one_of_them():
    networks = ["192.168.{0}.0/24".format(index) for index in range(0, 20, 2)] + ["100.64.8.0/24"]
    ruleset = compiled(lans=[dict(OFFICE, networks=networks)])
    (jump,) = [rule for rule in rules_of(ruleset, "forward") if rule.key == "spoofed/wan0"]
    assert jump.match.source == ("100.64.8.0/24", "192.168.0.0/16")
    for source, verdict in (("192.168.4.9", "drop"), ("192.168.5.9", "accept"), ("100.64.8.1", "drop")):
        assert decided(ruleset, Packet("wan0", "lan0", source, PC, "established"))[0] == verdict, source


@pytest.mark.parametrize("count", [1, 100])
def test_packets_of_declared_links_are_asked_for_little(count):
    """In iptables, each name of a link is a rule, so a hundred of them are asked only about sources of LANs."""
    names = ["lan{0}".format(number) for number in range(count)]
    found = compiled(lans=[dict(OFFICE, interfaces=names)])
    first = next(rule for rule in found.rules if rule.chain == "arrive" and rule.action.kind != "unmark")
    assert (first.action.kind, bool(first.match.source)) == (("return", False) if count == 1 else ("jump", True))
    strays = [rule for rule in found.rules if rule.match.astray and rule.key == "spoofed"]
    assert [rule.action.kind for rule in strays] == ["drop"]
