# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A link of a LAN that has a default route: a VPN gateway with one network card, or a second router in a LAN."""

from __future__ import annotations

import pytest
from helpers import GUESTS, OFFICE
from sandbox import sh
from test_fail_over import FAR4, FAR6, OFFICE4, OFFICE6, flow, said, speak
from test_undeclared import SOON
from topology import CLIENTS, GATE4, SERVER4, SERVER6, WAN4, WAN6, Sniffer, send, udp

from ansible_collections.ipmasq.linux.plugins.module_utils._change.probe import gateway_probe

#: As wg-quick makes it: into the tunnel goes all for which the main table has no route but the default.
TUNNEL = (
    "ip {0} rule add lookup 100 pref 100 not fwmark 0xca6c; "
    "ip {0} rule add lookup main suppress_prefixlength 0 pref 99; ip {0} route add default via {1} dev wg0 table 100; "
)
UNCHECKED = "for f in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 > $f; done; "
UNCHECKED += "for f in /proc/sys/net/ipv4/conf/*/send_redirects; do echo 0 > $f; done"
TOLD = (
    "lan0 has a default route; it is a link of LAN office, so nothing is forwarded through it to the Internet, "
    "only to private networks and those of LAN office; list in networks what else is behind it"
)
BOTH = [OFFICE, dict(GUESTS, reaches=["office"])]
GUEST4, GUEST6 = CLIENTS["guest"][1:]


def one_card(net) -> None:
    """The second host of the office is the router of the house; the Internet behind the tunnel is the node isp."""
    net.wire_server()
    net.unwire_wan()
    net._node("isp")
    net._link("wg0", "isp", "10.8.0.2/24", "fd08::2/64", "10.8.0.1/24", "fd08::1/64")
    net.nodes["isp"].sh(
        "ip addr add {0}/32 dev lo; ip addr add {1}/128 dev lo; ip route add default via 10.8.0.2; "
        "ip -6 route add default via fd08::2".format(FAR4, FAR6)
    )
    net._awake("isp", "10.8.0.2", "fd08::2")
    sh("ip route add default via {0}; ip -6 route add default via {1}".format(SERVER4, SERVER6))
    sh(TUNNEL.format("-4", "10.8.0.1") + TUNNEL.format("-6", "fd08::1") + UNCHECKED)


def at_the_router(net, *senders: str) -> list:
    """The sources of what these hosts send to the Internet, as the router of the house sees them."""
    own = {"office": ((OFFICE4, OFFICE6), ""), "guest": ((GUEST4, GUEST6), "")}
    own["box"] = (("172.30.0.10", "fd30::10"), "docker0")
    with Sniffer(net, "server") as router:
        for each in senders:
            sources, link = own[each]
            packets = [udp(source, to) for source, to in zip(sources, (FAR4, FAR6), strict=True)]
            send(net, each, packets * 3, link)
        return [str(source) for source, protocol in router.sources(SOON) if protocol == 17]


def test_a_route_by_a_nexthop_object_is_seen(gate, net):
    """Where the kernel lists such a route by the number of its next hop alone, as routing daemons may want it."""
    one_card(net)
    sh("echo 0 > /proc/sys/net/ipv4/nexthop_compat_mode")
    for number, (option, router) in enumerate((("-4", SERVER4), ("-6", SERVER6)), 1):
        sh(
            "ip nexthop add id {1} via {2} dev lan0; ip {0} route replace default nhid {1}".format(
                option, number, router
            )
        )
    done = gate.apply(wans=[{"interface": "wg0"}], lans=BOTH)
    assert [each for each in done.remarks if "default route" in each] == [TOLD]
    sh("ip link del wg0")
    assert at_the_router(net, "office", "guest") == []


