# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a gateway guarantees, packet by packet, on the neutral rules that both backends render."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._facts.links import Facts
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.items import (
    forward_from_params,
    masquerade_from_params,
)
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.read import gateway_from_params
from ansible_collections.ipmasq.linux.plugins.module_utils._resolve.resolve import resolve
from ansible_collections.ipmasq.linux.plugins.module_utils._rules.compile import compile_gateway, compile_item
from ansible_collections.ipmasq.linux.tests.unit.packet import GATEWAY_ADDRESS, Packet, rules_of, trace, without
from ansible_collections.ipmasq.linux.tests.unit.params import forward_params, gateway_params, masquerade_params, tried

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
    "guests to the office are refused": (Packet("wlan0", "lan0", GUEST, PC), "reject", "", "isolation"),
    "office to guests too": (Packet("lan0", "wlan0", PC, GUEST), "reject", "", "isolation"),
    "within one lan": (Packet("lan0", "lan1", PC, "192.168.1.11"), "accept", PC, "lan/office"),
    "reaches": (Packet("lan0", "prn0", PC, PRINTER), "accept", PC, "lan/office"),
    "reaches works one way": (Packet("prn0", "lan0", PRINTER, PC), "reject", "", "isolation"),
    "answers of the reached lan": (
        Packet("prn0", "lan0", PRINTER, PC, "established", direction="reply"), "accept", PRINTER, "answers",
    ),
    "an open flow whose route has moved into another lan": (
        Packet("prn0", "lan0", PRINTER, PC, "established"), "reject", "", "isolation",
    ),
    # 4. Only what was declared
    "between others": (Packet("docker0", "eth9", "172.17.0.2", FAR), "accept", "172.17.0.2", ""),
    "invalid between others": (Packet("docker0", "eth9", "172.17.0.2", FAR, "invalid"), "accept", "172.17.0.2", ""),
    "container to the wan, translated by nobody": (Packet("docker0", "ppp0", "172.17.0.2", FAR), "drop", "", "guard"),
    "container to the wan, not private": (
        Packet("docker0", "ppp0", "203.0.113.77", FAR), "accept", "203.0.113.77", "managed",
    ),
    "container to the wan, as this host": (Packet("docker0", "ppp0", WAN4, FAR), "drop", "", "spoofed"),
    "lan to the wan, as this host": (Packet("lan0", "ppp0", WAN4, FAR), "drop", "", "spoofed"),
    "wan to a container": (Packet("ppp0", "docker0", FAR, "172.17.0.2"), "drop", "", "undeclared"),
    "wan to a container, by its manager's translation": (
        Packet("ppp0", "docker0", FAR, "172.17.0.2", asked=WAN4), "accept", FAR, "managed",
    ),
    "container to the lan": (Packet("docker0", "lan0", "172.17.0.2", PC), "accept", "172.17.0.2", "managed"),
    "lan to a container": (Packet("lan0", "docker0", PC, "172.17.0.2"), "accept", PC, "managed"),
    # A tunnel may get a default route after the run.
    "a site behind a tunnel to the lan": (Packet("tun0", "lan0", "10.7.7.7", PC), "accept", "10.7.7.7", "managed"),
    "lan to a site behind a tunnel": (Packet("lan0", "tun0", PC, "100.64.7.7"), "accept", PC, "managed"),
    "the internet behind a tunnel to the lan": (Packet("tun0", "lan0", FAR, PC), "drop", "", "undeclared"),
    "lan to the internet behind a tunnel": (Packet("lan0", "tun0", PC, FAR), "drop", "", "undeclared"),
    "lan to the ipv6 internet behind a tunnel": (Packet("lan0", "tun0", PC6, FAR6), "drop", "", "undeclared"),
    "lan to a group behind a tunnel": (Packet("lan0", "tun0", PC, "239.1.1.1"), "accept", PC, "managed"),
    "a tunnel, to the wan": (Packet("tun0", "ppp0", FAR, FAR), "accept", FAR, "managed"),
    "answers between a container and the lan": (
        Packet("docker0", "lan0", "172.17.0.2", PC, "established"), "accept", "172.17.0.2", "answers",
    ),
    "answers between the wan and a container": (
        Packet("ppp0", "docker0", FAR, "172.17.0.2", "established"), "accept", FAR, "answers",
    ),
    "what conntrack does not follow of a container": (
        Packet("docker0", "ppp0", "172.17.0.2", FAR, "untracked"), "drop", "", "guard",
    ),
    "lan to a link that nobody declared": (Packet("lan0", "eth9", PC, FAR), "drop", "", "undeclared"),
    "a link that nobody declared to the lan": (Packet("eth9", "lan0", FAR, PC), "drop", "", "undeclared"),
    "a link that nobody declared to the wan": (Packet("eth9", "ppp0", FAR, FAR), "drop", "", "undeclared"),
    "the wan to a link that nobody declared": (Packet("ppp0", "eth9", FAR, "10.9.9.9"), "drop", "", "undeclared"),
    "answers of a link that nobody declared": (
        Packet("eth9", "lan0", FAR, PC, "established"), "accept", FAR, "answers",
    ),
    "name that only begins like a lan": (Packet("lan01", "eth9", PC, FAR), "accept", PC, ""),
    # 5. Spoof safe
    "foreign source on a lan": (Packet("lan0", "ppp0", FAR, FAR), "drop", "", "spoofed/office"),
    "another lan's source": (Packet("wlan0", "ppp0", PC, FAR), "drop", "", "spoofed/guests"),
    "spoofed inside a known flow": (Packet("lan0", "ppp0", FAR, FAR, "established"), "drop", "", "spoofed/office"),
    "spoofed to a container": (Packet("lan0", "docker0", FAR, FAR), "drop", "", "spoofed/office"),
    "a lan's source from the wan": (Packet("ppp0", "lan0", GUEST, PC), "drop", "", "spoofed/ppp*"),
    "a lan's source from the wan, inside a known flow": (
        Packet("wg0", "lan0", PC6, PC6, "established"), "drop", "", "spoofed/wg0",
    ),
    "a lan's source from the wan, to the gateway": (Packet("ppp0", "", PC, WAN4), "drop", "", "spoofed/ppp*"),
    "an address of this host from a lan": (Packet("lan0", "ppp0", WAN6, FAR6), "drop", "", "spoofed"),
    "an address of this host from the wan": (Packet("ppp0", "lan0", WAN6, PC6), "drop", "", "spoofed"),
    "an address of this host from a container": (Packet("docker0", "ppp0", WAN6, FAR6), "drop", "", "spoofed"),
    "ipv6 from a lan that has none": (Packet("wlan0", "ppp0", "fd00:9::9", FAR6), "drop", "", "spoofed/guests"),
}  # fmt: skip


