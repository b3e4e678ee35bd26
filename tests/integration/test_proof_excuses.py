# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a proof takes for broken: a refusal opens nothing, and an excuse explains silence and nothing else."""

from __future__ import annotations

import pytest
from helpers import OFFICE, ONE_LAN, wire
from sandbox import sh
from test_proof import proved
from test_proof_of_a_change import CAUSES, HOPS
from test_proof_of_sound_hosts import ALONE, CUT_OFF, LAN4, WEB, counts, refused
from topology import WAN4, Topology

from ansible_collections.ipmasq.linux.plugins.module_utils._proof import judge, prove


@pytest.fixture
def wires():
    """The surroundings, for tests in which the backend makes no difference."""
    made = Topology()
    yield made
    made.close()


# --- What others refuse ---------------------------------------------------------------------------------------------

#: At the end of an input chain, and of one for what is forwarded.
REFUSES = (
    "nft add table inet site; nft 'add chain inet site c {{type filter hook {0} priority {1};}}'; "
    "nft add rule inet site c ct state established,related accept; "
    "nft add rule inet site c iifname {{ lo, lan0 }} accept; "
    "nft add rule inet site c meta l4proto {{ icmp, icmpv6 }} accept; "
    "nft add rule inet site c reject with icmpx {2}"
)


@pytest.mark.parametrize("priority", [-10, 0])
def test_what_another_table_refuses_is_closed(gate, net, priority):
    sh(REFUSES.format("input", priority, "port-unreachable"))
    assert counts(gate, input="protect", **ONE_LAN)["broken"] == 0
    sh("nft delete table inet site; " + REFUSES.format("forward", priority, "admin-prohibited"))
    assert counts(gate, input="protect", mss="keep", **ONE_LAN)["broken"] == 0


@pytest.mark.parametrize("by", ["nft", "iptables-legacy"])
def test_refusals_of_many_wans_are_closed(nft, wires, by):
    """Of more promises than culprits are looked for, while iptables-legacy is in use."""
    more = {"wan{0}".format(n): "198.51.100.{0}/30 2001:db8:e{1}::2/64".format(n * 16 + 2, n) for n in range(2, 8)}
    wire(**more)
    if by == "nft":
        sh("iptables-legacy -N theirs; ip6tables-legacy -N theirs; " + REFUSES.format("input", -10, "port-unreachable"))
    for program in ("iptables-legacy", "ip6tables-legacy") if by == "iptables-legacy" else ():
        sh("{0} -A INPUT -i wan+ -p tcp -j REJECT; {0} -A INPUT -i wan+ -p udp -j REJECT".format(program))
    wans = [{"interface": name} for name in ("wan0", *more)]
    found = counts(nft, input="protect", wans=wans, lans=[OFFICE])
    assert found["broken"] == 0 and found["holds"] > 100


def test_a_refusal_of_the_kernel_is_a_breach(nft, wires, monkeypatch):
    """Another table refuses some ports; nothing filters the others, so the kernel itself says that they are closed."""
    monkeypatch.setattr(prove, "PATIENCE", 0.3)
    sh(REFUSES.format("input", -10, "port-unreachable").replace("reject", "tcp dport 1-1000 reject"))
    nft.apply(input="protect", **ONE_LAN)
    sh("nft flush chain inet ipmasq protected; nft flush chain inet ipmasq input")
    found = {each.name: each for each in proved(nft).broken}
    for sort in ("tcp, IPv4", "udp, IPv4", "tcp, IPv6", "udp, IPv6"):
        broken = found["this host is closed from wan0 ({0})".format(sort)]
        assert (broken.by, broken.reason) == ("gateway", "it was refused, and has to be dropped")


# --- Excuses --------------------------------------------------------------------------------------------------------

WRONG = CAUSES["a nat chain in front"]
ELSEWHERE = (
    "nft add table ip other; nft 'add chain ip other d {type nat hook prerouting priority -150;}'; "
    "nft add rule ip other d iifname wan0 tcp dport 443 dnat to 192.168.1.10:9999"
)


@pytest.mark.parametrize("cause", [WRONG, CUT_OFF], ids=["wrong source", "dropped"])
def test_a_dead_line_of_two_excuses_no_rule_of_others(gate, net, cause):
    net.wire_second_wan()
    sh("for file in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 > $file; done")
    sh(HOPS.format("-4", WAN4, "198.51.100.99") + cause)
    assert "office reaches the Internet through wan" in refused(
        gate, wans=[{"interface": "wan0"}, {"interface": "wan1"}], lans=[LAN4]
    )


def test_a_dead_line_excuses_no_forward_that_leads_elsewhere(nft, wires):
    sh("ip route replace default via 203.0.113.99; " + ELSEWHERE)
    assert "port forward 'web' from wan0 (tcp 443, IPv4) is broken" in refused(nft, port_forwards=[WEB], **ALONE)


@pytest.mark.parametrize("seconds", [0.25, 1.0, 1.5])
def test_a_dead_line_leaves_time_for_what_must_not_pass(nft, wires, seconds):
    """As with a confirm_timeout of 1, 4 or 6: the silence of the line used to take all of it."""
    sh("ip route replace default via 203.0.113.99 dev wan0; ip -6 route del default")
    nft.apply(proof="off", **ONE_LAN)
    sh("nft insert rule inet ipmasq forward accept")
    found = proved(nft, prove.Extent(seconds))
    assert "office is closed from wan0 (tcp, IPv4)" in [each.name for each in found.broken]
    assert not [each for each in found.results if each.reason == judge.LATE]


#: What keeps a LAN with a rate from the Internet; the last one takes answers away, which no rate is for.
NO_RATE = {
    "wrong source": WRONG,
    "dropped": CUT_OFF,
    "dropped by iptables-legacy": "iptables-legacy -t mangle -I FORWARD -i lan0 -j DROP",
    "no route": "ip route add blackhole 192.168.1.128/25",
}


@pytest.mark.parametrize("cause", NO_RATE)
def test_a_rate_excuses_what_it_stops(gate, net, cause):
    given = {"outbound": [{"name": "slow", "source": ["office"], "rate": "50/second"}], **ALONE}
    assert counts(gate, **given)["broken"] == 0
    gate.absent()
    sh("export XTABLES_LOCKFILE={0}/xtables.lock; {1}".format(gate.host.root, NO_RATE[cause]))
    assert "office reaches the Internet through wan0" in refused(gate, **given)


@pytest.mark.parametrize("legacy", ["", "iptables-legacy -A OUTPUT -d 192.0.2.9 -j DROP"])
def test_a_rate_that_is_used_up_is_no_fault(gate, net, legacy):
    """By the probe itself: one packet a day. Where counters have to be read, too."""
    sh("export XTABLES_LOCKFILE={0}/xtables.lock; {1}".format(gate.host.root, legacy))
    slow = {"name": "slow", "source": ["office"], "rate": "1/day"}
    found = counts(gate, outbound=[slow], **ALONE)
    assert found["broken"] == 0 and found["unmeasurable"] > 0
