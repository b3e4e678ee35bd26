# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who applied a change, as far as the processes above the module show."""

from __future__ import annotations

import pathlib
import re

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._base import codec, origin
from ansible_collections.ipmasq.linux.tests.unit import fakes

ROOT = pathlib.Path(__file__).resolve().parents[5]
SSH = "SSH_CONNECTION=192.0.2.1 50022 192.0.2.2 22"


def host_with(**processes):
    """A host in which process "self" has parents: pid to (parent, environment)."""
    host = fakes.FakeHost(fakes.NFT)
    for pid, (parent, environ) in processes.items():
        folder = "/proc/{0}/".format(pid.lstrip("p"))
        host.files[folder + "status"] = "Name:\tx\nPPid:\t{0}\nUid:\t0\n".format(parent)
        host.files[folder + "environ"] = "\0".join(environ) + "\0"
    return host


TEST_LOGINS = {
    "root by SSH": (dict(self=(7, ["USER=root", SSH])), "root", "192.0.2.1"),
    "sudo": (
        dict(self=(7, ["USER=root", "SUDO_USER=joe"]), p7=(5, ["USER=root"]), p5=(1, ["USER=joe", SSH])),
        "joe",
        "192.0.2.1",
    ),
    "sudo that keeps the environment": (dict(self=(7, ["USER=root", "SUDO_USER=joe", SSH])), "joe", "192.0.2.1"),
    "su": (dict(self=(7, ["USER=root"]), p7=(5, ["USER=root"]), p5=(1, ["USER=joe", SSH])), "joe", "192.0.2.1"),
    "doas": (dict(self=(0, ["DOAS_USER=joe"])), "joe", ""),
    "console": (dict(self=(7, ["USER=root", "SUDO_USER=joe"]), p7=(1, ["USER=joe"]), p1=(0, [])), "joe", ""),
    "a container's engine": (dict(self=(0, ["HOME=/root"])), "root", ""),
    "a parent that is gone": (dict(self=(99, ["LOGNAME=amy"])), "amy", ""),
    "what a terminal would obey": (dict(self=(0, ["USER=a\033[2Jb\n" + 99 * "c"])), "a?[2Jb?" + 57 * "c", ""),
    "IPv6": (dict(self=(0, ["USER=joe", "SSH_CONNECTION=2001:db8::1 5 2001:db8::2 22"])), "joe", "2001:db8::1"),
    "a loop": (dict(self=("self", [])), "root", ""),
}


@pytest.mark.parametrize("name", TEST_LOGINS)
def test_who_logged_in(name):
    processes, user, address = TEST_LOGINS[name]
    assert origin.origin(host_with(**processes)) == origin.Origin(user, address, "2026-11-28T10:20:30Z", "1.0.0")


def test_words():
    assert origin.Origin("joe", "192.0.2.1").words == "by joe from 192.0.2.1"
    assert origin.Origin("joe").words == "by joe"
    assert origin.Origin().words == "by somebody"


@pytest.mark.parametrize("raw", [{"user": 1}, {"at": None}])
def test_what_is_no_origin(raw):
    with pytest.raises(TypeError):
        codec.shaped(origin.Origin, raw)


def test_round_trip():
    known = origin.Origin("joe", "192.0.2.1", "2026-11-28T10:20:30Z", "1.0.0")
    assert codec.shaped(origin.Origin, codec.plain(known)) == known
    assert codec.shaped(origin.Origin, {}) == origin.Origin()


def test_the_version_is_that_of_the_collection():
    text = (ROOT / "galaxy.yml").read_text(encoding="utf-8")
    assert re.search(r"^version: (.*)$", text, re.MULTILINE).group(1) == origin.VERSION
