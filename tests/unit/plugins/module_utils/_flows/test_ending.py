# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which sockets of this host's servers are closed, and that never all of them are."""

from __future__ import annotations

import ipaddress

from ansible_collections.ipmasq.linux.plugins.module_utils._base.host import Done
from ansible_collections.ipmasq.linux.plugins.module_utils._base.netlink import Entry
from ansible_collections.ipmasq.linux.plugins.module_utils._flows import ending
from ansible_collections.ipmasq.linux.tests.unit import fakes

HERE = frozenset(("192.0.2.1", "2001:db8::1"))


def entry(server, client, protocol=6):
    server, client = (ipaddress.ip_address(each).packed for each in (server, client))
    return Entry(protocol, client, server, 4000, 22, server, client, 22, 4000)


def test_the_server_of_a_connection():
    assert ending.socket_of(entry("192.0.2.1", "192.0.2.9"), HERE) == "src [192.0.2.1]:22 and dst [192.0.2.9]:4000"
    six = ending.socket_of(entry("2001:db8::1", "2001:db8::9"), HERE)
    assert six == "src [2001:db8::1]:22 and dst [2001:db8::9]:4000"
    assert ending.socket_of(entry("192.0.2.7", "192.0.2.9"), HERE) == ""
    assert ending.socket_of(entry("192.0.2.1", "192.0.2.9", protocol=17), HERE) == ""


def test_many_sockets_share_a_command():
    host = fakes.FakeHost(fakes.NFT)
    host.programs.add("ss")
    host.answers["ss"] = Done(0, "", "")
    ending.close(["src [192.0.2.1]:{0}".format(port) for port in range(1, ending.FEW + 2)], host, 20)
    filters = [argv[-1] for argv in host.calls if argv[0] == "ss"]
    assert len(filters) == 2
    assert filters[1] == "( src [192.0.2.1]:{0} )".format(ending.FEW + 1)
    assert ending.lines(["src [192.0.2.1]:22"], 20).count("'( src [192.0.2.1]:22 )'") == 1


def test_nothing_to_close_is_no_command():
    host = fakes.FakeHost(fakes.NFT)
    host.programs.add("ss")
    host.answers["ss"] = Done(0, "", "")
    ending.close((), host, 20)
    assert not [argv for argv in host.calls if argv[0] == "ss"]
    assert ending.lines((), 20) == ""


def test_there_is_a_limit_of_time():
    host = fakes.FakeHost(fakes.NFT)
    host.programs.add("ss")
    ending.close(["src [192.0.2.1]:22"], host, -1)
    assert not [argv for argv in host.calls if argv[0] == "ss"]
    assert "over=$(($(date +%s) + 20))\n[ " in ending.lines(["src [192.0.2.1]:22"], 20)


def test_clients_that_are_left_out():
    assert ending.sparing([]) == ""
    assert ending.sparing(["10.0.0.0/8", "fd00::/64"]) == " and not dst [10.0.0.0/8] and not dst [fd00::/64]"
    assert ending.closing(["10.0.0.0/8", "fd00::/64"]) == " and ( dst [10.0.0.0/8] or dst [fd00::/64] )"
