# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""What runs the dnsmasq of an instance: a unit of systemd, or a script. The loader starts it, so it needs no symlink.

Its first start after a boot takes the configuration that was kept, and every other one that which a change has left.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from .units import SANDBOX, SERVICES_UNIT

if t.TYPE_CHECKING:  # pragma: no cover
    from .service import Init

UNIT, SCRIPT = SERVICES_UNIT, "/etc/ipmasq/services"
#: Below /run, until the change is kept.
PENDING_UNIT, PENDING_SCRIPT = UNIT.replace("/etc/", "/run/", 1), "/run/ipmasq-services/control"
#: What dnsmasq reads anew when it is told to. By then it has a user of its own, so telling it takes CAP_KILL.
RESERVED = " && ".join(
    'sed -n "s/^#{0} //p" INSTANCE.conf > INSTANCE.{0}s && chmod 644 INSTANCE.{0}s'.format(word)
    for word in ("host", "name")
)
#: What it reads only when it starts. Whatever starts it notes this: a reload then knows whether it takes a new process.
STARTED = "(umask 077; sed /^#/d INSTANCE.conf > INSTANCE.started)"
SAME = '[ "$(sed /^#/d INSTANCE.conf)" = "$(cat INSTANCE.started)" ]'


def _filled(text: str, instance: str) -> str:
    for word, command in (("RESERVED", RESERVED), ("SAME", SAME), ("STARTED", STARTED)):
        text = text.replace(word, command.replace("INSTANCE", instance))
    return text


#: A reload may replace the process; a configuration that dnsmasq refuses leaves it alone. The earlier one has written
#: its leases when it ends. Until the next one listens, nobody answers: so the shell that has seen it end becomes the
#: next one. systemd waits for the end of a reload, and then takes the number of the process anew.
SERVICES_TEXT = _filled(
    """\
[Unit]
Description=NAT gateway: DHCP, router advertisements and DNS for LANs of instance %i
Documentation=https://github.com/ipmasq/linux
After=network.target
StartLimitIntervalSec=0

[Service]
Type=forking
PIDFile=/run/ipmasq-services/%i.pid
ExecStartPre=/bin/sh -c '[ -e /run/ipmasq-services/%i.conf ] || cp /etc/ipmasq/%i.dnsmasq /run/ipmasq-services/%i.conf'
ExecStartPre=/bin/sh -c 'cd /run/ipmasq-services && RESERVED && STARTED'
ExecStart=/usr/bin/env dnsmasq --conf-file=/run/ipmasq-services/%i.conf
ExecReload=/bin/sh -c 'cd /run/ipmasq-services && dnsmasq --test --conf-file=%i.conf && RESERVED && \
if SAME; then kill -s HUP $MAINPID; else kill -s TERM $MAINPID; \
while kill -s 0 $MAINPID 2> /dev/null; do sleep 0.01 || sleep 1; done; \
STARTED && exec dnsmasq --conf-file=/run/ipmasq-services/%i.conf; fi'
Restart=always
RestartSec=1
RuntimeDirectory=ipmasq-services
RuntimeDirectoryPreserve=yes
StateDirectory=ipmasq
UMask=0027
CapabilityBoundingSet=CAP_NET_ADMIN CAP_NET_RAW CAP_NET_BIND_SERVICE CAP_SETUID CAP_SETGID CAP_CHOWN CAP_KILL
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK AF_PACKET
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
ProtectKernelModules=yes
RestrictSUIDSGID=yes
"""
    + SANDBOX,
    "%i",
)
#: A shell loop restarts it if it dies, after a second unless it was told to end, as for a reload. They form one process
#: group, which must end before the next one starts.
SCRIPT_TEXT = _filled(
    """\
# Written by the Ansible collection ipmasq.linux. Usage: sh services start|stop|restart|reload INSTANCE
PATH=/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH
umask 022
run=/run/ipmasq-services
group=$run/$2.group

lives() {
    [ -e $group ] && kill -s 0 -- "-$(cat $group)" 2> /dev/null
}
reserved() {
    (cd $run && RESERVED)
}
same() {
    (cd $run && SAME)
}
# This file belongs to the user of dnsmasq, who could have any other process named in it.
read_pid() {
    pid=$(cat $run/$2.pid 2> /dev/null)
    case "$pid" in '' | *[!0-9]* | "$(cat $group)") return 1 ;; esac
    [ "$(sed 's/.*) //' /proc/$pid/stat 2> /dev/null | cut -d ' ' -f 3)" = "$(cat $group)" ]
}
stop() {
    ! lives || kill -s TERM -- "-$(cat $group)"
    tries=50
    while lives && [ $tries -gt 0 ]; do
        sleep 0.1 2> /dev/null || sleep 1
        tries=$((tries - 1))
    done
    ! lives || { echo "dnsmasq does not end" >&2; exit 1; }
    rm -f $group $run/$2.pid
}
start() {
    ! lives || return 0
    mkdir -p $run /var/lib/ipmasq || exit 1
    [ "$0" = $run/control ] || cp "$0" $run/control || exit 1
    [ -e $run/$2.conf ] || cp /etc/ipmasq/$2.dnsmasq $run/$2.conf || exit 1
    reserved "$@" || exit 1
    rm -f $run/$2.pid
    # The process that started this may hold the lock.
    setsid sh -c 'cd $1; while :; do STARTED; dnsmasq --keep-in-foreground --conf-file=$1/$2.conf || sleep 1; done' \
        sh $run $2 < /dev/null > $run/$2.log 2>&1 9>&- &
    echo $! > $group
    came "$@" || { stop "$@"; cat $run/$2.log >&2; exit 1; }
}
# Before dnsmasq ends, it may try an address for three seconds; it still answers meanwhile.
came() {
    tries=80
    until read_pid "$@" && [ "$pid" != "$last" ]; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || return 1
        sleep 0.1 2> /dev/null || sleep 1
    done
}
reload() {
    lives || { start "$@"; return; }
    dnsmasq --test --conf-file=$run/$2.conf && reserved "$@" && read_pid "$@" || exit 1
    last=$pid
    if same "$@"; then kill -s HUP $pid; return; fi
    kill -s TERM $pid
    came "$@" || { cat $run/$2.log >&2; exit 1; }
}

case "$1" in
start) start "$@" ;;
stop) stop "$@" ;;
restart) stop "$@"; start "$@" ;;
reload) reload "$@" ;;
*) echo "usage: $0 start|stop|restart|reload INSTANCE" >&2; exit 3 ;;
esac
""",
    "$2",
)


