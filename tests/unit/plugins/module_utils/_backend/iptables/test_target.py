# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Targets, and the share of each of several."""

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._backend.iptables.target import target_of, translations
from ansible_collections.ipmasq.linux.plugins.module_utils._rules.model import Action

TEST_TARGETS = [
    (Action("accept"), "ip", "", "-j ACCEPT"),
    (Action("guard"), "ip6", "", "-j DROP"),
    (Action("reject"), "ip", "", "-j REJECT --reject-with icmp-admin-prohibited"),
    (Action("jump"), "ip", "IPMASQ-X", "-j IPMASQ-X"),
    (Action("goto"), "ip", "IPMASQ-X", "-g IPMASQ-X"),
    (Action("helper", "ftp"), "ip", "", "-j CT --helper ftp"),
    (Action("mark", size=64), "ip", "", "-j MARK --set-xmark 0x40/0x40"),
    (Action("unmark", size=64), "ip", "", "-j MARK --set-xmark 0x0/0x40"),
]


@pytest.mark.parametrize(("action", "family", "chain", "wanted"), TEST_TARGETS)
def test_target(action, family, chain, wanted):
    assert " ".join(target_of(action, family, chain)) == wanted


def test_the_last_of_several_gets_the_rest():
    action = Action("snat", to=("203.0.113.1", "203.0.113.2", "203.0.113.3"), persistent=False)
    shares = [" ".join(match) for match, _target in translations(action, "ip")]
    assert [share.partition("--every ")[2][:1] for share in shares] == ["3", "2", ""]
