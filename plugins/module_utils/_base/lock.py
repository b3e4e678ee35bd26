# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""The lock of all scripts: the loader, and those that keep a change, roll it back, or set up a link."""

from __future__ import annotations

import typing as t

from .errors import GatewayError, first_lines

if t.TYPE_CHECKING:  # pragma: no cover
    from .host import Host

#: The file that scripts lock, and the link that they make if flock(1) is missing.
FILE = "/run/ipmasq/.lock"
LINK = "/run/ipmasq/.lock.pid"
#: What a script prints on stderr if it did not get the lock.
HELD = "another change, or the loader, has held /run/ipmasq/.lock for more than a minute"

#: Only root can enter this folder, so nobody else can hold the lock. busybox's flock has no -w (1.36), and Debian's
#: busybox has no flock at all: there, the lock is a symbolic link that names its owner, created atomically.
SHELL = """\
lock() {
    [ -d /run/ipmasq ] || mkdir -p /run/ipmasq || return 1
    chmod 700 /run/ipmasq || return 1
    tries=300
    if command -v flock > /dev/null; then
        [ -e /run/ipmasq/.lock ] || ( umask 077 && : >> /run/ipmasq/.lock ) || return 1
        # Without "command", a shell that cannot open it ends here.
        command exec 9>> /run/ipmasq/.lock || return 1
        until flock -n 9; do
            patience || return 1
        done
        return 0
    fi
    until ln -s "pid:$$" /run/ipmasq/.lock.pid 2> /dev/null; do
        owner=$(readlink /run/ipmasq/.lock.pid)
        [ "$owner" != "pid:$$" ] || break
        # Remove the lock of a dead owner, one process at a time, so that nobody removes the next owner's lock.
        if [ -n "$owner" ] && [ ! -d "/proc/${owner#pid:}" ]; then
            if ln -s "pid:$$" /run/ipmasq/.lock.dead 2> /dev/null; then
                [ "$(readlink /run/ipmasq/.lock.pid)" != "$owner" ] || rm -f /run/ipmasq/.lock.pid
                rm -f /run/ipmasq/.lock.dead
                continue
            fi
            # That process may have been killed, too.
            remover=$(readlink /run/ipmasq/.lock.dead)
            if [ -n "$remover" ] && [ ! -d "/proc/${remover#pid:}" ]; then
                [ "$(readlink /run/ipmasq/.lock.dead)" != "$remover" ] || rm -f /run/ipmasq/.lock.dead
            fi
        fi
        patience || return 1
    done
    trap 'rm -f /run/ipmasq/.lock.pid' EXIT
}
patience() {
    [ $tries -gt 0 ] || { echo "ipmasq: HELD" >&2; return 1; }
    if sleep 0.2 2> /dev/null; then
        tries=$((tries - 1))
    else
        sleep 1
        tries=$((tries - 5))
    fi
}
""".replace("HELD", HELD)
#: For a script that has to let another one go first, and then takes the lock again.
UNLOCK = """\
unlock() {
    exec 9>&-
    [ "$(readlink /run/ipmasq/.lock.pid 2> /dev/null)" != "pid:$$" ] || rm -f /run/ipmasq/.lock.pid
    trap - EXIT
}
"""
#: All scripts have this PATH: one that did not find flock would hold another lock than the rest.
PASS = "PATH=/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin\n" + SHELL + "lock\n"


def await_scripts(host: Host) -> None:
    """Wait until every script that has the lock now has ended. Raises GatewayError after a minute."""
    # Nearly always, no script runs; to find that out with a shell and flock(1) costs four processes.
    if host.is_free(FILE) and not host.exists(LINK):
        return
    done = host.run(["sh", "-c", PASS])
    if done.rc != 0:
        raise GatewayError(first_lines(done.err) or "the lock of /run/ipmasq could not be acquired")
