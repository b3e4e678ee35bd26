# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Packets show on each site what the scenario's inventory declares. tests/integration tests the other options in
namespaces; this is the role, run by Ansible, on real hosts, and after a power cycle."""

from __future__ import annotations

import functools
import typing as t

import labtalk
import pytest

LAB = labtalk.load()
#: Gateway to the outside address that belongs to its office client.
OWN = {"gateway-a": "198.51.100.12", "gateway-b": "198.51.100.13"}
FORWARDED, SERVED, CLOSED = 8000, 8080, 8081
OFFICES = [client for client in LAB.clients if client.name.startswith("office")]
GUESTS = [client for client in LAB.clients if client not in OFFICES]
WHOAMI = """
import http.server, sys, threading
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        text = self.client_address[0].replace("::ffff:", "").encode()
        self.send_response(200); self.send_header("Content-Length", str(len(text))); self.end_headers()
        self.wfile.write(text)
    def log_message(self, *_words): pass
class Server(http.server.ThreadingHTTPServer):
    address_family = 10
for port in sys.argv[2:]:
    threading.Thread(target=Server(("::", int(port)), Answer).serve_forever).start()
"""

each_office = pytest.mark.parametrize("client", OFFICES, ids=lambda node: node.name)
each_guest = pytest.mark.parametrize("client", GUESTS, ids=lambda node: node.name)
each_gateway = pytest.mark.parametrize("gateway", LAB.gateways, ids=lambda node: node.name)


def outside(client: labtalk.Node) -> str:
    """The address that the client's gateway has on the WAN."""
    return LAB.seen_as(client, 4)


def asked(client: labtalk.Node, address: str, port: int) -> str:
    """The address that a server saw; empty if there is no answer."""
    answer = client.run("curl", "--silent", "--max-time", "15", f"http://{address}:{port}/")
    return answer.stdout if answer.rc == 0 else ""


@pytest.fixture(scope="module", autouse=True)
def servers() -> t.Iterator[None]:
    """Every host has a server, so that the gateway must be the reason for silence."""
    LAB.forget()
    nodes = [*LAB.clients, *LAB.gateways, LAB.wan]
    for node in nodes:
        node.run("systemctl", "reset-failed", "whoami.service")
        ports = [str(SERVED), str(CLOSED), "25"]
        node.must("systemd-run", "--quiet", "--unit", "whoami", "python3", "-c", WHOAMI, "whoami", *ports)
    for node in nodes:
        assert labtalk.wait_until(functools.partial(node.connects, "127.0.0.1", SERVED)), node.name
    yield
    for node in nodes:
        node.run("systemctl", "stop", "whoami.service")


@each_office
def test_a_static_client_goes_out_and_is_called_by_its_own_address(client: labtalk.Node) -> None:
    own = OWN[LAB.gateway_of(client).name]
    for reflector in LAB.reflectors(4):
        assert client.web(reflector).stdout.split()[0] == own
        assert client.echo(reflector).stdout.split()[0] == own
    assert asked(LAB.wan, own, SERVED) == LAB.wan.address_on(LAB.wan_network, 4)


@each_guest
def test_guests_share_a_range_of_ports(client: labtalk.Node) -> None:
    for reflector in LAB.reflectors(4):
        address, port = client.echo(reflector).stdout.split()
        assert address == outside(client)
        assert 20000 <= int(port) <= 20999


@each_guest
def test_a_forward_shows_the_server_who_asks(client: labtalk.Node) -> None:
    assert asked(LAB.wan, outside(client), FORWARDED) == LAB.wan.address_on(LAB.wan_network, 4)


@each_office
def test_a_hairpin_shows_the_address_outside(client: labtalk.Node) -> None:
    assert asked(client, outside(client), FORWARDED) == outside(client)


@each_guest
def test_what_no_forward_names_is_closed(client: labtalk.Node) -> None:
    assert not LAB.wan.connects(outside(client), CLOSED)


@each_office
def test_the_office_reaches_guests_and_not_the_other_way(client: labtalk.Node) -> None:
    guest = next(node for node in GUESTS if LAB.gateway_of(node) is LAB.gateway_of(client))
    assert asked(client, guest.addresses[0], SERVED) == client.address_on(next(iter(client.links)), 4)
    assert not guest.connects(client.address_on(next(iter(client.links)), 4), SERVED)


@each_guest
def test_guests_send_no_mail(client: labtalk.Node) -> None:
    wan = LAB.wan.address_on(LAB.wan_network, 4)
    assert not client.connects(wan, 25)
    assert client.connects(wan, SERVED)


@each_gateway
def test_the_gateway_answers_the_wan_what_it_allows(gateway: labtalk.Node) -> None:
    address = gateway.address_on(LAB.wan_network, 4)
    assert LAB.wan.connects(address, SERVED)
    assert not LAB.wan.connects(address, CLOSED)
    assert LAB.wan.ping(address).rc == 0


@each_gateway
def test_timers_and_forwarding(gateway: labtalk.Node) -> None:
    switches = {"net.netfilter.nf_conntrack_udp_timeout": "120", "net.ipv4.ip_forward": "1"}
    for key, value in switches.items():
        assert gateway.must("sysctl", "-n", key) == value


def test_no_private_source_reached_the_wan() -> None:
    """Last of all: after everything above."""
    assert LAB.private_packets() == {"private_v4": 0, "private_v6": 0}
