# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""docs/moving-in.md: a gateway takes over from rules of the administrator's own, and gives the host back."""

from __future__ import annotations

import re

from helpers import TWO_LANS
from sandbox import sh
from topology import CLIENTS, GATE4, WAN4

OFFICE4 = CLIENTS["office"][1]
WEB = {"name": "web", "port": ["8443"], "to": [OFFICE4]}
#: What such a host has written by hand, in the words of iptables.
LINES = (
    "-t nat -A PREROUTING -i wan0 -p tcp --dport 8443 -j DNAT --to-destination " + OFFICE4,
    "-t nat -A POSTROUTING -o wan0 -j MASQUERADE",
    "-A FORWARD -i lan0 -o wan0 -j ACCEPT",
    "-A FORWARD -i wan0 -o lan0 -p tcp --dport 8443 -j ACCEPT",
    "-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
    "-P FORWARD DROP",
)


def write_old_rules(gate):
    """NAT and a port forward, as everybody writes them; iptables also drops what is forwarded and not accepted."""
    sh("sysctl -qw net.ipv4.ip_forward=1")
    if gate.programs == "nft":
        sh(
            "nft add table ip mine;"
            "nft 'add chain ip mine pre { type nat hook prerouting priority dstnat; }';"
            "nft 'add chain ip mine post { type nat hook postrouting priority srcnat; }';"
            "nft add rule ip mine pre iifname wan0 tcp dport 8443 counter dnat to " + OFFICE4 + ";"
            "nft add rule ip mine post oifname wan0 counter masquerade"
        )
        return
    sh(";".join("{0} {1}".format(gate.tool(), line) for line in LINES))


def delete_old_rules(gate):
    if gate.programs == "nft":
        sh("nft delete table ip mine")
        return
    for line in LINES:
        sh("{0} {1}".format(gate.tool(), line.replace("-A ", "-D ").replace("FORWARD DROP", "FORWARD ACCEPT")))


def old_rules(gate):
    """Without counters, and without the empty tables that iptables-legacy cannot remove."""
    if gate.programs == "nft":
        return re.sub(r"packets \d+ bytes \d+", "", gate.rules())
    return [line for line in gate.rules().splitlines() if re.match("-A|:.* DROP", line)]


def translated_by_old_rules(gate):
    if gate.programs == "nft":
        (count,) = re.findall(r"packets (\d+)", sh("nft list chain ip mine post"))
    else:
        listed = sh(gate.tool() + " -t nat -vnxL POSTROUTING")
        (count,) = re.findall(r"^ *(\d+) .* *MASQUERADE", listed, re.MULTILINE)
    return int(count)


def reaches_outside(net):
    return net.asks("tcp", "office", "wan", WAN4, 4000).peer == GATE4


def test_a_gateway_takes_over_and_gives_the_host_back(gate, net):
    write_old_rules(gate)
    before = old_rules(gate)
    assert reaches_outside(net)
    assert net.asks("tcp", "wan", "office", GATE4, 8443).node == "office"

    gate.apply(**TWO_LANS)
    count = translated_by_old_rules(gate)
    assert reaches_outside(net) and translated_by_old_rules(gate) == count
    # The old line translates, and nothing lets that in.
    assert net.asks("tcp", "wan", "office", GATE4, 8443, timeout=0.3) == "timeout"
    assert next(each["packets"] for each in gate.info()["counters"] if each["name"] == "closed") > 0
    gate.apply(**TWO_LANS, port_forwards=[WEB])
    assert net.asks("tcp", "wan", "office", GATE4, 8443).node == "office"

    gate.absent()
    assert old_rules(gate) == before
    assert reaches_outside(net) and translated_by_old_rules(gate) > count
    assert net.asks("tcp", "wan", "office", GATE4, 8443).node == "office"

    gate.apply(**TWO_LANS, port_forwards=[WEB])
    delete_old_rules(gate)
    assert reaches_outside(net)
    assert net.asks("tcp", "wan", "office", GATE4, 8443).node == "office"
    assert gate.info()["as_applied"]
    assert not gate.apply(**TWO_LANS, port_forwards=[WEB]).changed


def test_without_the_old_rules_a_host_that_forwarded_before_goes_on_forwarding(gate, net):
    """So the page says to load the old rules first, or to turn forwarding off."""
    write_old_rules(gate)
    gate.apply(**TWO_LANS)
    delete_old_rules(gate)
    gate.absent()
    assert sh("sysctl -n net.ipv4.ip_forward").strip() == "1"
