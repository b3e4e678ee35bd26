# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who forgets connections, and when: what the state file records, what is owed, and when nothing is to be done."""

from __future__ import annotations

import json

import pytest

from ansible_collections.ipmasq.linux.plugins.module_utils._base.errors import GatewayError
from ansible_collections.ipmasq.linux.plugins.module_utils._change import engine, forgetting
from ansible_collections.ipmasq.linux.plugins.module_utils._flows.conntrack import Found
from ansible_collections.ipmasq.linux.plugins.module_utils._intent.read import gateway_from_params
from ansible_collections.ipmasq.linux.tests.unit import fakes
from ansible_collections.ipmasq.linux.tests.unit.params import gateway_params

OWED = "/run/ipmasq/default.owed"
STATE = "/etc/ipmasq/default.json"
GIVEN = {
    "wans": [{"interface": "ppp0"}],
    "lans": [{"name": "lan", "interfaces": ["lan0"], "networks": ["192.168.1.0/24"]}],
}
CLOSED = {"outbound": [{"name": "mail", "protocol": ["tcp"], "port": ["25"], "action": "drop"}]}
MAIL = (
    "tcp 6 99 ESTABLISHED src=192.168.1.9 dst=192.0.2.1 sport=4 dport=25 src=192.0.2.1 dst=203.0.113.2 sport=25 dport=4"
)
LISTS = ["conntrack", "-L", "-f", "ipv4"]


@pytest.fixture
def host():
    made = fakes.FakeHost(fakes.NFT, links=[fakes.link("lan0", "192.168.1.1/24"), fakes.link("ppp0", "203.0.113.2/32")])
    made.connections = MAIL + "\n"
    made.files["/proc/sys/net/netfilter/nf_conntrack_count"] = "1\n"
    return made


def apply(host, check=False, **params):
    gateway = gateway_from_params(gateway_params(**dict(GIVEN, **params)))
    return engine.apply_gateway(gateway, "auto", fakes.seen(host, check))


def deleted(host):
    return [call for call in host.calls if call[0] == "conntrack" and call[1] != "-L"]


def test_the_old_rules_come_from_the_state_file(host):
    apply(host)
    assert not deleted(host)
    done = apply(host, **CLOSED)
    assert done.flows == len(deleted(host)) == 1
    assert "- 1 connections that began under other rules: forgotten" in done.to_dict()["differences"]


def test_nobody_is_asked_where_rules_stay_as_they_are(host):
    apply(host)
    host.calls.clear()
    apply(host)
    apply(host, timeouts=None)
    host.modes[STATE] = 0o644
    assert apply(host).changed
    assert LISTS not in host.calls


@pytest.mark.parametrize("raw", [None, {"": "Unheard"}, [1], {"": "Gateway", "lans": 7}], ids=str)
def test_an_intent_that_cannot_be_read_explains_nothing(host, raw):
    apply(host)
    state = json.loads(host.files[STATE])
    state["parts"]["declaration"]["intent"] = raw
    host.files[STATE] = json.dumps(state)
    assert apply(host, **CLOSED).flows == 0


def test_what_tracks_nothing_is_not_asked(host):
    """It would load the connection tracking module, with its switches."""
    for count in ("0\n", None):
        host.files.pop("/proc/sys/net/netfilter/nf_conntrack_count")
        host.files.update({"/proc/sys/net/netfilter/nf_conntrack_count": count} if count else {})
        host.calls.clear()
        apply(host, mss="keep" if count else "pmtu", **CLOSED)
        assert LISTS not in host.calls


def test_what_is_owed_is_paid_by_the_next_run(host):
    apply(host)
    before = json.loads(host.files[STATE])["parts"]["declaration"]["intent"]
    apply(host, **CLOSED)
    host.files[OWED] = json.dumps([before])
    assert apply(host, check=True, **CLOSED).to_dict()["changed"]
    assert OWED in host.files
    done = apply(host, **CLOSED)
    assert (done.flows, done.changed) == (1, True)
    assert OWED not in host.files
    assert not apply(host, **CLOSED).changed


def test_a_damaged_debt_is_none(host):
    apply(host)
    host.files[OWED] = "{"
    assert not apply(host).changed
    assert OWED not in host.files


def test_the_address_of_a_wan_is_not_remembered(host):
    forward = {"name": "web", "port": ["443"], "to": ["192.168.1.9"], "hairpin": True}
    apply(host, port_forwards=[forward])
    assert "203.0.113.2" not in json.dumps(json.loads(host.files[STATE])["parts"]["declaration"]["intent"])


def test_what_could_not_be_looked_at_is_told(host):
    assert forgetting.warnings(Found(), host) == ()
    assert forgetting.warnings(Found(looked=False), host)[0].startswith("connections cannot be listed on this host")
    assert forgetting.warnings(Found(whole=False), host)[0].startswith("there was not enough time")


def test_sockets_that_nobody_can_close_are_told(host):
    found = Found(messages=(b"",) * 2, sockets=("src [192.0.2.1]:22",))
    assert forgetting.warnings(found, host)[0].startswith(
        "ss is not installed, so connections to servers of this host (1)"
    )
    host.programs.add("ss")
    assert forgetting.warnings(found, host) == ()


class Stuck(fakes.FakeHost):
    def remove(self, path):
        raise GatewayError(path + ": cannot be removed: Read-only file system")


def test_a_list_that_cannot_be_removed_fails_no_change_that_is_kept():
    compiled, facts = (None, None), None
    connections = forgetting.Forgetting("default", None, None, True, Stuck(), compiled=compiled, facts=facts)
    assert connections.forget(Found(), Stuck()) == (
        "/run/ipmasq/default.owed: cannot be removed: Read-only file system; the next run looks for connections of "
        "this change once more",
    )
