# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Connections that began under other rules: right ones stay, wrong ones are deleted, others are ignored."""

from __future__ import annotations

import functools
import json
from dataclasses import replace

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._facts.links import Facts
from ansible_collections.ipmasq.linux.plugins.module_utils._flows.flow import End, Flow, entry_of
from ansible_collections.ipmasq.linux.plugins.module_utils._flows.judge import Rules
from ansible_collections.ipmasq.linux.plugins.module_utils._flows.judges import Far, Judges
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.read import gateway_from_params
from ansible_collections.ipmasq.linux.plugins.module_utils._resolve.resolve import resolve
from ansible_collections.ipmasq.linux.plugins.module_utils._resolve.resolved import Resolved, ResolvedWan
from ansible_collections.ipmasq.linux.plugins.module_utils._rules.compile import compile_gateway
from ansible_collections.ipmasq.linux.plugins.module_utils._rules.model import RuleSet
from ansible_collections.ipmasq.linux.tests.unit.params import gateway_params

WAN, WAN2, PC, FAR, SERVER = "203.0.113.2", "203.0.113.9", "192.168.1.10", "198.51.100.1", "192.168.1.20"
LOCAL = (WAN, WAN2, "192.168.1.1", "192.168.2.1", "2001:db8:ff::2")
OFFICE = {"name": "office", "interfaces": ["lan0"], "networks": ["192.168.1.0/24", "fd00:1::/64"]}
GUESTS = {"name": "guests", "interfaces": ["guest*"], "networks": ["192.168.2.0/24"]}

LINKS = (("172.17.0.0/16", "docker0"), ("203.0.113.0/24", "wan0"), ("192.168.1.0/24", "lan0"))


def out(source=PC, to=FAR, seen=WAN, protocol="tcp", port=443, seen_port=40000):
    """A flow from inside, and its translated source."""
    return Flow(protocol, End(source, to, 40000, port), End(to, seen, port, seen_port))


def back(asked=WAN, port=443, server=SERVER, server_port=8443, source=FAR, seen=None):
    """A flow from outside to a server inside."""
    return Flow("tcp", End(source, asked, 50000, port), End(server, seen or source, server_port, 50000))


@functools.lru_cache(maxsize=None)
def _rules(params):
    known = dict(
        {"wans": [{"interface": "wan0"}, {"interface": "ppp*"}], "lans": [OFFICE, GUESTS]}, **json.loads(params)
    )
    gateway = resolve(gateway_from_params(gateway_params(**known)), Facts((), ())).gateway
    return Rules(compile_gateway(gateway), gateway, frozenset(LOCAL), LINKS)


def rules(params):
    """Of options; None: of a host that has no rules."""
    if params is None:
        return Rules(RuleSet("", (), ()), Resolved(wans=(ResolvedWan("wan0"),), lans=()), frozenset(LOCAL), LINKS)
    return _rules(json.dumps(params))


def is_wrong(flow, before, after):
    return Judges([rules(before)], rules(after)).wrong(entry_of(flow), flow.helper)


def nat(action="masquerade", **more):
    return {
        "nat": [dict({"name": "x", "action": action, "to_address": "routed" if action == "snat" else None}, **more)]
    }


WEB = {"port_forwards": [{"name": "web", "port": ["443"], "to": [SERVER], "to_port": 8443}]}
OTHER_PORT = {"port_forwards": [dict(WEB["port_forwards"][0], to_port=80)]}
OTHER_SERVER = {"port_forwards": [dict(WEB["port_forwards"][0], to=["192.168.1.21"])]}
AROUND = {"port_forwards": [dict(WEB["port_forwards"][0], hairpin=True)]}
MAPPED = {"source": ["192.168.1.0/27"], "to": ["203.0.113.32/27"]}
NO_MAIL = {"outbound": [{"name": "x", "protocol": ["tcp"], "port": ["25"], "action": "reject"}]}


FTP = {"helpers": [{"name": "ftp"}]}


