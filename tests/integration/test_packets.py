# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Packets between namespaces, on the real kernel, with each backend: rules that look right prove nothing."""

from __future__ import annotations

import shutil
import socket

import pytest
from helpers import GUESTS, OFFICE, ONE_LAN, TWO_LANS
from sandbox import sh
from topology import CLIENTS, GATE4, GATE6, SYN, WAN4, WAN6, Sniffer, Topology, odd_packets, send, tcp, udp

from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError

pytestmark = pytest.mark.skipif(not shutil.which("ping"), reason="ping is not installed")
BOTH = ((WAN4, GATE4), (WAN6, GATE6))


def assert_out(net, seen4=GATE4, seen6=GATE6, clients=("office", "guest")):
    for client in clients:
        for address, seen in ((WAN4, seen4), (WAN6, seen6)):
            assert net.tcp(client, "wan", address) == seen, client
            assert net.udp(client, "wan", address) == seen, client
            assert net.ping(client, address), client


def test_clients_reach_the_wan_and_the_wan_sees_the_gateway_only(gate, net):
    assert net.tcp("office", "wan", WAN4) == "timeout"
    gate.apply(**TWO_LANS)
    with Sniffer(net) as sniffer:
        assert_out(net)
        assert sniffer.leaks() == []


def test_wan_cannot_open_a_connection_to_a_client(gate, net):
    gate.apply(**TWO_LANS)
    for _link, v4, v6 in CLIENTS.values():
        for address in (v4, v6):
            node = "office" if address in CLIENTS["office"] else "guest"
            # Dropped, not rejected.
            assert net.tcp("wan", node, address) == "timeout"
            assert net.udp("wan", node, address) == "timeout"
            assert not net.ping("wan", address)


#: How the kernel reads ICMP "administratively prohibited" and its IPv6 sister.
PROHIBITED = ("No route to host", "Permission denied")


def test_lans_are_isolated_and_the_sender_is_told(gate, net):
    gate.apply(**TWO_LANS)
    for one, other in (("guest", "office"), ("office", "guest")):
        for address, error in zip(CLIENTS[other][1:], PROHIBITED, strict=True):
            assert net.told(one, address) == error
            assert net.tcp(one, other, address) in ("timeout", "refused: " + error)
            assert not net.ping(one, address)


def test_reaches_opens_one_direction_without_translation(gate, net):
    gate.apply(wans=TWO_LANS["wans"], lans=[dict(OFFICE, reaches=["guests"]), GUESTS])
    for index in (1, 2):
        assert net.tcp("office", "guest", CLIENTS["guest"][index]) == CLIENTS["office"][index]
        assert net.udp("office", "guest", CLIENTS["guest"][index]) == CLIENTS["office"][index]
        assert net.told("guest", CLIENTS["office"][index]) == PROHIBITED[index - 1]
        assert net.udp("guest", "office", CLIENTS["office"][index]) == "timeout"


def test_spoofed_sources_are_dropped(gate, net):
    gate.apply(**TWO_LANS)
    spoofed = ["10.9.9.9", "192.168.2.77", "203.0.113.1", "198.51.100.3"]
    sh("echo 0 > /proc/sys/net/ipv4/conf/all/rp_filter; echo 0 > /proc/sys/net/ipv4/conf/lan0/rp_filter")
    with Sniffer(net) as sniffer:
        send(net, "office", [udp(source, WAN4) for source in spoofed] + [tcp("fd00:2::7", WAN6, SYN)])
        assert [entry for entry in sniffer.sources() if entry[1] in (6, 17)] == []


