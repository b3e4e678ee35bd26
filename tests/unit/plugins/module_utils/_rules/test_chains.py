# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Items as matches: families and protocols that a packet can have together, and no others."""

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._intent.traffic import Traffic
from ansible_collections.ipmasq.linux.plugins.module_utils._rules.chains import address_matches, with_protocols
from ansible_collections.ipmasq.linux.plugins.module_utils._rules.model import Match

FOUR, SIX = "10.0.0.0/8", "fd00::/64"


@pytest.mark.parametrize(
    ("source", "destination", "families"),
    [
        ((), (), [""]),
        ((FOUR,), (), ["ip"]),
        ((FOUR, SIX), (), ["ip", "ip6"]),
        ((FOUR, SIX), (SIX,), ["ip6"]),
        ((FOUR,), (SIX,), []),
    ],
)
def test_families(source, destination, families):
    assert [match.family for match in address_matches(source, destination)] == families


@pytest.mark.parametrize(
    ("match", "protocols", "wanted"),
    [
        (Match(), (), [("", "")]),
        (Match(), ("tcp", "udp"), [("", "tcp"), ("", "udp")]),
        (Match(), ("icmp",), [("ip", "icmp"), ("ip6", "icmpv6")]),
        (Match("ip"), ("icmp",), [("ip", "icmp")]),
        (Match("ip6"), ("tcp", "icmp"), [("ip6", "tcp"), ("ip6", "icmpv6")]),
    ],
)
def test_protocols(match, protocols, wanted):
    found = with_protocols(match, Traffic("x", protocol=protocols))
    assert [(each.family, each.protocol) for each in found] == wanted
