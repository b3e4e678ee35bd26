# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""iptables: canonical rows, foreign rules around ours, and texts that restore what was there."""

from __future__ import annotations

import subprocess

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._backend.iptables.script import refused
from ansible_collections.ipmasq.linux.plugins.module_utils._backend.steps import load
from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError
from ansible_collections.ipmasq.linux.plugins.module_utils._base.host import Done
from ansible_collections.ipmasq.linux.plugins.module_utils._rules.rows import Plan
from ansible_collections.ipmasq.linux.tests.unit import fakes
from ansible_collections.ipmasq.linux.tests.unit.backends import BOTH, V4, listed, loaded, small

JUMP = "-m comment --comment ipmasq:default/jump -j IPMASQ-SRCNAT"


@pytest.mark.parametrize("backend", [V4, BOTH], ids=["v4", "both"])
def test_fixpoint(backend):
    desired = backend.render(small())
    live = listed(backend, loaded(backend, desired))
    assert Plan(live, desired).differences(backend.show) == []
    assert backend.steps((), live, "default")


def test_others_rules_stay_as_they_were():
    host = fakes.FakeHost(fakes.IPTABLES_NFT)
    tables = host.iptables["nft", "ip"]
    for table, chain, text in (
        ("filter", "FORWARD", "-j DOCKER-USER"),
        ("filter", "DOCKER-USER", "-j RETURN"),
        ("nat", "POSTROUTING", '-s 172.17.0.0/16 ! -o docker0 -m comment --comment "it\\"s \'mine\'" -j MASQUERADE'),
        ("mangle", "PREROUTING", "-j MARK --set-xmark 0x1/0xffffffff"),
        ("filter", "IPMASQ-lab-FORWARD", "-j ACCEPT"),
    ):
        tables.append(table, chain, text)
    before = host.snapshot()
    desired = BOTH.render(small())
    loaded(BOTH, desired, listed(BOTH, host), host)
    during = host.iptables["nft", "ip"].save(False)
    for _table, _chain, text in (("", "", "-j DOCKER-USER"), ("", "", "-j MARK --set-xmark 0x1/0xffffffff")):
        assert text in during
    load(BOTH.steps((), listed(BOTH, host), "default"), host)
    assert host.snapshot() == before


def test_foreign_accept_above_our_jump_is_drift_and_is_mended():
    desired = BOTH.render(small())
    host = loaded(BOTH, desired)
    host.iptables["nft", "ip"].insert("nat", "POSTROUTING", "-s 192.168.1.7/32 -j ACCEPT")
    plan = Plan(listed(BOTH, host), desired)
    jumps = [JUMP, JUMP.replace("SRCNAT", "EGRESS")]
    assert plan.differences(BOTH.show) == [
        "- ip nat POSTROUTING: below '-s 192.168.1.7/32 -j ACCEPT': " + jump for jump in jumps
    ] + ["+ ip nat POSTROUTING: " + jump for jump in jumps]
    loaded(BOTH, desired, plan.live, host)
    rules = [rule[2] for rule in host.iptables["nft", "ip"].tables["nat"]["POSTROUTING"][1]]
    assert rules == jumps + ["-s 192.168.1.7/32 -j ACCEPT"]
    assert not Plan(listed(BOTH, host), desired).changed


def test_late_jump_below_a_comment_with_quotes():
    desired = V4.render(small())
    host = loaded(V4, desired)
    host.iptables["nft", "ip"].insert("nat", "POSTROUTING", '-m comment --comment "a\': b" -j ACCEPT')
    live = listed(V4, host)
    load(V4.steps(desired, live, "default"), host)
    assert not Plan(listed(V4, host), desired).changed


def test_duplicates_are_all_removed():
    desired = V4.render(small())
    host = loaded(V4, desired)
    tables = host.iptables["nft", "ip"].tables
    masquerade = tables["nat"]["IPMASQ-SRCNAT"][1]
    masquerade += [list(masquerade[0]), list(masquerade[0])]
    live = listed(V4, host)
    assert len(Plan(live, desired).remove) == 2
    loaded(V4, desired, live, host)
    assert len(host.iptables["nft", "ip"].tables["nat"]["IPMASQ-SRCNAT"][1]) == 1


@pytest.mark.parametrize("wanted", ["desired", "absent"])
def test_duplicate_jumps_are_all_removed(wanted):
    """Another tool restored a saved rule set on top of ours."""
    desired = V4.render(small())
    host = loaded(V4, desired)
    for _time in range(2):
        host.iptables["nft", "ip"].append("nat", "POSTROUTING", JUMP)
    live = listed(V4, host)
    assert Plan(live, desired).changed
    new = desired if wanted == "desired" else ()
    load(V4.steps(new, live, "default"), host)
    assert Plan(listed(V4, host), new).differences(V4.show) == []


def test_rule_that_others_put_among_ours_is_removed():
    desired = V4.render(small())
    host = loaded(V4, desired)
    host.iptables["nft", "ip"].insert("nat", "IPMASQ-SRCNAT", "-j ACCEPT")
    live = listed(V4, host)
    assert Plan(live, desired).differences(V4.show) == ["- ip nat IPMASQ-SRCNAT: -j ACCEPT"]
    loaded(V4, desired, live, host)
    assert not Plan(listed(V4, host), desired).changed


def test_instances_do_not_see_each_other():
    host = loaded(V4, V4.render(small()))
    other = V4.render(small(instance="lab"))
    assert listed(V4, host, "lab") == ()
    load(V4.steps(other, (), "lab"), host)
    assert not Plan(listed(V4, host, "lab"), other).changed
    assert not Plan(listed(V4, host), V4.render(small())).changed