@pytest.mark.parametrize("name", TRACES)
def test_guarantee(name):
    packet, verdict, source_seen, key = TRACES[name]
    seen = trace(compiled(), packet)
    keys = [each for each in seen.keys if each not in ("mss", "reach")]
    assert (seen.verdict, seen.source_seen, keys[-1] if keys else "") == (verdict, source_seen, key)


@pytest.mark.parametrize("state", ["new", "established", "related", "untracked", "invalid"])
@pytest.mark.parametrize(
    ("iif", "source", "far"),
    [("lan0", PC, FAR), ("wlan0", GUEST, FAR), ("prn0", PRINTER, FAR), ("lan0", PC6_ULA, FAR6)],
)
def test_guard_without_the_nat_rules(iif, source, far, state):
    """Even after an accident removed the NAT rules, nothing leaves with a LAN source."""
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
    most = {"name": "most", "destination": ["198.0.0.0/7", "203.0.0.0/8"]}
    items = [most, {"name": "late", "action": "exempt", "destination": ["198.51.100.0/24"]}]
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


# --- NAT items ------------------------------------------------------------------------------------------------------


def item(name, action="masquerade", **more):
    """A NAT item whose addresses an outside router sends here, because no host is asked."""
    routed = {"to_address": "routed"} if action == "snat" else {}
    return dict(routed, name=name, action=action, **more)


REST = {"name": "rest"}
MAIL = item("mail", "snat", source=["192.168.1.25"], protocol=["tcp"], port=["25", "465-587"], to=["203.0.113.9"])
BOTH_FAMILIES = item("both", "snat", source=["office"], to=["203.0.113.9", "2001:db8:f0::9"])
BLOCK = item("block", "static", source=["192.168.1.32/28"], to=["203.0.113.32/28"])
SERVER = item("server", "static", source=["192.168.1.20"], to=["203.0.113.20"])
SERVER6 = item("server6", "static", source=["fd00:1::/64"], to=["2001:db8:f1::/64"])
ENCRYPTED = item("encrypted", "exempt", ipsec=True)
#: name: the NAT items
NATS = {
    "snat for one host and port": [MAIL, REST],
    "snat in both families": [BOTH_FAMILIES],
    "pool": [item("pool", "snat", to=["203.0.113.16-203.0.113.19", "203.0.113.30"])],
    "static network": [BLOCK, REST],
    "static network alone": [BLOCK],
    "static address": [SERVER, REST],
    "static, closed": [dict(SERVER, inbound=False), REST],
    "static, one wan": [dict(SERVER, wan="wg0"), REST],
    "static, one destination": [dict(SERVER, destination=[VPN + "/32"]), REST],
    "static ipv6": [SERVER6, REST],
    "exempt what ipsec encrypts": [ENCRYPTED, REST],
    "exempt one port": [item("sip", "exempt", protocol=["udp"], port=["5060"]), REST],
    "masquerade by protocol": [item("tcp", protocol=["tcp"]), item("ping", protocol=["icmp"])],
    "masquerade by protocol and port": [item("dns", protocol=["both"], port=["53"])],
    "masquerade to ports": [item("all", to_port="1024-65535")],
    "masquerade at random": [item("all", random=True)],
}
MAILER, SERVER4 = "192.168.1.25", "192.168.1.20"


def out(source, far=FAR, protocol="", port=0, iif="lan0", oif="ppp0", **more):
    return Packet(iif, oif, source, far, protocol=protocol, port=port, **more)


#: name: (NAT items, packet, verdict, source seen, key of the last rule)
NAT_TRACES = {
    "snat": ("snat for one host and port", out(MAILER, FAR, "tcp", 25), "accept", "203.0.113.9", "nat/mail"),
    "snat, range of ports": (
        "snat for one host and port", out(MAILER, FAR, "tcp", 500), "accept", "203.0.113.9", "nat/mail",
    ),
    "snat, other port": ("snat for one host and port", out(MAILER, FAR, "tcp", 26), "accept", WAN4, "nat/rest"),
    "snat, other protocol": ("snat for one host and port", out(MAILER, FAR, "udp", 25), "accept", WAN4, "nat/rest"),
    "snat, no port": ("snat for one host and port", out(MAILER, FAR, "icmp"), "accept", WAN4, "nat/rest"),
    "snat, other host": ("snat for one host and port", out(PC, FAR, "tcp", 25), "accept", WAN4, "nat/rest"),
    "snat, ipv4": ("snat in both families", out(PC), "accept", "203.0.113.9", "nat/both"),
    "snat, ipv6": ("snat in both families", out(PC6_ULA, FAR6), "accept", "2001:db8:f0::9", "nat/both"),
    "snat, global ipv6 is routed": ("snat in both families", out(PC6, FAR6), "accept", PC6, "lan/office"),
    "snat, other lan": ("snat in both families", out(GUEST, iif="wlan0"), "drop", "", "guard"),
    "pool": ("pool", out(PC), "accept", "203.0.113.16", "nat/pool"),
    "pool has no ipv6": ("pool", out(PC6_ULA, FAR6), "drop", "", "guard"),
    "static keeps the number": ("static network", out("192.168.1.35"), "accept", "203.0.113.35", "nat/block"),
    "static, first": ("static network", out("192.168.1.32"), "accept", "203.0.113.32", "nat/block"),
    "static, last": ("static network", out("192.168.1.47"), "accept", "203.0.113.47", "nat/block"),
    "static, the rest": ("static network", out("192.168.1.48"), "accept", WAN4, "nat/rest"),
    "static, no rest": ("static network alone", out("192.168.1.48"), "drop", "", "guard"),
    "static address": ("static address", out(SERVER4), "accept", "203.0.113.20", "nat/server"),
    "static address, closed": ("static, closed", out(SERVER4), "accept", "203.0.113.20", "nat/server"),
    "static, its wan": ("static, one wan", out(SERVER4, oif="wg0"), "accept", "203.0.113.20", "nat/server"),
    "static, other wan": ("static, one wan", out(SERVER4), "accept", WAN4, "nat/rest"),
    "static, destination": ("static, one destination", out(SERVER4, VPN), "accept", "203.0.113.20", "nat/server"),
    "static, other destination": ("static, one destination", out(SERVER4), "accept", WAN4, "nat/rest"),
    "static ipv6": ("static ipv6", out(PC6_ULA, FAR6), "accept", "2001:db8:f1::10", "nat/server6"),
    "static ipv6, ipv4": ("static ipv6", out(PC), "accept", WAN4, "nat/rest"),
    "encrypted": ("exempt what ipsec encrypts", out(PC, ipsec=True), "accept", PC, "nat/encrypted"),
    "not encrypted": ("exempt what ipsec encrypts", out(PC), "accept", WAN4, "nat/rest"),
    "exempt port": ("exempt one port", out(PC, FAR, "udp", 5060), "accept", PC, "nat/sip"),
    "exempt, other port": ("exempt one port", out(PC, FAR, "udp", 5061), "accept", WAN4, "nat/rest"),
    "exempt, other protocol": ("exempt one port", out(PC, FAR, "tcp", 5060), "accept", WAN4, "nat/rest"),
    "by protocol": ("masquerade by protocol", out(PC, FAR, "tcp", 1), "accept", WAN4, "nat/tcp"),
    "by protocol, icmp": ("masquerade by protocol", out(PC, FAR, "icmp"), "accept", WAN4, "nat/ping"),
    "by protocol, icmp is icmpv6": ("masquerade by protocol", out(PC6_ULA, FAR6, "icmpv6"), "accept", WAN6, "nat/ping"),
    "by protocol, none": ("masquerade by protocol", out(PC, FAR, "udp", 53), "drop", "", "guard"),
    "by port, tcp": ("masquerade by protocol and port", out(PC, FAR, "tcp", 53), "accept", WAN4, "nat/dns"),
    "by port, udp": ("masquerade by protocol and port", out(PC, FAR, "udp", 53), "accept", WAN4, "nat/dns"),
    "by port, other": ("masquerade by protocol and port", out(PC, FAR, "udp", 54), "drop", "", "guard"),
    "to ports, tcp": ("masquerade to ports", out(PC, FAR, "tcp", 80), "accept", WAN4, "nat/all"),
    "to ports, no ports": ("masquerade to ports", out(PC, FAR, "icmp"), "accept", WAN4, "nat/all"),
    "at random": ("masquerade at random", out(PC, FAR, "udp", 53), "accept", WAN4, "nat/all"),
}  # fmt: skip


