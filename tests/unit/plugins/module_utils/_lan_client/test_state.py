# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError
from ansible_collections.ipmasq.linux.plugins.module_utils._lan_client import state as states
from ansible_collections.ipmasq.linux.plugins.module_utils._lan_client.resolver import Resolver
from ansible_collections.ipmasq.linux.plugins.module_utils._lan_client.routes import Sent
from ansible_collections.ipmasq.linux.plugins.module_utils._lan_client.state import PATH, Parts, State
from ansible_collections.ipmasq.linux.plugins.module_utils._managers.seen import Route
from ansible_collections.ipmasq.linux.tests.unit.lan_clients import Client

ROUTE = Route("192.168.1.1", "lan0", 0, onlink=True)
STATE = State(Parts(Sent("ifupdown", "lan0", (ROUTE,), (ROUTE,)), Resolver("file", ("192.168.1.1",), "text", 0o600)))


def test_there_and_back():
    assert states.read(Client(files={PATH: states.to_text(STATE)})) == STATE
    assert states.read(Client()) is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 3}', '{"owner": "gateway"}', '{"parts": 1}'])
def test_damaged(text):
    with pytest.raises(GatewayError, match="is damaged or of a later version"):
        states.read(Client(files={PATH: text}))
