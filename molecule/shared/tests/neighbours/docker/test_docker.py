# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Docker beside a gateway: its container reaches the outside, its published port is open, its policy remains."""

from __future__ import annotations

import labtalk
import pytest

LAB = labtalk.load()
GATEWAY = LAB.gateways[0]
OUTSIDE = GATEWAY.address_on(LAB.wan_network, 4)
PUBLISHED = 8080


def container(*argv: str) -> str:
    return GATEWAY.must("timeout", "5", "docker", "exec", "web", *argv)


def own_address() -> str:
    return GATEWAY.must("docker", "inspect", "--format", "{{.NetworkSettings.IPAddress}}", "web")


def test_a_container_goes_out_as_the_gateway() -> None:
    for reflector in LAB.reflectors(4):
        assert container("/bin/wget", "-q", "-O", "-", f"http://{reflector}/").split()[0] == OUTSIDE


@pytest.mark.parametrize("caller", [LAB.wan, *LAB.clients], ids=lambda node: node.name)
def test_a_published_port_is_open(caller: labtalk.Node) -> None:
    assert caller.must("curl", "-s", "--max-time", "4", f"http://{OUTSIDE}:{PUBLISHED}/") == "box"


def test_a_container_is_closed_to_the_wan_otherwise() -> None:
    """To a host on the WAN that has a route."""
    GATEWAY.must("docker", "exec", "--detach", "web", "/bin/nc", "-ll", "-p", "81", "-e", "/bin/sh")
    address = own_address()
    assert labtalk.wait_until(lambda: GATEWAY.connects(address, 81))
    LAB.wan.must("ip", "route", "add", f"{address}/32", "via", OUTSIDE)
    try:
        assert not LAB.wan.connects(address, 81)
    finally:
        LAB.wan.must("ip", "route", "del", f"{address}/32")


def test_docker_still_drops_what_it_does_not_know() -> None:
    assert ":FORWARD DROP" in GATEWAY.must("iptables-save", "-t", "filter")


def test_docker_is_well() -> None:
    assert GATEWAY.must("systemctl", "is-system-running") == "running"
