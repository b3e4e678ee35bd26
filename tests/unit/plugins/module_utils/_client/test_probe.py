# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The run as a whole without a network. With packets: tests/integration/test_nat_probe.py."""

from __future__ import annotations

import errno

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._client import probe
from ansible_collections.ipmasq.linux.plugins.module_utils._client.wire import Found, Stream
from ansible_collections.ipmasq.linux.tests.unit import fakes

PARAMS = dict(servers=None, tcp=None, ping=None, dns_server=None, dns_name=None, expect=None, idle=0, timeout=3)
FIB_TRIE = "".join("   |-- {0}\n      /32 host LOCAL\n".format(each) for each in ("127.0.0.1", "192.168.1.10"))
IF_INET6 = (
    "00000000000000000000000000000001 01 80 10 80       lo\nfe800000000000000000000000000001 02 40 20 80     eth0\n"
)


class Cut:
    """A client without any route. Names are as given."""

    def __init__(self, **names):
        self.names = {name.replace("_", "."): addresses for name, addresses in names.items()}

    def close(self):
        pass

    def clock(self):
        return 0.0

    def resolve(self, names):
        return [Found(tuple(self.names[name])) if name in self.names else Found((), "unknown") for name in names]

    def open(self, version, towards):
        raise OSError(errno.ENETUNREACH, "Network is unreachable")

    def streams(self, asks):
        return [Stream(False, problem="Network is unreachable") for _each in asks]

    def pings(self, addresses):
        return [None for _each in addresses]

    def token(self, size):
        return bytes(size)


def run(wire, **options):
    host = fakes.FakeHost()
    host.files.update({"/proc/net/fib_trie": FIB_TRIE, "/proc/net/if_inet6": IF_INET6})
    return probe.nat_probe(dict(PARAMS, **options), host, wire)


def outcomes(result):
    return [(each["name"], each["outcome"]) for each in result["results"]]


def test_nothing_to_ask_is_not_green():
    result = run(Cut())
    assert (result["results"], result["proven"], result["broken"]) == ([], False, [])
    assert result["warnings"] == result["notes"] == [probe.NOTHING]


def test_no_route():
    """With an address of the family, it is an error; without, it cannot be measured."""
    result = run(Cut(), servers=["198.51.100.1", "2001:db8::1"])
    assert outcomes(result) == [("udp over IPv4", "broken"), ("udp over IPv6", "unmeasurable")]
    assert result["broken"] == [
        "udp over IPv4: this client has the address 192.168.1.10, but cannot send to 198.51.100.1: no route"
    ]
    assert result["proven"] is False


def test_only_what_cannot_be_measured_is_not_green_either():
    result = run(Cut(), servers=["2001:db8::1"], ping=["198.51.100.1"])
    assert result["counts"] == {"holds": 0, "broken": 0, "unmeasurable": 2}
    assert result["proven"] is False
    assert result["results"][1]["reason"] == probe.MAY_NOT_PING


def test_a_name_stands_for_one_address_of_each_family():
    wire = Cut(a_example=["198.51.100.1", "198.51.100.2", "2001:db8::1"])
    result = run(wire, tcp=["a.example:80", "b.example:80"])
    assert outcomes(result) == [
        ("dns name a.example", "holds"),
        ("dns name b.example", "broken"),
        ("tcp to a.example:80 (198.51.100.1)", "broken"),
        ("tcp to a.example:80 (2001:db8::1)", "unmeasurable"),
    ]


@pytest.mark.parametrize("text", [None, "", "search example.net\n", "# nameserver 192.0.2.1\n", "nameserver x\n"])
def test_no_resolver(text):
    host = fakes.FakeHost()
    if text is not None:
        host.files["/etc/resolv.conf"] = text
    result = probe.nat_probe(dict(PARAMS, dns_name="a.example"), host, Cut())
    assert outcomes(result) == [("dns", "broken")]
    assert "dns_server" in result["broken"][0]
