# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Units of systemd."""

from __future__ import annotations

import pathlib
import re

from ansible_collections.ipmasq.linux.plugins import module_utils
from ansible_collections.ipmasq.linux.plugins.module_utils._init import units

ROOT = pathlib.Path(next(iter(module_utils.__path__)))
TEXTS = {path: path.read_text(encoding="utf-8") for path in sorted(ROOT.rglob("*.py"))}


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


def test_every_unit_says_what_it_is():
    """Every section [Unit] in our code has one."""
    units = [(path.name, unit) for path, text in TEXTS.items() for unit in re.findall(r"\[Unit\]\n(?:.+\n)+", text)]
    assert len(units) >= 6
    for name, unit in units:
        assert re.search(r"^Description=NAT gateway: .{10,}$", unit, re.M), (name, unit)


def test_every_transient_unit_says_what_it_is():
    """systemd shows the command line of one that has none."""
    started = [
        (path.name, line)
        for path, text in TEXTS.items()
        for line in text.replace("\\\\\n", " ").splitlines()
        if "systemd-run --" in line
    ]
    assert started
    assert [each for each in started if "--description=" not in each[1]] == []