def six(source):
    return Flow("tcp", End(source, "2a00::1", 1, 2), End("2a00::1", source, 2, 1))


EXEMPT = nat("exempt", destination=["10.0.0.0/8"])
IPSEC = {"nat": [{"name": "vpn", "action": "exempt", "ipsec": True}, {"name": "rest"}]}
LEASED = nat("snat", to=[WAN2])
POOL = nat("snat", to=["203.0.113.16-203.0.113.19"])
HIGH = nat(to_port="1024-65535")
STATIC = nat("static", **MAPPED)
REACH = {"lans": [dict(OFFICE, reaches=["guests"]), GUESTS]}
ALONE = {"lans": [OFFICE]}
SHUT = {"input": "protect", "input_controller_ports": [22]}
ONE_OPEN = dict(SHUT, input_allow=[{"name": "x", "protocol": ["tcp"], "port": ["80"]}])


def here(port, source=FAR, to=WAN):
    return back(asked=to, port=port, server=to, server_port=port, source=source)


CONTAINER = "172.17.0.2"
#: What carries ppp*: masqueraded by somebody else, and routed as it is.
CARRIERS = "172.31.0.10", "2001:db8:77::7"
BOTH_WANS = [{"interface": "wan0"}, {"interface": "ppp*"}]
CARRIED = {"wans": [BOTH_WANS[0], dict(BOTH_WANS[1], carried_from=[CARRIERS[0] + "/32", CARRIERS[1] + "/128"])]}

