# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""dhcpcd's hook, and what the real shell makes of it."""

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError
from ansible_collections.ipmasq.linux.tests.unit.lan_clients import Client
from ansible_collections.ipmasq.linux.tests.unit.plugins.module_utils._managers.test_ifupdown import shell

FOLDER = "/usr/lib/dhcpcd/dhcpcd-hooks/"
HOOK = FOLDER + "15-ipmasq-lan-client"


@pytest.mark.parametrize(
    ("environment", "count"),
    [
        ({"interface": "lan0", "if_up": "true"}, 2),
        ({"interface": "lan0", "if_up": "false"}, 0),
        ({"interface": "lan1", "if_up": "true"}, 0),
    ],
)
def test_the_hook(tmp_path, environment, count):
    client = Client(manager="dhcpcd")
    assert client.apply()["manager"] == "dhcpcd"
    text = client.files[HOOK] + "echo $skip_hooks\n"
    assert len(shell(tmp_path, text, {"skip_hooks": "", **environment})) == count + 1


@pytest.mark.parametrize(("interface", "skipped"), [("lan0", "hostname resolv.conf"), ("lan1", "hostname")])
def test_its_own_hook_leaves_our_servers_alone(tmp_path, interface, skipped):
    client = Client(manager="dhcpcd")
    before = client.state()
    client.apply(dns=["192.168.1.1"])
    environment = {"interface": interface, "if_up": "false", "skip_hooks": "hostname"}
    assert shell(tmp_path, client.files[HOOK] + 'echo "$skip_hooks"\n', environment) == [skipped]
    client.apply(state="absent")
    assert client.state() == before


def test_a_folder_of_two_names():
    client = Client(manager="dhcpcd")
    client.links["/lib"] = "usr/lib"
    client.apply()
    client.files["/lib/dhcpcd/dhcpcd-hooks/15-ipmasq-lan-client"] = client.files[HOOK]
    assert not client.apply()["changed"]


def test_no_hooks():
    client = Client(manager="dhcpcd")
    del client.files[FOLDER + "20-resolv.conf"]
    with pytest.raises(GatewayError, match="dhcpcd manages lan0, but its hooks are in none of these folders: /usr/lib"):
        client.apply()
