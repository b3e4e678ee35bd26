# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""WANs and LANs: what is refused, and their words."""

from __future__ import annotations

from ansible_collections.ipmasq.linux.plugins.module_utils._intent.conflicts import ONE_CARD
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.read import gateway_from_params
from ansible_collections.ipmasq.linux.tests.unit.intents import WAN, each_problem, lan, problems_of
from ansible_collections.ipmasq.linux.tests.unit.params import gateway_params

#: options of gateway, its one problem
TEST_PROBLEMS = [
    (dict(wans=[]), "wans: is empty; name the WAN interface, or leave it out to use the default route's"),
    (dict(lans=[]), "lans: is empty; name a LAN, or leave it out to use every private network found"),
    (dict(lans=[lan(interfaces=())]), "lans[0] 'a': interfaces is empty; name at least one LAN interface"),
    (
        dict(lans=[lan(networks=())]),
        "lans[0] 'a': networks is empty; list networks, or leave it out to use the interfaces' own",
    ),
    (
        dict(lans=[lan("a"), lan("b", ["lan1"], ["192.168.0.0/16"])]),
        "lans[0] 'a' and lans[1] 'b': networks 192.168.1.0/24 and 192.168.0.0/16 overlap; "
        "each address belongs to one LAN",
    ),
    (
        dict(lans=[lan("a", networks=["fd00::/48"]), lan("b", ["lan1"], ["fd00:0:0:7::/64"])]),
        "lans[0] 'a' and lans[1] 'b': networks fd00::/48 and fd00:0:0:7::/64 overlap; each address belongs to one LAN",
    ),
    (
        dict(lans=[lan("a"), lan("b", networks=["10.0.0.0/8"])]),
        "lans[0] 'a' and lans[1] 'b': both have interface lan0; an interface belongs to one LAN",
    ),
    (
        dict(lans=[lan("a", ["wlan*"]), lan("b", ["wlan1"], ["10.0.0.0/8"])]),
        "lans[0] 'a' and lans[1] 'b': both have interface wlan1; an interface belongs to one LAN",
    ),
    (dict(lans=[lan("a"), lan("a", ["lan1"], ["10.0.0.0/8"])]), "lans: 'a' is defined twice; give each its own name"),
    (
        dict(wans=[WAN], lans=[lan(interfaces=["lan0", "ppp0"])]),
        "lans[0] 'a': interface ppp0 is also WAN ppp0; " + ONE_CARD,
    ),
    (
        dict(wans=[{"interface": "ppp*"}], lans=[lan(interfaces=["ppp3"])]),
        "lans[0] 'a': interface ppp3 is also WAN ppp*; " + ONE_CARD,
    ),
    (dict(wans=[WAN, WAN]), "wans: 'ppp0' is defined twice; give each its own name"),
    (
        dict(lans=[lan(networks=["192.168.1.0.0/24"])]),
        "lans[0] 'a': networks: '192.168.1.0.0/24' is neither an IPv4 nor an IPv6 network; "
        "write it as 192.168.1.0/24 or fd00:1::/64",
    ),
    (
        dict(lans=[lan(networks=["192.168.1.1/24"])]),
        "lans[0] 'a': networks: 192.168.1.1/24 has host bits set; did you mean 192.168.1.0/24?",
    ),
    (
        dict(lans=[lan(networks=["fd00::1/64"])]),
        "lans[0] 'a': networks: fd00::1/64 has host bits set; did you mean fd00::/64?",
    ),
    (
        dict(wans=[{"interface": "eth/0"}]),
        "wans[0]: interface 'eth/0' contains a slash, which interface names cannot",
    ),
    (
        dict(lans=[lan(interfaces=["lan 0"])]),
        "lans[0] 'a': interface 'lan 0' is not a valid interface name; '*' is allowed only at the end",
    ),
    (
        dict(wans=[{"interface": "p*p"}]),
        "wans[0]: interface 'p*p' is not a valid interface name; '*' is allowed only at the end",
    ),
    (
        dict(wans=[{"interface": "*"}]),
        "wans[0]: '*' would match every interface, loopback included; put a prefix before it, as in ppp*",
    ),
    (dict(wans=[{"interface": "tun+"}]), "wans[0]: interface 'tun+' is an iptables pattern; write tun*"),
    (
        dict(lans=[lan(networks=["0.0.0.0/0"])]),
        "lans[0] 'a': networks: 0.0.0.0/0 covers most of the Internet; name the networks behind the LAN",
    ),
    (
        dict(lans=[lan(networks=["2000::/3"])]),
        "lans[0] 'a': networks: 2000::/3 covers most of the Internet; name the networks behind the LAN",
    ),
    (
        dict(wans=[{"interface": ""}]),
        "wans[0]: interface '' is not a valid interface name; '*' is allowed only at the end",
    ),
    (
        dict(lans=[lan(interfaces=["all"])]),
        "lans[0] 'a': interface 'all' is the kernel's name for a group; name one interface",
    ),
    (
        dict(wans=[{"interface": "default"}]),
        "wans[0]: interface 'default' is the kernel's name for a group; name one interface",
    ),
    (
        dict(lans=[lan("my lan")]),
        "lans[0] 'my lan': name 'my lan' must be 1 to 63 letters, digits, '_', '.' or '-', starting with a letter or "
        "digit",
    ),
    (
        dict(lans=[lan("10.0.0.1")]),
        "lans[0] '10.0.0.1': name '10.0.0.1' looks like an address; give the LAN another name",
    ),
    (
        dict(lans=[lan("a", reaches=["b"])]),
        "lans[0] 'a': reaches 'b', which is not a LAN; known LANs: a",
    ),
    (
        dict(lans=[lan("a", reaches=["a"])]),
        "lans[0] 'a': reaches 'a', which is the LAN itself; known LANs: a",
    ),
    (dict(mss="1452 bytes"), "mss: '1452 bytes' is not pmtu, keep or a number of bytes from 88 to 65495"),
    (dict(mss="87"), "mss: '87' is not pmtu, keep or a number of bytes from 88 to 65495"),
    (dict(mss="65496"), "mss: '65496' is not pmtu, keep or a number of bytes from 88 to 65495"),
    (dict(mss="-1452"), "mss: '-1452' is not pmtu, keep or a number of bytes from 88 to 65495"),
    (dict(mss=""), "mss: '' is not pmtu, keep or a number of bytes from 88 to 65495"),
    (
        dict(wans=[WAN, {"interface": "ppp1", "mss": "max"}]),
        "wans[1]: mss: 'max' is not pmtu, keep or a number of bytes from 88 to 65495",
    ),
]


@each_problem(TEST_PROBLEMS)
def test_problem(given, problem):
    assert problems_of(gateway_from_params, gateway_params(**given)) == [problem]


#: A name over 15 characters may be an alternative name: only the host knows.
def test_long_interface_names_wait_for_the_host():
    assert gateway_from_params(gateway_params(wans=[{"interface": "x" * 40}])).wans[0].interface == "x" * 40


def test_lan_with_a_number_as_name():
    gateway_from_params(gateway_params(lans=[lan("100")], nat=[{"name": "x", "source": ["100"]}]))


def test_mss_values():
    gateway = gateway_from_params(
        gateway_params(mss="01452", wans=[WAN, {"interface": "a", "mss": "keep"}, {"interface": "b", "mss": "88"}])
    )
    assert [wan.mss for wan in gateway.wans] == ["1452", "keep", "88"]
