# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A change in words."""

from __future__ import annotations

from dataclasses import replace

from ansible_collections.ipmasq.linux.plugins.module_utils._backend.nftables.backend import Nftables
from ansible_collections.ipmasq.linux.plugins.module_utils._change.change import Change, Move, Upkeep
from ansible_collections.ipmasq.linux.plugins.module_utils._change.state import State
from ansible_collections.ipmasq.linux.plugins.module_utils._change.telling import Result, gateway_values, told
from ansible_collections.ipmasq.linux.plugins.module_utils._facts.links import Facts, Interface
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.gateway import Gateway
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.sides import Lan, Wan
from ansible_collections.ipmasq.linux.plugins.module_utils._parts.declaration import Declaration
from ansible_collections.ipmasq.linux.plugins.module_utils._parts.order import PARTS
from ansible_collections.ipmasq.linux.plugins.module_utils._parts.part import Delta, Scene

RULES = Delta(("+ f: a",), 1, detail=True, diff=("+ rule f: a",))
SWITCHES = Delta(("~ x: 0 to 1",), 1, diff=("- x = 0", "+ x = 1"))
FILES = Upkeep({}, ("/a", "/b"), ("/b",), ("/c",), True)


def state(*lines):
    return State("default", "gateway", {"declaration": Declaration(lines)})


def change(old, new, *deltas, upkeep=FILES):
    moves = tuple(Move(part, None, None, delta) for part, delta in zip(PARTS, deltas))
    return Change(Scene("default", Nftables()), state(*old), state(*new), moves, upkeep)


def test_differences_in_turn_then_files_service_and_connections():
    found = Result(change([], ["lan"], RULES, SWITCHES), flows=2, why="nft: is there", notes=("n",)).to_dict()
    assert found["differences"] == [
        "+ f: a",
        "~ x: 0 to 1",
        "~ /a: written",
        "~ /b: written",
        "- /c: removed",
        "+ service ipmasq: enabled",
        "- 2 connections that began under other rules: forgotten",
    ]
    assert found["backend"] == {"name": "nftables", "programs": "nft", "why": "nft: is there"}
    assert found["changed"] and found["notes"] == ["n"] and "warnings" not in found


def test_the_diff_shows_rules_where_words_do_not_tell():
    def after(*words, verbose=False, delta=RULES):
        result = Result(change(["lan"], words, delta, SWITCHES, upkeep=Upkeep({})))
        return result.to_dict(verbose)["diff"]["after"].splitlines()

    assert after("lan", "wan") == ["lan", "wan", "x = 1"]
    assert after("lan", "wan", verbose=True) == ["lan", "wan", "rule f: a", "x = 1"]
    assert after("lan") == ["lan", "rule f: a", "x = 1"]
    assert after("lan", "wan", delta=replace(RULES, drifted=True)) == ["lan", "wan", "rule f: a", "x = 1"]


def test_a_file_that_is_rewritten_is_on_neither_side():
    diff = Result(change(["lan"], ["lan"])).to_dict()["diff"]
    assert diff["before"].splitlines() == ["lan", "file /c"]
    assert diff["after"].splitlines() == ["lan", "file /a", "service ipmasq: enabled"]
    assert diff["prepared"] == "~ file /b: rewritten\n"
    assert "prepared" not in Result(change(["lan"], ["lan"], upkeep=Upkeep({}, ("/a",)))).to_dict()["diff"]


def test_the_journal_gets_words_or_what_follows_from_them():
    assert told(change(["a"], ["b"], RULES, SWITCHES)) == ["- a", "+ b", "~ x: 0 to 1"]
    assert told(change(["a"], ["a"], RULES, SWITCHES)) == ["+ f: a", "~ x: 0 to 1"]
    assert told(change(["a"], ["a"])) == ["files only"]


def test_the_addresses_of_a_lan_are_those_of_this_host():
    facts = Facts((Interface("lan0", addresses=("192.168.1.1",)),), ())
    gateway = Gateway(wans=(Wan("wan0"),), lans=(Lan("lan", ("lan*",), ("192.168.1.0/24",)),))
    values = gateway_values(gateway, facts)
    assert values["wans"] == [{"interface": "wan0"}] and values["lans"][0]["addresses"] == ["192.168.1.1"]
