# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""iptables: canonical rows, foreign rules around ours, and texts that restore what was there."""

from __future__ import annotations

import re
import subprocess

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._backend.iptables.backend import (
    CHAIN_LENGTH,
    Iptables,
    chain_name,
    explain,
    is_ours,
    limit_text,
)
from ansible_collections.ipmasq.linux.plugins.module_utils._compile import compile_gateway
from ansible_collections.ipmasq.linux.plugins.module_utils._errors import GatewayError
from ansible_collections.ipmasq.linux.plugins.module_utils._facts import Facts
from ansible_collections.ipmasq.linux.plugins.module_utils._host import Done
from ansible_collections.ipmasq.linux.plugins.module_utils._intent import gateway_from_params
from ansible_collections.ipmasq.linux.plugins.module_utils._plan import Plan
from ansible_collections.ipmasq.linux.plugins.module_utils._resolve import resolve
from ansible_collections.ipmasq.linux.plugins.module_utils._rules import Action, Chain, Match, Rule, RuleSet
from ansible_collections.ipmasq.linux.tests.unit import fakes
from ansible_collections.ipmasq.linux.tests.unit.params import gateway_params

V4 = Iptables("nft", ("ip",))
BOTH = Iptables("nft", ("ip", "ip6"))
JUMP = "-m comment --comment ipmasq:default/jump -j IPMASQ-SRCNAT"


def ruleset(**given):
    options = dict(
        wans=[{"interface": "ppp*"}],
        lans=[{"name": "office", "interfaces": ["lan0"], "networks": ["192.168.1.0/24", "fd00:1::/64"]}],
    )
    options.update(given)
    return compile_gateway(resolve(gateway_from_params(gateway_params(**options)), Facts((), ())).gateway)


def loaded(backend, desired, live=(), host=None):
    """A host on which the script was applied."""
    host = host or fakes.FakeHost(fakes.IPTABLES_NFT)
    backend.load(host, backend.script(desired, live, "default"))
    return host


def listed(backend, host, instance="default"):
    return backend.parse(backend.read(host, instance), instance)


TEST_CHAIN_NAME = [
    ("default", "forward", "IPMASQ-FORWARD"),
    ("default", "lan-office", "IPMASQ-LAN-office"),
    ("default", "lan-" + "x" * 17, "IPMASQ-LAN-" + "x" * 17),
    ("guests", "srcnat", "IPMASQ-guests-SRCNAT"),
    ("abcdefghij", "lan-office", "IPMASQ-abcdefghij-LAN-office"),
]


@pytest.mark.parametrize(("instance", "chain", "name"), TEST_CHAIN_NAME)
def test_chain_name(instance, chain, name):
    assert chain_name(instance, chain) == name
    assert len(name) <= CHAIN_LENGTH


def test_chain_name_is_cut_at_29_characters():
    cut = chain_name("default", "lan-" + "x" * 18)
    assert re.match(r"IPMASQ-LAN-x{8}-[0-9a-f]{8}\Z", cut)


def test_guard_before_the_nat_lets_new_flows_of_an_item_pass_and_no_others():
    """Row by row: what a guard in mangle must contain, because it cannot see the result of NAT."""
    texts = [row.text for row in V4.render(ruleset()) if row.chain == "ip mangle IPMASQ-EGRESS"][1:]
    assert [(text.split("-m comment")[0].strip(), text.split(" -j ")[1]) for text in texts] == [
        ("-s 192.168.1.0/24 -o ppp+ -m conntrack --ctstate NEW", "RETURN"),
        ("-s 192.168.1.0/24 -o ppp+ -m conntrack --ctstate INVALID,NEW,UNTRACKED", "DROP"),
        ("-s 192.168.1.0/24 -o ppp+ -m conntrack --ctstate RELATED,ESTABLISHED --ctdir ORIGINAL "
         "-m conntrack ! --ctstate SNAT", "DROP"),
        ("-s 192.168.1.0/24 -o ppp+ -m conntrack --ctstate RELATED,ESTABLISHED --ctdir REPLY "
         "-m conntrack ! --ctstate DNAT", "DROP"),
    ]  # fmt: skip


