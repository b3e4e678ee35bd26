# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Removal, also where the state is damaged or lost."""

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError
from ansible_collections.ipmasq.linux.plugins.module_utils._change import engine, removing
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.read import gateway_from_params
from ansible_collections.ipmasq.linux.tests.unit import fakes
from ansible_collections.ipmasq.linux.tests.unit.params import gateway_params

LANS = [{"name": "lan", "interfaces": ["lan0"], "networks": ["192.168.1.0/24"]}]
STATE, IP4 = "/etc/ipmasq/default.json", "net/ipv4/ip_forward"


@pytest.fixture
def host():
    found = fakes.FakeHost()
    engine.apply_gateway(gateway_from_params(gateway_params(lans=LANS)), "auto", found)
    return found


@pytest.mark.parametrize("text", [None, "{", '{"version": 2}'])
def test_without_a_state_the_other_files_tell(host, text):
    if text is None:
        del host.files[STATE]
    else:
        host.files[STATE] = text
    (told,) = removing.remove_instance("default", host).warnings
    assert told.startswith(STATE + ": was damaged or lost") and IP4 + " = 0" in told
    assert "ipmasq" not in host.nft.tables and host.switch(IP4) == "0"
    assert not [path for path in host.files if path.startswith("/etc/ipmasq/")]


def test_nothing_is_left_and_nothing_more_to_do(host):
    assert removing.remove_instance("default", host, None).warnings == ()
    assert not [path for path in host.files if path.startswith("/etc/ipmasq/")]
    host.frozen = True
    gone = removing.remove_instance("default", host)
    assert not gone.changed and gone.to_dict()["backend"]["name"] == "none"


def test_a_name_that_cannot_be_one():
    with pytest.raises(GatewayError, match="instance"):
        removing.remove_instance("a/b", fakes.FakeHost())
