# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""After a manual flush of all rules, nothing private leaves, nothing comes in, and established flows continue.

systemd is not the first process here, so a program of the test starts and stops what the unit would.
``IPMASQ_CHANGES=100`` makes more rounds.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import select
import signal
import socket
import time

import pytest
import sandbox
from helpers import GUESTS, OFFICE, ONE_LAN, TWO_LANS, Gate, ServiceHost, wire_gateway
from sandbox import sh
from test_bridges import (
    FRAMES,
    MACHINE4,
    MACHINE6,
    NAS4,
    NAS6,
    OUTER4,
    OUTER6,
    VM4,
    VM6,
    a_bridge_of_a_wan,
    across,
    beside_a_machine,
    bridged,
    hears,
    machine,
    shown,
    tracked_apart,
)
from test_carried import CARRIER4, CARRIER6, SOURCES, asked, vpn  # noqa: F401 - a fixture
from test_connections import connected, speaks
from test_marks import marked
from test_multicast import GROUP4, GROUP6, TV, come_in, copies, seen
from test_undeclared import OFFICE6, closed, container, mgmt, third, through_a_tunnel
from test_window import OFFICE4, ROUNDS, Counter, Intruder, flood
from topology import CLIENTS, GATE4, GATE6, WAN4, WAN6, Sniffer, default, hardware_address, send, udp
from unhurried import patience, wait_until

from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError
from ansible_collections.ipmasq.linux.plugins.module_utils._change import removing
from ansible_collections.ipmasq.linux.plugins.module_utils._rollback import rollback

#: What the unit ipmasq-fence.service makes systemd do.
SYSTEMCTL = r"""#!/bin/sh
root=ROOT
wants=$root/etc/systemd/system/sysinit.target.wants
alive() { [ -e "/proc/$(cat $root/fence.pid 2> /dev/null)/exe" ]; }
stop() {
    alive && kill "$(cat $root/fence.pid)"
    while alive; do sleep 0.02; done
    rm -f $root/fence.pid
}
case "$*" in
*ipmasq-fence.service*) ;;
enable*) mkdir -p $wants && : > $wants/ipmasq.service; exit ;;
disable*) rm -f $wants/ipmasq.service; exit ;;
*) exit 0 ;;
esac
case "$*" in
*is-active*) alive ;;
*stop*) stop ;;
*)
    stop
    sed -e 's#/\(etc\|run\)/\(ipmasq\|nftables\|systemd\)#ROOT&#g' -e 's#^PATH=#PATH=ROOT/bin:#' \
        $root/etc/ipmasq/boot > $root/moved
    setsid sh $root/moved hold < /dev/null > /dev/null 2>> $root/fence.err &
    echo $! > $root/fence.pid
    sh $root/moved held
    ;;
esac
"""


class FencedHost(ServiceHost):
    """A host whose services are started by that program."""

    def __init__(self, root, **options) -> None:
        super().__init__(root, {"systemctl": SYSTEMCTL}, **options)

    def systemctl(self, words: str) -> None:
        sh("{0}/bin/systemctl {1}".format(self.root, words))

    def boot(self, *words: str):
        sh("sed -e 's#/\\(etc\\|run\\)/\\(ipmasq\\|nftables\\|systemd\\)#{0}&#g' -e 's#^PATH=#PATH={0}/bin:#' "
           "{0}/etc/ipmasq/boot > {0}/moved".format(self.root))  # fmt: skip
        sh("XTABLES_LOCKFILE={0}/xtables.lock sh {0}/moved {1}".format(self.root, " ".join(words)))

    @property
    def holder(self) -> int:
        return int((self.root / "fence.pid").read_text())


def fenced(programs, root, monkeypatch):
    made = Gate(programs, root, FencedHost)
    monkeypatch.setattr(sandbox, "PATH", "{0}/bin:{1}".format(root, sandbox.PATH))
    return made


@pytest.fixture
def gate(backend, tmp_path, monkeypatch):
    made = fenced(backend, tmp_path, monkeypatch)
    yield made
    made.host.systemctl("stop ipmasq-fence.service")


#: It is the same beside the rules of every backend.
ON_NFT = pytest.mark.parametrize("backend", ["nft"])
ON_TWO = pytest.mark.parametrize("backend", ["nft", "iptables-legacy"])


