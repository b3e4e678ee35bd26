# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What nft gets for each action of a rule."""

from __future__ import annotations

import json

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError
from ansible_collections.ipmasq.linux.plugins.module_utils._rules.model import Action, Chain, Match
from ansible_collections.ipmasq.linux.plugins.module_utils._rules.rows import Plan
from ansible_collections.ipmasq.linux.tests.unit.backends import (
    IN_POOL,
    NFT,
    POOL,
    SHIFTED,
    by_client,
    in_turn,
    listed,
    loaded,
    of_one,
    ruleset,
    spread,
)

SRCNAT, DSTNAT = Chain("srcnat", "postrouting", "nat"), Chain("dstnat", "prerouting", "nat")


OUT = Match("ip", oif=("ppp0",))


ASKED = Match("ip", iif=("ppp0",), protocol="tcp", port=((7000, 7002),))


ASKED6 = Match("ip6", iif=("ppp0",), protocol="udp", port=((53, 53),))


RANGE = {"range": ["203.0.113.16", "203.0.113.17"]}


#: chain, match, action: what nft gets
TEST_STATEMENTS = [
    (SRCNAT, OUT, Action("masquerade"), {"masquerade": None}),
    (SRCNAT, OUT, Action("masquerade", random=True), {"masquerade": {"flags": "fully-random"}}),
    (SRCNAT, OUT, Action("masquerade", ports=(1024, 65535)), {"masquerade": {"port": {"range": [1024, 65535]}}}),
    (SRCNAT, OUT, Action("masquerade", ports=(1024, 1024)), {"masquerade": {"port": 1024}}),
    (SRCNAT, OUT, Action("snat", to=("203.0.113.9",)), {"snat": {"family": "ip", "addr": "203.0.113.9"}}),
    (
        SRCNAT,
        Match("ip6", oif=("ppp0",)),
        Action("snat", to=("2001:db8::9",), ports=(1, 2)),
        {"snat": {"family": "ip6", "addr": "2001:db8::9", "port": {"range": [1, 2]}}},
    ),
    (SRCNAT, OUT, Action("snat", to=POOL[:1]), {"snat": {"family": "ip", "addr": RANGE, "flags": "persistent"}}),
    (SRCNAT, OUT, Action("snat", to=POOL[:1], persistent=False), {"snat": {"family": "ip", "addr": RANGE}}),
    (
        SRCNAT,
        OUT,
        Action("snat", to=POOL[:1], random=True),
        {"snat": {"family": "ip", "addr": RANGE, "flags": ["fully-random", "persistent"]}},
    ),
    (SRCNAT, OUT, Action("snat", to=POOL), {"snat": {"family": "ip", "addr": spread(by_client(3), IN_POOL)}}),
    (
        SRCNAT,
        OUT,
        Action("snat", to=POOL, persistent=False, random=True),
        {"snat": {"family": "ip", "addr": spread(in_turn(3), IN_POOL), "flags": "fully-random"}},
    ),
    (
        SRCNAT,
        OUT,
        Action("netmap", to=("203.0.113.32/28",)),
        {
            "snat": {
                "family": "ip",
                "addr": {"prefix": {"addr": "203.0.113.32", "len": 28}},
                "flags": "netmap",
                "type_flags": "prefix",
            }
        },
    ),
    (
        DSTNAT,
        Match("ip6", iif=("ppp0",), destination=("2001:db8:1::/64",)),
        Action("netmap", to=("fd00:1::/64",)),
        {
            "dnat": {
                "family": "ip6",
                "addr": {"prefix": {"addr": "fd00:1::", "len": 64}},
                "flags": "netmap",
                "type_flags": "prefix",
            }
        },
    ),
    (
        SRCNAT,
        OUT,
        Action("hairpin", to=("203.0.113.7",)),
        {"snat": {"family": "ip", "addr": {"ct": {"key": "ip daddr", "dir": "original"}}}},
    ),
    (DSTNAT, ASKED, Action("dnat", to=("10.0.0.5",)), {"dnat": {"family": "ip", "addr": "10.0.0.5"}}),
    (
        DSTNAT,
        ASKED6,
        Action("dnat", to=("fd00::5",), ports=(8443, 8443)),
        {"dnat": {"family": "ip6", "addr": "fd00::5", "port": 8443}},
    ),
    (
        DSTNAT,
        ASKED,
        Action("dnat", to=("10.0.0.5",), ports=(27000, 27002), shift=True),
        {"dnat": {"family": "ip", "addr": "10.0.0.5", "port": SHIFTED}},
    ),
    (
        DSTNAT,
        ASKED,
        Action("dnat", to=("10.0.0.5", "10.0.0.6"), ports=(27000, 27002), shift=True),
        {
            "dnat": {
                "family": "ip",
                "addr": spread(in_turn(2), [[0, "10.0.0.5"], [1, "10.0.0.6"]]),
                "port": SHIFTED,
            }
        },
    ),
    (
        DSTNAT,
        ASKED,
        Action("dnat", to=("10.0.0.5", "10.0.0.6"), balance="source"),
        {"dnat": {"family": "ip", "addr": spread(by_client(2), [[0, "10.0.0.5"], [1, "10.0.0.6"]])}},
    ),
    (
        Chain("mss"),
        Match(oif=("ppp0",)),
        Action("set_mss", size=1452),
        {"mangle": {"key": {"tcp option": {"name": "maxseg", "field": "size"}}, "value": 1452}},
    ),
]


@pytest.mark.parametrize(("chain", "match", "action", "statement"), TEST_STATEMENTS)
def test_statement(chain, match, action, statement):
    first, *behind = (json.loads(row.text)["rule"] for row in NFT.render(of_one(chain, match, action))[1:])
    assert first["expr"][-1] == statement
    # What misses in a map, because the rules are being exchanged, goes no further.
    missed = [[*first["expr"][:-2], {"drop": None}]] if '"map"' in json.dumps(statement) else []
    assert [each["expr"] for each in behind] == missed


@pytest.mark.parametrize(("chain", "match", "action", "statement"), TEST_STATEMENTS)
def test_statement_is_a_fixpoint(chain, match, action, statement):
    desired = NFT.render(of_one(chain, match, action))
    assert Plan(listed(NFT, loaded(NFT, desired)), desired).differences(NFT.show) == []


@pytest.mark.parametrize("to", [("10.0.0.0-10.0.15.255", "203.0.113.9"), ("10.0.0.0-10.0.15.255",) * 2])
def test_no_address_of_a_large_pool_is_left_out(to):
    """Refuse it or spread it, but a pool of 4,097 addresses must not become one address, or none."""
    given = {"name": "x", "action": "snat", "to": list(to), "to_address": "routed"}
    try:
        rows = NFT.render(ruleset(nat=[given]))
    except GatewayError:
        return
    ((snat,),) = [
        [part["snat"] for part in json.loads(row.text)["rule"]["expr"] if "snat" in part]
        for row in rows
        if row.key == "nat/x" and row.chain == "srcnat" and "ppp0" in row.text
    ]
    assert len(snat["addr"]["map"]["data"]["set"]) > 4096
