# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the rules know about the rest of the host."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError, Problems
from ansible_collections.ipmasq.linux.plugins.module_utils._facts.links import VPNS, Facts, Interface, Route, manager_of
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.neighbour import Neighbour
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.services import LanServices
from ansible_collections.ipmasq.linux.plugins.module_utils._resolve.around import (
    MOST_BEHIND,
    around,
    check_reaches,
    new_ways_out,
    reached,
)
from ansible_collections.ipmasq.linux.plugins.module_utils._resolve.resolved import Resolved, ResolvedLan, ResolvedWan

LANS = (ResolvedLan("office", ("lan0",), ("192.168.1.0/24",), ("two/guests", "three/lab")),)
WANS = (ResolvedWan("ppp*"),)
TWO = Neighbour("two", (("guests", ("guest0", "guest1")), ("lab", ("lab0",))), ("ppp0",))


def link(name, kind="", address="10.9.9.1"):
    return Interface(name, kind=kind, addresses=(address,) if address else ())


def seen(*links, ways_out=()):
    return around(LANS, WANS, Facts(links, tuple(Route(name) for name in ways_out)))


def test_what_is_left_alone_does_not_depend_on_what_is_there():
    """Networks that a manager makes or removes change no row."""
    there = [link(name) for name in ("docker0", "virbr0", "br-0123456789ab")] + [link("wg0", "wireguard")]
    assert seen(*there) == seen()
    assert {"docker*", "virbr*", "br-a*", "wg*", "tun*"} <= set(seen().managed)


@pytest.mark.parametrize(
    ("interface", "managed"),
    [
        (link("home", "wireguard"), True),
        (link("tunl0", "ipip", ""), False),  # brought along by a module of the kernel
        (link("vpn0", "ppp"), False),  # a WAN as often as not
        (link("eth9"), False),
        (link("lan0", "gre"), False),  # declared
        (link("w;reboot", "tun"), False),
        (link("site", "ovpn-dco-v2"), True),
        (link("site", "wireguard", ""), True),  # a route without an address is enough
        (link("ip_vti0", "vti", ""), False),  # brought along by a module of the kernel
    ],
)
def test_tunnels_of_any_name(interface, managed):
    assert set(seen(interface).managed) - set(seen().managed) == ({interface.name} if managed else set())


def test_what_is_only_called_like_that_is_apart():
    found = seen(link("br-dmz"), link("br-lan"), link("tun-left"), link("docker0"), link("wg1", "wireguard"))
    assert found.apart == ("br-dmz", "tun-left")


def test_a_tap_device_is_a_vpns_only_by_its_name():
    """OpenVPN calls its own tap0, and ZeroTier zt and more; others belong to virtual machines more often."""
    found = seen(link("tap0", "tap"), link("ztabcdef12", "tap"), link("fc0", "tap"), link("tun7", "vxlan"))
    assert found.apart == ("tun7",)
    assert found.leaves("tap0") and found.leaves("ztabcdef12") and not found.leaves("fc0")


@pytest.mark.parametrize("kind", VPNS)
def test_a_vpn_in_the_kernel_is_left_alone_and_is_no_lan(kind):
    """OpenVPN with data channel offload calls its link tun0, too."""
    named = link("tun0", kind)
    assert seen(named).apart == () and seen(named).leaves("tun0")
    assert manager_of(named)


def test_parts_of_a_lan_that_are_on_other_links():
    """Another instance's LAN, or a container's network, in a LAN with all of 192.168.0.0/16 behind its routers."""
    links = (replace(link("guest0"), networks=("192.168.2.0/24",)), replace(link("eth9"), networks=("10.0.0.0/8",)))
    broad = (replace(LANS[0], networks=("192.168.0.0/16", "10.0.0.0/8")),)
    assert around(broad, WANS, Facts(links)).parts == ("192.168.2.0/24",)
    assert seen(*links).parts == ()
    # That on the wire of the LAN's link is the LAN's own (VRRP).
    vrrp = replace(link("vrrp51", "macvlan"), parent="lan0", networks=("192.168.2.0/24",))
    here = replace(link("lan0"), networks=("192.168.2.0/24",))
    assert around(broad, WANS, Facts((vrrp, here))).parts == ()


def test_a_site_behind_a_vpn_is_a_part_of_a_lan_around_it():
    """A company's LAN has all of 10.0.0.0/8 behind its routers, except for the networks to which the VPN has routes."""
    broad = (replace(LANS[0], networks=("10.0.0.0/8",)),)
    links = (replace(link("wg0", "wireguard"), networks=("10.8.0.0/24",), routed=("10.50.0.0/16", "172.16.0.0/12")),)
    assert around(broad, WANS, Facts(links)).parts == ("10.50.0.0/16", "10.8.0.0/24")


