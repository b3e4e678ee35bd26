# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""nat_probe in a LAN, with our reflector and others outside: what it says of gateways and NATs whose nature is known.

Each outcome is seen in each of its colours: a check that cannot fail proves nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import shlex
import socket
import struct
import subprocess
import sys
import threading

import pytest
from helpers import ONE_LAN
from sandbox import sh
from topology import CLIENTS, GATE4, GATE6, WAN4, WAN6
from unhurried import patience, wait_until

from ansible_collections.ipmasq.linux.plugins.module_utils._base.host import Done, Host
from ansible_collections.ipmasq.linux.plugins.module_utils._client import stun
from ansible_collections.ipmasq.linux.plugins.module_utils._client.probe import nat_probe
from ansible_collections.ipmasq.linux.plugins.module_utils._client.wire import Wire

REFLECTOR = pathlib.Path(__file__).resolve().parents[2] / "playbooks/files/reflector.py"
SECOND4, SECOND6 = "198.18.0.1", "2001:db8:aa::1"
#: Nobody has it, and the WAN's node answers for it with nothing.
NOBODY = "198.18.0.99"
OFFICE4, OFFICE6 = CLIENTS["office"][1:]
DEFAULTS = dict(servers=[], tcp=[], ping=[], dns_server="", dns_name="", expect={}, idle=0, timeout=3)


class Here(Host):
    """This process: nat_probe starts no process, and reads two files of /proc and one of /etc."""

    def __init__(self, resolv=""):
        self.resolv = resolv

    def run(self, argv, stdin=None):
        return Done(127, "", "")

    def which(self, program):
        return ""

    def read(self, path):
        return self.resolv if path == "/etc/resolv.conf" else super().read(path.replace("/proc/", "/proc/thread-self/"))


@pytest.fixture
def net(nft):
    from topology import Topology  # noqa: PLC0415 - as in conftest, with one backend

    made = Topology()
    made.nodes["wan"].sh("ip addr add {0}/32 dev lo; ip addr add {1}/128 dev lo nodad".format(SECOND4, SECOND6))
    made.nodes["wan"].sh("ip route add blackhole {0}".format(NOBODY))
    yield made
    made.close()


@contextlib.contextmanager
def reflecting(net, *addresses, node="wan", options=()):
    """Our reflector as a process, as verify.yml runs it."""
    with net.inside(node):
        server = subprocess.Popen([sys.executable, str(REFLECTOR), *options, *addresses], stderr=subprocess.PIPE)

    def listens():
        assert server.poll() is None, server.stderr.read()
        return sh_in(net, node, "ss -Hltn").count(":3479 ") == len(addresses)

    try:
        wait_until(listens, "the reflector does not listen")
        yield server
    finally:
        server.kill()
        server.wait()
        server.stderr.close()


def sh_in(net, node, command):
    with net.inside(node):
        return sh(command)


@pytest.fixture
def reflector(net):
    with reflecting(net, WAN4, SECOND4, WAN6, SECOND6) as server:
        yield server


class Quick(Wire):
    """Answers that never come are not waited for as long as a user would."""

    during = None

    def __init__(self):
        super().__init__(min(max(0.5, patience()), 1.0))

    def wait(self, seconds):
        """Time passes for the NAT, not for the test."""
        assert seconds > 0
        if self.during:
            self.during()


def probe(net, node="office", during=None, resolv="", **options):
    wire = Quick()
    wire.during = during
    if "expect" in options:
        options["expect"] = dict(options["expect"])
    with net.inside(node):
        return nat_probe(dict(DEFAULTS, **options), Here(resolv), wire)


def outcomes(result):
    return {each["name"]: each["outcome"] for each in result["results"]}


def of(result, name):
    (found,) = [each for each in result["results"] if each["name"] == name]
    return found


def classes(result, family="ipv4"):
    (nat,) = [each for each in result["nat"] if each["family"] == family]
    return nat["mapping"], nat["filtering"], nat["hairpin"]


# --- A sound gateway, and every way in which one promise breaks ------------------------------------------------------


