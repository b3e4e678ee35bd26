# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Which IPv6 default routes the kernel itself has made of router advertisements; ``ip`` does not say."""

from __future__ import annotations

import ipaddress
import typing as t

#: In /proc/net/ipv6_route: of routes that the kernel has made of an advertisement (linux/ipv6_route.h). A route of
#: systemd-networkd or NetworkManager lacks it, whatever its protocol and metric.
RTF_ADDRCONF = 0x00040000
PLACE = "/proc/net/ipv6_route"

#: The link, the router and the metric of a route.
Way = t.Tuple[str, str, int]


def of_the_kernel(listing: str) -> t.Set[Way]:
    """Its columns: destination, length, source, length, next hop, metric, two counters, flags, link."""
    found: t.Dict[bool, t.Set[Way]] = {True: set(), False: set()}
    for columns in map(str.split, listing.splitlines()):
        if len(columns) == 10 and columns[1] == "00":
            router = str(ipaddress.IPv6Address(int(columns[4], 16)))
            way = (columns[9], "" if router == "::" else router, int(columns[5], 16))
            found[bool(int(columns[8], 16) & RTF_ADDRCONF)].add(way)
    return found[True] - found[False]