@pytest.mark.parametrize("listed", [True, False])
def test_a_kill_switch_holds_on_one_card(gate, net, listed):
    one_card(net)
    lans = [{key: value for key, value in lan.items() if listed or key != "networks"} for lan in BOTH]
    done = gate.apply(wans=[{"interface": "wg0"}], lans=lans)
    assert [each for each in done.remarks if "default route" in each] == [TOLD]
    assert net.tcp("office", "isp", FAR4) == "10.8.0.2"
    assert net.tcp("guest", "isp", FAR6) == "fd08::2"
    assert at_the_router(net, "office", "guest") == []
    sh("ip link del wg0")
    assert at_the_router(net, "office", "guest") == []
    assert net.tcp("office", "server", FAR4).startswith("refused")
    # The LAN itself is reached as before, and the gateway itself uses the link.
    assert net.tcp("guest", "server", SERVER4) == GUEST4
    assert net.tcp("guest", "office", OFFICE6) == GUEST6
    net.nodes["server"].sh("ip addr add {0}/32 dev lo".format(FAR4))
    assert net.tcp("gate", "server", FAR4) == "192.168.1.1"
    assert [each["packets"] > 0 for each in gate.info()["counters"] if each["name"] == "guard"] == [True]
    assert not gate.apply(wans=[{"interface": "wg0"}], lans=lans).changed
    # Without these rules, the packets get there.
    gate.apply(wans=[{"interface": "wg0"}], lans=lans, undeclared="leave")
    assert set(at_the_router(net, "office", "guest")) == {OFFICE4, OFFICE6, GUEST4, GUEST6}


@pytest.mark.parametrize("card", ["one", "two"])
def test_it_is_proven_and_a_refusal_to_a_client_is_not_a_leak(gate, net, card):
    if card == "one":
        one_card(net)
    else:
        net.wire_server()
        sh(
            "ip route add default via {0} metric 50; ip -6 route add default via {1} metric 5000".format(
                SERVER4, SERVER6
            )
        )
    mail = {"name": "no-mail", "port": ["25"], "protocol": ["tcp"], "action": "reject"}
    wans = [{"interface": "wg0" if card == "one" else "wan0"}]
    done = gate.apply(wans=wans, lans=BOTH, outbound=[mail], drop_bogons=True, proof="required")
    counts = done.values["proof"]["counts"]
    assert counts["holds"] > 20 and counts["broken"] == 0
    # It is a leak where the packet itself leaves.
    sh("nft flush ruleset" if gate.programs != "iptables-legacy" else "iptables-legacy -P FORWARD ACCEPT; "
       "iptables-legacy -F; iptables-legacy -t nat -F")  # fmt: skip
    broken = [each for each in gateway_probe("default", gate.host)["results"] if each["outcome"] == "broken"]
    assert any("no-mail" in str(each) for each in broken)


def test_nor_do_open_flows_or_answers_continue_there(gate, net):
    one_card(net)
    forwards = [{"name": "game", "protocol": ["udp"], "port": ["7002"], "to": [OFFICE4]}]
    options = {"wans": [{"interface": "wg0"}], "lans": BOTH, "port_forwards": forwards}
    for undeclared in ("drop", "leave"):
        sh("ip route replace default via 10.8.0.1 dev wg0 table 100")
        gate.apply(undeclared=undeclared, **options)
        with (
            Sniffer(net, "server") as router,
            flow(net, "office", OFFICE4, "isp", FAR4) as four,
            flow(net, "office", OFFICE6, "isp", FAR6, 7001) as six,
            net.socket("office", 2, 2) as server,
            net.socket("isp", 2, 2) as client,
        ):
            server.bind((OFFICE4, 7002))
            client.bind((FAR4, 7003))
            client.sendto(b"ping", ("10.8.0.2", 7002))
            peer = server.recvfrom(10)[1]
            assert peer == (FAR4, 7003)
            sh("ip route del default table 100; ip -6 route del default table 100")
            speak(four, six)
            for _each in range(3):
                server.sendto(b"after the fail-over", peer)
            assert bool(said(router)) == (undeclared == "leave")
            sh("ip -6 route add default via fd08::1 dev wg0 table 100")


