# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""nftables: canonical rows from whatever nft prints, and one transaction to replace them."""

from __future__ import annotations

import json

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._backend.nftables.script import refused
from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError, MissingProgram
from ansible_collections.ipmasq.linux.plugins.module_utils._base.host import Done
from ansible_collections.ipmasq.linux.plugins.module_utils._rules.rows import Plan
from ansible_collections.ipmasq.linux.tests.unit import fakes
from ansible_collections.ipmasq.linux.tests.unit.backends import NFT, SADDR, foreign, listed, loaded, match, ruleset


def rules_of(host, chain, name="ipmasq"):
    return [each["rule"] for each in host.nft.tables[name] if each.get("rule", {}).get("chain") == chain]


def test_fixpoint():
    desired = NFT.render(ruleset())
    assert Plan(listed(NFT, loaded(NFT, desired)), desired).differences(NFT.show) == []


def test_nothing_there():
    assert listed(NFT, fakes.FakeHost()) == ()
    assert NFT.parse("", "default") == ()


def test_absent_takes_the_table_away():
    host = loaded(NFT, NFT.render(ruleset()))
    loaded(NFT, (), listed(NFT, host), host)
    assert host.nft.tables == {}
    loaded(NFT, (), (), host)
    assert host.nft.tables == {}


def test_one_process_to_read_and_one_to_apply():
    host = fakes.FakeHost()
    live = listed(NFT, host)
    loaded(NFT, NFT.render(ruleset()), live, host)
    assert host.calls == [["nft", "-j", "list", "table", "inet", "ipmasq"], ["nft", "-j", "-f", "-"]]


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
    host = loaded(NFT, desired)
    host.nft.tables["ipmasq"].append(TEST_FOREIGN[name])
    plan = Plan(listed(NFT, host), desired)
    assert (len(plan.remove), plan.add) == (1, ())
    assert plan.differences(NFT.show)[0].startswith("- " + TEST_FOREIGN[name]["rule"]["chain"] + ": ")
    loaded(NFT, desired, plan.live, host)
    assert not Plan(listed(NFT, host), desired).changed


def test_foreign_accept_above_our_nat_is_drift():
    desired = NFT.render(ruleset())
    host = loaded(NFT, desired)
    place = host.nft.tables["ipmasq"]
    first = [each.get("rule", {}).get("chain") for each in place].index("srcnat")
    place.insert(first, foreign("srcnat", {"accept": None}))
    assert Plan(listed(NFT, host), desired).differences(NFT.show) == ["- srcnat: accept"]


def test_order_within_a_chain_is_drift():
    desired = NFT.render(ruleset())
    host = loaded(NFT, desired)
    place = host.nft.tables["ipmasq"]
    rules = [index for index, each in enumerate(place) if each.get("rule", {}).get("chain") == "forward"]
    place[rules[0]], place[rules[-1]] = place[rules[-1]], place[rules[0]]
    assert Plan(listed(NFT, host), desired).differences(NFT.show) == ["~ the order of rules"]


def test_foreign_chain_and_set_are_drift():
    desired = NFT.render(ruleset())
    host = loaded(NFT, desired)
    host.nft.tables["ipmasq"].append({"chain": {"name": "extra"}})
    listing = json.loads(NFT.read(host, "default"))
    listing["nftables"].append({"set": {"family": "inet", "table": "ipmasq", "name": "s", "handle": 9, "type": "mark"}})
    plan = Plan(NFT.parse(json.dumps(listing), "default"), desired)
    assert len(plan.remove) == 2
    assert [line.split(":")[0] for line in plan.differences(NFT.show)] == ["- chain extra", "- set s"]


def test_changed_priority_is_drift():
    desired = NFT.render(ruleset())
    host = loaded(NFT, desired)
    for each in host.nft.tables["ipmasq"]:
        if each.get("chain", {}).get("name") == "srcnat":
            each["chain"] = dict(each["chain"], prio=100)
    assert len(Plan(listed(NFT, host), desired).remove) == 1


