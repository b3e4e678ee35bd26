# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError
from ansible_collections.ipmasq.linux.plugins.module_utils._client import wanted
from ansible_collections.ipmasq.linux.plugins.module_utils._client.wanted import Target, read_wanted

PARAMS = dict(servers=None, tcp=None, ping=None, dns_server=None, dns_name=None, expect=None, idle=0, timeout=3)


def read(**options):
    return read_wanted(dict(PARAMS, **options))


def test_nothing_is_required():
    assert read() == wanted.Wanted()
    assert read(servers=["", " "], dns_name="", expect={}) == wanted.Wanted()


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("stun.example.net", "stun.example.net", 3478),
        (" stun.example.net:19302 ", "stun.example.net", 19302),
        ("stun:stun.example.net:19302", "stun.example.net", 19302),
        ("203.0.113.1", "203.0.113.1", 3478),
        ("203.0.113.1:80", "203.0.113.1", 80),
        ("2001:db8::1", "2001:db8::1", 3478),
        ("[2001:db8::1]", "2001:db8::1", 3478),
        ("[2001:db8::1]:80", "2001:db8::1", 80),
    ],
)
def test_servers(text, host, port):
    assert read(servers=[text]).servers == (Target(host, port, text.strip()),)


NEITHER = "{0}: '{1}' is neither an address nor a host name; write it like stun.example.net:3478"
#: Each with its sentence.
WRONG = [
    (dict(servers=["https://x.example"]), NEITHER.format("servers[0]", "https://x.example")),
    (dict(servers=["a", "1.2.3"]), NEITHER.format("servers[1]", "1.2.3")),
    (dict(servers=["a/b"]), NEITHER.format("servers[0]", "a/b")),
    (dict(servers=["a:"]), "servers[0]: 'a:': port : is not between 1 and 65535"),
    (dict(servers=["a:0"]), "servers[0]: 'a:0': port 0 is not between 1 and 65535"),
    (dict(servers=["a:65536"]), "servers[0]: 'a:65536': port 65536 is not between 1 and 65535"),
    (dict(servers=["a:٣"]), "servers[0]: 'a:٣': port ٣ is not between 1 and 65535"),
    (dict(servers=["[2001:db8::1]80"]), NEITHER.format("servers[0]", "[2001:db8::1]80")),
    (dict(servers=[str(number) + "a" for number in range(33)]), "servers: 33 entries are too many; name at most 32"),
    (dict(tcp=["a"]), "tcp[0]: 'a' has no port; write a:443"),
    (dict(tcp=["2001:db8::1"]), "tcp[0]: '2001:db8::1' has no port; write [2001:db8::1]:443"),
    (dict(ping=["a:80"]), "ping[0]: 'a:80' has a port, but a ping has none; write a"),
    (dict(ping=["-a"]), "ping[0]: '-a' is neither an address nor a host name; write it like 192.0.2.1"),
    (dict(dns_server="192.168.1.1"), "dns_name: is empty; name what to ask 192.168.1.1 for, such as example.net"),
    (dict(dns_server="a", dns_name="a"), "dns_server: 'a' is not an address, such as 192.168.1.1"),
    (dict(dns_name="a..b"), "dns_name: 'a..b' is not a host name, such as example.net"),
    (dict(idle=-1), "idle: -1 is not a number of seconds from 0 to 3600"),
    (dict(timeout=0), "timeout: 0 is not a number of seconds from 1 to 30"),
    (dict(expect={"mtu": 100}), "expect: mtu: 100 is not between 576 and 65535"),
    (dict(expect={"addresses": ["203.0.113.1", "x"]}),
     "expect: addresses[1]: 'x' is not an address; write 203.0.113.9, or 203.0.113.9-203.0.113.12"),
]  # fmt: skip


@pytest.mark.parametrize(("options", "sentence"), WRONG)
def test_bad_input_is_one_sentence_with_the_remedy(options, sentence):
    with pytest.raises(GatewayError) as caught:
        read(**options)
    assert caught.value.problems == (sentence,)


def test_all_problems_come_together():
    with pytest.raises(GatewayError) as caught:
        read(servers=["http://x"], tcp=["a"], idle=-1, expect={"mtu": 1, "addresses": ["10.0.0.1/24"]})
    assert len(caught.value.problems) == 5


def test_expected_addresses():
    networks = read(expect={"addresses": ["203.0.113.1", "203.0.113.8-203.0.113.9", "2001:db8::/64"]}).expect.addresses
    covered = [wanted.covers(networks, each) for each in ("203.0.113.1", "203.0.113.2", "203.0.113.9", "2001:db8::5")]
    assert covered == [True, False, True, True]
    assert not wanted.covers((), "203.0.113.1")
