# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Any input is refused in a sentence, or it renders, is stable, and keeps the guarantees."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import replace

import pytest

hypothesis = pytest.importorskip("hypothesis", reason="this Python has no hypothesis")

from hypothesis import example, given, strategies as st

from ansible_collections.ipmasq.linux.plugins.module_utils._backend.iptables.backend import Iptables
from ansible_collections.ipmasq.linux.plugins.module_utils._backend.iptables.names import CHAIN_LENGTH
from ansible_collections.ipmasq.linux.plugins.module_utils._backend.nftables.backend import Nftables
from ansible_collections.ipmasq.linux.plugins.module_utils._backend.steps import load
from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError
from ansible_collections.ipmasq.linux.plugins.module_utils._base.values import networks_of
from ansible_collections.ipmasq.linux.plugins.module_utils._facts.links import Facts
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.forwarding import forwarding_from_params
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.items import (
    forward_from_params,
    masquerade_from_params,
)
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.read import gateway_from_params
from ansible_collections.ipmasq.linux.plugins.module_utils._resolve.inside import nat_networks, sources_of
from ansible_collections.ipmasq.linux.plugins.module_utils._resolve.resolve import resolve
from ansible_collections.ipmasq.linux.plugins.module_utils._resolve.resolved import describe_gateway
from ansible_collections.ipmasq.linux.plugins.module_utils._rules.compile import compile_gateway
from ansible_collections.ipmasq.linux.plugins.module_utils._rules.rows import Plan
from ansible_collections.ipmasq.linux.tests.unit import fakes, params, strategies
from ansible_collections.ipmasq.linux.tests.unit.packet import GATEWAY_ADDRESS, Packet, trace, without

HOST = Facts((), ())
BACKENDS = {
    "nft": (Nftables(), fakes.NFT),
    "iptables-nft": (Iptables("nft", ("ip", "ip6")), fakes.IPTABLES_NFT),
    "iptables-legacy, IPv4": (Iptables("legacy", ("ip",)), fakes.IPTABLES_LEGACY),
}
SETTINGS = strategies.drawn(30)


def resolved(options):
    return resolve(gateway_from_params(options), HOST).gateway


@pytest.mark.parametrize("name", BACKENDS)
@given(options=strategies.gateways(), then=strategies.gateways())
@SETTINGS
def test_fixpoint(name, options, then):
    """render, load, list, parse: the same rows, whatever was there before; and the second plan is empty."""
    backend, programs = BACKENDS[name]
    host = fakes.FakeHost(programs)
    instance = options["instance"]
    for each in (dict(then, instance=instance), options):
        desired = backend.render(compile_gateway(resolved(each)))
        live = backend.parse(backend.read(host, instance), instance)
        load(backend.steps(desired, live, instance), host)
        live = backend.parse(backend.read(host, instance), instance)
        assert Plan(live, desired).differences(backend.show) == []
        assert not Plan(desired, desired).changed
    before = fakes.FakeHost(programs).snapshot()
    load(backend.steps((), live, instance), host)
    assert host.snapshot() == before


@given(options=strategies.gateways())
@SETTINGS
def test_boot_files_are_what_was_rendered(options):
    instance = options["instance"]
    for backend, programs in BACKENDS.values():
        desired = backend.render(compile_gateway(resolved(options)))
        host = fakes.FakeHost(programs)
        files = backend.boot(desired, "./" + instance, instance).files
        if ".nft" in files:
            assert host.nft.load(files[".nft"]) == ""
        for family, ending in (("ip", ".iptables"), ("ip6", ".ip6tables")):
            if ending in files:
                assert host.iptables[backend.variant, family].restore(files[ending], lambda _table: None) == ""
        assert not Plan(backend.parse(backend.read(host, instance), instance), desired).changed


@given(options=strategies.gateways())
@SETTINGS
def test_iptables_rows_fit_the_tool(options):
    for row in BACKENDS["iptables-nft"][0].render(compile_gateway(resolved(options))):
        family, table, chain = row.chain.split(" ")
        assert family in ("ip", "ip6")
        assert table in ("raw", "mangle", "filter", "nat")
        assert len(chain) <= CHAIN_LENGTH
        # The tool's own sign is "+"; the comment names the WAN as the user does.
        assert "*" not in row.text.replace("/{0} ".format(row.key), "/ ")
        # Networks of the other family appear nowhere.
        assert not re.search(r" -[sd] [0-9]+\." if family == "ip6" else r" -[sd] [0-9a-f]*:", " " + row.text)


def _address(draw, networks):
    network = ipaddress.ip_network(draw(st.sampled_from(networks)))
    last = min(network.num_addresses - 1, 2**20)
    return str(network[draw(st.integers(0, last))])


def _name(pattern):
    return pattern.replace("*", "7")


