# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The kernel's switches: which, in what order, their first values, and who else sets them."""

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError
from ansible_collections.ipmasq.linux.plugins.module_utils._facts.links import read_facts
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.forwarding import Forwarding
from ansible_collections.ipmasq.linux.plugins.module_utils._parts import sysctl
from ansible_collections.ipmasq.linux.tests.unit import fakes

IP4, IP6 = "net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"
RA = "net/ipv6/conf/ppp0/accept_ra"


def one4(name):
    return "net/ipv4/conf/{0}/forwarding".format(name)


def one6(name):
    return "net/ipv6/conf/{0}/forwarding".format(name)


def gateway_switches(host, families=("ip", "ip6"), wans=("ppp0",), lans=("lan0",), earlier=()):
    return sysctl.gateway_switches(families, wans, lans, host, read_facts(host), earlier=earlier)


def test_gateway_switches_are_in_order():
    assert gateway_switches(fakes.FakeHost()) == (
        (RA, "2"),
        (IP4, "1"),
        (IP6, "1"),
        (one4("lan0"), "1"),
        (one4("ppp0"), "1"),
        (one6("lan0"), "1"),
        (one6("ppp0"), "1"),
    )


def test_one_family_leaves_the_other_alone():
    keys = [key for key, _value in gateway_switches(fakes.FakeHost(), families=("ip",))]
    assert keys == [IP4, one4("lan0"), one4("ppp0")]


def test_patterns_and_absent_interfaces():
    keys = [key for key, _value in gateway_switches(fakes.FakeHost(), wans=("ppp*",), lans=("eth7",))]
    assert keys == [RA, IP4, IP6, one4("ppp0"), one6("ppp0")]


def test_links_that_live_on_advertisements_go_on_listening():
    """Turning on IPv6 forwarding would take their route at once, and their addresses when they run out."""
    addresses = [{"local": "2001:db8:77::5", "prefixlen": 64, "scope": "global", "dynamic": True}]
    links = [fakes.link("ppp0"), fakes.link("lan0", addr_info=addresses), fakes.link("mgmt0", addr_info=addresses)]
    host = fakes.FakeHost(links=[*links, fakes.link("mgmt1"), fakes.link("mgmt2"), fakes.link("mgmt3")])
    host.routes["-6"] = [fakes.route("mgmt1", protocol="ra"), fakes.route("lan0", protocol="ra")]
    keys = ["net/ipv6/conf/{0}/accept_ra".format(name) for name in ("mgmt0", "mgmt1", "ppp0")]
    assert [key for key, value in gateway_switches(host) if value == "2"] == keys
    # What was set stays set when the route is gone: it is because of us that it came back.
    host.routes["-6"] = []
    assert [key for key, value in gateway_switches(host, earlier=((keys[1], "2"),)) if value == "2"] == keys
    wanted = Forwarding(ipv6=True)
    assert [key for key, value in sysctl.forwarding_switches(wanted, host, read_facts(host)) if value == "2"] == [
        "net/ipv6/conf/lan0/accept_ra",
        *keys[::2],
    ]


#: accept_ra before, wanted
TEST_ACCEPT_RA = [("0", []), ("1", [(RA, "2")]), ("2", [(RA, "2")]), (None, [])]


@pytest.mark.parametrize(("before", "wanted"), TEST_ACCEPT_RA)
def test_accept_ra(before, wanted):
    host = fakes.FakeHost()
    if before is None:
        del host.files["/proc/sys/" + RA]
    else:
        host.files["/proc/sys/" + RA] = before + "\n"
    assert sysctl.accept_ra_switches(["ppp0"], host) == wanted


def test_accept_ra_of_links_that_come_later():
    host = fakes.FakeHost()
    host.files["/proc/sys/net/ipv6/conf/default/accept_ra"] = "1\n"
    wans, facts = ("ppp0", "wwan0", "ppp*", "usb*"), read_facts(host)
    keys = ["net/ipv6/conf/{0}/accept_ra".format(name) for name in ("wwan0", "ppp*", "usb*")]
    assert sysctl.coming_switches(wans, host, facts) == [(key, "2") for key in keys]
    # 0 is somebody's decision, for one link and for all.
    host.files["/proc/sys/" + RA] = "0\n"
    assert sysctl.coming_switches(wans, host, facts) == [(key, "2") for key in keys[::2]]
    host.files["/proc/sys/net/ipv6/conf/default/accept_ra"] = "0\n"
    assert sysctl.coming_switches(wans, host, facts) == []