@pytest.mark.parametrize("deny", ["policy-drop", "reject-rule", "drop-rule"])
def test_seed_also_where_policies_are_drop_or_reject(gate, net, deny):
    """iptables: our rules come before. nftables: another table's drop cannot be overruled, and that is refused."""
    tool = (
        gate.tool
        if gate.option == "iptables"
        else lambda family: {"ip": "iptables-nft", "ip6": "ip6tables-nft"}[family]
    )
    for family in ("ip", "ip6"):
        command = {
            "policy-drop": "-P FORWARD DROP",
            "reject-rule": "-A FORWARD -j REJECT",
            "drop-rule": "-A FORWARD -j DROP",
        }
        sh("{0} {1}".format(tool(family), command[deny]))
    if gate.option == "nftables" and deny == "policy-drop":
        with pytest.raises(
            GatewayError, match="table ip filter: the policy of its chain FORWARD drops forwarded packets"
        ):
            gate.apply(**TWO_LANS)
        assert "inet ipmasq" not in gate.rules()
    else:
        gate.apply(**TWO_LANS)
    if gate.option == "iptables":
        assert_out(net)
        # Still closed for everyone else.
        assert net.tcp("wan", "office", CLIENTS["office"][1]) == "timeout"
        return
    # Without a choice of backend, the one whose tables are in use is selected, and the packets pass.
    gate.absent()
    assert gate.apply(backend="auto", **TWO_LANS).change.scene.backend.programs == "iptables-nft"
    assert_out(net)


def odd(net, families=(4, 6)):
    for family in families:
        address = CLIENTS["office"][1 if family == 4 else 2]
        for name, packet in odd_packets(address, WAN4 if family == 4 else WAN6).items():
            yield "IPv{0} {1}".format(family, name), packet


def leaking(net, sniffer, again=1):
    found = []
    for name, packet in odd(net):
        for _time in range(again):
            send(net, "office", [packet])
        if sniffer.leaks(0.02):
            found.append(name)
    return found


def test_odd_packets_never_leave_with_a_private_source(gate, net):
    gate.apply(**TWO_LANS)
    with Sniffer(net) as sniffer:
        assert leaking(net, sniffer) == []
        # And the same while a flow to the same ports is alive.
        assert net.udp("office", "wan", WAN4) == GATE4
        assert leaking(net, sniffer) == []
    # The guard alone would have stopped them too: the filter did its part as well.
    counted = {item["name"]: item["packets"] for item in gate.info()["counters"]}
    assert counted["invalid"] >= 16, counted


def only_ipv4(lan):
    return dict(lan, networks=[net for net in lan["networks"] if ":" not in net])


@pytest.mark.parametrize("lans", [[OFFICE], [only_ipv4(OFFICE), only_ipv4(GUESTS)]], ids=["one", "two"])
def test_open_flows_pass_first_and_nothing_else_with_them(gate, net, lans):
    """On nftables, what is established between so few LANs and a WAN has rules of its own, before the others."""
    gate.apply(wans=ONE_LAN["wans"], lans=lans)
    if gate.option == "nftables":
        assert "ct state established iifname" in gate.rules()
    for name in ("all", "lan0", "guest0", "wan0"):
        sh("echo 0 > /proc/sys/net/ipv4/conf/{0}/rp_filter".format(name))
    one, other = ("office", "guest") if len(lans) == 1 else ("guest", "office")
    address = CLIENTS[one][1]
    with (
        Sniffer(net) as sniffer,
        net.socket("wan", socket.AF_INET, socket.SOCK_DGRAM) as server,
        net.socket(one, socket.AF_INET, socket.SOCK_DGRAM) as client,
    ):
        server.bind((WAN4, 5353))
        client.bind((address, 5354))
        for each in (server, client):
            each.settimeout(2)
        for _packet in range(3):
            client.sendto(b"mine", (WAN4, 5353))
            data, peer = server.recvfrom(9)
            assert (data, peer[0]) == (b"mine", GATE4)
            server.sendto(b"yours", peer)
            assert client.recv(9) == b"yours"
        # Into the same flow: from another link, and from the WAN in the name of the client; and a source of no LAN.
        send(net, other, [udp(address, WAN4, 5354, 5353)])
        send(net, "wan", [udp(address, GATE4, 5354, peer[1]), udp(address, address, 5353, 5354)], link="wan0")
        send(net, one, [udp("198.51.100.3", WAN4, 5354, 5353)])
        for each in (server, client):
            each.settimeout(0.1)
            with pytest.raises(TimeoutError):
                each.recvfrom(9)
        assert leaking(net, sniffer) == []
        assert net.udp("guest", "office", CLIENTS["office"][1]) == "timeout"
        assert net.tcp("wan", "office", CLIENTS["office"][1]) == "timeout"
    assert net.udp(one, "wan", WAN4) == net.tcp(one, "wan", WAN4) == GATE4


