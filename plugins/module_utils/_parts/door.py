# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""firewalld policies that accept what our own rules accept.

The last rule of firewalld's forward chain rejects, and an accept in another table cannot undo that. Therefore, where
firewalld (0.9 or later) runs, each instance gets a firewalld policy: it accepts packets from the LANs' networks that go
from the zones of its LANs to those of its WANs and of LANs that may be reached. Our own rules still decide what really
passes, and whatever either of them refuses is refused. Replies and port forwards pass firewalld without a policy (``ct
state established,related`` and ``ct status dnat``).

A LAN that is served (DHCP, router advertisements, DNS) gets a second policy, from its zone to this host.

A new policy requires a reload, which loses runtime-only settings; in that case the run is refused.
https://firewalld.org/documentation/man-pages/firewalld.policy.html
"""

from __future__ import annotations

import html
import re
import shlex
import typing as t
from dataclasses import dataclass, replace

from .._base.errors import GatewayError
from .._base.net import matches_name
from .._resolve.inside import followed
from .._rules.chains import with_twins
from .part import NOTHING, Delta, Part, Shell

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.host import Done, Host, Sight
    from .._resolve.resolved import Resolved
    from .part import Scene

FOLDER = "/etc/firewalld/policies"
CMD = "firewall-cmd"
#: Before the policies that firewalld ships with, and before users' own at -1 and above.
PRIORITY = -100
ANY, HOST = "ANY", "HOST"
#: The earlier policies, in the folder of a change; in the order of paths_of.
BEFORE = ("policy", "policy-services")
#: Runtime-only settings that a reload keeps.
KEPT = re.compile(r"^ *interfaces:.*$| \((?:default, |default|active|, )+\)", re.M)


@dataclass(frozen=True)
class Policy:
    """Sorted zone names, and networks. A policy has zones; without them, there is none."""

    ingress: t.Tuple[str, ...] = ()
    egress: t.Tuple[str, ...] = ()
    sources: t.Tuple[str, ...] = ()
    served: t.Tuple[str, ...] = ()  # zones of LANs with services
    services: t.Tuple[str, ...] = ()  # of these LANs, as firewalld names them

    def __bool__(self) -> bool:
        return bool(self.ingress)

    def texts(self, instance: str) -> t.Dict[str, str]:
        """Path to XML."""
        found = {}
        if self.ingress:
            rules = []
            for source in self.sources:
                family = "ipv6" if ":" in source else "ipv4"
                rules += ['<rule family="{0}">'.format(family), '  <source address="{0}"/>'.format(source)]
                rules += ["  <accept/>", "</rule>"]
            ends = self.ingress, self.egress
            found[path_of(name_of(instance))] = _xml(name_of(instance), "its LANs go out", ends, rules)
        if self.served:
            rules = ['<service name="{0}"/>'.format(each) for each in self.services]
            ends = self.served, (HOST,)
            found[path_of(serving_name(instance))] = _xml(serving_name(instance), "its LANs are served", ends, rules)
        return found

    @property
    def line(self) -> str:
        """The policies as text for people."""
        there = [", ".join(each) for each in (self.ingress, self.egress, self.sources, self.services, self.served)]
        return "{0} to {1} from {2}".format(*there) + ("; {3} from {4}".format(*there) if self.served else "")


Ends = t.Tuple[t.Tuple[str, ...], t.Tuple[str, ...]]


def _xml(name: str, what: str, ends: Ends, rules: t.Iterable[str]) -> str:
    lines = ['<?xml version="1.0" encoding="utf-8"?>']
    lines.append('<policy priority="{0}" target="CONTINUE">'.format(PRIORITY))
    lines.append("  <short>{0}</short>".format(name))
    lines.append("  <description>Written by the Ansible collection ipmasq.linux: {0}.</description>".format(what))
    lines += ['  <ingress-zone name="{0}"/>'.format(html.escape(zone)) for zone in ends[0]]
    lines += ['  <egress-zone name="{0}"/>'.format(html.escape(zone)) for zone in ends[1]]
    return "".join(line + "\n" for line in [*lines, *("  " + rule for rule in rules), "</policy>"])


def name_of(instance: str) -> str:
    """At most 17 characters, firewalld's limit."""
    return "ipmasq-" + instance


def serving_name(instance: str) -> str:
    """A policy towards the host itself can have no other egress zone."""
    return "serves-" + instance


def read_xml(out: str, served: str = "") -> Policy:
    """What both policies say; nothing of any other text."""
    return Policy(
        *(_words(out, tag) for tag in ("ingress-zone name", "egress-zone name", "source address")),
        *(_words(served, tag) for tag in ("ingress-zone name", "service name")),
    )


def _words(text: str, tag: str) -> t.Tuple[str, ...]:
    return tuple(html.unescape(word) for word in re.findall(r'<{0}="([^"]*)"'.format(tag), text))


