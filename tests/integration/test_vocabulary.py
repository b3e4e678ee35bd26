# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every option in "Recipes" of docs/options.md, with real packets: each test asserts what the far side saw."""

from __future__ import annotations

import contextlib
import shutil
import socket

import pytest
from helpers import GUESTS, OFFICE, TWO_LANS
from sandbox import sh
from test_packets import PROHIBITED, delete_masquerade, leaking
from topology import (
    CLIENTS,
    GATE4,
    GATE6,
    ISP4,
    SECOND4,
    SERVER4,
    WAN4,
    WAN6,
    Servers,
    Sniffer,
    send,
    udp,
)
from unhurried import patience

from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError

pytestmark = pytest.mark.skipif(not shutil.which("ping"), reason="ping is not installed")
OFFICE4, OFFICE6 = CLIENTS["office"][1:]
GUEST4 = CLIENTS["guest"][1]
REST = {"name": "rest"}
#: Addresses on the Internet, behind the WAN node.
FAR = ["198.18.0.{0}".format(index) for index in range(1, 9)]
FAR6 = "2001:db8:fa::1"


@pytest.fixture
def net(net):
    far = ["addr add {0}/32 dev lo".format(address) for address in FAR]
    net.nodes["wan"].ip_batch(*far, "addr add {0}/128 dev lo nodad".format(FAR6))
    return net


def toward_gate(net, *networks):
    """A router outside sends these to the gateway."""
    for each in networks:
        net.nodes["wan"].sh("ip route add {0} via {1}".format(each, GATE6 if ":" in each else GATE4))


def with_nat(*items, **options):
    return dict(TWO_LANS, nat=list(items), **options)


def rejected(net, kind, client, address, port):
    """Whether the WAN saw nothing and the client was told why, at once.

    Told by ICMP: a socket in the midst of connect() puts it off until the next SYN, if it comes as fast as here.
    """
    with Sniffer(net, client) as near, Sniffer(net) as far:
        answer = net.asks(kind, client, "wan", address, port, timeout=0.2)
        assert isinstance(answer, str), answer
        assert not [entry for entry in far.sources() if entry[1] in (socket.IPPROTO_TCP, socket.IPPROTO_UDP)]
        return near.refusals() > 0


# --- One address, and pools ------------------------------------------------------------------------------------------


def test_snat_of_one_port_and_masquerade_of_the_rest(gate, net):
    sh("ip addr add 203.0.113.9/24 dev wan0")
    mail = {"name": "mail", "action": "snat", "protocol": ["tcp"], "port": ["25"], "to": ["203.0.113.9"]}
    gate.apply(**with_nat(mail, REST))
    for client in ("office", "guest"):
        assert net.asks("tcp", client, "wan", WAN4, 25).peer == "203.0.113.9"
        assert net.asks("tcp", client, "wan", WAN4, 26).peer == GATE4
        assert net.asks("udp", client, "wan", WAN4, 25).peer == GATE4
        assert net.asks("tcp", client, "wan", WAN6, 25).peer == GATE6
        assert net.ping(client, WAN4)


def test_snat_of_one_client(gate, net):
    sh("ip addr add 203.0.113.9/24 dev wan0")
    first, second = net.crowd(2)
    gate.apply(**with_nat({"name": "one", "action": "snat", "source": [first + "/32"], "to": ["203.0.113.9"]}, REST))
    assert net.asks("udp", "office", "wan", WAN4, 5353, bind=(first, 0)).peer == "203.0.113.9"
    assert net.asks("udp", "office", "wan", WAN4, 5353, bind=(second, 0)).peer == GATE4


def test_snat_to_an_address_that_nobody_has_is_refused_and_nothing_is_touched(gate, net):
    before = gate.host.snapshot()
    with pytest.raises(GatewayError, match=r"nat\[0\] 'mail': to 203\.0\.113\.9: no interface of this host has"):
        gate.apply(**with_nat({"name": "mail", "action": "snat", "to": ["203.0.113.9"]}, REST))
    assert gate.host.snapshot() == before


def test_snat_to_a_routed_address(gate, net):
    toward_gate(net, "192.0.2.9/32")
    one = {"name": "one", "action": "snat", "to": ["192.0.2.9"], "to_address": "routed"}
    gate.apply(**with_nat(one, REST))
    for kind in ("tcp", "udp"):
        assert net.asks(kind, "office", "wan", FAR[0], 4000).peer == "192.0.2.9"
    assert net.ping("office", FAR[0])
    # Families that "to" does not have go on to the next item.
    assert net.asks("tcp", "office", "wan", WAN6, 4000).peer == GATE6


def test_snat_of_ipv6(gate, net):
    toward_gate(net, "2001:db8:5::9/128")
    one = {"name": "one", "action": "snat", "to": ["2001:db8:5::9"], "to_address": "routed"}
    gate.apply(**with_nat(one, REST))
    assert net.asks("tcp", "office", "wan", FAR6, 4000).peer == "2001:db8:5::9"
    assert net.asks("tcp", "office", "wan", FAR[0], 4000).peer == GATE4


#: One range; ranges that are apart.
POOLS = {
    "one range": (["192.0.2.16-192.0.2.19"], {"192.0.2.16", "192.0.2.17", "192.0.2.18", "192.0.2.19"}),
    "apart": (["192.0.2.16-192.0.2.17", "192.0.2.30"], {"192.0.2.16", "192.0.2.17", "192.0.2.30"}),
}


def apply_pool(gate, net, pool, **options):
    to, addresses = POOLS[pool]
    toward_gate(net, "192.0.2.0/24")
    item = dict({"name": "pool", "action": "snat", "to": to, "to_address": "routed"}, **options)
    gate.apply(**with_nat(item, REST))
    return item, addresses


def outside(servers, client, targets=FAR, flows=1):
    """The addresses that a client's flows have outside."""
    answers = [servers.asked("office", address, 5353, bind=(client, 0)) for address in list(targets) * flows]
    assert not any(isinstance(answer, str) for answer in answers), answers
    return {answer.peer for answer in answers}


