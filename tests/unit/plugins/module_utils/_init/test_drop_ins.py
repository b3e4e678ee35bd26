# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Services of others that flush our rules, or put theirs in front of them."""

from __future__ import annotations

import subprocess

import pytest

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


SITE = "[Service]\nExecReload=\nExecReload=/usr/sbin/nft -f /etc/site.nft\n"
KEEP = "[Service]\nExecStop=\n"
ETC, LIB = "/etc/systemd/system/", "/lib/systemd/system/"
CLOSE, REOPEN = "-/bin/sh /etc/ipmasq/boot close", "-/bin/sh /etc/ipmasq/boot reopen"


def beside(drop_ins_of_others, name="nftables", unit=NFTABLES):
    host = fakes.FakeHost()
    host.files["{0}{1}.service".format(LIB, name)] = unit
    host.files.update(drop_ins_of_others)
    return host


def said(host, key, name="nftables"):
    text = drop_ins.files_of(True, host)[drop_ins.drop_in(name)][0]
    return [line.partition("=")[2] for line in text.splitlines() if line.startswith(key + "=")]


@pytest.mark.parametrize("name", ["10-site.conf", "override.conf", "zz-a.conf"])
@pytest.mark.parametrize("folder", ["/etc/systemd/system", "/run/systemd/system", "/usr/lib/systemd/system"])
def test_the_commands_of_other_drop_ins_are_said_anew(name, folder):
    host = beside({"{0}/nftables.service.d/{1}".format(folder, name): SITE})
    assert said(host, "ExecReload") == ["", CLOSE, "/usr/sbin/nft -f /etc/site.nft", REOPEN]
    assert said(host, "ExecStop") == ["", CLOSE, "/usr/sbin/nft flush ruleset"]
    assert drop_ins.drop_in("nftables") > "{0}/nftables.service.d/{1}".format("/etc/systemd/system", name)
    assert drop_ins.remarks(True, host) == ()


def test_a_stop_that_somebody_has_forbidden_to_flush_does_not():
    host = beside({ETC + "nftables.service.d/10-keep.conf": KEEP})
    assert said(host, "ExecStop") == []
    assert said(host, "ExecReload") == ["", CLOSE, "/usr/sbin/nft -f /etc/nftables.conf", REOPEN]


def test_a_reload_that_somebody_has_taken_away_does_not_come_back():
    """With ours alone, it would succeed without doing what it says."""
    files = {
        "{0}{1}.service.d/override.conf".format(ETC, name): "[Service]\nExecReload=\n" for name in drop_ins.NEIGHBOURS
    }
    for name in ("nftables", "docker"):
        assert said(beside(files, name), "ExecReload", name) == []
        assert said(beside({}, name), "ExecReload", name)


def test_a_reload_that_somebody_has_added_is_closed_first():
    path = ETC + "netfilter-persistent.service.d/reload.conf"
    host = beside(
        {path: "[Service]\nExecReload=/sbin/load\n"}, "netfilter-persistent", "[Service]\nExecStart=/sbin/load\n"
    )
    assert said(host, "ExecReload", "netfilter-persistent") == ["", CLOSE, "/sbin/load", REOPEN]


def test_what_comes_behind_ours_is_told_and_is_drift_when_it_appears():
    host = beside({})
    before = drop_ins.files_of(True, host)
    path = ETC + "nftables.service.d/zzz.conf"
    host.files[path] = "[Service]\nExecStartPost=/bin/true\n"  # adds to ours
    assert drop_ins.files_of(True, host) == before and not drop_ins.remarks(True, host)
    host.files[path] = SITE
    (told,) = drop_ins.remarks(True, host)
    assert told == (
        "nftables.service: {0} sets ExecReload after our drop-in, so the gateway may stay open while that service "
        "changes rules, or lose its own; give the file a name that sorts before zz-ipmasq.conf".format(path)
    )
    after = drop_ins.files_of(True, host)
    assert "# {0}\n".format(told) in after[drop_ins.drop_in("nftables")][0]
    assert after != before


def test_only_what_ours_has_can_be_lost():
    path = "{0}{1}.service.d/zzz.conf"
    for name, wanted in (("docker", 0), ("nftables", 1)):
        assert len(drop_ins.remarks(True, beside({path.format(ETC, name): KEEP}, name))) == wanted


def test_commands_that_go_on_in_the_next_line_are_told():
    host = beside({ETC + "nftables.service.d/a.conf": "[Service]\nExecStop=/sbin/a \\\n  b\n"})
    assert said(host, "ExecStop") == []
    (told,) = drop_ins.remarks(True, host)
    assert told.startswith("nftables.service: ExecStop has a command that continues on the next line")
    host.files[ETC + "nftables.service.d/b.conf"] = "[Service]\nExecStop=\nExecStop=/sbin/c\n"
    assert said(host, "ExecStop") == ["", CLOSE, "/sbin/c"]
    assert drop_ins.remarks(True, host) == ()


def test_ours_of_now_and_of_earlier_releases_are_not_read():
    host = beside({})
    clean = drop_ins.files_of(True, host)
    for path in (drop_ins.drop_in("nftables"), *drop_ins.OLD):
        host.files[path] = clean[drop_ins.drop_in("nftables")][0]
    assert drop_ins.files_of(True, host) == clean


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
