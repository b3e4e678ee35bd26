# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a gateway guarantees (DESIGN section 3), packet by packet, on the neutral rules that both backends render."""

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._compile import compile_gateway, compile_item
from ansible_collections.ipmasq.linux.plugins.module_utils._facts import Facts
from ansible_collections.ipmasq.linux.plugins.module_utils._intent import (
    forward_from_params,
    gateway_from_params,
    masquerade_from_params,
)
from ansible_collections.ipmasq.linux.plugins.module_utils._resolve import resolve
from ansible_collections.ipmasq.linux.tests.unit.packet import GATEWAY_ADDRESS, Packet, rules_of, trace, without
from ansible_collections.ipmasq.linux.tests.unit.params import forward_params, gateway_params, masquerade_params

OFFICE = {
    "name": "office",
    "interfaces": ["lan0", "lan1"],
    "networks": ["192.168.1.0/24", "fd00:1::/64", "2001:db8:1::/64"],
    "reaches": ["printers"],
}
GUESTS = {"name": "guests", "interfaces": ["wlan*"], "networks": ["192.168.9.0/24"]}
PRINTERS = {"name": "printers", "interfaces": ["prn0"], "networks": ["192.168.2.0/24"]}
NAT = [
    {"name": "vpn", "source": ["office"], "destination": ["10.0.0.0/8"], "action": "exempt", "wan": "wg0"},
    {"name": "guests", "source": ["guests"], "wan": "ppp*"},
    {"name": "office", "source": ["office"]},
]


def compiled(**given):
    options = dict(wans=[{"interface": "ppp*"}, {"interface": "wg0"}], lans=[OFFICE, GUESTS, PRINTERS], nat=NAT)
    options.update(given)
    return compile_gateway(resolve(gateway_from_params(gateway_params(**options)), Facts((), ())).gateway)


PC, PC6_ULA, PC6 = "192.168.1.10", "fd00:1::10", "2001:db8:1::10"
GUEST, PRINTER = "192.168.9.10", "192.168.2.10"
FAR, FAR6, VPN = "198.51.100.9", "2001:db8:f::9", "10.1.2.3"
WAN4, WAN6 = GATEWAY_ADDRESS[4], GATEWAY_ADDRESS[6]

