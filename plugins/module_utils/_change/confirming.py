# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Confirmations: how long a change awaits one, and what the controller has to know."""

from __future__ import annotations

import typing as t

from .._base.errors import Problems
from .._base.origin import answering
from .._rollback import rollback

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.host import Sight
    from .._rollback.rollback import Confirmation
    from .change import Change


def waiting(params: t.Mapping[str, t.Any], host: Sight) -> t.Optional[Confirmation]:
    """The confirmation that a change awaits, as option ``confirm_timeout`` says, after waiting for others as option
    ``wait`` says.

    Raises GatewayError if a value is invalid.
    """
    problems = Problems()
    for name in ("confirm_timeout", "wait"):
        if not 0 <= params[name] <= 3600:
            problems.add(name, "{0} is not a number of seconds from 1 to 3600; 0 turns it off".format(params[name]))
    problems.raise_if_any()
    rollback.await_others(params["wait"], host)
    seconds = params["confirm_timeout"]
    return rollback.waiting(seconds, answering(host)) if seconds else None


def awaited(change: Change, confirmation: t.Optional[Confirmation]) -> t.Optional[Confirmation]:
    """The confirmation of a change; none if only files change, because these cut nobody off."""
    return confirmation if change.cuts else None


def pending_values(pending: t.Optional[Confirmation], host: Sight) -> t.Dict[str, t.Any]:
    """The return value that tells the controller what to confirm."""
    if not pending or not host.acting():
        return {}
    return {
        "pending": {
            "token": pending.token,
            "seconds": pending.seconds,
            "until": pending.until,
            "host": pending.host,
        }
    }
