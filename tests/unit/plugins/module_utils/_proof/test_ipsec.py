# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._proof import ipsec
from ansible_collections.ipmasq.linux.plugins.module_utils._proof.model import Come, Policy, Step
from ansible_collections.ipmasq.linux.plugins.module_utils._proof.packets import Packet
from ansible_collections.ipmasq.linux.tests.unit.plugins.module_utils._proof.test_promises import GROUND, promised

TMPL = "\ttmpl src 203.0.113.2 dst 203.0.113.1\n\t\tproto esp reqid 1 mode tunnel\n"
#: As iproute2 prints them: both directions of a tunnel, a socket's, VTI's, an xfrm interface's, two for L2TP, a bypass.
LISTED = (
    "src 192.168.1.0/24 dst 10.7.0.0/16 \n\tdir out priority 375423 ptype main \n" + TMPL
    + "src 10.7.0.0/16 dst 192.168.1.0/24 \n\tdir fwd priority 375423 ptype main \n" + TMPL
    + "src 0.0.0.0/0 dst 0.0.0.0/0 \n\tsocket in priority 0 ptype main \n"
    + "src 0.0.0.0/0 dst 0.0.0.0/0 \n\tdir out priority 2 ptype main \n\tmark 0x2a/0xffffffff \n" + TMPL
    + "src ::/0 dst ::/0 \n\tdir out priority 2 ptype main \n" + TMPL + "\tif_id 0x2a\n"
    + "src 203.0.113.2/24 dst 198.51.100.9/32 proto udp dport 1701 dev wan0 \n\tdir out priority 2 \n" + TMPL
    + "src 203.0.113.2/32 dst 198.51.100.9/32 proto udp sport 1701 \n\tdir out priority 2 \n" + TMPL
    + "src 192.168.1.0/24 dst 192.168.1.0/24 \n\tdir out priority 1 ptype main \n"
    + "src 192.168.1.0/24 dst 0.0.0.0/0 \n\tdir fwd action block priority 3 ptype main \n"
)  # fmt: skip
OUT = Policy("192.168.1.0/24", "10.7.0.0/16", "out", 375423)


def test_what_ip_lists():
    assert ipsec.read(LISTED) == (
        OUT,
        Policy("10.7.0.0/16", "192.168.1.0/24", "fwd", 375423),
        Policy("203.0.113.0/24", "198.51.100.9/32", "out", 2, protocol="udp", port=1701, link="wan0"),
        Policy("192.168.1.0/24", "192.168.1.0/24", "out", 1, encrypts=False),
        Policy("192.168.1.0/24", "0.0.0.0/0", "fwd", 3, encrypts=False, blocks=True),
    )
    assert ipsec.read("") == ipsec.read("RTNETLINK answers: x\n\ty\nsrc a dst b\n\tdir out\n") == ()


def packet(source, target, protocol="tcp", port=443):
    return Step("lan0", Packet(source, target, protocol, dport=port), Come(("wan0",), ("203.0.113.2",)))


@pytest.mark.parametrize(
    ("policies", "step", "taken"),
    [
        ((OUT,), packet("192.168.1.9", "10.7.255.254"), True),
        ((OUT,), packet("192.168.2.9", "10.7.255.254"), False),
        ((OUT,), packet("192.168.1.9", "9.9.9.9"), False),
        ((OUT, OUT._replace(priority=1, encrypts=False)), packet("192.168.1.9", "10.7.255.254"), False),
        ((OUT, OUT._replace(encrypts=False)), packet("192.168.1.9", "10.7.255.254"), True),
        ((OUT._replace(encrypts=False, blocks=True),), packet("192.168.1.9", "10.7.255.254"), True),
        ((OUT._replace(source="203.0.113.2/32"),), packet("192.168.1.9", "10.7.255.254"), True),
        ((OUT._replace(protocol="tcp", port=443),), packet("192.168.1.9", "10.7.255.254"), True),
        ((OUT._replace(protocol="tcp", port=444),), packet("192.168.1.9", "10.7.255.254"), False),
        ((OUT._replace(protocol="udp"),), packet("192.168.1.9", "10.7.255.254"), False),
        ((OUT._replace(link="wan0"),), packet("192.168.1.9", "10.7.255.254"), True),
        ((OUT._replace(link="wan1"),), packet("192.168.1.9", "10.7.255.254"), False),
        ((Policy("10.7.0.0/16", "192.168.1.0/24", "fwd"),), packet("192.168.1.9", "10.7.255.254"), True),
        ((Policy("::/0", "::/0", "out"),), packet("192.168.1.9", "10.7.255.254"), False),
    ],
)
def test_a_packet_or_its_answer_may_be_for_a_policy(policies, step, taken):
    assert bool(ipsec.lack(policies, step)) == taken


def test_the_reason_says_what_a_policy_does():
    step = packet("192.168.1.9", "10.7.255.254")
    assert "would leave encrypted" in ipsec.lack((OUT,), step)
    assert ipsec.lack((OUT._replace(encrypts=False, blocks=True),), step).endswith("for such packets, and drops them")


def test_nothing_that_a_policy_takes_is_sent():
    ground = replace(GROUND, policies=(Policy("192.168.1.0/24", "0.0.0.0/0", "out"),))
    found = promised(ground, port_forwards=[{"name": "web", "port": ["443"], "to": ["192.168.1.20"]}])
    taken = {name for name, promise in found.items() if promise.lacks}
    assert {promise.lacks for name, promise in found.items() if name in taken} == {
        ipsec.LACKS.format(ground.policies[0])
    }
    assert (
        "office reaches the Internet through wan0 (tcp, IPv4)" in taken
        and "office does not reach guests (tcp, IPv4)" in taken
    )
    assert "port forward 'web' from wan0 (tcp 443, IPv4)" in taken, "its answer"
    assert "stray RST does not leave office untranslated (IPv4)" in taken, "it would leave encrypted"
    assert "office is closed from wan0 (tcp, IPv4)" not in taken
    assert not any("IPv6" in name or name.startswith("guests reaches") for name in taken)
