# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A WAN whose packets this host forwards once more: a CLAT, or a VPN client in a network namespace."""

from __future__ import annotations

import contextlib
import shutil
import socket

import pytest
from helpers import GUESTS, OFFICE
from sandbox import sh
from test_connections import WAITS, speaks
from test_undeclared import SOON, closed, counted, masqueraded_by_another, third
from topology import CLIENTS, GATE4, GATE6, WAN4, WAN6, Servers, Sniffer, send, udp
from unhurried import patience, wait_until

from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError
from ansible_collections.ipmasq.linux.plugins.module_utils._rollback import rollback

#: Masqueraded by a rule of its own, and routed as it is.
CARRIER4, CARRIER6 = "172.31.0.10", "2001:db8:77::7"
SOURCES = [CARRIER4 + "/32", CARRIER6 + "/128"]


@pytest.fixture
def vpn(gate, net):
    """A client behind vpn0 that has another address of the same network, too."""
    third(net, "vpn0", "vpn", "172.31.0", "fd31")
    net.nodes["vpn"].ip_batch("addr add 172.31.0.11/24 dev up0", "addr add {0}/128 dev up0 nodad".format(CARRIER6))
    sh("ip -6 route add 2001:db8:77::/64 via fd31::10")
    net.nodes["wan"].sh("ip -6 route add 2001:db8:77::/64 via 2001:db8:ff::2")
    masqueraded_by_another(gate, "172.31.0.0/24", "vpn0")


def asked(net, source: str) -> str:
    """The address that the WAN sees of the client behind vpn0."""
    with Servers(net, "tcp", ("wan", 8080)) as servers:
        seen = servers.asked("vpn", WAN6 if ":" in source else WAN4, 8080, bind=(source, 0), timeout=SOON)
    return seen if isinstance(seen, str) else seen.peer


@pytest.mark.parametrize("others", [["wan0"], []], ids=["two WANs", "a kill switch"])
def test_what_carries_a_wan_passes_from_its_sources_alone(gate, net, vpn, others):
    wans = [{"interface": name} for name in others]
    for sources in ([], SOURCES, []):
        gate.apply(wans=[{"interface": "vpn0", "carried_from": sources}, *wans], lans=[OFFICE])
        seen = [GATE4, CARRIER6] if sources else ["timeout"] * 2
        assert [asked(net, source) for source in (CARRIER4, CARRIER6)] == seen
        assert bool(counted(gate, "carried")) is bool(sources)
        assert asked(net, "172.31.0.11") == "timeout"
        # The other way, and into the LAN, nothing opens.
        closed(net, "wan", "vpn", CARRIER6)
        closed(net, "vpn", "office", *CLIENTS["office"][1:])
    assert not gate.apply(wans=[{"interface": "vpn0"}, *wans], lans=[OFFICE]).changed


@pytest.mark.parametrize("others", [["wan0"], []], ids=["two WANs", "a kill switch"])
def test_a_private_source_that_nobody_translates_stays_inside(gate, net, vpn, others):
    """On iptables, the first packet shows that nobody does."""
    sh("nft delete table ip theirs" if gate.programs == "nft" else gate.tool() + " -t nat -F POSTROUTING")
    wans = [{"interface": name} for name in others]
    gate.apply(wans=[{"interface": "vpn0", "carried_from": SOURCES}, *wans], lans=[OFFICE])
    with Sniffer(net) as outside:
        send(net, "vpn", [udp(CARRIER4, WAN4)] * 4 + [udp(CARRIER6, WAN6)] * 4, link="vpn0")
        left = [str(source) for source, proto in outside.sources(SOON) if proto == 17]
    first = [] if gate.programs == "nft" else [CARRIER4]
    assert left == first + [CARRIER6] * 4
    assert asked(net, CARRIER4) == "timeout"
    assert counted(gate, "guard")


@pytest.mark.parametrize("first", ["default", "two"])
def test_another_instance_on_the_other_wan_lets_it_pass(gate, net, vpn, first):
    """It knows neither that link nor its sources."""
    own = {"wans": [{"interface": "vpn0", "carried_from": SOURCES}, {"interface": "wan0"}], "lans": [OFFICE]}
    two = {"instance": "two", "wans": [{"interface": "wan0"}], "lans": [GUESTS]}
    for options in (own, two) if first == "default" else (two, own):
        gate.apply(**options)
    assert asked(net, CARRIER6) == CARRIER6
    closed(net, "vpn", "guest", *CLIENTS["guest"][1:])
    closed(net, "wan", "vpn", CARRIER6)


@contextlib.contextmanager
def open_flows(net):
    """A TCP connection from each of these sources: its ends."""
    with contextlib.ExitStack() as stack:
        found = []
        for source, target in ((CARRIER4, WAN4), (CARRIER6, WAN6)):
            family = socket.AF_INET6 if ":" in source else socket.AF_INET
            server = stack.enter_context(net.socket("wan", family, socket.SOCK_STREAM))
            client = stack.enter_context(net.socket("vpn", family, socket.SOCK_STREAM))
            client.settimeout(patience())
            server.bind((target, 0))
            server.listen(1)
            client.bind((source, 0))
            client.connect(server.getsockname()[:2])
            accepted = stack.enter_context(server.accept()[0])
            accepted.settimeout(patience())
            found.append((client, accepted))
        yield found


