# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""kube-proxy's table beside a gateway: services answer where they should."""

from __future__ import annotations

import labtalk
import pytest

LAB = labtalk.load()
GATEWAY = LAB.gateways[0]
OUTSIDE = GATEWAY.address_on(LAB.wan_network, 4)
SERVICE, WITHOUT_PODS, NODE_PORT = "10.96.0.80", "10.96.0.81", 30080


def test_the_node_reaches_a_service() -> None:
    assert GATEWAY.connects(SERVICE, 80)


def test_a_pod_reaches_a_service() -> None:
    """Its own service: there and back, through the node."""
    assert GATEWAY.run("ip", "netns", "exec", "guest", "nc", "-z", "-w", "2", SERVICE, "80").rc == 0


@pytest.mark.parametrize("caller", [LAB.wan, *LAB.clients], ids=lambda node: node.name)
def test_a_node_port_is_open(caller: labtalk.Node) -> None:
    assert caller.connects(OUTSIDE, NODE_PORT)


def test_a_service_without_pods_is_refused_at_once() -> None:
    assert "refused" in GATEWAY.run("nc", "-v", "-z", "-w", "3", WITHOUT_PODS, "80").stderr
