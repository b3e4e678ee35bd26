# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""nftables: canonical rows from whatever nft prints, and one transaction to replace them."""

from __future__ import annotations

import json

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._backend.nftables.backend import (
    Nftables,
    by_length,
    explain,
    table,
)
from ansible_collections.ipmasq.linux.plugins.module_utils._compile import compile_gateway
from ansible_collections.ipmasq.linux.plugins.module_utils._errors import GatewayError, MissingProgram
from ansible_collections.ipmasq.linux.plugins.module_utils._facts import Facts
from ansible_collections.ipmasq.linux.plugins.module_utils._host import Done
from ansible_collections.ipmasq.linux.plugins.module_utils._intent import gateway_from_params
from ansible_collections.ipmasq.linux.plugins.module_utils._plan import Plan
from ansible_collections.ipmasq.linux.plugins.module_utils._resolve import resolve
from ansible_collections.ipmasq.linux.plugins.module_utils._rules import Action, Chain, Match, Rule, RuleSet
from ansible_collections.ipmasq.linux.tests.unit import fakes
from ansible_collections.ipmasq.linux.tests.unit.params import gateway_params

NFT = Nftables()
NETWORKS = ["192.168.1.0/24", "192.168.3.0/24", "10.0.0.1/32", "fd00:1::/64"]


def ruleset(**given):
    options = dict(
        wans=[{"interface": "ppp0"}, {"interface": "wwan*"}],
        lans=[{"name": "office", "interfaces": ["lan0", "lan1"], "networks": NETWORKS}],
    )
    options.update(given)
    return compile_gateway(resolve(gateway_from_params(gateway_params(**options)), Facts((), ())).gateway)


def loaded(desired, live=(), host=None, instance="default"):
    host = host or fakes.FakeHost()
    NFT.load(host, NFT.script(desired, live, instance))
    return host


def listed(host, instance="default"):
    return NFT.parse(NFT.read(host, instance), instance)


def rules_of(host, chain, name="ipmasq"):
    return [each["rule"] for each in host.nft.tables[name] if each.get("rule", {}).get("chain") == chain]


def foreign(chain, *expr, **more):
    return {"rule": dict({"chain": chain, "expr": list(expr)}, **more)}


def match(left, right, op="=="):
    return {"match": {"op": op, "left": left, "right": right}}


SADDR = {"payload": {"protocol": "ip", "field": "saddr"}}


def test_fixpoint():
    desired = NFT.render(ruleset())
    assert Plan(listed(loaded(desired)), desired).differences(NFT.show) == []


def test_nothing_there():
    assert listed(fakes.FakeHost()) == ()
    assert NFT.parse("", "default") == ()


def test_absent_takes_the_table_away():
    host = loaded(NFT.render(ruleset()))
    loaded((), listed(host), host)
    assert host.nft.tables == {}
    loaded((), (), host)
    assert host.nft.tables == {}


def test_tables():
    assert (table("default"), table("lab")) == ("ipmasq", "ipmasq_lab")
    host = loaded(NFT.render(ruleset(instance="lab")), instance="lab")
    assert list(host.nft.tables) == ["ipmasq_lab"]
    assert listed(host) == ()
    assert next(row.key for row in listed(host, "lab") if row.key.startswith("nat/")) == "nat/default"


def test_one_process_to_read_and_one_to_apply():
    host = fakes.FakeHost()
    live = listed(host)
    loaded(NFT.render(ruleset()), live, host)
    assert host.calls == [["nft", "-j", "list", "table", "inet", "ipmasq"], ["nft", "-j", "-f", "-"]]


def test_never_flushes_a_ruleset_and_touches_one_table():
    script = json.loads(NFT.script(NFT.render(ruleset()), (), "default"))["nftables"]
    assert [list(command) for command in script[:3]] == [["add"], ["delete"], ["add"]]
    assert "flush" not in json.dumps(script)
    parts = [part for command in script for what in command.values() for part in what.items()]
    assert {(body["family"], body["name"] if kind == "table" else body["table"]) for kind, body in parts} == {
        ("inet", "ipmasq")
    }


