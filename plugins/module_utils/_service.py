# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Who runs the loader: systemd, OpenRC or sysvinit, and services of others after which it has to run once more.

nftables.service and netfilter-persistent.service flush everything, ours too, whenever they are started, reloaded or
stopped; docker puts its jumps in front of ours. On systemd each of them that is installed gets a drop-in.

Docker drops what is forwarded to its containers only if it was docker who turned forwarding on (20.10.24, 26.1.5). So
where it is enabled, forwarding comes after it at boot: from docker itself, and from the loader in docker's drop-in.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

if t.TYPE_CHECKING:  # pragma: no cover
    from ._host import Sight

LOADER = "/etc/ipmasq/boot"
SYSTEMD = "/etc/systemd/system/"
#: Where units are, those that hide others first.
UNITS = (SYSTEMD, "/lib/systemd/system/", "/usr/lib/systemd/system/")
UNIT = SYSTEMD + "ipmasq.service"
FENCE_UNIT = SYSTEMD + "ipmasq-fence.service"
LINKS_UNIT = SYSTEMD + "ipmasq-links.service"
LINK_UNIT = SYSTEMD + "ipmasq-links@.service"
LINKS_RULE = "/etc/udev/rules.d/90-ipmasq.rules"
SCRIPT = "/etc/init.d/ipmasq"
LINKS_SCRIPT = "/etc/init.d/ipmasq-links"
FENCE_SCRIPT = "/etc/init.d/ipmasq-fence"

UNIT_TEXT = """\
# Written by the Ansible collection ipmasq.linux.
[Unit]
Description=NAT gateway: rules first, forwarding last
Documentation=https://github.com/ipmasq/linux
DefaultDependencies=no
# Services that load or flush other rules at boot come first, so that ours stay.
After=local-fs.target systemd-modules-load.service systemd-sysctl.service nftables.service netfilter-persistent.service
After=ipmasq-fence.service
Wants=network-pre.target ipmasq-links.service ipmasq-fence.service
Before=network-pre.target shutdown.target
Conflicts=shutdown.target

[Service]
Type=oneshot
RemainAfterExit=yes
SyslogIdentifier=ipmasq
ExecStart=/bin/sh /etc/ipmasq/boot

[Install]
WantedBy=sysinit.target
"""
#: Rules that others have saved may hold our table, which nobody but its owner may load: theirs come first.
FENCE_UNIT_TEXT = """\
# Written by the Ansible collection ipmasq.linux. While it is stopped, a flush of all rules opens this host.
[Unit]
Description=NAT gateway: what stays closed while all rules are gone
Documentation=https://github.com/ipmasq/linux
DefaultDependencies=no
After=local-fs.target systemd-modules-load.service nftables.service netfilter-persistent.service
Before=network-pre.target shutdown.target
Conflicts=shutdown.target
StartLimitIntervalSec=0

[Service]
SyslogIdentifier=ipmasq
StandardOutput=null
ExecStart=/bin/sh /etc/ipmasq/boot hold
ExecStartPost=/bin/sh /etc/ipmasq/boot held
Restart=always
RestartSec=100ms
RuntimeDirectory=ipmasq-fence
CapabilityBoundingSet=CAP_NET_ADMIN
NoNewPrivileges=yes
RestrictAddressFamilies=AF_NETLINK AF_UNIX
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
ProtectKernelTunables=yes
ProtectControlGroups=yes
RestrictNamespaces=yes
RestrictRealtime=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
"""
LINKS_TEXT = """\
# Written by the Ansible collection ipmasq.linux; started {when}.
[Unit]
Description=NAT gateway: addresses and offload of {what}
Documentation=https://github.com/ipmasq/linux
# The service that sets up links may remove unknown addresses, so it comes first.
After=ipmasq.service network.target network-online.target
ConditionPathExistsGlob=/etc/ipmasq/*.links
StartLimitIntervalSec=0

[Service]
Type=oneshot
SyslogIdentifier=ipmasq
ExecStart=/bin/sh /etc/ipmasq/boot links
"""
#: Of one unit for all links, a second start would be lost while the first is under way; and so would be that of a link
#: that goes and comes back. A restart is queued.
RULE_TEXT = """\
# Written by the Ansible collection ipmasq.linux.
ACTION=="add|move", SUBSYSTEM=="net", RUN+="/bin/systemctl --no-block restart ipmasq-links@%k.service"
"""
#: While it flushes and loads, no packet of a gateway's links finds a route: "close" (see _shut.py).
DROP_IN_TEXT = """\
# Written by the Ansible collection ipmasq.linux: reloads our rules whenever this service has changed rules.
[Service]
{before}ExecStartPost=-/bin/sh /etc/ipmasq/boot{words}
{reload}{stop}ExecStopPost=-/bin/sh /etc/ipmasq/boot{words}
"""
CLOSE = "-/bin/sh /etc/ipmasq/boot close"
#: Only for those that can be reloaded: it would be all that their reload does.
RELOAD_TEXT = "ExecReload=-/bin/sh /etc/ipmasq/boot{words}\n"
RELOADED = ("nftables", "docker")
#: Those that flush everything when they are started, reloaded or stopped.
FLUSHING = ("nftables", "netfilter-persistent")
#: Only for those that load what others have saved of ours, too.
BEFORE_TEXT = "ExecStartPre=-/bin/sh /etc/ipmasq/boot sets\n"
SAVED = ("netfilter-persistent",)
#: ``netfilter-persistent reload``, ``start`` and ``flush``, also by hand and without systemd, run all that is in here,
#: in the order of names (run-parts): ours first and last.
PLUGINS = "/usr/share/netfilter-persistent/plugins.d"
PLUGIN_TEXT = """\
#!/bin/sh
# Written by the Ansible collection ipmasq.linux: {what}
case "$1" in
start | flush)
{lines}    ;;
esac
"""
FIRST = PLUGIN_TEXT.format(
    what="nothing is forwarded while other rules are loaded.",
    lines="    /bin/sh /etc/ipmasq/boot sets\n    /bin/sh /etc/ipmasq/boot close\n",
)
LAST = PLUGIN_TEXT.format(what="reloads our rules.", lines="    /bin/sh /etc/ipmasq/boot reopen\n")
PLUGIN_FILES = {PLUGINS + "/05-ipmasq": (FIRST, 0o755), PLUGINS + "/95-ipmasq": (LAST, 0o755)}
#: Services of others, and what their drop-in tells the loader.
NEIGHBOURS = {"nftables": " reopen", "netfilter-persistent": " reopen", "docker": " late"}

