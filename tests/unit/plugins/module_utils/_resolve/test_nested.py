# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Networks of one instance's LAN inside those of another's."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, strategies as st

from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError, Problems
from ansible_collections.ipmasq.linux.plugins.module_utils._base.values import less
from ansible_collections.ipmasq.linux.plugins.module_utils._facts.links import Facts, Interface
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.nat import NatItem
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.neighbour import Neighbour
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.read import gateway_from_params
from ansible_collections.ipmasq.linux.plugins.module_utils._resolve.nested import (
    narrowed,
    set_apart,
    shared,
    without,
)
from ansible_collections.ipmasq.linux.plugins.module_utils._resolve.resolve import resolve
from ansible_collections.ipmasq.linux.plugins.module_utils._resolve.resolved import Around, ResolvedLan
from ansible_collections.ipmasq.linux.tests.unit.params import gateway_params
from ansible_collections.ipmasq.linux.tests.unit.strategies import drawn

BROAD = ResolvedLan("office", ("lan0",), ("192.168.0.0/22", "fd00:1::/64"))
HOST = Facts((Interface("lan0", networks=("192.168.1.0/24", "fd00:1::/64")),))


def two(*networks, links=("guest0",)):
    return Neighbour("two", (("guests", links),), ("wan0",), (("guests", networks),))


def apart(lan, *neighbours):
    problems = Problems()
    lans, left = set_apart((lan,), HOST, neighbours, problems, Around())
    return lans[0].networks, left, problems.found


def test_a_narrower_network_is_left_out():
    networks, left, problems = apart(BROAD, two("192.168.2.0/24", "10.0.0.0/8"))
    assert networks == ("192.168.0.0/23", "192.168.3.0/24", "fd00:1::/64")
    assert left == (("two", "192.168.2.0/24"),)
    assert not problems


@pytest.mark.parametrize(
    "neighbour",
    [
        two("10.0.0.0/8"),
        Neighbour("two", (("guests", ("guest0",)),), ("wan0",)),  # as an earlier release wrote it
    ],
)
def test_all_others_change_nothing(neighbour):
    assert apart(BROAD, neighbour) == (BROAD.networks, (), [])


@pytest.mark.parametrize(
    ("lan", "neighbour", "said"),
    [
        (
            BROAD,
            two("192.168.0.0/16"),
            "network 192.168.0.0/22 is in 192.168.0.0/16 of LAN guests of instance two, whose rules do not leave it "
            "out; name the networks behind that LAN without that range, such as 192.168.128.0/17, 192.168.64.0/18, "
            "192.168.32.0/19, 192.168.16.0/20 and more",
        ),
        (
            BROAD,
            two("192.168.0.0/22"),
            "network 192.168.0.0/22 is also that of LAN guests of instance two, or what its rules have left of a wider "
            "one; name the networks behind that LAN without it",
        ),
        (
            BROAD,
            two("192.168.0.0/23"),
            "network 192.168.0.0/22 contains 192.168.0.0/23 of LAN guests of instance two, which overlaps "
            "192.168.1.0/24 of this LAN's links; renumber one",
        ),
        (
            replace(BROAD, spoof_check=False),
            two("192.168.2.0/24"),
            "network 192.168.0.0/22 contains 192.168.2.0/24 of LAN guests of instance two, and sources are not "
            "checked; name the networks behind the LAN without that range, such as 192.168.0.0/23, 192.168.3.0/24",
        ),
        (
            replace(BROAD, networks=("10.0.0.0/23",)),
            two("10.0.0.0/24", "10.0.1.0/24"),
            "network 10.0.0.0/23 consists of networks of other instances' LANs; remove it",
        ),
    ],
)
def test_what_cannot_be_kept_apart_is_refused(lan, neighbour, said):
    assert apart(lan, neighbour)[2] == ["lans[0] 'office': " + said]


