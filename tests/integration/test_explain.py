# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What gateway_explain says about packets through real gateways, and that it disturbs nobody."""

from __future__ import annotations

import contextlib
import re
import socket

import pytest
import unhurried
from helpers import GUESTS, OFFICE
from sandbox import sh
from test_proof import traces
from topology import GATE4, WAN4, Sniffer, Topology

from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError
from ansible_collections.ipmasq.linux.plugins.module_utils._change.explaining import gateway_explain
from ansible_collections.ipmasq.linux.plugins.module_utils._change.probe import gateway_probe
from ansible_collections.ipmasq.linux.plugins.module_utils._explain import trial
from ansible_collections.ipmasq.linux.plugins.module_utils._proof import ground as grounds
from ansible_collections.ipmasq.linux.plugins.module_utils._proof.packets import TEXT

DECLARED = {
    "wans": [{"interface": "wan0"}],
    "lans": [OFFICE, GUESTS],
    "input": "protect",
    "nat": [
        {"name": "one", "action": "static", "source": ["192.168.1.20/32"], "to": ["203.0.113.20/32"],
         "to_address": "routed"},
        {"name": "vpn", "action": "exempt", "destination": ["100.66.0.0/16"]},
        {"name": "calls", "protocol": ["udp"], "port": ["5060"], "to_port": "30000-30100"},
        {"name": "rest"},
    ],
    "port_forwards": [
        {"name": "web", "port": ["443"], "to": ["192.168.1.20"], "to_port": 8443, "hairpin": True},
        {"name": "six", "port": ["25"], "to": ["fd00:1::20"]},
    ],
    "outbound": [
        {"name": "no-mail", "protocol": ["tcp"], "port": ["25"], "action": "reject"},
        {"name": "no-games", "protocol": ["udp"], "port": ["27015"], "action": "drop"},
    ],
}  # fmt: skip
#: Question; passes, part of the verdict, items, and what it leaves as.
PACKETS = {
    "out": (("192.168.1.10", "9.9.9.9", 443), True, "nat 'rest' (masquerade)", ["nat/rest"],
            r"wan0: tcp 203\.0\.113\.2:(2\d{4}|3[01]\d{3}) > 9\.9\.9\.9:443 SYN"),
    "out, IPv6": (("fd00:1::10", "2620:fe::9", 53, "udp"), True, "nat 'rest' (masquerade)", ["nat/rest"],
                  r"wan0: udp \[2001:db8:ff::2\]:\d+ > \[2620:fe::9\]:53"),
    "ping": (("192.168.1.10", WAN4), True, "nat 'rest' (masquerade)", ["nat/rest"],
             r"wan0: icmp 203\.0\.113\.2 > 203\.0\.113\.1 echo request"),
    "1:1 out": (("192.168.1.20", "9.9.9.9", 80), True, "nat 'one' (static)", ["nat/one"],
                r"wan0: tcp 203\.0\.113\.20:\d+ > 9\.9\.9\.9:80 SYN"),
    "exempt": (("192.168.1.10", "100.66.1.1", 80), True, "nat 'vpn' (exempt)", ["nat/vpn"],
               r"wan0: tcp 192\.168\.1\.10:\d+ > 100\.66\.1\.1:80 SYN"),
    "ports": (("192.168.1.10", "9.9.9.9", 5060, "udp"), True, "nat 'calls' (masquerade)", ["nat/calls"],
              r"wan0: udp 203\.0\.113\.2:30[01]\d\d > 9\.9\.9\.9:5060"),
    "denied": (("192.168.1.10", "9.9.9.9", 25), False, "outbound 'no-mail' says reject; the sender gets ICMP pro",
               ["outbound/no-mail"], ""),
    "dropped": (("192.168.1.10", "9.9.9.9", 27015, "udp"), False, "outbound 'no-games' says drop",
                ["outbound/no-games"], ""),
    "another LAN": (("192.168.1.10", "192.168.2.10", 445), False, "to let it, add guests to reaches of office", [], ""),
    "another LAN, IPv6": (("fd00:2::10", "fd00:1::10"), False, "LAN guests does not reach LAN office", [], ""),
    "gateway": (("192.168.1.10", "192.168.1.1"), True, "open to its LANs; it answers", [], ""),
    "forward": (("198.51.100.1", "203.0.113.2", 443), True, "port forward 'web' leads it to 192.168.1.20 port 8443",
                ["port_forward/web"], r"lan0: tcp 198\.51\.100\.1:\d+ > 192\.168\.1\.20:8443 SYN"),
    "forward, IPv6": (("2620:fe::9", "2001:db8:ff::2", 25), True, "port forward 'six' leads it to fd00:1::20 port 25",
                      ["port_forward/six"], r"lan0: tcp \[2620:fe::9\]:\d+ > \[fd00:1::20\]:25 SYN"),
    "hairpin": (("192.168.2.10", "203.0.113.2", 443), True, "port forward 'web', through its hairpin, leads it to",
                ["port_forward/web"], r"lan0: tcp 203\.0\.113\.2:\d+ > 192\.168\.1\.20:8443 SYN"),
    "1:1 in": (("198.51.100.1", "203.0.113.20", 80), True, "nat 'one' leads it to 192.168.1.20", ["nat/one"],
               r"lan0: tcp 198\.51\.100\.1:\d+ > 192\.168\.1\.20:80 SYN"),
    "closed": (("198.51.100.1", "203.0.113.2", 8080), False, "closed (input: protect)", [], ""),
    "closed, IPv6": (("2620:fe::9", "fd00:1::10", 80), False, "nothing enters LAN office from outside", [], ""),
    "undeclared": (("192.168.1.10", "10.99.0.5", 80), False, "other0 is neither a WAN nor a LAN", [], ""),
    "from undeclared": (("10.99.0.5", "9.9.9.9", 80), False, "other0 is neither a WAN nor a LAN", [], ""),
    "not routed": (("192.168.1.10", "9.9.8.1", 80), False, "a route or a rule of type blackhole drops packets to",
                   [], ""),
}  # fmt: skip


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    """What does not come within this time does not come; a packet is sent again meanwhile."""
    monkeypatch.setattr(trial, "PATIENCE", unhurried.patience())


