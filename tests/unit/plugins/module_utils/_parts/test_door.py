# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The policy, and the calls of firewall-cmd. The scenario neighbour_firewalld shows that packets pass."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError
from ansible_collections.ipmasq.linux.plugins.module_utils._base.host import Done
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.services import Dhcp, LanServices
from ansible_collections.ipmasq.linux.plugins.module_utils._parts import door as firewalld
from ansible_collections.ipmasq.linux.plugins.module_utils._resolve.resolved import (
    Around,
    Resolved,
    ResolvedLan,
    ResolvedWan,
)
from ansible_collections.ipmasq.linux.tests.unit import fakes

#: As firewalld 1.3.3 (bookworm) and 2.3.0 (trixie) print them.
ZONES = "home\n  interfaces: lan0 tap+\n  sources: 10.9.0.0/16\npublic (default)\n  interfaces: wan0\n"
INFO = """\
ipmasq-default (active)
  priority: -100
  target: CONTINUE
  ingress-zones: public home
  egress-zones: public
  services:
  rich rules:
\trule family="ipv6" source address="fd00:1::/64" accept
\trule family="ipv4" source address="192.168.1.0/24" accept
"""
WANTED = firewalld.Policy(("home", "public"), ("public",), ("192.168.1.0/24", "fd00:1::/64"))


@pytest.fixture
def host():
    made = fakes.FakeHost((*fakes.NFT, "firewall-cmd"))
    made.answers.update(
        {
            "firewall-cmd --get-active-zones": Done(0, ZONES, ""),
            "firewall-cmd --info-policy=ipmasq-default": Done(0, INFO, ""),
            "firewall-cmd --info-policy=serves-default": Done(113, "", "Error: INVALID_POLICY: serves-default"),
            "firewall-cmd --state": Done(0, "running\n", ""),
        }
    )
    return made


SERVED = """\
serves-default (active)
  priority: -100
  target: CONTINUE
  ingress-zones: home
  egress-zones: HOST
  services: dns dhcp
"""


def gateway(*lans, wans=("wan0",)):
    return Resolved(wans=tuple(ResolvedWan(name) for name in wans), lans=lans)


def test_from_the_zones_of_lans_to_those_of_wans(host):
    office = ResolvedLan("office", ("lan0",), ("192.168.1.0/24", "fd00:1::/64"))
    vms = ResolvedLan("vms", ("tap*",), ("192.168.3.0/24",), ("office",))
    policy, notes = firewalld.policy_for(gateway(office, vms), host)
    assert (policy.ingress, policy.egress, notes) == (("home",), ("home", "public"), ())
    assert policy.sources == ("192.168.1.0/24", "fd00:1::/64", "192.168.3.0/24")


def test_an_interface_in_no_zone_is_let_through_by_any(host):
    office = ResolvedLan("office", ("lan0",), ("192.168.1.0/24",))
    policy, notes = firewalld.policy_for(gateway(office, wans=("wan0", "ppp*")), host)
    assert (policy.ingress, policy.egress) == (("home",), ("ANY",))
    assert notes == (
        "firewalld: ppp* is not assigned to a zone, so the policy applies to any zone; assign it to narrow that",
    )


def test_the_link_of_a_shared_address_is_its_lans(host):
    """VRRP: what clients send to that address arrives there."""
    office = ResolvedLan("office", ("lan0",), ("192.168.1.0/24",), services=LanServices(Dhcp()))
    beside = Around(twins=(("vrrp51", "lan0"), ("vrrp52", "guest0")))
    apart = replace(gateway(office), around=beside)
    policy, notes = firewalld.policy_for(apart, host)
    assert (policy.ingress, policy.egress, policy.served) == (("ANY",), ("public",), ("home",))
    assert [note.partition(" is not")[0] for note in notes] == ["firewalld: vrrp51"]
    assigned = ZONES.replace("public (default)", "work\n  interfaces: vrrp51\npublic (default)")
    host.answers["firewall-cmd --get-active-zones"] = Done(0, assigned, "")
    policy, notes = firewalld.policy_for(apart, host)
    assert (policy.ingress, policy.served, notes) == (("home", "work"), ("home", "work"), ())


def test_a_lan_that_is_served_reaches_this_host(host):
    services = LanServices(Dhcp(), "slaac", dns=True)
    lans = (
        ResolvedLan("office", ("lan0",), ("192.168.1.0/24",), services=services),
        ResolvedLan("guests", ("guest0",), ("192.168.2.0/24",), services=LanServices(Dhcp())),
        ResolvedLan("lab", ("wan0",), ("192.168.3.0/24",)),
    )
    # The zone of guest0 is not known, and any zone would be the WAN's, too.
    assert firewalld.policy_for(gateway(*lans), host)[0].served == ("home",)
    assert firewalld.policy_for(gateway(*lans), host)[0].services == ("dhcp", "dhcpv6", "dns")
    assert firewalld.policy_for(gateway(*lans[1:]), host)[0].services == ()
    names = replace(services, dhcp=None, ra="")
    assert firewalld.services_of(gateway(replace(lans[0], services=names))) == ("dns",)


def test_the_policy_towards_this_host_as_xml():
    policy = replace(WANTED, served=("home",), services=("dhcp", "dns"))
    out, served = policy.texts("default").values()
    assert out == next(iter(WANTED.texts("default").values())) and len(WANTED.texts("default")) == 1
    assert served.splitlines()[1:] == [
        '<policy priority="-100" target="CONTINUE">',
        "  <short>serves-default</short>",
        "  <description>Written by the Ansible collection ipmasq.linux: its LANs are served.</description>",
        '  <ingress-zone name="home"/>',
        '  <egress-zone name="HOST"/>',
        '  <service name="dhcp"/>',
        '  <service name="dns"/>',
        "</policy>",
    ]
    assert firewalld.read_xml(out, served) == policy and firewalld.read_xml(out) == WANTED
    assert firewalld.read_xml("") == firewalld.Policy()
    assert "; dhcp, dns from home" in policy.line and ";" not in WANTED.line
    # firewalld's limit.
    assert len(firewalld.serving_name("x" * 10)) == len(firewalld.name_of("x" * 10)) == 17


