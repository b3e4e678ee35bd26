# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Many port forwards by verdict maps: each packet meets the same rules as in a plain list, in the same order."""

from __future__ import annotations

import dataclasses

from hypothesis import given, strategies as st

from ansible_collections.ipmasq.linux.plugins.module_utils._backend.nftables import lookup, maps
from ansible_collections.ipmasq.linux.plugins.module_utils._rules.model import Action, Match, Rule
from ansible_collections.ipmasq.linux.tests.unit import strategies
from ansible_collections.ipmasq.linux.tests.unit.backends import NFT, ruleset

ACCEPT, DNAT = Action("accept"), Action("dnat", to=("192.168.1.9",))
#: A protocol, a first port and how many more.
PORTS = st.tuples(st.sampled_from(["tcp", "udp"]), st.integers(1, 400), st.sampled_from([0, 0, 0, 1, 7, 30]))


def coming(protocol, first, more, number):
    match = Match("ip", iif=("wan0",), protocol=protocol, port=((first, first + more),))
    return Rule("dstnat", match, DNAT, "port_forward/f{0}".format(number))


def going(protocol, port, address, number):
    match = Match("ip", destination=(address + "/32",), protocol=protocol, port=((port, port),))
    return Rule("between", match, ACCEPT, "port_forward/f{0}".format(number))


def arranged(rules):
    return {part.chain: part.rules for part in lookup.arranged(rules, "dstnat", "between")}


def walked(chains, chain, protocol, port, address=""):
    """The items whose rules a packet meets and that match its protocol and port, in order."""
    met = []
    for rule in chains[chain]:
        found, ends = at_rule(chains, rule, protocol, port, address)
        met += found
        if ends:
            break
    return met


def at_rule(chains, rule, protocol, port, address):
    """What a packet meets at one rule, and whether the rest of its chain does not matter."""
    if isinstance(rule, lookup.Lookup):
        known = {(address, port), *([] if address else rule.targets)}
        led = [to for key, to in rule.targets.items() if key in known and (address or key[0] <= port <= key[1])]
        led = led if rule.protocol == protocol else []
        return [key for to in led for key in walked(chains, to, protocol, port, address)], bool(led) and rule.goes
    if isinstance(rule, maps.Mapped):
        known = rule.elements.get((address, port) if address else port)
        fits = known and rule.like.match.protocol == protocol
        return ([known.counter.rpartition("/")[0]], bool(rule.chain)) if fits else ([], False)
    assert rule.action.kind != "drop", "what a set of ports lets in, the map behind it has"
    fits = rule.match.protocol == protocol and any(first <= port <= last for first, last in rule.match.port)
    if not fits or (address and address + "/32" not in rule.match.destination):
        return [], False
    if rule.action.kind == "jump":
        return walked(chains, rule.action.target, protocol, port, address), False
    return [rule.key], False


def keys(rules):
    return [rule.key for rule in rules]


def apart(rules):
    """Rules that no map of servers takes, as each of them matches something else."""
    return [
        dataclasses.replace(rule, match=dataclasses.replace(rule.match, source=("10.0.{0}.0/24".format(number),)))
        for number, rule in enumerate(rules)
    ]


def test_a_few_stay_in_a_row():
    rules = [coming("tcp", port, 0, port) for port in range(1, lookup.FEW + 1)]
    assert arranged(rules) == {"dstnat": tuple(rules)}


@strategies.drawn(40)
@given(st.lists(PORTS, min_size=lookup.FEW + 1, max_size=120))
def test_by_port_nothing_is_lost_added_or_out_of_order(ports):
    rules = [coming(*each, number=number) for number, each in enumerate(ports)]
    for each in (rules, apart(rules)):
        chains = arranged(each)
        assert any(rule.action.kind == "jump" for rule in chains["dstnat"])
        check_ports(each, chains)


def check_ports(rules, chains):
    for protocol in ("tcp", "udp"):
        for port in range(1, 440, 3):
            wanted = [
                r for r in rules if r.match.protocol == protocol and r.match.port[0][0] <= port <= r.match.port[0][1]
            ]
            assert walked(chains, "dstnat", protocol, port) == keys(wanted)


@strategies.drawn(40)
@given(st.lists(st.tuples(st.sampled_from(["tcp", "udp"]), st.integers(1, 40), st.integers(1, 9)), min_size=65))
def test_by_server_nothing_is_lost_added_or_out_of_order(servers):
    rules = [going(p, port, "192.168.1.{0}".format(host), i) for i, (p, port, host) in enumerate(servers)]
    for each in (rules, apart(rules)):
        check_servers(each, arranged(each))


