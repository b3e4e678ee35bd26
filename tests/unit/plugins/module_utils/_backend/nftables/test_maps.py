# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Forwards that differ only in ports and server are one rule with maps, and mean the same."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

from hypothesis import given, strategies as st

from ansible_collections.ipmasq.linux.plugins.module_utils._backend.nftables import lookup, maps
from ansible_collections.ipmasq.linux.plugins.module_utils._rules.model import Action, Match, Rule
from ansible_collections.ipmasq.linux.plugins.module_utils._rules.rows import Plan
from ansible_collections.ipmasq.linux.tests.unit import strategies
from ansible_collections.ipmasq.linux.tests.unit.backends import NFT, listed, loaded, ruleset

INSIDE = "10.0.0.0/8"
SERVER = {"ip": "192.168.1.9", "ip6": "fd00:1::9"}
#: What a forward matches; most of them are alike.
LIKE = st.tuples(
    st.sampled_from([("wan0",)] * 12 + [("wan1",), ("wan0", "wan1"), ("wan*",)]),
    st.sampled_from(["ip"] * 6 + ["ip6"]),
    st.sampled_from(["tcp"] * 6 + ["udp"]),
    st.sampled_from([()] * 12 + [(INSIDE,)]),
    st.integers(1, 400),
    st.sampled_from([0] * 12 + [1, 4, 300]),
    st.sampled_from([None, None, 1, 5000]),
)


def made(number, iif, family, protocol, source, first, more, port):
    match = Match(family, iif=iif, source=source, local=True, protocol=protocol, port=((first, first + more),))
    action = Action("dnat", to=(SERVER[family],), ports=port and (port, port + more), shift=bool(port and more))
    return Rule("dstnat", match, action, "port_forward/f{0}".format(number))


def plain(count=80, **more):
    """As many as move into a map."""
    whole = dict(iif=("wan0",), family="ip", protocol="tcp", source=(), more=0, port=None)
    return [made(number, first=number + 1, **dict(whole, **more)) for number in range(count)]


def matches(rule, packet):
    """Asked millions of times: what most rules fail comes first, without generators."""
    family, link, protocol, port, inside = packet
    match = rule.match
    if match.protocol != protocol or match.family not in ("", family) or (match.source and not inside):
        return False
    for first, last in match.port:
        if first <= port <= last:
            break
    else:
        return False
    names = match.iif
    return not names or any(link == name or (name.endswith("*") and link.startswith(name[:-1])) for name in names)


def target(rule, port):
    """Where a rule sends what is for a port, by which item."""
    to = rule.action.ports[0] + (port - rule.match.port[0][0]) * rule.action.shift if rule.action.ports else 0
    return rule.key, rule.action.to[0], to


def decided(chains, chain, packet):
    """What the first rule that matches a packet does with it."""
    _family, _link, protocol, port, _inside = packet
    for rule in chains[chain]:
        found = None
        if isinstance(rule, maps.Mapped):
            each = rule.elements[port]
            found = (each.counter[: -len("/dnat")], each.to, each.port)
        elif isinstance(rule, lookup.Lookup):
            if rule.protocol == protocol:
                led = [to for (first, last), to in rule.targets.items() if first <= port <= last]
                found = next(filter(None, (decided(chains, to, packet) for to in led)), None)
                if led and rule.goes:
                    return found
        elif rule.action.kind == "jump":
            found = decided(chains, rule.action.target, packet) if matches(rule, packet) else None
        elif matches(rule, packet):
            found = target(rule, port)
        if found:
            return found
    return None


@strategies.drawn(25)
@given(st.lists(LIKE, min_size=150, max_size=220))
def test_each_packet_meets_the_forward_that_it_would_have_met_in_a_row(drawn):
    rules = [made(number, *each) for number, each in enumerate(drawn)]
    chains = {part.chain: part.rules for part in lookup.arranged(rules, "dstnat", "between")}
    for packet in itertools.product(("ip", "ip6"), ("wan0", "wan1"), ("tcp", "udp"), range(1, 720, 11), (True, False)):
        wanted = next((target(rule, packet[3]) for rule in rules if matches(rule, packet)), None)
        assert decided(chains, "dstnat", packet) == wanted, packet


