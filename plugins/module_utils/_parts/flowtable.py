# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""The flowtable of the rules: connections between its interfaces are offloaded.

The kernel takes interfaces that exist, so that each one joins when it appears: in a run, at boot and later.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from .._backend.nftables import flowtable
from .._base.net import matches_any
from .._base.values import is_plain_link
from .._facts.links import read_facts
from .part import NOTHING, Delta, Part, Shell, stem

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.host import Host, Sight
    from .._facts.links import Facts
    from .._resolve.resolved import Resolved
    from .part import Scene

#: Of the script that serves existing links; it ends like that of the addresses.
ENDING = ".offload.links"


@dataclass(frozen=True)
class Flowtable:
    devices: t.Tuple[str, ...] = ()  # names and patterns


def flowtable_of(gateway: Resolved) -> Flowtable:
    """What a resolved gateway needs."""
    if gateway.offload == "none":
        return Flowtable()
    wans = tuple(wan.interface for wan in gateway.wans)
    return Flowtable(wans + tuple(name for lan in gateway.lans for name in lan.interfaces))


def missing(wanted: Flowtable, present: t.Optional[t.Set[str]], facts: Facts) -> t.Tuple[str, ...]:
    """The interfaces that have to join. ``present`` are those in the flowtable; None if there is none."""
    names = sorted({interface.name for interface in facts.interfaces if is_plain_link(interface.name)})
    meant = [name for name in names if matches_any(wanted.devices, name)]
    return tuple(name for name in meant if name not in (present or ()))


def boot_text(devices: t.Sequence[str], into_flowtable: str) -> str:
    """Shell lines for the links that exist; ``into_flowtable`` is for the link ``$link``."""
    lines = [
        "while IFS=': ' read -r link _counters; do",
        '    case "$link" in',
        "    *[!A-Za-z0-9_.@-]*) ;;  # rules cannot contain this name",
        "    {0}) {1} ;;".format("|".join(devices), into_flowtable),
        "    esac",
        "done < /proc/net/dev",
    ]
    return "".join(line + "\n" for line in lines)


class _FlowtablePart(Part[Flowtable]):
    """After the rules, because a load creates the flowtable anew."""

    endings = (ENDING,)
    linked = True

    def want(
        self, gateway: Resolved, was: Flowtable, scene: Scene, sight: Sight
    ) -> t.Tuple[Flowtable, t.Tuple[str, ...]]:
        return flowtable_of(gateway), ()

    def plan(self, was: Flowtable, want: Flowtable, scene: Scene, sight: Sight) -> Delta:
        if not scene.facts or not want.devices:
            return NOTHING
        names = missing(want, flowtable.devices(scene.backend, scene.listing), scene.facts)
        lines = tuple("+ {0}: connections offloaded".format(name) for name in names)
        return Delta(lines, names, cuts=True) if names else NOTHING

    def apply(self, delta: Delta, want: Flowtable, scene: Scene, host: Host) -> t.Tuple[str, ...]:
        if scene.backend and want.devices:
            present = flowtable.devices(scene.backend, scene.backend.read(host, scene.instance))
            names = missing(want, present, read_facts(host))
            if names:
                flowtable.add(scene.instance, names, host)
        return ()

    def restore(self, delta: Delta, was: Flowtable, want: Flowtable, scene: Scene, sight: Sight) -> Shell:
        # The table is created anew, with its devices.
        return Shell((_serve(scene.instance),) if was.devices else ())

    def settle(self, was: Flowtable, want: Flowtable, scene: Scene) -> t.Tuple[str, ...]:
        # A link that appeared while the change was pending has not joined.
        return (_serve(scene.instance),) if want.devices else ()

    def boot(self, want: Flowtable, scene: Scene) -> t.Mapping[str, str]:
        if not want.devices:
            return {}
        return {ENDING: boot_text(want.devices, flowtable.line(scene.instance))}


def _serve(instance: str) -> str:
    return "sh {0}{1}".format(stem(instance), ENDING)


FLOWTABLE = _FlowtablePart("flowtable", Flowtable())
