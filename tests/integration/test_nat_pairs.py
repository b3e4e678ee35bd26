# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""NAT items and port forwards against each other: none answers in place of another, or in place of the gateway."""

from __future__ import annotations

import pathlib
import re
import select
import shutil
import socket

import pytest
from helpers import GUESTS, OFFICE, TWO_LANS, wire, wire_gateway
from sandbox import sh
from test_packets import PROHIBITED
from topology import CLIENTS, GATE4, GATE6, SECOND4, SECOND6, SERVER4, SERVER6, WAN4, WAN6, Servers
from unhurried import patience

from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "nat.md"
pytestmark = pytest.mark.skipif(not shutil.which("ping"), reason="ping is not installed")
OFFICE4, OFFICE6 = CLIENTS["office"][1:]
GUEST4 = CLIENTS["guest"][1]
REST = {"name": "rest"}
#: An address beside the gateway's own on the WAN's network, for 1:1.
MAPPED = "203.0.113.33"
MAPPED6, ROUTED6 = "2001:db8:ff::33", "2001:db8:50::33"
BOTH_WANS = [{"interface": "wan0"}, {"interface": "wan1"}]
REFUSED = "refused: Connection refused"


def forward(name="web", **options):
    return dict({"name": name, "port": ["8443"], "to": [OFFICE4]}, **options)


def with_forwards(*forwards, **options):
    return dict(TWO_LANS, port_forwards=list(forwards), **options)


def one_to_one(**options):
    base = {"name": "server", "action": "static", "source": [SERVER4 + "/32"], "to": [MAPPED + "/32"]}
    return dict(base, **dict({"to_address": "add"}, **options))


# --- Hairpin: whose address was asked --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("own", "second", "server", "office", "others"),
    [
        (GATE4, SECOND4, SERVER4, OFFICE4, ("10.9.9.1/24", "192.0.2.1/24", "192.168.1.1/24", "192.168.2.1/24")),
        (GATE6, SECOND6, SERVER6, OFFICE6, ("fd09::1/64", "2001:db8:9::1/64", "fd00:1::1/64", "fd00:2::1/64")),
    ],
    ids=["IPv4", "IPv6"],
)
def test_hairpin_answers_for_its_own_wan_only(gate, net, own, second, server, office, others):
    """Two forwards of one port on two WANs, a third for one WAN only, and a link that nobody declared."""
    net.wire_server()
    net.wire_second_wan()
    wire(mgmt0=others[0], mgmt1=others[1])
    forwards = [
        forward("a", wan="wan0", to=[office], hairpin=True),
        forward("b", wan="wan1", to=[server], hairpin=True),
        forward("c", wan="wan0", port=["25"], to=[office], hairpin=True),
    ]
    gate.apply(**dict(with_forwards(*forwards), wans=BOTH_WANS))
    for client in ("guest", "office"):
        places = [(node, port) for node in ("office", "server", "gate") for port in (8443, 25)]
        with Servers(net, "tcp", *places) as servers:
            assert servers.asked(client, own, 8443)[:3] == ("office", 8443, own)
            assert servers.asked(client, second, 8443)[:3] == ("server", 8443, second)
            assert servers.asked(client, own, 25).node == "office"
            # The gateway's own services on its other addresses stay its own.
            assert servers.asked(client, second, 25).node == "gate"
            for address in (other.partition("/")[0] for other in others):
                assert servers.asked(client, address, 8443).node == "gate", address


def test_hairpin_takes_no_address_of_a_vpn_a_container_or_loopback(gate, net):
    sh("ip tuntap add tailscale0 mode tun; ip link add docker0 type bridge")
    own = {"tailscale0": ("100.100.7.7", "2001:db8:7a::7"), "docker0": ("198.51.100.7", "2001:db8:7b::7")}
    own["lo"] = ("192.0.2.7", "2001:db8:7c::7")
    for link, addresses in own.items():
        sh("ip link set {0} up; ip addr add {1}/32 dev {0}; ip addr add {2}/128 dev {0} nodad".format(link, *addresses))
    forwards = [forward(hairpin=True), forward("six", to=[OFFICE6], hairpin=True)]
    gate.apply(**with_forwards(*forwards))
    with Servers(net, "tcp", ("gate", 8443), ("office", 8443)) as servers:
        for address in (GATE4, GATE6):
            assert servers.asked("guest", address, 8443).node == "office"
        for address in (address for addresses in own.values() for address in addresses):
            assert servers.asked("guest", address, 8443).node == "gate", address


