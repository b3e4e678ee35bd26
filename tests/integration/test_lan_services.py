# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A bare client gets an address, a route and names from the real dnsmasq; nobody else does.

systemd is not the first process here, so a program of the test starts and stops what the unit would.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import pathlib
import re
import signal
import socket
import struct
import subprocess

import pytest
import sandbox
from helpers import GUESTS, OFFICE, Gate, ServiceHost
from sandbox import sh
from topology import CLIENTS, GATE4, GATE6, WAN4, WAN6
from unhurried import patience, wait_until

from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError
from ansible_collections.ipmasq.linux.plugins.module_utils._init.units import SERVICES_UNIT
from ansible_collections.ipmasq.linux.plugins.module_utils._rollback import rollback
from ansible_collections.ipmasq.linux.plugins.module_utils._services import dhcp, discover

#: What the unit makes systemd do. The configuration that it hands over has its paths in the folder of the test. Unless
#: the test asks for it, addresses are not tried for three seconds each before they are offered.
SYSTEMCTL = r"""#!/bin/sh
root=ROOT
run=$root/run/ipmasq-services
wants=$root/etc/systemd/system/sysinit.target.wants
name=$(echo "$*" | sed -n 's/.*ipmasq-services@\([a-z0-9_]*\).*/\1/p')
alive() { [ -e "/proc/$(cat $run/$name.pid 2> /dev/null)/exe" ]; }
stop() {
    alive && kill "$(cat $run/$name.pid)"
    while alive; do sleep 0.02; done
    rm -f $run/$name.pid
}
reserved() {
    for word in host name; do
        sed -n "s/^#$word //p" $run/$name.conf > $run/$name.${word}s && chmod 644 $run/$name.${word}s
    done
}
same() { [ "$(sed /^#/d $run/$name.conf)" = "$(cat $run/$name.started)" ]; }
case "$*" in
*ipmasq-services@*) ;;
*ipmasq-metrics@*) [ ! -e $root/bin/metering ] || exec $root/bin/metering "$@"; exit ;;
enable*) mkdir -p $wants && : > $wants/ipmasq.service; exit ;;
disable*) rm -f $wants/ipmasq.service; exit ;;
*) exit 0 ;;
esac
# systemd does one thing after the other, also if several processes ask for it.
exec 8> $root/.lock
flock 8
unit=ipmasq-services@.service
[ -e $root/etc/systemd/system/$unit ] || [ -e $root/run/systemd/system/$unit ] || exit 5
case "$*" in
*is-active*) alive; exit ;;
*reload-or-restart*)
    reserved
    if alive && same; then kill -s HUP "$(cat $run/$name.pid)"; exit; fi
    ! alive || dnsmasq --test --conf-file=$run/$name.conf 2>> $root/dnsmasq.err || exit 1
    stop ;;
*restart*) stop ;;
*stop*) stop; exit ;;
*) ! alive || exit 0 ;;
esac
mkdir -p $run $root/var/lib/ipmasq
# Without options, dnsmasq would serve everybody: the unit does not start it.
[ -e $run/$name.conf ] || cp $root/etc/ipmasq/$name.dnsmasq $run/$name.conf || exit 1
reserved
! grep -qs started $root/etc/systemd/system/$unit $root/run/systemd/system/$unit ||
    sed /^#/d $run/$name.conf > $run/$name.started
sed 's#=/\(run\|var/lib\)/ipmasq#=ROOT/\1/ipmasq#' $run/$name.conf > $run/$name.conf.moved
quick=--no-ping
[ ! -e $root/ping ] || quick=
# Until it listens and has written its PID, as systemd waits: the next call would start a second one.
dnsmasq $quick --conf-file=$run/$name.conf.moved 2>> $root/dnsmasq.err 8>&-
"""
JOURNALCTL = "#!/bin/sh\ncat ROOT/dnsmasq.err\n"
#: What udhcpc has been given.
TOLD = "#!/bin/sh\n[ $1 = bound ] && echo ip=$ip router=$router dns=$dns domain=$domain search=$search lease=$lease\n"
SERVED = dict(OFFICE, dhcp=True)
LANS = [SERVED, GUESTS]
WAITS = rollback.Confirmation(3600, "token", "14:05:30")
WANS = [{"interface": "wan0"}]
#: What a client sees if nobody answers, or if the kernel or our reject does.
SILENT = ("timeout", "Connection refused", "No route to host", "Network is unreachable")
LAPTOP = "52:54:00:12:34:56"
#: What the process that runs was started with.
STARTED = "/run/ipmasq-services/default.started"


