# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The text of a fence: one transaction, and a name that tells its text."""

from __future__ import annotations

import re

from ansible_collections.ipmasq.linux.plugins.module_utils._backend.nftables.fence import (
    FENCE_TEXT,
    fence_table,
    fence_text,
)
from ansible_collections.ipmasq.linux.plugins.module_utils._rules.model import Action, Chain, Match, Rule, RuleSet


def fence(*names, instance="default"):
    chain = Chain("egress", "postrouting", "fence")
    rules = tuple(Rule("egress", Match("ip", oif=(name,)), Action("drop"), "fence") for name in names)
    return fence_text(RuleSet(instance, (chain,), rules))


def test_it_replaces_an_earlier_one_and_has_an_owner():
    lines = fence("wan0").splitlines()
    place = "inet ipmasq-fence"
    assert lines[:2] == ["add table " + place, "delete table " + place]
    assert lines[2] == "add table {0} {{ flags owner; }}".format(place)
    assert "drop" in lines[-1] and 'oifname "wan0"' in lines[-1]


def test_another_text_has_another_name():
    names = [re.findall(FENCE_TEXT + "[0-9a-f]{16}", fence(*links)) for links in (["wan0"], ["wan0"], ["wan1"])]
    assert names[0] == names[1] != names[2]


def test_no_instance_has_the_name_of_a_fence():
    assert (fence_table("default"), fence_table("lab")) == ("ipmasq-fence", "ipmasq-fence-lab")