#: name: (packet, verdict, source seen, key of the rule that decided in the filter or the guard)
TRACES = {
    # 1. Never un-NATed
    "lan to wan is masqueraded": (Packet("lan0", "ppp0", PC, FAR), "accept", WAN4, "nat/office"),
    "second interface of the lan too": (Packet("lan1", "ppp7", PC, FAR), "accept", WAN4, "nat/office"),
    "lan named by a pattern": (Packet("wlan3", "ppp0", GUEST, FAR), "accept", WAN4, "nat/guests"),
    "unique local ipv6 is masqueraded": (Packet("lan0", "ppp0", PC6_ULA, FAR6), "accept", WAN6, "nat/office"),
    "global ipv6 is routed as it is": (Packet("lan0", "ppp0", PC6, FAR6), "accept", PC6, "lan/office"),
    "established keeps its mapping": (
        Packet("lan0", "ppp0", PC, FAR, "established", mapped=WAN4), "accept", WAN4, "lan/office",
    ),
    "established of a flow never translated is guarded": (
        Packet("lan0", "ppp0", PC, FAR, "established"), "drop", "", "guard",
    ),
    "related is translated by conntrack": (
        Packet("lan0", "ppp0", PC, FAR, "related", mapped=WAN4), "accept", WAN4, "lan/office",
    ),
    "invalid from the lan is dropped": (Packet("lan0", "ppp0", PC, FAR, "invalid"), "drop", "", "invalid"),
    "untracked is never translated, so guarded": (Packet("lan0", "ppp0", PC, FAR, "untracked"), "drop", "", "guard"),
    "lan without a nat item on this wan is guarded": (Packet("wlan0", "wg0", GUEST, FAR), "drop", "", "guard"),
    "lan without any nat item is guarded": (Packet("prn0", "ppp0", PRINTER, FAR), "drop", "", "guard"),
    "exempt passes nat and guard": (Packet("lan0", "wg0", PC, VPN), "accept", PC, "nat/vpn"),
    "exempt, established": (Packet("lan0", "wg0", PC, VPN, "established"), "accept", PC, "nat/vpn"),
    "exempt is for its destination only": (Packet("lan0", "wg0", PC, FAR), "accept", WAN4, "nat/office"),
    "exempt is for its wan only": (Packet("lan0", "ppp0", PC, VPN), "accept", WAN4, "nat/office"),
    "exempt is for its source only": (Packet("wlan0", "wg0", GUEST, VPN), "drop", "", "guard"),
    # 2. Closed from outside
    "answer to the lan": (Packet("ppp0", "lan0", FAR, PC, "established"), "accept", FAR, "answers"),
    "icmp error to the lan": (Packet("ppp0", "lan0", FAR, PC, "related"), "accept", FAR, "answers"),
    "ipv6 answer": (Packet("ppp0", "lan0", FAR6, PC6, "established"), "accept", FAR6, "answers"),
    "new from the wan": (Packet("ppp0", "lan0", FAR, PC), "drop", "", "closed"),
    "new ipv6 from the wan, routable or not": (Packet("ppp0", "lan0", FAR6, PC6), "drop", "", "closed"),
    "untracked from the wan": (Packet("ppp0", "lan0", FAR, PC, "untracked"), "drop", "", "closed"),
    "invalid from the wan": (Packet("ppp0", "lan0", FAR, PC, "invalid"), "drop", "", "invalid"),
    "invalid to the gateway, from the wan": (Packet("ppp0", "", FAR, WAN4, "invalid"), "drop", "", "invalid"),
    "invalid to the gateway, from the lan": (Packet("lan0", "", PC, "192.168.1.1", "invalid"), "drop", "", "invalid"),
    "new to the gateway is not ours to judge": (Packet("ppp0", "", FAR, WAN4), "accept", FAR, ""),
    "from wan to wan": (Packet("ppp0", "wg0", FAR, VPN), "drop", "", "closed"),
    # LANs among each other
    "guests to the office are told no": (Packet("wlan0", "lan0", GUEST, PC), "reject", "", "isolation"),
    "office to guests too": (Packet("lan0", "wlan0", PC, GUEST), "reject", "", "isolation"),
    "within one lan": (Packet("lan0", "lan1", PC, "192.168.1.11"), "accept", PC, "lan/office"),
    "reaches": (Packet("lan0", "prn0", PC, PRINTER), "accept", PC, "lan/office"),
    "reaches works one way": (Packet("prn0", "lan0", PRINTER, PC), "reject", "", "isolation"),
    "answers of the reached lan": (Packet("prn0", "lan0", PRINTER, PC, "established"), "accept", PRINTER, "answers"),
    # 4. Only what was declared
    "between others": (Packet("docker0", "eth9", "172.17.0.2", FAR), "accept", "172.17.0.2", ""),
    "invalid between others": (Packet("docker0", "eth9", "172.17.0.2", FAR, "invalid"), "accept", "172.17.0.2", ""),
    "container to the wan": (Packet("docker0", "ppp0", "172.17.0.2", FAR), "accept", "172.17.0.2", ""),
    "wan to a container": (Packet("ppp0", "docker0", FAR, "172.17.0.2"), "accept", FAR, ""),
    "container to the lan": (Packet("docker0", "lan0", "172.17.0.2", PC), "accept", "172.17.0.2", ""),
    "answers between a container and the lan are not ours either": (
        Packet("docker0", "lan0", "172.17.0.2", PC, "established"), "accept", "172.17.0.2", "",
    ),
    "answers between the wan and a container neither": (
        Packet("ppp0", "docker0", FAR, "172.17.0.2", "established"), "accept", FAR, "",
    ),
    "name that only begins like a lan": (Packet("lan01", "eth9", PC, FAR), "accept", PC, ""),
    # 5. Spoof safe
    "foreign source on a lan": (Packet("lan0", "ppp0", FAR, FAR), "drop", "", "spoofed/office"),
    "another lan's source": (Packet("wlan0", "ppp0", PC, FAR), "drop", "", "spoofed/guests"),
    "spoofed inside a known flow": (Packet("lan0", "ppp0", FAR, FAR, "established"), "drop", "", "spoofed/office"),
    "spoofed to a container": (Packet("lan0", "docker0", FAR, FAR), "drop", "", "spoofed/office"),
    "ipv6 from a lan that has none": (Packet("wlan0", "ppp0", "fd00:9::9", FAR6), "drop", "", "spoofed/guests"),
}  # fmt: skip


@pytest.mark.parametrize("name", TRACES)
def test_guarantee(name):
    packet, verdict, source_seen, key = TRACES[name]
    seen = trace(compiled(), packet)
    keys = [each for each in seen.keys if each != "mss"]
    assert (seen.verdict, seen.source_seen, keys[-1] if keys else "") == (verdict, source_seen, key)


@pytest.mark.parametrize("state", ["new", "established", "related", "untracked", "invalid"])
@pytest.mark.parametrize(
    ("iif", "source", "far"),
    [("lan0", PC, FAR), ("wlan0", GUEST, FAR), ("prn0", PRINTER, FAR), ("lan0", PC6_ULA, FAR6)],
)
def test_guard_without_the_nat_rules(iif, source, far, state):
    """An accident has taken the NAT rules away: nothing leaves with a LAN source all the same."""
    seen = trace(without(compiled(), "srcnat"), Packet(iif, "ppp0", source, far, state))
    assert (seen.verdict, seen.keys[-1]) == ("drop", "invalid" if state == "invalid" else "guard")


