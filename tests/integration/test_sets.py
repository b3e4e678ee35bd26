# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Many LAN networks with iptables: sets of the kernel where ipset is there, and a rule for each where not."""

from __future__ import annotations

import pytest
from helpers import OFFICE, Gate
from sandbox import PATH, SandboxHost, sets, sh
from topology import CLIENTS, GATE4, GATE6, WAN4, WAN6

from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError
from ansible_collections.ipmasq.linux.plugins.module_utils._rollback import rollback

OFFICE4, OFFICE6 = CLIENTS["office"][1:]
#: More than the 64 up to which each has a rule.
COUNT = 70
FOUR = [f"10.{number}.7.0/24" for number in range(COUNT)]
SIX = [f"fd00:77:{number:x}::/64" for number in range(COUNT)]


def declared(networks=(*FOUR, *SIX), **more):
    office = dict(OFFICE, networks=[*OFFICE["networks"], "10.200.0.1", *networks])
    return {"wans": [{"interface": "wan0"}], "lans": [office], **more}


@pytest.fixture(params=["iptables-nft", "iptables-legacy"])
def backend(request, tmp_path):
    if not SandboxHost(tmp_path).which("ipset"):
        pytest.skip("ipset is not installed")
    return request.param


def test_clients_of_one_among_many_networks_reach_the_wan(gate, net):
    gate.apply(**declared())
    assert net.tcp("office", "wan", WAN4) == GATE4
    assert net.tcp("office", "wan", WAN6) == GATE6
    assert not [line for line in gate.rules().splitlines() if FOUR[0].split("/")[0] in line or SIX[0] in line]
    # Its network has gone from the declaration: it is a stranger now.
    without = dict(declared(), lans=[dict(OFFICE, networks=FOUR + SIX)])
    gate.apply(**without)
    assert net.tcp("office", "wan", WAN4) != GATE4


def test_they_are_read_back_as_they_were_loaded(gate, net):
    gate.apply(**declared())
    assert len(sets().split("create")) == 3
    again = gate.apply(**declared())
    assert not again.changed, again.to_dict()["differences"]
    assert not gate.info()["drift"]


def test_other_networks_make_other_sets_and_no_third_one(gate, net):
    gate.apply(**declared())
    before = sets()
    change = gate.apply(**declared([*FOUR[1:], *SIX])).change
    assert (
        sum(" add " in f" {line}" for line in sets().splitlines())
        == sum(" add " in f" {line}" for line in before.splitlines()) - 1
    )
    assert len(sets().split("create")) == 3
    # The set of the other family is still the same.
    assert [row.chain.split()[0] for row in change.scene.plan.remove if row.key == "set"] == ["ip"]
    assert f"{COUNT} networks" not in str(gate.apply(**declared([*FOUR[1:], *SIX])).to_dict()["differences"])


@pytest.mark.parametrize("what", ["del {0} 10.5.7.0/24", "flush {0}", "add {0} 172.16.0.0/12"])
def test_somebody_elses_change_of_a_set_is_drift_and_mended(gate, net, what):
    gate.apply(**declared())
    name = next(row.chain.split()[2] for row in gate.live() if row.key == "set" and row.chain.startswith("ip "))
    sh("ipset " + what.format(name))
    assert gate.info()["drift"]
    change = gate.apply(check=True, **declared()).change
    assert change.changed and change.drifted
    gate.apply(**declared())
    assert not gate.info()["drift"]
    assert net.tcp("office", "wan", WAN4) == GATE4


def test_what_others_keep_in_sets_stays(gate, net):
    sh("ipset create blocked hash:ip; ipset add blocked 192.0.2.9")
    before = sets()
    gate.apply(**declared())
    lab = {"name": "lab", "interfaces": ["lab0"], "networks": [each.replace(".7.0/", ".8.0/") for each in FOUR]}
    gate.apply(**declared(instance="second", lans=[lab]))
    gate.absent("second")
    assert not gate.apply(**declared()).changed
    gate.absent()
    assert sets() == before


def test_the_loader_makes_the_sets_before_the_rules(gate, net):
    gate.apply(**declared())
    before, rules = sets(), gate.rules().count("match-set")
    variant = gate.programs.partition("-")[2]
    for tables in ("iptables", "ip6tables"):
        for table in ("mangle", "filter", "nat"):
            sh(f"{tables}-{variant} -t {table} -F; {tables}-{variant} -t {table} -X")
    sh("sleep 0.5; ipset destroy")
    assert not sets()
    assert gate.host.boot().returncode == 0
    assert (sets(), gate.rules().count("match-set")) == (before, rules)
    # And again, when they exist.
    assert gate.host.boot().returncode == 0
    assert sets() == before
    assert not gate.apply(**declared()).changed


def test_the_way_back_has_its_sets(gate, net):
    gate.apply(**declared())
    before = sets()
    gate.apply(confirmation=rollback.waiting(600), **declared([*FOUR[1:], *SIX]))
    assert sets() != before
    rollback.finish("default", "", False, gate.host)
    assert sets() == before
    assert not gate.apply(**declared()).changed
    assert net.tcp("office", "wan", WAN4) == GATE4


def test_a_first_change_that_is_taken_back_leaves_none(gate, net):
    gate.apply(confirmation=rollback.waiting(600), **declared())
    rollback.finish("default", "", False, gate.host)
    assert not sets()


def test_rules_that_are_refused_leave_no_set(gate, net, monkeypatch):
    """A name that the kernel does not take, in the second table."""
    load = type(gate.host).run

    def refused(host, argv, stdin=None):
        if argv[0].endswith("-restore") and stdin and "match-set" in stdin:
            stdin = stdin.replace("*nat\n", "*nat\n-A NOWHERE -j ACCEPT\n")
        return load(host, argv, stdin)

    monkeypatch.setattr(type(gate.host), "run", refused)
    with pytest.raises(GatewayError, match="the host is as it was before"):
        gate.apply(**declared())
    assert not sets()


def test_without_ipset_there_is_a_rule_for_each(gate, net):
    gate.apply(**declared())
    plain = Gate(gate.programs, gate.host.root, without=("ipset",))
    change = plain.apply(**declared()).change
    assert change.changed
    assert "match-set" not in plain.rules()
    assert net.tcp("office", "wan", WAN4) == GATE4
    assert not plain.apply(**declared()).changed
    # With ipset again, what was left of the sets is put in order, too.
    gate.apply(**declared())
    assert len(sets().split("create")) == 3
    assert not gate.apply(**declared()).changed


def test_a_single_item_has_its_rules_in_a_row(gate, net):
    gate.item("masquerade", name="many", out_interface="wan0", source=FOUR)
    assert not sets()


def test_a_kernel_without_sets_is_told_so(gate, net, tmp_path, monkeypatch):
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "ipset").write_text("#!/bin/sh\necho 'Kernel error received: Operation not permitted' >&2\nexit 1\n")
    (folder / "ipset").chmod(0o755)
    monkeypatch.setattr("sandbox.PATH", f"{folder}:{PATH}")
    with pytest.raises(GatewayError, match="ip_set_hash_net and xt_set"):
        gate.apply(**declared())
