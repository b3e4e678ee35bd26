# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which default routes the kernel has made of advertisements, from recorded /proc/net/ipv6_route (Linux 6.18)."""

from __future__ import annotations

from ansible_collections.ipmasq.linux.plugins.module_utils._facts.advertised import PLACE, of_the_kernel
from ansible_collections.ipmasq.linux.plugins.module_utils._facts.links import read_facts
from ansible_collections.ipmasq.linux.tests.unit import fakes

NONE = "0" * 32
LINE = "{0} 00 {1} 00 {2} {3:08x} 00000001 00000000 {4:08x} {5:>8}\n"
LISTING = (
    LINE.format(NONE, NONE, "fe80000000000000000000000000000a", 1024, 0x450003, "lan0")
    + LINE.format(NONE, NONE, "fe80000000000000000000000000000b", 1024, 0x400003, "guest0")
    # One of each, which differ in nothing else: it stays.
    + LINE.format(NONE, NONE, "fe80000000000000000000000000000c", 1024, 0x450003, "wan0")
    + LINE.format(NONE, NONE, "fe80000000000000000000000000000c", 1024, 0x3, "wan0")
    + "fd000001000000000000000000000000 40 " + NONE + " 00 " + NONE + " 00000100 00000002 00000000 00040001     lan0\n"
    + LINE.format(NONE, NONE, NONE, 0xFFFFFFFF, 0x200200, "lo")
)  # fmt: skip


def test_routes_of_the_kernel():
    assert of_the_kernel(LISTING) == {("lan0", "fe80::a", 1024)}
    assert of_the_kernel("") == set()


def test_it_is_read_only_where_a_route_of_an_advertisement_is_there():
    host = fakes.FakeHost(links=[fakes.link("lan0"), fakes.link("guest0")])
    host.files[PLACE] = LISTING
    made = {"gateway": "fe80::a", "dev": "lan0", "dst": "default", "metric": 1024}
    for protocol, by_kernel in (("ra", True), ("static", False)):
        host.routes = {"-4": [], "-6": [dict(made, protocol=protocol)]}
        assert [route.by_kernel for route in read_facts(host).routes] == [by_kernel]
