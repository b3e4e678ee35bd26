# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The closed loop asks the real dnsmasq what clients of each LAN ask; it is red for each service that is not right."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import threading

import pytest
from helpers import GUESTS, OFFICE
from sandbox import sh
from test_lan_services import bare, leased, provider, serve, served
from test_proof import traces
from topology import Sniffer
from unhurried import wait_until

from ansible_collections.ipmasq.linux.plugins.module_utils._change.probe import gateway_probe
from ansible_collections.ipmasq.linux.plugins.module_utils._proof import asking, prove as proving, serving

ON_NFT = pytest.mark.parametrize("backend", ["nft"])
NAS = {"mac": "52:54:00:00:00:09", "address": "192.168.1.20", "name": "nas"}
SERVED = dict(OFFICE, dhcp={"range": "192.168.1.100-192.168.1.120", "reserve": [NAS]})
MANAGED = dict(GUESTS, ra="managed", dns=False)
LANS = [SERVED, MANAGED]
CONF = "/run/ipmasq-services/default.conf"


@pytest.fixture
def gate(backend, tmp_path, dnsmasq, monkeypatch):
    with served(backend, tmp_path, dnsmasq, monkeypatch) as made:
        yield made


@pytest.fixture(autouse=True)
def only_services(monkeypatch):
    """Packets through the gateway have tests of their own."""
    alive = proving.promises

    def chosen(oracle, services):
        found, notes = alive(oracle, services)
        return [each for each in found if each.kind in (serving.KIND, proving.ALIVE)], notes

    monkeypatch.setattr(proving, "promises", chosen)


def outcomes(gate):
    values = gateway_probe("default", gate.host)
    return {each["name"]: each for each in values["results"]}


def broken(gate):
    """Promise to what was seen, whose fault it is, and the cause."""
    found = outcomes(gate).values()
    return {each["name"]: (each["reason"], each["by"], each["cause"]) for each in found if each["outcome"] == "broken"}


def left():
    """What a proof adds to a host, without the questions of dnsmasq to its servers."""
    return [line for line in traces().splitlines() if "dst=203.0.113.1 " not in line]


def restart(gate, *changes):
    """dnsmasq with another configuration, as somebody at the console would do it."""
    text = gate.host.read(CONF)
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    gate.host.put(CONF, text)
    sh("systemctl restart ipmasq-services@default.service")


def test_sound_services_hold_and_no_lease_is_taken(gate, net, dnsmasq):
    serve(gate, lans=LANS, dns_domain="office.example")
    before = left()
    with (
        Sniffer(net, "office") as office,
        Sniffer(net, "wan") as wan,
        provider(net, dnsmasq, (serving.NOWHERE, "9.9.9.9")),
    ):
        found = outcomes(gate)
        heard = [*office.packets(), *wan.packets()]
    assert [each for each in found.values() if each["outcome"] != "holds"] == []
    assert sorted(found) == [
        "guests gets IPv6 addresses (DHCPv6)",
        "guests gets no addresses (DHCP)",
        "guests gets no answers about names (DNS, IPv4)",
        "guests gets no answers about names (DNS, IPv6)",
        "guests learns its IPv6 networks (router advertisements)",
        "office gets addresses (DHCP)",
        "office gets answers about names (DNS, IPv4)",
        "office gets answers about names (DNS, IPv6)",
        "office gets answers from upstream (DNS, IPv4)",
        "office gives 52:54:00:00:00:09 its address 192.168.1.20 (DHCP)",
        "office knows the name nas.office.example (DNS, IPv4)",
        "office learns its IPv6 networks (router advertisements)",
        "wan0 gets no addresses (DHCP)",
        "wan0 gets no answers about names at an address of lan0 (DNS, IPv4)",
        "wan0 gets no answers about names at an address of lan0 (DNS, IPv6)",
        "wan0 gets no answers about names at an address of wan0 (DNS, IPv4)",
        "wan0 gets no answers about names at an address of wan0 (DNS, IPv6)",
        "wan0 learns no IPv6 networks (router advertisements)",
    ]
    assert not [data for data in heard if bytes.fromhex("0269706d") in data or b"\x63\x82\x53\x63" in data]
    leases = gate.host.read("/var/lib/ipmasq/default.leases") or ""
    assert "192.168.1." not in leases and "fd00:" not in leases
    assert left() == before


SOUND = {
    "options by number": {"03": "192.168.1.9", "06": "192.168.1.8"},
    "options without a value": {"router": "", "domain-name": "", "ntp-server": None},
}


