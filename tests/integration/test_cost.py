# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How many rules and chains of ours an established packet visits on nftables: what no busy machine blurs.

The kernel reports the rules that matched; between them, it looked at all others of a chain.
"""

from __future__ import annotations

import contextlib
import json
import socket

import pytest
from helpers import GUESTS, OFFICE
from sandbox import sh
from topology import CLIENTS, GATE4, WAN4, WAN6
from unhurried import patience

from ansible_collections.ipmasq.linux.plugins.module_utils._proof import trace

OFFICE4, OFFICE6 = CLIENTS["office"][1:]
NETLINK_NETFILTER = 12
HTTP = {"name": "web", "protocol": ["udp"], "port": ["7002"], "to": [OFFICE4]}


class Traced:
    """Which rules packets with a payload of this size meet."""

    def __init__(self) -> None:
        sh(
            "nft add table inet watch; "
            "nft add chain inet watch c '{type filter hook prerouting priority -400;}'; "
            "nft add rule inet watch c udp length 108 meta nftrace set 1"
        )
        self.kernel = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
        self.kernel.bind((0, 1 << trace.GROUP - 1))
        self.kernel.settimeout(0.3)
        listed = json.loads(sh("nft -j list table inet ipmasq"))["nftables"]
        self.rules: dict = {}
        for entry in listed:
            if "chain" in entry:
                self.rules[entry["chain"]["name"]] = []
            if "rule" in entry:
                self.rules[entry["rule"]["chain"]].append(entry["rule"]["handle"])

    def close(self) -> None:
        self.kernel.close()

    def visits(self) -> tuple:
        """The chains at hooks, all chains, and the rules that one packet met."""
        told: list = []
        try:
            while True:
                told += trace.events(self.kernel.recv(1 << 16))
        except TimeoutError:
            pass
        ours = [each for each in told if each.table == "ipmasq"]
        assert ours and len({each.ident for each in ours}) == 1
        matched = [each for each in ours if each.kind == "rule" and each.handle]
        # A hook of ours where nothing matched tells its policy alone.
        hooks = [each.chain for each in ours if each.kind == "policy"]
        visited, met = [], 0
        while matched:
            chains, rules = self.walk(matched[0].chain, matched)
            visited.append(chains)
            met += rules
        begun = {chains[0] for chains in visited}
        for name in hooks:
            if name not in begun:
                visited.append([name])
                met += len(self.rules[name])
        return len(visited), sum(map(len, visited)), met

    def walk(self, base: str, matched: list) -> tuple:
        """One base chain: its chains, and how many rules were looked at. Consumes what matched there."""
        chains, met = [base], 0
        stack = [(base, 0)]
        while stack:
            name, at = stack.pop()
            handles = self.rules[name]
            if at == len(handles):
                continue  # its end: back to the caller
            met += 1
            if not matched or matched[0].chain != name or matched[0].handle != handles[at]:
                stack.append((name, at + 1))
                continue
            event = matched.pop(0)
            if event.verdict in ("accept", "drop"):
                return chains, met
            if event.verdict == "return":
                continue
            if event.verdict != "goto":
                stack.append((name, at + 1))
            if event.verdict in ("jump", "goto"):
                target = matched[0].chain if matched else ""
                target = self.target(name, event.handle) or target
                chains.append(target)
                stack.append((target, 0))
        return chains, met

    def target(self, chain: str, handle: int) -> str:
        for entry in json.loads(sh("nft -j list chain inet ipmasq " + chain))["nftables"]:
            if entry.get("rule", {}).get("handle") == handle:
                for part in entry["rule"]["expr"]:
                    for kind in ("jump", "goto"):
                        if kind in part:
                            return part[kind]["target"]
        return ""


@contextlib.contextmanager
def answered(net, source: str, bind: str, target: str, address: str, port: int):
    """The ends of a UDP flow in which both have spoken, and how each calls the other."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with (
        net.socket(target, family, socket.SOCK_DGRAM) as server,
        net.socket(source, family, socket.SOCK_DGRAM) as client,
    ):
        for end in (server, client):
            end.settimeout(patience())
        server.bind((address, port))
        client.bind((bind, 0))
        client.sendto(b"ping", (address, port))
        seen = server.recvfrom(9)[1]
        server.sendto(b"pong", seen)
        assert client.recv(9) == b"pong"
        yield client, server, seen


#: What one packet of an established flow meets: chains at hooks, all chains, rules.
MEETS = {
    "outward": (3, 5, 11),
    "inward": (3, 4, 9),
    "outward, IPv6": (3, 5, 12),
    "inward, IPv6": (3, 4, 9),
    "to a forward": (3, 4, 9),
    "from a forward": (3, 5, 11),
}


@pytest.mark.parametrize("backend", ["nft"])
def test_what_an_established_packet_meets(gate, net):
    gate.apply(wans=[{"interface": "wan0"}], lans=[OFFICE, GUESTS], port_forwards=[HTTP])
    data = b"x" * 100
    found = {}
    with (
        answered(net, "office", OFFICE4, "wan", WAN4, 7001) as four,
        answered(net, "office", OFFICE6, "wan", WAN6, 7003) as six,
        net.socket("office", socket.AF_INET, socket.SOCK_DGRAM) as inner,
        net.socket("wan", socket.AF_INET, socket.SOCK_DGRAM) as outer,
    ):
        inner.bind((OFFICE4, 7002))
        outer.sendto(b"ping", (GATE4, 7002))
        _data, peer = inner.recvfrom(9)
        inner.sendto(b"pong", peer)
        outer.recv(9)
        traced = Traced()
        for name, send in {
            "outward": lambda: four[0].sendto(data, (WAN4, 7001)),
            "inward": lambda: four[1].sendto(data, four[2]),
            "outward, IPv6": lambda: six[0].sendto(data, (WAN6, 7003)),
            "inward, IPv6": lambda: six[1].sendto(data, six[2]),
            "to a forward": lambda: outer.sendto(data, (GATE4, 7002)),
            "from a forward": lambda: inner.sendto(data, peer),
        }.items():
            send()
            found[name] = traced.visits()
        traced.close()
    assert found == MEETS


def there_and_back(net):
    """What a packet of an open flow meets outward, and one of its answers."""
    with answered(net, "office", OFFICE4, "wan", WAN4, 7001) as (client, server, seen):
        traced = Traced()
        client.sendto(b"x" * 100, (WAN4, 7001))
        out = traced.visits()
        server.sendto(b"x" * 100, seen)
        back = traced.visits()
        traced.close()
    return out, back


@pytest.mark.parametrize("backend", ["nft"])
def test_with_one_lan_it_meets_the_fewest(gate, net):
    """The most common gateway."""
    gate.apply(wans=[{"interface": "wan0"}], lans=[OFFICE])
    assert there_and_back(net) == ((3, 3, 7), (3, 4, 10))


@pytest.mark.parametrize("backend", ["nft"])
@pytest.mark.parametrize(("count", "meets"), [(20, ((3, 7, 16), (3, 5, 18))), (200, ((3, 7, 18), (3, 5, 21)))])
def test_one_lan_of_many_meets_no_more(gate, net, count, meets):
    """VLANs, for example; the client is in the last one. Networks of several lengths are a rule for each length."""
    lans = [
        {
            "name": "v{0}".format(number),
            "interfaces": ["v{0}".format(number)],
            "networks": ["10.1.{0}.0/24".format(number)],
        }
        for number in range(count)
    ]
    gate.apply(wans=[{"interface": "wan0"}], lans=[*lans, OFFICE])
    assert there_and_back(net) == meets
