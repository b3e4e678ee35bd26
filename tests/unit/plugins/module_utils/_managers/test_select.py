# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who is in charge of an interface, and what to do by hand."""

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._managers.seen import Address
from ansible_collections.ipmasq.linux.plugins.module_utils._managers.select import MANAGERS, OTHERS, by_hand, manager_of
from ansible_collections.ipmasq.linux.tests.unit.lan_clients import MAC, Client

OWN = {4: Address("lan0", "192.168.1.11", 24), 6: Address("lan0", "fd00:1::11", 64)}


@pytest.mark.parametrize("manager", ["networkd", "ifupdown", "NetworkManager", "dhcpcd"])
def test_manager_of(manager):
    found = manager_of("lan0", Client(manager=manager))
    assert found.name.endswith(manager)
    # A daemon of dhcpcd's may be that of all interfaces.
    assert (manager_of("lan7", Client(manager=manager)) is None) == (manager != "dhcpcd")


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("version", [4, 6])
def test_by_hand(name, version):
    client = Client(manager="", files={OTHERS[name][0] + "/x": ""})
    who, how = by_hand(OWN[version], MAC, "192.168.1.1", client)
    assert who == name
    assert "192.168.1.1" in how
    assert "{" not in how


def test_nobody():
    client = Client(manager="")
    assert by_hand(OWN[4], MAC, "192.168.1.1", client) == (
        "nothing that lan_client knows",
        "where its address is configured",
    )


def test_no_two_managers_share_a_file():
    places = [place for manager in MANAGERS for place in manager.places]
    assert len(places) == len(set(places))
