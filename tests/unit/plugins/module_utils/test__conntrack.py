# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Timers and the size of the table: what is set, what a container cannot set; and how full the table is."""

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._conntrack import (
    BUCKETS,
    MAX,
    STATISTICS,
    TIMEOUTS,
    switches,
    usage,
)
from ansible_collections.ipmasq.linux.plugins.module_utils._host import Done
from ansible_collections.ipmasq.linux.tests.unit import fakes


def host_with(memory_kb=None, read_only=()):
    host = fakes.FakeHost(fakes.NFT)
    host.files["/proc/sys/" + MAX] = "262144\n"
    if memory_kb:
        host.files["/proc/meminfo"] = "MemTotal:       {0} kB\nMemFree: 1 kB\n".format(memory_kb)
    host.locked = tuple("/proc/sys/" + key for key in read_only)
    return host


def test_timers():
    found, notes = switches("keep", (("udp", 300), ("icmp", 60)), host_with())
    assert found == [
        ("net/netfilter/nf_conntrack_udp_timeout", "300"),
        ("net/netfilter/nf_conntrack_icmp_timeout", "60"),
    ]
    assert notes == ()


@pytest.mark.parametrize(
    ("wanted", "memory_kb", "size", "buckets"),
    [
        ("100000", None, "100000", "100352"),
        ("262144", None, "262144", "262144"),
        ("auto", 512 * 1024, "65536", "65536"),
        ("auto", 8 * 1024 * 1024, "1048576", "1048576"),
        ("auto", 1024**3, "4194304", "4194304"),
        ("auto", None, "65536", "65536"),
    ],
)
def test_size(wanted, memory_kb, size, buckets):
    found, notes = switches(wanted, (), host_with(memory_kb))
    # The buckets first: a table that is full of long chains is slow.
    assert found == [(BUCKETS, buckets), (MAX, size)]
    assert notes == ()


def test_read_only_is_skipped_with_a_reason():
    found, notes = switches("auto", (("udp", 300),), host_with(read_only=[MAX]))
    assert found == [(TIMEOUTS["udp"], "300")]
    assert notes == ("conntrack_max: skipped, it is read-only here; set it on the machine that runs this container",)


TABLE = """entries  clashres found new invalid ignore delete chainlength insert insert_failed drop early_drop icmp_error
00000064  00000000 0000000a 00000000 00000000 00000000 00000000 00000000 00000000 00000010 00000012 00000001 00000000
00000064  00000000 0000000b 00000000 00000000 00000000 00000000 00000000 00000000 00000001 00000000 00000000 00000000
"""
TOLD = "cpu=0 found=0 insert_failed=5 drop=7 early_drop=0\ncpu=1 found=0 insert_failed=1 drop=0 early_drop=2\n"
NOTHING = dict.fromkeys(("count", "max", "percent", "buckets", "drop", "early_drop", "insert_failed"))


def test_usage():
    host = host_with()
    host.files.update({
        "/proc/sys/" + MAX: "1000\n",
        "/proc/sys/net/netfilter/nf_conntrack_count": "199\n",
        "/proc/sys/" + BUCKETS: "1024\n",
        STATISTICS: TABLE,
    })  # fmt: skip
    assert usage(host) == {
        "count": 199, "max": 1000, "percent": 19, "buckets": 1024, "drop": 18, "early_drop": 1, "insert_failed": 17,
    }  # fmt: skip


def test_usage_without_a_limit():
    host = host_with()
    host.files.update({"/proc/sys/" + MAX: "0\n", "/proc/sys/net/netfilter/nf_conntrack_count": "5\n"})
    assert usage(host)["percent"] is None


def test_usage_where_nothing_is_tracked():
    host = fakes.FakeHost(("nft", "ip"))
    assert usage(host) == NOTHING


@pytest.mark.parametrize(
    ("done", "counted"),
    [(Done(0, TOLD, ""), (7, 2, 6)), (Done(1, "", "no such device"), (None, None, None))],
)
def test_usage_as_conntrack_tells_it(done, counted, monkeypatch):
    """A kernel without the file, which is on its way out (CONFIG_NF_CONNTRACK_PROCFS)."""
    host = fakes.FakeHost(fakes.NFT)
    monkeypatch.setattr(host, "run", lambda argv, stdin=None: done)
    found = usage(host)
    assert (found["drop"], found["early_drop"], found["insert_failed"]) == counted
