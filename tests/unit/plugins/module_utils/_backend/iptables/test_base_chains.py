# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What iptables-nft creates in nftables goes again, unless it was there before or is in use."""

from __future__ import annotations

import json

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._backend.iptables import base_chains
from ansible_collections.ipmasq.linux.plugins.module_utils._backend.iptables.backend import Iptables
from ansible_collections.ipmasq.linux.plugins.module_utils._base.host import Done
from ansible_collections.ipmasq.linux.tests.unit import fakes
from ansible_collections.ipmasq.linux.tests.unit.backends import BOTH, NFT, V4, small

NAT, FILTER = "ip nat POSTROUTING", "ip filter FORWARD"
EMPTY = "*nat\n:POSTROUTING ACCEPT [0:0]\nCOMMIT\n*filter\n:FORWARD ACCEPT [0:0]\nCOMMIT\n"


class Chained(fakes.FakeHost):
    """iptables-nft with these base chains; nft deletes what it is told to."""

    def __init__(self, *chains, saved=EMPTY):
        super().__init__((*fakes.IPTABLES_NFT, "nft"))
        entries = [dict(zip(("family", "table", "name"), chain.split()), hook="x") for chain in chains]
        entries.append({"family": "ip", "table": "nat", "name": "IPMASQ-SRCNAT"})
        listing = {"nftables": [{"metainfo": {}}, *({"chain": each} for each in entries)]}
        self.answers["nft -j list chains"] = Done(0, json.dumps(listing), "")
        self.answers["nft delete"] = Done(0, "", "")
        self.answers["iptables-nft-save"] = Done(0, saved, "")

    def deleted(self):
        return [" ".join(call[2:]) for call in self.calls if call[:2] == ["nft", "delete"]]


def test_those_of_the_kernel_and_no_others():
    assert base_chains.existing(V4, Chained(NAT, FILTER, "inet mine forward")) == (NAT, FILTER)


@pytest.mark.parametrize("backend", [NFT, Iptables("legacy")], ids=["nft", "iptables-legacy"])
def test_other_backends_create_none(backend):
    host = Chained(NAT)
    assert base_chains.existing(backend, host) == ()
    base_chains.drop(backend, (), host)
    assert base_chains.drop_lines(backend, BOTH.render(small()), ()) == []
    assert host.deleted() == []


def test_an_empty_table_goes_as_a_whole():
    host = Chained(NAT, FILTER)
    base_chains.drop(V4, (FILTER,), host)
    assert host.deleted() == ["table ip nat"]


def test_what_somebody_uses_stays():
    host = Chained(NAT, FILTER, saved=EMPTY.replace("COMMIT\n*filter", "-A POSTROUTING -j MASQUERADE\nCOMMIT\n*filter"))
    base_chains.drop(V4, (), host)
    assert host.deleted() == ["table ip filter"]


def test_what_was_there_before_stays():
    host = Chained(NAT, FILTER)
    base_chains.drop(V4, (NAT, FILTER), host)
    assert host.deleted() == []


def test_the_shell_removes_the_same():
    lines = base_chains.drop_lines(V4, V4.render(small()), [FILTER])
    assert any("nft delete chain " + NAT in line for line in lines)
    assert any("nft delete table ip nat" in line for line in lines)
    assert not any(FILTER in line or "table ip filter" in line for line in lines)


BESIDE = "# Table `filter' contains incompatible base-chains, use 'nft' tool to list them.\n"
LISTED = EMPTY.replace(":FORWARD", ":OUTPUT ACCEPT [0:0]\n:FORWARD")


@pytest.mark.parametrize(
    ("saved", "gone"),
    [
        (EMPTY.partition("*filter")[0] + "# Table `filter' is incompatible, use 'nft' tool.\n", []),
        (BESIDE + LISTED, ["chain ip filter OUTPUT"]),
    ],
)
def test_what_nft_has_written_in_a_table_stays(saved, gone):
    """iptables-nft lists none of it, or only its own chains, and FORWARD as if that was at its place."""
    host = Chained(NAT, FILTER, "ip filter input", "ip filter OUTPUT", saved="# family ip\n" + saved)
    listing = json.loads(host.answers["nft -j list chains"].out)
    listing["nftables"][4]["chain"].update(hook="output", prio=0)
    host.answers["nft -j list chains"] = Done(0, json.dumps(listing), "")
    base_chains.drop(V4, (), host)
    assert host.deleted() == ["table ip nat", *gone]
