# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A likely mistake gets one sentence, and the usual case none."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._facts.links import Facts, Interface, Route
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.neighbour import Neighbour
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.read import gateway_from_params
from ansible_collections.ipmasq.linux.plugins.module_utils._resolve.remarks import through_vpn
from ansible_collections.ipmasq.linux.plugins.module_utils._resolve.resolve import resolve
from ansible_collections.ipmasq.linux.tests.unit.params import gateway_params

WAN = Interface("wan0", networks=("203.0.113.0/24",), addresses=("203.0.113.2",))
LAN = Interface("lan0", networks=("192.168.1.0/24",), addresses=("192.168.1.1",))
OFFICE = {"name": "office", "interfaces": ["lan0"], "networks": ["192.168.1.0/24"]}
OUT = Route("wan0")


def told(links, routes=(OUT,), **options):
    options = {"wans": [{"interface": "wan0"}], "lans": [OFFICE], **options}
    return resolve(gateway_from_params(gateway_params(**options)), Facts(tuple(links), tuple(routes)))


def link(name, network, **more):
    return Interface(name, networks=(network,), addresses=(network.replace("0/24", "1"),), **more)


DROPPED = (
    "new connections between it and WANs or LANs are dropped; add it to lans if it is a LAN, or set undeclared to leave"
)
MANY = tuple("198.51.{0}.0/30".format(number) for number in range(65))
#: links, routes, options, sentences
TEST_REMARKS = {
    "nothing": ([WAN, LAN, Interface("lo"), Interface("eth9")], [OUT], {}, []),
    "a WAN that is not there": (
        [WAN, LAN],
        [OUT],
        {"wans": [{"interface": "wan00"}]},
        [
            "WAN: link wan00 does not exist now; its rules take effect once it appears",
            "wan0 has a default route but is not a WAN, so LANs cannot use it; add it to wans if they should",
        ],
    ),
    "a WAN without an address": (
        [
            Interface("wan0"),
            replace(LAN, sources=("192.168.1.1",)),
            # The kernel never chooses one that we have added.
            Interface("wan1", addresses=("198.51.100.9",)),
        ],
        [OUT, Route("wan1")],
        {"wans": [{"interface": "wan0"}, {"interface": "wan1"}], "nat": [{"name": "default", "wan": "wan0"}]},
        [
            "wan0 has an IPv4 default route, but no IPv4 address that masquerade can use, so it uses one of another "
            "link, such as 192.168.1.1, and no answers come back; give wan0 an address, or translate with action snat"
        ],
    ),
    "a WAN whose IPv6 address is deprecated": (
        [
            Interface("wan0", addresses=("2001:db8::2",)),
            Interface("lan0", addresses=("fd00:1::1",), networks=("fd00:1::/64",), sources=("fd00:1::1",)),
        ],
        [Route("wan0", "ip6")],
        {"lans": [dict(OFFICE, networks=["fd00:1::/64"])]},
        [
            "wan0 has an IPv6 default route, but no IPv6 address that masquerade can use, so it uses one of another "
            "link, such as fd00:1::1, and no answers come back; give wan0 an address, or translate with action snat"
        ],
    ),
    "a WAN that uses a public address of a LAN": (
        [Interface("wan0"), replace(LAN, sources=("fd00:1::1", "2001:db8:1::1"))],
        [Route("wan0", "ip6")],
        {"lans": [dict(OFFICE, networks=["fd00:1::/64"])]},
        [],
    ),
    "a WAN that uses a public address of lo": (
        [Interface("wan0"), replace(LAN, sources=("192.168.1.1",)), Interface("lo", sources=("203.0.113.2",))],
        [OUT],
        {},
        [],
    ),
    "a WAN without an address that translates to another one": (
        [Interface("wan0"), replace(LAN, sources=("192.168.1.1",))],
        [OUT],
        {"nat": [{"name": "default", "action": "snat", "to": ["198.51.100.9"], "to_address": "routed"}]},
        [],
    ),
    "VRRP on the wires of a WAN and a LAN": (
        [
            WAN,
            LAN,
            Interface("vrrp51", kind="macvlan", addresses=("192.168.1.254",), parent="lan0"),
            Interface("vrrp52", kind="macvlan", addresses=("203.0.113.9",), parent="wan0"),
        ],
        [OUT],
        {},
        ["vrrp52 is on the wire of wan0, and dropped unless it is a WAN: add it to wans if it is for a shared address"],
    ),
    "VRRP with the lengths of their prefixes": (
        [
            replace(WAN, networks=("203.0.113.0/24",)),
            LAN,
            Interface(
                "vrrp51", (), "macvlan", ("192.168.1.0/24", "192.168.7.0/24"), ("192.168.1.254",), parent="lan0"
            ),
            replace(link("vrrp52", "203.0.113.0/24", kind="macvlan"), parent="wan0"),
        ],
        [OUT],
        {},
        [
            "vrrp52 is on the wire of wan0, and dropped unless it is a WAN: add it to wans if it is for a shared "
            "address",
            "LAN office: vrrp51 has 192.168.7.0/24, which is not in the LAN's networks; packets from there are dropped "
            "as spoofed",
        ],
    ),
    "a LAN that is not there": (
        [WAN],
        [OUT],
        {},
        ["LAN office: link lan0 does not exist now; its rules take effect once it appears"],
    ),
    "a default route through a tunnel": (
        [WAN, LAN, link("wg0", "10.9.0.0/24", kind="wireguard")],
        [OUT, Route("wg0", table="51820")],
        {},
        ["wg0 has a default route but is not a WAN, so LANs cannot use it; add it to wans if they should"],
    ),
    "a default route through the only card": (
        [LAN, link("wg0", "10.9.0.0/24", kind="wireguard")],
        [Route("wg0", table="51820"), Route("lan0")],
        {"wans": [{"interface": "wg0"}]},
        [
            "lan0 has a default route; it is a link of LAN office, so nothing is forwarded through it to the "
            "Internet, only to private networks and those of LAN office; list in networks what else is behind it"
        ],
    ),
    "a default route through the only card, a bridge": (
        [replace(LAN, kind="bridge"), link("wg0", "10.9.0.0/24", kind="wireguard")],
        [Route("wg0", table="51820"), Route("lan0")],
        {"wans": [{"interface": "wg0"}]},
        [
            "lan0 has a default route; it is a link of LAN office, so nothing is forwarded through it to the "
            "Internet, only to private networks and those of LAN office; list in networks what else is behind it. "
            "While net.bridge.bridge-nf-call-iptables is 1 (Docker sets it), this includes what hosts send there from "
            "one port of lan0 to another; set that switch, and bridge-nf-call-ip6tables, to 0"
        ],
    ),
    "a tunnel with the routes of the Internet": (
        [WAN, LAN, link("tun0", "10.8.0.0/24", kind="tun", routed=MANY)],
        [OUT],
        {},
        [
            "tun0 leads to much of the Internet, and LANs reach no public network through it; add tun0 to wans if they "
            "should"
        ],
    ),
    "a management network": (
        [WAN, LAN, link("mgmt0", "10.9.9.0/24"), Interface("mgmt1", addresses=("10.8.8.8",))],
        [OUT],
        {},
        ["mgmt0 (10.9.9.0/24), mgmt1 (10.8.8.8): neither WAN nor LAN, so " + DROPPED],
    ),
    "a container's network under another name": (
        [
            WAN,
            LAN,
            link("br-web", "172.30.0.0/24", kind="bridge"),
            Interface("vethd12f3a4", kind="veth", master="br-web", far=True),
            link("mgmt0", "10.9.9.0/24"),
        ],
        [OUT],
        {},
        [
            "mgmt0 (10.9.9.0/24): neither WAN nor LAN, so " + DROPPED,
            "br-web (172.30.0.0/24): neither WAN nor LAN, and perhaps a container manager's under another name, so new "
            "connections between it and WANs or LANs are dropped, except to published ports from a WAN; add it to "
            "managed_links if it is a manager's, or to lans if it is a LAN, or set undeclared to leave",
        ],
    ),
    "many": (
        [WAN, LAN, *(link("v{0}".format(n), "10.9.{0}.0/24".format(n)) for n in range(7))],
        [OUT],
        {},
        [
            "v0 (10.9.0.0/24), v1 (10.9.1.0/24), v2 (10.9.2.0/24), v3 (10.9.3.0/24), v4 (10.9.4.0/24) and 2 more: "
            "neither WAN nor LAN, so " + DROPPED
        ],
    ),
    "somebody else's": (
        [WAN, LAN, link("docker0", "172.17.0.0/24"), link("tun0", "10.8.0.0/24", kind="tun"),
         link("lo1", "10.7.0.0/24", kind="dummy")],
        [OUT], {}, [],
    ),
    "networks that are others": (
        [WAN, link("lan0", "192.168.9.0/24")],
        [OUT],
        {},
        [
            "LAN office: lan0 has 192.168.9.0/24, which is not in the LAN's networks; packets from there are dropped "
            "as spoofed"
        ],
    ),
    "IPv6 that is not forwarded": (
        [WAN, Interface("lan0", networks=("192.168.1.0/24", "fd00:1::/64"), addresses=("192.168.1.1", "fd00:1::1"))],
        [OUT], {}, [],
    ),
    "a LAN that trusts its sources": (
        [WAN, link("lan0", "192.168.9.0/24")], [OUT], {"lans": [dict(OFFICE, spoof_check=False)]}, [],
    ),
    "a LAN whose networks are its link's": (
        [WAN, link("lan0", "192.168.9.0/24")], [OUT], {"lans": [{"name": "office", "interfaces": ["lan0"]}]}, [],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", TEST_REMARKS)
def test_remarks(case):
    links, routes, options, wanted = TEST_REMARKS[case]
    found = told(links, routes, **options)
    assert list(found.remarks) == wanted
    assert found.warnings == ()


@pytest.mark.parametrize(
    ("links", "hairpin", "sentences"),
    [
        (["wan0"], False, [("wan0", "br0", "port forwards and 1:1 items do not take them, and private addresses")]),
        (["lan0"], False, []),
        (["lan0"], True, [("lan0", "br0", "port forwards and 1:1 items do not take them; set")]),
    ],
)
def test_links_above_a_bridge_are_not_themselves_beside_docker(links, hairpin, sentences):
    there = [replace(each, kind="vlan", parent="br0") if each.name in links else each for each in (WAN, LAN)]
    forward = {"name": "web", "port": ["443"], "to": ["192.168.1.20"], "protocol": ["tcp"], "hairpin": hairpin}
    beside = [Interface("br0", kind="bridge"), Interface("v30", kind="vlan", parent="br0")]
    found = told([*there, *beside], port_forwards=[forward]).remarks
    assert len(found) == len(sentences)
    for sentence, (link_name, bridge, words) in zip(found, sentences):
        assert sentence.startswith("{0} is above the bridge {1}: while ".format(link_name, bridge))
        assert words in sentence


def test_a_wan_above_a_bridge_that_has_nothing_else():
    links = [replace(WAN, kind="vlan", parent="br0"), LAN, Interface("br0", kind="bridge")]
    assert [sentence.partition(", so ")[2].partition(";")[0] for sentence in told(links).remarks] == [
        "the kernel drops answers to translated connections unless rp_filter is 0 there"
    ]


def test_a_lan_above_the_bridge_that_is_the_wan():
    links = [replace(WAN, kind="bridge"), replace(LAN, kind="vlan", parent="wan0")]
    assert [sentence.partition(", so ")[2] for sentence in told(links).remarks] == [
        "the gateway drops packets to itself; set that switch, and bridge-nf-call-ip6tables, to 0"
    ]


def test_a_bridge_at_the_other_end_of_a_cable():
    """Of each of Proxmox' virtual machines with a firewall; one sentence for all."""
    bridge = replace(LAN, kind="bridge")
    machines = [
        each
        for number in (100, 101)
        for each in (
            Interface("fwpr{0}p0".format(number), kind="veth", master="lan0", port_of="bridge",
                      parent="fwln{0}i0".format(number)),
            Interface("fwln{0}i0".format(number), kind="veth", master="fwbr{0}i0".format(number), port_of="bridge",
                      parent="fwpr{0}p0".format(number)),
            Interface("fwbr{0}i0".format(number), kind="bridge"),
        )
    ]  # fmt: skip
    (said,) = told([WAN, bridge, *machines]).remarks
    assert said == (
        "hosts of LAN office may be at fwbr*, which a veth pair joins to lan0: while net.bridge.bridge-nf-call-"
        "iptables is 1 (Proxmox' firewall and Docker set it), only a conntrack zone for fwbr* lets them be translated, "
        "and keeps them out of other LANs: iptables -t raw -I PREROUTING -i fwbr+ -j CT --zone 1, and the same with "
        "ip6tables"
    )
    assert told([WAN, bridge]).remarks == ()


def test_hosts_beside_the_uplink_at_a_bridge():
    """One port is that of the uplink."""
    bridge = replace(WAN, kind="bridge", networks=("203.0.113.0/24",))
    ports = [Interface(name, master="wan0", port_of="bridge") for name in ("eth0", "tap100i0", "tap101i0")]
    (said,) = told([bridge, LAN, *ports]).remarks
    assert said == (
        "wan0 is a bridge with 3 ports: while net.bridge.bridge-nf-call-iptables is 1 (Docker and Proxmox' firewall "
        "set it), hosts there reach the Internet from 203.0.113.0/24 only, not from an additional address of the "
        "provider; set that switch, and bridge-nf-call-ip6tables, to 0 if they have one"
    )
    (said,) = told([replace(bridge, networks=()), LAN, *ports]).remarks
    assert "from the networks of its addresses only" in said
    assert told([bridge, LAN, *ports[:1]]).remarks == ()


@pytest.mark.parametrize("parent", ["lan0", "v10"])
def test_a_shared_address_of_a_lan_that_is_or_has_a_bridge_below(parent):
    """A VLAN above the bridge, too, if the LAN is that one. Without a bridge, there is no remark."""
    vrrp = Interface("vrrp51", kind="macvlan", addresses=("192.168.1.254",), parent=parent)
    vlan = Interface("v10", kind="vlan", addresses=("192.168.1.1",), parent="lan0")
    lan = dict(OFFICE, interfaces=[parent])
    below = replace(LAN, kind="bridge", networks=(), addresses=())
    found = told([WAN, below, vlan, vrrp], lans=[lan]).remarks
    assert [each for each in found if each.startswith("vrrp51")] == [
        "vrrp51 is above the bridge lan0: while net.bridge.bridge-nf-call-iptables is 1 (Docker sets it), its packets "
        "are first shown as those of lan0, so the kernel may not know their connections, and the gateway drops what it "
        "does not know; set that switch, and bridge-nf-call-ip6tables, to 0"
    ]
    assert not [each for each in told([WAN, LAN, vlan, vrrp], lans=[lan]).remarks if each.startswith("vrrp51")]


@pytest.mark.parametrize(
    ("wans", "wan", "to", "other"),
    [
        (["wan0", "wan*"], "wan0", "10.9.0.2", "wan*"),
        (["wan*", "wan0"], "wan*", "10.9.0.2-10.9.0.3", "wan0"),
        (["wan0", "wan1"], "wan0", "10.9.0.2", ""),
        (["wan0", "wan*"], "wan0", "203.0.113.9", ""),
        (["wan0", "wan*"], "", "10.9.0.2", ""),
    ],
)
def test_a_private_address_of_an_item_whose_wan_is_listed_twice(wans, wan, to, other):
    item = {"name": "v", "action": "snat", "to": [to], "to_address": "routed", **({"wan": wan} if wan else {})}
    second = Interface("wan1", networks=("198.51.100.0/24",), addresses=("198.51.100.2",))
    found = told([WAN, LAN, second], wans=[{"interface": each} for each in wans], nat=[item]).remarks
    assert list(found) == (
        [
            "nat 'v': translates to a private address on WAN {0}, and WAN {1} is the same link or may be, on which the "
            "gateway drops packets with that address; list the links by name, each once".format(wan, other)
        ]
        if other
        else []
    )


def test_a_family_that_no_lan_lists_is_told_where_the_host_forwards_it():
    six = replace(LAN, networks=("192.168.1.0/24", "2001:db8:1::/64"))
    gateway = gateway_from_params(gateway_params(wans=[{"interface": "wan0"}], lans=[OFFICE]))
    words = (
        "LAN office: lan0 has 2001:db8:1::/64, which is not in the LAN's networks; packets from there are dropped as "
    )
    for forwarding, expected in (((), ()), (("ip6",), (words + "spoofed",))):
        assert resolve(gateway, Facts((WAN, six), (OUT,), forwarding=forwarding)).remarks == expected


def test_an_advertisement_in_a_lan_is_a_danger():
    found = told([WAN, LAN], [OUT, Route("lan0", "ip6", "ra", metric=1024, by_kernel=True)])
    assert found.warnings == (
        "LAN office: a host there sends router advertisements (there is an IPv6 default route through lan0); lan0 "
        "stays a LAN and does not become a WAN; find that host",
    )
    assert found.remarks == ()


def test_what_is_left_open_is_a_danger_at_each_run():
    found = told([WAN, LAN, link("mgmt0", "10.9.9.0/24")], [OUT, Route("wan1")], undeclared="leave")
    assert found.warnings == (
        "wan1 has a default route but is not a WAN, and undeclared is leave: what LANs send through it is not "
        "translated; add it to wans",
    )
    assert found.remarks == (
        "mgmt0 (10.9.9.0/24): neither WAN nor LAN, so the gateway filters nothing between it and WANs or LANs; add it "
        "to lans if it is a LAN",
    )


def test_a_default_route_of_a_lan_is_a_danger_where_links_are_left_alone():
    found = told([WAN, LAN], [OUT, Route("lan0")], undeclared="leave")
    assert found.remarks == ()
    assert found.warnings == (
        "lan0 has a default route; it is a link of LAN office, and undeclared is leave: what LANs send through it to "
        "the Internet is not translated; remove that route, or set undeclared to drop",
    )


def test_links_of_other_instances_are_no_news():
    neighbours = [Neighbour("two", lans=(("mgmt", ("mgmt*",)),), wans=("wan1", "mv1"))]
    gateway = gateway_from_params(gateway_params(wans=[{"interface": "wan0"}], lans=[OFFICE]))
    # Its WAN is on the wire of this one's.
    second = replace(WAN, name="mv1", kind="macvlan", addresses=("203.0.113.3",), parent="wan0")
    facts = Facts((WAN, LAN, link("mgmt0", "10.9.9.0/24"), second), (OUT,))
    assert resolve(gateway, facts, neighbours=neighbours).remarks == ()
    # Nor are they chosen.
    found = resolve(gateway_from_params(gateway_params()), facts, neighbours=neighbours)
    assert [lan.name for lan in found.gateway.lans] == ["lan0"]
    assert "mgmt0: not used as a LAN: it belongs to instance two" in found.notes


def test_a_clat_beside_its_uplink():
    """In DS-Lite, the kernel's own tunnel has such an address, and sends as this host."""
    clat = Interface("clat", kind="tun", addresses=("192.0.0.1",))
    words = (
        "WAN clat has the address of a CLAT (464XLAT), and what comes from a WAN reaches no other one: list the IPv6 "
        "address of the CLAT (clatd's default is this host's own) in carried_from of that WAN, or its packets do not "
        "leave through wan0"
    )
    for source, expected in (([], (words,)), (["2001:db8::c1a7/128"], ())):
        wans = [{"interface": "clat", "carried_from": source}, {"interface": "wan0"}]
        assert told([clat, WAN, LAN], [OUT, Route("clat")], wans=wans).remarks == expected
        assert told([replace(clat, kind="ip6tnl"), WAN, LAN], [OUT, Route("clat")], wans=wans).remarks == ()


VPN = link("wg0", "10.9.0.0/24", kind="wireguard", routed=("10.8.0.0/16",))
ALLOWED = [{"name": "vpn", "protocol": ["udp"], "port": ["51820"]}]


@pytest.mark.parametrize(
    ("ends", "options", "is_told"),
    [
        (("10.9.0.2", "10.9.0.1"), {}, True),
        (("10.8.7.6", "192.168.1.1"), {}, True),  # from a network behind it, at the LAN's address
        (("10.9.0.2", "10.9.0.1"), {"input_allow": [dict(ALLOWED[0], protocol=["tcp"])]}, True),
        (("10.9.0.2", "10.9.0.1"), {"input_allow": ALLOWED}, False),
        (("10.9.0.2", "10.9.0.1"), {"input": "open"}, False),
        (("198.51.100.7", "203.0.113.2"), {}, False),
        (("10.8.7.6", "203.0.113.2"), {}, False),  # the VPN has a route to it, but it uses the WAN
        (("192.168.1.10", "192.168.1.1"), {}, False),
        (("UNKNOWN", "10.9.0.1"), {}, False),
        (("fe80::1%wg0", "fe80::2%wg0"), {}, False),
        ((), {}, False),
    ],
)
def test_an_operator_who_comes_through_a_vpn(ends, options, is_told):
    """The VPN's own connection is open already: it hides that nothing lets it in."""
    found = told([WAN, LAN, VPN], **{"input": "protect", **options})
    sentences = through_vpn(found.gateway, Facts((WAN, LAN, VPN), (OUT,)), ends)
    assert [each[:44] for each in sentences] == ["input: this run comes through VPN wg0; the pac"[:44]] * is_told


def test_a_vpn_that_is_a_lan_or_a_wan():
    """A WAN has to let in what carries a VPN that is a LAN. A VPN that is a WAN begins here."""
    ends, facts = ("10.9.0.2", "10.9.0.1"), Facts((WAN, LAN, VPN), (OUT,))
    found = told([WAN, LAN, VPN], input="protect", lans=[OFFICE, {"name": "road", "interfaces": ["wg0"]}])
    assert len(through_vpn(found.gateway, facts, ends)) == 1
    found = told([WAN, LAN, VPN], input="protect", wans=[{"interface": "wan0"}, {"interface": "wg0"}])
    assert through_vpn(found.gateway, facts, ends) == ()