def last_key(seen):
    return ([""] + [key for key in seen.keys if key not in ("mss", "reach")])[-1]


@pytest.mark.parametrize("name", NAT_TRACES)
def test_nat(name):
    nat, packet, verdict, source_seen, key = NAT_TRACES[name]
    seen = trace(compiled(nat=NATS[nat]), packet)
    assert (seen.verdict, seen.source_seen, last_key(seen)) == (verdict, source_seen, key)


@pytest.mark.parametrize("name", NAT_TRACES)
def test_nat_gone_nothing_leaves_untranslated(name):
    """An accident has removed the NAT rules."""
    nat, packet, _verdict, source_seen, key = NAT_TRACES[name]
    seen = trace(without(compiled(nat=NATS[nat]), "srcnat"), packet)
    meant = source_seen == packet.source
    assert (seen.verdict, seen.source_seen) == (("accept", packet.source) if meant else ("drop", ""))
    assert last_key(seen) == (key if meant else "guard")


#: name: (NAT items, packet from outside, verdict, destination seen, key of the last rule)
INBOUND = {
    "static network": ("static network", ("203.0.113.35", "lan0"), "accept", "192.168.1.35", "nat/block"),
    "static address": ("static address", ("203.0.113.20", "lan0"), "accept", SERVER4, "nat/server"),
    "static, second wan": ("static address", ("203.0.113.20", "lan0", "wg0"), "accept", SERVER4, "nat/server"),
    "static, closed": ("static, closed", ("203.0.113.20", "lan0"), "drop", "", "closed"),
    "static, one wan": ("static, one wan", ("203.0.113.20", "lan0", "wg0"), "accept", SERVER4, "nat/server"),
    "static, other wan": ("static, one wan", ("203.0.113.20", "lan0", "ppp0"), "drop", "", "closed"),
    "static, into another lan": ("static address", ("203.0.113.20", "wlan0"), "drop", "", "closed"),
    "static, other address": ("static network", ("203.0.113.48", "lan0"), "drop", "", "closed"),
    "static, by the address inside": ("static address", (SERVER4, "lan0"), "drop", "", "closed"),
    "static ipv6": ("static ipv6", ("2001:db8:f1::10", "lan0"), "accept", PC6_ULA, "nat/server6"),
    "snat lets nothing in": ("snat for one host and port", ("203.0.113.9", "lan0"), "drop", "", "closed"),
    "exempt lets nothing in": ("exempt what ipsec encrypts", (PC, "lan0"), "drop", "", "closed"),
}


@pytest.mark.parametrize("name", INBOUND)
def test_nat_inbound(name):
    nat, (asked, oif, *wan), verdict, destination_seen, key = INBOUND[name]
    packet = Packet(wan[0] if wan else "ppp0", oif, FAR6 if ":" in asked else FAR, asked)
    seen = trace(compiled(nat=NATS[nat]), packet)
    assert (seen.verdict, seen.destination_seen, last_key(seen)) == (verdict, destination_seen, key)


def test_static_inbound_is_for_new_connections_of_valid_state():
    ruleset = compiled(nat=NATS["static address"])
    assert trace(ruleset, Packet("ppp0", "lan0", FAR, "203.0.113.20", "invalid")).verdict == "drop"
    assert trace(ruleset, Packet("ppp0", "lan0", FAR, "203.0.113.20", "untracked")).verdict == "drop"


def test_static_of_one_destination_is_open_for_that_destination_only():
    """``destination`` limits the 1:1 mapping to these hosts; no other may open connections through it."""
    ruleset = compiled(nat=NATS["static, one destination"])
    assert trace(ruleset, Packet("ppp0", "lan0", VPN, "203.0.113.20")).verdict == "accept"
    assert trace(ruleset, Packet("ppp0", "lan0", FAR, "203.0.113.20")).verdict == "drop"


def test_static_of_more_than_a_lan_lets_nothing_in_elsewhere():
    """192.168.0.0/23 begins below the LAN 192.168.1.0/24; what is not in a LAN is left alone or closed."""
    nat = [item("wide", "static", source=["192.168.0.0/23"], to=["203.0.112.0/23"]), REST]
    ruleset = compiled(nat=nat)
    assert trace(ruleset, Packet("ppp0", "lan0", FAR, "203.0.113.20")).verdict == "accept"
    assert "nat/wide" not in trace(without(ruleset, "dstnat"), Packet("ppp0", "wlan0", FAR, GUEST, asked=FAR)).keys
    forward = [rule for rule in rules_of(ruleset, "between") if rule.key == "nat/wide"]
    assert [rule.match.oif for rule in forward] == [("lan0", "lan1")] * 2


