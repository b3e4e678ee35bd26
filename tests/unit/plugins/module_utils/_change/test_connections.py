# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A change together with the connections that began under other rules."""

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._change import connections
from ansible_collections.ipmasq.linux.plugins.module_utils._change.change import Change, Move, Upkeep
from ansible_collections.ipmasq.linux.plugins.module_utils._flows.conntrack import Found
from ansible_collections.ipmasq.linux.plugins.module_utils._flows.groups import Groups
from ansible_collections.ipmasq.linux.plugins.module_utils._parts.addresses import ADDRESSES, Addresses, Steps
from ansible_collections.ipmasq.linux.plugins.module_utils._parts.part import NOTHING, Delta, Scene
from ansible_collections.ipmasq.linux.plugins.module_utils._rollback.rollback import Confirmation
from ansible_collections.ipmasq.linux.tests.unit import fakes

STEPS = Steps(add=(("wan0", "203.0.113.9/32"),))


class Forgetting:
    """It has two wrong connections, and notes what it is asked."""

    owed = False

    def __init__(self):
        self.asked = []

    def found(self, links, drifted, longest):
        self.asked.append(("found", links, drifted, longest))
        return Found(words=("-s a", "-s b"))

    def back(self, links):
        return Groups(("-f ipv4 -s 192.168.1.0/24",))

    def owing(self):
        return "[]"

    def forget(self, found, host):
        self.asked.append(("forget", found.count))
        return ("1 of 2 remain",)


def change(delta):
    move = Move(ADDRESSES, Addresses(), Addresses(), delta)
    return Change(Scene("default"), None, None, (move,), Upkeep({}))


@pytest.mark.parametrize("check", [False, True])
def test_they_are_deleted_once_the_change_is_kept(check):
    told, host = Forgetting(), fakes.seen(fakes.FakeHost(), check)
    host_change = change(Delta(("x",), Steps(), drifted=True))
    flows, warnings, _pending = connections.with_connections(host_change, told, host, None)
    assert flows == 2 and told.asked[0] == ("found", Steps(), True, 20)
    assert told.asked[1:] == ([] if check else [("forget", 2)])
    assert warnings == (() if check else ("1 of 2 remain",))


def test_a_change_that_waits_deletes_nothing_yet():
    told, host = Forgetting(), fakes.FakeHost()
    host.programs.discard("conntrack")
    pending = Confirmation(30, "0123", "14:05:30")
    awaiting = change(Delta(("x",), Steps(), cuts=True))
    flows, warnings, awaited = connections.with_connections(awaiting, told, host, pending)
    assert awaited is pending and flows == 2 and [name for name, *_rest in told.asked] == ["found"]
    assert told.asked[0][3] == 7.5
    assert warnings[-1].startswith("conntrack is not installed: if this change is rolled back")


def test_without_a_change_nobody_is_asked():
    told = Forgetting()
    assert connections.with_connections(change(NOTHING), told, fakes.FakeHost(), None) == (0, (), None)
    assert told.asked == []
    told.owed = True
    assert connections.with_connections(change(NOTHING), told, fakes.FakeHost(), None)[0] == 2
