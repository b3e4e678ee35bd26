# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""firewalld's official door: a policy object that lets through what our own rules let through.

firewalld's last rule in its forward chain rejects, and no accept of another table undoes that. So where firewalld runs,
each instance has a policy of firewalld (0.9 or later): from the zones of its LANs to those of its WANs and of LANs that
may be reached, packets from the LANs' networks are accepted. What may really pass is still decided by our own rules,
which firewalld does not know: whatever either of them refuses is refused. Replies and port forwards pass firewalld by
themselves (``ct state established,related`` and ``ct status dnat``).

A policy can be made at run time only by a reload, which loses what was set at run time only: that is refused.
https://firewalld.org/documentation/man-pages/firewalld.policy.html
"""

from __future__ import annotations

import html
import re
import shlex
import typing as t
from dataclasses import dataclass

from ._errors import GatewayError
from ._resolve import followed
from ._rules import matches_name

if t.TYPE_CHECKING:  # pragma: no cover
    from ._host import Host
    from ._intent import Gateway

FOLDER = "/etc/firewalld/policies"
CMD = "firewall-cmd"
#: In front of the policies that firewalld ships with, and of people's own at -1 and above.
PRIORITY = -100
ANY = "ANY"
#: What a reload keeps although it is known at run time only.
KEPT = re.compile(r"^ *interfaces:.*$| \((?:default, |default|active|, )+\)", re.M)


@dataclass(frozen=True)
class Policy:
    """Sorted names of zones, and networks."""

    ingress: t.Tuple[str, ...]
    egress: t.Tuple[str, ...]
    sources: t.Tuple[str, ...]

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
        """For people."""
        return "{0} to {1} from {2}".format(", ".join(self.ingress), ", ".join(self.egress), ", ".join(self.sources))


def name_of(instance: str) -> str:
    """At most 17 characters, which is firewalld's limit."""
    return "ipmasq-" + instance


def path_of(instance: str) -> str:
    return "{0}/{1}.xml".format(FOLDER, name_of(instance))


def runs(host: Host) -> bool:
    return bool(host.which(CMD)) and host.run([CMD, "--state"]).rc == 0


def policy_for(gateway: Gateway, host: Host) -> t.Tuple[Policy, t.Tuple[str, ...]]:
    """The policy, and notes. Raises GatewayError if firewalld cannot be asked."""
    known = _zones(host)
    lans = gateway.lans or ()
    reached = {name for lan in lans for name in lan.reaches}
    inside = [name for lan in lans for name in lan.interfaces]
    outside = [wan.interface for wan in gateway.wans or ()]
    outside += [name for lan in lans if lan.name in reached for name in lan.interfaces]
    homeless = [name for name in dict.fromkeys(inside + outside) if not _zones_of([name], known)]
    policy = Policy(
        ingress=_zones_of(inside, known) or (ANY,),
        egress=_zones_of(outside, known) or (ANY,),
        sources=tuple(
            dict.fromkeys([network for lan in lans for network in lan.networks or ()] + list(followed(gateway)))
        ),
    )
    notes = [
        "firewalld: {0} is assigned to no zone, so the policy is for any zone; assign it to narrow that".format(name)
        for name in homeless
    ]
    return policy, tuple(notes)


def _zones_of(names: t.Sequence[str], known: t.Mapping[str, str]) -> t.Tuple[str, ...]:
    """The zones of interfaces and patterns; empty if one of them is assigned to none.

    It is in the default zone then, but a policy for that zone does not see it (firewalld 1.3.3, 2.3.0).
    """
    zones = set()
    for name in names:
        found = {zone for interface, zone in known.items() if interface == name or matches_name(name, interface)}
        if not found:
            return ()
        zones |= found
    return tuple(sorted(zones))


def _zones(host: Host) -> t.Dict[str, str]:
    found, zone = {}, ""
    for line in _ask(host, "--get-active-zones").splitlines():
        if not line.startswith(" "):
            zone = line.partition(" ")[0]
        elif line.split()[0] == "interfaces:":
            # firewalld writes ppp+ where we write ppp*.
            found.update({name.replace("+", "*"): zone for name in line.split()[1:]})
    return found


def _ask(host: Host, *words: str) -> str:
    done = host.run([CMD, *words])
    if done.rc != 0:
        raise GatewayError("firewalld: {0} says: {1}".format(" ".join((CMD, *words)), _text(done.err or done.out)))
    return done.out


def _text(words: str) -> str:
    return " ".join(words.split())[:300]


def live(host: Host, instance: str) -> t.Optional[Policy]:
    """The policy of this instance as firewalld applies it now."""
    done = host.run([CMD, "--info-policy=" + name_of(instance)])
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
    """firewalld has an order of its own for rules."""
    if not one or not other:
        return one == other
    return (one.ingress, one.egress, {*one.sources}) == (other.ingress, other.egress, {*other.sources})


def check_reload(host: Host) -> None:
    """Raises GatewayError if a reload would lose what somebody has set at run time only."""
    asked = {"zones": ["--list-all-zones"], "policies": ["--list-all-policies"], "ipsets": ["--get-ipsets"]}
    asked["direct rules"] = ["--direct", "--get-all-rules"]
    for what, words in asked.items():
        now, kept = (KEPT.sub("", _ask(host, *more, *words)) for more in ((), ("--permanent",)))
        if now != kept:
            lines = [line.strip() for line in now.splitlines() if line not in kept.splitlines()]
            raise GatewayError(
                "firewalld: its {0} have settings at run time only ({1}), which the reload for our policy would lose; "
                "keep them with 'firewall-cmd --runtime-to-permanent', or drop them with 'firewall-cmd "
                "--reload'".format(what, _text("; ".join(lines)) or "some are missing")
            )


def reload(host: Host) -> None:
    """Interfaces that were put into a zone at run time only, by ppp's scripts for example, are put there again."""
    zones = _zones(host)
    _ask(host, "--reload")
    for name, zone in zones.items():
        word = name.replace("*", "+")
        if host.run([CMD, "--get-zone-of-interface=" + word]).rc != 0:
            _ask(host, "--zone=" + zone, "--change-interface=" + word)


def put(host: Host, instance: str, text: str) -> None:
    """Make this the policy that firewalld applies (empty: none). The file is as it was before, afterwards."""
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


def restoring_lines(instance: str, stem: str, host: Host) -> t.List[str]:
    """The rollback as shell, with the earlier policy in the file ``stem`` if there was one."""
    again = "{0} --get-zone-of-interface={1} > /dev/null 2>&1 || {0} --zone={2} --change-interface={1} > /dev/null"
    zones = {shlex.quote(name.replace("*", "+")): shlex.quote(zone) for name, zone in _zones(host).items()}
    path = path_of(instance)
    return [
        "{{ if [ -e {0} ]; then cp {0} {1}; else rm -f {1}; fi; }}".format(stem, path),
        "{0} --reload > /dev/null".format(CMD),
        *(again.format(CMD, name, zone) for name, zone in zones.items()),
    ]