#: Foreign rules: each is drift in our table, is shown without an error, and is removed by the next load.
TEST_FOREIGN = {
    "no comment": foreign("srcnat", {"accept": None}),
    "comment of another": foreign("srcnat", {"accept": None}, comment="mine"),
    "counter": foreign("forward", {"counter": {"packets": 3, "bytes": 180}}, {"drop": None}),
    "range": foreign("forward", match(SADDR, {"range": ["10.0.0.1", "10.0.0.9"]}), {"drop": None}),
    "set of ranges": foreign("forward", match(SADDR, {"set": [{"range": ["10.0.0.1", "10.0.0.9"]}, "10.9.9.9"]})),
    "named set": foreign("forward", match(SADDR, "@blocked"), {"drop": None}),
    "negation": foreign("forward", match(SADDR, {"prefix": {"addr": "10.0.0.0", "len": 8}}, "!=")),
    "vmap": foreign("forward", {"vmap": {"key": {"meta": {"key": "mark"}}, "data": {"set": [[1, {"accept": None}]]}}}),
    "xt": foreign("forward", {"xt": {"type": "match", "name": "comment"}}),
    "limit": foreign("forward", {"limit": {"rate": 5, "per": "second"}}, {"log": {"prefix": "x "}}),
    "reject bare": foreign("forward", {"reject": None}),
    "log bare": foreign("forward", {"log": None}),
    "dnat": foreign("srcnat", {"snat": {"addr": "1.2.3.4", "family": "ip"}}),
    "ports": foreign("forward", match({"payload": {"protocol": "tcp", "field": "dport"}}, {"set": [80, 443]})),
    "concat": foreign(
        "forward", match({"concat": [SADDR, {"meta": {"key": "mark"}}]}, {"set": [{"concat": ["1.2.3.4", 1]}]})
    ),
    "element comment": foreign("forward", match(SADDR, {"set": [{"elem": {"val": "1.2.3.4", "comment": "x"}}]})),
    "ct label": foreign("forward", match({"ct": {"key": "original", "dir": "original"}}, 1)),
    "raw payload": foreign("forward", match({"payload": {"base": "nh", "offset": 0, "len": 8}}, 1)),
}  # fmt: skip


@pytest.mark.parametrize("name", TEST_FOREIGN)
def test_foreign_rule_in_our_table_is_drift(name):
    desired = NFT.render(ruleset())
    host = loaded(desired)
    host.nft.tables["ipmasq"].append(TEST_FOREIGN[name])
    plan = Plan(listed(host), desired)
    assert (len(plan.remove), plan.add) == (1, ())
    assert plan.differences(NFT.show)[0].startswith("- " + TEST_FOREIGN[name]["rule"]["chain"] + ": ")
    loaded(desired, plan.live, host)
    assert not Plan(listed(host), desired).changed


def test_foreign_accept_above_our_nat_is_drift():
    desired = NFT.render(ruleset())
    host = loaded(desired)
    place = host.nft.tables["ipmasq"]
    first = [each.get("rule", {}).get("chain") for each in place].index("srcnat")
    place.insert(first, foreign("srcnat", {"accept": None}))
    assert Plan(listed(host), desired).differences(NFT.show) == ["- srcnat: accept"]


def test_order_within_a_chain_is_drift():
    desired = NFT.render(ruleset())
    host = loaded(desired)
    place = host.nft.tables["ipmasq"]
    rules = [index for index, each in enumerate(place) if each.get("rule", {}).get("chain") == "forward"]
    place[rules[0]], place[rules[-1]] = place[rules[-1]], place[rules[0]]
    assert Plan(listed(host), desired).differences(NFT.show) == ["~ the order of rules"]