def path_of(name: str) -> str:
    return "{0}/{1}.xml".format(FOLDER, name)


def paths_of(instance: str) -> t.Tuple[str, str]:
    return path_of(name_of(instance)), path_of(serving_name(instance))


def runs(host: Sight) -> bool:
    return bool(host.which(CMD)) and host.ask([CMD, "--state"]).rc == 0


def policy_for(gateway: Resolved, host: Sight) -> t.Tuple[Policy, t.Tuple[str, ...]]:
    """The policy and notes. Raises GatewayError if firewalld does not answer."""
    known = _zones(host)
    lans = with_twins(gateway).lans
    reached = {name for lan in lans for name in lan.reaches}
    inside = [name for lan in lans for name in lan.interfaces]
    outside = [wan.interface for wan in gateway.wans]
    outside += [name for lan in lans if lan.name in reached for name in lan.interfaces]
    homeless = [name for name in dict.fromkeys(inside + outside) if not _zones_of([name], known)]
    links = [name for lan in lans if lan.services for name in lan.interfaces]
    served = tuple(sorted({zone for name in links for zone in _zones_of([name], known)}))
    policy = Policy(
        ingress=_zones_of(inside, known) or (ANY,),
        egress=_zones_of(outside, known) or (ANY,),
        sources=tuple(dict.fromkeys([network for lan in lans for network in lan.networks] + list(followed(gateway)))),
        # Not for any zone: that would be the WAN's, too.
        served=served,
        services=services_of(gateway) if served else (),
    )
    notes = [
        "firewalld: {0} is not assigned to a zone, so the policy applies to any zone; assign it to narrow that".format(
            name
        )
        for name in homeless
    ]
    return policy, tuple(notes)


def services_of(gateway: Resolved) -> t.Tuple[str, ...]:
    """What clients of its LANs need, as firewalld names it."""
    there = [lan.services for lan in gateway.lans]
    needed = {
        "dhcp": any(each.dhcp for each in there),
        "dhcpv6": any(each.announced for each in there),
        "dns": any(each.dns for each in there),
    }
    return tuple(name for name, wanted in needed.items() if wanted)


def _zones_of(names: t.Sequence[str], known: t.Mapping[str, str]) -> t.Tuple[str, ...]:
    """The zones of interfaces and patterns; empty if one of them is not assigned to a zone.

    Such an interface uses the default zone, but a policy for that zone does not match it (firewalld 1.3.3, 2.3.0).
    """
    zones = set()
    for name in names:
        found = {zone for interface, zone in known.items() if interface == name or matches_name(name, interface)}
        if not found:
            return ()
        zones |= found
    return tuple(sorted(zones))


def _zones(host: Sight) -> t.Dict[str, str]:
    found, zone = {}, ""
    for line in _ask(host, "--get-active-zones").splitlines():
        if not line.startswith(" "):
            zone = line.partition(" ")[0]
        elif line.split()[0] == "interfaces:":
            # firewalld writes ppp+ for our ppp*.
            found.update({name.replace("+", "*"): zone for name in line.split()[1:]})
    return found


def _ask(host: Sight, *words: str) -> str:
    return _told(host.ask([CMD, *words]), words)


def _act(host: Host, *words: str) -> None:
    _told(host.run([CMD, *words]), words)


def _told(done: Done, words: t.Sequence[str]) -> str:
    if done.rc != 0:
        raise GatewayError("firewalld: {0} says: {1}".format(" ".join((CMD, *words)), _text(done.err or done.out)))
    return done.out


def _text(words: str) -> str:
    return " ".join(words.split())[:300]


def live(host: Sight, instance: str) -> t.Optional[Policy]:
    """The live policies of this instance, as one value."""
    out, served = (_info(host, name) for name in (name_of(instance), serving_name(instance)))
    if not out and not served:
        return None
    sources = tuple(re.findall(r'rule family="ipv[46]" source address="([^"]+)" accept$', out, re.M))
    to_host = _values(served, "egress-zones") == (HOST,)
    return Policy(
        _values(out, "ingress-zones"),
        _values(out, "egress-zones"),
        sources if _ours(out) else (),
        _values(served, "ingress-zones"),
        _values(served, "services") if _ours(served) and to_host else (),
    )


def _info(host: Sight, name: str) -> str:
    """Empty if there is no such policy."""
    done = host.ask([CMD, "--info-policy=" + name])
    return done.out if done.rc == 0 else ""


def _values(info: str, key: str) -> t.Tuple[str, ...]:
    found = re.search(r"^ *{0}: *(.*)$".format(key), info, re.M)
    return tuple(sorted(found.group(1).split())) if found else ()


def _ours(info: str) -> bool:
    return _values(info, "target") == ("CONTINUE",) and _values(info, "priority") == (str(PRIORITY),)


