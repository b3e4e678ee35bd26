# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Port shadow (CVE-2021-3773): a client that keeps its port holds that port of the gateway towards one peer."""

from __future__ import annotations

import contextlib
import socket

import pytest
from helpers import TWO_LANS
from topology import CLIENTS, GATE4, GATE6, WAN4, WAN6

PORT = 51820
SOON = 0.4
#: The gateway, a peer of it, and a client of a LAN, with the same port each: (client, peer, gateway)
ENDS = [(CLIENTS["guest"][1], WAN4, GATE4), (CLIENTS["guest"][2], WAN6, GATE6)]


@contextlib.contextmanager
def opened(net, client: str, peer: str):
    family = socket.AF_INET6 if ":" in peer else socket.AF_INET
    with (
        net.socket("gate", family, socket.SOCK_DGRAM) as gateway,
        net.socket("wan", family, socket.SOCK_DGRAM) as far,
        net.socket("guest", family, socket.SOCK_DGRAM) as guest,
    ):
        gateway.bind(("", PORT))
        far.bind((peer, PORT))
        guest.bind((client, PORT))
        for each in (gateway, far, guest):
            each.settimeout(SOON)
        yield gateway, far, guest


def reached(sockets: dict) -> list:
    found = []
    for name, each in sockets.items():
        with contextlib.suppress(TimeoutError):
            each.recvfrom(20)
            found.append(name)
    return found


@pytest.mark.parametrize("way", ["as it is", "the gateway speaks first", "to_port", "random"])
def test_who_gets_what_a_peer_sends_to_a_port_of_the_gateway(gate, net, way):
    item = {"name": "all", "to_port": "20000-50000"} if way == "to_port" else {"name": "all", "random": way == "random"}
    gate.apply(ipv6="masquerade", nat=[item], **TWO_LANS)
    for client, peer, own in ENDS:
        with opened(net, client, peer) as (gateway, far, guest):
            if way == "the gateway speaks first":
                gateway.sendto(b"keepalive", (peer, PORT))
                assert far.recvfrom(20)[1][1] == PORT
            guest.sendto(b"shadow", (peer, PORT))
            kept = far.recvfrom(20)[1][1] == PORT
            far.sendto(b"handshake", (own, PORT))
            assert kept == (way == "as it is")
            assert reached({"gateway": gateway, "guest": guest}) == ["guest" if kept else "gateway"]
            # What the gateway itself opens gets through, by another port.
            gateway.sendto(b"handshake", (peer, PORT))
            answer = far.recvfrom(20)[1]
            assert (answer[1] != PORT) == kept
            far.sendto(b"answer", answer)
            assert reached({"gateway": gateway, "guest": guest}) == ["gateway"]
