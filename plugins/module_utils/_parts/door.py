# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""A firewalld policy that accepts what our own rules accept.

The last rule of firewalld's forward chain rejects, and an accept in another table cannot undo that. Therefore, where
firewalld (0.9 or later) runs, each instance gets a firewalld policy: it accepts packets from the LANs' networks that go
from the zones of its LANs to those of its WANs and of LANs that may be reached. Our own rules still decide what really
passes, and whatever either of them refuses is refused. Replies and port forwards pass firewalld without a policy (``ct
state established,related`` and ``ct status dnat``).

A new policy requires a reload, which loses runtime-only settings; in that case the run is refused.
https://firewalld.org/documentation/man-pages/firewalld.policy.html
"""

from __future__ import annotations

import html
import re
import shlex
import typing as t
from dataclasses import dataclass

from .._base.errors import GatewayError
from .._base.net import matches_name
from .._resolve.inside import followed
from .part import NOTHING, Delta, Part, Shell

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.host import Done, Host, Sight
    from .._resolve.resolved import Resolved
    from .part import Scene

FOLDER = "/etc/firewalld/policies"
CMD = "firewall-cmd"
#: Before the policies that firewalld ships with, and before users' own at -1 and above.
PRIORITY = -100
ANY = "ANY"
#: Runtime-only settings that a reload keeps.
KEPT = re.compile(r"^ *interfaces:.*$| \((?:default, |default|active|, )+\)", re.M)


@dataclass(frozen=True)
class Policy:
    """Sorted zone names, and networks. A policy has zones; without them, there is none."""

    ingress: t.Tuple[str, ...] = ()
    egress: t.Tuple[str, ...] = ()
    sources: t.Tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.ingress)

    def to_xml(self, instance: str) -> str:
        lines = ['<?xml version="1.0" encoding="utf-8"?>']
        lines.append('<policy priority="{0}" target="CONTINUE">'.format(PRIORITY))
        lines.append("  <short>{0}</short>".format(name_of(instance)))
        lines.append("  <description>Written by the Ansible collection ipmasq.linux: its LANs go out.</description>")
        lines += ['  <ingress-zone name="{0}"/>'.format(html.escape(zone)) for zone in self.ingress]
        lines += ['  <egress-zone name="{0}"/>'.format(html.escape(zone)) for zone in self.egress]
        for source in self.sources:
            family = "ipv6" if ":" in source else "ipv4"
            lines += ['  <rule family="{0}">'.format(family), '    <source address="{0}"/>'.format(source)]
            lines += ["    <accept/>", "  </rule>"]
        return "".join(line + "\n" for line in lines) + "</policy>\n"

    @property
    def line(self) -> str:
        """The policy as text for people."""
        return "{0} to {1} from {2}".format(", ".join(self.ingress), ", ".join(self.egress), ", ".join(self.sources))


def name_of(instance: str) -> str:
    """At most 17 characters, firewalld's limit."""
    return "ipmasq-" + instance


def read_xml(text: str) -> Policy:
    """The policy that ``to_xml`` wrote; none in any other text."""
    ingress, egress, sources = (
        tuple(html.unescape(word) for word in re.findall(r'<{0}="([^"]*)"'.format(tag), text))
        for tag in ("ingress-zone name", "egress-zone name", "source address")
    )
    return Policy(ingress, egress, sources)


def path_of(instance: str) -> str:
    return "{0}/{1}.xml".format(FOLDER, name_of(instance))


def runs(host: Sight) -> bool:
    return bool(host.which(CMD)) and host.ask([CMD, "--state"]).rc == 0


