# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""The effect of a change on existing connections: the rules before and after it, and when connections are deleted.

A change without confirmation deletes connections once it is kept. Until that is done, the previous intent is stored in
``/run/ipmasq/INSTANCE.owed``, so that the next run can catch up if this one dies. A change that awaits confirmation
stores what it would delete with the files that keep it.
"""

from __future__ import annotations

import contextlib
import json
import typing as t
from dataclasses import replace

from .._base.errors import GatewayError
from .._base.net import family_of, network
from .._base.values import networks_of, overlaps
from .._facts.detours import led_elsewhere
from .._facts.holders import listening
from .._facts.links import HALF, read_facts, routed_to
from .._flows import conntrack
from .._flows.conntrack import Found
from .._flows.groups import Groups, groups
from .._flows.judge import Rules
from .._flows.judges import Judges
from .._intent.items import Masquerade, PortForwardItem
from .._resolve import stored
from .._resolve.around import SHORTEST
from .._resolve.inside import followed
from .._resolve.resolved import Resolved, ResolvedLan, ResolvedWan
from .._rollback import rollback
from .._rules.compile import compile_gateway, compile_item, turn_of
from .._rules.model import RuleSet

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.host import Host, Sight
    from .._facts.links import Facts
    from .._intent.items import Item
    from .._parts.addresses import Steps

#: A host that routes without our rules: everything passes, and nothing is translated.
PLAIN = RuleSet("", (), ())
#: Under this name the state file has the items of an instance that has no whole gateway, by their keys.
ITEMS = "items"
#: The interface of networks that are behind no link of this host.
NO_LINK = ("",)

Links = t.Tuple[t.Tuple[str, str], ...]
Compiled = t.Tuple[RuleSet, Resolved]


def encoded(gateway: Resolved) -> t.Any:
    """The intent for the state file, without the WANs' present addresses."""
    return stored.encode(replace(gateway, wans=tuple(replace(wan, addresses=()) for wan in gateway.wans)))


def encoded_items(before: t.Any, item: Item, present: bool) -> t.Any:
    """The items of an instance for the state file, with this one or without it."""
    known = {key: raw for key, raw in items_in(before).items() if key != item.key}
    if present:
        known[item.key] = stored.encode(item)
    return {ITEMS: known} if known else None


def items_in(raw: t.Any) -> t.Mapping[str, t.Any]:
    """The single items in a state file by their keys, each as JSON."""
    found = raw.get(ITEMS) if isinstance(raw, dict) else None
    return found if isinstance(found, dict) else {}


def _compiled(raw: t.Any, links: Links) -> t.Optional[Compiled]:
    """The decoded intent; None if there is none or another release wrote it."""
    try:
        if items_in(raw):
            return _together([stored.decode(each) for _key, each in sorted(items_in(raw).items())], links)
        gateway = stored.decode(raw)
        return (compile_gateway(gateway), gateway) if isinstance(gateway, Resolved) else None
    except (ValueError, TypeError, AttributeError, LookupError):
        return None


def _together(items: t.Sequence[Item], links: Links) -> Compiled:
    """Single items as one set of rules, and as the gateway that they amount to: what they name is its inside."""
    sets = [compile_item("", item) for item in items]
    chains = dict.fromkeys(chain for each in sets for chain in each.chains)
    unordered = (rule for each in sets for rule in each.rules)
    rules = sorted(unordered, key=lambda rule: turn_of(rule.key, rule.action.kind == "drop"))
    wans: t.Dict[str, None] = {}
    inside: t.Dict[str, None] = {}
    for item in items:
        if isinstance(item, Masquerade):
            wans[item.out_interface] = None
            inside.update(dict.fromkeys(item.source))
        elif isinstance(item, PortForwardItem):
            wans[item.in_interface] = None
            inside.update((net, None) for to in item.to for net in networks_of(to))
        else:
            inside.update(dict.fromkeys(item.source + item.destination))
    lans = tuple(ResolvedLan(net, _links_to(net, links), (net,)) for net in inside)
    return RuleSet("", tuple(chains), tuple(rules)), Resolved(wans=tuple(map(ResolvedWan, wans)), lans=lans)


def _links_to(net: str, links: Links) -> t.Tuple[str, ...]:
    parsed = network(net)
    near = [name for each, name in links if network(each).version == parsed.version and parsed.overlaps(network(each))]
    return tuple(dict.fromkeys(near)) or NO_LINK