def actions_of(key, **given):
    return [(rule.match, rule.action) for rule in rules_of(compiled(**given), "srcnat") if rule.key == key]


def test_pool_is_one_rule_with_all_addresses():
    ((match, action),) = actions_of("nat/pool", nat=NATS["pool"])
    assert (match.family, action.kind, action.persistent) == ("ip", "snat", True)
    assert action.to == ("203.0.113.16-203.0.113.19", "203.0.113.30")
    fleeting = [dict(NATS["pool"][0], persistent=False)]
    assert not actions_of("nat/pool", nat=fleeting)[0][1].persistent


def test_ports_are_for_protocols_that_have_some():
    rules = actions_of("nat/all", nat=NATS["masquerade to ports"])
    assert [(match.family, match.protocol, action.ports) for match, action in rules] == [
        (family, protocol, (1024, 65535) if protocol else None)
        for family in ("ip", "ip6")
        for protocol in ("tcp", "udp", "sctp", "")
    ]
    # A range of ports has no meaning for ICMP alone.
    rules = actions_of("nat/all", nat=[item("all", protocol=["icmp"], to_port="1024-65535")])
    assert {(match.protocol, action.ports) for match, action in rules} == {("icmp", None), ("icmpv6", None)}


def test_profile():
    rules = actions_of("nat/rest", nat=[REST], profile="server_egress")
    assert {(action.ports, action.random) for _match, action in rules} == {((1024, 65535), True), (None, True)}
    rules = actions_of("nat/rest", nat=[dict(REST, random=False, to_port="2000-2999")], profile="server_egress")
    assert {(action.ports, action.random) for _match, action in rules} == {((2000, 2999), False), (None, False)}
    rules = actions_of("nat/rest", nat=[REST])
    assert {(action.ports, action.random) for _match, action in rules} == {(None, False)}


# --- IPv6 by prefix -------------------------------------------------------------------------------------------------

#: The example of RFC 6296 appendix B: fd01:203:405:1::1234 becomes 2001:db8:1:d550::1234.
INSIDE = dict(OFFICE, networks=["192.168.1.0/24", "fd01:203:405:1::/64"])
PREFIX = item("six", "prefix", source=["fd01:203:405::/48"], to=["2001:db8:1::/48"])
LONG = item("six", "prefix", source=["fd01:203:405:1::/64"], to=["2001:db8:1:7::/64"])
HOST6, OUTSIDE6 = "fd01:203:405:1::1234", "2001:db8:1:d550::1234"


def by_prefix(*nat):
    return compiled(lans=[INSIDE, GUESTS, PRINTERS], ipv6="prefix", nat=list(nat) + [REST])


def test_prefix():
    for ruleset, outside in ((by_prefix(PREFIX), OUTSIDE6), (by_prefix(LONG), "2001:db8:1:7::1234")):
        seen = trace(ruleset, out(HOST6, FAR6))
        assert (seen.verdict, seen.source_seen, last_key(seen)) == ("accept", outside, "nat/six")
        assert trace(ruleset, out(PC)).source_seen == WAN4
        assert last_key(trace(without(ruleset, "srcnat"), out(HOST6, FAR6))) == "guard"
        assert trace(ruleset, Packet("ppp0", "lan0", FAR6, outside)).keys[-1] == "closed"
        assert trace(ruleset, Packet("ppp0", "lan0", FAR6, HOST6, "established")).verdict == "accept"


def test_prefix_open():
    for nat, outside in ((PREFIX, OUTSIDE6), (LONG, "2001:db8:1:7::1234")):
        ruleset = by_prefix(dict(nat, inbound=True))
        seen = trace(ruleset, Packet("ppp0", "lan0", FAR6, outside))
        assert (seen.verdict, seen.destination_seen, last_key(seen)) == ("accept", HOST6, "nat/six")
        assert trace(ruleset, Packet("ppp0", "wlan0", FAR6, outside)).verdict == "drop"


def test_prefix_is_the_only_way_for_ipv6():
    """Neither masquerade nor snat takes what a prefix should: the promise is to translate by prefix only."""
    ruleset = by_prefix(item("first", destination=["0.0.0.0/1", "128.0.0.0/1", "::/1"]), PREFIX)
    assert trace(ruleset, out(HOST6, FAR6)).source_seen == OUTSIDE6
    assert trace(ruleset, out(PC)).source_seen == WAN4


# --- Port forwards --------------------------------------------------------------------------------------------------

SERVER_6 = "2001:db8:1::20"
WEB = {"name": "web", "port": ["443"], "to": [SERVER4], "to_port": 8443}
GAME = {"name": "game", "port": ["27000-27015"], "protocol": ["both"], "to": [SERVER4], "to_port": 7000}
#: name: the port forwards
FORWARDS = {
    "web": [WEB],
    "same port": [{"name": "web", "port": ["443"], "to": [SERVER4]}],
    "some clients": [dict(WEB, source=["198.51.100.0/29"])],
    "one wan": [dict(WEB, wan="wg0")],
    "one address": [dict(WEB, destination=["203.0.113.7"])],
    "shift": [GAME],
    "ports and ranges": [{"name": "web", "port": ["80", "443", "8000-8010"], "to": [SERVER4]}],
    "several servers": [dict(WEB, to=[SERVER4, "192.168.1.21"])],
    "exception first": [dict(WEB, name="few", source=["198.51.100.8/29"], to=["192.168.1.21"]), WEB],
    "sctp": [dict(WEB, protocol=["sctp"])],
    "ipv6 inside": [dict(WEB, to=["fd00:1::20"])],
    "pinhole": [{"name": "web", "port": ["443"], "to": [SERVER_6]}],
    "pinhole for some": [{"name": "web", "port": ["443"], "to": [SERVER_6], "source": ["2001:db8:e::/64"]}],
    "pinhole, one wan": [{"name": "web", "port": ["443"], "to": [SERVER_6], "wan": "wg0"}],
}


def ask(asked, port, oif="lan0", protocol="tcp", iif="ppp0", source=None, **more):
    source = source or (FAR6 if ":" in asked else FAR)
    return Packet(iif, oif, source, asked, protocol=protocol, port=port, **more)


