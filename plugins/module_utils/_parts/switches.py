# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""The kernel switches of an instance: forwarding, what forwarding relies on, and the settings of connection tracking.

The state keeps what is set at boot, and the values from before the first run of any instance. Beside these, a run sets
the forwarding of the gateway's single interfaces, which follows the global switch after a reboot.
"""

from __future__ import annotations

import shlex
import typing as t
from dataclasses import dataclass, field

from .._base.errors import GatewayError, Problems
from .._base.net import matches_any
from .._facts.links import advertised_routes, read_facts
from .._flows import conntrack
from .._resolve.inside import forwarded_families
from . import sysctl
from .declaration import DECLARATION
from .part import NOTHING, Delta, Part, Shell, stem
from .sysctl import Switches  # noqa: TC001 (the codec reads the annotations)

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.host import Host, Sight
    from .._facts.links import Facts
    from .._resolve.resolved import Resolved
    from .part import Scene


#: Of a switch of all links.
AGAINST = (
    "{0}: is {1} here and {2} in instance '{3}'; each run sets its own value, and a boot sets that of the last "
    "instance by name; leave it out of one of them"
)


@dataclass(frozen=True)
class Held:
    """The switches that an instance sets at boot, and all that it has changed, as they were before its first run."""

    values: Switches = ()
    before: t.Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Steps:
    targets: Switches  # every required switch, in the order of writing
    changes: t.Tuple[sysctl.Change, ...]  # those that have another value now


class _SwitchesPart(Part[Held]):
    endings = (".sysctl",)
    opens = True

    def places(self, instance: str) -> t.Tuple[str, ...]:
        return (sysctl_file(instance),)

    def want(self, gateway: Resolved, was: Held, scene: Scene, sight: Sight) -> t.Tuple[Held, t.Tuple[str, ...]]:
        if scene.fresh:
            conntrack.load(sight)
        tracking, notes = conntrack.switches(gateway.conntrack_max, gateway.timeouts, sight)
        self._check_agreed(tracking, scene)
        earlier = self.empty.values if scene.fresh else was.values
        wans = [wan.interface for wan in gateway.wans]
        inside = [name for lan in gateway.lans for name in lan.interfaces]
        facts = scene.facts or read_facts(sight)
        families = forwarded_families(gateway)
        found = sysctl.gateway_switches(families, wans, inside, sight, facts, earlier=earlier)
        found += self._coming(wans, scene, sight, facts) if "ip6" in families else ()
        switches = sysctl.in_order(dict(tuple(tracking) + found))
        return self.held(was, sysctl.lasting(switches, earlier, inside, sight), scene, sight), notes

    def _coming(self, wans: t.Sequence[str], scene: Scene, sight: Sight, facts: Facts) -> Switches:
        """Another file's line for such a link is somebody's decision."""
        coming = sysctl.coming_switches(wans, sight, facts)
        decided = {other.key for other in self.overridden(coming, scene, sight)} if coming else ()
        return tuple(each for each in coming if each[0] not in decided)

    def salvage(self, instance: str, sight: Sight) -> Held:
        lines = [line.split() for line in (sight.read(stem(instance) + ".sysctl") or "").splitlines()]
        return Held(tuple((words[0], words[1]) for words in lines if len(words) == 2))

    def _check_agreed(self, tracking: conntrack.Switches, scene: Scene) -> None:
        """All instances share connection tracking; with different settings, they would undo each other in every run."""
        problems = Problems()
        for other in scene.others:
            for key, value in tracking:
                theirs = dict(self.of(other).values).get(key, value)
                if theirs != value:
                    problems.add(
                        conntrack.option_of(key),
                        "is {0} here and {1} in instance '{2}'; the host has only one value, use the same in "
                        "both".format(value, theirs, other.instance),
                    )
        problems.raise_if_any()

    def held(self, was: Held, values: Switches, scene: Scene, sight: Sight) -> Held:
        """These switches, and their values before the first run of any instance: the oldest that any instance knows.

        Only switches new to this instance are looked up, so that an interface that comes and goes changes nothing.
        """
        earlier, lost = (self.empty, was) if scene.fresh else (was, self.empty)
        known = dict(earlier.values)
        before = sysctl.snapshot([key for key, _value in values if key not in known], sight)
        # udev has set what a link under a pattern of ours, or of another instance, began with.
        in_pattern = sysctl.among({key for key in (*known, *self._of_others(scene)) if "*" in key})
        before.update({key: "1" for key in before if in_pattern(key)})
        # A link that comes later begins with the kernel's default.
        coming = [each for each in values if each[0].endswith("/accept_ra") and "*" not in each[0]]
        later = [each for each in coming if each[0] not in known and not sight.exists(sysctl.PROC + each[0])]
        before.update(sysctl.beginnings(tuple(later)))
        for other in scene.others:
            before.update({key: value for key, value in self.of(other).before.items() if key in before})
        # What a lost state has set has our values, and so have the switches that it changes.
        begun = sysctl.beginnings(tuple(each for each in lost.values if each[0] in before))
        altered = sysctl.altered_by(begun, before)
        before = {**{key: value for key, value in before.items() if key not in altered}, **begun}
        dropped = sysctl.altered_by(_dropped(earlier.values, values), earlier.before)
        before.update({key: value for key, value in earlier.before.items() if key not in dropped})
        return Held(values, before)

    def targets(self, want: Held, scene: Scene) -> Switches:
        """Also the forwarding of single interfaces, which may differ from the global switch."""
        values = dict(want.values)
        facts, patterns = scene.facts, scene.interfaces
        names = {each.name for pattern in patterns for each in facts.meant_by(pattern)} if facts else set()
        theirs = self._of_others(scene)
        wanted = [
            ("{0}/{1}/forwarding".format(sysctl.TREE[family], name), values[key], name)
            for family, key in sysctl.GLOBAL.items()
            if key in values
            for name in (*names, *scene.switched)
        ]
        single = {key: value for key, value, name in wanted if name in names or key not in theirs}
        return sysctl.in_order({**single, **values})

    def _restored(self, was: Held, want: Held, scene: Scene) -> Switches:
        """The first values of switches that this instance no longer sets, except those that another instance sets."""
        needed = {key for other in scene.others for key in self.of(other).before}
        theirs = self._of_others(scene)
        # The values of a salvaged state are known, and not all that they have altered.
        needed |= sysctl.altered_by(theirs, was.before)
        # The link of another instance's pattern may have come after its run.
        is_needed = sysctl.among(needed | {key for key in theirs if "*" in key})
        gone = sysctl.altered_by(_dropped(was.values, want.values), was.before) if want.values else set(was.before)
        back = {key: was.before[key] for key in gone if not is_needed(key)}
        # About a single link that nobody names any more, the global switch of another instance decides, as at boot.
        dropped = [key for key in _dropped(was.values, want.values) if sysctl.is_single(key)]
        for family, tree in sysctl.TREE.items():
            single = [key for key in dropped if key.startswith(tree)]
            if sysctl.GLOBAL[family] in theirs:
                back.update({key: theirs[sysctl.GLOBAL[family]] for key in single if key not in theirs})
        return sysctl.restoring(back)

    def _of_others(self, scene: Scene) -> t.Dict[str, str]:
        """The switches that other instances set, and patterns of them, with their values."""
        return dict(each for other in scene.others for each in self.of(other).values)

    def plan(self, was: Held, want: Held, scene: Scene, sight: Sight) -> Delta:
        targets = self._restored(was, want, scene) + self.targets(want, scene)
        theirs = self._of_others(scene)
        kept = {key for key, _value in (*want.values, *targets)} | set(theirs)
        targets += sysctl.left_by_patterns(was.values, kept, sight)
        single = tuple(each for each in theirs.items() if sysctl.is_single(each[0]))
        targets += sysctl.undone(targets, single, sight)
        changes = sysctl.changes(targets, sight, loads=bool(want.values) and not scene.plan.live)
        if not changes:
            return NOTHING
        lines = ["~ {0}: {1} to {2}".format(each.key, each.before, each.after) for each in changes]
        diff = [line for each in changes for line in _signed(each)]
        return Delta(tuple(lines), Steps(targets, changes), cuts=True, diff=tuple(diff))

    def check(self, delta: Delta, sight: Sight) -> None:
        if delta.do:
            sysctl.check_writable(delta.do.changes, sight)

    def apply(self, delta: Delta, want: Held, scene: Scene, host: Host) -> t.Tuple[str, ...]:
        targets = delta.do.targets if delta.do else self.targets(want, scene)
        # Again, because loading rules may have added the switches of connection tracking.
        if sysctl.changes(targets, host):
            # All of them, because writing a global switch changes others.
            sysctl.write(targets, host)
        _check(targets, host)
        return ()

    def verify(self, was: Held, want: Held, scene: Scene, sight: Sight) -> None:
        _check(self._restored(was, want, scene) + self.targets(want, scene), sight)

    def restore(self, delta: Delta, was: Held, want: Held, scene: Scene, sight: Sight) -> Shell:
        targets = dict(delta.do.targets) if delta.do else {}
        before = sysctl.snapshot(list(targets), sight)
        lines = [
            "[ ! -e {0} ] || echo {1} > {0}".format(shlex.quote(sysctl.PROC + key), value)
            for key, value in sysctl.restoring(before)
        ]
        if before.get(sysctl.GLOBAL["ip6"]) == "0" and targets[sysctl.GLOBAL["ip6"]] == "1":
            lines += _advertised(sight)
        return Shell(tuple(lines))

    def warnings(self, want: Held, scene: Scene, sight: Sight) -> t.Tuple[str, ...]:
        own = self.targets(want, scene)
        return sentences(self.overridden(own, scene, sight)) + self.contradicted(own, scene)

    def contradicted(self, own: Switches, scene: Scene) -> t.Tuple[str, ...]:
        """What another instance switches off: a link of a gateway, or all. The run of each undoes that of the other."""
        words = (
            "{0}: is {1} here and {2} in instance '{3}'; each run sets its own value, and a boot sets the value of the "
            "module forwarding; leave {4} out of one of them"
        )
        found = []
        forwards = {key: value for key, value in own if key in sysctl.GLOBAL.values()}
        single = [(key, value, key.split("/")[-2]) for key, value in own if sysctl.is_single(key)]
        for other in scene.others:
            theirs, links = dict(self.of(other).values), DECLARATION.of(other).interfaces
            undone = [key for key, value in forwards.items() if theirs.get(key, value) != value]
            found += [AGAINST.format(key, forwards[key], theirs[key], other.instance) for key in undone]
            for key, value, name in single:
                everywhere = theirs.get(sysctl.GLOBAL["ip6" if key.startswith(sysctl.TREE["ip6"]) else "ip"])
                wanted = theirs.get(key, everywhere if matches_any(links, name) else None)
                if wanted not in (None, value) and name not in scene.switched:
                    found.append(words.format(key, value, wanted, other.instance, name))
        return tuple(found)

    def overridden(
        self, switches: t.Iterable[t.Tuple[str, str]], scene: Scene, sight: Sight
    ) -> t.Tuple[sysctl.Other, ...]:
        """Lines of other files that set these switches to other values."""
        own = [sysctl_file(name) for name in (scene.instance, *(other.instance for other in scene.others))]
        return sysctl.other_writers(switches, sight, own)

    def boot(self, want: Held, scene: Scene) -> t.Mapping[str, str]:
        text = "".join("{0} {1}\n".format(*switch) for switch in want.values)
        return {".sysctl": text} if text else {}

    def files(self, want: Held, scene: Scene) -> t.Mapping[str, t.Tuple[str, int]]:
        """Settings of single interfaces, which udev applies whenever the interface appears."""
        lines = ["-{0} = {1}\n".format(*switch) for switch in want.values if switch[0].endswith("/accept_ra")]
        text = "# Written by the Ansible collection ipmasq.linux.\n" + "".join(lines)
        return {sysctl_file(scene.instance): (text, 0o644)} if lines else {}

    def drift(self, known: Held, scene: Scene, sight: Sight) -> t.List[str]:
        return [
            "~ {0}: {1}, but {2} was applied".format(each.key, each.before, each.after)
            for each in sysctl.changes(self.targets(known, scene), sight)
        ]


def _advertised(sight: Sight) -> t.Iterator[str]:
    """Lines of a shell that bring back what the kernel removes when IPv6 forwarding is turned on: default routes from
    router advertisements, unless accept_ra is 2 (rt6_purge_dflt_routers() in net/ipv6/route.c).

    With the same metric, the kernel could not add its own at the next advertisement, and would ignore all that it says
    (ndisc_router_discovery() in net/ipv6/ndisc.c).
    """
    for words, metric, lasting in advertised_routes(sight):
        route = " ".join(map(shlex.quote, words))
        more = " ".join(["metric", str(metric + 1), "proto", "ra", *lasting])
        # A link that is down has no routes; once it is up again, the router is asked.
        there = "ip -6 route show default {0} | grep -q .".format(route)
        down = "! ip -o link show {0} up 2> /dev/null | grep -q .".format(" ".join(map(shlex.quote, words[2:])))
        yield "{0} || {1} || ip -6 route append default {2} {3}".format(there, down, route, more)


def sysctl_file(instance: str) -> str:
    return "/etc/sysctl.d/90-ipmasq-{0}.conf".format(instance)


def sentences(others: t.Iterable[sysctl.Other]) -> t.Tuple[str, ...]:
    return tuple(
        "{0} line {1} sets {2} to {3}: applying that file undoes this; remove the line".format(
            other.file, other.line, other.key, other.value
        )
        for other in others
    )


def _dropped(old: Switches, new: Switches) -> t.Set[str]:
    kept = dict(new)
    return {key for key, _value in old if key not in kept}


def _signed(change: sysctl.Change) -> t.Tuple[str, str]:
    return "- {0} = {1}".format(change.key, change.before), "+ {0} = {1}".format(change.key, change.after)


def _check(targets: Switches, sight: Sight) -> None:
    """Raises GatewayError if a switch has not kept its value."""
    wrong = sysctl.changes(targets, sight)
    if wrong:
        raise GatewayError("{0}: is {1} again after writing {2}".format(wrong[0].key, wrong[0].before, wrong[0].after))


SWITCHES = _SwitchesPart("switches", Held())
