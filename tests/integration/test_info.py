# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""gateway_info tells the truth: of a gateway, of one from which everything was wiped, and of a change that waits."""

from __future__ import annotations

import shutil

from helpers import ONE_LAN, TWO_LANS, wire, wire_gateway
from sandbox import sh

from ansible_collections.ipmasq.linux.plugins.module_utils._rollback import rollback
from ansible_collections.ipmasq.linux.tests.unit import returned


def roles(info):
    return {each["name"]: (each["role"], each["present"]) for each in info["interfaces"] if each["name"][0] != "p"}


def test_a_host_that_was_wiped(gate):
    """nft flush ruleset, and /etc/ipmasq lost: an open router, which must be reported."""
    wire_gateway()
    wire(mgmt0="10.9.9.1/24", docker0="172.17.0.1/16")
    gate.apply(**TWO_LANS)
    docs = returned.documented("gateway_info")
    info = gate.info()
    assert returned.faults(docs, info) == []
    assert (info["applied"], info["as_applied"], info["drift"], info["pending"]) == (True, True, [], None)
    assert (info["forwarding_without_rules"], info["foreign_drops"]) == (False, [])
    assert roles(info) == {
        "wan0": ("wan", True), "lan0": ("lan", True), "guest0": ("lan", True),
        "mgmt0": ("undeclared", True), "docker0": ("managed", True),
    }  # fmt: skip
    (lan0,) = [each for each in info["interfaces"] if each["name"] == "lan0"]
    assert lan0["addresses"] == ["192.168.1.1", "fd00:1::1"]
    assert info["who"]["version"] and info["who"]["user"]

    # Only the rules.
    tool = "iptables-legacy" if gate.programs == "iptables-legacy" else ""
    wipe = "nft flush ruleset"
    for each in (tool, tool.replace("ip", "ip6", 1)) if tool else ():
        wipe += "; for t in filter nat mangle; do {0} -t $t -F; {0} -t $t -X; done".format(each)
    sh(wipe)
    info = gate.info()
    assert (info["applied"], info["as_applied"], info["forwarding_without_rules"]) == (True, False, True)
    assert info["drift"]

    # And the record of them.
    shutil.rmtree(gate.host.place("/etc/ipmasq"))
    info = gate.info()
    assert returned.faults(docs, info) == []
    assert (info["applied"], info["as_applied"], info["forwarding_without_rules"]) == (False, False, True)
    assert (info["who"], info["owner"]) == (None, "")
    sh("echo 0 > /proc/sys/net/ipv4/ip_forward; echo 0 > /proc/sys/net/ipv6/conf/all/forwarding")
    assert gate.info()["forwarding_without_rules"] is False


def test_interfaces_that_are_gone_and_tables_of_others(nft):
    wire_gateway()
    nft.apply(**TWO_LANS)
    sh("ip link set guest0 down; ip link set guest0 name visit0; ip link set visit0 up")
    sh("nft 'table inet mine { chain forward { type filter hook forward priority 0; policy drop; }; }'")
    info = nft.info()
    assert roles(info)["guest0"] == ("lan", False)
    assert roles(info)["visit0"] == ("undeclared", True)
    assert info["foreign_drops"] == [{"table": "inet mine", "chain": "forward"}]


def test_a_change_that_waits(nft):
    wire_gateway()
    nft.apply(**ONE_LAN)
    nft.apply(confirmation=rollback.waiting(30), **TWO_LANS)
    info = nft.info()
    assert returned.faults(returned.documented("gateway_info"), info) == []
    assert set(info["pending"]) == {"until", "user", "from", "at", "overdue"}
    assert info["pending"]["at"] < info["pending"]["until"]
    # Against what was kept last.
    assert not info["as_applied"] and info["drift"]
    rollback.finish("default", "", False, nft.host)
    assert nft.info()["pending"] is None and nft.info()["as_applied"]


def test_one_instance_speaks_for_the_host(nft):
    """The default instance does not exist, and need not while another one does."""
    wire_gateway()
    nft.apply(instance="branch", **TWO_LANS)
    assert nft.info()["forwarding_without_rules"] is False
    assert nft.info("branch")["as_applied"]


def test_switches_without_rules_are_what_was_declared(nft):
    wire_gateway()
    nft.forwarding(ipv4=True)
    info = nft.info()
    assert (info["as_applied"], info["forwarding_without_rules"]) == (True, False)
