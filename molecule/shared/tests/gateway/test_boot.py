# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a boot finds on a gateway."""

from __future__ import annotations

import labtalk
import pytest

LAB = labtalk.load()


@pytest.mark.parametrize("gateway", LAB.gateways, ids=lambda gateway: gateway.name)
def test_service_is_enabled(gateway: labtalk.Node) -> None:
    assert gateway.host.service("ipmasq").is_enabled


@pytest.mark.parametrize("gateway", LAB.gateways, ids=lambda gateway: gateway.name)
@pytest.mark.parametrize("key", ["net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"])
def test_gateway_forwards(gateway: labtalk.Node, key: str) -> None:
    assert gateway.host.sysctl(key) == 1


@pytest.mark.parametrize("node", [*LAB.gateways, *LAB.clients], ids=lambda node: node.name)
def test_no_unit_failed(node: labtalk.Node) -> None:
    assert node.must("systemctl", "is-system-running") == "running"
