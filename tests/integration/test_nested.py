# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Two instances share a WAN, and networks of the one's LAN are inside a broad network of the other's."""

from __future__ import annotations

import contextlib

import pytest
from helpers import GUESTS, OFFICE
from sandbox import sh
from test_undeclared import SOON, closed
from topology import CLIENTS, GATE4, GATE6, ISP4, SECOND4, WAN4, WAN6, Servers, Sniffer, Topology, send, udp

from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError

GUEST4, GUEST6 = CLIENTS["guest"][1:]
#: Behind a router of the guests.
DEEP4, DEEP6 = "10.60.0.5", "fd00:60::5"
DEEP = ["10.60.0.0/16", "fd00:60::/32"]
WAN = [{"interface": "wan0"}]
TWO = {"instance": "two", "wans": WAN, "lans": [dict(GUESTS, networks=[*GUESTS["networks"], *DEEP])]}
BROAD = ["192.168.0.0/16", "10.0.0.0/8", "fd00::/16"]


def office(networks: list, **options) -> dict:
    return {"wans": WAN, "lans": [dict(OFFICE, networks=networks, **options)]}


def wire_deep(net) -> None:
    net.nodes["guest"].sh("ip addr add {0}/32 dev lo; ip -6 addr add {1}/128 dev lo".format(DEEP4, DEEP6))
    sh("ip route add 10.60.0.0/16 via {0}; ip -6 route add fd00:60::/32 via {1}".format(GUEST4, GUEST6))


def seen_as(net, source: str) -> str:
    """The address that the WAN sees of a flow from this address of the guests' node."""
    with Servers(net, "tcp", ("wan", 8080)) as servers:
        seen = servers.asked("guest", WAN6 if ":" in source else WAN4, 8080, bind=(source, 0), timeout=SOON)
    return seen if isinstance(seen, str) else seen.peer


def test_networks_behind_a_router_keep_their_flows(gate, net):
    """Neither their answers nor a forward to them are the other instance's to stop."""
    wire_deep(net)
    forward = {"name": "in", "port": ["8443"], "to": [DEEP4]}
    for options in (dict(TWO, port_forwards=[forward]), office(BROAD), dict(TWO, port_forwards=[forward])):
        gate.apply(**options)
        assert [seen_as(net, source) for source in (GUEST4, DEEP4)] == [GATE4, GATE4]
        assert [seen_as(net, source) for source in (GUEST6, DEEP6)] == [GATE6, GATE6]
        assert net.asks("tcp", "wan", "guest", GATE4, 8443, timeout=SOON)[:2] == ("guest", 8443)
    assert net.tcp("office", "wan", WAN4) == GATE4
    assert net.tcp("office", "wan", WAN6) == GATE6
    closed(net, "office", "guest", GUEST4, GUEST6)
    for options in (office(BROAD), dict(TWO, port_forwards=[forward])):
        assert not gate.apply(**options).changed


@pytest.mark.parametrize("source", [{}, {"source": ["192.168.0.0/16", "fd00::/16"]}], ids=["LAN", "networks"])
def test_the_inner_instance_translates_its_networks_as_it_says(gate, net, source):
    """The order of the last runs makes no difference."""
    sh("ip addr add 203.0.113.9/24 dev wan0")
    nat = [
        {"name": "vpn", "action": "exempt", "destination": [WAN6 + "/128"]},
        {"name": "fixed", "action": "snat", "to": ["203.0.113.9"]},
        {"name": "rest"},
    ]
    two = dict(TWO, nat=nat)
    broad = dict(office(BROAD), nat=[dict({"name": "all"}, **source)])
    gate.apply(**two)
    gate.apply(**broad)
    assert [seen_as(net, GUEST4), seen_as(net, GUEST6)] == ["203.0.113.9", GUEST6]
    gate.absent("two")
    gate.apply(**broad)
    with pytest.raises(GatewayError, match="whose rules do not leave it out"):
        gate.apply(**two)
    gate.absent()
    gate.apply(**two)
    gate.apply(**broad)
    gate.apply(**two)
    assert [seen_as(net, GUEST4), seen_as(net, GUEST6)] == ["203.0.113.9", GUEST6]
    assert net.tcp("office", "wan", WAN4) == GATE4


@pytest.mark.parametrize("removed", [False, True])
def test_nobody_in_the_outer_lan_speaks_for_an_inner_network(gate, net, removed):
    """Not even once the other instance is gone, and a route to its network leads to the outer LAN."""
    gate.apply(**TWO)
    gate.apply(**office(BROAD))
    if removed:
        gate.absent("two")
        sh("ip link del guest0; ip route add 192.168.2.0/24 via 192.168.1.10")
        sh("ip -6 route add fd00:2::/64 via fd00:1::10")
    with Sniffer(net) as outside:
        send(net, "office", [udp(source, server, 161, 7777) for source, server in ((GUEST4, WAN4), (GUEST6, WAN6))] * 2)
        assert not [source for source, proto in outside.sources() if proto == 17]
        assert outside.leaks() == []
    assert net.tcp("office", "wan", WAN4) == GATE4