@pytest.mark.skipif(not shutil.which("conntrack"), reason="conntrack is not installed")
@pytest.mark.parametrize("others", [["wan0"], []], ids=["two WANs", "a kill switch"])
def test_open_flows_end_with_the_permission(gate, net, vpn, others):
    """They are a WAN's, and others translate them; a change of something else leaves them alone."""
    plain = {"wans": [{"interface": name} for name in ("vpn0", *others)], "lans": [OFFICE]}
    carried = dict(plain, wans=[{"interface": "vpn0", "carried_from": SOURCES}, *plain["wans"][1:]])
    gate.apply(**carried)
    with open_flows(net) as flows:
        assert all(map(speaks, flows))
        gate.apply(**dict(carried, lans=[OFFICE, GUESTS]))
        assert all(map(speaks, flows))
        gate.apply(**plain)
        assert not any(speaks(ends, first) for first in (0, 1) for ends in flows)
    # Those that began under a change end with its rollback.
    gate.apply(confirmation=WAITS, **carried)
    with open_flows(net) as flows:
        assert all(map(speaks, flows))
        assert rollback.finish("default", "token", False, gate.host).changed
        wait_until(lambda: not gate.host.exists("/run/ipmasq/default.forget"), "nothing was forgotten")
        assert not any(speaks(ends, first) for first in (0, 1) for ends in flows)


#: After the provider has changed it.
LATER6 = "2001:db8:ff::77"


@pytest.fixture
def clatd(net):
    """As clatd 2.1 sets it up by default: with this host's own address, and a conntrack mark for what comes back."""
    third(net, "clat", "clat", "192.0.0", "fd46")
    net.nodes["clat"].ip_batch(*("addr add {0}/128 dev up0 nodad".format(each) for each in (GATE6, LATER6)))
    sh("ip addr add {0}/64 dev wan0 nodad".format(LATER6))
    sh("nft add table ip6 clatd; nft 'add chain ip6 clatd in { type filter hook prerouting priority mangle; }'")
    sh("ip -6 rule add prio 1 table local; ip -6 rule del prio 0 table local")
    for own in (GATE6, LATER6):
        sh(
            "ip -6 route add {0} via fd46::10 dev clat table 49575; "
            "ip -6 rule add prio 0 from {1} to {0} fwmark 49575 table 49575; "
            "nft add rule ip6 clatd in iif clat ip6 saddr {0} ip6 daddr {1} ct mark set 49575 meta mark set 49575; "
            "nft add rule ip6 clatd in iif wan0 ip6 saddr {1} ip6 daddr {0} ct mark 49575 meta mark set ct mark".format(
                own, WAN6
            )
        )


def translated(net, own):
    """The address that the WAN sees of the CLAT."""
    with Servers(net, "tcp", ("wan", 8080)) as servers:
        seen = servers.asked("clat", WAN6, 8080, bind=(own, 0), timeout=SOON)
    return seen if isinstance(seen, str) else seen.peer


@pytest.mark.parametrize("proof", ["off", "required"])
def test_a_clat_may_have_this_hosts_own_address(gate, net, clatd, proof):
    options = {"lans": [OFFICE], "proof": proof}
    # What was allowed by mistake, for an address that is not this host's, does not let others in.
    for source, seen in ((CARRIER6, "timeout"), (GATE6, GATE6), (CARRIER6, "timeout"), (GATE6, GATE6)):
        options["wans"] = [{"interface": "clat", "carried_from": [source]}, {"interface": "wan0"}]
        gate.apply(**options)
        assert translated(net, GATE6) == seen
    # The kernel may choose another address of this host, and the provider may change it.
    assert translated(net, LATER6) == LATER6
    sh("ip addr del {0}/64 dev wan0".format(GATE6))
    assert not gate.apply(**options).changed
    assert translated(net, LATER6) == LATER6
    # Nothing else is open.
    assert translated(net, "fd46::10") == "timeout"
    closed(net, "wan", "clat", "fd46::10")
    closed(net, "clat", "office", *CLIENTS["office"][1:])
    with Sniffer(net) as outside:
        send(net, "clat", [udp(each, WAN6) for each in ("fd00:1::1", "2001:db8:50::5")], link="clat")
        assert [str(source) for source, protocol in outside.sources(SOON) if protocol == 17] == []


def test_sources_that_no_wan_may_have_are_refused(nft):
    wans = [{"interface": "wan0", "carried_from": ["192.168.1.9/32", "2000::/3", "fe80::1%lan0"]}]
    with pytest.raises(GatewayError) as refused:
        nft.apply(wans=wans, lans=[OFFICE])
    assert refused.value.problems == (
        "wans[0]: carried_from: fe80::1%lan0 has a zone; remove the '%' and what follows it",
        "wans[0]: carried_from: 2000::/3 covers most of the Internet; name the address that carries this WAN",
        "wans[0]: carried_from: 192.168.1.9/32 overlaps 192.168.1.0/24 of a LAN, whose sources no WAN may have; give "
        "it an address elsewhere",
    )
