# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Single items: their rows among others, and the values of switches that a gateway sets."""

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError
from ansible_collections.ipmasq.linux.plugins.module_utils._change import engine, items, persist
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.forwarding import Forwarding
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.items import Forward, Masquerade
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.read import gateway_from_params
from ansible_collections.ipmasq.linux.plugins.module_utils._parts.rules import RULES
from ansible_collections.ipmasq.linux.plugins.module_utils._parts.switches import SWITCHES
from ansible_collections.ipmasq.linux.tests.unit import fakes
from ansible_collections.ipmasq.linux.tests.unit.params import gateway_params

LAN = Masquerade("lan", ("192.168.1.0/24",), "ppp0")
IP4 = "net/ipv4/ip_forward"


def test_the_last_item_takes_the_frame_with_it():
    host = fakes.FakeHost()
    items.apply_item("default", LAN, True, "auto", host)
    assert {row.key for row in RULES.of(persist.read_state(host, "default")).rows} > {"masquerade/lan"}
    assert items.apply_item("default", LAN, False, "auto", host).changed
    assert "ipmasq" not in host.nft.tables and "/etc/ipmasq/default.json" not in host.files


def test_switches_stay_when_the_last_item_goes():
    host = fakes.FakeHost()
    items.apply_item("default", LAN, True, "auto", host)
    items.apply_switches("default", Forwarding(ipv4=True), host)
    items.apply_item("default", LAN, False, "auto", host)
    state = persist.read_state(host, "default")
    assert (RULES.of(state).rows, SWITCHES.of(state).values) == ((), ((IP4, "1"),))
    assert SWITCHES.of(state).before[IP4] == "0"


@pytest.mark.parametrize("value", [True, False])
def test_every_link_follows_the_global_switch(value):
    host = fakes.FakeHost()
    host.files["/proc/sys/" + IP4] = "1\n" if value else "0\n"
    host.files["/proc/sys/net/ipv4/conf/lan0/forwarding"] = "0\n" if value else "1\n"
    found = items.apply_switches("default", Forwarding(ipv4=value), host).values["switches"]
    assert "net/ipv4/conf/lan0/forwarding" in [each["key"] for each in found]
    assert items.apply_switches("default", Forwarding(ipv4=value), host).values["switches"] == []
    # A user who names links has named all of them.
    host.files["/proc/sys/net/ipv4/conf/ppp0/forwarding"] = "0\n" if value else "1\n"
    named = Forwarding(ipv4=value, interfaces=("lan0",))
    assert items.apply_switches("default", named, host).values["switches"] == []


def test_switches_of_a_gateway():
    host = fakes.FakeHost()
    lans = [{"name": "lan", "interfaces": ["lan0"], "networks": ["192.168.1.0/24"]}]
    engine.apply_gateway(gateway_from_params(gateway_params(lans=lans)), "auto", host)
    assert not items.apply_switches("default", Forwarding(ipv4=True), host).changed
    for wanted, told in ((Forwarding(ipv4=False), IP4), (None, "its own switches")):
        with pytest.raises(GatewayError, match="which sets {0}; use another instance".format(told)):
            items.apply_switches("default", wanted, host)
    with pytest.raises(GatewayError, match="declare this item there"):
        items.apply_item("default", Forward("out", ("192.168.1.0/24",)), True, "auto", host)
