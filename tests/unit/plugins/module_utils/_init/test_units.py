# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Units of systemd."""

from __future__ import annotations

from ansible_collections.ipmasq.linux.plugins.module_utils._init import units


def test_no_start_for_a_link_is_lost():
    """Starts of one unit are merged while it runs, so each link has its own, and udev queues a restart."""
    assert 'RUN+="/bin/systemctl --no-block restart ipmasq-links@%k.service"' in units.RULE_TEXT
    # Hundreds of links may appear at once, and all scripts wait for each other.
    assert "StartLimitIntervalSec=0" in units.LINKS_TEXT
    assert "ExecStart=/bin/sh /etc/ipmasq/boot links\n" in units.LINKS_TEXT


def test_the_loader_comes_after_those_that_flush_and_before_the_network():
    lines = units.UNIT_TEXT.splitlines()
    after = " ".join(line for line in lines if line.startswith("After="))
    assert "nftables.service" in after and "netfilter-persistent.service" in after
    assert any(line.startswith("Before=network-pre.target") for line in lines)
