# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What nft prints for one and the same thing is one and the same row."""

from __future__ import annotations

import json

import pytest

from ansible_collections.ipmasq.linux.tests.unit.backends import (
    IN_POOL,
    NFT,
    PAIRS,
    SADDR,
    SHIFTED,
    by_client,
    in_turn,
    match,
    spread,
)

#: What nft has been seen to print for one and the same thing.
TEST_CANONICAL = [
    (match(SADDR, {"set": [{"prefix": {"addr": half, "len": 25}} for half in ("10.0.0.0", "10.0.0.128")]}),
     match(SADDR, {"prefix": {"addr": "10.0.0.0", "len": 24}})),
    (match(SADDR, {"set": [{"range": ["10.0.0.0", "10.0.1.255"]}]}),
     match(SADDR, {"prefix": {"addr": "10.0.0.0", "len": 23}})),
    (match(SADDR, {"range": ["10.0.0.1", "10.0.0.3"]}),
     match(SADDR, {"set": ["10.0.0.1", {"prefix": {"addr": "10.0.0.2", "len": 31}}]})),
    (match(SADDR, {"set": ["10.0.0.1"]}), match(SADDR, "10.0.0.1")),
    (match({"meta": {"key": "iifname"}}, {"set": ["b", "a"]}),
     match({"meta": {"key": "iifname"}}, {"set": ["a", "b"]})),
    (match({"ct": {"key": "state"}}, ["related", "established"], "in"),
     match({"ct": {"key": "state"}}, ["established", "related"], "in")),
    (match({"ct": {"key": "state"}}, ["invalid"], "in"), match({"ct": {"key": "state"}}, "invalid", "in")),
    (match({"&": ["x", {"|": ["syn", "rst"]}]}, "syn"), match({"&": ["x", ["rst", "syn"]]}, "syn")),
    (match({"&": ["x", {"|": [{"|": ["syn", "rst"]}, "ack"]}]}, "syn"),
     match({"&": ["x", ["ack", "syn", "rst"]]}, "syn")),
    ({"counter": {"packets": 1, "bytes": 60}}, {"counter": None}),
]  # fmt: skip


def row_of(expr):
    rule = {"rule": {"chain": "c", "expr": [expr], "comment": "ipmasq:default/x", "handle": 7, "family": "inet"}}
    return NFT.parse(json.dumps({"nftables": [rule]}), "default")


@pytest.mark.parametrize(("one", "other"), TEST_CANONICAL)
def test_the_same_thing_in_two_ways(one, other):
    assert row_of(one) == row_of(other)


def test_what_differs_stays_different():
    assert row_of(match(SADDR, "10.0.0.1")) != row_of(match(SADDR, "10.0.0.2"))
    assert row_of(match(SADDR, "10.0.0.1")) != row_of(match(SADDR, "10.0.0.1", "!="))
    assert row_of({"accept": None}) != row_of({"drop": None})


LIMIT = {"rate": 10, "per": "second"}


SNAT = {"family": "ip", "flags": "persistent"}


#: What nft has been seen to print for one and the same thing.
TEST_CANONICAL_NAT = [
    # 1.0.6 prints the burst, 0.9.8 does not
    ({"limit": dict(LIMIT, burst=5)}, {"limit": LIMIT}),
    # a range that happens to be a network
    (
        {"snat": dict(SNAT, addr={"prefix": {"addr": "203.0.113.16", "len": 30}})},
        {"snat": dict(SNAT, addr={"range": ["203.0.113.16", "203.0.113.19"]})},
    ),
    (
        {"snat": {"family": "ip6", "addr": {"prefix": {"addr": "2001:db8::", "len": 127}}}},
        {"snat": {"family": "ip6", "addr": {"range": ["2001:db8::", "2001:db8::1"]}}},
    ),
]


@pytest.mark.parametrize(("one", "other"), TEST_CANONICAL_NAT)
def test_the_same_translation_in_two_ways(one, other):
    assert row_of(one) == row_of(other)


#: What is not the same, however alike
TEST_DIFFERENT = [
    ({"limit": dict(LIMIT, burst=6)}, {"limit": LIMIT}),
    ({"limit": dict(LIMIT, rate=11)}, {"limit": LIMIT}),
    ({"limit": dict(LIMIT, inv=True)}, {"limit": LIMIT}),
    (
        {"snat": {"family": "ip", "addr": {"prefix": {"addr": "203.0.113.16", "len": 30}}, "flags": "netmap"}},
        {"snat": {"family": "ip", "addr": {"range": ["203.0.113.16", "203.0.113.19"]}}},
    ),
    ({"snat": dict(SNAT, addr="203.0.113.9")}, {"snat": {"family": "ip", "addr": "203.0.113.9"}}),
    (
        {"snat": {"family": "ip", "addr": spread(in_turn(3), IN_POOL)}},
        {"snat": {"family": "ip", "addr": spread(by_client(3), IN_POOL)}},
    ),
    (
        {"dnat": {"family": "ip", "addr": "10.0.0.5", "port": SHIFTED}},
        {"dnat": {"family": "ip", "addr": "10.0.0.5", "port": spread({"meta": {"key": "l4proto"}}, PAIRS)}},
    ),
    ({"masquerade": {"flags": "random"}}, {"masquerade": {"flags": "fully-random"}}),
]


@pytest.mark.parametrize(("one", "other"), TEST_DIFFERENT)
def test_another_translation_is_drift(one, other):
    assert row_of(one) != row_of(other)