def test_duplicates_are_all_removed():
    desired = NFT.render(ruleset())
    host = loaded(NFT, desired)
    masquerade = rules_of(host, "srcnat")[0]
    host.nft.tables["ipmasq"] += [{"rule": dict(masquerade)}, {"rule": dict(masquerade)}]
    live = listed(NFT, host)
    assert len(Plan(live, desired).remove) == 2
    count = len(rules_of(loaded(NFT, desired), "srcnat"))
    assert len(rules_of(loaded(NFT, desired, live, host), "srcnat")) == count


def test_counters_go_on_over_a_load():
    desired = NFT.render(ruleset())
    host = loaded(NFT, desired)
    for rule in rules_of(host, "srcnat"):
        rule["expr"] = [
            {"counter": {"packets": 42, "bytes": 4200}} if "counter" in part else part for part in rule["expr"]
        ]
    live = listed(NFT, host)
    assert {row.packets for row in live if row.key == "nat/default"} == {42}
    assert not Plan(live, desired).changed
    loaded(NFT, NFT.render(ruleset(mss="keep")), live, host)
    assert {row.bytes for row in listed(NFT, host) if row.key == "nat/default"} == {4200}
    assert "4200" not in NFT.boot(desired, "./default", "default").files[".nft"]


def test_live_rows_make_the_rollback_script():
    host = loaded(NFT, NFT.render(ruleset()))
    host.nft.tables["ipmasq"] += [TEST_FOREIGN["vmap"], TEST_FOREIGN["no comment"]]
    live = listed(NFT, host)
    loaded(NFT, NFT.render(ruleset(mss="keep")), live, host)
    loaded(NFT, live, (), host)
    assert not Plan(listed(NFT, host), live).changed


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
def test_refused(err, wanted):
    assert refused(err) == "the rules were refused: " + wanted


def test_a_failing_list_is_an_error_never_an_empty_host():
    host = fakes.FakeHost()
    host.answers["nft -j list table"] = Done(1, "", "Error: Operation not permitted (you must be root)")
    with pytest.raises(GatewayError) as caught:
        listed(NFT, host)
    assert caught.value.problems == (
        "nft: cannot list table inet ipmasq: Error: Operation not permitted (you must be root)",
    )


def test_a_refused_load_says_why():
    host = fakes.FakeHost()
    host.answers["nft -j -f -"] = Done(1, "", TEST_EXPLAIN[2][0])
    with pytest.raises(GatewayError) as caught:
        loaded(NFT, NFT.render(ruleset()), (), host)
    assert caught.value.problems == ("nft: the rules were refused: " + TEST_EXPLAIN[2][1],)


def test_show_is_for_people():
    shown = [NFT.show(row) for row in NFT.render(ruleset())]
    for addresses in ("10.0.0.1", "& 255.255.255.0 { 192.168.1.0, 192.168.3.0 }"):
        line = 'srcnat: oifname "ppp0" ip saddr {0} masquerade comment "ipmasq:default/nat/default"'
        assert line.format(addresses) in shown
    assert not [line for line in shown if '": ' in line]


def test_a_dormant_table_is_no_table_of_ours():
    """As 1.0.6 and later list it, and as 1.0.6 lists one that has nothing else."""
    for listing in (
        '{"nftables": [{"table": {"family": "inet", "name": "ipmasq", "flags": "x"}}]}',
        '{"nftables": [{"f',
    ):
        (row,) = NFT.parse(listing, "default")
        assert "dormant" in NFT.show(row)
        # Undone is what its rules were, awake.
        assert "dormant" not in NFT.steps((row,), (), "default")[0].stdin


def test_a_table_that_cannot_be_read_without_nft_asks_for_it():
    host = fakes.FakeHost(fakes.IPTABLES_NFT)
    with pytest.raises(MissingProgram) as caught:
        NFT.read(host, "default")
    assert caught.value.program == "nft"