@pytest.fixture
def wires():
    """The surroundings, for tests in which the backend makes no difference."""
    made = Topology()
    yield made
    made.close()


def ask(gate, source, target, port=None, protocol=None):
    asked = {"from": source, "to": target, "port": port, "protocol": protocol, "instance": "default"}
    return gateway_explain(asked, gate.host)


def other_link():
    """Not declared, with a neighbour."""
    sh(
        "ip link add other0 type veth peer name other1; ip addr add 10.99.0.1/24 dev other0; ip link set other0 up; "
        "ip link set other1 up; ip neigh add 10.99.0.5 lladdr 02:00:00:00:00:99 dev other0"
    )


def test_packets_of_all_kinds(gate, net, monkeypatch):
    net.wire_server()
    other_link()
    gate.apply(**DECLARED)
    sh("ip route add blackhole 9.9.8.0/24")
    before = traces()
    with contextlib.ExitStack() as stack:
        sniffers = [stack.enter_context(Sniffer(net, node)) for node in ("office", "guest", "wan", "server")]
        wrong = {}
        for name, (asked, passes, words, items, out) in PACKETS.items():
            monkeypatch.setattr(trial, "PATIENCE", unhurried.patience() if passes else 0.4)
            values = ask(gate, *asked)
            left = values["seen"][0] if values["leaves"] else ""
            told = (
                values["by"],
                values["as_declared"],
                values["passes"],
                values["items"],
                bool(re.fullmatch(out + "( MSS .*)?", left)),
            )
            if told != ("packet", True, passes, items, True) or words not in values["verdict"]:
                wrong[name] = values["lines"] + values["seen"]
            assert values["comes_back"] in ((True,) if passes else (None, False)), values["lines"]
        assert wrong == {}, "\n".join(line for lines in wrong.values() for line in lines)
        sh(FOE.format("ip daddr 9.9.9.9 drop") + "; nft add rule inet foe f ip6 daddr 2620:fe::9 drop")
        for name in ("out", "out, IPv6"):
            values = ask(gate, *PACKETS[name][0])
            assert (values["passes"], values["as_declared"]) == (False, False), values["lines"]
            assert values["culprit"].startswith("dropped by chain f of table inet foe (rule: "), values["lines"]
        assert [data for sniffer in sniffers for data in sniffer.packets() if TEXT in data] == []
    sh("nft delete table inet foe")
    assert traces() == before


