# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a rollback forgets, as arguments of conntrack(8): what began under the change, and nothing unchanged."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._facts.links import Facts
from ansible_collections.ipmasq.linux.plugins.module_utils._flows import groups as _groups
from ansible_collections.ipmasq.linux.plugins.module_utils._flows.groups import groups
from ansible_collections.ipmasq.linux.plugins.module_utils._flows.judge import Rules
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.read import gateway_from_params
from ansible_collections.ipmasq.linux.plugins.module_utils._resolve.resolve import resolve
from ansible_collections.ipmasq.linux.plugins.module_utils._resolve.resolved import Resolved, ResolvedWan
from ansible_collections.ipmasq.linux.plugins.module_utils._rules.compile import compile_gateway
from ansible_collections.ipmasq.linux.plugins.module_utils._rules.model import RuleSet
from ansible_collections.ipmasq.linux.tests.unit.params import gateway_params

WAN, OTHER, SERVER = "203.0.113.2", "203.0.113.77", "192.168.1.20"
LOCAL = (WAN, "192.168.1.1", "192.168.2.1", "172.17.0.1", "2001:db8:ff::2")
LINKS = (("172.17.0.0/16", "docker0"), ("10.9.9.0/24", "mgmt0"), ("203.0.113.0/24", "wan0"), ("192.168.1.0/24", "lan0"))
OFFICE = {"name": "office", "interfaces": ["lan0"], "networks": ["192.168.1.0/24"]}
GUESTS = {"name": "guests", "interfaces": ["guest*"], "networks": ["192.168.2.0/24"]}
SIX = {"name": "six", "interfaces": ["lan6"], "networks": ["2001:db8:1::/64"]}


def rules(params):
    """Of options; None: of a host that has no rules."""
    if params is None:
        return Rules(RuleSet("", (), ()), Resolved(wans=(ResolvedWan("wan0"),), lans=()), frozenset(LOCAL), LINKS)
    known = dict({"wans": [{"interface": "wan0"}], "lans": [OFFICE, GUESTS]}, **params)
    gateway = resolve(gateway_from_params(gateway_params(**known)), Facts((), ())).gateway
    return Rules(compile_gateway(gateway), gateway, frozenset(LOCAL), LINKS)


def snat(*to, **more):
    item = dict({"name": "x", "action": "snat", "to": list(to), "to_address": "routed"}, **more)
    return {"nat": [item, {"name": "rest"}] if more else [item]}


def forward(port="443", **more):
    return {"port_forwards": [dict({"name": "web", "port": [port], "to": [SERVER], "protocol": ["tcp"]}, **more)]}


STATIC = {"name": "x", "action": "static", "source": ["192.168.1.20"], "to": [OTHER], "to_address": "routed"}
NO_MAIL = {"outbound": [{"name": "mail", "protocol": ["tcp"], "port": ["25"], "action": "reject"}]}
REACH = {"lans": [dict(OFFICE, reaches=["guests"]), GUESTS]}
SHUT = {"input": "protect", "input_controller_ports": [22]}
ALLOW = dict(SHUT, input_allow=[{"name": "x", "protocol": ["tcp"], "port": ["80"]}])
WANS = [{"interface": "vpn0"}, {"interface": "wan0"}]
CARRIED = dict(WANS[0], carried_from=["172.31.0.10/32", "2001:db8:77::7/128"])
#: What servers on this host wait for.
LISTENING = (("tcp", 22), ("tcp", 80), ("udp", 5000))
BOTH = ["-f ipv4 -s 192.168.1.0/24 -q ", "-f ipv4 -s 192.168.2.0/24 -q "]


def to_here(protocol, port):
    families = [("ipv6" if ":" in each else "ipv4", each) for each in LOCAL]
    words = "-f {0} -p {2} -d {1} --orig-port-dst {3} -r {1} --reply-port-src {3}"
    return [words.format(*each, protocol, port) for each in families]


