# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What nft gets for each match of a rule."""

from __future__ import annotations

import json
import pathlib

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._backend.nftables.match import split
from ansible_collections.ipmasq.linux.plugins.module_utils._rules.model import Action, Chain, Match
from ansible_collections.ipmasq.linux.plugins.module_utils._rules.rows import Plan
from ansible_collections.ipmasq.linux.tests.unit.backends import NFT, SADDR, listed, loaded, match, of_one, told

LAN_CHAIN = Chain("lan-a")


NEXT_HEADER = {"payload": {"protocol": "ip6", "field": "nexthdr"}}


L4PROTO, DPORT = {"meta": {"key": "l4proto"}}, {"payload": {"protocol": "udp", "field": "dport"}}


DADDR = {"payload": {"protocol": "ip", "field": "daddr"}}


LOCAL = match({"fib": {"result": "type", "flags": ["daddr"]}}, "local")


MANY = ["10.{0}.0.0/24".format(number) for number in range(65)]


INVALID = match({"ct": {"key": "state"}}, "invalid", "in")


#: match: what nft gets, in order
TEST_MATCHES = [
    (Match(iif=("lan0",), ct_state=("invalid",)), [INVALID, match({"meta": {"key": "iifname"}}, "lan0")]),
    (
        Match("ip", source=tuple(MANY)),
        [match({"&": [SADDR, "255.255.255.0"]}, {"set": sorted(net[:-3] for net in MANY)})],
    ),
    (
        Match("ip6", destination=tuple("fd00:{0:x}::/56".format(number) for number in range(16, 81))),
        [
            match(
                {"&": [{"payload": {"protocol": "ip6", "field": "daddr"}}, "ffff:ffff:ffff:ff00::"]},
                {"set": sorted("fd00:{0:x}::".format(number) for number in range(16, 81))},
            )
        ],
    ),
    (
        Match("ip", source=tuple("10.0.{0}.1/32".format(number) for number in range(65))),
        [match(SADDR, {"set": sorted("10.0.{0}.1".format(number) for number in range(65))})],
    ),
    (Match(protocol="esp"), [match(L4PROTO, 50)]),
    (Match(protocol="vrrp"), [match(L4PROTO, 112)]),
    (Match("ip6", protocol="ah"), [match(NEXT_HEADER, 51)]),
    (Match(protocol="icmp"), [match(L4PROTO, 1)]),
    (Match(protocol="icmpv6"), [match(L4PROTO, 58)]),
    (Match(protocol="udp", port=((53, 53),)), [match(DPORT, 53)]),
    (Match(protocol="udp", port=((53, 60),)), [match(DPORT, {"range": [53, 60]})]),
    (Match(protocol="udp", port=((5, 5), (7, 7))), [match(DPORT, {"set": [5, 7]})]),
    (Match(translated=True), [match({"ct": {"key": "status"}}, "dnat", "in")]),
    (Match(ipsec=True), [match({"rt": {"key": "ipsec"}}, True)]),
    (Match(plain=True), [match({"rt": {"key": "ipsec"}}, False)]),
    (Match(rate="10/second"), [{"limit": {"rate": 10, "per": "second"}}]),
    (Match(local=True), [LOCAL]),
    (
        Match("ip", local=True, not_destination=("10.0.0.0/8", "192.168.1.1/32")),
        [
            match(DADDR, {"prefix": {"addr": "10.0.0.0", "len": 8}}, "!="),
            match(DADDR, "192.168.1.1", "!="),
            LOCAL,
        ],
    ),
]


@pytest.mark.parametrize(("wanted", "parts"), TEST_MATCHES)
def test_match(wanted, parts):
    assert told(LAN_CHAIN, wanted, Action("accept")) == parts + [{"counter": None}, {"accept": None}]
    desired = NFT.render(of_one(LAN_CHAIN, wanted, Action("accept")))
    assert Plan(listed(NFT, loaded(NFT, desired)), desired).differences(NFT.show) == []


def test_no_set_is_a_tree():
    """The kernel does not exchange trees together with the rules."""
    networks = ("10.0.0.0/8", "172.16.0.0/12", "192.168.1.0/24", "192.168.2.0/24")
    ports = ((5, 5), (7, 7), (8, 9))
    found = split(Match("ip", source=networks, destination=networks[2:], protocol="udp", port=ports, asked=networks))
    assert {each.source for each in found} == {networks[:1], networks[1:2], networks[2:]}
    assert {each.destination for each in found} == {networks[2:]}
    assert {each.port for each in found} == {ports[:2], ports[2:]}
    # nft takes no mask in front of an address of conntrack.
    assert {each.asked for each in found} == {(net,) for net in networks}
    assert len(found) == 3 * 2 * 4
    # A limit holds for all of them together.
    assert split(Match("ip", source=networks, rate="1/second")) == [Match("ip", source=networks, rate="1/second")]


def test_no_rule_of_a_golden_has_a_tree():
    files = sorted(pathlib.Path(__file__).parents[4].glob("golden/*/nftables.json"))
    lines = [line.rstrip(",") for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    rules = [json.loads(line) for line in lines if line.startswith('{"add": {"rule"')]
    trees = [rule for rule in rules if has_tree(rule) and '"limit"' not in json.dumps(rule)]
    assert len(rules) > 1000
    assert trees == []


def has_tree(part) -> bool:
    if isinstance(part, dict):
        keys = [each[0] if isinstance(each, list) else each for each in part.get("set", [])]
        tree = any(isinstance(key, dict) and {"prefix", "range"} & set(key) for key in keys)
        return tree or any(has_tree(each) for each in part.values())
    return isinstance(part, list) and any(has_tree(each) for each in part)
