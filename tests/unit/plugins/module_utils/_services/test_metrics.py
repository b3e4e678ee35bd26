# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the collector is told about a gateway."""

from __future__ import annotations

from ansible_collections.ipmasq.linux.plugins.module_utils._services.metrics import MOST_ADDRESSES, config
from ansible_collections.ipmasq.linux.tests.unit.resolving import MANY, resolved

LANS = [{"name": "office", "interfaces": ["eth1"], "dhcp": {"range": ["192.168.1.10-192.168.1.19", "192.168.1.30"]}}]


def lines(**given):
    found = resolved(MANY, **dict({"wans": [{"interface": "eth0"}], "lans": LANS, "metrics": "textfile"}, **given))
    return config(found.gateway, "nft").splitlines()[1:]


def test_without_metrics_there_is_nothing():
    assert config(resolved(MANY, wans=[{"interface": "eth0"}], lans=LANS).gateway, "nft") == ""


def test_ranges_and_the_folder():
    assert lines(metrics_folder="/srv/textfiles") == [
        "folder /srv/textfiles",
        "backend nft",
        "link eth0",
        "link eth1",
        "range office 192.168.1.10-192.168.1.19",
        "range office 192.168.1.30-192.168.1.30",
    ]


def snat(name, to, **more):
    return dict({"name": name, "action": "snat", "to": to, "to_address": "routed"}, **more)


def test_addresses_of_snat_once_each():
    nat = [snat("one", ["203.0.113.20-203.0.113.21"], port=["25"], protocol=["tcp"]),
           snat("two", ["203.0.113.21"], port=["80"], protocol=["tcp"]), {"name": "rest"}]  # fmt: skip
    found = [line for line in lines(nat=nat) if line.startswith("address")]
    assert found == ["address 203.0.113.20", "address 203.0.113.21"]


def test_addresses_of_a_large_pool_are_bounded():
    found = [line for line in lines(nat=[snat("all", ["198.18.0.0-198.18.3.255"])]) if line.startswith("address")]
    assert len(found) == MOST_ADDRESSES and found[-1] == "address 198.18.0.255"