@pytest.mark.parametrize(
    ("interfaces", "links", "twins", "link"),
    [
        (["lan0"], ["guest0", "lan0"], [], "lan0"),
        (["lan0"], ["lan*"], [], "lan0"),
        (["l*"], ["lan0", "lan1"], [], "lan0"),
        (["lan*"], ["la*"], [], "la*"),
        (["lan0"], ["vrrp0"], [("vrrp0", "lan0")], "vrrp0"),
        (["lan0"], ["vrrp0"], [("vrrp0", "guest0")], ""),
        (["lan0"], ["lan0.7", "lan", "lan01"], [], ""),
    ],
)
def test_a_link_is_in_the_lans_of_one_instance(interfaces, links, twins, link):
    """One sentence, also if the networks are the same, or unknown."""
    for networks in ((), BROAD.networks):
        lan = replace(BROAD, interfaces=tuple(interfaces))
        beside = two(*(networks if link else ()), links=tuple(links))
        found = shared((lan,), HOST, [beside], Around(twins=tuple(twins)))
        said = (
            "{0} is a link of LAN guests of instance two, and a LAN belongs to one instance; declare "
            "all of its WANs there, or, to move the LAN, first remove it from instance two (state=absent if it has no "
            "other LAN)"
        ).format(link)
        assert found == ([("lans[0] 'office'", said)] if link else [])


def test_a_link_that_had_no_address_is_taken_for_one_of_a_shared_address():
    """A macvlan above the link of another instance's LAN, in a LAN of its own."""
    lan0 = Interface("lan0", networks=("192.168.2.0/24",))
    bare = Interface("mv0", kind="macvlan", parent="lan0", shared=True)
    iot = {"name": "iot", "interfaces": ["mv0"], "networks": ["10.9.0.0/24"]}
    gateway = gateway_from_params(gateway_params(wans=[{"interface": "wan0"}], lans=[iot]))
    with pytest.raises(GatewayError) as refused:
        resolve(gateway, Facts((lan0, bare)), neighbours=[two(links=("lan0", "mv0"))])
    assert list(refused.value.problems) == [
        "lans[0] 'iot': mv0 is on the wire of lan0 of LAN guests of instance two, which took it for the link of a "
        "shared address while it had none of its own; give it its address, and run instance two again"
    ]
    # In check mode, an earlier task may have done so.
    (warned,) = resolve(
        gateway, Facts((lan0, bare)), neighbours=[two(links=("lan0", "mv0"))], is_check=lambda: True
    ).warnings
    assert warned.startswith(refused.value.problems[0]) and warned.endswith("without check mode")
    # Once the other instance declares it, it is that one's, with an address or without.
    office = {"name": "office", "interfaces": ["lan0"], "networks": ["192.168.2.0/24"]}
    gateway = gateway_from_params(gateway_params(wans=[{"interface": "wan0"}], lans=[office]))
    assert resolve(gateway, Facts((lan0, bare))).gateway.around.twins == (("mv0", "lan0"),)
    assert resolve(gateway, Facts((lan0, bare)), neighbours=[two(links=("mv0",))]).gateway.around.twins == ()


@pytest.mark.parametrize(
    ("source", "left"),
    [
        ((), ()),
        (("office",), ("office",)),
        (("office", "192.168.2.0/23"), ("office", "192.168.3.0/24")),
        (("192.168.2.16/28", "fd00:1::/64"), ("192.168.2.16/28", "fd00:1::/64")),  # refused later
    ],
)
def test_a_source_that_is_listed_leaves_it_out_too(source, left):
    item = NatItem("all", source=source)
    assert narrowed((item,), (("two", "192.168.2.0/24"),))[0].source == left
    assert narrowed((item,), ()) == (item,)


def test_a_one_to_one_item_is_not_mapped_in_part():
    """Each of its networks would be mapped to the whole of the outside one."""
    item = {"name": "one", "action": "static", "source": ["192.168.2.0/23"], "to": ["198.51.100.0/23"]}
    lan = {"name": "office", "interfaces": ["lan0"], "networks": list(BROAD.networks)}
    gateway = gateway_from_params(gateway_params(wans=[{"interface": "wan0"}], lans=[lan], nat=[item]))
    assert resolve(gateway, HOST).gateway.nat[0].source == ("192.168.2.0/23",)
    with pytest.raises(GatewayError, match=r"nat\[0\] 'one': source 192.168.3.0/24 .*") as refused:
        resolve(gateway, HOST, neighbours=[two("192.168.2.0/24")])
    assert len(refused.value.problems) == 1


@drawn(100)
@given(st.lists(st.tuples(st.integers(0, 255), st.integers(24, 32)), max_size=6))
def test_the_rest_of_a_network(parts):
    holes = ["10.0.0.{0}/{1}".format(first >> 32 - length << 32 - length, length) for first, length in parts]
    assert sorted(without("10.0.0.0/24", holes)) == sorted(less(["10.0.0.0/24"], holes))
