# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Gateways that are sound in their own way can be proven: a WAN without an address, no IPv6, IPsec, a scan blocker."""

from __future__ import annotations

import pytest
from helpers import GUESTS, OFFICE, ONE_LAN, Gate
from sandbox import SandboxHost, sh
from test_proof_of_a_change import CAUSES
from topology import GATE4, WAN4, WAN6, Topology

from ansible_collections.ipmasq.linux.plugins.module_utils._base.host import Done
from ansible_collections.ipmasq.linux.plugins.module_utils._change import proving
from ansible_collections.ipmasq.linux.plugins.module_utils._change.explaining import gateway_explain


@pytest.fixture
def wires():
    """The surroundings, for tests in which the backend makes no difference."""
    made = Topology()
    yield made
    made.close()


LAN4 = dict(OFFICE, networks=["192.168.1.0/24"])
ALONE = {"wans": ONE_LAN["wans"], "lans": [LAN4]}
WEB = {"name": "web", "port": ["443"], "to": ["192.168.1.10"]}
CUT_OFF = CAUSES["a rule that drops"]


def counts(gate, **given):
    return gate.apply(proof="required", **given).values["proof"]["counts"]


def refused(gate, **given):
    with pytest.raises(proving.Unproven) as caught:
        gate.apply(proof="required", **given)
    return "\n".join(caught.value.problems)


# --- A WAN without an address ---------------------------------------------------------------------------------------


def prefix_only(net):
    """The provider delegates a prefix, and gives the WAN nothing but its link-local address."""
    there, here = (
        next(word.partition("/")[0] for word in listing.split() if word.startswith("fe80"))
        for listing in (
            net.nodes["wan"].sh("ip -6 -o addr show dev up0 scope link"),
            sh("ip -6 -o addr show dev wan0 scope link"),
        )
    )
    sh("ip -6 addr flush dev wan0 scope global; ip -6 route replace default via {0} dev wan0".format(there))
    sh("ip addr add 2001:db8:1:1::1/64 dev lan0 nodad")
    net.nodes["wan"].sh("ip -6 route replace 2001:db8:1::/48 via {0} dev up0".format(here))


def old_prefix(net):
    prefix_only(net)
    sh("ip addr add 2001:db8:ff::2/64 dev wan0 nodad preferred_lft 0")


def unnumbered(_net):
    """As clouds and BGP have it: the address is on lo."""
    sh("ip -4 addr flush dev wan0; ip addr add 203.0.113.2/32 dev lo")
    sh("ip route replace default via 203.0.113.1 dev wan0 onlink")


@pytest.mark.parametrize(
    ("wire", "client", "server"),
    [(prefix_only, "guest", WAN6), (old_prefix, "guest", WAN6), (unnumbered, "office", WAN4)],
)
def test_a_wan_without_an_address_of_its_own_is_sound(nft, wires, wire, client, server):
    """Where masquerade takes the public address of another link, clients get their answers."""
    wire(wires)
    lans = [{key: lan[key] for key in ("name", "interfaces")} for lan in (OFFICE, GUESTS)]
    assert counts(nft, wans=ONE_LAN["wans"], lans=lans)["broken"] == 0
    assert wires.tcp(client, "wan", server) not in ("timeout", "refused")


# --- Hosts without IPv6, and with IPsec -----------------------------------------------------------------------------


class NoIpv6(SandboxHost):
    """As a kernel with ipv6.disable=1 answers."""

    def exists(self, path):
        return not path.startswith("/proc/sys/net/ipv6") and super().exists(path)

    def run(self, argv, stdin=None):
        if "addrgenmode" in (stdin or ""):
            return Done(1, "", "RTNETLINK answers: Address family not supported by protocol\nCommand failed -:1\n")
        return super().run(argv, stdin)


def test_a_host_without_ipv6_is_proven(wires, tmp_path):
    gate = Gate("nft", tmp_path, NoIpv6)
    sh(CUT_OFF)
    assert "office reaches the Internet through wan0" in refused(gate, **ALONE)
    sh("nft delete table inet other")
    assert counts(gate, **ALONE)["unmeasurable"] == 0


POLICY = "ip xfrm policy add src {2} dst {3} dir {4} tmpl src {0} dst {1} proto esp mode tunnel"
INSIDE = "192.168.1.0/24"


@pytest.mark.parametrize("there", ["10.7.0.0/16", "0.0.0.0/0"])
@pytest.mark.parametrize("ipsec", [False, True])
def test_what_ipsec_encrypts_is_not_sent(nft, wires, there, ipsec):
    for ends in ((GATE4, WAN4, INSIDE, there, "out"), (WAN4, GATE4, there, INSIDE, "fwd")):
        said = sh(POLICY.format(*ends) + " 2>&1 || true").strip()
        if said:
            pytest.skip("this kernel has no IPsec policies: " + said)
    vpn = {"name": "vpn", "source": ["office"], "action": "exempt"}
    vpn.update({"ipsec": True} if ipsec else {"destination": ["10.7.0.0/16"]})
    done = nft.apply(proof="required", nat=[vpn, {"name": "rest"}], wans=ONE_LAN["wans"], lans=[OFFICE, GUESTS])
    assert done.values["proof"]["counts"]["broken"] == 0
    assert done.values["proof"]["counts"]["holds"] > 50
    told = [note for note in done.notes if "an IPsec policy (src " in note]
    assert bool(told) == (there == "0.0.0.0/0" or not ipsec)
    # Nothing has asked for a key, either.
    assert sh("ip xfrm state") == ""


