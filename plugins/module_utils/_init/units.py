# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Units of systemd: they run the loader at boot, hold the fence, and serve links that appear."""

from __future__ import annotations

SYSTEMD = "/etc/systemd/system/"
#: Where units are, those that hide others first.
UNITS = (
    SYSTEMD,
    "/run/systemd/system/",
    "/usr/local/lib/systemd/system/",
    "/lib/systemd/system/",
    "/usr/lib/systemd/system/",
)
UNIT = SYSTEMD + "ipmasq.service"
FENCE_UNIT = SYSTEMD + "ipmasq-fence.service"
LINKS_UNIT = SYSTEMD + "ipmasq-links.service"
LINK_UNIT = SYSTEMD + "ipmasq-links@.service"
SERVICES_UNIT = SYSTEMD + "ipmasq-services@.service"
METRICS_UNIT = SYSTEMD + "ipmasq-metrics@.service"
METRICS_TIMER = SYSTEMD + "ipmasq-metrics@.timer"
LINKS_RULE = "/etc/udev/rules.d/90-ipmasq.rules"
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
#: The end of every unit that runs more than once: what none of them needs.
SANDBOX = """\
NoNewPrivileges=yes
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
#: Rules that others have saved may hold our table, which nobody but its owner may load: theirs come first.
FENCE_UNIT_TEXT = (
    """\
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
RestrictAddressFamilies=AF_NETLINK AF_UNIX
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
"""
    + SANDBOX
)
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
