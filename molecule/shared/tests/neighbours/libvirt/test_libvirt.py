# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""libvirt beside a gateway: a guest in its network reaches the outside, and nothing gets in."""

from __future__ import annotations

import labtalk

LAB = labtalk.load()
GATEWAY = LAB.gateways[0]
OUTSIDE = GATEWAY.address_on(LAB.wan_network, 4)
GUEST, PORT = "192.168.122.10", 8080


def guest(*argv: str) -> labtalk.Answer:
    return GATEWAY.run("ip", "netns", "exec", "guest", *argv)


def test_a_guest_goes_out_as_the_gateway() -> None:
    for reflector in LAB.reflectors(4):
        assert guest("curl", "-s", "--max-time", "4", f"http://{reflector}/").stdout.split()[0] == OUTSIDE


def test_libvirt_answers_the_guest() -> None:
    assert guest("nc", "-z", "-w", "2", "192.168.122.1", "53").rc == 0


def test_a_guest_is_closed_to_everybody_else() -> None:
    """To a host on the WAN that has a route, and to the LAN."""
    assert GATEWAY.connects(GUEST, PORT)
    LAB.wan.must("ip", "route", "add", f"{GUEST}/32", "via", OUTSIDE)
    try:
        assert LAB.wan.reaches(GUEST, PORT) == set()
    finally:
        LAB.wan.must("ip", "route", "del", f"{GUEST}/32")
    assert LAB.clients[0].reaches(GUEST, PORT) == set()


def test_libvirt_is_well() -> None:
    assert "default" in GATEWAY.must("virsh", "-c", "network:///system", "net-list", "--name")
