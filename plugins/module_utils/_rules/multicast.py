# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Multicast from a WAN to LANs, which no NAT translates and no connection of a LAN has asked for."""

from __future__ import annotations

import typing as t

from .chains import ACCEPT, BETWEEN, address_matches, wan_interfaces
from .model import Rule

if t.TYPE_CHECKING:  # pragma: no cover
    from .._resolve.resolved import Resolved


def multicast(gateway: Resolved) -> t.List[Rule]:
    """Groups that a multicast router on this host, such as igmpproxy, forwards from a WAN to a LAN."""
    rules = []
    for item in gateway.multicast:
        lans = (lan for lan in gateway.lans if not item.lan or lan.name in item.lan)
        into = tuple(name for lan in lans for name in lan.interfaces)
        wans = (item.wan,) if item.wan else wan_interfaces(gateway)
        coming = address_matches(item.source, item.group, iif=wans, oif=into)
        rules += [Rule(BETWEEN.name, match, ACCEPT, "multicast/" + item.name) for match in coming]
    return rules
