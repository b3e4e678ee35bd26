# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A gateway in the state file."""

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._intent.items import masquerade_from_params
from ansible_collections.ipmasq.linux.plugins.module_utils._resolve.resolved import Resolved, ResolvedLan, ResolvedWan
from ansible_collections.ipmasq.linux.plugins.module_utils._resolve.stored import CLASSES, decode, encode
from ansible_collections.ipmasq.linux.tests.unit.params import masquerade_params
from ansible_collections.ipmasq.linux.tests.unit.resolving import MANY, OFFICE, resolved


def test_a_gateway_comes_back_as_it_was():
    gateway = resolved(
        MANY, lans=[OFFICE], helpers=[{"name": "ftp"}], input="protect", input_allow=[{"name": "x"}]
    ).gateway
    assert decode(encode(gateway)) == gateway
    assert isinstance(decode(encode(gateway)), Resolved)


def test_an_item_comes_back_as_it_was():
    item = masquerade_from_params(masquerade_params(name="x", source=["10.0.0.0/8"], out_interface="wan0"))
    assert decode(encode(item)) == item


def test_names_stay():
    """The state files of gateways have them, also from before what is resolved had a type of its own."""
    gateway = Resolved(wans=(ResolvedWan("wan0"),), lans=(ResolvedLan("a", ("lan0",), ("10.0.0.0/8",), follows=True),))
    assert encode(gateway) == {
        "": "Gateway",
        "wans": [{"": "Wan", "interface": "wan0"}],
        "lans": [
            {"": "Lan", "name": "a", "interfaces": ["lan0"], "networks": ["10.0.0.0/8"], "follows": True},
        ],
    }
    assert set(CLASSES) == {
        "Around", "Dhcp", "Dns", "Forward", "Gateway", "HelperItem", "Lan", "LanServices", "Masquerade", "Metrics",
        "Multicast", "NatItem", "Neighbour", "Outbound", "PortForward", "PortForwardItem", "Reservation", "Traffic",
        "Wan",
    }  # fmt: skip


@pytest.mark.parametrize("raw", [{"": "Unknown"}, {"": "Wan"}, {"": "Gateway", "wans": [{}]}])
def test_what_another_release_wrote(raw):
    with pytest.raises((ValueError, TypeError)):
        decode(raw)
