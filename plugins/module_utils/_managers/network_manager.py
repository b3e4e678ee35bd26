# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""NetworkManager: a dispatcher script that runs when an interface is up or its lease is renewed, and global DNS.

No connection of the user's is edited, so whatever plugin stores them, and none has to be restored.
"""

from __future__ import annotations

import shlex
import typing as t

from .._base.errors import GatewayError
from .manager import HEAD, NAME, Manager, comments, replacing

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.host import Sight
    from .manager import Files, Setup
    from .seen import Routes

DEVICES = "/run/NetworkManager/devices/"
SCRIPT = "/etc/NetworkManager/dispatcher.d/90-" + NAME
CONF = "/etc/NetworkManager/conf.d/90-{0}.conf".format(NAME)
#: Exists if the service is enabled, which D-Bus then starts.
DISPATCHER = "/etc/systemd/system/dbus-org.freedesktop.nm-dispatcher.service"
STATES = ("nmcli", "-t", "-f", "DEVICE,STATE", "device")
EVENTS = "up | dhcp4-change | dhcp6-change | reapply"


class NetworkManager(Manager):
    name = "NetworkManager"
    places = (SCRIPT, CONF)
    takes_dns = "always"

    def manages(self, interface: str, sight: Sight) -> bool:
        index = (sight.read("/sys/class/net/{0}/ifindex".format(interface)) or "").strip()
        if not index or "managed=true" not in (sight.read(DEVICES + index) or "").splitlines():
            return False
        done = sight.ask(STATES)
        if done.rc != 0:
            return True
        # What others have set up is "connected (externally)".
        states = dict(line.rpartition(":")[::2] for line in done.out.splitlines())
        state = states.get(interface, "")
        return state.startswith("connect") and "externally" not in state

    def files(self, setup: Setup, sight: Sight) -> Files:
        if sight.exists("/run/systemd/system") and not sight.exists(DISPATCHER):
            raise GatewayError(
                "NetworkManager manages {0}, but does not run scripts, because NetworkManager-dispatcher.service is "
                "disabled; enable it: systemctl enable NetworkManager-dispatcher".format(setup.interface)
            )
        lines = [
            "#!/bin/sh",
            *comments(setup),
            '[ "$1" = {0} ] || exit 0'.format(shlex.quote(setup.interface)),
            'case "$2" in {0}) ;; *) exit 0 ;; esac'.format(EVENTS),
            "status=0",
            *replacing(setup.routes),
            "exit $status",
        ]
        found: Files = {SCRIPT: ("\n".join(lines) + "\n", 0o755)}
        if setup.dns:
            search = ["searches={0}".format(",".join(setup.search))] if setup.search else []
            lines = [
                HEAD,
                "[global-dns]",
                *search,
                "",
                "[global-dns-domain-*]",
                "servers={0}".format(",".join(setup.dns)),
            ]
            found[CONF] = ("\n".join(lines) + "\n", 0o644)
        return found

    def told(self, interfaces: t.Sequence[str], routes: Routes, paths: t.Sequence[str]) -> t.Tuple[str, ...]:
        return ("nmcli general reload",) if CONF in paths else ()
