# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Names, networks and their canonical forms."""

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._base.net import (
    by_family,
    collapse,
    family_of,
    matches_name,
    patterns_overlap,
)

TEST_COLLAPSE = [
    ([], ()),
    (["10.0.0.0/25", "10.0.0.128/25"], ("10.0.0.0/24",)),
    (["10.0.0.128/25", "10.0.0.0/25", "10.0.1.0/24"], ("10.0.0.0/23",)),
    (["10.0.0.0/24", "10.0.0.0/24", "10.0.0.5/32"], ("10.0.0.0/24",)),
    (["10.0.0.128/25", "10.0.1.0/25"], ("10.0.0.128/25", "10.0.1.0/25")),
    (["fd00:0:0:1::/64", "fd00::/64"], ("fd00::/63",)),
    (["0.0.0.0/1", "128.0.0.0/1"], ("0.0.0.0/0",)),
]


@pytest.mark.parametrize(("networks", "wanted"), TEST_COLLAPSE)
def test_collapse(networks, wanted):
    assert collapse(networks) == wanted


def test_by_family():
    assert by_family(["fd00::/64", "10.0.0.0/8", "192.168.0.0/24"]) == {
        "ip": ("10.0.0.0/8", "192.168.0.0/24"),
        "ip6": ("fd00::/64",),
    }
    assert by_family([]) == {}
    assert [family_of(text) for text in ("10.0.0.1", "::", "::/0", "0.0.0.0/0")] == ["ip", "ip6", "ip6", "ip"]


TEST_NAMES = [
    ("ppp0", "ppp0", True),
    ("ppp0", "ppp00", False),
    ("ppp*", "ppp0", True),
    ("ppp*", "ppp", True),
    ("ppp*", "pp", False),
    ("eth0.*", "eth0.5", True),
    ("eth0.*", "eth005", False),
]


@pytest.mark.parametrize(("pattern", "name", "wanted"), TEST_NAMES)
def test_matches_name(pattern, name, wanted):
    assert matches_name(pattern, name) is wanted


TEST_OVERLAP = [
    ("ppp0", "ppp0", True),
    ("ppp0", "ppp1", False),
    ("ppp*", "ppp0", True),
    ("ppp*", "pp*", True),
    ("ppp*", "ppp*", True),
    ("ppp*", "wwan*", False),
    ("eth1*", "eth12", True),
    ("eth12*", "eth1", False),
]


@pytest.mark.parametrize(("one", "other", "wanted"), TEST_OVERLAP)
def test_patterns_overlap(one, other, wanted):
    for left, right in ((one, other), (other, one)):
        assert patterns_overlap(left, right) is wanted
