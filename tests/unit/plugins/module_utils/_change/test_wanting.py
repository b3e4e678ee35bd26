# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a declaration comes to on a host: the scene for its parts, and the state to come."""

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError
from ansible_collections.ipmasq.linux.plugins.module_utils._change import earlier, wanting
from ansible_collections.ipmasq.linux.plugins.module_utils._change.state import State
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.read import gateway_from_params
from ansible_collections.ipmasq.linux.plugins.module_utils._parts.declaration import DECLARATION
from ansible_collections.ipmasq.linux.plugins.module_utils._parts.order import PARTS
from ansible_collections.ipmasq.linux.plugins.module_utils._parts.rules import RULES
from ansible_collections.ipmasq.linux.tests.unit import fakes
from ansible_collections.ipmasq.linux.tests.unit.params import gateway_params

LANS = [{"name": "lan", "interfaces": ["lan0"], "networks": ["192.168.1.0/24"]}]


def wanted(host, state=None, foreign="refuse", **given):
    known = earlier.Earlier("default", state, ())
    gateway = gateway_from_params(gateway_params(lans=LANS, **given))
    return known, wanting.want(gateway, "auto", foreign, known, host)


def test_scene_and_state():
    host = fakes.FakeHost()
    known, found = wanted(host)
    scene = wanting.scene_of(found, known, host)
    assert scene.interfaces == found.interfaces == ("ppp0", "lan0")
    assert scene.fresh and not scene.same and scene.plan.changed and scene.plan.live == ()
    state, _notes = wanting.state_of(found, PARTS, scene, known, host)
    assert RULES.of(state).rows == scene.plan.desired
    assert DECLARATION.of(state).roles.wans == ("ppp0",)
    again = earlier.Earlier("default", state, ())
    assert wanting.scene_of(found, again, host).same


def test_only_the_parts_that_are_handed_over_are_wanted():
    host = fakes.FakeHost()
    known, found = wanted(host)
    state, _notes = wanting.state_of(found, (RULES,), wanting.scene_of(found, known, host), known, host)
    assert set(state.parts) == {"declaration", "rules"}


def test_drops_of_others():
    host = fakes.FakeHost()
    chain = {"family": "inet", "table": "theirs", "name": "f", "hook": "forward", "policy": "drop"}
    host.nft.tables["theirs"] = [{"chain": chain}]
    told = "table inet theirs: the policy of its chain f drops forwarded packets; give that chain the policy accept"
    with pytest.raises(GatewayError, match=told):
        wanted(host)
    assert wanted(host, foreign="warn")[1].warnings[0].startswith(told)


def test_items_are_not_overwritten():
    with pytest.raises(GatewayError, match="'default' holds single items"):
        wanted(fakes.FakeHost(), State("default", "items"))