def same(one: t.Optional[Policy], other: t.Optional[Policy]) -> bool:
    """firewalld orders rules in its own way."""
    if not one or not other:
        return one == other
    return replace(one, sources=()) == replace(other, sources=()) and {*one.sources} == {*other.sources}


def check_reload(host: Sight) -> None:
    """Raises GatewayError if a reload would lose runtime-only settings."""
    asked = {"zones": ["--list-all-zones"], "policies": ["--list-all-policies"], "ipsets": ["--get-ipsets"]}
    asked["direct rules"] = ["--direct", "--get-all-rules"]
    for what, words in asked.items():
        now, kept = (KEPT.sub("", _ask(host, *more, *words)) for more in ((), ("--permanent",)))
        if now != kept:
            lines = [line.strip() for line in now.splitlines() if line not in kept.splitlines()]
            raise GatewayError(
                "firewalld: {0} have runtime-only settings ({1}), which the reload for our policy would lose; "
                "keep them with 'firewall-cmd --runtime-to-permanent', or drop them with 'firewall-cmd "
                "--reload'".format(what, _text("; ".join(lines)) or "some are missing")
            )


def reload(host: Host) -> None:
    """Reassign interfaces whose zone was set at run time only, for example by ppp's scripts."""
    zones = _zones(host)
    _act(host, "--reload")
    for name, zone in zones.items():
        word = name.replace("*", "+")
        if host.ask([CMD, "--get-zone-of-interface=" + word]).rc != 0:
            _act(host, "--zone=" + zone, "--change-interface=" + word)


def put(host: Host, instance: str, policy: Policy) -> None:
    """Make this the live policy (empty: none). Afterwards the files are as they were before."""
    texts = policy.texts(instance)
    before = {path: host.read(path) or "" for path in paths_of(instance)}
    try:
        for path in before:
            _place(host, path, texts.get(path, ""))
        reload(host)
    finally:
        for path, text in before.items():
            _place(host, path, text)


def _place(host: Host, path: str, text: str) -> None:
    if text:
        host.write(path, text, 0o644)
    else:
        host.remove(path)


def restoring_lines(instance: str, host: Sight) -> t.List[str]:
    """The rollback as shell, with the earlier policies in the files ``BEFORE`` if there were any."""
    again = "{0} --get-zone-of-interface={1} > /dev/null 2>&1 || {0} --zone={2} --change-interface={1} > /dev/null"
    zones = {shlex.quote(name.replace("*", "+")): shlex.quote(zone) for name, zone in _zones(host).items()}
    back = "{{ if [ -e {0} ]; then cp {0} {1} && chmod 644 {1}; else rm -f {1}; fi; }}"
    return [
        *(back.format(stem, path) for stem, path in zip(BEFORE, paths_of(instance))),
        "{0} --reload > /dev/null".format(CMD),
        *(again.format(CMD, name, zone) for name, zone in zones.items()),
    ]


class _Door(Part[Policy]):
    """What firewalld must let through."""

    def places(self, instance: str) -> t.Tuple[str, ...]:
        return paths_of(instance)

    def want(self, gateway: Resolved, was: Policy, scene: Scene, sight: Sight) -> t.Tuple[Policy, t.Tuple[str, ...]]:
        if runs(sight):
            return policy_for(gateway, sight)
        # If it is installed but not running, it reads the file of the policy when it starts.
        return (was if sight.which(CMD) else self.empty), ()

    def salvage(self, instance: str, sight: Sight) -> Policy:
        return read_xml(*(sight.read(path) or "" for path in paths_of(instance)))

    def plan(self, was: Policy, want: Policy, scene: Scene, sight: Sight) -> Delta:
        if not (was or want) or not runs(sight) or same(live(sight, scene.instance), want or None):
            return NOTHING
        line = "+ firewalld: policy {0}: {1}" if want else "- firewalld: policy {0}"
        return Delta((line.format(name_of(scene.instance), want.line),), want, cuts=True)

    def check(self, delta: Delta, sight: Sight) -> None:
        if delta.do is not None:
            check_reload(sight)

    def apply(self, delta: Delta, want: Policy, scene: Scene, host: Host) -> t.Tuple[str, ...]:
        if delta.do is not None:
            put(host, scene.instance, want)
        return ()

    def restore(self, delta: Delta, was: Policy, want: Policy, scene: Scene, sight: Sight) -> Shell:
        if delta.do is None:
            return Shell()
        before = {stem: sight.read(path) or "" for stem, path in zip(BEFORE, paths_of(scene.instance))}
        lines = restoring_lines(scene.instance, sight)
        return Shell(tuple(lines), {stem: text for stem, text in before.items() if text})

    def files(self, want: Policy, scene: Scene) -> t.Mapping[str, t.Tuple[str, int]]:
        return {path: (text, 0o644) for path, text in want.texts(scene.instance).items()}


DOOR = _Door("door", Policy())