def test_counters_go_on_over_a_load():
    desired = V4.render(small())
    host = loaded(V4, desired)
    rule = host.iptables["nft", "ip"].tables["nat"]["IPMASQ-SRCNAT"][1][0]
    rule[0], rule[1] = 42, 4200
    live = listed(V4, host)
    assert [row.packets for row in live if row.key == "nat/default"] == [42]
    assert not Plan(live, desired).changed
    loaded(V4, V4.render(small(mss="keep")), live, host)
    assert host.iptables["nft", "ip"].tables["nat"]["IPMASQ-SRCNAT"][1][0][:2] == [42, 4200]


def test_boot_files_hold_no_counters():
    desired = V4.render(small())
    host = loaded(V4, desired)
    host.iptables["nft", "ip"].tables["nat"]["IPMASQ-SRCNAT"][1][0][:2] = [42, 4200]
    assert list(V4.boot(desired, "./default", "default").files) == [".iptables"]
    assert "[42:4200]" not in V4.boot(desired, "./default", "default").files[".iptables"]


def test_live_rows_make_the_rollback_script():
    old, new = V4.render(small()), V4.render(small(wans=[{"interface": "eth9"}], mss="keep"))
    host = loaded(V4, old)
    live = listed(V4, host)
    before = host.snapshot()
    loaded(V4, new, live, host)
    assert host.snapshot() != before
    load(V4.steps(live, listed(V4, host), "default"), host)
    assert not Plan(listed(V4, host), live).changed


TEST_EXPLAIN = [
    (
        "Another app is currently holding the xtables lock. Perhaps you want to use the -w option?\n",
        "Another app is currently holding the xtables lock. Perhaps you want to use the -w option? "
        "(another program holds the xtables lock; find it with 'lsof /run/xtables.lock')",
    ),
    (
        "iptables-restore v1.8.9 (legacy): iptables-restore: unable to initialize table 'nat'\n",
        None,
    ),
    (
        "iptables v1.8.9 (legacy): can't initialize iptables table `nat': Table does not exist\n",
        "(this kernel lacks that table: modprobe iptable_nat, or use backend nftables)",
    ),
    ("# comment\nTry `iptables -h' for more\n", "no message"),
    ("", "no message"),
]


@pytest.mark.parametrize(("err", "wanted"), [each for each in TEST_EXPLAIN if each[1]])
def test_refused(err, wanted):
    assert refused(err).endswith(wanted)


def test_what_restore_says_without_nat():
    """iptables-legacy-restore of a kernel without iptable_nat (1.8.9)."""
    assert "modprobe" in refused(TEST_EXPLAIN[1][0])


def test_a_held_lock_is_an_error_never_a_missing_rule():
    host = fakes.FakeHost(fakes.IPTABLES_NFT)
    host.answers["iptables-nft-restore"] = Done(4, "", TEST_EXPLAIN[0][0])
    with pytest.raises(GatewayError) as caught:
        load(V4.steps(V4.render(small()), (), "default"), host)
    assert caught.value.problems == ("iptables-nft-restore: the rules were refused: " + TEST_EXPLAIN[0][1],)


def test_a_failing_list_is_an_error_never_an_empty_host():
    host = fakes.FakeHost(fakes.IPTABLES_NFT)
    host.answers["ip6tables-nft-save"] = Done(4, "", "Another app is currently holding the xtables lock.")
    with pytest.raises(GatewayError) as caught:
        listed(BOTH, host)
    assert caught.value.problems == (
        "ip6tables-nft-save: cannot list the rules: Another app is currently holding the xtables lock.",
    )


def test_load_waits_for_the_lock_and_never_flushes():
    host = loaded(BOTH, BOTH.render(small()))
    loads = [call for call in host.calls if call[0].endswith("-restore")]
    assert [call[0] for call in loads] == ["iptables-nft-restore", "ip6tables-nft-restore"]
    assert all("-w" in call and "--noflush" in call for call in loads)
    assert len(host.calls) == 2


def test_boot_lines_clean_up_before_they_load():
    lines = BOTH.boot((), "./default", "default").lines
    assert len(lines) == 2
    for line, tool in zip(lines, ("iptables-nft", "ip6tables-nft")):
        # One transaction: between two, none of our rules would apply.
        assert line.count("-restore") == 1 and line.endswith("| {0}-restore -w 5 --noflush".format(tool))
        assert line.index("{0}-save -t $table".format(tool)) < line.index("/^[*]$table/")
    assert "ipmasq:default\\/jump" in lines[0]


def test_boot_lines_take_out_jumps_and_nothing_that_looks_like_one():
    jump = '-A FORWARD -m comment --comment "ipmasq:b/jump" -j IPMASQ-b-FORWARD'
    others = [
        '-A IPMASQ-a-FORWARD -m comment --comment "ipmasq:a/closed" -j LOG --log-prefix "ipmasq:b/jumpclosed: "',
        '-A FORWARD -m comment --comment "ipmasq:ab/jump" -j IPMASQ-ab-FORWARD',
        '-A FORWARD -m comment --comment "not ipmasq:b/jump" -j ACCEPT',
    ]
    listing = "\n".join(["*filter", ":FORWARD ACCEPT [0:0]", jump] + others + ["COMMIT", ""])
    middle = BOTH.boot((), "./b", "b").lines[0].partition("-save -t $table | ")[2].split(";")[0]
    done = subprocess.run(["sh", "-c", middle], input=listing.encode(), stdout=subprocess.PIPE, check=True)
    assert done.stdout.decode().splitlines() == [jump.replace("-A", "-D", 1)]