#: name: (port forwards, packet, verdict, destination seen, key of the last rule)
FORWARD_TRACES = {
    "forward": ("web", ask(WAN4, 443), "accept", SERVER4 + ":8443", "port_forward/web"),
    "any wan": ("web", ask(WAN4, 443, iif="wg0"), "accept", SERVER4 + ":8443", "port_forward/web"),
    "same port": ("same port", ask(WAN4, 443), "accept", SERVER4 + ":443", "port_forward/web"),
    "other port stays here": ("web", ask(WAN4, 444, ""), "accept", WAN4 + ":444", ""),
    "other protocol stays here": ("web", ask(WAN4, 443, "", "udp"), "accept", WAN4 + ":443", ""),
    "past the forward": ("web", ask(SERVER4, 8443), "drop", "", "closed"),
    "past the forward, port outside": ("web", ask(SERVER4, 443), "drop", "", "closed"),
    "an address that is not ours": ("web", ask("203.0.113.7", 443), "drop", "", "closed"),
    "wrong exit": ("web", ask(WAN4, 443, "wlan0"), "drop", "", "closed"),
    "invalid": ("web", ask(WAN4, 443, ct_state="invalid"), "drop", "", "invalid"),
    "untracked": ("web", ask(SERVER4, 8443, ct_state="untracked"), "drop", "", "closed"),
    "from a stranger's interface": ("web", ask(WAN4, 443, "", iif="docker0"), "accept", WAN4 + ":443", ""),
    "from a lan without hairpin": ("web", ask(WAN4, 443, "", iif="lan0", source=PC), "accept", WAN4 + ":443", ""),
    "some clients": (
        "some clients", ask(WAN4, 443, source="198.51.100.3"), "accept", SERVER4 + ":8443", "port_forward/web",
    ),
    "other clients": ("some clients", ask(WAN4, 443, ""), "accept", WAN4 + ":443", ""),
    "one wan": ("one wan", ask(WAN4, 443, iif="wg0"), "accept", SERVER4 + ":8443", "port_forward/web"),
    "other wan": ("one wan", ask(WAN4, 443, ""), "accept", WAN4 + ":443", ""),
    "one address": ("one address", ask("203.0.113.7", 443), "accept", SERVER4 + ":8443", "port_forward/web"),
    "other address": ("one address", ask(WAN4, 443, ""), "accept", WAN4 + ":443", ""),
    "shift, first": ("shift", ask(WAN4, 27000), "accept", SERVER4 + ":7000", "port_forward/game"),
    "shift, inside": ("shift", ask(WAN4, 27003, protocol="udp"), "accept", SERVER4 + ":7003", "port_forward/game"),
    "shift, last": ("shift", ask(WAN4, 27015), "accept", SERVER4 + ":7015", "port_forward/game"),
    "shift, beyond": ("shift", ask(WAN4, 27016, ""), "accept", WAN4 + ":27016", ""),
    "several ports": ("ports and ranges", ask(WAN4, 80), "accept", SERVER4 + ":80", "port_forward/web"),
    "range of ports": ("ports and ranges", ask(WAN4, 8005), "accept", SERVER4 + ":8005", "port_forward/web"),
    "between the ports": ("ports and ranges", ask(WAN4, 444, ""), "accept", WAN4 + ":444", ""),
    "exception": ("exception first", ask(WAN4, 443), "accept", "192.168.1.21:8443", "port_forward/few"),
    "no exception": (
        "exception first", ask(WAN4, 443, source="8.8.8.8"), "accept", SERVER4 + ":8443", "port_forward/web",
    ),
    "sctp": ("sctp", ask(WAN4, 443, protocol="sctp"), "accept", SERVER4 + ":8443", "port_forward/web"),
    "sctp, tcp": ("sctp", ask(WAN4, 443, ""), "accept", WAN4 + ":443", ""),
    "unique local": ("ipv6 inside", ask(WAN6, 443), "accept", "fd00:1::20:8443", "port_forward/web"),
    "unique local, ipv4": ("ipv6 inside", ask(WAN4, 443, ""), "accept", WAN4 + ":443", ""),
    "pinhole": ("pinhole", ask(SERVER_6, 443), "accept", SERVER_6 + ":443", "port_forward/web"),
    "pinhole, other port": ("pinhole", ask(SERVER_6, 80), "drop", "", "closed"),
    "pinhole, other protocol": ("pinhole", ask(SERVER_6, 443, protocol="udp"), "drop", "", "closed"),
    "pinhole, other host": ("pinhole", ask("2001:db8:1::21", 443), "drop", "", "closed"),
    "pinhole, wrong exit": ("pinhole", ask(SERVER_6, 443, "wlan0"), "drop", "", "closed"),
    "pinhole, to the gateway": ("pinhole", ask(WAN6, 443, ""), "accept", WAN6 + ":443", ""),
    "pinhole for some": (
        "pinhole for some", ask(SERVER_6, 443, source="2001:db8:e::1"), "accept", SERVER_6 + ":443", "port_forward/web",
    ),
    "pinhole for others": ("pinhole for some", ask(SERVER_6, 443), "drop", "", "closed"),
    "pinhole, one wan": (
        "pinhole, one wan", ask(SERVER_6, 443, iif="wg0"), "accept", SERVER_6 + ":443", "port_forward/web",
    ),
    "pinhole, other wan": ("pinhole, one wan", ask(SERVER_6, 443), "drop", "", "closed"),
}  # fmt: skip


@pytest.mark.parametrize("name", FORWARD_TRACES)
def test_port_forward(name):
    forwards, packet, verdict, destination_seen, key = FORWARD_TRACES[name]
    seen = trace(compiled(port_forwards=FORWARDS[forwards]), packet)
    assert (seen.verdict, seen.destination_seen, last_key(seen)) == (verdict, destination_seen, key)
    assert seen.source_seen in ("", packet.source), "the server sees who asked"


def test_several_servers_are_all_let_in():
    ruleset = compiled(port_forwards=FORWARDS["several servers"])
    (dnat,) = [rule for rule in rules_of(ruleset, "dstnat") if rule.key == "port_forward/web"]
    assert (dnat.action.to, dnat.action.balance) == ((SERVER4, "192.168.1.21"), "round_robin")
    ruleset = compiled(port_forwards=[dict(FORWARDS["several servers"][0], balance="source")])
    assert [rule.action.balance for rule in rules_of(ruleset, "dstnat")] == ["source"]
    # The second server, as the kernel sees its packets behind the translation.
    for server, verdict in ((SERVER4, "accept"), ("192.168.1.21", "accept"), ("192.168.1.22", "drop")):
        packet = replace(ask(server, 8443), asked=WAN4)
        assert trace(without(ruleset, "dstnat"), packet).verdict == verdict


