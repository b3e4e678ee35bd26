# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""NetworkManager's dispatcher script and its global DNS."""

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError
from ansible_collections.ipmasq.linux.plugins.module_utils._lan_client.resolver import RESOLV
from ansible_collections.ipmasq.linux.plugins.module_utils._managers.network_manager import CONF, DISPATCHER, SCRIPT
from ansible_collections.ipmasq.linux.tests.unit.lan_clients import Client
from ansible_collections.ipmasq.linux.tests.unit.plugins.module_utils._managers.test_ifupdown import shell


@pytest.mark.parametrize(
    ("words", "count"),
    [
        (("lan0", "up"), 2),
        (("lan0", "dhcp4-change"), 2),
        (("lan0", "reapply"), 2),
        (("lan0", "down"), 0),
        (("lan1", "up"), 0),
        (("none", "hostname"), 0),
    ],
)
def test_the_script(tmp_path, words, count):
    client = Client(manager="NetworkManager")
    done = client.apply()
    assert done["manager"] == "NetworkManager"
    assert client.mode(SCRIPT) == 0o755
    assert len(shell(tmp_path, client.files[SCRIPT], {}, *words)) == count


def test_servers_and_the_domains_that_were_searched():
    client = Client(manager="NetworkManager", files={RESOLV: "search example.org\nnameserver 9.9.9.9\n"})
    before = client.state()
    client.apply(dns=["192.168.1.1"])
    text = "[global-dns]\nsearches=example.org\n\n[global-dns-domain-*]\nservers=192.168.1.1\n"
    assert client.files[CONF].endswith(text)
    assert "nmcli general reload" in client.calls
    client.apply(state="absent")
    assert client.state() == before


@pytest.mark.parametrize(
    ("managed", "devices", "manager"),
    [
        ("false", "lan0:unmanaged\n", "systemd-networkd"),
        ("true", "lan0:connected (externally)\n", "systemd-networkd"),
        ("true", "lan0:connecting (getting IP configuration)\n", "NetworkManager"),
        ("true", "", "NetworkManager"),  # nmcli does not answer
    ],
)
def test_a_device_that_it_only_looks_at(managed, devices, manager):
    files = {"/run/NetworkManager/devices/2": "[device]\nmanaged={0}\n".format(managed), DISPATCHER: ""}
    client = Client(manager="networkd", files=files)
    client.devices = devices
    assert client.apply(check_mode=True)["manager"] == manager


def test_scripts_that_nobody_runs():
    client = Client(manager="NetworkManager")
    del client.files[DISPATCHER]
    with pytest.raises(GatewayError, match="enable it: systemctl enable NetworkManager-dispatcher"):
        client.apply()