class Forgetting:
    """The connections that one change affects. Nothing is compiled or queried before it is needed."""

    def __init__(
        self,
        instance: str,
        before: t.Any,
        after: t.Any,
        alone: bool,
        host: Sight,
        *,
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
        self._latest: t.Optional[Rules] = None
        self._routes: t.Dict[str, t.Tuple[str, ...]] = {}
        self._led: t.Dict[t.Tuple[t.Tuple[str, ...], t.FrozenSet[str]], t.Tuple[str, ...]] = {}
        self._facts = facts
        self._owed = _listed(host.read(self._path))

    @property
    def owed(self) -> bool:
        """Whether an earlier change has not yet deleted its connections."""
        return bool(self._owed)

    def found(self, steps: Steps, drifted: bool, longest: float) -> Found:
        """The connections that are wrong under the new rules."""
        before = [*self._owed, self._before] + ([None] if drifted else [])
        known = [raw for index, raw in enumerate(before) if raw not in before[:index]]
        if known == [self._encoded]:
            return Found()

        def judges() -> Judges:
            return Judges([self._following(self._old(raw)) for raw in known], self._following(self._new(steps)))

        return conntrack.wrong(judges, self._host, longest)

    def back(self, steps: Steps) -> Groups:
        """What a rollback must delete: connections that begin under the new rules and are wrong under the old ones.

        If no rules remain, forwarding ends, too, so nothing can begin.
        """
        if self._encoded is None or self._before == self._encoded:
            return Groups()
        return groups(self._new(steps), self._old(self._before), listening(self._host))

    def undone(self, steps: Steps, host: Host) -> None:
        """The same, if the run that made the change rolls it back itself."""
        if self._before != self._encoded:
            old, new = self._old(self._before), self._new(steps)
            with contextlib.suppress(GatewayError):  # the error of the change itself counts
                old, new = self._following(old), self._following(new)
                conntrack.forget(conntrack.wrong(lambda: Judges([new], old), host), host)

    def _new(self, steps: Steps) -> Rules:
        later = (self._here() | {_address(pair) for pair in steps.add}) - {_address(pair) for pair in steps.remove}
        if not self._latest or self._latest.local != later:
            self._latest = Rules(*self._compile(self._encoded), later, self._links(), self._alone)
        return self._latest

    def _old(self, raw: t.Any) -> Rules:
        for known, rules in self._rules:
            if known == raw:
                return rules
        self._rules.append((raw, Rules(*self._compile(raw), self._here(), self._links(), self._alone)))
        return self._rules[-1][1]

    def _following(self, rules: Rules) -> Rules:
        """With the networks that LANs have by routes: their connections are known by a mark, not by an address.

        What a longer prefix leads elsewhere in one of these, such as a site behind a VPN, is nobody's.
        """
        facts, blocks = self._around(), followed(rules.gateway)
        found: t.Dict[str, t.Tuple[str, ...]] = {}
        inner: t.Set[str] = set()
        for lan in rules.gateway.lans:
            for link in (link for name in lan.interfaces for link in facts.meant_by(name)):
                inner.add(link.name)
                known = self._routes_of(link.name) if lan.follows else ()
                nets = [net for net in known if network(net).prefixlen >= SHORTEST[family_of(net)]]
                found.update((net, lan.interfaces) for net, _block in overlaps(nets, blocks))
        outer = [net for wan in rules.gateway.wans for link in facts.meant_by(wan.interface) for net in link.networks]
        beside = [net for net, whole in overlaps(outer, found) if network(net).prefixlen >= network(whole).prefixlen]
        found.update((net, ()) for net in (*self._elsewhere(tuple(found), inner, blocks), *beside))
        return replace(rules, routes=tuple(found.items())) if found else rules

    def _elsewhere(self, nets: t.Tuple[str, ...], links: t.Set[str], blocks: t.Sequence[str]) -> t.Tuple[str, ...]:
        key = (nets, frozenset(links))
        if nets and key not in self._led:
            self._led[key] = led_elsewhere(nets, links, blocks, self._host)
        return self._led.get(key, ())

    def _routes_of(self, link: str) -> t.Tuple[str, ...]:
        if link not in self._routes:
            self._routes[link] = routed_to(link, HALF, "main", self._host)
        return self._routes[link]

    def _compile(self, raw: t.Any) -> Compiled:
        """Compile an intent. Without rules, the WANs are those of the other side; single items cover every WAN."""
        found = self._compiled(raw)
        if found and not items_in(raw):
            return found
        others = [self._compiled(each) for each in (self._encoded, *self._owed, self._before)]
        ruleset, gateway = found or (PLAIN, Resolved())
        wans = [wan for each in (found, *others) if each for wan in each[1].wans]
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
        """The text to store until all connections are deleted."""
        return json.dumps([*self._owed, self._before])

    def forget(self, found: Found, host: Host) -> t.Tuple[str, ...]:
        """Delete them. Warnings report what remains."""
        left = conntrack.forget(found, host) if found.count else 0
        told = warnings(found, host)
        if left:
            told += ("{0} of {1} connections that began under other rules remain".format(left, found.count),)
        try:
            host.remove(self._path)
        except GatewayError as error:
            # The change is kept by now, so this must not fail it.
            told += ("{0}; the next run looks for connections of this change once more".format(error),)
        return told


def _address(pair: t.Tuple[str, str]) -> str:
    return pair[1].partition("/")[0]


def _listed(text: t.Optional[str]) -> t.List[t.Any]:
    try:
        found = json.loads(text or "[]")
    except ValueError:
        return [None]
    return found if isinstance(found, list) else [None]


def warnings(found: Found, sight: Sight) -> t.Tuple[str, ...]:
    """Warnings about the search for connections."""
    if not found.looked:
        return (
            "connections cannot be listed on this host (neither by netlink nor by conntrack), so those that began "
            "before this change stay as they are; install the package conntrack (conntrack-tools), or check that the "
            "kernel has nf_conntrack_netlink",
        )
    if not found.whole:
        return (
            "there was not enough time to check every connection of this host; unchecked ones stay as they are; "
            "'conntrack -F' makes all connections start again",
        )
    if found.sockets and not sight.which("ss"):
        return (
            "ss is not installed, so connections to servers of this host ({0}) continue if the server sends first; "
            "install the package iproute2 (iproute2-ss on Alpine), or restart these servers".format(len(found.sockets)),
        )
    return ()
