# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""The kinds of things that a gateway has on a host, as the state file knows them: a name, and a frozen value."""

from __future__ import annotations

import typing as t

V = t.TypeVar("V")


class Kind(t.Generic[V]):
    """One part of the state file. ``empty`` is its value if there is none of it; its class is the type."""

    def __init__(self, name: str, empty: V) -> None:
        self.name, self.empty = name, empty

    def of(self, holder: t.Any) -> V:
        """What a state holds of it; ``empty`` without a state."""
        found: V = holder.parts.get(self.name, self.empty) if holder else self.empty
        return found


def parts_of(*pairs: t.Tuple[Kind[t.Any], t.Any]) -> t.Dict[str, t.Any]:
    """The parts of a state: those that are not empty."""
    return {kind.name: value for kind, value in pairs if value != kind.empty}