def test_long_chain_names_stay_apart():
    names = {chain_name("default", "lan-a-very-long-name-for-lan-{0}".format(number)) for number in range(50)}
    assert len(names) == 50
    assert all(name.startswith("IPMASQ-LAN-a-very-") and name[-9] == "-" for name in names)
    assert all(len(name) == CHAIN_LENGTH and is_ours(name, "default") for name in names)


TEST_IS_OURS = [
    ("IPMASQ-FORWARD", "default", True),
    ("IPMASQ-FORWARD", "lab", False),
    ("IPMASQ-lab-FORWARD", "lab", True),
    ("IPMASQ-lab-FORWARD", "default", False),
    ("IPMASQ-lab2-FORWARD", "lab", False),
    ("FORWARD", "default", False),
    ("XIPMASQ-FORWARD", "default", False),
]


@pytest.mark.parametrize(("chain", "instance", "wanted"), TEST_IS_OURS)
def test_is_ours(chain, instance, wanted):
    assert is_ours(chain, instance) is wanted


@pytest.mark.parametrize("backend", [V4, BOTH], ids=["v4", "both"])
def test_fixpoint(backend):
    desired = backend.render(ruleset())
    live = listed(backend, loaded(backend, desired))
    assert Plan(live, desired).differences(backend.show) == []
    assert backend.script((), live, "default")


def test_family_without_addresses_has_no_rules_with_them():
    rows = Iptables("nft", ("ip6",)).render(ruleset())
    assert rows
    assert not [row for row in rows if "192.168" in row.text]
    assert not [row for row in V4.render(ruleset()) if "fd00" in row.text or row.chain.startswith("ip6")]


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
    desired = BOTH.render(ruleset())
    loaded(BOTH, desired, listed(BOTH, host), host)
    during = host.iptables["nft", "ip"].save(False)
    for _table, _chain, text in (("", "", "-j DOCKER-USER"), ("", "", "-j MARK --set-xmark 0x1/0xffffffff")):
        assert text in during
    BOTH.load(host, BOTH.script((), listed(BOTH, host), "default"))
    assert host.snapshot() == before


def test_foreign_accept_above_our_jump_is_drift_and_is_mended():
    desired = BOTH.render(ruleset())
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


@pytest.mark.parametrize(
    "target", ["DROP", "REJECT --reject-with icmp-port-unreachable", "MASQUERADE", "SNAT --to 1.2.3.4"]
)
def test_every_final_target_above_our_jump_is_drift(target):
    desired = V4.render(ruleset())
    host = loaded(V4, desired)
    host.iptables["nft", "ip"].insert("nat", "POSTROUTING", "-o eth0 -j " + target)
    assert Plan(listed(V4, host), desired).changed


@pytest.mark.parametrize("text", ["-j LOG", "-o eth0 -j OTHER", "-o eth0", "-g OTHER"])
def test_foreign_rules_that_decide_nothing_are_no_drift(text):
    desired = V4.render(ruleset())
    host = loaded(V4, desired)
    host.iptables["nft", "ip"].append("nat", "OTHER", "-j RETURN")
    host.iptables["nft", "ip"].insert("nat", "POSTROUTING", text)
    assert not Plan(listed(V4, host), desired).changed


def test_foreign_rule_without_any_word_is_read():
    """``iptables -A FORWARD`` with neither match nor target: it counts packets."""
    desired = V4.render(ruleset())
    host = loaded(V4, desired)
    host.iptables["nft", "ip"].insert("filter", "FORWARD", "")
    assert not Plan(listed(V4, host), desired).changed


def test_late_jump_below_a_comment_with_quotes():
    desired = V4.render(ruleset())
    host = loaded(V4, desired)
    host.iptables["nft", "ip"].insert("nat", "POSTROUTING", '-m comment --comment "a\': b" -j ACCEPT')
    live = listed(V4, host)
    V4.load(host, V4.script(desired, live, "default"))
    assert not Plan(listed(V4, host), desired).changed


def test_target_words_inside_a_log_prefix_do_not_decide():
    desired = V4.render(ruleset())
    host = loaded(V4, desired)
    host.iptables["nft", "ip"].insert("nat", "POSTROUTING", '-j LOG --log-prefix "x -j ACCEPT "')
    assert not Plan(listed(V4, host), desired).changed


