# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an inventory knows of gateways."""

from __future__ import annotations

import json

import pytest

from ansible_collections.ipmasq.linux.plugins.filter.lan_client_gateways import lan_client_gateways


def answer(*addresses):
    """What a gateway says when it is asked."""
    infos = [{"local": each, "scope": "global"} for each in addresses]
    return json.dumps([{"ifname": "lo", "addr_info": infos}, {"ifname": "lan0", "addr_info": infos}])


#: What a gateway may say that is not what ip prints.
ODD = (
    *("5", "[1]", '{"a": 1}', "null", "[" * 100_000, '[{"ifname": "e", "addr_info": null}]'),
    '[{"ifname": "e", "addr_info": [3, {"scope": "global"}, {"scope": "global", "local": "evil; rm"}]}]',
)


@pytest.mark.parametrize(
    ("options", "addresses"),
    [
        ({}, []),
        ({"known": [[["10.0.0.1/8", "192.168.1.1/24"]], [[]]]}, ["10.0.0.1/8", "192.168.1.1/24"]),
        ({"known": [["192.168.1.1"]]}, ["192.168.1.1"]),
        ({"lans": [[{"addresses": []}, {"name": "office", "addresses": ["192.168.1.1"]}]]}, ["192.168.1.1"]),
        ({"hints": ["192.168.1.1"]}, ["192.168.1.1"]),
        ({"hints": ["gw.example.org"]}, []),
        ({"hints": [None]}, []),
        ({"asked": [{"item": "gw", "stdout": answer("192.168.1.1"), "own": ["192.168.1.2"]}]}, ["192.168.1.1"]),
        ({"asked": [{"item": "gw", "stdout": "sorry"}]}, []),
        ({"lans": [5]}, []),
        ({"lans": [["x", {"addresses": 5}, {"addresses": ["192.168.1.1"]}]]}, ["5", "192.168.1.1"]),
        *(({"asked": [{"item": "gw", "stdout": stdout}]}, []) for stdout in ODD),
    ],
)
def test_addresses(options, addresses):
    (found,) = lan_client_gateways(["gw"], **options)
    assert found == {
        "name": "gw",
        "declared": [],
        "addresses": addresses,
        "asked": "asked" in options,
        "mirrored": False,
    }


@pytest.mark.parametrize("declared", ["192.168.1.1", ["192.168.1.1"]])
def test_declared_and_a_name_that_is_an_address(declared):
    (found,) = lan_client_gateways(["192.168.1.9"], declared=[declared])
    assert (found["declared"], found["addresses"]) == (["192.168.1.1"], ["192.168.1.9"])


def test_each_gateway_has_its_own():
    found = lan_client_gateways(["a", "b"], known=[[["10.0.0.1"], ["10.0.0.2"]], [[], ["10.0.0.3"]]], declared=[[]])
    assert [each["addresses"] for each in found] == [["10.0.0.1"], ["10.0.0.2", "10.0.0.3"]]


def test_who_asked_and_was_answered_by_itself():
    asked = [{"item": "gw", "stdout": answer("192.168.1.12"), "own": ["192.168.1.12", "fd00::12"]}]
    (found,) = lan_client_gateways(["gw"], asked=asked)
    assert (found["asked"], found["mirrored"], found["addresses"]) == (True, True, [])