def test_port_forward_is_no_way_around_the_guard():
    """The answers of the server carry its own address only inside a flow that conntrack translates back."""
    ruleset = compiled(port_forwards=FORWARDS["web"])
    answer = Packet("lan0", "ppp0", SERVER4, FAR, "established", mapped=WAN4, protocol="tcp", port=50000)
    assert trace(ruleset, answer).source_seen == WAN4
    assert last_key(trace(ruleset, Packet("lan0", "ppp0", SERVER4, FAR, "established"))) == "guard"


AROUND = dict(WEB, hairpin=True)
ELSEWHERE = dict(AROUND, destination=["203.0.113.7"])
#: name: (port forward, packet, verdict, source seen, destination seen)
HAIRPINS = {
    "same lan": (AROUND, ask(WAN4, 443, iif="lan0", source=PC), "accept", WAN4, SERVER4 + ":8443"),
    "other interface of the lan": (AROUND, ask(WAN4, 443, iif="lan1", source=PC), "accept", WAN4, SERVER4 + ":8443"),
    "other lan": (AROUND, ask(WAN4, 443, iif="wlan0", source=GUEST), "accept", WAN4, SERVER4 + ":8443"),
    "outside as ever": (AROUND, ask(WAN4, 443), "accept", FAR, SERVER4 + ":8443"),
    "the address asked for": (ELSEWHERE, ask("203.0.113.7", 443, iif="lan0", source=PC), "accept", "203.0.113.7",
                              SERVER4 + ":8443"),
    "the gateway's own": (dict(ELSEWHERE, hairpin_source="gateway"), ask("203.0.113.7", 443, iif="lan0", source=PC),
                          "accept", WAN4, SERVER4 + ":8443"),
    "spoofed": (AROUND, ask(WAN4, 443, iif="wlan0", source=PC), "drop", "", ""),
    "some clients outside and inside": (dict(AROUND, source=["198.51.100.0/29", GUEST]),
                                        ask(WAN4, 443, iif="wlan0", source=GUEST), "accept", WAN4, SERVER4 + ":8443"),
    "another client than those": (dict(AROUND, source=["198.51.100.0/29", GUEST]),
                                  ask(WAN4, 443, "", iif="lan0", source=PC), "accept", PC, WAN4 + ":443"),
    "other port": (AROUND, ask(WAN4, 444, "", iif="lan0", source=PC), "accept", PC, WAN4 + ":444"),
    "past the forward": (AROUND, ask(SERVER4, 8443, iif="wlan0", source=GUEST), "reject", "", ""),
    "shifted": (dict(GAME, hairpin=True), ask(WAN4, 27003, iif="wlan0", source=GUEST), "accept", WAN4,
                SERVER4 + ":7003"),
    "unique local": (dict(AROUND, to=["fd00:1::20"]), ask(WAN6, 443, iif="lan0", source=PC6_ULA), "accept", WAN6,
                     "fd00:1::20:8443"),
}  # fmt: skip


@pytest.mark.parametrize("name", HAIRPINS)
def test_hairpin(name):
    forward, packet, verdict, source_seen, destination_seen = HAIRPINS[name]
    seen = trace(compiled(port_forwards=[forward]), packet)
    assert (seen.verdict, seen.source_seen, seen.destination_seen) == (verdict, source_seen, destination_seen)


