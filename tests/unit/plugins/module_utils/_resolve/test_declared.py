# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What was declared, as data: every kind of item, with counters, and of what kind a field is."""

from __future__ import annotations

import json

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._change import engine, items
from ansible_collections.ipmasq.linux.plugins.module_utils._change.forgetting import encoded
from ansible_collections.ipmasq.linux.plugins.module_utils._change.info import gateway_info
from ansible_collections.ipmasq.linux.plugins.module_utils._facts.links import Facts
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.items import (
    forward_from_params,
    masquerade_from_params,
    port_forward_from_params,
)
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.read import gateway_from_params
from ansible_collections.ipmasq.linux.plugins.module_utils._resolve import declared
from ansible_collections.ipmasq.linux.tests.unit import fakes, returned
from ansible_collections.ipmasq.linux.tests.unit.params import (
    forward_params,
    gateway_params,
    masquerade_params,
    port_forward_params,
)
from ansible_collections.ipmasq.linux.tests.unit.resolving import resolved

OPTIONS = dict(
    wans=[{"interface": "ppp*", "mss": "1400", "carried_from": ["198.51.100.9/32"]}],
    lans=[
        {"name": "office", "interfaces": ["lan0"], "networks": ["192.168.1.0/24"], "reaches": ["guests"]},
        {"name": "guests", "interfaces": ["guest0"], "networks": ["192.168.2.0/24"], "spoof_check": False},
    ],
    nat=[
        {"name": "vpn", "source": ["office"], "destination": ["10.0.0.0/8"], "action": "exempt"},
        {"name": "some", "protocol": ["udp"], "port": ["5060", "8000-8010"], "to_port": "20000-20999", "random": True},
        {"name": "rest"},
    ],
    port_forwards=[{"name": "web", "port": ["443"], "to": ["192.168.1.20"], "to_port": 8443, "hairpin": True}],
    outbound=[{"name": "mail", "protocol": ["tcp"], "port": ["25"], "rate": "10/second"}],
    multicast=[{"name": "tv", "group": ["239.0.0.0/8"], "lan": ["office"]}],
    input="protect",
    input_allow=[{"name": "dns", "source": ["198.51.100.0/24"], "protocol": ["udp"], "port": ["53"]}],
)


def test_lists_of_items_with_what_they_counted():
    timed = {**OPTIONS, "nat": [*OPTIONS["nat"][:2], {"name": "rest", "timeouts": {"udp": 60}}]}
    gateway = resolved(Facts((), ()), **timed, helpers=[{"name": "ftp", "port": [21, 2121]}]).gateway
    counted = {"packets": 7, "bytes": 700}
    keys = ("lan/office", "nat/some", "port_forward/web", "outbound/mail", "input_allow/dns")
    found = declared.lists(gateway, dict.fromkeys(keys, counted))
    assert returned.faults(returned.documented("gateway_info"), found)  # The rest is not there.
    assert found["wans"] == [{"interface": "ppp*", "mss": "1400", "carried_from": ["198.51.100.9/32"]}]
    assert found["lans"][0] == {
        "name": "office", "interfaces": ["lan0"], "networks": ["192.168.1.0/24"], "reaches": ["guests"],
        "spoof_check": True, "follows": False, "dhcp": {}, "ra": "off", "dns": False, **counted,
    }  # fmt: skip
    assert found["nat"][1]["port"] == ["5060", "8000-8010"] and found["nat"][1]["to_port"] == "20000-20999"
    assert (found["nat"][2]["to_port"], found["nat"][2]["timeouts"]) == (None, {"udp": 60})
    assert found["port_forwards"][0]["to_port"] == 8443
    assert found["helpers"] == [{"name": "ftp", "port": [21, 2121]}]
    for kind, name in (("nat", "some"), ("port_forwards", "web"), ("outbound", "mail"), ("input_allow", "dns")):
        assert [each["packets"] for each in found[kind] if each["name"] == name] == [7]
    assert found["lans"][1]["packets"] == found["nat"][0]["packets"] == 0
    assert json.loads(json.dumps(found)) == found


