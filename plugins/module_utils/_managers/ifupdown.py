# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""ifupdown: a script that it runs once an interface is up, and one for dhclient, which may be its helper."""

from __future__ import annotations

import shlex
import typing as t

from .manager import NAME, Manager, comments, replacing

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.host import Sight
    from .manager import Files, Setup

IFSTATE = "/run/network/ifstate"
SCRIPT = "/etc/network/if-up.d/" + NAME
#: dhclient sources these: before it writes /etc/resolv.conf, and after it has set routes.
ENTER, EXIT = ("/etc/dhcp/dhclient-{0}-hooks.d/{1}".format(when, NAME) for when in ("enter", "exit"))
FAMILY = {4: "inet", 6: "inet6"}


class Ifupdown(Manager):
    name = "ifupdown"
    places = (SCRIPT, ENTER, EXIT)
    replaces = True

    def manages(self, interface: str, sight: Sight) -> bool:
        lines = (sight.read(IFSTATE) or "").splitlines()
        return interface in {line.partition("=")[2].strip() for line in lines}

    def files(self, setup: Setup, sight: Sight) -> Files:
        found: Files = {SCRIPT: ("\n".join(self._script(setup)) + "\n", 0o755)}
        head, here = comments(setup), shlex.quote(setup.interface)
        if sight.exists("/etc/dhcp/dhclient-exit-hooks.d"):
            routes = [route for route in setup.routes if route.version == 4]
            lines = [
                *head,
                'case "$interface $reason" in {0}" BOUND" | {0}" RENEW" | {0}" REBIND" | {0}" REBOOT")'.format(here),
                *replacing(tuple(routes), "true"),
                ";; esac",
            ]
            found.update({EXIT: ("\n".join(lines) + "\n", 0o644)} if routes else {})
            lines = [*head, '[ "$interface" != {0} ] || make_resolv_conf() {{ :; }}'.format(here)]
            found.update({ENTER: ("\n".join(lines) + "\n", 0o644)} if setup.own_resolver else {})
        return found

    @staticmethod
    def _script(setup: Setup) -> t.List[str]:
        lines = [
            "#!/bin/sh",
            *comments(setup),
            '[ "${{IFACE:-}}" = {0} ] || exit 0'.format(shlex.quote(setup.interface)),
            "status=0",
            "# ifupdown comes here once per family, when the other family's address may not be there yet.",
            'ours() { [ "${ADDRFAM:-$1}" = "$1" ]; }',
        ]
        for route in setup.routes:
            (line,) = replacing((route,))
            lines.append("if ours {0}; then {1}; fi".format(FAMILY[route.version], line))
        return [*lines, "exit $status"]