OPENRC_TEXT = """\
#!/sbin/openrc-run
# Written by the Ansible collection ipmasq.linux.
description="NAT gateway: rules first, forwarding last"

depend() {
    after localmount modules sysctl procps firewall nftables iptables ip6tables netfilter-persistent
    before net networking
    want ipmasq-fence
    after ipmasq-fence
}

start() {
    ebegin "Loading the rules of the NAT gateway"
    /bin/sh /etc/ipmasq/boot
    eend $?
}
"""
OPENRC_FENCE_TEXT = """\
#!/sbin/openrc-run
# Written by the Ansible collection ipmasq.linux. While it is stopped, a flush of all rules opens this host.
description="NAT gateway: what stays closed while all rules are gone"
supervisor=supervise-daemon
command=/bin/sh
command_args="/etc/ipmasq/boot hold"
output_log=/dev/null
respawn_delay=1
respawn_max=0

depend() {
    after localmount modules firewall nftables iptables ip6tables netfilter-persistent
    before net networking
}

start_post() {
    /bin/sh /etc/ipmasq/boot held
}
"""
OPENRC_LINKS_TEXT = """\
#!/sbin/openrc-run
# Written by the Ansible collection ipmasq.linux.
description="NAT gateway: addresses and offload of links"

depend() {
    after ipmasq net networking
}

start() {
    ebegin "Adding the addresses of the NAT gateway"
    [ ! -e /etc/ipmasq/boot ] || /bin/sh /etc/ipmasq/boot links
    eend $?
}
"""
SYSV_TEXT = """\
#!/bin/sh
# Written by the Ansible collection ipmasq.linux.
### BEGIN INIT INFO
# Provides:          ipmasq
# Required-Start:    mountkernfs $local_fs
# Required-Stop:
# Should-Start:      procps nftables netfilter-persistent ipmasq-fence
# X-Start-Before:    networking
# Default-Start:     S
# Default-Stop:
# Short-Description: NAT gateway: rules first, forwarding last
### END INIT INFO

case "$1" in
start | restart | force-reload) exec /bin/sh /etc/ipmasq/boot ;;
stop) ;;
*) echo "usage: $0 start|stop|restart|force-reload" >&2; exit 3 ;;
esac
"""
#: A shell loop restarts it if it dies. They form one process group, which must end before the next one starts.
#: The process that starts it may hold the lock of a change (descriptor 9).
SYSV_FENCE_TEXT = """\
#!/bin/sh
# Written by the Ansible collection ipmasq.linux. While it is stopped, a flush of all rules opens this host.
### BEGIN INIT INFO
# Provides:          ipmasq-fence
# Required-Start:    mountkernfs $local_fs
# Required-Stop:
# Should-Start:      procps nftables netfilter-persistent
# X-Start-Before:    networking
# Default-Start:     S
# Default-Stop:
# Short-Description: NAT gateway: what stays closed while all rules are gone
### END INIT INFO

group=/run/ipmasq-fence.pid
stop() {
    [ -e $group ] || return 0
    kill -s TERM -- "-$(cat $group)" 2> /dev/null
    tries=50
    while kill -s 0 -- "-$(cat $group)" 2> /dev/null && [ $tries -gt 0 ]; do
        sleep 0.1 2> /dev/null || sleep 1
        tries=$((tries - 1))
    done
    rm -f $group
}

case "$1" in
start | restart | force-reload)
    stop
    setsid sh -c 'while :; do sh /etc/ipmasq/boot hold; sleep 1; done' < /dev/null > /dev/null 2>&1 9>&- &
    echo $! > $group
    exec /bin/sh /etc/ipmasq/boot held
    ;;
stop) stop ;;
*) echo "usage: $0 start|stop|restart|force-reload" >&2; exit 3 ;;
esac
"""
SYSV_LINKS_TEXT = """\
#!/bin/sh
# Written by the Ansible collection ipmasq.linux.
### BEGIN INIT INFO
# Provides:          ipmasq-links
# Required-Start:    ipmasq $network
# Required-Stop:
# Default-Start:     2 3 4 5
# Default-Stop:
# Short-Description: NAT gateway: addresses and offload of links
### END INIT INFO

case "$1" in
start | restart | force-reload) [ ! -e /etc/ipmasq/boot ] || exec /bin/sh /etc/ipmasq/boot links ;;
stop) ;;
*) echo "usage: $0 start|stop|restart|force-reload" >&2; exit 3 ;;
esac
"""

