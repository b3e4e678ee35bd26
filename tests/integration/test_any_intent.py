# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Any valid intent is loaded by the real tools, reads back equal and plans nothing more; any other is refused whole.

``IPMASQ_EXAMPLES=1000 pytest tests/integration/test_any_intent.py`` tries more examples, ``IPMASQ_GARBAGE=5000`` more
nonsense. Much of the time is fsync: ``--basetemp=/dev/shm/x`` makes it faster.
"""

from __future__ import annotations

import os

import pytest
from helpers import wire_gateway
from hypothesis import given, settings, strategies as st

from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.read import gateway_from_params
from ansible_collections.ipmasq.linux.tests.unit import strategies

#: Refused inputs touch nothing and are fast, so there are more of them. Which backend there is makes no difference.
GARBAGE = int(os.environ.get("IPMASQ_GARBAGE", "700"))
BOUNDED = strategies.drawn(40)


@pytest.fixture
def plain(gate):
    """A gateway with interfaces, and what its namespace held before all examples."""
    wire_gateway()
    gate.before = gate.host.snapshot()["rules"]
    return gate


@BOUNDED
@given(first=strategies.gateways(), second=strategies.gateways())
def test_any_intent_is_a_fixpoint(plain, first, second):
    second = dict(second, instance=first["instance"])
    for params in (first, second):
        params = {key: value for key, value in params.items() if key not in ("backend", "state")}
        try:
            wanted = gateway_from_params(params)
        except GatewayError as error:
            # Not every draw is valid; an invalid one must be refused in sentences.
            assert all(": " in problem for problem in error.problems)
            continue
        assert wanted.instance == params["instance"]
        done = plain.apply(**params)
        assert plain.live(params["instance"]) and not plain.apply(**params).changed
        assert plain.info(params["instance"])["drift"] == [], done.to_dict()["differences"]
    plain.absent(first["instance"])
    assert "ipmasq" not in plain.rules() and "IPMASQ" not in plain.rules()


NAMES = st.sampled_from(["a", "b", "x.1", "long-" * 12])
ITEMS = st.fixed_dictionaries(
    {
        "name": NAMES,
        "source": st.lists(
            st.sampled_from(strategies.NETWORKS4 + strategies.NETWORKS6 + ("0.0.0.0/0", "::/0")), max_size=3
        ),
        "destination": st.none() | st.lists(st.sampled_from(strategies.DESTINATIONS), max_size=2),
        "in_interface": st.none() | st.sampled_from(["lan0", "ppp*", "eth0.5"]),
        "out_interface": st.sampled_from(["wan0", "ppp*", "abcdefghijklmno"]),
        "action": st.sampled_from(["accept", "drop", "reject"]),
        "ct_state": st.none() | st.lists(st.sampled_from(["invalid", "new", "related", "established", "untracked"])),
    }
)


@BOUNDED
@given(
    steps=st.lists(st.tuples(st.sampled_from(["masquerade", "forward"]), st.booleans(), ITEMS), min_size=1, max_size=6)
)
def test_any_sequence_of_items_ends_as_the_last_of_each_said(plain, steps):
    held = {}
    for kind, present, item in steps:
        if kind == "masquerade":
            item = {key: item[key] for key in ("name", "source", "destination", "out_interface")}
        state = "present" if present else "absent"
        try:
            plain.item(kind, state=state, **item)
        except GatewayError as error:
            assert all(": " in problem for problem in error.problems), error.problems
            continue
        held[(kind, item["name"])] = item if present else None
        assert not plain.item(kind, state=state, **item).changed
        keys = {row.key for row in plain.live()} - {"chain", "jump"}
        wanted = {"{0}/{1}".format(*key) for key, value in held.items() if value}
        assert keys == wanted
        assert plain.info()["drift"] == []
    for (kind, name), item in held.items():
        if item:
            plain.item(kind, state="absent", name=name)
    assert "ipmasq" not in plain.rules() and "IPMASQ" not in plain.rules()


def refused_whole_or_taken_back(gate, params):
    """One clear error, before anything is touched; or, if it was valid by accident, it is applied and removed."""
    params = {key: value for key, value in params.items() if key not in ("backend", "state")}
    gate.host.writes.clear()
    try:
        gate.apply(**params)
    except GatewayError as error:
        assert error.problems
        for problem in error.problems:
            assert ": " in problem and problem.isprintable(), problem
            assert "the rules were refused" not in problem, "the tool had to say what we should have: " + problem
        assert gate.host.writes == []
        return
    assert not gate.apply(**params).changed
    gate.absent(params["instance"])


@BOUNDED
@given(params=strategies.garbled())
def test_any_wrong_value_is_one_clear_error_and_touches_nothing(plain, params):
    refused_whole_or_taken_back(plain, params)


@pytest.mark.parametrize("backend", ["nft"])
@settings(parent=BOUNDED, max_examples=max(BOUNDED.max_examples, GARBAGE))
@given(params=strategies.nonsense())
def test_any_garbage_is_one_clear_error_and_touches_nothing(plain, params):
    refused_whole_or_taken_back(plain, params)
