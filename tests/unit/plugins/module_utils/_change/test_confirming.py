# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How long a change awaits a confirmation, and which changes do."""

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError
from ansible_collections.ipmasq.linux.plugins.module_utils._change import confirming
from ansible_collections.ipmasq.linux.plugins.module_utils._change.change import Change, Move, Upkeep
from ansible_collections.ipmasq.linux.plugins.module_utils._parts.addresses import ADDRESSES
from ansible_collections.ipmasq.linux.plugins.module_utils._parts.part import Delta, Scene
from ansible_collections.ipmasq.linux.plugins.module_utils._rollback.rollback import Confirmation
from ansible_collections.ipmasq.linux.tests.unit import fakes

PENDING = Confirmation(30, "0123", "14:05:30", "gw")


def test_seconds():
    host = fakes.FakeHost()
    assert confirming.waiting({"confirm_timeout": 0, "wait": 0}, host) is None
    assert confirming.waiting({"confirm_timeout": 30, "wait": 0}, host).seconds == 30
    with pytest.raises(GatewayError) as caught:
        confirming.waiting({"confirm_timeout": -1, "wait": 3601}, host)
    assert [each.partition(":")[0] for each in caught.value.problems] == ["confirm_timeout", "wait"]


@pytest.mark.parametrize("cuts", [False, True])
def test_only_what_may_cut_somebody_off_waits(cuts):
    change = Change(Scene("default"), None, None, (Move(ADDRESSES, None, None, Delta(do=1, cuts=cuts)),), Upkeep({}))
    assert confirming.awaited(change, PENDING) == (PENDING if cuts else None)


def test_what_the_controller_has_to_know():
    told = {"token": "0123", "seconds": 30, "until": "14:05:30", "host": "gw"}
    assert confirming.pending_values(PENDING, fakes.FakeHost()) == {"pending": told}
    assert confirming.pending_values(PENDING, fakes.seen(fakes.FakeHost(), True)) == {}
    assert confirming.pending_values(None, fakes.FakeHost()) == {}
