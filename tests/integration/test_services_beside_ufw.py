# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""ufw denies all that comes in: LANs are served nevertheless, and nobody else is.

These are ufw's own rules, in the order in which ufw's own script loads them.
"""

from __future__ import annotations

import shutil

import pytest
import sandbox
from helpers import unpacked
from sandbox import sh
from test_lan_services import asked, bare, leased, nobody_else_is_answered, provider, serve, served
from topology import Servers
from unhurried import wait_until

#: What `auto` chooses beside ufw: an accept in a table of nftables would end no chain of ufw's.
BACKENDS = ("iptables-nft", "iptables-legacy")


@pytest.fixture(params=BACKENDS)
def backend(request):
    return request.param


@pytest.fixture
def gate(backend, tmp_path, dnsmasq, monkeypatch):
    with served(backend, tmp_path, dnsmasq, monkeypatch) as made:
        yield made


@pytest.fixture(scope="session")
def package(tmp_path_factory):
    return unpacked(tmp_path_factory, "ufw").parent / "root"


@pytest.fixture
def ufw(gate, package, tmp_path):
    """ufw's script, with its files as they are once it is enabled: incoming and routed packets are dropped."""
    place, programs = tmp_path / "ufw", tmp_path / "ufw/bin"
    shutil.copytree(package / "etc", place / "etc")
    (script,) = (path for path in package.rglob("ufw-init-functions") if path.is_file())
    shutil.copytree(script.parent, place / "lib/ufw")
    for path in (package / "usr/share/ufw/iptables").iterdir():
        shutil.copy(path, place / "etc/ufw")
    (place / "etc/ufw/ufw.conf").write_text("ENABLED=yes\nLOGLEVEL=low\n")
    # Its switches are those of the host, and some of them of no namespace.
    replace(place / "etc/default/ufw", "IPT_SYSCTL=/etc/ufw/sysctl.conf", "IPT_SYSCTL=")
    programs.mkdir()
    for family, name in (("ip", "iptables"), ("ip6", "ip6tables")):
        for ending in ("", "-restore"):
            (programs / (name + ending)).write_text('#!/bin/sh\n{0}{1} "$@"\n'.format(gate.tool(family), ending))
            (programs / (name + ending)).chmod(0o755)
    here = "PATH={0}:{1}".format(programs, sandbox.PATH)
    replace(place / "lib/ufw/ufw-init-functions", 'PATH="/sbin:/bin:/usr/sbin:/usr/bin"', here)
    return "sh {0}/lib/ufw/ufw-init --rootdir {0} --datadir {0} ".format(place)


def replace(path, old, new):
    text = path.read_text()
    assert old in text, path
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize("door", ["open", "protect"])
@pytest.mark.parametrize("first", ["ufw", "gateway"])
def test_the_lan_is_served_and_nobody_else(gate, net, programs, dnsmasq, tmp_path, ufw, first, door):
    if first == "ufw":
        sh(ufw + "start")
    serve(gate, input=door)
    # The second of these is what ufw does when anybody adds a rule to it.
    sh(ufw + ("start" if first == "gateway" else "force-reload"))
    for family in ("ip", "ip6"):
        assert "-P INPUT DROP" in sh(gate.tool(family) + " -S INPUT")

    net.nodes["office"].sh("sysctl -qw net.ipv6.conf.up0.accept_ra=1; ip link set up0 down; ip link set up0 up")
    wait_until(lambda: "proto ra" in net.nodes["office"].sh("ip -6 route"), "an advertisement in the LAN")
    bare(net, "office")
    given = leased(net, "office", programs, tmp_path)
    assert given and given["router"] == given["dns"] == "192.168.1.1"
    net.nodes["office"].sh("ip addr add {0}/24 dev up0; ip route add default via 192.168.1.1; "
                           "ip -6 addr add fd00:1::9/64 dev up0 nodad".format(given["ip"]))  # fmt: skip
    with provider(net, dnsmasq, ("www.example", "9.9.9.9")):
        for address in ("192.168.1.1", "fd00:1::1"):
            assert asked(net, "office", address, "www.example") == ["9.9.9.9"]
            assert asked(net, "office", address, "laptop.home.arpa") == [given["ip"]]

    nobody_else_is_answered(net, programs, tmp_path)
    with Servers(net, "tcp", ("gate", 8081)) as servers:
        assert servers.asked("office", "192.168.1.1", 8081, timeout=0.3) == "timeout", "ufw denies what it denied"
