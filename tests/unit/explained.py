# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A gateway on a host in memory, for questions about single packets."""

from __future__ import annotations

import ipaddress
import json

from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import Problems
from ansible_collections.ipmasq.linux.plugins.module_utils._base.host import Done
from ansible_collections.ipmasq.linux.plugins.module_utils._explain import question as questions
from ansible_collections.ipmasq.linux.plugins.module_utils._explain.trip import Planner
from ansible_collections.ipmasq.linux.plugins.module_utils._explain.verdict import said
from ansible_collections.ipmasq.linux.plugins.module_utils._proof.model import Ground, Link
from ansible_collections.ipmasq.linux.tests.unit import fakes
from ansible_collections.ipmasq.linux.tests.unit.params import gateway_params
from ansible_collections.ipmasq.linux.tests.unit.resolving import read_resolved

OFFICE = {"name": "office", "interfaces": ["lan0"], "networks": ["192.168.1.0/24", "fd00:1::/64"]}
GUESTS = {"name": "guests", "interfaces": ["guest0"], "networks": ["192.168.2.0/24"]}
ADDRESSES = {
    "lan0": ("192.168.1.1", "fd00:1::1"),
    "guest0": ("192.168.2.1",),
    "wan0": ("203.0.113.2", "2001:db8:ff::2"),
    "dmz0": ("172.18.0.1",),
}
ROADS = {
    **{address: {"type": "local", "dev": "lo"} for each in ADDRESSES.values() for address in each},
    "192.168.1.0/24": {"dev": "lan0"},
    "fd00:1::/64": {"dev": "lan0"},
    "192.168.2.0/24": {"dev": "guest0"},
    "203.0.113.0/24": {"dev": "wan0"},
    "172.18.0.0/16": {"dev": "dmz0"},
    "192.168.1.255": {"type": "broadcast", "dev": "lan0"},
    "0.0.0.0/0": {"dev": "wan0", "gateway": "203.0.113.1"},
    "::/0": {"dev": "wan0", "gateway": "2001:db8:ff::1"},
}


class Roads(fakes.FakeHost):
    """Answers ``ip route get`` from a table; a value that is text is the kernel's refusal."""

    def __init__(self, roads=None):
        super().__init__()
        self.roads = ROADS if roads is None else roads

    def ask(self, argv, stdin=None):
        if argv[3:5] != ["route", "get"]:
            return super().ask(argv, stdin)
        target = ipaddress.ip_address(argv[5])
        nets = [ipaddress.ip_network(each) for each in self.roads]
        found = [net for net in nets if target in net]
        if not found:
            return Done(2, "", "RTNETLINK answers: Network is unreachable\n")
        best = max(found, key=lambda net: net.prefixlen)
        road = next(self.roads[each] for each in self.roads if ipaddress.ip_network(each) == best)
        if isinstance(road, str):
            return Done(2, "", "RTNETLINK answers: {0}\n".format(road))
        return Done(0, json.dumps([dict(road, dst=argv[5])]), "")


def planner(roads=None, down=(), **params):
    given = {"wans": [{"interface": "wan0"}], "lans": [OFFICE, GUESTS], **params}
    gateway, found = read_resolved(gateway_params(**given))
    assert found == ()
    links = {name: Link(name, name not in down) for name in ADDRESSES}
    networks = {"wan0": ("203.0.113.0/24",), "lan0": ("192.168.1.0/24", "fd00:1::/64"), "guest0": ("192.168.2.0/24",)}
    return Planner(gateway, Ground(links, ADDRESSES, networks, exits=("wan0",)), Roads(roads))


def question(source, target, port=None, protocol=None):
    problems = Problems()
    asked = questions.read({"from": source, "to": target, "port": port, "protocol": protocol}, problems)
    return asked, problems.found


def trip(made, *asked):
    """And the problems that were found on the way."""
    problems = Problems()
    found = made.trip(question(*asked)[0], problems)
    return found, problems.found


def verdict(*asked, **options):
    made = planner(**options)
    return said(made, trip(made, *asked)[0])
