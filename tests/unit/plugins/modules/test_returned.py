# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The documented return values of each module, and what it returns. gateway_info on a real host: tests/integration."""

from __future__ import annotations

import pytest

from ansible_collections.ipmasq.linux.tests.unit import explained, fakes, lan_clients, returned

LAN = {"name": "lan", "interfaces": ["lan0"], "networks": ["192.168.1.0/24"]}
FORWARD = {"name": "web", "port": ["443"], "to": ["192.168.1.20"], "hairpin": True}
RUNS = {
    "gateway": dict(lans=[LAN], port_forwards=[FORWARD]),
    "masquerade": dict(name="x", source=["10.0.0.0/8"], out_interface="ppp0"),
    "forward": dict(name="x", source=["10.0.0.0/8"]),
    "port_forward": dict(name="x", in_interface="ppp0", port=["443"], to=["192.168.1.20"]),
    "forwarding": dict(ipv4=True),
    "gateway_info": dict(),
    "nat_probe": dict(),
    "gateway_probe": dict(),
    "gateway_confirm": dict(state="reverted"),
}
EXPLAINED = {"from": "192.168.1.5", "to": "9.9.9.9", "port": "443"}
WITHOUT_CHANGE = ("gateway_info", "gateway_probe", "gateway_confirm", "nat_probe")


@pytest.fixture(autouse=True)
def yaml():
    return pytest.importorskip("yaml", reason="documentation is YAML, and this Python has no PyYAML")


@pytest.mark.parametrize("name", [*RUNS, "gateway_explain", "lan_client"])
def test_every_value_has_type_and_sample(name):
    assert returned.gaps(returned.documented(name)) == []


@pytest.mark.parametrize("more", [{}, {"confirm_timeout": 0}, {"confirm_timeout": 30}], ids=str)
@pytest.mark.parametrize("name", RUNS)
def test_results_are_as_documented(run, name, more):
    options = RUNS[name] if name in WITHOUT_CHANGE else dict(RUNS[name], **more)
    failed, values = run(name, fakes.FakeHost(), **options)
    assert not failed, values
    assert returned.faults(returned.documented(name), values) == []


@pytest.mark.parametrize("more", [{}, {"confirm_timeout": 0}, {"confirm_by": "person"}], ids=str)
def test_a_lan_client_is_as_documented(run, more):
    failed, values = run("lan_client", lan_clients.Client(), gateway="192.168.1.1", dns=["192.168.1.1"], **more)
    assert not failed, values
    assert returned.faults(returned.documented("lan_client"), values) == []


def test_an_explanation_is_as_documented(run):
    host = explained.Roads()
    assert not run("gateway", host, lans=[explained.OFFICE], confirm_timeout=0)[0]
    failed, values = run("gateway_explain", host, **EXPLAINED)
    assert not failed, values
    assert returned.faults(returned.documented("gateway_explain"), values) == []
