# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Many port forwards in a tree of chains: each packet meets the same rules as in a plain list, in the same order."""

from __future__ import annotations

from hypothesis import given, strategies as st

from ansible_collections.ipmasq.linux.plugins.module_utils._backend.iptables import lookup
from ansible_collections.ipmasq.linux.plugins.module_utils._rules.model import Action, Chain, Match, Rule, RuleSet
from ansible_collections.ipmasq.linux.tests.unit import strategies

ACCEPT, DNAT = Action("accept"), Action("dnat", to=("192.168.1.9",))
DSTNAT, BETWEEN = Chain("dstnat", "prerouting", "nat"), Chain("between")
#: A protocol, a first port, how many more, and the port of the server where it is another.
FORWARDS = st.tuples(
    st.sampled_from(["tcp", "udp"]),
    st.integers(1, 60000),
    st.sampled_from([0, 0, 0, 1, 7, 300]),
    st.sampled_from([0, 8]),
)


def item(protocol, first, more, to_port, number):
    """The two rules of a port forward."""
    key, ports = "port_forward/f{0}".format(number), ((first, first + more),)
    there = ((to_port, to_port),) if to_port else ports
    coming = Match("ip", iif=("wan0",), protocol=protocol, port=ports)
    going = Match("ip", destination=("192.168.1.9/32",), protocol=protocol, port=there, translated=True)
    return Rule("dstnat", coming, DNAT, key), Rule("between", going, ACCEPT, key)


def arranged(rules, chains=(DSTNAT, BETWEEN)):
    return {chain.name: list(found) for chain, found in lookup.arranged(RuleSet("default", chains, tuple(rules)), "ip")}


def walked(chains, chain, protocol, port):
    """The items whose rules a packet to this port meets, in order."""
    met = []
    for rule in chains[chain]:
        if isinstance(rule, lookup.Branch):
            if rule.protocol == protocol and (not rule.ports or rule.ports[0] <= port <= rule.ports[1]):
                met += walked(chains, rule.chain, protocol, port)
        elif rule.match.protocol == protocol:
            met.append(rule.key)
    return met


@strategies.drawn(40)
@given(st.lists(FORWARDS, min_size=lookup.FEW + 1, max_size=90))
def test_nothing_is_lost_added_or_out_of_order(forwards):
    chains = arranged([rule for number, each in enumerate(forwards) for rule in item(*each, number=number)])
    for protocol, first, more, _to_port in forwards:
        for port in (first, first + more):
            expected = [
                "port_forward/f{0}".format(number)
                for number, each in enumerate(forwards)
                if each[0] == protocol and each[1] <= port <= each[1] + each[2]
            ]
            for chain in ("dstnat", "between"):
                # Neighbours may share a chain; their own rules tell them apart.
                met = walked(chains, chain, protocol, port)
                assert [key for key in met if key in expected] == expected


def test_a_connection_passes_few_rules():
    chains = arranged([rule for port in range(10000) for rule in item("tcp", 20000 + port, 0, 0, port)])
    assert len(walked(chains, "dstnat", "tcp", 25000)) == 16
    assert max(len(rules) for rules in chains.values()) <= 16


def test_a_few_stay_in_a_row():
    rules = [rule for port in range(1, lookup.FEW + 1) for rule in item("tcp", port, 0, 0, port)]
    assert len(arranged(rules)) == 2


def test_what_belongs_to_no_forward_stays_where_it_is():
    closed = Rule("between", Match(iif=("wan0",)), Action("drop"), "closed")
    answers = Rule("between", Match(ct_state=("established",)), ACCEPT, "answers")
    forwards = [item("udp", port, 0, 0, port)[1] for port in range(1, 80)]
    coming = [item("udp", port, 0, 0, port)[0] for port in range(1, 80)]
    assert arranged([*coming, answers, *forwards, closed])["between"] == [
        answers,
        lookup.Branch("udp", None, "between-udp", translated=True),
        closed,
    ]


def test_many_ports_of_one_item_are_told_apart():
    ports = tuple((port, port) for port in range(100, 300, 2))
    coming = Rule("dstnat", Match("ip", protocol="tcp", port=ports), DNAT, "port_forward/one")
    going = Rule("between", Match("ip", protocol="tcp", port=ports, translated=True), ACCEPT, "port_forward/one")
    chains = arranged([coming, going])
    assert sum(len(rules) for name, rules in chains.items() if name.startswith("between-tcp-c")) == len(ports)


def test_single_items_share_no_tree():
    rules = [item("tcp", port, 0, 0, port)[0] for port in range(1, 200)]
    assert arranged(rules, (DSTNAT,)) == {"dstnat": rules}
