# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What reaches the gateway itself, packet by packet, on the neutral rules that both backends render."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._facts.links import Facts, Interface
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.read import gateway_from_params
from ansible_collections.ipmasq.linux.plugins.module_utils._resolve.resolve import resolve
from ansible_collections.ipmasq.linux.plugins.module_utils._rules.compile import compile_gateway
from ansible_collections.ipmasq.linux.plugins.module_utils._rules.model import REACH
from ansible_collections.ipmasq.linux.tests.unit.packet import Packet, trace
from ansible_collections.ipmasq.linux.tests.unit.params import gateway_params

LAN = {"name": "office", "interfaces": ["lan0"], "networks": ["192.168.1.0/24"]}
HERE, FAR = "192.0.2.1", "198.51.100.9"
#: A WAN with a name like one of Docker's bridges.
WANS = [{"interface": "wan0"}, {"interface": "br-0wan"}]


def resolved(addresses=(), there=(), **given):
    options = dict(wans=WANS, lans=[LAN], input="protect")
    options.update(given)
    facts = Facts((Interface("lan0", addresses=addresses), *map(Interface, there)))
    return resolve(gateway_from_params(gateway_params(**options)), facts).gateway


def compiled(ports=(22,), **given):
    return compile_gateway(replace(resolved(**given), controller_ports=ports))


@pytest.mark.parametrize(
    ("iif", "verdict"),
    [
        ("wan0", "drop"), ("br-0wan", "drop"), ("mgmt0", "drop"), ("wg0", "drop"), ("tun3", "drop"), ("br-lan", "drop"),
        ("lan0", "accept"), ("lo", "accept"), ("docker0", "accept"), ("virbr7", "accept"),
        ("br-0123456789ab", "accept"),
    ],
)  # fmt: skip
def test_which_links_are_protected(iif, verdict):
    packet = Packet(iif, "", FAR, HERE, protocol="udp", port=53)
    assert trace(compiled(), packet).verdict == verdict
    assert trace(compiled(input="open"), packet).verdict == "accept"
    # What answers the gateway is let in everywhere.
    assert trace(compiled(), replace(packet, ct_state="established")).verdict == "accept"
    assert trace(compiled(), replace(packet, protocol="tcp", port=22)).verdict == "accept"


def test_a_link_that_only_looks_like_a_managers_is_protected():
    """The user's own bridge with a name like Docker's, if it exists when this runs."""
    packet = Packet("br-dmz", "", FAR, HERE, protocol="udp", port=53)
    assert trace(compiled(), packet).verdict == "accept"
    assert trace(compiled(there=("br-dmz",)), packet).verdict == "drop"


def test_instances_leave_each_others_links_alone():
    """A packet from a link of one instance is marked before any of them filters."""
    own = {rule.match.iif: rule.action for rule in compiled().rules if rule.chain == "own"}
    assert {(iif, action.kind, action.size) for iif, action in own.items()} == {
        (("lan0", "wan0", "br-0wan"), "mark", REACH)
    }
    rules = [rule for rule in compiled().rules if rule.chain == "input"]
    wans, marked = (
        next(index for index, rule in enumerate(rules) if wanted(rule.match))
        for wanted in (lambda match: match.iif == ("wan0", "br-0wan"), lambda match: match.mark == (REACH, REACH))
    )
    assert wans < marked and rules[marked].action.kind == "return"


def test_what_is_allowed_on_one_wan_and_on_every_link():
    allow = [{"name": "all", "protocol": ["udp"], "port": ["53"]}]
    one = [dict(allow[0], wan="wan0")]
    for iif, where in (("wan0", (allow, one)), ("mgmt0", (allow,)), ("br-0wan", (allow,))):
        for items in (allow, one):
            decided = trace(compiled(input_allow=items), Packet(iif, "", FAR, HERE, protocol="udp", port=53))
            assert decided.verdict == ("accept" if items in where else "drop")


WEB = {"name": "web", "port": ["8443"], "to": ["192.168.1.1"], "to_port": 80, "wan": "wan0", "source": [FAR + "/32"]}


@pytest.mark.parametrize("addresses", [(), ("192.168.1.1",)])
@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ({}, "accept"), ({"source": "198.51.100.8"}, "drop"), ({"iif": "br-0wan"}, "drop"), ({"port": 81}, "drop"),
        ({"protocol": "udp"}, "drop"), ({"destination": "192.168.1.2"}, "drop"), ({"asked": ""}, "drop"),
        ({"iif": "mgmt0"}, "drop"),
    ],
)  # fmt: skip
def test_a_server_that_is_the_gateway_itself_is_let_in(addresses, change, verdict):
    """It may get an address of a LAN, or lose it, between two runs (VRRP): the rules are the same."""
    ruleset = compiled(port_forwards=[WEB], addresses=addresses)
    packet = Packet("wan0", "", FAR, "192.168.1.1", protocol="tcp", port=80, asked=HERE, asked_port=8443)
    assert trace(ruleset, replace(packet, **change)).verdict == verdict


def test_a_server_that_is_the_gateway_outside_its_lans_is_let_in():
    """The LAN has lost the network that it had when the forward was accepted."""
    gateway = resolved(port_forwards=[WEB], addresses=("192.168.1.1",))
    lost = replace(gateway, lans=(replace(gateway.lans[0], networks=("192.168.7.0/24",), follows=True),))
    packet = Packet("wan0", "", FAR, "192.168.1.1", protocol="tcp", port=80, asked=HERE, asked_port=8443)
    assert trace(compile_gateway(lost), packet).verdict == "accept"
    for change in ({"port": 81}, {"asked": ""}):
        assert trace(compile_gateway(lost), replace(packet, **change)).verdict == "drop"


def test_many_forwards_cost_others_nothing():
    many = [{"name": "f{0}".format(n), "port": [str(n)], "to": ["192.168.1.10"]} for n in range(1000, 1100)]
    for options in ({}, {"lans": [dict(LAN, dns=True)]}):
        few, all_of_them = (
            [rule for rule in compiled(port_forwards=each, **options).rules if rule.chain in ("input", "protected")]
            for each in (many[:1], many)
        )
        assert len(few) == len(all_of_them)


@pytest.mark.parametrize("addresses", [(), ("2001:db8:1::1",)])
def test_what_is_opened_without_translation_is_let_in_by_itself(addresses):
    """Nothing but its address and port tells such packets from others."""
    forward = {"name": "web", "port": ["443"], "to": ["2001:db8:1::1"]}
    lan = dict(LAN, networks=["2001:db8:1::/64"])
    ruleset = compiled(port_forwards=[forward], addresses=addresses, lans=[lan], ipv6="route")
    packet = Packet("wan0", "", "2001:db8:9::9", "2001:db8:1::1", protocol="tcp", port=443)
    assert trace(ruleset, packet).verdict == "accept"
    for change in ({"port": 80}, {"destination": "2001:db8:1::2"}):
        assert trace(ruleset, replace(packet, **change)).verdict == "drop"


@pytest.mark.parametrize("mode", ["open", "protect"])
def test_invalid_is_dropped_on_declared_links(mode):
    for iif, verdict in (("wan0", "drop"), ("lan0", "drop"), ("docker0", "accept")):
        assert trace(compiled(input=mode), Packet(iif, "", FAR, HERE, ct_state="invalid")).verdict == verdict
