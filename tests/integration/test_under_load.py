# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Change after change while packets flow: nothing of theirs is lost, nothing leaves untranslated, nothing gets in.

``IPMASQ_CHANGES=100`` makes more of them.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess

import pytest
from faults import fork
from helpers import TWO_LANS
from pings import Pings
from sandbox import sh
from topology import CLIENTS, WAN4, Sniffer
from unhurried import wait_for_server

from ansible_collections.ipmasq.linux.plugins.module_utils._rollback import rollback

#: A flow of 5 Mbit/s in packets of 1,000 bytes, until it is told to end.
TRANSFER = ("-u", "-b", "5M", "-l", "1000", "-t", "600")
CHANGES = int(os.environ.get("IPMASQ_CHANGES", "10"))
OFFICE4 = CLIENTS["office"][1]
#: The hostile neighbour knows the way to the LAN.
INTRUDE = """
import socket, time
knock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
while True:
    knock.sendto(b"let me in", ("{0}", 9999))
    time.sleep(0.001)
"""
#: Each packet of a new flow, as only these meet the rules of NAT.
OPEN = """
import socket, time
while True:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.sendto(b"x", ("{0}", 5353))
    time.sleep(0.001)
"""


@pytest.mark.skipif(not shutil.which("iperf3"), reason="iperf3 is not installed")
def test_changes_while_packets_flow(gate, net):
    gate.apply(**TWO_LANS)
    with Sniffer(net) as outside, net.socket("office", socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind((OFFICE4, 9999))
        listener.setblocking(False)
        with net.inside("wan"):
            server = subprocess.Popen(["iperf3", "-s", "-1", "-J", "--bind", WAN4], stdout=subprocess.PIPE, text=True)
        wait_for_server(server, net.nodes["wan"], 5201)
        with net.inside("office"):
            opening = subprocess.Popen(["python3", "-c", OPEN.format(WAN4)])
            transfer = subprocess.Popen(["iperf3", *TRANSFER, "-c", WAN4], stdout=subprocess.DEVNULL)
        with net.inside("wan"):
            intruder = subprocess.Popen(["python3", "-c", INTRUDE.format(OFFICE4)])
        pings = Pings(net, "office", WAN4)
        try:
            for number in range(CHANGES):
                # A forward more, another port, a LAN that reaches the other: rules of every table change.
                forward = {"name": "web", "port": [str(8000 + number)], "to": [OFFICE4]}
                lans = [dict(TWO_LANS["lans"][0], reaches=["guests"] * (number % 2)), TWO_LANS["lans"][1]]
                assert gate.apply(**dict(TWO_LANS, lans=lans, port_forwards=[forward])).changed
        finally:
            for process in (opening, intruder):
                process.kill()
                process.wait()
            transfer.send_signal(signal.SIGINT)
            transfer.wait()
            answered = pings.end()
            received = json.loads(server.communicate(timeout=30)[0])["intervals"]
        assert len(answered) > 10 * CHANGES
        # What was asked after the last answer may have been on its way.
        assert set(range(1, max(answered) + 1)) - answered == set()
        assert sum(each["sum"]["packets"] for each in received) > 100 * CHANGES
        assert sum(each["sum"]["lost_packets"] for each in received) == 0
        assert outside.leaks() == []
        with pytest.raises(BlockingIOError):
            listener.recv(100)


def test_the_loader_and_the_way_back_leave_no_gap(gate, net):
    """The loader runs at any time: whenever a neighbour has been restarted."""
    gate.apply(**TWO_LANS)
    waits = rollback.Confirmation(3600, "token", "14:05:30")
    with Sniffer(net) as outside, net.socket("office", socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind((OFFICE4, 9999))
        listener.setblocking(False)
        with net.inside("office"):
            opening = subprocess.Popen(["python3", "-c", OPEN.format(WAN4)])
        with net.inside("wan"):
            intruder = subprocess.Popen(["python3", "-c", INTRUDE.format(OFFICE4)])
        rules = gate.live()
        try:
            for number in range(5):
                assert gate.host.boot().returncode == 0
                assert gate.live() == rules
                gate.apply(confirmation=waits, **dict(TWO_LANS, timeouts={"udp": 100 + number}, nat=[{"name": "all"}]))
                rollback.finish("default", "token", False, gate.host)
                assert gate.live() == rules
        finally:
            for process in (opening, intruder):
                process.kill()
                process.wait()
        assert outside.leaks() == []
        with pytest.raises(BlockingIOError):
            listener.recv(100)


def boot(gate):
    done = gate.host.boot()
    assert done.returncode == 0, done.stderr


def test_two_loaders_at_once(gate, net):
    gate.apply(**TWO_LANS)
    rules = gate.live()
    for _each in range(4):
        ends = [fork(lambda: boot(gate)) for _loader in range(2)]
        assert [end() for end in ends] == [("done", "")] * 2
        assert gate.live() == rules
        assert sh("cat /proc/sys/net/ipv4/ip_forward").strip() == "1"
