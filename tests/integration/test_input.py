# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What may reach the gateway itself, with the details of each protocol."""

from __future__ import annotations

import contextlib
import select
import shutil
import socket
import struct
import subprocess
import sys
import time

import pytest
from helpers import TWO_LANS
from sandbox import sh
from test_undeclared import published_by_another
from topology import CLIENTS, GATE4, GATE6, SECOND4, WAN4, WAN6, Servers, Sniffer, icmp, ip, mac, udp
from unhurried import wait_until

from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError
from ansible_collections.ipmasq.linux.plugins.module_utils._facts import controller

OFFICE4, OFFICE6 = CLIENTS["office"][1:]
pytestmark = pytest.mark.skipif(not shutil.which("ping"), reason="ping is not installed")

#: Name to number and payload: nothing but a header of its protocol.
HEADERS = {
    "ah": (51, struct.pack("!BBHII12x", 17, 4, 0, 0x100, 1) + struct.pack("!HHHH", 500, 500, 8, 0)),
    "esp": (50, struct.pack("!II16x", 0x100, 1)),
    "gre": (47, struct.pack("!HH4x", 0x2000, 0x0800)),
    "ipv6": (41, bytes(40)),
    "vrrp": (112, struct.pack("!BBBBHH4x", 0x21, 1, 100, 1, 1, 0)),
}
IGMP = (2, b"\x11\x64\xee\x9b" + bytes(4))  # a general query, with its checksum


@contextlib.contextmanager
def listening(protocol):
    """Raw sockets of the gateway for this protocol, which show what the filter has let in."""
    with contextlib.ExitStack() as stack:
        found = [
            stack.enter_context(socket.socket(family, socket.SOCK_RAW, protocol))
            for family in (socket.AF_INET, socket.AF_INET6)
        ]

        def came():
            """The families of the packets since the last call."""
            seen = set()
            while True:
                ready = select.select(found, [], [], 0.05)[0]
                if not ready:
                    return seen
                for each in ready:
                    each.recv(2000)
                    seen.add("ip" if each.family == socket.AF_INET else "ip6")

        yield came


def from_outside(net, *packets, node="wan", link="wan0"):
    """Past the IP stack of a node, directly to the gateway."""
    with net.inside(node), socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
        raw.bind(("up0", 0))
        ours = mac(sh("ip -o link show dev up0"), "link/ether ")
        for packet in packets:
            kind = 0x86DD if packet[0] >> 4 == 6 else 0x0800
            raw.send(net.macs[link] + ours + struct.pack("!H", kind) + packet)


@pytest.fixture
def gateway(gate, net):
    """The gateway, with its hardware addresses for tests that write frames."""
    net.macs = {link: mac(sh("ip -o link show dev " + link), "link/ether ") for link in ("wan0", "lan0", "guest0")}
    return gate


def test_every_protocol_that_can_be_named_is_let_in(gateway, net):
    for allowed in (False, True):
        items = [{"name": each, "protocol": [each]} for each in HEADERS] if allowed else []
        gateway.apply(**TWO_LANS, input="protect", input_allow=items)
        for name, (number, payload) in HEADERS.items():
            with listening(number) as came:
                from_outside(net, ip(WAN4, GATE4, number, payload), ip(WAN6, GATE6, number, payload))
                assert came() == ({"ip", "ip6"} if allowed else set()), name


def test_every_protocol_that_can_be_named_is_kept_in(gateway, net):
    for refused in (False, True):
        items = [{"name": each, "protocol": [each], "action": "drop"} for each in HEADERS] if refused else []
        gateway.apply(**TWO_LANS, outbound=items)
        with Sniffer(net) as outside:
            for name, (number, payload) in HEADERS.items():
                packets = [ip(source, to, number, payload) for source, to in ((OFFICE4, WAN4), (OFFICE6, WAN6))]
                from_outside(net, *packets, node="office", link="lan0")
                # Neighbour discovery happens in the meantime.
                came = [(packet[0] >> 4, packet[9 if packet[0] >> 4 == 4 else 6]) for packet in outside.packets()]
                seen = {"ip" if version == 4 else "ip6" for version, protocol in came if protocol == number}
                assert seen == (set() if refused else {"ip", "ip6"}), name


