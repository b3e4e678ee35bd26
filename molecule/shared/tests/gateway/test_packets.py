# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Packets on their way through each gateway: outbound ones leave as the gateway, inbound ones do not enter."""

from __future__ import annotations

import functools
import ipaddress
import typing as t

import labtalk
import pytest

LAB = labtalk.load()
PORT = 8080

WAYS_OUT = [
    (client, reflector)
    for client in LAB.clients
    for family in client.families()
    for reflector in LAB.reflectors(family)
]
CLIENTS = [(client, address) for client in LAB.clients for address in client.addresses]
# Every pair of clients of the same site in different LANs, one entry per address of the one that is called.
STRANGERS = [
    (caller, called, address)
    for caller in LAB.clients
    for called in LAB.clients
    for address in called.addresses
    if LAB.gateway_of(caller) is LAB.gateway_of(called)
    and not set(caller.links) & set(called.links)
    and labtalk.version(address) in caller.families()
]


def name(value: t.Any) -> str:
    return value.name if isinstance(value, labtalk.Node) else str(value)


@pytest.fixture(scope="module", autouse=True)
def forget_the_past() -> None:
    LAB.forget()


@pytest.fixture(scope="module")
def listeners() -> t.Iterator[None]:
    """A server on every client, so that a missing server cannot be the reason for silence."""
    for client in LAB.clients:
        client.run("systemctl", "reset-failed", "listener.service")
        serve = ["python3", "-m", "http.server", "--bind", "::", str(PORT)]
        client.must("systemd-run", "--quiet", "--unit", "listener", *serve)
    for client, address in CLIENTS:
        # From the LAN itself, or the tests below would prove nothing.
        served = functools.partial(LAB.gateway_of(client).connects, address, PORT)
        assert labtalk.wait_until(served), f"{client.name} does not serve"
    yield
    for client in LAB.clients:
        client.run("systemctl", "stop", "listener.service")


@pytest.fixture
def route_from_wan(request: pytest.FixtureRequest) -> t.Iterator[None]:
    """A host on the WAN with a route into the LAN, during one test."""
    client, address = request.getfixturevalue("client"), request.getfixturevalue("address")
    family = labtalk.version(address)
    length = "24" if family == 4 else "64"
    network = str(ipaddress.ip_interface(f"{address}/{length}").network)
    route = [f"-{family}", "route", "{}", network, "via", LAB.seen_as(client, family)]
    LAB.wan.must("ip", *[word.format("add") for word in route])
    yield
    LAB.wan.must("ip", *[word.format("del") for word in route])


@pytest.mark.parametrize(("client", "reflector"), WAYS_OUT, ids=name)
def test_tcp_leaves_as_the_gateway(client: labtalk.Node, reflector: str) -> None:
    answer = client.web(reflector)
    assert answer.rc == 0, answer
    assert answer.stdout.split()[0] == LAB.seen_as(client, labtalk.version(reflector))


@pytest.mark.parametrize(("client", "reflector"), WAYS_OUT, ids=name)
def test_udp_leaves_as_the_gateway(client: labtalk.Node, reflector: str) -> None:
    answer = client.echo(reflector)
    assert answer.rc == 0, answer
    assert answer.stdout.split()[0] == LAB.seen_as(client, labtalk.version(reflector))


@pytest.mark.parametrize(("client", "reflector"), WAYS_OUT, ids=name)
def test_icmp_gets_an_answer(client: labtalk.Node, reflector: str) -> None:
    assert client.ping(reflector).rc == 0


@pytest.mark.parametrize("client", LAB.clients, ids=name)
def test_names_are_resolved_through_the_gateway(client: labtalk.Node) -> None:
    assert client.must("getent", "ahostsv4", "wan.example").split()[0] in LAB.reflectors(4)


@pytest.mark.parametrize(("client", "address"), CLIENTS, ids=name)
@pytest.mark.usefixtures("listeners", "route_from_wan")
def test_wan_cannot_open_a_connection(client: labtalk.Node, address: str) -> None:
    assert LAB.wan.reaches(address, PORT) == set(), f"{client.name} answers the WAN"


@pytest.mark.parametrize(("caller", "called", "address"), STRANGERS, ids=name)
@pytest.mark.usefixtures("listeners")
def test_lans_cannot_reach_each_other(caller: labtalk.Node, called: labtalk.Node, address: str) -> None:
    assert caller.reaches(address, PORT) == set(), f"{called.name} answers {caller.name}"


def test_the_web_server_saw_only_gateways() -> None:
    """Last of all: what the log and the counters hold after everything above."""
    gateways = {address for gateway in LAB.gateways for address in gateway.links[LAB.wan_network]}
    for client, reflector in WAYS_OUT:
        client.web(reflector)
    assert LAB.seen_by_web() == gateways


def test_no_private_source_reached_the_wan() -> None:
    assert LAB.private_packets() == {"private_v4": 0, "private_v6": 0}