def test_hairpin_of_a_forward_for_some_sources_takes_nobody_else_inside(gate, net):
    net.wire_server()
    some = forward("some", source=["198.18.0.0/24", GUEST4 + "/32"], to=[SERVER4], hairpin=True)
    gate.apply(**with_forwards(some, forward("all", hairpin=True)))
    with Servers(net, "tcp", ("office", 8443), ("server", 8443)) as servers:
        assert servers.asked("office", GATE4, 8443)[:3] == ("office", 8443, GATE4)
        assert servers.asked("guest", GATE4, 8443)[:3] == ("server", 8443, GATE4)
        assert servers.asked("wan", GATE4, 8443)[:3] == ("office", 8443, WAN4)


def test_hairpin_for_sources_outside_only_is_refused(nft):
    wire_gateway()
    with pytest.raises(GatewayError, match="hairpin has no effect, because no source is in a LAN"):
        nft.apply(**with_forwards(forward(source=["198.18.0.0/24"], hairpin=True)))


def test_a_forward_for_sources_inside_only_is_refused_without_hairpin(nft):
    wire_gateway()
    with pytest.raises(GatewayError, match="has no effect, because every source is in a LAN; add the clients outside"):
        nft.apply(**with_forwards(forward(source=["192.168.2.0/24", "192.168.1.77/32"])))
    nft.apply(**with_forwards(forward(source=["192.168.2.0/24", "198.18.0.0/24"])))


# --- Two forwards that end at one server and port --------------------------------------------------------------------


def test_forwards_to_one_server_port_keep_their_own_hairpin_source(gate, net):
    net.wire_server()
    sh("ip addr add 203.0.113.44/24 dev wan0")
    forwards = [
        forward("a", port=["80"], to=[SERVER4], to_port=8443, hairpin=True),
        forward("b", port=["81"], to=[SERVER4], to_port=8443, hairpin=True, hairpin_source="gateway"),
        forward("c", port=["82"], destination=["203.0.113.44/32"], to=[SERVER4], to_port=8443, hairpin=True),
        forward("d", port=["82"], to=[SERVER4], to_port=8443, hairpin=True, hairpin_source="gateway"),
    ]
    gate.apply(**with_forwards(*forwards))
    with Servers(net, "tcp", ("server", 8443)) as servers:
        for client in ("office", "guest"):
            assert servers.asked(client, GATE4, 80).peer == GATE4
            assert servers.asked(client, GATE4, 81).peer == "192.168.1.1"
            assert servers.asked(client, "203.0.113.44", 82).peer == "203.0.113.44"
            assert servers.asked(client, GATE4, 82).peer == "192.168.1.1"


@pytest.mark.parametrize("backend", ["nft"], indirect=True)
def test_forwards_to_one_server_port_keep_their_own_timers(gate, net):
    forwards = [
        forward("a", port=["80"], to_port=8443, protocol=["udp"], timeouts={"udp": 77}),
        forward("b", port=["81"], to_port=8443, protocol=["udp"], timeouts={"udp": 99}),
    ]
    gate.apply(**with_forwards(*forwards))
    for port, seconds in ((80, 77), (81, 99)):
        with Servers(net, "udp", ("office", 8443)) as servers, servers.client("wan", GATE4) as client:
            client.sendto(b"x", (GATE4, port))
            assert servers.waiting
            listed = sh("conntrack -L -p udp --orig-port-dst {0} 2>/dev/null".format(port))
            assert seconds - 5 <= int(listed.split()[2]) <= seconds, listed


# --- 1:1 against port forwards ---------------------------------------------------------------------------------------


def test_a_port_forward_leaves_the_address_of_a_one_to_one_alone(gate, net):
    net.wire_server()
    gate.apply(**with_forwards(forward(hairpin=True), nat=[one_to_one(), REST]))
    with Servers(net, "tcp", ("office", 8443), ("server", 8443)) as servers:
        assert servers.asked("wan", MAPPED, 8443).node == "server"
        for client in ("wan", "guest"):
            assert servers.asked(client, GATE4, 8443).node == "office"