@pytest.mark.parametrize("pool", POOLS)
def test_pool_gives_a_client_one_address_and_spreads_clients(gate, net, pool):
    _item, addresses = apply_pool(gate, net, pool)
    clients = net.crowd(24)
    with Servers(net, "udp", ("wan", 5353)) as servers:
        assert len(outside(servers, clients[0], flows=3)) == 1
        each = [outside(servers, client, FAR[:3]) for client in clients]
    assert all(len(seen) == 1 for seen in each), each
    used = set.union(*each)
    assert used <= addresses
    assert len(used) >= len(addresses) - 1, used


@pytest.mark.parametrize("pool", POOLS)
def test_pool_without_persistence_gives_a_client_several_addresses(gate, net, pool):
    """The kernel chooses from one range by the addresses of both ends, so it takes several destinations to see it.

    Between ranges that are apart both backends take turns, flow by flow.
    """
    _item, addresses = apply_pool(gate, net, pool, persistent=False)
    with Servers(net, "udp", ("wan", 5353)) as servers:
        several = outside(servers, OFFICE4)
        same = outside(servers, OFFICE4, FAR[:1], flows=12)
    assert len(several) > 1
    assert several <= addresses
    if pool == "one range":
        assert len(same) == 1
    else:
        assert len(same) > 1


@pytest.mark.parametrize("pool", POOLS)
def test_pool_keeps_a_clients_address_when_the_rules_change_elsewhere(gate, net, pool):
    """RFC 4787 REQ-2 is about the client, not about one run: its next connection has the same address."""
    item, _addresses = apply_pool(gate, net, pool)
    clients = net.crowd(16)
    with Servers(net, "udp", ("wan", 5353)) as servers:
        before = [outside(servers, client, FAR[:1]) for client in clients]
        gate.apply(**with_nat(item, REST, outbound=[{"name": "no-mail", "protocol": ["tcp"], "port": ["25"]}]))
        assert [outside(servers, client, FAR[1:2]) for client in clients] == before


# --- One to one ------------------------------------------------------------------------------------------------------

STATIC = {
    "name": "server",
    "action": "static",
    "source": [OFFICE4 + "/32"],
    "to": ["192.0.2.50/32"],
    "to_address": "routed",
}


def test_static_address_both_ways(gate, net):
    toward_gate(net, "192.0.2.50/32")
    gate.apply(**with_nat(STATIC, REST))
    for kind in ("tcp", "udp"):
        assert net.asks(kind, "office", "wan", WAN4, 4000).peer == "192.0.2.50"
        assert net.asks(kind, "guest", "wan", WAN4, 4000).peer == GATE4
        assert net.asks(kind, "wan", "office", "192.0.2.50", 8080).peer == WAN4
    assert net.ping("office", WAN4)
    assert net.ping("wan", "192.0.2.50")
    # The address inside stays out of reach, as does everybody else.
    assert net.asks("tcp", "wan", "office", OFFICE4, 8080) == "timeout"
    assert net.asks("tcp", "wan", "guest", GUEST4, 8080) == "timeout"


def test_static_to_an_address_of_the_wan_interface(gate, net):
    sh("ip addr add 203.0.113.50/24 dev wan0")
    gate.apply(**with_nat(dict(STATIC, to=["203.0.113.50/32"], to_address="existing"), REST))
    assert net.asks("tcp", "office", "wan", WAN4, 4000).peer == "203.0.113.50"
    assert net.asks("tcp", "wan", "office", "203.0.113.50", 8080).peer == WAN4


def test_static_without_inbound_is_closed(gate, net):
    toward_gate(net, "192.0.2.50/32")
    gate.apply(**with_nat(dict(STATIC, inbound=False), REST))
    assert net.asks("tcp", "office", "wan", WAN4, 4000).peer == "192.0.2.50"
    for kind in ("tcp", "udp"):
        assert net.asks(kind, "wan", "office", "192.0.2.50", 8080) == "timeout"
    assert not net.ping("wan", "192.0.2.50")


def test_static_network_host_by_host(gate, net):
    """192.168.1.96/28 is 192.0.2.32/28, each host its own, both ways, and no host beside them."""
    toward_gate(net, "192.0.2.0/24")
    hosts = net.crowd(12)
    inside, outside_net = "192.168.1.96/28", "192.0.2.32/28"
    gate.apply(**with_nat(dict(STATIC, source=[inside], to=[outside_net]), REST))
    mapped = {host: "192.0.2.{0}".format(int(host.rpartition(".")[2]) - 96 + 32) for host in hosts}
    for host, address in mapped.items():
        assert net.asks("udp", "office", "wan", WAN4, 4000, bind=(host, 0)).peer == address
        with Servers(net, "tcp", ("office", 8080, host)) as servers:
            assert servers.asked("wan", address, 8080).peer == WAN4
    with Servers(net, "tcp", ("office", 8080)) as servers:
        for closed in (OFFICE4, hosts[0], "192.0.2.31", "192.0.2.48"):
            assert servers.asked("wan", closed, 8080, timeout=0.2) in ("timeout", "refused: No route to host")
    assert net.asks("udp", "office", "wan", WAN4, 4000, bind=(OFFICE4, 0)).peer == GATE4


# --- Exempt ----------------------------------------------------------------------------------------------------------


def test_exempt_ipsec_without_a_policy_is_translated(gate, net):
    gate.apply(**with_nat({"name": "tunnel", "action": "exempt", "ipsec": True}, REST))
    with Sniffer(net) as sniffer:
        for client in ("office", "guest"):
            assert net.tcp(client, "wan", WAN4) == GATE4
            assert net.udp(client, "wan", WAN6) == GATE6
        assert sniffer.leaks() == []


POLICY = (
    "ip xfrm policy add dir out src 192.168.1.0/24 dst 10.7.0.0/16 tmpl src {0} dst {1} proto esp mode tunnel".format(
        GATE4, WAN4
    )
)


def can_xfrm(command):
    refused = sh("{0} 2>&1 || true".format(command)).strip()
    if refused:
        pytest.skip("no IPsec in a namespace here: {0}".format(refused))


