# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""dhcpcd: a hook that it runs whenever an interface is up or its lease is renewed.

It comes before dhcpcd's own hook for /etc/resolv.conf, which it keeps from running if that file is ours.
"""

from __future__ import annotations

import shlex
import typing as t

from .._base.errors import GatewayError
from .manager import NAME, Manager, comments, replacing

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.host import Sight
    from .manager import Files, Setup

FOLDERS = ("/usr/lib/dhcpcd/dhcpcd-hooks", "/lib/dhcpcd/dhcpcd-hooks", "/usr/libexec/dhcpcd-hooks")
HOOK = "/15-" + NAME
#: Of a daemon for all interfaces, or for one of them; since version 9, and before.
RUNNING = ("/run/dhcpcd/pid", "/run/dhcpcd/{0}.pid", "/run/dhcpcd.pid", "/run/dhcpcd-{0}.pid")


class Dhcpcd(Manager):
    name = "dhcpcd"
    places = tuple(folder + HOOK for folder in FOLDERS)

    def manages(self, interface: str, sight: Sight) -> bool:
        return any(sight.exists(path.format(interface)) for path in RUNNING)

    def files(self, setup: Setup, sight: Sight) -> Files:
        folder = next((each for each in FOLDERS if sight.exists(each)), "")
        if not folder:
            raise GatewayError(
                "dhcpcd manages {0}, but its hooks are in none of these folders: {1}; install its hooks".format(
                    setup.interface, ", ".join(FOLDERS)
                )
            )
        lines = [*comments(setup), 'if [ "$interface" = {0} ]; then'.format(shlex.quote(setup.interface))]
        lines += ['    skip_hooks="$skip_hooks resolv.conf"'] if setup.own_resolver else []
        lines += ['    if [ "$if_up" = true ]; then']
        # The other family's address may not be there yet.
        lines += ["        {0}".format(line) for line in replacing(setup.routes, "true")]
        return {folder + HOOK: ("\n".join([*lines, "    fi", "fi"]) + "\n", 0o644)}
