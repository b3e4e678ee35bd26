# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError
from ansible_collections.ipmasq.linux.plugins.module_utils._change import engine, state as states
from ansible_collections.ipmasq.linux.plugins.module_utils._change.explaining import gateway_explain
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.read import gateway_from_params
from ansible_collections.ipmasq.linux.tests.unit import fakes
from ansible_collections.ipmasq.linux.tests.unit.explained import OFFICE, Roads
from ansible_collections.ipmasq.linux.tests.unit.params import gateway_params

ASKED = {"instance": "default", "from": "192.168.1.5", "to": "9.9.9.9", "port": "443", "protocol": "tcp"}


@pytest.mark.parametrize(
    ("state", "problem"),
    [
        (
            None,
            "instance: no gateway was applied to 'default' (applied here: none); apply one first, or name another",
        ),
        (states.State("default", "items"), "instance: 'default' holds single items"),
    ],
)
def test_nothing_to_explain_is_told(state, problem):
    host = fakes.FakeHost()
    if state:
        host.files["/etc/ipmasq/default.json"] = states.to_text(state)
    host.frozen = True
    with pytest.raises(GatewayError) as error:
        gateway_explain(ASKED, host)
    assert error.value.problems[0].startswith(problem)


def test_all_problems_come_together():
    with pytest.raises(GatewayError) as error:
        gateway_explain(dict(ASKED, instance="X", to="no"), fakes.FakeHost())
    assert [each.partition(":")[0] for each in error.value.problems] == ["instance", "to"]


def test_by_the_declaration_where_no_packet_can_be_sent():
    host = Roads()
    engine.apply_gateway(gateway_from_params(gateway_params(lans=[OFFICE])), "auto", host)
    host.frozen = True
    values = gateway_explain(ASKED, host)
    assert (values["by"], values["changed"]) == ("declaration", False)
    assert values["reason"]