Files = t.Dict[str, t.Tuple[str, int]]


@dataclass(frozen=True)
class Init:
    """How this host runs the loader at boot. ``enabled`` are shell patterns, of which one has to be there."""

    name: str
    files: t.Mapping[str, t.Tuple[str, int]]
    links: t.Mapping[str, t.Tuple[str, int]]
    enabled: t.Tuple[str, ...]
    enable: str
    disable: str
    fence: t.Mapping[str, t.Tuple[str, int]]
    restart_fence: str
    drop_fence: t.Tuple[str, ...]
    enable_links: str = ""
    disable_links: str = ""
    enable_fence: str = ""
    reread: str = ""  # once any of the files has changed

    @property
    def restart_fence_line(self) -> str:
        """For a shell that may hold the lock (descriptor 9), so that the service does not inherit it."""
        return self.restart_fence + ("" if self.name == "systemd" else " 9>&-")


_SYSTEMD = Init(
    "systemd",
    {UNIT: (UNIT_TEXT, 0o644)},
    {
        LINKS_UNIT: (LINKS_TEXT.format(when="at boot", what="links"), 0o644),
        LINK_UNIT: (LINKS_TEXT.format(when="by udev for each link that appears", what="%i"), 0o644),
        LINKS_RULE: (RULE_TEXT, 0o644),
    },
    (SYSTEMD + "sysinit.target.wants/ipmasq.service",),
    "systemctl enable --quiet ipmasq.service",
    "systemctl disable ipmasq.service",
    {FENCE_UNIT: (FENCE_UNIT_TEXT, 0o644)},
    "systemctl restart ipmasq-fence.service",
    ("systemctl stop ipmasq-fence.service",),
    reread="systemctl daemon-reload",
)
_OPENRC = Init(
    "OpenRC",
    {SCRIPT: (OPENRC_TEXT, 0o755)},
    {LINKS_SCRIPT: (OPENRC_LINKS_TEXT, 0o755)},
    ("/etc/runlevels/boot/ipmasq",),
    "rc-update --quiet add ipmasq boot",
    "rc-update --quiet delete ipmasq boot",
    {FENCE_SCRIPT: (OPENRC_FENCE_TEXT, 0o755)},
    "rc-service --quiet ipmasq-fence restart",
    ("rc-service --quiet --ifstarted ipmasq-fence stop", "rc-update --quiet delete ipmasq-fence boot"),
    "rc-update --quiet add ipmasq-links default",
    "rc-update --quiet delete ipmasq-links default",
    "rc-update --quiet add ipmasq-fence boot",
)
_SYSV = Init(
    "sysvinit",
    {SCRIPT: (SYSV_TEXT, 0o755)},
    {LINKS_SCRIPT: (SYSV_LINKS_TEXT, 0o755)},
    ("/etc/rcS.d/S*ipmasq", "/etc/runlevels/sysinit/ipmasq"),
    "update-rc.d ipmasq defaults",
    # It looks at the script, so that has to be there still.
    "update-rc.d -f ipmasq remove",
    {FENCE_SCRIPT: (SYSV_FENCE_TEXT, 0o755)},
    "/etc/init.d/ipmasq-fence restart",
    ("/etc/init.d/ipmasq-fence stop", "update-rc.d -f ipmasq-fence remove"),
    "update-rc.d ipmasq-links defaults",
    "update-rc.d -f ipmasq-links remove",
    "update-rc.d ipmasq-fence defaults",
)