def test_foreign_chain_and_set_are_drift():
    desired = NFT.render(ruleset())
    host = loaded(desired)
    host.nft.tables["ipmasq"].append({"chain": {"name": "extra"}})
    listing = json.loads(NFT.read(host, "default"))
    listing["nftables"].append({"set": {"family": "inet", "table": "ipmasq", "name": "s", "handle": 9, "type": "mark"}})
    plan = Plan(NFT.parse(json.dumps(listing), "default"), desired)
    assert len(plan.remove) == 2
    assert [line.split(":")[0] for line in plan.differences(NFT.show)] == ["- chain extra", "- set s"]


def test_changed_priority_is_drift():
    desired = NFT.render(ruleset())
    host = loaded(desired)
    for each in host.nft.tables["ipmasq"]:
        if each.get("chain", {}).get("name") == "srcnat":
            each["chain"] = dict(each["chain"], prio=100)
    assert len(Plan(listed(host), desired).remove) == 1


def test_duplicates_are_all_removed():
    desired = NFT.render(ruleset())
    host = loaded(desired)
    masquerade = rules_of(host, "srcnat")[0]
    host.nft.tables["ipmasq"] += [{"rule": dict(masquerade)}, {"rule": dict(masquerade)}]
    live = listed(host)
    assert len(Plan(live, desired).remove) == 2
    count = len(rules_of(loaded(desired), "srcnat"))
    assert len(rules_of(loaded(desired, live, host), "srcnat")) == count


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


def test_counters_go_on_over_a_load():
    desired = NFT.render(ruleset())
    host = loaded(desired)
    for rule in rules_of(host, "srcnat"):
        rule["expr"] = [
            {"counter": {"packets": 42, "bytes": 4200}} if "counter" in part else part for part in rule["expr"]
        ]
    live = listed(host)
    assert {row.packets for row in live if row.key == "nat/default"} == {42}
    assert not Plan(live, desired).changed
    loaded(NFT.render(ruleset(mss="keep")), live, host)
    assert {row.bytes for row in listed(host) if row.key == "nat/default"} == {4200}
    assert "4200" not in NFT.boot_files(desired, "default")[".nft"]


def test_live_rows_make_the_rollback_script():
    host = loaded(NFT.render(ruleset()))
    host.nft.tables["ipmasq"] += [TEST_FOREIGN["vmap"], TEST_FOREIGN["no comment"]]
    live = listed(host)
    loaded(NFT.render(ruleset(mss="keep")), live, host)
    loaded(live, (), host)
    assert not Plan(listed(host), live).changed


TEST_EXPLAIN = [
    ("Error: syntax error\nline 2", "Error: syntax error"),
    ("", "no message"),
    (
        "/dev/stdin:1:1-2: Error: Could not process rule: Operation not supported\n",
        "/dev/stdin:1:1-2: Error: Could not process rule: Operation not supported "
        "(this kernel lacks nftables NAT or a module of it: modprobe nft_chain_nat nft_masq nft_ct)",
    ),
    (
        "internal:0:0-0: Error: Could not process rule: No such file or directory\nadd chain inet ipmasq srcnat\n",
        "internal:0:0-0: Error: Could not process rule: No such file or directory "
        "(this kernel lacks nftables NAT or a module of it: modprobe nft_chain_nat nft_masq nft_ct)",
    ),
]


@pytest.mark.parametrize(("err", "wanted"), TEST_EXPLAIN)
def test_explain(err, wanted):
    assert explain(err) == wanted


def test_a_failing_list_is_an_error_never_an_empty_host():
    host = fakes.FakeHost()
    host.answers["nft -j list table"] = Done(1, "", "Error: Operation not permitted (you must be root)")
    with pytest.raises(GatewayError) as caught:
        listed(host)
    assert caught.value.problems == (
        "nft: cannot list table inet ipmasq: Error: Operation not permitted (you must be root)",
    )


def test_a_refused_load_says_why():
    host = fakes.FakeHost()
    host.answers["nft -j -f -"] = Done(1, "", TEST_EXPLAIN[2][0])
    with pytest.raises(GatewayError) as caught:
        loaded(NFT.render(ruleset()), (), host)
    assert caught.value.problems == ("nft: the rules were refused: " + TEST_EXPLAIN[2][1],)


