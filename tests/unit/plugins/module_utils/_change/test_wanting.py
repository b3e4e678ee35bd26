# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a declaration comes to on a host: the scene for its parts, and the state to come."""

from __future__ import annotations

import json

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
SERVED = [dict(LANS[0], dns=True)]


def wanted(host, state=None, foreign="refuse", backend="auto", **given):
    known = earlier.Earlier("default", state, ())
    gateway = gateway_from_params(gateway_params(**dict({"lans": LANS}, **given)))
    return known, wanting.want(gateway, backend, foreign, known, host)


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
    told = "table inet theirs: the policy of its chain f drops forwarded packets; set its policy to accept"
    with pytest.raises(GatewayError, match=told):
        wanted(host)
    assert wanted(host, foreign="warn")[1].warnings[0].startswith(told)


def chain_of_others(host, family, hook):
    chain = {"family": family, "table": "filter", "name": hook.upper(), "hook": hook, "policy": "drop"}
    host.answers["nft -j list chains"] = fakes.Done(0, json.dumps({"nftables": [{"chain": chain}]}), "")
    return host


def server(*programs):
    """A host on which a LAN can be served."""
    host = fakes.FakeHost((*fakes.NFT, *programs, "dnsmasq"), files={"/etc/resolv.conf": "nameserver 9.9.9.9\n"})
    return chain_of_others(host, "inet", "input")


def test_a_drop_of_what_lans_ask_this_host_is_told():
    told = "table inet filter: the policy of its chain INPUT drops packets to this host, including those from served "
    told += "LANs; accept there, from lan0: UDP ports 53, 67 and 547, TCP port 53, and the ICMPv6 type "
    assert wanted(server(), lans=SERVED)[1].remarks == (told + "nd-router-solicit",)
    assert wanted(server())[1].remarks == (), "nobody is served"
    assert wanted(chain_of_others(server(), "bridge", "input"), lans=SERVED)[1].remarks == ()


def test_a_drop_of_iptables_moves_the_rules_there():
    """ufw that comes later and lets routed packets pass."""
    host = server()
    known, found = wanted(host, lans=SERVED)
    state, _notes = wanting.state_of(found, PARTS, wanting.scene_of(found, known, host), known, host)
    host = chain_of_others(server(*fakes.IPTABLES_NFT), "ip", "input")
    assert wanted(host, state, lans=SERVED)[1].choice.backend.programs == "nft", "iptables does not know that chain"
    host.iptables["nft", "ip"].tables["filter"]["INPUT"] = ("DROP", [])
    found = wanted(host, state, lans=SERVED)[1]
    assert found.choice.backend.programs == "iptables-nft" and found.remarks == ()
    assert "chain INPUT of table ip filter drops packets" in found.choice.why
    assert wanted(host, state)[1].choice.backend.programs == "nft", "nobody is served"
    (told,) = wanted(host, state, backend="nftables", lans=SERVED)[1].remarks
    assert told.endswith("served LANs; set backend=iptables")


def test_items_are_not_overwritten():
    with pytest.raises(GatewayError, match="'default' holds single items"):
        wanted(fakes.FakeHost(), State("default", "items"))