def test_a_port_forward_that_names_the_address_of_a_one_to_one_takes_its_port_and_is_told(gate, net):
    net.wire_server()
    named = forward(destination=[MAPPED + "/32"])
    done = gate.apply(**with_forwards(named, nat=[one_to_one(), REST]))
    assert any("web" in note and "server" in note and MAPPED in note for note in done.notes), done.notes
    with Servers(net, "tcp", ("office", 8443), ("server", 8443), ("server", 25)) as servers:
        assert servers.asked("wan", MAPPED, 8443).node == "office"
        assert servers.asked("wan", MAPPED, 25).node == "server"


@pytest.mark.parametrize("destination", [None, [GATE4 + "/32"], [MAPPED + "/32"]], ids=["any", "gateway", "mapped"])
def test_one_to_one_that_is_closed_stays_closed_beside_a_forward_to_its_server(gate, net, destination):
    net.wire_server()
    through = forward(port=["8080"], to=[SERVER4], to_port=22, destination=destination)
    gate.apply(**with_forwards(through, nat=[one_to_one(inbound=False), REST]))
    with Servers(net, "tcp", ("server", 22), ("server", 8080)) as servers:
        asked = (destination or [GATE4])[0].partition("/")[0]
        assert servers.asked("wan", asked, 8080)[:2] == ("server", 22)
        assert servers.asked("wan", MAPPED, 22, timeout=0.3) == "timeout"
        # It still leaves with its own address.
    assert net.asks("tcp", "server", "wan", WAN4, 4000).peer == MAPPED


def test_one_to_one_that_is_closed_stays_closed_beside_an_open_one_of_the_same_server(gate, net):
    net.wire_server()
    net.nodes["wan"].sh("ip route add 192.0.2.50/32 via " + GATE4)
    closed = one_to_one(inbound=False, to=["192.0.2.50/32"], to_address="routed")
    block = one_to_one(name="block", source=["192.168.1.16/28"], to=["203.0.113.32/28"])
    gate.apply(**dict(TWO_LANS, nat=[closed, block, REST]))
    with Servers(net, "tcp", ("server", 22)) as servers:
        assert servers.asked("wan", "203.0.113.36", 22).node == "server"
        assert servers.asked("wan", "192.0.2.50", 22, timeout=0.3) == "timeout"


def test_a_port_forward_for_a_wan_whose_every_address_is_mapped_is_refused(nft):
    wire_gateway()
    static = one_to_one(to=[GATE4 + "/32"], to_address="existing")
    with pytest.raises(GatewayError, match="can never match: nat items map every address of wan0"):
        nft.apply(**with_forwards(forward(), nat=[static, REST]))


# --- 1:1 from inside -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", [MAPPED, "192.0.2.50"], ids=["add", "routed"])
def test_a_one_to_one_address_reaches_its_server_from_inside(gate, net, address):
    """Never the gateway in its place; the server sees the address that was asked for."""
    net.wire_server()
    net.nodes["wan"].sh("ip route add 192.0.2.50/32 via " + GATE4)
    static = one_to_one(to=[address + "/32"], to_address="add" if address == MAPPED else "routed")
    gate.apply(**dict(TWO_LANS, nat=[static, REST]))
    for kind in ("tcp", "udp"):
        with Servers(net, kind, ("server", 22), ("gate", 22)) as servers:
            for client in ("office", "guest"):
                assert servers.asked(client, address, 22)[:3] == ("server", 22, address)
            assert servers.asked("wan", address, 22)[:3] == ("server", 22, WAN4)
            # Apart from that address, LANs stay isolated.
            assert isinstance(servers.asked("guest", SERVER4, 22), str)
    assert net.ping("guest", address) and net.ping("office", address)
    assert not gate.apply(**dict(TWO_LANS, nat=[static, REST])).changed


@pytest.mark.parametrize("address", [MAPPED, "192.0.2.50"], ids=["add", "routed"])
@pytest.mark.parametrize("closed", [{"inbound": False}, {"hairpin": False}], ids=["inbound", "hairpin"])
def test_a_one_to_one_address_that_is_closed_inside_is_refused(gate, net, closed, address):
    net.wire_server()
    net.nodes["wan"].sh("ip route add 192.0.2.50/32 via " + GATE4)
    static = one_to_one(to=[address + "/32"], to_address="add" if address == MAPPED else "routed", **closed)
    gate.apply(**dict(TWO_LANS, nat=[static, REST]))
    with Servers(net, "tcp", ("server", 22), ("gate", 22)) as servers:
        for client in ("office", "guest"):
            assert net.told(client, address) == "No route to host"
            assert isinstance(servers.asked(client, address, 22, timeout=0.3), str)
            assert servers.asked(client, "192.168.1.1", 22).node == "gate"


