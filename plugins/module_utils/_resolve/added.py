# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""The addresses that NAT items add to WANs."""

from __future__ import annotations

import ipaddress
import typing as t

from .._base.values import addresses_in

if t.TYPE_CHECKING:
    from .._intent.nat import NatItem
    from .resolved import Resolved

#: Addresses that one NAT item may add to a WAN; larger blocks should be routed.
MOST_ADDED = 256


def added_addresses(gateway: Resolved, item: NatItem) -> t.List[t.Tuple[str, str]]:
    """Interface and address of everything that an item adds."""
    if item.to_address != "add":
        return []
    wan = item.wan or next((each.interface for each in gateway.wans), "")
    return [(wan, address) for entry in item.to for address in addresses_in(as_range(entry), MOST_ADDED) or ()]


def as_range(entry: str) -> str:
    """A network as an address range; a range unchanged."""
    if "/" not in entry:
        return entry
    network = ipaddress.ip_network(entry)
    return "{0}-{1}".format(network.network_address, network.broadcast_address)
