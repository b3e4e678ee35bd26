# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Everything on a gateway that the collection may touch, to compare before and after.

As a program: write the snapshots of all gateways of the lab in the given folder.
"""

from __future__ import annotations

import json
import os
import re
import sys
import typing as t
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import labtalk

FILES = r"""
find /etc -xdev -type f -exec sha256sum {} +
find /etc -xdev -printf '%M %U:%G %p -> %l\n'
"""
UNITS = "systemctl list-unit-files --state=enabled --no-legend | awk '{print $1}'"
COMMENT = re.compile(r"^#.*\n?", re.MULTILINE)
UNTOUCHED_CHAIN = re.compile(r":[A-Z]+ ACCEPT")
COUNTERS = re.compile(r"\[\d+:\d+\]")
# Docker's veth links have a new name after each start.
CABLE = re.compile(r"\bveth[0-9a-f]{7}\b")
# Changed by the kernel itself: it makes the key when somebody first listens for TCP Fast Open, as dnsmasq does.
MOVING_SYSCTL = re.compile(r"^net\.(netfilter\.nf_conntrack_count|ipv4\.tcp_fastopen_key) ")


def lines(text: str) -> list[str]:
    return sorted(line for line in CABLE.sub("veth", text).splitlines() if line.strip())


def tables(text: str) -> list[str]:
    """Rules without the numbers that count packets, and without comments, which have the date.

    A table of the legacy variant, once looked at, exists until the next boot: without chains of its own, without
    rules and with every policy ACCEPT it has no effect.
    """
    found: list[str] = []
    for part in COMMENT.sub("", text).split("COMMIT"):
        rows = [COUNTERS.sub("", row).strip() for row in part.splitlines() if row.strip()]
        if any(not row.startswith("*") and not UNTOUCHED_CHAIN.fullmatch(row) for row in rows):
            found += rows
    return found


def take(node: labtalk.Node) -> dict[str, t.Any]:
    sysctls = lines(node.run("sysctl", "-a", "--pattern", r"^net\.").stdout)
    return {
        "nft": node.must("nft", "--stateless", "list", "ruleset").splitlines(),
        "iptables": tables(node.must("iptables-save")),
        "ip6tables": tables(node.must("ip6tables-save")),
        "sysctl": [line for line in sysctls if not MOVING_SYSCTL.match(line)],
        "files in /etc": lines(node.must("sh", "-c", FILES)),
        "enabled units": lines(node.must("sh", "-c", UNITS)),
        "routes": lines(node.must("ip", "route")) + lines(node.must("ip", "-6", "route")),
    }


def path(node: labtalk.Node) -> Path:
    return labtalk.directory() / f"before-{node.name}.json"


def main() -> None:
    os.environ["LAB_DIRECTORY"] = sys.argv[1]
    for gateway in labtalk.load().gateways:
        path(gateway).write_text(json.dumps(take(gateway), indent=1))


if __name__ == "__main__":
    main()
