# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The automatic choice: what it takes, what it never takes, and that it happens only once."""

from __future__ import annotations

import ipaddress

import pytest
import yaml

from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError
from ansible_collections.ipmasq.linux.plugins.module_utils._facts.links import Facts, Interface, Route
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.read import gateway_from_params
from ansible_collections.ipmasq.linux.plugins.module_utils._resolve.choice import NOTHING, Chosen, rogue_links
from ansible_collections.ipmasq.linux.plugins.module_utils._resolve.resolve import resolve
from ansible_collections.ipmasq.linux.tests.unit.params import gateway_params


def link(name, *networks, **more):
    addresses = tuple(str(ipaddress.ip_network(net)[1]) for net in networks)
    return Interface(name, networks=networks, addresses=addresses, **more)


WAN = link("wan0", "203.0.113.0/24")
LAN, GUEST = link("lan0", "192.168.1.0/24", "fd00:1::/64"), link("guest0", "192.168.2.0/24")
SECOND = link("wan1", "192.168.100.0/24")
OUT = Route("wan0")
RA = Route("lan0", "ip6", "ra", metric=1024)
FIRST = Chosen(("wan0",), ("lan0", "guest0"), (("lan0", ("192.168.1.0/24",)), ("guest0", ("192.168.2.0/24",))))


def choose(links, routes, known=NOTHING, carriers=(), **options):
    gateway = gateway_from_params(gateway_params(**options))
    return resolve(gateway, Facts((Interface("lo"), *links), tuple(routes), carriers), known)


def names(found):
    return (
        [wan.interface for wan in found.gateway.wans],
        [name for lan in found.gateway.lans for name in lan.interfaces],
    )


def refused(*args, **more):
    with pytest.raises(GatewayError) as caught:
        choose(*args, **more)
    return list(caught.value.problems)


#: links, routes, WANs, LANs
TEST_CHOICES = {
    "one WAN": ([WAN, LAN, GUEST], [OUT], ["wan0"], ["lan0", "guest0"]),
    "another metric": ([WAN, LAN, SECOND], [OUT, Route("wan1", metric=200)], ["wan0", "wan1"], ["lan0"]),
    "another table": (
        [WAN, LAN, link("wg0", "10.9.0.0/24", kind="wireguard")],
        [OUT, Route("wg0", table="51820")],
        ["wan0", "wg0"],
        ["lan0"],
    ),
    "another family": ([WAN, LAN, SECOND], [OUT, Route("wan1", "ip6", "static")], ["wan0", "wan1"], ["lan0"]),
    "an advertisement in a LAN": ([WAN, LAN, GUEST], [OUT, RA], ["wan0"], ["lan0", "guest0"]),
    "an advertisement on the WAN": (
        [link("wan0", "192.168.178.0/24"), LAN],
        [OUT, Route("wan0", "ip6", "ra")],
        ["wan0"],
        ["lan0"],
    ),
    "a WAN of IPv6 alone": (
        [WAN, LAN, Interface("wan6", addresses=("2001:db8::5",))],
        [OUT, Route("wan6", "ip6", "ra")],
        ["wan0", "wan6"],
        ["lan0"],
    ),
    "a port of a bridge": ([WAN, link("eth5", "10.5.0.0/24", master="br0"), LAN], [OUT], ["wan0"], ["lan0"]),
    "a cloud's private network": (
        [WAN, Interface("ens10", addresses=("10.0.0.2",), routed=("10.0.0.0/16", "10.0.0.1/32"))],
        [OUT],
        ["wan0"],
        ["ens10"],
    ),
}


@pytest.mark.parametrize("case", TEST_CHOICES)
def test_what_is_chosen(case):
    links, routes, wans, lans = TEST_CHOICES[case]
    found = choose(links, routes)
    assert names(found) == (wans, lans)
    assert found.chosen.wans == tuple(wans)
    assert found.chosen.lans == tuple(lans)
    assert all(lan.follows for lan in found.gateway.lans)


@pytest.mark.parametrize(
    ("carrier", "carriers"),
    [
        (link("eth0", "192.168.100.0/24"), ("eth0",)),
        (link("eth0", "192.168.100.0/24"), ("eth0.7",)),  # PPPoE over a VLAN of the modem's link
    ],
)
def test_the_link_of_a_modem_is_no_lan(carrier, carriers):
    ppp, vlan = Interface("ppp0", kind="ppp", addresses=("203.0.113.1",)), Interface("eth0.7", parent="eth0")
    found = choose([ppp, carrier, vlan, LAN], [Route("ppp0")], carriers=carriers)
    assert names(found) == (["ppp0"], ["lan0"])
    assert (
        "eth0: not used as a LAN: it carries a WAN (possibly to a modem); add it to lans if it has hosts" in found.notes
    )


