# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether another change has ended since a host was read. tests/integration/test_meanwhile.py has two real runs."""

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._rollback import meanwhile
from ansible_collections.ipmasq.linux.plugins.module_utils._rollback.timer import Confirmation
from ansible_collections.ipmasq.linux.tests.unit import fakes

WRITTEN = {
    "the end of a change": "/run/ipmasq/default.last",
    "the end of another instance's": "/run/ipmasq/branch.last",
    "the end of a LAN client's": "/run/ipmasq/lan_client.last",
    "a state": "/etc/ipmasq/default.json",
    "the sums of an instance": "/etc/ipmasq/branch.sums",
}


@pytest.mark.parametrize("path", WRITTEN.values(), ids=WRITTEN)
def test_what_a_change_leaves_is_seen(path):
    host = fakes.FakeHost()
    seen = [meanwhile.marks(host)]
    for text in ("one", "two"):
        host.files[path] = text
        seen += [meanwhile.marks(host), meanwhile.marks(host, armed=True)]
    assert seen[1] == seen[2] and seen[3] == seen[4] and len(set(seen)) == 3


def test_a_host_that_was_read_during_a_change_has_to_be_read_again():
    host = fakes.FakeHost()
    calm = meanwhile.marks(host)
    host.files["/run/ipmasq/default.gone/change.json"] = "{}"  # it has ended
    host.files["/run/ipmasq/.default-0123abcd/change.json"] = "{}"  # it has not begun
    assert meanwhile.marks(host) == calm
    host.files["/run/ipmasq/branch/change.json"] = "{}"
    busy = meanwhile.marks(host)
    assert busy != calm == meanwhile.marks(host, armed=True)


def test_each_plan_awaits_a_confirmation_of_its_own():
    """The timer of the change that was given up may still run."""
    seen, first = [], Confirmation(30, "first", "14:05:30", "gw")

    @meanwhile.planned_again
    def act(one, two):
        seen.extend((one, two))
        if len(seen) < 5:
            raise meanwhile.Outdated

    act(first, two=first)
    assert seen[:2] == [first, first] and len({each.token for each in seen[1:]}) == 5
    assert {(each.seconds, each.host) for each in seen} == {(30, "gw")}


@pytest.mark.parametrize("times", [0, 1, 2, 3])
def test_a_change_is_planned_anew_but_not_for_ever(times):
    left = [meanwhile.Outdated() for _each in range(times)]

    @meanwhile.planned_again
    def act(value, more):
        if left:
            raise left.pop()
        return value, more

    if times < meanwhile.ROUNDS:
        assert act(1, more=2) == (1, 2)
    else:
        with pytest.raises(meanwhile.Outdated):
            act(1, more=2)
    assert not left
