# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which init runs the loader, and with which files. tests/lab/test_inits.py shows that it does."""

from __future__ import annotations

import subprocess

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils import _service as service
from ansible_collections.ipmasq.linux.tests.unit import fakes

#: What shows which init a host has.
HOSTS = {
    "systemd": {"/run/systemd/system/x": ""},
    "OpenRC": {"/sbin/openrc-run": "", "/etc/init.d/x": ""},
    "sysvinit": {"/etc/init.d/x": ""},
}


def host_with(name):
    host = fakes.FakeHost((*fakes.NFT, "rc-update" if name == "OpenRC" else "update-rc.d"), files=HOSTS.get(name))
    if name != "systemd":
        del host.files["/run/systemd/system/x"]
    return host


@pytest.mark.parametrize("name", HOSTS)
def test_the_init_of_a_host(name):
    assert service.init_of(host_with(name)).name == name


def test_no_init_that_we_know():
    host = fakes.FakeHost()
    del host.files["/run/systemd/system/x"]
    assert service.init_of(host) is None
    assert service.files_of(None, True, True, host) == {}
    assert service.lines(None, [service.UNIT], [], True) == ((), ())


@pytest.mark.parametrize("name", HOSTS)
def test_files_are_there_and_go_with_the_last_instance(name):
    host = host_with(name)
    init = service.init_of(host)
    host.files["/etc/udev/rules.d/x"] = ""
    host.files["/usr/lib/systemd/system/docker.service"] = ""
    plain, linked = (service.files_of(init, links, False, host) for links in (False, True))
    assert set(plain) < set(linked) and set(plain) <= set(service.ALL)
    assert set(linked) - set(plain) <= set(service.ALL_LINKS)
    assert (service.drop_in("docker") in plain) == (name == "systemd")
    assert service.drop_in("nftables") not in plain


@pytest.mark.parametrize(
    ("name", "enable", "disable"),
    [
        ("systemd", "systemctl enable --quiet ipmasq.service", "systemctl disable ipmasq.service"),
        ("OpenRC", "rc-update --quiet add ipmasq boot", "rc-update --quiet delete ipmasq boot"),
        ("sysvinit", "update-rc.d ipmasq defaults", "update-rc.d -f ipmasq remove"),
    ],
)
def test_what_it_is_told(name, enable, disable):
    host = host_with(name)
    init = service.init_of(host)
    paths = sorted(init.files)
    before, after = service.lines(init, paths, [], True)
    assert (before, after[-1]) == ((), enable)
    assert ("systemctl daemon-reload" in after) == (name == "systemd")
    assert service.lines(init, [], paths, False)[0] == (disable,)
    assert not service.is_enabled(init, host)
    host.files[init.enabled[0].replace("*", "01")] = ""
    assert service.is_enabled(init, host)


def test_links_have_a_service_of_their_own():
    for name in ("OpenRC", "sysvinit"):
        init = service.init_of(host_with(name))
        assert init.enable_links in service.lines(init, sorted(init.links), [], False)[1]
        assert init.disable_links in service.lines(init, [], sorted(init.links), False)[0]


@pytest.mark.parametrize("name", HOSTS)
def test_the_fence_has_a_service_of_its_own(name):
    host = host_with(name)
    init = service.init_of(host)
    paths = sorted(init.fence)
    assert set(paths) <= set(service.ALL_FENCE)
    assert set(paths) <= set(service.files_of(init, False, True, host))
    assert not set(paths) & set(service.files_of(init, False, False, host))
    after = service.lines(init, paths, [], False)[1]
    # The script that ends a change holds the lock, and a daemon would keep it.
    assert after[-1] == init.restart_fence + " 9>&-" * (name != "systemd")
    assert not init.enable_fence or init.enable_fence in after
    assert service.lines(init, [], paths, False)[0] == init.drop_fence
    assert not [
        path for path in paths if "boot hold" not in init.fence[path][0] or "boot held" not in init.fence[path][0]
    ]


@pytest.mark.parametrize("text", [service.SYSV_TEXT, service.SYSV_LINKS_TEXT, service.SYSV_FENCE_TEXT])
def test_scripts_answer_to_a_wrong_word(text):
    done = subprocess.run(["sh", "-s", "wrong"], input=text, text=True, capture_output=True, check=False)
    assert done.returncode == 3 and "usage" in done.stderr


def test_no_start_for_a_link_is_lost():
    """Starts of one unit are merged while it runs, so each link has its own, and udev queues a restart."""
    assert 'RUN+="/bin/systemctl --no-block restart ipmasq-links@%k.service"' in service.RULE_TEXT
    systemd = service._SYSTEMD
    for unit in (service.LINKS_UNIT, service.LINK_UNIT):
        text, _mode = systemd.links[unit]
        # Hundreds of links may appear at once, and all scripts wait for each other.
        assert "StartLimitIntervalSec=0" in text and "ExecStart=/bin/sh /etc/ipmasq/boot links\n" in text
    for text in (service.OPENRC_LINKS_TEXT, service.SYSV_LINKS_TEXT):
        assert "/bin/sh /etc/ipmasq/boot links" in text


NFTABLES = """\
[Service]
ExecStart=/usr/sbin/nft -f /etc/nftables.conf
ExecReload=/usr/sbin/nft -f /etc/nftables.conf
ExecStop=/usr/sbin/nft flush ruleset
"""


def test_a_service_that_flushes_does_so_behind_a_closed_gateway():
    host = host_with("systemd")
    host.files["/usr/lib/systemd/system/nftables.service"] = NFTABLES
    text, mode = service.files_of(service.init_of(host), False, False, host)[service.drop_in("nftables")]
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
    host = host_with("systemd")
    host.files["/lib/systemd/system/nftables.service"] = NFTABLES.replace("ruleset", "\\\n ruleset")
    text = service.files_of(service.init_of(host), False, False, host)[service.drop_in("nftables")][0]
    assert "ExecStop=" not in text and "ExecReload=-/bin/sh /etc/ipmasq/boot close\n" in text


@pytest.mark.parametrize("name", HOSTS)
def test_netfilter_persistent_by_hand_is_closed_first_and_opened_last(name):
    host = host_with(name)
    host.files[service.PLUGINS + "/15-ip4tables"] = ""
    files = service.files_of(service.init_of(host), False, False, host)
    first, last = (files["{0}/{1}-ipmasq".format(service.PLUGINS, number)] for number in ("05", "95"))
    assert "boot close" in first[0] and "boot reopen\n" in last[0] and first[1] == last[1] == 0o755
    assert set(service.PLUGIN_FILES) < set(service.ALL)
