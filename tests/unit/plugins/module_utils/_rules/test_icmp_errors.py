# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Related packets, packet by packet."""

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.tests.unit.backends import BOTH, NFT
from ansible_collections.ipmasq.linux.tests.unit.packet import Packet

from .test_around import FAR, GUEST, OFFICE, PC, TWO, compiled, decided

GUESTS = {"name": "guests", "interfaces": ["guest0"], "networks": ["192.168.2.0/24"]}
ROUTER = "10.6.0.2"
HAIRPIN = {"asked": "203.0.113.2", "direction": "reply"}


def error(iif, oif, source, target, **more):
    return Packet(iif, oif, source, target, "related", **dict({"protocol": "icmp"}, **more))


@pytest.mark.parametrize(
    ("packet", "verdict", "key"),
    [
        (error("lan0", "wan0", "192.0.2.9", FAR), "accept", "nat/public"),
        (error("lan0", "wan0", ROUTER, FAR), "drop", "guard"),
        (error("lan0", "wan0", ROUTER, FAR, mapped="203.0.113.2"), "accept", "answers"),
        (error("lan0", "wan0", ROUTER, FAR, mapped="203.0.113.2", direction="reply"), "drop", "guard"),
        (error("lan0", "wan0", ROUTER, FAR, **HAIRPIN), "accept", "answers"),
        (error("wan0", "lan0", ROUTER, PC), "accept", "answers"),
        (error("guest0", "lan0", GUEST, PC), "drop", "isolation"),
        (error("guest0", "lan0", ROUTER, PC), "drop", "isolation"),
        (error("lan0", "lan0", ROUTER, PC), "accept", "lan/office"),
        # The flow was opened from there, or by a hairpin.
        (error("prn0", "lan0", ROUTER, PC), "accept", "lan/printers"),
        (error("guest0", "lan0", GUEST, PC, **HAIRPIN), "accept", "answers"),
        (Packet("lan0", "wan0", ROUTER, FAR, "related", protocol="tcp"), "drop", "spoofed/office"),
    ],
)
def test_errors_between_declared_links(packet, verdict, key):
    printers = {"name": "printers", "interfaces": ["prn0"], "networks": ["192.168.3.0/24"]}
    office = dict(OFFICE, networks=[*OFFICE["networks"], "192.0.2.0/24"])
    exempt = [{"name": "public", "action": "exempt", "source": ["192.0.2.0/24"]}, {"name": "rest"}]
    ruleset = compiled(nat=exempt, lans=[dict(office, reaches=["printers"]), GUESTS, printers])
    assert decided(ruleset, packet) == (verdict, [key])


def test_errors_of_other_links():
    ruleset = compiled(neighbours=[TWO], lans=[dict(OFFICE, reaches=["two/guests"])])
    assert decided(ruleset, error("eth9", "lan0", ROUTER, PC)) == ("drop", ["undeclared"])
    assert decided(ruleset, error("docker0", "lan0", ROUTER, PC)) == ("accept", ["managed"])
    assert decided(ruleset, error("wan0", "eth9", FAR, ROUTER)) == ("accept", ["answers"])


@pytest.mark.parametrize("backend", [NFT, BOTH], ids=["nft", "iptables"])
def test_a_server_with_a_suffix_may_have_a_hairpin(backend):
    """Conntrack's original destination cannot be compared with a suffix."""
    office = dict(OFFICE, networks=["192.168.1.0/24", "2001:db8:1::/64"])
    to = ["::11/::ffff:ffff:ffff:ffff"]
    forward = {"name": "web", "port": ["443"], "to": to, "hairpin": True}
    ruleset = compiled(lans=[office, GUESTS], ipv6="route", port_forwards=[forward])
    assert any("::11" in row.text and "port_forward/web" in row.key for row in backend.render(ruleset))
