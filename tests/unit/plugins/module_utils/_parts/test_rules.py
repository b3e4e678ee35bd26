# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The rules as a part: which backend loads what, what the rollback loads, and what is ours of the kernel's chains."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._backend.iptables.backend import Iptables
from ansible_collections.ipmasq.linux.plugins.module_utils._backend.nftables.backend import Nftables
from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError
from ansible_collections.ipmasq.linux.plugins.module_utils._base.host import Done
from ansible_collections.ipmasq.linux.plugins.module_utils._change.state import State
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.items import Masquerade
from ansible_collections.ipmasq.linux.plugins.module_utils._parts.part import Scene
from ansible_collections.ipmasq.linux.plugins.module_utils._parts.rules import RULES, Loaded
from ansible_collections.ipmasq.linux.plugins.module_utils._rules.compile import compile_item
from ansible_collections.ipmasq.linux.plugins.module_utils._rules.rows import Plan
from ansible_collections.ipmasq.linux.tests.unit import fakes

NFT = Nftables()
ROWS = NFT.render(compile_item("default", Masquerade("lan", ("192.168.1.0/24",), "ppp0")))
BARE = Scene("default", NFT, "", Plan((), ROWS))
THERE, GOES = replace(BARE, plan=Plan(ROWS, ROWS)), replace(BARE, plan=Plan(ROWS, ()))
KEPT = Loaded("nft", ROWS)


def test_what_is_loaded_already_is_nothing_to_do():
    assert RULES.plan(KEPT, KEPT, THERE, fakes.FakeHost()).do is None


def test_a_first_load_and_its_rollback():
    host = fakes.FakeHost()
    delta = RULES.plan(Loaded(), KEPT, BARE, host)
    assert delta.cuts and delta.detail and not delta.drifted
    assert delta.diff == tuple("+ rule " + line[2:] for line in delta.lines)
    shell = RULES.restore(delta, Loaded(), KEPT, BARE, host)
    assert shell.bare and any("old0" in line for line in shell.lines)
    RULES.apply(delta, KEPT, BARE, host)
    loaded = replace(BARE, plan=Plan(NFT.parse(NFT.read(host, "default"), "default"), ROWS))
    assert not loaded.plan.changed
    RULES.verify(Loaded(), KEPT, loaded, host)
    with pytest.raises(GatewayError, match="nft: the rules read back differ from those loaded: "):
        RULES.verify(Loaded(), KEPT, BARE, host)


def test_a_removal_leaves_the_host_bare_only_if_it_was():
    host = fakes.FakeHost()
    delta = RULES.plan(KEPT, Loaded(), GOES, host)
    assert [load.desired for load in delta.do] == [()]
    assert not RULES.restore(delta, KEPT, Loaded(), GOES, host).bare
    assert RULES.boot(Loaded(), GOES) == {}
    assert RULES.boot_lines(Loaded(), GOES) == ()


def test_drift_is_seen_even_if_nothing_is_to_be_done():
    gone = replace(THERE, plan=Plan(ROWS[:-1], ROWS))
    assert RULES.plan(KEPT, KEPT, gone, fakes.FakeHost()).drifted
    assert RULES.drift(KEPT, gone, fakes.FakeHost()) == ["+ " + NFT.show(ROWS[-1])]
    late = RULES.plan(Loaded("nft", ROWS[:-1]), KEPT, THERE, fakes.FakeHost())
    assert (late.do, late.drifted) == (None, True)


def test_rules_that_an_earlier_backend_has_left_go():
    host = fakes.FakeHost(fakes.NFT + fakes.IPTABLES_NFT)
    host.iptables["nft", "ip"].append("nat", "IPMASQ-POSTROUTING", "-j MASQUERADE")
    for was, fresh in ((Loaded("iptables-nft"), False), (Loaded(), True)):
        delta = RULES.plan(was, KEPT, replace(THERE, fresh=fresh), host)
        assert delta.lines == ("- the rules of iptables-nft",) and delta.diff == ()
        assert [load.backend.programs for load in delta.do] == ["iptables-nft"]
    assert RULES.plan(Loaded(), KEPT, THERE, host).do is None


def test_a_first_run_asks_only_the_other_backends_what_is_left():
    host = fakes.FakeHost(fakes.NFT + fakes.IPTABLES_NFT)
    RULES.plan(Loaded(), KEPT, replace(BARE, fresh=True), host)
    assert [call[0] for call in host.calls] == ["iptables-nft-save", "ip6tables-nft-save"]


def test_rules_that_stayed_as_they_were_are_parsed_once():
    host = fakes.FakeHost()
    RULES.apply(RULES.plan(Loaded(), KEPT, BARE, host), KEPT, BARE, host)
    before, after = (NFT.parse(NFT.read(host, "default"), "default") for _look in range(2))
    assert before and before is after


def test_chains_that_another_instance_has_made_were_not_there_before():
    known = ("ip nat POSTROUTING", "ip nat PREROUTING")
    other = State("b", "items", {"rules": Loaded("iptables-nft", (), known[:1])})
    scene = replace(BARE, backend=Iptables())
    host = fakes.FakeHost(fakes.NFT + fakes.IPTABLES_NFT)
    listed = [{"chain": dict(zip(("family", "table", "name"), each.split()), hook="x")} for each in known]
    host.answers["nft -j list chains"] = Done(0, json.dumps({"nftables": listed}), "")
    assert RULES.loaded(Loaded(), scene, host).base_chains == known
    assert RULES.loaded(Loaded(), replace(scene, others=(other,)), host).base_chains == known[:1]
    assert RULES.loaded(Loaded("iptables-nft", (), ("x",)), scene, host).base_chains == ("x",)