@st.composite
def situations(draw):
    """A gateway, and a packet between two of its interfaces or one of its and a stranger."""
    gateway = resolved(draw(strategies.gateways()))
    lan = draw(st.sampled_from(gateway.lans))
    source = _address(draw, lan.networks)
    wan = _name(draw(st.sampled_from(gateway.wans)).interface)
    state = draw(st.sampled_from(("new", "established", "related", "untracked", "invalid")))
    far = "2001:db8:f::9" if ":" in source else draw(st.sampled_from(("203.0.113.200", "10.9.0.1", "192.0.2.1")))
    protocol, port = draw(st.sampled_from((("", 0), ("tcp", 443), ("udp", 8005), ("icmp", 0), ("sctp", 1))))
    protocol = "icmpv6" if protocol == "icmp" and ":" in source else protocol
    packet = Packet(_name(draw(st.sampled_from(lan.interfaces))), wan, source, far, state)
    return gateway, lan, replace(packet, protocol=protocol, port=port, ipsec=draw(st.booleans()))


def exempted(gateway, packet):
    """Whether some exempt item names this packet, in words of the intent."""

    def covers(networks, address):
        return any(ipaddress.ip_address(address) in ipaddress.ip_network(net) for net in networks)

    return any(
        item.action == "exempt"
        and covers(sources_of(gateway, item), packet.source)
        and (not item.destination or covers(item.destination, packet.destination))
        and (not item.wan or _name(item.wan) == packet.oif)
        and (not item.protocol or packet.protocol.replace("v6", "") in item.protocol)
        and (not item.port or any(first <= packet.port <= last for first, last in item.port))
        and (not item.ipsec or packet.ipsec)
        for item in gateway.nat
    )


@given(situation=situations())
@SETTINGS
def test_never_un_natted(situation):
    gateway, lan, packet = situation
    guarded = any(ipaddress.ip_address(packet.source) in ipaddress.ip_network(n) for n in nat_networks(gateway, lan))
    ruleset = compile_gateway(gateway)
    for rules in (ruleset, without(ruleset, "srcnat"), without(without(ruleset, "forward"), "srcnat")):
        seen = trace(rules, packet)
        if guarded and not exempted(gateway, packet):
            assert seen.source_seen != packet.source
        known = [ipaddress.ip_network(net) for net in outside_of(gateway) + [packet.source]]
        assert not seen.source_seen or any(ipaddress.ip_address(seen.source_seen) in net for net in known)


def outside_of(gateway):
    """Every address that a source may become."""
    to = [
        net
        for item in gateway.nat
        for entry in item.to
        for net in (networks_of(entry) if "/" not in entry else [entry])
    ]
    return to + list(GATEWAY_ADDRESS.values())


@given(situation=situations())
@SETTINGS
def test_closed_from_outside(situation):
    gateway, _lan, packet = situation
    # Of no protocol, so that no port forward means it.
    back = Packet(packet.oif, packet.iif, packet.destination, packet.source, packet.ct_state)
    seen = trace(compile_gateway(gateway), back)
    checked = [net for each in gateway.lans if each.spoof_check for net in each.networks]
    spoofed = any(ipaddress.ip_address(back.source) in ipaddress.ip_network(net) for net in checked)
    wanted = "accept" if packet.ct_state in ("established", "related") and not spoofed else "drop"
    assert seen.verdict == wanted


@given(situation=situations(), other=st.integers(0, 3))
@SETTINGS
def test_lans_are_isolated(situation, other):
    gateway, lan, packet = situation
    target = gateway.lans[other % len(gateway.lans)]
    inside = Packet(packet.iif, _name(target.interfaces[0]), packet.source, packet.destination, "new")
    seen = trace(compile_gateway(gateway), inside)
    allowed = target.name == lan.name or target.name in lan.reaches
    assert seen.verdict == ("accept" if allowed else "reject")
    if allowed:
        assert seen.source_seen == packet.source, "between LANs nothing is translated"


@given(situation=situations(), spoofed=st.sampled_from(("8.8.8.8", "192.168.77.7", "fe80::1", "2001:db8:bad::1")))
@SETTINGS
def test_spoof_safe(situation, spoofed):
    gateway, lan, packet = situation
    hypothesis.assume(lan.spoof_check)
    destination = "2001:db8:f::9" if ":" in spoofed else "203.0.113.200"
    for outgoing in (packet.oif, "stranger0"):
        seen = trace(compile_gateway(gateway), Packet(packet.iif, outgoing, spoofed, destination, packet.ct_state))
        # A packet to a bogon is refused before its source is looked at.
        assert seen.verdict == "drop" or seen.keys[-1] == "bogons"


@given(situation=situations())
@SETTINGS
def test_others_are_left_alone(situation):
    gateway, _lan, packet = situation
    seen = trace(
        compile_gateway(gateway), Packet("docker0", "veth1", packet.source, packet.destination, packet.ct_state)
    )
    # It is asked whether it is one of ours, and that is all.
    assert (seen.verdict, [step for step in seen.path if step != "reaches reach"]) == ("accept", [])


