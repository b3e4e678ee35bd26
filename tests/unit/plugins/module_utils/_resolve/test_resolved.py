# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A resolved gateway, and its words, which a diff compares."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._intent import argspec
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.forward import PortForward
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.nat import NatItem
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.outbound import Outbound
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.read import read_gateway
from ansible_collections.ipmasq.linux.plugins.module_utils._resolve.resolved import (
    Resolved,
    ResolvedLan,
    ResolvedWan,
    describe_gateway,
    only_sound,
    resolved_from,
)
from ansible_collections.ipmasq.linux.tests.unit.params import gateway_params
from ansible_collections.ipmasq.linux.tests.unit.resolving import read_resolved


def test_gateway():
    lans = (
        ResolvedLan("a", ("lan0", "lan1"), ("10.0.0.0/8",), ("b",)),
        ResolvedLan("b", ("lan2",), ("192.168.1.0/24",)),
    )
    nat = (NatItem("vpn", ("a",), ("172.16.0.0/12",), "ppp0", action="exempt"), NatItem("default"))
    # The rest is not about NAT.
    assert describe_gateway(Resolved(wans=(ResolvedWan("ppp0", "keep"),), lans=lans, nat=nat))[:7] == [
        "wan ppp0",
        "lan a: 10.0.0.0/8 on lan0 lan1, reaches b",
        "lan b: 192.168.1.0/24 on lan2, reaches no other LAN",
        "nat vpn: exempt a to 172.16.0.0/12 on ppp0",
        "nat default: masquerade every LAN on every WAN",
        "ipv6: route",
        "mss on ppp0: left alone",
    ]


NATS = [
    (NatItem("x"), "masquerade every LAN on every WAN"),
    (
        NatItem("x", to_port=(1024, 65535), random=True),
        "masquerade every LAN on every WAN from ports 1024-65535 at random",
    ),
    (
        NatItem("x", ("a", "10.0.0.0/8"), protocol=("tcp", "udp"), port=((53, 53), (8000, 8010)), wan="ppp0"),
        "masquerade a 10.0.0.0/8 tcp udp port 53 8000-8010 on ppp0",
    ),
    (NatItem("x", action="snat", to=("203.0.113.9",)), "snat every LAN on every WAN as 203.0.113.9"),
    (
        NatItem("x", action="snat", to=("203.0.113.16-203.0.113.19", "203.0.113.30"), persistent=False),
        "snat every LAN on every WAN as 203.0.113.16-203.0.113.19 203.0.113.30 not persistent",
    ),
    (
        NatItem("x", ("192.168.3.0/28",), action="static", to=("203.0.113.32/28",), inbound=True),
        "static 192.168.3.0/28 on every WAN as 203.0.113.32/28 and back",
    ),
    (
        NatItem("x", ("fd01::/48",), action="prefix", to=("2001:db8:1::/48",)),
        "prefix fd01::/48 on every WAN as 2001:db8:1::/48 closed from outside",
    ),
    (NatItem("x", action="exempt", ipsec=True), "exempt every LAN on every WAN that IPsec encrypts"),
    (NatItem("x", destination=("10.0.0.0/8",), action="exempt"), "exempt every LAN to 10.0.0.0/8 on every WAN"),
]
WEB = ((443, 443),)
FORWARDS = [
    (
        PortForward("x", protocol=("tcp",), port=WEB, to=("192.168.1.20",)),
        "anybody tcp port 443 on every WAN goes to 192.168.1.20",
    ),
    (
        PortForward(
            "x",
            ("198.51.100.0/24",),
            ("203.0.113.7/32",),
            "ppp0",
            ("tcp", "udp"),
            ((7000, 7015),),
            ("192.168.1.20",),
            99,
        ),
        "198.51.100.0/24 to 203.0.113.7/32 tcp udp port 7000-7015 on ppp0 goes to 192.168.1.20 port 99",
    ),
    (
        PortForward("x", protocol=("tcp",), port=WEB, to=("10.0.0.1", "10.0.0.2"), balance="source"),
        "anybody tcp port 443 on every WAN goes to 10.0.0.1 10.0.0.2 balanced by source",
    ),
    (
        PortForward("x", protocol=("tcp",), port=WEB, to=("10.0.0.1",), hairpin=True, hairpin_source="gateway"),
        "anybody tcp port 443 on every WAN goes to 10.0.0.1 also from inside, seen as gateway",
    ),
]
OUTBOUND = [
    (Outbound("x"), "accept every LAN on every WAN"),
    (Outbound("x", ("a",), protocol=("tcp",), port=((25, 25),), action="reject"), "reject a tcp port 25 on every WAN"),
    (Outbound("x", wan="ppp0", rate="10/second"), "accept every LAN on ppp0 up to 10/second"),
]
TEST_VOCABULARY = [
    *[(dict(nat=(item,)), "nat x: " + wanted) for item, wanted in NATS],
    *[(dict(port_forwards=(item,)), "port_forward x: " + wanted) for item, wanted in FORWARDS],
    *[(dict(outbound=(item,)), "outbound x: " + wanted) for item, wanted in OUTBOUND],
    (dict(wans=(ResolvedWan("ppp0"),)), "mss on ppp0: clamped to the path MTU"),
    (dict(wans=(ResolvedWan("ppp0", "1452"),)), "mss on ppp0: 1452"),
    (dict(drop_bogons=True), "bogons: dropped"),
    (dict(ipv6="prefix"), "ipv6: prefix"),
]