def test_bridges_are_known_and_what_listens_on_lo():
    served = (replace(LANS[0], interfaces=("lan0", "br*"), services=LanServices(dns=True)),)
    links = (link("lan0"), link("br0", "bridge"), link("br9", "vlan"), link("docker0", "bridge"), link("lo"))
    found = around(served, WANS, Facts(links))
    assert (found.bridges, found.loopback, found.beside) == ((("br0", ()),), ("10.9.9.1",), ())
    assert seen(*links).loopback == ()
    # One that nobody declares counts, too.
    assert seen(link("docker0", "bridge")).bridged and not seen(link("lan0"), link("br9", "vlan")).bridged
    public = (
        replace(link("ppp0", "bridge"), networks=("203.0.113.0/24",)),
        replace(link("x"), networks=("8.8.8.0/24",)),
    )
    found = seen(*public)
    assert (found.bridges, found.beside) == ((("ppp0", ("203.0.113.0/24",)),), ("8.8.8.0/24",))


def test_wans_that_are_carried_from_an_address_of_this_host():
    wans = [ResolvedWan("clat", carried_from=("10.9.9.1/32", "10.9.9.2/32", "10.9.9.0/24"))]
    assert around(LANS, wans, Facts((link("eth0"),))).carried == (("clat", "10.9.9.1/32"),)
    assert around(LANS, wans, Facts((link("eth0", "", ""),))).carried == ()


def test_bridges_below_declared_links():
    """Below VLANs, of which one may be a port of another bridge."""
    links = (
        link("br0", "bridge"),
        replace(link("lan0", "vlan"), parent="br0"),
        replace(link("other", "macvlan"), parent="lan0"),
        replace(link("v30", "vlan"), parent="br0", master="br-x"),
        link("br-x", "bridge"),
        # The end of a cable is not above the other end, nor a tunnel above the link that carries it.
        replace(link("veth", "veth"), parent="br-x"),
        replace(link("gre1", "gre"), parent="br-x"),
    )
    assert seen(*links).beneath == (("br0", ("br-x", "lan0", "other", "v30")),)
    assert seen(link("br0", "bridge"), *links[2:]).beneath == ()
    # One that is declared itself does not count.
    assert seen(replace(links[1], parent="ppp0"), link("ppp0", "bridge")).beneath == ()


def joined(ours, theirs, bridge):
    """A bridge at the other end of a cable; Proxmox' names are fwpr100p0, fwln100i0 and fwbr100i0."""
    return (
        replace(link(ours, "veth", ""), parent=theirs, master="lan0", port_of="bridge"),
        replace(link(theirs, "veth", ""), parent=ours, master=bridge, port_of="bridge"),
        link(bridge, "bridge", ""),
    )


def test_bridges_at_the_other_end_of_a_cable():
    lan, firewall, lab = link("lan0", "bridge"), joined("p0", "p1", "fwbr100i0"), joined("c0", "c1", "lab")
    # Those of virtual machines come and go without a run.
    assert seen(lan).joined == seen(lan, *firewall).joined == (("fwbr*", ("lan0",)),)
    assert seen(lan, *firewall, *lab).joined == (("fwbr*", ("lan0",)), ("lab", ("lan0",)))
    below = (replace(link("lan0", "vlan"), parent="br0"), link("br0", "bridge"))
    moved = tuple(replace(each, master="br0") if each.master == "lan0" else each for each in lab)
    assert seen(*below, *moved).joined == (("fwbr*", ("lan0",)), ("lab", ("lan0",)))
    # One behind it, too.
    more = joined("d0", "d1", "more")
    assert ("more", ("lan0",)) in seen(lan, *lab, replace(more[0], master="lab"), *more[1:]).joined
    # Whatever the bridge is for.
    for name in ("ppp0", "vmbr5"):
        there = (replace(lan, name=name), *(replace(each, master=name) for each in lab[:1]), *lab[1:])
        assert seen(there[0]).joined == (("fwbr*", ()),)
        assert seen(*there).joined == (("fwbr*", ()), ("lab", ()))
        assert seen(link("lan0"), replace(there[0], addresses=()), *there[1:]).joined == (
            (("fwbr*", ()), ("lab", ())) if name == "ppp0" else ()
        )
    assert seen(link("lan0")).joined == seen(link("docker0", "bridge")).joined == ()
    # Those of this run are known beside.
    assert [seen(lan, *each).shown_twice for each in ((), firewall, lab)] == [(), ("lan0",), ("lan0",)]
    for others in (
        (replace(lab[0], far=True, parent=""), *lab[1:]),
        (*lab[:2], link("lab", "bridge")),
        (lab[0], replace(lab[1], master="ppp0"), link("ppp0", "bridge", "")),
        (lab[0], replace(lab[1], port_of="bond"), link("lab", "bond", "")),
    ):
        assert seen(lan, *others).joined == (("fwbr*", ("lan0",)),)
    # With an address or by declaration, such a name is something else.
    assert seen(lan, link("fwbr-x", "bridge")).joined == seen(lan, link("fwbr9")).joined == ()
    assert seen(lan, link("fwbr-x", "bridge"), *firewall).joined == (("fwbr100i0", ("lan0",)),)
    declared = (replace(LANS[0], interfaces=("lan0", "fwbr*")),)
    assert around(declared, WANS, Facts((lan, *firewall))).joined == ()