def test_hairpin_leaves_the_addresses_inside_alone():
    """The gateway's address in the LAN is for the gateway: its own web page stays reachable."""
    around = [rule for rule in rules_of(compiled(port_forwards=[AROUND]), "dstnat") if "lan0" in rule.match.iif]
    assert [(rule.match.local, rule.match.not_destination) for rule in around] == [
        (True, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"))
    ]
    around = [rule for rule in rules_of(compiled(port_forwards=[ELSEWHERE]), "dstnat") if "lan0" in rule.match.iif]
    assert [(rule.match.local, rule.match.not_destination) for rule in around] == [(False, ())]


def test_hairpins_come_before_nat_items():
    rules = rules_of(compiled(port_forwards=[AROUND]), "srcnat")
    assert rules[0].key == "port_forward/web"
    assert rules[0].match.source == ("192.168.1.0/24", "192.168.2.0/24", "192.168.9.0/24")


def test_hairpin_to_a_pinhole():
    """The address outside of a server that is not translated is its own; other LANs ask for that."""
    ruleset = compiled(
        lans=[OFFICE, dict(GUESTS, networks=["192.168.9.0/24", "2001:db8:9::/64"]), PRINTERS],
        port_forwards=[dict(FORWARDS["pinhole"][0], hairpin=True)],
    )
    seen = trace(ruleset, ask(SERVER_6, 443, iif="wlan0", source="2001:db8:9::9"))
    assert (seen.verdict, seen.source_seen) == ("accept", "2001:db8:9::9")


# --- Never un-NATed, with all options -------------------------------------------------------------------------------

PORTS = [("", 0), ("tcp", 25), ("tcp", 443), ("udp", 53), ("udp", 5060), ("icmp", 0)]
LEAVING = [
    Packet(iif, oif, source, far, state, protocol=protocol, port=port)
    for iif, source, fars in (
        ("lan0", PC, (FAR, VPN)),
        ("lan1", MAILER, (FAR, VPN)),
        ("lan0", SERVER4, (FAR, VPN)),
        ("lan0", "192.168.1.40", (FAR,)),
        ("wlan0", GUEST, (FAR, VPN)),
        ("prn0", PRINTER, (FAR,)),
        ("lan0", PC6_ULA, (FAR6,)),
    )
    for far in fars
    for oif in ("ppp0", "wg0")
    for protocol, port in PORTS
    for state in ("new", "established", "untracked", "invalid")
]
EVERYTHING = dict(
    port_forwards=[dict(AROUND, hairpin_source="gateway"), dict(GAME, hairpin=True)],
    outbound=[{"name": "web", "protocol": ["tcp"], "port": ["443"], "rate": "10/second"}],
    mss="1452",
)


def exempt(nat, packet):
    if nat == "exempt what ipsec encrypts":
        return packet.ipsec
    return nat == "exempt one port" and (packet.protocol, packet.port) == ("udp", 5060)


@pytest.mark.parametrize("nat", NATS)
def test_no_lan_source_leaves_a_wan_untranslated(nat):
    whole = compiled(nat=NATS[nat], **EVERYTHING)
    accidents = [whole, without(whole, "srcnat"), without(without(whole, "srcnat"), "forward")]
    seen = {
        (packet, number)
        for packet in tried(LEAVING)
        for number, ruleset in enumerate(accidents)
        if trace(ruleset, packet).source_seen == packet.source and not exempt(nat, packet)
    }
    assert not seen


def test_exempt_item_behind_another_is_no_hole_in_the_guard():
    """The first item takes TCP; should the NAT rules be gone, TCP may not leave as the second one says."""
    nat = [item("tcp", protocol=["tcp"]), item("vpn", "exempt", destination=["10.0.0.0/8"])]
    packet = out(PC, VPN, "tcp", 443)
    assert trace(compiled(nat=nat), packet).source_seen == WAN4
    assert trace(without(compiled(nat=nat), "srcnat"), packet).source_seen != PC


# --- What LANs may open ---------------------------------------------------------------------------------------------

WEB_ONLY = [
    {"name": "web", "source": ["guests"], "protocol": ["tcp"], "port": ["80", "443"]},
    {"name": "none", "source": ["guests"], "action": "reject"},
]
#: name: the outbound items
OUTBOUND = {
    "web only": WEB_ONLY,
    "the other way round": [dict(WEB_ONLY[-1], destination=["192.0.0.0/2"]), *WEB_ONLY[:-1]],
    "no mail": [{"name": "mail", "protocol": ["tcp"], "port": ["25"], "action": "drop"}],
    "not there": [{"name": "there", "destination": ["198.51.100.0/28"], "action": "reject"}],
    "not by this": [{"name": "this", "wan": "wg0", "action": "reject"}],
    "one host": [{"name": "host", "source": [PC], "action": "reject"}],
    "ipv6": [{"name": "six", "source": ["office"], "destination": ["2001:db8::/32"], "action": "reject"}],
    "ping": [{"name": "ping", "protocol": ["icmp"], "action": "reject"}],
    "slowly": [{"name": "slow", "source": ["guests"], "protocol": ["udp"], "rate": "10/second"}],
}


def guest(protocol="", port=0, **more):
    return out(GUEST, more.pop("far", FAR), protocol, port, iif="wlan0", **more)


#: name: (outbound items, packet, verdict, key of the item or what decided)
OUTBOUND_TRACES = {
    "allowed": ("web only", guest("tcp", 443), "accept", "outbound/web"),
    "not allowed": ("web only", guest("udp", 443), "reject", "outbound/none"),
    "order counts": ("the other way round", guest("tcp", 443), "reject", "outbound/none"),
    "other lan": ("web only", out(PC, FAR, "udp", 53), "accept", "lan/office"),
    "answer": ("web only", guest("udp", 53, ct_state="established", mapped=WAN4), "accept", "lan/guests"),
    "icmp error": ("web only", guest("icmp", ct_state="related", mapped=WAN4), "accept", "lan/guests"),
    "answer of a forwarded server": (
        "no mail", out(SERVER4, FAR, "tcp", 25, ct_state="established", mapped=WAN4), "accept", "lan/office",
    ),
    "spoofed": ("web only", out(PC, FAR, "tcp", 443, iif="wlan0"), "drop", "spoofed/guests"),
    "no mail": ("no mail", guest("tcp", 25), "drop", "outbound/mail"),
    "no mail, office": ("no mail", out(PC, FAR, "tcp", 25), "drop", "outbound/mail"),
    "no mail, ipv6": ("no mail", out(PC6, FAR6, "tcp", 25), "drop", "outbound/mail"),
    "no mail, other": ("no mail", guest("tcp", 26), "accept", "lan/guests"),
    "to another lan": ("no mail", out(PC, PRINTER, "tcp", 25, oif="prn0"), "accept", "lan/office"),
    "there": ("not there", guest(), "reject", "outbound/there"),
    "elsewhere": ("not there", guest(far="198.51.100.99"), "accept", "lan/guests"),
    "by this": ("not by this", out(PC, VPN, oif="wg0"), "reject", "outbound/this"),
    "by another": ("not by this", out(PC, VPN), "accept", "lan/office"),
    "what conntrack does not follow": (
        "ipv6", out(PC6, FAR6, "icmpv6", ct_state="untracked"), "reject", "outbound/six",
    ),
    "one host": ("one host", out(PC), "reject", "outbound/host"),
    "its neighbour": ("one host", out(MAILER), "accept", "lan/office"),
    "global ipv6": ("ipv6", out(PC6, FAR6), "reject", "outbound/six"),
    "unique local ipv6": ("ipv6", out(PC6_ULA, FAR6), "reject", "outbound/six"),
    "ping": ("ping", out(PC, FAR, "icmp"), "reject", "outbound/ping"),
    "ping in ipv6": ("ping", out(PC6, FAR6, "icmpv6"), "reject", "outbound/ping"),
    "slowly": ("slowly", guest("udp", 53), "accept", "outbound/slow"),
    "too fast": ("slowly", guest("udp", 53, over_rate=True), "reject", "outbound/slow"),
    "fast, but of a flow that has begun": (
        "slowly", guest("udp", 53, over_rate=True, again=True), "accept", "outbound/slow",
    ),
    "fast, but open already": (
        "slowly", guest("udp", 53, over_rate=True, ct_state="established", mapped=WAN4), "accept", "lan/guests",
    ),
    "fast, other protocol": ("slowly", guest("tcp", 53, over_rate=True), "accept", "lan/guests"),
}  # fmt: skip


@pytest.mark.parametrize("name", OUTBOUND_TRACES)
def test_outbound(name):
    outbound, packet, verdict, key = OUTBOUND_TRACES[name]
    seen = trace(compiled(outbound=OUTBOUND[outbound]), packet)
    decided = [step for step in seen.path if not step.startswith(("srcnat ", "egress ", "mss "))][-1]
    assert (seen.verdict, decided.split(" ", 1)[1]) == (verdict, key)


def test_outbound_holds_where_sources_are_not_checked():
    """A guest that takes an address of another network must not escape the items about guests."""
    ruleset = compiled(lans=[OFFICE, dict(GUESTS, spoof_check=False), PRINTERS], outbound=WEB_ONLY)
    assert trace(ruleset, out(PC, FAR, "udp", 53, iif="wlan0")).verdict == "reject"


# --- Bogons ---------------------------------------------------------------------------------------------------------

REAL, REAL6 = "8.8.8.8", "2a00:1450::8"
#: networks that an exempt item names, packet, verdict, key of the last rule
TEST_BOGONS = [
    ([], out(PC, REAL), "accept", "nat/rest"),
    ([], out(PC6, REAL6), "accept", "lan/office"),
    # out
    ([], out(PC, "10.1.2.3"), "reject", "bogons"),
    ([], out(PC, "192.168.77.1"), "reject", "bogons"),
    ([], out(PC, "100.64.0.1"), "reject", "bogons"),
    ([], out(PC, "198.18.0.1"), "reject", "bogons"),
    ([], out(PC6, "fd00:77::1"), "reject", "bogons"),
    ([], out(PC6, "2001:db8:77::1"), "reject", "bogons"),
    ([], out(PC, "10.1.2.3", ct_state="established", mapped=WAN4), "accept", "lan/office"),
    # in
    ([], ask(WAN4, 443, source=REAL), "accept", "port_forward/web"),
    ([], ask(WAN4, 443, source="10.1.2.3"), "drop", "bogons"),
    ([], ask(WAN4, 443, source="192.168.3.7"), "drop", "bogons"),
    ([], ask(WAN4, 443, source="198.18.0.1"), "drop", "bogons"),
    ([], ask(SERVER_6, 443, source="fd00:77::1"), "drop", "bogons"),
    ([], ask(SERVER_6, 443, source="::1.2.3.4"), "drop", "bogons"),
    ([], ask(PC, 0, source="10.1.2.3", ct_state="established"), "accept", "answers"),
    # among LANs
    ([], out(PC, PRINTER, oif="prn0"), "accept", "lan/office"),
    # what an exempt item leads out
    (["10.0.0.0/8"], out(PC, "10.1.2.3"), "accept", "nat/vpn"),
    (["10.1.0.0/16"], out(PC, "10.1.2.3"), "accept", "nat/vpn"),
    (["10.1.0.0/16"], out(PC, "10.2.2.3"), "reject", "bogons"),
    (["10.1.0.0/16"], out(PC, "192.168.77.1"), "reject", "bogons"),
    (["10.1.0.0/16"], ask(WAN4, 443, source="10.1.2.3"), "accept", "port_forward/web"),
    (["10.1.0.0/16"], ask(WAN4, 443, source="10.2.2.3"), "drop", "bogons"),
    (["0.0.0.0/1"], out(PC, "10.2.2.3"), "accept", "nat/vpn"),
    (["0.0.0.0/1"], out(PC, "192.168.77.1"), "reject", "bogons"),
    (["10.1.0.0/16", "10.1.2.3/32"], out(PC, "10.1.2.3"), "accept", "nat/vpn"),
    (["fd00:77::/48"], out(PC6, "fd00:77::1"), "accept", "lan/office"),
    (["fd00:77::/48"], out(PC6, "fd00:78::1"), "reject", "bogons"),
]  # fmt: skip


def test_what_ipsec_takes_is_no_bogon():
    """As far as an item exempts it, and as far as LANs may open connections."""
    tunnel = item("tunnel", "exempt", source=["office"], ipsec=True)
    for outbound, verdict in (([], "accept"), ([item("none", "reject")], "reject")):
        ruleset = compiled(nat=[tunnel, REST], outbound=outbound, drop_bogons=True)
        assert trace(ruleset, out(PC, "10.1.2.3", ipsec=True)).verdict == verdict
        for other in (out(PC, "10.1.2.3"), out(GUEST, "10.1.2.3", iif="wlan0", ipsec=True)):
            decided = trace(ruleset, other)
            assert (decided.verdict, decided.keys[-1]) == ("reject", "bogons")


@pytest.mark.parametrize(("kept", "packet", "verdict", "key"), TEST_BOGONS)
def test_bogons(kept, packet, verdict, key):
    nat = ([item("vpn", "exempt", destination=kept)] if kept else []) + [REST]
    forwards = [WEB, dict(FORWARDS["pinhole"][0], name="web6")]
    ruleset = compiled(nat=nat, port_forwards=forwards, drop_bogons=True)
    seen = trace(ruleset, packet)
    assert (seen.verdict, last_key(seen)) == (verdict, key)
    assert "bogons" not in trace(compiled(nat=nat, port_forwards=forwards), packet).keys


def test_what_outbound_allows_is_no_bogon():
    """An item that allows the web does not allow it to addresses that never appear on the Internet."""
    ruleset = compiled(drop_bogons=True, outbound=WEB_ONLY)
    assert last_key(trace(ruleset, guest("tcp", 443, far="192.168.77.1"))) == "bogons"


# --- Sources that are not checked -----------------------------------------------------------------------------------


def test_spoof_check_off():
    ruleset = compiled(lans=[dict(OFFICE, spoof_check=False), GUESTS, PRINTERS])
    assert "spoofed/office" not in [rule.key for rule in ruleset.rules]
    assert trace(ruleset, out(FAR)).verdict == "accept"
    assert trace(ruleset, out(PC)).source_seen == WAN4
    # Its own sources are still guarded, other LANs are out of reach, and the sources of those are checked.
    assert last_key(trace(without(ruleset, "srcnat"), out(PC))) == "guard"
    assert trace(ruleset, Packet("lan0", "wlan0", FAR, GUEST)).verdict == "reject"
    assert trace(ruleset, Packet("wlan0", "ppp0", PC, FAR)).keys[-1] == "spoofed/guests"
    assert trace(ruleset, out(PC, ct_state="invalid")).verdict == "drop"


# --- MSS of each WAN ------------------------------------------------------------------------------------------------

#: MSS for all, for ppp*, for wg0: wanted actions by interface
TEST_MSS_PER_WAN = [
    ("pmtu", None, None, {"ppp*": "pmtu", "wg0": "pmtu"}),
    ("keep", None, None, {}),
    ("pmtu", None, "keep", {"ppp*": "pmtu"}),
    ("keep", "1452", None, {"ppp*": 1452}),
    ("1400", "1452", None, {"ppp*": 1452, "wg0": 1400}),
    ("1452", "1452", "pmtu", {"ppp*": 1452, "wg0": "pmtu"}),
    ("pmtu", "0088", "65495", {"ppp*": 88, "wg0": 65495}),
]


@pytest.mark.parametrize(("mss", "ppp", "wg", "wanted"), TEST_MSS_PER_WAN)
def test_mss_per_wan(mss, ppp, wg, wanted):
    ruleset = compiled(mss=mss, wans=[{"interface": "ppp*", "mss": ppp}, {"interface": "wg0", "mss": wg}])
    for side in ("iif", "oif"):
        found = {
            name: "pmtu" if rule.action.kind == "clamp_mss" else rule.action.size
            for rule in rules_of(ruleset, "mss")
            for name in getattr(rule.match, side)
        }
        assert found == wanted
    assert ("mss" in [chain.name for chain in ruleset.chains]) == bool(wanted)
    assert all(rule.match.tcp_syn for rule in rules_of(ruleset, "mss"))
