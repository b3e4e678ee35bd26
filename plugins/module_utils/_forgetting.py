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
from ._groups import Groups, groups
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

    def __init__(
        self, before: t.Any, after: t.Any, gateway: Gateway, ruleset: RuleSet, facts: Facts, alone: bool, host: Host
    ) -> None:
        self._gateway, self._ruleset, self._host = gateway, ruleset, host
        self._path = rollback.owed_of(gateway.instance)
        self._before, self._encoded, self._alone = before, after, alone
        self._here = frozenset(address for each in facts.interfaces for address in each.addresses)
        self._links = tuple((net, each.name) for each in facts.interfaces for net in each.networks)
        self._compiled: t.List[t.Tuple[t.Any, Rules]] = []
        self._owed = _listed(host.read(self._path))

    @property
    def owed(self) -> bool:
        """Whether an earlier change has not come to it."""
        return bool(self._owed)

    def found(self, steps: Steps, drifted: bool, longest: float) -> Found:
        """What is wrong now, if the new rules are there or were."""
        before = [*self._owed, self._before] + ([None] if drifted else [])
        known = [raw for index, raw in enumerate(before) if raw not in before[:index]]
        if known == [self._encoded]:
            return Found()
        return conntrack.wrong(Judges([self._old(raw) for raw in known], self._new(steps)), self._host, longest)

    def back(self, steps: Steps) -> Groups:
        """What a rollback has to forget: whatever begins under the new rules, and is wrong under the old ones."""
        return Groups() if self._before == self._encoded else groups(self._new(steps), self._old(self._before))

    def undone(self, steps: Steps) -> None:
        """The same, where the run that made the change is there to take it back."""
        if self._before != self._encoded:
            judges = Judges([self._new(steps)], self._old(self._before))
            conntrack.forget(conntrack.wrong(judges, self._host), self._host)

    def _new(self, steps: Steps) -> Rules:
        later = (self._here | {_address(pair) for pair in steps.add}) - {_address(pair) for pair in steps.remove}
        return Rules(self._ruleset, self._gateway, later, self._links, self._alone)

    def _old(self, raw: t.Any) -> Rules:
        for known, rules in self._compiled:
            if known == raw:
                return rules
        ruleset, gateway = _compiled(raw) or (PLAIN, intent.Gateway(wans=self._gateway.wans, lans=()))
        self._compiled.append((raw, Rules(ruleset, gateway, self._here, self._links, self._alone)))
        return self._compiled[-1][1]

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
    """What the user has to know about looking at connections."""
    if not found.looked:
        return (
            "this host does not tell its connections (neither by netlink nor by conntrack), so those that began before "
            "this change stay as they are; install the package conntrack (conntrack-tools), or see whether the kernel "
            "has nf_conntrack_netlink",
        )
    if not found.whole:
        return (
            "the time did not suffice to look at every connection of this host; those that were not looked at stay as "
            "they are, and 'conntrack -F' would make all begin anew",
        )
    return ()
