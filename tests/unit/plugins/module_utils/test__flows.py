# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Connections that began under other rules: right ones stay, wrong ones go, and others' are not looked at."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._compile import compile_gateway
from ansible_collections.ipmasq.linux.plugins.module_utils._facts import Facts
from ansible_collections.ipmasq.linux.plugins.module_utils._flows import End, Flow, parse, wrong
from ansible_collections.ipmasq.linux.plugins.module_utils._intent import gateway_from_params
from ansible_collections.ipmasq.linux.plugins.module_utils._resolve import resolve
from ansible_collections.ipmasq.linux.tests.unit.params import gateway_params

WAN, WAN2, PC, FAR, SERVER = "203.0.113.2", "203.0.113.9", "192.168.1.10", "198.51.100.1", "192.168.1.20"
LOCAL = (WAN, WAN2, "192.168.1.1", "192.168.2.1", "2001:db8:ff::2")
OFFICE = {"name": "office", "interfaces": ["lan0"], "networks": ["192.168.1.0/24", "fd00:1::/64"]}
GUESTS = {"name": "guests", "interfaces": ["guest*"], "networks": ["192.168.2.0/24"]}

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


def out(source=PC, to=FAR, seen=WAN, protocol="tcp", port=443, seen_port=40000):
    """A flow from inside, and as what it is seen."""
    return Flow(protocol, End(source, to, 40000, port), End(to, seen, port, seen_port))


def back(asked=WAN, port=443, server=SERVER, server_port=8443, source=FAR, seen=None):
    """A flow from outside to a server inside."""
    return Flow("tcp", End(source, asked, 50000, port), End(server, seen or source, server_port, 50000))


def is_wrong(flow, **params):
    known = dict({"wans": [{"interface": "wan0"}, {"interface": "ppp*"}], "lans": [OFFICE, GUESTS]}, **params)
    gateway = resolve(gateway_from_params(gateway_params(**known)), Facts((), ())).gateway
    return wrong([flow], compile_gateway(gateway), gateway, LOCAL) == [flow]


def nat(action="masquerade", **more):
    return {
        "nat": [dict({"name": "x", "action": action, "to_address": "routed" if action == "snat" else None}, **more)]
    }


WEB = {"port_forwards": [{"name": "web", "port": ["443"], "to": [SERVER], "to_port": 8443}]}
AROUND = {"port_forwards": [dict(WEB["port_forwards"][0], hairpin=True)]}
MAPPED = {"source": ["192.168.1.0/27"], "to": ["203.0.113.32/27"]}
NO_MAIL = {"outbound": [{"name": "x", "protocol": ["tcp"], "port": ["25"], "action": "reject"}]}


FTP = {"helpers": [{"name": "ftp"}]}


def six(source):
    return Flow("tcp", End(source, "2a00::1", 1, 2), End("2a00::1", source, 2, 1))


#: what it is, the flow, options of the gateway, whether the flow is wrong
TEST_FLOWS = [
    ("masqueraded, as it should be", out(), {}, False),
    ("began before the NAT rule", out(seen=PC), {}, True),
    ("masqueraded to an address that is gone", out(seen="203.0.113.77"), {}, True),
    ("exempt, as it should be", out(to="10.0.0.1", seen=PC), nat("exempt", destination=["10.0.0.0/8"]), False),
    ("exempt now, translated before", out(to="10.0.0.1"), nat("exempt", destination=["10.0.0.0/8"]), True),
    ("snat, as it should be", out(seen=WAN2), nat("snat", to=[WAN2]), False),
    ("snat now, masqueraded before", out(seen=WAN), nat("snat", to=[WAN2]), True),
    ("in the pool", out(seen="203.0.113.17"), nat("snat", to=["203.0.113.16-203.0.113.19"]), False),
    ("no longer in the pool", out(seen="203.0.113.20"), nat("snat", to=["203.0.113.16-203.0.113.19"]), True),
    ("port in the range", out(seen_port=2000), nat(to_port="1024-65535"), False),
    ("port outside the range", out(seen_port=80), nat(to_port="1024-65535"), True),
    ("1:1, as it should be", out(seen="203.0.113.42"), nat("static", **MAPPED), False),
    ("1:1 to another", out(seen="203.0.113.43"), nat("static", **MAPPED), True),
    ("forwarded, as it should be", back(), WEB, False),
    ("forwarded no longer", back(), {}, True),
    ("forwarded to another port now", back(server_port=80), WEB, True),
    ("forwarded to another server now", back(server="192.168.1.21"), WEB, True),
    ("not forwarded before, and asked itself", back(server=WAN, server_port=443), WEB, False),
    ("hairpin, as the address outside", back(source=PC, seen=WAN), AROUND, False),
    ("hairpin, as the gateway", back(source=PC, seen="192.168.1.1"), AROUND, False),
    ("hairpin, untranslated", back(source=PC), AROUND, True),
    ("hairpin no longer", back(source=PC, seen=WAN), WEB, True),
    ("between LANs that do not reach each other", out(to="192.168.2.7", seen=PC), {}, True),
    (
        "between LANs that do",
        out(to="192.168.2.7", seen=PC),
        {"lans": [dict(OFFICE, reaches=["guests"]), GUESTS]},
        False,
    ),
    ("what may no longer go out", out(port=25), NO_MAIL, True),
    ("what may still go out", out(), NO_MAIL, False),
    ("without the helper that it should have", out(port=21), FTP, True),
    ("with the helper that it should have", replace(out(port=21), helper="ftp"), FTP, False),
    ("with a helper that is gone", replace(out(port=21), helper="ftp"), {}, True),
    ("of the gateway itself", out(source=WAN, seen=WAN), {}, False),
    ("of a container", out(source="172.17.0.2", seen="172.17.0.2"), {}, False),
    ("a guest, by a pattern", out(source="192.168.2.7"), {}, False),
    ("global IPv6, routed", six("2001:db8:1::9"), {}, False),
    ("unique local IPv6, untranslated", six("fd00:1::9"), {}, True),
]  # fmt: skip


@pytest.mark.parametrize(
    ("flow", "params", "wanted"), [case[1:] for case in TEST_FLOWS], ids=[c[0] for c in TEST_FLOWS]
)
def test_flow(flow, params, wanted):
    assert is_wrong(flow, **params) is wanted
