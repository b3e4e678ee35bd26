# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Against real packets: tests/integration/test_explain_any.py."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._explain.verdict import said
from ansible_collections.ipmasq.linux.plugins.module_utils._resolve.resolved import Around
from ansible_collections.ipmasq.linux.tests.unit.explained import GUESTS, OFFICE, ROADS, planner, trip, verdict

CLIENT = "192.168.1.5"
WEB = {"name": "web", "port": ["443"], "to": ["192.168.1.20"], "to_port": 8443}
ONE = {"name": "one", "action": "static", "source": ["192.168.1.9/32"], "to": ["203.0.113.9/32"]}
REST = {"name": "rest"}
MAIL = {"name": "no-mail", "protocol": ["tcp"], "port": ["25"], "action": "reject"}


@pytest.mark.parametrize(
    ("asked", "params", "passes", "words"),
    [
        ((CLIENT, "9.9.9.9", "80"), {}, True, "nat 'default' (masquerade)"),
        ((CLIENT, "9.9.9.9", "25"), {"outbound": [MAIL]}, False, "outbound 'no-mail' says reject"),
        (
            (CLIENT, "9.9.9.9", "25"),
            {"outbound": [dict(MAIL, action="accept")]},
            True,
            "outbound 'no-mail' lets it out, and nat 'default' (masquerade)",
        ),
        (
            (CLIENT, "9.9.9.9", "80"),
            {"nat": [dict(REST, source=["guests"])]},
            False,
            "no nat item matches it, and a LAN's source never leaves untranslated (the guard); add a nat item",
        ),
        (
            (CLIENT, "198.18.0.1", "80"),
            {"drop_bogons": True},
            False,
            "198.18.0.1 never appears on the Internet, and drop_bogons rejects it; exempt it if it is behind a VPN",
        ),
        (
            (CLIENT, "192.168.2.5", "80"),
            {},
            False,
            "LAN office does not reach LAN guests; to let it, add guests to reaches of office",
        ),
        (
            (CLIENT, "192.168.2.5", "80"),
            {"lans": [dict(OFFICE, reaches=["guests"]), GUESTS]},
            True,
            "LAN office reaches LAN guests",
        ),
        ((CLIENT, "192.168.1.1", "80"), {}, True, "it is for this gateway itself, which is open to its LANs"),
        (
            (CLIENT, "203.0.113.2", "443"),
            {"port_forwards": [WEB]},
            True,
            "it is for this gateway itself, which is open to its LANs; port forward 'web' is for clients outside only, "
            "unless it has hairpin: true",
        ),
        (
            (CLIENT, "203.0.113.2", "443"),
            {"port_forwards": [dict(WEB, hairpin=True)]},
            True,
            "port forward 'web', through its hairpin, leads it to 192.168.1.20 port 8443",
        ),
        (
            (CLIENT, "203.0.113.9", "443"),
            {"nat": [dict(ONE, inbound=False), REST]},
            False,
            "203.0.113.9 stands for a server (nat 'one'), which refuses clients inside; set hairpin: true on that item",
        ),
        (
            (CLIENT, "172.18.0.5", "80"),
            {},
            False,
            "dmz0 is neither a WAN nor a LAN, and new connections between it and what is declared are dropped; declare "
            "dmz0, or set undeclared: leave",
        ),
        (
            (CLIENT, "172.18.0.5", "80"),
            {"undeclared": "leave"},
            None,
            "dmz0 is not declared, and undeclared: leave leaves that alone",
        ),
        (("172.18.0.5", "172.18.0.1", "80"), {}, True, "it is for this gateway itself, which is open there"),
        (
            ("172.18.0.5", "172.18.0.1", "80"),
            {"input": "protect"},
            False,
            "it is for this gateway itself, which is closed (input: protect), and no input_allow item matches it",
        ),
        (
            ("172.18.0.5", "172.18.0.9", "80"),
            {},
            None,
            "neither dmz0 nor dmz0 is declared, so the declaration says nothing about it",
        ),
        (
            ("9.9.9.9", "203.0.113.2", "443"),
            {"port_forwards": [WEB]},
            True,
            "port forward 'web' leads it to 192.168.1.20 port 8443",
        ),
        (
            ("198.18.0.1", "203.0.113.2", "443"),
            {"port_forwards": [WEB], "drop_bogons": True},
            False,
            "198.18.0.1 never appears on the Internet, and drop_bogons drops what comes from there",
        ),
        (
            ("9.9.9.9", "203.0.113.9", "80"),
            {"nat": [dict(ONE, inbound=True), REST]},
            True,
            "nat 'one' leads it to 192.168.1.9",
        ),
        (
            ("9.9.9.9", "203.0.113.9", "80"),
            {"nat": [dict(ONE, inbound=False), REST]},
            False,
            "203.0.113.9 stands for a server (nat 'one'), but not for connections from outside (inbound: false)",
        ),
        (
            ("9.9.9.9", "192.168.1.5", "80"),
            {},
            False,
            "nothing enters LAN office from outside but port forwards and 1:1 items, and none matches this packet",
        ),
        (
            ("9.9.9.9", "203.0.113.2", "80"),
            {},
            True,
            "no port forward matches it, so it is for this gateway itself, which input: open leaves open",
        ),
        (
            ("9.9.9.9", "192.168.1.1", "80"),
            {},
            False,
            "192.168.1.1 is a private address of this gateway on another link than wan0, and closed from outside",
        ),
        (
            ("9.9.9.9", "203.0.113.2"),
            {"input": "protect"},
            True,
            "it is for this gateway itself, and ICMP that a gateway needs stays open",
        ),
        (
            ("9.9.9.9", "203.0.113.2", "22"),
            {"input": "protect"},
            True,
            "it is for this gateway itself, and the port that Ansible uses stays open",
        ),
        (
            ("9.9.9.9", "203.0.113.2", "53", "udp"),
            {"input": "protect", "input_allow": [{"name": "dns", "protocol": ["udp"], "port": ["53"]}]},
            True,
            "input_allow 'dns' lets it in to this gateway itself",
        ),
        (
            ("9.9.9.9", "203.0.113.77", "80"),
            {},
            False,
            "it comes from a WAN and would leave through one; nothing passes that way",
        ),
    ],
)
def test_what_the_declaration_says(asked, params, passes, words):
    found = verdict(*asked, **params)
    assert (found.passes, found.words) == (passes, words)