@given(options=strategies.gateways())
@SETTINGS
def test_described_in_one_line_each(options):
    lines = describe_gateway(resolved(options))
    for word, declared in (
        ("wan", options["wans"]),
        ("mss on", options["wans"]),
        ("lan", options["lans"]),
        ("nat", options["nat"] or ["default"]),
        ("port_forward", options["port_forwards"] or []),
        ("outbound", options["outbound"] or []),
        ("ipv6:", ["ipv6"]),
    ):
        assert len([line for line in lines if line.startswith(word + " ")]) == len(declared)
    assert not [line for line in lines if "\n" in line]


# Garbage


def refused_or_valid(function, options):
    try:
        return function(options)
    except GatewayError as caught:
        problems = caught.problems
    assert problems
    assert all(problems)
    return None


UGLY = "lan0\n\x1b[31m\u202e"
IN_A_LAN = {"name": "a", "interfaces": ["lan0"], "networks": ["192.168.1.0/24"]}


@pytest.mark.parametrize(
    "given_options",
    [
        dict(lans=[dict(IN_A_LAN, name=UGLY)]),
        dict(lans=[dict(IN_A_LAN, reaches=[UGLY])]),
        dict(lans=[IN_A_LAN], nat=[{"name": UGLY}]),
        dict(lans=[IN_A_LAN], nat=[{"name": "x", "source": [UGLY]}]),
        dict(wans=[{"interface": "ppp0"}], nat=[{"name": "x", "wan": UGLY}]),
        dict(wans=[{"interface": UGLY}, {"interface": UGLY}]),
    ],
    ids=["lan", "reaches", "nat", "source", "wan", "wans"],
)
def test_a_problem_is_one_printable_line(given_options):
    with pytest.raises(GatewayError) as caught:
        gateway_from_params(params.gateway_params(**given_options))
    assert [problem for problem in caught.value.problems if not problem.isprintable()] == []


TEXT = strategies.garbage()


@given(name=TEXT, interface=TEXT, network=TEXT, reach=TEXT, source=TEXT, wan=TEXT, instance=TEXT)
@example(name="a", interface="lan0", network="fe80::1%eth0/128", reach="a", source="a", wan="a", instance="a")
@strategies.drawn(300)
def test_garbage_in_a_gateway(name, interface, network, reach, source, wan, instance):
    options = params.gateway_params(
        instance=instance,
        wans=[{"interface": wan}],
        lans=[
            {"name": name, "interfaces": [interface], "networks": [network], "reaches": [reach]},
            {"name": "b", "interfaces": ["lan9"], "networks": ["10.0.0.0/8"]},
        ],
        nat=[{"name": name, "source": [source], "destination": [network], "wan": wan}],
    )
    refused_or_valid(lambda values: resolve(gateway_from_params(values), HOST), options)


@given(name=TEXT, text=TEXT, interface=TEXT, instance=TEXT)
@strategies.drawn(300)
def test_garbage_one_option_at_a_time(name, text, interface, instance):
    """Everything else is right, so what gets through has to render and to be listed again."""
    good = {"name": "a", "interfaces": ["lan0"], "networks": ["192.168.1.0/24"]}
    wans = [{"interface": "ppp0"}]
    for given_options in (
        dict(wans=wans, lans=[dict(good, name=name)]),
        dict(wans=wans, lans=[dict(good, interfaces=[interface])]),
        dict(wans=wans, lans=[dict(good, networks=[text])]),
        dict(wans=[{"interface": interface}], lans=[good]),
        dict(wans=wans, lans=[good], instance=instance),
        dict(wans=wans, lans=[good], nat=[{"name": name}]),
        dict(wans=wans, lans=[good], nat=[{"name": "x", "source": [text]}]),
        dict(wans=wans, lans=[good], nat=[{"name": "x", "destination": [text]}]),
    ):
        gateway = refused_or_valid(resolved, params.gateway_params(**given_options))
        for backend, programs in BACKENDS.values() if gateway else ():
            host = fakes.FakeHost(programs)
            desired = backend.render(compile_gateway(gateway))
            load(backend.steps(desired, (), gateway.instance), host)
            live = backend.parse(backend.read(host, gateway.instance), gateway.instance)
            assert Plan(live, desired).differences(backend.show) == []


@given(
    name=TEXT,
    source=TEXT,
    destination=TEXT,
    interface=TEXT,
    instance=TEXT,
    state=st.sampled_from(("present", "absent")),
)
@strategies.drawn(300)
def test_garbage_in_items(name, source, destination, interface, instance, state):
    common = dict(name=name, instance=instance, state=state, source=[source], destination=[destination])
    options = params.masquerade_params(out_interface=interface, **common)
    refused_or_valid(masquerade_from_params, options)
    options = params.forward_params(out_interface=interface, in_interface=interface, **common)
    refused_or_valid(forward_from_params, options)
    options = params.forwarding_params(instance=instance, ipv4=True, interfaces=[interface])
    refused_or_valid(forwarding_from_params, options)
