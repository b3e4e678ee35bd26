# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Two instances forward, or map 1:1, on one WAN; integration/test_nat_pairs.py tests packets."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError, Problems
from ansible_collections.ipmasq.linux.plugins.module_utils._facts.links import Facts, Interface
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.read import gateway_from_params
from ansible_collections.ipmasq.linux.plugins.module_utils._resolve.resolve import resolve
from ansible_collections.ipmasq.linux.plugins.module_utils._resolve.resolved import resolved_from
from ansible_collections.ipmasq.linux.plugins.module_utils._resolve.rivals import (
    changed_beside,
    check_rivals,
    mapped,
    mapped_beside,
    not_left_alone,
)
from ansible_collections.ipmasq.linux.tests.unit.params import gateway_params

OFFICE = {"name": "office", "interfaces": ["lan0"], "networks": ["192.168.1.0/24", "fd00:1::/64"]}
GUESTS = {"name": "guests", "interfaces": ["guest0"], "networks": ["192.168.2.0/24", "fd00:2::/64"]}
WANS = ({"interface": "wan0"}, {"interface": "wan1"})
HOST = Facts((Interface("wan0", addresses=("203.0.113.2",), networks=("203.0.113.0/24",)),))


def declared(lan, **options):
    given = dict({"wans": list(WANS), "lans": [lan], "nat": [{"name": "rest"}]}, **options)
    return gateway_from_params(gateway_params(**given))


def ours(*forwards, **options):
    return resolved_from(declared(OFFICE, port_forwards=list(forwards), **options))


def theirs(*forwards, **options):
    return resolved_from(declared(GUESTS, port_forwards=list(forwards), instance="two", **options))


def web(*ports, to="192.168.1.10", **options):
    return dict({"name": "web", "port": list(ports) or ["443"], "to": [to]}, **options)


def shop(*ports, to="192.168.2.10", **options):
    return dict({"name": "shop", "port": list(ports) or ["443"], "to": [to]}, **options)


def one(source, to="203.0.113.9", **options):
    item = {"name": "one", "action": "static", "source": [source], "to": [to], "to_address": "routed"}
    return [dict(item, **options), {"name": "rest"}]


def told(gateway, *others):
    problems = Problems()
    check_rivals(gateway, others, problems)
    return problems.found


SAID = (
    "port_forwards[0] 'web': {0} on WAN {1} is also forwarded by port_forwards 'shop' of instance two, and no order "
    "decides between instances; give one of them another port, source, destination or wan, or, to move the item, first "
    "remove it from instance two"
)


@pytest.mark.parametrize(
    ("mine", "their", "what"),
    [
        (web(), shop(), "tcp port 443"),
        (web("80", "443"), shop(), "tcp port 443"),
        (web("1-1000"), shop(), "tcp port 1-1000"),
        (web(), shop("400-500"), "tcp port 443"),
        (web(protocol=["both"]), shop(protocol=["udp"]), "udp port 443"),
        (web(), shop("444"), ""),
        (web(), shop("1-442", "444-999"), ""),
        (web(), shop(protocol=["udp"]), ""),
        # Which is more specific decides within one instance only.
        (web(destination=["203.0.113.2"]), shop(), "tcp port 443"),
        (web(), shop(destination=["203.0.113.0/28"]), "tcp port 443"),
        (web(destination=["203.0.113.2", "203.0.113.9"]), shop(destination=["203.0.113.8/29"]), "tcp port 443"),
        (web(destination=["203.0.113.2"]), shop(destination=["203.0.113.3"]), ""),
        (web(source=["198.51.100.0/24"]), shop(), "tcp port 443"),
        (web(source=["198.51.100.0/24"]), shop(source=["198.51.100.7"]), "tcp port 443"),
        (web(source=["198.51.100.0/25"]), shop(source=["198.51.100.128/25"]), ""),
        # Only for clients inside, who are one instance's.
        (web(source=["192.168.1.0/25"], hairpin=True), shop(), ""),
        (web(to="fd00:1::10"), shop(), ""),
        (web(to="fd00:1::10"), shop(to="fd00:2::10"), "tcp port 443"),
    ],
)
def test_a_connection_is_taken_by_one_instance(mine, their, what):
    assert told(ours(mine), theirs(their)) == ([SAID.format(what, "wan0")] if what else [])