@pytest.mark.parametrize(("given", "wanted"), TEST_VOCABULARY)
def test_vocabulary(given, wanted):
    assert wanted in describe_gateway(Resolved(**given))


#: Two gateways that differ
TEST_DIFFERENT = [
    (
        dict(lans=(ResolvedLan("a", ("lan0",), ("10.0.0.0/8",)),)),
        dict(lans=(ResolvedLan("a", ("lan0",), ("10.0.0.0/8",), (), False),)),
    ),
    (dict(nat=(NatItem("x"),)), dict(nat=(NatItem("x", random=True),))),
    (dict(nat=(NatItem("x"),)), dict(nat=(NatItem("x", to_port=(1, 2)),))),
    (dict(nat=(NatItem("x"),)), dict(nat=(NatItem("x", protocol=("tcp",)),))),
    (dict(nat=(NATS[5][0],)), dict(nat=(NatItem("x", ("192.168.3.0/28",), action="static", to=("203.0.113.32/28",)),))),
    (dict(port_forwards=(FORWARDS[0][0],)), dict(port_forwards=(FORWARDS[3][0],))),
    (dict(outbound=(OUTBOUND[0][0],)), dict(outbound=(OUTBOUND[2][0],))),
]


@pytest.mark.parametrize(("one", "other"), TEST_DIFFERENT)
def test_what_differs_is_told(one, other):
    """Otherwise a diff shows changed rows without the reason."""
    assert describe_gateway(Resolved(**one)) != describe_gateway(Resolved(**other))


#: A gateway with one item of each kind, and a different value for each option, one at a time.
SNAT = {"name": "n", "action": "snat", "to": ["203.0.113.9"]}
STATIC = {"name": "s", "action": "static", "source": ["192.168.1.5"], "to": ["203.0.113.10"]}
EVERYTHING = {
    "wans": [{"interface": "wan0"}, {"interface": "wan1"}],
    "lans": [
        {"name": "a", "interfaces": ["lan0"], "networks": ["192.168.1.0/24"]},
        {"name": "b", "interfaces": ["lan1"], "networks": ["192.168.2.0/24"]},
    ],
    "nat": [SNAT, STATIC],
    "port_forwards": [{"name": "f", "port": ["80"], "to": ["192.168.1.5", "192.168.1.6"], "hairpin": True}],
    "outbound": [{"name": "o", "protocol": ["tcp"], "port": ["25"]}],
    "multicast": [{"name": "m", "group": ["239.0.0.0/8"]}],
    "input": "protect",
    "input_allow": [{"name": "i", "protocol": ["tcp"], "port": ["80"]}],
    "helpers": [{"name": "ftp"}],
    "log": ["closed"],
    "metrics": "textfile",
}
TRAFFIC = {
    "name": "x",
    "source": ["192.168.1.7"],
    "destination": ["198.51.100.7"],
    "wan": "wan1",
    "protocol": ["udp"],
    "port": ["81"],
}
OTHERWISE = {
    "wans": {"interface": "wan2", "mss": "1400", "carried_from": ["198.51.100.9/32"]},
    "lans": {
        "name": "c",
        "interfaces": ["lan2"],
        "networks": ["192.168.3.0/24"],
        "reaches": ["b"],
        "spoof_check": False,
        "dhcp": {"lease": "1h"},
        "ra": "managed",
        "dns": True,
    },
    "dns_upstream": ["9.9.9.9"],
    "dns_domain": "office.example",
    "metrics": "none",
    "metrics_folder": "/var/lib/node_exporter",
    "nat": dict(
        TRAFFIC,
        action="exempt",
        to=["203.0.113.8"],
        to_port="1024-2048",
        to_address="add",
        random=True,
        persistent=False,
        ipsec=True,
        inbound=False,
        hairpin=False,
        timeouts={"udp": 9},
    ),
    "port_forwards": dict(
        TRAFFIC,
        to=["192.168.1.8"],
        to_port=82,
        hairpin=False,
        hairpin_source="gateway",
        balance="source",
        timeouts={"tcp_established": 99},
    ),
    "outbound": dict(TRAFFIC, action="drop", rate="5/second"),
    "multicast": {
        "name": "x",
        "group": ["239.1.0.0/16"],
        "source": ["198.51.100.7"],
        "wan": "wan1",
        "lan": ["b"],
    },
    "input_allow": TRAFFIC,
    "input_controller_ports": [22, 2222],
    "helpers": {"name": "sip", "port": [2121]},
    "profile": "server_egress",
    "ipv6": "masquerade",
    "mss": "keep",
    "undeclared": "leave",
    "managed_links": ["hassio"],
    "drop_bogons": True,
    "input": "open",
    "conntrack_max": "100000",
    "timeouts": {"udp": 8},
    "offload": "software",
    "log": ["spoofed"],
    "log_prefix": "other ",
    "log_rate": "9/minute",
}
#: The whole item, for what cannot change alone or in the first item.
INSTEAD = {
    "nat.source": STATIC,
    "nat.action": {"name": "n"},
    "nat.inbound": STATIC,
    "nat.hairpin": STATIC,
    "nat.ipsec": {"name": "n", "action": "exempt"},
    "nat.protocol": dict(SNAT, protocol=["tcp"]),
    "nat.port": dict(SNAT, protocol=["tcp"], port=["80"]),
}


