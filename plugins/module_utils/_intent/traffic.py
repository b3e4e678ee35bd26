# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Which packets an item matches."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from .._base.values import check_interface, check_name, is_network, read_networks, read_ports
from .._base.words import PROTOCOLS, WITH_PORTS
from .wording import listed

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.errors import Problems
    from .._base.net import Ports

#: CLUSTER_NODES_MAX, include/uapi/linux/netfilter/xt_cluster.h
MOST_SHARES = 32


@dataclass(frozen=True)
class Traffic:
    """Which packets an item matches. An empty field matches everything."""

    name: str
    source: t.Tuple[str, ...] = ()  # names of LANs, or networks; empty: every LAN
    destination: t.Tuple[str, ...] = ()
    wan: str = ""  # empty: every WAN
    protocol: t.Tuple[str, ...] = ()
    port: t.Tuple[Ports, ...] = ()


def read_traffic(where: str, raw: t.Mapping[str, t.Any], problems: Problems) -> t.Dict[str, t.Any]:
    """The options that all kinds of items share."""
    check_name(where, raw["name"], problems)
    if raw.get("wan"):
        check_interface(where, raw["wan"], problems)
    named = [entry for entry in raw.get("source") or () if not is_network(entry)]
    for entry in named:
        check_name(where + ": source", entry, problems)
    networks = [entry for entry in raw.get("source") or () if is_network(entry)]
    protocol = _protocols(raw.get("protocol"))
    port = read_ports(where + ": port", raw.get("port"), problems)
    if port and (not protocol or set(protocol) - set(WITH_PORTS)):
        problems.add(where, "port requires protocol tcp, udp, sctp or both")
    given = [net for option in ("source", "destination") for net in raw.get(option) or () if is_network(net)]
    if protocol == ("igmp",) and given and all(":" in net for net in given):
        problems.add(where, "protocol igmp is IPv4 only; IPv6 uses MLD, which is part of icmp")
    return {
        "name": raw["name"],
        "source": tuple(named) + read_networks(where + ": source", networks, problems),
        "destination": read_networks(where + ": destination", raw.get("destination"), problems),
        "wan": raw.get("wan") or "",
        "protocol": protocol,
        "port": port,
    }


def _protocols(raw: t.Optional[t.Sequence[str]]) -> t.Tuple[str, ...]:
    """The protocols without duplicates, in the order of PROTOCOLS."""
    named = {one for entry in raw or () for one in (("tcp", "udp") if entry == "both" else (entry,))}
    return tuple(entry for entry in PROTOCOLS if entry in named)


def describe_traffic(item: Traffic, anybody: str) -> str:
    words = [listed(item.source, anybody)]
    if item.destination:
        words.append("to " + listed(item.destination))
    if item.protocol:
        words.append(listed(item.protocol))
    if item.port:
        words.append(
            "port " + listed([str(low) if low == high else "{0}-{1}".format(low, high) for low, high in item.port])
        )
    return " ".join(words) + " on " + (item.wan or "every WAN")