def check_servers(rules, chains):
    for protocol in ("tcp", "udp"):
        for port in range(1, 41, 7):
            for host in range(1, 10):
                address = "192.168.1.{0}".format(host)
                wanted = [
                    rule
                    for rule in rules
                    if rule.match.protocol == protocol
                    and rule.match.port == ((port, port),)
                    and rule.match.destination == (address + "/32",)
                ]
                assert walked(chains, "between", protocol, port, address) == keys(wanted)


def test_a_wide_range_has_a_rule_of_its_own():
    rules = apart([coming("udp", port, 0, port) for port in range(2000, 2100)]) + [coming("udp", 3000, 999, 1)]
    chains = arranged(rules)
    entrance, wide = chains["dstnat"]
    assert {last - first for first, last in entrance.match.port} == {0}
    assert list(wide.targets) == [(3000, 3999)]
    assert walked(chains, "dstnat", "udp", 3500) == keys(rules[-1:])


def test_what_does_not_fit_a_map_keeps_its_place():
    answers = Rule("between", Match(ct_state=("established",)), ACCEPT, "answers")
    farm = Rule(
        "between",
        Match("ip", destination=("192.168.1.4/31",), protocol="tcp", port=((80, 80),)),
        ACCEPT,
        "port_forward/farm",
    )
    closed = Rule("between", Match(iif=("wan0",)), Action("drop"), "closed")
    many = [going("tcp", port, "192.168.1.9", port) for port in range(1, 70)]
    for rules, kind in ((many, maps.Mapped), (apart(many), lookup.Lookup)):
        kinds = arranged([answers, farm, *rules, closed])["between"]
        assert kinds[:2] + kinds[3:] == (answers, farm, closed)
        assert isinstance(kinds[2], kind)


def test_one_forward_more_changes_its_chain_and_the_map():
    rules = apart([coming("tcp", 8 * number, 0, number) for number in range(1, 80)])
    before, after = arranged(rules), arranged([*rules, coming("tcp", 81, 0, 99)])
    assert [chain for chain in after if before.get(chain) != after[chain]] == ["dstnat", "dstnat-tcp", "dstnat-tcp-80"]


def lans(*links):
    return [
        {"name": "l{0}".format(number), "interfaces": list(names), "networks": ["10.0.{0}.0/24".format(number)]}
        for number, names in enumerate(links)
    ]


def chain(name, *links):
    rows = NFT.render(ruleset(wans=[{"interface": "ppp0"}], lans=lans(*links)))
    texts = [NFT.show(row).partition(" comment ")[0] for row in rows]
    return [text.partition(": ")[2] for text in texts if text.startswith(name + ": ")]


def test_many_lans_are_told_apart_by_one_map():
    links = [("a0",), ("b0", "b1"), ("c0",), ("d0",)]
    rows = chain("forward", *links)
    assert rows.count("jump forward-by-link-1") == 1
    assert not any("vmap" in row or "jump lan-" in row for row in rows)
    # What a LAN says to no one in particular goes on from there.
    assert 'iifname { "a0", "b0", "b1", "c0", "d0" } jump to' in rows
    assert not any("by-link" in row for row in chain("forward", *links[:2]))


def test_where_the_map_of_links_has_no_elements_the_same_rules_follow_it():
    links = [("a0",), ("b0", "b1"), ("c0",), ("d0",)]
    known = ", ".join('"{0}" : goto lan-l{1}'.format(name, at) for at, names in enumerate(links) for name in names)
    assert chain("forward-by-link-1", *links) == [
        'iifname vmap {{ {0}, "ppp0" : goto from-wan }}'.format(known),
        'iifname "ppp0" goto from-wan',
        'iifname "a0" goto lan-l0',
        'iifname { "b0", "b1" } goto lan-l1',
        'iifname "c0" goto lan-l2',
        'iifname "d0" goto lan-l3',
    ]


def test_a_pattern_is_in_no_map():
    links = (("a0",), ("b0",), ("v*",), ("c0",), ("d0",), ("e0",), ("f0",))
    jumps = [row for row in chain("forward", *links) if "jump lan-" in row or "by-link" in row]
    assert jumps == [
        'iifname "a0" jump lan-l0',
        'iifname "b0" jump lan-l1',
        'iifname "v*" jump lan-l2',
        "jump forward-by-link-1",
    ]
