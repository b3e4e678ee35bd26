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
from ._compile import compile_gateway, compile_item
from ._conntrack import Found
from ._facts import read_facts
from ._flows import Judges, Rules
from ._groups import Groups, groups
from ._rules import RuleSet, network
from ._values import networks_of

if t.TYPE_CHECKING:  # pragma: no cover
    from ._facts import Facts
    from ._host import Host
    from ._intent import Gateway, Item
    from ._links import Steps
    from ._rules import Rule

CLASSES = codec.dataclasses_in(vars(intent))
#: What a host is that routes and has none of our rules: everything passes, and nothing is translated.
PLAIN = RuleSet("", (), ())
#: Under this name the state file has the items of an instance that has no whole gateway, by their keys.
ITEMS = "items"
#: The interface of networks that are behind no link of this host.
NO_LINK = ("",)

Links = t.Tuple[t.Tuple[str, str], ...]
Compiled = t.Tuple[RuleSet, intent.Gateway]


def encoded(gateway: Gateway) -> t.Any:
    """The intent for the state file, less what is no part of it: the addresses that a WAN has today."""
    return codec.encode(replace(gateway, wans=tuple(replace(wan, addresses=()) for wan in gateway.wans or ())))


def encoded_items(before: t.Any, item: Item, present: bool) -> t.Any:
    """The items of an instance for the state file, with this one or without it."""
    known = {key: raw for key, raw in items_in(before).items() if key != item.key}
    if present:
        known[item.key] = codec.encode(item)
    return {ITEMS: known} if known else None


def items_in(raw: t.Any) -> t.Mapping[str, t.Any]:
    """The single items in a state file by their keys, each as JSON."""
    found = raw.get(ITEMS) if isinstance(raw, dict) else None
    return found if isinstance(found, dict) else {}


def _compiled(raw: t.Any, links: Links) -> t.Optional[Compiled]:
    """None for what nobody has remembered, or what another release has and this one does not understand."""
    try:
        if items_in(raw):
            return _together([codec.decode(each, CLASSES) for _key, each in sorted(items_in(raw).items())], links)
        gateway = codec.decode(raw, CLASSES)
        return (compile_gateway(gateway), gateway) if isinstance(gateway, intent.Gateway) else None
    except (ValueError, TypeError, AttributeError, LookupError):
        return None


def _together(items: t.Sequence[Item], links: Links) -> Compiled:
    """Single items as one set of rules, and as the gateway that they amount to: what they name is its inside."""
    sets = [compile_item("", item) for item in items]
    chains = dict.fromkeys(chain for each in sets for chain in each.chains)
    rules = sorted((rule for each in sets for rule in each.rules), key=_turn)
    wans: t.Dict[str, None] = {}
    inside: t.Dict[str, None] = {}
    for item in items:
        if isinstance(item, intent.Masquerade):
            wans[item.out_interface] = None
            inside.update(dict.fromkeys(item.source))
        elif isinstance(item, intent.PortForwardItem):
            wans[item.in_interface] = None
            inside.update((net, None) for to in item.to for net in networks_of(to))
        else:
            inside.update(dict.fromkeys(item.source + item.destination))
    lans = tuple(intent.Lan(net, _links_to(net, links), (net,)) for net in inside)
    return RuleSet("", tuple(chains), tuple(rules)), intent.Gateway(wans=tuple(map(intent.Wan, wans)), lans=lans)


def _turn(rule: Rule) -> int:
    """As the engine orders them: what closes a line comes behind the items that open something."""
    return 1 + (rule.action.kind == "drop") if rule.key.startswith("masquerade/") else 0


def _links_to(net: str, links: Links) -> t.Tuple[str, ...]:
    parsed = network(net)
    near = [name for each, name in links if network(each).version == parsed.version and parsed.overlaps(network(each))]
    return tuple(dict.fromkeys(near)) or NO_LINK


class Forgetting:
    """Of one change. Nothing is compiled, and nobody asked, before it has to be."""

    def __init__(
        self,
        instance: str,
        before: t.Any,
        after: t.Any,
        alone: bool,
        host: Host,
        compiled: t.Optional[Compiled] = None,
        facts: t.Optional[Facts] = None,
    ) -> None:
        """``before`` and ``after`` are as the state file has them, None where there are no rules.

        ``compiled`` is what comes after, and ``facts`` are those before it, where they are known already.
        """
        self._before, self._encoded, self._alone, self._host = before, after, alone, host
        self._path = rollback.owed_of(instance)
        self._known: t.List[t.Tuple[t.Any, t.Optional[Compiled]]] = [(after, compiled)] if compiled else []
        self._rules: t.List[t.Tuple[t.Any, Rules]] = []
        self._facts = facts
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
        """What a rollback has to forget: whatever begins under the new rules, and is wrong under the old ones.

        Where no rules are left, forwarding ends as well, so that nothing begins.
        """
        if self._encoded is None or self._before == self._encoded:
            return Groups()
        return groups(self._new(steps), self._old(self._before))

    def undone(self, steps: Steps) -> None:
        """The same, where the run that made the change is there to take it back."""
        if self._before != self._encoded:
            judges = Judges([self._new(steps)], self._old(self._before))
            conntrack.forget(conntrack.wrong(judges, self._host), self._host)

    def _new(self, steps: Steps) -> Rules:
        later = (self._here() | {_address(pair) for pair in steps.add}) - {_address(pair) for pair in steps.remove}
        return Rules(*self._compile(self._encoded), later, self._links(), self._alone)

    def _old(self, raw: t.Any) -> Rules:
        for known, rules in self._rules:
            if known == raw:
                return rules
        self._rules.append((raw, Rules(*self._compile(raw), self._here(), self._links(), self._alone)))
        return self._rules[-1][1]

    def _compile(self, raw: t.Any) -> Compiled:
        """Where there are no rules, those of the other side tell what a WAN is; single items leave no WAN out."""
        found = self._compiled(raw)
        if found and not items_in(raw):
            return found
        others = [self._compiled(each) for each in (self._encoded, *self._owed, self._before)]
        ruleset, gateway = found or (PLAIN, intent.Gateway(wans=(), lans=()))
        wans = [wan for each in (found, *others) if each for wan in each[1].wans or ()]
        return ruleset, replace(gateway, wans=tuple(dict.fromkeys(wans)))

    def _compiled(self, raw: t.Any) -> t.Optional[Compiled]:
        for known, compiled in self._known:
            if known == raw:
                return compiled
        self._known.append((raw, _compiled(raw, self._links())))
        return self._known[-1][1]

    def _here(self) -> t.FrozenSet[str]:
        return frozenset(address for each in self._around().interfaces for address in each.addresses)

    def _links(self) -> Links:
        return tuple((net, each.name) for each in self._around().interfaces for net in each.networks)

    def _around(self) -> Facts:
        self._facts = self._facts or read_facts(self._host)
        return self._facts

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