def test_foreign_drops():
    host = loaded(NFT.render(ruleset()))
    host.nft.tables["filter"] = [
        {"chain": {"name": "FWD", "hook": "forward", "policy": "drop"}},
        {"chain": {"name": "IN", "hook": "input", "policy": "drop"}},
        {"chain": {"name": "ok", "hook": "forward", "policy": "accept"}},
        {"chain": {"name": "plain"}},
    ]
    assert NFT.foreign_drops(host) == [("inet filter", "FWD")]
    assert host.calls[-1] == ["nft", "-j", "list", "chains"]
    host.answers["nft -j list chains"] = Done(1, "", "no")
    assert NFT.foreign_drops(host) == []


def test_show_is_for_people():
    shown = [NFT.show(row) for row in NFT.render(ruleset())]
    addresses = "{ 10.0.0.1, 192.168.1.0/24, 192.168.3.0/24 }"
    assert (
        'srcnat: oifname "ppp0" ip saddr {0} masquerade comment "ipmasq:default/nat/default"'.format(addresses) in shown
    )
    assert not [line for line in shown if '": ' in line]


# --- NAT kinds, port forwards, rates --------------------------------------------------------------------------------

SRCNAT, DSTNAT = Chain("srcnat", "postrouting", "nat"), Chain("dstnat", "prerouting", "nat")
OUT = Match("ip", oif=("ppp0",))
ASKED = Match("ip", iif=("ppp0",), protocol="tcp", port=((7000, 7002),))
ASKED6 = Match("ip6", iif=("ppp0",), protocol="udp", port=((53, 53),))
POOL = ("203.0.113.16-203.0.113.17", "203.0.113.30")
IN_POOL = [[0, "203.0.113.16"], [1, "203.0.113.17"], [2, "203.0.113.30"]]


def spread(chooser, data):
    return {"map": {"key": chooser, "data": {"set": data}}}


def by_client(count):
    return {"jhash": {"expr": SADDR, "mod": count, "seed": 1}}


def in_turn(count):
    return {"numgen": {"mode": "inc", "mod": count, "offset": 0}}


PAIRS = [[7000, 27000], [7001, 27001], [7002, 27002]]
SHIFTED = spread({"payload": {"protocol": "tcp", "field": "dport"}}, PAIRS)
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


def told(chain, match, action):
    (row,) = NFT.render(RuleSet("default", (chain,), (Rule(chain.name, match, action, "nat/x"),)))[1:]
    return json.loads(row.text)["rule"]["expr"]


@pytest.mark.parametrize(("chain", "match", "action", "statement"), TEST_STATEMENTS)
def test_statement(chain, match, action, statement):
    assert told(chain, match, action)[-1] == statement


@pytest.mark.parametrize(("chain", "match", "action", "statement"), TEST_STATEMENTS)
def test_statement_is_a_fixpoint(chain, match, action, statement):
    desired = NFT.render(RuleSet("default", (chain,), (Rule(chain.name, match, action, "nat/x"),)))
    assert Plan(listed(loaded(desired)), desired).differences(NFT.show) == []


LAN_CHAIN = Chain("lan-a")
NEXT_HEADER = {"payload": {"protocol": "ip6", "field": "nexthdr"}}
L4PROTO, DPORT = {"meta": {"key": "l4proto"}}, {"payload": {"protocol": "udp", "field": "dport"}}
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
    (Match(protocol="udp", port=((5, 5), (7, 9))), [match(DPORT, {"set": [5, {"range": [7, 9]}]})]),
    (Match(translated=True), [match({"ct": {"key": "status"}}, "dnat", "in")]),
    (Match(ipsec=True), [match({"rt": {"key": "ipsec"}}, True)]),
    (Match(rate="10/second"), [{"limit": {"rate": 10, "per": "second"}}]),
    (Match(local=True), [LOCAL]),
    (
        Match("ip", local=True, not_destination=("10.0.0.0/8", "192.168.1.1/32")),
        [
            match(
                {"payload": {"protocol": "ip", "field": "daddr"}},
                {"set": ["192.168.1.1", {"prefix": {"addr": "10.0.0.0", "len": 8}}]},
                "!=",
            ),
            LOCAL,
        ],
    ),
]


