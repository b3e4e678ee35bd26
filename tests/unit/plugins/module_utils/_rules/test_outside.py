# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a WAN may ask for at addresses of the gateway."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._intent.read import gateway_from_params
from ansible_collections.ipmasq.linux.plugins.module_utils._resolve.resolved import (
    ResolvedLan,
    ResolvedWan,
    resolved_from,
)
from ansible_collections.ipmasq.linux.plugins.module_utils._rules.outside import ASKED, LOOPBACK, NARROW, outside
from ansible_collections.ipmasq.linux.tests.unit.params import gateway_params

LAN = ResolvedLan("office", ("lan0",), ("192.168.1.0/24", "2001:db8:1::/64"))


def closed(**options):
    """The networks in which addresses of other links are closed, and those that are exempt."""
    declared = gateway_from_params(gateway_params(**options))
    rules = outside(resolved_from(declared, wans=(ResolvedWan("wan0"),), lans=(LAN,)))
    found = [rule.match for rule in rules if rule.chain == ASKED.name and rule.match.elsewhere]
    return [net for match in found for net in match.destination], [
        net for match in found for net in match.not_destination
    ]


def test_private_addresses_and_those_of_one_link_are_not_there_for_a_wan():
    assert set(closed()[0]) >= {"10.0.0.0/8", "fc00::/7", *LOOPBACK, *NARROW}
    assert closed(undeclared="leave")[0] == ["127.0.0.0/8", "192.168.1.0/24"]


def asked(**options):
    """The rules where a LAN follows its links."""
    lans = (replace(LAN, follows=True),)
    gateway = resolved_from(gateway_from_params(gateway_params(**options)), wans=(ResolvedWan("wan0"),), lans=lans)
    return [rule for rule in outside(gateway) if rule.chain == ASKED.name]


def test_answers_to_this_host_as_a_dhcp_client_come_before_what_is_astray():
    """Providers have DHCP servers with private addresses, which answer by each of their links."""
    rules = asked()
    first = next(place for place, rule in enumerate(rules) if rule.match.astray)
    answers = [rule for rule in rules[:first] if rule.match.protocol == "udp"]
    assert [(rule.match.family, rule.match.port, rule.match.local) for rule in answers] == [
        ("ip", ((68, 68),), True),
        ("ip6", ((546, 546),), True),
    ]
    # The drop of private addresses that are elsewhere stays before it.
    assert rules.index(answers[0]) > max(place for place, rule in enumerate(rules) if rule.match.elsewhere)


def test_what_goes_on_to_a_lan_is_no_answer_to_this_host():
    """A forward of all ports, and an address that is mapped."""
    forward = {"name": "all", "port": ["1-65535"], "protocol": ["udp"], "to": ["192.168.1.20"]}
    assert not [rule for rule in asked(port_forwards=[forward]) if rule.match.protocol == "udp"]
    item = {"name": "web", "source": ["192.168.1.20"], "action": "static", "to": ["203.0.113.9"]}
    answers = [rule.match for rule in asked(nat=[item]) if rule.match.protocol == "udp"]
    assert [match.not_destination for match in answers] == [("203.0.113.9/32",), ()]


@pytest.mark.parametrize("address", ["192.168.1.1", "100.64.0.7"])
def test_an_address_that_a_forward_names_is_there(address):
    forward = {"name": "web", "port": ["80"], "to": ["192.168.1.20"], "destination": [address]}
    assert closed(port_forwards=[forward])[1] == [address + "/32"]
