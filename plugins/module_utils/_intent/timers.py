# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Seconds after which an idle connection expires: of the host, and of one item."""

from __future__ import annotations

import typing as t

from .wording import listed

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.errors import Problems

#: RFC 4787 REQ-5 requires 5 minutes, RFC 5508 REQ-2 60 seconds; the kernel's defaults are 30 and 120, and 30.
DEFAULT_TIMEOUTS = (("icmp", 60), ("icmpv6", 60), ("udp", 300), ("udp_stream", 300))
#: Option to seconds.
Timeouts = t.Tuple[t.Tuple[str, int], ...]


def read_timeouts(
    where: str, known: Timeouts, raw: t.Optional[t.Mapping[str, t.Optional[int]]], problems: Problems
) -> Timeouts:
    wanted: t.Dict[str, t.Optional[int]] = dict(known)
    wanted.update({name: seconds for name, seconds in (raw or {}).items() if seconds is not None})
    for name, seconds in wanted.items():
        if seconds is not None and not 0 <= seconds <= 31536000:
            problems.add(
                "{0}.{1}".format(where, name), "{0} is not a number of seconds from 1 to 31536000".format(seconds)
            )
    # 0 leaves the kernel's value.
    return tuple((name, seconds) for name, seconds in sorted(wanted.items()) if seconds)


def read_item_timeouts(
    where: str,
    raw: t.Optional[t.Mapping[str, t.Optional[int]]],
    protocols: t.Tuple[str, ...],
    problems: Problems,
) -> Timeouts:
    """Connection timers of one item; the gateway's timers apply to the rest."""
    timeouts = read_timeouts(where + ": timeouts", (), raw, problems)
    for name, _seconds in timeouts:
        if protocols and name.split("_", maxsplit=1)[0] not in protocols:
            problems.add(where, "timeouts.{0} does not apply to protocol {1}".format(name, " and ".join(protocols)))
    return timeouts


def describe_timeouts(timeouts: Timeouts) -> str:
    return listed(["{0} {1} s".format(*timeout) for timeout in timeouts])