class Answering:
    """A server of one UDP socket in this process, that answers as a function says: (data, client) to (data, to)."""

    def __init__(self, net, address, port, answer, node="wan"):
        self.socket = net.socket(node, socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((address, port))
        self.socket.settimeout(0.05)
        self.answer, self.asked, self.ends = answer, 0, False
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        while not self.ends:
            with contextlib.suppress(TimeoutError):
                data, client = self.socket.recvfrom(65535)
                self.asked += 1
                reply = self.answer(data, client)
                if reply is not None:
                    self.socket.sendto(reply, client)

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self.ends = True
        self.thread.join()
        self.socket.close()


def knows(data, _client):
    """A DNS server that knows every name but one."""
    code = 3 if b"nowhere" in data else 0
    return data[:2] + struct.pack("!HHHHH", 0x8180 | code, 1, 0, 0, 0) + data[12:]


SOUND = {"addresses": [GATE4, "2001:db8:ff::/64"], "mapping": "independent", "filtering": "address_port"}
SOUND.update(hairpin=False, mtu=1500)
EVERYTHING = dict(
    servers=[WAN4, WAN6], tcp=[WAN4 + ":3479"], ping=[WAN4], dns_server=WAN4, dns_name="www.example", expect=SOUND,
    idle=60,
)  # fmt: skip
#: A rule in the gateway's way, what is expected instead, and the promises that break; all others still hold.
BREAKS = [
    ("udp dport 3478 ip daddr {0}".format(WAN4), {}, {"udp over IPv4"}),
    ("tcp dport 3478 ip daddr {0}".format(WAN4), {}, {"tcp over IPv4"}),
    ("tcp dport 3479", {}, {"tcp to 203.0.113.1:3479"}),
    ("icmp type echo-request", {}, {"icmp to 203.0.113.1"}),
    ("udp dport 53", {}, {"dns from 203.0.113.1"}),
    ("", {"addresses": ["203.0.113.3"]}, {"address seen with udp over IPv4", "address seen with tcp over IPv4"}),
    (
        "",
        {"mapping": "address_port", "filtering": "independent", "hairpin": True, "mtu": 1501},
        {what + " over IPv4" for what in ("mapping", "filtering", "hairpin", "path MTU out", "path MTU in")},
    ),
    ("meta nfproto ipv6 udp dport 3478", {}, {"udp over IPv6"}),
]


@pytest.fixture
def gateway(nft, net, reflector):
    nft.apply(**ONE_LAN)
    sh("nft add table inet spoil; nft 'add chain inet spoil drops { type filter hook forward priority -500; }'")
    with Answering(net, WAN4, 53, knows):
        yield nft


def test_a_sound_gateway_and_each_way_to_break_it(gateway, net):
    """One gateway for all: each break is undone before the next."""
    result = probe(net, **EVERYTHING)
    assert set(outcomes(result).values()) == {"holds"}, [p for p in result["results"] if p["outcome"] != "holds"]
    assert result["counts"] == {"holds": len(result["results"]), "broken": 0, "unmeasurable": 0}
    assert result["proven"] is True
    assert sorted(result["addresses"]) == sorted([GATE4, GATE6])
    assert {(each["mtu_out"], each["mtu_in"]) for each in result["nat"]} == {(1500, 1500)}
    kinds = {each["kind"] for each in result["results"]}
    assert kinds == {"reach", "address", "dns", "mapping", "filtering", "hairpin", "mtu", "idle"}
    sound = outcomes(result)
    for rule, expect, broken in BREAKS:
        if rule:
            sh("nft 'add rule inet spoil drops {0} drop'".format(rule))
        servers = [WAN6 if "ipv6" in rule else WAN4]
        options = dict(EVERYTHING)
        options.update(servers=servers, idle=0, expect=dict(SOUND, **expect))
        result = probe(net, **options)
        found = outcomes(result)
        assert {name for name in found if found[name] == "broken"} == broken, rule or expect
        assert all(each["reason"] for each in result["results"] if each["outcome"] != "holds")
        assert set(found) <= set(sound)
        assert result["proven"] is False
        sh("nft flush chain inet spoil drops")


def test_an_idle_flow_that_the_gateway_forgets(gateway, net, namespace):
    result = probe(net, servers=[WAN4], idle=60, during=lambda: namespace.sh("conntrack -F 2>&1"))
    name = "a UDP flow that is idle for 60 s over IPv4"
    assert of(result, name)["outcome"] == "broken"
    assert "forgotten" in of(result, name)["reason"]
    assert of(probe(net, servers=[WAN4], idle=60), name)["outcome"] == "holds"


def test_names_that_dns_does_not_know(gateway, net):
    missing = dict(dns_server=WAN4, dns_name="nowhere.example", tcp=["no-such-host.invalid:80"])
    result = probe(net, servers=["no-such-host.invalid", WAN4], **missing)
    assert of(result, "dns from 203.0.113.1")["reason"] == "the name does not exist (NXDOMAIN)"
    assert of(result, "dns name no-such-host.invalid")["outcome"] == "broken"
    assert "resolv.conf" in of(result, "dns name no-such-host.invalid")["reason"]
    assert of(result, "udp over IPv4")["outcome"] == "holds"
    result = probe(net, dns_name="www.example", resolv="nameserver {0}\nnameserver {1}\n".format(WAN4, NOBODY))
    assert outcomes(result) == {"dns from 203.0.113.1": "holds", "dns from 198.18.0.99": "broken"}
    assert probe(net, dns_name="www.example")["results"][0]["reason"].startswith("/etc/resolv.conf names no server")


# --- Kinds of NAT ----------------------------------------------------------------------------------------------------

#: Rules of a router that is not ours, and what it is. {0} is what the client asks first, {1} the other address.
KINDS = {
    "no_nat": ("", ("none", "independent", "unknown")),
    "firewall": (
        "chain f { type filter hook forward priority 0; iifname wan0 ct state new drop; }",
        ("none", "address_port", "unknown"),
    ),
    "firewall_by_address": (
        "set s { type ipv4_addr . inet_service . ipv4_addr; flags dynamic,timeout; timeout 1m; }\n"
        "chain f { type filter hook forward priority 0; iifname lan0 update @s { ip saddr . udp sport . ip daddr }"
        " accept; iifname wan0 ip daddr . udp dport . ip saddr @s accept; iifname wan0 meta l4proto udp drop; }",
        ("none", "address", "unknown"),
    ),
    "one_to_one": (
        "chain p { type nat hook prerouting priority -100; ip daddr 203.0.113.2 dnat to 192.168.1.10; }\n"
        "chain q { type nat hook postrouting priority 100; ip saddr 192.168.1.10 snat to 203.0.113.2; }",
        ("independent", "independent", "yes"),
    ),
    "mapping_by_address": (
        "chain q { type nat hook postrouting priority 100; oifname wan0 ip daddr 198.18.0.1 meta l4proto udp"
        " snat to 203.0.113.2:50000-50019; oifname wan0 snat to 203.0.113.2; }",
        ("address", "address_port", "no"),
    ),
    "symmetric": (
        "chain q { type nat hook postrouting priority 100; oifname wan0 masquerade fully-random; }",
        ("address_port", "address_port", "no"),
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_of_nat(net, reflector, kind):
    rules, expected = KINDS[kind]
    sh("echo 1 > /proc/sys/net/ipv4/ip_forward; nft -f - <<'END'\ntable ip nat {{\n{0}\n}}\nEND".format(rules))
    result = probe(net, servers=[WAN4])
    assert classes(result) == expected, result["nat"]


def test_our_own_profiles(nft, net, reflector):
    """Random ports: symmetric. A pool: every server sees the same address of it."""
    nft.apply(nat=[{"name": "all", "random": True}], **ONE_LAN)
    result = probe(net, servers=[WAN4, WAN6], idle=60, expect={"mapping": "independent"})
    assert classes(result) == ("address_port", "address_port", "no")
    assert of(result, "mapping over IPv4")["outcome"] == "broken"
    assert of(result, "a UDP flow that is idle for 60 s over IPv4")["outcome"] == "holds"
    static = {"name": "server", "action": "static", "source": [OFFICE4], "to": ["203.0.113.9"], "inbound": True}
    static["to_address"] = "add"
    nft.apply(nat=[static, {"name": "all"}], **ONE_LAN)
    expect = {"addresses": ["203.0.113.9"], "hairpin": True}
    result = probe(net, servers=[WAN4], expect=expect)
    assert classes(result) == ("independent", "independent", "yes")
    assert result["proven"]
    assert result["addresses"] == ["203.0.113.9"]


def test_behind_another_nat(nft, net):
    """A provider's NAT behind ours: with a private WAN address, nothing can be said; with a public one, it is wrong."""
    nft.apply(**ONE_LAN)
    wan = net.nodes["wan"]
    net._node("far")
    wan.sh("ip link add inner type veth peer name far0 netns {0}".format(net.nodes["far"].path))
    wan.sh("ip addr add 198.18.1.1/24 dev inner; ip link set inner up; echo 1 > /proc/sys/net/ipv4/ip_forward")
    net.nodes["far"].sh("ip addr add 198.18.1.2/24 dev far0; ip addr add 198.18.1.3/24 dev far0; ip link set far0 up")
    wan.sh("nft 'add table ip n; add chain ip n p { type nat hook postrouting priority 100; }'")
    wan.sh("nft add rule ip n p oifname inner masquerade")
    with reflecting(net, "198.18.1.2", "198.18.1.3", node="far"), reflecting(net, WAN4):
        result = probe(net, servers=["198.18.1.2", WAN4], expect={"addresses": [GATE4]})
        seen = of(result, "address seen with udp over IPv4")
        assert seen["outcome"] == "broken"
        assert seen["reason"] == "198.18.1.1 was seen, but 203.0.113.2 is expected"
        assert any("several NATs are on the way" in note for note in result["notes"])
        result = probe(net, servers=["198.18.1.2"], expect={"addresses": ["10.0.0.2"]})
        seen = of(result, "address seen with udp over IPv4")
        assert seen["outcome"] == "unmeasurable"
        assert "another NAT" in seen["reason"]
        assert classes(result) == ("independent", "address_port", "no")


# --- Servers of every kind -------------------------------------------------------------------------------------------


def plain_stun(data, client, *extra):
    """What public servers do: RFC 5389, and nothing else."""
    asked = stun.decode(data)
    place = struct.pack("!H", client[1] ^ 0x2112)
    hidden = bytes(one ^ other for one, other in zip(socket.inet_aton(client[0]), b"\x21\x12\xa4\x42", strict=True))
    body = stun.attribute(stun.XOR_MAPPED_ADDRESS, b"\0\1" + place + hidden) + b"".join(extra)
    return stun.HEADER.pack(stun.SUCCESS, len(body), stun.COOKIE, asked.transaction) + body


def other(address, port=3479):
    return stun.attribute(stun.OTHER_ADDRESS, b"\0\1" + struct.pack("!H", port) + socket.inet_aton(address))


def test_public_servers(nft, net):
    """They have one address, speak no TCP, and answer no ping."""
    net.nodes["wan"].sh("iptables -A INPUT -p icmp --icmp-type echo-request -j DROP; iptables -A INPUT -p tcp -j DROP")
    nft.apply(**ONE_LAN)
    with Answering(net, WAN4, 3478, plain_stun), Answering(net, SECOND4, 19302, plain_stun):
        result = probe(net, servers=[WAN4, "stun:{0}:19302".format(SECOND4)], idle=60)
        assert classes(result) == ("independent", "unknown", "no")
        found = outcomes(result)
        assert [found[name] for name in ("udp over IPv4", "tcp over IPv4", "icmp over IPv4")] == [
            "holds", "unmeasurable", "unmeasurable",
        ]  # fmt: skip
        assert found["path MTU out over IPv4"] == "holds"
        assert found["path MTU in over IPv4"] == "unmeasurable"
        assert result["proven"] is True
        assert classes(probe(net, servers=[WAN4])) == ("unknown", "unknown", "no")
        nft.apply(nat=[{"name": "all", "random": True}], **ONE_LAN)
        expect = {"mapping": "address_port", "filtering": "address_port"}
        result = probe(net, servers=[WAN4, SECOND4 + ":19302"], expect=expect)
        assert classes(result) == ("dependent", "unknown", "no")
        assert of(result, "mapping over IPv4")["outcome"] == "unmeasurable"
        assert of(result, "filtering over IPv4")["outcome"] == "unmeasurable"


ROGUES = {
    "another transaction": lambda data, client: plain_stun(data[:8] + bytes(12), client),
    "no STUN at all": lambda data, client: b"HTTP/1.0 302 Found",
    "an error": lambda data, client: (
        stun.HEADER.pack(stun.ERROR, 12, stun.COOKIE, data[8:20]) + stun.attribute(stun.ERROR_CODE, b"\0\0\4\0nope")
    ),
    "a length that is not true": lambda data, client: plain_stun(data, client)[:-4],
    "nothing": lambda data, client: None,
}


@pytest.mark.usefixtures("nft")
def test_servers_that_may_not_be_believed(net):
    """A captive portal, a broken server: not reached, with the reason, whatever it says."""
    sh("echo 1 > /proc/sys/net/ipv4/ip_forward")
    reasons = {}
    for name, answer in ROGUES.items():
        with Answering(net, WAN4, 3478, answer) as server:
            result = probe(net, servers=[WAN4])
            assert server.asked
        assert outcomes(result)["udp over IPv4"] == "broken", name
        assert result["nat"] == [] == result["addresses"]
        reasons[name] = of(result, "udp over IPv4")["reason"]
    assert "another transaction ID" in reasons["another transaction"]
    assert "does not speak STUN" in reasons["no STUN at all"]
    assert "400 nope" in reasons["an error"]
    assert reasons["nothing"].endswith("no answer")


def test_servers_that_promise_a_second_address(net):
    """One names an address that is not its own (a coturn behind a NAT); another ignores CHANGE-REQUEST, as many do."""
    sh("echo 1 > /proc/sys/net/ipv4/ip_forward")
    with Answering(net, WAN4, 3478, lambda data, client: plain_stun(data, client, other("10.9.9.9"))):
        result = probe(net, servers=[WAN4])
        assert classes(result)[1] == "unknown"
        assert "ignores CHANGE-REQUEST" in result["nat"][0]["filtering_why"]

    def silent(data, client):
        return None if b"\0\3\0\4" in data else plain_stun(data, client, other("10.9.9.9"))

    with Answering(net, WAN4, 3478, silent):
        result = probe(net, servers=[WAN4])
        assert classes(result)[1] == "unknown"
        assert "proves nothing" in result["nat"][0]["filtering_why"]


def test_nobody_there(nft, net, reflector):
    """No server, servers that are down, no route, one family only."""
    nft.apply(**ONE_LAN)
    result = probe(net)
    assert (result["results"], result["proven"]) == ([], False)
    assert result["warnings"] == [
        "nothing was measured: name STUN servers in servers, or hosts in tcp, ping or dns_name"
    ]
    result = probe(net, servers=[NOBODY, WAN4])
    assert outcomes(result)["udp over IPv4"] == "holds"
    assert result["notes"] == ["198.18.0.99: no answer"]
    result = probe(net, servers=[NOBODY], tcp=[NOBODY + ":80"], ping=[NOBODY])
    assert result["counts"]["broken"] == 3
    assert result["nat"] == []
    # A refusal comes with the address of the router.
    sh("nft add table inet spoil; nft 'add chain inet spoil drops { type filter hook forward priority -500; }'")
    sh("nft add rule inet spoil drops udp dport 3478 reject with icmpx admin-prohibited")
    reason = of(probe(net, servers=[WAN4]), "udp over IPv4")["reason"]
    assert "says 192.168.1.1" in reason


def test_clients_with_one_family(nft, net, reflector):
    nft.apply(**ONE_LAN)
    office = net.nodes["office"]
    office.sh("ip addr del {0}/64 dev up0".format(OFFICE6))
    result = probe(net, servers=[WAN4, WAN6], tcp=["[{0}]:3478".format(WAN6)])
    assert of(result, "udp over IPv6") == {
        "name": "udp over IPv6", "kind": "reach", "outcome": "unmeasurable",
        "sent": ["a question to {0}".format(WAN6)], "seen": [], "reason": "this client has no IPv6 address",
    }  # fmt: skip
    assert outcomes(result)["tcp to [{0}]:3478".format(WAN6)] == "unmeasurable"
    assert result["proven"] is True
    # An address without a route is something else: the client cannot reach what it should.
    office.sh("ip route del default")
    result = probe(net, servers=[WAN4])
    assert "this client has the address 192.168.1.10, but cannot send to" in of(result, "udp over IPv4")["reason"]
    assert outcomes(result) == {"udp over IPv4": "broken"}
    office.sh("ip addr add {0}/64 dev up0 nodad; ip -6 route replace default via fd00:1::1".format(OFFICE6))
    office.sh("ip addr del {0}/24 dev up0".format(OFFICE4))
    result = probe(net, servers=[WAN4, WAN6])
    assert of(result, "udp over IPv4")["outcome"] == "unmeasurable"
    assert of(result, "udp over IPv6")["outcome"] == "holds"


# --- Path MTU --------------------------------------------------------------------------------------------------------


def test_path_mtu(nft, net, reflector):
    """A smaller link on the way, with and without the errors that tell."""
    nft.apply(**ONE_LAN)
    wan = net.nodes["wan"]
    # The route of the gateway towards the server is smaller, and so is the server's towards the gateway.
    sh("ip route add {0} via {1} mtu lock 1400".format(SECOND4, WAN4))
    wan.sh("ip route add {0} dev up0 mtu lock 1300".format(GATE4))
    result = probe(net, servers=[SECOND4])
    assert [(each["mtu_out"], each["mtu_in"]) for each in result["nat"]] == [(1400, 1300)]
    assert {outcomes(result)["path MTU {0} over IPv4".format(way)] for way in ("out", "in")} == {"holds"}
    result = probe(net, servers=[SECOND4], expect={"mtu": 1350})
    assert outcomes(result)["path MTU out over IPv4"] == "holds"
    assert of(result, "path MTU in over IPv4")["reason"] == "only 1300 bytes get through, but 1350 are expected"
    # Black holes, each way.
    sh("ip route del {0}".format(SECOND4))
    wan.sh("ip route del {0} dev up0".format(GATE4))
    sh("nft add table inet hole; nft 'add chain inet hole drops { type filter hook forward priority -500; }'")
    sh("nft add rule inet hole drops oifname wan0 meta length gt 1420 drop")
    result = probe(net, servers=[SECOND4])
    out = of(result, "path MTU out over IPv4")
    assert out["outcome"] == "broken", result["nat"]
    assert "vanish" in out["reason"]
    assert result["nat"][0]["mtu_out"] == 1420
    sh("nft flush chain inet hole drops; nft add rule inet hole drops iifname wan0 meta length gt 1360 drop")
    result = probe(net, servers=[SECOND4])
    assert outcomes(result)["path MTU out over IPv4"] == "holds"
    assert outcomes(result)["path MTU in over IPv4"] == "broken", result["nat"]
    assert (result["nat"][0]["mtu_out"], result["nat"][0]["mtu_in"]) == (1500, 1360)


# --- Users, and other programs ---------------------------------------------------------------------------------------


def as_nobody(function):
    """What a function returns in a process without rights, as JSON."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
            os.write(writing, json.dumps(function()).encode())
        except BaseException as error:
            os.write(writing, json.dumps(repr(error)).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        text = pipe.read()
    os.waitpid(pid, 0)
    result = json.loads(text)
    assert isinstance(result, dict), result
    return result


def test_a_user_without_rights(nft, net, reflector):
    """Everything but a ping, unless the host lets this group have ping sockets."""
    nft.apply(**ONE_LAN)
    options = dict(servers=[WAN4], ping=[WAN4], expect=SOUND, idle=60)
    with net.inside("office"):
        result = as_nobody(lambda: probe(net, "gate", **options))
    found = outcomes(result)
    assert {name for name in found if found[name] != "holds"} == {"icmp over IPv4", "icmp to 203.0.113.1"}
    assert "net.ipv4.ping_group_range" in of(result, "icmp to 203.0.113.1")["reason"]
    net.nodes["office"].sh("echo 0 65534 > /proc/sys/net/ipv4/ping_group_range")
    with net.inside("office"):
        result = as_nobody(lambda: probe(net, "gate", **options))
    assert set(outcomes(result).values()) == {"holds"}


def test_the_module_as_ansible_runs_it(nft, net, reflector, tmp_path):
    """Packed, with its action plugin, in check mode, too; bad options all together, in one sentence each."""
    nft.apply(**ONE_LAN)

    def run(*words, **options):
        argv = [sys.executable, "-m", "ansible", "adhoc", "localhost", "-m", "ipmasq.linux.nat_probe", *words]
        with net.inside("office"):
            done = subprocess.run(
                [*argv, "-a", json.dumps(options)], capture_output=True, text=True, check=False,
                env=dict(os.environ, ANSIBLE_LOAD_CALLBACK_PLUGINS="1", ANSIBLE_STDOUT_CALLBACK="ansible.builtin.json"),
                cwd=tmp_path,
            )  # fmt: skip
        return done.stdout + done.stderr

    shown = run("--check", servers=[WAN4])
    assert "udp over IPv4" in shown
    assert '"proven": true' in shown
    assert "Traceback" not in shown
    shown = run(servers=["http://x", "1.2.3"], tcp=["a.example"], dns_server="10.0.0.1", expect={"maping": "none"})
    assert "did you mean mapping?" in shown or "did you mean" in shown
    assert "Traceback" not in shown


def asked_reflector(data, address="127.0.0.1"):
    """The answer to one datagram; empty if there is none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(0.3)
        client.sendto(data, (address, 3478))
        with contextlib.suppress(TimeoutError):
            return client.recv(65535)
    return b""


def test_the_reflector_refuses_what_it_has_to(net):
    """It amplifies nothing, knows no second address if there is none, and survives whatever it is sent."""
    token = b"t" * 12
    sized = stun.filled(token, 200, stun.answer_size(9000))
    with reflecting(net, "127.0.0.1", node="gate") as server:
        assert stun.decode(asked_reflector(stun.request(token))).other is None
        assert 0 < len(asked_reflector(sized)) <= len(sized)
        assert (
            stun.decode(asked_reflector(stun.request(token, stun.change(True, True)))).error == "420 Unknown Attribute"
        )
        unknown = stun.decode(asked_reflector(stun.request(token, stun.attribute(0x0031, b""))))
        assert (unknown.error, unknown.attributes[0x000A]) == ("420 Unknown Attribute", b"\0\x31")
        random = os.urandom(60)
        for data in (
            b"",
            b"x",
            random,
            sized[:100],
            stun.request(token)[:20] + random,
            plain_stun(sized, ("1.2.3.4", 5)),
        ):
            assert asked_reflector(data) == b"" or stun.decode(data)
        with socket.create_connection(("127.0.0.1", 3478)) as half:
            half.sendall(b"GET / HTTP/1.0\r\n\r\n")
            assert half.recv(100) == b""
        again = subprocess.run(
            [sys.executable, str(REFLECTOR), "127.0.0.1"], capture_output=True, text=True, check=False
        )
        assert (again.returncode, again.stderr.strip()) == (
            1, "cannot listen on 127.0.0.1, ports 3478 and 3479: Address already in use",
        )  # fmt: skip
        assert stun.decode(asked_reflector(stun.request(token))).mapped
        assert server.poll() is None
    lost = subprocess.run(
        ["unshare", "-n", sys.executable, str(REFLECTOR)], capture_output=True, text=True, check=False
    )
    assert "this host has no default route, so its addresses must be named" in lost.stderr


def test_the_reflector_takes_addresses_of_the_default_route_alone(net, tmp_path):
    """Two of each family, none of another interface; in the background until it is stopped."""
    far = net.nodes["wan"]
    far.sh("ip link add aside type veth peer name aside1; ip addr add 192.0.2.9/24 dev aside; ip link set aside up")
    far.sh("ip addr add 203.0.113.77/24 dev up0; ip addr add 2001:db8:ff::77/64 dev up0 nodad")
    far.sh("ip route add default via 203.0.113.2; ip -6 route add default via 2001:db8:ff::2")
    copy = tmp_path / "reflector.py"
    copy.write_bytes(REFLECTOR.read_bytes())
    shown = far.sh("{0} {1} --background --seconds=60".format(sys.executable, copy))
    assert sorted(shown.split()) == sorted([WAN4, "203.0.113.77", WAN6, "2001:db8:ff::77"])
    wait_until(lambda: far.sh("ss -Hltn").count(":3479 ") == 4, "it does not listen")
    # A second start takes the place of the first.
    assert far.sh("{0} {1} --background --seconds=60 {2}".format(sys.executable, copy, WAN4)).split() == [WAN4]
    wait_until(lambda: far.sh("ss -Hltn").count(":3479 ") == 1, "it does not listen")
    far.sh("{0} {1} --stop".format(sys.executable, copy))
    wait_until(lambda: far.sh("ss -Hltn").count(":3479 ") == 0, "it still listens")


@contextlib.contextmanager
def coturn_serving(net, coturn, folder):
    """As the playbook starts it where it is named, until it is stopped."""
    program, copy = folder / "turnserver", folder / "reflector.py"
    program.write_text('#!/bin/sh\nexec {0} "$@"\n'.format(shlex.join(coturn("turnserver"))), encoding="utf-8")
    program.chmod(0o755)
    copy.write_bytes(REFLECTOR.read_bytes())
    words = "PATH={0}:$PATH {1} {2} ".format(folder, sys.executable, copy)
    none = "PATH=/nonexistent {0} {1} --coturn {2} 2>&1 || true".format(sys.executable, copy, WAN4)
    assert "install the package coturn" in sh_in(net, "wan", none)
    sh_in(net, "wan", words + "--coturn --background --seconds=300 {0} {1}".format(WAN4, SECOND4))
    try:
        wait_until(lambda: sh_in(net, "wan", "ss -Hltn").count(":3479 ") >= 2, "coturn does not listen")
        yield
    finally:
        sh_in(net, "wan", words + "--stop")
    wait_until(lambda: ":3479 " not in sh_in(net, "wan", "ss -Hltn"), "coturn still listens")


def test_coturn_answers_us(nft, net, coturn, tmp_path):
    nft.apply(**ONE_LAN)
    with coturn_serving(net, coturn, tmp_path):
        result = probe(net, servers=[WAN4], expect=dict(SOUND, mtu=1280), idle=60)
    found = outcomes(result)
    assert classes(result) == ("independent", "address_port", "no")
    assert {name for name in found if found[name] != "holds"} <= {
        "path MTU in over IPv4", "a UDP flow that is idle for 60 s over IPv4",
    }, result["results"]  # fmt: skip


def asks(net, argv):
    with net.inside("office"):
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, (done.stdout, done.stderr)
    return done.stdout


def test_we_answer_coturn(nft, net, reflector, coturn):
    nft.apply(**ONE_LAN)
    # It goes on to wait for an answer to a port that no NAT knows.
    with net.inside("office"):
        argv = [*coturn("turnutils_stunclient"), "-p", "3478", WAN4]
        client = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    assert any("UDP reflexive addr: {0}:".format(GATE4) in line for line in client.stdout)
    client.kill()
    client.communicate()
    shown = asks(net, [*coturn("turnutils_natdiscovery"), "-m", "-f", "-p", "3478", WAN4])
    assert "NAT with Endpoint Independent Mapping!" in shown
    assert "NAT with Address and Port Dependent Filtering!" in shown