def test_a_block_of_addresses_reaches_its_hosts_from_inside(gate, net):
    net.wire_server()
    net.nodes["wan"].sh("ip route add 192.0.2.0/24 via " + GATE4)
    block = one_to_one(source=["192.168.1.16/28"], to=["192.0.2.32/28"], to_address="routed")
    gate.apply(**dict(TWO_LANS, nat=[block, REST]))
    for client in ("office", "guest"):
        met = net.asks("tcp", client, "server", "192.0.2.36", 22)
        assert (met.node, met.peer) == ("server", "192.0.2.36")


def one_to_one6(address, **options):
    to_address = "add" if address == MAPPED6 else "routed"
    base = {"name": "six", "action": "static", "source": [SERVER6 + "/128"], "to": [address + "/128"]}
    return dict(base, to_address=to_address, **options)


def wire_mapped6(gate, net, item):
    net.wire_server()
    net.nodes["wan"].sh("ip -6 route add {0}/128 via {1}".format(ROUTED6, GATE6))
    gate.apply(**dict(TWO_LANS, nat=[item, REST]))
    # Duplicate address detection first: a new IPv6 address does not answer in its first second (RFC 4862).
    sh("for second in 1 2 3 4 5 6; do ip -6 address show tentative | grep -q . || break; sleep 0.5; done")


@pytest.mark.parametrize("address", [MAPPED6, ROUTED6], ids=["add", "routed"])
def test_a_one_to_one_address_of_ipv6_reaches_its_server_from_inside(gate, net, address):
    wire_mapped6(gate, net, one_to_one6(address))
    for kind in ("tcp", "udp"):
        with Servers(net, kind, ("server", 22), ("gate", 22)) as servers:
            for client in ("office", "guest"):
                assert servers.asked(client, address, 22)[:3] == ("server", 22, address)
            assert servers.asked("wan", address, 22)[:3] == ("server", 22, WAN6)
            # Apart from that address, LANs stay isolated.
            assert isinstance(servers.asked("guest", SERVER6, 22), str)
    assert net.ping("guest", address) and net.ping("office", address)
    assert not gate.apply(**dict(TWO_LANS, nat=[one_to_one6(address), REST])).changed


@pytest.mark.parametrize("address", [MAPPED6, ROUTED6], ids=["add", "routed"])
@pytest.mark.parametrize("closed", [{"inbound": False}, {"hairpin": False}], ids=["inbound", "hairpin"])
def test_a_one_to_one_address_of_ipv6_that_is_closed_inside_is_refused(gate, net, closed, address):
    wire_mapped6(gate, net, one_to_one6(address, **closed))
    with Servers(net, "tcp", ("server", 22), ("gate", 22)) as servers:
        for client in ("office", "guest"):
            assert net.told(client, address) == PROHIBITED[1]
            assert isinstance(servers.asked(client, address, 22, timeout=0.3), str)
            assert servers.asked(client, "fd00:1::1", 22).node == "gate"
        met = servers.asked("wan", address, 22, timeout=0.3)
        assert met == "timeout" if "inbound" in closed else met.node == "server"


def test_a_port_forward_of_ipv6_leaves_the_address_of_a_one_to_one_alone(gate, net):
    net.wire_server()
    net.nodes["wan"].sh("ip -6 route add {0}/128 via {1}".format(ROUTED6, GATE6))
    for inbound in (True, False):
        item = one_to_one6(ROUTED6, inbound=inbound)
        gate.apply(**with_forwards(forward(to=[OFFICE6], hairpin=True), nat=[item, REST]))
        with Servers(net, "tcp", ("office", 8443), ("server", 8443)) as servers:
            met = servers.asked("wan", ROUTED6, 8443, timeout=0 if inbound else 0.3)
            assert met.node == "server" if inbound else met == "timeout"
            for client in ("wan", "guest"):
                assert servers.asked(client, GATE6, 8443).node == "office"


# --- A prefix that is on the link ------------------------------------------------------------------------------------