def test_of_odd_packets_itself_sees_leaks(nft):
    """Without our filter and guard, plain masquerade leaks: otherwise the test above would prove nothing."""
    net = Topology()
    sh("echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding")
    sh("nft add table inet m; nft add chain inet m p '{type nat hook postrouting priority 100;}'")
    sh("nft add rule inet m p oifname wan0 masquerade")
    with Sniffer(net) as sniffer:
        found = leaking(net, sniffer)
    assert len([name for name in found if name.startswith("IPv4")]) >= 6, found
    net.close()


def delete_masquerade(gate):
    """Someone deletes the NAT rules by hand."""
    if gate.option == "nftables":
        sh("nft flush chain inet ipmasq srcnat")
    else:
        sh("{0} -t nat -F IPMASQ-SRCNAT; {1} -t nat -F IPMASQ-SRCNAT".format(gate.tool("ip"), gate.tool("ip6")))


def test_guard_without_masquerade_rule(gate, net):
    gate.apply(**TWO_LANS)
    delete_masquerade(gate)
    with Sniffer(net) as sniffer:
        assert leaking(net, sniffer, again=2) == []
        # nftables drops. iptables has no hook behind nat: there the guard's own copy of the NAT items translates.
        assert net.tcp("office", "wan", WAN4) == ("timeout" if gate.option == "nftables" else GATE4)
        assert sniffer.leaks() == []
    assert gate.info()["drift"]


def test_guard_of_iptables_when_its_jumps_are_flushed_too(gate, net):
    """The exact limit of iptables: without any of our rules in nat, what conntrack calls NEW leaks, nothing else."""
    if gate.option != "iptables":
        pytest.skip("nftables guards the first packet too, whatever others do to their tables")
    gate.apply(**TWO_LANS)
    sh("{0} -t nat -F; {1} -t nat -F".format(gate.tool("ip"), gate.tool("ip6")))
    with Sniffer(net) as sniffer:
        leaks = set(leaking(net, sniffer, again=2))
    new = {"SYN", "UDP", "unknown protocol 253", "stray ACK"}
    expected = {"IPv{0} {1}".format(family, name) for family in (4, 6) for name in new} | {"IPv4 timestamp request"}
    assert leaks - expected == set(), "more than first packets leaked"
    assert {"IPv4 SYN", "IPv4 UDP", "IPv6 SYN", "IPv6 UDP"} <= leaks


def test_a_flow_from_before_the_rules_is_not_left_untranslated(gate, net):
    """A flow that conntrack knew before NAT was there keeps its private source: the guard drops it."""
    sh("echo 1 > /proc/sys/net/ipv4/ip_forward")
    # Conntrack has to be on before our rules: any stateful rule does that.
    sh(
        "nft add table ip tracked; nft add chain ip tracked c '{type filter hook forward priority 5;}'; "
        "nft add rule ip tracked c ct state new counter"
    )
    with (
        net.socket("wan", socket.AF_INET, socket.SOCK_DGRAM) as server,
        net.socket("office", socket.AF_INET, socket.SOCK_DGRAM) as client,
    ):
        server.bind(("0.0.0.0", 5353))
        server.settimeout(0.4)
        client.connect((WAN4, 5353))
        for _packet in range(2):
            client.send(b"x")
            peer = server.recvfrom(9)[1]
            assert peer[0] == CLIENTS["office"][1]
            server.sendto(b"y", peer)
        gate.apply(backend=gate.option, **TWO_LANS)
        with Sniffer(net) as sniffer:
            for _packet in range(5):
                client.send(b"x")
            assert sniffer.leaks() == []
    assert_out(net, clients=("office",))


