# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What iptables-save prints, read as our rows; what others have above our jumps counts."""

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._rules.rows import Plan
from ansible_collections.ipmasq.linux.tests.unit.backends import BOTH, V4, listed, loaded, small


@pytest.mark.parametrize(
    "target",
    [
        "-j DROP", "-j REJECT --reject-with icmp-port-unreachable", "-j MASQUERADE", "-j SNAT --to 1.2.3.4",
        "-j RETURN", "-g OTHER", "-m comment --comment -g -j RETURN",
    ],
)  # fmt: skip
def test_every_final_target_above_our_jump_is_drift(target):
    """In a kernel chain, RETURN and what comes back from a chain by -g lead to its policy, past our jump."""
    desired = V4.render(small())
    host = loaded(V4, desired)
    host.iptables["nft", "ip"].append("nat", "OTHER", "-j LOG")
    host.iptables["nft", "ip"].insert("nat", "POSTROUTING", "-o eth0 " + target)
    assert Plan(listed(V4, host), desired).changed


@pytest.mark.parametrize("text", ["-j LOG", "-o eth0 -j OTHER", "-o eth0", "-m comment --comment -g -j LOG"])
def test_foreign_rules_that_decide_nothing_are_no_drift(text):
    desired = V4.render(small())
    host = loaded(V4, desired)
    host.iptables["nft", "ip"].append("nat", "OTHER", "-j RETURN")
    host.iptables["nft", "ip"].insert("nat", "POSTROUTING", text)
    assert not Plan(listed(V4, host), desired).changed


def test_foreign_rule_without_any_word_is_read():
    """``iptables -A FORWARD`` with neither match nor target: it counts packets."""
    desired = V4.render(small())
    host = loaded(V4, desired)
    host.iptables["nft", "ip"].insert("filter", "FORWARD", "")
    assert not Plan(listed(V4, host), desired).changed


def test_target_words_inside_a_log_prefix_do_not_decide():
    desired = V4.render(small())
    host = loaded(V4, desired)
    host.iptables["nft", "ip"].insert("nat", "POSTROUTING", '-j LOG --log-prefix "x -j ACCEPT "')
    assert not Plan(listed(V4, host), desired).changed


@pytest.mark.parametrize(("saved", "shown"), [("gre", "gre"), ("47", "gre"), ("esp", "esp"), ("2", "igmp")])
def test_a_protocol_is_the_same_by_name_and_by_number(saved, shown):
    """iptables-save prints what /etc/protocols says, and numbers on hosts that have none."""
    listing = "# family ip\n*filter\n:IPMASQ-FORWARD - [0:0]\n-A IPMASQ-FORWARD -p {0} -j DROP\nCOMMIT\n".format(saved)
    row = BOTH.parse(listing, "default")[-1]
    assert row.text == "-p {0} -j DROP".format({"gre": "47"}.get(saved, saved))
    assert BOTH.show(row).endswith("-p {0} -j DROP".format(shown))
