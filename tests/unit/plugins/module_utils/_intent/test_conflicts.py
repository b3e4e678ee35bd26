# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Items that contradict each other: each pair once, in any order, and nothing that only looks like a contradiction."""

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError
from ansible_collections.ipmasq.linux.plugins.module_utils._intent import conflicts
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.conflicts import exempted_by
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.read import gateway_from_params
from ansible_collections.ipmasq.linux.tests.unit.params import gateway_params

LAN = {"name": "office", "interfaces": ["lan0"], "networks": ["192.168.1.0/24"]}


TWO = {"wans": [{"interface": "wan0"}, {"interface": "wan1"}], "lans": [LAN]}


def problems(**params):
    params = dict(TWO, **params)
    try:
        gateway_from_params(gateway_params(**params))
    except GatewayError as error:
        return list(error.problems)
    return []


def forward(name, port="443", to="192.168.1.20", **more):
    return dict({"name": name, "port": [port], "to": [to]}, **more)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (forward("a"), forward("b")),
        (forward("a", protocol=["both"]), forward("b", to="192.168.1.21")),
        (forward("a", wan="wan0"), forward("b", wan="wan0")),
        (forward("a", source=["198.51.100.0/24"]), forward("b", source=["198.51.100.0/24"])),
        (forward("a", to="fd00::1"), forward("b", to="fd00::2")),
    ],
)
def test_two_forwards_on_one_port(one, other):
    for pair in ([one, other], [other, one]):
        (found,) = problems(port_forwards=pair)
        assert found.startswith(
            "port_forwards[0] '{0}' and port_forwards[1] '{1}'".format(*[each["name"] for each in pair])
        )
        assert "443" in found


@pytest.mark.parametrize(
    ("narrow", "wide"),
    [
        (forward("a"), forward("b", "1-65535")),
        (dict(forward("a"), port=["22", "80-90"]), dict(forward("b"), port=["20-30", "80-100"])),
        (forward("a", protocol=["both"]), forward("b", "400-500", protocol=["both"])),
        (forward("a", wan="wan0"), forward("b")),
        (forward("a", source=["198.51.100.7"]), forward("b", source=["198.51.100.0/24"])),
        (forward("a", source=["198.51.100.7"]), forward("b")),
        (forward("a", destination=["203.0.113.9"]), forward("b", destination=["203.0.113.8/31"])),
        (forward("a"), forward("b", "400-500", hairpin=True)),
    ],
)
def test_an_exception_stands_before_the_rule(narrow, wide):
    assert problems(port_forwards=[narrow, wide]) == []
    assert problems(port_forwards=[wide, narrow]) == [
        "port_forwards[1] 'a': can never match: port_forwards[0] 'b' already takes these connections; put this one "
        "first"
    ]


def test_what_two_take_together_is_taken():
    late = dict(forward("c"), port=["22", "80"])
    assert problems(port_forwards=[forward("a", "20-30"), forward("b", "80-90"), late]) == [
        "port_forwards[2] 'c': can never match: port_forwards[0] 'a' and port_forwards[1] 'b' already takes these "
        "connections; put this one first"
    ]
    assert problems(port_forwards=[forward("a", "20-30"), late]) == []


@pytest.mark.parametrize(
    ("early", "late"),
    [
        (forward("a", "1-65535"), forward("b", hairpin=True)),
        (forward("a", "1-65535"), forward("b", destination=["203.0.113.9"])),
        (forward("a", "1-65535", protocol=["udp"]), forward("b", protocol=["both"])),
        (forward("a", "440-450"), forward("b", "445-455")),
    ],
)
def test_what_is_left_of_a_later_forward_is_enough(early, late):
    assert problems(port_forwards=[early, late]) == []


def test_a_server_that_is_exempt_is_opened_at_its_own_address():
    """So two of them never meet; and that its LAN is named shows only when its networks are known."""
    nat = [{"name": "public", "action": "exempt", "source": ["203.0.113.16/28"]}, {"name": "rest"}]
    forwards = [forward("a", to="203.0.113.18"), forward("b", to="203.0.113.19"), forward("c")]
    assert problems(nat=nat, port_forwards=forwards) == []
    narrow = dict(nat[0], destination=["10.0.0.0/8"])
    assert len(problems(nat=[narrow, nat[1]], port_forwards=forwards)) == 3


