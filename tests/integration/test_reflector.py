# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Other tools judge our NAT: coturn's natdiscovery (RFC 5780) with a reflector on two addresses; and a path with a
small MTU that nothing reports."""

from __future__ import annotations

import re
import subprocess

import pytest
from helpers import ONE_LAN
from sandbox import sh
from topology import WAN4
from unhurried import wait_for_server, wait_until

SECOND = "198.18.0.1"
PORTS = ("3478", "3479")
#: The end of a discovery: two lines of equals signs around the verdict.
VERDICT = re.compile(r"NAT with (.*)!|No NAT detected")


@pytest.fixture
def net(net):
    net.nodes["wan"].sh("ip addr add {0}/32 dev lo".format(SECOND))
    return net


@pytest.fixture
def reflector(net, coturn, tmp_path):
    words = ["-n", "--stun-only", "--no-cli", "--no-tls", "--no-dtls", "--log-file", "stdout", "--simple-log"]
    words += ["--pidfile", str(tmp_path / "pid"), "--listening-port", PORTS[0], "--alt-listening-port", PORTS[1]]
    with net.inside("wan"):
        server = subprocess.Popen(
            coturn("turnserver") + words + ["-L", WAN4, "-L", SECOND],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    ready = "ss -Hlun 'sport = :{0}' | grep -c -e {1} -e {2}".format(PORTS[1], WAN4, SECOND)

    def listens():
        assert server.poll() is None, "coturn has ended"
        return int(net.nodes["wan"].sh(ready + " || true")) >= 2

    wait_until(listens, "coturn does not listen")
    yield
    server.kill()
    server.wait()


def discovered(net, coturn, what):
    """What a client in the office detects about mapping (-m) or filtering (-f)."""
    with net.inside("office"):
        done = subprocess.run(
            [*coturn("turnutils_natdiscovery"), what, "-p", PORTS[0], WAN4],
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return VERDICT.findall(done.stdout)


@pytest.mark.usefixtures("reflector")
def test_mapping_is_independent_of_the_endpoint_unless_ports_are_random(gate, net, coturn):
    """RFC 4787 REQ-1: while the client's own port is free, every destination sees it."""
    gate.apply(**ONE_LAN)
    assert discovered(net, coturn, "-m") == ["Endpoint Independent Mapping"]
    gate.apply(nat=[{"name": "all", "random": True}], **ONE_LAN)
    assert discovered(net, coturn, "-m") == ["Address and Port Dependent Mapping"]


@pytest.mark.usefixtures("reflector")
def test_only_who_was_asked_may_answer(gate, net, coturn):
    """RFC 4787 REQ-8: stricter than what it asks for, as docs/rfc.md says."""
    gate.apply(**ONE_LAN)
    assert discovered(net, coturn, "-f") == ["Address and Port Dependent Filtering"]


# --- A path with an unreported MTU -----------------------------------------------------------------------------------

SERVE = """
import socketserver
class Send(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.sendall(bytes(200000))
socketserver.ThreadingTCPServer.daemon_threads = True
socketserver.ThreadingTCPServer(("{0}", 8080), Send).serve_forever()
"""


@pytest.fixture
def black_hole(net):
    """The router outside has a small MTU towards the gateway, and its errors to the server are lost."""
    wan = net.nodes["wan"]
    wan.sh("ip link add inner type veth peer name far0")
    net._node("far")
    far = net.nodes["far"]
    wan.sh("ip link set far0 netns {0}".format(far.path))
    wan.sh("ip addr add 198.18.1.1/24 dev inner; ip link set inner up; ip link set up0 mtu 1280")
    far.sh("ip addr add 198.18.1.2/24 dev far0; ip link set far0 up; ip route add default via 198.18.1.1")
    wan.sh("echo 1 > /proc/sys/net/ipv4/ip_forward; iptables -A OUTPUT -p icmp --icmp-type 3/4 -j DROP")
    with net.inside("far"):
        server = subprocess.Popen(["python3", "-c", SERVE.format("198.18.1.2")])
    wait_for_server(server, far, 8080)
    yield
    server.kill()
    server.wait()


def fetched(net, patience=2):
    """How many bytes of 200,000 a client in the office gets."""
    script = (
        "import socket; client = socket.create_connection(('198.18.1.2', 8080), 2); client.settimeout({0}); got = 0\n"
        "try:\n"
        "    while (part := client.recv(65536)): got += len(part)\n"
        "except TimeoutError: pass\n"
        "print(got)"
    ).format(patience)
    return int(net.nodes["office"].sh('python3 -c "{0}"'.format(script)))


@pytest.mark.usefixtures("black_hole")
def test_a_transfer_that_is_stuck_goes_through_with_a_smaller_mss(gate, net):
    """The gateway does not know the small MTU, so only a number helps."""
    sh("ip route add 198.18.1.0/24 via {0}".format(WAN4))
    gate.apply(mss="keep", **ONE_LAN)
    assert fetched(net) == 0
    gate.apply(mss="1200", **ONE_LAN)
    assert fetched(net) == 200000


@pytest.mark.usefixtures("black_hole")
def test_a_transfer_that_is_stuck_goes_through_with_the_path_mtu(gate, net):
    """The link with the small MTU is the gateway's own, as with PPPoE, so its MTU is known."""
    sh("ip link set wan0 mtu 1280")
    sh("ip route add 198.18.1.0/24 via {0}".format(WAN4))
    gate.apply(mss="keep", **ONE_LAN)
    assert fetched(net) == 0
    gate.apply(**ONE_LAN)
    assert fetched(net) == 200000
