# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._base.host import Done
from ansible_collections.ipmasq.linux.plugins.module_utils._facts.detours import led_elsewhere

BLOCKS = ("10.0.0.0/8", "192.168.0.0/16", "fc00::/7")
SUMMARY = {"dst": "10.0.0.0/8", "gateway": "192.168.1.10", "dev": "lan0"}
VPN = {"dst": "10.99.0.0/16", "dev": "tun0", "metric": 50}


class Host:
    def __init__(self, routes, rc=0):
        self.out, self.rc, self.asked = routes if isinstance(routes, str) else json.dumps(routes), rc, []

    def ask(self, argv):
        self.asked.append(argv)
        return Done(self.rc, self.out, "")


@pytest.mark.parametrize(
    ("routes", "elsewhere"),
    [
        ([SUMMARY], ()),
        ([SUMMARY, VPN], ("10.99.0.0/16",)),
        ([SUMMARY, {"dst": "10.77.0.1", "dev": "wan0"}], ("10.77.0.1/32",)),
        ([SUMMARY, {"dst": "10.66.0.0/24", "type": "blackhole"}], ("10.66.0.0/24",)),
        ([SUMMARY, {"dst": "10.66.0.0/24", "nexthops": [{"dev": "lan0"}, {"dev": "tun0"}]}], ()),
        ([SUMMARY, {"dst": "10.66.0.0/24", "nexthops": [{"dev": "tun1"}, {"dev": "tun0"}]}], ("10.66.0.0/24",)),
        # To one network, the lowest metric counts, wherever it is listed.
        ([dict(SUMMARY, metric=100), dict(VPN, dst="10.0.0.0/8")], ("10.0.0.0/8",)),
        ([SUMMARY, dict(VPN, dst="10.0.0.0/8")], ()),
        ([{"dst": "default", "dev": "wan0"}, SUMMARY], ()),
    ],
)
def test_the_longest_prefix_wins(routes, elsewhere):
    host = Host(routes)
    assert led_elsewhere(["10.0.0.0/8", "10.1.0.0/16"], {"lan0"}, BLOCKS, host) == elsewhere
    assert host.asked == [["ip", "-j", "-4", "route", "show", "table", "main", "root", "10.0.0.0/8"]]


@pytest.mark.parametrize("host", [Host("", 1), Host("no JSON"), Host([{"dev": "lan0"}]), Host("{}")])
def test_what_cannot_be_read_is_no_lans(host):
    assert led_elsewhere(["10.0.0.0/8"], {"lan0"}, BLOCKS, host) == ("10.0.0.0/8",)


def test_of_many_networks_the_blocks_are_asked_for():
    host = Host([VPN])
    nets = ["10.{0}.0.0/24".format(each) for each in range(9)] + ["fd00:1::/64"]
    assert led_elsewhere(nets, {"lan0"}, BLOCKS, host) == ("10.99.0.0/16",)
    assert [argv[-1] for argv in host.asked] == ["10.0.0.0/8", "fd00:1::/64"]
