# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import struct

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._proof.packets import (
    ACK,
    ECHO,
    FIN,
    RST,
    SYN,
    Packet,
    answer,
    build,
    checksum,
    fitted,
    in_words,
    parse,
)

ENDS = (("192.168.1.9", "192.0.2.1"), ("fd00::9", "2001:db8::1"))


@pytest.mark.parametrize("ends", ENDS)
@pytest.mark.parametrize(
    "more",
    [
        dict(protocol="tcp", sport=50001, dport=443, flags=SYN, mss=1460),
        dict(protocol="tcp", sport=50001, dport=443, flags=SYN | ACK, acked=12),
        dict(protocol="udp", sport=50001, dport=53, flags=0),
        dict(protocol="icmp", sport=77, flags=0),
    ],
)
def test_what_is_built_reads_back(ends, more):
    packet = Packet(*ends, mark=5, magic=0xABCDEF01, **more)
    if packet.protocol == "icmp":
        packet = Packet(*ends, mark=5, magic=0xABCDEF01, kind=ECHO[packet.version][0], **more)
    data = build(packet)
    assert parse(data) == packet
    assert parse(build(Packet(*ends, "icmp", flags=0, kind=3, code=3, quoted=packet))).quoted == packet
    body = data[40:] if packet.version == 6 else data[20:]
    number = {"tcp": 6, "udp": 17, "icmp": 58 if packet.version == 6 else 1}[packet.protocol]
    pseudo = data[8:40] + struct.pack("!II", len(body), number)
    if packet.version == 4:
        assert checksum(data[:20]) == 0
        pseudo = b"" if number == 1 else data[12:20] + struct.pack("!HH", number, len(body))
    assert checksum(pseudo + body) == 0


@pytest.mark.parametrize(("ends", "mtu", "mss"), [(ENDS[0], 1500, 1460), (ENDS[1], 1500, 1440), (ENDS[0], 576, 536)])
def test_a_syn_and_its_answer_have_the_options_of_a_real_host(ends, mtu, mss):
    """MSS, SACK permitted, timestamps, NOP, window scale; a window of whole segments."""
    syn = fitted(Packet(*ends, "tcp", 50001, 443, SYN, magic=0xABCDEF01), mtu)
    back = fitted(answer(syn), mtu)
    assert (syn.mss, back.mss) == (mss, mss)
    for packet, echoed in ((syn, 0), (back, 0xABCDEF01)):
        assert parse(build(packet)) == packet
        body = build(packet)[40 if packet.version == 6 else 20 :]
        assert body[12] >> 4 == 10 and len(body) == 40
        window = struct.unpack("!H", body[14:16])[0]
        assert window > 60000 and window % mss == 0
        options = struct.unpack("!BBHBBBBIIBBBB", body[20:])
        assert options == (2, 4, mss, 4, 2, 8, 10, 0xABCDEF01, echoed, 1, 3, 3, 7)


def test_only_a_syn_without_an_mss_is_given_one():
    for packet in (
        Packet(*ENDS[0], "tcp", 1, 2, SYN, mss=8960),
        Packet(*ENDS[0], "tcp", 1, 2, RST | ACK),
        Packet(*ENDS[0], "tcp", flags=SYN, body=b"1234"),
        Packet(*ENDS[0], "udp", 1, 2, 0),
    ):
        assert fitted(packet, 1500) == packet
    assert fitted(Packet(*ENDS[0], "tcp", 1, 2, SYN), 100).mss == 536
    assert fitted(Packet(*ENDS[0], "tcp", 1, 2, SYN), 1 << 20).mss == 0xFFFF


@pytest.mark.parametrize(
    ("packet", "length"),
    [
        (Packet(*ENDS[0], "icmp", 7, flags=0, kind=8), 84),
        (Packet(*ENDS[1], "icmp", 7, flags=0, kind=128), 104),
        (Packet(*ENDS[0], "udp", 50001, 123, 0), 76),
        (Packet(*ENDS[0], "udp", 50001, 443, 0), 50),
    ],
)
def test_a_ping_and_ntp_have_their_length(packet, length):
    assert len(build(packet)) == length


@pytest.mark.parametrize("ends", ENDS)
def test_tcp_that_is_too_short_reads_back(ends):
    packet = Packet(*ends, "tcp", flags=0, mark=5, body=b"1234")
    assert parse(build(packet)) == packet
    assert in_words(packet) == "tcp {0} > {1}, 4 bytes".format(*ends)


def test_a_broken_checksum_is_broken():
    good, bad = (build(Packet(*ENDS[0], "tcp", 1, 2, broken=broken)) for broken in (False, True))
    assert good[:36] == bad[:36] and good[36:38] != bad[36:38]


@pytest.mark.parametrize("data", [b"", b"\x45", bytes(40), b"\x60" + bytes(60), b"\x45" + bytes(25)])
def test_nothing_makes_it_stumble(data):
    assert parse(data) is None or isinstance(parse(data), Packet)


def test_the_answer_is_the_other_way_round():
    syn = Packet(*ENDS[0], "tcp", 50001, 443, SYN, magic=0xFFFFFFFF, mark=3)
    back = answer(syn, mss=1400)
    assert (back.source, back.target, back.sport, back.dport) == (*ENDS[0][::-1], 443, 50001)
    assert (back.flags, back.acked, back.mss, back.mark) == (SYN | ACK, 0, 1400, 3)
    ping = Packet(*ENDS[1], "icmp", 7, flags=0, kind=128)
    assert (answer(ping).kind, answer(ping).sport) == (129, 7)


def test_in_words():
    syn = Packet(*ENDS[1], "tcp", 50001, 443, SYN, mss=1460)
    assert in_words(syn) == "tcp [fd00::9]:50001 > [2001:db8::1]:443 SYN MSS 1460"
    assert in_words(Packet(*ENDS[0], "tcp", 1, 2, FIN | RST)).endswith("FIN/RST")
    assert in_words(Packet(*ENDS[0], "tcp", 1, 2, 0)).endswith("no flags")
    assert in_words(Packet(*ENDS[0], "icmp", flags=0, kind=8)) == "icmp 192.168.1.9 > 192.0.2.1 echo request"
    error = Packet(*ENDS[0], "icmp", flags=0, kind=3, code=3, quoted=Packet(*ENDS[0], "udp", 1, 2, 0))
    assert in_words(error).endswith("type 3 code 3 about [udp 192.168.1.9:1 > 192.0.2.1:2]")
    assert in_words(Packet(*ENDS[0], "253")) == "protocol 253 192.168.1.9 > 192.0.2.1"


def test_what_has_no_ip_header_is_no_packet():
    """A report that the kernel sends into the TUN device, of which a link header was cut off that it does not have."""
    report = bytes.fromhex("6000000000240001") + bytes(16) + bytes.fromhex("ff02") + bytes(13) + b"\x16" + bytes(36)
    assert parse(report[14:]) is None
    assert parse(bytes(40)) is None
    assert parse(b"\x41" + bytes(40)) is None
