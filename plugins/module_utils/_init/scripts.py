# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Scripts of OpenRC and sysvinit: they do what the units of systemd do."""

from __future__ import annotations

SCRIPT = "/etc/init.d/ipmasq"
LINKS_SCRIPT = "/etc/init.d/ipmasq-links"
FENCE_SCRIPT = "/etc/init.d/ipmasq-fence"
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