def test_a_prefix_on_the_link_of_the_wan_is_refused(nft):
    """Routers on the link look for each of its addresses, and nothing answers."""
    wire_gateway()
    items = [
        {"name": lan["name"], "action": "prefix", "source": [lan["networks"][1]], "to": [to]}
        for lan, to in ((OFFICE, "2001:db8:ff::/64"), (GUESTS, "2001:db8:aa::/64"))
    ]
    with pytest.raises(GatewayError) as raised:
        nft.apply(**dict(TWO_LANS, ipv6="prefix", nat=[*items, REST]))
    (problem,) = raised.value.problems
    assert problem.startswith("nat[0] 'office': to 2001:db8:ff::/64 is on the link of WAN wan0 (")


# --- Servers that are routed -----------------------------------------------------------------------------------------

PUBLIC4 = "192.0.2.18"
PUBLIC_OFFICE = dict(OFFICE, networks=[*OFFICE["networks"], "192.0.2.16/28"])
EXEMPT = {"name": "public", "action": "exempt", "source": ["192.0.2.16/28"]}


def wire_public(net):
    """The office has public addresses, too, which routers outside send here."""
    sh("ip addr add 192.0.2.17/28 dev lan0")
    net.nodes["office"].sh("ip addr add {0}/28 dev up0".format(PUBLIC4))
    net.nodes["wan"].sh("ip route add 192.0.2.16/28 via " + GATE4)


def test_a_routed_ipv4_server_is_opened_at_its_own_address(gate, net):
    wire_public(net)
    params = dict(TWO_LANS, lans=[PUBLIC_OFFICE, GUESTS], nat=[EXEMPT, REST])
    gate.apply(**params)
    assert net.asks("tcp", "wan", "office", PUBLIC4, 8443, timeout=0.3) == "timeout"
    for destination in (None, [PUBLIC4 + "/32"]):
        opened = forward(to=[PUBLIC4], destination=destination, hairpin=True)
        done = gate.apply(**params, port_forwards=[opened])
        assert any("clients connect to its own address" in note for note in done.notes)
        with Servers(net, "tcp", ("office", 8443), ("office", 8444), ("gate", 8443)) as servers:
            assert servers.asked("wan", PUBLIC4, 8443)[:3] == ("office", 8443, WAN4)
            assert servers.asked("guest", PUBLIC4, 8443)[:3] == ("office", 8443, GUEST4)
            assert servers.asked("wan", PUBLIC4, 8444, timeout=0.3) == "timeout"
            assert servers.asked("wan", GATE4, 8443).node == "gate"
    # Another address is forwarded to it as to any server.
    gate.apply(**params, port_forwards=[forward(to=[PUBLIC4], destination=[GATE4 + "/32"])])
    assert net.asks("tcp", "wan", "office", GATE4, 8443).peer == WAN4
    assert net.asks("tcp", "wan", "office", PUBLIC4, 8443, timeout=0.3) == "timeout"


GLOBAL_LANS = [
    dict(OFFICE, networks=[*OFFICE["networks"], "2001:db8:77:1::/64"], spoof_check=False),
    dict(GUESTS, networks=[*GUESTS["networks"], "2001:db8:77:2::/64"], spoof_check=False),
]
#: Host 11 of subnet 1, whatever the prefix before them.
SUFFIX = "0:0:0:1::11/::ff:ffff:ffff:ffff:ffff"


def test_a_server_named_by_its_suffix_stays_open_under_another_prefix(gate, net):
    for number, node, link in ((1, "office", "lan0"), (2, "guest", "guest0")):
        for prefix in ("2001:db8:77", "2001:db8:88"):
            sh("ip addr add {0}:{1}::1/64 dev {2} nodad".format(prefix, number, link))
            for host in ("11", "12"):
                net.nodes[node].sh("ip addr add {0}:{1}::{2}/64 dev up0 nodad".format(prefix, number, host))
    net.nodes["wan"].sh("ip route add 2001:db8:77::/48 via {0}; ip route add 2001:db8:88::/48 via {0}".format(GATE6))
    params = dict(TWO_LANS, lans=GLOBAL_LANS, port_forwards=[forward(to=[SUFFIX])])
    gate.apply(**params)
    assert not gate.apply(**params).changed
    with Servers(net, "tcp", ("office", 8443), ("office", 8444), ("guest", 8443)) as servers:
        for prefix in ("2001:db8:77", "2001:db8:88"):
            assert servers.asked("wan", prefix + ":1::11", 8443, bind=(WAN6, 0))[:2] == ("office", 8443)
        for closed, port in (("1::12", 8443), ("1::11", 8444), ("2::11", 8443)):
            assert servers.asked("wan", "2001:db8:77:" + closed, port, timeout=0.3) == "timeout", closed