def test_a_bridge_with_one_wan_above_and_nothing_else():
    bridge = link("br0", "bridge", address="")
    wan = replace(link("ppp0", "vlan"), parent="br0", networks=("10.9.9.0/24",))
    assert seen(bridge, wan).outer == (("br0", "ppp0", ("10.9.9.0/24",)),)
    for others in (
        (link("br0", "bridge"), wan),
        (bridge, wan, replace(link("mgmt", "vlan"), parent="br0")),
        (bridge, replace(wan, addresses=())),
        (bridge, replace(wan, name="lan0")),
    ):
        assert seen(*others).outer == ()


def test_a_link_on_the_wire_of_a_lan():
    """VRRP's, without a network of its own; with one, it is another network.

    Some write the length of the LAN's prefix: 192.168.1.254/24.
    """
    vrrp = replace(link("vrrp51", "macvlan"), parent="lan0")
    of_link, of_lan = ("10.1.0.0/24", "fd00:1::/64"), ("192.168.1.0/24",)
    lan = replace(link("lan0"), networks=of_link)
    # It may have other networks beside.
    for networks in ((), of_link[:1], (*of_link, *of_lan), ("10.9.9.0/24", *of_link)):
        assert seen(replace(vrrp, networks=networks), lan).twins == (("vrrp51", "lan0"),)
    assert seen(replace(vrrp, networks=of_lan)).twins == seen(vrrp).twins == (("vrrp51", "lan0"),)
    for other in (
        replace(vrrp, networks=("10.9.9.0/24",)),
        replace(vrrp, networks=("10.1.0.0/25",)),
        replace(vrrp, kind="vlan"),
        replace(vrrp, parent="ppp0"),
        replace(vrrp, parent=""),
    ):
        assert seen(other, lan).twins == ()
    assert seen(vrrp, ways_out=("vrrp51",)).twins == ()
    # On a backup, it has no address: its MAC address tells it from an uplink that waits for its lease.
    backup = replace(vrrp, addresses=())
    assert seen(backup, lan).twins == ()
    assert seen(replace(backup, shared=True), lan).twins == (("vrrp51", "lan0"),)


def test_wans_of_one_private_network():
    """VRRP's link on the wire of a WAN, or two cards in one network."""
    wan = replace(link("ppp0"), networks=("10.9.0.0/24", "203.0.113.0/24", "fd09::/64"))
    vrrp = replace(link("ppp52", "macvlan"), parent="ppp0")
    both = tuple((name, ("10.9.0.0/24", "fd09::/64")) for name in ("ppp0", "ppp52"))
    assert seen(wan, vrrp).alike == seen(wan, replace(vrrp, kind="", networks=wan.networks)).alike == both
    for other in (
        replace(vrrp, networks=("10.8.0.0/24",)),
        replace(vrrp, kind="", networks=("10.9.0.0/25",)),
        # Not a WAN itself, or not on the wire of one.
        replace(vrrp, name="vrrp52", networks=wan.networks),
        replace(vrrp, parent="lan0"),
    ):
        assert seen(wan, other, replace(link("lan0"), networks=wan.networks)).alike == ()


def test_a_way_out_is_never_left_alone():
    found = seen(
        link("wg0", "wireguard"), link("home", "wireguard"), link("eth9"), ways_out=("ppp0", "wg0", "home", "eth9")
    )
    assert found.ways_out == ("eth9", "home", "wg0")
    assert found.apart == ("wg0",)
    assert "home" not in found.managed