@pytest.mark.parametrize(
    ("mine", "their", "wan"),
    [
        ({}, {"wan": "wan1"}, "wan1"),
        ({"wan": "wan0"}, {"wan": "wan1"}, ""),
        ({}, {"wans": [{"interface": "ppp0"}]}, ""),
        ({}, {"wans": [{"interface": "wan*"}]}, "wan0"),
        ({"wan": "wan1"}, {"wans": [{"interface": "w*"}]}, "wan1"),
        ({"wans": [{"interface": "w*"}]}, {"wans": [{"interface": "wan*"}]}, "wan*"),
    ],
)
def test_wans_are_the_same_if_their_patterns_overlap(mine, their, wan):
    gateways = []
    for make, item, options in ((ours, web, mine), (theirs, shop, their)):
        options = dict(options)
        gateways.append(make(item(wan=options.pop("wan", "")), **options))
    assert told(*gateways) == ([SAID.format("tcp port 443", wan)] if wan else [])


def test_servers_with_addresses_of_their_own_are_not_asked_alike():
    six = {"networks": ["2001:db8:1::/64"]}
    mine = resolved_from(declared(dict(OFFICE, **six), port_forwards=[web(to="2001:db8:1::10")]))
    assert told(mine, theirs(shop(to="fd00:2::10"))) == []


def test_an_address_is_mapped_by_one_instance():
    words = (
        "nat[0] 'one': to {0} on WAN {1} is also mapped 1:1 by nat 'one' of instance two, and an outside address can "
        "stand for only one inside; map another address, or, to move the item, first remove it from instance two"
    )
    mine = ours(nat=one("192.168.1.10"))
    assert told(mine, theirs(nat=one("192.168.2.10"))) == [words.format("203.0.113.9", "wan0")]
    assert told(mine, theirs(nat=one("192.168.2.0/30", "203.0.113.8/30", wan="wan1"))) == [
        words.format("203.0.113.9", "wan1")
    ]
    assert told(mine, theirs(nat=one("192.168.2.10", "203.0.113.8"))) == []
    assert told(ours(nat=one("192.168.1.10", wan="wan0")), theirs(nat=one("192.168.2.10", wan="wan1"))) == []
    # Of two peers, each has its own.
    peers = [["198.51.100.0/25"], ["198.51.100.128/25"]]
    gateways = [make(nat=one(source, destination=peer)) for make, source, peer in zip(
        (ours, theirs), ("192.168.1.10", "192.168.2.10"), peers
    )]  # fmt: skip
    assert told(*gateways) == []


def test_an_address_that_one_maps_is_no_destination_of_the_other():
    mine, their = web(destination=["203.0.113.8/30"]), shop(destination=["203.0.113.9"])
    assert told(ours(mine), theirs(nat=one("192.168.2.10"))) == [
        "port_forwards[0] 'web': destination 203.0.113.8/30 on WAN wan0 is also mapped 1:1 by nat 'one' of instance "
        "two, and no order decides between instances; name another address, or, to move the item, first remove it from "
        "instance two"
    ]
    assert told(ours(nat=one("192.168.1.10")), theirs(their)) == [
        "nat[0] 'one': to 203.0.113.9 on WAN wan0 is also forwarded by port_forwards 'shop' of instance two, and no "
        "order decides between instances; name another address, or, to move the item, first remove it from instance two"
    ]
    assert told(ours(web(destination=["203.0.113.10"])), theirs(nat=one("192.168.2.10"))) == []
    assert told(ours(nat=one("192.168.1.10", wan="wan0")), theirs(dict(their, wan="wan1"))) == []


