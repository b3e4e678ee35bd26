# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Names of interfaces."""

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError
from ansible_collections.ipmasq.linux.plugins.module_utils._facts.links import Facts, Interface, Route
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.items import (
    forward_from_params,
    masquerade_from_params,
)
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.read import gateway_from_params
from ansible_collections.ipmasq.linux.plugins.module_utils._resolve.names import resolve_item
from ansible_collections.ipmasq.linux.plugins.module_utils._resolve.resolve import resolve
from ansible_collections.ipmasq.linux.tests.unit.params import forward_params, gateway_params, masquerade_params
from ansible_collections.ipmasq.linux.tests.unit.resolving import HOST, LONG, OFFICE, PORTS, problems, resolved


def test_alternative_names_are_followed_and_told():
    found = resolved(
        wans=[{"interface": "wan-port"}],
        lans=[{"name": "a", "interfaces": ["a-long-alternative-name"]}],
        nat=[{"name": "x", "wan": "wan-port"}],
    )
    assert found.gateway.wans[0].interface == found.gateway.nat[0].wan == "eth0"
    assert found.gateway.lans[0].interfaces == ("eth1",)
    assert found.notes == (
        "wan-port is an alternative name of eth0; the rules use eth0",
        "a-long-alternative-name is an alternative name of eth1; the rules use eth1",
    )


def test_a_pattern_may_mean_ports_too():
    lans = [{"name": "a", "interfaces": ["x"], "networks": ["10.9.0.0/16"]}]
    assert resolve(gateway_from_params(gateway_params(wans=[{"interface": "eth*"}], lans=lans)), PORTS)


def test_fifteen_characters_are_enough():
    assert resolved(wans=[{"interface": "fifteen-letters"}]).gateway.wans[0].interface == "fifteen-letters"
    assert resolved(wans=[{"interface": "fourteen-lette*"}])
    # nft 1.0.6: "String exceeds maximum length of 16", counting the star and the end.
    assert problems(HOST, wans=[{"interface": "fifteen-letters*"}]) == [
        "wans[0]: pattern 'fifteen-letters*' is longer than 15 characters; shorten the part before the '*'"
    ]


def test_items_follow_alternative_names_and_need_no_interface():
    item = forward_from_params(forward_params(name="x", in_interface="wan-port", out_interface="ppp*"))
    found, notes = resolve_item(item, HOST)
    assert (found.in_interface, found.out_interface) == ("eth0", "ppp*")
    assert notes == ("wan-port is an alternative name of eth0; the rules use eth0",)
    item = masquerade_from_params(masquerade_params(name="x", source=["10.0.0.0/8"], out_interface="y" * 16))
    with pytest.raises(GatewayError) as caught:
        resolve_item(item, HOST)
    assert caught.value.problems[0].startswith("out_interface: interface 'yyyyyyyyyyyyyyyy' is longer than 15")


def test_an_item_on_a_link_that_no_packet_arrives_by_is_refused():
    item = forward_from_params(forward_params(name="x", in_interface="eth1", out_interface="eth0.7@eth0"))
    with pytest.raises(GatewayError) as caught:
        resolve_item(item, PORTS)
    assert caught.value.problems == (
        "in_interface: eth1 is a port of bond bond0, where its packets arrive; name bond0",
        "out_interface: interface 'eth0.7@eth0' does not exist; in 'ip link', the parent link follows the '@'; "
        "write eth0.7",
    )


def test_alternative_names_of_every_kind_of_item():
    found = resolved(
        wans=[{"interface": "wan-port"}],
        lans=[dict(OFFICE, interfaces=["eth1"])],
        port_forwards=[{"name": "web", "port": ["443"], "to": ["192.168.1.20"], "wan": "wan-port"}],
        outbound=[{"name": "o", "wan": "wan-port"}],
    ).gateway
    assert found.port_forwards[0].wan == found.outbound[0].wan == "eth0"
    given = [{"name": "web", "port": ["443"], "to": ["192.168.1.20"], "wan": LONG}]
    assert problems(wans=[{"interface": "eth0"}, {"interface": LONG}], lans=[OFFICE], port_forwards=given)[-1] == (
        "port_forwards[0] 'web': interface 'sixteen-letters-' is longer than 15 characters and is not an alternative "
        "name on this host; use the name that 'ip link' shows"
    )


@pytest.mark.parametrize(
    "name", ["a;reboot", "$(reboot)", 'a"b', "`x`", "-j", "wan*", "wan+", "a\\b", "\x1b[2J", "\udcff"]
)
def test_links_whose_names_are_more_than_names(name):
    """The kernel takes nearly any character; rules and scripts do not."""
    lan = Interface("lan0", networks=("192.168.1.0/24",), addresses=("192.168.1.1",))
    odd = Interface(name, altnames=("uplink",), networks=("10.0.0.0/24",), addresses=("10.0.0.1",))
    with pytest.raises(GatewayError) as caught:
        resolve(gateway_from_params(gateway_params()), Facts((lan, odd), (Route(name),)))
    assert [problem.split(": ")[0] for problem in caught.value.problems] == ["wans"]
    with pytest.raises(GatewayError, match=r"wans\[0\]: '.*' is a name that rules cannot contain; rename that link"):
        resolve(gateway_from_params(gateway_params(wans=[{"interface": "uplink"}])), Facts((lan, odd), ()))
    found = resolve(gateway_from_params(gateway_params(wans=[{"interface": "ppp0"}])), Facts((lan, odd), ()))
    assert [each.name for each in found.gateway.lans] == ["lan0"]
    assert any("not used as a LAN: rules cannot contain its name" in note for note in found.notes)
    assert all(note.isprintable() for note in found.notes)
