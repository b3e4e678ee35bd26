# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""An intent as the state file keeps it: by the names of these classes, which therefore stay."""

from __future__ import annotations

import typing as t

from .. import _codec as codec
from .forward import PortForward
from .gateway import Around, Gateway
from .helper import HelperItem
from .items import Forward, Masquerade, PortForwardItem
from .multicast import Multicast
from .nat import NatItem
from .neighbour import Neighbour
from .outbound import Outbound
from .sides import Lan, Wan
from .traffic import Traffic

CLASSES: t.Dict[str, type] = {
    kind.__name__: kind
    for kind in (
        Around, Forward, Gateway, HelperItem, Lan, Masquerade, Multicast, NatItem, Neighbour, Outbound, PortForward,
        PortForwardItem, Traffic, Wan,
    )
}  # fmt: skip


def decode(raw: t.Any) -> t.Any:
    """A gateway or a single item; None if another release wrote it."""
    try:
        return codec.decode(raw, CLASSES)
    except (ValueError, TypeError, AttributeError):
        return None