@pytest.mark.parametrize(
    ("networks", "routed", "behind"),
    [
        (("10.8.0.0/24", "fd00:8::/64"), ("100.64.0.0/10",), ()),
        (("2001:db8:8::/64", "198.51.100.0/25"), ("198.51.100.128/25",), ("198.51.100.0/24", "2001:db8:8::/64")),
        ((), tuple("198.51.{0}.0/30".format(number) for number in range(MOST_BEHIND)), MOST_BEHIND),
        # A routing protocol's full table belongs to no site.
        ((), tuple("198.51.{0}.0/30".format(number) for number in range(MOST_BEHIND + 1)), ()),
        ((), ("20.0.0.0/8", "2400::/16"), ("20.0.0.0/8", "2400::/16")),
        # AllowedIPs that leave out private networks, in one family or the other.
        ((), ("8.0.0.0/7", "11.0.0.0/8", "198.51.100.0/24"), ()),
        ((), ("2000::/3", "198.51.100.0/24"), ()),
        # Whatever is private does not make a route a broad one.
        ((), ("10.0.0.0/7",), ("11.0.0.0/8",)),
    ],
)
def test_the_public_networks_behind_a_tunnel(networks, routed, behind):
    found = seen(replace(link("wg0", "wireguard"), networks=networks, routed=routed)).behind
    assert (len(found) if isinstance(behind, int) else found) == behind
    # Those of links that are not left alone do not count.
    assert seen(replace(link("eth9"), networks=networks, routed=routed)).behind == ()
    assert seen(replace(link("wg0", "wireguard"), networks=networks, routed=routed), ways_out=("wg0",)).behind == ()


def test_ways_out_that_have_come_since():
    gateway = Resolved(lans=LANS, wans=WANS, around=replace(seen(), ways_out=("eth9",)))
    routes = tuple(Route(name) for name in ("ppp0", "eth9", "tun0", "wan9"))
    assert new_ways_out(gateway, Facts((), routes), ["wan*"]) == ["tun0"]
    assert new_ways_out(replace(gateway, undeclared="leave"), Facts((), routes), []) == []


#: What routes mean for lan0. One that any client can set counts only beside another one.
AT_A_LAN = [
    ((), ()),
    ((Route("lan0"),), ("ip", "ip6")),
    ((Route("lan0", table="100", metric=50),), ("ip", "ip6")),
    ((Route("lan0", "ip6", "static"),), ("ip6",)),
    ((Route("lan0", "ip6", "ra", metric=1024, by_kernel=True),), ()),
    ((Route("lan0", "ip6", "ra", metric=1024),), ("ip6",)),
    ((Route("lan0", "ip6", "ra", metric=1024, by_kernel=True), Route("lan0", "ip", "dhcp")), ("ip", "ip6")),
    ((Route("ppp0"), Route("eth9")), ()),
]


@pytest.mark.parametrize(("routes", "families"), AT_A_LAN)
def test_default_routes_through_a_link_of_a_lan(routes, families):
    facts = Facts((link("lan0"),), routes)
    found = around(LANS, WANS, facts)
    assert found.lan_ways_out == ((("lan0", families),) if families else ())
    # Since a run that knew less, since this one, and since one that knew as much.
    gateway = Resolved(lans=LANS, wans=WANS, around=replace(found, lan_ways_out=()))
    assert new_ways_out(gateway, facts, ["eth9"]) == ["lan0"] * bool(families)
    assert new_ways_out(replace(gateway, undeclared="leave"), facts, ["eth9"]) == []
    assert new_ways_out(replace(gateway, around=found), facts, ["eth9"]) == []
    one = replace(found, lan_ways_out=(("lan0", ("ip6",)),))
    assert new_ways_out(replace(gateway, around=one), facts, ["eth9"]) == ["lan0"] * ("ip" in families)


def test_lans_of_other_instances():
    gateway = Resolved(lans=LANS, wans=WANS, around=around(LANS, WANS, Facts(()), [TWO]))
    assert reached(gateway, LANS[0]) == ("guest0", "guest1")
    assert TWO.links == ("guest0", "guest1", "lab0", "ppp0")
    problems = Problems()
    check_reaches(gateway, [TWO], problems)
    with pytest.raises(GatewayError) as raised:
        problems.raise_if_any()
    assert raised.value.problems == (
        "lans[0] 'office': reaches 'three/lab', which is not a LAN of another instance on this host (known LANs: "
        "two/guests, two/lab); apply that instance first",
    )
