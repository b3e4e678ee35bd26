# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Connections as conntrack lists them."""

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._flows.flow import End, Flow, entry_of, flow_of, parse

PC, FAR, WAN = "192.168.1.10", "198.51.100.1", "203.0.113.2"
LISTING = """\
conntrack v1.4.7 (conntrack-tools): 4 flow entries have been shown.
tcp      6 431999 ESTABLISHED src=192.168.1.10 dst=198.51.100.1 sport=40000 dport=443 src=198.51.100.1 \
dst=203.0.113.2 sport=443 dport=40000 [ASSURED] mark=0 helper=ftp use=1
icmp     1 29 src=192.168.1.10 dst=198.51.100.1 type=8 code=0 id=77 src=198.51.100.1 dst=203.0.113.2 type=0 code=0 \
id=77 mark=0 use=1
gre      47 99 src=192.168.1.9 dst=198.51.100.1 [UNREPLIED] src=198.51.100.1 dst=203.0.113.2 mark=0 use=1
udp      17 9 src=fd00:1::9 dst=2001:db8::1 sport=5 dport=53 [UNREPLIED] src=2001:db8::1 dst=fd00:1::9 sport=53 dport=5
"""


def test_parse():
    tcp, icmp, gre, six = parse(LISTING)
    assert tcp == Flow("tcp", End(PC, FAR, 40000, 443), End(FAR, WAN, 443, 40000), helper="ftp")
    assert (icmp.protocol, icmp.icmp_id, icmp.seen_source) == ("icmp", "77", WAN)
    assert (gre.asked, gre.redirected) == (End("192.168.1.9", FAR), False)
    assert six.seen_source == six.asked.source == "fd00:1::9"


def test_the_words_that_mean_one_flow():
    assert [" ".join(flow.delete_words) for flow in parse(LISTING)] == [
        "-p tcp --orig-src 192.168.1.10 --orig-dst 198.51.100.1 --sport 40000 --dport 443",
        "-p icmp --orig-src 192.168.1.10 --orig-dst 198.51.100.1 --icmp-id 77",
        "-p gre --orig-src 192.168.1.9 --orig-dst 198.51.100.1",
        "-f ipv6 -p udp --orig-src fd00:1::9 --orig-dst 2001:db8::1 --sport 5 --dport 53",
    ]


@pytest.mark.parametrize("line", ["", "tcp 6 src=1.2.3.4", "conntrack: 0 flow entries have been shown.", "src= dst="])
def test_lines_that_are_no_flow(line):
    assert parse(line) == []


def test_an_entry_of_the_kernel_and_back():
    tcp, _icmp, gre, six = parse(LISTING)
    assert flow_of(entry_of(tcp), "ftp") == tcp
    assert [flow_of(entry_of(each)) for each in (gre, six)] == [gre, six]
