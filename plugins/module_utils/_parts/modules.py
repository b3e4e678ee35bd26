# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""The kernel's modules that conntrack helpers need for NAT. Rules load the others by themselves."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from .._intent.helpers import check_known, modules_for
from .part import NOTHING, Part

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.host import Host, Sight
    from .._resolve.resolved import Resolved
    from .part import Delta, Scene


@dataclass(frozen=True)
class Modules:
    names: t.Tuple[str, ...] = ()  # the kernel's, loaded before the rules


class _ModulesPart(Part[Modules]):
    """Modules stay loaded: others may use them by then."""

    def want(self, gateway: Resolved, was: Modules, scene: Scene, sight: Sight) -> t.Tuple[Modules, t.Tuple[str, ...]]:
        names = [item.name for item in gateway.helpers]
        if scene.plan.changed:
            check_known(names, sight)
        return Modules(tuple(modules_for(names))), ()

    def plan(self, was: Modules, want: Modules, scene: Scene, sight: Sight) -> Delta:
        return NOTHING

    def apply(self, delta: Delta, want: Modules, scene: Scene, host: Host) -> t.Tuple[str, ...]:
        """A kernel with built-in modules, or a container without modprobe, needs none."""
        for name in want.names:
            if host.which("modprobe"):
                host.run(["modprobe", "-q", name])
        return ()

    def boot_lines(self, want: Modules, scene: Scene) -> t.Tuple[str, ...]:
        return tuple("modprobe -q {0} || true".format(name) for name in want.names)


MODULES = _ModulesPart("modules", Modules())
