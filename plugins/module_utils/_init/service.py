# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Who runs the loader: systemd, OpenRC or sysvinit; and which files and commands that takes."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from . import drop_ins
from .scripts import (
    FENCE_SCRIPT,
    LINKS_SCRIPT,
    OPENRC_FENCE_TEXT,
    OPENRC_LINKS_TEXT,
    OPENRC_TEXT,
    SCRIPT,
    SYSV_FENCE_TEXT,
    SYSV_LINKS_TEXT,
    SYSV_TEXT,
)
from .units import (
    FENCE_UNIT,
    FENCE_UNIT_TEXT,
    LINK_UNIT,
    LINKS_RULE,
    LINKS_TEXT,
    LINKS_UNIT,
    METRICS_TIMER,
    METRICS_UNIT,
    RULE_TEXT,
    SERVICES_UNIT,
    SYSTEMD,
    UNIT,
    UNIT_TEXT,
)

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.host import Sight
    from .drop_ins import Files

LOADER = "/etc/ipmasq/boot"


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


#: Nothing but boot needs an order of units. The job of a service that loads rules may run the loader, which may wait
#: for this start, or for a lock that its caller holds; systemd would wait for that job first (measured: without end).
RESTART_FENCE = "systemctl --job-mode=ignore-dependencies restart ipmasq-fence.service"
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
    RESTART_FENCE,
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
#: What somebody has disabled stays so by "defaults" alone.
ENABLE = "update-rc.d {0} defaults && update-rc.d {0} enable"
_SYSV = Init(
    "sysvinit",
    {SCRIPT: (SYSV_TEXT, 0o755)},
    {LINKS_SCRIPT: (SYSV_LINKS_TEXT, 0o755)},
    ("/etc/rcS.d/S*ipmasq", "/etc/runlevels/sysinit/ipmasq"),
    ENABLE.format("ipmasq"),
    # It looks at the script, so that must still be there.
    "update-rc.d -f ipmasq remove",
    {FENCE_SCRIPT: (SYSV_FENCE_TEXT, 0o755)},
    "/etc/init.d/ipmasq-fence restart",
    ("/etc/init.d/ipmasq-fence stop", "update-rc.d -f ipmasq-fence remove"),
    ENABLE.format("ipmasq-links"),
    "update-rc.d -f ipmasq-links remove",
    ENABLE.format("ipmasq-fence"),
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
    if fence:
        found.update(init.fence)
    if links:
        found.update({path: each for path, each in init.links.items() if path != LINKS_RULE})
        if LINKS_RULE in init.links and host.exists("/etc/udev/rules.d"):
            found[LINKS_RULE] = init.links[LINKS_RULE]
    found.update(drop_ins.files_of(init is _SYSTEMD, host))
    return found


def remarks(init: t.Optional[Init], host: Sight) -> t.Tuple[str, ...]:
    return drop_ins.remarks(init is _SYSTEMD, host)


#: What earlier releases wrote, and no run needs.
OLD = drop_ins.OLD
#: Whatever may have been written here, to be removed with the last instance.
ALL = (UNIT, SCRIPT, SERVICES_UNIT, METRICS_UNIT, METRICS_TIMER, *drop_ins.ALL)
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