def test_duplicates_are_all_removed():
    desired = V4.render(ruleset())
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
    desired = V4.render(ruleset())
    host = loaded(V4, desired)
    for _time in range(2):
        host.iptables["nft", "ip"].append("nat", "POSTROUTING", JUMP)
    live = listed(V4, host)
    assert Plan(live, desired).changed
    new = desired if wanted == "desired" else ()
    V4.load(host, V4.script(new, live, "default"))
    assert Plan(listed(V4, host), new).differences(V4.show) == []


def test_rule_that_others_put_among_ours_is_removed():
    desired = V4.render(ruleset())
    host = loaded(V4, desired)
    host.iptables["nft", "ip"].insert("nat", "IPMASQ-SRCNAT", "-j ACCEPT")
    live = listed(V4, host)
    assert Plan(live, desired).differences(V4.show) == ["- ip nat IPMASQ-SRCNAT: -j ACCEPT"]
    loaded(V4, desired, live, host)
    assert not Plan(listed(V4, host), desired).changed


def test_instances_do_not_see_each_other():
    host = loaded(V4, V4.render(ruleset()))
    other = V4.render(ruleset(instance="lab"))
    assert listed(V4, host, "lab") == ()
    V4.load(host, V4.script(other, (), "lab"))
    assert not Plan(listed(V4, host, "lab"), other).changed
    assert not Plan(listed(V4, host), V4.render(ruleset())).changed


def test_counters_go_on_over_a_load():
    desired = V4.render(ruleset())
    host = loaded(V4, desired)
    rule = host.iptables["nft", "ip"].tables["nat"]["IPMASQ-SRCNAT"][1][0]
    rule[0], rule[1] = 42, 4200
    live = listed(V4, host)
    assert [row.packets for row in live if row.key == "nat/default"] == [42]
    assert not Plan(live, desired).changed
    loaded(V4, V4.render(ruleset(mss="keep")), live, host)
    assert host.iptables["nft", "ip"].tables["nat"]["IPMASQ-SRCNAT"][1][0][:2] == [42, 4200]


def test_boot_files_hold_no_counters():
    desired = V4.render(ruleset())
    host = loaded(V4, desired)
    host.iptables["nft", "ip"].tables["nat"]["IPMASQ-SRCNAT"][1][0][:2] = [42, 4200]
    assert list(V4.boot_files(desired, "default")) == [".iptables"]
    assert "[42:4200]" not in V4.boot_files(desired, "default")[".iptables"]


def test_live_rows_make_the_rollback_script():
    old, new = V4.render(ruleset()), V4.render(ruleset(wans=[{"interface": "eth9"}], mss="keep"))
    host = loaded(V4, old)
    live = listed(V4, host)
    before = host.snapshot()
    loaded(V4, new, live, host)
    assert host.snapshot() != before
    V4.load(host, V4.script(live, listed(V4, host), "default"))
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
def test_explain(err, wanted):
    assert explain(err).endswith(wanted)


def test_explain_what_restore_says_without_nat():
    """iptables-legacy-restore of a kernel without iptable_nat (1.8.9)."""
    assert "modprobe" in explain(TEST_EXPLAIN[1][0])


def test_a_held_lock_is_an_error_never_a_missing_rule():
    host = fakes.FakeHost(fakes.IPTABLES_NFT)
    host.answers["iptables-nft-restore"] = Done(4, "", TEST_EXPLAIN[0][0])
    with pytest.raises(GatewayError) as caught:
        V4.load(host, V4.script(V4.render(ruleset()), (), "default"))
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
    host = loaded(BOTH, BOTH.render(ruleset()))
    loads = [call for call in host.calls if call[0].endswith("-restore")]
    assert [call[0] for call in loads] == ["iptables-nft-restore", "ip6tables-nft-restore"]
    assert all("-w" in call and "--noflush" in call for call in loads)
    assert len(host.calls) == 2


def test_boot_lines_clean_up_before_they_load():
    lines = BOTH.boot_lines("./default", "default")
    assert len(lines) == 2
    for line, tool in zip(lines, ("iptables-nft", "ip6tables-nft")):
        # One transaction: between two, none of our rules would apply.
        assert line.count("-restore") == 1 and line.endswith("| {0}-restore -w 5 --noflush".format(tool))
        assert line.index("{0}-save -t $table".format(tool)) < line.index("sed 1d")
    assert "ipmasq:default\\/jump" in lines[0]