def test_igmp_can_be_named_in_every_list(gateway, net):
    """It exists for IPv4 only. Under protect it is let in anyway, with an item of its own, too."""
    number = IGMP[0]

    def leaves() -> bool:
        with Sniffer(net) as outside:
            from_outside(net, ip(OFFICE4, WAN4, *IGMP), node="office", link="lan0")
            return number in [packet[9] for packet in outside.packets() if packet[0] >> 4 == 4]

    gateway.apply(**TWO_LANS)
    assert leaves()
    kept = [{"name": "igmp", "protocol": ["igmp"], "action": "drop"}]
    gateway.apply(**TWO_LANS, outbound=kept)
    assert not leaves()
    assert not gateway.apply(**TWO_LANS, outbound=kept).changed
    for items in ([], [{"name": "igmp", "protocol": ["igmp"]}]):
        gateway.apply(**TWO_LANS, input="protect", input_allow=items)
        with listening(number) as came:
            from_outside(net, ip(WAN4, GATE4, *IGMP))
            assert came() == {"ip"}
    # An item of NAT that names it covers no other protocol.
    gateway.apply(**TWO_LANS, nat=[{"name": "igmp", "protocol": ["igmp"], "action": "exempt"}, {"name": "rest"}])
    with Sniffer(net) as outside:
        gre = struct.pack("!HH4x", 0x2000, 0x0800)
        from_outside(net, ip(OFFICE4, WAN4, *IGMP), ip(OFFICE4, WAN4, 47, gre), node="office", link="lan0")
        seen = {(str(source), proto) for source, proto in outside.sources() if proto in (number, 47)}
    assert seen == {(OFFICE4, number), (GATE4, 47)}


def wire_beside(net, link):
    """A link of the gateway that nobody declares, with a host behind it."""
    net._node(link)
    net._link(link, link, "10.9.0.1/24", "fd09::1/64", "10.9.0.9/24", "fd09::9/64")
    net._awake(link, "10.9.0.1", "fd09::1")
    net.macs[link] = mac(sh("ip -o link show dev " + link), "link/ether ")


def test_protect_is_for_every_link_that_is_no_lan(gateway, net):
    """A management link that nobody has declared is guarded; a manager's bridge and lo are left alone."""
    wire_beside(net, "mgmt0")
    gateway.apply(**TWO_LANS, input="protect", input_allow=[{"name": "web", "protocol": ["tcp"], "port": ["80"]}])
    with Servers(net, "tcp", ("gate", 8080), ("gate", 80), ("gate", 22)) as servers:
        for address in ("10.9.0.1", "fd09::1"):
            assert servers.asked("mgmt0", address, 8080, timeout=0.3) == "timeout"
            assert servers.asked("mgmt0", address, 80).port == 80
            assert servers.asked("mgmt0", address, 22).port == 22
        for address in ("192.168.1.1", "fd00:1::1"):
            assert servers.asked("office", address, 8080).port == 8080
        for address in ("127.0.0.1", "::1"):
            assert servers.asked("gate", address, 8080).port == 8080
        assert net.ping("mgmt0", "10.9.0.1") and net.ping("mgmt0", "fd09::1")
        # An answer to a connection from the gateway itself.
        assert net.tcp("gate", "mgmt0", "10.9.0.9") == "10.9.0.1"
        sh("ip link set mgmt0 down; ip link set mgmt0 name virbr0; ip link set virbr0 up")
        assert servers.asked("mgmt0", "10.9.0.1", 8080).port == 8080
    gateway.apply(**TWO_LANS)


#: Router advertisement and solicitation of IPv4; IGMP; discovery of multicast routers.
QUERIES = [
    (socket.IPPROTO_ICMP, lambda source, to: icmp(source, to, 9, 0)),
    (socket.IPPROTO_ICMP, lambda source, to: icmp(source, to, 10, 0)),
    (socket.IPPROTO_IGMP, lambda source, to: ip(source, to, *IGMP)),
    *(
        (socket.IPPROTO_ICMPV6, lambda source, to, kind=kind: icmp(source, to, kind, 0))
        for kind in (130, 131, 132, 133, 134, 143, 151, 152, 153)
    ),
]


@pytest.mark.parametrize("mode", ["open", "protect"])
def test_what_conntrack_does_not_know_is_not_invalid(gateway, net, mode):
    gateway.apply(**TWO_LANS, input=mode)
    for number, make in QUERIES:
        family = "ip6" if number == socket.IPPROTO_ICMPV6 else "ip"
        for node, link in (("wan", "wan0"), ("office", "lan0")):
            source = {"ip": {"wan": WAN4, "office": OFFICE4}, "ip6": {"wan": WAN6, "office": OFFICE6}}[family][node]
            to = {"ip": {"wan": GATE4, "office": "192.168.1.1"}, "ip6": {"wan": GATE6, "office": "fd00:1::1"}}[family][
                node
            ]
            with listening(number) as came:
                packet = make(source, to)
                from_outside(net, packet, node=node, link=link)
                assert came() == {family}, (mode, node, packet)


