# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""ifupdown's script, and what the real shell makes of it."""

from __future__ import annotations

import subprocess

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._managers.ifupdown import ENTER, EXIT, SCRIPT
from ansible_collections.ipmasq.linux.tests.unit.lan_clients import Client

HOOKS = {"/etc/dhcp/dhclient-exit-hooks.d/debug": ""}


def shell(tmp_path, text, environment, *words):
    """What a script runs, with an ``ip`` that prints its words."""
    (tmp_path / "script").write_text(text)
    (tmp_path / "ip").write_text('#!/bin/sh\necho "$@"\n')
    (tmp_path / "ip").chmod(0o755)
    environment = {"PATH": "{0}:/usr/bin:/bin".format(tmp_path), **environment}
    run = ["sh", "-eu", str(tmp_path / "script"), *words]
    done = subprocess.run(run, env=environment, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("environment", "families"),
    [
        ({"IFACE": "lan0"}, "46"),
        ({"IFACE": "lan0", "ADDRFAM": "inet"}, "4"),
        ({"IFACE": "lan0", "ADDRFAM": "inet6"}, "6"),
        ({"IFACE": "lan1"}, ""),
        ({"IFACE": "--all", "ADDRFAM": "meta"}, ""),
        ({}, ""),
    ],
)
def test_the_script(tmp_path, environment, families):
    client = Client(manager="ifupdown")
    client.apply()
    assert client.mode(SCRIPT) == 0o755
    assert ENTER not in client.files
    assert EXIT not in client.files
    lines = shell(tmp_path, client.files[SCRIPT], environment)
    assert [line[:16] for line in lines] == ["-{0} route replace".format(family) for family in families]


@pytest.mark.parametrize(("reason", "count"), [("BOUND", 1), ("RENEW", 1), ("REBOOT", 1), ("EXPIRE", 0)])
@pytest.mark.parametrize("interface", ["lan0", "lan1"])
def test_a_lease_does_not_bring_the_old_route_back(tmp_path, interface, reason, count):
    client = Client(manager="ifupdown", files=HOOKS)
    client.apply()
    lines = shell(tmp_path, client.files[EXIT], {"interface": interface, "reason": reason})
    assert len(lines) == (count if interface == "lan0" else 0)


@pytest.mark.parametrize(("interface", "said"), [("lan0", []), ("lan1", ["theirs"])])
def test_a_lease_does_not_bring_the_old_servers_back(tmp_path, interface, said):
    client = Client(manager="ifupdown", files=HOOKS)
    client.apply(dns=["192.168.1.1"])
    text = "make_resolv_conf() { echo theirs; }\n" + client.files[ENTER] + "make_resolv_conf\n"
    assert shell(tmp_path, text, {"interface": interface, "reason": "RENEW"}) == said
    client.apply(state="absent")
    assert not set(client.files) & {SCRIPT, ENTER, EXIT}


@pytest.mark.parametrize("name", ["l;>canary", "$(>canary)", "`>canary`", "l|>canary", "l'", 'l"', "l\\", "l{}", "#l"])
def test_the_name_of_a_link_is_one_word_of_a_script(tmp_path, name):
    """The kernel takes nearly any character in it."""
    client = Client({name: ["192.168.1.11/24"]}, manager="ifupdown", files=HOOKS)
    client.apply(dns=["192.168.1.1"])
    for path, more in ((SCRIPT, {"IFACE": name}), (EXIT, {"interface": name, "reason": "RENEW"})):
        (line,) = shell(tmp_path, client.files[path], more)
        assert line == "-4 route replace default via 192.168.1.1 dev {0} proto static".format(name)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["ip", "script"]