def test_boot_lines_take_out_jumps_and_nothing_that_looks_like_one():
    jump = '-A FORWARD -m comment --comment "ipmasq:b/jump" -j IPMASQ-b-FORWARD'
    others = [
        '-A IPMASQ-a-FORWARD -m comment --comment "ipmasq:a/closed" -j LOG --log-prefix "ipmasq:b/jumpclosed: "',
        '-A FORWARD -m comment --comment "ipmasq:ab/jump" -j IPMASQ-ab-FORWARD',
        '-A FORWARD -m comment --comment "not ipmasq:b/jump" -j ACCEPT',
    ]
    listing = "\n".join(["*filter", ":FORWARD ACCEPT [0:0]", jump] + others + ["COMMIT", ""])
    middle = BOTH.boot_lines("./b", "b")[0].partition("-save -t $table | ")[2].split(";")[0]
    done = subprocess.run(["sh", "-c", middle], input=listing.encode(), stdout=subprocess.PIPE, check=True)
    assert done.stdout.decode().splitlines() == [jump.replace("-A", "-D", 1)]


# --- NAT kinds, port forwards, rates --------------------------------------------------------------------------------

#: As iptables-save 1.8.9 prints them; 2,080 others were compared with the tool itself.
TEST_LIMIT = [
    ("1/second", "1/sec"),
    ("10/second", "10/sec"),
    ("60/minute", "1/sec"),
    ("3000/second", "3333/sec"),
    ("7000/second", "10000/sec"),
    ("10000/second", "10000/sec"),
    ("1/minute", "1/min"),
    ("30/minute", "30/min"),
    ("90/minute", "90/min"),
    ("120/minute", "2/sec"),
    ("10/hour", "10/hour"),
    ("60/hour", "1/min"),
    ("3600/hour", "1/sec"),
    ("1/day", "1/day"),
    ("24/day", "1/hour"),
    ("10000/day", "10000/day"),
]


@pytest.mark.parametrize(("rate", "wanted"), TEST_LIMIT)
def test_limit_text(rate, wanted):
    assert limit_text(rate) == wanted


