# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a LAN may be given, as it is written: every mistake is reported, with what to write instead."""

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import Problems
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.services import (
    NO_SERVICES,
    Dhcp,
    LanServices,
    Reservation,
    describe_services,
    read_domain,
    read_services,
    read_upstream,
)

NAS = {"mac": "52-54-00-AB-cd-01", "address": "192.168.1.20", "name": "nas"}


def read(**given):
    problems = Problems()
    return read_services(0, dict(name="office", **given), problems), problems.found


@pytest.mark.parametrize("word", [True, "true", "yes", "On"])
def test_one_word_is_enough(word):
    assert read(dhcp=word) == (LanServices(Dhcp()), [])


@pytest.mark.parametrize("word", [None, False, "false", "off"])
def test_nothing_is_nothing(word):
    assert read(dhcp=word) == (NO_SERVICES, [])
    assert not NO_SERVICES


def test_a_number_has_one_form_and_what_is_empty_is_the_default():
    services, found = read(dhcp={"options": {"06": "9.9.9.9", "042": "x", "router": None, "domain-name": ""}})
    assert found == [] and services.dhcp
    assert services.dhcp.options == (("6", "9.9.9.9"), ("42", "x"), ("domain-name", ""))


def test_everything_that_can_be_written():
    dhcp = {
        "range": ["192.168.1.50-192.168.1.59", "192.168.1.70"], "lease": 7200, "reserve": [NAS],
        "options": {"ntp-server": ["192.168.1.1", "192.168.1.2"], 252: "x"},
    }  # fmt: skip
    services, found = read(dhcp=dhcp, ra="managed", dns=False)
    assert found == []
    kept = Dhcp(
        ("192.168.1.50-192.168.1.59", "192.168.1.70"), "7200",
        (Reservation("52:54:00:ab:cd:01", "192.168.1.20", "nas"),),
        (("ntp-server", "192.168.1.1,192.168.1.2"), ("252", "x")),
    )  # fmt: skip
    assert services == LanServices(kept, "managed", False)
    assert describe_services(services) == (
        ", DHCP 192.168.1.50-192.168.1.59 192.168.1.70 for 7200, 52:54:00:ab:cd:01 is 192.168.1.20 nas, "
        "DHCP option ntp-server 192.168.1.1,192.168.1.2, DHCP option 252 x, router advertisements (managed)"
    )


@pytest.mark.parametrize(
    ("dhcp", "said"),
    [
        (5, "dhcp: '5' is neither true nor a dictionary; write true, or {range"),
        ({"ranges": 1}, "dhcp: has no option ranges; write true, or {range"),
        ({"range": "192.168.1.9"}, ""),
        ({"range": "192.168.1.9-192.168.1.1"}, "dhcp: range: 192.168.1.9-192.168.1.1 is reversed"),
        ({"range": "fd00::1-fd00::9"}, "dhcp: range: fd00::1-fd00::9 is not IPv4; IPv6 addresses are given out by ra"),
        ({"range": {"a": 1}}, "dhcp: range: '{'a': 1}' is not an address"),
        ({"lease": "1m"}, "dhcp: lease: '1m' is not a time of at least 2m"),
        ({"lease": "12 hours"}, "dhcp: lease: '12 hours' is not a time"),
        ({"reserve": ["nas"]}, "dhcp: reserve[0]: 'nas' is not a reservation; write {mac: …, address: …, name: …}"),
        ({"reserve": [{"mac": 1, "address": "192.168.1.20", "nam": "x"}]}, "dhcp: reserve[0]: "),
        ({"reserve": [dict(NAS, mac=9012345)]}, "reserve[0]: mac '9012345' is not a hardware address; write it in q"),
        ({"reserve": [dict(NAS, address="fd00::1")]}, "reserve[0]: address 'fd00::1' is not an IPv4 address"),
        ({"reserve": [dict(NAS, name="a.b")]}, "reserve[0]: name 'a.b' is not a host name"),
        ({"reserve": [dict(NAS, name="ignore")]}, "reserve[0]: name 'ignore' has another meaning for dnsmasq"),
        ({"reserve": [dict(NAS, name="120")]}, "reserve[0]: name '120' has another meaning for dnsmasq"),
        ({"reserve": [NAS, dict(NAS, address="192.168.1.21", name="b")]}, "mac 52:54:00:ab:cd:01 is reserved twice"),
        ({"reserve": [NAS, dict(NAS, mac="52:54:00:ab:cd:02", name="b")]}, "address 192.168.1.20 is reserved twice"),
        ({"reserve": [NAS, dict(NAS, mac="52:54:00:ab:cd:02", address="192.168.1.3")]}, "name nas is reserved twice"),
        ({"options": ["ntp-server"]}, "dhcp: options: '['ntp-server']' is not a dictionary"),
        ({"options": {"ntp": "x"}}, "dhcp: options: ntp is not a DHCP option; write a name such as ntp-server"),
        ({"options": {"255": "x"}}, "dhcp: options: 255 is not a DHCP option"),
        ({"options": {"54": "10.0.0.1"}}, "dhcp: options: 54: the gateway decides this option by the LAN's network"),
        ({"options": {"66": "boot #1.img"}}, "66: what follows ' #' in 'boot #1.img' would be a comment for dnsmasq"),
        ({"options": {"66": ["a", " #b"]}}, "66: what follows ' #' in 'a, #b' would be a comment for dnsmasq; leave"),
        ({"options": {"66": ["#a", "b#c", "#d"]}}, ""),
        ({"options": {"42": "x\ny"}}, "dhcp: options: 42: 'x?y' must be printable ASCII without quotes"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_remedy(dhcp, said):
    found = read(dhcp=dhcp)[1]
    if not said:
        assert found == []
        return
    (problem,) = found
    assert problem.startswith("lans[0] 'office': dhcp") and said in problem


def test_all_mistakes_come_together():
    dhcp = {"range": "x", "lease": "y", "reserve": [dict(NAS, mac="z", address="w")], "options": {"v": 1}, "u": 1}
    assert len(read(dhcp=dhcp)[1]) == 6


def test_servers_that_are_asked():
    problems = Problems()
    given = ["9.9.9.9", " 127.0.0.1#5335 ", "2620:fe::fe", "9.9.9.9"]
    assert read_upstream(given, problems) == ("9.9.9.9", "127.0.0.1#5335", "2620:fe::fe")
    assert read_upstream(None, problems) == () and not problems.found
    bad = ["dns.example", "9.9.9.9#0", "9.9.9.9#99999", "0.0.0.0", "224.0.0.1", "1.1.1.1:53"]
    assert read_upstream(bad, problems) == ()
    assert [each.split(";")[0] for each in problems.found] == [
        "dns_upstream: '{0}' is not a server".format(each) for each in bad
    ]


def test_a_domain():
    problems = Problems()
    assert read_domain(" Office.Example.com. ", problems) == "office.example.com"
    assert read_domain(None, problems) == "" and not problems.found
    assert read_domain("a_b.example", problems) == ""
    assert problems.found == ["dns_domain: 'a_b.example' is not a domain; write office.example.com"]
