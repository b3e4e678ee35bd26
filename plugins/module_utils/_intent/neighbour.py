# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Another instance on the same host."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass


@dataclass(frozen=True)
class Neighbour:
    """Another instance on this host: its LANs with their interfaces and networks, and its WANs."""

    instance: str = ""
    lans: t.Tuple[t.Tuple[str, t.Tuple[str, ...]], ...] = ()
    wans: t.Tuple[str, ...] = ()
    networks: t.Tuple[t.Tuple[str, t.Tuple[str, ...]], ...] = ()  # of its LANs, which its rules take for its own

    @property
    def links(self) -> t.Tuple[str, ...]:
        return tuple(name for _lan, names in self.lans for name in names) + self.wans
