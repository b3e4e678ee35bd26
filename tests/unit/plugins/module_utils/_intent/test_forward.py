# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Port forwards: what is refused, their values, and their words."""

from __future__ import annotations

from ansible_collections.ipmasq.linux.plugins.module_utils._intent.read import gateway_from_params
from ansible_collections.ipmasq.linux.tests.unit.intents import ADDRESS, WAN, each_problem, forward, problems_of
from ansible_collections.ipmasq.linux.tests.unit.params import gateway_params

#: options of gateway, its one problem
TEST_PROBLEMS = [
    (forward(port=[]), "port_forwards[0] 'web': port is empty; name the ports to forward, such as 443"),
    (forward(to=[]), "port_forwards[0] 'web': to is empty; name the server to forward to"),
    (forward(to=["web.example.org"]), "port_forwards[0] 'web': to: 'web.example.org' is not an address; " + ADDRESS),
    (
        forward(to=["192.168.1.20-192.168.1.22"]),
        "port_forwards[0] 'web': to 192.168.1.20-192.168.1.22 is a range; list the servers",
    ),
    (
        forward(to=["192.168.1.20", "fd00:1::20"]),
        "port_forwards[0] 'web': to mixes IPv4 and IPv6 servers; write two forwards",
    ),
    (forward(port=["65536"]), "port_forwards[0] 'web': port: 65536 is not in the port range 1-65535"),
    (
        forward(port=["80", "443"], to_port=8080),
        "port_forwards[0] 'web': to_port allows one port range only; write one forward for each range",
    ),
    (forward(to_port=0), "port_forwards[0] 'web': to_port 0 leaves the port range 1-65535"),
    (forward(to_port=-5), "port_forwards[0] 'web': to_port -5 leaves the port range 1-65535"),
    (forward(to_port=65536), "port_forwards[0] 'web': to_port 65536 leaves the port range 1-65535"),
    (forward(port=["8000-8010"], to_port=65530), "port_forwards[0] 'web': to_port 65530 leaves the port range 1-65535"),
    (
        forward(source=["fd00:9::/64"]),
        "port_forwards[0] 'web': to 192.168.1.20 has no address family in common with fd00:9::/64",
    ),
    (
        forward(destination=["2001:db8::1"]),
        "port_forwards[0] 'web': to 192.168.1.20 has no address family in common with 2001:db8::1/128",
    ),
    (
        forward(source=["office"]),
        "port_forwards[0] 'web': source 'office' is not a network; LAN names do not apply outside",
    ),
    (dict(forward(wan="ppp1"), wans=[WAN]), "port_forwards[0] 'web': wan ppp1 is not in wans (ppp0)"),
    (
        dict(port_forwards=[dict(name="a", port=[port], to=["192.168.1.20"]) for port in ("80", "443")]),
        "port_forwards: 'a' is defined twice; give each its own name",
    ),
    (
        dict(port_forwards=[dict(name=name, port=["80-90"], to=["192.168.1.20"]) for name in "ab"]),
        "port_forwards[0] 'a' and port_forwards[1] 'b': both forward tcp port 80; "
        "give them different ports, WANs, sources or destinations",
    ),
]


@each_problem(TEST_PROBLEMS)
def test_problem(given, problem):
    assert problems_of(gateway_from_params, gateway_params(**given)) == [problem]


def test_forward_without_a_protocol():
    problem = "port_forwards[0] 'web': protocol is empty; name tcp, udp, sctp or both"
    assert problem in problems_of(gateway_from_params, gateway_params(**forward(protocol=[])))


def test_forward_values():
    (found,) = gateway_from_params(
        gateway_params(**forward(protocol=["both"], port=["443", "8000-8010"]))
    ).port_forwards
    assert (found.protocol, found.port, found.to_port) == (("tcp", "udp"), ((443, 443), (8000, 8010)), None)
    assert (found.hairpin, found.hairpin_source, found.balance) == (False, "external", "round_robin")
    # Ports side by side are one range, which may have one port inside.
    (found,) = gateway_from_params(gateway_params(**forward(port=["81", "80"], to_port=8080))).port_forwards
    assert (found.port, found.to_port) == (((80, 81),), 8080)
    assert gateway_from_params(gateway_params(**forward(port=["1-65535"], to_port=1)))


def test_forward_to_a_range_of_ipv6_addresses():
    assert problems_of(gateway_from_params, gateway_params(**forward(to=["fd00:1::20-fd00:1::22"]))) == [
        "port_forwards[0] 'web': to fd00:1::20-fd00:1::22 is a range; list the servers"
    ]
