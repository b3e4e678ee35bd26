# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A default route that a LAN client replaces is, after a rollback, what the kernel had before: real iproute2."""

from __future__ import annotations

import re
import subprocess

import pytest
from sandbox import sh

from ansible_collections.ipmasq.linux.plugins.module_utils._base.local import LocalHost
from ansible_collections.ipmasq.linux.plugins.module_utils._managers.manager import is_there
from ansible_collections.ipmasq.linux.plugins.module_utils._managers.seen import read_routes

ROUTES = [
    "-4 default via 192.168.1.254 dev lan0",
    "-4 default via 192.168.1.254 dev lan0 mtu lock 1400 advmss 1300 initcwnd 20 rto_min 300ms features ecn quickack 1",
    "-4 default via 192.168.1.254 dev lan0 proto static window 1000 rtt 375ms reordering 4 hoplimit 50 congctl cubic",
    "-4 default via 10.9.9.9 dev lan0 onlink src 192.168.1.1 metric 7",
    "-4 default via inet6 fe80::1 dev lan0 metric 7",
    "-4 default dev lan0 metric 70 mtu 1280",
    "-4 unreachable default metric 4278198272",
    "-6 default via fd00:1::254 dev lan0 metric 1023 pref high mtu 1400",
    "-6 default via fe80::1 dev lan0 proto ra metric 100 expires 1000 hoplimit 64",
    "-6 default dev lan0 metric 1024 mtu 1280",
    "-6 blackhole default metric 2000",
    "-6 default proto ra metric 1024 nexthop via fe80::1 dev lan0 nexthop via fe80::2 dev lan0 weight 3",
    "-4 default metric 50 mtu 1400 nexthop via 192.168.1.4 dev lan0 nexthop via 192.168.1.5 dev lan0 onlink",
]


@pytest.mark.parametrize("words", ROUTES)
def test_a_route_comes_back_as_it_was(words):
    sh("ip link add lan0 type veth peer name far0; ip link set lan0 up; ip link set far0 up")
    sh("ip addr add 192.168.1.1/24 dev lan0; ip -6 addr add fd00:1::1/64 dev lan0 nodad")
    family, _space, rest = words.partition(" ")
    sh("ip {0} route add {1}".format(family, rest))

    def shown():
        return re.sub("expires [0-9]+sec", "", sh("ip {0} route show default".format(family))).split()

    before = shown()
    (route,) = read_routes(LocalHost())
    assert "-{0}".format(route.version) == family
    sh(route.line("del"))
    assert shown() == []
    sh(route.line("replace"))
    assert shown() == before
    assert read_routes(LocalHost()) == (route,)
    if route.dev and not route.kind:
        assert subprocess.run(["sh", "-c", is_there(route)], check=False).returncode == 0
        sh(route.line("del"))
        assert subprocess.run(["sh", "-c", is_there(route)], check=False).returncode == 1
