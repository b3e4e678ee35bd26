# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The names of our tables."""

from __future__ import annotations

from ansible_collections.ipmasq.linux.plugins.module_utils._backend.nftables.expressions import table
from ansible_collections.ipmasq.linux.tests.unit.backends import NFT, listed, loaded, ruleset


def test_tables():
    assert (table("default"), table("lab")) == ("ipmasq", "ipmasq_lab")
    host = loaded(NFT, NFT.render(ruleset(instance="lab")), instance="lab")
    assert list(host.nft.tables) == ["ipmasq_lab"]
    assert listed(NFT, host) == ()
    assert next(row.key for row in listed(NFT, host, "lab") if row.key.startswith("nat/")) == "nat/default"
