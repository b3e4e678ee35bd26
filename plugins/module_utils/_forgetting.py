# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""What a change does to the connections that are there: the rules before it and after it, and who forgets when.

A change that waits for nobody forgets once it is kept, by itself, and holds nothing meanwhile. Until that is done, the
intent before it lies in ``/run/ipmasq/INSTANCE.owed``, so that the next run makes good for one that died. A change that
waits for its confirmation lays what it would forget beside the rest of what keeping it needs.
"""

from __future__ import annotations

import json
import typing as t
from dataclasses import replace

from . import _codec as codec, _conntrack as conntrack, _intent as intent, _rollback as rollback
from ._compile import compile_gateway
from ._conntrack import Found
from ._flows import Judges, Rules
from ._rules import RuleSet

if t.TYPE_CHECKING:  # pragma: no cover
    from ._facts import Facts
    from ._host import Host
    from ._intent import Gateway
    from ._links import Steps

CLASSES = codec.dataclasses_in(vars(intent))
#: What a host is that routes and has none of our rules: everything passes, and nothing is translated.
PLAIN = RuleSet("", (), ())


def encoded(gateway: Gateway) -> t.Any:
    """The intent for the state file, less what is no part of it: the addresses that a WAN has today."""
    return codec.encode(replace(gateway, wans=tuple(replace(wan, addresses=()) for wan in gateway.wans or ())))


def _compiled(raw: t.Any) -> t.Optional[t.Tuple[RuleSet, Gateway]]:
    """None for what nobody has remembered, or what another release has and this one does not understand."""
    try:
        gateway = codec.decode(raw, CLASSES)
        return (compile_gateway(gateway), gateway) if isinstance(gateway, intent.Gateway) else None
    except (ValueError, TypeError, AttributeError, LookupError):
        return None


class Forgetting:
    """Of one change. Nothing is compiled, and nobody asked, before it has to be."""

    def __init__(self, before: t.Any, gateway: Gateway, ruleset: RuleSet, facts: Facts, host: Host) -> None:
        self._gateway, self._ruleset, self._facts, self._host = gateway, ruleset, facts, host
        self._path = rollback.owed_of(gateway.instance)
        self._before = before
        self._owed = _listed(host.read(self._path))

    @property
    def owed(self) -> bool:
        """Whether an earlier change has not come to it."""
        return bool(self._owed)

    def found(self, steps: Steps, drifted: bool) -> Found:
        """What is wrong now, if the new rules are there or were."""
        before = [*self._owed, self._before] + ([None] if drifted else [])
        known = [raw for index, raw in enumerate(before) if raw not in before[:index]]
        if known == [encoded(self._gateway)]:
            return Found()
        return conntrack.wrong(self._judges(known, steps), self._host)

    def _judges(self, before: t.Iterable[t.Any], steps: Steps) -> Judges:
        links = tuple((net, each.name) for each in self._facts.interfaces for net in each.networks)
        here = {address for each in self._facts.interfaces for address in each.addresses}
        later = (here | {_address(pair) for pair in steps.add}) - {_address(pair) for pair in steps.remove}
        new = Rules(self._ruleset, self._gateway, frozenset(later), links)
        old: t.List[Rules] = []
        for raw in before:
            ruleset, known = _compiled(raw) or (PLAIN, intent.Gateway(wans=self._gateway.wans, lans=()))
            old.append(Rules(ruleset, known, frozenset(here), links))
        return Judges(old, new)

    def owing(self) -> str:
        """The text to lay down until all is forgotten."""
        return json.dumps([*self._owed, self._before])

    def done(self) -> None:
        self._host.remove(self._path)

    def forget(self, found: Found) -> t.Tuple[str, ...]:
        """Forget them. Warnings tell what is left."""
        left = conntrack.forget(found, self._host) if found.count else 0
        self.done()
        return warnings(found) + (
            ("{0} of {1} connections that began under other rules are left".format(left, found.count),) if left else ()
        )


def _address(pair: t.Tuple[str, str]) -> str:
    return pair[1].partition("/")[0]


def _listed(text: t.Optional[str]) -> t.List[t.Any]:
    try:
        found = json.loads(text or "[]")
    except ValueError:
        return [None]
    return found if isinstance(found, list) else [None]


def warnings(found: Found) -> t.Tuple[str, ...]:
    """What the user has to know about looking."""
    if not found.looked:
        return (
            "this host does not tell its connections (neither by netlink nor by conntrack), so those that began before "
            "this change stay as they are; install the package conntrack (conntrack-tools), or see whether the kernel "
            "has nf_conntrack_netlink",
        )
    if not found.whole:
        return (
            "after {0} s not every connection of this host had been looked at; those that were not stay as they are, "
            "and 'conntrack -F' would make all begin anew".format(conntrack.LONGEST),
        )
    return ()
