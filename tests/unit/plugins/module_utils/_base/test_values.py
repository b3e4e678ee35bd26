# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ports, rates and addresses as people write them."""

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import Problems
from ansible_collections.ipmasq.linux.plugins.module_utils._base.values import (
    addresses_in,
    check_rate,
    hosts_with,
    may_have,
    networks_of,
    overlaps,
    read_addresses,
    read_ports,
    read_suffix,
    shorten,
)


def read(function, raw):
    problems = Problems()
    return function("x", raw, problems), problems.found


@pytest.mark.parametrize(
    ("raw", "wanted"),
    [
        (["443"], ((443, 443),)),
        (["8000-8010", "80"], ((80, 80), (8000, 8010))),
        (["1-10", "11-20", "15"], ((1, 20),)),
        ([" 5 - 9 "], ((5, 9),)),
        (None, ()),
    ],
)
def test_ports(raw, wanted):
    assert read(read_ports, raw) == (wanted, [])


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ("http", "'http' is not a port; write it as 443 or 8000-8010"),
        ("10-5", "10-5 is reversed; did you mean 5-10?"),
        ("0", "0 is not in the port range 1-65535"),
        ("65536", "65536 is not in the port range"),
        ("1-70000", "1-70000 is not in the port range"),
        ("٣", "is not a port"),
        ("-1", "is not a port"),
        ("", "'' is not a port"),
    ],
)
def test_no_ports(raw, words):
    found, problems = read(read_ports, [raw])
    assert found == () and len(problems) == 1
    assert words in problems[0]


@pytest.mark.parametrize(
    ("raw", "wanted"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("203.0.113.9/32", "203.0.113.9"),
        ("203.0.113.9-203.0.113.12", "203.0.113.9-203.0.113.12"),
        ("203.0.113.9 - 203.0.113.9", "203.0.113.9"),
        ("2001:DB8::1", "2001:db8::1"),
    ],
)
def test_addresses(raw, wanted):
    assert read(read_addresses, [raw]) == ((wanted,), [])


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ("203.0.113.0/24", "is not an address"),
        ("203.0.113.12-203.0.113.9", "reversed; did you mean 203.0.113.9-203.0.113.12?"),
        ("203.0.113.9-2001:db8::1", "starts in one address family"),
        ("::ffff:1.2.3.4", "is not an address"),
        ("host", "is not an address"),
        ("1.2.3.4-", "is not an address"),
    ],
)
def test_no_addresses(raw, words):
    found, problems = read(read_addresses, [raw])
    assert found == () and len(problems) == 1
    assert words in problems[0]


def test_ranges_as_networks_and_addresses():
    assert networks_of("203.0.113.9-203.0.113.12") == ("203.0.113.9/32", "203.0.113.10/31", "203.0.113.12/32")
    assert addresses_in("203.0.113.9-203.0.113.10", 4) == ["203.0.113.9", "203.0.113.10"]
    assert addresses_in("2001:db8::-2001:db8::ffff", 4) is None


@pytest.mark.parametrize(("raw", "wanted"), [("10/second", "10/second"), (" 5 / minute", "5/minute")])
def test_rates(raw, wanted):
    assert read(check_rate, raw) == (wanted, [])


@pytest.mark.parametrize("raw", ["10", "ten/second", "0/second", "10001/second", "10/sec", ""])
def test_no_rates(raw):
    found, problems = read(check_rate, raw)
    assert found == "" and len(problems) == 1
    assert "is not a rate; write it as 10/second" in problems[0]


@pytest.mark.parametrize(
    ("raw", "read"),
    [
        ("::11/::ffff:ffff:ffff:ffff", "::11/::ffff:ffff:ffff:ffff"),
        (" 0:0:0:1::11 / ::ff:ffff:ffff:ffff:ffff ", "::1:0:0:0:11/::ff:ffff:ffff:ffff:ffff"),
        # As inet_ntop(3) prints them.
        ("::a:11/::ffff:ffff", "::0.10.0.17/::255.255.255.255"),
        ("::ffff:a:11/::ffff:ffff:ffff", "::ffff:0.10.0.17/::ffff:255.255.255.255"),
        ("::11/ffff", "'::11/ffff' is not a suffix"),
        ("::11/::fff0", "has no mask of the lowest bits"),
        ("::11/ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "has no mask of the lowest bits"),
        ("::1:0011/::ffff", "sets bits outside its mask"),
        ("::/::ffff", "sets no bits"),
    ],
)
def test_suffix(raw, read):
    problems = Problems()
    found = read_suffix("to", raw, problems)
    assert (found or problems.found[0]) == read or read in problems.found[0]
    assert bool(found) != bool(problems.found)


def test_where_a_suffix_may_be():
    one = "::1:0:0:0:11/::ff:ffff:ffff:ffff:ffff"
    nets = ["2001:db8:77:1::/64", "2001:db8:77:2::/64", "2001:db8::/32", "192.168.1.0/24"]
    assert [may_have(net, one) for net in nets] == [True, False, True, False]
    assert hosts_with(one, nets) == ("2001:db8:77:1::11/128", "2001:db8:0:1::11/128")


TEST_OVERLAPS = [
    ([], ["10.0.0.0/8"], []),
    (["10.0.0.0/8"], ["11.0.0.0/8"], []),
    (["10.0.0.0/8"], ["10.1.0.0/16", "10.2.0.0/16"], [("10.0.0.0/8", "10.1.0.0/16"), ("10.0.0.0/8", "10.2.0.0/16")]),
    (["10.1.0.0/16"], ["10.0.0.0/8"], [("10.1.0.0/16", "10.0.0.0/8")]),
    (["10.0.0.0/24"], ["10.0.0.0/24"], [("10.0.0.0/24", "10.0.0.0/24")]),
    (["10.0.0.0/24", "10.0.0.0/16"], ["fd00::/8"], []),
    (["0.0.0.0/0"], ["::/0", "255.255.255.255/32"], [("0.0.0.0/0", "255.255.255.255/32")]),
    (["10.0.0.0/25"], ["10.0.0.128/25"], []),
]


@pytest.mark.parametrize(("ours", "theirs", "wanted"), TEST_OVERLAPS)
def test_overlaps(ours, theirs, wanted):
    assert overlaps(ours, theirs) == wanted


def test_shorten():
    assert shorten("a\nb\u202ec\x1b[0m") == "a?b?c?[0m"
    assert shorten("x" * 61) == "x" * 60 + "…"
