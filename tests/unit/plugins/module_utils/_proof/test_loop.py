# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The loop itself is shown with real packets in tests/integration/test_proof.py."""

from __future__ import annotations

import inspect
import pathlib
import re

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._change import proving
from ansible_collections.ipmasq.linux.plugins.module_utils._proof import loop


class Host:
    def which(self, program):
        return ""


def test_without_tc_nothing_is_touched(monkeypatch):
    monkeypatch.setattr(loop, "open_tun", lambda name: pytest.fail("opened " + name))
    with pytest.raises(loop.NoLoop, match="tc is not installed; install the package iproute2"), loop.Loop(Host()):
        pass


def test_without_tun_it_says_so(monkeypatch):
    def refused(name):
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(loop, "open_tun", refused)
    with pytest.raises(loop.NoLoop, match=r"TUN devices are not available here \(/dev/net/tun: No such file"):
        loop._locked(1.0)


def test_another_proof_is_waited_for(monkeypatch):
    answers = iter([OSError(16, "busy"), OSError(16, "busy"), 7])

    def busy(name):
        answer = next(answers)
        if isinstance(answer, OSError):
            raise answer
        return answer

    monkeypatch.setattr(loop, "open_tun", busy)
    monkeypatch.setattr(loop.time, "sleep", lambda seconds: None)
    assert loop._locked(1.0) == 7
    answers = iter([OSError(16, "busy")])
    with pytest.raises(loop.Busy, match="another proof has been running for -1 s"):
        loop._locked(-1.0)


@pytest.mark.parametrize(("line", "free"), [("ipmasq-probe: 0 0", False), ("ipmasq-probe0: 0 0", True), ("", True)])
def test_whether_a_proof_runs_is_asked_without_a_device(line, free):
    host = Host()
    host.read = {"/proc/net/dev": "Inter-|\n    lo: 0 0\n  " + line}.get
    assert loop.is_free(host) == free


def test_the_role_knows_the_words_for_a_missing_tc():
    text = (pathlib.Path(__file__).parents[5] / "roles/gateway/vars/main.yml").read_text(encoding="utf-8")
    with pytest.raises(loop.NoLoop) as caught, loop.Loop(Host()):
        pass
    (words,) = re.findall(r'_gateway_no_tc: "(.*)"', text)
    assert words.partition(": ")[2] in str(caught.value)
    assert words.partition(": ")[0] + ": " in inspect.getsource(proving)
