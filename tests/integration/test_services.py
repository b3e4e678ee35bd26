# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Services that break through NAT, timers, and the gateway's own door."""

from __future__ import annotations

import contextlib
import ftplib
import socket
import subprocess

import pytest
from helpers import GUESTS, ONE_LAN, unpacked
from sandbox import sh
from topology import CLIENTS, GATE4, WAN4, Servers
from unhurried import wait_for_server

from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError

OFFICE4 = CLIENTS["office"][1]
SECOND = "203.0.113.9"
TEXT = b"out of the lab\n" * 1000


@pytest.fixture
def net(net):
    sh("ip addr add {0}/24 dev wan0".format(SECOND))
    return net


# --- Helpers ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def vsftpd(tmp_path_factory):
    """Debian's vsftpd. Unpacked and not installed, as its package starts a server on this machine."""
    return unpacked(tmp_path_factory, "vsftpd") / "vsftpd"


@contextlib.contextmanager
def ftp_server(net, node, vsftpd, folder, port=21):
    share, empty = folder / "share", folder / "empty"
    for each in (share, empty):
        each.mkdir(mode=0o755, parents=True, exist_ok=True)
    (share / "file").write_bytes(TEXT)
    for parent in [folder, *folder.parents][:4]:
        parent.chmod(parent.stat().st_mode | 0o055)
    settings = {
        "listen": "YES", "background": "NO", "listen_port": port, "anonymous_enable": "YES", "no_anon_password": "YES",
        "ftp_username": "daemon", "nopriv_user": "nobody", "anon_root": share, "secure_chroot_dir": empty,
        "seccomp_sandbox": "NO", "connect_from_port_20": "YES", "port_promiscuous": "NO", "pasv_promiscuous": "NO",
        "connect_timeout": 2, "accept_timeout": 2,
    }  # fmt: skip
    config = folder / "vsftpd.conf"
    config.write_text("".join("{0}={1}\n".format(*pair) for pair in settings.items()))
    config.chmod(0o600)
    with net.inside(node):
        server = subprocess.Popen([str(vsftpd), str(config)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        wait_for_server(server, net.nodes[node], port)
        yield
    finally:
        server.kill()
        server.wait()


def fetched(net, node, address, passive, port=21):
    """The file by FTP, or the words of what went wrong."""
    found = []
    with net.inside(node):
        try:
            with ftplib.FTP(timeout=3) as client:  # noqa: S321 - it is what helpers are for
                client.connect(address, port)
                client.login()
                client.set_pasv(passive)
                client.retrbinary("RETR file", found.append)
        except (OSError, EOFError, ftplib.Error) as error:
            return "{0}: {1}".format(type(error).__name__, error)
    return b"".join(found)


def test_active_ftp_needs_the_helper(gate, net, vsftpd, tmp_path):
    """The client names its own address in PORT: only the helper translates it, and lets the server come back."""
    with ftp_server(net, "wan", vsftpd, tmp_path):
        gate.apply(**ONE_LAN)
        assert fetched(net, "office", WAN4, passive=True) == TEXT
        assert isinstance(fetched(net, "office", WAN4, passive=False), str)
        gate.apply(helpers=[{"name": "ftp"}], **ONE_LAN)
        assert fetched(net, "office", WAN4, passive=False) == TEXT
        assert fetched(net, "office", WAN4, passive=True) == TEXT


def test_a_helper_on_another_port(gate, net, vsftpd, tmp_path):
    with ftp_server(net, "wan", vsftpd, tmp_path, port=2121):
        gate.apply(helpers=[{"name": "ftp"}], **ONE_LAN)
        assert isinstance(fetched(net, "office", WAN4, False, 2121), str)
        gate.apply(helpers=[{"name": "ftp", "port": [21, 2121]}], **ONE_LAN)
        assert fetched(net, "office", WAN4, False, 2121) == TEXT


def test_a_forwarded_ftp_server_in_passive_mode(gate, net, vsftpd, tmp_path):
    """The server names its own address in its answer to PASV."""
    forwards = [{"name": "ftp", "port": ["21"], "to": [OFFICE4]}]
    with ftp_server(net, "office", vsftpd, tmp_path):
        gate.apply(port_forwards=forwards, **ONE_LAN)
        assert isinstance(fetched(net, "wan", GATE4, passive=True), str)
        gate.apply(port_forwards=forwards, helpers=[{"name": "ftp"}], **ONE_LAN)
        assert fetched(net, "wan", GATE4, passive=True) == TEXT


def said(net, kind, port, message):
    """What the far side reads of a message that a client sends."""
    with (
        net.socket("wan", socket.AF_INET, kind) as server,
        net.socket("office", socket.AF_INET, kind) as client,
    ):
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("0.0.0.0", port))
        server.settimeout(1)
        client.settimeout(1)
        if kind == socket.SOCK_DGRAM:
            client.bind((OFFICE4, port))
            client.sendto(message, (WAN4, port))
            return server.recv(4096)
        server.listen(1)
        client.connect((WAN4, port))
        accepted, _peer = server.accept()
        with accepted:
            accepted.settimeout(1)
            client.sendall(message)
            return accepted.recv(4096)


INVITE = (
    "INVITE sip:friend@{far} SIP/2.0\r\nVia: SIP/2.0/UDP {own}:5060;branch=z9hG4bK1\r\n"
    "From: <sip:me@{own}>;tag=1\r\nTo: <sip:friend@{far}>\r\nCall-ID: 1@{own}\r\nCSeq: 1 INVITE\r\n"
    "Contact: <sip:me@{own}:5060>\r\nContent-Type: application/sdp\r\nContent-Length: {length}\r\n\r\n{sdp}"
)
SDP = "v=0\r\no=- 1 1 IN IP4 {0}\r\ns=-\r\nc=IN IP4 {0}\r\nt=0 0\r\nm=audio 40000 RTP/AVP 0\r\n".format(OFFICE4)


def test_sip_is_left_alone_without_the_helper_and_translated_with_it(gate, net):
    """RFC 4787 REQ-10: no NAT inspects payloads unless it is told to."""
    invite = INVITE.format(far=WAN4, own=OFFICE4, length=len(SDP), sdp=SDP).encode()
    gate.apply(**ONE_LAN)
    assert said(net, socket.SOCK_DGRAM, 5060, invite) == invite
    gate.apply(helpers=[{"name": "sip"}], **ONE_LAN)
    translated = said(net, socket.SOCK_DGRAM, 5060, invite).decode()
    assert "c=IN IP4 " + GATE4 in translated
    assert "Contact: <sip:me@{0}:".format(GATE4) in translated


def test_every_helper_is_known_here(gate, net):
    names = ["amanda", "ftp", "netbios-ns", "pptp", "sip", "snmp", "tftp"]
    gate.apply(helpers=[{"name": name} for name in names], **ONE_LAN)
    assert not gate.apply(helpers=[{"name": name} for name in names], **ONE_LAN).changed


# --- Timers ----------------------------------------------------------------------------------------------------------


def seconds_left(protocol):
    return [int(line.split()[2]) for line in sh("conntrack -L 2>/dev/null").splitlines() if line.startswith(protocol)]


def test_timers_are_those_of_the_rfcs_and_go_back(gate, net):
    before = sh("cat /proc/sys/net/netfilter/nf_conntrack_udp_timeout").strip()
    gate.apply(**ONE_LAN)
    assert net.asks("udp", "office", "wan", WAN4, 5353).peer == GATE4
    assert net.ping("office", WAN4)
    assert min(seconds_left("udp")) > 295
    assert min(seconds_left("icmp")) > 55
    gate.apply(timeouts={"udp": 77, "icmp": 0}, **ONE_LAN)
    assert sh("cat /proc/sys/net/netfilter/nf_conntrack_udp_timeout").strip() == "77"
    assert sh("cat /proc/sys/net/netfilter/nf_conntrack_icmp_timeout").strip() == "30"
    gate.absent()
    assert sh("cat /proc/sys/net/netfilter/nf_conntrack_udp_timeout").strip() == before


def test_two_instances_agree_on_what_the_host_has_only_once(gate, net):
    gate.apply(timeouts={"udp": 77}, instance="one", **ONE_LAN)
    guests = {"wans": [{"interface": "wan0"}], "lans": [GUESTS], "instance": "two"}
    before = gate.host.snapshot()
    with pytest.raises(GatewayError, match=r"timeouts\.udp: is 300 here and 77 in instance 'one'"):
        gate.apply(**guests)
    assert gate.host.snapshot() == before
    gate.apply(timeouts={"udp": 77}, **guests)
    assert not gate.apply(timeouts={"udp": 77}, instance="one", **ONE_LAN).changed


def test_the_size_of_the_table_is_skipped_where_it_is_not_ours(gate, net):
    done = gate.apply(conntrack_max="auto", **ONE_LAN).to_dict()
    assert [note for note in done["notes"] if note.startswith("conntrack_max: skipped, because it is read-only")]


# --- The gateway itself ----------------------------------------------------------------------------------------------


def test_protect_closes_the_gateway_towards_the_wan_only(gate, net):
    allow = [{"name": "vpn", "protocol": ["tcp"], "port": ["4000"]}]
    with Servers(net, "tcp", ("gate", 22), ("gate", 80), ("gate", 4000), ("wan", 9000)) as servers:
        gate.apply(**ONE_LAN)
        assert servers.asked("wan", GATE4, 80).node == "gate"
        gate.apply(input="protect", input_allow=allow, **ONE_LAN)
        assert servers.asked("wan", GATE4, 80) == "timeout"
        assert servers.asked("wan", GATE4, 22).node == "gate"
        assert servers.asked("wan", GATE4, 4000).node == "gate"
        for port in (22, 80, 4000):
            assert servers.asked("office", "192.168.1.1", port).node == "gate"
        assert servers.asked("gate", WAN4, 9000).node == "wan"
        assert servers.asked("office", WAN4, 9000).node == "wan"
    assert net.ping("wan", GATE4)


def test_what_is_dropped_is_logged_first(gate, net):
    """The kernel's log is silent in a namespace, so the rule's counter tells."""
    gate.apply(log=["closed"], port_forwards=[{"name": "x", "port": ["1"], "to": [OFFICE4]}], **ONE_LAN)
    assert net.asks("tcp", "wan", "office", OFFICE4, 8080) == "timeout"
    logged = [row for row in gate.live() if row.key == "closed" and "ipmasq closed: " in row.text]
    assert sum(row.packets for row in logged) >= 1


# --- What is live against what was applied ---------------------------------------------------------------------------


def test_an_interface_that_does_not_forward_is_drift(gate, net):
    """The global switch stays at 1, and the LAN is dead nevertheless."""
    gate.apply(**ONE_LAN)
    assert gate.info()["as_applied"]
    sh("echo 0 > /proc/sys/net/ipv4/conf/lan0/forwarding")
    assert net.asks("udp", "office", "wan", WAN4, 5353) == "timeout"
    assert gate.info()["drift"] == ["~ net/ipv4/conf/lan0/forwarding: 0, but 1 was applied"]
    gate.apply(**ONE_LAN)
    assert gate.info()["as_applied"]
    assert net.asks("udp", "office", "wan", WAN4, 5353).peer == GATE4