#: wanted, switches
TEST_FORWARDING = [
    (Forwarding(ipv4=True), ((IP4, "1"),)),
    (Forwarding(ipv4=False), ((IP4, "0"),)),
    (Forwarding(ipv6=True), ((RA, "2"), (IP6, "1"))),
    (Forwarding(ipv6=False), ((IP6, "0"),)),
    (Forwarding(ipv4=True, interfaces=("lan0", "eth7")), ((one4("eth7"), "1"), (one4("lan0"), "1"))),
    (Forwarding(ipv4=False, ipv6=False, interfaces=("lan0",)), ((one4("lan0"), "0"), (one6("lan0"), "0"))),
]


@pytest.mark.parametrize(("wanted", "switches"), TEST_FORWARDING)
def test_forwarding_switches(wanted, switches):
    host = fakes.FakeHost()
    assert sysctl.forwarding_switches(wanted, host, read_facts(host)) == switches


def test_forwarding_follows_alternative_names():
    host = fakes.FakeHost(links=[fakes.link("eth0", altnames=["wan"])])
    found = sysctl.forwarding_switches(Forwarding(ipv4=True, interfaces=("wan",)), host, read_facts(host))
    assert found == ((one4("eth0"), "1"),)


def test_changes():
    host = fakes.FakeHost()
    host.files["/proc/sys/" + one4("lan0")] = "1\n"
    wanted = ((IP4, "1"), (one4("lan0"), "1"), (one4("absent0"), "1"))
    assert sysctl.changes(wanted, host) == (sysctl.Change(IP4, "0", "1"),)


def test_kernel_without_forwarding():
    host = fakes.FakeHost(ipv6=False)
    with pytest.raises(GatewayError) as caught:
        sysctl.changes(((IP6, "1"),), host)
    assert caught.value.problems == (
        "/proc/sys/net/ipv6/conf/all/forwarding: this kernel has no such switch; boot a kernel with IP forwarding",
    )


def test_read_only_proc_sys():
    host = fakes.FakeHost()
    host.read_only = True
    sysctl.check_writable((), host)
    with pytest.raises(GatewayError) as caught:
        sysctl.check_writable(sysctl.changes(((IP4, "1"), (one4("lan0"), "1")), host), host)
    assert caught.value.problems == (
        "/proc/sys/net/ipv4/ip_forward: is 0, must be 1, and is read-only; "
        "set it from outside the container, or make /proc/sys/net writable",
    )


def test_snapshot_holds_all_that_a_global_switch_alters():
    taken = sysctl.snapshot([IP4], fakes.FakeHost())
    assert set(taken) == {IP4, "net/ipv4/conf/all/accept_redirects"} | {
        one4(name) for name in ("all", "default", "lo", "ppp0", "lan0")
    }
    assert set(sysctl.snapshot([RA, one4("absent0")], fakes.FakeHost())) == {RA}


@pytest.mark.parametrize("changed", [(IP4,), (IP6,), (RA, IP4, IP6), (one4("lan0"),)])
def test_snapshot_and_restoring_are_a_round_trip(changed):
    """Also where an interface differed from the global switch before."""
    host = fakes.FakeHost()
    host.files["/proc/sys/" + one4("lan0")] = host.files["/proc/sys/" + one6("default")] = "1\n"
    before = dict(host.files)
    taken = sysctl.snapshot(changed, host)
    sysctl.write([(key, "1" if host.switch(key) == "0" else "0") for key in changed], host)
    assert host.files != before
    sysctl.write(sysctl.restoring(taken), host)
    assert host.files == before


def test_restoring_begins_with_what_alters_the_others():
    before = {one4("lan0"): "1", IP4: "0", RA: "1", one6("all"): "0", one6("lan0"): "1"}
    assert [key for key, _value in sysctl.restoring(before)][:2] == [IP4, IP6]


def test_write_sets_only_what_differs():
    host = fakes.FakeHost()
    sysctl.write(((IP4, "1"), (one4("lan0"), "1"), (one4("absent0"), "1"), (one6("lan0"), "0")), host)
    assert host.events == [("switch", IP4, "1")]


TEST_NORMAL_KEY = [
    ("net.ipv4.ip_forward", IP4),
    ("net/ipv4/ip_forward", IP4),
    (" -net.ipv4.ip_forward ", IP4),
    ("net/ipv4/conf/eth0.100/forwarding", one4("eth0.100")),
    ("net.ipv4.conf.eth0/100.forwarding", one4("eth0.100")),
    ("net.ipv4.conf.*.forwarding", "net/ipv4/conf/*/forwarding"),
]


@pytest.mark.parametrize(("text", "key"), TEST_NORMAL_KEY)
def test_normal_key(text, key):
    assert sysctl.normal_key(text) == key


