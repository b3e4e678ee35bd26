# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One transaction, which touches one table."""

from __future__ import annotations

import json

from ansible_collections.ipmasq.linux.tests.unit.backends import NFT, ruleset


def test_never_flushes_a_ruleset_and_touches_one_table():
    (step,) = NFT.steps(NFT.render(ruleset()), (), "default")[:1]
    script = json.loads(step.stdin)["nftables"]
    assert [list(command) for command in script[:3]] == [["add"], ["delete"], ["add"]]
    assert "flush" not in json.dumps(script)
    parts = [part for command in script for what in command.values() for part in what.items()]
    assert {(body["family"], body["name"] if kind == "table" else body["table"]) for kind, body in parts} == {
        ("inet", "ipmasq")
    }
