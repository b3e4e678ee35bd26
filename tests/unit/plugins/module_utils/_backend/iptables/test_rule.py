# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The rows of each match and action."""

from __future__ import annotations

import re

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._rules.model import Action, Chain, Match
from ansible_collections.ipmasq.linux.plugins.module_utils._rules.rows import Plan
from ansible_collections.ipmasq.linux.tests.unit.backends import BOTH, POOL, V4, listed, loaded, of_one, small


def test_guard_before_the_nat_lets_new_flows_of_an_item_pass_and_no_others():
    """Row by row: what a guard in mangle must contain, because it cannot see the result of NAT."""
    texts = [row.text for row in V4.render(small()) if row.chain == "ip mangle IPMASQ-EGRESS"][1:]
    assert [(text.split("-m comment")[0].strip(), text.split(" -j ")[1]) for text in texts] == [
        ("-m conntrack --ctstate SNAT --ctdir ORIGINAL", "RETURN"),
        ("-s 192.168.1.0/24 -o ppp+ -m conntrack --ctstate NEW ! --ctstatus CONFIRMED", "RETURN"),
        ("-s 192.168.1.0/24 -o ppp+ -m conntrack --ctstate INVALID,UNTRACKED", "DROP"),
        ("-s 192.168.1.0/24 -o ppp+ -m conntrack --ctstate NEW,RELATED,ESTABLISHED --ctdir ORIGINAL "
         "-m conntrack ! --ctstate SNAT", "DROP"),
        ("-s 192.168.1.0/24 -o ppp+ -m conntrack --ctstate RELATED,ESTABLISHED --ctdir REPLY "
         "-m conntrack ! --ctstate DNAT", "DROP"),
    ]  # fmt: skip


SRCNAT, DSTNAT, LAN_CHAIN = Chain("srcnat", "postrouting", "nat"), Chain("dstnat", "prerouting", "nat"), Chain("lan-a")


OUT = Match("ip", oif=("ppp0",))


ASKED = Match("ip", iif=("ppp0",), protocol="tcp", port=((7000, 7002),))


ASKED6 = Match("ip6", iif=("ppp0",), protocol="udp", port=((53, 53),))


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
    (LAN_CHAIN, Match("ip", plain=True), Action("drop"), ["-m policy --dir out --pol none -j DROP"]),
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
    desired = BOTH.render(of_one(chain, match, action))
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
    rows = [row for row in V4.render(small(nat=[item])) if row.chain.endswith("IPMASQ-EGRESS") and row.key == "guard"]
    first = "-s 192.168.1.0/24 -o ppp+ -p tcp -m tcp --dport 25 "
    note = NOTE.replace("nat/x", "guard")
    texts = [(row.chain.split()[1], row.text.replace(note, "")) for row in rows if "--dport" in row.text]
    assert texts == [
        ("mangle", first + "-m conntrack --ctstate NEW ! --ctstatus CONFIRMED -j RETURN"),
        ("nat", first + CLUSTER.format(1) + " " + SOURCE + POOL[0] + " --persistent"),
        ("nat", first + CLUSTER.format(2) + " " + SOURCE + POOL[1]),
    ]


def test_as_many_servers_as_the_cluster_has_nodes():
    """CLUSTER_NODES_MAX, include/uapi/linux/netfilter/xt_cluster.h; the intent refuses more."""
    servers = tuple("10.0.0.{0}".format(number) for number in range(1, 33))
    action = Action("dnat", to=servers, balance="source")
    rows = V4.render(of_one(DSTNAT, ASKED, action))
    masks = re.findall("nodemask 0x([0-9a-f]+)", "".join(row.text for row in rows))
    assert len(set(masks)) == 32
    assert all(len(mask) == 8 for mask in masks)
