# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible_collections.ipmasq.linux.plugins.module_utils._base.host import Done
from ansible_collections.ipmasq.linux.plugins.module_utils._proof import rules
from ansible_collections.ipmasq.linux.plugins.module_utils._proof.packets import Packet
from ansible_collections.ipmasq.linux.plugins.module_utils._proof.trace import Event

NFT = """table {0} {1} {{ # handle 1
\tchain {2} {{ # handle 2
\t\ttype filter hook forward priority filter; policy accept;
\t\toifname "wan0" tcp dport 25 counter packets 3 bytes 9 drop comment "ipmasq:default/outbound/to, mail" # handle 7
\t\tcounter packets 0 bytes 0 drop # handle 8
\t}}
}}
"""
SAVED = """*filter
:FORWARD ACCEPT [0:0]
-A FORWARD -o wan0 -m comment --comment ipmasq:default/guard -j DROP
-A FORWARDED -j ACCEPT
-A FORWARD -m comment --comment mine -j DROP
"""


class Host:
    def __init__(self, programs=()):
        self.calls, self._programs = [], programs

    def which(self, program):
        return program if program in self._programs else ""

    def run(self, argv, stdin=None):
        self.calls.append(argv)
        return Done(0, SAVED if argv[0].endswith("-save") else NFT.format(*argv[4:]), "")


def event(family="inet", table="ipmasq", chain="forward", handle=7):
    return Event(family, table, chain, handle=handle)


def test_a_rule_by_its_number():
    host = Host()
    found = rules.Rules(host)
    assert found.text(event()) == 'oifname "wan0" tcp dport 25 drop'
    assert rules.item(found.listed(event())) == ("outbound", "to, mail")
    assert found.text(event(handle=8)) == "drop"
    assert found.text(event(handle=9)) == ""
    assert len(host.calls) == 1


def test_a_rule_of_iptables_is_written_as_iptables_does():
    host = Host(["iptables-save"])
    found = rules.Rules(host)
    guard, mine = (event("ip", "filter", "FORWARD", handle) for handle in (7, 8))
    assert (rules.item(found.listed(guard)), found.text(guard)) == (("guard",), "-o wan0 -j DROP")
    assert (rules.item(found.listed(mine)), found.text(mine)) == ((), "-m comment --comment mine -j DROP")
    assert len(host.calls) == 2
    # A table of nft with such a name, or a listing that has changed meanwhile.
    assert found.text(event("ip", "filter", "other", 8)) == "drop"
    assert rules.Rules(Host()).text(mine) == "drop"


def test_words_for_what_is_ours():
    assert rules.in_words(("outbound", "mail")) == "this gateway's outbound 'mail'"
    assert rules.in_words(("guard",)) == "this gateway's guard against private sources outside"
    assert rules.in_words(("new",)) == "this gateway's rules"


ELEMENTS = ", ".join('192.168.1.{0} . 80 : "port_forward/f{0}/accept"'.format(host) for host in range(9, 19))
MAPPED = 'ct status dnat counter name ip daddr . tcp dport map {{ {0} }} accept comment "ipmasq:default/lookup"'


def test_of_many_port_forwards_the_one_that_a_packet_meets_is_named():
    text = MAPPED.format(ELEMENTS)
    for target, dport, key in (
        ("192.168.1.9", 80, ("port_forward", "f9")),
        ("192.168.1.18", 80, ("port_forward", "f18")),
        ("192.168.1.1", 80, ("lookup",)),
        ("192.168.1.9", 8, ("lookup",)),
    ):
        assert rules.item(text, Packet("9.9.9.9", target, "tcp", 50007, dport)) == key
    assert rules.item(text) == ("lookup",)
    before = text.replace("192.168.1.", "70").replace(" . 80", "")
    assert rules.item(before, Packet("9.9.9.9", "203.0.113.2", "tcp", 50007, 7010)) == ("port_forward", "f10")
    assert rules.bare(text) == "ct status dnat counter name ip daddr . tcp dport map { ... } accept"
    # A few elements remain.
    few = "dnat to tcp dport map { 80 : 192.168.1.9 }"
    assert rules.bare(few) == few