def test_interface_deleted_and_there_again_with_another_address(gate, net):
    gate.apply(**TWO_LANS)
    assert_out(net, clients=("office",))
    net.unwire_wan()
    net.wire_wan("203.0.113.77", "2001:db8:ff::77")
    assert_out(net, "203.0.113.77", "2001:db8:ff::77")
    assert not gate.apply(**TWO_LANS).change.scene.plan.changed


@pytest.mark.parametrize("pattern", ["ppp0", "ppp*"])
def test_wan_that_does_not_exist_when_applied(gate, pattern):
    net = Topology("ppp0")
    net.unwire_wan()
    lans = TWO_LANS["lans"]
    gate.apply(wans=[{"interface": pattern}], lans=lans)
    net.wire_wan()
    with Sniffer(net) as sniffer:
        assert_out(net)
        assert sniffer.leaks() == []
    net.close()


@pytest.mark.parametrize("pattern", ["uplink", "up*"])
def test_wan_that_gets_its_name_later(gate, net, pattern):
    """As udev does at boot, and people do to a link that carries traffic."""
    gate.apply(wans=[{"interface": pattern}], lans=TWO_LANS["lans"])
    sh("ip link set wan0 down; ip link set wan0 name uplink; ip link set uplink up")
    sh("ip addr replace {0}/64 dev uplink nodad".format(GATE6))
    sh("ip route replace default via {0}; ip -6 route replace default via {1}".format(WAN4, WAN6))
    with Sniffer(net) as sniffer:
        assert_out(net)
        assert sniffer.leaks() == []


def test_lan_interface_that_appears_later_is_forwarded(gate, net):
    sh("ip link del guest0")
    gate.apply(**TWO_LANS)
    net._link("guest0", "guest", "192.168.2.1/24", "fd00:2::1/64", "192.168.2.10/24", "fd00:2::10/64")
    net.nodes["guest"].sh("ip route add default via 192.168.2.1; ip -6 route add default via fd00:2::1")
    assert_out(net)


def test_exempt_leaves_the_source_as_it_is_and_only_there(gate, net):
    sh("ip addr add 198.51.100.9/32 dev lo")
    net.nodes["wan"].sh("ip addr add 10.7.7.7/32 dev lo")
    sh("ip route add 10.7.7.7/32 via {0}".format(WAN4))
    gate.apply(
        nat=[
            {"name": "vpn", "action": "exempt", "source": ["office"], "destination": ["10.7.0.0/16"]},
            {"name": "rest"},
        ],
        **TWO_LANS,
    )
    assert net.tcp("office", "wan", "10.7.7.7") == CLIENTS["office"][1]
    assert net.tcp("guest", "wan", "10.7.7.7") == GATE4
    assert net.tcp("office", "wan", WAN4) == GATE4


def test_four_classic_lines_as_items(gate, net):
    """The seed: forwarding on; MASQUERADE; FORWARD out; FORWARD back; also where the policy is DROP."""
    if gate.option == "iptables":
        sh("{0} -P FORWARD DROP".format(gate.tool()))
    gate.forwarding(ipv4=True)
    gate.item("masquerade", name="lan", source=["192.168.1.0/24"], out_interface="wan0")
    gate.item("forward", name="out", source=["192.168.1.0/24"], out_interface="wan0")
    gate.item(
        "forward",
        name="answers",
        destination=["192.168.1.0/24"],
        in_interface="wan0",
        ct_state=["established", "related"],
    )
    assert net.tcp("office", "wan", WAN4) == GATE4
    assert net.udp("office", "wan", WAN4) == GATE4
    assert net.ping("office", WAN4)
    if gate.option == "iptables":
        assert net.tcp("guest", "wan", WAN4) == "timeout"
        assert net.tcp("wan", "office", CLIENTS["office"][1]) == "timeout"


