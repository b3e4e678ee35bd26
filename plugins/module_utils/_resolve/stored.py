# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""A gateway or an item as the state file keeps it: under these names, which therefore stay."""

from __future__ import annotations

import typing as t

from .._base import codec
from .._intent.forward import PortForward
from .._intent.helper import HelperItem
from .._intent.items import Forward, Masquerade, PortForwardItem
from .._intent.metrics import Metrics
from .._intent.multicast import Multicast
from .._intent.nat import NatItem
from .._intent.neighbour import Neighbour
from .._intent.outbound import Outbound
from .._intent.services import Dhcp, Dns, LanServices, Reservation
from .._intent.traffic import Traffic
from .resolved import Around, Resolved, ResolvedLan, ResolvedWan

CLASSES: t.Dict[str, type] = {
    "Around": Around,
    "Dhcp": Dhcp,
    "Dns": Dns,
    "Forward": Forward,
    "Gateway": Resolved,
    "HelperItem": HelperItem,
    "Lan": ResolvedLan,
    "LanServices": LanServices,
    "Masquerade": Masquerade,
    "Metrics": Metrics,
    "Multicast": Multicast,
    "NatItem": NatItem,
    "Neighbour": Neighbour,
    "Outbound": Outbound,
    "PortForward": PortForward,
    "PortForwardItem": PortForwardItem,
    "Reservation": Reservation,
    "Traffic": Traffic,
    "Wan": ResolvedWan,
}


def encode(value: t.Any) -> t.Any:
    return codec.encode(value, CLASSES)


def decode(raw: t.Any) -> t.Any:
    """Raises ValueError, TypeError or AttributeError if another release wrote it."""
    return codec.decode(raw, CLASSES)
