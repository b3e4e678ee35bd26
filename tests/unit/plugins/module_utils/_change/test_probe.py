# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._change import engine, state as states
from ansible_collections.ipmasq.linux.plugins.module_utils._change.probe import gateway_probe
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.read import gateway_from_params
from ansible_collections.ipmasq.linux.tests.unit import fakes
from ansible_collections.ipmasq.linux.tests.unit.params import gateway_params


@pytest.mark.parametrize(
    ("state", "note"),
    [
        (None, "no gateway was applied to instance default, so there is nothing to prove"),
        (states.State("default", "items"), "instance default holds single items"),
    ],
)
def test_nothing_to_prove_is_told(state, note):
    host = fakes.FakeHost()
    if state:
        host.files["/etc/ipmasq/default.json"] = states.to_text(state)
    host.frozen = True
    values = gateway_probe("default", host)
    assert values["proven"] is False
    assert values["counts"] == {"holds": 0, "broken": 0, "unmeasurable": 0}
    assert note in values["notes"][0]


def test_where_nothing_can_be_measured_nothing_is_proven():
    host = fakes.FakeHost()
    lans = [{"name": "lan", "interfaces": ["lan0"], "networks": ["192.168.1.0/24"]}]
    engine.apply_gateway(gateway_from_params(gateway_params(lans=lans)), "auto", host)
    values = gateway_probe("default", host)
    assert values["counts"]["unmeasurable"] > 0 and values["broken"] == []
    assert values["proven"] is False
    (note,) = values["notes"]
    assert note.startswith("no promise can be measured: tc is not installed")