SRCNAT, DSTNAT, LAN_CHAIN = Chain("srcnat", "postrouting", "nat"), Chain("dstnat", "prerouting", "nat"), Chain("lan-a")
OUT = Match("ip", oif=("ppp0",))
ASKED = Match("ip", iif=("ppp0",), protocol="tcp", port=((7000, 7002),))
ASKED6 = Match("ip6", iif=("ppp0",), protocol="udp", port=((53, 53),))
POOL = ("203.0.113.16-203.0.113.17", "203.0.113.30")
NOTE = " -m comment --comment ipmasq:default/nat/x"
CLUSTER = "-m cluster --cluster-local-nodemask 0x0000000{0} --cluster-total-nodes 2 --cluster-hash-seed 0x00000001"
EVERY = "-m statistic --mode nth --every {0} --packet 0"
TCP, UDP6 = "-i ppp0 -p tcp -m tcp --dport 7000:7002", "-i ppp0 -p udp -m udp --dport 53"
SOURCE, DESTINATION = "-j SNAT --to-source ", "-j DNAT --to-destination "
#: chain, match, action: rows, the comment between match and target left out
TEST_ROWS = [
    (SRCNAT, OUT, Action("masquerade"), ["-o ppp0 -j MASQUERADE"]),
    (
        SRCNAT,
        OUT,
        Action("masquerade", ports=(1024, 65535), random=True),
        ["-o ppp0 -j MASQUERADE --to-ports 1024-65535 --random-fully"],
    ),
    (SRCNAT, OUT, Action("masquerade", ports=(1024, 1024)), ["-o ppp0 -j MASQUERADE --to-ports 1024"]),
    (SRCNAT, OUT, Action("snat", to=("203.0.113.9",)), ["-o ppp0 " + SOURCE + "203.0.113.9"]),
    (
        SRCNAT,
        Match("ip6", oif=("ppp0",)),
        Action("snat", to=("2001:db8::9",), ports=(1, 2)),
        ["-o ppp0 " + SOURCE + "[2001:db8::9]:1-2"],
    ),
    (SRCNAT, OUT, Action("snat", to=POOL[:1]), ["-o ppp0 " + SOURCE + POOL[0] + " --persistent"]),
    (SRCNAT, OUT, Action("snat", to=POOL[:1], persistent=False), ["-o ppp0 " + SOURCE + POOL[0]]),
    (
        SRCNAT,
        OUT,
        Action("snat", to=POOL[:1], random=True, ports=(5, 9)),
        ["-o ppp0 " + SOURCE + POOL[0] + ":5-9 --random-fully --persistent"],
    ),
    (
        SRCNAT,
        OUT,
        Action("snat", to=POOL),
        [
            "-o ppp0 " + CLUSTER.format(1) + " " + SOURCE + POOL[0] + " --persistent",
            "-o ppp0 " + CLUSTER.format(2) + " " + SOURCE + POOL[1],
        ],
    ),
    (
        SRCNAT,
        OUT,
        Action("snat", to=POOL, persistent=False),
        ["-o ppp0 " + EVERY.format(2) + " " + SOURCE + POOL[0], "-o ppp0 " + SOURCE + POOL[1]],
    ),
    (SRCNAT, OUT, Action("netmap", to=("203.0.113.32/28",)), ["-o ppp0 -j NETMAP --to 203.0.113.32/28"]),
    (
        DSTNAT,
        Match("ip6", iif=("ppp0",), destination=("2001:db8:1::/64",)),
        Action("netmap", to=("fd00:1::/64",)),
        ["-d 2001:db8:1::/64 -i ppp0 -j NETMAP --to fd00:1::/64"],
    ),
    (
        SRCNAT,
        OUT,
        Action("hairpin", to=("203.0.113.7", "203.0.113.8")),
        [
            "-o ppp0 -m conntrack --ctorigdst 203.0.113.7 " + SOURCE + "203.0.113.7",
            "-o ppp0 -m conntrack --ctorigdst 203.0.113.8 " + SOURCE + "203.0.113.8",
            "-o ppp0 -j MASQUERADE",
        ],
    ),
    (SRCNAT, OUT, Action("hairpin"), ["-o ppp0 -j MASQUERADE"]),
    (DSTNAT, ASKED, Action("dnat", to=("10.0.0.5",)), [TCP + " " + DESTINATION + "10.0.0.5"]),
    (
        DSTNAT,
        ASKED6,
        Action("dnat", to=("fd00::5",), ports=(8443, 8443)),
        [UDP6 + " " + DESTINATION + "[fd00::5]:8443"],
    ),
    (
        DSTNAT,
        ASKED,
        Action("dnat", to=("10.0.0.5",), ports=(27000, 27002), shift=True),
        [TCP + " " + DESTINATION + "10.0.0.5:27000-27002/7000"],
    ),
    (
        DSTNAT,
        ASKED,
        Action("dnat", to=("10.0.0.5", "10.0.0.6", "10.0.0.7")),
        [
            TCP + " " + EVERY.format(3) + " " + DESTINATION + "10.0.0.5",
            TCP + " " + EVERY.format(2) + " " + DESTINATION + "10.0.0.6",
            TCP + " " + DESTINATION + "10.0.0.7",
        ],
    ),
    (
        DSTNAT,
        ASKED,
        Action("dnat", to=("10.0.0.5", "10.0.0.6"), balance="source"),
        [
            TCP + " " + CLUSTER.format(number) + " " + DESTINATION + "10.0.0." + server
            for number, server in ((1, "5"), (2, "6"))
        ],
    ),
    (
        DSTNAT,
        Match("ip", iif=("ppp0",), local=True, protocol="sctp", port=((1, 1), (5, 9))),
        Action("dnat", to=("10.0.0.5",)),
        [
            "-i ppp0 -p sctp -m sctp --dport {0} -m addrtype --dst-type LOCAL ".format(port) + DESTINATION + "10.0.0.5"
            for port in ("1", "5:9")
        ],
    ),
    (
        LAN_CHAIN,
        Match("ip6", protocol="icmpv6"),
        Action("reject"),
        ["-p ipv6-icmp -j REJECT --reject-with icmp6-adm-prohibited"],
    ),
    (LAN_CHAIN, Match("ip", protocol="esp"), Action("drop"), ["-p esp -j DROP"]),
    (LAN_CHAIN, Match("ip", protocol="gre"), Action("drop"), ["-p 47 -j DROP"]),
    (LAN_CHAIN, Match("ip6", protocol="vrrp"), Action("drop"), ["-p 112 -j DROP"]),
    (LAN_CHAIN, Match("ip6", protocol="ah"), Action("drop"), ["-m ah -j DROP"]),
    (LAN_CHAIN, Match("ip", translated=True), Action("accept"), ["-m conntrack --ctstate DNAT -j ACCEPT"]),
    (LAN_CHAIN, Match("ip", ipsec=True), Action("accept"), ["-m policy --dir out --pol ipsec -j ACCEPT"]),
    (
        LAN_CHAIN,
        Match("ip", ct_state=("new",), rate="60/minute"),
        Action("accept"),
        ["-m conntrack --ctstate NEW -m limit --limit 1/sec -j ACCEPT"],
    ),
    (
        LAN_CHAIN,
        Match("ip", not_destination=("10.0.0.0/8", "192.168.1.0/24")),
        Action("accept"),
        ["-m conntrack ! --ctorigdst 10.0.0.0/8 -m conntrack ! --ctorigdst 192.168.1.0/24 -j ACCEPT"],
    ),
    (
        Chain("mss", "forward", "mangle"),
        Match("ip", oif=("ppp0",), tcp_syn=True),
        Action("set_mss", size=1452),
        ["-o ppp0 -p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --set-mss 1452"],
    ),
]