def test_the_link_of_a_modem_that_cannot_be_told_is_mentioned():
    ppp = Interface("ppp0", kind="ppp", addresses=("203.0.113.1",))
    found = choose([ppp, link("eth0", "192.168.100.0/24"), LAN], [Route("ppp0")])
    assert names(found) == (["ppp0"], ["eth0", "lan0"])
    assert (
        "cannot determine which link carries ppp0; if it is among eth0, lan0, name the LANs and leave it out"
        in found.notes
    )


def test_a_choice_can_be_written_down():
    found = choose([WAN, LAN, GUEST], [OUT])
    note = found.notes[-1]
    assert note.startswith("to write this choice down: ")
    written = yaml.safe_load(note.partition(": ")[2])
    assert written == {
        "gateway_wans": [{"interface": "wan0"}],
        "gateway_lans": [{"name": "lan0", "interfaces": ["lan0"]}, {"name": "guest0", "interfaces": ["guest0"]}],
    }
    again = choose([WAN, LAN, GUEST], [OUT], wans=written["gateway_wans"], lans=written["gateway_lans"])
    assert again.gateway == found.gateway
    assert (again.chosen.wans, again.chosen.lans) == ((), ())


BRIDGE = link("br-web", "172.30.0.0/16", kind="bridge")
DOCKER = link("docker0", "172.17.0.0/16", kind="bridge")


def port(name, far=True):
    return Interface(name, kind="veth", master="br-web", far=far)


#: Links beside the bridge, and why it is not chosen; empty if it is.
TEST_CONTAINERS = {
    "docker": ([port("vethd12f3a4"), port("veth0123456")], "its ports lead to containers"),
    "podman": ([port("veth0"), port("veth12")], "its ports lead to containers"),
    "lxd": ([port("veth0a1b2c3d")], "its ports lead to containers"),
    "no container yet": ([DOCKER], "it has no port, and Docker is here"),
    "a bridge without ports": ([], ""),
    "beside docker": ([DOCKER, Interface("eth1", master="br-web")], ""),
    "a wire, too": ([port("vethd12f3a4"), Interface("eth1", master="br-web")], ""),
    "a machine, too": ([port("vethd12f3a4"), Interface("tap100i0", kind="tap", master="br-web")], ""),
    "proxmox": ([port("veth100i0")], ""),
    "lxc": ([port("vethZDKOG1")], ""),
    "in a container itself": ([port("eth1")], ""),
    "a pair of this host": ([port("vethd12f3a4", far=False)], ""),
}


@pytest.mark.parametrize("case", TEST_CONTAINERS)
def test_a_container_managers_bridge_is_no_lan_whatever_its_name(case):
    links, why = TEST_CONTAINERS[case]
    found = choose([WAN, LAN, BRIDGE, *links], [OUT])
    assert names(found) == (["wan0"], ["lan0"] if why else ["lan0", "br-web"])
    note = "br-web: not used as a LAN: it may be a container manager's bridge ({0}); if it is a LAN, name all LANs"
    assert (note.format(why) in found.notes) == bool(why)
    # What is chosen stays, and a bridge that such a manager makes later changes nothing.
    kept = choose([WAN, LAN, BRIDGE, *links], [OUT], Chosen(("wan0",), ("lan0", "br-web")))
    assert names(kept) == (["wan0"], ["lan0", "br-web"])
    if why:
        assert names(choose([WAN, LAN, BRIDGE, *links], [OUT], Chosen(("wan0",), ("lan0",)))) == (["wan0"], ["lan0"])


#: links, routes: nothing new, so the choice stays
TEST_SAME = {
    "as it was": ([WAN, LAN, GUEST], [OUT]),
    "a LAN's link is away": ([WAN, LAN], [OUT]),
    "a LAN's link has no address": ([WAN, LAN, Interface("guest0")], [OUT]),
    "the WAN is away": ([LAN, GUEST], []),
    "an advertisement in a LAN": ([WAN, LAN, GUEST], [OUT, RA]),
    "an advertisement in a LAN that has lost its address": ([WAN, Interface("lan0"), GUEST], [OUT, RA]),
}


@pytest.mark.parametrize("case", TEST_SAME)
def test_what_was_chosen_stays_chosen(case):
    found = choose(*TEST_SAME[case], FIRST)
    assert names(found) == (["wan0"], ["lan0", "guest0"])
    assert (found.chosen.wans, found.chosen.lans) == (FIRST.wans, FIRST.lans)
    assert [lan.networks[0] for lan in found.gateway.lans] == ["192.168.1.0/24", "192.168.2.0/24"]


