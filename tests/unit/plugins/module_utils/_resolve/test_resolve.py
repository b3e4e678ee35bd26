# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Intent and host: what is found, what is followed, what is refused."""

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._facts.links import Facts, Interface, Route
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.conflicts import ONE_CARD
from ansible_collections.ipmasq.linux.plugins.module_utils._resolve.inside import nat_networks
from ansible_collections.ipmasq.linux.tests.unit.resolving import HOST, LAN, LONG, PORTS, WAN, problems, resolved


def test_nothing_given():
    found = resolved()
    assert [wan.interface for wan in found.gateway.wans] == ["eth0"]
    assert [(lan.name, lan.interfaces, lan.networks) for lan in found.gateway.lans] == [
        ("eth1", ("eth1",), ("192.168.1.0/24", "fd00:1::/64"))
    ]
    assert found.notes == (
        "WAN eth0: chosen because it has the default route",
        "LAN eth1: chosen because it has 192.168.1.0/24, fd00:1::/64",
        "docker0: not used as a LAN: it belongs to Docker",
        "wg0: not used as a LAN: it belongs to a tunnel (wireguard)",
        "to write this choice down: {gateway_wans: [{interface: eth0}], gateway_lans: [{name: eth1, interfaces: "
        "[eth1]}]}",
    )


def test_private_wan_is_no_lan():
    wan = Interface("eth0", networks=("192.168.178.0/24",))
    found = resolved(Facts((wan, LAN), (Route("eth0"),)))
    assert [lan.name for lan in found.gateway.lans] == ["eth1"]


def test_found_lan_keeps_its_global_ipv6():
    lan = Interface("eth1", networks=("192.168.1.0/24", "2001:db8:1::/64"))
    gateway = resolved(Facts((WAN, lan), (Route("eth0"),))).gateway
    assert gateway.lans[0].networks == ("192.168.1.0/24", "2001:db8:1::/64")
    assert nat_networks(gateway, gateway.lans[0]) == ("192.168.1.0/24",)


def test_wans_may_be_absent_or_patterns():
    found = resolved(wans=[{"interface": "ppp*"}, {"interface": "wwan7"}])
    assert [wan.interface for wan in found.gateway.wans] == ["ppp*", "wwan7"]


def test_wan_pattern_takes_its_interfaces_out_of_the_lans():
    assert problems(wans=[{"interface": "eth*"}])[0].startswith("lans: no other interface has a private network; ")


def test_two_default_routes_are_two_wans():
    facts = Facts((WAN, LAN, Interface("wwan0")), (Route("eth0"), Route("wwan0")))
    assert [wan.interface for wan in resolved(facts).gateway.wans] == ["eth0", "wwan0"]


def test_networks_are_read_from_the_interfaces():
    lan = {"name": "a", "interfaces": ["eth1", "eth3", "absent0"]}
    assert resolved(lans=[lan]).gateway.lans[0].networks == ("192.168.1.0/24", "fd00:1::/64")
    assert resolved(lans=[dict(lan, interfaces=["eth1*"])]).gateway.lans[0].networks == LAN.networks


