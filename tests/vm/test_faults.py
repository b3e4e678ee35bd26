# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Faults that need a clock, a power switch and a journal of their own; the others are in tests/integration."""

from __future__ import annotations

import time
import typing as t

import pytest
from fault_table import record
from wiring import OFFICE, wire_lan, wire_wan

if t.TYPE_CHECKING:
    from machine import Machine

GATEWAY = {"wans": [{"interface": "wan0"}], "lans": [OFFICE], "confirm_timeout": 0}
CHANGE = dict(GATEWAY, timeouts={"udp": 77}, confirm_timeout=15)
SEEN = "nft -s list ruleset; cat /etc/ipmasq/*; cat /proc/sys/net/netfilter/nf_conntrack_udp_timeout"
#: The state tells when it was applied, too.
SAME = SEEN.replace("/etc/ipmasq/*", "$(ls /etc/ipmasq/* | grep -v -e json -e sums)")


@pytest.fixture
def gateway(machine: Machine) -> Machine:
    wire_lan(machine)
    wire_wan(machine)
    assert machine.apply(GATEWAY)["changed"]
    return machine


def pending(machine: Machine) -> bool:
    return machine.run(["test", "-e", "/run/ipmasq/default"]).rc == 0


@pytest.mark.parametrize("jump", ["+400 days", "-400 days"])
def test_a_clock_that_jumps_alters_no_deadline(gateway: Machine, jump: str) -> None:
    before = gateway.sh(SEEN)
    start = time.monotonic()
    assert gateway.apply(CHANGE)["pending"]["seconds"] == 15
    gateway.sh(f"date --set '{jump}'")
    assert pending(gateway) or time.monotonic() - start > 15
    while pending(gateway):
        assert time.monotonic() - start < 60, "never rolled back"
        time.sleep(0.5)
    # The guest's seconds may be a little longer than ours.
    assert time.monotonic() - start > 12
    assert gateway.sh(SEEN) == before
    record("the clock jumps by 400 days while a change waits", "before")


def test_a_module_that_is_killed_leaves_a_guard(gateway: Machine) -> None:
    """By systemd, and gone once all is done."""
    before = gateway.sh(SAME)
    assert gateway.apply(dict(CHANGE, confirm_timeout=0))["changed"]
    assert gateway.apply(GATEWAY)["changed"]
    assert gateway.sh(SAME) == before
    deadline = time.monotonic() + 20
    while "ipmasq-rollback" in gateway.sh("systemctl list-units --no-legend 'ipmasq-rollback*'"):
        assert time.monotonic() < deadline
        time.sleep(0.5)


def test_a_damaged_state_does_not_route_and_the_journal_says_why(gateway: Machine) -> None:
    gateway.sh("truncate --size=-1 /etc/ipmasq/default.nft; sync")
    gateway.reboot()
    assert gateway.read("/proc/sys/net/ipv4/ip_forward").strip() == "0"
    assert "failed" in gateway.run(["systemctl", "is-active", "ipmasq.service"]).out
    journal = gateway.sh("journalctl --boot --identifier=ipmasq --no-pager --output=cat")
    assert "instance default: damaged: ./default.nft ; forwarding is off" in journal
    record("each state file damaged (cut short, altered, gone), then boot", "closed")
