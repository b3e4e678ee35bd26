# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""dnsmasq's configuration; tests/unit/golden/services has a whole one."""

from __future__ import annotations

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
    [("slaac", "::,constructor:lan0,ra-stateless,64,2700"), ("managed", "::1000,::ffff,constructor:lan0,64,2700")],
)
def test_advertisements(ra, dhcp_range):
    found = lines({"ra": ra})
    assert "enable-ra" in found and "dhcp-range=set:lan-office," + dhcp_range in found
    assert "dhcp-option=tag:lan-office,option6:dns-server" in found
    assert "dhcp-option=tag:lan-office,option6:dns-server" not in lines({"ra": ra, "dns": True})


def test_what_the_host_asks_is_followed_unless_servers_are_named():
    assert "no-resolv" not in lines({"dns": True})
    found = lines({"dns": True}, dns_upstream=["9.9.9.9"])
    assert "no-resolv" in found and "server=9.9.9.9" in found


def served(**given):
    return dict({"dhcp": given}, dns=True)


KEYS = re.compile(
    r"(user|pid-file|dhcp-leasefile|except-interface|domain|local|cache-size|dns-forward-max|dhcp-lease-max|dhcp-option|"
    r"dhcp-name-match|dhcp-ignore-names|server|interface|dhcp-range|dhcp-host|host-record)=[ -~]+|bind-dynamic|"
    r"no-hosts|enable-ra|quiet-ra|expand-hosts|domain-needed|bogus-priv|stop-dns-rebind|dns-loop-detect|no-resolv|"
    r"dhcp-authoritative|# [ -~]+|"
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
