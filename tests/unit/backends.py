# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A gateway's rules, loaded on a made-up host and listed by each backend."""

from __future__ import annotations

import json

from ansible_collections.ipmasq.linux.plugins.module_utils._backend.iptables.backend import Iptables
from ansible_collections.ipmasq.linux.plugins.module_utils._backend.nftables.backend import Nftables
from ansible_collections.ipmasq.linux.plugins.module_utils._backend.steps import load
from ansible_collections.ipmasq.linux.plugins.module_utils._facts.links import Facts
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.read import gateway_from_params
from ansible_collections.ipmasq.linux.plugins.module_utils._resolve.resolve import resolve
from ansible_collections.ipmasq.linux.plugins.module_utils._rules.compile import compile_gateway
from ansible_collections.ipmasq.linux.plugins.module_utils._rules.model import Rule, RuleSet
from ansible_collections.ipmasq.linux.tests.unit import fakes
from ansible_collections.ipmasq.linux.tests.unit.params import gateway_params

NFT = Nftables()
V4 = Iptables("nft", ("ip",))
BOTH = Iptables("nft", ("ip", "ip6"))
LAN = {
    "name": "office",
    "interfaces": ["lan0", "lan1"],
    "networks": ["192.168.1.0/24", "192.168.3.0/24", "10.0.0.1/32", "fd00:1::/64"],
}


def ruleset(**given):
    options = dict(wans=[{"interface": "ppp0"}, {"interface": "wwan*"}], lans=[LAN])
    options.update(given)
    return compile_gateway(resolve(gateway_from_params(gateway_params(**options)), Facts((), ())).gateway)


def small(**given):
    """Fewer interfaces and networks: each of them is a rule of iptables."""
    lan = {"name": "office", "interfaces": ["lan0"], "networks": ["192.168.1.0/24", "fd00:1::/64"]}
    return ruleset(**dict({"wans": [{"interface": "ppp*"}], "lans": [lan]}, **given))


def of_one(chain, match, action):
    """One rule, alone in its chain."""
    return RuleSet("default", (chain,), (Rule(chain.name, match, action, "nat/x"),))


def loaded(backend, desired, live=(), host=None, instance="default"):
    """A host on which these rows were loaded."""
    host = host or fakes.FakeHost(fakes.NFT if backend is NFT else fakes.IPTABLES_NFT)
    load(backend.steps(desired, live, instance), host)
    return host


def listed(backend, host, instance="default"):
    return backend.parse(backend.read(host, instance), instance)


def foreign(chain, *expr, **more):
    """A rule that is not ours, in nft's JSON."""
    return {"rule": dict({"chain": chain, "expr": list(expr)}, **more)}


def match(left, right, op="=="):
    return {"match": {"op": op, "left": left, "right": right}}


def spread(chooser, data):
    return {"map": {"key": chooser, "data": {"set": data}}}


SADDR = {"payload": {"protocol": "ip", "field": "saddr"}}


def by_client(count):
    return {"jhash": {"expr": SADDR, "mod": count, "seed": 1}}


def in_turn(count):
    return {"numgen": {"mode": "inc", "mod": count, "offset": 0}}


#: Ports from 7000 that are shifted to ports from 27000.
PAIRS = [[7000, 27000], [7001, 27001], [7002, 27002]]
SHIFTED = spread({"payload": {"protocol": "tcp", "field": "dport"}}, PAIRS)
#: A pool of two entries, and its addresses by number.
POOL = ("203.0.113.16-203.0.113.17", "203.0.113.30")
IN_POOL = [[0, "203.0.113.16"], [1, "203.0.113.17"], [2, "203.0.113.30"]]


def told(chain, match, action):
    """The expressions that nft gets for one rule."""
    (row,) = NFT.render(of_one(chain, match, action))[1:]
    return json.loads(row.text)["rule"]["expr"]