def test_exempt_ipsec_while_the_tunnel_is_down_sends_nothing_in_the_clear(gate, net):
    """A policy without a state: what it encrypts waits for the key exchange; the rest is translated."""
    gate.apply(**with_nat({"name": "tunnel", "action": "exempt", "ipsec": True}, REST))
    net.nodes["wan"].sh("ip addr add 10.7.7.7/32 dev lo")
    assert net.asks("udp", "office", "wan", "10.7.7.7", 5353).peer == GATE4
    can_xfrm(POLICY)
    with Sniffer(net) as sniffer:
        assert isinstance(net.asks("udp", "office", "wan", "10.7.7.7", 5353), str)
        assert not [entry for entry in sniffer.sources() if entry[1] == socket.IPPROTO_UDP]
        assert net.udp("office", "wan", WAN4) == GATE4
        assert net.asks("udp", "guest", "wan", "10.7.7.7", 5353).peer == GATE4
        assert sniffer.leaks() == []
        # What the item lets out is not a bogon, and gets no answer; for other clients, the same address is one.
        gate.apply(**with_nat({"name": "tunnel", "action": "exempt", "ipsec": True}, REST, drop_bogons=True))
        assert net.told("office", "10.7.7.7") == "timeout"
        assert net.told("office", "10.8.8.8") == net.told("guest", "10.7.7.7") == "No route to host"


def test_exempt_ipsec_is_encrypted_and_not_translated(gate, net):
    gate.apply(**with_nat({"name": "tunnel", "action": "exempt", "ipsec": True}, REST))
    can_xfrm(
        "ip xfrm state add src {0} dst {1} proto esp spi 0x100 mode tunnel "
        "aead 'rfc4106(gcm(aes))' 0x0102030405060708090a0b0c0d0e0f1011121314 128".format(GATE4, WAN4)
    )
    can_xfrm(POLICY)
    with Sniffer(net) as sniffer:
        assert net.udp("office", "wan", "10.7.7.7") == "timeout"
        seen = [(str(source), proto) for source, proto in sniffer.sources()]
        assert (GATE4, socket.IPPROTO_ESP) in seen
        assert (GATE4, socket.IPPROTO_UDP) not in seen
        assert net.udp("office", "wan", WAN4) == GATE4


def test_exempt_by_destination_and_protocol(gate, net):
    net.nodes["wan"].sh("ip addr add 10.7.7.7/32 dev lo; ip addr add 10.8.8.8/32 dev lo")
    vpn = {"name": "vpn", "action": "exempt", "destination": ["10.7.0.0/16"], "protocol": ["udp"]}
    gate.apply(**with_nat(vpn, REST))
    assert net.asks("udp", "office", "wan", "10.7.7.7", 4000).peer == OFFICE4
    assert net.asks("tcp", "office", "wan", "10.7.7.7", 4000).peer == GATE4
    assert net.asks("udp", "office", "wan", "10.8.8.8", 4000).peer == GATE4


# --- Ports outside ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", ["masquerade", "snat"])
def test_to_port_for_tcp_and_udp_and_icmp_passes(gate, net, action):
    to = {"to": [GATE4, GATE6]} if action == "snat" else {}
    gate.apply(**with_nat(dict({"name": "ports", "action": action, "to_port": "20000-20009"}, **to)))
    for address, seen in ((WAN4, GATE4), (WAN6, GATE6)):
        for kind in ("tcp", "udp"):
            for flow in range(4):
                # Each has a destination of its own: a closed TCP connection gives its port up to the next one, which
                # may then have to send its SYN twice (nf_nat_used_tuple_harder, measured with 6.18).
                met = net.asks(kind, "office", "wan", address, 4000 + flow)
                assert met.peer == seen
                assert 20000 <= met.peer_port <= 20009
        assert net.ping("office", address)


def test_two_ports_are_enough_for_two_clients_of_one_destination(gate, net):
    gate.apply(**with_nat({"name": "ports", "to_port": "20000-20001"}))
    clients = net.crowd(3)
    with Servers(net, "udp", ("wan", 4000)) as servers:
        met = [servers.asked("office", WAN4, 4000, bind=(client, 5000)) for client in clients]
        assert {answer.peer_port for answer in met[:2]} == {20000, 20001}
        assert met[2] == "timeout"
        # Another destination has all its ports free.
        assert servers.asked("office", FAR[0], 4000, bind=(clients[2], 5000)).peer == GATE4


def ports_seen(net, port=40000, targets=FAR[:4]):
    """The ports outside of one socket of a client, for several destinations."""
    with Servers(net, "udp", ("wan", 4000)) as servers:
        return {servers.asked("office", address, 4000, bind=(OFFICE4, port)).peer_port for address in targets}


def test_ports_are_kept_whatever_the_destination(gate, net):
    """RFC 4787 REQ-1."""
    gate.apply(**TWO_LANS)
    assert ports_seen(net) == {40000}


@pytest.mark.parametrize(
    "options", [{"nat": [{"name": "rest", "random": True}]}, {"profile": "server_egress"}], ids=["item", "profile"]
)
def test_random_ports_differ_by_destination(gate, net, options):
    gate.apply(**dict(TWO_LANS, **options))
    seen = ports_seen(net)
    assert len(seen) >= 3, seen
    assert min(seen) >= 1024


def test_profile_server_egress_lifts_low_ports(gate, net):
    """The kernel keeps ports below 1024 below 1024 otherwise, of which there are few."""
    gate.apply(profile="server_egress", **TWO_LANS)
    assert min(ports_seen(net, 700)) >= 1024


# --- Port forwards ---------------------------------------------------------------------------------------------------


def forward(name="web", **options):
    return dict({"name": name, "port": ["8443"], "to": [OFFICE4]}, **options)


def with_forwards(*forwards, **options):
    return dict(TWO_LANS, port_forwards=list(forwards), **options)


def test_port_forward_reaches_the_server_and_shows_it_the_client(gate, net):
    gate.apply(**with_forwards(forward(to_port=443)))
    with Servers(net, "tcp", ("office", 443), ("office", 8443)) as servers:
        met = servers.asked("wan", GATE4, 8443)
        assert (met.node, met.port, met.peer) == ("office", 443, WAN4)
        assert servers.asked("wan", GATE4, 8443, bind=(FAR[0], 0)).peer == FAR[0]
        # The port inside, the same port of another protocol, and every other port stay silent or refuse themselves.
        assert servers.asked("wan", OFFICE4, 443) == "timeout"
        assert servers.asked("wan", OFFICE4, 8443) == "timeout"
        assert servers.asked("wan", GATE4, 443) == "refused: Connection refused"
    assert net.asks("udp", "wan", "office", GATE4, 8443).startswith("refused")


