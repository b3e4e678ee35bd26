# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The comparison: the same for a change, for what is left of it, and for a removal."""

from __future__ import annotations

from dataclasses import dataclass

from ansible_collections.ipmasq.linux.plugins.module_utils._change import change as changes, persist
from ansible_collections.ipmasq.linux.plugins.module_utils._change.state import State
from ansible_collections.ipmasq.linux.plugins.module_utils._parts.part import NOTHING, Delta, Part, Scene
from ansible_collections.ipmasq.linux.tests.unit import fakes


@dataclass(frozen=True)
class Word:
    word: str = ""


class _Words(Part[Word]):
    def plan(self, was, want, scene, sight):
        return NOTHING if was == want else Delta((want.word,), want, cuts=bool(want.word), drifted=want.word == "x")


ONE, TWO = _Words("one", Word()), _Words("two", Word())


def state(**words):
    return State("default", "gateway", {name: Word(word) for name, word in words.items()})


def compared(old, new, host=None):
    return changes.compare((ONE, TWO), Scene("default"), old, new, host or fakes.FakeHost())


def test_a_change_goes_forwards_and_a_removal_backwards():
    made = compared(None, state(one="a", two="b"))
    assert [move.part.name for move in made.turns] == ["one", "two"]
    assert [move.part.name for move in compared(made.new, None).turns] == ["two", "one"]
    assert made.delta(TWO).lines == ("b",) and made.cuts and not made.drifted
    assert made.new.applied.at and "/etc/ipmasq/default.json" in made.upkeep.outdated
    assert compared(None, state(one="x")).drifted


def test_the_same_state_twice_is_no_change():
    host = fakes.FakeHost()
    first = compared(None, state(one="a"), host)
    for path, (text, mode) in first.upkeep.files.items():
        host.write(path, text, mode)
    again = compared(first.new, state(one="a"), host)
    assert not again.changed and not again.cuts and again.new == first.new
    host.files[persist.LOADER] += "true\n"
    assert compared(first.new, state(one="a"), host).upkeep.rewritten == (persist.LOADER,)


def test_without_a_state_every_file_goes():
    host = fakes.FakeHost(files={"/etc/ipmasq/default.json": "", persist.LOADER: ""})
    gone = compared(state(one="a"), None, host)
    assert {"/etc/ipmasq/default.json", persist.LOADER} <= set(gone.upkeep.stale)
    assert gone.changed and not gone.cuts and not gone.upkeep.enable


def test_what_a_later_version_wrote_stays():
    old = State("default", "gateway", unknown={"parts": {"later": 1}})
    assert compared(old, state(one="a")).new.unknown == old.unknown
