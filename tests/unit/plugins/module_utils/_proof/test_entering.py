# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.ipmasq.linux.tests.unit.plugins.module_utils._proof.test_promises import GROUND, promised

WEB = {"name": "web", "port": ["8443"], "to": ["192.168.1.20"], "to_port": 443}
NAME = "port forward 'web' from wan0 (tcp 8443, IPv4)"


def test_a_port_forward_arrives_as_declared():
    promise = promised(port_forwards=[WEB])[NAME]
    first = promise.steps[0]
    assert (first.packet.target, first.packet.dport) == ("203.0.113.2", 8443)
    assert (first.come.places, first.come.targets, first.come.dport) == (("lan0",), ("192.168.1.20",), 443)
    assert first.come.sources == (first.packet.source,)
    assert promise.hops[0] == ("lan0", "192.168.1.20")


def test_the_answer_to_a_forward_may_take_another_wan():
    """A rule may lead the server's answers there; and the router that the answer takes may be dead."""
    promise = promised(port_forwards=[WEB], wans=[{"interface": "wan0"}, {"interface": "wan1"}])[NAME]
    assert promise.hops[1:] == (("wan0", "203.0.113.1"),)
    (come,) = promise.steps[1].elsewhere
    assert (come.places, come.sources) == (("wan1",), ("203.0.113.2",))
    assert promised(port_forwards=[WEB])[NAME].steps[1].elsewhere == ()


@pytest.mark.parametrize(("by", "source"), [("external", {"203.0.113.2"}), ("gateway", {"192.168.1.1"})])
def test_hairpins_from_near_and_far(by, source):
    ground = replace(GROUND, addresses={**GROUND.addresses, "lan0": ("192.168.1.1",)})
    found = promised(ground, port_forwards=[dict(WEB, hairpin=True, hairpin_source=by)])
    for name in ("lan0", "guest0"):
        promise = found["hairpin of port forward 'web' from {0} (tcp 8443, IPv4)".format(name)]
        assert set(promise.steps[0].come.sources) == source


def test_clients_of_a_forward():
    found = promised(port_forwards=[dict(WEB, source=["9.9.9.0/24"])])
    assert found[NAME].steps[0].packet.source == "9.9.9.254"
    assert NAME not in promised(port_forwards=[dict(WEB, source=["192.168.2.0/24"], hairpin=True)])
    bogon = promised(port_forwards=[dict(WEB, source=["198.51.100.0/24"])], drop_bogons=True)
    assert bogon[NAME].lacks == "drop_bogons drops what comes from 198.51.100.254"


def test_a_pinhole_is_the_address_itself():
    lans = [{"name": "office", "interfaces": ["lan0"], "networks": ["2001:db8:5::/64"]}]
    forward = {"name": "six", "port": ["443"], "to": ["::11/::ffff:ffff:ffff:ffff"]}
    first = promised(lans=lans, port_forwards=[forward])["port forward 'six' from wan0 (tcp 443, IPv6)"].steps[0]
    assert first.packet.target == "2001:db8:5::11"


def test_what_the_probe_cannot_ask():
    assert promised(port_forwards=[dict(WEB, destination=["198.51.100.9/32"])])[NAME].lacks
    assert not any(
        promise.kind == "port_forward" for promise in promised(port_forwards=[dict(WEB, protocol=["sctp"])]).values()
    )


@pytest.mark.parametrize(
    ("ways", "exits", "steps"),
    [
        ({("lan0", "ip"): ("wan0", "")}, (), 2),
        ({("lan0", "ip"): ("wan1", "")}, ("wan0",), 1),
        ({}, ("wan0",), 2),
        ({}, ("wan1", "wan0"), 1),
        ({}, (), 1),
    ],
)
def test_an_answer_that_leaves_through_another_wan_is_not_waited_for(ways, exits, steps):
    ground = replace(GROUND, ways=ways, exits=exits)
    assert len(promised(ground, port_forwards=[WEB])[NAME].steps) == steps


def test_each_forward_is_asked_from_another_host():
    """Many hosts limit how many connections one outside may have."""
    one = {"name": "one", "action": "static", "source": ["192.168.1.32/28"], "to": ["203.0.113.32/28"]}
    many = [dict(WEB, name="f{0}".format(number), port=[str(9000 + number)]) for number in range(64)]
    found = promised(port_forwards=many, nat=[one, {"name": "rest"}]).values()
    kinds = ("port_forward", "one_to_one")
    sources = [promise.steps[0].packet.source for promise in found if promise.kind in kinds and promise.steps]
    assert len(sources) >= 64 and len(set(sources)) == len(sources)


def test_what_must_not_pass_comes_from_another_host_than_what_has_to():
    """Rules of others may shut a host out that has tried closed ports."""
    one = {"name": "one", "action": "static", "source": ["192.168.1.32/28"], "to": ["203.0.113.32/28"]}
    shut = dict(one, name="shut", source=["192.168.1.64/28"], to=["203.0.113.64/28"], inbound=False)
    many = [dict(WEB, name="f{0}".format(number), port=[str(9000 + number)]) for number in range(64)]
    found = promised(port_forwards=[WEB, *many], nat=[one, shut, {"name": "rest"}], input="protect").values()
    sent = [(promise, step.packet) for promise in found for step in promise.steps if step.packet]
    ends = {bool(promise.never): set() for promise in found}
    for promise, packet in sent:
        ends[bool(promise.never)] |= {packet.source, packet.target}
    outside = {each for each in ends[True] & ends[False] if each.startswith(("192.31.196.", "2620:4f:8000:fafa:"))}
    assert outside == set()
    sources = {packet.source for promise, packet in sent if promise.never}
    assert {"192.31.196.254", "2620:4f:8000:fafa:ffff:ffff:ffff:fffe"} <= sources
    assert not sources & {"192.31.196.129", "2620:4f:8000:fafa::1"}


def test_one_to_one():
    one = {"name": "one", "action": "static", "source": ["192.168.1.32/28"], "to": ["203.0.113.32/28"]}
    found = promised(nat=[one, {"name": "rest"}])
    name = "nat 'one' leads from wan0 to lan0 (tcp, IPv4)"
    assert found[name].steps[0].come.targets == ("192.168.1.46",)
    shut = promised(nat=[dict(one, inbound=False), {"name": "rest"}])
    assert shut["nat 'one' is closed from wan0 (tcp, IPv4)"].never


def test_the_source_of_a_hairpin_through_a_link_without_an_address():
    item = {"name": "web", "port": ["443"], "to": ["192.168.1.20"], "hairpin": True, "hairpin_source": "gateway"}
    name = "hairpin of port forward 'web' from lan0 (tcp 443, IPv4)"
    for own, sources in (({"lan0": ("192.168.1.1",)}, {"192.168.1.1"}), ({}, {"203.0.113.2", "198.51.100.2"})):
        ground = replace(GROUND, addresses={**GROUND.addresses, **own})
        assert set(promised(ground, port_forwards=[item])[name].steps[0].come.sources) == sources
