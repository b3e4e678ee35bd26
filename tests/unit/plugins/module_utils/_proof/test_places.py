# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._proof import places
from ansible_collections.ipmasq.linux.tests.unit.plugins.module_utils._proof.test_promises import GROUND


@pytest.mark.parametrize(
    ("net", "host"),
    [
        ("192.0.2.0/24", "192.0.2.254"),
        ("192.0.2.9/32", "192.0.2.9"),
        ("192.0.2.8/31", "192.0.2.8"),
        ("2001:db8::/64", "2001:db8::fafa"),
        ("2001:db8::/126", "2001:db8::2"),
    ],
)
def test_one_of_a_network(net, host):
    assert places.one_of(net) == host


def test_ways():
    assert places.way_of(GROUND, "lan0", "192.31.196.140") == ("wan0", "203.0.113.1")
    assert places.way_of(GROUND, "lan0", "10.0.0.1") == ("", "")
    assert places.hops(GROUND, "lan0", "192.31.196.140") == (("wan0", "203.0.113.1"),)
    assert places.hops(GROUND, "lan0", "2620:4f:8000:fafa::1") == ()
