# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Name who keeps a service from answering, or who answers in its place."""

from __future__ import annotations

import typing as t

from .._base.errors import printable
from .._facts.holders import ANY, holders
from .._parts.services import conf_of, ours, runs
from . import blame
from .model import GATEWAY, OTHER, Culprit

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.host import Host
    from .asking import Asking
    from .trace import Flight
    from .watch import Evidence

STOPPED = "dnsmasq for LANs does not run"


def culprit(talk: Asking, instance: str, seen: t.Tuple[Evidence, t.Optional[Flight]], host: Host) -> Culprit:
    """``seen``: what the host wrote down, and the way of the question, if the kernel showed it."""
    running = runs(instance, host)
    if talk.promise.never:
        serves = running and talk.question.mark() in (host.read(conf_of(instance)) or "")
        return Culprit(GATEWAY, "dnsmasq for LANs serves it") if serves else _instead(talk, host)
    if not running:
        other = _instead(talk, host)
        return Culprit(OTHER, "{0}; {1}".format(STOPPED, other.words)) if other.words else Culprit(GATEWAY, STOPPED)
    if talk.seen:
        return _instead(talk, host)
    last = talk.sent[-1]
    return blame.stopped(blame.Case(last.packet, last.place, talk.expected), *seen, host)


def _instead(talk: Asking, host: Host) -> Culprit:
    """A process that is not ours and has the port."""
    port, packet = talk.question.port, talk.sent[-1].packet
    at = (packet.target,) if port == 53 else ANY
    found = [each for each in (holders(port, at, host) if port else ()) if not ours(each.pid, host)]
    told = "port {0} of {1} is held by {2}"
    words = (told.format(port, _place(each.address), printable(str(each))) for each in found[:2])
    return Culprit(OTHER, "; ".join(words)) if found else Culprit()


def _place(address: str) -> str:
    return "every address" if address in ANY else address