def test_what_is_invalid_is_dropped(gateway, net):
    """Errors about nothing and stray segments: from a WAN and from a LAN, with input left open, too."""
    gateway.apply(**TWO_LANS)
    with listening(socket.IPPROTO_ICMP) as came:
        from_outside(net, icmp(WAN4, GATE4, 3, 3, udp(GATE4, WAN4)), icmp(WAN4, GATE4, 200, 0))
        from_outside(net, icmp(OFFICE4, "192.168.1.1", 3, 3, udp("192.168.1.1", OFFICE4)), node="office", link="lan0")
        assert came() == set()


def test_a_forward_to_a_service_of_the_gateway_itself(gateway, net):
    """Clients that the forward lets in reach it with and without protect; a direct request to the service does not."""
    net.wire_second_wan()
    forwards = [
        {"name": "v4", "port": ["8443"], "to_port": 8080, "to": ["192.168.1.1"], "source": [WAN4 + "/32"]},
        {"name": "v6", "port": ["8443"], "to_port": 8080, "to": ["fd00:1::1"], "wan": "wan0"},
    ]
    options = dict(TWO_LANS, wans=[{"interface": "wan0"}, {"interface": "wan1"}], port_forwards=forwards)
    for mode in ("open", "protect"):
        gateway.apply(**options, input=mode)
        with Servers(net, "tcp", ("gate", 8080)) as servers:
            assert servers.asked("wan", GATE4, 8443).peer == WAN4
            assert servers.asked("wan", GATE6, 8443).peer == WAN6
            if mode == "protect":
                for node, address in (("wan", GATE4), ("wan", GATE6), ("isp", SECOND4), ("wan", "192.168.1.1")):
                    assert servers.asked(node, address, 8080, timeout=0.3) == "timeout"


@pytest.mark.parametrize("mode", ["open", "protect"])
def test_a_forward_to_a_shared_address_of_the_gateway(gateway, net, mode):
    """The run is on the backup, which has not got the address (VRRP); one on the master changes nothing."""
    forwards = [
        {"name": "v4", "port": ["8443"], "to_port": 8080, "to": ["192.168.1.254"]},
        {"name": "v6", "port": ["8443"], "to_port": 8080, "to": ["fd00:1::254"]},
    ]
    gateway.apply(**TWO_LANS, port_forwards=forwards, input=mode)
    sh("ip addr add 192.168.1.254/32 dev lan0; ip addr add fd00:1::254/128 dev lan0 nodad")
    # The kernel makes the route of an IPv6 address a moment later.
    wait_until(lambda: sh("ip -6 route show table local fd00:1::254"), "fd00:1::254 does not become one of this host")
    with Servers(net, "tcp", ("gate", 8080)) as servers:
        assert servers.asked("wan", GATE4, 8443).peer == WAN4
        assert servers.asked("wan", GATE6, 8443).peer == WAN6
        for address in (GATE4, GATE6, "192.168.1.254") if mode == "protect" else ():
            assert servers.asked("wan", address, 8080, timeout=0.3) == "timeout"
    assert not gateway.apply(**TWO_LANS, port_forwards=forwards, input=mode).changed


def test_a_forward_opens_nothing_that_another_program_translates(gateway, net):
    """A NodePort of kube-proxy, for example, to an address of this host in the LAN."""
    forwards = [
        {"name": "v4", "port": ["443"], "to": ["192.168.1.20"]},
        {"name": "v6", "port": ["443"], "to": ["fd00:1::20"]},
    ]
    for port, at in ((9000, ""), (9001, ":443")):
        published_by_another(gateway, port, "192.168.1.1" + at)
        published_by_another(gateway, port, "[fd00:1::1]" + at)
    for given in ([], forwards):
        gateway.apply(**TWO_LANS, port_forwards=given, input="protect")
        with Servers(net, "tcp", ("gate", 9000), ("gate", 443)) as servers:
            for address in (GATE4, GATE6):
                assert servers.asked("wan", address, 9000, timeout=0.3) == "timeout"
                assert servers.asked("wan", address, 9001, timeout=0.3) == "timeout"


