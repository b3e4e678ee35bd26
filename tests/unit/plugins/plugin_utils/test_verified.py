# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the playbook verify makes of results. The playbook itself: tests/integration/test_verify.py."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

pytest.importorskip("ansible", reason="no ansible-core beside this Python")

from ansible.errors import AnsibleFilterError

from ansible_collections.ipmasq.linux.plugins.filter import verify_problems as judging
from ansible_collections.ipmasq.linux.plugins.filter.verify_expected import verify_expected
from ansible_collections.ipmasq.linux.plugins.filter.verify_report import verify_report
from ansible_collections.ipmasq.linux.plugins.plugin_utils import verified

LAN = {"name": "office", "networks": ["192.168.1.0/24", "fd00:1::/64"]}
INFO = {
    "applied": True,
    "as_applied": True,
    "drift": [],
    "pending": None,
    "interfaces": [
        {"name": "wan0", "role": "wan", "addresses": ["203.0.113.2", "2001:db8::2"]},
        {"name": "lan0", "role": "lan", "addresses": ["192.168.1.1"]},
    ],
    "nat": [{"action": "masquerade", "to": []}],
    "lans": [LAN],
    "counters": [{"name": "guard", "packets": 2}],
    "usage": {"connections": {"percent": 3}},
}


def result(*outcomes):
    return {
        "results": [
            {"name": "promise {0}".format(index), "kind": "reach", "outcome": outcome, "reason": ""}
            for index, outcome in enumerate(outcomes)
        ],
        "notes": [],
    }


def gateway(name="gw1", **more):
    found = {"kind": "gateway", "before": INFO, "after": INFO, "proof": result("holds")}
    return {"inventory_hostname": name, **{"verify_" + key: value for key, value in {**found, **more}.items()}}


def client(name="pc1", **more):
    found = {"kind": "client", "probe": dict(result("holds"), nat=[{"mapping": "independent"}])}
    return {"inventory_hostname": name, **{"verify_" + key: value for key, value in {**found, **more}.items()}}


def told(*hosts, expect=None):
    found = verify_report(hosts, expect)
    return (
        found["verified"],
        {(row["host"], row["name"]): (row["outcome"], row["reason"]) for row in found["rows"]},
        found,
    )


def test_all_holds():
    good, rows, found = told(gateway(), client())
    assert good
    assert {outcome for outcome, _reason in rows.values()} == {"holds"}
    assert found["lines"] == [
        "gw1  holds         what is live is what was applied",
        "gw1  holds         promise 0",
        "pc1  holds         promise 0",
        "3 holds, 0 broken, 0 unmeasurable",
    ]


DRIFT = "what is live is what was applied"


@pytest.mark.parametrize(
    ("host", "name", "outcome", "reason"),
    [
        (gateway(before=dict(INFO, as_applied=False, drift=["- rule"])), DRIFT, "broken", "- rule"),
        (gateway(before=dict(INFO, applied=False, as_applied=False)), DRIFT, "broken", "nothing was applied here"),
        (gateway(before=None), "its state can be read", "broken", "the task did not run"),
        (gateway(proof={"failed": True, "msg": "this needs\nroot"}), "it can be proven", "broken", "this needs root"),
        (client(probe={"unreachable": True, "msg": "x"}), "it can be asked", "broken", "unreachable: x"),
        (client(probe=result("broken")), "promise 0", "broken", ""),
        (
            {
                "inventory_hostname": "far",
                "verify_kind": "reflector",
                "verify_started": {"failed": True, "stderr": "y"},
            },
            "its reflector can be started",
            "broken",
            "y",
        ),
    ],
)  # fmt: skip
def test_what_is_broken(host, name, outcome, reason):
    good, rows, _found = told(host, client("other"))
    assert not good
    assert rows[host["inventory_hostname"], name] == (outcome, reason)


def test_a_pending_change_is_no_drift():
    pending = {"user": "joe", "until": "2026-11-28T10:21:00Z"}
    good, rows, _found = told(gateway(before=dict(INFO, as_applied=False, pending=pending)))
    assert good
    assert rows["gw1", DRIFT][0] == "unmeasurable"


def test_nothing_measured_is_not_green():
    empty = dict(result(), notes=["nothing was measured"])
    for hosts in ([], [client(probe=empty)], [client(probe=result("unmeasurable"))]):
        good, _rows, found = told(*hosts)
        assert not good
        where = "pc1" if hosts else "any host"
        assert "nothing was verified: no promise could be measured on " + where in found["lines"]


def test_a_gateway_that_no_packet_has_tried_is_not_green():
    """Its LAN is down, or it has no /dev/net/tun; that it is as applied proves nothing."""
    untried = gateway("gw2", proof=result("unmeasurable"))
    said = "nothing was verified: no promise could be measured on gw2"
    expect = [{"name": "applied", "query": "applied"}]
    for hosts in ([untried], [gateway(), untried]):
        good, _rows, found = told(*hosts, expect=expect)
        assert not good and found["notes"][-1] == said
    good, _rows, found = told(untried, client())
    assert good and found["notes"] == [], "clients have tried it"
    # One of several: clients may have.
    good, _rows, found = told(gateway(), untried, client())
    assert good
    assert found["notes"] == [
        "gw2: no promise could be measured there, and clients do not say whether they have tried it"
    ]
    assert not told(gateway(), untried, client(probe=result("unmeasurable")))[0]


def test_without_a_server_only_the_loop_counts():
    empty = dict(result(), notes=["nothing was measured"])
    good, rows, _found = told(gateway(), client(probe=empty))
    assert good
    assert rows["pc1", "it reaches servers outside"] == ("unmeasurable", "nothing was measured")
    good, _rows, _found = told(gateway(proof=result("broken")), client(probe=empty))
    assert not good


