# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""The DNS servers of the host itself."""

from __future__ import annotations

import typing as t

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.host import Sight

PATH = "/etc/resolv.conf"


def resolvers(host: Sight) -> t.Tuple[str, ...]:
    """In their order, without zones; resolv.conf(5)."""
    lines = (line.split() for line in (host.read(PATH) or "").splitlines())
    return tuple(
        dict.fromkeys(words[1].partition("%")[0] for words in lines if words[:1] == ["nameserver"] and words[1:])
    )