def test_what_cannot_be_kept_apart_is_refused(nft):
    with contextlib.closing(Topology()):
        nft.apply(**office(BROAD))
        with pytest.raises(GatewayError) as refused:
            nft.apply(**TWO)
        assert refused.value.problems[1] == (
            "lans[0] 'guests': network 192.168.2.0/24 is in 192.168.0.0/16 of LAN office of instance default, whose "
            "rules do not leave it out; name the networks behind that LAN without that range, such as "
            "192.168.128.0/17, 192.168.64.0/18, 192.168.32.0/19, 192.168.16.0/20 and more"
        )
        nft.absent()
        nft.apply(**TWO)
        with pytest.raises(GatewayError, match=r"contains 192.168.2.0/24 .* instance two, and sources are not checked"):
            nft.apply(**office(BROAD, spoof_check=False))
        nft.apply(**office(BROAD))
        assert nft.info()["as_applied"]
        nft.absent("two")
        words = "its LANs or WANs have changed since the last run, whose rules know the earlier ones"
        assert nft.info()["drift"] == ["~ instance two: " + words]
        nft.apply(**office(BROAD))
        assert nft.info()["as_applied"]


@pytest.mark.parametrize("lan", [OFFICE, {"name": "office", "interfaces": ["lan0"]}], ids=["networks", "follows"])
def test_a_lan_belongs_to_one_instance(gate, net, lan):
    """An instance for each WAN would drop what the LAN sends to the other's."""
    net.wire_second_wan()
    gate.apply(wans=WAN, lans=[lan, GUESTS])
    for wan in ("wan0", "wan1"):
        with pytest.raises(GatewayError) as refused:
            gate.apply(instance="two", wans=[{"interface": wan}], lans=[lan])
        assert refused.value.problems == (
            "lans[0] 'office': lan0 is a link of LAN office of instance default, and a LAN belongs to one instance; "
            "declare all of its WANs there, or, to move the LAN, first remove it from instance default (state=absent "
            "if it has no other LAN)",
        )
    assert [net.tcp("office", "wan", WAN4), net.tcp("office", "wan", WAN6)] == [GATE4, GATE6]
    # What the sentence says is enough: both WANs there, or the other instance later.
    gate.apply(wans=[*WAN, {"interface": "wan1"}], lans=[lan, GUESTS])
    assert [net.tcp("office", "wan", WAN4), net.tcp("office", "isp", ISP4)] == [GATE4, SECOND4]
    gate.apply(wans=WAN, lans=[GUESTS])
    gate.apply(instance="two", wans=[*WAN, {"interface": "wan1"}], lans=[lan])
    gate.apply(wans=WAN, lans=[GUESTS])
    assert [net.tcp("office", "wan", WAN4), net.tcp("office", "isp", ISP4)] == [GATE4, SECOND4]
    assert [net.tcp("office", "wan", WAN6), net.tcp("guest", "wan", WAN4)] == [GATE6, GATE4]
    gate.absent("two")
    gate.apply(wans=WAN, lans=[lan, GUESTS])
    assert net.tcp("office", "wan", WAN4) == GATE4


def test_check_mode_of_a_play_that_moves_a_lan_warns(nft):
    """An earlier task has not been done, so the LAN still seems to be in the other instance."""
    wan = {"wans": WAN}
    moved = [({}, {"lans": [OFFICE], **wan}), ({"instance": "two"}, {"lans": [GUESTS], **wan})]
    nft.apply(lans=[OFFICE, GUESTS], **wan)
    for check in (True, False):
        done = [nft.apply(check=check, **instance, **options) for instance, options in moved]
        assert all(each.changed for each in done)
        told = [line for line in done[1].warnings if "guest0" in line]
        assert len(told) == check
        for line in told:
            assert line.startswith("lans[0] 'guests': guest0 is a link of LAN guests of instance default, and a LAN ")
            assert line.endswith("; if an earlier task of this play does so, the play succeeds without check mode")
    # So it is if the two become one.
    for check in (True, False):
        assert nft.absent("two", check=check).changed
        done = nft.apply(check=check, lans=[OFFICE, GUESTS], **wan)
        assert done.changed and any("guest0" in line for line in done.warnings) is check
    assert not nft.apply(lans=[OFFICE, GUESTS], **wan).changed
