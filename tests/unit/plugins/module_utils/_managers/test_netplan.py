# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""netplan's file, from the output of netplan and networkctl as text."""

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError
from ansible_collections.ipmasq.linux.plugins.module_utils._lan_client.resolver import RESOLV
from ansible_collections.ipmasq.linux.plugins.module_utils._managers.netplan import PATH, kinds_of
from ansible_collections.ipmasq.linux.tests.unit.lan_clients import Client

FILE = "/run/systemd/network/10-netplan-{}.network"
GOT = """\
network:
  version: 2
  ethernets:
    lan0:
      addresses:
      - "192.168.1.11/24"
  bridges:
    "br 0":
"""
ROUTES = """\
network:
  version: 2
  ethernets:
    "lan0":
      routes:
        - to: "0.0.0.0/0"
          via: "192.168.1.1"
        - to: "::/0"
          via: "fd00:1::1"
"""


def client(**more):
    found = Client(network_file=FILE, **more)
    found.netplan = GOT
    return found


def test_the_file_and_back():
    host = client()
    before = host.state()
    assert host.apply()["manager"] == "netplan"
    assert host.files[PATH].partition("network:")[2] == ROUTES.partition("network:")[2]
    assert host.mode(PATH) == 0o600
    assert host.calls.index("netplan generate") < host.calls.index("networkctl reload")
    assert not host.apply()["changed"]
    host.apply(state="absent")
    assert host.state() == before


def test_a_lease_and_servers_for_resolved():
    host = client(dynamic=True, resolved=True)
    host.links[RESOLV] = "/run/systemd/resolve/stub-resolv.conf"
    host.apply(dns=["192.168.1.1"], gateway6="none")
    assert '          via: "192.168.1.1"\n          on-link: true\n' in host.files[PATH]
    assert host.files[PATH].endswith('      nameservers:\n        addresses:\n          - "192.168.1.1"\n')


def test_a_metric():
    host = client(routes=["default via fe80::9 dev lan0 proto ra metric 1024"])
    host.apply(gateway6="fd00:1::1", replace_default=True)
    assert '          via: "fd00:1::1"\n          metric: 1023\n' in host.files[PATH]


def test_an_interface_that_netplan_does_not_name():
    host = client()
    host.netplan = ""
    with pytest.raises(GatewayError, match="`netplan get` does not name lan0; run `netplan generate`"):
        host.apply()


def test_kinds():
    assert kinds_of(GOT.replace('"br 0"', '"br0"')) == {"lan0": "ethernets", "br0": "bridges"}
