# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""The one lock of all scripts: the loader, what keeps a change, what takes it back, and what comes with a link."""

from __future__ import annotations

#: Where a script that did not get it says so.
HELD = "another change, or the loader, has held /run/ipmasq/.lock for more than a minute"

#: Only root gets into this folder, so nobody else can hold the lock. busybox's flock knows no -w (1.36), and Debian's
#: busybox has no flock at all: there the lock is a link that names its owner, made at once or not at all.
SHELL = """\
lock() {
    mkdir -p /run/ipmasq && chmod 700 /run/ipmasq || return 1
    tries=300
    if command -v flock > /dev/null; then
        ( umask 077 && : >> /run/ipmasq/.lock ) || return 1
        exec 9>> /run/ipmasq/.lock
        until flock -n 9; do
            patience || return 1
        done
        return 0
    fi
    until ln -s "pid:$$" /run/ipmasq/.lock.pid 2> /dev/null; do
        owner=$(readlink /run/ipmasq/.lock.pid)
        [ "$owner" != "pid:$$" ] || break
        # An owner that is dead holds nothing; only one may say so, or it would take away the next one's.
        if [ -n "$owner" ] && [ ! -d "/proc/${owner#pid:}" ] && mkdir /run/ipmasq/.lock.dead 2> /dev/null; then
            [ "$(readlink /run/ipmasq/.lock.pid)" != "$owner" ] || rm -f /run/ipmasq/.lock.pid
            rmdir /run/ipmasq/.lock.dead
            continue
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