def test_an_earlier_one_that_may_match_the_same_keeps_both_out_of_the_map():
    special = made(900, ("wan0",), "ip", "tcp", (INSIDE,), 7, 0, None)
    found, known = maps.mapped([special, *plain()], "dstnat")
    assert 7 not in found[0].elements and len(found[0].elements) == 79
    assert known == set(range(1, 81)) - {7}
    # A later one, or one of another link, family or protocol, does not.
    for other in ({"iif": ("wan1",)}, {"family": "ip6"}, {"protocol": "udp"}):
        assert len(maps.mapped([plain(7, **other)[-1], *plain()], "dstnat")[0][0].elements) == 80
    assert len(maps.mapped([*plain(), special], "dstnat")[0][0].elements) == 80
    # A range that is too wide for a map, or a rule for all ports.
    wide = made(901, ("wan0",), "ip", "tcp", (), 1, 999, None)
    everything = Rule("dstnat", Match(iif=("wan0",)), Action("dnat", to=("192.168.1.3",)), "nat/x")
    for first in (wide, everything):
        assert maps.mapped([first, *plain()], "dstnat") == ([], set())


def test_only_narrow_ranges_become_elements():
    """240 ranges of 250 ports took nft 30 s."""

    def ranges(more):
        return [made(number, ("wan0",), "ip", "tcp", (), 20 * number + 1, more, None) for number in range(80)]

    found, known = maps.mapped(ranges(7), "dstnat")
    assert len(found[0].elements) == 640 and len(known) == 80
    assert maps.mapped(ranges(8), "dstnat") == ([], set())


def test_thousands_that_one_port_or_range_keeps_out_are_not_compared_with_each_other():
    alike = [made(number, ("wan0",), "ip", "tcp", (), 443, 0, None) for number in range(3000)]
    assert len(maps.mapped(alike, "dstnat")[1]) == 0
    ranges = [made(number, ("wan0",), "ip", "tcp", (), 10 * number + 1, 900, None) for number in range(3000)]
    assert len(maps.mapped([*ranges, *plain()], "dstnat")[1]) == 0


def test_several_servers_and_rules_that_would_be_several_are_in_no_map():
    farm = [replace(rule, action=Action("dnat", to=("10.0.0.1", "10.0.0.2"))) for rule in plain()]
    assert maps.mapped(farm, "dstnat")[0] == []
    assert maps.mapped(plain(source=("10.0.0.0/8", "172.16.0.0/12")), "dstnat")[0] == []
    assert maps.mapped(plain(iif=("wan0", "ppp*")), "dstnat")[0] == []


# --- Rows ------------------------------------------------------------------------------------------------------------


def forwards(count=70, **more):
    return [
        dict({"name": "f{0}".format(number), "port": [str(7000 + number)], "to": ["192.168.1.9"]}, **more)
        for number in range(count)
    ]


def rows(items):
    return NFT.render(ruleset(wans=[{"interface": "ppp0"}], port_forwards=items))


def texts(found):
    return [NFT.show(row) for row in found]


def test_one_rule_on_each_side_and_two_counters_for_each_forward():
    found = rows(forwards())
    entrance = next(text for text in texts(found) if text.startswith("dstnat: "))
    assert entrance.startswith('dstnat: iifname "ppp0" meta nfproto ipv4 tcp dport { 7000, 7001, ')
    assert " } fib daddr type local jump dstnat-map-0 " in entrance
    before, end, after = (text for text in texts(found) if "counter name" in text or "dstnat-map-0: drop" in text)
    start = 'dstnat-map-0: counter name tcp dport map { 7000 : "port_forward/f0/dnat", 7001 : "port_forward/f1/dnat", '
    assert before.startswith(start)
    assert end == 'dstnat-map-0: drop comment "ipmasq:default/lookup"'
    assert " dnat ip to tcp dport map { 7000 : 192.168.1.9, " in before
    assert ' ct status dnat counter name ip daddr . tcp dport map { 192.168.1.9 . 7000 : "port_forward/f0/acc' in after
    assert after.endswith(' } accept comment "ipmasq:default/lookup"')
    assert [row.key for row in found if "port_forward/f42/" in row.text and row.chain == "counters"] == [
        "port_forward/f42"
    ] * 2
    assert "counter port_forward/f42/dnat" in texts(found)
    assert not any("port_forward/" in row.key for row in found if row.chain != "counters")