def test_port_forward_of_a_closed_port_is_dropped_when_routed(gate, net):
    """An address that the gateway does not have itself: what is not forwarded gets no answer at all."""
    toward_gate(net, "192.0.2.7/32")
    gate.apply(**with_forwards(forward(destination=["192.0.2.7/32"])))
    sh("ip route add 192.0.2.7/32 dev lan0")
    assert net.asks("tcp", "wan", "office", "192.0.2.7", 8443).peer == WAN4
    with Sniffer(net) as sniffer:
        assert net.asks("tcp", "wan", "office", "192.0.2.7", 8444) == "timeout"
        assert [source for source, _proto in sniffer.sources() if not source.is_link_local] == []


@pytest.mark.parametrize("protocol", ["tcp", "udp", "both"])
def test_port_forward_protocols(gate, net, protocol):
    gate.apply(**with_forwards(forward(protocol=[protocol])))
    for kind in ("tcp", "udp"):
        met = net.asks(kind, "wan", "office", GATE4, 8443)
        assert getattr(met, "peer", None) == (WAN4 if protocol in (kind, "both") else None)


def test_port_forward_of_a_list_and_a_range_of_ports(gate, net):
    gate.apply(**with_forwards(forward(port=["25", "465", "8000-8003"])))
    for port in (25, 465, 8000, 8001, 8003):
        assert net.asks("tcp", "wan", "office", GATE4, port)[:3] == ("office", port, WAN4)
    for port in (26, 464, 7999, 8004):
        assert net.asks("tcp", "wan", "office", GATE4, port) == "refused: Connection refused"


def test_port_forward_of_a_shifted_range(gate, net):
    gate.apply(**with_forwards(forward(port=["27000-27015"], to_port=7000, protocol=["both"])))
    for kind in ("tcp", "udp"):
        with Servers(net, kind, *[("office", port) for port in range(6999, 7017)]) as servers:
            for port in (27000, 27003, 27015):
                assert servers.asked("wan", GATE4, port).port == port - 20000
            assert servers.asked("wan", GATE4, 26999).startswith("refused")
            assert servers.asked("wan", GATE4, 27016).startswith("refused")


def test_port_forward_for_some_sources(gate, net):
    """An exception before the rule: some clients reach another server."""
    chosen = FAR[0] + "/32"
    gate.apply(**with_forwards(forward("some", source=[chosen], to_port=1), forward("more", to_port=2)))
    with Servers(net, "tcp", ("office", 1), ("office", 2)) as servers:
        assert servers.asked("wan", GATE4, 8443, bind=(FAR[0], 0)).port == 1
        assert servers.asked("wan", GATE4, 8443, bind=(FAR[1], 0)).port == 2
    gate.apply(**with_forwards(forward("some", source=[chosen])))
    assert net.asks("tcp", "wan", "office", GATE4, 8443, bind=(FAR[0], 0)).peer == FAR[0]
    assert net.asks("tcp", "wan", "office", GATE4, 8443, bind=(FAR[1], 0)) == "refused: Connection refused"


def test_port_forward_on_one_of_two_wans(gate, net):
    net.wire_second_wan()
    wans = [{"interface": "wan0"}, {"interface": "wan1"}]
    gate.apply(wans=wans, lans=TWO_LANS["lans"], port_forwards=[forward(wan="wan1"), forward("any", port=["25"])])
    assert net.asks("tcp", "isp", "office", SECOND4, 8443).peer == ISP4
    assert net.asks("tcp", "wan", "office", GATE4, 8443) == "refused: Connection refused"
    assert net.asks("tcp", "isp", "office", SECOND4, 25).peer == ISP4
    assert net.asks("tcp", "wan", "office", GATE4, 25).peer == WAN4
    # And out, each WAN with its own address.
    assert net.asks("tcp", "office", "isp", ISP4, 4000).peer == SECOND4
    assert net.asks("tcp", "office", "wan", WAN4, 4000).peer == GATE4


def test_port_forward_of_one_address_outside(gate, net):
    sh("ip addr add 203.0.113.9/24 dev wan0")
    gate.apply(**with_forwards(forward(destination=["203.0.113.9/32"])))
    assert net.asks("tcp", "wan", "office", "203.0.113.9", 8443).peer == WAN4
    assert net.asks("tcp", "wan", "office", GATE4, 8443) == "refused: Connection refused"


def balanced(net, clients, flows):
    """For each client outside, the servers that its connections reached."""
    with Servers(net, "tcp", ("office", 8443), ("server", 8443)) as servers:
        met = [[servers.asked("wan", GATE4, 8443, bind=(client, 0)) for _flow in range(flows)] for client in clients]
    assert all(answer.peer == client for client, answers in zip(clients, met, strict=True) for answer in answers)
    return [[answer.node for answer in answers] for answers in met]


def test_port_forward_to_several_servers_in_turn(gate, net):
    net.wire_server()
    gate.apply(**with_forwards(forward(to=[OFFICE4, SERVER4])))
    reached = balanced(net, FAR[:2], 6)
    for nodes in reached:
        assert sorted(nodes) == ["office"] * 3 + ["server"] * 3


def test_port_forward_to_several_servers_by_client(gate, net):
    net.wire_server()
    net.nodes["wan"].sh("; ".join("ip addr add 198.18.1.{0}/32 dev lo".format(index) for index in range(1, 17)))
    gate.apply(**with_forwards(forward(to=[OFFICE4, SERVER4], balance="source")))
    reached = balanced(net, ["198.18.1.{0}".format(index) for index in range(1, 17)], 3)
    assert all(len(set(nodes)) == 1 for nodes in reached), reached
    assert {nodes[0] for nodes in reached} == {"office", "server"}


def test_port_forward_by_client_goes_on_after_another_run(gate, net):
    net.wire_server()
    net.nodes["wan"].sh("; ".join("ip addr add 198.18.1.{0}/32 dev lo".format(index) for index in range(1, 17)))
    clients = ["198.18.1.{0}".format(index) for index in range(1, 17)]
    gate.apply(**with_forwards(forward(to=[OFFICE4, SERVER4], balance="source")))
    before = balanced(net, clients, 1)
    gate.apply(**with_forwards(forward(to=[OFFICE4, SERVER4], balance="source"), forward("other", port=["25"])))
    assert balanced(net, clients, 1) == before


