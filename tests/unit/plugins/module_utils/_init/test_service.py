# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which init runs the loader, and with which files. tests/lab/test_inits.py shows that it does."""

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._init import drop_ins, service
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
    assert (drop_ins.drop_in("docker") in plain) == (name == "systemd")
    assert drop_ins.drop_in("nftables") not in plain


@pytest.mark.parametrize(
    ("name", "enable", "disable"),
    [
        ("systemd", "systemctl enable --quiet ipmasq.service", "systemctl disable ipmasq.service"),
        ("OpenRC", "rc-update --quiet add ipmasq boot", "rc-update --quiet delete ipmasq boot"),
        ("sysvinit", "update-rc.d ipmasq defaults && update-rc.d ipmasq enable", "update-rc.d -f ipmasq remove"),
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


def test_services_of_others_are_part_of_it():
    host = host_with("systemd")
    host.files["/usr/lib/systemd/system/docker.service"] = ""
    wanted = drop_ins.files_of(True, host)
    assert wanted and wanted.items() <= service.files_of(service.init_of(host), False, False, host).items()
    assert set(drop_ins.ALL) < set(service.ALL)
