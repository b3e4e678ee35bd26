# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""With real packets in tests/integration/test_proof.py."""

from __future__ import annotations

from ansible_collections.ipmasq.linux.plugins.module_utils._facts.links import Facts
from ansible_collections.ipmasq.linux.plugins.module_utils._proof.prove import prove
from ansible_collections.ipmasq.linux.tests.unit import fakes
from ansible_collections.ipmasq.linux.tests.unit.params import gateway_params
from ansible_collections.ipmasq.linux.tests.unit.resolving import read_resolved

LAN = {"name": "office", "interfaces": ["lan0"], "networks": ["192.168.1.0/24"]}


def test_a_host_without_tc_is_unmeasurable():
    gateway, _problems = read_resolved(gateway_params(wans=[{"interface": "wan0"}], lans=[LAN]))
    host = fakes.FakeHost()
    host.frozen = True
    report = prove(gateway, Facts(()), host)
    assert report.counts == {"holds": 0, "broken": 0, "unmeasurable": 8}