def test_a_second_router_in_a_lan_is_not_used_and_networks_behind_it_are(gate, net):
    """LTE, for when the WAN is down: nobody would translate. A network that the LAN has is behind that router, too."""
    net.wire_server()
    sh("ip route replace default via {0} metric 5; ip route del default metric 0".format(WAN4) + ";" + UNCHECKED)
    sh("ip -6 route replace default via {0} metric 5; ip -6 route del default metric 1024".format(WAN6))
    behind4, behind6 = "192.88.7.7", "2001:db8:7::7"
    net.nodes["server"].sh("ip addr add {0}/32 dev lo; ip addr add {1}/128 dev lo".format(behind4, behind6))
    office = dict(OFFICE, networks=[*OFFICE["networks"], "192.88.7.0/24", "2001:db8:7::/64"])
    options = {"wans": [{"interface": "wan0"}], "lans": [office, dict(GUESTS, reaches=["office"])]}
    first = gate.apply(**options)
    assert not [each for each in first.remarks if "default route" in each]
    sh("ip route add default via {0} metric 50; ip -6 route add default via {1} metric 50".format(SERVER4, SERVER6))
    since = "~ lan0: has gained a default route since the last run, whose rules treat it as a link without one"
    assert since in gate.info()["drift"]
    done = gate.apply(**options)
    assert done.changed and TOLD in done.remarks
    assert since not in gate.info()["drift"]
    assert net.tcp("office", "wan", WAN4) == GATE4
    sh("ip link set wan0 down")
    assert at_the_router(net, "office", "guest") == []
    assert net.tcp("guest", "server", behind4) == GUEST4
    assert net.tcp("guest", "server", behind6) == GUEST6


def test_a_route_that_a_network_manager_has_made_of_an_advertisement_counts(gate, net):
    """NetworkManager and systemd-networkd write it themselves, and the kernel leaves it when the host forwards.

    That of systemd-networkd has the metric that the kernel gives its own.
    """
    one_card(net)
    sh("ip route del default; ip -6 route del default")
    sh("ip -6 route add default via {0} dev lan0 proto ra metric 1024 expires 1800; ip link del wg0".format(SERVER6))
    options = {"wans": [{"interface": "wg0"}], "lans": BOTH}
    for undeclared in ("leave", "drop"):
        gate.apply(undeclared=undeclared, **options)
        seen = at_the_router(net, "office", "guest")
        assert set(seen) == ({OFFICE6, GUEST6} if undeclared == "leave" else set())


def test_nor_does_a_container(gate, net):
    one_card(net)
    net._node("box")
    net._link("docker0", "box", "172.30.0.1/24", "fd30::1/64", "172.30.0.10/24", "fd30::10/64")
    net.nodes["box"].sh("ip route add default via 172.30.0.1; ip -6 route add default via fd30::1")
    net._awake("box", "172.30.0.1", "fd30::1")
    gate.apply(wans=[{"interface": "wg0"}], lans=BOTH)
    sh("ip link del wg0")
    assert at_the_router(net, "box") == []
    assert net.tcp("box", "server", SERVER4) == "172.30.0.10"
    gate.apply(wans=[{"interface": "wg0"}], lans=BOTH, undeclared="leave")
    assert set(at_the_router(net, "box")) == {"172.30.0.10", "fd30::10"}


def test_nor_does_a_lan_of_another_instance(gate, net):
    one_card(net)
    two = {"instance": "two", "wans": [{"interface": "wg0"}], "lans": [dict(GUESTS, reaches=["default/office"])]}
    office = {"wans": [{"interface": "wg0"}], "lans": [OFFICE]}
    # That instance ran before there was such a route.
    sh("ip route del default; ip -6 route del default")
    gate.apply(**office)
    gate.apply(**two)
    sh("ip route add default via {0}; ip -6 route add default via {1}; ip link del wg0".format(SERVER4, SERVER6))
    assert set(at_the_router(net, "guest")) == {GUEST4, GUEST6}
    gate.apply(**office)
    assert at_the_router(net, "guest") == []
    assert net.tcp("guest", "server", SERVER4) == GUEST4
