# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which packets an item matches."""

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._intent.read import gateway_from_params
from ansible_collections.ipmasq.linux.tests.unit.intents import lan, nat, problems_of
from ansible_collections.ipmasq.linux.tests.unit.params import gateway_params


@pytest.mark.parametrize(
    "given",
    [
        nat(destination=["fe80::1%eth0"]),
        nat("snat", to=["2001:db8::9%eth0"], to_address="routed"),
        dict(lans=[lan(networks=["fd00::%eth0/64"])]),
    ],
    ids=["destination", "to", "networks"],
)
def test_a_zone_is_no_part_of_a_network(given):
    assert len(problems_of(gateway_from_params, gateway_params(**given))) == 1
