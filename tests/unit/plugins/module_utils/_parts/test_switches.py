# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The switches as a part: what is set, what was there before, and what comes back."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError
from ansible_collections.ipmasq.linux.plugins.module_utils._change.state import State
from ansible_collections.ipmasq.linux.plugins.module_utils._facts.links import read_facts
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.gateway import Gateway
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.sides import Lan, Wan
from ansible_collections.ipmasq.linux.plugins.module_utils._parts.part import Scene
from ansible_collections.ipmasq.linux.plugins.module_utils._parts.switches import SWITCHES, Held
from ansible_collections.ipmasq.linux.tests.unit import fakes

IP4, LAN, WAN = "net/ipv4/ip_forward", "net/ipv4/conf/lan0/forwarding", "net/ipv4/conf/ppp0/forwarding"
GATEWAY = Gateway(wans=(Wan("ppp0"),), lans=(Lan("lan", ("lan0",), ("192.168.1.0/24",)),))
ON = Held(((IP4, "1"),), {IP4: "0", LAN: "0", WAN: "0"})


def scene(host, **more):
    return Scene("default", facts=read_facts(host), interfaces=("ppp0", "lan0"), **more)


def test_what_is_stored_is_what_boot_sets_and_what_was_before():
    host = fakes.FakeHost()
    want, _notes = SWITCHES.want(GATEWAY, Held(), scene(host, fresh=True), host)
    assert (IP4, "1") in want.values and LAN not in dict(want.values)
    assert (want.before[IP4], want.before[LAN]) == ("0", "0")
    assert dict(SWITCHES.targets(want, scene(host)))[LAN] == "1"
    host.files["/proc/sys/" + IP4] = "1\n"
    assert SWITCHES.want(GATEWAY, want, scene(host), host)[0] == want


def test_set_repaired_and_given_back():
    host = fakes.FakeHost()
    delta = SWITCHES.plan(Held(), ON, scene(host), host)
    assert delta.cuts and delta.lines[0] == "~ {0}: 0 to 1".format(IP4)
    assert delta.diff[:2] == ("- {0} = 0".format(IP4), "+ {0} = 1".format(IP4))
    restoring = SWITCHES.restore(delta, Held(), ON, scene(host), host).lines
    assert restoring[0] == "[ ! -e /proc/sys/{0} ] || echo 0 > /proc/sys/{0}".format(IP4)
    SWITCHES.apply(delta, ON, scene(host), host)
    assert (host.switch(IP4), host.switch(LAN), host.switch(WAN)) == ("1", "1", "1")
    assert SWITCHES.plan(ON, ON, scene(host), host).do is None
    host.files["/proc/sys/" + LAN] = "0\n"
    assert SWITCHES.drift(ON, scene(host), host) == ["~ {0}: 0, but 1 was applied".format(LAN)]
    with pytest.raises(GatewayError, match="{0}: is 0 again after writing 1".format(LAN)):
        SWITCHES.verify(ON, ON, scene(host), host)
    SWITCHES.apply(SWITCHES.plan(ON, Held(), scene(host), host), Held(), scene(host), host)
    assert (host.switch(IP4), host.switch(LAN)) == ("0", "0")


def test_what_another_instance_needs_stays():
    host = fakes.FakeHost()
    other = State("b", "gateway", {"switches": ON})
    assert SWITCHES.plan(ON, Held(), scene(host, others=(other,)), host).do is None
    # Its oldest value counts: by now the switch has ours.
    host.files["/proc/sys/" + IP4] = "1\n"
    assert SWITCHES.held(Held(), ON.values, scene(host, others=(other,)), host).before[IP4] == "0"
    timed = State("b", "gateway", {"switches": Held((("net/netfilter/nf_conntrack_udp_timeout", "40"),))})
    with pytest.raises(GatewayError, match="is 60 here and 40 in instance 'b'"):
        SWITCHES.want(replace(GATEWAY, timeouts=(("udp", 60),)), Held(), scene(host, others=(timed,)), host)


def test_a_lost_state_begins_with_the_defaults_of_the_kernel():
    host = fakes.FakeHost(files={"/etc/ipmasq/default.sysctl": IP4 + " 1\n\n", "/proc/sys/" + IP4: "1\n"})
    was = SWITCHES.salvage("default", host)
    assert was == Held(((IP4, "1"),))
    assert SWITCHES.held(was, ON.values, scene(host, fresh=True), host).before[IP4] == "0"


def test_files_of_others_that_undo_it():
    line = {"/etc/sysctl.d/x.conf": IP4 + " = 0\n", "/etc/sysctl.d/90-ipmasq-default.conf": IP4 + " = 0\n"}
    host = fakes.FakeHost(files=line)
    (told,) = SWITCHES.warnings(ON, scene(host), host)
    assert told.startswith("/etc/sysctl.d/x.conf line 1 sets {0} to 0".format(IP4))


def test_links_that_come_later_unless_somebody_has_decided():
    files = {
        "/proc/sys/net/ipv6/conf/default/accept_ra": "1\n",
        "/etc/sysctl.d/x.conf": "net.ipv6.conf.usb0.accept_ra=0\n",
    }
    host = fakes.FakeHost(files=files)
    gateway = replace(GATEWAY, wans=(Wan("wwan*"), Wan("usb0"), Wan("wan7")), ipv6="masquerade")
    gateway = replace(gateway, lans=(Lan("lan", ("lan0",), ("fd00:1::/64",)),))
    want, _notes = SWITCHES.want(gateway, Held(), scene(host, fresh=True), host)
    (text, _mode) = SWITCHES.files(want, scene(host))["/etc/sysctl.d/90-ipmasq-default.conf"]
    lines = ["-net/ipv6/conf/{0}/accept_ra = 2".format(name) for name in ("wan7", "wwan*")]
    assert text.splitlines()[1:] == lines
    assert {key: value for key, value in want.before.items() if "accept_ra" in key} == {
        "net/ipv6/conf/wan7/accept_ra": "1"
    }