@pytest.mark.parametrize(
    ("asked", "passes"),
    [
        ((CLIENT, "10.8.0.7", "80"), None),
        (("10.8.0.7", CLIENT, "80"), None),
        ((CLIENT, "8.8.8.8", "80"), False),
        (("8.8.8.8", CLIENT, "80"), False),
        # Its manager decides about what goes through a WAN.
        (("8.8.8.8", "9.9.9.9", "80"), None),
    ],
)
def test_a_tunnel_is_left_alone_for_sites(asked, passes):
    roads = {**ROADS, "10.8.0.0/24": {"dev": "tun0"}, "8.8.8.8/32": {"dev": "tun0"}}
    made = planner(roads)
    made.gateway = replace(made.gateway, around=Around(managed=("tun*",)))
    found = said(made, trip(made, *asked)[0])
    words = {
        None: "tun0 belongs to a container, VM or VPN manager, which decides",
        False: "tun0 is left to its manager only for private networks, and for public ones that were behind it at the "
        "last run; 8.8.8.8 is in none of them, so tun0 may be a way to the Internet; declare tun0",
    }
    assert (found.passes, found.words) == (passes, words[passes])


def test_a_source_that_is_in_no_network_of_its_lan():
    found = verdict("10.9.9.9", "9.9.9.9", roads={**ROADS, "10.0.0.0/8": {"dev": "lan0", "gateway": "192.168.1.7"}})
    told = (
        "10.9.9.9 is in no network of LAN office (192.168.1.0/24, fd00:1::/64), so its packets are dropped as spoofed"
    )
    assert (found.passes, found.words) == (False, told)


@pytest.mark.parametrize(
    ("item", "told"),
    [
        ({}, "unchanged unless another flow has it"),
        ({"random": True}, "random"),
        ({"to_port": "2000-2999"}, "one of 2000-2999"),
        ({"action": "exempt"}, "unchanged"),
    ],
)
def test_what_becomes_of_the_source_port(item, told):
    assert verdict(CLIENT, "9.9.9.9", "80", "tcp", nat=[dict(REST, **item)]).ports == told
