# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module's task: a removal is made, anything else may be known."""

from __future__ import annotations

from ansible_collections.ipmasq.linux.plugins.module_utils._change import repeat, task
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.argspec import MODULES
from ansible_collections.ipmasq.linux.tests.unit import fakes
from ansible_collections.ipmasq.linux.tests.unit.params import gateway_params

LANS = [{"name": "lan", "interfaces": ["lan0"], "networks": ["192.168.1.0/24"]}]
KEPT = {"/run/ipmasq/.code-1", "/run/ipmasq/default.seen", "/run/ipmasq/default.again"}


def perform(host, **options):
    defaults = {name: option.get("default") for name, option in MODULES["gateway"].items()}
    given = dict(defaults, **gateway_params(lans=LANS))
    given.update(confirm_timeout=0, proof="off", **options)
    return task.perform(given, host, False)


def test_the_second_run_is_recorded_and_a_removal_forgets():
    host = fakes.FakeHost(fakes.NFT)
    assert perform(host)["changed"]
    host.task = "key"
    assert not perform(host)["changed"]
    host.files["/run/ipmasq/.code-1"] = ""
    assert set(host.files) >= KEPT
    assert perform(host, state="absent")["changed"]
    assert not KEPT & set(host.files)


def test_the_code_stays_while_another_instance_needs_it():
    host = fakes.FakeHost(fakes.NFT)
    host.files.update(dict.fromkeys(KEPT, ""))
    host.files.update({"/etc/ipmasq/default.json": "", "/etc/ipmasq/other.json": ""})
    repeat.forget("default", host)
    assert KEPT & set(host.files) == {"/run/ipmasq/.code-1"}
    del host.files["/etc/ipmasq/other.json"]
    repeat.forget("default", host)
    assert not KEPT & set(host.files)


def test_check_mode_forgets_nothing():
    host = fakes.FakeHost(fakes.NFT)
    perform(host)
    host.files["/run/ipmasq/.code-1"] = ""
    perform(fakes.seen(host, True), state="absent")
    assert "/run/ipmasq/.code-1" in host.files