@pytest.mark.parametrize(("chain", "match", "action", "wanted"), TEST_ROWS)
def test_rows(chain, match, action, wanted):
    desired = BOTH.render(RuleSet("default", (chain,), (Rule(chain.name, match, action, "nat/x"),)))
    ours = [row for row in desired if row.key == "nat/x"]
    assert [row.text.replace(NOTE, "") for row in ours] == wanted
    assert all(NOTE + " -j " in row.text for row in ours)
    assert {row.chain.split()[0] for row in ours} == {match.family}
    assert Plan(listed(BOTH, loaded(BOTH, desired)), desired).differences(BOTH.show) == []


def test_guard_expects_each_translation_in_its_own_words():
    """Both halves: mangle passes new flows of an item, nat repeats the item."""
    item = {
        "name": "x",
        "action": "snat",
        "to": list(POOL),
        "to_address": "routed",
        "protocol": ["tcp"],
        "port": ["25"],
    }
    rows = [row for row in V4.render(ruleset(nat=[item])) if row.chain.endswith("IPMASQ-EGRESS") and row.key == "guard"]
    first = "-s 192.168.1.0/24 -o ppp+ -p tcp -m tcp --dport 25 "
    note = NOTE.replace("nat/x", "guard")
    texts = [(row.chain.split()[1], row.text.replace(note, "")) for row in rows if "--dport" in row.text]
    assert texts == [
        ("mangle", first + "-m conntrack --ctstate NEW -j RETURN"),
        ("nat", first + CLUSTER.format(1) + " " + SOURCE + POOL[0] + " --persistent"),
        ("nat", first + CLUSTER.format(2) + " " + SOURCE + POOL[1]),
    ]


def test_as_many_servers_as_the_cluster_has_nodes():
    """CLUSTER_NODES_MAX, include/uapi/linux/netfilter/xt_cluster.h; the intent refuses more."""
    servers = tuple("10.0.0.{0}".format(number) for number in range(1, 33))
    action = Action("dnat", to=servers, balance="source")
    rows = V4.render(RuleSet("default", (DSTNAT,), (Rule("dstnat", ASKED, action, "nat/x"),)))
    masks = re.findall("nodemask 0x([0-9a-f]+)", "".join(row.text for row in rows))
    assert len(set(masks)) == 32
    assert all(len(mask) == 8 for mask in masks)


@pytest.mark.parametrize(("saved", "shown"), [("gre", "gre"), ("47", "gre"), ("esp", "esp"), ("2", "igmp")])
def test_a_protocol_is_the_same_by_name_and_by_number(saved, shown):
    """iptables-save prints what /etc/protocols says, and numbers on hosts that have none."""
    listing = "# family ip\n*filter\n:IPMASQ-FORWARD - [0:0]\n-A IPMASQ-FORWARD -p {0} -j DROP\nCOMMIT\n".format(saved)
    row = BOTH.parse(listing, "default")[-1]
    assert row.text == "-p {0} -j DROP".format({"gre": "47"}.get(saved, saved))
    assert BOTH.show(row).endswith("-p {0} -j DROP".format(shown))