#: file, text, line number and value of what is found (for ip_forward=1 and eth0.100), None for nothing
ETC = "/etc/sysctl.d/50-x.conf"
TEST_WRITERS = [
    (ETC, "net.ipv4.ip_forward=0\n", (1, IP4, "0")),
    (ETC, "# a\n; b\n\nnet.ipv4.ip_forward = 0\n", (4, IP4, "0")),
    (ETC, "net.ipv4.ip_forward = 1\n", None),
    (ETC, "# net.ipv4.ip_forward = 0\n;net.ipv4.ip_forward = 0\n", None),
    (ETC, "net.ipv4.ip_forward\n", None),
    (ETC, "net/ipv4/ip_forward = 0\n", (1, IP4, "0")),
    (ETC, "-net.ipv4.ip_forward = 0\n", (1, IP4, "0")),
    (ETC, "net.ipv4.conf.all.forwarding = 0\n", (1, IP4, "0")),
    (ETC, "net.ipv4.conf.eth0/100.forwarding = 0\n", (1, one4("eth0.100"), "0")),
    (ETC, "net/ipv4/conf/eth0.100/forwarding = 0\n", (1, one4("eth0.100"), "0")),
    (ETC, "net.ipv6.conf.*.forwarding = 0\n", None),
    (ETC, "net.ipv4.conf.eth0.forwarding = 0\n", None),
    ("/etc/sysctl.conf", "net.ipv4.ip_forward=0\n", (1, IP4, "0")),
    ("/etc/ufw/sysctl.conf", "net/ipv4/ip_forward=0\n", (1, IP4, "0")),
    ("/usr/lib/sysctl.d/50-default.conf", "net.ipv4.ip_forward=0\n", (1, IP4, "0")),
    ("/run/sysctl.d/x.conf", "net.ipv4.ip_forward=0\n", (1, IP4, "0")),
    ("/etc/sysctl.d/x.conf.bak", "net.ipv4.ip_forward=0\n", None),
    ("/etc/sysctl.d/own.conf", "net.ipv4.ip_forward=0\n", None),
]


@pytest.mark.parametrize(("path", "text", "wanted"), TEST_WRITERS)
def test_other_writers(path, text, wanted):
    host = fakes.FakeHost(files={path: text})
    host.frozen = True
    found = sysctl.other_writers(((IP4, "1"), (one4("eth0.100"), "1")), host, ("/etc/sysctl.d/own.conf",))
    assert found == (() if wanted is None else (sysctl.Other(path, *wanted),))


def test_the_same_file_by_two_paths_is_told_once():
    text = "net.ipv4.ip_forward=0\n"
    host = fakes.FakeHost(files={"/usr/lib/sysctl.d/a.conf": text, "/lib/sysctl.d/a.conf": text})
    assert len(sysctl.other_writers(((IP4, "1"),), host, ())) == 1


def test_a_file_hidden_by_one_of_the_same_name_is_not_told():
    files = {"/usr/lib/sysctl.d/a.conf": "net.ipv4.ip_forward=0\n", "/etc/sysctl.d/a.conf": "# nothing\n"}
    assert sysctl.other_writers(((IP4, "1"),), fakes.FakeHost(files=files), ()) == ()


def test_a_glob_that_means_all():
    host = fakes.FakeHost(files={ETC: "net.ipv4.conf.*.forwarding = 0\n"})
    found = sysctl.other_writers(((IP4, "1"), (one4("eth0.100"), "1"), (one6("lan0"), "1")), host, ())
    assert found == (sysctl.Other(ETC, 1, IP4, "0"), sysctl.Other(ETC, 1, one4("eth0.100"), "0"))


def test_lasting_keeps_what_boot_has_to_set():
    host = fakes.FakeHost()
    assert sysctl.lasting(gateway_switches(host), (), (), host) == ((RA, "2"), (IP4, "1"), (IP6, "1"))


def test_lasting_remembers_a_wan_that_is_away():
    host = fakes.FakeHost()
    earlier = ((RA, "2"), ("net/ipv6/conf/wwan0/accept_ra", "2"), (IP4, "1"))
    assert sysctl.lasting(((IP4, "1"),), earlier, (), host) == (("net/ipv6/conf/wwan0/accept_ra", "2"), (IP4, "1"))


def test_altered_by():
    before = {IP4: "0", one4("lan0"): "0", IP6: "0", one6("lan0"): "0", RA: "1"}
    assert sysctl.altered_by([IP4], before) == {IP4, one4("lan0")}
    assert sysctl.altered_by([RA], before) == {RA}
    assert sysctl.altered_by([IP6], before) == {IP6, one6("lan0")}
    assert sysctl.altered_by([], before) == set()