def test_port_forward_of_ipv6_to_a_unique_local_server_is_translated(gate, net):
    gate.apply(**with_forwards(forward(to=[OFFICE6], to_port=443)))
    met = net.asks("tcp", "wan", "office", GATE6, 8443, at=443)
    assert (met.port, met.peer) == (443, WAN6)
    assert net.asks("tcp", "wan", "office", OFFICE6, 443) == "timeout"


GLOBAL = "2001:db8:77::10"
GLOBAL_OFFICE = dict(OFFICE, networks=OFFICE["networks"] + ["2001:db8:77::/64"])


def wire_global(net):
    """The office has a global prefix too."""
    sh("ip addr add 2001:db8:77::1/64 dev lan0 nodad")
    net.nodes["office"].sh(
        "ip addr add {0}/64 dev up0 nodad; ip -6 route replace default via fd00:1::1 src {0}".format(GLOBAL)
    )
    toward_gate(net, "2001:db8:77::/64")


def test_port_forward_to_a_global_ipv6_server_opens_it(gate, net):
    wire_global(net)
    lans = [GLOBAL_OFFICE, GUESTS]
    gate.apply(wans=TWO_LANS["wans"], lans=lans)
    assert net.asks("tcp", "wan", "office", GLOBAL, 8443) == "timeout"
    gate.apply(wans=TWO_LANS["wans"], lans=lans, port_forwards=[forward(to=[GLOBAL], protocol=["both"])])
    for kind in ("tcp", "udp"):
        assert net.asks(kind, "wan", "office", GLOBAL, 8443).peer == WAN6
        assert net.asks(kind, "wan", "office", GLOBAL, 8444) == "timeout"
    # Not a forward: the item does not cover the gateway's own address.
    assert net.asks("tcp", "wan", "office", GATE6, 8443) == "refused: Connection refused"


def test_port_forward_of_sources_to_a_global_ipv6_server(gate, net):
    wire_global(net)
    opened = forward(to=[GLOBAL], source=[FAR6 + "/128"])
    gate.apply(wans=TWO_LANS["wans"], lans=[GLOBAL_OFFICE], port_forwards=[opened])
    assert net.asks("tcp", "wan", "office", GLOBAL, 8443, bind=(FAR6, 0)).peer == FAR6
    assert net.asks("tcp", "wan", "office", GLOBAL, 8443) == "timeout"


# --- Hairpin ---------------------------------------------------------------------------------------------------------


def apply_hairpin(gate, net, **options):
    net.wire_server()
    item = forward(to=[SERVER4], to_port=443, hairpin=True, protocol=["both"])
    gate.apply(**with_forwards(dict(item, **options)))


@pytest.mark.parametrize("destination", [None, [GATE4 + "/32"]], ids=["any-address", "destination"])
def test_hairpin_shows_the_address_outside(gate, net, destination):
    """RFC 4787 REQ-9a, for a client beside the server and for one in another LAN."""
    apply_hairpin(gate, net, destination=destination)
    for kind in ("tcp", "udp"):
        for client in ("office", "guest"):
            met = net.asks(kind, client, "server", GATE4, 8443, at=443)
            assert (met.node, met.peer) == ("server", GATE4), client
        # Outside nothing changes.
        assert net.asks(kind, "wan", "server", GATE4, 8443, at=443).peer == WAN4


def test_hairpin_shows_the_gateways_address_if_asked_to(gate, net):
    apply_hairpin(gate, net, hairpin_source="gateway")
    for client in ("office", "guest"):
        assert net.asks("tcp", client, "server", GATE4, 8443, at=443).peer == "192.168.1.1"
    assert net.asks("tcp", "wan", "server", GATE4, 8443, at=443).peer == WAN4


def test_hairpin_leaves_the_gateways_own_service_alone(gate, net):
    """Who asks for the gateway's address inside a LAN means the gateway."""
    apply_hairpin(gate, net)
    for client, address in (("office", "192.168.1.1"), ("guest", "192.168.2.1"), ("guest", "192.168.1.1")):
        with Servers(net, "tcp", ("gate", 8443), ("server", 443)) as servers:
            assert servers.asked(client, address, 8443).node == "gate"


def test_without_hairpin_clients_inside_meet_the_gateway(gate, net):
    net.wire_server()
    gate.apply(**with_forwards(forward(to=[SERVER4])))
    for client in ("office", "guest"):
        assert net.asks("tcp", client, "server", GATE4, 8443) == "refused: Connection refused"
        assert net.asks("tcp", client, "gate", GATE4, 8443).node == "gate"


def test_hairpin_opens_nothing_else_between_lans(gate, net):
    apply_hairpin(gate, net)
    with Servers(net, "tcp", ("server", 443), ("server", 444)) as servers:
        assert servers.asked("guest", GATE4, 8443).node == "server"
        # Directly is not through the forward.
        for port in (443, 444):
            assert isinstance(servers.asked("guest", SERVER4, port), str)


def test_hairpin_to_several_servers(gate, net):
    """A client that is itself one of the servers may be sent to itself."""
    net.wire_server()
    gate.apply(**with_forwards(forward(to=[OFFICE4, SERVER4], hairpin=True)))
    with Servers(net, "tcp", ("office", 8443), ("server", 8443)) as servers:
        met = [servers.asked("office", GATE4, 8443) for _flow in range(4)]
    assert sorted(answer.node for answer in met) == ["office", "office", "server", "server"]


def test_hairpin_of_ipv6(gate, net):
    net.wire_server()
    gate.apply(**with_forwards(forward(to=["fd00:1::20"], hairpin=True, destination=[GATE6 + "/128"])))
    for client in ("office", "guest"):
        assert net.asks("tcp", client, "server", GATE6, 8443).peer == GATE6


# --- What LANs may open ----------------------------------------------------------------------------------------------


def with_outbound(*items, **options):
    return dict(TWO_LANS, outbound=list(items), **options)


def test_outbound_allow_list(gate, net):
    """Some ports, then everything is rejected: the client is told at once, in both families."""
    web = {"name": "web", "protocol": ["tcp"], "port": ["80", "443"]}
    gate.apply(**with_outbound(web, {"name": "rest", "action": "reject"}))
    for address, error, seen in ((WAN4, PROHIBITED[0], GATE4), (WAN6, PROHIBITED[1], GATE6)):
        for client in ("office", "guest"):
            assert net.asks("tcp", client, "wan", address, 443).peer == seen
            assert rejected(net, "tcp", client, address, 81)
            assert rejected(net, "udp", client, address, 443)
            assert net.told(client, address) == error
            assert not net.ping(client, address)


