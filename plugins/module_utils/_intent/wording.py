# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""How words for people are put together."""

from __future__ import annotations

import re
import typing as t


def listed(values: t.Sequence[str], none: str = "nothing", most: int = 20) -> str:
    """A list for people. A long one is cut, because the rules below show the rest."""
    if len(values) > most:
        return "{0} and {1} more".format(" ".join(values[:most]), len(values) - most)
    return " ".join(values) or none


def is_cut(line: str) -> bool:
    """Whether two different items may share this line."""
    return bool(re.search(r" and [0-9]+ more\b", line))
