# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.tests.unit.explained import question

CLIENT, SERVER = "192.168.1.5", "203.0.113.7"


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ((CLIENT, SERVER, "443"), "tcp 192.168.1.5 > 203.0.113.7:443"),
        ((CLIENT, SERVER, 53, "udp"), "udp 192.168.1.5 > 203.0.113.7:53"),
        ((CLIENT, SERVER), "icmp 192.168.1.5 > 203.0.113.7"),
        ((CLIENT, "203.0.113.7:8443"), "tcp 192.168.1.5 > 203.0.113.7:8443"),
        (("fd00:1:0::5", "[2001:db8::7]:443"), "tcp fd00:1::5 > [2001:db8::7]:443"),
        (("fd00:1::5", "2001:db8::7", "443"), "tcp fd00:1::5 > [2001:db8::7]:443"),
    ],
)
def test_a_packet_in_words(asked, told):
    found, problems = question(*asked)
    assert (str(found), problems) == (told, [])
    assert bool(found.notes) == (len(asked) < 4)


@pytest.mark.parametrize(
    ("asked", "problems"),
    [
        (
            ("", None),
            [
                "from: is missing; give an IP address, such as from=192.168.1.5",
                "to: is missing; give an IP address, such as to=192.168.1.5",
            ],
        ),
        (
            (CLIENT, "www.example.net"),
            [
                "to: 'www.example.net' is not an IP address; if it is a host's name, look it up first "
                "(getent ahosts www.example.net)"
            ],
        ),
        (
            ("192.168.1.0/24", SERVER),
            ["from: '192.168.1.0/24' is a network, or an address with its length; give a single address"],
        ),
        (("192.168.1.5:80", SERVER), ["from: '192.168.1.5:80' is not an IP address; leave the port out"]),
        (
            ("fe80::1%lan0", "fd00::1"),
            ["from: 'fe80::1%lan0' is a link-local address, which no gateway forwards; give another one"],
        ),
        (("1.2.3", SERVER), ["from: '1.2.3' is not an IP address; write it as 192.168.1.5 or 2001:db8::5"]),
        ((CLIENT, "224.0.0.1"), ["to: 224.0.0.1 is a multicast address; give the address of a single host"]),
        (
            (CLIENT, "255.255.255.255"),
            ["to: 255.255.255.255 is the broadcast address; give the address of a single host"],
        ),
        (
            ("127.0.0.1", SERVER),
            ["from: 127.0.0.1 is a loopback address, which never leaves a host; give the address of a single host"],
        ),
        (("0.0.0.0", SERVER), ["from: 0.0.0.0 is not a host's address; give the address of a single host"]),
        (
            (CLIENT, "2001:db8::7"),
            ["to: 2001:db8::7 is IPv6, and from is IPv4; no packet has both, so give two addresses of the same family"],
        ),
        ((CLIENT, CLIENT), ["to: 192.168.1.5 is the same address as from; give another one"]),
        (
            (CLIENT, SERVER, "443", "icmp"),
            ["port: 443 does not go with protocol icmp, which has no ports; leave it out, or give protocol tcp or udp"],
        ),
        ((CLIENT, SERVER, None, "udp"), ["port: is missing; udp needs one, such as port=443"]),
        ((CLIENT, SERVER, "https"), ["port: 'https' is not a single port; give a number from 1 to 65535"]),
        ((CLIENT, SERVER, "80-90", "tcp"), ["port: '80-90' is not a single port; give a number from 1 to 65535"]),
        ((CLIENT, SERVER, "0"), ["port: '0' is not a single port; give a number from 1 to 65535"]),
        ((CLIENT, SERVER, "65536"), ["port: '65536' is not a single port; give a number from 1 to 65535"]),
        ((CLIENT, "203.0.113.7:80", "443"), ["port: 443 is not the port in to (80); give one of them"]),
    ],
)
def test_bad_input_is_one_sentence_each(asked, problems):
    assert question(*asked)[1] == problems