def test_another_port_at_the_server_is_a_map_of_ports():
    found = rows([dict(each, to_port=int(each["port"][0]) + 1000) for each in forwards()])
    (text,) = [text for text in texts(found) if text.startswith("dstnat-map-0: counter name")]
    assert ":tcp dport map { 7000 : 8000, 7001 : 8001, " in text


def test_they_are_read_back_as_they_were_loaded_in_any_order():
    found = rows(forwards())
    listing = json.loads(NFT.read(loaded(NFT, found), "default"))["nftables"]
    live = NFT.parse(json.dumps({"nftables": listing[::-1]}), "default")
    assert {row for row in live if row.chain == "counters"} == {row for row in found if row.chain == "counters"}
    assert not Plan(listed(NFT, loaded(NFT, found)), found).changed
    # nft 0.9.8 also lists the family that an address in a map implies.
    for entry in listing:
        if "between" in str(entry) and "concat" in str(entry):
            family = {"match": {"op": "==", "left": {"meta": {"key": "nfproto"}}, "right": "ipv4"}}
            entry["rule"]["expr"].insert(2, family)
    assert not Plan(NFT.parse(json.dumps({"nftables": listing}), "default"), found).changed


def test_a_counter_of_somebody_else_is_a_difference_and_belongs_to_no_item():
    host = loaded(NFT, rows(forwards()))
    for name in ("mine", "port_forward/x", "nat/x/dnat", "port_forward/x/drop"):
        host.nft.tables["ipmasq"].append({"counter": {"family": "inet", "table": "ipmasq", "name": name}})
    plan = Plan(listed(NFT, host), rows(forwards()))
    assert plan.changed
    assert [row.key for row in plan.remove] == [""] * 4
    reference = {"counter": "mine"}
    rule = {"rule": {"family": "inet", "table": "ipmasq", "chain": "between", "expr": [reference, {"accept": None}]}}
    host.nft.tables["ipmasq"].append(rule)
    assert "counter mine accept" in " ".join(texts(Plan(listed(NFT, host), rows(forwards())).remove)).replace('"', "")


def test_a_forward_that_stays_keeps_its_counters():
    live = tuple(
        replace(row, packets=5, bytes=300) if "/f42/dnat" in row.text and row.chain == "counters" else row
        for row in rows(forwards())
    )
    script = json.loads(NFT.steps(rows(forwards(80)), live, "default")[0].stdin)["nftables"]
    counters = [command["add"]["counter"] for command in script if "counter" in command.get("add", {})]
    assert len(counters) == 160
    assert [each for each in counters if each["packets"]] == [
        {"family": "inet", "table": "ipmasq", "name": "port_forward/f42/dnat", "packets": 5, "bytes": 300}
    ]
    # Objects come before the rules that refer to them.
    kinds = [next(iter(command["add"])) for command in script if "add" in command]
    assert kinds.index("rule") > max(place for place, kind in enumerate(kinds) if kind == "counter")


def test_two_forwards_to_one_port_of_a_server_are_told_apart_as_before():
    twice = [*forwards(), {"name": "again", "port": ["9000"], "to": ["192.168.1.9"], "to_port": 7000}]
    found = rows(twice)
    keys = [row.key for row in found if row.chain == "between" and "port_forward/" in row.key]
    assert keys == ["port_forward/f0", "port_forward/again"]