#: What somebody does by hand, a question, what the verdict says then, and the culprit.
FOE = "nft add table inet foe; nft 'add chain inet foe f {{type filter hook forward priority 5;}}'; "
FOE += "nft add rule inet foe f {0}"
CLIENT = ("192.168.1.10", "9.9.9.9", 443)
BY_HAND = {
    "refused": (FOE.format("ip daddr 9.9.9.9 reject with tcp reset"), CLIENT,
                "it was refused; the sender gets a TCP RST", "rejected by chain f of table inet foe"),
    "answer": (FOE.format("ip saddr 9.9.9.9 drop"), CLIENT,
               "the answer does not get back to 192.168.1.10", "dropped by chain f of table inet foe"),
    "source": ("nft add table ip foe; nft 'add chain ip foe s {type nat hook postrouting priority 50;}'; "
               "nft add rule ip foe s ip saddr 192.168.1.10 snat to 203.0.113.77", CLIENT,
               "it leaves through wan0, but not as declared", "translated by chain s of table ip foe"),
    "open": ("nft insert rule inet ipmasq forward iifname lan0 accept", ("192.168.1.10", "192.168.2.10", 445),
             "it passes and leaves through guest0, although the declaration says: LAN office does not reach LAN guests",
             "let through by "),
    "silent service": (
        "nft add table inet foe; nft 'add chain inet foe f {type filter hook input priority 5;}'; "
        "nft add rule inet foe f udp dport 9999 drop", ("192.168.1.10", "192.168.1.1", 9999, "udp"),
        "it does not reach this gateway itself", "dropped by chain f of table inet foe"),
}  # fmt: skip


@pytest.mark.parametrize("cause", BY_HAND)
def test_it_goes_red(nft, wires, cause):
    command, asked, words, culprit = BY_HAND[cause]
    nft.apply(**DECLARED)
    sound = ask(nft, *asked)
    assert (sound["as_declared"], sound["culprit"]) == (True, "")
    sh(command)
    values = ask(nft, *asked)
    assert not values["as_declared"]
    assert words in values["verdict"]
    assert values["culprit"].startswith(culprit)
    assert values["passes"] is (cause in ("open", "source"))
    assert traces_of_watching() == ""


def traces_of_watching():
    return sh("nft list tables | grep -e trace -e probe || true")


def test_a_real_client_is_not_disturbed(nft, wires):
    """The client that is asked about has an open connection to the same server and port."""
    nft.apply(**DECLARED)
    with (
        wires.socket("wan", socket.AF_INET, socket.SOCK_STREAM) as server,
        wires.socket("office", socket.AF_INET, socket.SOCK_STREAM) as client,
    ):
        server.bind((WAN4, 443))
        server.listen()
        client.connect((WAN4, 443))
        accepted = server.accept()[0]
        with accepted, Sniffer(wires, "office") as seen:
            for _each in range(3):
                assert ask(nft, "192.168.1.10", WAN4, 443)["passes"]
                client.sendall(b"ping")
                assert accepted.recv(4) == b"ping"
                accepted.sendall(b"pong")
                assert client.recv(4) == b"pong"
            resets = [data for data in seen.packets() if data[0] >> 4 == 4 and data[9] == 6 and data[33] & 4]
            assert resets == []


def test_a_service_of_the_gateway_does_not_wait_for_us(nft, wires):
    """A SYN/ACK that is sent again, once nothing catches it, would be on a wire."""
    nft.apply(**DECLARED)
    with wires.socket("gate", socket.AF_INET, socket.SOCK_STREAM) as service, Sniffer(wires, "office") as seen:
        service.bind(("192.168.1.1", 8080))
        service.listen()
        values = ask(nft, "192.168.1.10", "192.168.1.1", 8080)
        assert values["passes"] and values["verdict"].endswith("it answers")
        assert sh("ss -Htn state syn-recv") == ""
        assert [data for data in seen.packets() if data[0] >> 4 == 4 and data[9] == 6] == []
    refused = ask(nft, "192.168.1.10", "192.168.1.1", 8080)
    assert not refused["passes"] and "nothing listens there" in refused["verdict"]


def test_a_host_that_is_down_is_played_and_told(nft, wires):
    nft.apply(**DECLARED)
    values = ask(nft, "192.168.1.77", "9.9.9.9", 443)
    assert values["passes"]
    assert "nobody answers for 192.168.1.77 on lan0" in values["notes"][-1]
    assert "192.168.1.77" not in sh("ip neigh")