# --- All other ports -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("many", [0, 80], ids=["few", "many"])
def test_all_other_ports_go_to_one_server(gate, net, many):
    """The first match decides, also when many forwards are looked up."""
    net.wire_server()
    single = [forward("f{0}".format(port), port=[str(port)]) for port in range(2000, 2000 + many)]
    rest = forward("rest", port=["1-65535"], to=[SERVER4], protocol=["both"])
    udp = forward("dns", port=["53"], protocol=["udp"])
    some = forward("some", port=["1-65535"], source=["198.18.0.0/24"])
    params = with_forwards(some, forward(port=["22"]), *single, udp, rest)
    done = gate.apply(**params)
    assert any("takes TCP ports 1-65535 of the gateway itself" in note for note in done.notes)
    places = [(node, port) for node in ("office", "server", "gate") for port in (22, 53, 2001, 8443)]
    with Servers(net, "tcp", *places) as servers:
        for port, node in ((22, "office"), (53, "server"), (2001, "office" if many else "server"), (8443, "server")):
            assert servers.asked("wan", GATE4, port)[:2] == (node, port)
    with Servers(net, "udp", *places) as servers:
        assert servers.asked("wan", GATE4, 53).node == "office"
        assert servers.asked("wan", GATE4, 22).node == "server"
    assert not gate.apply(**params).changed


@pytest.mark.parametrize("many", [0, 80], ids=["few", "many"])
def test_what_is_sent_to_a_link_local_address_is_for_the_gateway(gate, net, many):
    """A DHCPv6 server answers there, and clients ask the DNS server there that a router advertisement has named."""
    net.wire_server()
    single = [forward("f{0}".format(port), port=[str(port)], to=[SERVER6]) for port in range(2000, 2000 + many)]
    rest = forward("rest", port=["1-65535"], to=[SERVER6], protocol=["both"])
    gate.apply(**with_forwards(*single, rest))
    own = {
        node: re.search(r"inet6 (fe80::[0-9a-f:]+)", sh("ip -6 addr show dev {0} scope link".format(link))).group(1)
        for node, link in (("wan", "wan0"), ("office", "lan0"))
    }
    for port in (53, 546, 2001):
        with (
            net.socket("gate", socket.AF_INET6, socket.SOCK_DGRAM) as here,
            net.socket("server", socket.AF_INET6, socket.SOCK_DGRAM) as there,
        ):
            for each in (here, there):
                each.bind(("::", port))
            for node, address in (*own.items(), ("wan", GATE6)):
                with net.inside(node), net.socket(node, socket.AF_INET6, socket.SOCK_DGRAM) as client:
                    client.sendto(b"x", (address, port, 0, socket.if_nametoindex("up0")))
                (got,) = select.select([here, there], [], [], patience())[0]
                got.recv(1)
                assert got == (there if address == GATE6 else here), (node, address, port)


# --- Lines beside ours, as docs/nat.md has them ----------------------------------------------------------------------


def lines(heading, kind):
    section = PAGE.read_text(encoding="utf-8").split("## " + heading)[1].split("\n## ")[0]
    return re.search("```{0}\n(.*?)```".format(kind), section, re.DOTALL).group(1)


def load(text):
    sh("nft -f - <<'END'\n{0}\nEND".format(text))


