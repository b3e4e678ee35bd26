# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Chains of others that drop what we accept."""

from __future__ import annotations

from ansible_collections.ipmasq.linux.plugins.module_utils._backend.foreign import foreign_drops
from ansible_collections.ipmasq.linux.plugins.module_utils._base.host import Done
from ansible_collections.ipmasq.linux.tests.unit.backends import BOTH, NFT, loaded, ruleset


def with_chains():
    host = loaded(NFT, NFT.render(ruleset()))
    host.nft.tables["filter"] = [
        {"chain": {"name": "FWD", "hook": "forward", "policy": "drop"}},
        {"chain": {"name": "IN", "hook": "input", "policy": "drop"}},
        {"chain": {"name": "ok", "hook": "forward", "policy": "accept"}},
        {"chain": {"name": "plain"}},
    ]
    return host


def test_only_policies_of_chains_at_that_hook_count():
    host = with_chains()
    assert foreign_drops(NFT, host) == [("inet filter", "FWD")]
    assert foreign_drops(NFT, host, "input") == [("inet filter", "IN")]
    assert host.calls[-1] == ["nft", "-j", "list", "chains"]


def test_what_we_overrule_does_not():
    listing = '{"nftables": [{"chain": {"family": "ip", "table": "filter", "name": "FORWARD", "hook": "forward", '
    listing += '"policy": "drop"}}]}'
    host = with_chains()
    host.answers["nft -j list chains"] = Done(0, listing, "")
    assert foreign_drops(NFT, host) == [("ip filter", "FORWARD")]
    assert foreign_drops(BOTH, host) == []


def test_without_an_answer_there_are_none():
    host = with_chains()
    host.answers["nft -j list chains"] = Done(1, "", "no")
    assert foreign_drops(NFT, host) == []
