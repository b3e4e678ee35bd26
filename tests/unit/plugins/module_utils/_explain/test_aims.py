# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._explain.aims import Aims
from ansible_collections.ipmasq.linux.plugins.module_utils._proof.oracle import Oracle
from ansible_collections.ipmasq.linux.plugins.module_utils._proof.packets import Packet
from ansible_collections.ipmasq.linux.tests.unit.explained import planner

ITEMS = [
    {"name": "some", "port": ["80"], "to": ["192.168.1.20"], "source": ["198.51.100.0/24"]},
    {"name": "named", "port": ["80"], "to": ["192.168.1.21"], "destination": ["203.0.113.9"]},
    {"name": "range", "port": ["2700-2715"], "to": ["192.168.1.22"], "to_port": 700, "protocol": ["udp"]},
    {"name": "rest", "port": ["80"], "to": ["192.168.1.23"], "hairpin": True},
]
ONE = {"name": "one", "action": "static", "source": ["192.168.1.32/28"], "to": ["203.0.113.32/28"]}


def aims(source, target, protocol, port, **params):
    made = planner(**params)
    return Aims(made, Oracle(made.gateway, made.ground), Packet(source, target, protocol, 1, port))


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        (("198.51.100.5", "203.0.113.2", "tcp", 80), "some"),
        (("9.9.9.9", "203.0.113.9", "tcp", 80), "named"),
        (("9.9.9.9", "203.0.113.2", "tcp", 80), "rest"),
        (("9.9.9.9", "203.0.113.2", "udp", 2705), "range"),
        (("9.9.9.9", "203.0.113.2", "tcp", 81), ""),
        (("9.9.9.9", "203.0.113.77", "tcp", 80), ""),
        (("2620:fe::9", "2001:db8:ff::2", "tcp", 80), ""),
    ],
)
def test_the_first_forward_that_a_packet_from_outside_is_for(asked, name):
    found = next(aims(*asked, port_forwards=ITEMS).forwards("wan0"), None)
    assert (found.name if found else "") == name


def test_a_port_of_a_range_is_shifted():
    asked = aims("9.9.9.9", "203.0.113.2", "udp", 2705, port_forwards=ITEMS)
    assert asked.server_port(asked.gateway.port_forwards[2]) == 705


def test_an_address_that_stands_for_a_server_is_no_forwards():
    asked = aims("9.9.9.9", "203.0.113.35", "tcp", 80, port_forwards=ITEMS, nat=[ONE])
    assert not list(asked.forwards("wan0"))
    (item,) = asked.mapping("wan0")
    assert asked.inner(item) == "192.168.1.35"