def paths(spec):
    for name, option in spec.items():
        for inner in option.get("options", {}) if option.get("elements") == "dict" else ("",):
            yield name + "." + inner if inner else name


def told(given):
    return describe_gateway(read_resolved(gateway_params(**given))[0])


@pytest.mark.parametrize("path", [path for path in paths(argspec.GATEWAY) if path != "choice"])
def test_every_option_has_words(path):
    """A new option is given another value in OTHERWISE, and words beside its noun."""
    option, _dot, inner = path.partition(".")
    before = EVERYTHING
    if inner:
        first = INSTEAD.get(path, EVERYTHING[option][0])
        before = dict(EVERYTHING, **{option: [first, *EVERYTHING[option][1:2]]})
        after = dict(before, **{option: [dict(first, **{inner: OTHERWISE[option][inner]}), *before[option][1:]]})
    else:
        after = dict(before, **{option: OTHERWISE[option]})
    assert told(before) != told(after)


@pytest.mark.parametrize("timer", argspec.GATEWAY["timeouts"]["options"])
def test_every_timer_has_words(timer):
    assert told(EVERYTHING) != told(dict(EVERYTHING, timeouts={timer: 7}))


@pytest.mark.parametrize("kind", ["nat", "port_forwards"])
@pytest.mark.parametrize("timer", argspec.ITEM_TIMEOUTS["timeouts"]["options"])
def test_every_timer_of_an_item_has_words(timer, kind):
    first, *others = EVERYTHING[kind]
    assert told(EVERYTHING) != told(dict(EVERYTHING, **{kind: [dict(first, timeouts={timer: 7}), *others]}))


def test_what_only_the_host_knows_has_words():
    """Ports of SSH servers."""
    given = read_resolved(gateway_params(input="protect"))[0]
    assert describe_gateway(given) != describe_gateway(replace(given, controller_ports=(22, 2222)))


def test_every_field_of_the_declaration_is_kept():
    gateway, _problems = read_gateway(
        gateway_params(**{key: value for key, value in EVERYTHING.items() if key != "wans"})
    )
    found = resolved_from(gateway, wans=(ResolvedWan("wan0"),), own_servers=("192.168.1.5",))
    for each in fields(gateway):
        if each.name != "wans":
            assert getattr(found, each.name) == getattr(gateway, each.name), each.name
    assert (found.wans, found.own_servers) == ((ResolvedWan("wan0"),), ("192.168.1.5",))


def test_nothing_is_left_to_find_out():
    assert (Resolved().wans, Resolved().lans, ResolvedLan("a", ("lan0",)).networks) == ((), (), ())


def test_invalid_items_are_left_out():
    gateway = Resolved(nat=(NatItem("a"), NatItem("b")), unsound=frozenset(["nat[0]"]))
    assert only_sound(gateway) == Resolved(nat=(NatItem("b"),))
