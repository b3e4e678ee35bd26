# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The kernel's own answers are in tests/integration/test_proof_blames.py."""

from __future__ import annotations

import json

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._base.host import Done
from ansible_collections.ipmasq.linux.plugins.module_utils._proof import routing
from ansible_collections.ipmasq.linux.plugins.module_utils._proof.packets import Packet

OUT = Packet("192.168.1.9", "9.9.9.9", "tcp", 50007, 443)
ALL = [
    {"priority": 0, "src": "all", "table": "local"},
    {"priority": 32766, "src": "all", "table": "main"},
    {"priority": 32767, "src": "all", "table": "default"},
]
DEFAULT = {"dst": "default", "gateway": "203.0.113.1", "dev": "wan0"}


class Host:
    """Rules, and routes by table."""

    def __init__(self, rules, **routes):
        self.rules, self.routes = rules, routes

    def run(self, argv, stdin=None):
        if "rule" in argv:
            return Done(0, json.dumps(self.rules), "")
        if "get" in argv:
            return Done(2, "", "RTNETLINK answers: Invalid argument\n")
        return Done(0, json.dumps(self.routes.get("t" + argv[argv.index("table") + 1], [])), "")


def way(host, packet=OUT, place="lan0", mark=0):
    return routing.way(routing.Asked(packet, place, mark), host)


def test_the_longest_route_of_the_first_table_that_has_one():
    routes = [DEFAULT, {"dst": "9.9.0.0/16", "dev": "wan1"}, {"type": "blackhole", "dst": "9.9.9.0/24"}]
    assert way(Host(ALL, tmain=routes)) == ("route blackhole 9.9.9.0/24 of table main", "", "blackhole", False)
    assert way(Host(ALL, tmain=[DEFAULT])) == (
        "route default via 203.0.113.1 dev wan0 of table main",
        "wan0",
        "unicast",
        False,
    )
    hops = [{"gateway": "203.0.113.1", "dev": "wan0"}, {"via": {}, "dev": "wan1"}]
    assert way(Host(ALL, tmain=[{"dst": "default", "nexthops": hops}])).words == (
        "route default nexthop via 203.0.113.1 dev wan0 nexthop dev wan1 of table main"
    )
    assert way(Host(ALL)) is None
    both = [dict(DEFAULT, metric=100), dict(DEFAULT, dev="wan1", metric=50)]
    assert way(Host(ALL, tmain=both)).link == "wan1"


@pytest.mark.parametrize(
    ("rule", "meets", "words"),
    [
        ({"src": "all", "dst": "9.9.9.0", "dstlen": 24}, True, "10 (to 9.9.9.0/24 lookup 77)"),
        ({"src": "192.168.1.9"}, True, "10 (from 192.168.1.9 lookup 77)"),
        ({"src": "all", "fwmark": "0x1", "fwmask": "0xff"}, True, "10 (fwmark 0x1 lookup 77)"),
        ({"src": "all", "fwmark": "0x2"}, False, ""),
        ({"src": "all", "iif": "guest0"}, False, ""),
        ({"src": "all", "oif": "wan0"}, False, ""),
        ({"src": "all", "iif": "guest0", "not": None}, True, "10 (not iif guest0 lookup 77)"),
        ({"src": "all", "ipproto": "udp"}, False, ""),
        ({"src": "all", "dport": 443}, True, "10 (dport 443 lookup 77)"),
        ({"src": "all", "dport_start": 1, "dport_end": 99}, False, ""),
        ({"src": "all", "suppress_prefixlen": 0}, False, ""),
    ],
)
def test_rules(rule, meets, words):
    host = Host([dict(rule, priority=10, table="77"), *ALL], t77=[dict(DEFAULT, dev="wan7")], tmain=[DEFAULT])
    found = way(host, mark=0x101)
    assert found.link == ("wan7" if meets else "wan0")
    assert not meets or found.words == "route default via 203.0.113.1 dev wan7 by ip rule " + words


def test_what_ends_at_a_rule_or_goes_on_behind_it():
    stops = Host([{"priority": 5, "src": "192.168.1.0", "srclen": 24, "action": "prohibit"}, *ALL], tmain=[DEFAULT])
    assert way(stops) == ("ip rule 5 (from 192.168.1.0/24 prohibit)", "", "prohibit", True)
    everybody = Host([{"priority": 5, "src": "all", "dst": "9.9.9.9", "action": "prohibit"}, *ALL], tmain=[DEFAULT])
    assert not way(everybody).meant
    own = [{"priority": 5, "src": "192.168.1.0", "srclen": 24, "table": "9"}, *ALL]
    for route, meant in (({"dst": "default"}, True), ({"dst": "9.9.9.0/24"}, False)):
        assert way(Host(own, t9=[{"type": "blackhole", **route}], tmain=[DEFAULT])).meant is meant
    assert not way(Host(ALL, tmain=[{"type": "blackhole", "dst": "default"}])).meant
    marked = [{"priority": 4, "src": "all", "fwmark": "0x1", "table": "9"}, *stops.rules]
    assert not way(Host(marked, tmain=[DEFAULT])).meant, "the mark is not known"
    thrown = Host(
        [{"priority": 5, "src": "all", "table": "9"}, *ALL], t9=[{"type": "throw", "dst": "9.9.9.9"}], tmain=[DEFAULT]
    )
    assert way(thrown).link == "wan0"
    assert routing.refused(routing.Asked(OUT, "lan0", 7), thrown) == "RTNETLINK answers: Invalid argument"
