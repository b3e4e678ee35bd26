# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Services of others that flush our rules, or put theirs in front of them."""

from __future__ import annotations

import subprocess

from ansible_collections.ipmasq.linux.plugins.module_utils._init import drop_ins
from ansible_collections.ipmasq.linux.tests.unit import fakes

NFTABLES = """\
[Service]
ExecStart=/usr/sbin/nft -f /etc/nftables.conf
ExecReload=/usr/sbin/nft -f /etc/nftables.conf
ExecStop=/usr/sbin/nft flush ruleset
"""


def test_a_service_that_flushes_does_so_behind_a_closed_gateway():
    host = fakes.FakeHost()
    host.files["/usr/lib/systemd/system/nftables.service"] = NFTABLES
    text, mode = drop_ins.files_of(True, host)[drop_ins.drop_in("nftables")]
    close, boot = "-/bin/sh /etc/ipmasq/boot close", "-/bin/sh /etc/ipmasq/boot reopen"
    assert mode == 0o644
    assert text.splitlines()[2:] == [
        "ExecStartPre=" + close,
        "ExecStartPost=" + boot,
        "ExecReload=",
        "ExecReload=" + close,
        "ExecReload=/usr/sbin/nft -f /etc/nftables.conf",
        "ExecReload=" + boot,
        "ExecStop=",
        "ExecStop=" + close,
        "ExecStop=/usr/sbin/nft flush ruleset",
        "ExecStopPost=" + boot,
    ]


def test_commands_of_others_that_cannot_be_said_anew_are_left_alone():
    host = fakes.FakeHost()
    host.files["/lib/systemd/system/nftables.service"] = NFTABLES.replace("ruleset", "\\\n ruleset")
    text = drop_ins.files_of(True, host)[drop_ins.drop_in("nftables")][0]
    assert "ExecStop=" not in text and "ExecReload=-/bin/sh /etc/ipmasq/boot close\n" in text


def test_netfilter_persistent_by_hand_is_closed_first_and_opened_last():
    """Also without systemd."""
    host = fakes.FakeHost()
    host.files[drop_ins.PLUGINS + "/15-ip4tables"] = ""
    files = drop_ins.files_of(False, host)
    first, last = (files["{0}/{1}-ipmasq".format(drop_ins.PLUGINS, number)] for number in ("05", "95"))
    assert "boot close" in first[0] and "boot reopen\n" in last[0] and first[1] == last[1] == 0o755
    assert set(files) == set(drop_ins.PLUGIN_FILES) < set(drop_ins.ALL)
    assert not drop_ins.left_out(host)


def test_a_read_only_usr_is_left_as_it_is(tmp_path):
    host = fakes.FakeHost()
    assert not drop_ins.left_out(host)
    host.files[drop_ins.PLUGINS + "/15-ip4tables"] = ""
    host.locked = {drop_ins.PLUGINS}
    assert not drop_ins.files_of(False, host)
    assert drop_ins.left_out(host) == (drop_ins.LEFT_OUT,)
    # What was written while it was writable serves on, and does nothing once there is no gateway.
    host.files.update({path: text for path, (text, _mode) in drop_ins.PLUGIN_FILES.items()})
    assert not drop_ins.left_out(host) and drop_ins.is_fixed(drop_ins.PLUGINS + "/05-ipmasq", host)
    for text, _mode in drop_ins.PLUGIN_FILES.values():
        text = text.replace("/etc/ipmasq", str(tmp_path))
        done = subprocess.run(["sh", "-c", text, "plugin", "start"], capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (0, b"")
