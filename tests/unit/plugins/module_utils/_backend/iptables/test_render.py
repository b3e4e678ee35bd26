# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The rows of a rule set, by family."""

from __future__ import annotations

from ansible_collections.ipmasq.linux.plugins.module_utils._backend.iptables.backend import Iptables
from ansible_collections.ipmasq.linux.tests.unit.backends import V4, small


def test_family_without_addresses_has_no_rules_with_them():
    rows = Iptables("nft", ("ip6",)).render(small())
    assert rows
    assert not [row for row in rows if "192.168" in row.text]
    assert not [row for row in V4.render(small()) if "fd00" in row.text or row.chain.startswith("ip6")]