def test_outbound_deny_list(gate, net):
    mail = {"name": "no-mail", "source": ["guests"], "protocol": ["tcp"], "port": ["25"], "action": "reject"}
    gate.apply(**with_outbound(mail))
    assert rejected(net, "tcp", "guest", WAN4, 25)
    assert rejected(net, "tcp", "guest", WAN6, 25)
    assert net.asks("tcp", "guest", "wan", WAN4, 26).peer == GATE4
    assert net.asks("udp", "guest", "wan", WAN4, 25).peer == GATE4
    assert net.asks("tcp", "office", "wan", WAN4, 25).peer == GATE4


def test_outbound_drop_is_silent(gate, net):
    gate.apply(**with_outbound({"name": "no", "action": "drop", "protocol": ["both"], "port": ["9"]}))
    with Sniffer(net, "office") as sniffer:
        for address in (WAN4, WAN6):
            assert net.asks("tcp", "office", "wan", address, 9) == "timeout"
            assert net.told("office", address) == "timeout"
        assert sniffer.refusals() == 0
    assert net.asks("tcp", "office", "wan", WAN4, 10).peer == GATE4


def test_outbound_by_destination(gate, net):
    """The first item that matches decides."""
    allowed = {"name": "this", "destination": [FAR[0] + "/32"]}
    gate.apply(**with_outbound(allowed, {"name": "net", "destination": ["198.18.0.0/16"], "action": "reject"}))
    assert net.asks("udp", "office", "wan", FAR[0], 4000).peer == GATE4
    assert rejected(net, "udp", "office", FAR[1], 4000)
    assert net.asks("udp", "office", "wan", WAN4, 4000).peer == GATE4


def test_outbound_on_one_of_two_wans(gate, net):
    net.wire_second_wan()
    wans = [{"interface": "wan0"}, {"interface": "wan1"}]
    gate.apply(wans=wans, lans=TWO_LANS["lans"], outbound=[{"name": "no", "wan": "wan1", "action": "reject"}])
    assert isinstance(net.asks("tcp", "office", "isp", ISP4, 4000), str)
    assert net.told("office", ISP4) == PROHIBITED[0]
    assert net.asks("tcp", "office", "wan", WAN4, 4000).peer == GATE4


def test_outbound_rate(gate, net):
    """Five at once, as both tools have it, then what is above the rate is rejected; nothing else is counted."""
    slow = {"name": "slow", "source": ["office"], "protocol": ["tcp"], "port": ["4000"], "rate": "1/minute"}
    gate.apply(**with_outbound(slow))
    with Servers(net, "tcp", ("wan", 4000), ("wan", 4001)) as servers:
        met = [servers.asked("office", WAN4, 4000) for _flow in range(5)]
        assert [answer.peer for answer in met] == [GATE4] * 5
        with Sniffer(net, "office") as sniffer:
            assert isinstance(servers.asked("office", WAN4, 4000), str)
            assert sniffer.refusals() == 1
        assert servers.asked("office", WAN4, 4001).peer == GATE4
        assert servers.asked("guest", WAN4, 4000).peer == GATE4


def test_outbound_rate_is_one_for_all_ports_and_networks_of_an_item(gate, net):
    """iptables has a row for each of them."""
    to = ["203.0.113.0/25", "203.0.113.128/25", "2001:db8:ff::/65", "2001:db8:ff:0:8000::/65"]
    slow = {"name": "slow", "protocol": ["udp"], "port": ["514", "600", "700"], "destination": to, "rate": "1/minute"}
    gate.apply(**with_outbound(slow), ipv6="masquerade")
    for family, targets in ((4, (WAN4, "203.0.113.200")), (6, (WAN6, "2001:db8:ff:0:8000::7"))):
        own = CLIENTS["office"][1 if family == 4 else 2]
        with Sniffer(net) as outside:
            ports = [(target, port) for target in targets for port in (514, 600, 700)]
            packets = [udp(own, target, 5000 + turn, port) for turn in range(3) for target, port in ports]
            send(net, "office", packets)
            assert len([1 for _source, protocol in outside.sources(0.5) if protocol == 17]) <= 5
    assert not gate.apply(**with_outbound(slow), ipv6="masquerade").changed


def test_outbound_rate_counts_flows_and_not_their_packets(gate, net):
    """Of a flow that nobody answers (syslog, NetFlow), each packet is new to conntrack."""
    slow = {"name": "slow", "source": ["office"], "protocol": ["udp"], "port": ["514"], "rate": "1/minute"}
    gate.apply(**with_outbound(slow))
    for target in (WAN4, WAN6):
        family = socket.AF_INET6 if ":" in target else socket.AF_INET
        with net.socket("wan", family, socket.SOCK_DGRAM) as sink, contextlib.ExitStack() as flows:
            sink.bind((target, 514))
            sink.settimeout(patience())
            for _flow in range(7):
                client = flows.enter_context(net.socket("office", family, socket.SOCK_DGRAM))
                client.connect((target, 514))
                for _packet in range(8):
                    with contextlib.suppress(OSError):  # above the rate
                        client.send(b"x")
            peers: dict = {}
            with contextlib.suppress(TimeoutError):
                while True:
                    peer = sink.recvfrom(9)[1]
                    peers[peer] = peers.get(peer, 0) + 1
            assert sorted(peers.values()) == [8] * 5


def test_outbound_leaves_answers_of_a_forwarded_server_and_lans_alone(gate, net):
    gate.apply(
        wans=TWO_LANS["wans"],
        lans=[dict(OFFICE, reaches=["guests"]), GUESTS],
        outbound=[{"name": "no", "action": "reject"}],
        port_forwards=[forward(protocol=["both"])],
    )
    for kind in ("tcp", "udp"):
        assert net.asks(kind, "wan", "office", GATE4, 8443).peer == WAN4
        assert rejected(net, kind, "office", WAN4, 8443)
        assert net.asks(kind, "office", "guest", GUEST4, 8443).peer == OFFICE4


# --- Bogons and spoofs -----------------------------------------------------------------------------------------------