def test_which_servers_are_exempt():
    nat = [
        {"name": "vpn", "action": "exempt", "destination": ["10.0.0.0/8"]},
        {"name": "one", "source": ["203.0.113.18"]},
        {"name": "public", "action": "exempt", "source": ["203.0.113.16/28"], "wan": "wan0"},
        {"name": "rest"},
    ]
    made = gateway_from_params(gateway_params(**dict(TWO, nat=nat)))
    asked = [("203.0.113.18", "wan0"), ("203.0.113.19", "wan0"), ("203.0.113.19", "wan1"), ("203.0.113.19", "")]
    assert [exempted_by(made, *each) for each in asked] == ["", "public", "", ""]
    one_wan = gateway_from_params(gateway_params(**{**TWO, "nat": nat, "wans": [{"interface": "wan0"}]}))
    assert exempted_by(one_wan, "203.0.113.19", "") == "public"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (forward("a"), forward("b", "444")),
        (forward("a"), forward("b", protocol=["udp"])),
        (forward("a", wan="wan0"), forward("b", wan="wan1")),
        (forward("a", source=["198.51.100.0/24"]), forward("b")),
        (forward("a", destination=["203.0.113.9"]), forward("b", destination=["203.0.113.10"])),
        (forward("a"), forward("b", to="fd00::1")),
        (forward("a", to="2001:db8::1"), forward("b", to="2001:db8::2")),
    ],
)
def test_two_forwards_that_get_along(one, other):
    assert problems(port_forwards=[one, other]) == []


def static(name, to, source="192.168.1.25", **more):
    return dict({"name": name, "action": "static", "source": [source], "to": [to]}, **more)


def test_two_that_stand_for_one():
    (found,) = problems(nat=[static("a", "203.0.113.9"), static("b", "203.0.113.9", "192.168.1.26")])
    assert found == (
        "nat[0] 'a' and nat[1] 'b': both map to 203.0.113.9/32; an outside address can stand for only one inside"
    )
    assert problems(nat=[static("a", "203.0.113.9", wan="wan0"), static("b", "203.0.113.9", wan="wan1")]) == []


def test_names_that_are_not_there():
    assert problems(
        outbound=[{"name": "x", "source": ["guests"], "wan": "ppp0"}], port_forwards=[forward("y", wan="ppp0")]
    ) == [
        "outbound[0] 'x': source 'guests' is neither a LAN nor a network; known LANs: office",
        "outbound[0] 'x': wan ppp0 is not in wans (wan0, wan1)",
        "port_forwards[0] 'y': wan ppp0 is not in wans (wan0, wan1)",
    ]


def test_ten_thousand_forwards_are_compared_in_passing():
    many = [forward("f{0}".format(number), str(number)) for number in range(1, 10001)]
    assert problems(port_forwards=many) == []


@pytest.mark.parametrize("option", ["destination", "source", "port"])
def test_forwards_that_have_nothing_in_common_are_not_compared(option, monkeypatch):
    """Of 2,000 forwards that differ in one option, only one that covers all others is compared with each of them."""
    one = {"destination": "203.{0}.{1}.1", "source": "198.{0}.{1}.1", "port": "{0}{1:02}"}[option]
    wide = {"destination": "203.0.0.0/8", "source": "198.0.0.0/8", "port": "1-65535"}[option]
    many = [dict(forward("f" + str(n)), **{option: [one.format(20 + n // 100, n % 100)]}) for n in range(2000)]
    compared = []
    takes = conflicts._takes
    monkeypatch.setattr(conflicts, "_takes", lambda *both: compared.append(both) or takes(*both))
    assert problems(port_forwards=[*many, dict(forward("rest"), **{option: [wide]})]) == []
    assert len(compared) <= 4000
    compared.clear()
    assert len(problems(port_forwards=[dict(forward("rest"), **{option: [wide]}), *many])) == 2000
    assert 2000 <= len(compared) <= 4000
