# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hypothesis strategies: options of the gateway module, valid ones and garbage. The integration tests use them too."""

from __future__ import annotations

import copy
import ipaddress
import os
import re
import typing as t

from hypothesis import HealthCheck, reject, settings, strategies as st

from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError
from ansible_collections.ipmasq.linux.plugins.module_utils._facts.links import Facts
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.read import gateway_from_params
from ansible_collections.ipmasq.linux.plugins.module_utils._resolve.resolve import resolve
from ansible_collections.ipmasq.linux.tests.unit.params import gateway_params


def drawn(examples: int) -> settings:
    """So many examples, the same ones each time, because a failing test must fail again, even on a slow machine.

    More by ``IPMASQ_EXAMPLES`` are others each time, and look further; fewer are for another Python.
    """
    asked = int(os.environ.get("IPMASQ_EXAMPLES", examples))
    return settings(
        max_examples=asked,
        deadline=None,
        derandomize=asked <= examples,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


#: Items that are refused beside others: they take no packet, or their server is mapped 1:1.
REFUSED = re.compile(r"(nat|outbound|port_forwards)\[(\d+)\] .*(can never match|maps it 1:1)")

#: Interfaces that never overlap, regardless of which are drawn.
WANS = ("ppp0", "ppp*", "wwan0", "eth9", "sfp-wan")
LAN_NAMES = ("office", "guests", "Lab.3", "iot_2", "a-very-long-name-for-one-single-lan", "0")
LAN_INTERFACES = ("lan0", "lan1", "eth0.100", "br-guest", "wlan*", "tap*", "enp0s31f6", "vlan4094", "dmz")
#: Disjoint networks, some of them adjacent, which a tool may merge.
NETWORKS4 = (
    "192.168.0.0/25",
    "192.168.0.128/25",
    "192.168.1.0/24",
    "192.168.2.0/24",
    "172.16.0.0/16",
    "172.17.5.4/32",
    "10.0.0.0/9",
    "10.128.0.0/9",
    "198.51.100.0/28",
)
NETWORKS6 = ("fd00:1::/64", "fd00:1:0:1::/64", "fd00:2::/48", "2001:db8:1::/64", "2001:db8:2::/56", "fd00:3::1/128")
DESTINATIONS = ("10.9.0.0/16", "192.0.2.1/32", "0.0.0.0/1", "fd00:9::/32", "2001:db8:9::/48")


#: Prefixes of the Internet, for items that outside clients and addresses are about.
OUTSIDE4, OUTSIDE6 = ("198.18.5.0/24", "8.0.0.0/8", "192.0.2.7/32"), ("2001:db8:e::/48", "2a00::/12")
ASKED4, ASKED6 = ("203.0.113.7/32", "203.0.113.64/28"), ("2001:db8:ff::7/128", "2001:db8:fe::/64")
#: Pools outside, that a router sends here: one address, one range, a range that is a network, several that are apart.
POOLS4 = (
    ["203.0.113.9"],
    ["203.0.113.16-203.0.113.21"],
    ["203.0.113.16-203.0.113.19"],
    ["203.0.113.32-203.0.113.34", "203.0.113.40"],
    ["203.0.113.50", "203.0.113.53", "203.0.113.57-203.0.113.60"],
)
POOLS6 = (["2001:db8:ff::9"], ["2001:db8:ff::10-2001:db8:ff::1f"], ["2001:db8:ff::a", "2001:db8:ff::c-2001:db8:ff::e"])
#: Too large to be mapped by prefix: each /64 of it is a rule.
MANY_SUBNETS = "fd00:2::/48"
NAT_NAMES = ("vpn", "rest", "mail", "x.1", "N_-")
PORTS = ("1", "443", "8000-8010", "8005-8020", "65535", "1024-65535")


def _subset(values: t.Sequence[str], least: int = 0, most: int = 4) -> t.Any:
    return st.lists(st.sampled_from(values), min_size=least, max_size=most, unique=True)


@st.composite
def gateways(draw: t.Any) -> t.Dict[str, t.Any]:
    """Valid options of a gateway with everything named, so that no host is needed to resolve them."""
    wans = draw(_subset(WANS, 1, 3).filter(lambda names: not {"ppp0", "ppp*"} <= set(names)))
    names = draw(_subset(LAN_NAMES, 1, 4))
    ipv6 = draw(st.sampled_from(("route", "masquerade", "prefix")))
    # Each LAN gets its share of the shuffled interfaces and networks, so no two overlap.
    interfaces = draw(st.permutations(LAN_INTERFACES))
    networks = draw(st.permutations([net for net in NETWORKS4 + NETWORKS6 if ipv6 != "prefix" or net != MANY_SUBNETS]))
    lans = []
    for index, name in enumerate(names):
        others = [other for other in names if other != name]
        lans.append(
            {
                "name": name,
                "interfaces": interfaces[index * 2 : index * 2 + draw(st.integers(1, 2))],
                "networks": networks[index * 3 : index * 3 + draw(st.integers(1, 3))],
                "reaches": draw(_subset(others, 0, 3)) if others else [],
                "spoof_check": draw(st.booleans()),
            }
        )
    mss = st.sampled_from(("pmtu", "keep", "1452", "1400"))
    options = gateway_params(
        instance=draw(st.sampled_from(("default", "lab", "x_1", "abcdefghij"))),
        wans=[{"interface": name, "mss": draw(st.none() | mss)} for name in wans],
        lans=lans,
        nat=draw(nats(lans, wans, ipv6)),
        port_forwards=draw(st.none() | _several(lambda index: port_forwards(index, lans, wans, ipv6))),
        outbound=draw(st.none() | _several(lambda index: outbound_items(index, lans, wans))),
        profile=draw(st.sampled_from(("peer_to_peer", "server_egress"))),
        ipv6=ipv6,
        mss=draw(mss),
        drop_bogons=draw(st.booleans()),
    )
    return _without_refused(options)


def _without_refused(options: t.Dict[str, t.Any]) -> t.Dict[str, t.Any]:
    """Less the items that are refused beside the others, such as one that comes after another with all its packets."""
    try:
        resolve(gateway_from_params(options), Facts((), ()))
    except GatewayError as error:
        refused = [REFUSED.match(problem) for problem in error.problems]
        for kind in ("nat", "outbound", "port_forwards"):
            places = {int(found.group(2)) for found in refused if found and found.group(1) == kind}
            items = [item for index, item in enumerate(options[kind] or ()) if index not in places]
            options[kind] = items if places else options[kind]
        if any(refused):
            try:
                resolve(gateway_from_params(options), Facts((), ()))
            except GatewayError:
                # A required item was left out, such as a prefix.
                reject()
    return options


def _several(make: t.Callable[[int], t.Any], most: int = 3) -> t.Any:
    """A list of items that differ at least in their number."""
    return st.integers(0, most).flatmap(lambda count: st.tuples(*[make(index) for index in range(count)]).map(list))


@st.composite
def nats(draw: t.Any, lans: t.Sequence[t.Mapping[str, t.Any]], wans: t.Sequence[str], ipv6: str) -> t.Any:
    items = draw(
        st.none() | st.lists(nat_items(lans, wans, ipv6), min_size=1, max_size=4, unique_by=lambda item: item["name"])
    )
    prefixes = draw(prefix_items(lans)) if ipv6 == "prefix" else []
    return draw(st.permutations(prefixes + (items or []))) if prefixes else items


@st.composite
def prefix_items(draw: t.Any, lans: t.Sequence[t.Mapping[str, t.Any]]) -> t.Any:
    """A prefix outside for each IPv6 network of a LAN, as long as itself or as the site's."""
    inside = {}
    for lan in lans:
        for net in (net for net in lan["networks"] if ":" in net):
            length = int(net.split("/")[1])
            site = str(ipaddress.IPv6Network(net).supernet(new_prefix=48))
            own = str(ipaddress.IPv6Network(net).supernet(new_prefix=min(length, 64)))
            inside[draw(st.sampled_from((own, site)))] = True
    return [
        {
            "name": "prefix{0}".format(index),
            "action": "prefix",
            "source": [net],
            "to": ["2001:db8:a0{0}::/{1}".format(index, net.split("/")[1])],
            "inbound": draw(st.none() | st.booleans()),
        }
        for index, net in enumerate(inside)
    ]


@st.composite
def nat_items(draw: t.Any, lans: t.Sequence[t.Mapping[str, t.Any]], wans: t.Sequence[str], ipv6: str) -> t.Any:
    """A NAT item that can match: sources of the LANs, and destinations of a family that a source has."""
    name = draw(st.sampled_from(NAT_NAMES))
    action = draw(st.sampled_from(("masquerade", "snat", "static", "exempt")))
    item = {"name": name, "action": action, "wan": draw(st.none() | st.sampled_from(tuple(wans)))}
    if action == "static":
        return dict(item, **draw(one_to_one(NAT_NAMES.index(name), lans)))
    named = {lan["name"]: [net for net in lan["networks"] if ipv6 != "route" or _translated(net)] for lan in lans}
    networks = [net for lan in lans for net in lan["networks"]]
    source = draw(st.none() | st.lists(st.sampled_from(tuple(named) + tuple(networks)), max_size=3, unique=True))
    translated = [net for entry in source or named for net in named.get(entry, [entry])]
    families = {":" in net for net in translated}
    if ipv6 == "prefix" and action != "exempt":
        families -= {True}
    destinations = [net for net in DESTINATIONS if (":" in net) in families]
    item.update(
        draw(services()),
        source=source,
        destination=draw(st.none() | _subset(destinations)) if destinations else None,
    )
    if action == "exempt":
        return dict(item, ipsec=draw(st.none() | st.booleans()))
    item.update(random=draw(st.none() | st.booleans()), to_port=draw(st.none() | st.sampled_from(PORTS)))
    if action == "snat":
        four, six = draw(st.sampled_from(POOLS4)), draw(st.sampled_from(POOLS6))
        fitting = [four] * (False in families) + [six] * (True in families) or [four]
        to = draw(st.sampled_from(fitting + [four + six]))
        item.update(to=to, to_address="routed", persistent=draw(st.none() | st.booleans()))
    return item


@st.composite
def one_to_one(draw: t.Any, slot: int, lans: t.Sequence[t.Mapping[str, t.Any]]) -> t.Any:
    """A network of a LAN, the first half of it or its first address, and as much outside. Slots do not overlap."""
    inside = ipaddress.ip_network(draw(st.sampled_from([net for lan in lans for net in lan["networks"]])))
    longer = draw(
        st.sampled_from((inside.prefixlen, min(inside.prefixlen + 1, inside.max_prefixlen), inside.max_prefixlen))
    )
    outside = "2001:db8:c0{0}::/{1}" if inside.version == 6 else "10{0}.0.0.0/{1}"
    destinations = [net for net in DESTINATIONS if (":" in net) == (inside.version == 6)]
    return {
        "source": ["{0}/{1}".format(inside.network_address, longer)],
        "to": [outside.format(slot + 1, longer)],
        "destination": draw(st.none() | _subset(destinations)),
        "inbound": draw(st.none() | st.booleans()),
        "to_address": draw(st.none() | st.just("routed")),
    }


@st.composite
def services(draw: t.Any) -> t.Any:
    """Protocols, and ports where they have some."""
    protocol = draw(
        st.none()
        | st.sampled_from(
            (
                ["tcp"],
                ["udp"],
                ["both"],
                ["sctp"],
                ["icmp"],
                ["esp"],
                ["ah", "gre"],
                # Alone it is refused beside IPv6 addresses.
                ["igmp", "esp"],
                ["ipv6", "vrrp"],
                ["tcp", "icmp"],
                [],
            )
        )
    )
    ports = bool(protocol) and set(protocol) <= {"tcp", "udp", "both", "sctp"}
    return {"protocol": protocol, "port": draw(st.none() | _subset(PORTS, 0, 3)) if ports else None}


@st.composite
def port_forwards(
    draw: t.Any, index: int, lans: t.Sequence[t.Mapping[str, t.Any]], wans: t.Sequence[str], ipv6: str
) -> t.Any:
    """Servers of one family in one LAN, each forward with ports of its own."""
    lan = draw(st.sampled_from(lans))
    six = ":" in draw(st.sampled_from(lan["networks"]))
    networks = [ipaddress.ip_network(net) for net in lan["networks"] if (":" in net) == six]
    to = [
        str(net[draw(st.integers(*_hosts(net)))])
        for net in draw(st.lists(st.sampled_from(networks), min_size=1, max_size=3))
    ]
    pinhole = six and ipv6 == "route" and not any(_translated(address) for address in to)
    first = 1000 * (index + 1)
    port = draw(
        st.sampled_from(
            ([str(first)], ["{0}-{1}".format(first, first + 9)], [str(first), "{0}-{1}".format(first + 20, first + 25)])
        )
    )
    forward = {
        "name": "forward{0}".format(index),
        "protocol": draw(st.sampled_from((["tcp"], ["udp"], ["both"], ["sctp"], ["tcp", "sctp"]))),
        "port": port,
        "to": list(dict.fromkeys(to)),
        "source": draw(st.none() | _subset(OUTSIDE6 if six else OUTSIDE4, 0, 2)),
        "wan": draw(st.none() | st.sampled_from(tuple(wans))),
        "hairpin": draw(st.booleans()),
        "hairpin_source": draw(st.sampled_from(("external", "gateway"))),
        "balance": draw(st.sampled_from(("round_robin", "source"))),
    }
    if not pinhole:
        forward["destination"] = draw(st.none() | _subset(ASKED6 if six else ASKED4, 0, 2))
        forward["to_port"] = draw(st.none() | st.sampled_from((1, first, 8080, 65000))) if len(port) == 1 else None
    if forward["hairpin"] and forward["source"]:
        # A hairpin is for clients inside, so some of them have to be named.
        forward["source"] = [*forward["source"], str(networks[0])]
    return forward


def _hosts(network: t.Any) -> t.Tuple[int, int]:
    """Places of addresses that a host can have, of a long network the first 300."""
    ends = 1 if network.version == 4 and network.prefixlen < 31 else 0
    return ends, min(network.num_addresses - 1 - ends, 300)


@st.composite
def outbound_items(draw: t.Any, index: int, lans: t.Sequence[t.Mapping[str, t.Any]], wans: t.Sequence[str]) -> t.Any:
    named = {lan["name"]: lan["networks"] for lan in lans}
    networks = [net for lan in lans for net in lan["networks"]]
    source = draw(st.none() | st.lists(st.sampled_from(tuple(named) + tuple(networks)), max_size=3, unique=True))
    families = {":" in net for entry in source or named for net in named.get(entry, [entry])}
    action = draw(st.sampled_from(("accept", "reject", "drop")))
    rates = st.none() | st.sampled_from(("10/second", "60/minute", "3000/second", "10/hour", "1/day", "10000/minute"))
    return dict(
        draw(services()),
        name="outbound{0}".format(index),
        action=action,
        source=source,
        destination=draw(st.none() | _subset([net for net in DESTINATIONS if (":" in net) in families])),
        wan=draw(st.none() | st.sampled_from(tuple(wans))),
        rate=draw(rates) if action == "accept" else None,
    )


def _translated(network: str) -> bool:
    return ":" not in network or network.startswith("fd")


def garbage() -> t.Any:
    """Strings that users and attackers write: near misses first, then anything."""
    near = st.sampled_from(
        (
            "", " ", "*", "**", "a*b", "eth0 ", "eth/0", "..", "-i", "lan0\n", "192.168.1.1/24", "192.168.1.0/33",
            "::/129", "fe80::1%eth0", "1.2.3", "0", "0x10", "١٩٢.0.2.0/24", "\uff11", "lan\u202e0", "$(reboot)",
            "'", '"',
            "a" * 300, "9" * 5000, "1/1/1", ":", "/", "::ffff:1.2.3.4", "\x00", "\ud800",
        )
    )  # fmt: skip
    return near | st.text(max_size=20)


#: Near misses of each kind of value, in addition to garbage().
NEAR = {
    "addresses": (
        "203.0.113.9-", "-203.0.113.9", "203.0.113.12-203.0.113.9", "203.0.113.9-2001:db8::1", "203.0.113.9-.12",
        "203.0.113.9:80", "[2001:db8::9]:80", "0.0.0.0-255.255.255.255", "0.0.0.0", "::",
        "255.255.255.255", "224.0.0.1", "ff02::1", "203.0.113.9/32", "203.0.113.0/28",
        "::1.2.3.4", "192.168.1.20", "203.0.113.9 - 203.0.113.12", "localhost",
        "fd00:1::20-fd00:1::22", "2001:db8::-2001:db8::ffff", "fe80::1%eth0", "10.0.0.0-10.255.255.255",
    ),
    "networks": (
        "0.0.0.0/0", "::/0", "10.0.0.0/8", "192.168.1.0/24", "192.168.1.0/25", "192.168.1.7", "fd00:1::/64",
        "fd00:1::/48", "fd00:1::/65", "2001:db8::/32", "2001:db8:1::/64", "::/96", "::ffff:0:0/96", "203.0.113.0/24",
        "224.0.0.0/4", "127.0.0.0/8", "fe80::/10", "192.168.1.0/255.255.255.0", "192.168.1.0-24",
        "office", "guests", "nobody", "192.168.1.0/024", "192.168.001.0/24", "fe80::1%eth0",
        "fd00::%eth0/64",
    ),
    "ports": (
        "0", "65536", "-1", "1-", "-", "10-1", "1-65535", "443", "80,443", "http", "443 - 445", "8000-8010-8020",
        "0x50", "\uff18\uff10", "1-65536", " 443 ", "+443", "4_4", "1e3", "443/tcp", "99999999999",
    ),
    "rates": (
        "10/second", "10/s", "0/second", "10000/day", "10001/day", "10", "/second", "10/", "10/second burst 5",
        "1/week", "-1/second", "1.5/second", "\uff11/second", "10 / second", "10/SECOND",
    ),
    "mss": ("pmtu", "keep", "1452", "0", "87", "88", "65495", "65496", "-1", "1452 ", "PMTU", "١٤٥٢", "1e3", "065495"),
    "interfaces": ("wan0", "lan0", "guest0", "wan*", "lan*", "*", "lo", "all", "pwan0", "wan0:1", "wan0.7", "x" * 16),
    "names": ("office", "guests", "a", "rest", "office ", "-", ".", "a/b", "x" * 63, "x" * 64, "192.168.1.0", "::"),
}  # fmt: skip


def near(kind: str) -> t.Any:
    return st.sampled_from(NEAR[kind]) | garbage()


def _listed(kind: str, most: int = 3) -> t.Any:
    return st.none() | st.lists(near(kind), max_size=most)


NUMBERS = st.integers(-3, 70000) | st.sampled_from((0, 1, 443, 65535, 65536, 2**31, -(2**63), 10**30))


def _choice(*values: str) -> t.Any:
    """The argument spec lets nothing else through."""
    return st.sampled_from(values)


def _traffic(*protocols: str) -> t.Dict[str, t.Any]:
    return {
        "name": near("names"),
        "source": _listed("networks"),
        "destination": _listed("networks"),
        "wan": st.none() | near("interfaces"),
        "protocol": st.none() | st.lists(st.sampled_from(protocols), max_size=3),
        "port": _listed("ports"),
    }


def _timeouts(*names: str) -> t.Any:
    return st.fixed_dictionaries({}, optional={name: st.none() | NUMBERS for name in names})


MAYBE = st.none() | st.booleans()
WITHOUT_PORTS = ("tcp", "udp", "sctp", "both", "icmp", "esp", "ah", "gre", "igmp", "ipv6", "vrrp")
#: Option of the gateway to values that are wrong, or right by accident; for a list of items, each option of an item.
WRONG: t.Dict[str, t.Any] = {
    "instance": garbage() | _choice("default", "lab", "Lab", "1", "a" * 11, "a-b"),
    "wans": {
        "interface": near("interfaces"),
        "mss": st.none() | near("mss"),
        "carried_from": st.lists(near("networks"), max_size=2),
    },
    "lans": {
        "name": near("names"),
        "interfaces": st.lists(near("interfaces"), max_size=3),
        "networks": _listed("networks"),
        "reaches": st.lists(near("names"), max_size=2),
        "spoof_check": st.booleans(),
    },
    "nat": dict(
        _traffic(*WITHOUT_PORTS),
        action=_choice("masquerade", "snat", "static", "prefix", "exempt"),
        to=st.none() | st.lists(near("addresses") | near("networks"), max_size=3),
        to_port=st.none() | near("ports"),
        to_address=st.none() | _choice("existing", "routed", "add"),
        timeouts=st.none() | _timeouts("udp", "udp_stream", "tcp_established"),
        random=MAYBE,
        persistent=MAYBE,
        ipsec=MAYBE,
        inbound=MAYBE,
    ),
    "port_forwards": dict(
        _traffic("tcp", "udp", "sctp", "both"),
        protocol=st.lists(_choice("tcp", "udp", "sctp", "both"), max_size=3),
        port=st.lists(near("ports"), max_size=3),
        to=st.lists(near("addresses"), max_size=3),
        to_port=st.none() | NUMBERS,
        hairpin=st.booleans(),
        hairpin_source=_choice("external", "gateway"),
        balance=_choice("round_robin", "source"),
        timeouts=st.none() | _timeouts("udp", "tcp_close"),
    ),
    "outbound": dict(
        _traffic(*WITHOUT_PORTS), action=_choice("accept", "reject", "drop"), rate=st.none() | near("rates")
    ),
    "multicast": {
        "name": near("names"),
        "group": st.lists(near("networks") | _choice("239.0.0.0/8", "ff0e::/16", "224.0.0.0/24"), max_size=3),
        "source": _listed("networks"),
        "wan": st.none() | near("interfaces"),
        "lan": st.none() | st.lists(near("names"), max_size=2),
    },
    "profile": _choice("peer_to_peer", "server_egress"),
    "ipv6": _choice("route", "masquerade", "prefix"),
    "mss": near("mss"),
    "drop_bogons": st.booleans(),
    "input": _choice("open", "protect"),
    "input_allow": _traffic(*WITHOUT_PORTS),
    "input_controller_ports": st.none() | st.lists(NUMBERS, max_size=2),
    "helpers": {"name": _choice("ftp", "pptp", "sip"), "port": st.none() | st.lists(NUMBERS, max_size=2)},
    "conntrack_max": near("mss") | _choice("keep", "auto", "65536"),
    "timeouts": st.none() | _timeouts("udp", "icmp", "generic", "tcp_syn_sent"),
    "offload": _choice("none", "software"),
    "log": st.none() | st.lists(_choice("guard", "closed"), max_size=2),
    "log_prefix": garbage(),
    "log_rate": near("rates"),
}
#: A valid item of each kind, to be broken in one place.
RIGHT: t.Dict[str, t.Any] = {
    "wans": [{"interface": "wan0"}],
    "lans": [
        {"name": "office", "interfaces": ["lan0"], "networks": ["192.168.1.0/24", "fd00:1::/64"]},
        {
            "name": "guests",
            "interfaces": ["guest0"],
            "networks": ["192.168.2.0/24", "fd00:2::/64"],
            "reaches": ["office"],
        },
    ],
    "nat": [
        {"name": "vpn", "action": "exempt", "destination": ["10.0.0.0/8"], "protocol": ["tcp"], "port": ["443"]},
        {"name": "mail", "action": "snat", "source": ["192.168.1.25"], "to": ["203.0.113.9"], "to_address": "routed"},
        {"name": "block", "action": "static", "source": ["192.168.1.32/28"], "to": ["203.0.113.32/28"]},
        {"name": "rest", "to_port": "1024-65535", "random": True},
    ],
    "port_forwards": [
        {"name": "web", "port": ["443"], "to": ["192.168.1.20"], "to_port": 8443, "hairpin": True},
        {"name": "game", "port": ["8000-8010"], "protocol": ["both"], "to": ["fd00:1::20"], "wan": "wan0"},
    ],
    "outbound": [
        {"name": "web", "source": ["guests"], "protocol": ["tcp"], "port": ["80", "443"], "rate": "10/second"},
        {"name": "none", "source": ["guests"], "action": "reject"},
    ],
    "multicast": [
        {"name": "tv", "group": ["239.0.0.0/8"], "source": ["10.64.0.0/16"], "wan": "wan0", "lan": ["office"]}
    ],
}


@st.composite
def garbled(draw: t.Any) -> t.Dict[str, t.Any]:
    """Options of which one to three values are wrong, or may be, and the others right."""
    options = copy.deepcopy(RIGHT)
    for _time in range(draw(st.integers(1, 3))):
        option = draw(st.sampled_from(sorted(WRONG)))
        wrong = WRONG[option]
        if not isinstance(wrong, dict):
            options[option] = draw(wrong)
        elif draw(st.integers(0, 9)):
            item = draw(st.sampled_from(options[option])) if options.get(option) else {}
            key = draw(st.sampled_from(sorted(wrong)))
            item[key] = draw(wrong[key])
        else:
            options[option] = draw(st.just([]) | st.none())
    return gateway_params(**options)


def nonsense() -> t.Any:
    """Options that are valid only by accident."""
    shapes = {
        option: wrong if not isinstance(wrong, dict) else st.none() | st.lists(st.fixed_dictionaries(wrong), max_size=3)
        for option, wrong in WRONG.items()
    }
    return st.fixed_dictionaries(shapes).map(lambda options: gateway_params(**options))