def test_what_an_ipsec_policy_blocks_is_not_sent(nft, wires):
    """Nothing encrypts it: the kernel drops it, without a word."""
    said = sh("ip xfrm policy add src {0} dst 0.0.0.0/0 dir fwd action block 2>&1 || true".format(INSIDE)).strip()
    if said:
        pytest.skip("this kernel has no IPsec policies: " + said)
    done = nft.apply(proof="required", **ALONE)
    assert done.values["proof"]["counts"]["broken"] == 0
    assert any("(src 192.168.1.0/24 dst 0.0.0.0/0, action block)" in note for note in done.notes)


# --- A port scan blocker --------------------------------------------------------------------------------------------


def test_who_tries_closed_ports_is_nobody_who_has_to_get_in(nft, wires):
    """A port scan blocker remembers the one, and shuts it out for an hour."""
    sh(
        "nft add table inet scan; nft 'add set inet scan bad {type ipv4_addr; flags dynamic,timeout; timeout 1h;}'; "
        "nft 'add chain inet scan p {type filter hook prerouting priority -140;}'; "
        "nft add rule inet scan p iifname wan0 ip saddr @bad drop; "
        "nft 'add rule inet scan p iifname wan0 ct state new tcp dport != { 22, 443 } add @bad { ip saddr }'"
    )
    for forwards in ([WEB], [WEB, dict(WEB, name="ssh", port=["22"])]):
        assert counts(nft, port_forwards=forwards, **ALONE)["broken"] == 0
    assert "192.31.196.254" in sh("nft list set inet scan bad"), "it was one that the blocker looks at"


# --- Rules against floods -------------------------------------------------------------------------------------------

#: What published rule sets drop, as no real host sends it.
FLOODS = {
    "a SYN without an MSS": "-p tcp -m conntrack --ctstate NEW -m tcpmss ! --mss 536:65535",
    "a SYN without options": "-p tcp --syn -m length --length 40",
    "a SYN/ACK without an MSS": "-p tcp --tcp-flags SYN,ACK SYN,ACK -m tcpmss ! --mss 536:65535",
    "a ping of another length": "-p icmp --icmp-type echo-request -m length ! --length 60:84",
    "NTP of another length": "-p udp --dport 123 -m length ! --length 76",
}


@pytest.mark.parametrize("flood", FLOODS)
def test_the_probe_sends_what_a_real_host_sends(nft, wires, flood):
    sh("iptables-nft -t mangle -A PREROUTING {0} -j DROP".format(FLOODS[flood]))
    time = {"name": "time", "protocol": ["udp"], "port": ["123"], "action": "accept"}
    assert counts(nft, port_forwards=[WEB], outbound=[time], **ALONE)["broken"] == 0
    assert wires.tcp("office", "wan", WAN4) == GATE4
    asked = {"from": "192.168.1.10", "to": WAN4, "port": 443, "protocol": "tcp", "instance": "default"}
    assert gateway_explain(asked, nft.host)["passes"] is True


# --- Limits for one host --------------------------------------------------------------------------------------------

#: As connlimit does: no more than these connections of one client, or of one host outside.
LIMIT = (
    "nft add table inet few; nft 'add set inet few c {{type ipv4_addr; flags dynamic;}}'; "
    "nft 'add chain inet few f {{type filter hook forward priority -5;}}'; "
    "nft 'add rule inet few f iifname {0} ct state new add @c {{ ip saddr ct count over {1} }} reject'"
)


@pytest.mark.parametrize(("link", "most"), [("lan0", 10), ("lan0", 6), ("wan0", 10)])
def test_no_limit_for_one_host_is_reached(nft, wires, link, most):
    sh(LIMIT.format(link, most))
    numbers = range(40)
    outbound = [
        {"name": "o{0}".format(number), "port": [str(8000 + number)], "protocol": ["tcp"], "action": "accept"}
        for number in numbers
    ]
    forwards = [dict(WEB, name="f{0}".format(number), port=[str(8000 + number)]) for number in numbers]
    found = counts(nft, outbound=outbound, port_forwards=forwards, **ALONE)
    assert found["broken"] == 0 and found["holds"] > 80


def test_what_a_dead_line_leaves_unanswered_reaches_no_limit(nft, wires):
    wires.wire_second_wan()
    sh("ip route add default via 198.51.100.99 dev wan1 table 7; ip rule add iif guest0 lookup 7")
    sh(LIMIT.format("guest0", 10))
    outbound = [
        {"name": "o{0}".format(number), "port": [str(8000 + number)], "protocol": ["tcp"], "action": "accept"}
        for number in range(20)
    ]
    lans = [LAN4, dict(GUESTS, networks=["192.168.2.0/24"])]
    found = counts(nft, outbound=outbound, wans=[{"interface": "wan0"}, {"interface": "wan1"}], lans=lans)
    assert found["broken"] == 0 and found["unmeasurable"] > 10
