# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Timers and the size of the table: what is set, what a container cannot set; and how full the table is."""

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._base import netlink
from ansible_collections.ipmasq.linux.plugins.module_utils._base.host import Done
from ansible_collections.ipmasq.linux.plugins.module_utils._flows import conntrack
from ansible_collections.ipmasq.linux.plugins.module_utils._flows.conntrack import (
    BUCKETS,
    MAX,
    STATISTICS,
    TIMEOUTS,
    Found,
    commands,
    forget,
    script,
    switches,
    usage,
    wrong,
)
from ansible_collections.ipmasq.linux.plugins.module_utils._flows.groups import Groups
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
    assert notes == (
        "conntrack_max: skipped, because it is read-only here; set it on the machine that runs this container",
    )


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
    """A kernel without the file, which is deprecated (CONFIG_NF_CONNTRACK_PROCFS)."""
    host = fakes.FakeHost(fakes.NFT)
    monkeypatch.setattr(host, "run", lambda argv, stdin=None: done)
    found = usage(host)
    assert (found["drop"], found["early_drop"], found["insert_failed"]) == counted


# --- Connections ------------------------------------------------------------------------------------------------------


class Kernel:
    """A socket to a kernel with prepared answers."""

    def __init__(self, *answers):
        self.sent, self.answers = [], list(answers)

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        return None

    def send(self, data):
        self.sent.append(data)

    def receive(self):
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


class Everything:
    """A judge that finds every connection wrong."""

    helpers = False
    local = frozenset()

    def wrong(self, *_args):
        return True

    def far_end(self, _entry):
        return None


UDP = "udp 17 9 src=192.168.1.9 dst=192.0.2.1 sport=5 dport=53 src=192.0.2.1 dst=203.0.113.2 sport=53 dport=5\n"
OTHER_ZONE = UDP.replace("dport=5\n", "dport=5 zone=7\n")
DELETION = netlink.message(netlink.DELETE, netlink.REQUEST, 2)


def answer(number, error):
    return netlink.HEADER.pack(20, netlink.ERROR, 0, number, 0) + (-error).to_bytes(4, "little", signed=True)


def tracking(*answers, listing=""):
    host = host_with()
    host.files["/proc/sys/net/netfilter/nf_conntrack_count"] = "1\n"
    host.connections = listing
    kernel = Kernel(*answers)
    host.kernel = lambda _protocol: kernel
    return host, kernel


@pytest.mark.parametrize(
    "refusal", [OSError(1, "no"), TimeoutError(), answer(0, 1)], ids=["socket", "silence", "error"]
)
def test_where_netlink_is_refused_the_program_is_asked(refusal):
    host, _kernel = tracking(refusal, listing=UDP + OTHER_ZONE)
    found = wrong(Everything, host)
    assert found.words == ("-p udp --orig-src 192.168.1.9 --orig-dst 192.0.2.1 --sport 5 --dport 53",)
    assert (found.looked, found.whole) == (True, True)


@pytest.mark.parametrize("programs", [("ip",), ("ip", "conntrack")])
def test_where_nobody_tells_that_is_known(programs):
    host, _kernel = tracking(OSError(1, "no"))
    host.programs = set(programs)
    host.answers["conntrack -L"] = Done(1, "", "no")
    assert not wrong(Everything, host).looked


def test_what_the_kernel_refuses_is_left():
    """A connection that has ended in the meantime does not count as a refusal."""
    host, kernel = tracking(answer(0, netlink.ENOENT) + answer(0, 16), answer(1, 16))
    assert forget(Found(messages=(DELETION,) * 3), host) == 2
    assert len(kernel.sent) == 1


def test_what_a_kernel_does_not_answer_is_left():
    host, _kernel = tracking(answer(1, 0), TimeoutError())
    assert forget(Found(messages=(DELETION,) * (netlink.BATCH + 1)), host) == 1


def test_what_the_time_does_not_suffice_for_is_left(monkeypatch):
    monkeypatch.setattr(conntrack, "LONGEST", -1)
    host, kernel = tracking()
    assert forget(Found(messages=(DELETION,)), host) == 1
    assert forget(Found(words=("-p udp",)), host) == 1
    assert kernel.sent == []


def test_scripts_end_and_tell():
    assert script(Found(), "lab") == commands(Groups(), "lab") == ""
    text = commands(Groups(("-f ipv4 -p tcp -g",), left=3), "lab")
    assert "\nD -f ipv4 -p tcp -g\n" in text
    assert "left=3" in text
    assert '"lab: $left groups' in text
    assert "\nD -p udp\n" in script(Found(words=("-p udp",)), "lab")
    assert text.endswith('rm -f "$0"\n')
