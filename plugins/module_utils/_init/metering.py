# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""What runs the collector of metrics: a timer of systemd, or a loop. The loader starts it, so it needs no symlink."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from .units import METRICS_TIMER, METRICS_UNIT, SANDBOX

if t.TYPE_CHECKING:  # pragma: no cover
    from .service import Init

COLLECTOR = "/etc/ipmasq/metrics"
#: How often it runs, in seconds.
EVERY = 60
#: The user chooses the folder, so only the system itself is protected. iptables needs CAP_NET_RAW.
UNIT_TEXT = (
    """\
# Written by the Ansible collection ipmasq.linux.
[Unit]
Description=NAT gateway: metrics of instance %i
Documentation=https://github.com/ipmasq/linux

[Service]
Type=oneshot
SyslogIdentifier=ipmasq
ExecStart=/bin/sh /etc/ipmasq/metrics write %i
TimeoutStartSec=50
Nice=19
IOSchedulingClass=idle
LogLevelMax=notice
CapabilityBoundingSet=CAP_NET_ADMIN CAP_NET_RAW CAP_DAC_OVERRIDE
RestrictAddressFamilies=AF_NETLINK AF_UNIX AF_INET AF_INET6
ProtectSystem=full
ProtectKernelModules=yes
"""
    + SANDBOX
)
TIMER_TEXT = """\
# Written by the Ansible collection ipmasq.linux.
[Unit]
Description=NAT gateway: metrics of instance %i
Documentation=https://github.com/ipmasq/linux

[Timer]
OnActiveSec=0
OnUnitActiveSec={0}
AccuracySec=1
""".format(EVERY)


@dataclass(frozen=True)
class Metering:
    """How an init runs it. Commands are words for a shell, with the instance to fill in."""

    files: t.Mapping[str, t.Tuple[str, int]]  # beside the collector
    start: str
    started: str  # for a shell, also where the init does not run
    stop: str  # the same
    boot: str
    status: str  # for people


_SYSTEMD = Metering(
    {METRICS_UNIT: (UNIT_TEXT, 0o644), METRICS_TIMER: (TIMER_TEXT, 0o644)},
    "systemctl restart ipmasq-metrics@{0}.timer",
    "{{ [ ! -d /run/systemd/system ] || systemctl restart ipmasq-metrics@{0}.timer; }}",
    "{{ systemctl stop ipmasq-metrics@{0}.timer ipmasq-metrics@{0}.service 2> /dev/null || true; }}",
    "systemctl --no-block start ipmasq-metrics@{0}.timer || true",
    "systemctl status ipmasq-metrics@{0}.timer",
)
_SHELL = Metering(
    {},
    "sh /etc/ipmasq/metrics start {0}",
    "sh /etc/ipmasq/metrics start {0}",
    '{{ [ ! -e /run/ipmasq/{0}.metering ] || kill -s TERM -- "-$(cat /run/ipmasq/{0}.metering)" || true; }}',
    "sh ./metrics start {0} || true",
    "/run/ipmasq/{0}.metering has its process group",
)
PATHS = (COLLECTOR, METRICS_UNIT, METRICS_TIMER)


def metering(init: t.Optional[Init]) -> Metering:
    return _SYSTEMD if init is None or init.name == "systemd" else _SHELL