SO_FAR = "chosen so far: {0}; this run would choose {1}, because there is {2}; write down the one you mean, or run "
ANEW = SO_FAR + "once with choice=renew"
WANS, LANS = "wans: " + ANEW, "lans: " + ANEW
LANS_YAML = "{gateway_lans: [{name: lan0, interfaces: [lan0]}, {name: guest0, interfaces: [guest0]}]}"
TEST_OTHERWISE = {
    "a fail-over": (
        [WAN, LAN, GUEST, SECOND],
        [Route("wan1")],
        [
            WANS.format(
                "{gateway_wans: [{interface: wan0}]}",
                "{gateway_wans: [{interface: wan1}]}",
                "a default route through wan1",
            )
        ],
    ),
    "a LAN with a default route": (
        [WAN, LAN, GUEST],
        [OUT, Route("lan0", protocol="dhcp")],
        [
            WANS.format(
                "{gateway_wans: [{interface: wan0}]}",
                "{gateway_wans: [{interface: wan0}, {interface: lan0}]}",
                "a default route through lan0",
            )
        ],
    ),
    "one more private network": (
        [WAN, LAN, GUEST, link("usb0", "192.168.42.0/24")],
        [OUT],
        [
            LANS.format(
                LANS_YAML,
                LANS_YAML[:-2] + ", {name: usb0, interfaces: [usb0]}]}",
                "a private network on usb0",
            )
        ],
    ),
}


@pytest.mark.parametrize("case", TEST_OTHERWISE)
def test_a_run_that_would_choose_otherwise_is_refused(case):
    links, routes, wanted = TEST_OTHERWISE[case]
    assert refused(links, routes, FIRST) == wanted


def test_a_link_that_is_renamed_is_another():
    assert len(refused([link("enp3s0", "203.0.113.0/24"), LAN, GUEST], [Route("enp3s0")], FIRST)) == 1


def test_what_is_named_is_not_remembered():
    found = choose([WAN, LAN, GUEST, SECOND], [OUT, Route("wan1")], FIRST, wans=[{"interface": "wan0"}])
    assert names(found) == (["wan0"], ["lan0", "guest0"])
    assert found.chosen.wans == ()


def test_why_a_link_is_no_lan_is_told_with_the_error():
    """In a note it would be lost, although it is the reason."""
    tunnel = link("wg0", "10.9.0.0/24", kind="wireguard")
    assert refused([WAN, tunnel], [OUT]) == [
        "lans: no other interface has a private network; name the LAN, its interfaces and networks; "
        "wg0: not used as a LAN: it belongs to a tunnel (wireguard)"
    ]


#: links, routes, those of LANs, rogue
TEST_ROGUE = [
    ([LAN], [RA], (), ["lan0"]),
    ([LAN], [RA, Route("lan0")], (), []),
    ([Interface("lan0")], [RA], (), []),
    ([Interface("lan0")], [RA], ("lan0",), ["lan0"]),
    ([WAN], [Route("wan0", "ip6", "ra")], (), []),
]


@pytest.mark.parametrize(("links", "routes", "lans", "wanted"), TEST_ROGUE)
def test_rogue_links(links, routes, lans, wanted):
    assert rogue_links(Facts(tuple(links), tuple(routes)), lans) == wanted


def test_what_a_lan_had_is_told_and_what_it_never_had_is_refused():
    """Items that name an old network of a LAN's link wait for it; a slip at a first run does not."""
    options = {
        "lans": [{"name": "lan0", "interfaces": ["lan0"]}],
        "port_forwards": [{"name": "web", "port": ["80"], "to": ["192.168.9.11"]}],
        "nat": [{"name": "mail", "source": ["192.168.9.5"]}, {"name": "rest"}],
        "outbound": [{"name": "no", "source": ["192.168.9.6"], "action": "drop"}],
    }
    slips = [
        "nat[0] 'mail': source 192.168.9.5/32 is not in any LAN (lan0 192.168.1.0/24 fd00:1::/64)",
        "outbound[0] 'no': source 192.168.9.6/32 is not in any LAN (lan0 192.168.1.0/24 fd00:1::/64)",
        "port_forwards[0] 'web': to 192.168.9.11 is not in any LAN (lan0 192.168.1.0/24 fd00:1::/64)",
    ]
    assert refused([WAN, LAN], [OUT], **options) == slips
    told = choose([WAN, LAN], [OUT], FIRST, **options).warnings
    assert [each.partition(" now (")[0] for each in told] == [each.partition(" (")[0] for each in slips]
    listed = {**options, "lans": [{"name": "lan0", "interfaces": ["lan0"], "networks": ["192.168.1.0/24"]}]}
    assert len(refused([WAN, LAN], [OUT], FIRST, **listed)) == len(slips)
