# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Another instance on the same host."""

from __future__ import annotations

from ansible_collections.ipmasq.linux.plugins.module_utils._intent.neighbour import Neighbour


def test_links():
    other = Neighbour("lab", (("a", ("lan0", "lan1")), ("b", ("lan2",))), ("wan0",))
    assert other.links == ("lan0", "lan1", "lan2", "wan0")
    assert Neighbour().links == ()