def test_drop_bogons(gate, net):
    """203.0.113.0/24 and 2001:db8::/32, on which this topology lives, are bogons themselves."""
    good, good6 = "9.9.9.9", "2620:fe::9"
    net.nodes["wan"].sh("ip addr add {0}/32 dev lo; ip addr add {1}/128 dev lo nodad".format(good, good6))
    net.nodes["wan"].sh("ip addr add 10.7.7.7/32 dev lo; ip addr add 10.8.8.8/32 dev lo")
    vpn = {"name": "vpn", "action": "exempt", "destination": ["10.7.0.0/16"]}
    gate.apply(**with_nat(vpn, REST, port_forwards=[forward()], drop_bogons=True))
    assert net.asks("tcp", "office", "wan", good, 4000).peer == GATE4
    assert net.asks("tcp", "office", "wan", good6, 4000).peer == GATE6
    for address in (WAN4, "10.8.8.8", WAN6):
        for kind in ("tcp", "udp"):
            assert rejected(net, kind, "office", address, 4000)
    # What an exempt item leads out is a network of ours somewhere else.
    assert net.asks("tcp", "office", "wan", "10.7.7.7", 4000).peer == OFFICE4
    # From outside: dropped before the forward is asked.
    assert net.asks("tcp", "wan", "office", GATE4, 8443, bind=(good, 0)).peer == good
    for source in (WAN4, "10.8.8.8"):
        assert net.asks("tcp", "wan", "office", GATE4, 8443, bind=(source, 0)) == "timeout"


def spoof(net, *sources):
    """Which of these sources the WAN sees after the office has sent from them."""
    for name in ("all", "lan0"):
        sh("echo 0 > /proc/sys/net/ipv4/conf/{0}/rp_filter".format(name))
    with Sniffer(net) as sniffer:
        send(net, "office", [udp(source, WAN4) for source in sources])
        return {str(source) for source, proto in sniffer.sources() if proto == socket.IPPROTO_UDP}


def test_spoof_check_off_lets_other_sources_out(gate, net):
    """As they are, if no NAT item speaks of them; another LAN's addresses are still translated."""
    lans = [dict(OFFICE, spoof_check=False), GUESTS]
    gate.apply(wans=TWO_LANS["wans"], lans=lans)
    assert spoof(net, "198.51.100.3", "192.168.2.77") == {"198.51.100.3", GATE4}
    assert net.udp("office", "wan", WAN4) == GATE4
    assert net.told("office", GUEST4) == PROHIBITED[0]
    gate.apply(**TWO_LANS)
    assert spoof(net, "198.51.100.4", "192.168.2.78") == set()


def test_spoof_check_off_with_a_nat_item_for_the_network_behind(gate, net):
    """A router inside the LAN has a network of its own behind it."""
    office = dict(OFFICE, spoof_check=False, networks=OFFICE["networks"] + ["192.168.64.0/24"])
    gate.apply(wans=TWO_LANS["wans"], lans=[office])
    sh("ip route add 192.168.64.0/24 via {0}".format(OFFICE4))
    assert spoof(net, "192.168.64.7") == {GATE4}


# --- IPv6 ------------------------------------------------------------------------------------------------------------

#: The example of RFC 6296 section 2.1 to 2.3.
RFC_INSIDE, RFC_OUTSIDE = "fd01:203:405:1::1234", "2001:db8:1:d550::1234"
RFC = {"name": "rfc", "action": "prefix", "source": ["fd01:203:405::/48"], "to": ["2001:db8:1::/48"]}
RFC_LAN = dict(OFFICE, networks=["192.168.1.0/24", "fd01:203:405:1::/64"])


def apply_prefix(gate, net, **options):
    sh("ip addr add fd01:203:405:1::1/64 dev lan0 nodad")
    net.nodes["office"].sh(
        "ip addr add {0}/64 dev up0 nodad; ip -6 route replace default via fd01:203:405:1::1 src {0}".format(RFC_INSIDE)
    )
    toward_gate(net, "2001:db8:1::/48")
    gate.apply(wans=TWO_LANS["wans"], lans=[RFC_LAN], ipv6="prefix", nat=[dict(RFC, **options), REST])


@pytest.mark.parametrize("inbound", [False, True], ids=["closed", "open"])
def test_prefix_translates_as_rfc_6296_says(gate, net, inbound):
    apply_prefix(gate, net, **({"inbound": True} if inbound else {}))
    with Sniffer(net) as sniffer:
        for kind in ("tcp", "udp"):
            assert net.asks(kind, "office", "wan", WAN6, 4000).peer == RFC_OUTSIDE
            met = net.asks(kind, "wan", "office", RFC_OUTSIDE, 8080)
            assert met == "timeout" if not inbound else met.peer == WAN6
        assert net.ping("office", WAN6)
        assert net.ping("wan", RFC_OUTSIDE) == inbound
        # Errors come back to the client who caused them.
        assert net.told("office", WAN6) == "Connection refused"
        assert sniffer.leaks() == []
    # IPv4 is masqueraded as ever; the address inside is not to be had from outside.
    assert net.tcp("office", "wan", WAN4) == GATE4
    toward_gate(net, "fd01:203:405::/48")
    assert net.asks("tcp", "wan", "office", RFC_INSIDE, 8080) == "timeout"


def test_prefix_longer_than_48_keeps_the_host_bits(gate, net):
    toward_gate(net, "2001:db8:9:1::/64")
    item = {"name": "p", "action": "prefix", "source": ["fd00:1::/64"], "to": ["2001:db8:9:1::/64"], "inbound": True}
    gate.apply(wans=TWO_LANS["wans"], lans=[OFFICE], ipv6="prefix", nat=[item, REST])
    for kind in ("tcp", "udp"):
        assert net.asks(kind, "office", "wan", WAN6, 4000).peer == "2001:db8:9:1::10"
        assert net.asks(kind, "wan", "office", "2001:db8:9:1::10", 8080).peer == WAN6
    assert net.ping("office", WAN6)


