# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Metrics of an instance, which a timer writes for Prometheus.

No packet depends on them, so all of it is files, and the timer starts once a change is kept. Which rules are loaded is
noted as soon as they are, so that the collector can tell if somebody changes them, also before the change is kept.
"""

from __future__ import annotations

import posixpath
import shlex
import typing as t
from dataclasses import dataclass

from .._base.errors import GatewayError, printable
from .._init.metering import COLLECTOR, PATHS, metering
from .._services.collector import TEXT
from .._services.metrics import config
from .part import NOTHING, Delta, Part, Shell

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.host import Host, Sight
    from .._init.service import Init
    from .._resolve.resolved import Resolved
    from .part import Scene

ENDING = ".metrics"


@dataclass(frozen=True)
class Metrics:
    folder: str = ""
    text: str = ""  # for the collector; empty: no metrics
    made: t.Tuple[str, ...] = ()  # folders that were not there before, the innermost first


def check_measurable(gateway: Resolved, init: t.Optional[Init], sight: Sight) -> None:
    """Raises GatewayError if nothing here can write metrics where they are wanted."""
    if not gateway.metrics.folder:
        return
    if init is None:
        raise GatewayError(
            "metrics: this host has neither systemd nor OpenRC nor sysvinit, so nothing here starts what writes them; "
            "set metrics to none"
        )
    for path in _above(gateway.metrics.folder):
        if sight.exists(path) and not sight.exists(path + "/."):
            raise GatewayError("metrics_folder: {0} is not a folder; name another one, or remove it".format(path))
        to = sight.link(path)
        if to:
            said = "metrics_folder: {0} is a link to {1}; name the folder that it leads to"
            raise GatewayError(said.format(path, printable(to)))


class _MetricsPart(Part[Metrics]):
    """The last one: it describes all the others."""

    endings = (ENDING,)

    def places(self, instance: str) -> t.Tuple[str, ...]:
        return PATHS

    def want(self, gateway: Resolved, was: Metrics, scene: Scene, sight: Sight) -> t.Tuple[Metrics, t.Tuple[str, ...]]:
        folder = gateway.metrics.folder
        if not folder:
            return Metrics(), ()
        made = was.made if was.folder == folder else tuple(each for each in _above(folder) if not sight.exists(each))
        return Metrics(folder, config(gateway, scene.backend.programs if scene.backend else ""), made), ()

    def salvage(self, instance: str, sight: Sight) -> Metrics:
        text = sight.read("/etc/ipmasq/{0}{1}".format(instance, ENDING)) or ""
        folders = [line.partition(" ")[2] for line in text.splitlines() if line.startswith("folder /")]
        return Metrics(folders[0], text) if folders else Metrics()

    def plan(self, was: Metrics, want: Metrics, scene: Scene, sight: Sight) -> Delta:
        """Only what no change of files brings about: a timer that somebody has stopped."""
        if not want.text or was != want or _runs(scene, sight):
            return NOTHING
        return Delta(("~ metrics: written again",), want, drifted=True)

    def apply(self, delta: Delta, want: Metrics, scene: Scene, host: Host) -> t.Tuple[str, ...]:
        if want.text and scene.backend:
            # The collector may not be there yet. What differs from the change by now, ``verify`` of the rules sees.
            words = ("digest", scene.instance, scene.backend.programs)
            host.write(_noted(scene.instance), host.run(["sh", "-c", TEXT, COLLECTOR, *words]).out, 0o600)
        if delta.do is None:
            return ()
        by = metering(scene.init)
        if host.run(by.start.format(scene.instance).split()).rc == 0:
            return ()
        return ("metrics are not written ({0})".format(by.status.format(scene.instance)),)

    def verify(self, was: Metrics, want: Metrics, scene: Scene, sight: Sight) -> None:
        """A gateway without metrics is still a gateway; a warning says so."""

    def restore(self, delta: Delta, was: Metrics, want: Metrics, scene: Scene, sight: Sight) -> Shell:
        """Until then, nobody reads what was noted."""
        return Shell(("rm -f " + _noted(scene.instance),) if want.text else ())

    def settle(self, was: Metrics, want: Metrics, scene: Scene) -> t.Tuple[str, ...]:
        by, lines = metering(scene.init), []
        if was.text and was.folder != want.folder:
            if not want.text:
                lines.append(by.stop.format(scene.instance))
            lines.append("rm -f {0}".format(shlex.quote(_file(was.folder, scene.instance))))
            lines += ["{{ rmdir {0} 2> /dev/null || true; }}".format(shlex.quote(path)) for path in was.made]
        if not want.text:
            return tuple(
                lines
                + ["rm -f /run/ipmasq/{0}.loaded /run/ipmasq/{0}.metering".format(scene.instance)] * bool(was.text)
            )
        noted = _noted(scene.instance)
        record = "{{ [ ! -e {0} ] || mv -f {0} {1}; }}".format(noted, "/run/ipmasq/{0}.loaded".format(scene.instance))
        return (*lines, record, by.started.format(scene.instance))

    def boot(self, want: Metrics, scene: Scene) -> t.Mapping[str, str]:
        return {ENDING: want.text} if want.text else {}

    def boot_lines(self, want: Metrics, scene: Scene) -> t.Tuple[str, ...]:
        """Without them, the host is still a gateway."""
        if not want.text:
            return ()
        return (
            "sh ./metrics record {0} || true".format(scene.instance),
            metering(scene.init).boot.format(scene.instance),
        )

    def files(self, want: Metrics, scene: Scene) -> t.Mapping[str, t.Tuple[str, int]]:
        return {COLLECTOR: (TEXT, 0o700), **metering(scene.init).files} if want.text else {}

    def drift(self, known: Metrics, scene: Scene, sight: Sight) -> t.List[str]:
        if not known.text or _runs(scene, sight):
            return []
        return ["- metrics: not written ({0})".format(metering(scene.init).status.format(scene.instance))]


def _file(folder: str, instance: str) -> str:
    return "{0}/ipmasq-{1}.prom".format(folder, instance)


def _noted(instance: str) -> str:
    """A digest of the rules that a change has loaded."""
    return "/run/ipmasq/{0}.loading".format(instance)


def _above(folder: str) -> t.List[str]:
    """This folder, and those that it is in, the innermost first."""
    found = []
    while folder != "/":
        found.append(folder)
        folder = posixpath.dirname(folder)
    return found


def _runs(scene: Scene, sight: Sight) -> bool:
    """Whether something writes them. Where systemd does not run, such as in an image, nothing has to."""
    if metering(scene.init).files:
        timer = "ipmasq-metrics@{0}.timer".format(scene.instance)
        return not sight.exists("/run/systemd/system") or sight.ask(["systemctl", "is-active", timer]).rc == 0
    group = (sight.read("/run/ipmasq/{0}.metering".format(scene.instance)) or "").strip()
    return group.isdigit() and "write" in (sight.read("/proc/{0}/cmdline".format(group)) or "")


METRICS = _MetricsPart("metrics", Metrics())
