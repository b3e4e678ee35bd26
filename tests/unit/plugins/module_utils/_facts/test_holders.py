# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who holds a port: read from /proc, with the name of the process and of its unit."""

from __future__ import annotations

import ipaddress
import struct
import sys

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._base import netlink
from ansible_collections.ipmasq.linux.plugins.module_utils._base.sockets import LISTS, SOCK_DIAG
from ansible_collections.ipmasq.linux.plugins.module_utils._facts.holders import Holder, holders, listening
from ansible_collections.ipmasq.linux.tests.unit import fakes

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
pytestmark = pytest.mark.skipif(sys.byteorder == "big", reason="the tables are those of a little-endian machine")
LAN, LAN6 = "0101A8C0", "000000FD00000000000000000100000000"[:32]


def line(address, port, state, inode):
    return " 0: {0}:{1:04X} 00000000:0000 {2} 00000000:00000000 00:00000000 00000000 0 0 {3} 2\n".format(
        address, port, state, inode
    )


def host_with(**tables):
    host = fakes.FakeHost(files={"/proc/net/" + name: HEAD + text for name, text in tables.items()})
    host.files.update({
        "/proc/812": "", "/proc/812/comm": "named\n",
        "/proc/812/fd/20": "socket:[77]", "/proc/812/fd/21": "socket:[78]",
        "/proc/812/cgroup": "0::/system.slice/named.service\n",
    })  # fmt: skip
    host.link = lambda path: host.files.get(path, "")
    return host


NAMED = ("812", "named", "named.service")


@pytest.mark.parametrize(
    ("table", "address", "state", "held"),
    [
        ("udp", "00000000", "07", Holder("0.0.0.0", *NAMED)),
        ("tcp", LAN, "0A", Holder("192.168.1.1", *NAMED)),
        ("tcp6", "0" * 32, "0A", Holder("::", *NAMED)),
        ("udp", "3500007F", "07", None),  # systemd-resolved
        ("udp", "017AA8C0", "07", None),  # libvirt
        ("tcp", LAN, "01", None),  # a connection
    ],
)
def test_who_stands_in_the_way(table, address, state, held):
    host = host_with(**{table: line(address, 53, state, 77) + line("00000000", 67, state, 78)})
    assert holders(53, ["192.168.1.1"], host) == ([held] if held else [])


def test_one_process_is_named_once_and_one_that_is_hidden_without_its_name():
    host = host_with(udp=line(LAN, 53, "07", 77), tcp=line(LAN, 53, "0A", 78))
    assert [str(each) for each in holders(53, ["192.168.1.1"], host)] == ["named (PID 812) of named.service"]
    host = host_with(udp=line(LAN, 53, "07", 99))
    assert [str(each) for each in holders(53, ["192.168.1.1"], host)] == ["a process that is not visible here"]


def answer(family, address, port, inode):
    """struct inet_diag_msg, as the kernel answers."""
    sockid = struct.pack("!HH16s16s", port, 0, ipaddress.ip_address(address).packed, b"") + bytes(12)
    body = struct.pack("=BBBB", family, 10, 0, 0) + sockid + struct.pack("=IIIII", 0, 0, 0, 0, inode)
    return netlink.HEADER.pack(netlink.HEADER.size + len(body), 20, 2, 0, 0) + body


def end(kind, code):
    return netlink.HEADER.pack(netlink.HEADER.size + 4, kind, 2, 0, 0) + struct.pack("=i", -code)


class Kernel:
    def __init__(self, protocol, *packets):
        assert protocol == SOCK_DIAG
        self.asked, self.packets = [], list(packets)

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        pass

    def send(self, data):
        self.asked.append((data[4:6], data[16], data[20:24]))

    def receive(self):
        return self.packets.pop(0)


def test_where_this_host_listens_is_asked_without_its_connections(monkeypatch):
    host = host_with(udp=line("00000000", 53, "07", 77), tcp=line(LAN, 99, "0A", 78))
    done = end(netlink.DONE, 0)
    four = answer(2, "0.0.0.0", 22, 5) + answer(2, "127.0.0.1", 25, 6), answer(2, "192.168.1.1", 80, 7) + done
    kernel = Kernel(SOCK_DIAG, *four, answer(10, "fd00::1", 443, 8) + answer(10, "::1", 631, 9), done)
    monkeypatch.setattr(host, "kernel", lambda _protocol: kernel)
    assert listening(host) == (("tcp", 22), ("tcp", 80), ("tcp", 443), ("udp", 53))
    listen = struct.pack("=I", 1 << 10)
    assert kernel.asked == [(LISTS[SOCK_DIAG], family, listen) for family in (2, 10)]


@pytest.mark.parametrize("kind", [netlink.ERROR, netlink.DONE])
def test_a_kernel_that_does_not_list_sockets_has_files(monkeypatch, kind):
    host = host_with(udp=line("00000000", 53, "07", 77), tcp=line(LAN, 99, "0A", 78) + line(LAN, 98, "01", 79))
    for refused in (lambda protocol: Kernel(protocol, end(kind, netlink.ENOENT)), host.kernel):
        monkeypatch.setattr(host, "kernel", refused)
        assert listening(host) == (("tcp", 99), ("udp", 53))