#: what a change is, options before it and with it, what is forgotten when it is rolled back
CASES = [
    ("nothing", {}, {}, []),
    ("a forward", {}, forward(to_port=8443),
     ["-f ipv4 -p tcp --orig-port-dst 443 -r 192.168.1.20 --reply-port-src 8443 -g"]),
    ("a forward of some", {}, forward(source=["8.0.0.0/8"]),
     ["-f ipv4 -p tcp -s 8.0.0.0/8 --orig-port-dst 443 -r 192.168.1.20 --reply-port-src 443 -g"]),
    ("a range", {}, forward("8000-8010"), ["-f ipv4 -p tcp -r 192.168.1.20 -g"]),
    ("a forward less", forward(), {}, []),
    ("another server", forward(), forward(to=["192.168.1.21"]),
     ["-f ipv4 -p tcp --orig-port-dst 443 -r 192.168.1.21 --reply-port-src 443 -g"]),
    ("a pinhole", {"lans": [SIX]}, dict(forward(to=["2001:db8:1::5"]), lans=[SIX]),
     ["-f ipv6 -p tcp -d 2001:db8:1::5/128 --orig-port-dst 443"]),
    ("another source", {}, snat(OTHER), [words + OTHER for words in BOTH]),
    ("another source of some", {}, snat(OTHER, source=["guests"]), [BOTH[1] + OTHER]),
    ("a pool", {}, snat("203.0.113.64-203.0.113.127"),
     ["-f ipv4 -s 192.168.1.0/24 -n", "-f ipv4 -s 192.168.2.0/24 -n"]),
    ("the WAN's own again", snat(OTHER), {}, [words + WAN for words in BOTH]),
    ("1:1", {}, {"nat": [STATIC, {"name": "rest"}]},
     ["-f ipv4 -d 203.0.113.77/32 -r 192.168.1.20 -g",
      "-f ipv4 -s 192.168.1.0/24 -d 203.0.113.77/32 -r 192.168.1.20 -g -n",
      "-f ipv4 -s 192.168.1.20/32 -q 203.0.113.77",
      "-f ipv4 -s 192.168.2.0/24 -d 203.0.113.77/32 -r 192.168.1.20 -g -n"]),
    ("a way between LANs", {}, REACH, ["-f ipv4 -s 192.168.1.0/24 -d 192.168.2.0/24"]),
    ("a way less", REACH, {}, []),
    ("mail", NO_MAIL, {}, [
        "-f ipv4 -p tcp -s 192.168.1.0/24 --orig-port-dst 25 -q 203.0.113.2",
        "-f ipv4 -p tcp -s 192.168.2.0/24 --orig-port-dst 25 -q 203.0.113.2",
    ]),
    ("no mail", {}, NO_MAIL, []),
    ("a LAN", {"lans": [OFFICE]}, {}, ["-f ipv4 -s 192.168.2.0/24 -d 192.168.2.0/24", BOTH[1] + WAN]),
    ("a wider network", {}, {"lans": [dict(OFFICE, networks=["192.168.0.0/23"]), GUESTS]},
     ["-f ipv4 -s 192.168.0.0/24 -d 192.168.1.0/24", "-f ipv4 -s 192.168.0.0/24 -q 203.0.113.2"]),
    ("a LAN less", {}, {"lans": [OFFICE]}, []),
    ("exempt", {}, {"nat": [{"name": "x", "action": "exempt", "destination": ["10.0.0.0/8"]}, {"name": "rest"}]},
     ["-f ipv4 -s 192.168.1.0/24 -d 10.0.0.0/8", "-f ipv4 -s 192.168.2.0/24 -d 10.0.0.0/8"]),
    ("protection less", SHUT, {}, to_here("tcp", 80) + to_here("udp", 5000)),
    ("an open port", SHUT, ALLOW, to_here("tcp", 80)),
    ("protection", {}, SHUT, []),
    ("an undeclared link, left alone", {}, {"undeclared": "leave"}, [
        "-f ipv4 -s 10.9.9.0/24 -d 192.168.1.0/24", "-f ipv4 -s 10.9.9.0/24 -d 192.168.2.0/24",
        "-f ipv4 -s 192.168.1.0/24 -d 10.9.9.0/24", "-f ipv4 -s 192.168.2.0/24 -d 10.9.9.0/24",
    ]),
    ("an undeclared link, closed", {"undeclared": "leave"}, {}, []),
    ("what carries a WAN", {"wans": WANS}, {"wans": [CARRIED, WANS[1]]},
     ["-f ipv4 -s 172.31.0.10/32", "-f ipv6 -s 2001:db8:77::7/128"]),
    ("what carries a WAN no longer", {"wans": [CARRIED, WANS[1]]}, {"wans": WANS}, []),
    ("the first run", None, {}, [words + WAN for words in BOTH]),
]  # fmt: skip


@pytest.mark.parametrize(("before", "with_it", "wanted"), [case[1:] for case in CASES], ids=[c[0] for c in CASES])
def test_groups(before, with_it, wanted):
    found = groups(rules(with_it), rules(before), LISTENING)
    assert (sorted(found.words), found.left) == (sorted(wanted), 0)


def test_what_has_no_room_is_counted():
    many = [dict(forward(str(1000 + n))["port_forwards"][0], name="f{0}".format(n)) for n in range(_groups.MOST + 7)]
    found = groups(rules({"port_forwards": many}), rules({}))
    assert (len(found.words), found.left) == (_groups.MOST, 7)


def test_pairs_of_many_networks_are_not_all_judged(monkeypatch):
    """A million of 1,000 networks took half a minute. Every rule is asked about some of its packets."""
    judged = []
    group = _groups._group
    monkeypatch.setattr(_groups, "_group", lambda about, *rest: judged.append(about) or group(about, *rest))
    nets = ["10.{0}.{1}.0/24".format(n // 100, n % 100 * 2) for n in range(1000)]
    lans = [dict(OFFICE, networks=["192.168.1.0/24", *nets])]
    found = groups(rules(dict(forward(), lans=lans)), rules(None))
    assert found.left > 0
    assert len(judged) <= _groups.MOST_ASKED
    assert {"dstnat", "srcnat"} <= {about.chain for about in judged}
    assert any("-r 192.168.1.20" in words for words in found.words)


def test_a_long_list_is_one_group():
    lots = ["8.{0}.{1}.0/24".format(n // 250, n % 250) for n in range(0, 1000, 2)]
    (words,) = groups(rules(forward(source=lots)), rules({})).words
    assert words == "-f ipv4 -p tcp -r 192.168.1.20 --reply-port-src 443 -g"
    # Of which one is new.
    more = forward(source=[*lots, "9.0.0.0/8"])
    assert groups(rules(more), rules(forward(source=lots))).words == (
        "-f ipv4 -p tcp -s 9.0.0.0/8 --orig-port-dst 443 -r 192.168.1.20 --reply-port-src 443 -g",
    )


def test_what_cannot_be_seen_is_no_group():
    """A match that a later release adds: perhaps the rules of then let it through, too."""
    known = rules(NO_MAIL)
    odd = tuple(
        replace(rule, match=replace(rule.match, tcp_syn=True)) if rule.key == "outbound/mail" else rule
        for rule in known.ruleset.rules
    )
    assert groups(rules({}), replace(known, ruleset=replace(known.ruleset, rules=odd))).words == ()
