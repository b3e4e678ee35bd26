# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""What LANs may open to WANs."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from .._base.values import check_rate, shorten
from .traffic import Traffic, describe_traffic, read_traffic

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.errors import Problems


@dataclass(frozen=True)
class Outbound(Traffic):
    action: str = "accept"
    rate: str = ""


def read_outbound(index: int, raw: t.Mapping[str, t.Any], problems: Problems) -> Outbound:
    where = "outbound[{0}] '{1}'".format(index, shorten(raw["name"]))
    rate = raw.get("rate") or ""
    if rate and raw["action"] != "accept":
        problems.add(
            where,
            "rate is valid only with action accept, not {0}; what exceeds it is rejected".format(raw["action"]),
        )
    return Outbound(
        **read_traffic(where, raw, problems),
        action=raw["action"],
        rate=check_rate(where + ": rate", rate, problems) if rate else "",
    )


def describe_outbound(item: Outbound) -> str:
    return " ".join([item.action, describe_traffic(item, "every LAN")] + (["up to " + item.rate] if item.rate else []))
