# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is missing now and may come back."""

from __future__ import annotations

from ansible_collections.ipmasq.linux.plugins.module_utils._resolve.missed import Missed, holds


def test_only_what_may_come_back_is_no_error():
    lost = []
    missed = Missed(("10.0.0.0/8",), lost)
    assert missed.told("nat[0] 'x'", "source 10.1.0.0/16", "10.1.0.0/16", "a 192.168.1.0/24")
    assert lost == [
        "nat[0] 'x': source 10.1.0.0/16 is not in any LAN now (a 192.168.1.0/24); it works again once a LAN has that "
        "network; if the address has changed, update it"
    ]
    assert not missed.told("nat[0] 'x'", "source 172.16.0.0/16", "172.16.0.0/16", "a 192.168.1.0/24")
    assert not Missed((), lost).told("nat[0] 'x'", "source 10.1.0.0/16", "10.1.0.0/16", "")
    assert len(lost) == 1


def test_a_network_of_the_other_family_is_not_inside():
    assert holds("0.0.0.0/0", "10.0.0.0/8")
    assert not holds("::/0", "10.0.0.0/8")