class ServedHost(ServiceHost):
    """A host whose dnsmasq is started by that program."""

    def __init__(self, root, **options) -> None:
        super().__init__(root, {"systemctl": SYSTEMCTL, "journalctl": JOURNALCTL}, **options)

    @property
    def server(self) -> int:
        return int(self.read("/run/ipmasq-services/default.pid") or 0)

    def boot_anew(self) -> None:
        """What is below /run is gone, and the loader starts what it has to."""
        sh("systemctl stop ipmasq-services@default.service")
        sh("rm -rf {0}/run; mkdir -p {0}/run/systemd/system".format(self.root))
        loader = self.read("/etc/ipmasq/boot")
        moved = re.sub(r"/(etc|run)/(?=ipmasq)", lambda found: self.place(found.group()), loader)
        sh(moved.replace("\nPATH=", "\nPATH={0}/bin:".format(self.root)))


@contextlib.contextmanager
def served(backend, folder, dnsmasq, monkeypatch):
    # dnsmasq reads reservations as a user of its own.
    for each in (folder, *folder.parents):
        each.chmod(each.stat().st_mode | 0o011)
    made = Gate(backend, folder, ServedHost)
    (folder / "bin/dnsmasq").symlink_to(dnsmasq)
    monkeypatch.setattr(discover, "SECONDS", 0.3)
    monkeypatch.setattr(sandbox, "PATH", "{0}/bin:{1}".format(folder, sandbox.PATH))
    yield made
    for path in (folder / "run/ipmasq-services").glob("*.pid"):
        with contextlib.suppress(ProcessLookupError, ValueError):
            os.kill(int(path.read_text()), signal.SIGKILL)


@pytest.fixture
def gate(backend, tmp_path, dnsmasq, monkeypatch):
    with served(backend, tmp_path, dnsmasq, monkeypatch) as made:
        yield made


#: What is the same beside the rules of every backend.
ON_NFT = pytest.mark.parametrize("backend", ["nft"])


def bare(net, node):
    """A client without any address."""
    net.nodes[node].sh("ip addr flush dev up0; ip route flush table main; ip link set up0 address " + LAPTOP
                       if node == "office" else "ip addr flush dev up0; ip route flush table main")  # fmt: skip


