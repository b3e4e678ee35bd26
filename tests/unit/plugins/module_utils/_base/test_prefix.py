# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""RFC 6296: the example in the RFC, and the checksum that must not change."""

from __future__ import annotations

import ipaddress

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._base.prefix import is_neutral, neutral_pairs


def checksum(address):
    total = sum(int(word, 16) for word in ipaddress.IPv6Address(address).exploded.split(":"))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total % 0xFFFF


def test_the_example_of_the_rfc():
    """Section 4.1: FD01:0203:0405:0001::1234 becomes 2001:0DB8:0001:D550::1234."""
    pairs = neutral_pairs("fd01:203:405::/48", "2001:db8:1::/48", ["fd01:203:405:1::/64"])
    assert pairs == [("fd01:203:405:1::/64", "2001:db8:1:d550::/64")]


@pytest.mark.parametrize(
    ("inside", "outside", "network"),
    [
        ("fd01:203:405::/48", "2001:db8:1::/48", "fd01:203:405:fffe::/64"),
        ("fd01:203:405::/48", "2001:db8:1::/48", "fd01:203:405::/64"),
        ("fd01:203:400::/40", "2001:db8:100::/40", "fd01:203:455:9::/64"),
        ("fd00::/32", "2001:db8::/32", "fd00:0:abcd:1::/64"),
        ("2001:db8:1::/48", "fd01:203:405::/48", "2001:db8:1:d550::/64"),
    ],
)
def test_the_sum_stays(inside, outside, network):
    ((one, other),) = neutral_pairs(inside, outside, [network])
    assert one == network
    assert ipaddress.ip_network(other).subnet_of(ipaddress.ip_network(outside))
    assert checksum(other.split("/")[0]) == checksum(network.split("/")[0])


def test_every_subnet_has_its_own():
    pairs = neutral_pairs("fd01:203:405::/48", "2001:db8:1::/48", ["fd01:203:405:100::/56", "192.168.1.0/24"])
    assert len(pairs) == len({other for _one, other in pairs}) == 256


def test_a_long_prefix_keeps_its_host_bits():
    assert not is_neutral("fd00:1::/64")
    assert neutral_pairs("fd00:1::/64", "2001:db8:5::/64", []) == [("fd00:1::/64", "2001:db8:5::/64")]
