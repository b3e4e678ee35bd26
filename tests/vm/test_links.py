# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Flow offload, and what udev does for links that appear: a container has neither flowtables nor udev.

Run as test_kernel.py says.
"""

from __future__ import annotations

import typing as t

from wiring import (
    ANSWERS,
    CLIENT,
    GATE,
    OFFICE,
    PORT,
    SERVER,
    ask,
    dial,
    hang_up,
    keep_asking,
    wait_for,
    wire_lan,
    wire_provider,
    wire_wan,
)

if t.TYPE_CHECKING:
    from machine import Machine

OFFLOAD = {
    "wans": [{"interface": "wan0"}, {"interface": "ppp*"}],
    "lans": [OFFICE],
    "backend": "nftables",
    "offload": "software",
}
OWN = "203.0.113.9"
ADDED = {
    "wans": [{"interface": "wan0"}],
    "lans": [OFFICE],
    "nat": [{"name": "own", "action": "static", "source": [CLIENT], "to": [OWN], "to_address": "add"}],
}


def devices(machine: Machine) -> str:
    return machine.sh("nft list flowtable inet ipmasq offloaded | grep devices || true")


def test_established_connections_go_past_the_rules(machine: Machine) -> None:
    wire_lan(machine)
    wire_wan(machine)
    done = machine.apply(OFFLOAD)
    assert "lan0" in devices(machine) and "wan0" in devices(machine)
    assert not machine.apply(OFFLOAD)["changed"]
    info = machine.module("gateway_info", {})
    assert info["drift"] == [], done
    keep_asking(machine, SERVER)
    wait_for(machine, "conntrack -L -p udp 2>/dev/null | grep -q OFFLOAD")
    # They still arrive, and translated.
    seen = machine.sh("wc -l < " + ANSWERS).strip()
    wait_for(machine, "test $(wc -l < {0}) -gt {1}".format(ANSWERS, int(seen) + 10))
    assert set(machine.read(ANSWERS).split()) == {GATE}
    # What goes past the rules is no longer counted by them.
    before = forwarded(machine)
    machine.sh("sleep 3")
    assert forwarded(machine) - before < 10
    machine.sh("systemctl stop asker")

    # A device that is gone and there again is in the flowtable again, by udev's doing.
    machine.sh("ip link del wan0")
    assert "wan0" not in devices(machine)
    machine.sh("systemctl stop server; ip netns del server")
    wire_wan(machine)
    wait_for(machine, "nft list flowtable inet ipmasq offloaded | grep -q wan0")
    assert ask(machine) == GATE

    machine.reboot()
    assert machine.sh("systemctl is-active ipmasq.service").strip() == "active"
    assert "wan0" not in devices(machine)
    wire_lan(machine)
    wire_wan(machine)
    wait_for(machine, "nft list flowtable inet ipmasq offloaded | grep lan0 | grep -q wan0")
    assert ask(machine) == GATE
    assert not machine.apply(OFFLOAD)["changed"]
    machine.module("gateway", {"state": "absent", "confirm_timeout": 0})
    assert machine.sh("nft list ruleset").strip() == ""


def test_a_change_reaches_what_goes_past_the_rules(machine: Machine) -> None:
    """A connection that is offloaded ends if the change closes it, and is translated as before if it does not."""
    wire_lan(machine)
    wire_wan(machine)
    machine.apply(OFFLOAD)
    keep_asking(machine, SERVER)
    offloaded = "conntrack -L -p udp 2>/dev/null | grep -q OFFLOAD"
    wait_for(machine, offloaded)
    item = {"name": "asked", "protocol": ["udp"], "port": ["9"], "action": "drop"}
    machine.apply(dict(OFFLOAD, outbound=[item]))
    seen = int(machine.sh("wc -l < " + ANSWERS))
    wait_for(machine, "test $(wc -l < {0}) -gt {1}".format(ANSWERS, seen + 10))
    assert set(machine.read(ANSWERS).split()) == {GATE}
    wait_for(machine, offloaded)
    machine.apply(dict(OFFLOAD, outbound=[dict(item, port=[PORT])]))
    # The kernel looks once a second for connections that are gone.
    machine.sh("sleep 3")
    seen = int(machine.sh("wc -l < " + ANSWERS))
    machine.sh("sleep 3")
    assert int(machine.sh("wc -l < " + ANSWERS)) == seen
    machine.sh("systemctl stop asker")


def forwarded(machine: Machine) -> int:
    """Packets that the rules have let through."""
    info = machine.module("gateway_info", {})
    return sum(item["packets"] for item in info["counters"])


def test_an_added_address_comes_with_its_link(machine: Machine) -> None:
    wire_lan(machine)
    wire_wan(machine)
    machine.apply(ADDED)
    assert ask(machine) == OWN
    machine.reboot()
    wire_lan(machine)
    wire_wan(machine)
    wait_for(machine, "ip address show dev wan0 | grep -q " + OWN)
    assert ask(machine) == OWN
    assert not machine.apply(ADDED)["changed"]
    machine.module("gateway", {"state": "absent", "confirm_timeout": 0})
    assert OWN not in machine.sh("ip address show dev wan0")
    assert machine.sh("ls /etc/udev/rules.d /etc/systemd/system | grep ipmasq || true") == ""


FAR, FARTHER, FIRST, SECOND = "198.51.100.9", "198.51.100.10", "203.0.113.50", "203.0.113.77"


def test_two_links_that_appear_together_lose_nothing(machine: Machine) -> None:
    """Two sessions of PPP that come in the same moment; udev starts the service of links for each of them."""
    wire_lan(machine)
    wire_provider(machine, FAR, FARTHER)
    own = {"name": "own", "action": "snat", "wan": "ppp1", "to": [OWN], "to_address": "add"}
    options = dict(OFFLOAD, wans=[{"interface": "ppp0"}, {"interface": "ppp1"}], nat=[own, {"name": "rest"}])
    machine.apply(options)
    for _each in range(3):
        dial(machine, FIRST, SECOND)
        wait_for(machine, "ip address show dev ppp1 | grep -q " + OWN)
        wait_for(machine, "nft list flowtable inet ipmasq offloaded | grep ppp0 | grep -q ppp1")
        machine.sh("ip route add {0} dev ppp1; ip -n server route add {1} dev isp1".format(FARTHER, OWN))
        assert (ask(machine, FAR), ask(machine, FARTHER)) == (FIRST, OWN)
        hang_up(machine)