@ON_NFT
@pytest.mark.parametrize("options", SOUND.values(), ids=SOUND)
def test_whatever_options_replace_is_no_fault(gate, net, options):
    named = dict(NAS, name=serving.NOBODY)
    upstream = {} if "06" in options else {"dns_upstream": ["203.0.113.1"]}
    serve(gate, lans=[dict(OFFICE, dhcp={"options": options, "reserve": [named]})], **{"dns_upstream": [], **upstream})
    assert broken(gate) == {}


@ON_NFT
def test_an_old_ipv6_network_is_not_missed(gate, net):
    """As networkd and dhcpcd leave it for hours, once the provider has given another one."""
    sh("ip addr add fd00:7::1/64 dev lan0 nodad preferred_lft 0 valid_lft forever")
    networks = ["192.168.1.0/24", "fd00:1::/64", "fd00:7::/64"]
    serve(gate, lans=[dict(OFFICE, networks=networks, dhcp=True)])
    told = "office learns its IPv6 networks (router advertisements)"
    assert outcomes(gate)[told]["outcome"] == "holds"
    # Neither is one that is old already when it comes; but a sound one that dnsmasq does not announce is.
    sh("ip addr add fd00:8::1/64 dev lan0 nodad preferred_lft 0 valid_lft 1000")
    assert broken(gate) == {}
    restart(gate, ("constructor:lan0,ra-stateless", "constructor:lan9,ra-stateless"))
    assert told in broken(gate)


@ON_NFT
def test_a_range_that_is_used_up_is_no_fault(gate, net, programs, tmp_path):
    serve(gate, lans=[dict(OFFICE, dhcp={"range": "192.168.1.100"})])
    bare(net, "office")
    assert leased(net, "office", programs, tmp_path)["ip"] == "192.168.1.100"
    found = outcomes(gate)["office gets addresses (DHCP)"]
    assert (found["outcome"], found["reason"]) == ("unmeasurable", "every address of its range is leased or reserved")


@ON_NFT
def test_a_link_without_a_range_is_not_served(gate, net):
    sh("ip addr flush dev guest0; ip addr add 192.168.3.1/24 dev guest0")
    both = {"name": "office", "interfaces": ["lan0", "guest0"], "networks": ["192.168.1.0/24", "192.168.3.0/24"]}
    serve(gate, lans=[dict(both, dhcp={"range": "192.168.1.100-192.168.1.120", "reserve": [NAS]})])
    found = outcomes(gate)
    there = found["office (guest0) gets addresses (DHCP)"]
    assert (there["outcome"], there["reason"]) == ("unmeasurable", "no range of its DHCP is in a network of guest0")
    assert [each["outcome"] for each in found.values() if NAS["mac"] in each["name"]] == ["holds"]
    assert broken(gate) == {}


@ON_NFT
def test_an_address_is_tried_before_it_is_offered(gate, net):
    """As on every host: dnsmasq pings it for three seconds. The upstream servers are dead."""
    gate.host.put("/ping", "")
    serve(gate, lans=LANS)
    found = outcomes(gate)
    assert {each["name"]: each["reason"] for each in found.values() if each["outcome"] != "holds"} == {
        "office gets answers from upstream (DNS, IPv4)": "the upstream DNS servers do not answer"
    }


@pytest.fixture
def impatient(monkeypatch):
    """Where silence is expected, and nothing is tried with pings."""
    monkeypatch.setattr(asking, "PATIENCE", 0.6)
    monkeypatch.setattr(asking, "EACH", 0.0)


@ON_NFT
@pytest.mark.usefixtures("impatient")
def test_a_stopped_server_is_named(gate, net):
    serve(gate, lans=LANS)
    os.kill(gate.host.server, signal.SIGKILL)
    wait_until(lambda: not os.path.exists("/proc/{0}".format(gate.host.server)), "dnsmasq is gone")
    found = broken(gate)
    assert set(found) == {
        "guests gets IPv6 addresses (DHCPv6)",
        "guests learns its IPv6 networks (router advertisements)",
        "office gets addresses (DHCP)",
        "office gets answers about names (DNS, IPv4)",
        "office gets answers about names (DNS, IPv6)",
        "office gives 52:54:00:00:00:09 its address 192.168.1.20 (DHCP)",
        "office learns its IPv6 networks (router advertisements)",
        "office knows the name nas.home.arpa (DNS, IPv4)",
    }
    for reason, by, cause in found.values():
        assert reason.startswith(("nobody answers on lan0", "nobody answers on guest0"))
        assert by == "gateway" and cause.startswith("dnsmasq for LANs does not run; the host differs from what")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder:
        holder.bind(("192.168.1.1", 53))
        _reason, by, cause = broken(gate)["office knows the name nas.home.arpa (DNS, IPv4)"]
    assert by == "other"
    assert cause.startswith("dnsmasq for LANs does not run; port 53 of 192.168.1.1 is held by ")
    assert "(PID {0})".format(os.getpid()) in cause


