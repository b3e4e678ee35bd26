# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Multicast items: what is refused, and their words."""

from __future__ import annotations

from ansible_collections.ipmasq.linux.plugins.module_utils._intent.read import gateway_from_params
from ansible_collections.ipmasq.linux.tests.unit.intents import LANS, WAN, each_problem, multicast, problems_of
from ansible_collections.ipmasq.linux.tests.unit.params import gateway_params

#: options of gateway, its one problem
TEST_PROBLEMS = [
    (multicast(group=[]), "multicast[0] 'tv': group is empty; name the groups to let in, such as 239.0.0.0/8"),
    (
        multicast(group=["10.0.0.0/8"]),
        "multicast[0] 'tv': group 10.0.0.0/8 is not a multicast network; groups are in 224.0.0.0/4 and ff00::/8",
    ),
    (
        multicast(group=["224.0.0.0/3"]),
        "multicast[0] 'tv': group 224.0.0.0/3 is not a multicast network; groups are in 224.0.0.0/4 and ff00::/8",
    ),
    (
        multicast(group=["224.0.0.1"]),
        "multicast[0] 'tv': group 224.0.0.1/32 is in 224.0.0.0/24, which routers do not forward",
    ),
    (
        multicast(group=["ff32::/32"]),
        "multicast[0] 'tv': group ff32::/32 is in ff32::/16, which routers do not forward",
    ),
    (
        multicast(source=["2001:db8::/32"]),
        "multicast[0] 'tv': source and group have no address family in common; give both in IPv4 or both in IPv6",
    ),
    (
        multicast(source=["office"]),
        "multicast[0] 'tv': source 'office' is not a network; LAN names do not apply outside",
    ),
    (dict(multicast(lan=["x"]), lans=LANS), "multicast[0] 'tv': lan 'x' is not a LAN; known LANs: a, b"),
    (dict(multicast(wan="ppp1"), wans=[WAN]), "multicast[0] 'tv': wan ppp1 is not in wans (ppp0)"),
]


@each_problem(TEST_PROBLEMS)
def test_problem(given, problem):
    assert problems_of(gateway_from_params, gateway_params(**given)) == [problem]