@dataclass(frozen=True)
class Serving:
    """How an init runs it. Commands are words for a shell, with the instance to fill in."""

    path: str
    pending: str
    text: str
    mode: int
    restart: str
    reload: str  # starts it if it does not run
    stop: str
    stopped: str  # for a shell, also if it never ran
    boot: str
    log: str  # prints what it said
    status: str  # for people
    reread: str = ""  # once there is another text


_SYSTEMD = Serving(
    UNIT,
    PENDING_UNIT,
    SERVICES_TEXT,
    0o644,
    "systemctl restart ipmasq-services@{0}.service",
    "systemctl reload-or-restart ipmasq-services@{0}.service",
    "systemctl stop ipmasq-services@{0}.service",
    "{{ systemctl stop ipmasq-services@{0}.service 2> /dev/null || "
    "! systemctl --quiet is-active ipmasq-services@{0}.service; }}",
    "systemctl --no-block start ipmasq-services@{0}.service || true",
    "journalctl -q -u ipmasq-services@{0}.service -n 20 -o cat",
    "journalctl -u ipmasq-services@{0}.service",
    reread="systemctl daemon-reload",
)
_SHELL = Serving(
    SCRIPT,
    PENDING_SCRIPT,
    SCRIPT_TEXT,
    0o700,
    "sh /run/ipmasq-services/control restart {0}",
    "sh /run/ipmasq-services/control reload {0}",
    "sh /run/ipmasq-services/control stop {0}",
    "{{ [ ! -e /run/ipmasq-services/control ] || sh /run/ipmasq-services/control stop {0}; }}",
    "sh ./services start {0} || true",
    "cat /run/ipmasq-services/{0}.log",
    "/run/ipmasq-services/{0}.log",
)
PATHS = (UNIT, SCRIPT)


def serving(init: t.Optional[Init]) -> Serving:
    return _SYSTEMD if init is None or init.name == "systemd" else _SHELL