@ON_NFT
def test_wrong_answers_are_told(gate, net):
    serve(gate, lans=LANS)
    restart(
        gate, ("192.168.1.100,192.168.1.120", "192.168.1.60,192.168.1.61"), ("192.168.1.20", "192.168.1.22"),
        ("domain=home.arpa\n", "domain=evil.example\ndhcp-option=option:router,192.168.1.9\n"),
        ("ra-stateless", "ra-only"),
    )  # fmt: skip
    found = broken(gate)
    reason, by, cause = found["office gets addresses (DHCP)"]
    for each in (
        r"address 192\.168\.1\.6[01]; declared: 192\.168\.1\.100/", r"router 192\.168\.1\.9; declared: 192\.168\.1\.1;",
        r"domain evil\.example; declared: home\.arpa",
    ):  # fmt: skip
        assert re.search("the answer has " + each, reason + ";"), reason
    assert by == "gateway" and CONF in cause
    other = "address 192.168.1.22; declared: 192.168.1.20"
    told = {
        "office gives 52:54:00:00:00:09 its address 192.168.1.20 (DHCP)": other,
        "office knows the name nas.home.arpa (DNS, IPv4)": other,
        "office learns its IPv6 networks (router advertisements)": "flags autonomous; declared: other and autonomous",
    }
    assert {name: each for name, each in told.items() if each in found[name][0]} == told


@ON_NFT
@pytest.mark.usefixtures("impatient")
def test_a_rule_of_somebody_else_is_named(gate, net):
    serve(gate, lans=LANS)
    sh("nft 'table inet foe { chain c { type filter hook input priority 5; udp dport { 53, 67 } drop; }; }'")
    found = broken(gate)
    assert {each[1] for each in found.values()} == {"other"}
    told = "dropped by chain c of table inet foe (rule: udp dport { 53, 67 } drop)"
    assert found["office gets addresses (DHCP)"] == ("nobody answers on lan0", "other", told)
    assert found["office gets answers about names (DNS, IPv6)"][2] == told


@ON_NFT
def test_who_serves_where_nobody_should_is_told(gate, net, dnsmasq):
    """What is ours is broken; what is somebody else's is left alone."""
    serve(gate, lans=LANS)
    sh("nft delete table inet ipmasq")
    restart(
        gate,
        ("interface=lan0\n", "interface=lan0\ninterface=wan0\ndhcp-range=tag:wan0,set:x,203.0.113.9,203.0.113.19\n"),
    )
    found = broken(gate)
    reason, by, cause = found["wan0 gets no addresses (DHCP)"]
    assert reason == "this was answered on wan0, which must not happen"
    assert by == "gateway" and cause.startswith("dnsmasq for LANs serves it; the host differs from what was applied")
    assert found["wan0 gets no answers about names at an address of wan0 (DNS, IPv4)"][1] == "gateway"
    assert found["guests gets no answers about names (DNS, IPv4)"][1] == "gateway"


def refuse(server, done):
    """Every question."""
    while not done.is_set():
        with contextlib.suppress(TimeoutError):
            data, peer = server.recvfrom(999)
            server.sendto(data[:2] + b"\x80\x05" + data[4:], peer)


@ON_NFT
def test_a_server_of_the_users_own_is_left_alone(gate, net):
    serve(gate, lans=[dict(OFFICE, dns=True), GUESTS])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        own.bind(("203.0.113.2", 53))
        own.settimeout(0.1)
        done = threading.Event()
        answering = threading.Thread(target=refuse, args=(own, done))
        answering.start()
        try:
            found = outcomes(gate)
        finally:
            done.set()
            answering.join()
    assert [each for each in found.values() if each["outcome"] == "broken"] == []
    each = found["wan0 gets no answers about names at an address of wan0 (DNS, IPv4)"]
    assert (each["outcome"], each["reason"]) == (
        "unmeasurable", "others answer on wan0, which this gateway leaves alone",
    )  # fmt: skip
