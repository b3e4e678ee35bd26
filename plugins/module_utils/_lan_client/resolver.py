# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""The DNS servers of a LAN client: in systemd-resolved, in the network manager, or in /etc/resolv.conf."""

from __future__ import annotations

import posixpath
import re
import typing as t
from dataclasses import dataclass

from .._managers.manager import HEAD, NAME, is_ours
from .._parts.part import NOTHING, Delta, Part

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.errors import Problems
    from .._base.host import Sight
    from .._managers.manager import Manager
    from .._parts.part import Scene

RESOLV = "/etc/resolv.conf"
BEFORE = "/etc/resolv.conf.before-ipmasq"
RESOLVED = "/etc/systemd/resolved.conf.d/{0}.conf".format(NAME)
#: Lines of a foreign resolv.conf that are not about servers and remain valid behind another gateway.
KEPT = re.compile(r"(search|domain|options|sortlist)\s")
SEARCHED = re.compile(r"(?:search|domain)\s+(.*)")
#: Where the servers are written.
NOWHERE, MANAGER, SERVICE, FILE = "", "manager", "resolved", "file"


@dataclass(frozen=True)
class Resolver:
    way: str = NOWHERE
    servers: t.Tuple[str, ...] = ()
    text: str = ""  # of /etc/resolv.conf, if that is the way
    mode: int = 0o644


def way_of(servers: t.Sequence[str], manager: Manager, problems: Problems, sight: Sight) -> str:
    if not servers:
        return NOWHERE
    if manager.takes_dns == "always":
        return MANAGER
    link = sight.link(RESOLV)
    target = posixpath.normpath(posixpath.join("/etc", link)) if link else ""
    runs = sight.ask(["systemctl", "is-active", "systemd-resolved.service"]).rc == 0
    stub = runs and not link and "127.0.0.53" in (sight.read(RESOLV) or "")
    if target.startswith("/run/systemd/resolve/") or stub:
        if runs:
            return MANAGER if manager.takes_dns == "resolved" else SERVICE
        problems.add(
            "dns",
            "{0} is a link to {1}, but systemd-resolved does not run; start it, or leave dns empty".format(
                RESOLV, target
            ),
        )
        return NOWHERE
    if target:
        problems.add(
            "dns",
            "{0} is a link to {1}, and it is not known what writes that; set the DNS servers where it comes from, "
            "and leave dns empty".format(RESOLV, target),
        )
        return NOWHERE
    return FILE


def searched(sight: Sight) -> t.Tuple[str, ...]:
    """The domains that the resolver searches now."""
    found = SEARCHED.findall(sight.read(RESOLV) or "")
    return tuple(dict.fromkeys(word for words in found for word in words.split()))


class ResolverPart(Part[Resolver]):
    """All of it are files, put in place once the change is kept."""

    def want(self, gateway: t.Any, was: Resolver, scene: Scene, sight: Sight) -> t.Tuple[Resolver, t.Tuple[str, ...]]:
        """``gateway``: the way, and the servers."""
        way, servers = gateway
        if way != FILE:
            return Resolver(way, servers) if way else Resolver(), ()
        now = sight.read(RESOLV)
        original = sight.read(BEFORE) if is_ours(now) else now
        kept = [line for line in (original or "").splitlines() if KEPT.match(line)]
        lines = [HEAD, *kept, *("nameserver {0}".format(server) for server in servers)]
        mode = sight.mode(RESOLV) if now is not None else 0o644
        return Resolver(way, servers, "\n".join(lines) + "\n", mode), ()

    def plan(self, was: Resolver, want: Resolver, scene: Scene, sight: Sight) -> Delta:
        if was.servers == want.servers:
            return NOTHING
        lines = ["- DNS server {0}".format(each) for each in was.servers if each not in want.servers]
        lines += ["+ DNS server {0}".format(each) for each in want.servers if each not in was.servers]
        return Delta(tuple(lines), want.servers)

    def verify(self, was: Resolver, want: Resolver, scene: Scene, sight: Sight) -> None:
        """There is nothing to see before the files are in place."""

    def files(self, want: Resolver, scene: Scene) -> t.Mapping[str, t.Tuple[str, int]]:
        if want.way == SERVICE:
            return {RESOLVED: ("{0}\n[Resolve]\nDNS={1}\n".format(HEAD, " ".join(want.servers)), 0o644)}
        return {RESOLV: (want.text, want.mode)} if want.way == FILE else {}


def saved(want: Resolver, sight: Sight) -> t.Tuple[t.Tuple[str, ...], t.Tuple[str, ...]]:
    """Lines of shell that save the original of /etc/resolv.conf, or restore it, and the files to remove."""
    now, before = sight.read(RESOLV), sight.exists(BEFORE)
    if want.way == FILE:
        # Of what another program has written since, too.
        save = "grep -qF {0!r} {1} || cp -p {1} {2}".format(HEAD, RESOLV, BEFORE)
        return ((save,) if now is not None and not is_ours(now) else ()), ()
    if not is_ours(now):
        return (), ((BEFORE,) if before else ())
    if before:
        return ("[ ! -e {0} ] || mv -f {0} {1}".format(BEFORE, RESOLV),), ()
    return (), (RESOLV,)


RESOLVER = ResolverPart("resolver", Resolver())
