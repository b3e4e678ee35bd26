# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What passes between declared and undeclared interfaces is proven, both ways, and each promise can go red."""

from __future__ import annotations

import pytest
from helpers import TWO_LANS
from sandbox import sh
from test_proof import proved, traces
from test_undeclared import container, masqueraded_by_another, mgmt
from topology import Topology

from ansible_collections.ipmasq.linux.plugins.module_utils._proof import prove as proving


@pytest.fixture
def wires():
    """The surroundings, for tests in which the backend makes no difference."""
    made = Topology()
    yield made
    made.close()


def outcomes(gate):
    """Of one LAN and IPv4, as the promises for the others are the same."""
    return of_office(proved(gate))


def of_office(report):
    found = [each for each in report.results if each.kind == "undeclared" and "IPv4" in each.name]
    return {each.name.replace(" (tcp, IPv4)", ""): each for each in found if "guests" not in each.name}


MGMT, DOCKER = "mgmt0 (undeclared)", "docker0 (left to its manager)"
CLOSED = {
    MGMT + " does not reach office",
    "office does not reach " + MGMT,
    MGMT + " is closed from wan0",
    MGMT + " does not leave through wan0",
}
MANAGED = {
    DOCKER + " reaches office",
    "office reaches " + DOCKER,
    DOCKER + " is closed from wan0",
    DOCKER + " leaves through wan0",
}
LEFT = {
    "{0} reaches {1}".format(*ends)
    for link in (MGMT, DOCKER)
    for ends in (("office", link), (link, "office"), ("wan0", link))
}


def test_it_holds_on_every_backend(gate, net):
    mgmt(net)
    container(net)
    masqueraded_by_another(gate, "172.17.0.0/24", "docker0")
    for options, names in (({}, CLOSED | MANAGED), ({"undeclared": "leave"}, LEFT)):
        gate.apply(**options, **TWO_LANS)
        before = traces()
        report = proved(gate)
        assert report.counts["broken"] == 0
        assert [each for each in of_office(report).values() if each.outcome != "holds"] == []
        assert set(of_office(report)) == names
        assert traces() == before


#: What somebody does, and the promises that it breaks.
RED = {
    "nft insert rule inet ipmasq forward iifname mgmt0 accept; nft flush chain inet ipmasq unseen": {
        MGMT + " does not reach office", MGMT + " does not leave through wan0",
    },
    "nft insert rule inet ipmasq forward oifname mgmt0 accept": {
        "office does not reach " + MGMT, MGMT + " is closed from wan0",
    },
    "nft insert rule inet ipmasq forward iifname docker0 drop": {
        DOCKER + " reaches office", "office reaches " + DOCKER, DOCKER + " leaves through wan0",
    },
    "nft insert rule inet ipmasq forward oifname docker0 ct state new drop": {"office reaches " + DOCKER},
    "nft insert rule inet ipmasq forward oifname docker0 accept": {DOCKER + " is closed from wan0"},
}  # fmt: skip


def test_each_can_go_red(nft, wires, monkeypatch):
    monkeypatch.setattr(proving, "PATIENCE", 0.3)
    mgmt(wires)
    container(wires)
    for command, names in RED.items():
        nft.apply(**TWO_LANS)
        sh(command)
        found = {name: each for name, each in outcomes(nft).items() if each.outcome == "broken"}
        assert set(found) == names, command
        assert {each.by for each in found.values()} == {"gateway"}
    nft.apply(undeclared="leave", **TWO_LANS)
    sh("nft insert rule inet ipmasq forward oifname mgmt0 drop; nft insert rule inet ipmasq forward iifname mgmt0 drop")
    assert {name for name, each in outcomes(nft).items() if each.outcome == "broken"} == {
        name for name in LEFT if MGMT in name
    }


def test_rules_of_others_decide_about_what_is_left_alone(nft, wires, monkeypatch):
    """Docker drops what no container has published."""
    monkeypatch.setattr(proving, "PATIENCE", 0.3)
    container(wires)
    nft.apply(**TWO_LANS)
    sh("nft add table ip d; nft 'add chain ip d f {type filter hook forward priority 0;}'")
    sh("nft add rule ip d f oifname docker0 ct state new drop")
    found = outcomes(nft)["office reaches " + DOCKER]
    assert (found.outcome, found.reason) == (
        "unmeasurable", "rules of others decide about docker0, which this gateway leaves alone"
    )  # fmt: skip
    assert proved(nft).counts["broken"] == 0


def test_links_of_another_instance_are_its_own_business(nft, wires):
    mgmt(wires)
    nft.apply(instance="second", wans=TWO_LANS["wans"], lans=[{"name": "mgmt", "interfaces": ["mgmt0"]}])
    nft.apply(proof="required", **TWO_LANS)
    assert nft.info()["proof"]["counts"]["broken"] == 0
    assert not any("mgmt0" in each for each in nft.info()["proof"]["broken"])
