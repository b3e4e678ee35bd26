# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fixtures for the hosts of the lab. Copy the file unchanged, and use the fixtures in your own tests."""

from __future__ import annotations

import json
import typing as t
from contextlib import contextmanager

import pytest
import testinfra

LAB = "ci"  # lab_name in molecule/default/vars/topology.yml


class Node:
    """A host of the lab."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.host = testinfra.get_host(f"podman://{LAB}-{name}")

    def __repr__(self) -> str:
        return self.name

    def sees(self, url: str) -> str:
        """The answer of a web server, empty if there is none. The lab's servers answer with the caller's address."""
        return self.host.run("curl --silent --globoff --max-time 10 %s", url).stdout.partition(" ")[0]

    def connects(self, address: str, port: int) -> bool:
        return self.host.run("nc -z -w 3 %s %s", address, str(port)).rc == 0

    @contextmanager
    def serves(self, port: int) -> t.Iterator[None]:
        """A server to connect to, so that a failed connection was refused on the way."""
        self.host.check_output("systemd-run --quiet --collect --unit server nc -l -k %s", str(port))
        try:
            yield
        finally:
            self.host.check_output("systemctl stop server")

    @contextmanager
    def knows_the_way(self, network: str, gateway: str) -> t.Iterator[None]:
        """A route that an attacker on the gateway's own link would add."""
        self.host.check_output("ip route add %s via %s", network, gateway)
        try:
            yield
        finally:
            self.host.check_output("ip route del %s", network)

    def private_packets(self) -> dict[str, int]:
        """How many packets arrived here with a private source address (the service witness)."""
        listed = json.loads(self.host.check_output("nft --json list counters table inet witness"))["nftables"]
        return {item["counter"]["name"]: item["counter"]["packets"] for item in listed if "counter" in item}


@pytest.fixture(scope="session")
def desk() -> Node:
    return Node("desk1")


@pytest.fixture(scope="session")
def server() -> Node:
    return Node("server1")


@pytest.fixture(scope="session")
def guest() -> Node:
    return Node("guest1")


@pytest.fixture(scope="session")
def internet() -> Node:
    return Node("internet")
