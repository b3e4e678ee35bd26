# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A LAN is served beside docker, libvirt and systemd-resolved; each of them still serves its own."""

from __future__ import annotations

import labtalk
import pytest

LAB = labtalk.load()
GATEWAY, CLIENT = LAB.gateways[0], LAB.clients[0]
#: The address for a name, from the end of the answer of a server.
ASK = """
import socket, sys
client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
client.settimeout(4)
labels = b"".join(bytes([len(each)]) + each.encode() for each in sys.argv[1].split("."))
client.sendto(b"ab" + bytes([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]) + labels + bytes([0, 0, 1, 0, 1]), (sys.argv[2], 53))
answer = client.recv(999)
print(socket.inet_ntoa(answer[-4:]) if answer[7] else "")
"""


def address() -> str:
    shown = CLIENT.run("ip", "-4", "-o", "addr", "show", "lan0").stdout.split()
    return shown[3].split("/")[0] if len(shown) > 3 else ""


@pytest.fixture(scope="module", autouse=True)
def client() -> None:
    """Plugged in only now: until the first run, nobody has given it an address."""
    if not address():
        CLIENT.must("networkctl", "reconfigure", "lan0")
    assert labtalk.wait_until(lambda: bool(address()), 60), "the client has no address"


def named(node: labtalk.Node, name: str, server: str) -> str:
    return node.run("python3", "-c", ASK, name, server).stdout


def test_a_client_gets_an_address_a_route_and_names() -> None:
    assert 100 <= int(address().removeprefix("192.168.1.")) <= 250
    assert "default via 192.168.1.1 dev lan0" in CLIENT.must("ip", "route")
    assert labtalk.wait_until(lambda: "via fe80:" in CLIENT.must("ip", "-6", "route", "show", "default"))
    assert named(CLIENT, "office.office.example", "192.168.1.1") == address()


def test_it_reaches_the_internet_by_names_and_addresses() -> None:
    """The gateway asks systemd-resolved, as the host does. Only that one reads /etc/hosts."""
    reflector = LAB.reflectors(4)[0]
    assert named(CLIENT, "www.example", "192.168.1.1") == "9.9.9.9"
    assert CLIENT.web(reflector).stdout.split()[0] == LAB.seen_as(CLIENT, 4)


def test_it_reaches_a_published_port_of_docker() -> None:
    assert CLIENT.must("curl", "-s", "--max-time", "4", "http://198.51.100.2:8080/") == "box"


def test_the_host_still_asks_systemd_resolved() -> None:
    assert named(GATEWAY, "wan.example", "127.0.0.53") == named(LAB.wan, "wan.example", "127.0.0.1")
    assert GATEWAY.must("cat", "/etc/resolv.conf").count("nameserver") == 1


def test_a_guest_of_libvirt_gets_an_address_of_libvirt() -> None:
    asks = ("busybox", "udhcpc", "-i", "eth0", "-f", "-n", "-q", "-t", "8", "-T", "1", "-s", "/bin/true")
    answer = GATEWAY.run("ip", "netns", "exec", "guest", *asks)
    assert "lease of 192.168.122." in answer.stdout + answer.stderr, answer


def test_nobody_serves_the_network_of_another() -> None:
    """Our dnsmasq has no socket at an address of docker's, libvirt's or systemd-resolved's."""
    ours = GATEWAY.must("sh", "-c", "ss -Hlnup | grep pid=$(cat /run/ipmasq-services/default.pid),")
    assert "192.168.1.1%office0:53" in ours or "192.168.1.1:53" in ours
    assert not [line for line in ours.splitlines() if "192.168.122" in line or "172.17" in line or "127.0.0" in line]