@pytest.mark.parametrize(
    ("command", "passes", "words", "why"),
    [
        ("ip link set lan0 down", True, "nat 'rest' (masquerade)", "lan0 is down"),
        ("ip link set wan0 down", False, "wan0 is down, so bring it up first (ip link set wan0 up)", ""),
        ("ip link del wan0", False, "no IPv4 route leads to 9.9.9.9; wan0 does not exist", ""),
    ],
)
def test_links_that_are_down(nft, wires, command, passes, words, why):
    nft.apply(**DECLARED)
    sh(command)
    values = ask(nft, "192.168.1.10", "9.9.9.9", 443)
    assert (values["passes"], values["reason"]) == (passes, why)
    assert words in values["verdict"]
    assert values["by"] == ("declaration" if why else "packet")


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        (("10.9.9.9", "9.9.9.9", 80), "from: 10.9.9.9 is in no LAN (office: 192.168.1.0/24, fd00:1::/64; guests: "),
        (("192.168.1.1", "9.9.9.9", 80), "from: 192.168.1.1 is an address of this gateway; "),
        (("192.168.1.10", "192.168.1.11", 80), "to: 192.168.1.11 and 192.168.1.10 are both on lan0, so they talk to "),
        (("192.168.1.255", "9.9.9.9", 80), "from: 192.168.1.255 is a broadcast address; "),
        (("192.168.1.10", "2620:fe::9", 80), "to: 2620:fe::9 is IPv6, and from is IPv4; "),
    ],
)
def test_bad_input(nft, wires, asked, problem):
    nft.apply(**DECLARED)
    with pytest.raises(GatewayError) as error:
        ask(nft, *asked)
    (told,) = error.value.problems
    assert told.startswith(problem)


def test_without_tc_the_declaration_is_explained(nft, wires):
    nft.apply(**DECLARED)
    nft.host.without = ("tc",)
    values = ask(nft, "192.168.1.10", GATE4, 443)
    assert (values["by"], values["passes"], values["items"]) == ("declaration", True, ["port_forward/web"])
    assert values["reason"].startswith("tc is not installed")
    assert values["leaves"]["destination"] == "192.168.1.20"


def test_where_nft_has_no_egress_hook(nft, wires, monkeypatch):
    """Filters of tc catch the same: by number, and what a service answers by its port."""
    monkeypatch.setattr(grounds, "_has_egress", lambda _host: False)
    nft.apply(**DECLARED)
    before = traces()
    for family, own in ((socket.AF_INET, "192.168.1.1"), (socket.AF_INET6, "fd00:1::1")):
        with (
            wires.socket("gate", family, socket.SOCK_STREAM) as service,
            Sniffer(wires, "office") as inside,
            Sniffer(wires, "wan") as outside,
        ):
            service.bind((own, 8080))
            service.listen()
            v6 = family == socket.AF_INET6
            client, server = ("fd00:1::10", "2620:fe::9") if v6 else ("192.168.1.10", "9.9.9.9")
            assert ask(nft, client, own, 8080)["verdict"].endswith("it answers")
            assert ask(nft, client, server, 443)["passes"]
            assert ask(nft, client, server, 443, "udp")["passes"]
            assert not ask(nft, client, server, 25)["passes"]
            seen = [
                data for sniffer in (inside, outside) for data in sniffer.packets() if data[6 if v6 else 9] in (6, 17)
            ]
            assert seen == []
    assert traces() == before


def test_rules_at_the_ports_of_a_bridge_are_told(nft, wires):
    """The packets arrive at the bridge, so nobody knows what its ports let in."""
    sh(
        "ip link add br0 type bridge; ip link set br0 up; ip addr flush dev lan0; ip link set lan0 master br0; "
        "ip addr add 192.168.1.1/24 dev br0; ip addr add fd00:1::1/64 dev br0 nodad"
    )
    nft.apply(**dict(DECLARED, lans=[dict(OFFICE, interfaces=["br0"])]))
    assert "bridge" not in str(ask(nft, *CLIENT)["notes"])
    sh("nft add table bridge foe; nft 'add chain bridge foe f { type filter hook prerouting priority 0; }'")
    sh("nft add rule bridge foe f ip saddr 192.168.1.0/24 drop")
    told = "rules of table bridge foe come before br0, where the probe's packets arrive, so nobody has tried them"
    assert told in ask(nft, *CLIENT)["notes"]
    assert told in gateway_probe("default", nft.host)["notes"]