def test_answers_by_the_second_wan_need_the_lines_of_the_page_and_a_run_says_so(gate, net):
    net.wire_second_wan()
    net.nodes["isp"].sh("ip addr add 198.18.5.5/32 dev lo")
    params = dict(with_forwards(forward("b", wan="wan1"), forward("any", port=["25"])), wans=BOTH_WANS)
    told = [remark for remark in gate.apply(**params).remarks if "docs/nat.md" in remark]
    assert told == [
        "port_forwards b, any: replies to clients on wan1 leave through wan0, which has the best default route, so "
        "they reach only clients on the link of wan1; docs/nat.md shows how to send replies back through wan1"
    ]
    far = {"bind": ("198.18.5.5", 0)}
    assert net.asks("tcp", "isp", "office", SECOND4, 8443, timeout=0.3, **far) == "timeout"
    sh(lines("Several WANs", "sh"))
    load(lines("Several WANs", "nft"))
    for port in (8443, 25):
        assert net.asks("tcp", "isp", "office", SECOND4, port, **far).peer == "198.18.5.5"
    assert net.asks("tcp", "isp", "gate", SECOND4, 8080, **far).node == "gate"
    assert net.asks("tcp", "wan", "office", GATE4, 25).peer == WAN4
    assert net.asks("tcp", "office", "wan", WAN4, 4000).peer == GATE4
    assert not [remark for remark in gate.apply(**params).remarks if "docs/nat.md" in remark]


def test_the_same_lines_send_answers_of_ipv6_back(gate, net):
    net.wire_second_wan()
    net.nodes["isp"].sh("ip addr add 2001:db8:55::5/128 dev lo nodad")
    gate.apply(**dict(with_forwards(forward("b", wan="wan1", to=[OFFICE6])), wans=BOTH_WANS))
    far = {"bind": ("2001:db8:55::5", 0)}
    assert net.asks("tcp", "isp", "office", SECOND6, 8443, timeout=0.3, **far) == "timeout"
    sh(lines("Several WANs", "sh"))
    load(lines("Several WANs", "nft"))
    assert net.asks("tcp", "isp", "office", SECOND6, 8443, **far).peer == "2001:db8:55::5"
    assert net.asks("tcp", "isp", "gate", SECOND6, 8080, **far).node == "gate"


def test_dns_of_a_lan_is_redirected_by_the_lines_of_the_page(gate, net):
    gate.apply(**TWO_LANS)
    load(lines("Redirecting a LAN's DNS to the gateway", "nft"))
    for kind in ("tcp", "udp"):
        with Servers(net, kind, ("gate", 53), ("wan", 53)) as servers:
            assert servers.asked("guest", WAN4, 53).node == "gate"
            assert servers.asked("guest", "192.168.2.1", 53).node == "gate"
            assert servers.asked("office", WAN4, 53).node == "wan"


# --- Several instances on one WAN -------------------------------------------------------------------------------------

WAN = [{"interface": "wan0"}]
DEFAULT = {"wans": WAN, "lans": [OFFICE]}
TWO = {"instance": "two", "wans": WAN, "lans": [GUESTS]}
#: Any other change: the rules are loaded again, and come before those of the other instance.
AGAIN = {"outbound": [{"name": "no-mail", "protocol": ["tcp"], "port": ["25"], "action": "drop"}]}


def answering(net, address=GATE4, client="wan"):
    with Servers(net, "tcp", *((node, 8443) for node in ("office", "guest", "gate"))) as servers:
        found = servers.asked(client, address, 8443, timeout=1)
    return found if isinstance(found, str) else found.node


def told(done):
    return [line for line in done.warnings if "mapped 1:1" in line]


def test_a_connection_is_forwarded_by_one_instance(gate, net):
    mine, theirs = [forward()], [forward("shop", to=[GUEST4])]
    gate.apply(**DEFAULT, port_forwards=mine)
    assert answering(net) == "office"
    words = (
        "port_forwards[0] 'shop': tcp port 8443 on WAN wan0 is also forwarded by port_forwards 'web' of instance "
        "default, and no order decides between instances; give one of them another port, source, destination or wan, "
        "or, to move the item, first remove it from instance default"
    )
    for more in ({}, {"wans": [{"interface": "wan*"}]}):
        with pytest.raises(GatewayError) as refused:
            gate.apply(**dict(TWO, **more), port_forwards=theirs)
        assert refused.value.problems == (words,)
    assert answering(net) == "office"
    # A client of its own, an address of its own, or a port of its own is enough, in any order of runs.
    sh("ip addr add {0}/24 dev wan0".format(MAPPED))
    for own, other, at_mapped in (
        ([forward(source=[WAN4])], {"source": ["198.51.100.0/24"]}, "office"),
        ([forward(destination=[GATE4])], {"destination": [MAPPED]}, "guest"),
        ([forward()], {"port": ["8444"]}, "office"),
    ):
        gate.apply(**DEFAULT, port_forwards=own)
        gate.apply(**TWO, port_forwards=[dict(theirs[0], **other)])
        gate.apply(**DEFAULT, port_forwards=own, **AGAIN)
        assert [answering(net), answering(net, MAPPED)] == ["office", at_mapped]
        gate.absent("two")