def test_the_policy_as_xml():
    assert next(iter(WANTED.texts("default").values())).splitlines()[1:] == [
        '<policy priority="-100" target="CONTINUE">',
        "  <short>ipmasq-default</short>",
        "  <description>Written by the Ansible collection ipmasq.linux: its LANs go out.</description>",
        '  <ingress-zone name="home"/>',
        '  <ingress-zone name="public"/>',
        '  <egress-zone name="public"/>',
        '  <rule family="ipv4">',
        '    <source address="192.168.1.0/24"/>',
        "    <accept/>",
        "  </rule>",
        '  <rule family="ipv6">',
        '    <source address="fd00:1::/64"/>',
        "    <accept/>",
        "  </rule>",
        "</policy>",
    ]


def test_what_firewalld_applies_is_read(host):
    assert firewalld.same(firewalld.live(host, "default"), WANTED)
    host.answers["firewall-cmd --info-policy=serves-default"] = Done(0, SERVED, "")
    served = replace(WANTED, served=("home",), services=("dhcp", "dns"))
    assert firewalld.same(firewalld.live(host, "default"), served)
    host.answers["firewall-cmd --info-policy=serves-default"] = Done(0, SERVED.replace("HOST", "ANY"), "")
    assert not firewalld.same(firewalld.live(host, "default"), served)
    host.answers["firewall-cmd --info-policy=serves-default"] = Done(113, "", "")
    host.answers["firewall-cmd --info-policy=ipmasq-default"] = Done(0, INFO.replace("CONTINUE", "DROP"), "")
    assert not firewalld.same(firewalld.live(host, "default"), WANTED)
    host.answers["firewall-cmd --info-policy=ipmasq-default"] = Done(113, "", "Error: INVALID_POLICY: ipmasq-default")
    assert firewalld.live(host, "default") is None
    assert firewalld.same(None, None) and not firewalld.same(None, WANTED)


def test_only_where_it_runs(host):
    assert firewalld.runs(host)
    host.answers["firewall-cmd --state"] = Done(252, "", "not running")
    assert not firewalld.runs(host)
    assert not firewalld.runs(fakes.FakeHost())


def test_a_reload_that_would_lose_something_is_refused(host):
    kept = "public\n  target: default\n  interfaces: \n  ports: \n"
    now = "public (default, active)\n  target: default\n  interfaces: wan0\n  ports: \n"
    host.answers["firewall-cmd --permanent --list-all-zones"] = Done(0, kept, "")
    host.answers["firewall-cmd --list-all-zones"] = Done(0, now, "")
    for words in ("firewall-cmd --permanent --list-all-policies", "firewall-cmd --list-all-policies"):
        host.answers[words] = Done(0, "allow-host-ipv6 (active)\n", "")
    for words in ("--get-ipsets", "--direct --get-all-rules"):
        host.answers["firewall-cmd " + words] = host.answers["firewall-cmd --permanent " + words] = Done(0, "", "")
    firewalld.check_reload(host)
    host.answers["firewall-cmd --direct --get-all-rules"] = Done(0, "ipv4 filter FORWARD 0 -j ACCEPT", "")
    with pytest.raises(GatewayError, match=r"direct rules have runtime-only settings"):
        firewalld.check_reload(host)
    host.answers["firewall-cmd --direct --get-all-rules"] = Done(0, "", "")
    host.answers["firewall-cmd --list-all-zones"] = Done(0, now.replace("ports: ", "ports: 99/tcp"), "")
    with pytest.raises(GatewayError, match=r"runtime-only settings \(ports: 99/tcp\).*--runtime-to-permanent"):
        firewalld.check_reload(host)


@pytest.mark.parametrize("before", [{}, {"ipmasq-default": "<policy/>\n"}, {"serves-default": "<policy/>\n"}])
@pytest.mark.parametrize("rc", [0, 1])
def test_the_file_is_as_before_once_firewalld_has_read_it(host, before, rc):
    policy = replace(WANTED, served=("home",), services=("dhcp",))
    paths = firewalld.paths_of("default")
    host.files.update({firewalld.path_of(name): text for name, text in before.items()})
    files = dict(host.files)
    seen, again = [], []
    real = host.run

    def run(argv, stdin=None):
        if argv[1].startswith("--get-zone-of-interface"):
            return Done(0 if argv[1].endswith("lan0") else 2, "", "")
        if argv[1].startswith("--zone="):
            again.append(list(argv[1:]))
            return Done(0, "", "")
        if list(argv) == ["firewall-cmd", "--reload"]:
            seen.append({path: host.files.get(path) for path in paths})
            return Done(rc, "", "Error: no")
        return real(argv, stdin)

    host.run = run
    if rc:
        with pytest.raises(GatewayError, match="firewalld: firewall-cmd --reload says: Error: no"):
            firewalld.put(host, "default", policy)
    else:
        firewalld.put(host, "default", policy)
    assert seen == [policy.texts("default")]
    # What the reload has put out of its zone.
    lost = [["--zone=home", "--change-interface=tap+"], ["--zone=public", "--change-interface=wan0"]]
    assert again == ([] if rc else lost)
    assert host.files == files
