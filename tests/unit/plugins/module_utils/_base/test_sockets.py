# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""In check mode, the kernel is asked for connections and for sockets, and nothing else."""

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._base import netlink
from ansible_collections.ipmasq.linux.plugins.module_utils._base.host import Onlooker
from ansible_collections.ipmasq.linux.plugins.module_utils._base.sockets import NETFILTER, SOCK_DIAG, Netlink
from ansible_collections.ipmasq.linux.tests.unit import fakes

SOCKETS, DESTROY = netlink.sockets(b""), netlink.HEADER.pack(16, 21, netlink.REQUEST, 0, 0)
DELETE, NEW = (netlink.message(kind, netlink.REQUEST, 2) for kind in (netlink.DELETE, netlink.NEW))


@pytest.mark.parametrize(
    ("protocol", "lists", "others"),
    [(NETFILTER, netlink.dump(), [DELETE, NEW, SOCKETS]), (SOCK_DIAG, SOCKETS, [DESTROY, netlink.dump()])],
)
def test_they_can_be_listed_and_not_deleted(protocol, lists, others):
    sent = []

    class Kernel(Netlink):
        def __init__(self, asked):
            assert asked == protocol

        def __exit__(self, *_error):
            sent.append("closed")

        def send(self, data):
            sent.append(data)

        def receive(self):
            return b"answer"

    host = fakes.FakeHost()
    host.kernel = Kernel
    with Onlooker(host).kernel(protocol) as kernel:
        kernel.send(lists)
        assert kernel.receive() == b"answer"
        for other in others:
            with pytest.raises(ValueError, match="does not only list"):
                kernel.send(other)
    assert sent == [lists, "closed"]
