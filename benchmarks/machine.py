# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The machine that measured, without which no figure means anything. Nothing here identifies it."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import time
from importlib import metadata
from pathlib import Path

#: What to call, and what to look for in the answer.
VERSIONS = {
    "nft": (["nft", "--version"], r"v([\d.]+)"),
    "iptables": (["iptables", "--version"], r"v(.+)"),
    "iproute2": (["ip", "-V"], r"iproute2-([\d.]+)"),
    "podman": (["podman", "--version"], r"([\d.]+)"),
    "iperf3": (["iperf3", "--version"], r"iperf ([\d.]+)"),
    "trafgen": (["trafgen", "--version"], r"trafgen ([\d.]+)"),
    "wrk": (["wrk", "--version"], r"wrk (?:debian/)?([\d.]+)"),
}
PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


def describe() -> dict[str, str]:
    """Name of a property to its value, in the order in which people ask."""
    found = {
        "processor": f"{os.cpu_count()} × {_first(r'model name.*?: *(.+)', '/proc/cpuinfo') or platform.machine()}",
        "memory": f"{int(_first(r'MemTotal: *([0-9]+)', '/proc/meminfo') or 0) / 1024**2:.0f} GiB",
        "system": _first(r'PRETTY_NAME="?([^"\n]+)', "/etc/os-release"),
        "kernel": platform.release(),
        "Python": platform.python_version(),
        "ansible-core": _package("ansible-core"),
    }
    found.update((name, _version(command, pattern)) for name, (command, pattern) in VERSIONS.items())
    return found


def in_use(seconds: float = 2.0) -> float:
    """The share of all processors' time that others use just now, from 0 to 1 (proc_stat(5): all but idle, iowait)."""

    def read() -> tuple[int, int]:
        ticks = [int(each) for each in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
        return sum(ticks), ticks[3] + ticks[4]

    before = read()
    time.sleep(seconds)
    whole, idle = (later - earlier for later, earlier in zip(read(), before, strict=True))
    return 1 - idle / whole if whole else 0.0


def _first(pattern: str, path: str) -> str:
    try:
        found = re.search(pattern, Path(path).read_text(encoding="utf-8"))
    except OSError:
        return ""
    return found.group(1).strip() if found else ""


def _package(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def _version(command: list[str], pattern: str) -> str:
    program = shutil.which(command[0], path=PATH)
    if not program:
        return "not installed"
    done = subprocess.run([program, *command[1:]], capture_output=True, text=True, check=False)
    found = re.search(pattern, done.stdout + done.stderr)
    return found.group(1).strip() if found else "unknown"
