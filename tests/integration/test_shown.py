# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rules are shown to people in nft's own words: nft takes what is shown, for every golden case, and has those rules."""

from __future__ import annotations

import json
import pathlib
import re

import pytest
from sandbox import sh

from ansible_collections.ipmasq.linux.plugins.module_utils._backend.nftables.backend import Nftables

GOLDEN = sorted((pathlib.Path(__file__).resolve().parents[1] / "unit/golden").glob("*/nftables.json"))
TABLE = re.compile(r"^table inet (ipmasq\w*)", re.MULTILINE)


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.parent.name)
def test_what_is_shown_of_a_rule_is_that_rule(path, nft):
    backend = Nftables()
    sh("nft -j -f {0}".format(path))
    (table,) = TABLE.findall(sh("nft list ruleset"))

    def live():
        listing = nft.host.run(["nft", "-j", "list", "table", "inet", table]).out
        return backend.parse(listing, table.partition("_")[2] or "default")

    before = live()
    rules = [row for row in before if "rule" in json.loads(row.text)]
    shown = [backend.show(row) for row in rules]
    assert shown and not [line for line in shown if '{"' in line]
    script = ["flush chain inet {0} {1}".format(table, chain) for chain in dict.fromkeys(row.chain for row in rules)]
    script += ["add rule inet {0} {1}".format(table, line.replace(": ", " ", 1)) for line in shown]
    done = nft.host.run(["nft", "-f", "-"], stdin="\n".join(script) + "\n")
    assert done.rc == 0, done.err
    # nft leaves out what the rest of a rule says, too.
    one, other = ([backend.show(row).replace("meta nfproto ipv4 ", "") for row in rows] for rows in (live(), before))
    assert one == other
