# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Two runs on one host: another one's change ends while this one has read the host, and not yet changed it."""

from __future__ import annotations

import pytest
from faults import end_timers
from helpers import ONE_LAN, TWO_LANS, Gate, wire_gateway
from sandbox import SandboxHost

from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError
from ansible_collections.ipmasq.linux.plugins.module_utils._rollback import meanwhile, rollback

FORWARD = {"name": "web", "port": ["443"], "to": ["192.168.1.20"]}
DNS = {"name": "dns", "protocol": ["udp"], "port": ["5353"], "to": ["192.168.1.21"]}
WAITS = rollback.Confirmation(3600, "token", "14:05:30")


class Slow(SandboxHost):
    """``meanwhile`` happens while this run prepares its rollback, or, if it is to be ``early``, before it looks whether
    another change is in progress."""

    meanwhile = None
    early = False

    def _happens(self):
        act, self.meanwhile = self.meanwhile, None
        if act:
            act()

    def make_folder(self, path):
        if not self.early:
            self._happens()
        return super().make_folder(path)

    def find(self, pattern):
        if self.early and pattern == rollback.FOLDER + "/*/change.json":
            self._happens()
        return super().find(pattern)


@pytest.fixture
def runs(backend, tmp_path):
    """This run and another one, on one host."""
    wire_gateway()
    mine, other = Gate(backend, tmp_path, Slow), Gate(backend, tmp_path)
    yield mine, other
    end_timers(other)


def as_applied(gate):
    """Rules and files are those of the state, and the loader takes them."""
    info = gate.info()
    return info["as_applied"] and not info["drift"] and gate.host.boot().returncode == 0


def forwarded(gate):
    return "192.168.1.20" in gate.rules()


def test_a_change_that_was_kept_meanwhile_is_taken_into_account(runs):
    mine, other = runs
    mine.apply(**TWO_LANS, port_forwards=[FORWARD])
    mine.host.meanwhile = lambda: other.apply(**TWO_LANS)
    assert mine.apply(**TWO_LANS, port_forwards=[FORWARD], timeouts={"udp": 40}).changed
    assert forwarded(other) and as_applied(other)


def test_both_items_of_two_runs_stay(runs):
    mine, other = runs

    def add(gate, name, source):
        return gate.item("masquerade", name=name, source=[source], out_interface="wan0").changed

    mine.host.meanwhile = lambda: add(other, "one", "192.168.1.0/24")
    assert add(mine, "two", "192.168.2.0/24")
    keys = {row.key for row in other.live()}
    assert {"masquerade/one", "masquerade/two"} <= keys and as_applied(other)


def test_a_removal_removes_what_came_meanwhile(runs):
    mine, other = runs
    mine.apply(**ONE_LAN)
    before = mine.host.snapshot()["files"]
    mine.host.meanwhile = lambda: other.apply(**TWO_LANS, port_forwards=[FORWARD])
    mine.absent()
    assert before and not forwarded(other) and not other.host.find("/etc/ipmasq/*")


def test_a_rollback_leaves_what_was_kept_meanwhile(runs):
    mine, other = runs
    mine.apply(**TWO_LANS, port_forwards=[FORWARD])
    mine.host.meanwhile = lambda: other.apply(**TWO_LANS)
    done = mine.apply(**TWO_LANS, port_forwards=[FORWARD, DNS], confirmation=WAITS)
    # The timer of the first attempt may still run.
    token = done.values["pending"]["token"]
    assert token != WAITS.token
    assert rollback.finish("default", token, False, mine.host).was == "pending"
    assert not forwarded(other) and as_applied(other)


def test_a_change_that_waited_and_was_rolled_back_meanwhile(runs):
    """What this run has read were the rules of a change that nobody has confirmed."""
    mine, other = runs
    other.apply(**TWO_LANS, port_forwards=[FORWARD])
    other.apply(**TWO_LANS, confirmation=WAITS)
    mine.host.early, mine.host.meanwhile = True, lambda: rollback.finish("default", "token", False, other.host)
    assert mine.apply(**TWO_LANS).changed
    assert not forwarded(other) and as_applied(other)


def test_an_instance_that_came_meanwhile_is_known(runs):
    """Networks of two instances are closed to each other."""
    mine, other = runs
    first, second = TWO_LANS["lans"]
    wan = {"wans": [{"interface": "wan0"}]}
    mine.host.meanwhile = lambda: other.apply(instance="branch", **wan, lans=[second])
    mine.apply(**wan, lans=[first])
    assert as_applied(other) and not other.info("branch")["drift"]
    assert not other.apply(**wan, lans=[first]).changed


def test_a_host_that_always_changes_is_told(runs, monkeypatch):
    mine, other = runs
    mine.apply(**ONE_LAN)
    before = mine.host.snapshot()
    monkeypatch.setattr(meanwhile, "marks", lambda _sight, armed=False: str(armed))
    monkeypatch.setattr(
        "ansible_collections.ipmasq.linux.plugins.module_utils._rollback.transaction.marks", meanwhile.marks
    )
    with pytest.raises(GatewayError, match=r"another run has changed this host since .* nothing was changed, run it"):
        mine.apply(**TWO_LANS)
    assert mine.host.snapshot() == before and not other.host.exists("/run/ipmasq/default")
