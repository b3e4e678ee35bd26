# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: part of ipmasq.linux, may change in any release. Do not import it from outside the collection.

"""Connection tracking on a host: its timers, the size of its table, and the connections in it.

Source: Documentation/networking/nf_conntrack-sysctl.rst, conntrack(8)
"""

from __future__ import annotations

import re
import typing as t

from ._flows import parse
from ._words import CONNTRACK as PREFIX, TIMEOUTS

if t.TYPE_CHECKING:  # pragma: no cover
    from ._flows import Flow
    from ._host import Host

MAX, BUCKETS = PREFIX + "max", PREFIX + "buckets"
#: A connection costs about 400 bytes with NAT and its two places in the table (measured with slabtop, Linux 6.x);
#: "auto" gives connections a sixteenth of the memory.
BYTES = 400
SHARE = 16
LEAST, MOST = 65536, 4194304
PAGE = 512
STATISTICS = "/proc/net/stat/nf_conntrack"
#: Counters that say that something was refused: a flow without room, one thrown out to make room, one without a port.
TELLING = ("drop", "early_drop", "insert_failed")

Switches = t.List[t.Tuple[str, str]]


def switches(maximum: str, timeouts: t.Iterable[t.Tuple[str, int]], host: Host) -> t.Tuple[Switches, t.Tuple[str, ...]]:
    """What to set, and a note for what this host does not let be set."""
    found = [(TIMEOUTS[name], str(seconds)) for name, seconds in timeouts]
    if maximum == "keep":
        return found, ()
    if host.exists("/proc/sys/" + MAX) and not host.writable("/proc/sys/" + MAX):
        # The table belongs to the first network namespace: containers can read its size only.
        return found, ("conntrack_max: skipped, it is read-only here; set it on the machine that runs this container",)
    size = _from_memory(host) if maximum == "auto" else int(maximum)
    # One bucket for each connection, the kernel's own ratio since Linux 5.15; it fills whole pages (64 bit, 4 KiB).
    buckets = -(-size // PAGE) * PAGE
    return [(BUCKETS, str(buckets)), (MAX, str(size))] + found, ()


def option_of(key: str) -> str:
    """What a user calls this switch."""
    names = {switch: "timeouts." + name for name, switch in TIMEOUTS.items()}
    return names.get(key, "conntrack_max")


def _from_memory(host: Host) -> int:
    """The power of two below this share of the memory."""
    given = re.search(r"^MemTotal:\s+([0-9]+) kB", host.read("/proc/meminfo") or "", re.MULTILINE)
    fitting = int(given.group(1)) * 1024 // SHARE // BYTES if given else LEAST
    size = LEAST
    while size * 2 <= min(fitting, MOST):
        size *= 2
    return size


def flows(host: Host) -> t.Optional[t.List[Flow]]:
    """Every connection that the host knows, None if it cannot be asked."""
    if not host.which("conntrack"):
        return None
    listings = [host.run(["conntrack", "-L", "-f", family]) for family in ("ipv4", "ipv6")]
    if any(done.rc != 0 for done in listings):
        return None
    # 1.4.7 shows both families when asked for one; a connection is counted once.
    return list(dict.fromkeys(flow for done in listings for flow in parse(done.out)))


def usage(host: Host) -> t.Dict[str, t.Optional[int]]:
    """How full the table is, and what was refused because it was; None for what this kernel does not tell."""
    count, maximum, buckets = (_number(host, PREFIX + name) for name in ("count", "max", "buckets"))
    found: t.Dict[str, t.Optional[int]] = {"count": count, "max": maximum, "percent": None, "buckets": buckets}
    if count is not None and maximum:  # 0: no limit
        found["percent"] = count * 100 // maximum
    counted = _statistics(host)
    found.update((name, counted.get(name)) for name in TELLING)
    return found


def _number(host: Host, key: str) -> t.Optional[int]:
    text = (host.read("/proc/sys/" + key) or "").strip()
    return int(text) if text.isdigit() else None


def _statistics(host: Host) -> t.Dict[str, int]:
    """The kernel's counters, summed over the processors: from its file, or from conntrack where it has none."""
    lines = [line.split() for line in (host.read(STATISTICS) or "").splitlines()]
    if lines:
        cells = [(name, int(value, 16)) for line in lines[1:] for name, value in zip(lines[0], line)]
    else:
        done = host.run(["conntrack", "-S"]) if host.which("conntrack") else None
        text = done.out if done and done.rc == 0 else ""
        cells = [(name, int(value)) for name, value in re.findall(r"([a-z_]+)=([0-9]+)", text)]
    found: t.Dict[str, int] = {}
    for name, value in cells:
        found[name] = found.get(name, 0) + value
    return found


def forget(listed: t.Sequence[Flow], host: Host) -> None:
    """Delete these connections. One that has ended meanwhile is no error."""
    lines = [["-D"] + flow.delete_words for flow in listed]
    done = host.run(["conntrack", "--load-file", "-"], stdin="".join(" ".join(line) + "\n" for line in lines))
    if done.rc != 0:
        # Before 1.4.7 there is no such option.
        for line in lines:
            host.run(["conntrack"] + line)