TEST_PROBLEMS = [
    (Facts((LAN,), ()), dict(),
     ["wans: there is no default route to find the WAN by; name the WAN, such as [{interface: ppp0}]"]),
    (Facts((WAN,), (Route("eth0"),)), dict(),
     ["lans: no other interface has a private network; name the LAN, its interfaces and networks"]),
    (Facts((), ()), dict(),
     ["wans: there is no default route to find the WAN by; name the WAN, such as [{interface: ppp0}]",
      "lans: no other interface has a private network; name the LAN, its interfaces and networks"]),
    (HOST, dict(lans=[{"name": "a", "interfaces": ["eth0"], "networks": ["10.0.0.0/8"]}]),
     ["wans: the default route uses eth0, an interface of a LAN; name the WAN, "
      "such as [{interface: ppp0}]; " + ONE_CARD]),
    (HOST, dict(lans=[{"name": "a", "interfaces": ["absent0"]}]),
     ["lans[0] 'a': absent0 does not exist, so its networks cannot be read; list them in networks"]),
    (HOST, dict(lans=[{"name": "a", "interfaces": ["eth3"]}]),
     ["lans[0] 'a': eth3 has no address, so its networks cannot be read; list them in networks"]),
    (HOST, dict(wans=[{"interface": LONG}]),
     ["wans[0]: interface 'sixteen-letters-' is longer than 15 characters and is not an alternative name on this host; "
      "use the name that 'ip link' shows"]),
    (HOST, dict(lans=[{"name": "a", "interfaces": ["eth1"], "networks": ["203.0.113.128/25"]}]),
     ["lans[0] 'a': network 203.0.113.128/25 overlaps 203.0.113.0/24 of WAN eth0; renumber the LAN"]),
    # "all of it is behind me": what is left of it works
    (HOST, dict(lans=[{"name": "a", "interfaces": ["eth1"], "networks": ["203.0.112.0/22"]}]),
     ["lans[0] 'a': network 203.0.112.0/22 overlaps 203.0.113.0/24 of WAN eth0; name the networks behind the LAN "
      "without that range, such as 203.0.114.0/23, 203.0.112.0/24"]),
    # links that no packet arrives by
    (PORTS, dict(wans=[{"interface": "eth0"}], lans=[{"name": "a", "interfaces": ["eth1", "eth2@eth1"]}]),
     ["lans[0] 'a': eth1 is a port of bond bond0, where its packets arrive; name bond0",
      "lans[0] 'a': interface 'eth2@eth1' does not exist; in 'ip link', the parent link follows the '@'; "
      "write eth2"]),
    (PORTS, dict(wans=[{"interface": "eth1*"}], lans=[{"name": "a", "interfaces": ["x"], "networks": ["10.9.0.0/16"]}]),
     ["wans[0]: eth1 is a port of bond bond0, where its packets arrive; name bond0"]),
    (Facts((WAN, Interface("eth1", addresses=("10.0.0.2",))), (Route("eth0"),)),
     dict(lans=[{"name": "a", "interfaces": ["eth1"]}]),
     ["lans[0] 'a': eth1 has only a /32 address and no routes, so its networks cannot be read; "
      "list them in networks"]),
    # the same interface under two names
    (HOST, dict(wans=[{"interface": "eth0"}, {"interface": "wan-port"}]),
     ["wans: 'eth0' is defined twice; give each its own name"]),
    (HOST, dict(wans=[{"interface": "wan-port"}],
                lans=[{"name": "a", "interfaces": ["eth0"], "networks": ["10.0.0.0/8"]}]),
     ["lans[0] 'a': interface eth0 is also WAN eth0; " + ONE_CARD]),
    # networks that only the host knows
    (HOST, dict(lans=[{"name": "a", "interfaces": ["eth1"]},
                      {"name": "b", "interfaces": ["eth9"], "networks": ["192.168.0.0/16"]}]),
     ["lans[0] 'a' and lans[1] 'b': networks 192.168.1.0/24 and 192.168.0.0/16 overlap; "
      "each address belongs to one LAN"]),
    (HOST, dict(nat=[{"name": "x", "source": ["office"]}]),
     ["nat[0] 'x': source 'office' is neither a LAN nor a network; known LANs: eth1"]),
    # NAT items that could never match
    (HOST, dict(nat=[{"name": "x", "source": ["10.5.0.0/16"]}]),
     ["nat[0] 'x': source 10.5.0.0/16 is not in any LAN (eth1 192.168.1.0/24 fd00:1::/64)"]),
    (HOST, dict(nat=[{"name": "x", "source": ["192.168.1.0/24"], "destination": ["fd00:9::/64"]}]),
     ["nat[0] 'x': source and destination have no address family in common; give both in IPv4 or both in IPv6"]),
    (HOST, dict(nat=[{"name": "x", "wan": "eth9"}]), ["nat[0] 'x': wan eth9 is not in wans (eth0)"]),
]  # fmt: skip


@pytest.mark.parametrize(("facts", "given", "wanted"), TEST_PROBLEMS)
def test_problems(facts, given, wanted):
    assert problems(facts, **given) == wanted


def test_found_wans_have_the_mss_for_all():
    assert [wan.mss for wan in resolved(mss="1400").gateway.wans] == ["1400"]