def test_guard_stands_alone():
    """Not even with every other chain gone does a LAN source leave; an exempt one does."""
    bare = compiled()
    for chain in ("srcnat", "forward", "input", "lan-office", "lan-guests", "lan-printers"):
        bare = without(bare, chain)
    assert trace(bare, Packet("lan0", "ppp0", PC, FAR, "invalid")).keys == ("guard",) or (
        trace(bare, Packet("lan0", "ppp0", PC, FAR, "invalid")).keys == ("mss", "guard")
    )
    assert trace(bare, Packet("lan0", "wg0", PC, VPN)).verdict == "accept"


def test_ipv6_masquerade():
    seen = trace(compiled(ipv6="masquerade"), Packet("lan0", "ppp0", PC6, FAR6))
    assert (seen.verdict, seen.source_seen) == ("accept", WAN6)
    guarded = trace(without(compiled(ipv6="masquerade"), "srcnat"), Packet("lan0", "ppp0", PC6, FAR6))
    assert guarded.keys[-1] == "guard"


#: packet, whether its MSS is clamped
TEST_MSS = [
    (Packet("lan0", "ppp0", PC, FAR, tcp_syn=True), True),
    (Packet("ppp0", "lan0", FAR, PC, "established", tcp_syn=True), True),
    (Packet("lan0", "ppp0", PC6, FAR6, tcp_syn=True), True),
    (Packet("lan0", "ppp0", PC, FAR), False),
    (Packet("lan0", "prn0", PC, PRINTER, tcp_syn=True), False),
    (Packet("docker0", "eth9", FAR, FAR, tcp_syn=True), False),
]


@pytest.mark.parametrize(("packet", "clamped"), TEST_MSS)
def test_mss(packet, clamped):
    assert ("mss" in trace(compiled(), packet).keys) == clamped
    assert "mss" not in trace(compiled(mss="keep"), packet).keys


def test_first_nat_item_decides():
    items = [{"name": "all"}, {"name": "late", "action": "exempt", "destination": ["198.51.100.0/24"]}]
    assert trace(compiled(nat=items), Packet("lan0", "ppp0", PC, FAR)).source_seen == WAN4
    assert trace(compiled(nat=items[::-1]), Packet("lan0", "ppp0", PC, FAR)).source_seen == PC


def test_no_chain_of_a_hook_is_doubled_and_every_jump_has_its_chain():
    ruleset = compiled()
    hooked = [(chain.hook, chain.stage) for chain in ruleset.chains if chain.hook]
    assert len(set(hooked)) == len(hooked)
    names = [chain.name for chain in ruleset.chains]
    assert len(set(names)) == len(names)
    assert {rule.action.target for rule in ruleset.rules if rule.action.kind == "jump"} <= set(names)
    assert {rule.chain for rule in ruleset.rules} == set(names)


def test_postrouting_never_asks_for_the_incoming_interface():
    """iptables refuses -i there."""
    for chain in ("srcnat", "egress"):
        assert not [rule for rule in rules_of(compiled(), chain) if rule.match.iif]


def test_items_make_the_four_classic_lines():
    lan = ["192.168.1.0/24"]
    masquerade = masquerade_from_params(masquerade_params(name="lan", source=lan, out_interface="ppp0"))
    out = forward_from_params(forward_params(name="out", source=lan, out_interface="ppp0"))
    back = forward_from_params(
        forward_params(name="back", destination=lan, in_interface="ppp0", ct_state=["established", "related"])
    )
    packet = Packet("lan0", "ppp0", PC, FAR)
    assert trace(compile_item("default", masquerade), packet).source_seen == WAN4
    assert trace(compile_item("default", out), packet).keys == ("forward/out",)
    answer = Packet("ppp0", "lan0", FAR, PC, "established")
    assert trace(compile_item("default", back), answer).keys == ("forward/back",)
    assert trace(compile_item("default", back), Packet("ppp0", "lan0", FAR, PC)).keys == ()


#: options, families of the rules
TEST_ITEM_FAMILIES = [
    (dict(in_interface="a0"), [""]),
    (dict(source=["192.168.1.0/24"]), ["ip"]),
    (dict(source=["fd00::/64"]), ["ip6"]),
    (dict(source=["fd00::/64", "10.0.0.0/8"]), ["ip", "ip6"]),
    (dict(source=["fd00::/64", "10.0.0.0/8"], destination=["fd01::/64"]), ["ip6"]),
]


@pytest.mark.parametrize(("given", "families"), TEST_ITEM_FAMILIES)
def test_item_families(given, families):
    rules = compile_item("default", forward_from_params(forward_params(name="x", **given))).rules
    assert [rule.match.family for rule in rules] == families