#: An SSH server under its own name: it listens on all addresses, and on loopback on another port.
SSHD = """
import ctypes, os, socket, sys, time
ctypes.CDLL(None).prctl(15, b"sshd", 0, 0, 0)  # PR_SET_NAME
port, user = map(int, sys.argv[1:])
os.setuid(user)
held = [socket.create_server(("", port)), socket.create_server(("127.0.0.1", port + 1000))]
print("ready", flush=True)
time.sleep(60)
"""


@contextlib.contextmanager
def sshd(port, user=0):
    argv = [sys.executable, "-c", SSHD, str(port), str(user)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout.readline() == "ready\n"
            yield
        finally:
            server.kill()


def open_ports(net, *ports):
    """The ports, of a few, that the filter opens to the WAN: answered, or refused because nothing listens."""
    clients = {net.socket("wan", socket.AF_INET, socket.SOCK_STREAM): port for port in ports}
    for client, port in clients.items():
        client.setblocking(False)
        client.connect_ex((GATE4, port))
    time.sleep(0.3)
    found = select.select([], list(clients), [], 0)[1]
    for client in clients:
        client.close()
    return {clients[client] for client in found}


@pytest.mark.parametrize("backend", ["nft"])
def test_every_port_of_ssh_stays_open_whoever_runs(gateway, net, monkeypatch):
    """Two operators on two ports, cron, and a server that has moved: no run closes a port that another needs."""
    all_ports = (22, 1022, 2222, 2022)

    def apply(came_by, **options):
        monkeypatch.setattr(controller, "_run", lambda _host, port=came_by: (port, ()))
        return gateway.apply(**TWO_LANS, input="protect", **options)

    with sshd(22), sshd(2222):
        for came_by in (2222, 22, None):
            done = apply(came_by)
            assert done.changed == (came_by == 2222)
            assert not [note for note in done.notes if note.startswith("input")]
            assert open_ports(net, *all_ports) == {22, 2222}
        with socket.create_server(("", 2022)):  # of inetd
            assert apply(2022).changed
    # Both servers are gone, but the administrator has not asked for anything.
    with socket.create_server(("", 2022)):
        done = apply(2022)
        assert not done.changed
        assert [note for note in done.notes if note.startswith("input: port 22, 2222 stays open for SSH as before")]
        assert open_ports(net, *all_ports) == {22, 2222, 2022}
        with pytest.raises(
            GatewayError, match="input_controller_ports: this run uses SSH on port 2022, which is not in the list"
        ):
            apply(2022, input_controller_ports=[2222])
    apply(2222, input_controller_ports=[2222])
    assert open_ports(net, *all_ports) == {2222}
    apply(None)
    assert open_ports(net, *all_ports) == {2222}
    apply(None, input_controller_ports=[])
    assert open_ports(net, *all_ports) == set()


@pytest.mark.parametrize("backend", ["nft"])
def test_no_user_opens_a_port(gateway, net, monkeypatch):
    """Everybody can call a process sshd, let it listen, and say in the environment of sudo that SSH came that way."""
    monkeypatch.setattr(controller, "_run", lambda _host: (31337, ()))
    with sshd(22), sshd(31337, user=65534):
        for _run in range(2):
            gateway.apply(**TWO_LANS, input="protect")
            assert open_ports(net, 22, 31337) == {22}


def test_instances_protect_what_is_no_link_of_another(gateway, net):
    """The other instance decides about its own LAN and WAN, in any order of runs."""
    net.wire_second_wan()
    first = {"wans": [{"interface": "wan0"}], "lans": TWO_LANS["lans"][:1], "input": "protect"}
    second = {"wans": [{"interface": "wan1"}], "lans": TWO_LANS["lans"][1:], "instance": "second"}
    gateway.apply(**first)
    gateway.apply(**second)
    gateway.apply(**first)
    with Servers(net, "tcp", ("gate", 8080)) as servers:
        assert servers.asked("guest", "192.168.2.1", 8080).port == 8080
        assert servers.asked("guest", "fd00:2::1", 8080).port == 8080
        assert servers.asked("isp", SECOND4, 8080).port == 8080
        assert servers.asked("wan", GATE4, 8080, timeout=0.3) == "timeout"
        gateway.apply(**second, input="protect")
        gateway.apply(**first)
        assert servers.asked("office", "192.168.1.1", 8080).port == 8080
        assert servers.asked("guest", "192.168.2.1", 8080).port == 8080
        assert servers.asked("isp", SECOND4, 8080, timeout=0.3) == "timeout"
