# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""systemd-networkd's drop-in, from files and the output of networkctl as text."""

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError
from ansible_collections.ipmasq.linux.plugins.module_utils._managers.networkd import links_of
from ansible_collections.ipmasq.linux.tests.unit.lan_clients import TWO_NETWORKS, Client, status

DROPIN = "/etc/systemd/network/10-lan0.network.d/ipmasq-lan-client.conf"


def test_the_drop_in():
    client = Client()
    client.apply()
    assert client.files[DROPIN].endswith("\n\n[Route]\nGateway=192.168.1.1\n\n[Route]\nGateway=fd00:1::1\n")
    assert "networkctl reload" in client.calls


def test_a_metric_that_is_not_networkds_own():
    client = Client(routes=["default via fe80::9 dev lan0 proto ra metric 1024"])
    client.apply(gateway6="fd00:1::1", replace_default=True)
    assert "Gateway=fd00:1::1\nMetric=1023\n" in client.files[DROPIN]


def test_addresses_by_dhcp_come_after_the_route():
    client = Client(dynamic=True)
    client.apply()
    assert "Gateway=192.168.1.1\nGatewayOnLink=yes\n" in client.files[DROPIN]


def test_a_file_for_several_links():
    client = Client(TWO_NETWORKS, network_file="/etc/systemd/network/lan.network")
    with pytest.raises(GatewayError, match=r"/etc/systemd/network/lan\.network configures lan0, lan1 alike"):
        client.apply()


def test_links():
    links = links_of(status({"lan0": "/etc/systemd/network/a.network", "lan1": "n/a"}).replace("(configured)", "(x)"))
    assert (links["lan0"].network_file, links["lan0"].state) == ("/etc/systemd/network/a.network", "x")
    assert links["lan1"].network_file == ""
