# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hypothesis strategies: options of the gateway module, valid ones and garbage. The integration tests use them too."""

from __future__ import annotations

import typing as t

from hypothesis import strategies as st

from ansible_collections.ipmasq.linux.tests.unit.params import gateway_params

#: Interfaces that can never mean the same one, whichever are drawn.
WANS = ("ppp0", "ppp*", "wwan0", "eth9", "sfp-wan")
LAN_NAMES = ("office", "guests", "Lab.3", "iot_2", "a-very-long-name-for-one-single-lan", "0")
LAN_INTERFACES = ("lan0", "lan1", "eth0.100", "br-guest", "wlan*", "tap*", "enp0s31f6", "vlan4094", "dmz")
#: Disjoint networks, some of them neighbours that a tool may merge.
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


def _subset(values: t.Sequence[str], least: int = 0, most: int = 4) -> t.Any:
    return st.lists(st.sampled_from(values), min_size=least, max_size=most, unique=True)


@st.composite
def gateways(draw: t.Any) -> t.Dict[str, t.Any]:
    """Valid options of a gateway with everything named, so that no host is needed to resolve them."""
    wans = draw(_subset(WANS, 1, 3).filter(lambda names: not {"ppp0", "ppp*"} <= set(names)))
    names = draw(_subset(LAN_NAMES, 1, 4))
    # Each LAN gets its share of the shuffled interfaces and networks, so no two overlap.
    interfaces = draw(st.permutations(LAN_INTERFACES))
    networks = draw(st.permutations(NETWORKS4 + NETWORKS6))
    lans = []
    for index, name in enumerate(names):
        others = [other for other in names if other != name]
        lans.append(
            {
                "name": name,
                "interfaces": interfaces[index * 2 : index * 2 + draw(st.integers(1, 2))],
                "networks": networks[index * 3 : index * 3 + draw(st.integers(1, 3))],
                "reaches": draw(_subset(others, 0, 3)) if others else [],
            }
        )
    ipv6 = draw(st.sampled_from(("route", "masquerade")))
    items = st.lists(nat_items(lans, wans, ipv6), min_size=1, max_size=4, unique_by=lambda item: item["name"])
    return gateway_params(
        instance=draw(st.sampled_from(("default", "lab", "x_1", "abcdefghij"))),
        wans=[{"interface": name} for name in wans],
        lans=lans,
        nat=draw(st.none() | items),
        ipv6=ipv6,
        mss=draw(st.sampled_from(("pmtu", "keep", "1452"))),
    )


@st.composite
def nat_items(draw: t.Any, lans: t.Sequence[t.Mapping[str, t.Any]], wans: t.Sequence[str], ipv6: str) -> t.Any:
    """A NAT item that can match: sources of the LANs, and destinations of a family that a source has."""
    named = {lan["name"]: [net for net in lan["networks"] if ipv6 != "route" or _translated(net)] for lan in lans}
    networks = [net for lan in lans for net in lan["networks"]]
    source = draw(st.none() | st.lists(st.sampled_from(tuple(named) + tuple(networks)), max_size=3, unique=True))
    translated = [net for entry in source or named for net in named.get(entry, [entry])]
    families = {":" in net for net in translated}
    destinations = [net for net in DESTINATIONS if (":" in net) in families]
    return {
        "name": draw(st.sampled_from(("vpn", "rest", "mail", "x.1", "N_-"))),
        "action": draw(st.sampled_from(("masquerade", "exempt"))),
        "source": source,
        "destination": draw(st.none() | _subset(destinations)) if destinations else None,
        "wan": draw(st.none() | st.sampled_from(tuple(wans))),
    }


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
