# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Timers and the size of the table: what is set, from memory or by number, and what a container cannot set."""

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._conntrack import BUCKETS, MAX, TIMEOUTS, switches
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
