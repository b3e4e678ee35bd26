# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""JSON of rules as nft text. The golden cases show with the real tool that nft reads it."""

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._backend.nftables.text import words


def match(left, right, op="=="):
    return {"match": {"left": left, "right": right, "op": op}}


@pytest.mark.parametrize(
    ("part", "text"),
    [
        (match({"meta": {"key": "oifname"}}, "ppp*"), 'oifname "ppp*"'),
        (match({"meta": {"key": "iifname"}}, {"set": ["a", "b"]}), 'iifname { "a", "b" }'),
        (match({"meta": {"key": "l4proto"}}, "tcp"), "meta l4proto tcp"),
        (match({"rt": {"key": "ipsec"}}, True), "rt ipsec exists"),
        (match({"rt": {"key": "ipsec"}}, False), "rt ipsec missing"),
        (match({"ct": {"key": "state"}}, ["established", "related"], "in"), "ct state established,related"),
        (
            match({"payload": {"protocol": "ip", "field": "daddr"}}, {"prefix": {"addr": "10.0.0.0", "len": 8}}, "!="),
            "ip daddr != 10.0.0.0/8",
        ),
        (match({"payload": {"protocol": "udp", "field": "dport"}}, {"range": [1, 9]}), "udp dport 1-9"),
        ({"ct timeout": "ip-udp-replied-60"}, 'ct timeout set "ip-udp-replied-60"'),
        ({"flow": {"op": "add", "flowtable": "@offload"}}, "flow add @offload"),
        ({"counter": {"packets": 3, "bytes": 120}}, "counter packets 3 bytes 120"),
        ({"accept": None}, "accept"),
        ({"jump": {"target": "to"}}, "jump to"),
        ({"reject": {"type": "icmpx", "expr": "admin-prohibited"}}, "reject with icmpx admin-prohibited"),
        ({"log": {"prefix": "ipmasq closed: "}}, 'log prefix "ipmasq closed: "'),
        ({"limit": {"rate": 10, "per": "minute"}}, "limit rate 10/minute"),
        ({"ct helper": "ftp-tcp"}, 'ct helper set "ftp-tcp"'),
        (match({"fib": {"flags": ["daddr"], "result": "type"}}, "local"), "fib daddr type local"),
        ({"masquerade": None}, "masquerade"),
        ({"masquerade": {"port": {"range": [1, 9]}, "flags": ["random"]}}, "masquerade to :1-9 random"),
        (
            {"dnat": {"family": "ip6", "addr": "fd00:1::2", "port": 80, "flags": "persistent"}},
            "dnat ip6 to [fd00:1::2]:80 persistent",
        ),
        (
            {"snat": {"family": "ip", "addr": {"prefix": {"addr": "192.0.2.0", "len": 24}}, "flags": "netmap"}},
            "snat ip prefix to 192.0.2.0/24",
        ),
        (
            {"vmap": {"key": {"meta": {"key": "iifname"}}, "data": {"set": [["a", {"jump": {"target": "x"}}]]}}},
            'iifname vmap { "a" : jump x }',
        ),
        ({"vmap": {"key": {"meta": {"key": "iifname"}}, "data": "@m"}}, "iifname vmap @m"),
        # Others' words stay as they are.
        ({"flow": {"op": "add"}}, 'flow {"op": "add"}'),
        ({"xt": {"type": "target"}}, 'xt {"type": "target"}'),
        (match({"socket": {"key": "mark"}}, 1), '{"socket": {"key": "mark"}} 1'),
    ],
)
def test_words(part, text):
    assert " ".join(words(part)) == text


def test_a_counter_that_has_not_counted_has_no_words():
    assert words({"counter": None}) == []
