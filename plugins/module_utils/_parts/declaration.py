# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""What was declared for an instance, as the state file keeps it: the next run compares with it."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from .._intent.neighbour import Neighbour
from .._resolve.choice import NOTHING, Chosen  # noqa: TC001 (the codec reads the annotations)
from .part import Kind


@dataclass(frozen=True)
class Declaration:
    lines: t.Tuple[str, ...] = ()  # in words, for the next diff
    interfaces: t.Tuple[str, ...] = ()  # names and patterns, for a whole gateway
    roles: Neighbour = field(default_factory=Neighbour)  # the same by role, for other instances
    ways_out: t.Tuple[str, ...] = ()  # other links with a default route, which the rules close
    chosen: Chosen = NOTHING  # WANs and LANs that the user did not name
    controller_ports: t.Tuple[int, ...] = ()  # ports of SSH servers, and those that runs have used
    intent: t.Any = None  # resolved intent as JSON, the old rules of the next change


DECLARATION = Kind("declaration", Declaration())
