# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Time in tests: a busy machine does everything later, which is not an error."""

from __future__ import annotations

import math
import os
import time
import typing as t


def slowness() -> float:
    """How much longer than alone a process takes here: runnable processes for each processor."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def patience() -> float:
    """Seconds to wait for something that should happen at once, or never."""
    return min(0.4 * slowness(), 3)


def slowed(seconds: int) -> int:
    """Seconds of a timer that must not run out while the next step of a test is on its way."""
    return math.ceil(seconds * min(slowness(), 10))


def wait_until(true: t.Callable[[], object], what: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def wait_for_server(server, node, port: int) -> None:
    """Until TCP connections to the port are accepted in this namespace; a server that ends is reported at once."""

    def serves() -> bool:
        assert server.poll() is None, server.stdout.read() if server.stdout else server.returncode
        return bool(node.sh("ss -Hltn 'sport = :{0}'".format(port)).strip())

    wait_until(serves, "nobody serves {0}".format(port))