def policy_for(gateway: Resolved, host: Sight) -> t.Tuple[Policy, t.Tuple[str, ...]]:
    """The policy and notes. Raises GatewayError if firewalld does not answer."""
    known = _zones(host)
    lans = gateway.lans
    reached = {name for lan in lans for name in lan.reaches}
    inside = [name for lan in lans for name in lan.interfaces]
    outside = [wan.interface for wan in gateway.wans]
    outside += [name for lan in lans if lan.name in reached for name in lan.interfaces]
    homeless = [name for name in dict.fromkeys(inside + outside) if not _zones_of([name], known)]
    policy = Policy(
        ingress=_zones_of(inside, known) or (ANY,),
        egress=_zones_of(outside, known) or (ANY,),
        sources=tuple(dict.fromkeys([network for lan in lans for network in lan.networks] + list(followed(gateway)))),
    )
    notes = [
        "firewalld: {0} is not assigned to a zone, so the policy applies to any zone; assign it to narrow that".format(
            name
        )
        for name in homeless
    ]
    return policy, tuple(notes)


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
    """The live policy of this instance."""
    done = host.ask([CMD, "--info-policy=" + name_of(instance)])
    if done.rc != 0:
        return None
    values = {}
    for line in done.out.splitlines():
        key, _colon, value = line.strip().partition(":")
        values[key] = value.split()
    sources = re.findall(r'rule family="ipv[46]" source address="([^"]+)" accept$', done.out, re.M)
    if values.get("target") != ["CONTINUE"] or values.get("priority") != [str(PRIORITY)]:
        sources = []
    zones = [tuple(sorted(values.get(key, ()))) for key in ("ingress-zones", "egress-zones")]
    return Policy(zones[0], zones[1], tuple(sources))


def same(one: t.Optional[Policy], other: t.Optional[Policy]) -> bool:
    """firewalld orders rules in its own way."""
    if not one or not other:
        return one == other
    return (one.ingress, one.egress, {*one.sources}) == (other.ingress, other.egress, {*other.sources})


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


def put(host: Host, instance: str, text: str) -> None:
    """Make this the live policy (empty: none). Afterwards the file is as it was before."""
    path = path_of(instance)
    before = host.read(path)
    try:
        _place(host, path, text)
        reload(host)
    finally:
        _place(host, path, before or "")


def _place(host: Host, path: str, text: str) -> None:
    if text:
        host.write(path, text, 0o644)
    else:
        host.remove(path)


def restoring_lines(instance: str, stem: str, host: Sight) -> t.List[str]:
    """The rollback as shell, with the earlier policy in the file ``stem`` if there was one."""
    again = "{0} --get-zone-of-interface={1} > /dev/null 2>&1 || {0} --zone={2} --change-interface={1} > /dev/null"
    zones = {shlex.quote(name.replace("*", "+")): shlex.quote(zone) for name, zone in _zones(host).items()}
    path = path_of(instance)
    return [
        "{{ if [ -e {0} ]; then cp {0} {1} && chmod 644 {1}; else rm -f {1}; fi; }}".format(stem, path),
        "{0} --reload > /dev/null".format(CMD),
        *(again.format(CMD, name, zone) for name, zone in zones.items()),
    ]


class _Door(Part[Policy]):
    """What firewalld must let through."""

    def places(self, instance: str) -> t.Tuple[str, ...]:
        return (path_of(instance),)

    def want(self, gateway: Resolved, was: Policy, scene: Scene, sight: Sight) -> t.Tuple[Policy, t.Tuple[str, ...]]:
        if runs(sight):
            return policy_for(gateway, sight)
        # If it is installed but not running, it reads the file of the policy when it starts.
        return (was if sight.which(CMD) else self.empty), ()

    def salvage(self, instance: str, sight: Sight) -> Policy:
        return read_xml(sight.read(path_of(instance)) or "")

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
            put(host, scene.instance, want.to_xml(scene.instance) if want else "")
        return ()

    def restore(self, delta: Delta, was: Policy, want: Policy, scene: Scene, sight: Sight) -> Shell:
        if delta.do is None:
            return Shell()
        before = sight.read(path_of(scene.instance))
        lines = restoring_lines(scene.instance, "policy", sight)
        return Shell(tuple(lines), {"policy": before} if before else {})

    def files(self, want: Policy, scene: Scene) -> t.Mapping[str, t.Tuple[str, int]]:
        return {path_of(scene.instance): (want.to_xml(scene.instance), 0o644)} if want else {}


DOOR = _Door("door", Policy())