SAVED = (
    "#!/usr/sbin/nft -f\nflush ruleset\ntable inet filter {\n chain input { type filter hook input priority 0; }\n}\n"
)
#: What netfilter-persistent starts and reloads with: rules of somebody who knows nothing of ours.
SAVED_BY_IPTABLES = "".join(
    "*{0}\n{1}COMMIT\n".format(table, "".join(":{0} ACCEPT [0:0]\n".format(chain) for chain in chains))
    for table, chains in (
        ("mangle", ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING")),
        ("nat", ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING")),
        ("filter", ("INPUT", "FORWARD", "OUTPUT")),
    )
)
LEGACY = "for t in raw nat mangle filter; do iptables-legacy -t $t -F; ip6tables-legacy -t $t -F; done"
BY_HAND = {
    "nft flush ruleset": ("nft", "iptables-nft"),
    "nft -f saved": ("nft", "iptables-nft"),
    "iptables -F; iptables -t nat -F": ("iptables-nft", "iptables-legacy"),
    "iptables-restore saved": ("iptables-nft", "iptables-legacy"),
    "every table": ("iptables-legacy",),
}


def flush(gate, how):
    if how == "nft -f saved":
        path = gate.host.root / "nftables.conf"
        path.write_text(SAVED)
        sh("nft -f {0}".format(path))
    elif how == "iptables-restore saved":
        (gate.host.root / "rules.v4").write_text(SAVED_BY_IPTABLES)
        for tool in ("ip", "ip6"):
            sh("{0}-restore < {1}/rules.v4".format(gate.tool(tool), gate.host.root))
    elif how == "every table":
        sh(LEGACY)
    else:
        sh(how.replace("iptables", gate.tool()))


@pytest.mark.parametrize(
    ("backend", "how"), [(backend, how) for how, backends in BY_HAND.items() for backend in backends]
)
def test_a_flush_by_hand_opens_nothing(gate, net, how):
    gate.apply(**TWO_LANS)
    assert not gate.apply(**TWO_LANS).changed
    private, translated, intruder = Counter(net, "wan", OFFICE4), Counter(net, "wan", GATE4), Intruder(net)
    leaked, sent = [], []

    def begun(least: int) -> bool:
        sent.append(translated.count())
        return sum(sent) > least

    with (
        established(net) as still_there,
        flood(net, "office", OFFICE4, WAN4),
        flood(net, "wan", WAN4, OFFICE4),
    ):
        for number in range(ROUNDS):
            # Each flush meets the flood, on a fast machine, too.
            wait_until(lambda least=400 * (number + 1): begun(least), "nothing is sent, so nothing could leak")
            flush(gate, how)
            time.sleep(0.1)
            leaked.append((private.count(0), intruder.came_in()))
            assert still_there(), "what was established has ended"
            assert net.tcp("office", "guest", "192.168.2.10", timeout=0.2) == "timeout"
            if not how.startswith("iptables"):  # IPv4 alone
                assert net.tcp("office", "wan", WAN6, timeout=0.2) == "timeout"
            gate.host.boot()
        assert leaked == [(0, 0)] * ROUNDS
        assert sum(sent) > 1000, "nothing was sent, so nothing could leak"
        gate.host.systemctl("stop ipmasq-fence.service")
        flush(gate, how)
        time.sleep(0.1)
        assert private.count() > 10, "without a fence it would have been the same"
        # iptables -F leaves mangle, and the filter's chains of nft's own are not all that closes.
        assert intruder.came_in() > 10 or how.startswith("iptables")


class established:  # noqa: N801 - used like a function
    """A TCP connection from a LAN; called, it says whether the connection still carries data both ways."""

    def __init__(self, net) -> None:
        self.server = net.socket("wan", socket.AF_INET, socket.SOCK_STREAM)
        self.client = net.socket("office", socket.AF_INET, socket.SOCK_STREAM)
        self.server.bind((WAN4, 7777))
        self.server.listen(1)
        self.client.settimeout(5)
        self.client.connect((WAN4, 7777))
        self.far, self.peer = self.server.accept()
        self.far.settimeout(5)

    def __enter__(self):
        return self

    def __call__(self) -> bool:
        self.client.sendall(b"ping")
        self.far.sendall(self.far.recv(4))
        return self.client.recv(4) == b"ping" and self.peer[0] == GATE4

    def __exit__(self, *_error) -> None:
        for each in (self.far, self.client, self.server):
            each.close()


def fence_chain(instance="default"):
    name = "ipmasq-fence" if instance == "default" else "ipmasq-fence-" + instance
    found = re.search(r"chain (text-\w+)", sh("nft list table inet {0} 2> /dev/null || true".format(name)))
    return found.group(1) if found else ""


@ON_TWO
def test_it_comes_changes_and_goes_with_the_gateway(gate, net):
    done = gate.apply(**ONE_LAN).to_dict()
    assert "+ fence: stands" in done["differences"]
    one = fence_chain()
    assert one and "flags owner" in sh("nft list table inet ipmasq-fence")
    assert gate.info()["fence"] == {"stands": True, "why_not": ""} and gate.info()["as_applied"]
    assert not gate.apply(**ONE_LAN).changed
    assert "~ fence: renewed" in gate.apply(**TWO_LANS).to_dict()["differences"]
    two = fence_chain()
    assert one != two and not gate.apply(**TWO_LANS).changed
    # A pending change has its own; after a rollback, the old one is used again.
    gate.apply(confirmation=rollback.Confirmation(3600, "token", "14:05:30"), **ONE_LAN)
    assert fence_chain() == one
    # The holder may die in the meantime.
    gate.host.systemctl("restart ipmasq-fence.service")
    assert fence_chain() == one
    rollback.finish("default", "token", False, gate.host)
    assert fence_chain() == two and gate.info()["as_applied"]
    gate.apply(confirmation=rollback.Confirmation(3600, "token", "14:05:30"), **ONE_LAN)
    rollback.finish("default", "token", True, gate.host)
    assert fence_chain() == one and gate.info()["as_applied"]
    gate.absent()
    assert not fence_chain() and not (gate.host.root / "fence.pid").exists()
    assert not [path for path in gate.host.root.rglob("*ipmasq*fence*") if path.is_file()]
    assert not list((gate.host.root / "etc/ipmasq").glob("*"))


@ON_NFT
def test_a_removal_that_waits_is_taken_back_with_its_fence(gate, net):
    gate.apply(**ONE_LAN)
    one = fence_chain()
    removing.remove_instance("default", gate.host, rollback.Confirmation(3600, "token", "14:05:30"))
    assert not fence_chain()
    rollback.finish("default", "token", False, gate.host)
    assert fence_chain() == one and gate.info()["as_applied"]


@ON_NFT
def test_a_change_that_fails_leaves_the_old_fence(gate, net, monkeypatch):
    gate.apply(**ONE_LAN)
    one = fence_chain()

    def fails(*_args):
        raise GatewayError("made to fail by the test")

    monkeypatch.setattr(rollback, "keep", fails)
    with pytest.raises(GatewayError, match="made to fail by the test"):
        gate.apply(**TWO_LANS)
    assert fence_chain() == one and gate.info()["as_applied"]


@ON_NFT
def test_one_that_has_fallen_is_drift_and_stands_again(gate, net):
    gate.apply(**ONE_LAN)
    os.kill(gate.host.holder, signal.SIGKILL)
    wait_until(lambda: not fence_chain(), "the kernel keeps a table whose owner is dead")
    told = gate.info()
    assert told["drift"] == ["- fence: does not stand (systemctl status ipmasq-fence)"]
    assert not told["as_applied"] and not told["fence"]["stands"]
    done = gate.apply(**ONE_LAN)
    assert done.changed and "~ fence: stands again" in done.to_dict()["differences"]
    assert gate.info()["as_applied"]


@ON_NFT
def test_two_instances_have_one_each(gate, net):
    gate.apply(**dict(ONE_LAN, lans=[OFFICE]))
    gate.apply(instance="two", wans=[{"interface": "wan0"}], lans=[GUESTS])
    one, two = fence_chain(), fence_chain("two")
    assert one and two
    assert net.tcp("office", "wan", WAN4) == GATE4 and net.tcp("guest", "wan", WAN4) == GATE4
    sh("nft flush ruleset")
    for client in ("office", "guest"):
        assert net.tcp(client, "wan", WAN4, timeout=0.2) == "timeout"
    gate.host.boot()
    gate.absent("two")
    assert (fence_chain(), fence_chain("two")) == (one, "")
    assert gate.info()["as_applied"]


@ON_NFT
def test_rules_that_somebody_has_saved_with_it(gate, net):
    """By hand they are refused, in the kernel's words; the service of nftables takes the fence down for them."""
    gate.apply(**ONE_LAN)
    one = fence_chain()
    saved = pathlib.Path(gate.host.place("/etc/nftables.conf"))
    saved.write_text("flush ruleset\n" + sh("nft list ruleset"))
    with pytest.raises(AssertionError, match="Operation not permitted"):
        sh("nft -f {0}".format(saved))
    assert fence_chain() == one and net.tcp("office", "wan", WAN4) == GATE4
    gate.host.boot("close")
    sh("nft -f {0}".format(saved))
    gate.host.boot("reopen")
    assert fence_chain() == one and net.tcp("office", "wan", WAN4) == GATE4
    # It stands again, too, if the loader then fails.
    load = gate.host.read("/etc/ipmasq/default.load")
    gate.host.boot("close")
    sh("nft -f {0}".format(saved))
    gate.host.put("/etc/ipmasq/default.load", "false\n")
    with pytest.raises(AssertionError, match="forwarding is off"):
        gate.host.boot("reopen")
    assert fence_chain() == one
    gate.host.put("/etc/ipmasq/default.load", load)
    gate.host.boot("reopen")
    assert net.tcp("office", "wan", WAN4) == GATE4
    # If the file does not contain it, it stays loaded.
    saved.write_text(SAVED)
    holder = gate.host.holder
    gate.host.boot("close")
    gate.host.boot("reopen")
    assert gate.host.holder == holder


#: Its own address, and the gateway's, on each link that is neither a WAN nor a LAN.
LINKS = {
    "mgmt": (("10.9.9.10", "10.9.9.1"), ("fd09::10", "fd09::1")),
    "tunnel": (("10.8.8.10", "10.8.8.1"), ("fd08::10", "fd08::1")),
    "container": (("172.17.0.10", "172.17.0.1"), ("fd17::10", "fd17::1")),
}


@ON_TWO
def test_protect_holds_through_a_flush(gate, net):
    """On WANs, undeclared links and tunnels, as before it; LANs and the links of managers are left alone."""
    mgmt(net)
    third(net, "tun7", "tunnel", "10.8.8", "fd08")
    container(net)
    gate.apply(input="protect", **ONE_LAN)
    shut = {"wan": ((WAN4, GATE4), (WAN6, GATE6)), "mgmt": LINKS["mgmt"], "tunnel": LINKS["tunnel"]}
    opened = {"container": LINKS["container"], "office": ((OFFICE4, "192.168.1.1"), (OFFICE6, "fd00:1::1"))}
    for flushed in (False, True):
        if flushed:
            sh("nft flush ruleset" if gate.programs != "iptables-legacy" else LEGACY)
        for node, there in shut.items():
            for own, address in there:
                assert net.tcp(node, "gate", address, 8080, timeout=0.2) == "timeout", (node, address)
                assert net.tcp(node, "gate", address, 22) == own
                assert net.ping(node, address)
        for node, there in opened.items():
            for own, address in there:
                assert net.tcp(node, "gate", address, 8080) == own


@ON_TWO
@pytest.mark.parametrize("first", ["one", "two"])
def test_what_another_instance_leaves_open_stays_open(gate, net, first):
    """Both protect this host. Neither has to know the LANs of the other one, which may come later."""
    given = {"one": ONE_LAN, "two": {"wans": [{"interface": "mgmt0"}], "lans": [GUESTS]}}
    mgmt(net)
    for instance in sorted(given, key=lambda name: name != first):
        gate.apply(instance=instance, input="protect", **given[instance])
    for flushed in (False, True):
        if flushed:
            sh("nft flush ruleset" if gate.programs != "iptables-legacy" else LEGACY)
        assert net.tcp("office", "gate", "192.168.1.1", 8080) == OFFICE4
        assert net.tcp("guest", "gate", "192.168.2.1", 8080) == CLIENTS["guest"][1]
        for node, address in (("wan", GATE4), ("mgmt", "10.9.9.1")):
            assert net.tcp(node, "gate", address, 8080, timeout=0.2) == "timeout"


@pytest.mark.parametrize("reaches", [[], ["guests"]])
def test_groups_go_where_they_may_after_a_flush(gate, net, reaches):
    """From the WAN, those that are declared; from a LAN, to those that it reaches, and outside only if translated."""
    lans = [dict(OFFICE, reaches=reaches), GUESTS]
    gate.apply(wans=[{"interface": "wan0"}], lans=lans, multicast=[dict(TV[0], lan=["office"])])
    opened = [("office", GROUP4), ("office", GROUP6)]
    inside = {OFFICE4} if reaches else set()
    assert (come_in(net), seen(net, "guest0", "guest"), seen(net)) == (opened, inside, {GATE4})
    sh("nft flush ruleset" if gate.programs != "iptables-legacy" else LEGACY)
    sh("conntrack -F 2> /dev/null")
    assert (come_in(net), seen(net, "guest0", "guest"), seen(net)) == (opened, inside, set())
    gate.host.systemctl("stop ipmasq-fence.service")
    sh("conntrack -F 2> /dev/null")
    assert len(come_in(net)) == 4 and seen(net, "guest0", "guest") == seen(net) == {OFFICE4}


@ON_TWO
@pytest.mark.parametrize("into", [("wan0", "guest0"), ("guest0", "wan0")])
def test_no_copy_of_a_group_leaves_with_a_private_source_after_a_flush(gate, net, into):
    """The copy for the LAN may come first, and what is decided about the first packet of a flow holds for all."""
    lans = [dict(OFFICE, reaches=["guests"]), GUESTS]
    gate.apply(wans=[{"interface": "wan0"}], lans=lans, multicast=TV)
    sh("nft flush ruleset" if gate.programs != "iptables-legacy" else LEGACY)
    assert copies(net, into) == ([], [OFFICE4] * 3)
    gate.host.systemctl("stop ipmasq-fence.service")
    sh("conntrack -F 2> /dev/null")
    assert copies(net, into) == ([OFFICE4] * 3, [OFFICE4] * 3)


@ON_TWO
def test_a_tunnel_with_a_default_route_stays_closed_through_a_flush(gate, net):
    gate.apply(**TWO_LANS, ipv6="masquerade")
    there4, there6 = third(net, "tun7", "far", "10.7.7", "fd07")
    sh("ip route replace default via {0}; ip -6 route replace default via {1}".format(there4, there6))
    sh("nft flush ruleset" if gate.programs != "iptables-legacy" else LEGACY)
    assert through_a_tunnel(net) == ([], [])
    assert net.tcp("office", "far", there4) == OFFICE4
    gate.host.systemctl("stop ipmasq-fence.service")
    came, left = through_a_tunnel(net)
    assert came and left, "without a fence it would have been the same"


@ON_TWO
@pytest.mark.usefixtures("vpn")
def test_what_carries_a_wan_passes_a_flush(gate, net):
    """With 464XLAT, all of the gateway's own IPv4. Who masquerades a private source has been flushed, too."""
    gate.apply(wans=[{"interface": "vpn0", "carried_from": SOURCES}, {"interface": "wan0"}], lans=[OFFICE])
    sh("nft flush ruleset" if gate.programs != "iptables-legacy" else LEGACY)
    assert [asked(net, source) for source in (CARRIER4, CARRIER6)] == ["timeout", CARRIER6]
    assert asked(net, "172.31.0.11") == "timeout"
    closed(net, "wan", "vpn", CARRIER6)
    closed(net, "vpn", "office", OFFICE4, CLIENTS["office"][2])


@ON_TWO
def test_a_mark_that_came_along_opens_nothing_after_a_flush(gate, net):
    gate.apply(**TWO_LANS)
    sh("nft flush ruleset" if gate.programs != "iptables-legacy" else LEGACY)
    marked("wan0", "lan0")
    closed(net, "wan", "office", OFFICE4, CLIENTS["office"][2])
    with Sniffer(net) as outside:
        send(net, "office", [udp("10.66.6.6", WAN4), udp("fd66::6", WAN6)])
        assert outside.leaks() == []


def heard(net, node: str, sender: str, link: str, packet: bytes, wait: float = 0.4) -> list:
    """What this packet of a sender brings to a node, by its port."""
    with net.socket(node, socket.AF_INET6, socket.SOCK_DGRAM) as listener:
        listener.bind(("::", 5353))
        listener.settimeout(wait)
        send(net, sender, [packet], link=link)
        try:
            return [listener.recvfrom(100)[1][0]]
        except TimeoutError:
            return []


@ON_TWO
def test_nobody_is_this_host_after_a_flush(gate, net):
    """The kernel drops a foreign packet with an address of the gateway as its source in IPv4 only."""
    gate.apply(**TWO_LANS)
    office, guest = CLIENTS["office"][2], CLIENTS["guest"][2]
    forged = [
        ("wan", "wan0", GATE6, office),
        ("guest", "guest0", "fd00:2::1", office),
        ("office", "lan0", "fd00:1::1", WAN6),
    ]
    for state in ("rules", "fence alone", "nothing"):
        if state == "fence alone":
            sh("nft flush ruleset" if gate.programs != "iptables-legacy" else LEGACY)
        if state == "nothing":
            gate.host.systemctl("stop ipmasq-fence.service")
        wait = patience() if state == "nothing" else 0.4
        came = [
            heard(net, "wan" if to == WAN6 else "office", node, link, udp(source, to), wait)
            for node, link, source, to in forged
        ]
        assert came == [[source] if state == "nothing" else [] for _node, _link, source, _to in forged], state
    assert heard(net, "office", "guest", "guest0", udp(guest, office), patience()) == [guest]


@pytest.mark.parametrize(
    ("host", "why"),
    [
        ({"without": ("nft",)}, "nft is not installed; install the package nftables"),
        ({"kernel": "4.19.0-27-amd64"}, "Linux 4.19.0-27-amd64 has no tables with an owner, which came with 5.12"),
        ({"init": False}, "this host has neither systemd nor OpenRC nor sysvinit, so nothing would hold it"),
    ],
)
def test_where_there_can_be_none_it_is_said(tmp_path, monkeypatch, host, why):
    wire_gateway()
    made = fenced("iptables-legacy", tmp_path, monkeypatch)
    made.host.without = host.get("without", ())
    if "kernel" in host:
        plain = made.host.read
        monkeypatch.setattr(
            made.host, "read", lambda path: host["kernel"] if path.endswith("osrelease") else plain(path)
        )
    if "init" in host:
        sh("rm -r {0}/run/systemd".format(tmp_path))
    done = made.apply(**ONE_LAN)
    sentence = "no fence: {0}; a flush of all rules by hand opens this host until they are loaded again"
    assert sentence.format(why) in done.notes
    assert made.info()["fence"] == {"stands": False, "why_not": why}
    assert not made.apply(**ONE_LAN).changed


@ON_NFT
def test_the_fence_leaves_bridged_frames_alone(gate, net):
    """Behind the rules it sees them without the port that they came from. After a flush, those of a WAN pass."""
    bridged(net, "lan0", ("192.168.1.1/24", "fd00:1::1/64"), "nas", ("192.168.1.20/24", "fd00:1::20/64"))
    bridged(net, "wan0", (GATE4 + "/24", GATE6 + "/64"), "vm", ("203.0.113.50/24", "2001:db8:ff::50/64"))
    lan = dict(OFFICE, interfaces=["br-lan0"], networks=["192.168.1.0/24", "fd00:1::/64"])
    gate.apply(wans=[{"interface": "br-wan0"}], lans=[lan])
    assert hears(net, "office", "nas", FRAMES) == [0, 1, 2, 3, 4, 5]
    assert net.tcp("wan", "vm", "203.0.113.50") == WAN4
    sh("nft flush ruleset")
    assert net.tcp("wan", "vm", "203.0.113.50") == WAN4
    net.nodes["vm"].sh("ip route add 192.168.0.0/16 via " + GATE4)
    closed(net, "vm", "office", OFFICE4)


@ON_TWO
def test_a_transparent_proxy_on_the_gateway_is_let_in(gate, net):
    """It sends to a server inside with its client's address, which this host does not have, and comes in on no link."""
    gate.apply(**TWO_LANS)
    for client, server, level, option in (
        ("8.8.8.8", OFFICE4, socket.IPPROTO_IP, 19),  # IP_TRANSPARENT
        ("2600::1", "fd00:1::10", socket.IPPROTO_IPV6, 75),  # IPV6_TRANSPARENT
    ):
        family = socket.AF_INET6 if ":" in client else socket.AF_INET
        with net.socket("gate", family, socket.SOCK_DGRAM) as proxy, Sniffer(net, "office") as inside:
            proxy.setsockopt(level, option, 1)
            proxy.bind((client, 0))
            proxy.sendto(b"x", (server, 8443))
            assert client in [str(source) for source, _protocol in inside.sources(0.4)]


# --- Flows that a bridge has shown before -----------------------------------------------------------------------------

#: How a flow begins: with a packet to this host, with one to a neighbour, and with a forged answer from there as well.
BEGUN = {"here": (), "beside": (False,), "answered": (False, True)}
STATES = ("rules", "fence alone", "nothing")


def without(gate, state):
    """Flush the rules, and then stop the fence."""
    if state == "fence alone":
        sh("nft flush ruleset" if gate.programs != "iptables-legacy" else LEGACY)
    if state == "nothing":
        gate.host.systemctl("stop ipmasq-fence.service")
        sh("conntrack -F 2> /dev/null")


def begin(net, how, node, beside, pairs, sport, dport=9999):
    """The packets of these flows, after what is sent to a neighbour at the bridge."""
    for answered in BEGUN[how]:
        ends = [(*pair[::-1], dport, sport) if answered else (*pair, sport, dport) for pair in pairs]
        across(net, node, beside, [udp(*each) for each in ends])
        time.sleep(0.1)
    return [udp(*pair, sport, dport) for pair in pairs]


def arrived(net, listeners, deliver):
    """Which of these nodes gets something at these addresses."""
    with contextlib.ExitStack() as stack:
        servers = {}
        for node, address in listeners:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            server = stack.enter_context(net.socket(node, family, socket.SOCK_DGRAM))
            server.bind((address, 9999))
            servers[server] = (node, address)
        deliver()
        time.sleep(0.4)
        return sorted(servers[each] for each in select.select(list(servers), [], [], 0)[0])


@pytest.mark.parametrize("how", BEGUN)
def test_nobody_at_the_bridge_of_a_wan_comes_in_after_a_flush(gate, net, how):
    """The kernel has seen the flow before, from port to port, so it asks no NAT chain about it again."""
    a_bridge_of_a_wan(net)
    gate.apply(wans=[{"interface": "br-wan0"}], lans=[OFFICE], input="protect")
    inside = [("office", OFFICE4), ("office", CLIENTS["office"][2]), ("gate", GATE4), ("gate", GATE6)]
    for turn, state in enumerate(STATES):
        without(gate, state)

        def deliver(turn=turn):
            pairs = [(VM6 if ":" in address else VM4, address) for _node, address in inside]
            send(net, "vm", begin(net, how, "vm", "wan", pairs, 4000 + turn), "br-wan0")

        assert arrived(net, inside, deliver) == (sorted(inside) if state == "nothing" else []), state


@pytest.mark.parametrize("how", BEGUN)
def test_nobody_at_the_bridge_of_a_wan_comes_in_where_no_fence_stands(gate, net, how):
    """As on hosts without nft."""
    a_bridge_of_a_wan(net)
    gate.apply(wans=[{"interface": "br-wan0"}], lans=[OFFICE], input="protect")
    inside = [("office", OFFICE4), ("office", CLIENTS["office"][2]), ("gate", GATE4), ("gate", GATE6)]
    without(gate, "nothing")
    for turn, there in enumerate(([], sorted(inside))):

        def deliver(turn=turn):
            pairs = [(VM6 if ":" in address else VM4, address) for _node, address in inside]
            send(net, "vm", begin(net, how, "vm", "wan", pairs, 4000 + turn), "br-wan0")

        assert arrived(net, inside, deliver) == there
        without(gate, "fence alone")


@ON_TWO
def test_no_connection_begins_beside_this_host_after_a_flush(gate, net):
    """Its first packet goes to a neighbour, by a wrong entry for the gateway, and all others to the gateway."""
    a_bridge_of_a_wan(net)
    gate.apply(wans=[{"interface": "br-wan0"}], lans=[OFFICE])
    net.nodes["wan"].sh("echo 0 > /proc/sys/net/ipv4/ip_forward; echo 0 > /proc/sys/net/ipv4/conf/all/send_redirects")
    wrong, right = (hardware_address(net, *end).hex(":") for end in (("wan", "up0"), ("gate", "br-wan0")))
    sets = "ip neigh replace {0} lladdr {1} dev up0 nud permanent"
    for state in STATES:
        without(gate, state)
        net.nodes["vm"].sh(sets.format(GATE4, wrong))
        with (
            net.socket("office", socket.AF_INET, socket.SOCK_STREAM) as server,
            net.socket("vm", socket.AF_INET, socket.SOCK_STREAM) as client,
        ):
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            server.bind((OFFICE4, 8080))
            server.listen(1)
            client.setblocking(False)
            client.connect_ex((OFFICE4, 8080))
            time.sleep(0.2)
            net.nodes["vm"].sh(sets.format(GATE4, right))
            # The kernel of the client sends once more after a second.
            assert bool(select.select([server], [], [], 2)[0]) == (state == "nothing"), state


@pytest.mark.parametrize("how", BEGUN)
def test_nobody_at_the_bridge_of_a_lan_leaves_it_after_a_flush(gate, net, how):
    """Neither with a private source nor to another LAN."""
    bridged(net, "lan0", ("192.168.1.1/24", "fd00:1::1/64"), "nas", (NAS4 + "/24", NAS6 + "/64"))
    gate.apply(wans=[{"interface": "wan0"}], lans=[dict(OFFICE, interfaces=["br-lan0"]), GUESTS])
    own, guest = CLIENTS["office"][1:], CLIENTS["guest"][1:]
    for turn, state in enumerate(STATES):
        without(gate, state)
        pairs = [*zip(own, (WAN4, WAN6), strict=True), *zip(own, guest, strict=True)]
        with Sniffer(net) as outside, Sniffer(net, "guest") as beside:
            send(net, "office", begin(net, how, "office", "nas", pairs, 5000 + turn), "br-lan0")
            left = [sorted(str(each) for each, kind in node.sources(0.4) if kind == 17) for node in (outside, beside)]
        if state == "rules":
            assert left in ([[], []], [sorted((GATE4, GATE6)), []])
        else:
            assert left == ([sorted(own)] * 2 if state == "nothing" else [[], []]), state


@pytest.mark.parametrize("node", ["nas", "machine"])
def test_no_machine_behind_the_bridge_of_its_firewall_leaves_a_lan_after_a_flush(gate, net, node):
    """The flush takes its conntrack zone away, too, so a bridge shows each of its flows before."""
    options, _there = beside_a_machine(net)
    machine(net)
    tracked_apart(gate)
    net.nodes["nas"].ip_batch(*default("192.168.1.1", "fd00:1::1"))
    gate.apply(wans=options["wans"], lans=[dict(OFFICE, interfaces=["br-lan0"])])
    assert [net.tcp(node, "wan", address) for address in (WAN4, WAN6)] == [GATE4, GATE6]
    own = {"nas": (NAS4, NAS6), "machine": (MACHINE4, MACHINE6)}[node]
    for state in STATES[1:]:
        without(gate, state)
        with Sniffer(net) as outside:
            packets = [udp(*pair, 5000 + n) for n in range(3) for pair in zip(own, (WAN4, WAN6), strict=True)]
            send(net, node, packets, "br-lan0")
            left = {str(source) for source, protocol in outside.sources(0.4) if protocol == 17}
        assert left == (set(own) if state == "nothing" else set())


@pytest.mark.parametrize("zone", [True, False], ids=["zone", "no zone"])
def test_no_machine_behind_the_bridge_of_its_firewall_comes_in_from_a_wan_after_a_flush(gate, net, zone):
    a_bridge_of_a_wan(net)
    machine(net, "br-wan0", (OUTER4 + "/24", OUTER6 + "/64"), (GATE4, GATE6))
    if zone:
        tracked_apart(gate)
    gate.apply(wans=[{"interface": "br-wan0"}], lans=[OFFICE], input="protect")
    inside = [("office", OFFICE4), ("office", CLIENTS["office"][2]), ("gate", GATE4), ("gate", GATE6)]
    for state in STATES:
        without(gate, state)
        flows = [(OUTER6 if ":" in to else OUTER4, to, 4000 + n, 9999) for n in range(3) for _node, to in inside]
        got = arrived(net, inside, lambda flows=flows: send(net, "machine", [udp(*each) for each in flows], "br-wan0"))
        assert got == (sorted(inside) if state == "nothing" else []), state


@ON_NFT
def test_nor_does_one_at_a_bridge_that_nobody_declares(gate, net):
    """With a public address: those with private ones are a site's, which reaches LANs after a flush."""
    sh("ip link add vmbr5 type bridge; ip link set vmbr5 up; ip addr add 10.5.5.1/24 dev vmbr5")
    sh("ip addr add 2001:db8:5::1/64 dev vmbr5 nodad")
    shown(1)
    machine(net, "vmbr5", ("10.5.5.5/24", "2001:db8:5::5/64"), ("10.5.5.1", "2001:db8:5::1"))
    gate.apply(wans=[{"interface": "wan0"}], lans=[OFFICE])
    for state in STATES:
        without(gate, state)
        seen = net.tcp("machine", "office", "fd00:1::10", timeout=patience() if state == "nothing" else 0.4)
        assert seen == ("2001:db8:5::5" if state == "nothing" else "timeout"), state


def test_what_has_begun_at_bridges_outlives_a_flush(gate, net):
    """Translated or not, with answers or without: the fence asks about each packet there."""
    bridged(net, "lan0", ("192.168.1.1/24", "fd00:1::1/64"), "nas", (NAS4 + "/24", NAS6 + "/64"))
    net.nodes["nas"].ip_batch(*default("192.168.1.1", "fd00:1::1"))
    a_bridge_of_a_wan(net)
    own, guest = CLIENTS["office"][1:], CLIENTS["guest"][1:]
    exempt = {"name": "plain", "action": "exempt", "source": ["office"], "destination": [VM4, VM6]}
    forwards = [
        {"name": "web4", "protocol": ["tcp", "udp"], "port": ["443"], "to": [NAS4]},
        {"name": "web6", "protocol": ["tcp", "udp"], "port": ["443"], "to": [NAS6]},
    ]
    gate.apply(
        wans=[{"interface": "br-wan0"}],
        lans=[dict(OFFICE, interfaces=["br-lan0"], reaches=["guests"]), GUESTS],
        nat=[exempt, {"name": "rest"}],
        port_forwards=forwards,
        input="protect",
        input_allow=[{"name": "ask", "protocol": ["tcp", "udp"], "port": ["7700-7799"]}],
    )
    ways = [  # from, to, the addresses there, and what is seen of the first
        ("office", "wan", (WAN4, WAN6), (GATE4, GATE6)),
        ("office", "vm", (VM4, VM6), own),
        ("office", "guest", guest, own),
        ("office", "nas", (NAS4, NAS6), own),
        ("vm", "nas", (GATE4, GATE6), (VM4, VM6)),
        ("wan", "vm", (VM4, VM6), (WAN4, WAN6)),
        ("vm", "gate", (GATE4, GATE6), (VM4, VM6)),
    ]
    with contextlib.ExitStack() as stack:
        open_ones, one_way = [], []
        for number, (source, target, there, seen) in enumerate(ways):
            port = 443 if (source, target) == ("vm", "nas") else 7700 + number
            open_ones.append((source, target, stack.enter_context(connected(net, source, target, there[0], port))))
            for family, to, who in zip((socket.AF_INET, socket.AF_INET6), there, seen, strict=True):
                server = stack.enter_context(net.socket(target, family, socket.SOCK_DGRAM))
                client = stack.enter_context(net.socket(source, family, socket.SOCK_DGRAM))
                if family == socket.AF_INET6:
                    server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                server.bind(("", port))
                server.settimeout(patience())
                client.connect((to, port))
                one_way.append((source, to, who, client, server))
        for state in ("rules", "fence alone"):
            without(gate, state)
            for source, target, ends in open_ones:
                assert speaks(ends), (state, source, target)
            for source, to, seen, client, server in one_way:
                client.send(b"x")
                assert server.recvfrom(9)[1][0] == seen, (state, source, to)
