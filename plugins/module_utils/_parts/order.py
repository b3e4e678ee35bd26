# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""The parts of a gateway, in the order in which a change makes them; a removal goes the other way.

Forwarding is turned on once the rules have loaded, and off before they are removed. Services come last: they must not
answer before the rules are there.
"""

from __future__ import annotations

import typing as t

from .addresses import ADDRESSES
from .door import DOOR
from .fence import FENCE
from .flowtable import FLOWTABLE
from .metrics import METRICS
from .modules import MODULES
from .opening import OPENING
from .rules import RULES
from .services import SERVICES
from .switches import SWITCHES

if t.TYPE_CHECKING:  # pragma: no cover
    from .part import Part

PARTS: t.Tuple[Part[t.Any], ...] = (
    MODULES, RULES, ADDRESSES, FLOWTABLE, DOOR, FENCE, OPENING, SWITCHES, SERVICES, METRICS,
)  # fmt: skip
