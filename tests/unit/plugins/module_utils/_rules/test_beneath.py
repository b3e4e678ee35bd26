# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""LANs above a bridge: what prerouting lets in from the bridge, the other hooks close where it is not theirs."""

from __future__ import annotations

from dataclasses import replace

from packet import Packet, trace

from ansible_collections.ipmasq.linux.plugins.module_utils._intent.forward import PortForward
from ansible_collections.ipmasq.linux.plugins.module_utils._resolve.resolved import (
    Around,
    Resolved,
    ResolvedLan,
    ResolvedWan,
)
from ansible_collections.ipmasq.linux.plugins.module_utils._rules.beneath import (
    BENEATH,
    beneath,
    chain_beneath,
    of_lans,
)
from ansible_collections.ipmasq.linux.plugins.module_utils._rules.compile import compile_gateway
from ansible_collections.ipmasq.linux.plugins.module_utils._rules.fence import compile_fence
from ansible_collections.ipmasq.linux.plugins.module_utils._rules.model import Match

OFFICE = ResolvedLan("office", ("br0.10",), ("192.168.1.0/24", "fd00:1::/64"))
GUESTS = ResolvedLan("guests", ("lan1",), ("192.168.2.0/24",))
BELOW = Around(beneath=(("br0", ("br0.10", "br0.20", "v30")),))
GATEWAY = Resolved(lans=(OFFICE, GUESTS), wans=(ResolvedWan("wan0"),), around=BELOW)


def verdict(iif, oif, source, destination="198.51.100.7", gateway=GATEWAY):
    return trace(compile_gateway(gateway), Packet(iif, oif, source, destination)).verdict


def test_only_sources_of_the_lan_come_from_its_bridge():
    assert [(match.iif, match.source) for match in of_lans(GATEWAY)] == [
        (("br0",), ("192.168.1.0/24",)),
        (("br0",), ("fd00:1::/64",)),
    ]
    part = replace(GATEWAY, around=replace(BELOW, parts=("192.168.1.128/25",)))
    assert of_lans(part)[0].source == ("192.168.1.0/25",)


def test_on_no_other_link_of_that_bridge():
    for link in ("br0", "v30", "br0.20", "br0.4000", "vlan40"):
        for oif in ("", "mgmt0", "wan0"):
            assert verdict(link, oif, "192.168.1.10") == "drop"
            assert verdict(link, oif, "fd00:1::10", "2001:db8:77::7") == "drop"
    assert verdict("br0.10", "", "192.168.1.10") == verdict("br0.10", "wan0", "192.168.1.10") == "accept"
    # What belongs to nobody of us, or comes from where a route led in prerouting, is left alone.
    assert verdict("br0", "", "10.9.9.9") == verdict("lo", "", "192.168.1.1") == "accept"
    with_vpn = replace(GATEWAY, around=replace(BELOW, managed=("wg*",)))
    assert verdict("wg0", "", "192.168.1.10", gateway=with_vpn) == "accept"


def test_frames_between_hosts_of_one_lan():
    assert verdict("br0", "br0", "192.168.1.10", "192.168.1.20") == "accept"
    assert verdict("br0", "br0", "192.168.1.10", "224.0.0.251") == "accept"
    assert verdict("br0", "br0", "192.168.1.10", "10.9.9.9") == "drop"


def test_only_where_sources_are_checked():
    """Of a LAN whose sources are not, and where undeclared links are left alone, prerouting lets in everything."""
    for each in (
        replace(GATEWAY, undeclared="leave"),
        replace(GATEWAY, lans=(replace(OFFICE, spoof_check=False), GUESTS)),
        replace(GATEWAY, around=Around()),
    ):
        assert of_lans(each) == [] == beneath(each, "forward")
        assert BENEATH not in compile_gateway(each).chains


def test_a_wan_is_seen_as_the_bridge_below_it_in_prerouting_alone():
    outer = Around(beneath=(("br9", ("wan0",)),), outer=(("br9", "wan0", ("10.9.9.0/24",)),))
    forward = PortForward(name="web", port=((443, 443),), to=("192.168.1.20",), protocol=("tcp",))
    ruleset = compile_gateway(replace(GATEWAY, around=outer, port_forwards=(forward,)))
    hooks = {chain.name: chain.hook for chain in ruleset.chains}
    named = [rule for rule in ruleset.rules if "br9" in rule.match.iif]
    assert {(rule.chain, rule.match.iif) for rule in named} == {
        ("outside", ("wan0", "br9")),
        ("outside-new", ("wan0", "br9")),
        ("outside-new", ("br9",)),
        ("dstnat", ("wan0", "br9")),
    }
    assert {hooks[rule.chain] for rule in named} == {"prerouting", ""}
    assert not any(rule.match.astray for rule in named)


def test_a_name_has_fifteen_letters():
    long = replace(GATEWAY, around=Around(beneath=(("br0123456789abc", ("br0.10",)),)))
    assert chain_beneath(long)[1].match.iif == ("br0123456789abc",)


def test_a_bridge_that_is_joined_to_that_of_a_lan():
    """Between its ports passes what the other bridge checks; nothing else begins there, nor with the fence alone."""
    lans = (replace(OFFICE, interfaces=("br1",), reaches=("guests",)), GUESTS)
    lans += (ResolvedLan("lab", ("lan2",), ("192.168.3.0/24",)),)
    gateway = replace(GATEWAY, lans=lans, around=Around(joined=(("fwbr*", ("br1",)),)))
    assert of_lans(gateway) == [Match(iif=("fwbr*",))]
    for source, destination in (("192.168.1.10", "198.51.100.7"), ("198.51.100.7", "192.168.1.10")):
        assert verdict("fwbr100i0", "fwbr100i0", source, destination, gateway) == "accept"
        for oif in ("", "br1", "wan0", "mgmt0"):
            assert verdict("fwbr100i0", oif, source, destination, gateway) == "drop"
    closed = [rule for rule in compile_fence(gateway).rules if rule.chain == "fence-forward"]
    assert [(rule.match.oif, rule.action.kind) for rule in closed] == [(("fwbr*",), "return"), ((), "drop")]
    # What this host itself sends to that LAN, or to any link, comes in there, too, with the fence.
    for ruleset, chain in ((compile_gateway(gateway), "outside"), (compile_fence(gateway), "fence-arrive")):
        (own,) = (rule.match for rule in ruleset.rules if rule.chain == chain and rule.match.iif == ("fwbr*",))
        assert (own.family, own.destination, own.ct_state) == ("ip6", (), ("new",))
    left = replace(gateway, undeclared="leave")
    assert of_lans(left) == [] and "fwbr*" not in str(compile_gateway(left))