def leased(net, node, programs, tmp_path, name="laptop", tries=4):
    """What a client is given; None if nobody answers."""
    script = tmp_path / "told"
    script.write_text(TOLD)
    script.chmod(0o755)
    (busybox,) = [path for path in programs.glob("root/**/busybox") if path.is_file() and os.access(path, os.X_OK)]
    with net.inside(node):
        done = subprocess.run(
            [busybox, "udhcpc", "-i", "up0", "-f", "-n", "-q", "-t", str(tries), "-T", "1", "-O", "search", "-x",
             "hostname:" + name, "-s", script],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    given = re.search(r"^ip=.*$", done.stdout, re.M)
    return dict(pair.partition("=")[::2] for pair in given.group().split()) if given else None


def query(name, kind=1):
    labels = b"".join(bytes([len(each)]) + each.encode() for each in name.split("."))
    return b"\x12\x34\1\0\0\1\0\0\0\0\0\0" + labels + b"\0" + struct.pack("!HH", kind, 1)


def asked(net, node, server, name, kind=1, wait=0.0):
    """The answer of a DNS server: addresses, the name of an error, or "timeout"."""
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    with net.socket(node, family, socket.SOCK_DGRAM) as client:
        client.settimeout(wait or patience())
        try:
            client.connect((server, 53))
            client.send(query(name, kind))
            answer = client.recv(2000)
        except TimeoutError:
            return "timeout"
        except OSError as error:
            return error.strerror
    code, count = answer[3] & 15, struct.unpack("!H", answer[6:8])[0]
    if code:
        return {2: "SERVFAIL", 3: "NXDOMAIN", 5: "REFUSED"}[code]
    size = 4 if kind == 1 else 16
    ends = [answer[len(answer) - size * (each + 1) - 12 * each :][:size] for each in range(count)]
    return [socket.inet_ntop(socket.AF_INET if size == 4 else socket.AF_INET6, each) for each in ends]


@contextlib.contextmanager
def provider(net, dnsmasq, *records):
    """A DNS server at the other end of the WAN."""
    with net.inside("wan"):
        server = subprocess.Popen(
            [dnsmasq, "--no-daemon", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--user=nobody",
             "--pid-file=", *("--address=/{0}/{1}".format(*each) for each in records)],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip
    try:
        wait_until(
            lambda: asked(net, "wan", "127.0.0.1", records[0][0], wait=0.2) != "Connection refused", "the provider"
        )
        yield
    finally:
        server.kill()
        server.communicate()


def drift(gate):
    """Nobody here holds the fence."""
    return [line for line in gate.info()["drift"] if not line.startswith("- fence")]


def unlike(result):
    return [line for line in result.to_dict()["differences"] if "fence" not in line]


def serve(gate, **options):
    given = dict({"wans": WANS, "lans": LANS, "dns_upstream": [WAN4]}, **options)
    return gate.apply(**given)


@pytest.mark.parametrize("door", ["open", "protect"])
def test_a_bare_client_gets_address_route_and_names(gate, net, programs, dnsmasq, tmp_path, door):
    done = serve(gate, input=door, dns_domain="office.example").to_dict()
    assert "+ services: dnsmasq on lan0" in done["differences"]
    bare(net, "office")
    given = leased(net, "office", programs, tmp_path)
    assert given["router"] == given["dns"] == "192.168.1.1"
    assert (given["domain"], given["search"], given["lease"]) == ("office.example", "office.example", "43200")
    assert 100 <= int(given["ip"].rpartition(".")[2]) <= 250
    net.nodes["office"].sh("ip addr add {0}/24 dev up0; ip route add default via 192.168.1.1".format(given["ip"]))
    with provider(net, dnsmasq, ("www.example", "9.9.9.9"), ("evil.example", "192.168.1.20")):
        assert asked(net, "office", "192.168.1.1", "www.example") == ["9.9.9.9"]
        assert asked(net, "office", "192.168.1.1", "laptop.office.example") == [given["ip"]]
        assert asked(net, "office", "192.168.1.1", "evil.example") == [], "a name of the Internet leads into the LAN"
        assert asked(net, "office", "192.168.1.1", "9.1.168.192.in-addr.arpa", 12) == "NXDOMAIN"
    assert unlike(serve(gate, input=door, dns_domain="office.example")) == []
    assert drift(gate) == []


def nobody_else_is_answered(net, programs, tmp_path):
    for node in ("guest", "wan"):
        bare(net, node)
        assert leased(net, node, programs, tmp_path, tries=2) is None
    net.nodes["wan"].sh("ip addr add {0}/24 dev up0; ip -6 addr add 2001:db8:ff::1/64 dev up0 nodad; "
                        "ip route add 192.168.1.0/24 via {1}; ip -6 route add fd00:1::/64 via {2}"
                        .format(WAN4, GATE4, GATE6))  # fmt: skip
    net.nodes["guest"].sh("ip addr add 192.168.2.10/24 dev up0; ip route add default via 192.168.2.1")
    for node, server in (
        ("wan", GATE4), ("wan", GATE6), ("wan", "192.168.1.1"), ("wan", "fd00:1::1"),
        ("guest", "192.168.2.1"), ("guest", "192.168.1.1"),
    ):  # fmt: skip
        assert asked(net, node, server, "laptop", wait=0.3) in SILENT, (node, server)


def test_nobody_else_is_answered(gate, net, programs, tmp_path):
    """Neither on the WAN, at any address of the gateway, nor in the other LAN, nor on its loopback."""
    serve(gate)
    wait_until(lambda: "proto ra" in net.nodes["office"].sh("ip -6 route"), "an advertisement in the LAN")
    assert not [node for node in ("guest", "wan") if "proto ra" in net.nodes[node].sh("ip -6 route")]
    nobody_else_is_answered(net, programs, tmp_path)
    assert asked(net, "gate", "127.0.0.1", "laptop", wait=0.3) in SILENT
    assert asked(net, "office", "192.168.1.1", "nobody") == "NXDOMAIN"


@ON_NFT
def test_a_ruleset_of_the_users_own_that_drops_questions_is_named(gate, net, programs, tmp_path):
    """As in /etc/nftables.conf. With what the sentence says to accept, the LAN is served."""
    let = ("iif lo", "ct state established,related", "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert }")
    chain = "".join("; {0} accept".format(each) for each in let)
    sh("nft 'table inet filter { chain input { type filter hook input priority 0; policy drop" + chain + "; }; }'")
    (told,) = serve(gate).to_dict()["remarks"]
    assert told.startswith("table inet filter: the policy of its chain input drops packets to this host")
    bare(net, "office")
    assert leased(net, "office", programs, tmp_path, tries=2) is None
    named = "from lan0: UDP ports 53, 67 and 547, TCP port 53, and the ICMPv6 type nd-router-solicit"
    assert named in told
    for each in ("udp dport { 53, 67, 547 }", "tcp dport 53", "icmpv6 type nd-router-solicit"):
        sh("nft add rule inet filter input iifname lan0 " + each + " accept")
    given = leased(net, "office", programs, tmp_path)
    net.nodes["office"].sh("ip addr add {0}/24 dev up0".format(given["ip"]))
    assert asked(net, "office", "192.168.1.1", "laptop.home.arpa") == [given["ip"]]


def test_a_server_of_the_users_own_on_lo_is_there_for_all(gate, net):
    """A public resolver, and the one that our own DHCP gives to guests; ours is not there for them."""
    public, private = "192.0.2.53", "10.53.53.53"
    sh("ip addr add {0}/32 dev lo; ip addr add {1}/32 dev lo".format(public, private))
    net.nodes["wan"].sh("ip route add {0} via {1}".format(public, GATE4))
    serve(gate, lans=[dict(OFFICE, dhcp=True), dict(GUESTS, dhcp={"options": {"dns-server": private}})])
    for node, address in (("wan", public), ("guest", private)):
        for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
            with (
                net.socket("gate", socket.AF_INET, kind) as server,
                net.socket(node, socket.AF_INET, kind) as client,
            ):
                server.bind((address, 53))
                server.settimeout(patience())
                client.settimeout(patience())
                if kind == socket.SOCK_STREAM:
                    server.listen(1)
                client.connect((address, 53))
                if kind == socket.SOCK_DGRAM:
                    client.send(query("laptop"))
                    assert server.recv(100) == query("laptop")
    assert asked(net, "guest", "192.168.2.1", "laptop", wait=0.3) in SILENT
    assert asked(net, "guest", "192.168.1.1", "laptop", wait=0.3) in SILENT


@pytest.mark.parametrize("door", ["open", "protect"])
def test_a_forward_of_names_reaches_a_server_of_the_users_own(gate, net, door):
    """At an address of a LAN that is not served. Others still ask in vain, and so do all at our own server."""
    own = "192.168.2.1"
    forward = {"name": "names", "protocol": ["udp"], "port": ["53"], "to": [own], "source": [WAN4 + "/32"]}
    forwards = [forward, dict(forward, name="high", port=["5353"], to_port=53)]
    net.nodes["wan"].sh("ip addr add 203.0.113.7/32 dev up0; ip route add 192.168.2.0/24 via " + GATE4)
    serve(gate, lans=[dict(OFFICE, dhcp=True), GUESTS], port_forwards=forwards, input=door)
    heard = []
    with net.socket("gate", socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((own, 53))
        server.settimeout(0.4)
        for number, (source, *asked_at) in enumerate(
            [(WAN4, GATE4, 53), (WAN4, GATE4, 5353), ("203.0.113.7", GATE4, 53), (WAN4, own, 53)]
        ):
            with net.socket("wan", socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.bind((source, 0))
                client.sendto(b"%d" % number, tuple(asked_at))
                with contextlib.suppress(TimeoutError):
                    heard.append(server.recv(9))
    assert heard == [b"0", b"1"]


def test_a_relay_of_the_users_own_is_answered_from_the_wan(gate, net):
    """A relay asks from the port at which servers are asked (RFC 1542 section 4.1.1, RFC 8415 section 7.2)."""
    serve(gate)
    for own, server, port in ((GATE4, WAN4, 67), (GATE6, WAN6, 547)):
        family = socket.AF_INET6 if ":" in own else socket.AF_INET
        there = net.socket("wan", family, socket.SOCK_DGRAM)
        with net.socket("gate", family, socket.SOCK_DGRAM) as relay, there:
            relay.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            relay.bind((own, port))
            there.bind((server, port))
            there.settimeout(patience())
            relay.settimeout(patience())
            # Nobody who has not been asked says anything.
            there.sendto(b"unasked", (own, port))
            relay.sendto(b"relayed", (server, port))
            assert there.recv(99) == b"relayed"
            there.sendto(b"answer", (own, port))
            assert relay.recv(99) == b"answer"


@ON_NFT
def test_a_guest_takes_no_leases_of_another_lan(gate, net):
    """Not by the address of a relay, which it makes up."""
    pool = ["192.168.1.{0}".format(100 + number) for number in range(3)]
    serve(gate, lans=[dict(OFFICE, dhcp={"range": pool[0] + "-" + pool[-1]}), dict(GUESTS, dhcp=True)])
    with net.socket("guest", socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.bind(("192.168.2.10", 68))
        for number, address in enumerate([*pool, "192.168.2.130"]):
            relay = "192.168.1.250" if address in pool else "192.168.2.10"
            client.sendto(request(bytes([2, 0, 0, 0, 9, number]), relay, address), ("192.168.2.1", 67))

    def leases():
        return re.findall(r"^[0-9]+ \S+ (\S+) ", gate.host.read("/var/lib/ipmasq/default.leases") or "", re.MULTILINE)

    # Its own LAN's range is for it, so it was heard.
    wait_until(lambda: "192.168.2.130" in leases(), "the last lease")
    assert leases() == ["192.168.2.130"]


@ON_NFT
def test_nobody_is_called_what_means_something_else(gate, net):
    serve(gate)
    names = ["pc", "wpad", "localhost", "LocalHost", "isatap", "localhost.home.arpa"]
    relay = CLIENTS["office"][1]
    with net.socket("office", socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.bind((relay, 68))
        for number, name in enumerate(names):
            wanted = "192.168.1.{0}".format(150 + number)
            client.sendto(request(bytes([2, 0, 0, 0, 8, number]), relay, wanted, name), ("192.168.1.1", 67))

    def leases():
        text = gate.host.read("/var/lib/ipmasq/default.leases") or ""
        return re.findall(r"^[0-9]+ \S+ 192\.168\.1\.15[0-9] (\S+) ", text, re.MULTILINE)

    wait_until(lambda: len(leases()) == len(names), "a lease for each")
    assert sorted(leases()) == ["*"] * 5 + ["pc"]


@ON_NFT
def test_a_reserved_name_is_nobodys_by_dhcpv6_either(gate, net):
    reserve = [{"mac": "52:54:00:00:00:01", "address": "192.168.1.20", "name": "nas"}]
    serve(gate, lans=[dict(OFFICE, dhcp={"reserve": reserve}), dict(GUESTS, dhcp=True, ra="managed")])
    with net.socket("guest", socket.AF_INET6, socket.SOCK_DGRAM) as client:
        client.settimeout(patience())
        client.bind(("::", 546))
        link = int(net.nodes["guest"].sh("ip -o link show up0").partition(":")[0])
        ours = option6(1, bytes([0, 3, 0, 1, 2, 0, 0, 0, 8, 1])) + option6(39, b"\1\3nas") + option6(8, bytes(2))

        def exchange(kind, more):
            client.sendto(bytes([kind]) + b"abc" + ours + more, ("ff02::1:2", 547, 0, link))
            return options6(client.recv(1500)[4:])

        offered = exchange(1, option6(3, struct.pack("!III", 1, 0, 0)))
        given = exchange(3, option6(2, offered[2]) + option6(3, offered[3]))
    assert socket.inet_ntop(socket.AF_INET6, given[3][16:32]).startswith("fd00:2::")
    assert asked(net, "office", "192.168.1.1", "nas.home.arpa") == ["192.168.1.20"]
    assert asked(net, "office", "192.168.1.1", "nas.home.arpa", kind=28) == []


def option6(number, value):
    return struct.pack("!HH", number, len(value)) + value


def options6(data):
    found = {}
    while data:
        number, length = struct.unpack_from("!HH", data)
        found[number], data = data[4 : 4 + length], data[4 + length :]
    return found


def request(mac, relay, wanted, name=""):
    """DHCPREQUEST, as a relay passes it on."""
    more = bytes([12, len(name)]) + name.encode() if name else b""
    addresses = bytes(12) + socket.inet_aton(relay)
    head = struct.pack("!BBBBIHH16s16s192x", 1, 1, 6, 1, 1, 0, 0, addresses, mac)
    return head + dhcp.COOKIE + bytes([53, 1, 3, 50, 4]) + socket.inet_aton(wanted) + more + b"\xff" + bytes(60)


@ON_NFT
def test_a_lan_with_addresses_and_no_names(gate, net, programs, tmp_path):
    """dnsmasq listens on each of its links, so a rule closes the one that has no DNS."""
    serve(gate, lans=[SERVED, dict(GUESTS, dhcp={"options": {"dns-server": "9.9.9.9"}, "lease": "1h"})])
    bare(net, "guest")
    given = leased(net, "guest", programs, tmp_path)
    assert (given["router"], given["dns"], given["lease"]) == ("192.168.2.1", "9.9.9.9", "3600")
    net.nodes["guest"].sh("ip addr add {0}/24 dev up0; ip route add default via 192.168.2.1".format(given["ip"]))
    assert asked(net, "guest", "192.168.2.1", "laptop", wait=0.5) in SILENT
    assert asked(net, "office", "192.168.1.1", "nobody") == "NXDOMAIN"


@ON_NFT
def test_a_reservation_comes_and_leases_stay(gate, net, programs, tmp_path):
    serve(gate)
    bare(net, "office")
    first = leased(net, "office", programs, tmp_path)["ip"]
    known, server = gate.host.read("/var/lib/ipmasq/default.leases"), gate.host.server
    assert first in known
    reserve = [{"mac": "52:54:00:00:00:09", "address": "192.168.1.20", "name": "nas"}]
    reserved = [dict(OFFICE, dhcp={"reserve": reserve}), GUESTS]
    net.nodes["office"].sh("ip addr add 192.168.1.30/24 dev up0")
    # If nobody confirms it, it is rolled back in the same way.
    serve(gate, lans=reserved, confirmation=WAITS)
    wait_until(lambda: known_as(net, "nas") == ["192.168.1.20"], "the reserved name")
    sh("sh {0}".format(gate.host.place("/run/ipmasq/default/restore")))
    wait_until(lambda: known_as(net, "nas") == "NXDOMAIN", "the reserved name has gone")
    done = serve(gate, lans=reserved).to_dict()
    assert "+ services: reserved 52:54:00:00:00:09,192.168.1.20,nas" in done["differences"]
    assert gate.host.server == server
    assert gate.host.read("/var/lib/ipmasq/default.leases").splitlines()[0] == known.splitlines()[0]
    assert leased(net, "office", programs, tmp_path)["ip"] == first
    net.nodes["office"].sh("ip link set up0 address 52:54:00:00:00:09")
    wait_until(lambda: known_as(net, "nas.home.arpa") == known_as(net, "nas") == ["192.168.1.20"], "the reserved name")
    assert leased(net, "office", programs, tmp_path)["ip"] == "192.168.1.20"
    # Nobody else gets it, though it is in the range.
    inside = [dict(reserve[0], address="192.168.1.60")]
    narrow = dict(OFFICE, dhcp={"range": "192.168.1.60-192.168.1.61", "reserve": inside})
    serve(gate, lans=[narrow, GUESTS])
    net.nodes["office"].sh("ip link set up0 address 52:54:00:00:00:0a")
    assert leased(net, "office", programs, tmp_path)["ip"] == "192.168.1.61"


@ON_NFT
def test_ranges_change_by_a_reload_and_leases_stay(gate, net, programs, tmp_path):
    serve(gate)
    bare(net, "office")
    first, server = leased(net, "office", programs, tmp_path)["ip"], gate.host.server
    net.nodes["office"].sh("ip addr add {0}/24 dev up0".format(first))

    def ranged(span, **more):
        serve(
            gate, lans=[dict(OFFICE, dhcp={"range": "192.168.1." + span.replace("-", "-192.168.1.")}), GUESTS], **more
        )

    ranged("60-250")
    assert gate.host.server != server and renewed(net, first) == dhcp.ACK
    ranged("60-69", confirmation=WAITS)
    assert first in gate.host.read("/var/lib/ipmasq/default.leases")
    assert renewed(net, first) == NAK
    sh("sh {0}".format(gate.host.place("/run/ipmasq/default/restore")))
    assert renewed(net, first) == dhcp.ACK
    ranged("60-69")
    assert renewed(net, first) == NAK
    assert leased(net, "office", programs, tmp_path)["ip"].startswith("192.168.1.6")
    assert unlike(gate.apply(wans=WANS, lans=[dict(OFFICE, dhcp={"range": "192.168.1.60-192.168.1.69"}), GUESTS],
                             dns_upstream=[WAN4])) == []  # fmt: skip
    assert drift(gate) == []


NAK = 6


def renewed(net, address):
    """How the server answers the laptop, which wants to keep its address and asks again and again."""
    mac, here = bytes.fromhex(LAPTOP.replace(":", "")), socket.inet_aton(address)
    head = struct.pack("!BBBBIHH4s12x16s192x", 1, 1, 6, 0, 1, 0, 0, here, mac)
    with net.socket("office", socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        client.bind(("", 68))
        client.settimeout(1)
        for _try in range(30):
            client.sendto(head + dhcp.COOKIE + bytes([53, 1, 3, 255]) + bytes(60), ("192.168.1.1", 67))
            with contextlib.suppress(TimeoutError):
                told = client.recv(1500)
                return told[240:][told[240:].index(b"\x35\x01") + 2]
    raise AssertionError("nobody answers")


def known_as(net, name):
    return asked(net, "office", "192.168.1.1", name)


def prefixes(net, node):
    """The addresses that a host made from advertisements: address to whether it may be used for new connections."""
    shown = net.nodes[node].sh("ip -6 -o addr show dev up0 scope global")
    found = re.findall(r"inet6 (\S+)/64 .*?dynamic.*?valid_lft \d+sec preferred_lft (\d+)sec", shown)
    return {str(ipaddress.ip_interface(address + "/64").network): int(left) > 0 for address, left in found}


@ON_NFT
def test_ipv6_by_advertisements_and_a_prefix_that_goes(gate, net):
    """RFC 9096: an address from a prefix that the gateway lost is no longer used."""
    net.nodes["office"].sh("ip -6 addr flush dev up0; ip -6 route flush table main; ip link set up0 down; "
                           "sysctl -qw net.ipv6.conf.up0.accept_ra=1; ip link set up0 up")  # fmt: skip
    serve(gate)
    wait_until(lambda: prefixes(net, "office") == {"fd00:1::/64": True}, "addresses of prefixes")
    assert "default via fe80" in net.nodes["office"].sh("ip -6 route")
    sh("ip -6 addr add fd00:9::1/64 dev lan0 nodad; ip -6 addr del fd00:1::1/64 dev lan0")
    wanted = {"fd00:1::/64": False, "fd00:9::/64": True}
    wait_until(lambda: prefixes(net, "office") == wanted, "addresses of prefixes")


@ON_NFT
@pytest.mark.parametrize("dhcp", [True, {"range": "192.168.1.60-192.168.1.69"}])
def test_the_unit_of_an_earlier_version_is_replaced(gate, net, programs, tmp_path, dhcp):
    """It said nothing about what dnsmasq was started with."""
    serve(gate)
    path = gate.host.place(SERVICES_UNIT)
    ours = pathlib.Path(path).read_text()
    pathlib.Path(path).write_text("".join(line for line in ours.splitlines(keepends=True) if "started" not in line))
    sh("rm {0}; systemctl restart ipmasq-services@default.service".format(gate.host.place(STARTED)))
    assert not gate.host.exists(STARTED)
    assert serve(gate, lans=[dict(OFFICE, dhcp=dhcp), GUESTS]).changed
    assert pathlib.Path(path).read_text() == ours and gate.host.exists(STARTED)
    again = serve(gate, lans=[dict(OFFICE, dhcp=dhcp), GUESTS]).to_dict()["differences"]
    assert not [line for line in (*gate.info()["drift"], *again) if "services" in line]
    bare(net, "office")
    assert leased(net, "office", programs, tmp_path)["router"] == "192.168.1.1"


@ON_NFT
def test_a_link_that_comes_later_is_served(gate, net, programs, tmp_path):
    serve(gate, lans=[dict(OFFICE, interfaces=["lan0", "lan9"], dhcp=True), GUESTS])
    net.nodes["office"].sh("ip link del up0")
    sh("ip link add lan9 type veth peer name up0 netns {0}; ip addr add 192.168.1.1/24 dev lan9; ip link set lan9 up"
       .format(net.nodes["office"].path))  # fmt: skip
    net.nodes["office"].sh("ip link set up0 up")
    assert leased(net, "office", programs, tmp_path)["router"] == "192.168.1.1"


@ON_NFT
def test_a_change_that_nobody_confirms_is_taken_back(gate, net, programs, tmp_path):
    serve(gate)
    before = gate.host.snapshot()
    gate.apply(wans=WANS, lans=[dict(OFFICE, dhcp={"range": "192.168.1.60-192.168.1.69"}), GUESTS],
               dns_upstream=[WAN4], confirmation=WAITS)  # fmt: skip
    bare(net, "office")
    assert leased(net, "office", programs, tmp_path)["ip"].startswith("192.168.1.6")
    sh("sh {0}".format(gate.host.place("/run/ipmasq/default/restore")))
    assert {**gate.host.snapshot(), "files": 0} == {**before, "files": 0}
    assert "192.168.1.100,192.168.1.250" in gate.host.read("/run/ipmasq-services/default.conf")
    sh("rm -f " + gate.host.place("/var/lib/ipmasq/default.leases"))
    sh("systemctl restart ipmasq-services@default.service")
    assert int(leased(net, "office", programs, tmp_path)["ip"].rpartition(".")[2]) >= 100


def test_a_first_change_that_nobody_confirms_leaves_nothing(gate, net):
    gate.apply(wans=WANS, lans=LANS, dns_upstream=[WAN4], confirmation=WAITS)
    assert gate.host.server
    sh("sh {0}".format(gate.host.place("/run/ipmasq/default/restore")))
    assert asked(net, "office", "192.168.1.1", "laptop", wait=0.5) in SILENT
    left = [str(path.relative_to(gate.host.root)) for path in gate.host.root.rglob("*ipmasq-services*")]
    assert [path for path in left if not path.endswith("run/ipmasq-services")] == []


def test_absent_leaves_nothing(gate, net, programs, tmp_path):
    serve(gate)
    bare(net, "office")
    assert leased(net, "office", programs, tmp_path)
    assert gate.host.read("/var/lib/ipmasq/default.leases")
    gate.absent()
    assert asked(net, "office", "192.168.1.1", "laptop", wait=0.5) in (
        "timeout",
        "Connection refused",
        "Network is unreachable",
    )
    left = [path for path in gate.host.root.rglob("*") if "ipmasq" in str(path.relative_to(gate.host.root))]
    assert [
        path
        for path in left
        if not str(path).endswith((".moved", ".last", "/run/ipmasq", ".lock", "/run/ipmasq-services"))
    ] == []


@ON_NFT
def test_it_is_there_after_a_boot(gate, net, programs, tmp_path):
    serve(gate)
    bare(net, "office")
    given = leased(net, "office", programs, tmp_path)["ip"]
    gate.host.boot_anew()
    wait_until(lambda: gate.host.server, "dnsmasq runs after a boot")
    assert leased(net, "office", programs, tmp_path)["ip"] == given
    assert unlike(serve(gate)) == []


@ON_NFT
def test_drift_is_seen_and_mended(gate, net):
    serve(gate)
    os.kill(gate.host.server, signal.SIGKILL)
    wait_until(lambda: not os.path.exists("/proc/{0}".format(gate.host.server)), "dnsmasq is gone")
    assert drift(gate) == ["- services: dnsmasq does not run (journalctl -u ipmasq-services@default.service)"]
    assert unlike(serve(gate))
    assert asked(net, "office", "192.168.1.1", "nobody") == "NXDOMAIN"
    conf = "/run/ipmasq-services/default.conf"
    gate.host.put(conf, gate.host.read(conf) + "log-queries\n")
    assert drift(gate) == ["~ services: {0} is not what was applied".format(conf)]
    assert unlike(serve(gate))
    gate.host.put("/etc/systemd/system/ipmasq-services@.service", "[Unit]\n")
    assert drift(gate)
    assert unlike(serve(gate))
    assert drift(gate) == []


@ON_NFT
@pytest.mark.parametrize("place", ["192.168.1.1", "0.0.0.0"])
@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
def test_who_holds_the_port_is_named(gate, net, place, kind):
    before = gate.host.snapshot()
    with socket.socket(socket.AF_INET, kind) as holder:
        holder.bind((place, 53))
        if kind == socket.SOCK_STREAM:
            holder.listen()
        said = r"held by \S+ \(PID {0}\).*; let it listen at other addresses only, stop it, or set dns to false"
        with pytest.raises(GatewayError, match=said.format(os.getpid())):
            serve(gate)
    assert gate.host.snapshot() == before


@ON_NFT
def test_one_that_holds_the_port_at_other_addresses_does_not_matter(gate, net, dnsmasq):
    """systemd-resolved at 127.0.0.53, libvirt's dnsmasq on its bridge."""
    sh("ip link add virbr0 type bridge; ip addr add 192.168.122.1/24 dev virbr0; ip link set virbr0 up")
    others = ["--interface=virbr0", "--bind-interfaces", "--except-interface=lo", "--port=53", "--pid-file=",
              "--dhcp-range=192.168.122.2,192.168.122.254", "--dhcp-leasefile=/dev/null", "--user=nobody"]  # fmt: skip
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as resolved:
        resolved.bind(("127.0.0.53", 53))
        libvirt = subprocess.Popen([dnsmasq, "--no-daemon", "--conf-file=/dev/null", *others],
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
        try:
            wait_until(lambda: asked(net, "gate", "192.168.122.1", "x", wait=0.2) != "Connection refused", "libvirt's")
            serve(gate)
            assert asked(net, "office", "192.168.1.1", "nobody") == "NXDOMAIN"
            assert libvirt.poll() is None
        finally:
            libvirt.kill()
            libvirt.wait()


@ON_NFT
def test_another_dhcp_server_in_the_lan_is_named(gate, net, dnsmasq, monkeypatch):
    monkeypatch.setattr(discover, "SECONDS", 4.0)
    before = gate.host.snapshot()
    with net.inside("office"):
        other = subprocess.Popen(
            [dnsmasq, "--no-daemon", "--conf-file=/dev/null", "--port=0", "--user=nobody", "--pid-file=",
             "--dhcp-range=192.168.1.30,192.168.1.40", "--dhcp-leasefile=/dev/null"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
    try:
        wait_until(lambda: ":67 " in net.nodes["office"].sh("ss -lnu"), "the other server")
        with pytest.raises(GatewayError, match=r"another DHCP server answers on lan0 \(192\.168\.1\.10\); turn it off"):
            serve(gate)
        assert gate.host.snapshot() == before
        serve(gate, lans=[dict(OFFICE, dns=True), GUESTS])
    finally:
        other.kill()
        other.wait()


@ON_NFT
def test_who_holds_the_port_of_dhcp_is_named(gate, net):
    before = gate.host.snapshot()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder:
        holder.bind(("0.0.0.0", 67))
        with pytest.raises(GatewayError, match=r"does not start: .*in use; port 67 is held by \S+ \(PID \d+\)"):
            serve(gate)
    after = gate.host.snapshot()
    assert (after["rules"], after["switches"]) == (before["rules"], before["switches"])
    serve(gate)


@ON_NFT
def test_one_that_does_not_start_takes_the_change_back(gate, net):
    before = gate.host.snapshot()
    program = gate.host.root / "bin/dnsmasq"
    real = program.resolve()
    program.unlink()
    program.write_text('#!/bin/sh\ncase "$*" in *--test*) exit 0 ;; esac\necho "dnsmasq: cannot start" >&2; exit 2\n')
    program.chmod(0o755)
    with pytest.raises(GatewayError, match="does not start: cannot start"):
        serve(gate)
    after = gate.host.snapshot()
    assert (after["rules"], after["switches"]) == (before["rules"], before["switches"])
    assert not gate.host.exists("/etc/ipmasq/default.json")
    program.unlink()
    program.symlink_to(real)
    serve(gate)


def test_check_mode_touches_nothing(gate, net):
    before = gate.host.snapshot()
    told = gate.apply(check=True, wans=WANS, lans=LANS, dns_upstream=[WAN4]).to_dict()
    assert "+ services: dnsmasq on lan0" in told["differences"]
    assert gate.host.snapshot() == before


@ON_NFT
def test_without_dnsmasq_the_role_is_told_what_to_install(gate, net):
    gate.host.without = ("dnsmasq",)
    before = gate.host.snapshot()
    with pytest.raises(GatewayError, match="install the package dnsmasq-base") as caught:
        serve(gate)
    assert caught.value.program == "dnsmasq"
    assert gate.host.snapshot() == before