#: what it is, the flow, options before and after a change, whether the flow has become wrong
TEST_FLOWS = [
    ("masqueraded, as it should be", out(), {}, WEB, False),
    ("began before there was any NAT", out(seen=PC), None, {}, True),
    ("began before there was any NAT, to a network of another link", out(to=CONTAINER, seen=PC), None, {}, False),
    ("masqueraded by somebody else before there were rules", out(), None, LEASED, False),
    ("masqueraded to an address that no rule explains", out(seen="203.0.113.77"), {}, WEB, False),
    ("exempt, as it should be", out(to="10.0.0.1", seen=PC), EXEMPT, dict(EXEMPT, **WEB), False),
    ("exempt now, translated before", out(to="10.0.0.1"), {}, EXEMPT, True),
    ("translated now, exempt before", out(to="10.0.0.1", seen=PC), EXEMPT, {}, True),
    ("perhaps by IPsec, as before", out(to="10.20.0.5", seen=PC), IPSEC, dict(IPSEC, **WEB), False),
    ("perhaps by IPsec now", out(to="10.20.0.5", seen=PC), EXEMPT, IPSEC, False),
    ("perhaps by IPsec before", out(to="10.20.0.5", seen=PC), IPSEC, {}, False),
    ("snat, as it should be", out(seen=WAN2), LEASED, dict(LEASED, **WEB), False),
    ("snat now, masqueraded before", out(), {}, LEASED, True),
    ("masqueraded now, to any address of the host", out(seen=WAN2), LEASED, {}, False),
    ("in the pool", out(seen="203.0.113.17"), POOL, dict(POOL, **WEB), False),
    ("no longer in the pool", out(seen="203.0.113.17"), POOL, LEASED, True),
    ("never in the pool", out(seen="203.0.113.20"), POOL, LEASED, False),
    ("port in the range", out(seen_port=2000), {}, HIGH, False),
    ("port outside the range", out(seen_port=80), {}, HIGH, True),
    ("1:1, as it should be", out(seen="203.0.113.42"), STATIC, dict(STATIC, **WEB), False),
    ("1:1 to another", out(seen="203.0.113.43"), STATIC, {}, False),
    ("1:1 no longer", out(seen="203.0.113.42"), STATIC, {}, True),
    ("one of two that are mapped is another's", out(seen="203.0.113.43"), {}, STATIC, False),
    ("forwarded, as it should be", back(), WEB, AROUND, False),
    ("forwarded no longer", back(), WEB, {}, True),
    ("forwarded by somebody else", back(server=CONTAINER, server_port=80, source=PC), {}, WEB, False),
    ("forwarded by somebody else to a LAN", back(server_port=80), {}, WEB, False),
    ("forwarded to another port now", back(), WEB, OTHER_PORT, True),
    ("forwarded to another server now", back(), WEB, OTHER_SERVER, True),
    ("addressed to the gateway itself", back(server=WAN, server_port=443), WEB, {}, False),
    ("to the gateway, which is protected now", here(80), {}, SHUT, True),
    ("to the gateway, which has let it in only before", here(80), ONE_OPEN, SHUT, True),
    ("to the gateway, which still lets it in", here(80), {}, ONE_OPEN, False),
    ("to the gateway, by SSH", here(22), {}, SHUT, False),
    ("to the gateway, which was protected before", here(80), SHUT, WEB, False),
    ("to the gateway, from a LAN", here(80, source=PC, to="192.168.1.1"), {}, SHUT, False),
    ("to the gateway, from a container", here(80, source=CONTAINER), {}, SHUT, False),
    ("to the gateway, redirected by somebody else", back(server=WAN, server_port=80), {}, SHUT, False),
    ("to the gateway, before there were rules", here(80), None, SHUT, True),
    ("hairpin, as the address outside", back(source=PC, seen=WAN), AROUND, dict(AROUND, **NO_MAIL), False),
    ("hairpin, as the gateway", back(source=PC, seen="192.168.1.1"), AROUND, dict(AROUND, **NO_MAIL), False),
    ("hairpin, untranslated", back(source=PC), AROUND, {}, False),
    ("hairpin no longer", back(source=PC, seen=WAN), AROUND, WEB, True),
    ("between LANs that do not reach each other", out(to="192.168.2.7", seen=PC), REACH, {}, True),
    ("between LANs that do", out(to="192.168.2.7", seen=PC), REACH, dict(REACH, **WEB), False),
    ("between LANs before there were rules", out(to="192.168.2.7", seen=PC), None, {}, True),
    ("what may no longer go out", out(port=25), {}, NO_MAIL, True),
    ("what may still go out", out(), {}, NO_MAIL, False),
    ("to a container, what may no longer go out", out(to=CONTAINER, seen=PC, port=25), {}, NO_MAIL, False),
    ("without the helper that it should have", out(port=21), {}, FTP, True),
    ("with the helper that it should have", replace(out(port=21), helper="ftp"), FTP, dict(FTP, **WEB), False),
    ("with a helper that is gone", replace(out(port=21), helper="ftp"), FTP, {}, True),
    ("with a helper that somebody else has given", replace(out(port=21), helper="ftp"), {}, WEB, False),
    ("of the gateway itself", out(source=WAN, seen=WAN), None, {}, False),
    ("of a container", out(source=CONTAINER, seen=CONTAINER), None, {}, False),
    ("of a container, masqueraded", out(source=CONTAINER), {}, LEASED, False),
    ("a guest, by a pattern", out(source="192.168.2.7"), {}, WEB, False),
    ("of a LAN that is gone", out(source="192.168.2.7"), {}, ALONE, True),
    ("of a LAN that is still there", out(), {}, ALONE, False),
    ("carries a WAN, masqueraded", out(source=CARRIERS[0]), CARRIED, dict(CARRIED, **WEB), False),
    ("carries a WAN, masqueraded, and was not to before", out(source=CARRIERS[0]), {}, CARRIED, False),
    ("carries a WAN no longer, masqueraded", out(source=CARRIERS[0]), CARRIED, {}, True),
    ("carries a WAN, routed", six(CARRIERS[1]), CARRIED, dict(CARRIED, **WEB), False),
    ("carries a WAN no longer, routed", six(CARRIERS[1]), CARRIED, {}, True),
    ("does not carry a WAN that another host carries", out(source="172.31.0.11"), CARRIED, {}, False),
    ("carries a WAN no longer, to a LAN by somebody's translation", back(source=CARRIERS[0]), CARRIED, {}, False),
    ("global IPv6, routed", six("2001:db8:1::9"), {}, WEB, False),
    ("unique local IPv6, untranslated", six("fd00:1::9"), None, {}, True),
]  # fmt: skip