def test_check_mode_of_a_play_that_moves_a_forward_warns(nft, net):
    """An earlier task has not been done, so the forward still seems to be in the other instance."""
    nft.apply(**DEFAULT, port_forwards=[forward()])
    nft.apply(**TWO)
    for check in (True, False):
        nft.apply(**DEFAULT, check=check)
        done = nft.apply(**TWO, port_forwards=[forward(to=[GUEST4])], check=check)
        assert done.changed
        assert any("first remove it from instance default; if an earlier" in line for line in done.warnings) is check
    assert answering(net) == "guest"
    assert not nft.apply(**TWO, port_forwards=[forward(to=[GUEST4])]).changed


@pytest.mark.parametrize("inbound", [True, False])
def test_a_forward_leaves_the_addresses_that_another_instance_maps(gate, net, inbound):
    """In any order of runs, and also from inside."""
    sh("ip addr add {0}/24 dev wan0".format(MAPPED))
    mapped = one_to_one(source=[GUEST4], to_address="existing", inbound=inbound)
    theirs = dict(TWO, nat=[mapped, REST])
    mine = dict(DEFAULT, port_forwards=[forward(hairpin=True)])
    expected = "guest" if inbound else "nobody"

    def is_kept():
        found = answering(net, MAPPED)
        assert (found if found in ("office", "gate", "guest") else "nobody") == expected
        assert answering(net, MAPPED, "office") != "office"
        assert answering(net) == answering(net, client="office") == "office"

    gate.apply(**theirs)
    gate.apply(**mine)
    is_kept()
    assert told(gate.apply(**theirs, **AGAIN)) == []
    is_kept()
    assert not gate.apply(**mine).changed
    assert gate.info()["as_applied"]
    # Once it is mapped no more, the forward takes it, after a run.
    gate.absent("two")
    assert gate.info()["drift"] == [
        "~ {0}: no other instance maps it 1:1 any more, but the rules of the last run leave it out of forwards".format(
            MAPPED
        )
    ]
    sh("ip addr replace {0}/24 dev wan0".format(MAPPED))
    assert answering(net, MAPPED) == "gate"
    assert gate.apply(**mine).changed
    assert answering(net, MAPPED) == answering(net, MAPPED, "office") == "office"
    # If it is mapped later, that run says so, until the other instance has run again.
    for _run in range(2):
        assert told(gate.apply(**theirs)) == [
            "nat 'server': instance default forwards ports without destination, and its rules do not know yet that "
            "{0} is mapped 1:1, so they may take connections to it; run instance default again".format(MAPPED)
        ]
    assert gate.info()["drift"] == [
        "~ {0}: another instance has mapped it 1:1 since the last run, whose rules may take connections to it".format(
            MAPPED
        )
    ]
    assert gate.apply(**mine).changed
    is_kept()
    assert told(gate.apply(**theirs)) == []
    assert gate.info()["as_applied"] and gate.info("two")["as_applied"]


def test_an_address_is_mapped_by_one_instance(nft, net):
    sh("ip addr add {0}/24 dev wan0".format(MAPPED))
    mapped = one_to_one(source=[OFFICE4], to_address="existing")
    nft.apply(**DEFAULT, nat=[mapped, REST])
    with pytest.raises(GatewayError, match="nat 'server' of instance default, and an outside address can stand for"):
        nft.apply(**TWO, nat=[dict(mapped, source=[GUEST4]), REST])
    with pytest.raises(GatewayError, match="is also mapped 1:1 by nat 'server' of instance default, and no order"):
        nft.apply(**TWO, port_forwards=[forward(to=[GUEST4], destination=[MAPPED])])
    assert answering(net, MAPPED) == "office"
    nft.absent()
    nft.apply(**TWO, port_forwards=[forward(to=[GUEST4], destination=[MAPPED])])
    with pytest.raises(GatewayError, match="is also forwarded by port_forwards 'web' of instance two, and no order"):
        nft.apply(**DEFAULT, nat=[mapped, REST])