def test_ipv6_route_shows_global_addresses_and_masquerade_hides_them(gate, net):
    wire_global(net)
    lans = [GLOBAL_OFFICE, GUESTS]
    for mode, seen in (("route", GLOBAL), ("masquerade", GATE6)):
        gate.apply(wans=TWO_LANS["wans"], lans=lans, ipv6=mode)
        for kind in ("tcp", "udp"):
            assert net.asks(kind, "office", "wan", WAN6, 4000, bind=(GLOBAL, 0)).peer == seen
            # Unique local addresses are translated either way.
            assert net.asks(kind, "office", "wan", WAN6, 4000, bind=(OFFICE6, 0)).peer == GATE6


# --- MSS -------------------------------------------------------------------------------------------------------------


def announced(net, node, address, family=4):
    """The MSS in a client's SYN as the far side sees it, and in the SYN/ACK as the client does."""
    with Sniffer(net, node) as far, Sniffer(net, "office") as near:
        assert net.asks("tcp", "office", node, address, 4000).node == node
        (syn,), (answer,) = far.announced(), near.announced()
    return syn, answer


def test_mss_as_a_number_in_both_directions(gate, net):
    gate.apply(mss="1300", **TWO_LANS)
    assert announced(net, "wan", WAN4) == (1300, 1300)
    assert announced(net, "wan", WAN6) == (1300, 1300)


def test_mss_is_never_raised(gate, net):
    gate.apply(mss="9000", **TWO_LANS)
    assert announced(net, "wan", WAN4) == (1460, 1460)


def test_mss_kept(gate, net):
    sh("ip link set wan0 mtu 1400")
    gate.apply(mss="keep", **TWO_LANS)
    assert announced(net, "wan", WAN4) == (1460, 1460)
    assert announced(net, "wan", WAN6) == (1440, 1440)


def test_mss_clamped_to_the_path_mtu_in_both_directions(gate, net):
    sh("ip link set wan0 mtu 1400")
    gate.apply(**TWO_LANS)
    assert announced(net, "wan", WAN4) == (1360, 1360)
    assert announced(net, "wan", WAN6) == (1340, 1340)


def test_mss_of_each_wan(gate, net):
    net.wire_second_wan()
    wans = [{"interface": "wan0"}, {"interface": "wan1", "mss": "1200"}]
    gate.apply(wans=wans, lans=TWO_LANS["lans"], mss="1300")
    assert announced(net, "wan", WAN4) == (1300, 1300)
    assert announced(net, "isp", ISP4) == (1200, 1200)
    gate.apply(wans=[{"interface": "wan0", "mss": "keep"}, {"interface": "wan1"}], lans=TWO_LANS["lans"], mss="1250")
    assert announced(net, "wan", WAN4) == (1460, 1460)
    assert announced(net, "isp", ISP4) == (1250, 1250)


# --- Leaks -----------------------------------------------------------------------------------------------------------

V6_PREFIXES = [
    {"name": "p1", "action": "prefix", "source": ["fd00:1::/48"], "to": ["2001:db8:1::/48"]},
    {"name": "p2", "action": "prefix", "source": ["fd00:2::/48"], "to": ["2001:db8:2::/48"]},
]
ROUTED4 = {"name": "snat", "action": "snat", "to": ["192.0.2.9"], "to_address": "routed"}
LEAK_SETS = {
    "snat": {"nat": [ROUTED4, {"name": "six", "action": "snat", "to": ["2001:db8:5::9"], "to_address": "routed"}]},
    "pool": {"nat": [dict(ROUTED4, to=["192.0.2.16-192.0.2.17", "192.0.2.30"]), REST]},
    "static": {"nat": [STATIC, REST]},
    "netmap": {"nat": [dict(STATIC, source=["192.168.1.0/28"], to=["192.0.2.32/28"]), REST]},
    "prefix": {"nat": [*V6_PREFIXES, REST], "ipv6": "prefix"},
    "ports": {"nat": [{"name": "ports", "to_port": "20000-29999", "random": True}]},
    # Nothing translates most of what a client may send: it has to stay inside.
    "mail only": {"nat": [dict(ROUTED4, protocol=["tcp"], port=["25"])]},
}


@pytest.mark.parametrize("kind", LEAK_SETS)
def test_odd_packets_never_leave_with_a_private_source(gate, net, kind):
    toward_gate(net, "192.0.2.0/24")
    gate.apply(**dict(TWO_LANS, **LEAK_SETS[kind]))
    with Sniffer(net) as sniffer:
        assert leaking(net, sniffer) == []
        delete_masquerade(gate)
        assert leaking(net, sniffer, again=2) == []
        for address in (FAR[0], FAR6):
            for each in ("tcp", "udp"):
                net.asks(each, "office", "wan", address, 4000)
        assert sniffer.leaks() == []


# --- A WAN that comes and goes ---------------------------------------------------------------------------------------


def test_wan_that_comes_back_with_another_address_needs_no_other_run(gate, net):
    """A dial-up link, under traffic: the same sockets go on, through another address, and the forward is there too."""
    forwards = [forward(protocol=["both"])]
    gate.apply(wans=[{"interface": "wan*"}], lans=TWO_LANS["lans"], port_forwards=forwards)
    with Servers(net, "udp", ("wan", 4000)) as servers, servers.client("office", WAN4) as client:
        assert servers.ask(client, WAN4, 4000).peer == GATE4
        assert net.asks("tcp", "wan", "office", GATE4, 8443).peer == WAN4
        net.unwire_wan()
        for _attempt in range(3):
            assert isinstance(servers.ask(client, WAN4, 4000, timeout=0.05), str)
        with Sniffer(net) as sniffer:
            net.wire_wan("203.0.113.77", "2001:db8:ff::77")
            assert servers.ask(client, WAN4, 4000).peer == "203.0.113.77"
            for kind in ("tcp", "udp"):
                assert net.asks(kind, "office", "wan", WAN4, 4001).peer == "203.0.113.77"
                assert net.asks(kind, "wan", "office", "203.0.113.77", 8443).peer == WAN4
            assert sniffer.leaks() == []
    # What the kernel forgot with the interface is the switch for its router advertisements, not a rule.
    drift = [line for line in gate.info()["drift"] if "accept_ra" not in line]
    assert drift == []


def test_the_lowest_rate_is_taken(gate, net):
    """xt_limit counts in 32 bits, and refuses one a day after a burst of 5."""
    gate.apply(**dict(TWO_LANS, outbound=[{"name": "rare", "rate": "1/day"}]))
    assert net.tcp("office", "wan", WAN4) == GATE4
