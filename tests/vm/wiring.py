# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Clients and servers inside a machine: namespaces behind links of the guest's own namespace, which is the gateway."""

from __future__ import annotations

import shlex
import time
import typing as t
from pathlib import Path

if t.TYPE_CHECKING:
    from machine import Machine

TALK = "/usr/local/lib/vm/talk.py"
CLIENT, GATE, SERVER = "192.168.1.10", "203.0.113.2", "203.0.113.1"
BOX = "172.17.0.10"
PORT = "8000"
#: The LAN behind lan0, as a gateway declares it.
OFFICE = {"name": "office", "interfaces": ["lan0"], "networks": ["192.168.1.0/24"]}
SEEN, ANSWERS = "/run/seen", "/run/answers"


def wire_lan(machine: Machine) -> None:
    """A client behind lan0."""
    wire_host(machine, "client", CLIENT, "lan0", "192.168.1.1")
    machine.put(TALK, (Path(__file__).resolve().parent / "guest" / "talk.py").read_bytes())


def wire_container(machine: Machine) -> None:
    """A host behind a link with a name of Docker's."""
    wire_host(machine, "box", BOX, "docker0", "172.17.0.1")
    machine.sh("ip -n server route add 172.17.0.0/16 via {0}".format(GATE))


def wire_host(machine: Machine, node: str, address: str, link: str, gate: str) -> None:
    """A host behind a link of the gateway, which has the address ``gate`` there."""
    machine.sh(
        "ip netns add {0}; ip link add {2} type veth peer name up0 netns {0};"
        "ip address add {3}/24 dev {2}; ip link set {2} up;"
        "ip -n {0} address add {1}/24 dev up0; ip -n {0} link set up0 up; ip -n {0} link set lo up;"
        "ip -n {0} route add default via {3}".format(node, address, link, gate)
    )
    wait_for(machine, "ip netns exec {0} ping -n -c1 -W1 {1}".format(node, gate))


def wire_wan(machine: Machine) -> None:
    """A server behind wan0 that knows the way to the LAN: what is not translated arrives, too, and is seen."""
    machine.sh(
        "ip netns add server; ip link add wan0 type veth peer name up0 netns server;"
        "ip address add {0}/24 dev wan0; ip link set wan0 up; ip route add default via {1};"
        "ip -n server address add {1}/24 dev up0; ip -n server link set up0 up; ip -n server link set lo up;"
        "ip -n server route add 192.168.0.0/16 via {0}".format(GATE, SERVER)
    )
    wait_for(machine, "ip netns exec server ping -n -c1 -W1 " + GATE)
    serve(machine)


def wire_provider(machine: Machine, *addresses: str) -> None:
    """A server with these addresses that is reached by PPP only; see dial."""
    machine.sh("ip netns add server; ip -n server link set lo up")
    for address in addresses:
        machine.sh("ip -n server address add {0}/32 dev lo".format(address))
    # What is not translated is to be seen.
    machine.sh("ip netns exec server sh -c 'echo 0 > /proc/sys/net/ipv4/conf/all/rp_filter'")
    serve(machine)


def dial(machine: Machine, *addresses: str) -> None:
    """Sessions of PPP, all at once: a daemon on each side of a pair of terminals. The provider gives the addresses."""
    for number, address in enumerate(addresses):
        provider = "ip netns exec server pppd notty nodetach local noauth ifname isp{0} 198.51.100.{1}:{2}"
        ours = "pppd nodetach local noauth noipdefault unit {0} {1} pty"
        argv = ours.format(number, "nodefaultroute" if number else "defaultroute").split()
        argv.append(provider.format(number, number + 1, address))
        machine.put("/run/dial{0}".format(number), ("exec " + shlex.join(argv)).encode())
    machine.sh(
        "systemctl reset-failed 'ppp*' 2>/dev/null || true;"
        "for file in /run/dial*; do systemd-run --quiet --unit=ppp${file#/run/dial} sh $file & done; wait"
    )
    for number, address in enumerate(addresses):
        wait_for(machine, "ip -4 address show dev ppp{0} | grep -q 'inet {1} '".format(number, address))


def hang_up(machine: Machine) -> None:
    machine.sh("for file in /run/dial*; do systemctl stop ppp${file#/run/dial}; rm $file; done")
    wait_for(machine, "! ip link | grep -q ppp && ! ip -n server link | grep -q isp")


def serve(machine: Machine) -> None:
    machine.start("server", "ip", "netns", "exec", "server", "python3", TALK, "serve", PORT, SEEN)
    wait_for(machine, "ip netns exec server ss -Hltn sport = :{0} | grep -q .".format(PORT))


def ask(machine: Machine, address: str = SERVER, kind: str = "tcp", who: str = "client") -> str:
    """The address that the server sees of the client, or why the client has no answer."""
    return machine.sh(shlex.join(["ip", "netns", "exec", who, "python3", TALK, "ask", kind, address, PORT])).strip()


def keep_asking(machine: Machine, address: str) -> None:
    """One client with one socket that asks ten times a second; ANSWERS shows what the server saw of it."""
    machine.start("asker", "ip", "netns", "exec", "client", "python3", TALK, "keep-asking", address, PORT, ANSWERS)


def wait_for(machine: Machine, command: str, seconds: float = 30) -> None:
    """Until a shell command succeeds."""
    deadline = time.monotonic() + seconds
    while True:
        done = machine.run(["sh", "-c", command])
        if done.rc == 0:
            return
        assert time.monotonic() < deadline, (command, done)
        time.sleep(0.2)
