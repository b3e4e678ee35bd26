# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Servers of the lab survive anything that a client sends: a dead one would look like a gateway that loses packets."""

from __future__ import annotations

import configparser
import pathlib
import socket
import struct
import subprocess
import sys
import time

import pytest
from topology import WAN4, WAN6, Topology
from unhurried import patience

IMAGE = pathlib.Path(__file__).resolve().parents[2] / "roles/lab/files/image/root"
UNITS = sorted((IMAGE / "etc/systemd/system").glob("lab-*.service"))
PORT = 9999
NOWHERE = "100.64.9.9"


def asked(net, address):
    with net.socket("gate", socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(patience())
        client.connect((address, PORT))
        for _attempt in range(100):
            try:
                client.send(b"x")
                return client.recv(100).decode().split()[0]
            except TimeoutError:
                break
            except ConnectionRefusedError:
                time.sleep(0.05)  # It is still starting, or starting again.
    return "no answer"


def from_nowhere(net, address, count):
    """Datagrams whose source the server has no route to, so that it cannot answer."""
    udp = struct.pack("!HHHH", 40000, PORT, 8, 0)
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0, 64, socket.IPPROTO_UDP, 0)
    packet = header + socket.inet_aton(NOWHERE) + socket.inet_aton(address) + udp
    with net.socket("gate", socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        for _each in range(count):
            raw.sendto(packet, (address, 0))


def test_the_echo_server_outlives_clients_that_it_cannot_answer(nft):
    net = Topology()
    net.nodes["wan"].sh("for f in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 > $f; done")
    with net.inside("wan"):
        server = subprocess.Popen([sys.executable, str(IMAGE / "usr/lib/ipmasq-lab/echo"), WAN4, WAN6])
    try:
        assert (asked(net, WAN4), asked(net, WAN6)) == ("203.0.113.2", "2001:db8:ff::2")
        from_nowhere(net, WAN4, 6)
        assert (asked(net, WAN4), asked(net, WAN6)) == ("203.0.113.2", "2001:db8:ff::2")
        assert server.poll() is None
    finally:
        server.kill()
        server.wait()
        net.close()


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.stem)
def test_a_server_that_dies_is_started_again_for_good(path):
    """By default systemd gives up after five starts within ten seconds."""
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str
    unit.read(path, encoding="utf-8")
    if unit["Service"].get("Type") == "oneshot":
        return
    assert unit["Service"]["Restart"] == "always"
    assert unit["Service"]["RestartSec"] == "1"
    assert unit["Unit"]["StartLimitIntervalSec"] == "0"
