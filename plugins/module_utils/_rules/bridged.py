# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Frames between two ports of one bridge.

The kernel shows them to these rules where br_netfilter is loaded, as Docker and Kubernetes do, and where
net.bridge.bridge-nf-call-iptables is 1. They are not routed: hosts ask for addresses with them, and find each other.
"""

from __future__ import annotations

import typing as t

from .._base.net import matches_any
from .chains import ACCEPT, FORWARD, RETURN, lan_interfaces
from .model import Match, Rule

if t.TYPE_CHECKING:  # pragma: no cover
    from .._resolve.resolved import Resolved


def bridged(gateway: Resolved) -> t.List[Rule]:
    """Hosts of a LAN trust each other; what is at a WAN's bridge is not behind the gateway, and left to others' rules.

    A packet that is routed back to where it came from looks the same.
    """
    lans = lan_interfaces(gateway)
    return [
        Rule(FORWARD.name, Match(iif=(link,), oif=(link,)), ACCEPT if matches_any(lans, link) else RETURN, "declared")
        for link in gateway.around.bridges
    ]
