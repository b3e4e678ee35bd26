# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""The parts of a gateway, in the order in which a change makes them; a removal goes the other way.

Rules come before all of these, and switches after them: forwarding is turned on last, and off first.
"""

from __future__ import annotations

import typing as t

from ._fence import FENCE
from ._firewalld import DOOR
from ._links import LINKS

if t.TYPE_CHECKING:  # pragma: no cover
    from ._part import Part

PARTS: t.Tuple[Part[t.Any], ...] = (LINKS, DOOR, FENCE)
