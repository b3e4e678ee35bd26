# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the tests know about the lab, and how they use its nodes."""

from __future__ import annotations

import concurrent.futures
import contextlib
import functools
import ipaddress
import json
import os
import shlex
import time
import typing as t
from dataclasses import dataclass
from pathlib import Path

import testinfra

ECHO = """
import socket, sys
client = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
client.settimeout(1)
for attempt in range(3):
    client.sendto(b"who am I", (sys.argv[1], 9999))
    try:
        print(client.recv(100).decode())
        break
    except socket.timeout:
        pass
else:
    sys.exit("no answer")
"""


def directory() -> Path:
    """Where the lab keeps its files: LAB_DIRECTORY, or that of molecule's scenario."""
    named = os.environ.get("LAB_DIRECTORY")
    return Path(named) if named else Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "lab"


def version(address: str) -> int:
    return ipaddress.ip_address(address).version


@dataclass(frozen=True)
class Answer:
    rc: int
    stdout: str
    stderr: str


@dataclass(frozen=True)
class Node:
    name: str
    target: str
    groups: frozenset[str]
    links: dict[str, tuple[str, ...]]  # network → addresses
    loopback: tuple[str, ...]

    @property
    def host(self) -> t.Any:
        """testinfra's view of this node."""
        return testinfra.get_host(self.target)

    def run(self, *argv: str) -> Answer:
        result = self.host.run(shlex.join(argv))
        return Answer(result.rc, result.stdout.strip(), result.stderr.strip())

    def must(self, *argv: str) -> str:
        answer = self.run(*argv)
        assert answer.rc == 0, f"{self.name}: {shlex.join(argv)}: {answer}"
        return answer.stdout

    @property
    def addresses(self) -> tuple[str, ...]:
        return tuple(address for addresses in self.links.values() for address in addresses)

    def address_on(self, network: str, family: int) -> str:
        return next(address for address in self.links[network] if version(address) == family)

    def families(self) -> list[int]:
        return sorted({version(address) for address in self.addresses})

    # -- how a client connects to the outside; each returns the address and port that the far side saw --

    def web(self, address: str) -> Answer:
        url = f"http://[{address}]/" if ":" in address else f"http://{address}/"
        return self.run("curl", "--silent", "--show-error", "--max-time", "4", url)

    def echo(self, address: str) -> Answer:
        return self.run("python3", "-c", ECHO, address)

    def ping(self, address: str, *, patience: int = 2) -> Answer:
        return self.run("ping", "-c", "1", "-W", str(patience), address)

    def connects(self, address: str, port: int) -> bool:
        return self.run("nc", "-z", "-w", "1", address, str(port)).rc == 0

    def reaches(self, address: str, port: int) -> set[str]:
        """With which protocols; all at once, because each silent one costs a second."""
        with concurrent.futures.ThreadPoolExecutor() as pool:
            tcp = pool.submit(self.connects, address, port)
            icmp = pool.submit(self.ping, address, patience=1)
            return {name for name, ok in (("tcp", tcp.result()), ("icmp", icmp.result().rc == 0)) if ok}


@dataclass(frozen=True)
class Lab:
    name: str
    nodes: tuple[Node, ...]

    def in_group(self, group: str) -> list[Node]:
        return [node for node in self.nodes if group in node.groups]

    @property
    def wan(self) -> Node:
        return next(node for node in self.nodes if node.loopback)

    @property
    def wan_network(self) -> str:
        return next(iter(self.wan.links))

    @property
    def gateways(self) -> list[Node]:
        return [node for node in self.nodes if node is not self.wan and self.wan_network in node.links]

    @property
    def clients(self) -> list[Node]:
        return [node for node in self.nodes if self.wan_network not in node.links]

    def gateway_of(self, client: Node) -> Node:
        return next(gateway for gateway in self.gateways if set(gateway.links) & set(client.links))

    def reflectors(self, family: int) -> list[str]:
        return [address for address in self.wan.loopback if version(address) == family]

    def seen_as(self, client: Node, family: int) -> str:
        """The one address under which the WAN may see a client."""
        return self.gateway_of(client).address_on(self.wan_network, family)

    # -- what the WAN noticed --

    def private_packets(self) -> dict[str, int]:
        shown = json.loads(self.wan.must("nft", "--json", "list", "counters", "table", "inet", "witness"))
        counters = [entry["counter"] for entry in shown["nftables"] if "counter" in entry]
        return {counter["name"]: counter["packets"] for counter in counters}

    def forget(self) -> None:
        """Reset the WAN's counters and its log."""
        self.wan.must("nft", "reset", "counters", "table", "inet", "witness")
        self.wan.must("truncate", "--size", "0", "/var/log/nginx/seen.log")

    def seen_by_web(self) -> set[str]:
        return set(self.wan.must("cat", "/var/log/nginx/seen.log").split())


def load() -> Lab:
    topology = json.loads((directory() / "topology.json").read_text())
    engine = topology["engine"]
    nodes = [
        Node(
            name=node["name"],
            target=f"{engine}://{topology['name']}-{node['name']}",
            groups=frozenset(node.get("groups") or []),
            links={link["network"]: tuple(link.get("addresses") or ()) for link in node["interfaces"]},
            loopback=tuple(node.get("loopback") or ()),
        )
        for node in topology["nodes"]
    ]
    return Lab(topology["name"], tuple(nodes))


@contextlib.contextmanager
def serving(node: Node, *ports: int) -> t.Iterator[None]:
    """A server on each of these ports of a node, so that a filter must be the reason for silence."""
    for port in ports:
        serve = ["python3", "-m", "http.server", "--bind", "::", str(port)]
        node.must("systemd-run", "--quiet", "--collect", "--unit", f"server-{port}", *serve)
    for port in ports:
        assert wait_until(functools.partial(node.connects, "127.0.0.1", port)), f"{node.name} does not serve {port}"
    yield
    node.must("systemctl", "stop", *(f"server-{port}" for port in ports))


def wait_until(true: t.Callable[[], bool], seconds: float = 30) -> bool:
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True
