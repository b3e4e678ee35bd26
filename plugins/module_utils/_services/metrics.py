# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""What the collector of metrics has to know about a gateway, one word and its values in each line."""

from __future__ import annotations

import ipaddress
import typing as t

from .._base.values import ends_of

if t.TYPE_CHECKING:  # pragma: no cover
    from .._resolve.resolved import Resolved

HEAD = "# Written by the Ansible collection ipmasq.linux for {0}. Changes are overwritten.\n"
#: Addresses of SNAT pools whose ports are counted; each is two time series.
MOST_ADDRESSES = 256


def config(gateway: Resolved, programs: str) -> str:
    """The whole file; empty if the gateway has no metrics."""
    if not gateway.metrics.folder:
        return ""
    lines = ["folder " + gateway.metrics.folder, "backend " + programs]
    links = [wan.interface for wan in gateway.wans] + [name for lan in gateway.lans for name in lan.interfaces]
    lines += ["link " + name for name in dict.fromkeys(links)]
    lines += ["address " + address for address in addresses(gateway)]
    for lan in gateway.lans:
        for each in lan.services.dhcp.range if lan.services.dhcp else ():
            lines.append("range {0} {1}".format(lan.name, each))
    return HEAD.format(gateway.instance) + "".join(line + "\n" for line in lines)


def addresses(gateway: Resolved) -> t.List[str]:
    """The IPv4 addresses that SNAT uses, those of the first items first."""
    found: t.Dict[str, None] = {}
    for item in gateway.nat:
        if item.action != "snat":
            continue
        for to in item.to:
            first, last = (ipaddress.ip_address(end) for end in ends_of(to))
            if first.version == 4:
                most = min(int(last), int(first) + MOST_ADDRESSES - 1)
                found.update((str(ipaddress.ip_address(number)), None) for number in range(int(first), most + 1))
    return list(found)[:MOST_ADDRESSES]
