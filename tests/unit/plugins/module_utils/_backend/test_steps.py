# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Steps are taken in turn; one that is refused is an error, and what only the earlier ones know is undone."""

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._backend.steps import Step, files_of, load
from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError
from ansible_collections.ipmasq.linux.plugins.module_utils._base.host import Done


class Recording:
    """A host on which these programs fail."""

    def __init__(self, *failing):
        self.failing, self.calls = failing, []

    def run(self, argv, stdin=None):
        self.calls.append((argv, stdin))
        return Done(int(argv[0] in self.failing), "", "no\n")


SETS = Step(("ipset", "restore"), "sets\n", ".sets", "{0}".format, ("ipset", "destroy"))
RULES = Step(("restore",), "rules\n", ".rules", lambda err: "the rules were refused: " + err.strip())
SWEEP = Step(("sweep",))


def test_one_after_the_other_with_its_text():
    host = Recording()
    load((SETS, RULES, SWEEP), host)
    assert host.calls == [(["ipset", "restore"], "sets\n"), (["restore"], "rules\n"), (["sweep"], None)]


def test_a_refused_one_ends_it_and_the_earlier_ones_are_undone():
    host = Recording("restore")
    with pytest.raises(GatewayError) as caught:
        load((SETS, RULES, SWEEP), host)
    assert caught.value.problems == ("restore: the rules were refused: no",)
    assert [argv for argv, _stdin in host.calls] == [["ipset", "restore"], ["restore"], ["ipset", "destroy"]]


def test_the_first_one_has_nothing_to_undo():
    host = Recording("ipset")
    with pytest.raises(GatewayError):
        load((SETS, RULES), host)
    assert [argv for argv, _stdin in host.calls] == [["ipset", "restore"]]


def test_a_step_without_explanation_may_fail():
    host = Recording("sweep")
    load((SWEEP, RULES), host)
    assert len(host.calls) == 2


def test_the_boot_has_the_texts_of_the_steps():
    assert files_of((SETS, RULES, SWEEP)) == {".sets": "sets\n", ".rules": "rules\n"}