@pytest.mark.parametrize(
    ("flow", "before", "after", "wanted"), [case[1:] for case in TEST_FLOWS], ids=[c[0] for c in TEST_FLOWS]
)
def test_flow(flow, before, after, wanted):
    assert is_wrong(flow, before, after) is wanted


def test_alike_are_judged_alike():
    """The judge remembers classes: its verdict does not depend on the flows that it has seen before."""
    for before, after in ((None, {}), ({}, LEASED), (STATIC, HIGH), (WEB, NO_MAIL), (AROUND, WEB), (REACH, ALONE)):
        judges = Judges([rules(before)], rules(after))
        for _name, flow, *_rest in TEST_FLOWS * 2:
            assert judges.wrong(entry_of(flow), flow.helper) is is_wrong(flow, before, after)


def test_what_cannot_be_seen_speaks_against_forgetting():
    """A match from a later release explains nothing in old rules, and everything in new ones."""
    known = rules(NO_MAIL)
    odd = [
        replace(rule, match=replace(rule.match, tcp_syn=True)) if rule.key == "outbound/x" else rule
        for rule in known.ruleset.rules
    ]
    doubtful = replace(known, ruleset=replace(known.ruleset, rules=tuple(odd)))
    mail = entry_of(out(port=25))
    assert Judges([rules({})], known).wrong(mail)
    assert not Judges([rules({})], doubtful).wrong(mail)
    assert not Judges([doubtful], rules(LEASED)).wrong(mail)
    assert Judges([doubtful], rules(LEASED)).wrong(entry_of(out()))


def test_marks_are_those_that_the_rules_give():
    """Undeclared links: what another instance may have let through cannot be seen, and one that is alone has none."""
    links = (*LINKS, ("10.9.9.0/24", "mgmt0"))
    open_, closed = (replace(rules({"undeclared": word}), links=links) for word in ("leave", "drop"))
    crossing = entry_of(out(to="10.9.9.10", seen=PC))
    assert Judges([open_], closed).wrong(crossing)
    assert not Judges([open_], replace(closed, alone=False)).wrong(crossing)
    assert not Judges([open_], closed).wrong(entry_of(out()))
    from_outside = entry_of(back(asked="10.9.9.10", server="10.9.9.10", server_port=443))
    assert Judges([open_], closed).wrong(from_outside)
    assert not Judges([closed], open_).wrong(from_outside)
    to_the_gateway = entry_of(here(80, source="10.9.9.10"))
    assert Judges([open_], replace(rules(SHUT), links=links)).wrong(to_the_gateway)
    assert not Judges([open_], replace(closed, alone=False)).wrong(to_the_gateway)


def test_many_rules():
    many = [{"name": "f{0}".format(n), "port": [str(1000 + n)], "to": [SERVER], "to_port": 9} for n in range(200)]
    judges = Judges([rules({"port_forwards": many})], rules({"port_forwards": many[1:]}))
    assert judges.wrong(entry_of(back(port=1000, server_port=9)))
    assert not judges.wrong(entry_of(back(port=1001, server_port=9)))


def test_the_far_end_is_on_no_known_link():
    judges = Judges([rules({})], rules({}))
    assert judges.far_end(entry_of(out())) == Far(FAR, PC, "lan0")
    assert judges.far_end(entry_of(out(to="172.17.0.2"))) is None
    assert judges.is_wan("ppp3") and not judges.is_wan("lan0")
    assert Judges([rules(CARRIED)], rules({})).far_end(entry_of(out(source=CARRIERS[0]))) is None
