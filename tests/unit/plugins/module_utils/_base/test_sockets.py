# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""In check mode, the kernel is asked for connections, and nothing else."""

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._base import netlink
from ansible_collections.ipmasq.linux.plugins.module_utils._base.host import Onlooker
from ansible_collections.ipmasq.linux.plugins.module_utils._base.sockets import Netlink
from ansible_collections.ipmasq.linux.tests.unit import fakes


def test_connections_can_be_listed_and_not_deleted():
    sent = []

    class Kernel(Netlink):
        def __init__(self):
            pass

        def __exit__(self, *_error):
            sent.append("closed")

        def send(self, data):
            sent.append(data)

        def receive(self):
            return b"answer"

    host = fakes.FakeHost()
    host.netfilter = Kernel
    with Onlooker(host).netfilter() as kernel:
        kernel.send(netlink.dump())
        assert kernel.receive() == b"answer"
        for kind in (netlink.DELETE, netlink.NEW):
            with pytest.raises(ValueError, match="does not only list"):
                kernel.send(netlink.message(kind, netlink.REQUEST, 2))
    assert sent == [netlink.dump(), "closed"]
