# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible_collections.ipmasq.linux.plugins.module_utils._managers.manager import is_there, until
from ansible_collections.ipmasq.linux.plugins.module_utils._managers.seen import Route


def test_a_route_that_is_there():
    assert (
        is_there(Route("192.168.1.1", "l x"))
        == "ip -4 route show default via 192.168.1.1 dev 'l x' | grep -qv ' metric '"
    )
    assert "metric 1024" in is_there(Route("fd00::1", "lan0", 1024))


def test_until_it_is_so_and_not_for_ever():
    assert until(["a", "b"]) == "n=0; until { a && b; } || [ $n = 100 ]; do n=$((n + 1)); sleep 0.1; done; { a && b; }"
