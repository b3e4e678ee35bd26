# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Conntrack helpers."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from .wording import listed

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.errors import Problems


@dataclass(frozen=True)
class HelperItem:
    """A conntrack helper for connections from LANs. Without ``port`` it is on the service's default ports."""

    name: str
    port: t.Tuple[int, ...] = ()


def read_helper(index: int, raw: t.Mapping[str, t.Any], problems: Problems) -> HelperItem:
    where = "helpers[{0}] '{1}'".format(index, raw["name"])
    for port in raw.get("port") or ():
        if not 1 <= port <= 65535:
            problems.add(where, "port {0} is not in the port range 1-65535".format(port))
    return HelperItem(raw["name"], tuple(sorted(set(raw.get("port") or ()))))


def describe_helper(item: HelperItem) -> str:
    return "on " + listed([str(port) for port in item.port], "its own ports")
