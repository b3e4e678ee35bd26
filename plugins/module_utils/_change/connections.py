# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Carry out a change to rules, and end connections that began under others and are wrong by now."""

from __future__ import annotations

import typing as t

from .._flows import conntrack
from .._flows.groups import Groups
from .._parts.addresses import ADDRESSES, Steps
from . import forgetting
from .carrying import Aftermath, Terms, carry_out
from .proving import Proving

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.host import Sight
    from .._rollback.rollback import Confirmation
    from .change import Change


def with_connections(
    change: Change,
    connections: forgetting.Forgetting,
    host: Sight,
    pending: t.Optional[Confirmation],
    proven: t.Optional[Proving] = None,
) -> t.Tuple[int, t.Tuple[str, ...], t.Optional[Confirmation]]:
    """Carry out a change, and delete connections that it makes wrong, now or after confirmation, or those of a
    rollback. Returns their number, warnings, and what the change awaits by now.
    """
    instance, links = change.scene.instance, change.delta(ADDRESSES).do or Steps()
    found: t.List[conntrack.Found] = []

    def look() -> conntrack.Found:
        # A pending change is rolled back at its deadline, and the confirmation needs time, too.
        longest = min(conntrack.LONGEST, pending.seconds / 4) if pending else conntrack.LONGEST
        found.append(connections.found(links, change.drifted, longest))
        return found[-1]

    groups = connections.back(links) if change.changed else Groups()
    back = conntrack.commands(groups, instance)
    aftermath = Aftermath(
        back,
        "" if pending else connections.owing(),
        kept=lambda: conntrack.script(look(), instance),
        undone=lambda host: connections.undone(links, host),
    )
    warnings, pending = carry_out(change, host, Terms(pending, aftermath, proven or Proving()))
    if (change.changed or connections.owed) and not found:
        look()
    for each in found:
        acting = None if pending else host.acting()
        warnings += connections.forget(each, acting) if acting else forgetting.warnings(each, host)
    if pending and back and not host.which("conntrack"):
        warnings += (
            "conntrack is not installed: if this change is rolled back, connections that began under it stay; "
            "install the package conntrack (conntrack-tools)",
        )
    return sum(each.count for each in found), warnings, pending
