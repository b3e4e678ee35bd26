# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible_collections.ipmasq.linux.plugins.module_utils._base import netlink
from ansible_collections.ipmasq.linux.plugins.module_utils._proof import flows
from ansible_collections.ipmasq.linux.plugins.module_utils._proof.packets import Packet


def test_a_connection_is_named_by_its_first_packet():
    data = flows.deletion(Packet("192.168.1.9", "192.0.2.1", "tcp", 50001, 443))
    ((kind, at, end),) = netlink.messages(data)
    assert (kind, data[16]) == (netlink.DELETE, 2)
    parts = dict(netlink.attributes(data, at + netlink.BODY, end))
    assert netlink._tuple(parts[netlink.TUPLE_ORIG]) == (6, b"\xc0\xa8\x01\x09", b"\xc0\x00\x02\x01", 50001, 443)
    assert flows.deletion(Packet("fd00::1", "fd00::2", "icmp", 7, flags=0, kind=128))[16] == 10
    assert flows.deletion(Packet("192.168.1.9", "192.0.2.1", "253")) == b""


def test_without_access_they_end_by_themselves():
    class Host:
        def kernel(self, _protocol):
            raise PermissionError

    flows.forget([Packet("192.168.1.9", "192.0.2.1")], Host())