def test_after_boot_packets_pass_as_before(gate, net):
    gate.apply(**TWO_LANS)
    # The host goes down: rules and switches are gone.
    sh("nft flush ruleset; echo 0 > /proc/sys/net/ipv4/ip_forward; echo 0 > /proc/sys/net/ipv6/conf/all/forwarding")
    if gate.programs == "iptables-legacy":
        for family in ("ip", "ip6"):
            sh("for t in nat filter mangle; do {0} -t $t -F; {0} -t $t -X; done".format(gate.tool(family)))
    assert net.tcp("office", "wan", WAN4) == "timeout"
    done = gate.host.boot()
    assert done.returncode == 0, done.stderr
    assert_out(net)


def test_boot_without_its_rules_is_a_host_that_does_not_route(gate, net):
    gate.apply(**ONE_LAN)
    for path in gate.host.root.glob("etc/ipmasq/default.*tables"):
        path.write_text("*nat\n-A NOWHERE\nCOMMIT\n", encoding="utf-8")
    for path in gate.host.root.glob("etc/ipmasq/default.nft"):
        path.write_text("{", encoding="utf-8")
    assert gate.host.boot().returncode != 0
    assert sh("cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/all/forwarding").split() == ["0", "0"]
    assert net.tcp("office", "wan", WAN4) == "timeout"


def test_absent_ends_forwarding(gate, net):
    gate.apply(**TWO_LANS)
    assert_out(net)
    gate.absent()
    with Sniffer(net) as sniffer:
        assert net.tcp("office", "wan", WAN4) == "timeout"
        assert sniffer.leaks() == []


def test_related_icmp_errors_pass_to_the_client(gate, net):
    """Nothing listens: the WAN's port unreachable reaches the client through NAT, so its socket fails at once."""
    gate.apply(**TWO_LANS)
    for family, address in ((socket.AF_INET, WAN4), (socket.AF_INET6, WAN6)):
        with net.socket("office", family, socket.SOCK_DGRAM) as client:
            client.connect((address, 9))
            client.settimeout(0.5)
            client.send(b"x")
            with pytest.raises(ConnectionRefusedError):
                client.recv(1)


def test_mss_is_clamped_to_the_path_mtu(gate, net):
    sh("ip link set wan0 mtu 1400")
    for clamp, expected in ((False, 1460), (True, 1360)):
        gate.apply(**dict(TWO_LANS, mss="pmtu" if clamp else "keep"))
        with (
            net.socket("wan", socket.AF_INET, socket.SOCK_STREAM) as server,
            net.socket("office", socket.AF_INET, socket.SOCK_STREAM) as client,
        ):
            server.bind(("0.0.0.0", 8080 + clamp))
            server.listen(1)
            client.settimeout(0.5)
            client.connect((WAN4, 8080 + clamp))
            accepted = server.accept()[0]
            with accepted:
                # TCP_MAXSEG of a connected socket is what the other side announced, less options.
                assert expected - 12 <= accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG) <= expected


def test_what_was_refused_is_told(gate, net):
    """Two ports for three flows to the same place: the third finds none, and gateway_info says so."""
    gate.apply(**{**ONE_LAN, "nat": [{"name": "few", "protocol": ["udp"], "to_port": "40000-40001"}]})
    before = gate.info()["usage"]["connections"]
    seen = [net.udp("office", "wan", WAN4) for _flow in range(3)]
    after = gate.info()["usage"]["connections"]
    assert seen == [GATE4, GATE4, "timeout"]
    assert after["count"] - before["count"] == 2
    assert after["insert_failed"] - before["insert_failed"] == after["drop"] - before["drop"] == 1
    assert after["max"] > 0 and after["buckets"] > 0 and after["percent"] == after["count"] * 100 // after["max"]
