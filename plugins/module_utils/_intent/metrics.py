# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Metrics for Prometheus: where they are written, if they are."""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass

from .._base.values import shorten

if t.TYPE_CHECKING:  # pragma: no cover
    from .._base.errors import Problems

#: Where Debian's prometheus-node-exporter reads.
FOLDER = "/var/lib/prometheus/node-exporter"
#: Scripts contain it without quotes.
PATH = re.compile(r"(?:/[A-Za-z0-9_-][A-Za-z0-9._-]*){2,}\Z")
LONGEST_PATH = 200
#: What a file written each minute must not be put among.
NOT_BELOW = ("/boot/", "/dev/", "/etc/", "/proc/", "/sys/", "/usr/")


@dataclass(frozen=True)
class Metrics:
    folder: str = ""  # empty: none are written


NO_METRICS = Metrics()


def read_metrics(mode: str, folder: t.Optional[str], problems: Problems) -> Metrics:
    if mode == "none":
        if folder is not None:
            problems.add("metrics_folder", "has no effect while metrics is none; set metrics to textfile")
        return NO_METRICS
    path = FOLDER if folder is None else folder.strip().rstrip("/")
    if not PATH.match(path) or len(path) > LONGEST_PATH:
        problems.add(
            "metrics_folder",
            "'{0}' is not an absolute path of at least two folders, of letters, digits, '.', '_' and '-'; write "
            "{1}".format(shorten(str(folder)), FOLDER),
        )
        return NO_METRICS
    if path.startswith(NOT_BELOW):
        problems.add(
            "metrics_folder",
            "{0} must not hold a file that is written each minute; write {1}".format(shorten(path), FOLDER),
        )
        return NO_METRICS
    return Metrics(path)


def describe_metrics(metrics: Metrics) -> t.List[str]:
    return ["metrics: textfile in {0}".format(metrics.folder)] if metrics.folder else []
