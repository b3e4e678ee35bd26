# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A state file that is JSON, with values that we would never write: the error says so, and state=absent works."""

from __future__ import annotations

import json

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError
from ansible_collections.ipmasq.linux.plugins.module_utils._change import engine, persist, removing
from ansible_collections.ipmasq.linux.plugins.module_utils._change.info import gateway_info
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.read import gateway_from_params
from ansible_collections.ipmasq.linux.tests.unit import fakes
from ansible_collections.ipmasq.linux.tests.unit.params import gateway_params

STATE = "/etc/ipmasq/default.json"
INTENT = ("parts", "declaration", "intent")
DAMAGES = {
    "a list as a name": ((*INTENT, "nat", 0, "name"), [[]]),
    "a number as LANs": ((*INTENT, "lans"), 7),
    "nothing as an interface": ((*INTENT, "lans", 0, "interfaces", 0), None),
    "no port": ((*INTENT, "port_forwards", 0, "port", 0), None),
    "a rule that is not JSON": (("parts", "rules", "rows", 1, 1), "x"),
    "half a character": (("parts", "switches", "values", 1, 1), "\ud800"),
    "brackets": ((), "[" * 100000 + "]" * 100000),
}


@pytest.fixture(params=DAMAGES.values(), ids=list(DAMAGES))
def host(request):
    made = fakes.FakeHost()
    lans = [{"name": "lan", "interfaces": ["lan0"], "networks": ["192.168.1.0/24"]}]
    forwards = [{"name": "web", "port": ["443"], "protocol": ["tcp"], "to": ["192.168.1.20"]}]
    items = {"lans": lans, "port_forwards": forwards, "nat": [{"name": "rest"}]}
    gateway = gateway_from_params(gateway_params(wans=[{"interface": "ppp0"}], **items))
    engine.apply_gateway(gateway, "auto", made)
    assert not persist.is_altered(made, "default") and not persist.is_altered(made, "other")

    place, value = request.param
    if not place:
        made.files[STATE] = value
        return made
    raw = json.loads(made.files[STATE])
    inner = raw
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    made.files[STATE] = json.dumps(raw)
    return made


def test_it_is_named_and_no_bug_of_ours(host):
    """gateway_info may also do without what it cannot read."""
    try:
        assert not gateway_info("default", host)["as_applied"]
    except GatewayError as error:
        assert "{0}: is damaged (".format(STATE) in str(error) and "state=absent" in str(error)


def test_a_removal_works(host):
    removing.remove_instance("default", host)
    assert not [path for path in host.files if path.startswith("/etc/ipmasq/")]
    assert not host.nft.tables


def test_an_error_without_a_damaged_state_is_a_bug(monkeypatch):
    host = fakes.FakeHost()
    with pytest.raises(TypeError), persist.reading("default", host):
        raise TypeError("of ours")
