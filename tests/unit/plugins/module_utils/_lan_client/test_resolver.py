# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""DNS servers: where they are written, and what comes back."""

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError
from ansible_collections.ipmasq.linux.plugins.module_utils._lan_client.resolver import (
    BEFORE,
    RESOLV,
    RESOLVED,
    searched,
)
from ansible_collections.ipmasq.linux.plugins.module_utils._managers.network_manager import CONF
from ansible_collections.ipmasq.linux.tests.unit.lan_clients import Client

ORIGINAL = "domain example.org\nsearch example.org\nnameserver 9.9.9.9\noptions edns0\n"
DNS = ["192.168.1.1", "fd00:1::1"]
DROPIN = "/etc/systemd/network/10-lan0.network.d/ipmasq-lan-client.conf"
STUB = "../run/systemd/resolve/stub-resolv.conf"


def test_resolv_conf_and_back():
    client = Client(files={RESOLV: ORIGINAL})
    client.modes[RESOLV] = 0o640
    first = client.state()
    done = client.apply(dns=["192.168.1.1"])
    assert "+ DNS server 192.168.1.1" in done["differences"]
    kept = ["domain example.org", "search example.org", "options edns0"]
    assert client.files[RESOLV].splitlines()[1:] == [*kept, "nameserver 192.168.1.1"]
    assert client.files[BEFORE] == ORIGINAL
    assert client.mode(RESOLV) == 0o640
    assert not client.apply(dns=["192.168.1.1"])["changed"]
    client.apply(dns=[])
    assert client.files[RESOLV] == ORIGINAL
    assert BEFORE not in client.files
    client.apply(dns=["192.168.1.1"])
    client.apply(state="absent")
    assert client.state() == first


def test_resolv_conf_that_was_not_there_goes_again():
    client = Client()
    client.apply(dns=DNS)
    assert BEFORE not in client.files
    client.apply(state="absent")
    assert RESOLV not in client.files


def test_resolv_conf_written_by_somebody_since():
    client = Client(files={RESOLV: ORIGINAL})
    client.apply(dns=["192.168.1.1"])
    client.files[RESOLV] = "nameserver 8.8.8.8\n"
    client.apply(dns=["192.168.1.1"])
    assert client.files[BEFORE] == "nameserver 8.8.8.8\n"
    client.files[RESOLV] = "nameserver 1.1.1.1\n"
    client.apply(state="absent")
    assert client.files[RESOLV] == "nameserver 1.1.1.1\n"
    assert BEFORE not in client.files


@pytest.mark.parametrize(
    ("manager", "path", "line"),
    [
        ("networkd", DROPIN, "[Network]\nDNS=192.168.1.1\nDNS=fd00:1::1\n"),
        ("ifupdown", RESOLVED, "[Resolve]\nDNS=192.168.1.1 fd00:1::1\n"),
        ("NetworkManager", CONF, "[global-dns-domain-*]\nservers=192.168.1.1,fd00:1::1\n"),
    ],
)
def test_servers_for_resolved_or_the_manager(manager, path, line):
    client = Client(manager=manager, resolved=True)
    client.links[RESOLV] = STUB
    before = client.state()
    client.apply(dns=DNS)
    assert line in client.files[path]
    assert RESOLV not in client.files
    restarted = "systemctl restart systemd-resolved" in client.calls
    assert restarted == (manager == "ifupdown")
    client.apply(state="absent")
    assert client.state() == before


@pytest.mark.parametrize(
    ("link", "said"),
    [
        ("/run/resolvconf/resolv.conf", "is a link to /run/resolvconf/resolv.conf, and it is not known what writes"),
        (STUB, "is a link to /run/systemd/resolve/stub-resolv.conf, but systemd-resolved does not run"),
    ],
)
def test_a_link_that_nobody_answers_for(link, said):
    client = Client()
    client.links[RESOLV] = link
    with pytest.raises(GatewayError, match="dns: /etc/resolv.conf " + said):
        client.apply(dns=DNS)


def test_searched_domains():
    assert searched(Client(files={RESOLV: "search a.example b.example\ndomain a.example\n"})) == (
        "a.example",
        "b.example",
    )