def init_of(host: Sight) -> t.Optional[Init]:
    """None: nobody that we know, and the user is told to run the loader.

    Where none of them runs (an image is being made), it is the one that is installed as init: only OpenRC and sysvinit
    have an inittab.
    """
    if host.exists("/run/systemd/system"):
        return _SYSTEMD
    if host.exists("/lib/systemd/systemd") and not host.exists("/etc/inittab"):
        return _SYSTEMD
    # Debian's OpenRC has no runlevel "boot", and knows the scripts of sysvinit.
    if host.exists("/etc/init.d") and host.which("update-rc.d"):
        return _SYSV
    if host.exists("/sbin/openrc-run") or host.exists("/usr/sbin/openrc-run"):
        return _OPENRC
    return None


def files_of(init: t.Optional[Init], links: bool, fence: bool, host: Sight) -> Files:
    if not init:
        return {}
    found = dict(init.files)
    if host.exists(PLUGINS):
        found.update(PLUGIN_FILES)
    if fence:
        found.update(init.fence)
    if links:
        found.update({path: each for path, each in init.links.items() if path != LINKS_RULE})
        if LINKS_RULE in init.links and host.exists("/etc/udev/rules.d"):
            found[LINKS_RULE] = init.links[LINKS_RULE]
    if init is _SYSTEMD:
        for name, words in NEIGHBOURS.items():
            places = ["{0}{1}.service".format(folder, name) for folder in UNITS]
            unit = next((path for path in places if host.exists(path)), "")
            if unit:
                found[drop_in(name)] = (_drop_in_text(name, words, host.read(unit) or ""), 0o644)
    return found


def _drop_in_text(name: str, words: str, unit: str) -> str:
    reload = RELOAD_TEXT.format(words=words) if name in RELOADED else ""
    before = BEFORE_TEXT if name in SAVED else ""
    stop = ""
    if name in FLUSHING:
        before += "ExecStartPre={0}\n".format(CLOSE)
        stop = _closed_first("ExecStop", unit)
        reload = (_closed_first("ExecReload", unit) if reload else "") + reload
    return DROP_IN_TEXT.format(words=words, before=before, reload=reload, stop=stop)


def _closed_first(key: str, unit: str) -> str:
    """A drop-in can only add a command behind those of the unit, so they are said anew."""
    lines = [line for line in unit.splitlines() if line.startswith(key + "=")]
    if not lines or any(line.endswith("\\") for line in lines):
        return ""
    return "".join(line + "\n" for line in [key + "=", "{0}={1}".format(key, CLOSE), *lines])


def drop_in(name: str) -> str:
    return "{0}{1}.service.d/ipmasq.conf".format(SYSTEMD, name)


#: Whatever may have been written here, to be removed with the last instance.
ALL = (UNIT, SCRIPT, *(drop_in(name) for name in NEIGHBOURS), *PLUGIN_FILES)
ALL_FENCE = (FENCE_UNIT, FENCE_SCRIPT)
ALL_LINKS = (LINKS_UNIT, LINK_UNIT, LINKS_RULE, LINKS_SCRIPT)


def is_enabled(init: Init, host: Sight) -> bool:
    return any(host.find(pattern) for pattern in init.enabled)


def lines(
    init: t.Optional[Init], changed: t.Collection[str], stale: t.Collection[str], enable: bool
) -> t.Tuple[t.Tuple[str, ...], t.Tuple[str, ...]]:
    """Lines of shell before and after the files are moved."""
    if not init:
        return (), ()
    before, after = [], []
    ours, linked = set(init.files), set(init.links)
    if ours & set(stale):
        before.append(init.disable)
    if init.disable_links and linked & set(stale):
        before.append(init.disable_links)
    if set(init.fence) & set(stale):
        before += init.drop_fence
    if init.reread and (ours | linked | set(init.fence) | set(ALL)) & (set(changed) | set(stale)):
        after.append(init.reread)
    if enable:
        after.append(init.enable)
    if init.enable_links and linked & set(changed):
        after.append(init.enable_links)
    if set(init.fence) & set(changed):
        after += [init.enable_fence] * bool(init.enable_fence) + [init.restart_fence_line]
    return tuple(before), tuple(after)
