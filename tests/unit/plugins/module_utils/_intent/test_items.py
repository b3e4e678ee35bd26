# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Single items: bad input that can be judged without a host, and their words."""

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._intent import argspec
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.items import (
    Forward,
    Masquerade,
    describe_item,
    forward_from_params,
    masquerade_from_params,
    port_forward_from_params,
)
from ansible_collections.ipmasq.linux.tests.unit.intents import problems_of
from ansible_collections.ipmasq.linux.tests.unit.params import forward_params, masquerade_params, port_forward_params

TEST_MASQUERADE = [
    (dict(), ["source: is empty; name the LAN networks to masquerade, such as 192.168.1.0/24",
              "out_interface: is missing; name the WAN interface, such as ppp0"]),
    (dict(source=["10.0.0.0/8"], out_interface="a/b"),
     ["out_interface: interface 'a/b' contains a slash, which interface names cannot"]),
    (dict(source=["10.0.0.0/8"], destination=["fd00::/64"], out_interface="ppp0"),
     ["source and destination: have no address family in common; give both in IPv4 or both in IPv6"]),
    (dict(source=["10.0.0.0/8"], out_interface="ppp0", instance="ABC"),
     ["instance: 'ABC' must be 1 to 10 characters from a-z, 0-9 and _, starting with a letter"]),
]  # fmt: skip


@pytest.mark.parametrize(("given", "wanted"), TEST_MASQUERADE)
def test_masquerade_problems(given, wanted):
    assert problems_of(masquerade_from_params, masquerade_params(name="x", **given)) == wanted


def test_masquerade_absent_needs_only_its_name():
    assert masquerade_from_params(masquerade_params(name="x", state="absent")).key == "masquerade/x"


TEST_FORWARD = [
    (dict(), ["forward 'x': matches everything; give at least one of "
              "source, destination, in_interface, out_interface"]),
    (dict(ct_state=["new"]), ["forward 'x': matches everything; give at least one of "
                              "source, destination, in_interface, out_interface"]),
    (dict(in_interface="a/b", out_interface="c d"),
     ["out_interface: interface 'c d' is not a valid interface name; '*' is allowed only at the end",
      "in_interface: interface 'a/b' contains a slash, which interface names cannot"]),
    (dict(source=["1.2.3.4/8"], destination=["x"]),
     ["source: 1.2.3.4/8 has host bits set; did you mean 1.0.0.0/8?",
      "destination: 'x' is neither an IPv4 nor an IPv6 network; write it as 192.168.1.0/24 or fd00:1::/64"]),
]  # fmt: skip


@pytest.mark.parametrize(("given", "wanted"), TEST_FORWARD)
def test_forward_problems(given, wanted):
    found = problems_of(forward_from_params, forward_params(name="x", **given))
    assert found[: len(wanted)] == wanted


def test_forward_bad_source_is_one_problem():
    params = forward_params(name="x", source=["1.2.3.4/8"])
    assert problems_of(forward_from_params, params) == ["source: 1.2.3.4/8 has host bits set; did you mean 1.0.0.0/8?"]


def test_forward_states_are_in_the_order_of_the_tools():
    params = forward_params(name="x", source=["10.0.0.0/8"], ct_state=["established", "related", "invalid"])
    assert forward_from_params(params).ct_state == ("invalid", "related", "established")


TEST_WORDS = [
    (Masquerade("x", ("10.0.0.0/8",), "ppp0"), "from 10.0.0.0/8 on ppp0"),
    (Masquerade("x", ("10.0.0.0/8",), "ppp0", ("1.0.0.0/8",)), "from 10.0.0.0/8 to 1.0.0.0/8 on ppp0"),
    (Forward("x", in_interface="a", out_interface="b", ct_state=("new",)), "accept in a out b if new"),
    (Forward("x", "drop", source=("10.0.0.0/8",)), "drop from 10.0.0.0/8"),
]


@pytest.mark.parametrize(("item", "wanted"), TEST_WORDS)
def test_words(item, wanted):
    assert describe_item(item) == wanted


#: An item of each kind, and another value for each of its options.
EVERYTHING = {
    "masquerade": {"source": ["10.0.0.0/8"], "out_interface": "wan0"},
    "forward": {"source": ["10.0.0.0/8"]},
    "port_forward": {"in_interface": "wan0", "port": ["80"], "to": ["10.0.0.1", "10.0.0.2"]},
}
OTHERWISE = {
    "source": ["10.1.0.0/16"],
    "destination": ["192.168.0.0/16"],
    "in_interface": "wan1",
    "out_interface": "wan1",
    "closed": True,
    "action": "drop",
    "ct_state": ["new"],
    "protocol": ["udp"],
    "port": ["81"],
    "to": ["10.0.0.3", "10.0.0.4"],
    "to_port": 8080,
    "balance": "source",
}
READ = {
    "masquerade": (masquerade_params, masquerade_from_params, argspec.MASQUERADE),
    "forward": (forward_params, forward_from_params, argspec.FORWARD),
    "port_forward": (port_forward_params, port_forward_from_params, argspec.SINGLE_PORT_FORWARD),
}


@pytest.mark.parametrize(
    ("kind", "option"),
    [(kind, option) for kind, (_params, _read, spec) in READ.items() for option in spec if option != "name"],
)
def test_every_option_has_words(kind, option):
    """An item's name is beside its words."""
    params, read, _spec = READ[kind]
    before, after = EVERYTHING[kind], dict(EVERYTHING[kind], **{option: OTHERWISE[option]})
    assert describe_item(read(params(name="x", **before))) != describe_item(read(params(name="x", **after)))
