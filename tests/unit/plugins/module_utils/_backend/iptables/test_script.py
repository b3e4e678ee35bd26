# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One table of a restore file, and what holds new connections back."""

from __future__ import annotations

from ansible_collections.ipmasq.linux.plugins.module_utils._backend.iptables.script import hold, section
from ansible_collections.ipmasq.linux.tests.unit.backends import V4, small


def test_a_chain_that_stays_is_emptied_and_one_that_goes_is_removed():
    def rows(*names):
        return [row for row in V4.render(small()) if row.chain in ["ip nat " + name for name in names]]

    new, old = rows("IPMASQ-SRCNAT", "POSTROUTING"), rows("IPMASQ-SRCNAT", "IPMASQ-EGRESS", "POSTROUTING")
    lines = section("nat", new, old).splitlines()
    assert lines[0] == "*nat" and lines[-1] == "COMMIT"
    assert [line for line in lines if line.startswith(":")] == [":IPMASQ-SRCNAT - [0:0]", ":IPMASQ-EGRESS - [0:0]"]
    assert [line for line in lines if line.startswith("-X")] == ["-X IPMASQ-EGRESS"]
    jumps = [index for index, line in enumerate(lines) if line.startswith("-D ") or " -I " in line]
    assert len(jumps) == 4 and lines[jumps[0]].startswith("-D POSTROUTING")


def test_new_connections_are_held_back_on_each_interface_of_the_gateway():
    held = hold("ip", V4.render(small()), "default")
    drops = [row.text for row in held if row.text.endswith("-j DROP")]
    assert {text.split()[1] for text in drops} == {"ppp+", "lan0"}
    assert all("--ctstate NEW" in text for text in drops)
    assert hold("ip", (), "default") == ()
