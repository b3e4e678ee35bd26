# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""dnsmasq's configuration; tests/unit/golden/services has a whole one."""

from __future__ import annotations

import dataclasses
import re

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError
from ansible_collections.ipmasq.linux.plugins.module_utils._services.dnsmasq import config
from ansible_collections.ipmasq.linux.tests.unit.hostile import PAYLOADS
from ansible_collections.ipmasq.linux.tests.unit.plugins.module_utils._rules.test_services import resolved


def lines(office, guests=None, **more):
    return config(resolved(office, guests or {}, **more), "nobody").splitlines()


def test_without_services_there_is_none():
    assert lines({}) == []


def test_addresses_without_names():
    found = lines({"dhcp": True, "dns": False})
    assert "port=0" in found
    assert not [line for line in found if line.startswith(("server=", "local=", "no-resolv", "host-record="))]
    assert "dhcp-option=tag:lan-office,option:dns-server" in found


def test_names_without_addresses():
    found = lines({"dns": True})
    assert "interface=lan0" in found and "domain=home.arpa" in found
    assert not [line for line in found if line.startswith(("dhcp-range", "dhcp-option", "enable-ra", "port"))]


def test_only_links_of_served_lans_are_named_and_never_the_loopback():
    for office, guests in (({"dhcp": True}, {}), ({}, {"dhcp": True}), ({"dns": True}, {"dhcp": True})):
        found = lines(office, guests)
        named = {line.partition("=")[2] for line in found if line.startswith("interface=")}
        assert named == {name for name, given in (("lan0", office), ("guest0", guests)) if given}
        assert "bind-dynamic" in found and "except-interface=lo" in found


@pytest.mark.parametrize(
    ("ra", "dhcp_range"),
    [
        ("slaac", "tag:lan0,set:lan-office,::,constructor:lan0,ra-stateless,64,2700"),
        ("managed", "tag:lan0,set:lan-office,::1000,::1fff,constructor:lan0,64,2700"),
    ],
)
def test_advertisements(ra, dhcp_range):
    found = lines({"ra": ra})
    assert "enable-ra" in found and "dhcp-range=" + dhcp_range in found
    assert "dhcp-option=tag:lan-office,option6:dns-server" in found
    assert "dhcp-option=tag:lan-office,option6:dns-server" not in lines({"ra": ra, "dns": True})


def test_addresses_are_for_requests_from_their_own_links():
    """What a relay's address in a request says does not count. dnsmasq cannot compare the link with a pattern."""
    found = lines({"dhcp": True, "interfaces": ["lan0", "lan1*"]}, {"dhcp": True})
    ranges = {line.partition(",192.")[0] for line in found if line.startswith("dhcp-range=") and ",192." in line}
    office = {"dhcp-range=tag:lan0,set:lan-office", "dhcp-range=set:lan-office"}
    assert ranges == {*office, "dhcp-range=tag:guest0,set:lan-guests"}


def test_an_option_without_a_value_has_no_comma():
    """dnsmasq would read an address behind it."""
    found = lines({"dhcp": {"options": {"router": "", "252": "x"}}})
    assert {"dhcp-option=tag:lan-office,option:router", "dhcp-option=tag:lan-office,252,x"} <= set(found)


def test_no_server_has_a_zone():
    for server in ("fe80::1%lan0", "fe80::1%lan0\ninterface=wan0"):
        with pytest.raises(GatewayError, match="has a zone; name a server by a global or unique local address"):
            lines({"dns": True}, dns_upstream=[server])


def test_one_lan_does_not_use_up_the_leases_of_another():
    """dnsmasq counts leases of both families together, with those that are left of earlier ranges."""
    for given in ({"dhcp": True}, {"ra": "managed"}, {"dhcp": True, "ra": "managed"}):
        (most,) = (line for line in lines(given) if line.startswith("dhcp-lease-max="))
        assert int(most.partition("=")[2]) >= 1000000
    assert not [line for line in lines({"dns": True}) if line.startswith("dhcp-lease-max=")]


def test_no_line_is_so_long_that_dnsmasq_makes_two_of_it():
    padding = "0" * (1024 - len("dhcp-option=tag:lan-office,option:mtu,"))
    with pytest.raises(GatewayError, match=r"options: mtu: \d+ characters are too many; write at most 800"):
        lines(served(options={"mtu": padding + "dhcp-script=/bin/sh"}))
    assert max(map(len, lines(served(options={"mobile-ip-home": ["192.168.100.100"] * 50}), dns_domain=LONG))) < 1000
    whole = resolved(served(options={"252": "x" * 800}), {})
    (office, guests) = whole.lans
    dhcp = dataclasses.replace(office.services.dhcp, options=(("252", "x" * 1000),))
    longer = dataclasses.replace(office, services=dataclasses.replace(office.services, dhcp=dhcp))
    with pytest.raises(GatewayError, match="a line for dnsmasq is too long"):
        config(dataclasses.replace(whole, lans=(longer, guests)), "nobody")


LONG = ".".join(["x" * 62] * 4)


def test_what_the_host_asks_is_followed_unless_servers_are_named():
    assert "no-resolv" not in lines({"dns": True})
    found = lines({"dns": True}, dns_upstream=["9.9.9.9"])
    assert "no-resolv" in found and "server=9.9.9.9" in found


def served(**given):
    return dict({"dhcp": given}, dns=True)


KEYS = re.compile(
    r"(user|pid-file|dhcp-leasefile|except-interface|domain|local|cache-size|dns-forward-max|dhcp-lease-max|dhcp-option|"
    r"dhcp-name-match|dhcp-ignore-names|server|interface|dhcp-range|dhcp-hostsfile|addn-hosts)=[ -~]+|bind-dynamic|"
    r"no-hosts|enable-ra|quiet-ra|expand-hosts|domain-needed|bogus-priv|stop-dns-rebind|dns-loop-detect|no-resolv|"
    r"dhcp-authoritative|# [ -~]+|#(host|name) [ -~]+|"
)


@pytest.mark.parametrize(
    ("where", "base"),
    [
        ("range", "192.168.1.9"), ("lease", "12h"), ("mac", "52:54:00:12:34:56"), ("address", "192.168.1.9"),
        ("name", "nas"), ("option", "ntp-server"), ("value", "192.168.1.1"), ("dns_upstream", "9.9.9.9"),
        ("dns_domain", "office.example"),
    ],
)  # fmt: skip
def test_text_of_variables_stays_in_its_line(where, base):
    """A line that dnsmasq would take for another option could run a program: dhcp-script, conf-file."""
    plain = len(lines(served(options={"42": "x"}), dns_upstream=["9.9.9.9"]))
    for payload in PAYLOADS:
        for text in (payload, base + payload, payload + base):
            host = {"mac": "52:54:00:12:34:56", "address": "192.168.1.9", "name": "nas"}
            given = {"reserve": [dict(host, **({where: text} if where in host else {}))]}
            given.update({where: text} if where in ("range", "lease") else {})
            given["options"] = {text if where == "option" else "42": text if where == "value" else "x"}
            more = {"dns_upstream": [text if where == "dns_upstream" else "9.9.9.9"]}
            more.update({"dns_domain": text} if where == "dns_domain" else {})
            try:
                found = lines(served(**given), **more)
            except GatewayError as error:
                assert all(problem.isprintable() for problem in error.problems)
                continue
            assert all(KEYS.fullmatch(line) for line in found), (text, found)
            assert len(found) <= plain + 4