def test_what_the_guard_stopped_is_told():
    after = dict(INFO, counters=[{"name": "guard", "packets": 5}])
    good, _rows, found = told(gateway(after=after))
    assert good
    assert found["notes"] == ["gw1: its guard stopped 3 packets that would have left untranslated"]


HEADROOM = {"name": "headroom", "query": "usage.connections.percent <= `80`"}


@pytest.mark.parametrize(
    ("expect", "host", "outcome"),
    [
        (HEADROOM, "gw1", "holds"),
        (dict(HEADROOM, query="usage.connections.percent > `80`"), "gw1", "broken"),
        (dict(HEADROOM, query="usag.percent"), "gw1", "broken"),
        (dict(HEADROOM, query="usage.connections.percent"), "gw1", "broken"),
        (dict(HEADROOM, query="length(proof.results) == `1`"), "gw1", "holds"),
        (dict(HEADROOM, query="nat[0].mapping == 'independent'", group="lan_clients"), "pc1", "holds"),
    ],
)
def test_expectations_of_the_user(expect, host, outcome):
    pytest.importorskip("jmespath", reason="jmespath is not installed")
    _good, rows, _found = told(gateway(), client(), expect=[expect])
    assert [(key[0], value[0]) for key, value in rows.items() if key[1] == "headroom"] == [(host, outcome)]
    assert bool(rows[host, "headroom"][1]) == (outcome == "broken")


@pytest.mark.parametrize(
    ("expect", "sentence"),
    [
        ("x", "verify_expect: 'x' is not a list"),
        ([{"name": "a"}], "verify_expect[0]: write it as {name: headroom, query:"),
        ([dict(HEADROOM, group="x")], "verify_expect[0] 'headroom': group 'x' is not gateways or lan_clients"),
        ([dict(HEADROOM, query="a[")], "verify_expect[0] 'headroom': query: "),
    ],
)
def test_expectations_that_cannot_be_read(expect, sentence):
    pytest.importorskip("jmespath", reason="jmespath is not installed")
    with pytest.raises(AnsibleFilterError) as caught:
        verify_report([gateway()], expect)
    assert sentence in str(caught.value)
    assert judging.verify_problems(expect) == str(caught.value).splitlines()


def test_a_promise_needs_jmespath_and_none_needs_nothing(monkeypatch):
    monkeypatch.setattr(judging, "jmespath", None)
    sentence = "verify_expect: needs the Python package jmespath on the controller; install it with pip"
    assert judging.verify_problems([HEADROOM]) == [sentence]
    assert judging.verify_problems([]) == judging.verify_problems(None) == []


def test_junit():
    rows = [
        verified.Row("gw1", "a", "reach", "holds"),
        verified.Row("gw1", 'b "<&', "reach", "broken", "why\x1b[31m <"),
        verified.Row("pc1", "c", "reach", "unmeasurable", "no tc"),
    ]
    suites = {suite.get("name"): suite for suite in ET.fromstring(verified.junit(rows))}  # noqa: S314 - our own
    assert suites["gw1"].attrib == {"name": "gw1", "tests": "2", "failures": "1", "skipped": "0"}
    assert [case.get("name") for case in suites["gw1"]] == ["a", 'b "<&']
    assert suites["gw1"][1].find("failure").get("message") == "why[31m <"
    assert suites["pc1"][0].find("skipped").get("message") == "no tc"


def test_the_culprit_comes_first():
    proof = result("broken")
    proof["results"][0].update(reason="nothing came", cause="dropped by x")
    _good, rows, _found = told(gateway(proof=proof))
    assert rows["gw1", "promise 0"] == ("broken", "dropped by x; nothing came")


def test_long_reasons_are_cut_in_the_table_only():
    row = verified.Row("gw1", "a", "reach", "broken", "x" * 1000)
    assert len(verified.table([row])[0]) < 200
    assert "x" * 1000 in verified.junit([row])


@pytest.mark.parametrize(
    ("changes", "routers", "addresses"),
    [
        ({}, ["192.168.1.1"], ["203.0.113.2", "2001:db8::2"]),
        ({}, ["192.168.1.254"], []),
        ({}, [], []),
        ({"nat": [{"action": "snat", "to": ["203.0.113.8-203.0.113.9"]}]}, ["192.168.1.1"],
         ["203.0.113.2", "2001:db8::2", "203.0.113.8-203.0.113.9"]),
        ({"nat": [{"action": "prefix", "to": ["::1/64%"]}]}, ["192.168.1.1"], ["203.0.113.2", "2001:db8::2"]),
        # What is routed arrives as it is, and so does what is exempt.
        ({"lans": [dict(LAN, networks=["2001:db8:1::/64", "192.168.1.0/24"])]}, ["192.168.1.1"],
         ["203.0.113.2", "2001:db8::2", "2001:db8:1::/64"]),
        ({"nat": [{"action": "exempt", "to": []}], "lans": [dict(LAN, networks=["192.168.1.0/24"])]}, ["192.168.1.1"],
         ["203.0.113.2", "2001:db8::2", "192.168.1.0/24"]),
    ],
)  # fmt: skip
def test_the_addresses_that_a_client_may_have_outside(changes, routers, addresses):
    other = dict(INFO, interfaces=[{"name": "wan0", "role": "wan", "addresses": ["203.0.113.99"]}])
    assert verify_expected([other, dict(INFO, **changes)], routers) == addresses
