# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which DNS servers the host itself asks."""

from __future__ import annotations

from ansible_collections.ipmasq.linux.plugins.module_utils._facts.resolvers import PATH, resolvers
from ansible_collections.ipmasq.linux.tests.unit import fakes

TEXT = "# by hand\nsearch x\nnameserver 192.168.1.1\nnameserver\n nameserver fe80::1%eth0\nnameserver 192.168.1.1\n"


def test_they_are_read_in_their_order_and_once():
    assert resolvers(fakes.FakeHost(files={PATH: TEXT})) == ("192.168.1.1", "fe80::1")
    assert resolvers(fakes.FakeHost()) == ()