def test_a_forward_without_destination_leaves_what_another_instance_maps():
    mine, other = ours(web(wan="wan0"), web("80", to="fd00:1::10", name="six")), theirs(nat=one("192.168.2.10"))
    assert told(mine, other) == []
    assert mapped_beside(mine, [other]) == (("wan0", "203.0.113.9/32"),)
    assert mapped_beside(ours(web()), [other]) == (("", "203.0.113.9/32"),)
    assert mapped_beside(ours(web(wan="wan1")), [theirs(nat=one("192.168.2.10", wan="wan0"))]) == ()
    assert mapped_beside(ours(web(destination=["203.0.113.2"])), [other]) == ()
    assert mapped_beside(ours(web(source=["192.168.1.0/25"])), [other]) == ()  # it has no rules
    known = replace(mine, around=replace(mine.around, mapped=mapped_beside(mine, [other])))
    assert [mapped(known, forward, "ip") for forward in known.port_forwards] == [("203.0.113.9/32",), ()]


def test_what_another_instance_has_mapped_since_is_told():
    mine, other = ours(web()), theirs(nat=one("192.168.2.10"))
    known = replace(mine, around=replace(mine.around, mapped=mapped_beside(mine, [other])))
    assert changed_beside(known, [other]) == changed_beside(mine, []) == []
    since = "another instance has mapped it 1:1 since the last run, whose rules may take connections to it"
    gone = "no other instance maps it 1:1 any more, but the rules of the last run leave it out of forwards"
    assert changed_beside(mine, [other]) == ["~ 203.0.113.9: " + since]
    assert changed_beside(known, []) == ["~ 203.0.113.9: " + gone]
    # The one that maps it says so, too.
    assert not_left_alone(other, [known]) == []
    assert not_left_alone(other, [mine]) == [
        "nat 'one': instance default forwards ports without destination, and its rules do not know yet that "
        "203.0.113.9 is mapped 1:1, so they may take connections to it; run instance default again"
    ]


@pytest.mark.parametrize(("wan", "taken"), [("", True), ("wan0", True), ("wan1", False)])
def test_mapped_addresses_are_those_of_the_same_wan(wan, taken):
    made = ours(web(wan=wan), nat=one("192.168.1.10", "203.0.113.33", wan="wan0"))
    found = mapped(made, made.port_forwards[0], "ip")
    assert found == (("203.0.113.33/32",) if taken else ())
    assert mapped(made, made.port_forwards[0], "ip6") == ()


def test_a_run_is_refused_and_check_mode_warns():
    gateway = declared(OFFICE, port_forwards=[web()])
    with pytest.raises(GatewayError) as refused:
        resolve(gateway, HOST, others=[theirs(shop())])
    assert list(refused.value.problems) == [SAID.format("tcp port 443", "wan0")]
    done = resolve(gateway, HOST, others=[theirs(shop())], is_check=lambda: True)
    assert done.warnings == (
        SAID.format("tcp port 443", "wan0") + "; if an earlier task of this play does so, the play succeeds without "
        "check mode",
    )


def test_a_forward_that_has_no_address_left_is_refused():
    """The other instance maps the only one of the WAN."""
    gateway = declared(OFFICE, wans=[{"interface": "wan0"}], port_forwards=[web()])
    other = theirs(nat=one("192.168.2.10", "203.0.113.2"))
    with pytest.raises(GatewayError) as refused:
        resolve(gateway, HOST, others=[other])
    assert list(refused.value.problems) == [
        "port_forwards[0] 'web': can never match: nat items, with those of other instances, map every address of wan0; "
        "name the address to take this port from in destination, or first remove an item there"
    ]
    assert resolve(gateway, HOST, others=[other], is_check=lambda: True).warnings


@pytest.mark.parametrize("alike", ["port", "destination", "nothing"])
def test_ten_thousand_forwards_on_each_side_are_compared_in_time(alike):
    def many(gateway, first):
        (forward,) = gateway.port_forwards
        forwards = []
        for number in range(10000):
            port = 443 if alike == "port" else 2 * number + first
            place = "" if alike == "destination" else "{0}.0.{1}.{2}/32".format(10 + first, *divmod(number, 256))
            forwards.append(replace(forward, port=((port, port),), destination=tuple(filter(None, [place]))))
        return replace(gateway, port_forwards=tuple(forwards))

    gateways = many(ours(web()), 1), many(theirs(shop()), 2)
    begin = time.process_time()
    assert told(*gateways) == []
    assert time.process_time() - begin < 5