@pytest.mark.parametrize(("wanted", "parts"), TEST_MATCHES)
def test_match(wanted, parts):
    assert told(LAN_CHAIN, wanted, Action("accept")) == parts + [{"counter": None}, {"accept": None}]
    desired = NFT.render(RuleSet("default", (LAN_CHAIN,), (Rule("lan-a", wanted, Action("accept"), "x"),)))
    assert Plan(listed(loaded(desired)), desired).differences(NFT.show) == []


def test_many_networks_are_a_set_for_each_length_of_which_there_are_many():
    long = ["10.{0}.1.16/28".format(number) for number in range(70)]
    few = ["172.16.0.0/12", "192.168.1.0/24"]
    found = by_length(Match("ip", source=(*MANY, *few[:1], *long), destination=(*long, *few)))
    assert {(len(each.source), len(each.destination)) for each in found} == {
        (65, 70),
        (65, 2),
        (70, 70),
        (70, 2),
        (1, 70),
        (1, 2),
    }
    assert by_length(Match("ip", source=(*MANY, *long), rate="1/second")) == [
        Match("ip", source=(*MANY, *long), rate="1/second")
    ]


def test_the_mss_is_set_from_the_chain_that_filters():
    rows = NFT.render(ruleset())
    shown = [NFT.show(row) for row in rows]
    assert 'forward: tcp flags & (rst | syn) syn jump mss comment "ipmasq:default/mss"' in shown
    assert not any(json.loads(row.text)["chain"] for row in rows if row.key == "chain" and row.chain == "mss")
    assert not any("mss" in row.chain or row.key == "mss" for row in NFT.render(ruleset(mss="keep")))


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
        {"dnat": {"family": "ip", "addr": "10.0.0.5", "port": spread(L4PROTO, PAIRS)}},
    ),
    ({"masquerade": {"flags": "random"}}, {"masquerade": {"flags": "fully-random"}}),
]


@pytest.mark.parametrize(("one", "other"), TEST_DIFFERENT)
def test_another_translation_is_drift(one, other):
    assert row_of(one) != row_of(other)


def test_hooks_and_priorities():
    """Destinations before docker and everybody else (-100), sources before the default (100)."""
    rows = NFT.render(RuleSet("default", (DSTNAT, SRCNAT), ()))
    assert [json.loads(row.text)["chain"] for row in rows] == [
        {"type": "nat", "hook": "prerouting", "prio": -105, "policy": "accept"},
        {"type": "nat", "hook": "postrouting", "prio": 95, "policy": "accept"},
    ]


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


def test_expect_nat_is_for_backends_that_guard_before_the_nat():
    assert not [row for row in NFT.render(ruleset()) if row.chain == "egress" and "masquerade" in row.text]


def test_a_dormant_table_is_no_table_of_ours():
    """As 1.0.6 and later list it, and as 1.0.6 lists one that has nothing else."""
    for listing in (
        '{"nftables": [{"table": {"family": "inet", "name": "ipmasq", "flags": "x"}}]}',
        '{"nftables": [{"f',
    ):
        (row,) = NFT.parse(listing, "default")
        assert "dormant" in NFT.show(row)
        # Undone is what its rules were, awake.
        assert "dormant" not in NFT.script((row,), (), "default")


def test_a_table_that_cannot_be_read_without_nft_asks_for_it():
    host = fakes.FakeHost(fakes.IPTABLES_NFT)
    with pytest.raises(MissingProgram) as caught:
        NFT.read(host, "default")
    assert caught.value.program == "nft"