def test_what_the_state_remembers_is_what_is_returned():
    links = [fakes.link("ppp0", "203.0.113.1/32"), fakes.link("lan0", "192.168.1.1/24")]
    host = fakes.FakeHost(links=[*links, fakes.link("guest0", "192.168.2.1/24")])
    engine.apply_gateway(gateway_from_params(gateway_params(**OPTIONS)), "auto", host)
    info = gateway_info("default", host)
    assert returned.faults(returned.documented("gateway_info"), info) == []
    assert [item["name"] for item in info["nat"]] == ["vpn", "some", "rest"]
    assert {each["name"]: each["role"] for each in info["interfaces"]} == {
        "ppp0": "wan", "lan0": "lan", "guest0": "lan",
    }  # fmt: skip


def test_services_of_a_lan_are_returned_as_they_were_chosen():
    nas = {"mac": "52:54:00:12:34:56", "address": "192.168.1.120", "name": "nas"}
    served = {"name": "office", "interfaces": ["lan0"], "dhcp": {"reserve": [nas], "options": {"42": "192.168.1.1"}}}
    links = [fakes.link("ppp0", "203.0.113.1/32"), fakes.link("lan0", "192.168.1.1/24")]
    host = fakes.FakeHost((*fakes.NFT, "dnsmasq"), links=links)
    params = gateway_params(wans=[{"interface": "ppp0"}], lans=[served])
    engine.apply_gateway(gateway_from_params(params), "auto", host)
    info = gateway_info("default", host)
    assert returned.faults(returned.documented("gateway_info"), info) == []
    (lan,) = info["lans"]
    assert (lan["ra"], lan["dns"]) == ("off", True)
    assert lan["dhcp"] == {
        "range": ["192.168.1.100-192.168.1.250"], "lease": "12h", "reserve": [nas],
        "options": {"42": "192.168.1.1"},
    }  # fmt: skip


def test_single_items_are_returned_as_data_until_they_are_gone():
    host = fakes.FakeHost(links=[fakes.link("ppp0", "203.0.113.1/32"), fakes.link("lan0", "192.168.1.1/24")])
    line = masquerade_from_params(
        masquerade_params(name="lan", source=["192.168.1.0/24"], out_interface="ppp0", closed=True)
    )
    answers = forward_from_params(forward_params(name="answers", in_interface="ppp0", ct_state=["established"]))
    web = port_forward_from_params(
        port_forward_params(name="web", in_interface="ppp0", port=["443"], to=["192.168.1.20"])
    )
    for item in (line, answers, web):
        items.apply_item("default", item, True, "auto", host)
    info = gateway_info("default", host)
    assert returned.faults(returned.documented("gateway_info"), info) == []
    assert info["owner"] == "items" and info["as_applied"]
    counted = {"packets": 0, "bytes": 0}
    assert info["masquerade"] == [
        {
            "name": "lan",
            "source": ["192.168.1.0/24"],
            "out_interface": "ppp0",
            "destination": [],
            "closed": True,
            **counted,
        }
    ]
    assert [(each["name"], each["ct_state"], each["action"]) for each in info["forward"]] == [
        ("answers", ["established"], "accept")
    ]
    (found,) = info["port_forwards"]
    assert (found["name"], found["wan"], found["port"], found["to"]) == ("web", "ppp0", ["443"], ["192.168.1.20"])

    items.apply_item("default", answers, False, "auto", host)
    info = gateway_info("default", host)
    assert info["forward"] == [] and len(info["masquerade"]) == len(info["port_forwards"]) == 1


def test_what_is_left_out_is_filled_in():
    assert declared.lists(declared.read(encoded(resolved().gateway)), {})["nat"][0]["action"] == "masquerade"


@pytest.mark.parametrize(
    "raw", [None, {}, [], "x", {"": "Wan"}, {"": "Other"}, {"": "Gateway", "wans": [{"": "Gone"}]}]
)
def test_what_another_release_has_written_is_nothing(raw):
    assert declared.read(raw) is None
    assert set(map(len, declared.lists(declared.read(raw), {}).values())) == {0}
